//! Detectors: what looks like a card, an account or a secret is hidden wherever it stands.
//!
//! ```text
//! value -> limits -> normal (a copy, where it is not ASCII) -> digits | iban | email | secret -> Found -> hide
//! ```
//!
//! They are a second net under the masks, for values that no lineage speaks of: free text, VARIANT, columns that no
//! rule names. They are heuristic, so they only ever hide; no decision is made on what they do not find. A cell is
//! read in one pass, and one that nothing is found in allocates nothing.

mod digits;
mod email;
mod iban;
mod json;
mod normal;
mod secret;

pub use digits::Hints;

use crate::document::{Detector, DetectorMask, MaskMethod};
use crate::{Kind, Mask, Value};

/// Longer cells are not searched; they are hidden.
const LONGEST: usize = 64 << 10;
/// What may be spent on the cells of one batch: about one per byte of text. Cells beyond it are hidden.
const BATCH: u64 = 512 << 20;

/// What is looked for in one column, and what hides it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Detectors {
    masks: [Option<DetectorMask>; Detector::ALL.len()],
}

/// What was found in one cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found(u16);

/// What is left to spend on one batch, and the memory that its cells share.
#[derive(Debug)]
pub struct Effort {
    left: u64,
    copy: String,
}

impl Detector {
    /// Every detector.
    pub const ALL: [Self; 7] = [
        Self::CardNumber,
        Self::Iban,
        Self::SocialSecurityNumber,
        Self::EmailAddress,
        Self::PhoneNumber,
        Self::RoutingNumber,
        Self::Secret,
    ];

    /// The word as policies and records have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CardNumber => "CardNumber",
            Self::Iban => "Iban",
            Self::SocialSecurityNumber => "SocialSecurityNumber",
            Self::EmailAddress => "EmailAddress",
            Self::PhoneNumber => "PhoneNumber",
            Self::RoutingNumber => "RoutingNumber",
            Self::Secret => "Secret",
        }
    }
}

impl Found {
    /// Nothing.
    pub const NOTHING: Self = Self(0);
    /// Nobody looked: the cell is too long, or its batch too large.
    const UNSEARCHED: Self = Self(1 << Detector::ALL.len());

    /// Whatever can be found.
    #[must_use]
    pub fn anything() -> Self {
        Self(2 * Self::UNSEARCHED.0 - 1)
    }

    /// Whether the cell may be shown.
    #[must_use]
    pub fn is_nothing(self) -> bool {
        self == Self::NOTHING
    }

    /// The words of what was found; `Unsearched` where nobody looked.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        let found = Detector::ALL.into_iter().filter(move |detector| self.has(*detector));
        let unsearched = (self.0 & Self::UNSEARCHED.0 != 0).then_some("Unsearched");
        found.map(Detector::as_str).chain(unsearched)
    }

    /// This and that.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn has(self, detector: Detector) -> bool {
        self.0 & (1 << detector as u16) != 0
    }
}

impl From<Detector> for Found {
    fn from(detector: Detector) -> Self {
        Self(1 << detector as u16)
    }
}

impl From<Found> for u16 {
    /// A bit for each word.
    fn from(found: Found) -> Self {
        found.0
    }
}

impl From<u16> for Found {
    fn from(bits: u16) -> Self {
        Self(bits)
    }
}

impl Default for Effort {
    fn default() -> Self {
        Self { left: BATCH, copy: String::new() }
    }
}

impl Effort {
    /// Spends what it takes to read so much; false when it is not there.
    fn spend(&mut self, steps: u64) -> bool {
        let enough = steps <= self.left;
        self.left = self.left.saturating_sub(steps);
        enough
    }
}

impl Detectors {
    /// Looks for everything there is, and hides it whole.
    #[must_use]
    pub fn all() -> Self {
        Self { masks: [Some(DetectorMask::Full); Detector::ALL.len()] }
    }

    /// Looks for something, hidden by this mask; the stricter one stays.
    pub(crate) fn add(&mut self, detector: Detector, mask: DetectorMask) {
        let known = &mut self.masks[detector as usize];
        *known = (*known).max(Some(mask));
    }

    /// Whether nothing is looked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.masks.iter().all(Option::is_none)
    }

    fn wants(&self, detector: Detector) -> bool {
        self.masks[detector as usize].is_some()
    }

    /// What of it a value of a kind holds. The hints are from what the value is called: digits alone say little.
    pub fn search(
        &self,
        hints: Hints,
        kind: Kind,
        value: &Value<'_>,
        effort: &mut Effort,
    ) -> Found {
        if self.is_empty() {
            return Found::NOTHING;
        }
        match value {
            Value::Text(text) => match decimal(text).filter(|_| kind == Kind::Real) {
                Some((whole, has_fraction)) => self.whole(whole, has_fraction, hints),
                None => self.cell(text, hints, effort),
            },
            Value::Binary(bytes) if bytes.len() > LONGEST => Found::UNSEARCHED,
            Value::Binary(bytes) => std::str::from_utf8(bytes)
                .map_or(Found::NOTHING, |text| self.cell(text, hints, effort)),
            Value::Integer(number) => {
                let scale = if let Kind::Fixed { scale, .. } = kind { scale } else { 0 };
                let unit = 10_u128.checked_pow(scale.into()).unwrap_or(u128::MAX);
                let number = number.unsigned_abs();
                self.whole(number / unit, number % unit != 0, hints)
            }
            // A float that is a whole number may be one that was cast.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "within the bounds that were just checked"
            )]
            Value::Real(number) if number.fract() == 0.0 && number.abs() < 1e19 => {
                self.number(number.abs() as u128, hints)
            }
            Value::Null
            | Value::Real(_)
            | Value::Boolean(_)
            | Value::Days(_)
            | Value::Time(_)
            | Value::Timestamp { .. } => Found::NOTHING,
        }
    }

    /// What shows in place of a value in which this was found: the strictest mask of all that found something.
    #[must_use]
    pub fn hide(&self, found: Found, kind: Kind) -> Value<'static> {
        let those = |detector: &Detector| found.has(*detector);
        let everything = found.0 & Found::UNSEARCHED.0 != 0;
        let mask = Detector::ALL
            .into_iter()
            .filter(|detector| everything || those(detector))
            .filter_map(|detector| self.masks[detector as usize])
            .max();
        let method = match mask {
            Some(DetectorMask::Null) => MaskMethod::Null,
            Some(DetectorMask::Full) | None => MaskMethod::Full,
        };
        Mask { method, domain: String::new(), derived: true }.constant(kind)
    }

    /// Text, and JSON also piece by piece: its keys say what its numbers are, and its escapes hide what they spell.
    fn cell(&self, text: &str, hints: Hints, effort: &mut Effort) -> Found {
        if text.len() > LONGEST || !effort.spend(text.len() as u64) {
            return Found::UNSEARCHED;
        }
        let mut found = self.text(text, hints, effort);
        if text.trim_start().starts_with(['{', '[', '"']) {
            json::walk(text, &mut |piece| {
                found = found.and(match piece {
                    json::Piece::Text(key, text) => self.text(text, hints.or(key), effort),
                    json::Piece::Number(key, digits) => digits
                        .parse()
                        .map_or(Found::NOTHING, |number| self.number(number, hints.or(key))),
                });
            });
        }
        found
    }

    /// A text as it reads, on a normalised copy where it has to be one.
    fn text(&self, text: &str, hints: Hints, effort: &mut Effort) -> Found {
        if text.is_ascii() {
            return self.plain(text, hints, effort);
        }
        let mut copy = std::mem::take(&mut effort.copy);
        normal::normalise(text, &mut copy);
        let found = if effort.spend(copy.len() as u64) {
            self.plain(&copy, hints, effort)
        } else {
            Found::UNSEARCHED
        };
        effort.copy = copy;
        found
    }

    fn plain(&self, text: &str, hints: Hints, effort: &mut Effort) -> Found {
        let mut found = Found::NOTHING;
        let of_digits = [
            Detector::CardNumber,
            Detector::SocialSecurityNumber,
            Detector::PhoneNumber,
            Detector::RoutingNumber,
            Detector::Iban,
        ];
        if of_digits.iter().any(|detector| self.wants(*detector)) && digits::enough(text) {
            let trimmed = text.trim();
            if trimmed.bytes().all(|byte| byte.is_ascii_digit()) {
                found = found.and(self.bare(trimmed, hints));
            } else {
                let numbers = digits::search(text, |detector| self.wants(detector));
                found = found.and(numbers.found);
                // What windows of digits cost beyond their bytes comes off what is left for the next cell.
                effort.spend(numbers.steps);
            }
            if self.wants(Detector::Iban) && iban::is_in(text) {
                found = found.and(Detector::Iban.into());
            }
        }
        if self.wants(Detector::EmailAddress) && email::is_in(text) {
            found = found.and(Detector::EmailAddress.into());
        }
        if self.wants(Detector::Secret) && secret::is_in(text) {
            found = found.and(Detector::Secret.into());
        }
        found
    }

    /// What stands before a decimal point. What a name says of a number, it does not say of one with a fraction.
    fn whole(&self, whole: u128, has_fraction: bool, hints: Hints) -> Found {
        self.number(whole, if has_fraction { Hints::default() } else { hints })
    }

    /// A number that lost its leading zeros, if it had any.
    fn number(&self, number: u128, hints: Hints) -> Found {
        // No detector knows a number of more digits than 64 bits hold, or of fewer than seven.
        let Ok(mut number @ 1_000_000..) = u64::try_from(number) else { return Found::NOTHING };
        let mut digits = [b'0'; 20];
        let mut start = digits.len();
        while number > 0 && start > 0 {
            start -= 1;
            // A remainder of ten is one digit.
            digits[start] = b'0' + u8::try_from(number % 10).unwrap_or_default();
            number /= 10;
        }
        if hints.wants_nine_digits() && (7..9).contains(&(digits.len() - start)) {
            start = digits.len() - 9;
        }
        std::str::from_utf8(&digits[start..])
            .map_or(Found::NOTHING, |digits| self.bare(digits, hints))
    }

    /// Digits and nothing else.
    fn bare(&self, text: &str, hints: Hints) -> Found {
        digits::bare(text, hints, |detector| self.wants(detector))
    }
}

/// What stands before the point of a number as it is printed, and whether something stands behind it.
fn decimal(text: &str) -> Option<(u128, bool)> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let has_fraction = fraction.bytes().any(|byte| byte != b'0');
    let is_one = fraction.bytes().all(|byte| byte.is_ascii_digit());
    whole.parse().ok().filter(|_| is_one).map(|whole| (whole, has_fraction))
}

#[cfg(test)]
mod tests;
