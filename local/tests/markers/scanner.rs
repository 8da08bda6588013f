//! Finds markers in bytes, in every form that an encoding on the way could give them.

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::driver::Seen;
use super::world::World;

/// Looks for the markers of some worlds.
pub(crate) struct Scanner {
    /// Forms in which upper and lower case are the same.
    caseless: AhoCorasick,
    /// Base64 and numbers of machines.
    exact: AhoCorasick,
    worlds: Vec<World>,
}

impl Scanner {
    pub(crate) fn of(worlds: &[World]) -> Self {
        let (mut caseless, mut exact) = (Vec::new(), Vec::new());
        for world in worlds {
            let digits = world.digits;
            // Eight digits alone could be a part of a time or an id.
            let texts = [
                world.word.to_owned(),
                format!("{digits}0"),
                format!("{digits}.0"),
                format!("{}-1", world.month),
            ];
            for text in texts {
                let cases = [text.to_ascii_lowercase(), text.to_ascii_uppercase()];
                let mut titled = text.clone();
                titled[..1].make_ascii_uppercase();
                for text in cases.into_iter().chain([titled]) {
                    caseless.push(text.bytes().map(|byte| format!("{byte:02x}")).collect());
                    exact.extend(base64(&text));
                }
                caseless.push(text.chars().rev().collect::<String>());
                caseless.push(text);
            }
            for row in 1..=9 {
                let number: i64 = format!("{digits}0{row}").parse().unwrap();
                exact.push(number.to_le_bytes().to_vec());
            }
        }
        Self {
            caseless: AhoCorasick::builder().ascii_case_insensitive(true).build(caseless).unwrap(),
            exact: AhoCorasick::new(exact).unwrap(),
            worlds: worlds.to_vec(),
        }
    }

    /// The first marker in these bytes, with what stands around it.
    pub(crate) fn find(&self, bytes: &[u8]) -> Option<String> {
        let found = self.caseless.find(bytes).or_else(|| self.exact.find(bytes))?;
        let around = found.start().saturating_sub(120)..(found.end() + 60).min(bytes.len());
        Some(String::from_utf8_lossy(&bytes[around]).into_owned())
    }

    /// The first marker in what a client was shown.
    pub(crate) fn find_in(&self, seen: &Seen) -> Option<String> {
        self.find(&seen.bytes).or_else(|| self.find_cell(&seen.rows))
    }

    /// The first cell that shows a marker by its value, however short it is written.
    pub(crate) fn find_cell(&self, rows: &[Vec<Option<String>>]) -> Option<String> {
        rows.iter().flatten().flatten().find(|cell| self.shows(cell)).cloned()
    }

    fn shows(&self, cell: &str) -> bool {
        if self.find(cell.as_bytes()).is_some() {
            return true;
        }
        self.worlds.iter().any(|world| {
            cell.contains(world.digits)
                || cell.contains(World::CLOCK)
                || cell.starts_with(&format!("{}.", World::SECONDS))
                || cell.contains(&format!("{}-", world.month))
                || (1..=9).any(|row| world.days(row).to_string() == cell)
                || (1..=9).any(|row| cell.starts_with(&world.seconds(row).to_string()))
        })
    }
}

/// What base64 makes of a text, wherever it begins in what is encoded.
fn base64(text: &str) -> Vec<Vec<u8>> {
    (0..3)
        .map(|offset| {
            let mut bytes = vec![0; offset];
            bytes.extend_from_slice(text.as_bytes());
            let encoded = STANDARD_NO_PAD.encode(&bytes);
            // The first and the last characters hold bits of what stands beside it.
            let first = [0, 2, 3][offset];
            let last = if bytes.len() % 3 == 0 { encoded.len() } else { encoded.len() - 1 };
            encoded.as_bytes()[first..last].to_vec()
        })
        .collect()
}

#[test]
fn a_marker_is_found_in_every_form() {
    let world = super::world::WORDS;
    let scanner = Scanner::of(&[world]);
    let text = world.text(3);
    let hex: String = text.bytes().map(|byte| format!("{byte:02X}")).collect();
    let reversed: String = text.chars().rev().collect();
    for before in ["", "x", "xy"] {
        let encoded = STANDARD_NO_PAD.encode(format!("{before}{text}!"));
        assert!(scanner.find(encoded.as_bytes()).is_some(), "{encoded}");
        let encoded = STANDARD_NO_PAD.encode(format!("{before}{}", text.to_uppercase()));
        assert!(scanner.find(encoded.as_bytes()).is_some(), "{encoded}");
    }
    for shown in [&text, &text.to_uppercase(), &hex, &reversed, "7391826403", "73918264.03"] {
        assert!(scanner.find(shown.as_bytes()).is_some(), "{shown}");
    }
    assert!(scanner.find(&7_391_826_403_i64.to_le_bytes()).is_some());
    for cell in [
        "73918264",
        "-30215",
        "-2610375641.737000000",
        "27558.261000000",
        "1887-04-11",
        "7391826403.5",
    ] {
        assert!(scanner.find_cell(&[vec![Some(cell.to_owned())]]).is_some(), "{cell}");
    }
    for plain in ["****", "1970-01-01", "0.00", "p***@z***.example", "1763752801234"] {
        assert!(scanner.find(plain.as_bytes()).is_none(), "{plain}");
        assert!(scanner.find_cell(&[vec![Some(plain.to_owned())]]).is_none(), "{plain}");
    }
}
