//! What names a history: the line of a part up to a place.
//!
//! Never here: how one is worked out (the scripts of [`super::super::redis`]), what is compared with it ([`super::history`]).

use std::fmt;

/// The history of a part up to a place, as twenty hexadecimal digits: two stores that agree on place and line have the same
/// changes up to there (decision 0024).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Line([u8; 20]);

impl Line {
    /// Of a part without changes; or of a place whose line is not known here.
    pub const NONE: Line = Line([0; 20]);

    /// From its digits; nothing gives [`Line::NONE`], anything else is none.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.is_empty() {
            return Some(Line::NONE);
        }
        let digits: [u8; 20] = text.try_into().ok()?;
        let hex = |digit: &u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(digit);
        digits.iter().all(hex).then_some(Line(digits))
    }

    /// Its digits, or nothing.
    pub fn as_str(&self) -> &str {
        if *self == Line::NONE { "" } else { std::str::from_utf8(&self.0).unwrap_or_default() }
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Line({})", self.as_str())
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
