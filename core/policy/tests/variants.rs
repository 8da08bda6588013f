//! However a masked column is dressed, it is decided masked, at the place where it went.

use policy::document::{
    Functions, Guards, MaskMethod, MaskRule, Mode, ObjectRule, PredicateUse, RuleEffect, Statements,
};
use policy::{Ceiling, Decision, Document, Effect, Policy, Principal, Request};
use proptest::prelude::*;
use sql::{Catalog, CatalogColumn, Definition, Name, Object, Session, analyze};

/// Statements, the number of their columns, and the positions that are masked.
const BASES: &[(&str, usize, &[usize])] = &[
    ("SELECT id, ssn FROM t", 2, &[1]),
    ("SELECT * FROM t", 3, &[1]),
    ("SELECT x.ssn AS s, x.name AS n FROM t AS x", 2, &[0]),
    ("SELECT UPPER(ssn) AS u, 1 AS one FROM t", 2, &[0]),
    ("SELECT MAX(ssn) AS m, COUNT(*) AS c FROM t", 2, &[0]),
    ("SELECT name, ssn FROM t UNION ALL SELECT ssn, name FROM t", 2, &[0, 1]),
    ("SELECT a.name, b.ssn FROM t AS a JOIN t AS b ON a.id = b.id", 2, &[1]),
    ("SELECT id, (SELECT MAX(ssn) FROM t AS i WHERE i.id = o.id) AS s FROM t AS o", 2, &[1]),
    ("SELECT * EXCLUDE (id) FROM t", 2, &[0]),
    ("SELECT whom FROM v", 1, &[0]),
    ("SELECT name, CASE WHEN ssn LIKE '1%' THEN 'a' ELSE 'b' END AS k FROM t", 2, &[1]),
    ("SELECT name, ROW_NUMBER() OVER (ORDER BY ssn) AS r FROM t", 2, &[1]),
    ("SELECT id, OBJECT_CONSTRUCT(*) AS o FROM t", 2, &[1]),
    ("SELECT id, COALESCE(name, ssn, 'x') AS c FROM t", 2, &[1]),
];

#[derive(Clone, Debug)]
enum Dress {
    Subquery,
    Cte,
    UnionAll,
    UnionAllFirst,
    LeadingLiteral,
    Comments,
    Case(u64),
    Quotes,
    Lateral,
    SecondCte,
    Expression,
}

fn dress() -> impl Strategy<Value = Dress> {
    prop_oneof![
        Just(Dress::Subquery),
        Just(Dress::Cte),
        Just(Dress::UnionAll),
        Just(Dress::UnionAllFirst),
        Just(Dress::LeadingLiteral),
        Just(Dress::Comments),
        any::<u64>().prop_map(Dress::Case),
        Just(Dress::Quotes),
        Just(Dress::Lateral),
        Just(Dress::SecondCte),
        Just(Dress::Expression),
    ]
}

/// Wraps a statement; its columns stay where they are, or all move by one.
fn wear(dress: &Dress, text: &str, columns: usize, masked: &mut Vec<usize>) -> (String, usize) {
    let nulls = vec!["NULL"; columns].join(", ");
    let shift = |masked: &mut Vec<usize>| masked.iter_mut().for_each(|position| *position += 1);
    let names: Vec<String> = (0..columns).map(|index| format!("c{index}")).collect();
    match dress {
        Dress::Subquery => (format!("SELECT * FROM ({text}) AS w"), columns),
        Dress::Cte => (format!("WITH w AS ({text}) SELECT * FROM w"), columns),
        Dress::SecondCte => (
            format!(
                "WITH w ({0}) AS ({text}), z AS (SELECT w.* FROM w) SELECT {0} FROM z",
                names.join(", ")
            ),
            columns,
        ),
        Dress::UnionAll => (format!("({text}) UNION ALL SELECT {nulls}"), columns),
        Dress::UnionAllFirst => (format!("SELECT {nulls} UNION ALL ({text})"), columns),
        Dress::LeadingLiteral => {
            shift(masked);
            (format!("SELECT 'lead' AS lead_column, w.* FROM ({text}) AS w"), columns + 1)
        }
        Dress::Comments => (text.replace(' ', " /* ssn */ -- t\n "), columns),
        Dress::Case(seed) => (random_case(text, *seed), columns),
        Dress::Quotes => (quoted(text), columns),
        Dress::Lateral => {
            shift(masked);
            (
                format!("SELECT * FROM (SELECT 1 AS outer_one) AS oo, LATERAL ({text}) AS w"),
                columns + 1,
            )
        }
        Dress::Expression => {
            let list: Vec<String> =
                names.iter().map(|name| format!("COALESCE({name}, {name})")).collect();
            (
                format!("SELECT {} FROM ({text}) AS w ({})", list.join(", "), names.join(", ")),
                columns,
            )
        }
    }
}

/// Keywords and unquoted names in any case; literals and quoted names stay.
fn random_case(text: &str, seed: u64) -> String {
    let mut state = seed | 1;
    let mut quoted = false;
    text.chars()
        .map(|character| {
            if matches!(character, '\'' | '"') {
                quoted = !quoted;
            }
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            match (quoted, state >> 63) {
                (false, 1) => character.to_ascii_uppercase(),
                (false, _) => character.to_ascii_lowercase(),
                (true, _) => character,
            }
        })
        .collect()
}

/// Names of the catalog in quotes, as they are stored; literals, comments and what is quoted already stay.
fn quoted(text: &str) -> String {
    let names = ["ID", "SSN", "NAME", "WHOM", "T", "V"];
    let mut quoted = String::new();
    let mut word = String::new();
    let mut inside = None;
    for character in text.chars().chain([' ']) {
        if inside.is_none() && (character.is_ascii_alphanumeric() || character == '_') {
            word.push(character);
            continue;
        }
        let stored = word.to_ascii_uppercase();
        if inside.is_none() && names.contains(&stored.as_str()) {
            quoted += &format!("\"{stored}\"");
        } else {
            quoted += &word;
        }
        word.clear();
        quoted.push(character);
        inside = match (inside, character) {
            (None, '\'' | '"') => Some(character),
            (Some(open), close) if open == close => None,
            (inside, _) => inside,
        };
    }
    quoted
}

fn decide(text: &str) -> Decision {
    let column = |name: &str| CatalogColumn { name: name.into(), data_type: "TEXT".into() };
    let object = |name: &str, columns: &[&str], definition| Object {
        name: Name::new("D", "S", name),
        columns: columns.iter().map(|name| column(name)).collect(),
        definition,
    };
    let catalog = Catalog::new([
        object("T", &["ID", "SSN", "NAME"], Definition::Table),
        object("V", &["WHOM"], Definition::View("SELECT ssn FROM t".into())),
    ]);
    let session =
        Session { database: Some("D".into()), schema: Some("S".into()), ..Session::default() };
    let document = Document {
        name: "d/p".into(),
        generation: 1,
        mode: Mode::Enforce,
        subjects: Vec::new(),
        role_mapping: Vec::new(),
        statements: Statements { allow: vec!["Select".into()], deny: Vec::new() },
        objects: vec![ObjectRule {
            effect: RuleEffect::Allow,
            privileges: Vec::new(),
            tables: vec!["D.S.*".into()],
            except: Vec::new(),
            message: None,
            hint: None,
        }],
        masking: vec![MaskRule {
            columns: vec!["D.S.T.SSN".into()],
            method: MaskMethod::Hash { domain: None },
            filterable: false,
            predicate_use: PredicateUse::RequireApproval,
            except_subjects: Vec::new(),
        }],
        functions: Functions::default(),
        detectors: Vec::new(),
        guards: Guards::default(),
        approvals: Vec::new(),
    };
    let analysis = analyze(text, &session, &catalog);
    Policy::compile(&[document], &Ceiling::default()).decide(&Request {
        principal: &Principal::default(),
        analysis: &analysis,
        session: &session,
        describe_only: false,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, ..ProptestConfig::default() })]

    #[test]
    fn no_dress_of_a_masked_column_is_decided_unmasked(
        base in prop::sample::select(BASES),
        dresses in prop::collection::vec(dress(), 0..5),
    ) {
        let (text, mut columns, masked) = base;
        let mut text = text.to_owned();
        let mut masked = masked.to_vec();
        for dress in &dresses {
            // A comment inside of a comment is refused, and rightly; one with a name in it is not to be quoted.
            if matches!(dress, Dress::Comments | Dress::Quotes) && text.contains("/*") {
                continue;
            }
            (text, columns) = wear(dress, &text, columns, &mut masked);
        }
        let decision = decide(&text);
        let positions: Vec<usize> = decision.masks.iter().map(|mask| mask.position).collect();
        prop_assert_eq!(decision.effect, Effect::Allow, "{} {:?}", text, decision.refusal);
        prop_assert_eq!(&positions, &masked, "{}", text);
        prop_assert_eq!(decision.columns.map(|columns| columns.len()), Some(columns));
        prop_assert!(decision.redact_errors);
        // Whatever is no longer the column itself shows one value for every row, NULL or not.
        for mask in &decision.masks {
            let is_plain = mask.mask.method == MaskMethod::Hash { domain: None };
            prop_assert!(mask.mask.derived || is_plain);
        }
    }
}
