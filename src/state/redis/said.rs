//! What servers say when they do not do what was asked, as faults with a code.
//!
//! Never here: whether a change may have been made all the same ([`super::store`]).

use std::time::Duration;

use ::redis::{ErrorKind, RedisError, RedisResult, ServerError, Value};

use super::{keys::FORMAT, options::Address};
use crate::state::{Line, ServerFault, StoreFault};

/// The codes of errors. Redis 6.2 wraps those that a script meets into an `ERR` that quotes them.
const SAID: &[(&str, ServerFault)] = &[
    ("OOM", ServerFault::OutOfMemory),
    ("READONLY", ServerFault::ReadOnly),
    ("NOAUTH", ServerFault::Password),
    ("WRONGPASS", ServerFault::Password),
    ("NOPERM", ServerFault::Permission),
    ("LOADING", ServerFault::Loading),
    ("MASTERDOWN", ServerFault::NoPrimary),
    ("BUSY", ServerFault::ScriptBusy),
    ("MISCONF", ServerFault::CannotPersist),
    ("NOREPLICAS", ServerFault::FewReplicas),
    ("CLUSTERDOWN", ServerFault::ClusterDown),
    ("MOVED", ServerFault::Moved),
    ("ASK", ServerFault::Moving),
    ("TRYAGAIN", ServerFault::Moving),
    ("CROSSSLOT", ServerFault::Moved),
    ("WRONGTYPE", ServerFault::WrongType),
];

fn fault(code: &str, detail: &str) -> ServerFault {
    let quoted = || {
        let mut words = detail.split_whitespace().map(|word| word.trim_start_matches('-'));
        words.find_map(|word| SAID.iter().find(|(said, _)| *said == word))
    };
    // Before it knows who we are it reads no long command, and says no more than that.
    if code == "ERR" && detail.contains("unauthenticated") {
        return ServerFault::Password;
    }
    let plain = SAID.iter().find(|(said, _)| *said == code);
    plain
        .or_else(|| if code == "ERR" { quoted() } else { None })
        .map_or(ServerFault::Refused, |(_, fault)| *fault)
}

/// One line of at most some hundred characters, whatever a server wrote.
fn short(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(300).collect::<String>().trim().to_owned()
}

/// An error that a server answered.
pub(super) fn error(error: &ServerError) -> StoreFault {
    let detail = error.details().unwrap_or_default();
    StoreFault::Server {
        fault: fault(error.code(), detail),
        detail: short(&format!("{} {detail}", error.code())),
    }
}

/// An error of a connection, or of a server where it came instead of all answers.
pub(super) fn broken(error: &RedisError) -> StoreFault {
    let known = match error.code() {
        Some(code) => fault(code, error.detail().unwrap_or_default()),
        None if error.is_timeout() => ServerFault::TimedOut,
        None => match error.kind() {
            ErrorKind::AuthenticationFailed => ServerFault::Password,
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => ServerFault::Answer,
            _ => ServerFault::Unreachable,
        },
    };
    StoreFault::Server { fault: known, detail: short(&error.to_string()) }
}

/// A fault in words of our own.
pub(super) fn so(fault: ServerFault, detail: impl AsRef<str>) -> StoreFault {
    StoreFault::Server { fault, detail: short(detail.as_ref()) }
}

/// The same, of a named server.
pub(super) fn of(address: &Address, fault: StoreFault) -> StoreFault {
    match fault {
        StoreFault::Server { fault, detail } => so(fault, format!("`{address}`: {detail}")),
        fault => fault,
    }
}

/// Whether the server no longer knows a script that it was told: somebody has flushed them.
pub(super) fn no_script(fault: &StoreFault) -> bool {
    matches!(fault, StoreFault::Server { detail, .. } if detail.starts_with("NOSCRIPT"))
}

/// Whether a connection is of no use any more after this, so that the primary has to be looked for anew.
pub(super) fn ends_link(fault: &StoreFault) -> bool {
    let StoreFault::Server { fault, .. } = fault else { return false };
    match fault {
        ServerFault::Unreachable
        | ServerFault::TimedOut
        | ServerFault::ReadOnly
        | ServerFault::Tls
        | ServerFault::Password
        | ServerFault::Loading
        | ServerFault::NoPrimary
        | ServerFault::ClusterDown
        | ServerFault::Moved
        | ServerFault::Unknown
        | ServerFault::Outdated
        | ServerFault::Answer => true,
        ServerFault::Unconfirmed
        | ServerFault::OutOfMemory
        | ServerFault::Permission
        | ServerFault::ScriptBusy
        | ServerFault::CannotPersist
        | ServerFault::FewReplicas
        | ServerFault::Moving
        | ServerFault::WrongType
        | ServerFault::Refused => false,
    }
}

/// What a command answers, in time.
pub(super) async fn timely<T>(
    most: Duration,
    asking: impl Future<Output = RedisResult<T>>,
) -> Result<T, StoreFault> {
    match tokio::time::timeout(most, asking).await {
        Ok(answer) => answer.map_err(|error| broken(&error)),
        Err(_) => Err(late(most)),
    }
}

/// A layout that this build does not know.
pub(super) fn layout(found: String) -> StoreFault {
    match found.parse() {
        Ok(found) if found > FORMAT => StoreFault::Newer { found, known: FORMAT },
        _ => StoreFault::Layout { found, known: FORMAT },
    }
}

/// No answer in time.
pub(super) fn late(most: Duration) -> StoreFault {
    StoreFault::Server {
        fault: ServerFault::TimedOut,
        detail: format!("no answer within {} ms", most.as_millis()),
    }
}

/// A question of which nobody hears the answer.
pub(super) fn given_up() -> StoreFault {
    unreached("the question was given up")
}

/// No connection.
pub(super) fn unreached(detail: &str) -> StoreFault {
    StoreFault::Server { fault: ServerFault::Unreachable, detail: detail.to_owned() }
}

/// An answer that is none.
pub(super) fn senseless(what: &str) -> StoreFault {
    StoreFault::Server { fault: ServerFault::Answer, detail: what.to_owned() }
}

/// The text of an answer.
pub(super) fn text(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.as_bytes()),
        _ => None,
    }
}

/// A whole number of an answer, which scripts write as text.
pub(super) fn number(value: Option<&Value>) -> Option<u64> {
    match value? {
        Value::Int(number) => u64::try_from(*number).ok(),
        other => std::str::from_utf8(text(other)?).ok()?.parse().ok(),
    }
}

/// A line of an answer.
pub(super) fn line(value: Option<&Value>) -> Option<Line> {
    Line::parse(text(value?)?)
}

/// A text of an answer as far as it can be read.
pub(super) fn word(value: Option<&Value>) -> String {
    value.and_then(text).map(|bytes| short(&String::from_utf8_lossy(bytes))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_of_redis_becomes_a_fault_of_its_own() {
        for (code, expected) in SAID {
            assert_eq!(fault(code, "whatever"), *expected);
        }
        assert_eq!(fault("ERR", "unknown command 'EVALSHA'"), ServerFault::Refused);
        let early = "Protocol error: unauthenticated multibulk length";
        assert_eq!(fault("ERR", early), ServerFault::Password);
        // As Redis 6.2 tells what a script met.
        let wrapped = "Error running script (call to f_0a): @user_script:26: @user_script: 26: -OOM command not \
                       allowed when used memory > 'maxmemory'.";
        assert_eq!(fault("ERR", wrapped), ServerFault::OutOfMemory);
        let wrapped =
            "Error running script (call to f_0a): @user_script:9: WRONGTYPE Operation against a key";
        assert_eq!(fault("ERR", wrapped), ServerFault::WrongType);
        assert_eq!(
            fault("NOPERM", "this user has no permissions to access OOM keys"),
            ServerFault::Permission
        );
    }

    #[test]
    fn what_a_server_says_stays_one_line() {
        let error = RedisError::from((ErrorKind::Io, "broken", "a\nb".repeat(500)));
        let text = broken(&error).to_string();
        assert!(!text.contains('\n') && text.len() < 700, "{text}");
        assert!(matches!(broken(&error), StoreFault::Server { fault: ServerFault::Unreachable, .. }));
    }
}
