//! The servers of an application: where they are, how they are asked whether they are well, when one is left out.
//!
//! Never here: connecting to them, or asking.

use std::{collections::BTreeMap, time::Duration};

use super::{Address, address, is_target};
use crate::{
    config::{
        fault::Code,
        resolve::{
            context::{Context, short},
            tls,
        },
        written::{At, Eject, Field, Health, Place, Upstream},
    },
    net::{
        Destination,
        servers::{self as net, Check, Server},
    },
};

/// As many as a request can remember to have tried.
const MOST: usize = 64;

/// What `url` or `servers` came to.
pub(super) struct Servers {
    pub(super) list: Vec<Server>,
    /// Of the first.
    pub(super) authority: String,
}

pub(super) fn servers(
    context: Context<'_>,
    written: &Upstream,
    owner: Place,
    http2: bool,
) -> Option<Servers> {
    let urls: Vec<&At<String>> = match (&written.url, &written.servers) {
        (Field::Given(_), Field::Given(servers)) => {
            let message = "an upstream has either `url` or `servers`";
            context.put(Code::OneOf, servers.place, message, "put the address of `url` into the list");
            return None;
        }
        (_, Field::Broken) => return None,
        (_, Field::Given(list)) if list.value.broken => return None,
        (_, Field::Given(list)) if list.value.items.is_empty() => {
            let hint = "give at least one: `servers: [\"http://10.0.0.1:8000\", \"http://10.0.0.2:8000\"]`";
            context.put(Code::MissingKey, list.place, "this list is empty", hint);
            return None;
        }
        (_, Field::Given(list)) if list.value.items.len() > MOST => {
            let message = format!("{} servers are more than an upstream has", list.value.items.len());
            context.put(
                Code::OutOfRange,
                list.place,
                message,
                format!("name {MOST} at most, or a host that has several addresses"),
            );
            return None;
        }
        (_, Field::Given(list)) => list.value.items.iter().collect(),
        (url, Field::Absent) => {
            let hint = "give its address, e.g. `url: \"http://127.0.0.1:8000\"`";
            vec![context.need(url, owner, "url", hint)?]
        }
    };
    let read: Vec<_> = urls.iter().map(|url| address(context, url)).collect();
    let read: Vec<Address> = read.into_iter().collect::<Option<_>>()?;
    one_protection(context, &urls, &read)?;
    if !read.iter().any(|address| address.secure) {
        tls::without(context, written)?;
    }
    let mut seen: BTreeMap<String, Place> = BTreeMap::new();
    for (url, address) in urls.iter().zip(&read) {
        if let Some(first) = seen.insert(address.place.to_string(), url.place) {
            context.twice(url.place, "server", &url.value, first);
            return None;
        }
    }
    let authority = read.first().map(|first| first.authority.clone())?;
    let mut list = Vec::with_capacity(read.len());
    for (url, address) in urls.iter().zip(read) {
        let tls = tls::upstream(context, written, url.place, &address, http2)?;
        list.push(Server { place: address.place, tls });
    }
    Some(Servers { list, authority })
}

/// Over the network all servers are reached under TLS, or none is: which one a request meets is chance.
fn one_protection(context: Context<'_>, urls: &[&At<String>], read: &[Address]) -> Option<()> {
    let over_network = |address: &&Address| matches!(address.place, Destination::Tcp(_));
    let Some(first) = read.iter().find(over_network).map(|address| address.secure) else { return Some(()) };
    let other = urls.iter().zip(read).find(|(_, address)| over_network(address) && address.secure != first);
    match other {
        None => Some(()),
        Some((url, _)) => {
            context.put(
                Code::BadValue,
                url.place,
                format!("`{}` is not reached in the same way as the servers before it", short(&url.value)),
                "write `https://` for all of them or `http://` for all of them; Unix sockets may stand beside both",
            );
            None
        }
    }
}

/// The outer `None` where a fault was told.
pub(super) fn check(context: Context<'_>, field: &Field<Health>) -> Option<Option<Check>> {
    let at = match field {
        Field::Absent => return Some(None),
        Field::Broken => return None,
        Field::Given(at) => at,
    };
    let written = &at.value;
    let path = context.need(&written.path, at.place, "path", "say what to ask for: `path: /healthz`");
    let every = context.duration(&written.every, 5_000, 100, 3_600_000);
    let timeout = context.duration(&written.timeout, 2_000, 10, 60_000);
    let healthy_after = context.count(&written.healthy_after, 2, 1, 100);
    let unhealthy_after = context.count(&written.unhealthy_after, 3, 1, 100);
    let status = match written.status.given() {
        None => None,
        Some(at) if (200..=599).contains(&at.value) => u16::try_from(at.value).ok(),
        Some(at) => {
            let message = format!("{} is no status of an answer", at.value);
            context.put(
                Code::OutOfRange,
                at.place,
                message,
                "use 200 to 599, or leave it out for 200 to 299",
            );
            return None;
        }
    };
    let path = path?;
    if !is_target(&path.value) {
        let message = format!("`{}` is no path that can be asked for", short(&path.value));
        context.put(Code::BadValue, path.place, message, "begin it with `/`, in ASCII: `/healthz`");
        return None;
    }
    Some(Some(Check {
        path: path.value.clone(),
        every: millis(every),
        timeout: millis(timeout),
        healthy_after: small(healthy_after),
        unhealthy_after: small(unhealthy_after),
        status,
    }))
}

pub(super) fn eject(context: Context<'_>, field: &Field<Eject>) -> net::Eject {
    let default = net::Eject::default();
    let Some(at) = field.given() else { return default };
    let written = &at.value;
    let after = context.count(&written.after, u64::from(default.after), 0, 1_000);
    let first = context.duration(&written.first, 1_000, 100, 600_000);
    let most = context.duration(&written.most, first.max(60_000), 100, 3_600_000);
    if most < first
        && let Some(at) = written.most.given()
    {
        let hint = "`most` is the longest time, `first` the shortest";
        context.put(Code::OutOfRange, at.place, "`most` is shorter than `first`", hint);
    }
    net::Eject { after: small(after), first: millis(first), most: millis(most) }
}

pub(super) fn ping(context: Context<'_>, written: &Upstream, http2: bool) -> i64 {
    if let Some(at) = written.ping.given()
        && !http2
    {
        let message = "`ping` has no meaning without HTTP/2";
        context.put(Code::BadValue, at.place, message, "write `protocol: http2`, or leave it out");
    }
    context.duration(&written.ping, 300_000, 1_000, 3_600_000)
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

fn small(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
