//! Numbers in text: cards, social security, phone and routing numbers.
//!
//! The text is cut into groups of digits, and groups with a few separators between them form a run. Every window of a
//! run that has the digits of a number is tried, so that a number is found whatever stands beside it.

use super::Found;
use crate::document::Detector;

/// Digits of the longest number.
const MOST_DIGITS: usize = 19;
/// Digits of the shortest.
const FEWEST_DIGITS: usize = 7;
/// Characters between two groups of one number.
const BETWEEN: usize = 3;

/// What a name says of the digits under it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    social_security: bool,
    phone: bool,
    routing: bool,
}

/// What a search found, and what it cost beyond reading the text once.
pub(super) struct Numbers {
    pub(super) found: Found,
    pub(super) steps: u64,
}

impl Hints {
    /// From the name of a column, field or key.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let holds = |part: &str| {
            name.as_bytes()
                .windows(part.len())
                .any(|window| window.eq_ignore_ascii_case(part.as_bytes()))
        };
        let word = |known: &str| {
            name.split(|character: char| !character.is_ascii_alphabetic())
                .any(|word| word.eq_ignore_ascii_case(known))
        };
        Self {
            social_security: ["ssn", "social", "soc_sec", "socsec", "tax_id", "taxid", "taxpayer"]
                .iter()
                .any(|part| holds(part))
                || word("tin"),
            phone: ["phone", "mobile", "msisdn", "cellular", "whatsapp"]
                .iter()
                .any(|part| holds(part))
                || ["tel", "cell", "fax"].iter().any(|known| word(known)),
            routing: holds("routing") || ["aba", "rtn", "transit"].iter().any(|known| word(known)),
        }
    }

    /// What either says.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            social_security: self.social_security || other.social_security,
            phone: self.phone || other.phone,
            routing: self.routing || other.routing,
        }
    }

    /// Whether numbers of nine digits are meant, which lose their leading zeros in a numeric column.
    pub(super) fn wants_nine_digits(self) -> bool {
        self.social_security || self.routing
    }
}

/// Whether a text has the digits of any number.
pub(super) fn enough(text: &str) -> bool {
    text.bytes().filter(u8::is_ascii_digit).count() >= FEWEST_DIGITS
}

/// Digits and nothing else: all that the name says counts.
pub(super) fn bare(text: &str, hints: Hints, wants: impl Fn(Detector) -> bool) -> Found {
    let digits = text.as_bytes();
    let found = [
        (Detector::CardNumber, is_card(digits)),
        (Detector::SocialSecurityNumber, hints.social_security && is_social_security(digits)),
        (Detector::RoutingNumber, hints.routing && is_routing(digits)),
        (Detector::PhoneNumber, hints.phone && (7..=15).contains(&digits.len())),
    ];
    let found = found.into_iter().filter(|(detector, is_one)| *is_one && wants(*detector));
    found.fold(Found::NOTHING, |all, (detector, _)| all.and(detector.into()))
}

/// Every window of every run.
pub(super) fn search(text: &str, wants: impl Fn(Detector) -> bool) -> Numbers {
    let mut numbers = Numbers { found: Found::NOTHING, steps: 0 };
    let mut run = Run { text: text.as_bytes(), groups: [(0, 0); MOST_DIGITS], length: 0 };
    let mut at = 0;
    while let Some(start) = run.text[at..].iter().position(u8::is_ascii_digit) {
        let start = at + start;
        let length = run.text[start..].iter().position(|byte| !byte.is_ascii_digit());
        let end = length.map_or(run.text.len(), |length| start + length);
        at = end;
        run.push(start, end);
        let mut digits = 0;
        for first in (0..run.length).rev() {
            digits += run.groups[first].1 - run.groups[first].0;
            if digits > MOST_DIGITS {
                break;
            }
            if digits < FEWEST_DIGITS {
                continue;
            }
            numbers.steps += MOST_DIGITS as u64;
            let window = Window { run: &run, first, digits };
            for detector in
                [Detector::CardNumber, Detector::SocialSecurityNumber, Detector::PhoneNumber]
            {
                if wants(detector) && window.is(detector) {
                    numbers.found = numbers.found.and(detector.into());
                }
            }
        }
    }
    numbers
}

/// Groups of digits with at most a few separators between them; the last ones, as start and end in the text.
struct Run<'t> {
    text: &'t [u8],
    groups: [(usize, usize); MOST_DIGITS],
    length: usize,
}

impl Run<'_> {
    fn push(&mut self, start: usize, end: usize) {
        let before = self.length.checked_sub(1).map(|last| self.groups[last].1);
        if !before.is_some_and(|before| self.is_joined(before, start)) {
            self.length = 0;
        }
        if self.length == self.groups.len() {
            self.groups.rotate_left(1);
            self.length -= 1;
        }
        self.groups[self.length] = (start, end);
        self.length += 1;
    }

    fn is_joined(&self, end: usize, start: usize) -> bool {
        start - end <= BETWEEN
            && self.text[end..start].iter().all(|byte| b" \t\r\n-._/()".contains(byte))
    }
}

/// Neighbouring groups at the end of a run, with the digits of a number.
struct Window<'r> {
    run: &'r Run<'r>,
    first: usize,
    digits: usize,
}

impl Window<'_> {
    fn is(&self, detector: Detector) -> bool {
        match detector {
            Detector::CardNumber => self.is_card(),
            Detector::SocialSecurityNumber => self.is_social_security(),
            Detector::PhoneNumber => self.is_phone(),
            // Digits of these mean nothing without a name, or are not alone digits.
            Detector::RoutingNumber
            | Detector::Iban
            | Detector::EmailAddress
            | Detector::Secret => false,
        }
    }

    fn groups(&self) -> &[(usize, usize)] {
        &self.run.groups[self.first..self.run.length]
    }

    fn group(&self, at: usize) -> &[u8] {
        let (start, end) = self.groups()[at];
        &self.run.text[start..end]
    }

    fn lengths(&self) -> impl Iterator<Item = usize> {
        self.groups().iter().map(|(start, end)| end - start)
    }

    fn has_lengths(&self, lengths: &[usize]) -> bool {
        self.lengths().eq(lengths.iter().copied())
    }

    /// All digits, without what is between.
    fn number(&self) -> ([u8; MOST_DIGITS], usize) {
        let mut number = [0; MOST_DIGITS];
        let mut length = 0;
        for (start, end) in self.groups() {
            let group = &self.run.text[*start..*end];
            number[length..length + group.len()].copy_from_slice(group);
            length += group.len();
        }
        (number, length)
    }

    fn before(&self) -> &[u8] {
        &self.run.text[..self.groups().first().map_or(0, |(start, _)| *start)]
    }

    fn behind(&self) -> &[u8] {
        &self.run.text[self.groups().last().map_or(0, |(_, end)| *end)..]
    }

    /// Whether it stands alone: no letter beside it, and no digits that a single dash, point or slash binds to it.
    fn is_alone(&self) -> bool {
        self.begins_alone() && self.ends_alone()
    }

    fn begins_alone(&self) -> bool {
        match self.before() {
            [.., digit, b'-' | b'.' | b'/' | b'_'] => !digit.is_ascii_digit(),
            [.., byte] => !byte.is_ascii_alphanumeric(),
            [] => true,
        }
    }

    fn ends_alone(&self) -> bool {
        match self.behind() {
            [b'-' | b'.' | b'/' | b'_', digit, ..] => !digit.is_ascii_digit(),
            [byte, ..] => !byte.is_ascii_alphanumeric(),
            [] => true,
        }
    }

    /// Two groups with a point between: rather a decimal than a number in groups.
    fn is_decimal(&self) -> bool {
        match self.groups() {
            [(_, end), (start, _)] => &self.run.text[*end..*start] == b".",
            // The digits behind the point.
            [_] => matches!(self.before(), [.., digit, b'.'] if digit.is_ascii_digit()),
            _ => false,
        }
    }

    fn is_card(&self) -> bool {
        if self.digits < 12 || self.is_decimal() || !self.is_grouped_as_card() {
            return false;
        }
        let (number, length) = self.number();
        is_card(&number[..length])
    }

    /// In one, in equal groups with a shorter last one, or as issuers print them.
    fn is_grouped_as_card(&self) -> bool {
        let first = self.group(0).len();
        let last = self.groups().len() - 1;
        self.lengths()
            .enumerate()
            .all(|(at, length)| length == first || (at == last && length < first))
            || (first == 6 && last == 1)
            || self.has_lengths(&[4, 6, 5])
            || self.has_lengths(&[4, 6, 4])
    }

    fn is_social_security(&self) -> bool {
        if !self.has_lengths(&[3, 2, 4]) || !self.is_alone() {
            return false;
        }
        let (number, length) = self.number();
        is_social_security(&number[..length])
    }

    fn is_phone(&self) -> bool {
        self.digits <= 17
            && self.ends_alone()
            && !self.is_decimal()
            && (self.is_international() || self.is_american() || self.is_national())
    }

    /// `+49 30 123456`, `0049 30 123456`.
    fn is_international(&self) -> bool {
        let first = self.group(0);
        let begins = |before: &[u8]| {
            !before.last().is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'+')
        };
        match self.before() {
            [before @ .., b'+'] | [before @ .., b'+', b'('] => {
                begins(before) && first[0] != b'0' && (8..=15).contains(&self.digits)
            }
            before => {
                begins(before)
                    && self.begins_alone()
                    && self.groups().len() > 1
                    && first.len() > 2
                    && first.starts_with(b"00")
                    && first[2] != b'0'
                    && self.digits >= 10
            }
        }
    }

    /// `(212) 555-0123`, `1-212-555-0123`.
    fn is_american(&self) -> bool {
        let area = match self.groups().len() {
            3 if self.has_lengths(&[3, 3, 4]) => 0,
            4 if self.has_lengths(&[1, 3, 3, 4]) && self.group(0) == b"1" => 1,
            _ => return false,
        };
        let is_code = |group: &[u8]| (b'2'..=b'9').contains(&group[0]);
        self.begins_alone() && is_code(self.group(area)) && is_code(self.group(area + 1))
    }

    /// With a leading zero: `030 1234567`, `07700 900123`, `01 23 45 67 89`.
    fn is_national(&self) -> bool {
        let first = self.group(0);
        if first[0] != b'0'
            || first.get(1).is_none_or(|digit| *digit == b'0')
            || !self.begins_alone()
        {
            return false;
        }
        let groups = self.groups().len();
        let separators = || {
            self.groups().windows(2).filter_map(|pair| match pair {
                [(_, end), (start, _)] => Some(&self.run.text[*end..*start]),
                _ => None,
            })
        };
        if self.has_lengths(&[2, 2, 2, 2, 2]) {
            // Pairs alike, and no more of them: otherwise it is a list, or a date with a time.
            return separators().all(|separator| Some(separator) == separators().next())
                && self.first == 0
                && !next_is_joined(self.behind());
        }
        let zeros = (0..groups).filter(|at| self.group(*at)[0] == b'0').count();
        let is_date = matches!(self.lengths().take(3).collect::<Lengths>().0, [2, 2, 2 | 4]);
        (2..=5).contains(&first.len())
            && (2..=6).contains(&groups)
            && (9..=12).contains(&self.digits)
            && self.lengths().all(|length| length > 1)
            && !self.has_lengths(&[3, 2, 4])
            && zeros * 2 <= groups + 1
            && !is_date
    }
}

/// The first three lengths, zero where there is none.
struct Lengths([usize; 3]);

impl FromIterator<usize> for Lengths {
    fn from_iter<I: IntoIterator<Item = usize>>(lengths: I) -> Self {
        let mut first = [0; 3];
        for (slot, length) in first.iter_mut().zip(lengths) {
            *slot = length;
        }
        Self(first)
    }
}

/// Whether more digits follow close by.
fn next_is_joined(behind: &[u8]) -> bool {
    let separators = behind.iter().take_while(|byte| b" \t\r\n-._/()".contains(byte)).count();
    (1..=BETWEEN).contains(&separators) && behind.get(separators).is_some_and(u8::is_ascii_digit)
}

// === what the digits themselves must say ===

/// A card number: the digits of an issuer, of the length it uses, with the check digit of Luhn.
pub(super) fn is_card(digits: &[u8]) -> bool {
    is_issued(digits) && luhn(digits)
}

/// Issuer ranges as six digits (ISO/IEC 7812), and how long their numbers are.
const ISSUERS: &[(u32, u32, &[usize])] = &[
    // Mir, Mastercard.
    (220_000, 220_499, &[16, 17, 18, 19]),
    (222_100, 272_099, &[16]),
    // Diners Club, JCB, American Express.
    (300_000, 305_999, &[14, 15, 16, 17, 18, 19]),
    (309_500, 309_599, &[14, 15, 16, 17, 18, 19]),
    (340_000, 349_999, &[15]),
    (352_800, 358_999, &[16, 17, 18, 19]),
    (360_000, 369_999, &[14, 15, 16, 17, 18, 19]),
    (370_000, 379_999, &[15]),
    (380_000, 399_999, &[14, 15, 16, 17, 18, 19]),
    // Visa.
    (400_000, 499_999, &[13, 16, 19]),
    // Maestro, Verve, RuPay, Mastercard.
    (501_800, 501_899, &[12, 13, 14, 15, 16, 17, 18, 19]),
    (502_000, 502_099, &[12, 13, 14, 15, 16, 17, 18, 19]),
    (503_800, 503_899, &[12, 13, 14, 15, 16, 17, 18, 19]),
    (506_099, 506_198, &[16, 18, 19]),
    (508_500, 508_999, &[16]),
    (510_000, 559_999, &[16]),
    (589_300, 589_399, &[12, 13, 14, 15, 16, 17, 18, 19]),
    // Discover, RuPay, UnionPay, Maestro.
    (601_100, 601_199, &[16, 17, 18, 19]),
    (606_985, 608_500, &[16]),
    (620_000, 629_999, &[16, 17, 18, 19]),
    (630_400, 630_499, &[12, 13, 14, 15, 16, 17, 18, 19]),
    (644_000, 659_999, &[16, 17, 18, 19]),
    (675_900, 676_399, &[12, 13, 14, 15, 16, 17, 18, 19]),
    (810_000, 829_999, &[16, 17, 18, 19]),
    // Troy.
    (979_200, 979_289, &[16]),
];

fn is_issued(digits: &[u8]) -> bool {
    let Some(head) = digits.first_chunk::<6>() else { return false };
    let head = head.iter().fold(0, |head, digit| head * 10 + u32::from(digit.wrapping_sub(b'0')));
    ISSUERS
        .iter()
        .any(|(from, to, lengths)| (*from..=*to).contains(&head) && lengths.contains(&digits.len()))
}

/// Every second digit from the right counts twice; the sum is a multiple of ten.
fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| {
            let digit = u32::from(digit.wrapping_sub(b'0'));
            if at % 2 == 0 { digit } else { digit * 2 / 10 + digit * 2 % 10 }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Area, group and serial that are given out.
fn is_social_security(digits: &[u8]) -> bool {
    digits.len() == 9
        && !matches!(&digits[..3], b"000" | b"666")
        && digits[0] != b'9'
        && &digits[3..5] != b"00"
        && &digits[5..] != b"0000"
}

/// A routing number of the American Bankers Association: a known district, weights 3, 7, 1.
fn is_routing(digits: &[u8]) -> bool {
    let district = |head: &[u8]| (head[0].wrapping_sub(b'0')) * 10 + head[1].wrapping_sub(b'0');
    digits.len() == 9
        && matches!(district(digits), 1..=12 | 21..=32 | 61..=72 | 80)
        && digits
            .iter()
            .zip([3, 7, 1].iter().cycle())
            .map(|(digit, weight)| u32::from(digit.wrapping_sub(b'0')) * weight)
            .sum::<u32>()
            .is_multiple_of(10)
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A valid card number of any issuer.
    pub(crate) fn valid_card() -> impl Strategy<Value = String> {
        (0..ISSUERS.len(), any::<u32>(), any::<usize>(), proptest::collection::vec(b'0'..=b'9', 13))
            .prop_map(|(issuer, head, length, body)| {
                let (from, to, lengths) = ISSUERS[issuer];
                let length = lengths[length % lengths.len()];
                let mut digits = format!("{:06}", from + head % (to - from + 1)).into_bytes();
                digits.extend(&body[..length - 7]);
                let check = (b'0'..=b'9').find(|check| {
                    let whole = [digits.as_slice(), &[*check]].concat();
                    luhn(&whole)
                });
                digits.push(check.unwrap());
                String::from_utf8(digits).unwrap()
            })
    }

    fn words(text: &str) -> Vec<&'static str> {
        search(text, |_| true).found.words().collect()
    }

    #[test]
    fn numbers_are_known_in_their_usual_spellings() {
        for (text, word) in [
            ("4111111111111111", "CardNumber"),
            ("my card: 4111 1111 1111 1111.", "CardNumber"),
            ("4111-1111-1111-1111", "CardNumber"),
            ("3782 822463 10005", "CardNumber"),
            ("x4111111111111111y", "CardNumber"),
            ("5 4111 1111 1111 1111 12", "CardNumber"),
            ("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "CardNumber"),
            ("4111\n1111\n1111\n1111", "CardNumber"),
            ("6304 0000 0000", "CardNumber"),
            ("078-05-1120", "SocialSecurityNumber"),
            ("ssn 078 05 1120, born", "SocialSecurityNumber"),
            ("(212) 555-0123", "PhoneNumber"),
            ("212.555.0123", "PhoneNumber"),
            ("1-212-555-0123", "PhoneNumber"),
            ("call +1 (212) 555-0123 now", "PhoneNumber"),
            ("+442079460958", "PhoneNumber"),
            ("+49 (0)30 123456", "PhoneNumber"),
            ("0049 30 1234567", "PhoneNumber"),
            ("020 7946 0958", "PhoneNumber"),
            ("07700 900123", "PhoneNumber"),
            ("0171/1234567", "PhoneNumber"),
            ("01 23 45 67 89", "PhoneNumber"),
        ] {
            assert_eq!(words(text), [word], "{text}");
        }
    }

    #[test]
    fn other_numbers_are_left_alone() {
        for text in [
            "4111111111111112",
            "9111111111111111",
            "41111111111111111111",
            "0.4111111111111111",
            "4111.1111111111111",
            "078-05-1120-7",
            "666-05-1120",
            "078-00-1120",
            "900-05-1120",
            "2024-05-01 12:34:56.789",
            "01.02.2024 10:11:12",
            "01.02.2024 10 11",
            "05-06-24 10 30",
            "2024-05-01T00:00:00+02:00",
            "+0530",
            "+12345678.90",
            "192.168.100.200",
            "01b3c4d5-0345-1234-9876-000123456789",
            "212-555-0123-44",
            "1,234,567,890",
            "12 34 56 78 90",
            "01 02 03 04 05 06 07",
            "v1.22.333.4444",
        ] {
            assert_eq!(words(text), Vec::<&str>::new(), "{text}");
        }
    }

    #[test]
    fn digits_alone_need_a_name_that_says_what_they_are() {
        for (name, digits, expected) in [
            ("SSN", "078051120", vec!["SocialSecurityNumber"]),
            ("cust_tax_id", "078051120", vec!["SocialSecurityNumber"]),
            ("ID", "078051120", vec![]),
            ("SSN", "000051120", vec![]),
            ("ROUTING_NO", "021000021", vec!["RoutingNumber"]),
            ("ROUTING_NO", "021000022", vec![]),
            ("ABA", "021000021", vec!["RoutingNumber"]),
            ("ALABAMA", "021000021", vec![]),
            ("homePhone", "2125550123", vec!["PhoneNumber"]),
            ("ID", "2125550123", vec![]),
            ("ID", "4111111111111111", vec!["CardNumber"]),
        ] {
            let found: Vec<_> = bare(digits, Hints::of(name), |_| true).words().collect();
            assert_eq!(found, expected, "{name} {digits}");
        }
    }

    #[test]
    fn the_issuers_are_in_order() {
        assert!(ISSUERS.is_sorted_by_key(|(from, ..)| *from));
        assert!(ISSUERS.windows(2).all(|pair| pair[0].1 < pair[1].0));
    }
}
