//! Which part of the map belongs to which upstream, and the prefixes of paths.
//!
//! Never here: the upstream itself (see [`super`]), what becomes of a path ([`crate::policy::routes::Rewrite`]).

use super::Upstreams;
use crate::{
    config::{
        fault::Code,
        resolve::{
            context::{Context, short},
            routes::head::own_host,
        },
        written::{Field, OneOrMany, Place, Serves},
    },
    policy::routes::{Cover, Prefix, Template},
};

/// A part of the map that belongs to an upstream.
pub(in crate::config::resolve) struct Served {
    pub(super) host: Option<String>,
    pub(super) prefix: Option<Prefix>,
}

impl Upstreams {
    /// Finds the upstream of a route: the one that it names, or the one that serves all of it. Where several do, the
    /// longest prefix holds, and one for the route's own host before one for every host.
    pub(in crate::config::resolve) fn of_route(
        &self,
        context: Context<'_>,
        field: &Field<String>,
        place: Place,
        host: Option<&str>,
        template: &Template,
        used: &mut [bool],
    ) -> Option<usize> {
        if !field.is_absent() || self.serves.iter().all(Vec::is_empty) {
            return self.find(context, field, place, used);
        }
        let mut best: Option<((bool, usize), usize)> = None;
        let mut parts: Vec<((bool, usize), usize, &Served)> = Vec::new();
        for (number, served) in
            (0..).zip(&self.serves).flat_map(|(number, list)| list.iter().map(move |one| (number, one)))
        {
            let of_host = match (&served.host, host) {
                (None, _) => Cover::Whole,
                (Some(own), Some(host)) if own == host => Cover::Whole,
                (Some(_), Some(_)) => Cover::Nothing,
                (Some(_), None) => Cover::Part,
            };
            let of_path = served.prefix.as_ref().map_or(Cover::Whole, |prefix| prefix.covers(template));
            let rank = (served.host.is_some(), served.prefix.as_ref().map_or(0, Prefix::depth));
            match (of_host, of_path) {
                (Cover::Nothing, _) | (_, Cover::Nothing) => {}
                (Cover::Whole, Cover::Whole) => {
                    best = best.max(Some((rank, number)));
                }
                (Cover::Part, _) | (_, Cover::Part) => parts.push((rank, number, served)),
            }
        }
        let ranked = |(rank, _, _): &&(_, _, _)| best.is_none_or(|(best, _)| *rank > best);
        let name = |number: usize| self.names.get(number).map_or("", |(name, _)| name.as_str());
        let foreign = |(_, other, _): &&(_, usize, _)| best.map(|(_, number)| number) != Some(*other);
        if let Some((_, other, served)) = parts.iter().filter(ranked).find(foreign).copied() {
            let (host, prefix) = (served.host.as_deref().unwrap_or_default(), served.prefix.as_ref());
            let message = format!(
                "a part of this route, `{host}{}`, belongs to the upstream `{}`, and the rest does not",
                prefix.map_or("/", Prefix::as_str),
                name(other)
            );
            let hint = "name the `upstream` here, and give that part routes of its own if it has to go there";
            context.put(Code::UpstreamUnclear, place, message, hint);
            return None;
        }
        let Some((_, number)) = best else {
            if !self.broken {
                let message = "no upstream serves this route";
                let hint = "name its `upstream`, or widen the `serves` of one";
                context.put(Code::UpstreamUnclear, place, message, hint);
            }
            return None;
        };
        if let Some(slot) = used.get_mut(number) {
            *slot = true;
        }
        Some(number)
    }
}

/// The parts of the map that an upstream declares its own.
pub(super) fn served(context: Context<'_>, field: &Field<OneOrMany<Serves>>) -> Vec<Served> {
    let mut list = Vec::new();
    for at in field.value().into_iter().flat_map(|list| &list.0.items) {
        if at.value.host.is_absent() && at.value.prefix.is_absent() {
            let hint = "write `serves: { prefix: /billing }`, `serves: { host: billing.example }`, or both";
            context.put(Code::OneOf, at.place, "this says neither `host` nor `prefix`", hint);
        }
        let host = at.value.host.given().and_then(|host| own_host(context, host));
        let prefix = prefix(context, &at.value.prefix);
        if host.is_none() != at.value.host.is_absent() || prefix.is_none() != at.value.prefix.is_absent() {
            continue;
        }
        list.push(Served { host, prefix });
    }
    list
}

/// A prefix of paths.
pub(super) fn prefix(context: Context<'_>, field: &Field<String>) -> Option<Prefix> {
    let at = field.given()?;
    Prefix::parse(&at.value)
        .map_err(|fault| {
            let message = format!("`{}` is no prefix of paths: {fault}", short(&at.value));
            context.put(
                Code::BadRewrite,
                at.place,
                message,
                "write whole plain segments: `/billing`, `/api/v2`",
            );
        })
        .ok()
}
