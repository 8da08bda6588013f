//! IBANs: a country, its length, and the remainder of 97.

/// Characters of an IBAN by country.
const LENGTHS: &[(&[u8; 2], usize)] = &[
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HN", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"OM", 23),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"RU", 33),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"SO", 23),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"VG", 24),
    (b"XK", 20),
    (b"YE", 30),
];

/// The longest of all.
const LONGEST: usize = 34;
/// Characters between two groups.
const BETWEEN: usize = 3;

pub(super) fn is_in(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.windows(4).enumerate().any(|(at, head)| {
        head[0].is_ascii_alphabetic()
            && head[1].is_ascii_alphabetic()
            && head[2].is_ascii_digit()
            && head[3].is_ascii_digit()
            && is_start(&bytes[..at])
            && begins_with_one(&bytes[at..])
    })
}

/// Letters that go on to the left make it another word, unless they say what it is.
fn is_start(before: &[u8]) -> bool {
    !before.last().is_some_and(u8::is_ascii_alphanumeric)
        || before.last_chunk::<4>().is_some_and(|word| word.eq_ignore_ascii_case(b"iban"))
}

fn begins_with_one(text: &[u8]) -> bool {
    let country = text
        .first_chunk::<2>()
        .map(|[one, two]| [one.to_ascii_uppercase(), two.to_ascii_uppercase()]);
    let Some(length) = country
        .and_then(|country| LENGTHS.binary_search_by_key(&&country, |(known, _)| *known).ok())
        .map(|at| LENGTHS[at].1)
    else {
        return false;
    };
    let mut iban = [0_u8; LONGEST];
    let (mut taken, mut between) = (0, 0);
    let mut rest = text.iter();
    while taken < length {
        match rest.next() {
            Some(byte) if byte.is_ascii_alphanumeric() => {
                iban[taken] = *byte;
                taken += 1;
                between = 0;
            }
            Some(b' ' | b'-' | b'.' | b'/' | b'_' | b'\t' | b'\r' | b'\n') if between < BETWEEN => {
                between += 1;
            }
            _ => return false,
        }
    }
    let iban = &iban[..length];
    // A word that goes on is another word; two cases in one are two words.
    let goes_on = rest.next().is_some_and(u8::is_ascii_alphanumeric);
    let mixes_cases =
        iban.iter().any(u8::is_ascii_lowercase) && iban.iter().any(u8::is_ascii_uppercase);
    !goes_on
        && !mixes_cases
        && iban.iter().filter(|byte| byte.is_ascii_digit()).count() >= 8
        && remainder(iban) == 1
}

/// The remainder of 97 of the account, the country and its check digits, with letters as two digits.
fn remainder(iban: &[u8]) -> u32 {
    let (head, account) = iban.split_at(4);
    account.iter().chain(head).fold(0, |remainder, byte| {
        let value = char::from(*byte).to_digit(36).unwrap_or_default();
        let shift = if value > 9 { 100 } else { 10 };
        (remainder * shift + value) % 97
    })
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A valid IBAN of a country, its account made of digits.
    pub(crate) fn valid() -> impl Strategy<Value = String> {
        (0..LENGTHS.len(), proptest::collection::vec(0_u8..10, LONGEST)).prop_map(|(at, digits)| {
            let (country, length) = LENGTHS[at];
            let account = digits[..length - 4].iter().map(|digit| char::from(b'0' + digit));
            let open: String = country
                .iter()
                .map(|byte| char::from(*byte))
                .chain("00".chars())
                .chain(account)
                .collect();
            let check = 98 - remainder(open.as_bytes());
            format!("{}{check:02}{}", &open[..2], &open[4..])
        })
    }

    #[test]
    fn the_table_is_in_order() {
        assert!(LENGTHS.is_sorted_by_key(|(country, _)| *country));
        assert!(LENGTHS.iter().all(|(_, length)| (15..=LONGEST).contains(length)));
    }

    #[test]
    fn accounts_are_known_in_their_usual_spellings() {
        for text in [
            "DE89370400440532013000",
            "de89 3704 0044 0532 0130 00",
            "pay to IBAN:GB29NWBK60161331926819, thanks",
            "IBANGB29NWBK60161331926819",
            "FR14-2004-1010-0505-0001-3M02-606 please",
            "MT84 MALT 0110 0001 2345 MTLC AST0 01S",
            "NO9386011117947",
        ] {
            assert!(is_in(text), "{text}");
        }
        for text in [
            "",
            "DE89370400440532013001",
            "DE8937040044053201300",
            "ZZ89370400440532013000",
            "xDE89370400440532013000",
            "DE89370400440532013000x",
            "DE89, 370400440532013000",
            "at10 percent of the accounts",
        ] {
            assert!(!is_in(text), "{text}");
        }
    }
}
