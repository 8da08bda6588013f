//! MATCH_RECOGNIZE: rows that follow a pattern, one summary per match or all rows of it.

use std::rc::Rc;

use super::provenance::Provenance;
use super::scope::{Field, Relation, Scope};
use super::{Resolver, Steering, stored, unknown};
use crate::dialect::ast;
use crate::{Place, Problem};

/// What comes out of the matches, as written.
pub(super) struct Matching<'q> {
    pub(super) partition_by: &'q [ast::Expr],
    pub(super) order_by: &'q [ast::OrderByExpr],
    pub(super) measures: &'q [ast::Measure],
    pub(super) rows_per_match: &'q Option<ast::RowsPerMatch>,
}

impl Resolver<'_> {
    /// The columns of MATCH_RECOGNIZE over what stands before it.
    pub(super) fn matches(
        &mut self,
        mut inner: Scope<'_>,
        matching: &Matching<'_>,
        pattern: &ast::MatchRecognizePattern,
        symbols: &[ast::SymbolDefinition],
    ) -> Result<Vec<Field>, Problem> {
        let Matching { partition_by, order_by, measures, rows_per_match } = *matching;
        let mut fields = Vec::new();
        for key in partition_by {
            let provenance = self.expression(key, &inner)?;
            if !provenance.is_bare() {
                self.steer(Place::Match, provenance.sources.clone(), Steering::Expression);
            }
            fields.push(Field { name: super::query::implied_name(key), provenance });
        }
        let mut steering = self.order_keys(order_by, &inner)?;
        self.steer(Place::Match, steering.sources.clone(), Steering::Expression);
        if let Some(ast::RowsPerMatch::AllRows(_)) = rows_per_match {
            fields.clone_from(&inner.visible);
        }
        inner.matching = true;
        self.symbols(pattern, symbols, &mut inner)?;
        for ast::SymbolDefinition { symbol: _, definition } in symbols {
            let definition = self.expression(definition, &inner)?;
            self.steer(Place::Match, definition.sources.clone(), Steering::Expression);
            steering = steering.with(&definition);
        }
        for ast::Measure { expr, alias } in measures {
            // Which rows a measure looks at, and where they stand, is decided by the definitions and the order.
            let provenance = self.expression(expr, &inner)?.with(&steering).mixed_rows();
            fields.push(Field {
                name: Some(stored(alias)?),
                provenance: Provenance { aggregate: false, ..provenance },
            });
        }
        if fields.is_empty() {
            return Err(unknown(
                "MATCH_RECOGNIZE has no columns without PARTITION BY and MEASURES",
            ));
        }
        Ok(fields)
    }

    /// Before a dot, a symbol of the pattern means the rows that match it.
    fn symbols(
        &self,
        pattern: &ast::MatchRecognizePattern,
        symbols: &[ast::SymbolDefinition],
        inner: &mut Scope<'_>,
    ) -> Result<(), Problem> {
        let mut names = Vec::new();
        for ast::SymbolDefinition { symbol, definition: _ } in symbols {
            names.push(stored(symbol)?);
        }
        written(pattern, &mut names)?;
        names.sort();
        names.dedup();
        let fields = Rc::new(inner.visible.clone());
        let rest = inner.rest();
        inner.relations.extend(names.into_iter().map(|name| Relation {
            qualifier: vec![name],
            fields: Rc::clone(&fields),
            rest: rest.clone(),
        }));
        Ok(())
    }
}

/// The symbols in a pattern.
fn written(pattern: &ast::MatchRecognizePattern, names: &mut Vec<String>) -> Result<(), Problem> {
    let mut add = |symbol: &ast::MatchRecognizeSymbol| match symbol {
        ast::MatchRecognizeSymbol::Named(name) => stored(name).map(|name| names.push(name)),
        ast::MatchRecognizeSymbol::Start | ast::MatchRecognizeSymbol::End => Ok(()),
    };
    match pattern {
        ast::MatchRecognizePattern::Symbol(symbol)
        | ast::MatchRecognizePattern::Exclude(symbol) => add(symbol),
        ast::MatchRecognizePattern::Permute(symbols) => symbols.iter().try_for_each(add),
        ast::MatchRecognizePattern::Concat(parts)
        | ast::MatchRecognizePattern::Alternation(parts) => {
            parts.iter().try_for_each(|part| written(part, names))
        }
        ast::MatchRecognizePattern::Group(inner)
        | ast::MatchRecognizePattern::Repetition(inner, _) => written(inner, names),
    }
}

/// Functions that only a pattern's definitions and measures have.
pub(crate) fn is_function(name: &str) -> bool {
    matches!(
        name,
        "FIRST"
            | "LAST"
            | "PREV"
            | "NEXT"
            | "MATCH_NUMBER"
            | "MATCH_SEQUENCE_NUMBER"
            | "CLASSIFIER"
    )
}
