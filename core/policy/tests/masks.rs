//! Masks on values, one line per method and type.

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

/// Values as cells of their types hold them.
fn values() -> Vec<(&'static str, Kind, Value<'static>)> {
    let text = |text: &'static str| Value::Text(text.into());
    let time = |seconds, nanoseconds, offset| Value::Timestamp { seconds, nanoseconds, offset };
    vec![
        ("text", Kind::Text, text("4111-1111-1111-1234")),
        ("short text", Kind::Text, text("abc")),
        ("e-mail", Kind::Text, text("ann.lee@example.co.uk")),
        ("integer", Kind::Fixed { precision: 38, scale: 0 }, Value::Integer(1234)),
        ("decimal", Kind::Fixed { precision: 10, scale: 2 }, Value::Integer(-123_456)),
        ("real", Kind::Real, Value::Real(1234.5)),
        ("boolean", Kind::Boolean, Value::Boolean(true)),
        ("date", Kind::Date, Value::Days(19_876)),
        ("time", Kind::Time { scale: 3 }, Value::Time(45_296_123)),
        ("timestamp", Kind::Timestamp { scale: 9 }, time(1_717_243_496, 123_456_789, None)),
        ("old timestamp", Kind::Timestamp { scale: 3 }, time(-2, 500_000_000, None)),
        (
            "timestamp_tz",
            Kind::TimestampTz { scale: 6 },
            time(1_717_243_496, 123_456_000, Some(120)),
        ),
        ("binary", Kind::Binary, Value::Binary(vec![0xDE, 0xAD, 0xBE, 0xEF].into())),
        ("variant", Kind::Variant, text("{\"b\": 1,\n \"a\": [2]}")),
        ("object", Kind::Object, text("{\"a\": 1}")),
        ("array", Kind::Array, text("[1, 2]")),
        ("other", Kind::Other, text("POINT(1 2)")),
    ]
}

fn shown(value: &Value<'_>) -> String {
    match value {
        Value::Null => "NULL".into(),
        Value::Text(text) => text.clone().into_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Boolean(truth) => truth.to_string(),
        Value::Days(number) | Value::Time(number) => number.to_string(),
        Value::Timestamp { seconds, nanoseconds, offset } => {
            let offset = offset.map(|offset| format!(" {offset:+}")).unwrap_or_default();
            format!("{seconds} {nanoseconds:09}{offset}")
        }
        Value::Binary(bytes) => format!("{bytes:02X?}"),
    }
}

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
        for (kind_name, kind, value) in values() {
            let masked = mask(method, false).apply(&key(), kind, value);
            lines.push(format!("{method_name:<12} {kind_name:<14} {}", shown(&masked)));
        }
    }
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn null_stays_null_in_a_plain_column() {
    for (_, method) in METHODS {
        for (_, kind, _) in values() {
            assert_eq!(mask(method, false).apply(&key(), kind, Value::Null), Value::Null);
        }
    }
}

#[test]
fn a_derived_column_shows_one_value_for_every_cell() {
    for (_, kind, value) in values() {
        let derived = mask(&MaskMethod::Full, true);
        let of_value = derived.apply(&key(), kind, value);
        assert_eq!(of_value, derived.apply(&key(), kind, Value::Null));
        assert_eq!(of_value, derived.apply(&key(), kind, Value::Text("anything".into())));
    }
}

#[test]
fn tokens_depend_on_key_and_domain_and_nothing_else() {
    let token = |key: &[u8], domain: &str, text: &'static str| {
        let mask = Mask {
            method: MaskMethod::Hash { domain: None },
            domain: domain.into(),
            derived: false,
        };
        mask.apply(&MaskKey::new(key), Kind::Text, Value::Text(text.into()))
    };
    assert_eq!(token(b"k", "d", "a"), token(b"k", "d", "a"));
    assert_ne!(token(b"k", "d", "a"), token(b"k", "d", "b"));
    assert_ne!(token(b"k", "d", "a"), token(b"l", "d", "a"));
    assert_ne!(token(b"k", "d", "a"), token(b"k", "e", "a"));
    assert_ne!(token(b"k", "da", "b"), token(b"k", "d", "ab"));
}

#[test]
fn a_value_that_is_not_of_its_type_does_not_show() {
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
            let secret = Value::Text("secret-secret".into());
            let masked = mask(method, false).apply(&key(), kind, secret);
            assert!(!shown(&masked).contains("secret"), "{method:?} {kind:?}");
        }
    }
}

proptest! {
    #[test]
    fn any_value_of_any_type_is_masked_without_a_panic(
        text in any::<String>(),
        number in any::<i128>(),
        seconds in any::<i64>(),
        real in any::<f64>(),
        method in prop::sample::select(METHODS),
        kind in prop::sample::select(values().into_iter().map(|(_, kind, _)| kind).collect::<Vec<_>>()),
    ) {
        let mask = mask(&method.1, false);
        for value in [
            Value::Text(text.into()),
            Value::Integer(number),
            Value::Days(seconds),
            Value::Real(real),
            Value::Timestamp { seconds, nanoseconds: 1, offset: Some(14 * 60) },
        ] {
            let _ = mask.apply(&key(), kind, value);
        }
    }

    #[test]
    fn no_method_but_the_coarse_ones_shows_a_long_text(text in "[a-z]{12,40}") {
        for (_, method) in METHODS {
            let masked = mask(method, false).apply(&key(), Kind::Text, Value::Text(text.as_str().into()));
            prop_assert!(masked != Value::Text(text.as_str().into()));
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
