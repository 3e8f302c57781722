//! Who a caller is, once identity has verified it.
//!
//! Never here: tokens, keys, signatures (see [`crate::identity`]).

use std::{collections::BTreeSet, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{EnvironmentId, IssuerName, OrganisationName, RoleName, TenantId, Timestamp};

/// What kind of people or programs an issuer speaks for. One issuer makes one kind (rule 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubjectKind {
    /// The vendor's people.
    Staff,
    /// A tenant's people.
    Member,
    /// Programs: the application itself, or what provisions it.
    Service,
}

/// A subject's name: issuer and `sub`, compared byte by byte.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubjectRef {
    /// The configured issuer, by its short name.
    pub issuer: IssuerName,
    /// The `sub` of its tokens: opaque, at most 255 visible ASCII characters.
    pub sub: Arc<str>,
}

impl fmt::Display for SubjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}|{}", self.issuer, self.sub)
    }
}

/// An authenticated caller, as the rules see them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Staff or member, by the issuer.
    pub kind: SubjectKind,
    /// Who it is.
    pub id: SubjectRef,
    /// Of staff and members: an address that the issuer says it verified, lower-cased ASCII. It only finds a person
    /// (rule 1), and a member's only finds that they are staff too (GW-14).
    pub email: Option<Arc<str>>,
    /// Of staff only: whether the configuration counts them as support as a whole.
    pub support: bool,
    /// Of staff only: the support organisations that the configuration counts them to.
    pub organisations: BTreeSet<OrganisationName>,
    /// Of members: the one tenant that the token speaks for.
    pub tenant: Option<TenantId>,
    /// The environment that the token is for, where the configuration names such a claim.
    pub environment: Option<EnvironmentId>,
    /// Of members: the roles that the token names; unknown names give nothing.
    pub roles: Vec<RoleName>,
    /// Of staff only: how they signed in, as far as the token says it.
    pub login: Option<Arc<Login>>,
    /// Whether the token carries an `act` claim: somebody acts as this subject.
    pub acting: bool,
    /// From when on the token admits nothing new (rule 10).
    pub expires: Timestamp,
}

impl Subject {
    /// Somebody of whom nothing is known but who they are: no token says how they signed in or what they hold, and none ends.
    /// Staff count as support.
    pub fn named(kind: SubjectKind, id: SubjectRef) -> Subject {
        Subject {
            support: kind == SubjectKind::Staff,
            kind,
            id,
            email: None,
            organisations: BTreeSet::new(),
            tenant: None,
            environment: None,
            roles: Vec::new(),
            login: None,
            acting: false,
            expires: Timestamp::MAX,
        }
    }
}

/// How somebody signed in, as the issuer says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Login {
    /// The class of the sign-in (`acr`).
    pub acr: Option<Arc<str>>,
    /// The methods that were used (`amr`).
    pub amr: Vec<Arc<str>>,
    /// When it was (`auth_time`).
    pub at: Option<Timestamp>,
    /// The ticket that the token names, where the configuration says in which claim.
    pub ticket: Option<Arc<str>>,
}
