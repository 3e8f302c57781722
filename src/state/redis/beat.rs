//! The beat: one pipeline to one server, which reads the head of each of its parts and the lines at the places as of which something is known,
//! writes, and waits until a majority has that (decision 0025). What it told is compared with what this gateway has seen.
//!
//! Never here: when to beat and what to do when none is answered ([`super::supervise`]); leases themselves.

use std::{sync::LazyLock, time::Duration};

use redis::{Cmd, Pipeline, Script, Value, aio::MultiplexedConnection};
use uuid::Uuid;

use super::{
    keys::{FORMAT, Names},
    said,
};
use crate::state::{Grounds, Line, Part, StoreFault, Suspicion};

static SCRIPT: LazyLock<(Script, &'static str)> = LazyLock::new(|| {
    let code = include_str!("scripts/beat.lua");
    (Script::new(code), code)
});

/// How long the key lives that is written, in milliseconds. Nothing hangs on it.
pub(super) const LIVES: u64 = 86_400_000;

/// What the head of a part told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The store's id.
    pub id: Uuid,
    /// The epoch.
    pub epoch: u32,
    /// The number of the newest change.
    pub number: u64,
    /// The line there.
    pub line: Line,
    /// What the head says of its state: `new`, `good`, `suspect`.
    pub state: String,
}

/// What one part answered to a beat: `None` where it has no head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) told: Option<Told>,
    /// The lines at the place followed to and at those of the claims, in their order; `None` where one is no longer kept.
    pub(super) lines: Vec<Option<Line>>,
}

/// What a server answered to a beat.
#[derive(Debug)]
pub(super) struct Beaten {
    /// Whether a majority has confirmed it.
    pub(super) confirmed: bool,
    /// The store's clock, milliseconds since 1970.
    pub(super) store_ms: i64,
    pub(super) parts: Vec<(Part, Result<Answered, StoreFault>)>,
}

/// How a beat is made.
pub(super) struct Beat<'a> {
    pub(super) names: &'a Names,
    /// How many replicas make a majority with the primary.
    pub(super) wait: u32,
    /// The longest that it may take, the waiting for replicas included.
    pub(super) limit: Duration,
}

/// How long a majority is waited for within a command's time.
pub(super) fn patience(limit: Duration) -> u64 {
    u64::try_from((limit * 3 / 5).as_millis()).unwrap_or(u64::MAX).max(1)
}

impl Beat<'_> {
    /// Beats for these parts, each with what is known of it.
    pub(super) async fn send(
        &self,
        connection: &mut MultiplexedConnection,
        asked: &[(Part, Grounds)],
    ) -> Result<Beaten, StoreFault> {
        let mut pipe = Pipeline::with_capacity(asked.len() + 2);
        for (at, (part, grounds)) in asked.iter().enumerate() {
            let of = |what| self.names.of(*part, what);
            let mut eval = Cmd::new();
            eval.arg("EVALSHA").arg(SCRIPT.0.get_hash()).arg(3);
            eval.arg(of("head")).arg(of("line")).arg(of("beat"));
            eval.arg(places(grounds)).arg(u8::from(at == 0)).arg(LIVES);
            pipe.add_command(eval);
        }
        pipe.cmd("TIME");
        pipe.cmd("WAIT").arg(self.wait).arg(patience(self.limit));
        let asking = connection.send_packed_commands(&pipe, 0, asked.len() + 2);
        let mut values = said::timely(self.limit, asking).await?;
        let (waited, time) = (values.pop(), values.pop());
        let parts = asked.iter().zip(values).map(|((part, _), value)| (*part, answered(*part, value)));
        let parts: Vec<_> = parts.collect();
        // What a part says tells more than what is said of the waiting: a replica does not wait either.
        let faults = parts.iter().filter_map(|(_, answered)| answered.as_ref().err());
        if let Some(fault) = faults.into_iter().find(|fault| said::ends_link(fault)) {
            return Err(fault.clone());
        }
        let replicas = match waited {
            Some(Value::Int(replicas)) => replicas,
            other => return Err(unexpected("WAIT", other)),
        };
        let store_ms = match time {
            Some(Value::Array(time)) => milliseconds(&time).ok_or_else(|| unexpected("TIME", None))?,
            other => return Err(unexpected("TIME", other)),
        };
        Ok(Beaten { confirmed: replicas >= i64::from(self.wait), store_ms, parts })
    }
}

/// Makes the script known to a server.
pub(super) fn load() -> Cmd {
    let mut load = Cmd::new();
    load.arg("SCRIPT").arg("LOAD").arg(SCRIPT.1);
    load
}

pub(super) fn unexpected(what: &str, value: Option<Value>) -> StoreFault {
    match value {
        Some(Value::ServerError(error)) => said::error(&error),
        _ => said::senseless(&format!("{what} was answered with something else")),
    }
}

/// The places whose lines are asked for.
fn places(grounds: &Grounds) -> String {
    let mut places = grounds.followed.0.to_string();
    grounds.claims.iter().for_each(|(number, _)| places.push_str(&format!(" {number}")));
    places
}

fn milliseconds(time: &[Value]) -> Option<i64> {
    let number = |at: usize| text(time.get(at)?)?.parse::<i64>().ok();
    number(0)?.checked_mul(1000)?.checked_add(number(1)? / 1000)
}

pub(super) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        Value::VerbatimString { text, .. } => Some(text),
        _ => None,
    }
}

fn answered(part: Part, value: Value) -> Result<Answered, StoreFault> {
    let Value::Array(fields) = value else { return Err(unexpected("a beat", Some(value))) };
    let [id, epoch, number, line, state, format, Value::Array(lines)] = fields.as_slice() else {
        return Err(unexpected("a beat", None));
    };
    let lines = lines.iter().map(|line| text(line).and_then(|line| Line::parse(line.as_bytes()))).collect();
    if *id == Value::Nil {
        return Ok(Answered { told: None, lines });
    }
    let format = text(format).unwrap_or_default();
    if format != FORMAT.to_string() {
        return Err(said::layout(format.to_owned()));
    }
    let told = || {
        Some(Told {
            id: Uuid::try_parse(text(id)?).ok()?,
            epoch: text(epoch)?.parse().ok()?,
            number: text(number)?.parse().ok()?,
            line: Line::parse(text(line).unwrap_or_default().as_bytes())?,
            state: text(state).unwrap_or_default().to_owned(),
        })
    };
    match told() {
        Some(told) => Ok(Answered { told: Some(told), lines }),
        None => Err(StoreFault::PartDamaged { part: part.0, detail: "its head cannot be read".to_owned() }),
    }
}

/// What a beat's answer comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the store that was followed, up to the place followed to. The line there where it was not known.
    Agrees(Option<Line>),
    /// It no longer tells of the place followed to: no suspicion, and no proof.
    Unproven,
    /// It has lost something, or is another store.
    Suspect(Suspicion),
}

/// Compares what is known here, as of the sending of a beat, with what was told.
pub(super) fn judge(grounds: &Grounds, answered: &Answered) -> Verdict {
    let Some(told) = &answered.told else { return Verdict::Suspect(Suspicion::Unmarked) };
    if let Some((id, epoch)) = grounds.expected {
        if told.id != id {
            return Verdict::Suspect(Suspicion::OtherStore);
        }
        if told.epoch < epoch {
            return Verdict::Suspect(Suspicion::EpochBehind);
        }
        if told.epoch > epoch {
            return Verdict::Suspect(Suspicion::HealedByOthers);
        }
    }
    if told.number < grounds.top() {
        return Verdict::Suspect(Suspicion::PlaceBehind);
    }
    let mut unproven = false;
    let known = [grounds.followed].into_iter().chain(grounds.claims.iter().copied());
    let lines = answered.lines.iter().copied().chain(std::iter::repeat(None));
    for ((number, line), at) in known.zip(lines) {
        match at {
            _ if number == 0 => {}
            None => unproven = true,
            Some(at) if line != Line::NONE && at != line => return Verdict::Suspect(Suspicion::Forked),
            Some(_) => {}
        }
    }
    let (number, line) = grounds.followed;
    let learned =
        if number > 0 && line == Line::NONE { answered.lines.first().copied().flatten() } else { None };
    // Last, so that whoever reads the reason knows that nothing worse was found here. A head that others made anew keeps no line of before:
    // whoever waits for this gateway must not wait for one that finds nothing to compare.
    match told.state.as_str() {
        "good" if unproven => Verdict::Unproven,
        "good" => Verdict::Agrees(learned),
        "new" => Verdict::Suspect(Suspicion::Unmarked),
        _ => Verdict::Suspect(Suspicion::Marked),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(digit: char) -> Line {
        Line::parse(digit.to_string().repeat(20).as_bytes()).unwrap()
    }

    fn seen(epoch: u32, number: u64, digit: char) -> Grounds {
        let expected = Some((Uuid::from_u128(7), epoch));
        Grounds { expected, followed: (number, line(digit)), ..Grounds::default() }
    }

    fn told(epoch: u32, number: u64, digit: char) -> Answered {
        let told =
            Told { id: Uuid::from_u128(7), epoch, number, line: line(digit), state: "good".to_owned() };
        Answered { told: Some(told), lines: vec![Some(line(digit))] }
    }

    #[test]
    fn the_same_history_agrees_also_where_it_goes_on() {
        assert_eq!(judge(&seen(1, 5, 'a'), &told(1, 5, 'a')), Verdict::Agrees(None));
        assert_eq!(judge(&seen(1, 5, 'a'), &told(1, 9, 'a')), Verdict::Agrees(None));
    }

    #[test]
    fn each_way_of_having_lost_something_has_its_reason() {
        let cases = [
            (told(1, 5, 'b'), Suspicion::Forked),
            (told(1, 9, 'b'), Suspicion::Forked),
            (told(1, 4, 'a'), Suspicion::PlaceBehind),
            (told(0, 9, 'a'), Suspicion::EpochBehind),
            (told(2, 9, 'a'), Suspicion::HealedByOthers),
            (Answered { told: None, lines: vec![None] }, Suspicion::Unmarked),
        ];
        for (answered, why) in cases {
            assert_eq!(judge(&seen(1, 5, 'a'), &answered), Verdict::Suspect(why));
        }
        let mut other = told(1, 5, 'a');
        other.told.as_mut().unwrap().id = Uuid::from_u128(8);
        assert_eq!(judge(&seen(1, 5, 'a'), &other), Verdict::Suspect(Suspicion::OtherStore));
        let mut marked = told(1, 5, 'a');
        marked.told.as_mut().unwrap().state = "suspect".to_owned();
        assert_eq!(judge(&seen(1, 5, 'a'), &marked), Verdict::Suspect(Suspicion::Marked));
    }

    #[test]
    fn a_place_too_old_to_be_compared_proves_nothing_and_one_not_begun_needs_no_proof() {
        let gone = Answered { lines: vec![None], ..told(1, 9, 'a') };
        assert_eq!(judge(&seen(1, 5, 'a'), &gone), Verdict::Unproven);
        let mut healing = gone.clone();
        healing.told.as_mut().unwrap().state = "suspect".to_owned();
        assert_eq!(judge(&seen(1, 5, 'a'), &healing), Verdict::Suspect(Suspicion::Marked));
        let fresh = Grounds::default();
        assert_eq!(judge(&fresh, &gone), Verdict::Agrees(None));
        assert_eq!(
            judge(&fresh, &Answered { told: None, lines: vec![None] }),
            Verdict::Suspect(Suspicion::Unmarked)
        );
    }

    #[test]
    fn whoever_began_in_the_middle_is_told_the_line_there() {
        let began = Grounds { followed: (5, Line::NONE), ..seen(1, 5, 'a') };
        assert_eq!(judge(&began, &told(1, 9, 'a')), Verdict::Agrees(Some(line('a'))));
    }

    #[test]
    fn what_is_known_out_of_turn_has_to_be_of_the_same_history() {
        let claims = vec![(7, line('b')), (9, line('c'))];
        let knows = Grounds { claims, ..seen(1, 5, 'a') };
        assert_eq!((places(&knows).as_str(), knows.top()), ("5 7 9", 9));
        let told = |number, lines: [Option<char>; 3]| Answered {
            lines: lines.map(|digit| digit.map(line)).to_vec(),
            ..told(1, number, 'd')
        };
        assert_eq!(judge(&knows, &told(9, [Some('a'), Some('b'), Some('c')])), Verdict::Agrees(None));
        let behind = judge(&knows, &told(8, [Some('a'), Some('b'), None]));
        assert_eq!(behind, Verdict::Suspect(Suspicion::PlaceBehind));
        let forked = Verdict::Suspect(Suspicion::Forked);
        assert_eq!(judge(&knows, &told(9, [Some('a'), Some('b'), Some('d')])), forked);
        assert_eq!(judge(&knows, &told(12, [None, Some('d'), Some('c')])), forked);
        // Some of it can no longer be compared.
        for lines in [[Some('a'), None, Some('c')], [None, Some('b'), Some('c')]] {
            assert_eq!(judge(&knows, &told(12, lines)), Verdict::Unproven);
        }
        let short = Answered { lines: vec![Some(line('a'))], ..told(12, [None; 3]) };
        assert_eq!(judge(&knows, &short), Verdict::Unproven);
    }

    #[test]
    fn answers_are_read_field_by_field() {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let id = Uuid::from_u128(7);
        let row = vec![
            bulk(&id.to_string()),
            bulk("3"),
            bulk("9"),
            bulk(&"a".repeat(20)),
            Value::Nil,
            bulk(&FORMAT.to_string()),
            Value::Array(vec![Value::Nil]),
        ];
        let read = answered(Part(7), Value::Array(row.clone())).unwrap();
        assert_eq!(
            (read.told.clone().unwrap().epoch, read.told.unwrap().number, read.lines),
            (3, 9, vec![None])
        );
        let mut none = vec![Value::Nil; 6];
        none.push(Value::Array(vec![bulk("")]));
        assert_eq!(
            answered(Part(7), Value::Array(none)).unwrap(),
            Answered { told: None, lines: vec![Some(Line::NONE)] }
        );
        let mut newer = row.clone();
        *newer.get_mut(5).unwrap() = bulk(&(FORMAT + 1).to_string());
        assert_eq!(answered(Part(7), Value::Array(newer)).unwrap_err().code(), "store_newer");
        let mut bad = row;
        *bad.get_mut(2).unwrap() = bulk("nine");
        assert_eq!(answered(Part(7), Value::Array(bad)).unwrap_err().code(), "store_part_damaged");
        assert_eq!(milliseconds(&[bulk("1700000000"), bulk("123456")]), Some(1_700_000_000_123));
        assert_eq!(patience(Duration::from_millis(500)), 300);
    }
}
