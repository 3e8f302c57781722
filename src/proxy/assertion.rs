//! What the application hears about the caller: a signed assertion and configured headers (law 9, rule 14).

use std::{fmt::Write as _, net::IpAddr};

use serde::Serialize;

use crate::{
    engine::new_id,
    identity::{ASSERTION_TYPE, Signer},
    model::{RoleName, Subject, SubjectKind, SubjectRef, Timestamp},
    policy::{ActedFor, Staff},
};

use super::{
    narrow::query::is_value,
    routing::{HeaderTemplate, Parameter, Piece, Upstream},
};

/// How long an assertion holds, in seconds.
pub const LIFETIME_S: i64 = 30;

/// Signs assertions in this gateway's name.
pub struct Asserter {
    /// The `iss`.
    pub issuer: String,
    /// The header that carries it.
    pub header: String,
    /// The key.
    pub signer: Signer,
}

impl std::fmt::Debug for Asserter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asserter").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// About whom and what the application is told.
pub struct About<'a> {
    /// The caller. Where they act as somebody, the application hears of that person as the caller, and of them as whoever acts.
    pub subject: &'a Subject,
    /// Of staff: where and as what.
    pub staff: Option<&'a Staff>,
    /// Of a member: the roles they hold.
    pub roles: &'a [RoleName],
    /// The tenant.
    pub tenant: &'a str,
    /// The environment.
    pub environment: &'a str,
    /// The method.
    pub method: &'a str,
    /// The path as forwarded, without query.
    pub path: &'a str,
    /// From where the request comes.
    pub client: IpAddr,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    kind: SubjectKind,
    issuer: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<Actor<'a>>,
    tenant: &'a str,
    env: &'a str,
    role: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'a str>,
    method: &'a str,
    path: &'a str,
    iat: i64,
    exp: i64,
    jti: &'a str,
}

/// Who acts as the subject, as RFC 8693 (4.1) has it.
#[derive(Serialize)]
struct Actor<'a> {
    sub: &'a str,
    kind: SubjectKind,
    issuer: &'a str,
}

impl<'a> About<'a> {
    fn acted_for(&self) -> Option<&'a ActedFor> {
        self.staff.and_then(|staff| staff.acted_for.as_ref())
    }

    /// As whom the request is made: the person acted for, or the caller.
    fn as_whom(&self) -> (&'a SubjectRef, SubjectKind) {
        match self.acted_for() {
            // Whoever lets somebody act as them is a person of the tenant.
            Some(acted) => (&acted.user, SubjectKind::Member),
            None => (&self.subject.id, self.subject.kind),
        }
    }

    /// Who acts, where somebody does.
    fn actor(&self) -> Option<&'a SubjectRef> {
        self.acted_for().map(|_| &self.subject.id)
    }
}

/// What an application hears of the gateway itself, that looks something up. It speaks of no person, and opens nothing else: method,
/// path and tenant are named, and no environment, for resources are of their tenant.
#[derive(Serialize)]
struct OwnClaims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    kind: &'static str,
    tenant: &'a str,
    method: &'static str,
    path: &'a str,
    iat: i64,
    exp: i64,
    jti: &'a str,
}

/// The assertion could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the assertion could not be signed")]
pub struct Unsigned;

impl Asserter {
    /// Signs one assertion for one request to one upstream.
    pub fn assert(&self, about: &About<'_>, upstream: &Upstream, now: Timestamp) -> Result<String, Unsigned> {
        let iat = now.ms() / 1000;
        let jti = new_id("ast", now).map_err(|_| Unsigned)?;
        let roles = roles(about);
        let (whom, kind) = about.as_whom();
        let actor = about.actor().map(|actor| Actor {
            sub: &actor.sub,
            kind: about.subject.kind,
            issuer: actor.issuer.as_str(),
        });
        let claims = Claims {
            iss: &self.issuer,
            aud: &upstream.audience,
            sub: &whom.sub,
            kind,
            issuer: whom.issuer.as_str(),
            act: actor,
            tenant: about.tenant,
            env: about.environment,
            role: &roles,
            session: about.staff.map(|staff| staff.session.as_str()),
            method: about.method,
            path: about.path,
            iat,
            exp: iat + LIFETIME_S,
            jti: &jti,
        };
        self.signer.sign(ASSERTION_TYPE, &claims).map_err(|_| Unsigned)
    }
}

impl Asserter {
    /// Signs that the gateway itself asks an upstream for something with `GET`.
    pub fn assert_own(
        &self,
        tenant: &str,
        path: &str,
        upstream: &Upstream,
        now: Timestamp,
    ) -> Result<String, Unsigned> {
        let iat = now.ms() / 1000;
        let jti = new_id("ast", now).map_err(|_| Unsigned)?;
        let claims = OwnClaims {
            iss: &self.issuer,
            aud: &upstream.audience,
            sub: &self.issuer,
            kind: "gateway",
            tenant,
            method: "GET",
            path,
            iat,
            exp: iat + LIFETIME_S,
            jti: &jti,
        };
        self.signer.sign(ASSERTION_TYPE, &claims).map_err(|_| Unsigned)
    }
}

fn roles(about: &About<'_>) -> String {
    let several = |roles: &[RoleName]| roles.iter().map(RoleName::as_str).collect::<Vec<_>>().join(",");
    match about.staff {
        Some(Staff { acted_for: Some(acted), .. }) => several(&acted.roles),
        Some(staff) => staff.role.as_ref().map(RoleName::to_string).unwrap_or_default(),
        None => several(about.roles),
    }
}

/// The value of a configured header.
pub fn fill(template: &HeaderTemplate, about: &About<'_>) -> String {
    let mut value = String::new();
    template.pieces.iter().for_each(|piece| fill_in(piece, about, &mut value));
    value
}

/// The value of a parameter, by which the application is asked to narrow. `None` where something of it is not known of this caller, or
/// could be read as more than one value: that would ask for more than was meant.
pub fn fill_query(parameter: &Parameter, about: &About<'_>) -> Option<String> {
    let mut value = String::new();
    for piece in &parameter.pieces {
        let from = value.len();
        fill_in(piece, about, &mut value);
        let filled = value.get(from..).unwrap_or_default();
        let fits = match piece {
            Piece::Text(_) => true,
            // A list is what is asked for here.
            Piece::Role => filled.split(',').all(is_value),
            _ => is_value(filled),
        };
        if !fits {
            return None;
        }
    }
    Some(value)
}

fn fill_in(piece: &Piece, about: &About<'_>, value: &mut String) {
    let (whom, kind) = about.as_whom();
    match piece {
        Piece::Text(text) => value.push_str(text),
        Piece::Subject => value.push_str(&whom.sub),
        Piece::Actor => value.push_str(about.actor().map(|actor| &*actor.sub).unwrap_or_default()),
        Piece::Tenant => value.push_str(about.tenant),
        Piece::Environment => value.push_str(about.environment),
        Piece::Role => value.push_str(&roles(about)),
        Piece::Kind => value.push_str(match kind {
            SubjectKind::Staff => "staff",
            SubjectKind::Member => "member",
            SubjectKind::Service => "service",
        }),
        Piece::Client => {
            let _ = write!(value, "{}", about.client);
        }
        Piece::Session => {
            if let Some(staff) = about.staff {
                let _ = write!(value, "{}", staff.session);
            }
        }
    }
}
