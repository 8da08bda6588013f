//! What is kept of a prompt: all of it, or all but what looks like a secret or a person's.

use control::update::PromptCapture;
use policy::{Detectors, Effort, Hints, Kind, Value};

/// What stands where something was hidden.
const HIDDEN: &str = "****";
/// Something that is found stands in at most so many words: numbers are written in groups.
const WORDS: usize = 10;
/// A key in PEM is of many lines, and only the first one tells.
const PEM: (&str, &str) = ("-----BEGIN", "-----END");

/// A prompt as it is kept.
pub(crate) fn kept(text: &str, capture: PromptCapture) -> Option<(String, bool)> {
    match capture {
        PromptCapture::Off => None,
        PromptCapture::Full => Some((text.to_owned(), false)),
        PromptCapture::Masked => Some((Masking::default().text(text), true)),
    }
}

/// The detectors that look at rows, on a text of which the rest is to stay readable.
struct Masking {
    detectors: Detectors,
    effort: Effort,
}

impl Default for Masking {
    fn default() -> Self {
        Self { detectors: Detectors::all(), effort: Effort::default() }
    }
}

impl Masking {
    fn text(&mut self, text: &str) -> String {
        if !self.finds(text) {
            return text.to_owned();
        }
        let mut kept = String::with_capacity(text.len());
        let mut in_key = false;
        for line in text.split_inclusive('\n') {
            let begins = line.contains(PEM.0);
            if in_key || begins {
                in_key = !line.contains(PEM.1);
                if begins {
                    kept.push_str(HIDDEN);
                    kept.push('\n');
                }
            } else if self.finds(line) {
                self.line(line, &mut kept);
            } else {
                kept.push_str(line);
            }
        }
        // What runs over the end of a line cannot be told apart from the rest.
        if self.finds(&kept) { HIDDEN.to_owned() } else { kept }
    }

    /// Hides the fewest words in which something is found.
    fn line(&mut self, line: &str, kept: &mut String) {
        let words = words(line);
        // Behind the last byte that was kept or hidden, and the first word that is not hidden.
        let (mut at, mut first) = (0, 0);
        for last in 0..words.len() {
            let from = first.max((last + 1).saturating_sub(WORDS));
            let found = (from..=last).rev().find(|start| {
                let text = line.get(words[*start].0..words[last].1);
                text.is_some_and(|text| self.finds(text))
            });
            if let Some(start) = found {
                kept.push_str(line.get(at..words[start].0).unwrap_or_default());
                kept.push_str(HIDDEN);
                (at, first) = (words[last].1, last + 1);
            }
        }
        if first == 0 {
            // It is found in the line as a whole alone.
            kept.push_str(HIDDEN);
            at = line.trim_end_matches('\n').len();
        }
        kept.push_str(line.get(at..).unwrap_or_default());
    }

    fn finds(&mut self, text: &str) -> bool {
        let found = self.detectors.search(
            Hints::default(),
            Kind::Text,
            &Value::Text(text.into()),
            &mut self.effort,
        );
        !found.is_nothing()
    }
}

/// Where the words of a line begin and end.
fn words(line: &str) -> Vec<(usize, usize)> {
    let mut words = Vec::new();
    let mut start = None;
    for (at, character) in line.char_indices() {
        match (character.is_whitespace(), start) {
            (false, None) => start = Some(at),
            (true, Some(begun)) => {
                words.push((begun, at));
                start = None;
            }
            _ => {}
        }
    }
    words.extend(start.map(|begun| (begun, line.len())));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_somebodys_is_hidden_and_the_rest_is_readable() {
        for (text, expected) in [
            (
                "Refund order 4411 of ada@example.com now\n please",
                "Refund order 4411 of **** now\n please",
            ),
            ("card 4111 1111 1111 1111 expired", "card **** expired"),
            ("use AKIAIOSFODNN7EXAMPLE for it", "use **** for it"),
            ("in 2024 and 2025 , 3 of 10", "in 2024 and 2025 , 3 of 10"),
            (
                "a\n-----BEGIN PRIVATE KEY-----\nMIIB\nAAAA\n-----END PRIVATE KEY-----\nb",
                "a\n****\nb",
            ),
            ("two: ada@example.com bob@example.com", "two: **** ****"),
            (" \n", " \n"),
            ("", ""),
        ] {
            assert_eq!(Masking::default().text(text), expected, "{text}");
        }
    }
}
