//! How old what a decision rests on may be, from `state`.
//!
//! Never here: what follows from it ([`crate::policy`]).

use super::{context::Context, state::BEAT_MOST_MS};
use crate::{
    config::{
        code::Code,
        written::{Duration, Field, File, State},
    },
    model::Span,
    policy::Staleness,
};

const DAY: i64 = 86_400_000;
/// Between two beats of the store so much may pass without anything being wrong.
const LEAST: i64 = 500;
const MOST: i64 = 3_600_000;

pub(super) fn staleness(context: Context<'_>, file: &File) -> Staleness {
    let rules = Staleness::default();
    let Some(state) = file.state.value() else { return rules };
    let members_ms = context.duration(&state.members_max_staleness, rules.members_ms, 60_000, 30 * DAY);
    let rules = match state.max_staleness.value() {
        None => Staleness { members_ms, ..rules },
        Some(classes) => Staleness {
            writes_ms: bound(context, &classes.writes, rules.writes_ms),
            reads_ms: bound(context, &classes.reads, rules.reads_ms),
            break_glass_ms: bound(context, &classes.break_glass, rules.break_glass_ms),
            members_ms,
        },
    };
    in_step(context, state, &rules);
    rules
}

/// What is known is as old as the last beat that was confirmed: a bound into which not even two fit is passed as soon as one is late.
fn in_step(context: Context<'_>, state: &State, rules: &Staleness) {
    let Some(beat) = state.redis.value().and_then(|redis| redis.beat.given()) else { return };
    let bounds = [rules.writes_ms, rules.reads_ms, rules.break_glass_ms];
    let Some(least) = bounds.into_iter().filter(|ms| *ms >= LEAST).min() else { return };
    // What no beat may be was told.
    if beat.value.0 <= BEAT_MOST_MS && beat.value.0.saturating_mul(2) > least {
        context.put(
            Code::OutOfRange,
            beat.place,
            format!("a beat every {} is too slow for facts of which staff are refused when they are older than {}", Span::Millis(beat.value.0), Span::Millis(least)),
            format!("beat every {} or more often, or let `max_staleness` be longer", Span::Millis(least / 2)),
        );
    }
}

/// 0, which asks the store, or what leaves room for its beats.
fn bound(context: Context<'_>, field: &Field<Duration>, default: i64) -> i64 {
    let Some(at) = field.given() else { return default };
    let ms = at.value.0;
    if ms != 0 && !(LEAST..=MOST).contains(&ms) {
        let hint = format!(
            "use {} to {}, or `0s`, which asks the store for each decision",
            Span::Millis(LEAST),
            Span::Millis(MOST)
        );
        context.put(Code::OutOfRange, at.place, format!("{} is out of bounds", Span::Millis(ms)), hint);
    }
    ms
}
