//! What the record is told about refusals (rule 17): those of verified staff one by one, everybody else's as counts.
//!
//! Never here: deciding, and how a refusal is answered.

use crate::{
    model::{Side, SubjectKind},
    policy::{Denial, Detail, Policy},
};

use super::{
    Engine,
    admit::personal,
    knock::{Particulars, Who},
    records,
};

impl Engine {
    /// Tells the record about a refusal: of verified staff one by one, of everybody else as counts (rule 17).
    pub fn refused(
        &self,
        who: &Who,
        denial: &Denial,
        tenant: Option<&str>,
        about: &Particulars,
        policy: &Policy,
    ) {
        self.refused_as(who, denial.reason.code(), detail(&denial.detail), tenant, about, policy);
    }

    /// The same for a refusal that is no decision about a route: the support API's own, by its code.
    pub fn refused_as(
        &self,
        who: &Who,
        code: &str,
        detail: Option<String>,
        tenant: Option<&str>,
        about: &Particulars,
        policy: &Policy,
    ) {
        let now = self.now();
        match who {
            Who::Known(subject) if subject.kind == SubjectKind::Staff => {
                let refused = records::Refused {
                    subject: &subject.id,
                    token: subject.fingerprint().to_string(),
                    tenant,
                    reason: code,
                    detail,
                    method: &about.method,
                    path: &about.path,
                    policy: &policy.fingerprint,
                    clock_moved: self.moved(),
                };
                self.scribe.refusal(now, &refused, personal(subject, &about.client));
            }
            Who::Known(_) => {}
            Who::Refused(fault) => self.scribe.count(now, fault, &network(&about.client)),
            Who::Nobody | Who::Unverifiable => self.scribe.count(now, code, &network(&about.client)),
        }
    }
}

fn detail(detail: &Detail) -> Option<String> {
    match detail {
        Detail::None => None,
        Detail::Token(code) => Some((*code).to_owned()),
        Detail::At(at) => Some(at.to_string()),
        Detail::LevelWouldDo(level) => Some(format!("level {level} would do")),
        Detail::GivenBy(giver) => Some(format!("given by {giver}")),
        Detail::StepUp(wanted) => Some(wanted.trim_start_matches(", ").to_owned()),
        Detail::LiftedBy(Side::Tenant) => Some("the tenant can lift it".to_owned()),
        Detail::LiftedBy(Side::Operators) => Some("an operator can lift it".to_owned()),
        Detail::GrantWouldDo => Some("a grant would do".to_owned()),
    }
}

/// The network of an address: the first three of four, or the first four of eight.
fn network(client: &str) -> String {
    match client.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(address)) => {
            let [a, b, c, _] = address.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        Ok(std::net::IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
        Err(_) => "unknown".to_owned(),
    }
}
