//! What a door collected about one request, before anything was decided.
//!
//! Collecting never refuses: a missing tenant, a doubled header, a bad token are facts that the decision is told.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use crate::{
    identity::VerifiedSubject,
    model::{Address, Basis, Timestamp},
    policy::{
        Around, Ask, Brought, Caller, Effect, Named, Policy, Route, age::Class, resources::MOST_WITHIN,
    },
};

/// A name that a request carries, owned.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Name {
    /// This one.
    As(Arc<str>),
    /// None at all.
    #[default]
    Missing,
    /// One that is malformed, or several that differ.
    Unclear,
}

impl Name {
    /// The one that is named.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Name::As(name) => Some(name),
            Name::Missing | Name::Unclear => None,
        }
    }

    /// From a borrowed one.
    pub fn of(named: Named<'_>) -> Name {
        match named {
            Named::As(text) => Name::As(Arc::from(text)),
            Named::Missing => Name::Missing,
            Named::Unclear => Name::Unclear,
        }
    }

    fn named(&self) -> Named<'_> {
        match self {
            Name::As(text) => Named::As(text),
            Name::Missing => Named::Missing,
            Name::Unclear => Named::Unclear,
        }
    }
}

/// The address of a peer, as conditions look at it.
pub fn address_of(peer: IpAddr) -> Address {
    let number = |ip: Ipv6Addr| Address(u128::from_be_bytes(ip.octets()));
    match peer {
        IpAddr::V4(ip) => number(ip.to_ipv6_mapped()),
        IpAddr::V6(ip) => number(ip),
    }
}

/// What the map said, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// This rule owns it.
    Rule(usize),
    /// The path is mapped, the method is not.
    Method,
    /// It is not mapped, and too like a path that is.
    Twin,
    /// It is not mapped.
    Unmapped,
}

/// What a path names of the resources that the one acted on lies in.
pub type Outer = [Option<Arc<str>>; MOST_WITHIN];

/// The same, to keep.
pub fn outer_of(named: [Option<&str>; MOST_WITHIN]) -> Outer {
    named.map(|id| id.map(Arc::from))
}

/// What is asked, owned, so that it can be asked again.
#[derive(Debug, Clone)]
pub struct Knock {
    /// The policy under which it was collected.
    pub policy: Arc<Policy>,
    /// What the map said.
    pub path: Path,
    /// The tenant that the request names.
    pub tenant: Name,
    /// The environment that it names.
    pub environment: Name,
    /// The resource that its path names.
    pub resource: Option<Arc<str>>,
    /// … and those that it lies in.
    pub within: Outer,
    /// The session that it names.
    pub session: Name,
    /// What it brings for an emergency.
    pub emergency: Brought,
    /// What it does by its method alone (rule 12).
    pub does: Effect,
    /// From where it comes.
    pub client: Option<Address>,
    /// The ticket that its header names.
    pub ticket: Name,
    /// When it came, once it was admitted.
    pub asked: Option<Timestamp>,
}

impl Knock {
    /// How old what it rests on may be, where it was admitted on this basis.
    pub(super) fn class(&self, basis: &Basis) -> Class {
        match self.path {
            Path::Rule(number) => self.policy.rules.get(number),
            Path::Method | Path::Twin | Path::Unmapped => None,
        }
        .map_or(Class::Staff(Effect::Write), |rule| Class::of(Some(basis), rule, self.does))
    }

    /// As the decision wants it.
    pub fn ask(&self, clock_behind: bool) -> Ask<'_> {
        let route = match self.path {
            Path::Rule(number) => self.policy.rules.get(number).map_or(Route::Unmapped, Route::Mapped),
            Path::Method => Route::Method,
            Path::Twin => Route::Twin,
            Path::Unmapped => Route::Unmapped,
        };
        Ask {
            route,
            tenant: self.tenant.named(),
            environment: self.environment.named(),
            resource: self.resource.as_deref(),
            within: self.within.each_ref().map(|id| id.as_deref()),
            session: self.session.named(),
            emergency: &self.emergency,
            does: self.does,
            around: Around { client: self.client, ticket: self.ticket.named(), asked: self.asked },
            clock_behind,
        }
    }
}

/// About the request, for the record alone.
#[derive(Debug, Clone, Default)]
pub struct Particulars {
    /// The method.
    pub method: String,
    /// The host that it named, as the map compares it.
    pub host: String,
    /// The canonical path, without query.
    pub path: String,
    /// The client's address.
    pub client: String,
    /// The application's name in the configuration.
    pub upstream: String,
}

/// Who knocks.
#[derive(Debug, Clone)]
pub enum Who {
    /// Somebody without a token.
    Nobody,
    /// Somebody with a token that was refused, with the fault's code.
    Refused(&'static str),
    /// Somebody with a token that cannot be judged right now: its issuer's keys cannot be had.
    Unverifiable,
    /// A verified subject.
    Known(Arc<VerifiedSubject>),
}

impl Who {
    /// As the decision wants them.
    #[inline]
    pub fn caller(&self) -> Caller<'_> {
        match self {
            Who::Nobody => Caller::Nobody,
            Who::Refused(code) => Caller::Refused(code),
            Who::Unverifiable => Caller::Unverifiable,
            Who::Known(subject) => Caller::Known(subject.subject()),
        }
    }
}
