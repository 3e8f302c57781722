//! What staff access demands beside a session: how somebody signed in and how long ago, from which network, with which
//! ticket (GW-12).
//!
//! Like a token's `exp`, these bound what may begin, not what runs: they are looked at as of the instant at which the
//! request came. What a token does not say counts as not fulfilled.
//!
//! Never here: members, tokens (see [`crate::identity`]), how a refusal is told (see [`crate::proxy`]).

use std::sync::Arc;

use crate::model::{Address, Network, Subject, Timestamp};

use super::{Detail, Named, Reason, shape::Shape, standing::Fallen};

/// How far in the future an `auth_time` may lie before it says nothing, in milliseconds.
const CLOCKS_DIFFER_MS: i64 = 60_000;

/// What the configuration demands of staff. Empty, it demands nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    /// The token's `acr` must be one of these; empty demands none.
    pub acr: Vec<String>,
    /// The token's `amr` must hold all of these.
    pub amr: Vec<String>,
    /// How long ago the token's `auth_time` may lie, in milliseconds.
    pub max_auth_age_ms: Option<i64>,
    /// The peer must be in one of these; empty demands none.
    pub networks: Vec<Network>,
    /// The ticket.
    pub ticket: Option<TicketRule>,
}

/// Which ticket staff must name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketRule {
    /// Where it is named.
    pub from: TicketFrom,
    /// What it must look like.
    pub shape: Shape,
}

/// Where a ticket is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TicketFrom {
    /// Once, when the session starts.
    Session,
    /// In this header, in lower case, of each request.
    Header(String),
    /// In a claim of the token; which one is the issuers' matter.
    Claim,
}

/// What a request says beside what it asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Around<'a> {
    /// From where it comes; nothing is known of it where nobody connected, as in a rehearsal.
    pub client: Option<Address>,
    /// The ticket that its header names.
    pub ticket: Named<'a>,
    /// When it came, where that is not now: an exchange that runs is judged by its beginning.
    pub asked: Option<Timestamp>,
}

impl Conditions {
    /// Whether nothing is demanded.
    pub fn is_empty(&self) -> bool {
        *self == Conditions::default()
    }

    /// The header that names the ticket, where one does.
    pub fn ticket_header(&self) -> Option<&str> {
        match &self.ticket {
            Some(TicketRule { from: TicketFrom::Header(name), .. }) => Some(name),
            Some(TicketRule { from: TicketFrom::Session | TicketFrom::Claim, .. }) | None => None,
        }
    }

    /// The first demand that is not met, if any. Where from comes first: elsewhere nobody learns what else it takes.
    pub fn unmet(&self, subject: &Subject, around: &Around<'_>, now: Timestamp) -> Option<Fallen> {
        let plain = |reason| Some((reason, Detail::None));
        if !self.networks.is_empty() {
            let inside = |client| self.networks.iter().any(|network| network.contains(client));
            if !around.client.is_some_and(inside) {
                return plain(Reason::NetworkRefused);
            }
        }
        let login = subject.login.as_deref();
        let acr = login.and_then(|login| login.acr.as_deref());
        if !self.acr.is_empty() && !acr.is_some_and(|acr| self.acr.iter().any(|wanted| wanted == acr)) {
            return Some((Reason::AcrInsufficient, self.step_up()));
        }
        let used =
            |method: &String| login.is_some_and(|login| login.amr.iter().any(|used| **used == **method));
        if !self.amr.iter().all(used) {
            return Some((Reason::AmrInsufficient, self.step_up()));
        }
        if let Some(longest) = self.max_auth_age_ms {
            let asked = around.asked.unwrap_or(now);
            let fresh = |at: Timestamp| (-CLOCKS_DIFFER_MS..=longest).contains(&asked.ms_since(at));
            if !login.and_then(|login| login.at).is_some_and(fresh) {
                return Some((Reason::AuthTooOld, self.step_up()));
            }
        }
        let rule = self.ticket.as_ref()?;
        rule.named(subject, around).and_then(|ticket| rule.unfit(ticket)).and_then(plain)
    }

    /// The ticket that a request or its token names, where each must name one.
    pub fn ticket_of<'a>(&self, subject: &'a Subject, around: &Around<'a>) -> Option<&'a str> {
        match self.ticket.as_ref()?.named(subject, around)? {
            Named::As(ticket) => Some(ticket),
            Named::Missing | Named::Unclear => None,
        }
    }

    /// RFC 9470: what a sign-in must be like to pass, as the parameters of a challenge.
    fn step_up(&self) -> Detail {
        let mut wanted = String::new();
        if !self.acr.is_empty() {
            wanted.push_str(", acr_values=\"");
            wanted.push_str(&self.acr.join(" "));
            wanted.push('"');
        }
        if let Some(longest) = self.max_auth_age_ms {
            wanted.push_str(", max_age=\"");
            wanted.push_str(&(longest / 1000).to_string());
            wanted.push('"');
        }
        Detail::StepUp(Arc::from(wanted))
    }
}

impl TicketRule {
    /// The ticket of one request; `None` where the session's counts.
    fn named<'a>(&self, subject: &'a Subject, around: &Around<'a>) -> Option<Named<'a>> {
        match &self.from {
            TicketFrom::Session => None,
            TicketFrom::Header(_) => Some(around.ticket),
            TicketFrom::Claim => {
                let claimed = subject.login.as_deref().and_then(|login| login.ticket.as_deref());
                Some(claimed.map_or(Named::Missing, Named::As))
            }
        }
    }

    /// What is wrong with a ticket, if anything.
    pub fn unfit(&self, ticket: Named<'_>) -> Option<Reason> {
        match ticket {
            Named::Missing => Some(Reason::TicketMissing),
            Named::As(ticket) if self.shape.matches(ticket) => None,
            Named::As(_) | Named::Unclear => Some(Reason::TicketMalformed),
        }
    }
}
