//! DECFLOAT: a number with an exponent of its own, as it is printed without one.

use super::json::decimal;

/// More digits than any number of a column has.
const MOST: u32 = 38;

/// From its parts in Arrow: `significand * 10^exponent`, the significand in two's complement, highest byte first. One
/// that has too many digits to be written out is nothing.
pub(super) fn of_parts(significand: &[u8], exponent: i16) -> Option<String> {
    let negative = significand.first().is_some_and(|first| first & 0x80 != 0);
    let mut bytes = [if negative { 0xFF } else { 0 }; size_of::<i128>()];
    let start = bytes.len().checked_sub(significand.len())?;
    bytes[start..].copy_from_slice(significand);
    printed(i128::from_be_bytes(bytes), exponent.into())
}

/// From a cell in JSON, which may be written with an exponent.
pub(super) fn of_text(text: &str) -> Option<String> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let behind = i32::try_from(fraction.len()).ok()?;
    let significand = format!("{whole}{fraction}").parse().ok()?;
    printed(significand, exponent.parse::<i32>().ok()?.checked_sub(behind)?)
}

fn printed(significand: i128, exponent: i32) -> Option<String> {
    let places = exponent.unsigned_abs();
    if places > MOST {
        return None;
    }
    Some(if exponent < 0 {
        decimal(significand, places)
    } else {
        format!("{significand}{}", "0".repeat(places as usize))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_out_from_its_parts_and_from_its_text() {
        let card = 4_111_111_111_111_111_i128;
        for (significand, exponent, texts, expected) in [
            (card, 0, ["4111111111111111", "4.111111111111111E15"], "4111111111111111"),
            (
                card * 100,
                -2,
                ["4111111111111111.00", "411111111111111100e-2"],
                "4111111111111111.00",
            ),
            (-card, 1, ["-4.111111111111111e+16", "-41111111111111110"], "-41111111111111110"),
            (5, -3, ["0.005", "5e-3"], "0.005"),
            (-1, 0, ["-1", "-1e0"], "-1"),
            (0, 0, ["0", "0e0"], "0"),
        ] {
            let bytes = significand.to_be_bytes();
            // The shortest form that keeps the sign, and the longest.
            let short = (0..16)
                .rev()
                .find(|start| of_parts(&bytes[*start..], 0) == Some(significand.to_string()));
            for start in [0, short.unwrap()] {
                assert_eq!(of_parts(&bytes[start..], exponent).as_deref(), Some(expected));
            }
            for text in texts {
                assert_eq!(of_text(text).as_deref(), Some(expected), "{text}");
            }
        }
    }

    #[test]
    fn what_is_no_number_or_has_no_end_is_nothing() {
        assert_eq!(of_parts(&[], 0).as_deref(), Some("0"));
        assert_eq!(of_parts(&[1; 17], 0), None);
        for exponent in [i16::MIN, -39, 39, i16::MAX] {
            assert_eq!(of_parts(&[1], exponent), None);
        }
        let many = format!("1{}", "0".repeat(60));
        for text in ["", "x", "1e", "1e400", "1e99999999999", "1.2.3", ".", &many] {
            assert_eq!(of_text(text), None, "{text}");
        }
    }
}
