//! The scripts, and how they are sent: whole at first on each connection and where the server forgot them, else by digest.
//!
//! Scripts and not functions, since Redis 6.2 has none; every key that a script touches is among its `KEYS`. A pipeline
//! is sent in one piece, so its commands run in their order on one connection.
//!
//! Never here: what an answer means ([`super::store`]), what a refusal means ([`super::said`]).

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use ::redis::{
    Cmd, Pipeline, RedisError, ServerErrorKind, Value,
    aio::{ConnectionLike, MultiplexedConnection},
};

/// A script: its text, and its digest once somebody asked.
#[derive(Debug)]
pub(super) struct Script {
    bit: u32,
    text: &'static str,
    digest: OnceLock<String>,
}

impl Script {
    const fn new(number: u32, text: &'static str) -> Self {
        Self { bit: 1 << number, text, digest: OnceLock::new() }
    }

    fn digest(&self) -> &str {
        self.digest.get_or_init(|| ::redis::Script::new(self.text).get_hash().to_owned())
    }
}

pub(super) static LOAD: Script =
    Script::new(0, concat!(include_str!("scripts/head.lua"), include_str!("scripts/load.lua")));
pub(super) static COMMIT: Script =
    Script::new(1, concat!(include_str!("scripts/head.lua"), include_str!("scripts/commit.lua")));
pub(super) static ASKED: Script =
    Script::new(2, concat!(include_str!("scripts/head.lua"), include_str!("scripts/asked.lua")));
pub(super) static CHANGES: Script =
    Script::new(3, concat!(include_str!("scripts/head.lua"), include_str!("scripts/changes.lua")));
pub(super) static LIST: Script =
    Script::new(4, concat!(include_str!("scripts/head.lua"), include_str!("scripts/list.lua")));
pub(super) static DUE: Script =
    Script::new(5, concat!(include_str!("scripts/head.lua"), include_str!("scripts/due.lua")));
pub(super) static MARK: Script =
    Script::new(6, concat!(include_str!("scripts/head.lua"), include_str!("scripts/mark.lua")));
pub(super) static HEAL_SIGHT: Script = Script::new(
    8,
    concat!(
        include_str!("scripts/head.lua"),
        include_str!("scripts/heal.lua"),
        include_str!("scripts/heal_sight.lua")
    ),
);
pub(super) static HEAL_MARK: Script = Script::new(
    9,
    concat!(
        include_str!("scripts/head.lua"),
        include_str!("scripts/heal.lua"),
        include_str!("scripts/heal_mark.lua")
    ),
);
pub(super) static HEAL_PUT: Script = Script::new(
    10,
    concat!(
        include_str!("scripts/head.lua"),
        include_str!("scripts/heal.lua"),
        include_str!("scripts/heal_put.lua")
    ),
);
pub(super) static HEAL_SAY: Script = Script::new(
    11,
    concat!(
        include_str!("scripts/head.lua"),
        include_str!("scripts/heal.lua"),
        include_str!("scripts/heal_say.lua")
    ),
);
pub(super) static HEAL_TRUST: Script = Script::new(
    12,
    concat!(
        include_str!("scripts/head.lua"),
        include_str!("scripts/heal.lua"),
        include_str!("scripts/heal_trust.lua")
    ),
);
pub(super) static HEAL_PAGE: Script = Script::new(
    13,
    concat!(
        include_str!("scripts/head.lua"),
        include_str!("scripts/heal.lua"),
        include_str!("scripts/heal_page.lua")
    ),
);
pub(super) static GATEWAYS: Script =
    Script::new(14, concat!(include_str!("scripts/head.lua"), include_str!("scripts/gateways.lua")));
pub(super) static LEAVE: Script =
    Script::new(21, concat!(include_str!("scripts/head.lua"), include_str!("scripts/leave.lua")));
pub(super) static RETIRE: Script =
    Script::new(22, concat!(include_str!("scripts/head.lua"), include_str!("scripts/retire.lua")));
pub(super) static BOUND: Script =
    Script::new(20, concat!(include_str!("scripts/head.lua"), include_str!("scripts/bound.lua")));
pub(super) static INIT: Script = Script::new(7, include_str!("scripts/init.lua"));

/// Which scripts a server was sent whole: asked by digest for one that it does not know it would answer only after a
/// `WAIT`, for nothing.
#[derive(Debug, Default)]
pub(crate) struct Sent(AtomicU32);

impl Sent {
    fn knows(&self, script: &Script) -> bool {
        self.0.load(Ordering::Relaxed) & script.bit != 0
    }

    fn learn(&self, script: &Script) {
        self.0.fetch_or(script.bit, Ordering::Relaxed);
    }
}

/// A script to be run on these keys.
#[derive(Debug)]
pub(super) struct Call {
    script: &'static Script,
    keys: Vec<Vec<u8>>,
    args: Vec<Vec<u8>>,
}

impl Call {
    pub(super) fn new(script: &'static Script, keys: Vec<Vec<u8>>) -> Self {
        Self { script, keys, args: Vec::new() }
    }

    #[must_use]
    pub(super) fn arg(mut self, arg: impl Into<Vec<u8>>) -> Self {
        self.args.push(arg.into());
        self
    }

    #[must_use]
    pub(super) fn number(self, number: impl ToString) -> Self {
        self.arg(number.to_string())
    }

    pub(super) fn key(&mut self, key: Vec<u8>) {
        self.keys.push(key);
    }

    pub(super) fn push(&mut self, arg: impl Into<Vec<u8>>) {
        self.args.push(arg.into());
    }

    fn command(&self, whole: bool) -> Cmd {
        let room = self.keys.iter().chain(&self.args).map(Vec::len).sum();
        let mut command = Cmd::with_capacity(self.keys.len() + self.args.len() + 3, room);
        if whole {
            command.arg("EVAL").arg(self.script.text);
        } else {
            command.arg("EVALSHA").arg(self.script.digest());
        }
        command.arg(self.keys.len());
        for bytes in self.keys.iter().chain(&self.args) {
            command.arg(bytes.as_slice());
        }
        command
    }
}

/// How many replicas have to confirm what was written, and how long to wait for them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wait {
    pub(super) replicas: u32,
    pub(super) most: Duration,
}

/// Runs scripts in one round trip; the answers in their order, errors of the server among them, and behind them how many
/// replicas confirmed, where that was asked for.
pub(super) async fn send(
    connection: &mut MultiplexedConnection,
    sent: &Sent,
    calls: &[Call],
    wait: Option<Wait>,
) -> Result<Vec<Value>, RedisError> {
    let mut answers = once(connection, calls.iter(), Some(sent), wait).await?;
    let unknown = |value: &Value| matches!(value, Value::ServerError(error) if error.kind() == Some(ServerErrorKind::NoScript));
    if !answers.iter().any(unknown) {
        return Ok(answers);
    }
    // What the server did not know it did not run.
    let again: Vec<usize> =
        answers.iter().enumerate().filter(|(_, value)| unknown(value)).map(|(at, _)| at).collect();
    let calls = again.iter().filter_map(|at| calls.get(*at));
    let mut repeated = once(connection, calls, None, wait).await?;
    if let (Some(confirmed), Some(last)) = (wait.and_then(|_| repeated.pop()), answers.last_mut()) {
        *last = confirmed;
    }
    for (at, value) in again.into_iter().zip(repeated) {
        if let Some(slot) = answers.get_mut(at) {
            *slot = value;
        }
    }
    Ok(answers)
}

async fn once(
    connection: &mut MultiplexedConnection,
    calls: impl Iterator<Item = &Call>,
    sent: Option<&Sent>,
    wait: Option<Wait>,
) -> Result<Vec<Value>, RedisError> {
    let mut pipeline = Pipeline::new();
    let mut whole: Vec<&'static Script> = Vec::new();
    for call in calls {
        let known = sent.is_some_and(|sent| sent.knows(call.script))
            || whole.iter().any(|script| std::ptr::eq(*script, call.script));
        pipeline.add_command(call.command(!known));
        if !known {
            whole.push(call.script);
        }
    }
    if let Some(wait) = wait {
        // At least one: 0 would mean for ever.
        let most = u64::try_from(wait.most.as_millis()).unwrap_or(u64::MAX).max(1);
        pipeline.cmd("WAIT").arg(wait.replicas).arg(most);
    }
    let answers = connection.req_packed_commands(&pipeline, 0, pipeline.len()).await?;
    if let Some(sent) = sent {
        whole.into_iter().for_each(|script| sent.learn(script));
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_have_digests_of_their_own_and_name_no_global() {
        let all = [
            &LOAD,
            &COMMIT,
            &ASKED,
            &CHANGES,
            &LIST,
            &DUE,
            &MARK,
            &GATEWAYS,
            &LEAVE,
            &RETIRE,
            &BOUND,
            &INIT,
            &HEAL_SIGHT,
            &HEAL_MARK,
            &HEAL_PUT,
            &HEAL_SAY,
            &HEAL_TRUST,
            &HEAL_PAGE,
        ];
        let digests: std::collections::BTreeSet<&str> = all.iter().map(|script| script.digest()).collect();
        assert_eq!(digests.len(), all.len());
        for script in all {
            assert!(!script.text.contains("redis.replicate"), "effects are replicated in any case");
            assert!(script.text.lines().all(|line| !line.starts_with("function ")));
        }
    }

    #[test]
    fn a_call_sends_bytes_as_they_are() {
        let call = Call::new(&MARK, vec![b"a\0b".to_vec()]).arg("x").number(7);
        let packed = call.command(false).get_packed_command();
        let end = b"$1\r\n1\r\n$3\r\na\0b\r\n$1\r\nx\r\n$1\r\n7\r\n";
        assert!(packed.ends_with(end));
        assert!(call.command(true).get_packed_command().starts_with(b"*6\r\n$4\r\nEVAL\r\n"));
    }
}
