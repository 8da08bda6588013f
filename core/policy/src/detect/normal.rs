//! A copy of a text in which equal looking digits, signs and spaces are equal.

use std::fmt;
use std::sync::LazyLock;

use icu_normalizer::ComposingNormalizerBorrowed;
use regex_syntax::hir::{Class, HirKind};

/// Characters by what becomes of them, from the tables that the regular expressions bring.
struct Tables {
    /// Decimal digits of every script: each run of ten begins with its zero.
    digits: Ranges,
    /// What nobody sees: zero width, joiners, marks, directions.
    unseen: Ranges,
    dashes: Ranges,
    spaces: Ranges,
}

type Ranges = Vec<(char, char)>;

static TABLES: LazyLock<Tables> = LazyLock::new(|| Tables {
    digits: class(r"\p{Nd}"),
    unseen: class(r"[\p{Cf}\p{Mn}\p{Me}\p{Default_Ignorable_Code_Point}]"),
    dashes: class(r"[\p{Pd}\u{2212}]"),
    spaces: class(r"\p{White_Space}"),
});

/// Writes the copy: NFKC, digits of all scripts as ASCII, dashes, dots and spaces of every width as the plain ones, and
/// without what nobody sees.
pub(super) fn normalise(text: &str, copy: &mut String) {
    copy.clear();
    // Writing into a String cannot fail.
    let _ = ComposingNormalizerBorrowed::new_nfkc().normalize_to(text, &mut Plain(copy));
}

struct Plain<'a>(&'a mut String);

impl fmt::Write for Plain<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.is_ascii() {
            self.0.push_str(text);
            return Ok(());
        }
        self.0.extend(text.chars().filter_map(plain));
        Ok(())
    }
}

fn plain(character: char) -> Option<char> {
    if character.is_ascii() {
        return Some(character);
    }
    let tables = &*TABLES;
    if find(&tables.unseen, character).is_some() {
        return None;
    }
    if let Some(start) = find(&tables.digits, character) {
        return char::from_digit((character as u32 - start as u32) % 10, 10);
    }
    Some(match character {
        '·' | '•' | '∙' | '‧' | '・' | '。' => '.',
        '⁄' | '∕' => '/',
        dash if find(&tables.dashes, dash).is_some() => '-',
        space if find(&tables.spaces, space).is_some() => ' ',
        other => other,
    })
}

/// The start of the range that holds the character.
fn find(ranges: &[(char, char)], character: char) -> Option<char> {
    let at = ranges.partition_point(|(start, _)| *start <= character).checked_sub(1)?;
    let (start, end) = ranges.get(at)?;
    (character <= *end).then_some(*start)
}

/// The characters of a class. One that cannot be read would be empty; a test says that none is.
fn class(pattern: &str) -> Ranges {
    let Ok(read) = regex_syntax::parse(pattern) else { return Vec::new() };
    match read.into_kind() {
        HirKind::Class(Class::Unicode(class)) => {
            class.ranges().iter().map(|range| (range.start(), range.end())).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn normal(text: &str) -> String {
        let mut copy = String::from("left over");
        normalise(text, &mut copy);
        copy
    }

    #[test]
    fn the_tables_are_there_and_digits_stand_in_tens() {
        let tables = &*TABLES;
        for ranges in [&tables.digits, &tables.unseen, &tables.dashes, &tables.spaces] {
            assert!(!ranges.is_empty());
        }
        for (start, end) in &tables.digits {
            assert_eq!((*end as u32 - *start as u32 + 1) % 10, 0, "{start:?}");
        }
    }

    #[test]
    fn what_looks_the_same_is_the_same() {
        for (text, plain) in [
            ("４１１１\u{a0}１１１１", "4111 1111"),
            ("٤١١١-۱۱۱۱", "4111-1111"),
            ("4\u{200b}1\u{2060}1\u{feff}1\u{ad}", "4111"),
            ("4111–1111—1111−1111", "4111-1111-1111-1111"),
            ("①②𝟛", "123"),
            ("ann＠example．com", "ann@example.com"),
            ("4\u{301}1", "41"),
            ("é", "é"),
        ] {
            assert_eq!(normal(text), plain, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_much(text in any::<String>()) {
            let _ = normal(&text);
        }

        #[test]
        fn plain_text_stays(text in "[ -~]{0,64}") {
            prop_assert_eq!(normal(&text), text);
        }
    }
}
