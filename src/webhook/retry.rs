//! When an event that was not taken is told again: pure.
//!
//! Never here: a clock, a timer, chance.

use std::time::Duration;

use http::{HeaderMap, header};

use crate::model::Timestamp;

/// The wait after the first failure; it doubles with each.
const FIRST: Duration = Duration::from_secs(1);
/// The longest wait of our own.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// The longest that a receiver may ask for.
const MOST_ASKED: Duration = Duration::from_secs(60 * 60);

/// The wait after so many failures on end, whatever event they were about. `roll` is chance: it takes off up to a quarter, so that
/// many gateways do not come back at the same time. A receiver may ask for more, within bounds, never for less.
pub(super) fn wait(failures: u32, asked: Option<Duration>, roll: u16) -> Duration {
    let doubled = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(LONGEST);
    let off = doubled / 4 * u32::from(roll) / u32::from(u16::MAX);
    (doubled - off).max(asked.unwrap_or_default().min(MOST_ASKED))
}

/// Whether an event that was not taken once more is given up.
pub(super) fn is_over(recorded: Timestamp, now: Timestamp, give_up_ms: i64) -> bool {
    now.ms_since(recorded) >= give_up_ms
}

/// What `Retry-After` says: seconds, or a date. What is neither says nothing.
pub(super) fn asked(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let at = chrono::DateTime::parse_from_rfc2822(text).ok()?.timestamp_millis();
    Some(Duration::from_millis(u64::try_from(at.saturating_sub(now.ms())).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_quarter_of_an_hour_and_chance_only_shortens_them() {
        let seconds = |failures, roll| wait(failures, None, roll).as_secs_f64();
        for (failures, expected) in [
            (1, 1.0),
            (2, 2.0),
            (3, 4.0),
            (5, 16.0),
            (10, 512.0),
            (11, 900.0),
            (12, 900.0),
            (u32::MAX, 900.0),
        ] {
            assert!((seconds(failures, 0) - expected).abs() < 0.001, "{failures}");
            let shortest = seconds(failures, u16::MAX);
            assert!(shortest >= expected * 0.749 && shortest <= expected * 0.751, "{failures}: {shortest}");
        }
        let mut last = f64::MAX;
        for roll in (0..=u16::MAX).step_by(1000) {
            let now = seconds(9, roll);
            assert!(now <= last);
            last = now;
        }
    }

    #[test]
    fn a_receiver_can_ask_for_more_within_bounds_and_never_for_less() {
        let ask = |seconds| wait(3, Some(Duration::from_secs(seconds)), 0).as_secs();
        assert_eq!((ask(0), ask(3), ask(60), ask(u64::MAX)), (4, 4, 60, 3600));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = Timestamp::parse("2026-07-01T12:00:00Z").unwrap();
        for (text, expected) in [
            ("120", Some(120)),
            (" 5 ", Some(5)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Wed, 01 Jul 2026 12:01:00 GMT", Some(60)),
            ("Wed, 01 Jul 2026 11:00:00 GMT", Some(0)),
            ("soon", None),
            ("-5", None),
            ("1.5", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static(text));
            assert_eq!(asked(&headers, now).map(|wait| wait.as_secs()), expected, "{text}");
        }
        assert_eq!(asked(&HeaderMap::new(), now), None);
    }

    #[test]
    fn an_event_is_given_up_by_its_own_age() {
        let recorded = Timestamp::from_ms(1_000);
        assert!(!is_over(recorded, Timestamp::from_ms(60_999), 60_000));
        assert!(is_over(recorded, Timestamp::from_ms(61_000), 60_000));
        assert!(
            !is_over(recorded, Timestamp::from_ms(0), 60_000),
            "a clock behind the record gives nothing up"
        );
    }
}
