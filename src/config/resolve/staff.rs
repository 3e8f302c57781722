//! What is asked of the vendor's people beside a session.

use std::net::IpAddr;

use super::{
    context::{Context, short},
    entrance::everybody,
    gateway::DAY,
    issuers::claim_path,
};
use crate::{
    config::{
        fault::Code,
        written::{At, Field, File, OneOrMany, Require, Ticket},
    },
    model::{Address, Network},
    policy::{
        Conditions,
        conditions::{TicketFrom, TicketRule},
        shape::Shape,
    },
};

/// The conditions, and the claim that names a ticket where one does.
pub(super) fn conditions(context: Context<'_>, file: &File) -> (Conditions, Option<String>) {
    let none = Require::default();
    let written = file.staff.value().and_then(|staff| staff.require.value()).unwrap_or(&none);
    let (ticket, claim) = match written.ticket.given() {
        Some(at) => ticket(context, at),
        None => (None, None),
    };
    (Conditions { ticket, ..sign_in(context, written) }, claim)
}

/// The conditions but for the ticket.
pub(super) fn sign_in(context: Context<'_>, written: &Require) -> Conditions {
    let most = 366 * DAY;
    let max_auth_age_ms = match &written.max_auth_age {
        Field::Given(_) => Some(context.duration(&written.max_auth_age, 0, 1_000, most)),
        Field::Absent | Field::Broken => None,
    };
    let networks = items(context, &written.networks, "a network", network);
    if let Some(at) = written.networks.given().filter(|_| everybody(&networks)) {
        context.warn(
            Code::Unused,
            at.place,
            "together these are everybody of a kind of addresses, so nothing is asked of them",
            "name the networks that support works from, or remove the key",
        );
    }
    Conditions {
        acr: words(context, &written.acr, "a class of sign-in"),
        amr: words(context, &written.amr, "a method of sign-in"),
        max_auth_age_ms,
        networks,
        ticket: None,
    }
}

/// A list that says something: an empty one would demand nothing where somebody meant to.
pub(super) fn items<T>(
    context: Context<'_>,
    field: &Field<OneOrMany<String>>,
    what: &str,
    read: fn(Context<'_>, &At<String>) -> Option<T>,
) -> Vec<T> {
    let Some(list) = field.given() else { return Vec::new() };
    if list.value.0.items.is_empty() && !list.value.0.broken {
        let hint = format!("name {what}, or remove the key: an empty list asks for nothing");
        context.put(Code::BadValue, list.place, "this list is empty", hint);
    }
    list.value.0.items.iter().filter_map(|at| read(context, at)).collect()
}

fn words(context: Context<'_>, field: &Field<OneOrMany<String>>, what: &str) -> Vec<String> {
    items(context, field, what, |context, at| context.visible(at, "a word of a sign-in", 256))
}

/// `address/bits`, or one address.
pub(super) fn network(context: Context<'_>, at: &At<String>) -> Option<Network> {
    let (address, bits) = match at.value.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (at.value.as_str(), None),
    };
    let wrong = |message: String| {
        let hint = "write `10.1.0.0/16`, `2001:db8::/32` or one address";
        context.put(Code::BadValue, at.place, message, hint);
        None
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        return wrong(format!("`{}` is no network", short(&at.value)));
    };
    let (number, width) = match address {
        IpAddr::V4(ip) => (ip.to_ipv6_mapped().octets(), 32u8),
        IpAddr::V6(ip) => (ip.octets(), 128),
    };
    let bits = match bits {
        None => Some(width),
        Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
            bits.parse::<u8>().ok().filter(|bits| *bits <= width)
        }
        Some(_) => None,
    };
    let Some(bits) = bits else {
        return wrong(format!("`{}` has a number of bits that no address has", short(&at.value)));
    };
    match Network::new(Address(u128::from_be_bytes(number)), bits + (128 - width)) {
        Ok(network) => Some(network),
        Err(fault) => wrong(format!("`{}` is no network: {fault}", short(&at.value))),
    }
}

fn ticket(context: Context<'_>, at: &At<Ticket>) -> (Option<TicketRule>, Option<String>) {
    let hint = "say what a ticket looks like: `pattern: \"[A-Z]{2,5}-[0-9]{1,8}\"`";
    let pattern = context.need(&at.value.pattern, at.place, "pattern", hint);
    let shape = pattern.and_then(|pattern| {
        Shape::parse(&pattern.value)
            .map_err(|fault| {
                let message = format!("`{}` is no shape of a ticket: {fault}", short(&pattern.value));
                context.put(Code::BadValue, pattern.place, message, hint);
            })
            .ok()
    });
    let (from, claim) = match (&at.value.header, &at.value.claim) {
        (Field::Absent, Field::Absent) => (Some(TicketFrom::Session), None),
        (Field::Given(header), Field::Absent) => {
            let name = context.header(header.place, &header.value);
            (name.map(|name| TicketFrom::Header(name.as_str().to_owned())), None)
        }
        (Field::Absent, Field::Given(claim)) => (Some(TicketFrom::Claim), claim_path(context, claim)),
        (header, claim) => {
            if !header.is_broken() && !claim.is_broken() {
                let hint = "keep one of them; without either, the ticket is named when a session starts";
                context.put(Code::OneOf, at.place, "`ticket` takes `header` or `claim`, not both", hint);
            }
            (None, None)
        }
    };
    (from.zip(shape).map(|(from, shape)| TicketRule { from, shape }), claim)
}
