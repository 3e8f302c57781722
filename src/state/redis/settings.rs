//! What a server is set to lose: read at each connection, and said plainly. Nothing is refused for it; whoever runs Redis may
//! have reasons, and may forbid to look.
//!
//! Never here: what the guide recommends beyond this.

use std::time::Duration;

use redis::{Pipeline, Value, aio::MultiplexedConnection};
use tokio::time::timeout;

use super::beat::text;

/// The oldest version that is served.
pub(super) const OLDEST: (u32, u32) = (6, 2);

/// What was asked for, in this order.
const ASKED: [&str; 5] = ["appendonly", "appendfsync", "save", "maxmemory-policy", "min-replicas-to-write"];

/// How a server is set, as far as it says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Settings {
    pub(super) append: Option<String>,
    pub(super) sync: Option<String>,
    pub(super) save: Option<String>,
    pub(super) evicts: Option<String>,
    pub(super) least_replicas: Option<u32>,
    /// How many replicas were connected.
    pub(super) replicas: usize,
}

/// Looks. What cannot be seen stays unsaid here.
pub(super) async fn read(
    connection: &mut MultiplexedConnection,
    replicas: usize,
    limit: Duration,
) -> Settings {
    let mut pipe = Pipeline::with_capacity(ASKED.len());
    for name in ASKED {
        pipe.cmd("CONFIG").arg("GET").arg(name);
    }
    let found = timeout(limit, connection.send_packed_commands(&pipe, 0, ASKED.len())).await;
    let mut found = found.ok().and_then(Result::ok).unwrap_or_default().into_iter().map(value);
    let mut next = || found.next().flatten();
    Settings {
        append: next(),
        sync: next(),
        save: next(),
        evicts: next(),
        least_replicas: next().and_then(|count| count.parse().ok()),
        replicas,
    }
}

fn value(answer: Value) -> Option<String> {
    match answer {
        Value::Map(pairs) => pairs.first().and_then(|(_, value)| text(value)).map(str::to_owned),
        Value::Array(pair) => pair.get(1).and_then(text).map(str::to_owned),
        _ => None,
    }
}

/// The version in what `INFO server` says; Valkey says which Redis it stands for.
pub(super) fn version(info: &str) -> Option<(u32, u32)> {
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"))?;
    let mut numbers = version.trim().split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// What an operator has to know.
pub(super) fn warnings(settings: &Settings, copies: u32) -> Vec<String> {
    let mut found = Vec::new();
    let mut say = |text: String| found.push(text);
    let unseen = settings.append.is_none() || settings.evicts.is_none();
    if unseen {
        say("how it is set cannot be seen; allow its user `CONFIG GET`, or check it against the guide by hand".into());
    }
    match (settings.append.as_deref(), settings.save.as_deref()) {
        (Some("no"), Some("")) => {
            say("it writes nothing to disk, a restart empties it; set `appendonly yes`".into());
        }
        (Some("no"), _) => {
            say("it writes to disk only now and then, a restart loses minutes; set `appendonly yes`".into())
        }
        _ => {}
    }
    if settings.append.as_deref() == Some("yes") {
        match settings.sync.as_deref() {
            Some("no") => {
                say("the system decides when its file is flushed; set `appendfsync always` or `everysec`"
                    .into())
            }
            Some("everysec") if copies < 3 => {
                say("a power failure loses up to a second of acknowledged changes; set `appendfsync always`, or hold three copies".into());
            }
            _ => {}
        }
    }
    match settings.evicts.as_deref() {
        Some("noeviction") | None => {}
        Some(policy) => say(format!(
            "it may drop documents when memory is short (`maxmemory-policy {policy}`); set `noeviction`"
        )),
    }
    let majority = copies / 2;
    if settings.least_replicas.is_some_and(|least| least < majority) {
        say(format!(
            "cut off from its replicas it still takes changes, which are lost afterwards; set `min-replicas-to-write {majority}`"
        ));
    }
    if (settings.replicas as u64) < u64::from(copies.saturating_sub(1)) {
        let (replicas, wanted) = (settings.replicas, copies.saturating_sub(1));
        say(format!(
            "{replicas} replicas follow it and the settings say {wanted}; bring them back, or correct `copies`"
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Settings {
        let set = |text: &str| Some(text.to_owned());
        Settings {
            append: set("yes"),
            sync: set("always"),
            save: set(""),
            evicts: set("noeviction"),
            least_replicas: Some(1),
            replicas: 2,
        }
    }

    #[test]
    fn a_server_that_keeps_everything_is_not_warned_about() {
        assert_eq!(warnings(&good(), 3), Vec::<String>::new());
        assert_eq!(
            warnings(&Settings { replicas: 0, least_replicas: Some(0), ..good() }, 1),
            Vec::<String>::new()
        );
    }

    #[test]
    fn each_way_to_lose_data_is_said_and_what_to_set_instead() {
        let set = |text: &str| Some(text.to_owned());
        let cases = [
            (Settings { append: set("no"), ..good() }, 3, "empties"),
            (Settings { append: set("no"), save: set("3600 1"), ..good() }, 3, "minutes"),
            (Settings { sync: set("no"), ..good() }, 3, "flushed"),
            (Settings { sync: set("everysec"), ..good() }, 1, "second"),
            (Settings { evicts: set("allkeys-lru"), ..good() }, 3, "allkeys-lru"),
            (Settings { least_replicas: Some(0), ..good() }, 3, "min-replicas-to-write 1"),
            (Settings { replicas: 1, ..good() }, 3, "1 replicas"),
            (Settings { replicas: 2, ..Settings::default() }, 3, "cannot be seen"),
        ];
        for (settings, copies, word) in cases {
            let said = warnings(&settings, copies);
            assert_eq!(said.len(), 1, "{said:?}");
            assert!(said[0].contains(word) && said[0].contains(';') && !said[0].contains('\n'), "{said:?}");
        }
        assert!(warnings(&Settings { sync: set("everysec"), ..good() }, 3).is_empty());
    }

    #[test]
    fn versions_are_read_from_what_the_server_says_of_itself() {
        assert_eq!(version("# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone"), Some((7, 0)));
        assert_eq!(
            version("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.0.1"),
            Some((7, 2))
        );
        assert_eq!(version("redis_version:5.0.14\n"), Some((5, 0)));
        assert_eq!((version(""), version("redis_version:x.y")), (None, None));
        assert!(OLDEST < (7, 0) && (6, 0) < OLDEST);
    }
}
