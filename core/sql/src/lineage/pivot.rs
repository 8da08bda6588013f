//! PIVOT and UNPIVOT: rows become columns, columns become rows.

use super::provenance::Provenance;
use super::scope::{Field, Found, Scope};
use super::{Resolver, Steering, named, stored, unknown, unsupported};
use crate::dialect::ast;
use crate::{Place, Problem};

impl Resolver<'_> {
    /// PIVOT keeps the columns it does not use, and adds one per value. Whether only the data knows which these are.
    pub(super) fn pivot(
        &mut self,
        inner: &Scope<'_>,
        aggregates: &[ast::ExprWithAlias],
        value_column: &[ast::Expr],
        source: &ast::PivotValueSource,
        default: &Provenance,
    ) -> Result<(Vec<Field>, bool), Problem> {
        let [aggregate] = aggregates else {
            return Err(unknown("PIVOT with several aggregates is not followed"));
        };
        let [value_column] = value_column else {
            return Err(unknown("PIVOT over several columns is not followed"));
        };
        let pivoted = self.expression(value_column, inner)?;
        self.steer(Place::Pivot, pivoted.sources.clone(), Steering::Expression);
        let value = self.expression(&aggregate.expr, inner)?.with(&pivoted).with(default);
        let value = value.mixed_rows();
        let mut used = column_names(value_column, inner)?;
        used.extend(column_names(&aggregate.expr, inner)?);
        let mut fields: Vec<Field> = inner
            .visible
            .iter()
            .filter(|visible| visible.name.as_ref().is_none_or(|name| !used.contains(name)))
            .cloned()
            .collect();
        // What is kept is grouped by.
        for kept in fields.iter().filter(|kept| !kept.provenance.is_bare()) {
            self.steer(Place::Group, kept.provenance.sources.clone(), Steering::Expression);
        }
        let values = match source {
            ast::PivotValueSource::List(values) => values,
            ast::PivotValueSource::Any(order) => {
                self.order_keys(order, inner)?;
                return Ok((self.boundless(fields), true));
            }
            ast::PivotValueSource::Subquery(query) => {
                self.query(query, inner.ctes, inner.parent)?;
                return Ok((self.boundless(fields), true));
            }
        };
        for ast::ExprWithAlias { expr, alias } in values {
            let listed = self.expression(expr, inner)?;
            if !listed.is_clean() {
                return Err(unsupported("a column in the list of PIVOT"));
            }
            let name = match alias {
                Some(alias) => Some(stored(alias)?),
                None => literal_name(expr),
            };
            fields.push(Field { name, provenance: value.clone() });
        }
        Ok((fields, false))
    }

    /// Which columns there are is up to the data: fine where nothing is masked, and refused where something is.
    fn boundless(&mut self, kept: Vec<Field>) -> Vec<Field> {
        self.boundless =
            Some("PIVOT without a list of values has columns that only the data knows");
        kept
    }

    /// UNPIVOT turns columns into rows: the value column shows all of them.
    pub(super) fn unpivot(
        &mut self,
        inner: &Scope<'_>,
        value: &ast::Expr,
        name: &ast::Ident,
        columns: &[ast::ExprWithAlias],
    ) -> Result<Vec<Field>, Problem> {
        let ast::Expr::Identifier(value) = value else {
            return Err(unknown("UNPIVOT into several columns is not followed"));
        };
        let mut shown = Provenance::clean();
        let mut used = Vec::with_capacity(columns.len());
        for ast::ExprWithAlias { expr, alias: _ } in columns {
            let column = match expr {
                ast::Expr::Identifier(identifier) => stored(identifier)?,
                ast::Expr::CompoundIdentifier(parts) => match parts.last() {
                    Some(last) => stored(last)?,
                    None => return Err(named("an empty name in UNPIVOT")),
                },
                _ => return Err(unknown("an expression in the list of UNPIVOT is not followed")),
            };
            match scope_column(inner, &column) {
                Some(provenance) => {
                    // There is no row for a NULL, and whether an expression is NULL compares.
                    if !provenance.is_bare() {
                        let columns = provenance.sources.clone();
                        self.steer(Place::Pivot, columns, Steering::Expression);
                    }
                    shown = shown.with(&provenance);
                }
                None => return Err(named(&format!("there is no column {column} to UNPIVOT"))),
            }
            used.push(column);
        }
        let mut fields: Vec<Field> = inner
            .visible
            .iter()
            .filter(|visible| visible.name.as_ref().is_none_or(|name| !used.contains(name)))
            .cloned()
            .collect();
        fields.push(Field { name: Some(stored(name)?), provenance: Provenance::clean() });
        fields.push(Field { name: Some(stored(value)?), provenance: shown });
        Ok(fields)
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
        Found::Nothing if scope.is_open() => Some(Provenance::clean()),
        Found::Ambiguous | Found::Nothing => None,
    }
}
