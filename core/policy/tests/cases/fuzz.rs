//! Fuzz target: any text, judged in one world of masked tables.
//!
//! Nothing panics, what is decided does not depend on how the text is dressed, a wrapped query is never cleaner than the
//! query, and what is allowed touches every masked table that it names in FROM.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use policy::{Decision, Effect};
use sql::{Analysis, Word};

use crate::table::{Judge, verdict};

/// The world, and the names of its objects that show or hide something masked.
struct World {
    judge: Judge,
    protected: BTreeSet<String>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let judge = crate::table("world").judge();
    let protected = judge
        .catalog
        .objects()
        .filter(|object| {
            verdict(&judge.decide(&format!("SELECT * FROM {}", object.name)).1) != "allow"
        })
        .map(|object| object.name.object.clone())
        .collect();
    World { judge, protected }
});

#[test]
fn no_text_slips_past_the_analysis() {
    bolero::check!().with_iterations(0).for_each(|bytes: &[u8]| {
        check(&String::from_utf8_lossy(bytes));
    });
}

#[test]
fn no_text_of_the_tables_slips_past_the_analysis() {
    assert!(WORLD.protected.contains("CUSTOMERS") && WORLD.protected.contains("DEEP"));
    assert!(!WORLD.protected.contains("PLAIN"));
    for (_, table) in crate::tables() {
        for line in &table.cases {
            check(&line.sql);
        }
    }
}

fn check(text: &str) {
    let (analysis, decision) = WORLD.judge.decide(text);
    let (again, decision_again) = WORLD.judge.decide(text);
    assert_eq!(format!("{analysis:?}"), format!("{again:?}"), "judged twice: {text}");
    assert_eq!(decision, decision_again, "judged twice: {text}");
    if analysis.problem.is_some() {
        assert_ne!(decision.effect, Effect::Allow, "not understood, but allowed: {text}");
        return;
    }
    let pieces = pieces(text);
    same_in_any_dress(text, &pieces, &decision);
    if decision.effect == Effect::Allow {
        touches_what_it_names(text, &pieces, &analysis);
        never_cleaner_when_wrapped(text, &analysis, &decision);
    }
}

/// Comments between its parts and another case of its words change nothing.
fn same_in_any_dress(text: &str, pieces: &[Piece], decision: &Decision) {
    let dressed: String = pieces
        .iter()
        .map(|piece| match &piece.kind {
            Kind::Space => format!("{} /* ssn */ -- FROM customers\n", piece.of(text)),
            Kind::Word(folded) if folded == &piece.of(text).to_ascii_uppercase() => {
                if piece.start % 2 == 0 { folded.clone() } else { folded.to_ascii_lowercase() }
            }
            _ => piece.of(text).to_owned(),
        })
        .collect();
    let other = WORLD.judge.decide(&dressed).1;
    assert_eq!(
        (verdict(decision), decision.code()),
        (verdict(&other), other.code()),
        "{text}\nand dressed\n{dressed}\n{:?}",
        other.refusal
    );
}

/// A protected object that stands where a table stands is among what the statement touches.
fn touches_what_it_names(text: &str, pieces: &[Piece], analysis: &Analysis) {
    let tokens: Vec<&Piece> =
        pieces.iter().filter(|piece| !matches!(piece.kind, Kind::Space | Kind::Comment)).collect();
    let word = |index: usize| match tokens.get(index).map(|piece| &piece.kind) {
        Some(Kind::Word(folded)) => folded.as_str(),
        _ => "",
    };
    let sign = |index: usize| match tokens.get(index) {
        Some(piece) if matches!(piece.kind, Kind::Sign) => piece.of(text),
        _ => "",
    };
    let identifier = |index: usize| match tokens.get(index).map(|piece| &piece.kind) {
        Some(Kind::Word(name) | Kind::Quoted(name)) => Some(name.as_str()),
        _ => None,
    };
    for from in 0..tokens.len() {
        if !matches!(word(from), "FROM" | "JOIN") || word(from.wrapping_sub(1)) == "DISTINCT" {
            continue;
        }
        // Behind a dot it is the name of a field, whoever reads it, unless the dot ends a number.
        let is_number = from >= 2
            && tokens[from - 2].end == tokens[from - 1].start
            && word(from - 2).starts_with(|first: char| first.is_ascii_digit());
        if sign(from.wrapping_sub(1)) == "." && !is_number {
            continue;
        }
        // The last part of a name with dots.
        let mut last = from + 1;
        while identifier(last).is_some() && sign(last + 1) == "." {
            last += if sign(last + 2) == "." { 3 } else { 2 };
        }
        let Some(name) = identifier(last).filter(|name| WORLD.protected.contains(*name)) else {
            continue;
        };
        // A name that the text itself gives to something else: a common table expression, an alias, a function.
        let is_given = (0..tokens.len()).any(|index| {
            identifier(index) == Some(name)
                && index != last
                && !matches!(word(index.wrapping_sub(1)), "FROM" | "JOIN")
        });
        let is_touched = analysis.objects.iter().any(|touch| touch.name.object == name);
        assert!(is_given || is_touched, "{name} is named and not touched: {text}");
    }
}

/// Around an allowed query stands another that takes all of it: what was masked stays masked.
fn never_cleaner_when_wrapped(text: &str, analysis: &Analysis, decision: &Decision) {
    if analysis.word != Word::Select || text.contains(';') || decision.columns.is_none() {
        return;
    }
    let positions = |decision: &Decision| -> Vec<usize> {
        decision.masks.iter().map(|mask| mask.position).collect()
    };
    for wrapped in [
        format!("SELECT * FROM ({text}\n) AS wrapping"),
        format!("WITH wrapping AS ({text}\n) SELECT * FROM wrapping"),
    ] {
        let other = WORLD.judge.decide(&wrapped).1;
        // A wrapped query may be refused: two columns of one name, a chain that has to stand alone.
        if other.effect == Effect::Allow {
            assert_eq!(positions(decision), positions(&other), "{wrapped}");
        }
    }
}

/// A part of a text, cut by the simplest rules that hold for texts which the lexer does not refuse.
struct Piece {
    kind: Kind,
    start: usize,
    end: usize,
}

enum Kind {
    Space,
    Comment,
    /// A string of any kind.
    Literal,
    /// A quoted identifier, as stored.
    Quoted(String),
    /// Anything of letters and digits, folded.
    Word(String),
    Sign,
}

impl Piece {
    fn of<'a>(&self, text: &'a str) -> &'a str {
        &text[self.start..self.end]
    }
}

fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut start = 0;
    while let Some(first) = text[start..].chars().next() {
        let rest = &text[start..];
        let until = |from: usize, end: &str| {
            rest[from..].find(end).map_or(rest.len(), |at| from + at + end.len())
        };
        let run = |belongs: fn(char) -> bool| rest.find(|c| !belongs(c)).unwrap_or(rest.len());
        let (kind, length) = if first.is_whitespace() {
            (Kind::Space, run(char::is_whitespace))
        } else if rest.starts_with("--") || rest.starts_with("//") {
            (Kind::Comment, until(0, "\n"))
        } else if rest.starts_with("/*") {
            (Kind::Comment, until(2, "*/"))
        } else if rest.starts_with("$$") {
            (Kind::Literal, until(2, "$$"))
        } else if first == '\'' {
            (Kind::Literal, quoted(rest, '\''))
        } else if first == '"' {
            let length = quoted(rest, '"');
            (Kind::Quoted(rest[1..length - 1].replace("\"\"", "\"")), length)
        } else if first.is_ascii_alphanumeric() || first == '_' || first == '$' {
            let length = run(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '$'));
            (Kind::Word(rest[..length].to_ascii_uppercase()), length)
        } else {
            (Kind::Sign, first.len_utf8())
        };
        pieces.push(Piece { kind, start, end: start + length });
        start += length;
    }
    pieces
}

/// The length of what stands in quotes; a doubled quote, and in strings an escaped one, is not the end.
fn quoted(rest: &str, quote: char) -> usize {
    let mut characters = rest.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character == '\\' && quote == '\'' {
            characters.next();
        } else if character == quote && characters.next_if(|(_, next)| *next == quote).is_none() {
            return at + 1;
        }
    }
    rest.len()
}
