//! E-mail addresses: something, an `@`, and a host with a top level of letters.

/// The longest host name.
const LONGEST_HOST: usize = 253;

pub(super) fn is_in(text: &str) -> bool {
    memchr::memchr_iter(b'@', text.as_bytes()).any(|at| {
        let (before, behind) = (&text[..at], &text[at + 1..]);
        before.chars().next_back().is_some_and(ends_name) && begins_with_host(behind)
    })
}

fn ends_name(character: char) -> bool {
    character.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~\"".contains(character)
}

fn begins_with_host(text: &str) -> bool {
    let (mut labels, mut length, mut letters) = (0_u32, 0_u32, 0_u32);
    for character in text.chars().take(LONGEST_HOST) {
        match character {
            '.' if length > 0 => {
                labels += 1;
                (length, letters) = (0, 0);
            }
            '-' | '_' => length += 1,
            letter if letter.is_alphabetic() => {
                length += 1;
                letters += 1;
                if labels > 0 && letters == 2 && length == 2 {
                    return true;
                }
            }
            digit if digit.is_numeric() => length += 1,
            _ => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_other_uses_of_the_sign() {
        for address in [
            "ann.lee+shop@example.co.uk",
            "mail <ann@mail.example.com>, now",
            "\"ann lee\"@example.com",
            "@ a@b.de",
            "jörg@müller.de",
            "user@xn--mller-kva.de",
        ] {
            assert!(is_in(address), "{address}");
        }
        for other in [
            "",
            "@",
            "a@",
            "@b.de",
            "a@b",
            "a @b.de",
            "pkg@1.2.3",
            "SELECT @stage.x",
            "a@b.c",
            "a@.de",
            "lib@2.0-rc",
        ] {
            assert!(!is_in(other), "{other}");
        }
    }
}
