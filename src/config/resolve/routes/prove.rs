//! The proofs of a map, told at the lines that break them.

use std::collections::BTreeMap;

use crate::{
    config::{
        fault::Code,
        resolve::{
            context::Context,
            rights::Steps,
            settings::{HostHeader, RouteEntry, UpstreamSettings},
        },
        written::Place,
    },
    policy::{
        Effect, Policy,
        proofs::{self, Broken, Line, Partly},
        routes::{Rewrite, RouteFault, RouteSpec, RouteTable, TableRules},
    },
};

/// Proves that the routes make a map; each fault is told at the line of the later route.
pub(super) fn one_owner(
    context: Context<'_>,
    owner: Place,
    lines: &[(RouteSpec, Place)],
    rules: TableRules,
) -> Option<RouteTable> {
    let specs = lines.iter().map(|(spec, _)| spec.clone()).collect();
    let faults = match RouteTable::build_under(specs, rules) {
        Ok(table) => return Some(table),
        Err(faults) => faults,
    };
    let place =
        |id: u32| usize::try_from(id).ok().and_then(|id| lines.get(id)).map_or(owner, |(_, place)| *place);
    let line = |id: u32| context.line(place(id));
    for fault in faults {
        let message = fault.to_string();
        let (code, at, message, hint) = match fault {
            RouteFault::Conflict { a, b, witness } => (
                Code::RouteConflict,
                place(a.max(b)),
                format!("the route in line {} owns `{witness}` already", line(a.min(b))),
                "each request has one owner: take the method out of one of them, or join them",
            ),
            RouteFault::CaseTwins { a, b, witness } => (
                Code::RouteTwins,
                place(a.max(b)),
                format!("this differs from the route in line {} in case only: `{witness}`", line(a.min(b))),
                "spell them alike, or write `paths: { case: distinct }` if the application tells them apart",
            ),
            RouteFault::NeverReached { id, template } => (
                Code::RouteNeverReached,
                place(id),
                format!("more specific routes own all that `{template}` covers"),
                "remove it: no request can reach it",
            ),
            RouteFault::NoMethod { id }
            | RouteFault::RefusedMethod { id, .. }
            | RouteFault::Host { id, .. } => {
                (Code::BadRoute, place(id), message, "correct the route's methods or host")
            }
            RouteFault::TooEntangled => {
                (Code::BadRoute, owner, message, "use fewer parameters beside literals at the same depth")
            }
        };
        context.put(code, at, message, hint);
    }
    None
}

/// What was proved to have one owner each, and where it stands.
pub(in crate::config::resolve) struct Owned {
    pub(super) table: RouteTable,
    pub(super) places: Vec<Place>,
}

/// Proves what depends on the whole policy.
pub(in crate::config::resolve) fn whole(
    context: Context<'_>,
    owned: &Owned,
    policy: &Policy,
    entries: &[RouteEntry],
    upstreams: &[UpstreamSettings],
    steps: &Steps,
) {
    let none = Rewrite::default();
    let applications = applications(upstreams);
    let lines: Vec<Line<'_>> = entries
        .iter()
        .filter_map(|entry| {
            let rule = policy.rules.get(entry.rule)?;
            Some(Line {
                host: entry.host.as_deref(),
                methods: &entry.methods,
                template: &entry.template,
                rule,
                upgrade: entry.upgrade,
                rewrite: upstreams.get(rule.upstream).map_or(&none, |upstream| &upstream.rewrite),
                application: applications.get(rule.upstream).copied().flatten(),
            })
        })
        .collect();
    for broken in proofs::prove(policy, &lines, &owned.table, &steps.reading) {
        tell(context, owned, policy, steps, &broken);
    }
    for partly in proofs::partly(policy, &lines) {
        let reads = lines.get(partly.line).is_some_and(|line| {
            line.methods.iter().all(|method| line.rule.effect(method, line.upgrade) == Effect::Read)
        });
        closed_to_some(context, owned, &partly, reads);
    }
}

/// Tells a route that is closed to whoever holds what it asks for on a condition only.
fn closed_to_some(context: Context<'_>, owned: &Owned, partly: &Partly, reads: bool) {
    let list = |names: Vec<&str>| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let roles = list(partly.roles.iter().map(|role| role.as_str()).collect());
    let items = list(partly.items.iter().map(|kind| kind.as_str()).collect());
    let container = &partly.container;
    let (message, hint) = match &partly.narrowed_to {
        Some(kind) => (
            format!(
                "closed to {roles}: what these roles hold on a condition only is about {items}, and this is narrowed to `{kind}`"
            ),
            format!("narrow it to what they speak of, or say by `of: {kind}` that they speak of that"),
        ),
        None if reads => (
            format!(
                "closed to {roles}: what these roles hold on a condition only is about {items}, and nothing says how what is \
                 shown of a whole `{container}` is narrowed to those"
            ),
            "say how: `narrow: { filter: … }` or `narrow: { query: … }`; or that it is meant so: `narrow: refuse`".to_owned(),
        ),
        None => (
            format!(
                "closed to {roles}: what these roles hold on a condition only is about {items}, and this acts on a whole `{container}`"
            ),
            "say that it is meant so by `narrow: refuse`, or ask for a permission that they hold without a condition".to_owned(),
        ),
    };
    context.warn(
        Code::NotNarrowed,
        owned.places.get(partly.line).copied().unwrap_or_default(),
        message,
        hint,
    );
}

/// Which upstreams are one application: they share a server, and the host that it is told. `None` where that is the
/// client's to say.
fn applications(upstreams: &[UpstreamSettings]) -> Vec<Option<usize>> {
    let mut addresses: BTreeMap<(String, &str), usize> = BTreeMap::new();
    let mut applications: Vec<Option<usize>> = Vec::new();
    for (fresh, upstream) in upstreams.iter().enumerate() {
        let host = match &upstream.host_header {
            HostHeader::Client => {
                applications.push(None);
                continue;
            }
            HostHeader::Upstream => upstream.authority.as_str(),
            HostHeader::Fixed(host) => host.as_str(),
        };
        applications.push(Some(fresh));
        for server in &upstream.servers {
            let known = *addresses.entry((server.place.to_string(), host)).or_insert(fresh);
            // Whatever was the one is the other from now on.
            for number in applications.iter_mut().flatten().chain(addresses.values_mut()) {
                if *number == known {
                    *number = fresh;
                }
            }
        }
    }
    applications
}

fn tell(context: Context<'_>, owned: &Owned, policy: &Policy, steps: &Steps, broken: &Broken) {
    let place = |line: usize| owned.places.get(line).copied().unwrap_or_default();
    let line = |number: usize| context.line(place(number));
    let level = |rank: usize| policy.ladder.at(rank).map_or("", |level| level.name.as_str());
    match broken {
        Broken::NotMonotone { rank, below, lacks, request } => {
            let first = lacks.first().and_then(|id| policy.catalogue.name(*id));
            let first = first.map_or("", |name| name.as_str());
            let more =
                if lacks.len() > 1 { format!(" and {} more", lacks.len() - 1) } else { String::new() };
            let witness = request.as_ref().map(|(number, request)| {
                format!(": `{request}` (line {}) passes below and not here", line(*number))
            });
            context.put(
                Code::LadderNotMonotone,
                steps.places.get(*rank).copied().unwrap_or_default(),
                format!(
                    "the level `{}` lacks `{first}`{more}, which the level `{}` below it has{}",
                    level(*rank),
                    level(*below),
                    witness.unwrap_or_default()
                ),
                format!("allow `{first}` in its role too, or change the order of the levels"),
            );
        }
        Broken::ReadingLevelWrites { rank, line, request } => context.put(
            Code::ReadingLevelWrites,
            place(*line),
            format!("`{request}` writes, and the level `{}`, which only reads, reaches it", level(*rank)),
            "ask for a permission that this level lacks; write `effect: read` if it changes nothing; or declare the \
             level `effect: write`",
        ),
        Broken::CeilingHeld { role, line, request } => context.put(
            Code::CeilingReached,
            place(*line),
            format!("`{request}` is closed to staff, and the role `{role}` reaches it"),
            "take the permission out of the role",
        ),
        Broken::CeilingPassed { closed, by, request, forwarded } => {
            let seen =
                forwarded.as_ref().map(|path| format!(" as `{path}`")).unwrap_or_default();
            context.put(
                Code::CeilingReached,
                place(*by),
                format!(
                    "`{request}` reaches the application{seen} by this route, where the route in line {} closes \
                     it to staff",
                    line(*closed)
                ),
                "ask for the same permission here, give both routes the same host, or have the application told the \
                 host (`host: client`)",
            );
        }
        Broken::TooEntangled { closed } => context.put(
            Code::CeilingReached,
            place(*closed),
            "too many routes overlap with this one to prove that its ceiling holds",
            "use fewer parameters beside literals at the same depth, or fewer hosts",
        ),
    }
}
