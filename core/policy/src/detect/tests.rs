//! Detectors over whole values: kinds, limits, masks, and numbers in any surroundings.

use std::borrow::Cow;

use proptest::prelude::*;

use super::digits::tests::valid_card;
use super::iban::tests::valid as valid_iban;
use super::*;

fn all() -> Detectors {
    let mut detectors = Detectors::default();
    for detector in Detector::ALL {
        detectors.add(detector, DetectorMask::Full);
    }
    detectors
}

fn found(name: &str, value: &Value<'_>) -> Vec<&'static str> {
    of_kind(name, Kind::Other, value)
}

fn of_kind(name: &str, kind: Kind, value: &Value<'_>) -> Vec<&'static str> {
    all().search(Hints::of(name), kind, value, &mut Effort::default()).words().collect()
}

fn in_text(text: &str) -> Vec<&'static str> {
    found("NOTE", &Value::Text(text.into()))
}

#[test]
fn each_kind_of_value_is_searched_where_something_can_stand() {
    let text = |text: &'static str| Value::Text(text.into());
    for (name, value, expected) in [
        ("NOTE", text("pay ４１１１ １１１１ １１１１ １１１１"), vec!["CardNumber"]),
        ("NOTE", text("mail ann@example.com, +49 30 1234567"), vec!["EmailAddress", "PhoneNumber"]),
        ("SSN", text(" 078051120 "), vec!["SocialSecurityNumber"]),
        (
            "NOTE",
            text(r#"{"ssn": 78051120, "iban": "DE89370400440532013000"}"#),
            vec!["Iban", "SocialSecurityNumber"],
        ),
        ("NOTE", text(r#"{"ssn": 178051120}"#), vec!["SocialSecurityNumber"]),
        ("V", text(r#"{"a": [{"ssn": 178051120}]}"#), vec!["SocialSecurityNumber"]),
        ("V", text(r#"{"4111 1111 1111 1111": 1}"#), vec!["CardNumber"]),
        ("V", text(r#"["\u0034111111111111111"]"#), vec!["CardNumber"]),
        ("V", text("[4111111111111111, undefined]"), vec!["CardNumber"]),
        ("V", text("[0.4111111111111111, 4.111111111111111e15]"), vec![]),
        ("V", text("[4111, 1111, 1111, 1111]"), vec![]),
        ("O", text(r#"{"k": "AKIAIOSFODNN7EXAMPLE"}"#), vec!["Secret"]),
        ("N", Value::Integer(4_111_111_111_111_111), vec!["CardNumber"]),
        ("N", Value::Integer(-4_111_111_111_111_111), vec!["CardNumber"]),
        ("SSN", Value::Integer(78_051_120), vec!["SocialSecurityNumber"]),
        ("ID", Value::Integer(78_051_120), vec![]),
        ("N", Value::Integer(i128::MIN), vec![]),
        ("R", Value::Real(4_111_111_111_111_111.0), vec!["CardNumber"]),
        ("R", Value::Real(f64::INFINITY), vec![]),
        ("R", Value::Real(f64::NAN), vec![]),
        ("B", Value::Binary(Cow::Borrowed(b"4111111111111111")), vec!["CardNumber"]),
        ("B", Value::Binary(Cow::Borrowed(&[0xFF, 0x34])), vec![]),
        ("D", Value::Days(19_876), vec![]),
        ("T", Value::Null, vec![]),
    ] {
        assert_eq!(found(name, &value), expected, "{value:?}");
    }
}

#[test]
fn a_decimal_is_searched_as_it_is_printed() {
    let text = |text: &'static str| Value::Text(text.into());
    let fixed = |scale| Kind::Fixed { precision: 38, scale };
    for (name, kind, value, expected) in [
        ("N", fixed(0), Value::Integer(4_111_111_111_111_111), vec!["CardNumber"]),
        ("N", fixed(2), Value::Integer(411_111_111_111_111_100), vec!["CardNumber"]),
        ("N", fixed(2), Value::Integer(-411_111_111_111_111_145), vec!["CardNumber"]),
        // The digits of a card, but not before the point.
        ("N", fixed(2), Value::Integer(4_111_111_111_111_111), vec![]),
        ("N", fixed(16), Value::Integer(4_111_111_111_111_111), vec![]),
        ("N", fixed(38), Value::Integer(i128::MAX), vec![]),
        ("N", fixed(200), Value::Integer(i128::MAX), vec![]),
        ("SSN", fixed(2), Value::Integer(17_805_112_000), vec!["SocialSecurityNumber"]),
        ("SSN", fixed(1), Value::Integer(780_511_200), vec!["SocialSecurityNumber"]),
        ("SSN", fixed(2), Value::Integer(17_805_112_050), vec![]),
        ("D", Kind::Real, text("4111111111111111"), vec!["CardNumber"]),
        ("D", Kind::Real, text("-4111111111111111.5"), vec!["CardNumber"]),
        ("D", Kind::Real, text("0.4111111111111111"), vec![]),
        ("SSN", Kind::Real, text("78051120.0"), vec!["SocialSecurityNumber"]),
        ("SSN", Kind::Real, text("78051120.5"), vec![]),
        ("D", Kind::Real, text("4111 1111 1111 1111"), vec!["CardNumber"]),
    ] {
        assert_eq!(of_kind(name, kind, &value), expected, "{kind:?} {value:?}");
    }
}

#[test]
fn only_what_is_asked_for_is_found() {
    for detector in Detector::ALL {
        let mut one = Detectors::default();
        one.add(detector, DetectorMask::Full);
        let text = "4111 1111 1111 1111, DE89370400440532013000, 078-05-1120, ann@example.com, +49 30 1234567, \
                    AKIAIOSFODNN7EXAMPLE";
        let words = one.search(
            Hints::default(),
            Kind::Text,
            &Value::Text(text.into()),
            &mut Effort::default(),
        );
        // A routing number is only known by the name of its column.
        let expected: Vec<_> = (detector != Detector::RoutingNumber)
            .then_some(detector.as_str())
            .into_iter()
            .collect();
        assert_eq!(words.words().collect::<Vec<_>>(), expected);
    }
}

#[test]
fn what_is_too_much_to_search_is_hidden() {
    let long = "x".repeat(LONGEST + 1);
    let text = Value::Text(long.as_str().into());
    assert_eq!(found("NOTE", &text), ["Unsearched"]);
    assert_eq!(found("NOTE", &Value::Binary(long.as_bytes().into())), ["Unsearched"]);

    let mut effort = Effort { left: 10, ..Effort::default() };
    let mut search = |text: &'static str| {
        let value = Value::Text(text.into());
        all().search(Hints::default(), Kind::Text, &value, &mut effort).words().collect::<Vec<_>>()
    };
    assert!(search("12345").is_empty());
    assert_eq!(search("123456"), ["Unsearched"]);
    assert_eq!(search("1"), ["Unsearched"]);
}

#[test]
fn the_strictest_mask_of_what_was_found_hides_the_cell() {
    let mut detectors = Detectors::default();
    detectors.add(Detector::CardNumber, DetectorMask::Null);
    detectors.add(Detector::CardNumber, DetectorMask::Full);
    detectors.add(Detector::EmailAddress, DetectorMask::Full);
    let hidden = |found: Found| detectors.hide(found, Kind::Text);
    assert_eq!(hidden(Detector::CardNumber.into()), Value::Null);
    assert_eq!(hidden(Detector::EmailAddress.into()), Value::Text("****".into()));
    assert_eq!(
        hidden(Found::from(Detector::EmailAddress).and(Detector::CardNumber.into())),
        Value::Null
    );
    assert_eq!(hidden(Found::UNSEARCHED), Value::Null);
}

#[test]
fn every_word_is_known_before_anything_is_found() {
    let words: Vec<_> = Found::anything().words().collect();
    assert_eq!(words.len(), Detector::ALL.len() + 1);
    assert_eq!(words.last(), Some(&"Unsearched"));
}

/// Text that says nothing and touches no digit: what is found in it is what was put there.
fn around() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z ,;:!\u{e9}\u{4e2d}]{0,40}", Just("line\n".to_owned()), Just(String::new())]
}

fn separated(text: &str, group: usize, separators: &[String]) -> String {
    let groups: Vec<&str> =
        text.as_bytes().chunks(group).map(|group| std::str::from_utf8(group).unwrap()).collect();
    groups.iter().enumerate().fold(String::new(), |text, (at, group)| {
        let separator = if at == 0 { "" } else { separators[at % separators.len()].as_str() };
        format!("{text}{separator}{group}")
    })
}

fn separators() -> impl Strategy<Value = Vec<String>> {
    let one = prop_oneof![
        Just(String::new()),
        Just(" ".to_owned()),
        Just("-".to_owned()),
        Just("\u{2013}".to_owned()),
        Just("\u{a0}".to_owned()),
        Just(" - ".to_owned()),
        Just("\u{200b}".to_owned()),
        Just("\n".to_owned()),
    ];
    one.prop_map(|separator| vec![separator])
}

proptest! {
    #[test]
    fn a_valid_card_is_found_in_any_surroundings(
        card in valid_card(), before in around(), after in around(), group in 4_usize..=19, between in separators(),
    ) {
        let text = format!("{before}{}{after}", separated(&card, group, &between));
        prop_assert!(in_text(&text).contains(&"CardNumber"), "{text:?}");
    }

    #[test]
    fn a_valid_iban_is_found_in_any_surroundings(
        iban in valid_iban(), before in around(), after in around(), between in separators(), lower in any::<bool>(),
    ) {
        let iban = if lower { iban.to_lowercase() } else { iban };
        // A word of the surroundings may go on with the last group; a comma ends it.
        let text = format!("{before} {}, {after}", separated(&iban, 4, &between));
        prop_assert!(in_text(&text).contains(&"Iban"), "{text:?}");
    }

    #[test]
    fn digits_without_the_check_digit_are_no_card(card in valid_card(), at in 0_usize..19, by in 1_u8..10) {
        let mut digits = card.into_bytes();
        let at = at % digits.len();
        digits[at] = (digits[at] - b'0' + by) % 10 + b'0';
        // One changed digit always breaks the sum.
        let text = String::from_utf8(digits).unwrap();
        prop_assert_eq!(in_text(&text), Vec::<&str>::new());
    }

    #[test]
    fn an_iban_with_another_digit_is_none(iban in valid_iban(), at in 2_usize..15, by in 1_u8..10) {
        let mut bytes = iban.into_bytes();
        bytes[at] = (bytes[at] - b'0' + by) % 10 + b'0';
        let text = String::from_utf8(bytes).unwrap();
        prop_assert!(!in_text(&text).contains(&"Iban"), "{text}");
    }

    #[test]
    fn no_value_is_too_much(text in any::<String>(), bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = in_text(&text);
        let _ = found(&text, &Value::Text(text.as_str().into()));
        let _ = found("SSN", &Value::Binary(bytes.into()));
    }
}
