//! What names mean at one place of a query.

use std::rc::Rc;

use super::provenance::Provenance;

/// One column of a relation or result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    /// Its name as stored; an unnamed expression cannot be referred to.
    pub(crate) name: Option<String>,
    pub(crate) provenance: Provenance,
}

/// Columns that several places share.
pub(crate) type Fields = Rc<Vec<Field>>;

/// Common table expressions that can be seen, the nearest first.
#[derive(Default)]
pub(crate) struct Ctes<'a> {
    pub(crate) entries: Vec<(String, Fields)>,
    pub(crate) parent: Option<&'a Ctes<'a>>,
}

/// A table, view, CTE, subquery or table function in FROM.
pub(crate) struct Relation {
    /// What may stand before a dot: `[alias]`, or `[database, schema, name]` of which any tail may be written.
    pub(crate) qualifier: Vec<String>,
    pub(crate) fields: Fields,
    /// What its columns beyond `fields` come from, where only the server knows which there are. Of an object that is
    /// missing nothing is known, and the analysis goes on only to find what else is missing.
    pub(crate) rest: Option<Provenance>,
}

/// What names mean at one place.
pub(crate) struct Scope<'a> {
    pub(crate) relations: Vec<Relation>,
    /// The columns of FROM as `*` shows them.
    pub(crate) visible: Vec<Field>,
    /// Names that the SELECT list gave so far.
    pub(crate) aliases: Vec<(String, Provenance)>,
    pub(crate) ctes: &'a Ctes<'a>,
    /// The query around this one.
    pub(crate) parent: Option<&'a Scope<'a>>,
    /// CONNECT BY gives pseudo-columns.
    pub(crate) hierarchical: bool,
    /// Inside of MATCH_RECOGNIZE there are functions of their own.
    pub(crate) matching: bool,
}

/// What looking up a name found.
pub(crate) enum Found {
    One(Provenance),
    Ambiguous,
    Nothing,
}

impl<'a> Ctes<'a> {
    pub(crate) fn find(&self, name: &str) -> Option<&Fields> {
        self.entries
            .iter()
            .rev()
            .find(|(own, _)| own == name)
            .map(|(_, fields)| fields)
            .or_else(|| self.parent.and_then(|parent| parent.find(name)))
    }

    /// How many names may have to be looked through for one.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() + self.parent.map_or(0, Ctes::len)
    }

    pub(crate) fn inside(parent: &'a Ctes<'a>) -> Self {
        Self { entries: Vec::new(), parent: Some(parent) }
    }
}

impl Relation {
    /// Its columns as `*` shows them; one without a name stands for those that nobody knows.
    pub(crate) fn star(&self) -> Vec<Field> {
        let rest = self.rest.clone().map(|provenance| Field { name: None, provenance });
        self.fields.iter().cloned().chain(rest).collect()
    }

    /// Whether the qualifier written before a dot means this relation.
    fn is_meant_by(&self, written: &[String]) -> bool {
        self.qualifier.ends_with(written)
    }
}

impl<'a> Scope<'a> {
    pub(crate) fn new(ctes: &'a Ctes<'a>, parent: Option<&'a Scope<'a>>) -> Self {
        Self {
            relations: Vec::new(),
            visible: Vec::new(),
            aliases: Vec::new(),
            ctes,
            parent,
            hierarchical: false,
            matching: false,
        }
    }

    /// Adds a relation to FROM.
    pub(crate) fn add(&mut self, relation: Relation) {
        self.visible.extend(relation.fields.iter().cloned());
        self.relations.push(relation);
    }

    pub(crate) fn is_open(&self) -> bool {
        self.relations.iter().any(|relation| relation.rest.is_some())
            || self.parent.is_some_and(Scope::is_open)
    }

    /// How many names may have to be looked through for one.
    pub(crate) fn len(&self) -> usize {
        let here = self.visible.len() + self.aliases.len() + self.relations.len();
        here + self.parent.map_or(0, Scope::len)
    }

    /// What the columns here come from of which nobody knows the names.
    pub(crate) fn rest(&self) -> Option<Provenance> {
        let rests = self.relations.iter().filter_map(|relation| relation.rest.clone());
        rests.reduce(|one, two| one.either(&two))
    }

    /// The columns of FROM as `*` shows them; one without a name stands for those that nobody knows.
    pub(crate) fn star(&self) -> Vec<Field> {
        let rest = self.rest().map(|provenance| Field { name: None, provenance });
        self.visible.iter().cloned().chain(rest).collect()
    }

    /// An unqualified name: columns of FROM and aliases of the SELECT list here, then the query around.
    pub(crate) fn column(&self, name: &str) -> Found {
        let mut columns =
            self.visible.iter().filter(|visible| visible.name.as_deref() == Some(name));
        let column = columns.next().map(|visible| &visible.provenance);
        if columns.next().is_some() {
            return Found::Ambiguous;
        }
        let mut aliases = self.aliases.iter().filter(|(alias, _)| alias == name).map(|(_, p)| p);
        let alias = aliases
            .next()
            .map(|first| aliases.fold(first.clone(), |all, another| all.either(another)));
        match (column, alias) {
            (Some(column), None) => Found::One(column.clone()),
            // Which of the two Snowflake takes depends on the clause: the value is treated as either.
            (Some(column), Some(alias)) => Found::One(both(column, alias)),
            (None, alias) => {
                let outer = self.parent.map_or(Found::Nothing, |parent| parent.column(name));
                let found = alias.into_iter().chain(self.rest()).chain(match &outer {
                    Found::One(outer) => Some(outer.clone()),
                    Found::Ambiguous | Found::Nothing => None,
                });
                found.reduce(|one, two| both(&two, one)).map_or(outer, Found::One)
            }
        }
    }

    /// A qualified name.
    pub(crate) fn qualified(&self, qualifier: &[String], name: &str) -> Found {
        match self.relation(qualifier) {
            Ok(Some(relation)) => {
                let mut fields =
                    relation.fields.iter().filter(|field| field.name.as_deref() == Some(name));
                match (fields.next(), fields.next()) {
                    (Some(field), None) => Found::One(field.provenance.clone()),
                    (Some(_), Some(_)) => Found::Ambiguous,
                    (None, _) => relation.rest.clone().map_or(Found::Nothing, Found::One),
                }
            }
            Ok(None) => {
                self.parent.map_or(Found::Nothing, |parent| parent.qualified(qualifier, name))
            }
            Err(()) => Found::Ambiguous,
        }
    }

    /// The relation that a qualifier means here; an error where it could be two.
    pub(crate) fn relation(&self, qualifier: &[String]) -> Result<Option<&Relation>, ()> {
        let mut relations =
            self.relations.iter().filter(|relation| relation.is_meant_by(qualifier));
        match (relations.next(), relations.next()) {
            (found, None) => Ok(found),
            (_, Some(_)) => Err(()),
        }
    }
}

/// A name that is a column and an alias at once. One and the same column stays what it is.
fn both(column: &Provenance, alias: Provenance) -> Provenance {
    if *column == alias { alias } else { alias.either(column) }
}
