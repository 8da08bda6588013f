//! The temporary objects of a session: nobody but the session sees them, so no catalog has them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{Access, Analysis, Effect, Name, Object};

/// As many of one session are remembered; what comes behind them is unknown.
const MOST: usize = 1_000;

/// The temporary tables and views that a session made, as far as the texts that made them say their columns.
///
/// Statements of one session can overlap. What one of them drops or changes is therefore unknown from before it runs,
/// and what one of them makes is known only when it ran and none of the others ended it in the meantime. Of two that
/// make it at once the last to begin is believed: nothing masked went into either.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Temporaries {
    objects: BTreeMap<Name, Made>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Made {
    object: Arc<Object>,
    /// The statement that makes it has ended well.
    stands: bool,
}

impl Temporaries {
    /// These objects, each with whether it was made.
    pub fn of(objects: impl IntoIterator<Item = (Object, bool)>) -> Self {
        let made = objects.into_iter().map(|(object, stands)| {
            (object.name.clone(), Made { object: Arc::new(object), stands })
        });
        Self { objects: made.collect() }
    }

    /// Its objects, each with whether it was made or is being made.
    pub fn iter(&self) -> impl Iterator<Item = (&Object, bool)> {
        self.objects.values().map(|made| (&*made.object, made.stands))
    }

    /// A statement is about to run.
    pub(crate) fn begin(&mut self, analysis: &Analysis) {
        let made = made(analysis);
        // `IF NOT EXISTS` over what is there.
        if made.is_some_and(|made| self.get(&made.name).is_some_and(|known| **known == *made)) {
            return;
        }
        self.forget(analysis);
        if let Some(made) = made
            && (self.objects.len() < MOST || self.objects.contains_key(&made.name))
        {
            let object = Arc::new(made.clone());
            self.objects.insert(made.name.clone(), Made { object, stands: false });
        }
    }

    /// It ran, and did what its text says.
    pub(crate) fn end(&mut self, analysis: &Analysis) {
        match made(analysis) {
            Some(made) => {
                if let Some(known) = self.objects.get_mut(&made.name) {
                    known.stands |= *known.object == *made;
                }
            }
            None => self.forget(analysis),
        }
    }

    /// The temporary object that the session means by the name.
    pub(crate) fn get(&self, name: &Name) -> Option<&Arc<Object>> {
        self.objects.get(name).filter(|known| known.stands).map(|known| &known.object)
    }

    /// Whether the name means a temporary object.
    #[must_use]
    pub fn has(&self, name: &Name) -> bool {
        self.get(name).is_some()
    }

    /// What a statement does away with or changes is no longer what it was.
    fn forget(&mut self, analysis: &Analysis) {
        if analysis.effect == Effect::Opaque || analysis.problem.is_some() {
            self.objects.clear();
            return;
        }
        let gone = |access| [Access::Alter, Access::Drop].contains(&access);
        for touch in analysis.objects.iter().filter(|touch| gone(touch.access)) {
            self.objects.retain(|name, _| !touch.name.holds(name));
        }
    }
}

/// The temporary object that a statement makes.
fn made(analysis: &Analysis) -> Option<&Object> {
    analysis.made.as_ref().filter(|_| analysis.temporary && analysis.problem.is_none())
}

#[cfg(test)]
mod tests {
    use crate::{Analysis, Catalog, Session};

    fn analysis(text: &str, session: &Session) -> Analysis {
        crate::analyze(text, session, &Catalog::default())
    }

    /// Begins and ends statements in the order told: `>` begins the one of that number, `<` ends it. What then can be
    /// read of `t`.
    fn after(statements: &[&str], order: &[(char, usize)]) -> Option<String> {
        let mut session =
            Session { database: Some("D".into()), schema: Some("S".into()), ..Session::default() };
        for (step, number) in order {
            let analysis = analysis(statements[*number], &session);
            match step {
                '>' => session.begin(&analysis),
                _ => session.end(&analysis),
            }
        }
        let known = session.temporary.get(&crate::Name::new("D", "S", "T"))?;
        Some(known.columns.iter().map(|column| column.name.as_str()).collect())
    }

    #[test]
    fn what_is_made_is_known_once_it_was_made() {
        let make = ["create temp table t (a int)"];
        assert_eq!(after(&make, &[('>', 0)]), None);
        assert_eq!(after(&make, &[('<', 0)]), None);
        assert_eq!(after(&make, &[('>', 0), ('<', 0)]), Some("A".into()));
    }

    #[test]
    fn what_overlaps_with_its_end_is_unknown() {
        let both = ["create temp table t (a int)", "drop table t"];
        for order in [
            [('>', 0), ('>', 1), ('<', 0), ('<', 1)],
            [('>', 0), ('>', 1), ('<', 1), ('<', 0)],
            [('>', 1), ('>', 0), ('<', 0), ('<', 1)],
            [('>', 0), ('<', 0), ('>', 1), ('<', 1)],
        ] {
            assert_eq!(after(&both, &order), None, "{order:?}");
        }
        let order = [('>', 1), ('<', 1), ('>', 0), ('<', 0)];
        assert_eq!(after(&both, &order), Some("A".into()));
        // Begun and never ended well: it may have run.
        assert_eq!(after(&both, &[('>', 0), ('<', 0), ('>', 1)]), None);
    }

    #[test]
    fn of_two_that_make_it_at_once_the_last_to_begin_is_believed() {
        let both = ["create temp table t (a int)", "create or replace temp table t (b int)"];
        let order = [('>', 0), ('>', 1), ('<', 1), ('<', 0)];
        assert_eq!(after(&both, &order), Some("B".into()));
        let order = [('>', 1), ('>', 0), ('<', 1), ('<', 0)];
        assert_eq!(after(&both, &order), Some("A".into()));
    }

    #[test]
    fn a_session_remembers_so_many() {
        let mut session =
            Session { database: Some("D".into()), schema: Some("S".into()), ..Session::default() };
        for number in 0..=super::MOST {
            let analysis = analysis(&format!("create temp table t{number} (a int)"), &session);
            session.begin(&analysis);
            session.end(&analysis);
        }
        let has = |object: String| session.temporary.has(&crate::Name::new("D", "S", object));
        assert!(has(format!("T{}", super::MOST - 1)));
        assert!(!has(format!("T{}", super::MOST)));
    }
}
