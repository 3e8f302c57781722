//! What the configuration says of callers beside their tokens: what services may push, which tenants are not
//! theirs, and whose roles stand in rows.
//!
//! Never here: who a caller is ([`crate::identity`]).

use std::{collections::BTreeSet, sync::Arc};

use crate::model::{IssuerName, RoleName, Subject, SubjectKind, TenantId};

/// What a service may be allowed. Nothing else is: no consent, no grant, no session, no route (GW-09).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Push {
    /// Tenants: their parent, zone, environments and plan; and their removal.
    Tenants,
    /// Tenants' members: their roles, and that they are suspended or gone.
    Members,
    /// What lies below tenants, and the members of that.
    Resources,
}

impl Push {
    /// The word for it in configurations and refusals.
    pub fn code(self) -> &'static str {
        match self {
            Push::Tenants => "tenants:push",
            Push::Members => "members:push",
            Push::Resources => "resources:push",
        }
    }
}

/// Which subjects of an issuer are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// These.
    Subjects(BTreeSet<Arc<str>>),
    /// Those whose token names one of these.
    Roles(BTreeSet<RoleName>),
}

/// What some services may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceRule {
    /// Their issuer.
    pub issuer: IssuerName,
    /// Which of its subjects.
    pub whose: Whose,
    /// What they may.
    pub may: BTreeSet<Push>,
    /// In which tenants; `None` is all, those included that nobody knows yet.
    pub tenants: Option<BTreeSet<TenantId>>,
}

/// See the module's header.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Callers {
    /// What services may do; a service may what any rule allows.
    pub services: Vec<ServiceRule>,
    /// The tenants that the configuration names: they are not for a service to change.
    pub configured: Arc<BTreeSet<TenantId>>,
    /// The issuers of members.
    pub members: BTreeSet<IssuerName>,
    /// Those of them whose members hold the roles of their rows; their tokens name none.
    pub by_row: BTreeSet<IssuerName>,
}

impl Callers {
    fn rules<'a>(&'a self, subject: &'a Subject, push: Push) -> impl Iterator<Item = &'a ServiceRule> {
        let is_service = subject.kind == SubjectKind::Service && !subject.acting;
        self.services.iter().filter(move |rule| {
            is_service
                && rule.may.contains(&push)
                && rule.issuer == subject.id.issuer
                && match &rule.whose {
                    Whose::Subjects(subjects) => subjects.contains(&subject.id.sub),
                    Whose::Roles(roles) => subject.roles.iter().any(|role| roles.contains(role)),
                }
        })
    }

    /// Whether this caller may push that in any tenant at all.
    pub fn pushes(&self, subject: &Subject, push: Push) -> bool {
        self.rules(subject, push).next().is_some()
    }

    /// The tenants in which this caller may push that; `None` is all.
    pub fn confined_to(&self, subject: &Subject, push: Push) -> Option<BTreeSet<TenantId>> {
        let mut only = BTreeSet::new();
        for rule in self.rules(subject, push) {
            match &rule.tenants {
                Some(tenants) => only.extend(tenants.iter().cloned()),
                None => return subject.tenant.clone().map(|own| [own].into()),
            }
        }
        if let Some(own) = &subject.tenant {
            only.retain(|tenant| tenant == own);
        }
        Some(only)
    }

    /// Whether this caller may push that in this tenant. A token that names a tenant is confined to it.
    pub fn may(&self, subject: &Subject, push: Push, tenant: &TenantId) -> bool {
        subject.tenant.as_ref().is_none_or(|own| own == tenant)
            && self
                .rules(subject, push)
                .any(|rule| rule.tenants.as_ref().is_none_or(|only| only.contains(tenant)))
    }
}
