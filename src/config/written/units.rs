//! Sizes and durations as people write them: `64 MiB`, `5s`, `1h 30m`, `5 calendar days`.
//!
//! A number without a unit is refused: nobody should have to guess whether `60` is seconds.
//!
//! Never here: bounds; they belong to the keys.

use std::{borrow::Cow, fmt, marker::PhantomData, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Visitor};

use super::UNIT;
use crate::{config::fault::short, model::Span};

/// A duration in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(pub i64);

/// A duration, or so many calendar days in the tenant's time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term(pub Span);

/// A duration, or `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TermOrNone(pub Option<Span>);

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// Why a text is no size or duration; what to do stands behind the semicolon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitFault {
    /// No duration.
    #[error(
        "`{0}` is no duration; write a whole number with a unit: `500ms`, `5s`, `10m`, `8h`, `180d` or `1h 30m`"
    )]
    Duration(String),
    /// No duration, where calendar days are possible too.
    #[error(
        "`{0}` is no duration; write `8h`, `5d` (of 24 hours each), `5 calendar days` or `1 calendar month` (the tenant's own)"
    )]
    Term(String),
    /// No size.
    #[error("`{0}` is no size; write a whole number with a unit: `512 B`, `32 KiB`, `64 MiB` or `10 GiB`")]
    Size(String),
}

fn number(text: &str) -> Option<(i64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end)?;
    Some((digits.parse().ok()?, rest.trim_start_matches(' ')))
}

/// So many milliseconds: no calendar days here.
fn millis(text: &str) -> Option<i64> {
    match Span::parse(text)? {
        Span::Millis(ms) => Some(ms),
        Span::CalendarDays(_) | Span::CalendarMonths(_) => None,
    }
}

impl FromStr for Duration {
    type Err = UnitFault;

    fn from_str(text: &str) -> Result<Self, UnitFault> {
        millis(text).map(Duration).ok_or_else(|| UnitFault::Duration(short(text)))
    }
}

impl FromStr for Term {
    type Err = UnitFault;

    fn from_str(text: &str) -> Result<Self, UnitFault> {
        Span::parse(text).map(Term).ok_or_else(|| UnitFault::Term(short(text)))
    }
}

impl FromStr for TermOrNone {
    type Err = UnitFault;

    fn from_str(text: &str) -> Result<Self, UnitFault> {
        if text == "none" {
            Ok(TermOrNone(None))
        } else {
            text.parse().map(|Term(span)| TermOrNone(Some(span)))
        }
    }
}

impl FromStr for Size {
    type Err = UnitFault;

    fn from_str(text: &str) -> Result<Self, UnitFault> {
        let read = || {
            let (count, unit) = number(text)?;
            let shift = match unit {
                "B" => 0,
                "KiB" => 10,
                "MiB" => 20,
                "GiB" => 30,
                "TiB" => 40,
                _ => return None,
            };
            u64::try_from(count).ok()?.checked_mul(1u64 << shift)
        };
        read().map(Size).ok_or_else(|| UnitFault::Size(short(text)))
    }
}

/// Reads a text or a number, so that a number without its unit is told as such.
struct UnitVisitor<T>(PhantomData<T>);

impl<T: FromStr<Err = UnitFault>> Visitor<'_> for UnitVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number with a unit")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

fn read<'de, T: FromStr<Err = UnitFault>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_newtype_struct(UNIT, UnitVisitor(PhantomData))
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer)
    }
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^([0-9]+ *(ms|s|m|min|h|d) *)+$", "examples": ["5s"] })
    }
}

impl<'de> Deserialize<'de> for Term {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer)
    }
}

impl JsonSchema for Term {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Term".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(([0-9]+ *(ms|s|m|min|h|d) *)+|[0-9]+ *calendar (day|month)s?)$", "examples": ["5 calendar days"] })
    }
}

impl<'de> Deserialize<'de> for TermOrNone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer)
    }
}

impl JsonSchema for TermOrNone {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "TermOrNone".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(none|([0-9]+ *(ms|s|m|min|h|d) *)+|[0-9]+ *calendar (day|month)s?)$", "examples": ["180d"] })
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer)
    }
}

impl JsonSchema for Size {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+ *(B|KiB|MiB|GiB|TiB)$", "examples": ["64 MiB"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_units_in_falling_order() {
        let ms = |text: &str| text.parse::<Duration>().map(|d| d.0).ok();
        assert_eq!(ms("500ms"), Some(500));
        assert_eq!(ms("1h 30m"), Some(5_400_000));
        assert_eq!(ms("1h30m"), Some(5_400_000));
        assert_eq!(ms("180d"), Some(15_552_000_000));
        assert_eq!(ms("0s"), Some(0));
        for bad in
            ["", "5", "-5s", "1.5h", "5 s s", "30m 1h", "5s 5s", "5y", " 5s", "s", "99999999999d", "5S"]
        {
            assert_eq!(ms(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn calendar_days_are_not_days() {
        assert_eq!("5 calendar days".parse(), Ok(Term(Span::CalendarDays(5))));
        assert_eq!("1 calendar day".parse(), Ok(Term(Span::CalendarDays(1))));
        assert_eq!("5d".parse(), Ok(Term(Span::Millis(432_000_000))));
        assert_eq!("none".parse(), Ok(TermOrNone(None)));
        assert!("calendar days".parse::<Term>().is_err());
        assert!("4294967295 calendar days".parse::<Term>().is_err());
    }

    #[test]
    fn sizes_are_binary() {
        assert_eq!("64 MiB".parse(), Ok(Size(64 << 20)));
        assert_eq!("64MiB".parse(), Ok(Size(64 << 20)));
        assert_eq!("10 GiB".parse(), Ok(Size(10 << 30)));
        for bad in ["64", "64 MB", "64 mib", "-1 B", "99999999 TiB", "1.5 GiB"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }
}
