//! Whether a predicate bounds the rows that UPDATE, DELETE and MERGE reach: it depends on the row, and where other
//! tables are joined it ties them to the target.
//!
//! A predicate that only looks like one is none: `1 = 1`, `a = a`, `NOT FALSE`, `b < 5 OR b >= 5`, an EXISTS that does
//! not ask about the row.

use std::collections::HashMap;

use super::provenance::{Id, Provenance};
use super::scope::{Field, Relation, Scope};
use super::{Resolver, stored};
use crate::Problem;
use crate::dialect::ast;

/// Stands for every column of the target. No base column has these numbers.
const TARGET: Id = Id::MAX;
/// Stands for every column of the other tables.
const OTHER: Id = Id::MAX - 1;

/// What a predicate says of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Truth {
    /// True for every row, NULLs apart.
    Always,
    /// True for none.
    Never,
    /// The same for every row of the target, and nobody knows which.
    Fixed,
    /// It depends on the row.
    Varies,
}

impl Truth {
    fn of(is: bool) -> Self {
        if is { Self::Always } else { Self::Never }
    }

    fn negated(self, negates: bool) -> Self {
        match self {
            Self::Always if negates => Self::Never,
            Self::Never if negates => Self::Always,
            other => other,
        }
    }
}

/// Which relations an expression reads.
#[derive(Clone, Copy)]
struct Reads {
    target: bool,
    other: bool,
}

impl Resolver<'_> {
    /// Whether the predicate of a change bounds it. The first relation of the scope is the target.
    pub(crate) fn is_bounded(
        &mut self,
        predicate: &ast::Expr,
        scope: &Scope<'_>,
    ) -> Result<bool, Problem> {
        let marked = marked(scope);
        let varies = self.truth(predicate, &marked)? == Truth::Varies;
        Ok(varies && (marked.relations.len() < 2 || self.ties(predicate, &marked)?))
    }

    /// Whether a further condition depends on the row of the target.
    pub(crate) fn narrows(
        &mut self,
        condition: &ast::Expr,
        scope: &Scope<'_>,
    ) -> Result<bool, Problem> {
        Ok(self.truth(condition, &marked(scope))? == Truth::Varies)
    }

    fn truth(&mut self, predicate: &ast::Expr, scope: &Scope<'_>) -> Result<Truth, Problem> {
        self.deeper(|this| match predicate {
            ast::Expr::Nested(inner) | ast::Expr::IsTrue(inner) | ast::Expr::IsNotFalse(inner) => {
                this.truth(inner, scope)
            }
            ast::Expr::UnaryOp { op: ast::UnaryOperator::Not, expr: inner }
            | ast::Expr::IsFalse(inner)
            | ast::Expr::IsNotTrue(inner) => Ok(this.truth(inner, scope)?.negated(true)),
            ast::Expr::BinaryOp {
                op: op @ (ast::BinaryOperator::And | ast::BinaryOperator::Or),
                ..
            } => this.chain(predicate, op, scope),
            leaf => {
                let reads = this.reads(leaf, scope)?;
                Ok(match obvious(leaf, scope) {
                    Some(truth) => truth,
                    None if reads.target => Truth::Varies,
                    None => Truth::Fixed,
                })
            }
        })
    }

    /// Several predicates joined by AND or by OR.
    fn chain(
        &mut self,
        predicate: &ast::Expr,
        operator: &ast::BinaryOperator,
        scope: &Scope<'_>,
    ) -> Result<Truth, Problem> {
        // One of these decides alone: FALSE an AND, TRUE an OR.
        let is_and = *operator == ast::BinaryOperator::And;
        let decisive = Truth::of(!is_and);
        let mut parts = Vec::new();
        operands(predicate, operator, &mut parts);
        let mut truths = Vec::with_capacity(parts.len());
        for part in &parts {
            truths.push(self.truth(part, scope)?);
        }
        let has = |truth| truths.contains(&truth);
        // Of an AND one part that varies is enough; of an OR a part that may be true for all rows is too much.
        let (first, second) =
            if is_and { (Truth::Varies, Truth::Fixed) } else { (Truth::Fixed, Truth::Varies) };
        Ok(if has(decisive) || exclude(&parts, is_and, scope) {
            decisive
        } else if has(first) {
            first
        } else if has(second) {
            second
        } else {
            decisive.negated(true)
        })
    }

    /// Whether every way in which the predicate can hold ties the target to another table.
    fn ties(&mut self, predicate: &ast::Expr, scope: &Scope<'_>) -> Result<bool, Problem> {
        self.deeper(|this| match predicate {
            ast::Expr::Nested(inner) => this.ties(inner, scope),
            ast::Expr::BinaryOp { left, op: ast::BinaryOperator::And, right } => {
                Ok(this.ties(left, scope)? || this.ties(right, scope)?)
            }
            ast::Expr::BinaryOp { left, op: ast::BinaryOperator::Or, right } => {
                // A part that never holds is no way at all.
                let left = this.truth(left, scope)? == Truth::Never || this.ties(left, scope)?;
                let right = this.truth(right, scope)? == Truth::Never || this.ties(right, scope)?;
                Ok(left && right)
            }
            leaf => {
                let Reads { target, other } = this.reads(leaf, scope)?;
                Ok(target && other)
            }
        })
    }

    /// Which relations of a marked scope steer the value of an expression, also from inside of its subqueries.
    fn reads(&mut self, expression: &ast::Expr, scope: &Scope<'_>) -> Result<Reads, Problem> {
        let (uses, flows) = (self.uses.len(), self.flows.len());
        let found = self.expression(expression, scope);
        // The marks are no columns: what was noted of them is not for the policy.
        let steering = self.uses.split_off(uses);
        self.flows.truncate(flows);
        let mut ids = found?.sources;
        ids.extend(steering.into_iter().flat_map(|(_, columns, _)| columns));
        Ok(Reads { target: ids.contains(&TARGET), other: ids.contains(&OTHER) })
    }
}

/// The same names, with columns that only say whose they are.
fn marked<'a>(scope: &Scope<'a>) -> Scope<'a> {
    let width = scope.relations.first().map_or(0, |target| target.fields.len());
    let mark = |provenance: &Provenance, is_target: bool| {
        let id = if is_target { TARGET } else { OTHER };
        Provenance::bare(id, provenance.class).mixed()
    };
    let field = |field: &Field, is_target: bool| Field {
        name: field.name.clone(),
        provenance: mark(&field.provenance, is_target),
    };
    let mut marked = Scope::new(scope.ctes, None);
    let visible = scope.visible.iter().enumerate();
    marked.visible = visible.map(|(index, one)| field(one, index < width)).collect();
    let relations = scope.relations.iter().enumerate();
    marked.relations = relations
        .map(|(index, Relation { qualifier, fields, rest })| Relation {
            qualifier: qualifier.clone(),
            fields: fields.iter().map(|one| field(one, index == 0)).collect::<Vec<_>>().into(),
            rest: rest.as_ref().map(|rest| mark(rest, index == 0)),
        })
        .collect();
    marked
}

/// The operands of a chain of one operator.
fn operands<'e>(
    expression: &'e ast::Expr,
    operator: &ast::BinaryOperator,
    found: &mut Vec<&'e ast::Expr>,
) {
    match expression {
        ast::Expr::Nested(inner) => operands(inner, operator, found),
        ast::Expr::BinaryOp { left, op, right } if op == operator => {
            operands(left, operator, found);
            operands(right, operator, found);
        }
        other => found.push(other),
    }
}

/// What a predicate without AND, OR, NOT says whatever is in the row.
fn obvious(predicate: &ast::Expr, scope: &Scope<'_>) -> Option<Truth> {
    let key = |expression: &ast::Expr| key(expression, scope);
    let same = |one: &ast::Expr, two: &ast::Expr| key(one).is_some_and(|one| key(two) == Some(one));
    match predicate {
        ast::Expr::Value(value) => match &value.value {
            ast::Value::Boolean(is) => Some(Truth::of(*is)),
            ast::Value::Number(digits, _) => {
                digits.parse::<f64>().ok().map(|number| Truth::of(number != 0.0))
            }
            ast::Value::Null => Some(Truth::Never),
            _ => None,
        },
        ast::Expr::BinaryOp { left, op, right } => {
            let holds = relations_of(op)?;
            if same(left, right) {
                return Some(Truth::of(holds & EQUAL != 0));
            }
            literals(left, right).map(|relation| Truth::of(holds & relation != 0))
        }
        ast::Expr::IsNotDistinctFrom(one, two) if same(one, two) => Some(Truth::Always),
        ast::Expr::IsDistinctFrom(one, two) if same(one, two) => Some(Truth::Never),
        ast::Expr::InList { expr, list, negated } => {
            list.iter().any(|item| same(expr, item)).then(|| Truth::Always.negated(*negated))
        }
        ast::Expr::Between { expr, negated, low, high } => {
            (same(expr, low) && same(expr, high)).then(|| Truth::Always.negated(*negated))
        }
        ast::Expr::Like { negated, expr: _, pattern, .. }
        | ast::Expr::ILike { negated, expr: _, pattern, .. } => match &**pattern {
            ast::Expr::Value(value) => match &value.value {
                ast::Value::SingleQuotedString(text)
                    if !text.is_empty() && text.bytes().all(|byte| byte == b'%') =>
                {
                    Some(Truth::Always.negated(*negated))
                }
                _ => None,
            },
            _ => None,
        },
        ast::Expr::Function(ast::Function { name, args, .. }) => {
            let ast::FunctionArguments::List(list) = args else { return None };
            let [
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(one)),
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(two)),
            ] = list.args.as_slice()
            else {
                return None;
            };
            let is_equal_null = super::parts(name).is_ok_and(|parts| parts == ["EQUAL_NULL"]);
            (is_equal_null && same(one, two)).then_some(Truth::Always)
        }
        _ => None,
    }
}

const LESS: u8 = 1;
const EQUAL: u8 = 2;
const GREATER: u8 = 4;
const ALL: u8 = LESS | EQUAL | GREATER;

/// In which relations of its sides a comparison holds.
fn relations_of(operator: &ast::BinaryOperator) -> Option<u8> {
    Some(match operator {
        ast::BinaryOperator::Lt => LESS,
        ast::BinaryOperator::LtEq => LESS | EQUAL,
        ast::BinaryOperator::Eq => EQUAL,
        ast::BinaryOperator::NotEq => LESS | GREATER,
        ast::BinaryOperator::GtEq => EQUAL | GREATER,
        ast::BinaryOperator::Gt => GREATER,
        _ => return None,
    })
}

/// How two literals relate. Of texts only equality is certain: their order depends on a collation.
fn literals(left: &ast::Expr, right: &ast::Expr) -> Option<u8> {
    let (ast::Expr::Value(one), ast::Expr::Value(two)) = (left, right) else { return None };
    match (&one.value, &two.value) {
        (ast::Value::Number(one, _), ast::Value::Number(two, _)) => {
            let (one, two) = (one.parse::<f64>().ok()?, two.parse::<f64>().ok()?);
            Some(match one.partial_cmp(&two)? {
                std::cmp::Ordering::Less => LESS,
                std::cmp::Ordering::Equal => EQUAL,
                std::cmp::Ordering::Greater => GREATER,
            })
        }
        _ => None,
    }
}

/// Whether parts of a chain leave nothing over: of an OR every row is in one of them, of an AND none is in all.
fn exclude(parts: &[&ast::Expr], is_and: bool, scope: &Scope<'_>) -> bool {
    let mut seen: HashMap<String, u8> = HashMap::new();
    parts.iter().any(|part| {
        let Some((about, holds)) = test(part, false, scope) else { return false };
        // What is in none of the parts of an AND's negations is in all of them.
        let holds = if is_and { ALL ^ holds } else { holds };
        let together = seen.entry(about).or_default();
        *together |= holds;
        *together == ALL
    })
}

/// What a predicate is about, and in which of its outcomes it holds. What is no comparison has two outcomes.
fn test(predicate: &ast::Expr, negated: bool, scope: &Scope<'_>) -> Option<(String, u8)> {
    const NO: u8 = LESS | EQUAL;
    let outcome = |about: String, holds: u8| (about, if negated { ALL ^ holds } else { holds });
    match predicate {
        ast::Expr::Nested(inner) => test(inner, negated, scope),
        ast::Expr::UnaryOp { op: ast::UnaryOperator::Not, expr } => test(expr, !negated, scope),
        ast::Expr::BinaryOp { left, op, right } if relations_of(op).is_some() => {
            let holds = relations_of(op)?;
            let (left, right) = (key(left, scope)?, key(right, scope)?);
            if left <= right {
                return Some(outcome(format!("{left} <> {right}"), holds));
            }
            let turned = (holds & EQUAL)
                | if holds & LESS != 0 { GREATER } else { 0 }
                | if holds & GREATER != 0 { LESS } else { 0 };
            Some(outcome(format!("{right} <> {left}"), turned))
        }
        ast::Expr::IsNull(inner) => {
            Some(outcome(format!("{} is null", key(inner, scope)?), GREATER))
        }
        ast::Expr::IsNotNull(inner) => Some(outcome(format!("{} is null", key(inner, scope)?), NO)),
        ast::Expr::InList { expr, list, negated: not } => {
            let keys: Option<Vec<String>> = list.iter().map(|item| key(item, scope)).collect();
            let about = format!("{} in {}", key(expr, scope)?, keys?.join(", "));
            Some(outcome(about, if *not { NO } else { GREATER }))
        }
        ast::Expr::Between { expr, negated: not, low, high } => {
            let about =
                format!("{} in {} to {}", key(expr, scope)?, key(low, scope)?, key(high, scope)?);
            Some(outcome(about, if *not { NO } else { GREATER }))
        }
        ast::Expr::Like { negated: not, any: false, expr, pattern, escape_char: None } => {
            let about = format!("{} like {}", key(expr, scope)?, key(pattern, scope)?);
            Some(outcome(about, if *not { NO } else { GREATER }))
        }
        other => Some(outcome(key(other, scope)?, GREATER)),
    }
}

/// What an expression computes, so that two that compute the same have the same; nothing where that is unclear.
fn key(expression: &ast::Expr, scope: &Scope<'_>) -> Option<String> {
    match expression {
        ast::Expr::Nested(inner) => key(inner, scope),
        ast::Expr::Identifier(identifier) => column(std::slice::from_ref(identifier), scope),
        ast::Expr::CompoundIdentifier(parts) => column(parts, scope),
        ast::Expr::Value(value) => match &value.value {
            ast::Value::Number(digits, _) => Some(digits.clone()),
            ast::Value::SingleQuotedString(text) => Some(format!("'{text}'")),
            ast::Value::Boolean(is) => Some(is.to_string()),
            ast::Value::Null => Some("null".to_owned()),
            _ => None,
        },
        ast::Expr::BinaryOp {
            left,
            op:
                op @ (ast::BinaryOperator::Plus
                | ast::BinaryOperator::Minus
                | ast::BinaryOperator::Multiply
                | ast::BinaryOperator::Divide
                | ast::BinaryOperator::Modulo
                | ast::BinaryOperator::StringConcat),
            right,
        } => Some(format!("({} {op} {})", key(left, scope)?, key(right, scope)?)),
        ast::Expr::Function(ast::Function {
            name,
            args: ast::FunctionArguments::List(list),
            filter: None,
            over: None,
            ..
        }) if list.clauses.is_empty() => {
            let name = super::parts(name).ok()?.join(".");
            // Called twice, they give two values.
            if matches!(
                name.as_str(),
                "RANDOM" | "RANDSTR" | "UNIFORM" | "NORMAL" | "ZIPF" | "UUID_STRING"
            ) {
                return None;
            }
            let of = |arg: &ast::FunctionArg| match arg {
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(value)) => key(value, scope),
                _ => None,
            };
            let args: Option<Vec<String>> = list.args.iter().map(of).collect();
            Some(format!("{name}({})", args?.join(", ")))
        }
        _ => None,
    }
}

/// A column by its relation, however it is qualified.
fn column(written: &[ast::Ident], scope: &Scope<'_>) -> Option<String> {
    let parts: Vec<String> = written.iter().map(|part| stored(part).ok()).collect::<Option<_>>()?;
    let (name, qualifier) = parts.split_last()?;
    let position = if qualifier.is_empty() {
        let of = |relation: &Relation| {
            relation.fields.iter().any(|field| field.name.as_ref() == Some(name))
        };
        scope.relations.iter().position(of)?
    } else {
        let meant = scope.relation(qualifier).ok()??;
        scope.relations.iter().position(|relation| std::ptr::eq(relation, meant))?
    };
    Some(format!("{position}.{name:?}"))
}
