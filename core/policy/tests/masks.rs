//! Masks on JSON cells, one line per method and type.

use policy::document::{MaskMethod, TruncateUnit};
use policy::{Kind, Mask, MaskKey, Value};
use proptest::prelude::*;

const METHODS: &[(&str, MaskMethod)] = &[
    ("null", MaskMethod::Null),
    ("full", MaskMethod::Full),
    ("partial 2/2", MaskMethod::Partial { keep_first: 2, keep_last: 2 }),
    ("hash", MaskMethod::Hash { domain: None }),
    ("email", MaskMethod::Email),
    ("day", MaskMethod::Truncate { unit: TruncateUnit::Day }),
    ("month", MaskMethod::Truncate { unit: TruncateUnit::Month }),
    ("year", MaskMethod::Truncate { unit: TruncateUnit::Year }),
    ("decade", MaskMethod::Truncate { unit: TruncateUnit::Decade }),
    ("bucket 100", MaskMethod::Bucket { width: 100 }),
];

const CELLS: &[(&str, Kind, &str)] = &[
    ("text", Kind::Text, "4111-1111-1111-1234"),
    ("short text", Kind::Text, "abc"),
    ("e-mail", Kind::Text, "ann.lee@example.co.uk"),
    ("integer", Kind::Fixed { precision: 38, scale: 0 }, "1234"),
    ("decimal", Kind::Fixed { precision: 10, scale: 2 }, "-1234.56"),
    ("real", Kind::Real, "1234.5"),
    ("boolean", Kind::Boolean, "1"),
    ("date", Kind::Date, "19876"),
    ("time", Kind::Time { scale: 3 }, "45296.123"),
    ("timestamp", Kind::Timestamp { scale: 9 }, "1717243496.123456789"),
    ("old timestamp", Kind::Timestamp { scale: 3 }, "-1.500"),
    ("timestamp_tz", Kind::TimestampTz { scale: 6 }, "1717243496.123456 1560"),
    ("binary", Kind::Binary, "DEADBEEF"),
    ("variant", Kind::Variant, "{\"b\": 1,\n \"a\": [2]}"),
    ("object", Kind::Object, "{\"a\": 1}"),
    ("array", Kind::Array, "[1, 2]"),
    ("other", Kind::Other, "POINT(1 2)"),
];

fn key() -> MaskKey {
    MaskKey::new(&[7; 32])
}

fn mask(method: &MaskMethod, derived: bool) -> Mask {
    Mask { method: method.clone(), domain: "D.S.T.C".into(), derived }
}

#[test]
fn each_method_masks_each_type_in_its_own_form() {
    let mut lines = Vec::new();
    for (method_name, method) in METHODS {
        for (kind_name, kind, cell) in CELLS {
            let masked = mask(method, false).cell(&key(), *kind, Some(cell));
            let masked = masked.as_deref().unwrap_or("NULL");
            lines.push(format!("{method_name:<12} {kind_name:<14} {masked}"));
        }
    }
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn null_stays_null_in_a_plain_column() {
    for (_, method) in METHODS {
        for (_, kind, _) in CELLS {
            assert_eq!(mask(method, false).cell(&key(), *kind, None), None);
        }
    }
}

#[test]
fn a_derived_column_shows_one_value_for_every_cell() {
    for (_, kind, cell) in CELLS {
        let derived = mask(&MaskMethod::Full, true);
        let of_value = derived.cell(&key(), *kind, Some(cell));
        assert_eq!(of_value, derived.cell(&key(), *kind, None));
        assert_eq!(of_value, derived.cell(&key(), *kind, Some("anything")));
    }
}

#[test]
fn tokens_depend_on_key_and_domain_and_nothing_else() {
    let token = |key: &[u8], domain: &str, cell: &str| {
        let mask = Mask {
            method: MaskMethod::Hash { domain: None },
            domain: domain.into(),
            derived: false,
        };
        mask.cell(&MaskKey::new(key), Kind::Text, Some(cell)).unwrap().into_owned()
    };
    assert_eq!(token(b"k", "d", "a"), token(b"k", "d", "a"));
    assert_ne!(token(b"k", "d", "a"), token(b"k", "d", "b"));
    assert_ne!(token(b"k", "d", "a"), token(b"l", "d", "a"));
    assert_ne!(token(b"k", "d", "a"), token(b"k", "e", "a"));
    assert_ne!(token(b"k", "da", "b"), token(b"k", "d", "ab"));
}

#[test]
fn a_cell_that_is_not_of_its_type_does_not_show() {
    for (_, method) in METHODS {
        for kind in [
            Kind::Fixed { precision: 38, scale: 0 },
            Kind::Real,
            Kind::Boolean,
            Kind::Date,
            Kind::Time { scale: 9 },
            Kind::Timestamp { scale: 9 },
            Kind::TimestampTz { scale: 9 },
            Kind::Binary,
        ] {
            let masked = mask(method, false).cell(&key(), kind, Some("secret-secret"));
            assert!(masked.is_none_or(|masked| !masked.contains("secret")));
        }
    }
}

proptest! {
    #[test]
    fn any_cell_of_any_type_is_masked_without_a_panic(
        cell in any::<String>(),
        number in any::<i128>(),
        seconds in any::<i64>(),
        real in any::<f64>(),
        method in prop::sample::select(METHODS),
        kind in prop::sample::select(CELLS),
    ) {
        let mask = mask(&method.1, false);
        let _ = mask.cell(&key(), kind.1, Some(&cell));
        let _ = mask.cell(&key(), kind.1, Some(&number.to_string()));
        let _ = mask.apply(&key(), kind.1, Value::Integer(number));
        let _ = mask.apply(&key(), kind.1, Value::Days(seconds));
        let _ = mask.apply(&key(), kind.1, Value::Real(real));
        let timestamp = Value::Timestamp { seconds, nanoseconds: 1, offset: Some(14 * 60) };
        let _ = mask.apply(&key(), kind.1, timestamp);
    }

    #[test]
    fn no_method_but_the_coarse_ones_shows_a_long_text(cell in "[a-z]{12,40}") {
        for (_, method) in METHODS {
            let masked = mask(method, false).cell(&key(), Kind::Text, Some(&cell));
            prop_assert!(masked.is_none_or(|masked| masked != cell));
        }
    }

    #[test]
    fn truncation_to_a_month_keeps_year_and_month(days in -700_000_i64..2_900_000) {
        let mask = mask(&MaskMethod::Truncate { unit: TruncateUnit::Month }, false);
        let Value::Days(first) = mask.apply(&key(), Kind::Date, Value::Days(days)) else {
            panic!("a date became something else");
        };
        prop_assert!(first <= days && days - first < 31);
        // The first of a month is its own month.
        prop_assert_eq!(mask.apply(&key(), Kind::Date, Value::Days(first)), Value::Days(first));
        let Value::Days(before) = mask.apply(&key(), Kind::Date, Value::Days(first - 1)) else {
            panic!("a date became something else");
        };
        prop_assert!(before < first);
    }
}
