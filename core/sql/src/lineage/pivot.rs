//! PIVOT and UNPIVOT: rows become columns, columns become rows.

use std::rc::Rc;

use super::provenance::Provenance;
use super::scope::{Field, Found, Scope};
use super::table::Rows;
use super::{Resolver, Steering, named, stored, unknown, unsupported};
use crate::dialect::ast;
use crate::{Place, Problem};

/// PIVOT, as written.
pub(super) struct Pivot<'q> {
    pub(super) aggregates: &'q [ast::ExprWithAlias],
    /// Whose values become columns.
    pub(super) columns: &'q [ast::Expr],
    pub(super) source: &'q ast::PivotValueSource,
    /// What stands where there is no row.
    pub(super) default: &'q Provenance,
}

impl Resolver<'_> {
    /// PIVOT keeps the columns it does not use, and adds some per value. In which order several aggregates give theirs
    /// is not said anywhere, so each column may be of any of them.
    pub(super) fn pivot(&mut self, inner: &Scope<'_>, pivot: &Pivot<'_>) -> Result<Rows, Problem> {
        let Pivot { aggregates, columns, source, default } = *pivot;
        let mut used = Vec::new();
        let mut value = default.clone();
        for column in columns {
            let pivoted = self.expression(column, inner)?;
            self.steer(Place::Pivot, pivoted.sources.clone(), Steering::Expression);
            value = value.with(&pivoted);
            used.extend(column_names(column, inner)?);
        }
        for ast::ExprWithAlias { expr, alias: _ } in aggregates {
            value = value.with(&self.expression(expr, inner)?);
            used.extend(column_names(expr, inner)?);
        }
        let value = value.mixed_rows();
        self.look_through(used.len().saturating_mul(inner.visible.len()))?;
        let mut fields = left_over(inner, &used);
        // What is kept is grouped by.
        for kept in fields.iter().filter(|kept| !kept.provenance.is_bare()) {
            self.steer(Place::Group, kept.provenance.sources.clone(), Steering::Expression);
        }
        let values = match source {
            ast::PivotValueSource::List(values) => values,
            ast::PivotValueSource::Any(order) => {
                self.order_keys(order, inner)?;
                return Ok(only_data_knows(fields, value, inner));
            }
            ast::PivotValueSource::Subquery(query) => {
                self.query(query, inner.ctes, inner.parent)?;
                return Ok(only_data_knows(fields, value, inner));
            }
        };
        for ast::ExprWithAlias { expr, alias } in values {
            let listed = self.expression(expr, inner)?;
            if !listed.is_clean() {
                return Err(unsupported("a column in the list of PIVOT"));
            }
            let heading = match alias {
                Some(alias) => Some(stored(alias)?),
                None => literal_name(expr),
            };
            for ast::ExprWithAlias { expr: _, alias } in aggregates {
                let name = match (alias, &heading) {
                    (Some(alias), Some(heading)) => Some(format!("{heading}_{}", stored(alias)?)),
                    (None, heading) if aggregates.len() == 1 => heading.clone(),
                    (Some(_) | None, _) => None,
                };
                fields.push(Field { name, provenance: value.clone() });
            }
        }
        Ok(Rows { fields: Rc::new(fields), rest: inner.rest() })
    }

    /// UNPIVOT turns columns into rows: each value column shows all that it is listed for.
    pub(super) fn unpivot(
        &mut self,
        inner: &Scope<'_>,
        value: &ast::Expr,
        name: &ast::Ident,
        columns: &[ast::ExprWithAlias],
        skips: bool,
    ) -> Result<Rows, Problem> {
        let values = items(value);
        let mut shown = vec![Provenance::clean(); values.len()];
        let mut used = Vec::with_capacity(columns.len());
        for ast::ExprWithAlias { expr, alias: _ } in columns {
            let listed = items(expr);
            if listed.len() != values.len() {
                return Err(named("UNPIVOT lists as many columns each time as it makes"));
            }
            for (column, shown) in listed.iter().zip(&mut shown) {
                let column = plain_name(column)?;
                let Some(provenance) = scope_column(inner, &column) else {
                    return Err(named(&format!("there is no column {column} to UNPIVOT")));
                };
                // There is no row for a NULL, and whether an expression is NULL compares.
                if skips && !provenance.is_bare() {
                    let columns = provenance.sources.clone();
                    self.steer(Place::Pivot, columns, Steering::Expression);
                }
                *shown = std::mem::replace(shown, Provenance::clean()).with(&provenance);
                used.push(column);
            }
        }
        self.look_through(used.len().saturating_mul(inner.visible.len()))?;
        let mut fields = left_over(inner, &used);
        fields.push(Field { name: Some(stored(name)?), provenance: Provenance::clean() });
        for (value, provenance) in values.iter().zip(shown) {
            fields.push(Field { name: Some(plain_name(value)?), provenance });
        }
        Ok(Rows { fields: Rc::new(fields), rest: inner.rest() })
    }
}

/// Which columns there are besides those that are kept is up to the data.
fn only_data_knows(kept: Vec<Field>, value: Provenance, inner: &Scope<'_>) -> Rows {
    let rest = match inner.rest() {
        Some(rest) => rest.either(&value),
        None => value,
    };
    Rows { fields: Rc::new(kept), rest: Some(rest) }
}

/// The columns that stay what they were.
fn left_over(inner: &Scope<'_>, used: &[String]) -> Vec<Field> {
    let is_used = |field: &&Field| field.name.as_ref().is_none_or(|name| !used.contains(name));
    inner.visible.iter().filter(is_used).cloned().collect()
}

/// The parts of `(a, b)`, or the one that stands alone.
fn items(expression: &ast::Expr) -> &[ast::Expr] {
    match expression {
        ast::Expr::Tuple(items) => items,
        ast::Expr::Nested(inner) => std::slice::from_ref(inner),
        one => std::slice::from_ref(one),
    }
}

/// A name, where UNPIVOT takes nothing else.
fn plain_name(expression: &ast::Expr) -> Result<String, Problem> {
    match expression {
        ast::Expr::Identifier(identifier) => stored(identifier),
        ast::Expr::CompoundIdentifier(parts) => match parts.last() {
            Some(last) => stored(last),
            None => Err(named("an empty name in UNPIVOT")),
        },
        _ => Err(unknown("an expression in the list of UNPIVOT is not followed")),
    }
}

/// The column that a value of PIVOT's list becomes is named as the value is written.
fn literal_name(value: &ast::Expr) -> Option<String> {
    let ast::Expr::Value(value) = value else { return None };
    match &value.value {
        ast::Value::SingleQuotedString(text) if !text.contains(['\'', '\\']) => {
            Some(format!("'{text}'"))
        }
        ast::Value::Number(digits, _) if digits.bytes().all(|digit| digit.is_ascii_digit()) => {
            Some(digits.clone())
        }
        _ => None,
    }
}

/// Names of the columns that an expression of PIVOT takes away from the result.
fn column_names(expression: &ast::Expr, scope: &Scope<'_>) -> Result<Vec<String>, Problem> {
    let column = |identifier: &ast::Ident| -> Result<Vec<String>, Problem> {
        let name = stored(identifier)?;
        match scope.column(&name) {
            Found::One(_) => Ok(vec![name]),
            Found::Ambiguous | Found::Nothing => Err(named("an unknown column in PIVOT")),
        }
    };
    match expression {
        ast::Expr::Identifier(identifier) => column(identifier),
        ast::Expr::CompoundIdentifier(parts) => match parts.last() {
            Some(last) => column(last),
            None => Ok(Vec::new()),
        },
        ast::Expr::Function(function) => match &function.args {
            ast::FunctionArguments::List(list) => match list.args.as_slice() {
                [ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(inner))] => {
                    column_names(inner, scope)
                }
                _ => Err(unknown("this aggregate of PIVOT is not followed")),
            },
            ast::FunctionArguments::None | ast::FunctionArguments::Subquery(_) => {
                Err(unknown("this aggregate of PIVOT is not followed"))
            }
        },
        _ => Err(unknown("this aggregate of PIVOT is not followed")),
    }
}

fn scope_column(scope: &Scope<'_>, name: &str) -> Option<Provenance> {
    match scope.column(name) {
        Found::One(provenance) => Some(provenance),
        Found::Ambiguous | Found::Nothing => None,
    }
}
