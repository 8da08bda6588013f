//! FROM: tables, views, CTEs, subqueries and joins.

use std::rc::Rc;
use std::sync::Arc;

use super::class::Class;
use super::matching::Matching;
use super::pivot::Pivot;
use super::provenance::Provenance;
use super::query::rename;
use super::scope::{Ctes, Field, Fields, Relation, Scope};
use super::{Resolver, Steering, named, parts, stored, unknown, unsupported};
use crate::dialect::ast;
use crate::{Access, Definition, Name, Place, Problem, Touch};

impl Resolver<'_> {
    /// Everything in FROM. Each item sees the ones before it only where it is lateral.
    pub(super) fn from<'s>(
        &mut self,
        from: &[ast::TableWithJoins],
        ctes: &'s Ctes<'s>,
        parent: Option<&'s Scope<'s>>,
    ) -> Result<Scope<'s>, Problem> {
        let mut scope = Scope::new(ctes, parent);
        for item in from {
            self.joined(item, &mut scope)?;
        }
        Ok(scope)
    }

    pub(crate) fn joined(
        &mut self,
        item: &ast::TableWithJoins,
        scope: &mut Scope<'_>,
    ) -> Result<(), Problem> {
        let ast::TableWithJoins { relation, joins } = item;
        let begin = scope.visible.len();
        self.factor(relation, scope)?;
        for join in joins {
            let ast::Join { relation, global, join_operator } = join;
            if *global {
                return Err(unsupported("GLOBAL JOIN"));
            }
            let middle = scope.visible.len();
            self.factor(relation, scope)?;
            match join_operator {
                ast::JoinOperator::Join(constraint)
                | ast::JoinOperator::Inner(constraint)
                | ast::JoinOperator::Left(constraint)
                | ast::JoinOperator::LeftOuter(constraint)
                | ast::JoinOperator::Right(constraint)
                | ast::JoinOperator::RightOuter(constraint)
                | ast::JoinOperator::FullOuter(constraint)
                | ast::JoinOperator::CrossJoin(constraint) => {
                    self.constraint(constraint, scope, begin, middle)?;
                }
                ast::JoinOperator::AsOf { match_condition, constraint } => {
                    self.constraint(constraint, scope, begin, middle)?;
                    self.condition(match_condition, scope, Place::Match)?;
                }
                ast::JoinOperator::Semi(_)
                | ast::JoinOperator::LeftSemi(_)
                | ast::JoinOperator::RightSemi(_)
                | ast::JoinOperator::Anti(_)
                | ast::JoinOperator::LeftAnti(_)
                | ast::JoinOperator::RightAnti(_)
                | ast::JoinOperator::CrossApply
                | ast::JoinOperator::OuterApply
                | ast::JoinOperator::StraightJoin(_)
                | ast::JoinOperator::ArrayJoin
                | ast::JoinOperator::LeftArrayJoin
                | ast::JoinOperator::InnerArrayJoin => {
                    return Err(unsupported("this kind of join"));
                }
            }
        }
        Ok(())
    }

    /// ON, USING, NATURAL between `visible[begin..middle]` and `visible[middle..]`.
    fn constraint(
        &mut self,
        constraint: &ast::JoinConstraint,
        scope: &mut Scope<'_>,
        begin: usize,
        middle: usize,
    ) -> Result<(), Problem> {
        let sides = scope.visible.len().saturating_sub(begin);
        let shared = match constraint {
            ast::JoinConstraint::None => return Ok(()),
            ast::JoinConstraint::On(condition) => {
                return self.condition(condition, scope, Place::Join);
            }
            ast::JoinConstraint::Using(columns) => {
                let mut names = Vec::with_capacity(columns.len());
                for column in columns {
                    match parts(column)?.as_slice() {
                        [name] => names.push(name.clone()),
                        _ => return Err(named("a qualified name in USING")),
                    }
                }
                names
            }
            ast::JoinConstraint::Natural if !self.is_missing() && scope.rest().is_some() => {
                return Err(unknown("NATURAL JOIN with columns that only the server knows"));
            }
            ast::JoinConstraint::Natural => {
                self.look_through(sides.saturating_pow(2))?;
                let right = &scope.visible[middle..];
                scope.visible[begin..middle]
                    .iter()
                    .filter_map(|left| left.name.clone())
                    .filter(|name| {
                        right.iter().any(|other| other.name.as_deref() == Some(name.as_str()))
                    })
                    .collect()
            }
        };
        self.look_through(shared.len().saturating_mul(sides))?;
        let right: Vec<Field> = scope.visible.split_off(middle);
        let left: Vec<Field> = scope.visible.split_off(begin);
        let mut merged = Vec::with_capacity(shared.len());
        for name in &shared {
            let of = |side: &[Field]| -> Result<Option<Provenance>, Problem> {
                let mut found =
                    side.iter().filter(|one| one.name.as_deref() == Some(name.as_str()));
                match (found.next(), found.next()) {
                    (Some(one), None) => Ok(Some(one.provenance.clone())),
                    (None, _) => Ok(None),
                    (Some(_), Some(_)) => Err(named(&format!("{name} in USING is ambiguous"))),
                }
            };
            let (one, two) = match (of(&left)?, of(&right)?) {
                (Some(one), Some(two)) => (one, two),
                (one, two) => match scope.rest() {
                    Some(rest) => (one.unwrap_or_else(|| rest.clone()), two.unwrap_or(rest)),
                    None => return Err(named(&format!("{name} in USING is not on both sides"))),
                },
            };
            self.compare(&one, &two, true, Place::Join);
            let provenance = if one == two { one } else { one.either(&two) };
            merged.push(Field { name: Some(name.clone()), provenance });
        }
        let is_rest =
            |visible: &Field| visible.name.as_ref().is_none_or(|name| !shared.contains(name));
        scope.visible.extend(merged);
        scope.visible.extend(left.into_iter().filter(is_rest));
        scope.visible.extend(right.into_iter().filter(is_rest));
        Ok(())
    }

    /// One item of FROM.
    pub(crate) fn factor(
        &mut self,
        factor: &ast::TableFactor,
        scope: &mut Scope<'_>,
    ) -> Result<(), Problem> {
        self.deeper(|this| this.factor_inner(factor, scope))
    }

    fn factor_inner(
        &mut self,
        factor: &ast::TableFactor,
        scope: &mut Scope<'_>,
    ) -> Result<(), Problem> {
        match factor {
            ast::TableFactor::Table {
                name,
                alias,
                args,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
            } => {
                if !with_hints.is_empty()
                    || *with_ordinality
                    || !partitions.is_empty()
                    || json_path.is_some()
                    || !index_hints.is_empty()
                {
                    return Err(unsupported("this clause behind a table"));
                }
                if let Some(args) = args {
                    if args.settings.is_some() {
                        return Err(unsupported("settings of a table function"));
                    }
                    let rows = self.table_function(name, &args.args, None, scope)?;
                    return self.place(Vec::new(), rows, alias.as_ref(), scope);
                }
                if let Some(version) = version {
                    self.version(version, scope)?;
                }
                self.sample(sample.as_ref(), scope)?;
                self.named_table(name, alias.as_ref(), scope)
            }
            ast::TableFactor::Derived { lateral, subquery, alias, sample } => {
                self.sample(sample.as_ref(), scope)?;
                let fields = if *lateral {
                    self.query(subquery, scope.ctes, Some(scope))?
                } else {
                    self.query(subquery, scope.ctes, scope.parent)?
                };
                self.add(fields, alias.as_ref(), scope)
            }
            ast::TableFactor::TableFunction { expr, alias } => {
                let (qualifier, rows) = self.table_expression(expr, scope)?;
                self.place(qualifier, rows, alias.as_ref(), scope)
            }
            ast::TableFactor::Function { lateral: _, name, args, with_ordinality, alias } => {
                if *with_ordinality {
                    return Err(unsupported("WITH ORDINALITY"));
                }
                let rows = self.table_function(name, args, None, scope)?;
                self.place(Vec::new(), rows, alias.as_ref(), scope)
            }
            ast::TableFactor::NestedJoin { table_with_joins, alias } => {
                if let Some(alias) = alias {
                    let mut inner = Scope::new(scope.ctes, scope.parent);
                    self.joined(table_with_joins, &mut inner)?;
                    let rows = Rows { rest: inner.rest(), fields: Rc::new(inner.visible) };
                    return self.place(Vec::new(), rows, Some(alias), scope);
                }
                self.joined(table_with_joins, scope)
            }
            ast::TableFactor::Pivot {
                table,
                aggregate_functions,
                value_column,
                value_source,
                default_on_null,
                alias,
            } => {
                let mut inner = Scope::new(scope.ctes, scope.parent);
                self.factor(table, &mut inner)?;
                let default = match default_on_null {
                    Some(default) => self.expression(default, &inner)?,
                    None => Provenance::constant(),
                };
                let pivot = Pivot {
                    aggregates: aggregate_functions,
                    columns: value_column,
                    source: value_source,
                    default: &default,
                };
                let rows = self.pivot(&inner, &pivot)?;
                self.place(Vec::new(), rows, alias.as_ref(), scope)
            }
            ast::TableFactor::Unpivot { table, value, name, columns, null_inclusion, alias } => {
                let mut inner = Scope::new(scope.ctes, scope.parent);
                self.factor(table, &mut inner)?;
                let skips = !matches!(null_inclusion, Some(ast::NullInclusion::IncludeNulls));
                let rows = self.unpivot(&inner, value, name, columns, skips)?;
                self.place(Vec::new(), rows, alias.as_ref(), scope)
            }
            ast::TableFactor::MatchRecognize {
                table,
                partition_by,
                order_by,
                measures,
                rows_per_match,
                // Where the next match begins is a word of the text.
                after_match_skip: _,
                pattern,
                symbols,
                alias,
            } => {
                let mut inner = Scope::new(scope.ctes, scope.parent);
                self.factor(table, &mut inner)?;
                let matching = Matching { partition_by, order_by, measures, rows_per_match };
                let fields = self.matches(inner, &matching, pattern, symbols)?;
                self.add(fields, alias.as_ref(), scope)
            }
            ast::TableFactor::SemanticView { .. } => {
                Err(unknown("semantic views are not followed"))
            }
            ast::TableFactor::UNNEST { .. }
            | ast::TableFactor::JsonTable { .. }
            | ast::TableFactor::OpenJsonTable { .. }
            | ast::TableFactor::UnpivotExpr { .. }
            | ast::TableFactor::XmlTable { .. } => Err(unsupported("this form in FROM")),
        }
    }

    /// Time travel reads the same columns at another time.
    fn version(&mut self, version: &ast::TableVersion, scope: &Scope<'_>) -> Result<(), Problem> {
        let expressions: Vec<&ast::Expr> = match version {
            ast::TableVersion::Function(expression) => vec![expression],
            ast::TableVersion::Changes { changes, at, end } => {
                let mut all = vec![changes, at];
                all.extend(end);
                all
            }
            ast::TableVersion::ForSystemTimeAsOf(_)
            | ast::TableVersion::TimestampAsOf(_)
            | ast::TableVersion::VersionAsOf(_) => {
                return Err(unsupported("this form of time travel"));
            }
        };
        for expression in expressions {
            // `AT(TIMESTAMP => ...)` is read as a call; its arguments must be constants.
            let ast::Expr::Function(ast::Function { args, .. }) = expression else {
                return Err(unsupported("this form of time travel"));
            };
            let ast::FunctionArguments::List(list) = args else {
                return Err(unsupported("this form of time travel"));
            };
            let nothing = Scope::new(scope.ctes, None);
            for arg in &list.args {
                let (name, value) = match arg {
                    ast::FunctionArg::Named { name, arg, operator: _ } => (Some(name), arg),
                    ast::FunctionArg::Unnamed(value) => (None, value),
                    ast::FunctionArg::ExprNamed { .. } => {
                        return Err(unsupported("this form of time travel"));
                    }
                };
                match value {
                    // INFORMATION => DEFAULT | APPEND_ONLY
                    ast::FunctionArgExpr::Expr(ast::Expr::Identifier(_))
                        if name
                            .is_some_and(|name| name.value.eq_ignore_ascii_case("INFORMATION")) => {
                    }
                    ast::FunctionArgExpr::Expr(value) => {
                        let provenance = self.expression(value, &nothing)?;
                        if !provenance.is_clean() {
                            return Err(unsupported("a computed time"));
                        }
                    }
                    ast::FunctionArgExpr::QualifiedWildcard(_)
                    | ast::FunctionArgExpr::Wildcard
                    | ast::FunctionArgExpr::WildcardWithOptions(_) => {
                        return Err(unsupported("this form of time travel"));
                    }
                }
            }
        }
        Ok(())
    }

    fn sample(
        &mut self,
        sample: Option<&ast::TableSampleKind>,
        scope: &Scope<'_>,
    ) -> Result<(), Problem> {
        let sample = match sample {
            None => return Ok(()),
            Some(
                ast::TableSampleKind::BeforeTableAlias(sample)
                | ast::TableSampleKind::AfterTableAlias(sample),
            ) => sample,
        };
        let ast::TableSample { modifier: _, name: _, quantity, seed: _, bucket, offset } =
            &**sample;
        if bucket.is_some() || offset.is_some() {
            return Err(unsupported("BUCKET or OFFSET of a sample"));
        }
        if let Some(ast::TableSampleQuantity { parenthesized: _, value, unit: _ }) = quantity {
            let nothing = Scope::new(scope.ctes, None);
            let provenance = self.expression(value, &nothing)?;
            self.steer(Place::Limit, provenance.sources, Steering::Expression);
        }
        Ok(())
    }

    /// A table, view or CTE by name.
    fn named_table(
        &mut self,
        name: &ast::ObjectName,
        alias: Option<&ast::TableAlias>,
        scope: &mut Scope<'_>,
    ) -> Result<(), Problem> {
        let parts = parts(name)?;
        if let [only] = parts.as_slice() {
            self.look_through(scope.ctes.len())?;
            if let Some(fields) = scope.ctes.find(only) {
                let rows = Rows { fields: Rc::clone(fields), rest: None };
                return self.place(vec![only.clone()], rows, alias, scope);
            }
            if self.defining.contains(only) {
                return Err(super::both_cte_and_object(only));
            }
        }
        let (qualifier, rows) = self.object(&parts)?;
        self.place(qualifier, rows, alias, scope)
    }

    /// The columns of an object of the account, and what may stand before a dot to mean it.
    pub(super) fn object(&mut self, parts: &[String]) -> Result<(Vec<String>, Rows), Problem> {
        let name = self.qualify(parts)?;
        let qualifier = vec![name.database.clone(), name.schema.clone(), name.object.clone()];
        if name.schema == "INFORMATION_SCHEMA" {
            return self.metadata(name).map(|fields| (qualifier, Rows { fields, rest: None }));
        }
        let Some(object) = self.known(&name).cloned() else {
            self.missing.insert(name);
            let rows = Rows { fields: Rc::default(), rest: Some(Provenance::clean()) };
            return Ok((qualifier, rows));
        };
        self.tables.entry(name.clone()).or_insert_with(|| Arc::clone(&object));
        let shared = Arc::new(name);
        let is_opaque = object.definition == Definition::Opaque;
        self.touches.insert(Touch {
            name: Arc::clone(&shared),
            access: Access::Read,
            metadata: false,
            opaque: is_opaque,
            through: self.inside.first().cloned(),
        });
        let key = (Name::clone(&shared), self.temporary(&shared).is_some());
        let fields = match (self.fields.get(&key), &object.definition) {
            (Some(fields), _) => Rc::clone(fields),
            (None, Definition::View(text)) => self.view(&shared, &object.columns, text)?,
            (None, Definition::Table | Definition::Opaque) => {
                let field = |column: &crate::CatalogColumn| Field {
                    name: Some(column.name.clone()),
                    provenance: Provenance::bare(
                        self.id(&shared, &column.name),
                        Class::of_column(&column.data_type),
                    ),
                };
                Rc::new(object.columns.iter().map(field).collect::<Vec<_>>())
            }
        };
        self.fields.insert(key, Rc::clone(&fields));
        // Inside of a view that misses something, nothing is certain.
        let is_view = matches!(object.definition, Definition::View(_));
        let rest = (is_view && self.is_missing()).then(Provenance::clean);
        Ok((qualifier, Rows { fields, rest }))
    }

    /// Whether a one-part name is an object of the account, as far as the catalog knows.
    pub(super) fn is_object(&self, name: &str) -> bool {
        self.qualify(&[name.to_owned()]).is_ok_and(|name| self.known(&name).is_some())
    }

    /// Adds rows without a name of their own.
    fn add(
        &mut self,
        fields: Vec<Field>,
        alias: Option<&ast::TableAlias>,
        scope: &mut Scope<'_>,
    ) -> Result<(), Problem> {
        self.place(Vec::new(), Rows { fields: Rc::new(fields), rest: None }, alias, scope)
    }

    /// Adds a relation under its alias, or under its own name.
    fn place(
        &mut self,
        mut qualifier: Vec<String>,
        mut rows: Rows,
        alias: Option<&ast::TableAlias>,
        scope: &mut Scope<'_>,
    ) -> Result<(), Problem> {
        if let Some(alias) = alias {
            let (name, columns) = self.alias(alias)?;
            if let Some(name) = name {
                qualifier = vec![name];
            }
            if !columns.is_empty() {
                rows = rows.named(&columns)?;
            }
        }
        if qualifier.is_empty() {
            // No name can mean it: an empty qualifier would be the tail of every other.
            qualifier = vec![String::new()];
        }
        self.widen(rows.fields.len())?;
        scope.add(Relation { qualifier, fields: rows.fields, rest: rows.rest });
        Ok(())
    }

    /// Name and column names of an alias.
    pub(super) fn alias(
        &self,
        alias: &ast::TableAlias,
    ) -> Result<(Option<String>, Vec<String>), Problem> {
        let ast::TableAlias { explicit: _, name, columns, at } = alias;
        if at.is_some() {
            return Err(unsupported("AT behind an alias"));
        }
        let mut names = Vec::with_capacity(columns.len());
        for ast::TableAliasColumnDef { name, data_type } in columns {
            if data_type.is_some() {
                return Err(unsupported("types in an alias"));
            }
            names.push(stored(name)?);
        }
        let name = if name.value.is_empty() { None } else { Some(stored(name)?) };
        Ok((name, names))
    }

    /// What stands in `TABLE(...)`.
    fn table_expression(
        &mut self,
        expression: &ast::Expr,
        scope: &Scope<'_>,
    ) -> Result<(Vec<String>, Rows), Problem> {
        match expression {
            ast::Expr::Function(function) => {
                let ast::Function {
                    name,
                    uses_odbc_syntax,
                    parameters,
                    args,
                    within_group,
                    filter,
                    null_treatment,
                    over,
                } = function;
                if *uses_odbc_syntax
                    || !matches!(parameters, ast::FunctionArguments::None)
                    || !within_group.is_empty()
                    || filter.is_some()
                    || null_treatment.is_some()
                {
                    return Err(unsupported("this form of a table function"));
                }
                let rows = match args {
                    ast::FunctionArguments::List(list)
                        if list.duplicate_treatment.is_none() && list.clauses.is_empty() =>
                    {
                        self.table_function(name, &list.args, over.as_ref(), scope)?
                    }
                    ast::FunctionArguments::List(_)
                    | ast::FunctionArguments::None
                    | ast::FunctionArguments::Subquery(_) => {
                        return Err(unsupported("this form of a table function"));
                    }
                };
                Ok((Vec::new(), rows))
            }
            ast::Expr::Value(value) => match &value.value {
                ast::Value::SingleQuotedString(_) => {
                    let literal = ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(
                        ast::Expr::Value(value.clone()),
                    ));
                    self.object(&super::literal_name(&[literal])?)
                }
                _ => Err(unsupported("a computed name in TABLE()")),
            },
            _ => Err(unsupported("this form of TABLE()")),
        }
    }
}

/// What stands in FROM before it has a name there.
pub(super) struct Rows {
    pub(super) fields: Fields,
    /// As [`Relation::rest`].
    pub(super) rest: Option<Provenance>,
}

impl Rows {
    /// Under the names of an alias, which names every column there is.
    fn named(self, names: &[String]) -> Result<Self, Problem> {
        let mut fields = self.fields.to_vec();
        if let Some(provenance) = &self.rest {
            let rest = || Field { name: None, provenance: provenance.clone() };
            fields.resize_with(names.len().max(fields.len()), rest);
        }
        Ok(Self { fields: Rc::new(rename(fields, names)?), rest: None })
    }
}
