//! Predicates: what a condition compares, so that a policy can tell a harmless test from a probe.

use super::class::Class;
use super::provenance::{Provenance, Shape};
use super::scope::Scope;
use super::{Resolver, Steering, unsupported};
use crate::dialect::ast;
use crate::{Place, Problem};

impl Resolver<'_> {
    /// Walks a predicate and notes each column that steers it.
    pub(crate) fn condition(
        &mut self,
        condition: &ast::Expr,
        scope: &Scope<'_>,
        place: Place,
    ) -> Result<(), Problem> {
        self.deeper(|this| this.condition_inner(condition, scope, place))
    }

    fn condition_inner(
        &mut self,
        condition: &ast::Expr,
        scope: &Scope<'_>,
        place: Place,
    ) -> Result<(), Problem> {
        match condition {
            ast::Expr::Nested(inner)
            | ast::Expr::UnaryOp { op: ast::UnaryOperator::Not, expr: inner }
            | ast::Expr::IsTrue(inner)
            | ast::Expr::IsNotTrue(inner)
            | ast::Expr::IsFalse(inner)
            | ast::Expr::IsNotFalse(inner) => self.condition(inner, scope, place),
            ast::Expr::BinaryOp {
                left,
                op: ast::BinaryOperator::And | ast::BinaryOperator::Or,
                right,
            } => {
                self.condition(left, scope, place)?;
                self.condition(right, scope, place)
            }
            ast::Expr::IsNull(inner) | ast::Expr::IsNotNull(inner) => {
                let provenance = self.expression(inner, scope)?;
                if !provenance.is_bare() {
                    self.steer(place, provenance.sources, Steering::Expression);
                }
                Ok(())
            }
            ast::Expr::BinaryOp { left, op, right } => {
                if !super::expression::is_operator(op) {
                    return Err(unsupported("this operator"));
                }
                let one = self.expression(left, scope)?;
                let two = self.expression(right, scope)?;
                self.operate(op, &one, &two);
                match op {
                    ast::BinaryOperator::Eq | ast::BinaryOperator::NotEq => {
                        self.compare(&one, &two, true, place);
                    }
                    ast::BinaryOperator::Gt
                    | ast::BinaryOperator::Lt
                    | ast::BinaryOperator::GtEq
                    | ast::BinaryOperator::LtEq => self.compare(&one, &two, false, place),
                    _ => {
                        let both = one.with(&two);
                        self.steer(place, both.sources, Steering::Expression);
                    }
                }
                Ok(())
            }
            ast::Expr::IsDistinctFrom(left, right) | ast::Expr::IsNotDistinctFrom(left, right) => {
                let one = self.expression(left, scope)?;
                let two = self.expression(right, scope)?;
                self.compare(&one, &two, true, place);
                Ok(())
            }
            ast::Expr::InList { expr, list, negated: _ } => {
                let one = self.expression(expr, scope)?;
                let mut all = Provenance::constant();
                for item in list {
                    all = all.with(&self.expression(item, scope)?);
                }
                self.compare_with_list(&one, &all, true, place);
                Ok(())
            }
            ast::Expr::Between { expr, negated: _, low, high } => {
                let one = self.expression(expr, scope)?;
                let bounds = self.expression(low, scope)?.with(&self.expression(high, scope)?);
                self.compare_with_list(&one, &bounds, false, place);
                Ok(())
            }
            ast::Expr::Like { negated: _, any: _, expr, pattern, escape_char }
            | ast::Expr::ILike { negated: _, any: _, expr, pattern, escape_char } => {
                let one = self.expression(expr, scope)?;
                let mut pattern = self.patterns(pattern, scope)?;
                if let Some(escape) = escape_char {
                    pattern = pattern.with(&self.expression(escape, scope)?);
                }
                self.compare_with_list(&one, &pattern, false, place);
                Ok(())
            }
            ast::Expr::InSubquery { expr, subquery, negated: _ } => {
                self.is_in(expr, subquery, scope, place)
            }
            // `= ANY (query)` is IN, and `<> ALL (query)` is NOT IN.
            ast::Expr::AnyOp {
                left,
                compare_op: ast::BinaryOperator::Eq,
                right,
                is_some: false,
            }
            | ast::Expr::AllOp { left, compare_op: ast::BinaryOperator::NotEq, right }
                if matches!(&**right, ast::Expr::Subquery(_)) =>
            {
                let ast::Expr::Subquery(subquery) = &**right else { return Ok(()) };
                self.is_in(left, subquery, scope, place)
            }
            // A bare boolean is compared with TRUE.
            ast::Expr::Identifier(_) | ast::Expr::CompoundIdentifier(_) => {
                let one = self.expression(condition, scope)?;
                self.compare(&one, &Provenance::constant(), true, place);
                Ok(())
            }
            other => {
                let provenance = self.expression(other, scope)?;
                self.steer(place, provenance.sources, Steering::Expression);
                Ok(())
            }
        }
    }

    /// A value is looked for among the rows of a query.
    fn is_in(
        &mut self,
        value: &ast::Expr,
        query: &ast::Query,
        scope: &Scope<'_>,
        place: Place,
    ) -> Result<(), Problem> {
        let one = self.expression(value, scope)?;
        let fields = self.query(query, scope.ctes, Some(scope))?;
        match fields.as_slice() {
            [field] => self.compare(&one, &field.provenance, true, place),
            several => {
                let all = several.iter().fold(one, |all, field| all.with(&field.provenance));
                self.steer(place, all.sources, Steering::Expression);
            }
        }
        Ok(())
    }

    /// Two values are compared.
    pub(super) fn compare(
        &mut self,
        one: &Provenance,
        two: &Provenance,
        equality: bool,
        place: Place,
    ) {
        match (one.bare_id(), two.bare_id()) {
            (Some(left), Some(right)) if equality => {
                self.steer(place, vec![left], Steering::Column(right));
                self.steer(place, vec![right], Steering::Column(left));
            }
            (Some(left), None) if two.shape == Shape::Constant => {
                self.steer(place, vec![left], Steering::Constant { equality });
            }
            (None, Some(right)) if one.shape == Shape::Constant => {
                self.steer(place, vec![right], Steering::Constant { equality });
            }
            _ => {
                let both = one.clone().with(two);
                self.steer(place, both.sources, Steering::Expression);
            }
        }
    }

    /// A value is compared with several others, which are a constant only all together.
    fn compare_with_list(
        &mut self,
        one: &Provenance,
        list: &Provenance,
        equality: bool,
        place: Place,
    ) {
        match one.bare_id() {
            Some(left) if list.shape == Shape::Constant => {
                self.steer(place, vec![left], Steering::Constant { equality });
            }
            _ => {
                let all = one.clone().with(list);
                self.steer(place, all.sources, Steering::Expression);
            }
        }
    }

    /// The kind of an operation's result. Where it fails depending on a value, that is noted.
    pub(super) fn operate(
        &mut self,
        operator: &ast::BinaryOperator,
        one: &Provenance,
        two: &Provenance,
    ) -> Class {
        match operator {
            ast::BinaryOperator::Divide | ast::BinaryOperator::Modulo => {
                self.raise_over(one);
                self.raise_over(two);
                one.class.computed(two.class, true)
            }
            ast::BinaryOperator::Plus
            | ast::BinaryOperator::Minus
            | ast::BinaryOperator::Multiply => {
                self.compute(one);
                self.compute(two);
                let multiplies = matches!(operator, ast::BinaryOperator::Multiply);
                let class = one.class.computed(two.class, multiplies);
                if class.overflows() {
                    let both = one.clone().with(two);
                    self.steer(Place::Error, both.sources, Steering::Expression);
                }
                class
            }
            ast::BinaryOperator::StringConcat => Class::Text,
            ast::BinaryOperator::Regexp => {
                self.raise_over(two);
                Class::Truth
            }
            ast::BinaryOperator::And | ast::BinaryOperator::Or => {
                self.convert(one, Class::Truth);
                self.convert(two, Class::Truth);
                Class::Truth
            }
            // All that are left compare.
            _ => {
                self.coerce(one, two);
                Class::Truth
            }
        }
    }

    /// Two values meet in a comparison: one of them may be converted to the kind of the other.
    pub(super) fn coerce(&mut self, one: &Provenance, two: &Provenance) {
        self.convert(one, two.class);
        self.convert(two, one.class);
    }

    /// A value is taken for one of another kind.
    pub(super) fn convert(&mut self, value: &Provenance, class: Class) {
        if value.is_derived() && value.class.yields_to(class) {
            self.raise_over(value);
        }
    }

    /// A value is computed with: what is no number must become one.
    pub(super) fn compute(&mut self, value: &Provenance) {
        if value.is_derived() && !value.class.is_countable() {
            self.raise_over(value);
        }
    }

    /// An operation that can fail over something other than a bare column.
    pub(super) fn raise_over(&mut self, operand: &Provenance) {
        if !operand.is_bare() {
            self.steer(Place::Error, operand.sources.clone(), Steering::Expression);
        }
    }
}
