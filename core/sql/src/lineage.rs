//! Column lineage: which base columns can be seen in each output column, and which steer the result.
//!
//! The walk is exhaustive: every `match` over the syntax tree names every variant, so that a form which is new in the
//! parser does not compile rather than pass as clean. What cannot be followed is an error, and the statement is
//! refused; an unknown source is never taken for a constant.

mod bound;
mod class;
mod condition;
mod expression;
mod function;
mod matching;
mod metadata;
mod pivot;
mod provenance;
mod query;
mod scope;
mod star;
mod table;
mod tabular;
mod view;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::dialect::ast;
use crate::{
    Access, Against, Analysis, Catalog, Column, Flow, Lineage, Name, Output, Place, Problem,
    Reason, Session, Sink, Touch, Use,
};
use class::Class;

#[cfg(test)]
pub(crate) use matching::is_function as is_pattern_function;
pub(crate) use provenance::{Id, Provenance};
pub(crate) use scope::{Ctes, Field, Fields, Relation, Scope};

/// Expressions and queries inside of each other, all kinds of recursion together.
const DEPTH: usize = 4_000;

/// What following names may cost in one text: comparing two names costs 1. A short text can make columns without end
/// (`WITH b AS (SELECT x.*, y.* FROM a x, a y), ...` doubles them), and look each of them up.
const COST: usize = 200_000_000;
/// What a column costs that is made.
const COLUMN: usize = 400;

/// Walks one statement and collects what it finds.
pub(crate) struct Resolver<'a> {
    pub(crate) session: &'a Session,
    catalog: &'a Catalog,
    /// Database and schema that unqualified names mean: the session's, or a view's own.
    database: Option<String>,
    schema: Option<String>,
    columns: Vec<Column>,
    /// The columns of the objects read so far; of one name a temporary one is another object.
    fields: HashMap<(Name, bool), Fields>,
    /// Views that are being followed, outermost first.
    inside: Vec<Arc<Name>>,
    /// CTEs with a set operation that are being defined: whether their name means them or an object is unclear.
    defining: Vec<String>,
    depth: usize,
    /// What following names has cost so far.
    cost: usize,
    touches: BTreeSet<Touch>,
    functions: BTreeSet<String>,
    variables: BTreeSet<String>,
    uses: Vec<(Place, Vec<Id>, Steering)>,
    flows: Vec<(Vec<Id>, Sink)>,
    missing: BTreeSet<Name>,
    takes: BTreeSet<Name>,
    tables: HashMap<Name, Arc<crate::Object>>,
    /// Why the columns of the result cannot be known, where only the data says which there are.
    boundless: Option<&'static str>,
}

/// [`Against`] before columns have their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Steering {
    Constant { equality: bool },
    Column(Id),
    Expression,
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(session: &'a Session, catalog: &'a Catalog) -> Self {
        Self {
            session,
            catalog,
            database: session.database.clone(),
            schema: session.schema.clone(),
            columns: Vec::new(),
            fields: HashMap::new(),
            inside: Vec::new(),
            defining: Vec::new(),
            depth: 0,
            cost: 0,
            touches: BTreeSet::new(),
            functions: BTreeSet::new(),
            variables: BTreeSet::new(),
            uses: Vec::new(),
            flows: Vec::new(),
            missing: BTreeSet::new(),
            takes: BTreeSet::new(),
            tables: HashMap::new(),
            boundless: None,
        }
    }

    /// The output columns of a query that stands for itself.
    pub(crate) fn output(&mut self, query: &ast::Query) -> Result<Vec<Field>, Problem> {
        self.query(query, &Ctes::default(), None)
    }

    /// Puts what was found into the analysis.
    pub(crate) fn finish(self, analysis: &mut Analysis) {
        if let Some(why) = self.boundless {
            analysis.lineage = Lineage::Unknown(why.to_owned());
        }
        let column = |id: &Id| self.columns.get(*id as usize).cloned();
        let named = |ids: &[Id]| self.named(ids);
        analysis.objects.extend(self.touches.iter().cloned());
        analysis.objects.sort();
        analysis.objects.dedup();
        let others =
            analysis.objects.iter().filter(|touch| !self.tables.contains_key(&*touch.name));
        analysis.others.extend(others.filter_map(|touch| self.catalog.get(&touch.name).cloned()));
        analysis.tables.extend(self.tables.values().cloned());
        analysis.tables.sort_by(|one, two| one.name.cmp(&two.name));
        analysis.functions.extend(self.functions.iter().cloned());
        analysis.variables.extend(self.variables.iter().cloned());
        analysis.missing.extend(self.missing.iter().cloned());
        analysis.takes.extend(self.takes.iter().cloned());
        let mut seen = std::collections::HashSet::new();
        for found in &self.uses {
            if !seen.insert(found) {
                continue;
            }
            let (place, ids, steering) = found;
            let against = match steering {
                Steering::Constant { equality } => Against::Constant { equality: *equality },
                Steering::Column(id) => match column(id) {
                    Some(column) => Against::Column(column),
                    None => Against::Expression,
                },
                Steering::Expression => Against::Expression,
            };
            analysis.uses.push(Use { place: *place, columns: named(ids), against });
        }
        let mut seen = BTreeSet::new();
        for found @ (ids, sink) in &self.flows {
            if seen.insert(found) {
                analysis.flows.push(Flow { columns: named(ids), sink: sink.clone() });
            }
        }
    }

    /// What the result of a query is made of, by name.
    pub(crate) fn lineage(&self, fields: &[Field]) -> Lineage {
        let output = |field: &Field| Output {
            name: field.name.clone(),
            sources: field
                .provenance
                .sources
                .iter()
                .filter_map(|id| self.columns.get(*id as usize).cloned())
                .collect(),
            plain: field.provenance.sources.len() == 1
                && matches!(
                    field.provenance.shape,
                    provenance::Shape::Bare | provenance::Shape::Plain
                ),
        };
        Lineage::Columns(fields.iter().map(output).collect())
    }

    pub(crate) fn touch(&mut self, name: Arc<Name>, access: Access) {
        self.touches.insert(Touch {
            name,
            access,
            metadata: false,
            opaque: false,
            through: self.inside.first().cloned(),
        });
    }

    pub(crate) fn steer(&mut self, place: Place, columns: Vec<Id>, steering: Steering) {
        if !columns.is_empty() {
            self.uses.push((place, columns, steering));
        }
    }

    pub(crate) fn flow(&mut self, columns: Vec<Id>, sink: Sink) {
        if columns.is_empty() {
            return;
        }
        self.flows.push((columns, sink));
    }

    /// All columns of an object go somewhere.
    pub(crate) fn flow_of_all(
        &mut self,
        source: &ast::ObjectName,
        sink: &Sink,
    ) -> Result<(), Problem> {
        self.flow_of_named(&parts(source)?, sink)
    }

    /// All columns of an object go there.
    pub(crate) fn flow_of_named(&mut self, parts: &[String], sink: &Sink) -> Result<(), Problem> {
        let (_, rows) = self.object(parts)?;
        for field in rows.fields.iter() {
            self.flow(field.provenance.sources.clone(), sink.clone());
        }
        Ok(())
    }

    /// Notes the name as missing where the catalog does not have it.
    pub(crate) fn exists(&mut self, name: &Name) {
        if self.known(name).is_none() {
            self.missing.insert(name.clone());
        }
    }

    /// The object of that name: the session's temporary one, or the account's.
    pub(crate) fn known(&self, name: &Name) -> Option<&Arc<crate::Object>> {
        self.temporary(name).or_else(|| self.catalog.get(name))
    }

    /// The session's temporary object of that name. In a view of the account the name does not mean it.
    fn temporary(&self, name: &Name) -> Option<&Arc<crate::Object>> {
        let own = &self.session.temporary;
        own.get(name).filter(|_| self.inside.iter().all(|view| own.has(view)))
    }

    /// A temporary object is about to take the name.
    pub(crate) fn claim(&mut self, name: &Name) {
        if self.known(name).is_none() {
            self.takes.insert(name.clone());
        }
    }

    /// What can be seen in a session variable.
    pub(crate) fn variable(&mut self, name: String) -> Result<Provenance, Problem> {
        let columns = match self.session.variables.columns(&name) {
            Some(columns) if self.inside.is_empty() => columns,
            _ => {
                return Err(unsupported(&format!(
                    "session variable ${name}, which no SET of this session is known to have set,"
                )));
            }
        };
        self.variables.insert(name);
        if columns.is_empty() {
            return Ok(Provenance::constant().of(Class::Other));
        }
        let mut sources = Vec::with_capacity(columns.len());
        for column in columns {
            sources.push(self.id(&column.object, &column.name));
        }
        Ok(Provenance { sources, ..Provenance::clean() })
    }

    /// The columns behind their numbers.
    pub(crate) fn named(&self, ids: &[Id]) -> Vec<Column> {
        ids.iter().filter_map(|id| self.columns.get(*id as usize).cloned()).collect()
    }

    /// Whether rows of an object of the account were read so far.
    pub(crate) fn reads_rows(&self) -> bool {
        !self.tables.is_empty() || self.is_missing()
    }

    pub(crate) fn is_missing(&self) -> bool {
        !self.missing.is_empty()
    }

    /// A number for a base column. An object's columns are read once, so none is numbered twice.
    fn id(&mut self, object: &Arc<Name>, name: &str) -> Id {
        let id = Id::try_from(self.columns.len()).unwrap_or(Id::MAX);
        self.columns.push(Column { object: Arc::clone(object), name: name.into() });
        id
    }

    /// Names are compared with this many others.
    fn look_through(&mut self, names: usize) -> Result<(), Problem> {
        self.cost = self.cost.saturating_add(names);
        if self.cost <= COST {
            return Ok(());
        }
        Err(Problem {
            reason: Reason::Limit,
            message: "more columns than can be followed; name only those that you need".into(),
            offset: None,
        })
    }

    /// This many columns are made.
    fn widen(&mut self, columns: usize) -> Result<(), Problem> {
        self.look_through(columns.saturating_mul(COLUMN))
    }

    /// The number of a base column, whichever way it was met.
    fn known_id(&mut self, column: &Column) -> Result<Id, Problem> {
        self.look_through(self.columns.len())?;
        let known = self.columns.iter().position(|known| known == column);
        Ok(match known.and_then(|at| Id::try_from(at).ok()) {
            Some(id) => id,
            None => self.id(&column.object, &column.name),
        })
    }

    /// One step deeper into the tree.
    fn deeper<T>(
        &mut self,
        step: impl FnOnce(&mut Self) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        if self.depth >= DEPTH {
            return Err(Problem {
                reason: Reason::Limit,
                message: format!("more than {DEPTH} levels of expressions"),
                offset: None,
            });
        }
        self.depth += 1;
        let result = step(self);
        self.depth -= 1;
        result
    }

    /// The full name of an object.
    pub(crate) fn name(&self, written: &ast::ObjectName) -> Result<Name, Problem> {
        self.qualify(&parts(written)?)
    }

    /// The full name of a schema.
    pub(crate) fn schema_name(&self, written: &ast::ObjectName) -> Result<Name, Problem> {
        self.schema_of(&parts(written)?)
    }

    /// The full name of a schema of one or two stored parts.
    pub(crate) fn schema_of(&self, parts: &[String]) -> Result<Name, Problem> {
        match parts {
            [schema] => {
                Ok(Name::new(self.current(self.database.as_ref(), "database")?, schema.clone(), ""))
            }
            [database, schema] => Ok(Name::new(database.clone(), schema.clone(), "")),
            _ => Err(named("a schema has one or two parts in its name")),
        }
    }

    /// The full name of one to three stored parts. The middle of `db..t` is empty.
    pub(crate) fn qualify(&self, parts: &[String]) -> Result<Name, Problem> {
        match parts {
            [object] => {
                if self.session.search_path && self.inside.is_empty() {
                    return Err(Problem {
                        reason: Reason::Pinned,
                        message: "SEARCH_PATH is changed in this session; write full names".into(),
                        offset: None,
                    });
                }
                Ok(Name::new(
                    self.current(self.database.as_ref(), "database")?,
                    self.current(self.schema.as_ref(), "schema")?,
                    object.clone(),
                ))
            }
            [schema, object] => Ok(Name::new(
                self.current(self.database.as_ref(), "database")?,
                schema.clone(),
                object.clone(),
            )),
            [database, schema, object] => {
                let schema = if schema.is_empty() { "PUBLIC" } else { schema };
                Ok(Name::new(database.clone(), schema, object.clone()))
            }
            _ => Err(named("an object has one to three parts in its name")),
        }
    }

    fn current(&self, part: Option<&String>, what: &str) -> Result<String, Problem> {
        part.cloned().ok_or_else(|| {
            named(&format!("the session has no current {what}; write the full name"))
        })
    }
}

/// The stored form of an identifier.
pub(crate) fn stored(identifier: &ast::Ident) -> Result<String, Problem> {
    match identifier.quote_style {
        None if identifier.value.starts_with('@') || identifier.value.starts_with('$') => {
            Err(unsupported("a stage or variable in place of a name"))
        }
        None => Ok(crate::name::fold(&identifier.value)),
        Some('"') => Ok(identifier.value.replace("\"\"", "\"")),
        Some(_) => Err(named("identifiers are quoted with `\"`")),
    }
}

/// The stored parts of a name; `IDENTIFIER('literal')` is read as the name it holds.
pub(crate) fn parts(name: &ast::ObjectName) -> Result<Vec<String>, Problem> {
    let ast::ObjectName(written) = name;
    let mut parts = Vec::with_capacity(written.len());
    for part in written {
        match part {
            ast::ObjectNamePart::Identifier(identifier) => parts.push(stored(identifier)?),
            ast::ObjectNamePart::Function(call) => {
                let ast::ObjectNamePartFunction { name, args } = call;
                if written.len() > 1 || stored(name)? != "IDENTIFIER" {
                    return Err(unsupported("a function in place of a name"));
                }
                return literal_name(args);
            }
        }
    }
    Ok(parts)
}

/// The stored parts of a function's name; of a method of a model those of the model, and the method.
pub(crate) fn function_parts(
    name: &ast::ObjectName,
) -> Result<(Vec<String>, Option<String>), Problem> {
    let ast::ObjectName(written) = name;
    let Some((ast::ObjectNamePart::Identifier(method), model)) = written.split_last() else {
        return Ok((parts(name)?, None));
    };
    if method.quote_style != Some(crate::dialect::OWN) {
        return Ok((parts(name)?, None));
    }
    let mut names = Vec::with_capacity(model.len());
    for part in model {
        match part {
            ast::ObjectNamePart::Identifier(part) => names.push(stored(part)?),
            ast::ObjectNamePart::Function(_) => return Err(unsupported("a computed model")),
        }
    }
    Ok((names, Some(crate::name::fold(&method.value))))
}

/// The name in the one plain string literal of `IDENTIFIER('...')` or `TABLE('...')`.
pub(crate) fn literal_name(args: &[ast::FunctionArg]) -> Result<Vec<String>, Problem> {
    let literal = match args {
        [ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(ast::Expr::Value(value)))] => {
            match &value.value {
                ast::Value::SingleQuotedString(raw) => crate::lexer::plain_string(raw),
                _ => None,
            }
        }
        _ => None,
    };
    literal
        .as_deref()
        .and_then(crate::name::read)
        .ok_or_else(|| unsupported("a computed name; write the name itself"))
}

/// A name that Snowflake could read in two ways.
fn both_cte_and_object(name: &str) -> Problem {
    named(&format!("{name} could be the CTE or an object; write the object's full name"))
}

/// A form that is not followed.
pub(crate) fn unsupported(what: &str) -> Problem {
    Problem {
        reason: Reason::Unsupported,
        message: format!("{what} is not supported here"),
        offset: None,
    }
}

/// A name that cannot be resolved.
pub(crate) fn named(message: &str) -> Problem {
    Problem { reason: Reason::Name, message: message.to_owned(), offset: None }
}

/// A source that cannot be told.
pub(crate) fn unknown(message: &str) -> Problem {
    Problem { reason: Reason::Lineage, message: message.to_owned(), offset: None }
}
