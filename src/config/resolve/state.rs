//! Where what is known is kept: the embedded store's file, or the servers of a store that gateways share.
//!
//! Never here: opening or connecting.

use std::path::{Path, PathBuf};

use super::{
    address::certificates,
    context::{Context, short},
    gateway::TOP,
};
use crate::{
    config::{
        fault::Code,
        source::Secret,
        written::{At, Field, File, KeyFrom, Place, Redis, State},
    },
    net::tls::{Pair, asking_as},
};

/// Where what is known is kept.
#[derive(Debug, Clone)]
pub enum StateSettings {
    /// The embedded store, in this file: as written, or below the directory of the configuration's file.
    File(PathBuf),
    /// A store that gateways share.
    Redis(Box<RedisSettings>),
}

impl StateSettings {
    /// This gateway's own file of state: the store, or the shadow of one that is shared.
    pub fn file(&self) -> &Path {
        match self {
            StateSettings::File(path) => path,
            StateSettings::Redis(redis) => &redis.shadow,
        }
    }

    /// Whether both say the same.
    pub fn is_as(&self, other: &StateSettings) -> bool {
        match (self, other) {
            (StateSettings::File(a), StateSettings::File(b)) => a == b,
            (StateSettings::Redis(a), StateSettings::Redis(b)) => a.is_as(b),
            (StateSettings::File(_), StateSettings::Redis(_))
            | (StateSettings::Redis(_), StateSettings::File(_)) => false,
        }
    }
}

/// A store in Redis or Valkey.
#[derive(Debug, Clone)]
pub struct RedisSettings {
    /// Host and port of each server that is named.
    pub servers: Vec<(String, u16)>,
    /// What these are.
    pub found: RedisFound,
    /// How many servers hold each document, the primary included.
    pub copies: u32,
    /// The database's number.
    pub database: u8,
    /// Who this gateway is to the servers.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// Who this gateway is to Sentinels that have users or a password of their own.
    pub guide: Option<GuideLogin>,
    /// TLS, where it is spoken.
    pub tls: Option<RedisTls>,
    /// What all keys begin with.
    pub prefix: String,
    /// How long an answer may take, in milliseconds.
    pub timeout_ms: i64,
    /// From one heartbeat to the next, in milliseconds.
    pub beat_ms: i64,
    /// The file of this gateway's shadow: as written, or below the directory of the configuration's file.
    pub shadow: PathBuf,
    /// How long a part that forgot waits for gateways that it knew of, in milliseconds.
    pub heal_grace_ms: i64,
}

/// How Sentinels know this gateway.
#[derive(Debug, Clone)]
pub struct GuideLogin {
    /// As whom; none: the default user.
    pub user: Option<String>,
    /// By this password.
    pub password: Secret,
}

/// What the servers are that the settings name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisFound {
    /// The one server there is.
    One,
    /// Sentinels, which know the primary by this name.
    Sentinel(String),
    /// Some of a Cluster.
    Cluster,
}

/// TLS towards Redis; all in PEM.
#[derive(Debug, Clone)]
pub struct RedisTls {
    /// Who vouches for the servers; none: the system's authorities.
    pub authorities: Option<String>,
    /// What this gateway shows: certificate and key.
    pub pair: Option<(String, Secret)>,
}

impl RedisSettings {
    fn is_as(&self, other: &RedisSettings) -> bool {
        let secret = |one: &Option<Secret>, two: &Option<Secret>| {
            one.as_ref().map(Secret::expose) == two.as_ref().map(Secret::expose)
        };
        let tls = match (&self.tls, &other.tls) {
            (None, None) => true,
            (Some(a), Some(b)) => {
                let shown = |tls: &RedisTls| tls.pair.as_ref().map(|(chain, _)| chain.clone());
                let key = |tls: &RedisTls| tls.pair.as_ref().map(|(_, key)| key.clone());
                a.authorities == b.authorities && shown(a) == shown(b) && secret(&key(a), &key(b))
            }
            (None, Some(_)) | (Some(_), None) => false,
        };
        let plain = |one: &RedisSettings| {
            let bounds = (one.copies, one.database, one.timeout_ms, one.beat_ms, one.heal_grace_ms);
            let names = (one.user.clone(), one.prefix.clone(), one.shadow.clone());
            (one.servers.clone(), one.found.clone(), bounds, names)
        };
        let guide = |one: &RedisSettings| {
            let guide = one.guide.as_ref();
            guide.map(|guide| (guide.user.clone(), guide.password.expose().to_vec()))
        };
        tls && plain(self) == plain(other)
            && secret(&self.password, &other.password)
            && guide(self) == guide(other)
    }
}

const FORM: &str = "write `redis://host:6379`, or `rediss://host:6379` over TLS";
const PORT: u16 = 6379;
/// The slowest beat, in milliseconds.
pub(super) const BEAT_MOST_MS: i64 = 2_000;

pub(super) fn state(context: Context<'_>, file: &File) -> Option<StateSettings> {
    let hint = "name the store's file: `state: { path: state.redb }`, or the servers of a fleet's: `state: { redis: { url: … }, shadow: … }`";
    let at = context.need(&file.state, TOP(), "state", hint)?;
    let written = &at.value;
    match (&written.path, &written.redis) {
        (Field::Given(_), Field::Given(_)) => {
            let message = "a store is in a file (`path`) or in Redis (`redis`), not in both";
            context.put(Code::OneOf, at.place, message, "keep one of them");
            None
        }
        (Field::Absent, Field::Absent) => {
            let place = Place::at(at.place.start(), 0);
            context.put(Code::MissingKey, place, "neither `path` nor `redis` is there", hint);
            None
        }
        (Field::Broken, _) | (_, Field::Broken) => None,
        (Field::Given(path), Field::Absent) => {
            without_redis(context, written)?;
            Some(StateSettings::File(context.path(path)?))
        }
        (Field::Absent, Field::Given(redis)) => shared(context, at, redis),
    }
}

/// What only a fleet has.
fn without_redis(context: Context<'_>, written: &State) -> Option<()> {
    let given = [
        ("shadow", written.shadow.given().map(|at| at.place)),
        ("heal_grace", written.heal_grace.given().map(|at| at.place)),
    ];
    let mut fine = Some(());
    for (key, place) in given {
        if let Some(place) = place {
            fine = None;
            let message = format!("`{key}` has no meaning for a store in a file");
            context.put(Code::BadValue, place, message, "remove it, or keep the store in Redis (`redis`)");
        }
    }
    fine
}

fn shared(context: Context<'_>, at: &At<State>, redis: &At<Redis>) -> Option<StateSettings> {
    let written = &redis.value;
    let hint = "name a file on a disk that persists, this gateway's alone: `shadow: shadow.redb`";
    let shadow = context.need(&at.value.shadow, at.place, "shadow", hint).and_then(|at| context.path(at));
    let servers = servers(context, redis);
    let found = found(context, written);
    let copies = copies(context, redis, found.as_ref());
    let password = secret(context, &written.password, "the password of Redis");
    let guide = guide(context, redis);
    let tls = servers.as_ref().map_or(Some(None), |servers| tls(context, redis, servers.secure));
    let prefix = prefix(context, &written.prefix);
    let timeout_ms = context.duration(&written.timeout, 500, 50, 10_000);
    let beat_ms = context.duration(&written.beat, 200, 20, BEAT_MOST_MS);
    let heal_grace_ms = context.duration(&at.value.heal_grace, 30_000, 1_000, 3_600_000);
    let servers = servers?;
    let found = found?;
    if let (RedisFound::One, Some(_)) = (&found, servers.all.get(1)) {
        let message = "several servers are named, and nothing says what they are";
        let hint = "name one; or say `sentinel: <name of the primary>`, or `cluster: true`";
        context.put(Code::OneOf, redis.place, message, hint);
        return None;
    }
    if found == RedisFound::Cluster && servers.database > 0 {
        let message = "a Cluster has no databases other than 0";
        context.put(Code::BadUrl, redis.place, message, "leave the number out of `url`");
        return None;
    }
    Some(StateSettings::Redis(Box::new(RedisSettings {
        servers: servers.all,
        found,
        copies: copies?,
        database: servers.database,
        user: servers.user,
        password: password?,
        guide: guide?,
        tls: tls?,
        prefix: prefix?,
        timeout_ms,
        beat_ms,
        shadow: shadow?,
        heal_grace_ms,
    })))
}

fn found(context: Context<'_>, written: &Redis) -> Option<RedisFound> {
    let cluster = match &written.cluster {
        Field::Absent => None,
        Field::Broken => return None,
        Field::Given(at) => at.value.then_some(at.place),
    };
    match (&written.sentinel, cluster) {
        (Field::Broken, _) => None,
        (Field::Absent, None) => Some(RedisFound::One),
        (Field::Absent, Some(_)) => Some(RedisFound::Cluster),
        (Field::Given(name), None) => {
            Some(RedisFound::Sentinel(context.visible(name, "the name of a primary", 200)?))
        }
        (Field::Given(_), Some(place)) => {
            let message = "the primary is found by Sentinels or by a Cluster, not by both";
            context.put(Code::OneOf, place, message, "keep one of `sentinel` and `cluster`");
            None
        }
    }
}

fn copies(context: Context<'_>, redis: &At<Redis>, found: Option<&RedisFound>) -> Option<u32> {
    if redis.value.copies.is_absent() && matches!(found, Some(RedisFound::Sentinel(_) | RedisFound::Cluster))
    {
        let place = Place::at(redis.place.start(), 0);
        let hint = "say how many servers hold each document, the primary included: `copies: 3`; a change counts when a majority has it";
        context.put(Code::MissingKey, place, "`copies` is missing", hint);
        return None;
    }
    u32::try_from(context.count(&redis.value.copies, 1, 1, 9)).ok()
}

/// A key that may be absent; the outer `None` where a fault was told.
fn secret(context: Context<'_>, field: &Field<KeyFrom>, what: &str) -> Option<Option<Secret>> {
    match field {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(at) => context.secret_at(at, what).map(Some),
    }
}

/// Who this gateway is to the Sentinels; the outer `None` where a fault was told.
fn guide(context: Context<'_>, redis: &At<Redis>) -> Option<Option<GuideLogin>> {
    let written = &redis.value;
    let given = [
        ("sentinel_user", written.sentinel_user.given().map(|at| at.place)),
        ("sentinel_password", written.sentinel_password.given().map(|at| at.place)),
    ];
    if written.sentinel.is_absent() {
        for (key, place) in given {
            if let Some(place) = place {
                let message = format!("`{key}` has no meaning without Sentinels");
                context.put(
                    Code::BadValue,
                    place,
                    message,
                    "say `sentinel: <name of the primary>`, or leave it out",
                );
                return None;
            }
        }
    }
    let user = match &written.sentinel_user {
        Field::Absent => None,
        Field::Broken => return None,
        Field::Given(at) if is_user(&at.value) => Some(at.value.clone()),
        Field::Given(at) => {
            let message = "this is no user of Sentinels";
            context.put(Code::BadValue, at.place, message, "use 1 to 200 visible ASCII characters");
            return None;
        }
    };
    match (secret(context, &written.sentinel_password, "the password of the Sentinels")?, given) {
        (Some(password), _) => Some(Some(GuideLogin { user, password })),
        (None, [(_, Some(place)), _]) => {
            let hint = "name the file that holds it: `sentinel_password: { file: … }`";
            context.put(Code::MissingKey, place, "`sentinel_password` is missing", hint);
            None
        }
        (None, _) => Some(None),
    }
}

fn is_user(text: &str) -> bool {
    (1..=200).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

fn prefix(context: Context<'_>, field: &Field<String>) -> Option<String> {
    let at = match field {
        Field::Absent => return Some("postern".to_owned()),
        Field::Broken => return None,
        Field::Given(at) => at,
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':');
    if (1..=64).contains(&at.value.len()) && at.value.bytes().all(plain) {
        return Some(at.value.clone());
    }
    let message = format!("`{}` cannot be what keys begin with", short(&at.value));
    // A brace would move the hash tag by which the documents of a part lie together.
    context.put(Code::BadValue, at.place, message, "use 1 to 64 letters, digits, `_`, `-`, `.` and `:`");
    None
}

struct Servers {
    all: Vec<(String, u16)>,
    secure: bool,
    user: Option<String>,
    database: u8,
}

fn servers(context: Context<'_>, redis: &At<Redis>) -> Option<Servers> {
    let list = context.need(&redis.value.url, redis.place, "url", FORM)?;
    let mut servers: Option<Servers> = None;
    for at in &list.value.0.items {
        let (host, one) = server(context, at)?;
        match &mut servers {
            None => servers = Some(Servers { all: vec![host], ..one }),
            Some(all) => {
                if (all.secure, &all.user, all.database) != (one.secure, &one.user, one.database) {
                    let message = "the servers differ in more than host and port";
                    let hint = "give all of them the same scheme, user and database";
                    context.put(Code::BadUrl, at.place, message, hint);
                    return None;
                }
                if all.all.contains(&host) {
                    let message = format!("`{}` is named twice", short(&at.value));
                    context.put(Code::DuplicateName, at.place, message, "keep one of them");
                    return None;
                }
                all.all.push(host);
            }
        }
    }
    if servers.is_none() {
        context.put(Code::MissingKey, list.place, "no server is named", FORM);
    }
    servers
}

/// One address, read in one way.
fn server(context: Context<'_>, at: &At<String>) -> Option<((String, u16), Servers)> {
    let text = at.value.as_str();
    let wrong = |part: &str, message: String, hint: &str| {
        context.put(Code::BadUrl, context.part(at.place, part), message, hint);
        None
    };
    let (secure, rest) = match (text.strip_prefix("rediss://"), text.strip_prefix("redis://")) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => return wrong(text, format!("`{}` is no address of Redis", short(text)), FORM),
    };
    // A password may stand in it: nothing of it is repeated from here on.
    let (user, rest) = match rest.rsplit_once('@') {
        None => (None, rest),
        Some((user, _)) if user.contains(':') => {
            let hint =
                "name the user there at most, and put the password into a file: `password: { file: … }`";
            return wrong("", "an address of Redis holds no password".to_owned(), hint);
        }
        Some((user, rest)) => (Some(user.to_owned()), rest),
    };
    if user.as_ref().is_some_and(|user| !is_user(user)) {
        return wrong("", "this is no user of Redis".to_owned(), "use 1 to 200 visible ASCII characters");
    }
    let (authority, database) = match rest.split_once('/') {
        None | Some((_, "")) => (rest.trim_end_matches('/'), 0),
        Some((authority, number)) => match number.parse::<u8>() {
            Ok(number) => (authority, number),
            Err(_) => {
                return wrong(
                    number,
                    format!("`{}` is no database", short(number)),
                    "use a number from 0 on, e.g. `/0`",
                );
            }
        },
    };
    let parsed = authority.parse::<http::uri::Authority>().ok().filter(|parsed| !parsed.host().is_empty());
    let Some(parsed) = parsed else {
        return wrong(authority, format!("`{}` is no host", short(authority)), FORM);
    };
    let port = match authority.strip_prefix(parsed.host()) {
        Some("") => Some(PORT),
        Some(behind) => behind.strip_prefix(':').and_then(|port| port.parse().ok()).filter(|port| *port != 0),
        None => None,
    };
    let Some(port) = port else {
        return wrong(authority, "this is no host with a port".to_owned(), "use a port from 1 to 65535");
    };
    let host = parsed.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    Some(((host, port), Servers { all: Vec::new(), secure, user, database }))
}

/// TLS towards the servers; the outer `None` where a fault was told.
fn tls(context: Context<'_>, redis: &At<Redis>, secure: bool) -> Option<Option<RedisTls>> {
    let written = &redis.value;
    if !secure {
        let given = [
            ("ca", written.ca.given().map(|at| at.place)),
            ("certificate", written.certificate.given().map(|at| at.place)),
            ("key", written.key.given().map(|at| at.place)),
        ];
        for (key, place) in given {
            if let Some(place) = place {
                let message = format!("`{key}` has no meaning without TLS");
                context.put(Code::BadValue, place, message, "write `rediss://` in `url`, or leave it out");
            }
        }
        return Some(None);
    }
    let authorities = match &written.ca {
        Field::Absent => None,
        Field::Broken => return None,
        Field::Given(at) => {
            let hint = "name the file with the authority's certificate: `ca: { file: ca.pem }`";
            let file = context.need(&at.value.file, at.place, "file", hint)?;
            Some((at.place, certificates(context, file)?))
        }
    };
    let pair = match (&written.certificate, &written.key) {
        (Field::Absent, Field::Absent) => None,
        (Field::Broken, _) | (_, Field::Broken) => return None,
        (Field::Given(chain), Field::Given(_)) => {
            let pem = certificates(context, chain)?;
            let key = context.secret(&written.key, redis.place, "the certificate's key")?;
            Some((chain.place, pem, key))
        }
        (Field::Given(At { place, .. }), Field::Absent) => {
            context.put(
                Code::MissingKey,
                *place,
                "`key` is missing",
                "name the certificate's key: `key: { file: … }`",
            );
            return None;
        }
        (Field::Absent, Field::Given(At { place, .. })) => {
            context.put(
                Code::MissingKey,
                *place,
                "`certificate` is missing",
                "name the certificate of that key",
            );
            return None;
        }
    };
    let shown = pair.as_ref().map(|(_, chain, key)| Pair { chain: chain.as_bytes(), key: key.expose() });
    let ca = authorities.as_ref().map(|(_, pem)| pem.as_bytes());
    if let Err(fault) = asking_as(ca, shown.as_ref()) {
        let place = pair.map(|(place, ..)| place).or(authorities.map(|(place, _)| place));
        let message = format!("TLS to Redis cannot be set up: {fault}");
        let hint = "certificates and keys are PEM files; a key belongs to the first certificate of its chain";
        context.put(Code::BadCertificate, place.unwrap_or(redis.place), message, hint);
        return None;
    }
    Some(Some(RedisTls {
        authorities: authorities.map(|(_, pem)| pem),
        pair: pair.map(|(_, chain, key)| (chain, key)),
    }))
}
