//! What a verified token says about its subject: times, audience, and the mapped claims.
//!
//! Never here: signatures, keys; a claim that is not asked for here has no effect.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    fault::TokenFault,
    json::{ClaimPath, Json, Object},
    options::{ClaimMap, IssuerOptions, SupportRule},
};
use crate::model::{
    EnvironmentId, Login, OrganisationName, RoleName, Subject, SubjectKind, SubjectRef, TenantId, Timestamp,
};

/// The last second that has a [`Timestamp`].
const LAST_SECOND: i64 = 253_402_300_799;

/// When a token holds, the issuer's leeway included on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// From when on.
    pub(super) from: Timestamp,
    /// The first instant at which it no longer holds.
    pub(super) until: Timestamp,
}

impl Window {
    /// Whether the token holds at that instant.
    pub(super) fn holds(self, now: Timestamp) -> bool {
        self.from <= now && now < self.until
    }

    /// The same, ended by then where it is not over before.
    pub(super) fn until_at_most(self, end: Option<Timestamp>) -> Self {
        Self { until: end.map_or(self.until, |end| self.until.min(end)), ..self }
    }
}

/// The times of a token in milliseconds since 1970.
pub(super) struct Times {
    exp: i64,
    nbf: Option<i64>,
    iat: Option<i64>,
}

impl Times {
    /// Reads the times. RFC 7519 allows fractions of a second: they are cut to the side that admits less.
    pub(super) fn read(claims: &Object) -> Result<Self, TokenFault> {
        let exp = claims.get("exp").ok_or(TokenFault::ExpMissing)?;
        Ok(Self {
            exp: date(exp, f64::floor)?,
            nbf: claims.get("nbf").map(|value| date(value, f64::ceil)).transpose()?,
            iat: claims.get("iat").map(|value| date(value, f64::ceil)).transpose()?,
        })
    }

    /// When it ends.
    pub(super) fn ends(&self) -> Timestamp {
        Timestamp::from_ms(self.exp)
    }

    /// When it begins, where it says so.
    pub(super) fn begins(&self) -> Option<Timestamp> {
        self.nbf.map(Timestamp::from_ms)
    }

    /// When it was made, where it says so.
    pub(super) fn issued(&self) -> Option<Timestamp> {
        self.iat.map(Timestamp::from_ms)
    }

    /// Whether the token has expired: at `exp` plus leeway it has.
    pub(super) fn expired(&self, leeway_ms: i64, now: Timestamp) -> bool {
        now >= Timestamp::from_ms(self.exp.saturating_add(leeway_ms))
    }

    /// When the token holds, once it holds now.
    pub(super) fn window(&self, options: &IssuerOptions, now: Timestamp) -> Result<Window, TokenFault> {
        let early = |at: Option<i64>| Timestamp::from_ms(at.unwrap_or(0).saturating_sub(options.leeway_ms));
        if self.expired(options.leeway_ms, now) {
            return Err(TokenFault::Expired);
        }
        if now < early(self.nbf) {
            return Err(TokenFault::NotYetValid);
        }
        if now < early(self.iat) {
            return Err(TokenFault::IssuedInFuture);
        }
        if let Some(longest) = options.max_lifetime_ms {
            let iat = self.iat.ok_or(TokenFault::IatMissing)?;
            if self.exp.saturating_sub(iat) > longest {
                return Err(TokenFault::LifetimeTooLong);
            }
        }
        Ok(Window {
            from: early(self.nbf).max(early(self.iat)),
            until: Timestamp::from_ms(self.exp.saturating_add(options.leeway_ms)),
        })
    }
}

fn date(value: &Json, cut: fn(f64) -> f64) -> Result<i64, TokenFault> {
    match value {
        Json::Integer(seconds) if (0..=LAST_SECOND).contains(seconds) => Ok(seconds * 1000),
        Json::Float(seconds) if (0.0..=LAST_SECOND as f64).contains(seconds) => {
            Ok(cut(seconds * 1000.0) as i64)
        }
        _ => Err(TokenFault::TimeForm),
    }
}

/// Whether the token was made for one of these.
pub(super) fn check_audience(claims: &Object, audiences: &[String]) -> Result<(), TokenFault> {
    let ours = |name: &str| audiences.iter().any(|audience| audience == name);
    let meant = match claims.get("aud").ok_or(TokenFault::AudMissing)? {
        Json::Text(name) => ours(name),
        Json::List(names) => {
            let names: Option<Vec<&str>> = names.iter().map(Json::text).collect();
            names.ok_or(TokenFault::AudForm)?.into_iter().any(ours)
        }
        _ => return Err(TokenFault::AudForm),
    };
    if meant { Ok(()) } else { Err(TokenFault::AudNotAllowed) }
}

/// The subject that the claims describe.
pub(super) fn subject(
    claims: &Object,
    options: &IssuerOptions,
    expires: Timestamp,
) -> Result<Subject, TokenFault> {
    let sub = match claims.get("sub").ok_or(TokenFault::SubMissing)? {
        Json::Text(sub) if (1..=255).contains(&sub.len()) && sub.bytes().all(|b| b.is_ascii_graphic()) => sub,
        _ => return Err(TokenFault::SubForm),
    };
    let staff = options.kind == SubjectKind::Staff;
    let map = &options.claims;
    Ok(Subject {
        kind: options.kind,
        id: SubjectRef { issuer: options.name.clone(), sub: Arc::from(sub.as_str()) },
        email: if options.kind == SubjectKind::Service { None } else { email(claims, map) },
        support: staff && support(claims, &map.support),
        organisations: if staff { organisations(claims, map) } else { BTreeSet::new() },
        tenant: match options.kind {
            SubjectKind::Staff => None,
            SubjectKind::Member => Some(tenant(claims, map)?),
            // A service that names a tenant is confined to it.
            SubjectKind::Service => match tenant(claims, map) {
                Err(TokenFault::TenantMissing) => None,
                named => Some(named?),
            },
        },
        environment: environment(claims, map)?,
        roles: match options.kind {
            SubjectKind::Member => roles(claims, map)?,
            // Only the configuration's word makes anything of them; of another form they say nothing.
            SubjectKind::Service => roles(claims, map).unwrap_or_default(),
            SubjectKind::Staff => Vec::new(),
        },
        login: staff.then(|| login(claims, map)).flatten(),
        acting: claims.has("act"),
        expires,
    })
}

fn find<'a>(claims: &'a Object, path: Option<&ClaimPath>) -> Option<&'a Json> {
    path.and_then(|path| path.find(claims))
}

fn tenant(claims: &Object, map: &ClaimMap) -> Result<TenantId, TokenFault> {
    match find(claims, map.tenant.as_ref()) {
        None | Some(Json::Null) => Err(TokenFault::TenantMissing),
        Some(Json::Text(name)) => TenantId::new(name).map_err(|_| TokenFault::TenantForm),
        Some(_) => Err(TokenFault::TenantForm),
    }
}

/// Where the configuration names such a claim: a token for one environment, or for whichever is asked for.
fn environment(claims: &Object, map: &ClaimMap) -> Result<Option<EnvironmentId>, TokenFault> {
    match find(claims, map.environment.as_ref()) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::Text(name)) => EnvironmentId::new(name).map(Some).map_err(|_| TokenFault::EnvironmentForm),
        Some(_) => Err(TokenFault::EnvironmentForm),
    }
}

/// Names without a canonical form give nothing, like names that no policy knows; each counts once.
fn roles(claims: &Object, map: &ClaimMap) -> Result<Vec<RoleName>, TokenFault> {
    let names: Vec<&str> = match find(claims, map.roles.as_ref()) {
        None | Some(Json::Null) => Vec::new(),
        Some(Json::Text(name)) => vec![name],
        Some(Json::List(names)) => {
            names.iter().map(Json::text).collect::<Option<_>>().ok_or(TokenFault::RolesForm)?
        }
        Some(_) => return Err(TokenFault::RolesForm),
    };
    let mut roles: Vec<RoleName> = names.into_iter().filter_map(|name| RoleName::new(name).ok()).collect();
    roles.sort_unstable();
    roles.dedup();
    Ok(roles)
}

/// Rule 1: an address finds a person only where the issuer says that it verified it, and only as lower-cased ASCII.
fn email(claims: &Object, map: &ClaimMap) -> Option<Arc<str>> {
    if find(claims, map.email_verified.as_ref()) != Some(&Json::Bool(true)) {
        return None;
    }
    let address = find(claims, map.email.as_ref())?.text()?;
    let (local, domain) = address.split_once('@')?;
    let formed = !local.is_empty() && !domain.is_empty() && !domain.contains('@') && address.len() <= 254;
    let visible = address.bytes().all(|byte| byte.is_ascii_graphic());
    (formed && visible).then(|| Arc::from(address.to_ascii_lowercase()))
}

/// How somebody signed in. A claim of another type than it has to be says nothing, and so is no more than absent.
fn login(claims: &Object, map: &ClaimMap) -> Option<Arc<Login>> {
    const MOST_METHODS: usize = 32;
    const LONGEST: usize = 256;
    let word = |value: &Json| value.text().filter(|text| text.len() <= LONGEST).map(Arc::from);
    let login = Login {
        acr: claims.get("acr").and_then(word),
        amr: match claims.get("amr") {
            Some(Json::List(list)) if list.len() <= MOST_METHODS => {
                list.iter().map(word).collect::<Option<_>>().unwrap_or_default()
            }
            _ => Vec::new(),
        },
        // To the earlier side: nobody signed in later than they did.
        at: claims.get("auth_time").and_then(|at| date(at, f64::floor).ok()).map(Timestamp::from_ms),
        ticket: find(claims, map.ticket.as_ref()).and_then(word),
    };
    (login != Login::default()).then(|| Arc::new(login))
}

/// The support organisations that somebody counts to.
fn organisations(claims: &Object, map: &ClaimMap) -> BTreeSet<OrganisationName> {
    let counted = map.organisations.iter().filter(|(_, rule)| support(claims, rule));
    counted.map(|(name, _)| name.clone()).collect()
}

fn support(claims: &Object, rule: &SupportRule) -> bool {
    let (path, values) = match rule {
        SupportRule::Nobody => return false,
        SupportRule::Everybody => return true,
        SupportRule::Claim { path, values } => (path, values),
    };
    let counts = |text: &str| values.iter().any(|value| value == text);
    match path.find(claims) {
        Some(Json::Text(text)) => counts(text),
        Some(Json::List(list)) => list.iter().filter_map(Json::text).any(counts),
        Some(Json::Bool(flag)) => counts(if *flag { "true" } else { "false" }),
        _ => false,
    }
}
