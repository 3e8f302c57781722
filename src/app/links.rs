//! What the operations listener tells of the links to the servers of a store that gateways share.
//!
//! Never here: what keeps them ([`crate::state::redis::links`]); how old what is known by them is ([`super::operations`]).

use std::fmt::Write as _;

use crate::state::RedisStore;

/// For `/readyz`: how many servers are linked, which are not, what is the matter, and what each is set to lose.
pub(super) fn lines(store: &RedisStore) -> String {
    let servers = store.links().servers();
    let linked = servers.iter().filter(|(_, linked)| *linked).count();
    let mut text = format!("servers of the store: {linked} of {} linked", servers.len());
    for (at, (address, _)) in servers.iter().filter(|(_, linked)| !linked).enumerate() {
        let _ = write!(text, "{}{address}", if at == 0 { ", not " } else { ", " });
    }
    text.push('\n');
    for (trouble, parts) in store.links().troubles() {
        let _ = writeln!(text, "of {parts} parts: {}: {trouble}", trouble.code());
    }
    for warning in store.links().warnings() {
        let _ = writeln!(text, "warning: {warning}");
    }
    text
}

/// For `/metrics`.
pub(super) fn metrics(store: &RedisStore, out: &mut String) {
    let links = store.links();
    let name = "postern_state_link_up";
    let _ = writeln!(
        out,
        "# HELP {name} 1 when there is a link to this server of the store.\n# TYPE {name} gauge"
    );
    for (address, linked) in links.servers() {
        let _ = writeln!(out, "{name}{{server=\"{address}\"}} {}", u64::from(linked));
    }
    for (name, kind, help, value) in [
        (
            "postern_state_links_lost_total",
            "counter",
            "Links to servers of the store that were lost, since the start.",
            links.lost(),
        ),
        (
            "postern_state_warnings",
            "gauge",
            "Settings by which servers of the store may lose what they acknowledged; `/readyz` and the log name them.",
            links.warnings().len() as u64,
        ),
    ] {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    }
}
