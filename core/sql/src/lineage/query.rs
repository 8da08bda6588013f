//! Queries: WITH, set operations, SELECT and what hangs on it.

use std::rc::Rc;

use super::provenance::{Provenance, Shape};
use super::scope::{Ctes, Field, Found, Scope};
use super::{Resolver, Steering, named, parts, stored, unknown, unsupported};
use crate::dialect::ast;
use crate::{Place, Problem};

/// Rounds after which the columns of a recursive CTE must have settled; sets only grow, so few are needed.
const ROUNDS: usize = 64;

impl Resolver<'_> {
    /// The columns of a query.
    pub(crate) fn query(
        &mut self,
        query: &ast::Query,
        ctes: &Ctes<'_>,
        parent: Option<&Scope<'_>>,
    ) -> Result<Vec<Field>, Problem> {
        self.deeper(|this| this.query_inner(query, ctes, parent))
    }

    fn query_inner(
        &mut self,
        query: &ast::Query,
        ctes: &Ctes<'_>,
        parent: Option<&Scope<'_>>,
    ) -> Result<Vec<Field>, Problem> {
        let ast::Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        if !locks.is_empty()
            || for_clause.is_some()
            || settings.is_some()
            || format_clause.is_some()
            || !pipe_operators.is_empty()
        {
            return Err(unsupported("this clause behind a query"));
        }
        let mut inner = Ctes::inside(ctes);
        if let Some(with) = with {
            self.with(with, &mut inner, parent)?;
        }
        let fields = self.set_expression(body, &inner, parent, order_by.as_ref())?;
        let nothing = Scope::new(&inner, None);
        if let Some(limit) = limit_clause {
            match limit {
                ast::LimitClause::LimitOffset { limit, offset, limit_by } => {
                    if !limit_by.is_empty() {
                        return Err(unsupported("LIMIT BY"));
                    }
                    for expression in limit.iter().chain(offset.iter().map(|offset| &offset.value))
                    {
                        self.limit(expression, &nothing)?;
                    }
                }
                ast::LimitClause::OffsetCommaLimit { offset, limit } => {
                    self.limit(offset, &nothing)?;
                    self.limit(limit, &nothing)?;
                }
            }
        }
        if let Some(ast::Fetch { with_ties: _, percent: _, quantity: Some(quantity) }) = fetch {
            self.limit(quantity, &nothing)?;
        }
        Ok(fields)
    }

    fn limit(&mut self, expression: &ast::Expr, scope: &Scope<'_>) -> Result<(), Problem> {
        let provenance = self.expression(expression, scope)?;
        self.steer(Place::Limit, provenance.sources, Steering::Expression);
        Ok(())
    }

    /// Each CTE sees the ones before it, and itself where it is recursive.
    fn with<'c>(
        &mut self,
        with: &ast::With,
        ctes: &mut Ctes<'c>,
        parent: Option<&Scope<'_>>,
    ) -> Result<(), Problem> {
        let ast::With { with_token: _, recursive, cte_tables } = with;
        for cte in cte_tables {
            let ast::Cte { alias, query, from, materialized: _, closing_paren_token: _ } = cte;
            if from.is_some() {
                return Err(unsupported("FROM in a CTE"));
            }
            let (name, columns) = self.alias(alias)?;
            let name = name.ok_or_else(|| named("a CTE without a name"))?;
            let fields = match recursive_parts(query) {
                Some((left, right, quantifier)) => self.recursive(
                    &Recursion {
                        name: &name,
                        columns: &columns,
                        left,
                        right,
                        quantifier,
                        declared: *recursive,
                    },
                    query,
                    ctes,
                    parent,
                )?,
                None => {
                    let fields = self.query(query, ctes, parent)?;
                    rename(fields, &columns)?
                }
            };
            ctes.entries.push((name, Rc::new(fields)));
        }
        Ok(())
    }

    /// A CTE whose second part may read the CTE itself: taint goes round until it settles.
    fn recursive(
        &mut self,
        recursion: &Recursion<'_>,
        query: &ast::Query,
        ctes: &Ctes<'_>,
        parent: Option<&Scope<'_>>,
    ) -> Result<Vec<Field>, Problem> {
        let Recursion { name, columns, left, right, quantifier, declared } = *recursion;
        if !reads(right, name) {
            self.defining.push(name.to_owned());
            let fields = self.query(query, ctes, parent);
            self.defining.pop();
            return rename(fields?, columns);
        }
        if !declared && self.is_object(name) {
            return Err(super::both_cte_and_object(name));
        }
        if query.with.is_some() {
            return Err(unsupported("WITH inside of a recursive CTE"));
        }
        self.defining.push(name.to_owned());
        let anchor = self.set_expression(left, ctes, parent, None);
        self.defining.pop();
        let mut fields = rename(anchor?, columns)?;
        for _ in 0..ROUNDS {
            let mut inner = Ctes::inside(ctes);
            inner.entries.push((name.to_owned(), Rc::new(fields.clone())));
            let step = self.set_expression(right, &inner, parent, None)?;
            let next = self.combine(&fields, &step, ast::SetOperator::Union, quantifier)?;
            if next == fields {
                return Ok(fields);
            }
            fields = next;
        }
        Err(unknown(&format!("the columns of the recursive CTE {name} do not settle")))
    }

    pub(super) fn set_expression(
        &mut self,
        body: &ast::SetExpr,
        ctes: &Ctes<'_>,
        parent: Option<&Scope<'_>>,
        order: Option<&ast::OrderBy>,
    ) -> Result<Vec<Field>, Problem> {
        self.deeper(|this| match body {
            ast::SetExpr::Select(select) => this.select(select, ctes, parent, order),
            ast::SetExpr::Query(query) => {
                let fields = this.query(query, ctes, parent)?;
                this.order_result(order, &fields, ctes)?;
                Ok(fields)
            }
            ast::SetExpr::SetOperation { left, op, set_quantifier, right } => {
                let left = this.set_expression(left, ctes, parent, None)?;
                let right = this.set_expression(right, ctes, parent, None)?;
                let fields = this.combine(&left, &right, *op, *set_quantifier)?;
                this.order_result(order, &fields, ctes)?;
                Ok(fields)
            }
            ast::SetExpr::Values(values) => {
                let fields = this.values(values, &Scope::new(ctes, parent))?;
                this.order_result(order, &fields, ctes)?;
                Ok(fields)
            }
            ast::SetExpr::Insert(_)
            | ast::SetExpr::Update(_)
            | ast::SetExpr::Delete(_)
            | ast::SetExpr::Merge(_) => {
                Err(unsupported("a statement that writes inside of a query"))
            }
            ast::SetExpr::Table(_) => Err(unsupported("TABLE in place of a query")),
        })
    }

    /// One set operation.
    fn combine(
        &mut self,
        left: &[Field],
        right: &[Field],
        operator: ast::SetOperator,
        quantifier: ast::SetQuantifier,
    ) -> Result<Vec<Field>, Problem> {
        let (by_name, all) = match quantifier {
            ast::SetQuantifier::All => (false, true),
            ast::SetQuantifier::Distinct | ast::SetQuantifier::None => (false, false),
            ast::SetQuantifier::ByName | ast::SetQuantifier::DistinctByName => (true, false),
            ast::SetQuantifier::AllByName => (true, true),
        };
        let compares = match operator {
            ast::SetOperator::Union => !all,
            ast::SetOperator::Except | ast::SetOperator::Intersect | ast::SetOperator::Minus => {
                true
            }
        };
        self.widen(left.len().max(right.len()))?;
        if by_name {
            self.look_through((left.len() + right.len()).saturating_pow(2))?;
        }
        let null = Field { name: None, provenance: Provenance::clean() };
        let mut pairs: Vec<(Option<String>, &Field, &Field)> = Vec::new();
        if by_name {
            named_apart(left)?;
            named_apart(right)?;
            for field in left {
                let other =
                    right.iter().find(|other| other.name == field.name && field.name.is_some());
                pairs.push((field.name.clone(), field, other.unwrap_or(&null)));
            }
            for field in right {
                if !left.iter().any(|other| other.name == field.name && field.name.is_some()) {
                    pairs.push((field.name.clone(), &null, field));
                }
            }
        } else {
            if left.len() != right.len() && !self.is_missing() {
                return Err(named(
                    "the two sides of a set operation differ in their number of columns",
                ));
            }
            pairs.extend(left.iter().zip(right).map(|(one, two)| (one.name.clone(), one, two)));
        }
        let mut fields = Vec::with_capacity(pairs.len());
        for (name, one, two) in pairs {
            let (one, two) = (&one.provenance, &two.provenance);
            let is_same = matches!(one.shape, Shape::Bare | Shape::Plain)
                && matches!(two.shape, Shape::Bare | Shape::Plain)
                && one.sources == two.sources;
            let provenance = one.clone().either(two);
            if compares && !is_same {
                self.steer(Place::Set, provenance.sources.clone(), Steering::Expression);
            }
            fields.push(Field { name, provenance });
        }
        Ok(fields)
    }

    /// Rows of VALUES: columns by position.
    pub(super) fn values(
        &mut self,
        values: &ast::Values,
        scope: &Scope<'_>,
    ) -> Result<Vec<Field>, Problem> {
        let ast::Values { explicit_row: _, value_keyword: _, rows } = values;
        let mut columns: Vec<Provenance> = Vec::new();
        for row in rows {
            for (position, cell) in row.content.iter().enumerate() {
                let provenance = self.expression(cell, scope)?;
                match columns.get_mut(position) {
                    // A column of several constants is not one constant.
                    Some(column) => *column = column.clone().either(&provenance).mixed_rows(),
                    None => columns.push(provenance),
                }
            }
        }
        Ok(columns
            .into_iter()
            .enumerate()
            .map(|(index, provenance)| Field {
                name: Some(format!("COLUMN{}", index + 1)),
                provenance,
            })
            .collect())
    }

    fn select(
        &mut self,
        select: &ast::Select,
        ctes: &Ctes<'_>,
        parent: Option<&Scope<'_>>,
        order: Option<&ast::OrderBy>,
    ) -> Result<Vec<Field>, Problem> {
        let ast::Select {
            select_token: _,
            // Hints are comments; the server gives them no meaning.
            optimizer_hints: _,
            distinct,
            select_modifiers,
            top,
            top_before_distinct: _,
            projection,
            exclude,
            into,
            from,
            lateral_views,
            prewhere,
            selection,
            connect_by,
            group_by,
            cluster_by,
            distribute_by,
            sort_by,
            having,
            named_window,
            qualify,
            window_before_qualify: _,
            value_table_mode,
            flavor,
        } = select;
        if select_modifiers.as_ref().is_some_and(ast::SelectModifiers::is_any_set)
            || exclude.is_some()
            || into.is_some()
            || !lateral_views.is_empty()
            || prewhere.is_some()
            || !cluster_by.is_empty()
            || !distribute_by.is_empty()
            || !sort_by.is_empty()
            || !named_window.is_empty()
            || value_table_mode.is_some()
        {
            return Err(unsupported("this clause of a SELECT"));
        }
        match flavor {
            ast::SelectFlavor::Standard => {}
            ast::SelectFlavor::FromFirst | ast::SelectFlavor::FromFirstNoSelect => {
                return Err(unsupported("FROM before SELECT"));
            }
        }
        let mut scope = self.from(from, ctes, parent)?;
        scope.hierarchical = !connect_by.is_empty();
        let fields = self.projection(projection, &mut scope)?;
        for clause in connect_by {
            match clause {
                ast::ConnectByKind::ConnectBy { connect_token: _, nocycle: _, relationships } => {
                    for condition in relationships {
                        self.condition(condition, &scope, Place::Match)?;
                    }
                }
                ast::ConnectByKind::StartWith { start_token: _, condition } => {
                    self.condition(condition, &scope, Place::Match)?;
                }
            }
        }
        if let Some(condition) = selection {
            self.condition(condition, &scope, Place::Where)?;
        }
        self.group(group_by, &fields, &scope)?;
        if let Some(condition) = having {
            self.condition(condition, &scope, Place::Having)?;
        }
        if let Some(condition) = qualify {
            self.condition(condition, &scope, Place::Qualify)?;
        }
        match distinct {
            None | Some(ast::Distinct::All) => {}
            Some(ast::Distinct::Distinct) => {
                for field in fields.iter().filter(|field| !is_direct(&field.provenance)) {
                    let columns = field.provenance.sources.clone();
                    self.steer(Place::Distinct, columns, Steering::Expression);
                }
            }
            Some(ast::Distinct::On(_)) => return Err(unsupported("DISTINCT ON")),
        }
        if let Some(ast::Top { with_ties: _, percent: _, quantity }) = top {
            match quantity {
                Some(ast::TopQuantity::Expr(expression)) => {
                    self.limit(expression, &Scope::new(ctes, None))?;
                }
                Some(ast::TopQuantity::Constant(_)) | None => {}
            }
        }
        self.order(order, &fields, &scope)?;
        Ok(fields)
    }

    fn projection(
        &mut self,
        items: &[ast::SelectItem],
        scope: &mut Scope<'_>,
    ) -> Result<Vec<Field>, Problem> {
        let mut fields = Vec::with_capacity(items.len());
        for item in items {
            match item {
                ast::SelectItem::UnnamedExpr(expression) => {
                    let provenance = self.expression(expression, scope)?;
                    self.widen(1 + provenance.sources.len() / 8)?;
                    fields.push(Field { name: implied_name(expression), provenance });
                }
                ast::SelectItem::ExprWithAlias { expr, alias } => {
                    let provenance = self.expression(expr, scope)?;
                    self.widen(1 + provenance.sources.len() / 8)?;
                    let name = stored(alias)?;
                    scope.aliases.push((name.clone(), provenance.clone()));
                    fields.push(Field { name: Some(name), provenance });
                }
                ast::SelectItem::ExprWithAliases { expr: _, aliases: _ } => {
                    return Err(unsupported("several aliases of one expression"));
                }
                ast::SelectItem::QualifiedWildcard(kind, options) => match kind {
                    ast::SelectItemQualifiedWildcardKind::ObjectName(name) => {
                        let expanded = self.qualified_star(&parts(name)?, scope)?;
                        fields.extend(self.star(expanded, options, scope)?);
                        self.bound(scope);
                    }
                    ast::SelectItemQualifiedWildcardKind::Expr(_) => {
                        return Err(unsupported("`.*` behind an expression"));
                    }
                },
                ast::SelectItem::Wildcard(options) => {
                    let expanded = self.starred(options, scope)?;
                    fields.extend(self.star(expanded, options, scope)?);
                    self.bound(scope);
                }
            }
        }
        Ok(fields)
    }

    /// Behind a star with columns that nobody knows, nobody knows the positions either: fine where nothing is masked,
    /// and refused where something is.
    fn bound(&mut self, scope: &Scope<'_>) {
        if scope.is_open() {
            self.boundless =
                Some("`*` shows columns that only the server knows; name the ones you need");
        }
    }

    /// Grouping by a bare column shows only how often values occur; by an expression it compares them.
    fn group(
        &mut self,
        group_by: &ast::GroupByExpr,
        fields: &[Field],
        scope: &Scope<'_>,
    ) -> Result<(), Problem> {
        let (expressions, modifiers) = match group_by {
            ast::GroupByExpr::All(modifiers) => {
                for field in fields.iter().filter(|field| !field.provenance.aggregate) {
                    self.group_key(&field.provenance);
                }
                (&[][..], modifiers)
            }
            ast::GroupByExpr::Expressions(expressions, modifiers) => {
                (expressions.as_slice(), modifiers)
            }
        };
        for expression in expressions {
            self.group_expression(expression, fields, scope)?;
        }
        for modifier in modifiers {
            match modifier {
                ast::GroupByWithModifier::GroupingSets(expression) => {
                    self.group_expression(expression, fields, scope)?;
                }
                ast::GroupByWithModifier::Rollup
                | ast::GroupByWithModifier::Cube
                | ast::GroupByWithModifier::Totals => {
                    return Err(unsupported("WITH ROLLUP, CUBE or TOTALS"));
                }
            }
        }
        Ok(())
    }

    fn group_expression(
        &mut self,
        expression: &ast::Expr,
        fields: &[Field],
        scope: &Scope<'_>,
    ) -> Result<(), Problem> {
        self.deeper(|this| match expression {
            ast::Expr::GroupingSets(sets) | ast::Expr::Cube(sets) | ast::Expr::Rollup(sets) => {
                for key in sets.iter().flatten() {
                    this.group_expression(key, fields, scope)?;
                }
                Ok(())
            }
            ast::Expr::Tuple(keys) => {
                for key in keys {
                    this.group_expression(key, fields, scope)?;
                }
                Ok(())
            }
            key => {
                let provenance = this.key(key, fields, scope)?;
                this.group_key(&provenance);
                Ok(())
            }
        })
    }

    fn group_key(&mut self, key: &Provenance) {
        if !is_direct(key) {
            self.steer(Place::Group, key.sources.clone(), Steering::Expression);
        }
    }

    /// A key of GROUP BY or ORDER BY: an ordinal, an alias or an expression.
    fn key(
        &mut self,
        key: &ast::Expr,
        fields: &[Field],
        scope: &Scope<'_>,
    ) -> Result<Provenance, Problem> {
        if let Some(position) = ordinal(key) {
            return position
                .checked_sub(1)
                .and_then(|index| fields.get(index))
                .map(|field| field.provenance.clone())
                .ok_or_else(|| named("an ordinal beyond the columns of the SELECT"));
        }
        if let ast::Expr::Identifier(identifier) = key {
            let name = stored(identifier)?;
            self.look_through(fields.len())?;
            let output = fields
                .iter()
                .filter(|field| field.name.as_deref() == Some(name.as_str()))
                .map(|field| field.provenance.clone())
                .reduce(|one, two| if one == two { one } else { one.either(&two) });
            if let (Some(output), Found::Nothing | Found::Ambiguous) =
                (&output, scope.column(&name))
            {
                return Ok(output.clone());
            }
            let inner = self.expression(key, scope)?;
            return Ok(match output {
                Some(output) if output != inner => output.either(&inner),
                Some(_) | None => inner,
            });
        }
        self.expression(key, scope)
    }

    fn order(
        &mut self,
        order: Option<&ast::OrderBy>,
        fields: &[Field],
        scope: &Scope<'_>,
    ) -> Result<(), Problem> {
        let Some(ast::OrderBy { kind, interpolate }) = order else {
            return Ok(());
        };
        if interpolate.is_some() {
            return Err(unsupported("INTERPOLATE"));
        }
        let all = |this: &mut Self| {
            for field in fields {
                let columns = field.provenance.sources.clone();
                this.steer(Place::Order, columns, Steering::Expression);
            }
        };
        match kind {
            ast::OrderByKind::All(_) => all(self),
            // The parser reads Snowflake's ORDER BY ALL as a column of that (reserved) name.
            ast::OrderByKind::Expressions(keys)
                if matches!(keys.as_slice(), [ast::OrderByExpr { expr: ast::Expr::Identifier(word), .. }]
                    if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("ALL")) =>
            {
                all(self);
            }
            ast::OrderByKind::Expressions(keys) => {
                for ast::OrderByExpr { expr, options: _, with_fill } in keys {
                    if with_fill.is_some() {
                        return Err(unsupported("WITH FILL"));
                    }
                    let key = self.key(expr, fields, scope)?;
                    self.steer(Place::Order, key.sources, Steering::Expression);
                }
            }
        }
        Ok(())
    }

    /// ORDER BY behind something that is not one SELECT: only its output columns can be named.
    fn order_result(
        &mut self,
        order: Option<&ast::OrderBy>,
        fields: &[Field],
        ctes: &Ctes<'_>,
    ) -> Result<(), Problem> {
        let mut scope = Scope::new(ctes, None);
        scope.aliases = fields
            .iter()
            .filter_map(|field| Some((field.name.clone()?, field.provenance.clone())))
            .collect();
        self.order(order, fields, &scope)
    }
}

/// Columns that BY NAME can pair: each has a name of its own.
fn named_apart(fields: &[Field]) -> Result<(), Problem> {
    for (index, field) in fields.iter().enumerate() {
        match &field.name {
            None => return Err(named("BY NAME needs a name for each column; give it an alias")),
            name if fields.iter().skip(index + 1).any(|other| other.name == *name) => {
                return Err(named("two columns of one name in a set operation BY NAME"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// The parts of a CTE that could be recursive.
#[derive(Clone, Copy)]
struct Recursion<'q> {
    name: &'q str,
    columns: &'q [String],
    left: &'q ast::SetExpr,
    right: &'q ast::SetExpr,
    quantifier: ast::SetQuantifier,
    /// The keyword RECURSIVE stands there.
    declared: bool,
}

fn recursive_parts(
    query: &ast::Query,
) -> Option<(&ast::SetExpr, &ast::SetExpr, ast::SetQuantifier)> {
    match &*query.body {
        ast::SetExpr::SetOperation { left, op: ast::SetOperator::Union, set_quantifier, right } => {
            Some((left, right, *set_quantifier))
        }
        _ => None,
    }
}

/// Whether a part reads a one-part name in its own FROM. Where the name is read deeper inside, the CTE is still being
/// defined then, and `Resolver::defining` refuses it.
fn reads(body: &ast::SetExpr, name: &str) -> bool {
    let is_it = |factor: &ast::TableFactor| match factor {
        ast::TableFactor::Table { name: written, .. } => super::parts(written)
            .is_ok_and(|parts| matches!(parts.as_slice(), [one] if one == name)),
        _ => false,
    };
    match body {
        ast::SetExpr::Select(select) => select.from.iter().any(|from| {
            is_it(&from.relation) || from.joins.iter().any(|join| is_it(&join.relation))
        }),
        ast::SetExpr::SetOperation { left, right, .. } => reads(left, name) || reads(right, name),
        _ => false,
    }
}

/// Gives the columns of a CTE or derived table the names of its alias list.
pub(super) fn rename(mut fields: Vec<Field>, names: &[String]) -> Result<Vec<Field>, Problem> {
    if names.is_empty() {
        return Ok(fields);
    }
    if names.len() != fields.len() {
        return Err(named("a list of column names differs in length from the columns it names"));
    }
    for (field, name) in fields.iter_mut().zip(names) {
        field.name = Some(name.clone());
    }
    Ok(fields)
}

/// The column itself: grouping and deduplicating by it shows only how often values occur.
fn is_direct(provenance: &Provenance) -> bool {
    provenance.is_bare()
}

/// The name that the server gives an expression without alias, where it is certain.
pub(super) fn implied_name(expression: &ast::Expr) -> Option<String> {
    match expression {
        ast::Expr::Identifier(identifier) => stored(identifier).ok(),
        ast::Expr::CompoundIdentifier(parts) => parts.last().and_then(|last| stored(last).ok()),
        _ => None,
    }
}

/// The position that a key of GROUP BY or ORDER BY names.
fn ordinal(key: &ast::Expr) -> Option<usize> {
    match key {
        ast::Expr::Value(value) => match &value.value {
            ast::Value::Number(digits, _) => digits.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}
