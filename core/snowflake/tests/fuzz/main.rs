//! Fuzz targets: rows of any bytes through a policy's masks.
//!
//! Nothing panics, what comes out can be read and has the same rows, and a masked column shows only what its mask makes.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "what is made here fits, and what does not is a finding"
)]

mod arrow;
mod json;
// The sidecar's own; it needs nothing else of the sidecar.
#[allow(dead_code, unused_imports, reason = "only its masks are of interest here")]
#[path = "../../../../proxy/src/statement/rows/mask.rs"]
mod mask;

use std::sync::Arc;

use policy::document::{MaskMethod, TruncateUnit};
use policy::{Mask, MaskKey};
use snowflake::rows::{Column, Layout};

use mask::ColumnMask;

/// Stands in cells that are masked, and nowhere else.
const MARKER: &str = "marksomebody";

/// Bytes that choose, one at a time; at the end of them everything is 0.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn next(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn below(&mut self, count: usize) -> usize {
        usize::from(self.next()) % count
    }
}

/// The mask of one column, or none.
fn chosen(choices: &mut Choices<'_>) -> Option<Mask> {
    let choice = choices.next();
    let method = match choice % 9 {
        0 => return None,
        1 => MaskMethod::Null,
        2 => MaskMethod::Full,
        3 => MaskMethod::Partial { keep_first: 2, keep_last: 2 },
        4 => MaskMethod::Hash { domain: None },
        5 => MaskMethod::Email,
        6 => MaskMethod::Truncate { unit: TruncateUnit::Month },
        7 => MaskMethod::Bucket { width: 100 },
        _ => {
            return Some(Mask {
                method: MaskMethod::Full,
                domain: "D.S.T.C".into(),
                derived: true,
            });
        }
    };
    Some(Mask { method, domain: "D.S.T.C".into(), derived: false })
}

fn layout(columns: Vec<Column>, masks: &[Option<Mask>]) -> Layout {
    let mut layout = Layout::plain(columns);
    let key = MaskKey::new(b"a key for tests");
    for ((slot, column), mask) in layout.masks.iter_mut().zip(&layout.columns).zip(masks) {
        if let Some(mask) = mask {
            *slot = Some(Arc::new(ColumnMask::new(mask.clone(), key.clone(), column)));
        }
    }
    layout
}

/// What a column showed before and after its mask, row by row (`None` is NULL).
fn is_masked(mask: &Mask, cells: &[(Option<String>, Option<String>)]) {
    for (before, after) in cells {
        if !mask.derived && before.is_none() {
            assert_eq!(after, &None, "{mask:?} makes a value of NULL");
        }
        if mask.method == MaskMethod::Null {
            assert_eq!(after, &None, "{mask:?}");
        }
        let is_word = |text: &&String| {
            text.chars().count() >= 8
                && text.chars().all(|character| character.is_ascii_lowercase())
        };
        if let (Some(before), Some(after)) = (before.as_ref().filter(is_word), after) {
            let inside = &before[2..before.len() - 2];
            assert!(!after.contains(inside), "{mask:?} shows {before} as {after}");
        }
    }
    if mask.derived || mask.method == MaskMethod::Full {
        let mut shown: Vec<&String> =
            cells.iter().filter_map(|(_, after)| after.as_ref()).collect();
        shown.dedup();
        assert!(shown.len() <= 1, "{mask:?} shows different values: {shown:?}");
    }
}
