//! From text to [`Analysis`].

use std::collections::BTreeSet;

use crate::{Analysis, Catalog, Form, Lineage, Problem, Reason, Session, Word};

/// Understands one text. Never fails: what is not understood is in [`Analysis::problem`].
#[must_use]
pub fn analyze(text: &str, session: &Session, catalog: &Catalog) -> Analysis {
    let _ = (text, session, catalog);
    Analysis {
        word: Word::Unknown,
        words: vec![Word::Unknown],
        effect: Word::Unknown.effect(),
        parsed: false,
        problem: Some(Problem {
            reason: Reason::Unsupported,
            message: "this statement is not understood".into(),
            offset: None,
        }),
        form: Form::Ordinary,
        objects: Vec::new(),
        risks: BTreeSet::new(),
        functions: BTreeSet::new(),
        lineage: Lineage::Unknown("not understood".into()),
        uses: Vec::new(),
        flows: Vec::new(),
        missing: BTreeSet::new(),
    }
}
