//! What the mask rules say: of a column, of what it steers, and of the columns of a result.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use sql::{Against, Column, Lineage};

use super::Judge;
use crate::compile::Detecting;
use crate::document::{MaskMethod, PredicateUse, TruncateUnit};
use crate::{ColumnMask, Detection, Detectors, Mask, Rule};

/// What all mask rules together say of one column.
pub(super) struct MaskSpec<'a> {
    pub(super) method: &'a MaskMethod,
    pub(super) filterable: bool,
    pub(super) predicate_use: PredicateUse,
    pub(super) rule: Rule,
}

impl<'a> Judge<'a> {
    /// What the mask rules say of a column: the strictest of each.
    pub(super) fn mask_of(&self, column: &Column) -> Option<MaskSpec<'a>> {
        let mut found: Option<MaskSpec<'a>> = None;
        for entry in self.selected {
            for (index, mask) in entry.masks.iter().enumerate() {
                if !mask.holds_for(self.principal)
                    || !mask.columns.iter().any(|pattern| pattern.matches_column(column))
                {
                    continue;
                }
                let rule = entry.rule(format!("masking[{index}]"));
                let method = &mask.rule.method;
                found = Some(match found {
                    None => MaskSpec {
                        method,
                        filterable: mask.rule.filterable,
                        predicate_use: mask.rule.predicate_use,
                        rule,
                    },
                    Some(other) => {
                        let stricter = strictness(method) > strictness(other.method);
                        MaskSpec {
                            method: if stricter { method } else { other.method },
                            filterable: other.filterable && mask.rule.filterable,
                            predicate_use: other.predicate_use.max(mask.rule.predicate_use),
                            rule: if stricter { rule } else { other.rule },
                        }
                    }
                });
            }
        }
        found
    }

    /// Masked columns that steer the statement in a way that no rule lifts.
    pub(super) fn steering(&self) -> Vec<(&'a Column, MaskSpec<'a>, sql::Place)> {
        let mut steering = Vec::new();
        for used in &self.analysis.uses {
            for column in &used.columns {
                let Some(spec) = self.mask_of(column) else { continue };
                let is_test = matches!(
                    used.place,
                    sql::Place::Where
                        | sql::Place::Join
                        | sql::Place::Having
                        | sql::Place::Qualify
                        | sql::Place::Write
                );
                let harmless = match &used.against {
                    Against::Column(other) => self.mask_of(other).is_some(),
                    Against::Constant { equality } => {
                        is_test
                            && (spec.filterable
                                || (*equality && spec.predicate_use == PredicateUse::AllowEquality))
                    }
                    Against::Expression => false,
                };
                if !harmless {
                    steering.push((column, spec, used.place));
                }
            }
        }
        steering
    }

    /// Whether any mask rule holds for the principal.
    pub(super) fn has_masks(&self) -> bool {
        self.selected
            .iter()
            .any(|entry| entry.masks.iter().any(|mask| mask.holds_for(self.principal)))
    }

    /// Whether the statement touches an object with a masked column, or could without our knowing.
    pub(super) fn is_protected(&self) -> bool {
        if self.analysis.problem.is_some() {
            return self.has_masks();
        }
        self.analysis.tables.iter().chain(&self.analysis.others).any(|table| {
            table.columns.iter().any(|column| {
                self.mask_of(&Column {
                    object: Arc::new(table.name.clone()),
                    name: column.name.as_str().into(),
                })
                .is_some()
            })
        })
    }

    /// Whether masked columns could hide behind an object whose text nobody can read.
    pub(super) fn hides(&self, table: &sql::Object) -> bool {
        let declared = |column: &sql::CatalogColumn| {
            self.selected.iter().any(|entry| {
                entry.masks.iter().any(|mask| {
                    mask.columns
                        .iter()
                        .any(|pattern| pattern.matches_named(&table.name, &column.name))
                })
            })
        };
        table.definition == sql::Definition::Opaque
            && self.has_masks()
            && !table.columns.iter().any(declared)
    }

    /// The output columns to mask.
    pub(super) fn column_masks(&self) -> Vec<ColumnMask> {
        let Lineage::Columns(outputs) = &self.analysis.lineage else {
            return Vec::new();
        };
        let mut masks = Vec::new();
        for (position, output) in outputs.iter().enumerate() {
            let specs: Vec<(&Column, MaskSpec<'_>)> = output
                .sources
                .iter()
                .filter_map(|column| self.mask_of(column).map(|spec| (column, spec)))
                .collect();
            let Some((column, spec)) = specs.first() else { continue };
            let derived = !output.plain || output.sources.len() > 1;
            let method = if derived { MaskMethod::Full } else { spec.method.clone() };
            let domain = match &method {
                MaskMethod::Hash { domain: Some(domain) } => domain.clone(),
                _ => column.to_string(),
            };
            masks.push(ColumnMask {
                position,
                name: output.name.clone(),
                mask: Mask { method, domain, derived },
                sources: specs.iter().map(|(column, _)| column.to_string()).collect(),
            });
        }
        masks
    }

    /// What is looked for in the output columns: all that any policy says, but for columns that plainly are one which
    /// a rule excepts.
    pub(super) fn detection(&self) -> Detection {
        let rules = || {
            let all = self.selected.iter().flat_map(|entry| &entry.detectors);
            all.filter(|rule| rule.holds_for(self.principal))
        };
        let those = |excepted: &dyn Fn(&Detecting) -> bool| {
            let mut detectors = Detectors::default();
            for rule in rules().filter(|rule| !excepted(rule)) {
                for detector in &rule.rule.find {
                    detectors.add(*detector, rule.rule.mask);
                }
            }
            detectors
        };
        let mut detection = Detection { everywhere: those(&|_| false), at: BTreeMap::new() };
        if let Lineage::Columns(outputs) = &self.analysis.lineage {
            for (position, output) in outputs.iter().enumerate() {
                let [source] = output.sources.as_slice() else { continue };
                let excepts = |rule: &Detecting| {
                    rule.except.iter().any(|pattern| pattern.matches_column(source))
                };
                if output.plain && rules().any(excepts) {
                    detection.at.insert(position, those(&excepts));
                }
            }
        }
        detection
    }
}

/// How much a method hides; of two the stricter wins.
fn strictness(method: &MaskMethod) -> (u8, Reverse<u64>, Reverse<Option<&str>>) {
    let nothing = Reverse(None);
    match method {
        MaskMethod::Null => (7, Reverse(0), nothing),
        MaskMethod::Full => (6, Reverse(0), nothing),
        // Any order will do for two domains, as long as it is one.
        MaskMethod::Hash { domain } => (5, Reverse(0), Reverse(domain.as_deref())),
        MaskMethod::Partial { keep_first, keep_last } => {
            (4, Reverse(u64::from(*keep_first) + u64::from(*keep_last)), nothing)
        }
        MaskMethod::Email => (3, Reverse(0), nothing),
        MaskMethod::Truncate { unit } => {
            let detail = match unit {
                TruncateUnit::Decade => 0,
                TruncateUnit::Year => 1,
                TruncateUnit::Month => 2,
                TruncateUnit::Day => 3,
            };
            (2, Reverse(detail), nothing)
        }
        MaskMethod::Bucket { width } => (1, Reverse(u64::MAX - width), nothing),
    }
}
