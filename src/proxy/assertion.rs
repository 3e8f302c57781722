//! What the application hears about the caller: a signed assertion and configured headers (law 9, rule 14).

use std::{fmt::Write as _, net::IpAddr};

use serde::Serialize;

use crate::{
    engine::new_id,
    identity::{ASSERTION_TYPE, Signer},
    model::{RoleName, Subject, SubjectKind, Timestamp},
    policy::Staff,
};

use super::routing::{HeaderTemplate, Piece, Upstream};

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
    /// The caller.
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
        let claims = Claims {
            iss: &self.issuer,
            aud: &upstream.audience,
            sub: &about.subject.id.sub,
            kind: about.subject.kind,
            issuer: about.subject.id.issuer.as_str(),
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

fn roles(about: &About<'_>) -> String {
    match about.staff {
        Some(staff) => staff.role.to_string(),
        None => about.roles.iter().map(RoleName::as_str).collect::<Vec<_>>().join(","),
    }
}

/// The value of a configured header.
pub fn fill(template: &HeaderTemplate, about: &About<'_>) -> String {
    let mut value = String::new();
    for piece in &template.pieces {
        match piece {
            Piece::Text(text) => value.push_str(text),
            Piece::Subject => value.push_str(&about.subject.id.sub),
            Piece::Tenant => value.push_str(about.tenant),
            Piece::Environment => value.push_str(about.environment),
            Piece::Role => value.push_str(&roles(about)),
            Piece::Kind => value.push_str(match about.subject.kind {
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
    value
}
