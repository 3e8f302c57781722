//! From what the configuration means to what the parts take.
//!
//! Never here: whether a configuration is right in itself (that is [`crate::config`]), anything opened or started.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use zeroize::Zeroizing;

use super::{
    keys::KeyKeepers,
    proofs::{BuildFault, PlacedFault, check},
    webhooks,
};
use crate::{
    audit::note::{NoteError, SigningKey},
    config::resolve::{
        self, EnvironmentSource, HostHeader, HostLabel, IssuerSettings, KeyText, Settings, Slot,
        SupportSettings, TenantSource, UpstreamSettings,
    },
    identity::{
        Algorithm, ClaimPath, EmergencyVerifier, IssuerOptions, KeyOrigin, KeySource, Limits as TokenLimits,
        PemKey, Signer, SupportRule, TypeRule, Verifier,
    },
    model::IssuerName,
    net,
    policy::{
        Effect, Rule,
        routes::{RouteSpec, RouteTable},
    },
    proxy::{
        access::Wanted,
        assertion::Asserter,
        health::Health,
        hops::{HopHeader, Hops},
        preflight::{Cors, Preflight},
        rate::Rate,
        routing::{
            Assert, Binding, Bounds, Entrance, HeaderTemplate, Label, Parameter, Piece, Routing, Server,
            Source, Upstream,
        },
        wire::{Limits, NameSet},
    },
    webhook::Hook,
};

/// Counts the upstreams over TLS that this process has built.
static BUILT: AtomicU64 = AtomicU64::new(0);

/// The parts that come from the configuration alone.
pub(super) struct Built {
    pub(super) routing: Routing,
    pub(super) verifier: Verifier,
    pub(super) keepers: KeyKeepers,
    pub(super) hooks: Vec<Hook>,
    pub(super) workers: usize,
}

/// What does not keep a gateway from being built, and is hardly meant: an issuer's keys that cannot be used.
pub fn doubts(settings: &Settings) -> Vec<String> {
    verifier(settings).map_or_else(|_| Vec::new(), |verifier| broken_keys(&verifier))
}

/// Each key of a set that is broken: tokens signed with it are refused.
pub(super) fn broken_keys(verifier: &Verifier) -> Vec<String> {
    let told = |(issuer, key)| format!("issuer `{issuer}`: {key}; tokens signed with it are refused");
    verifier.broken_keys().map(told).collect()
}

/// The key that signs assertions.
pub(super) fn signer(settings: &Settings) -> Result<Signer, BuildFault> {
    let key = Zeroizing::new(String::from_utf8_lossy(settings.assertion.key.expose()).into_owned());
    Ok(Signer::from_pem(&key, None)?)
}

/// The key that signs the ledger's checkpoints.
pub(super) fn ledger_key(settings: &Settings) -> Result<SigningKey, NoteError> {
    let text = Zeroizing::new(String::from_utf8_lossy(settings.ledger.key.expose()).into_owned());
    SigningKey::parse(text.trim())
}

/// The claim that names a token's environment, where the configuration has one.
pub(super) fn environment_claim(settings: &Settings) -> Option<&str> {
    settings.tenants.environment_from.iter().find_map(|source| match source {
        EnvironmentSource::Claim(path) => Some(path.as_str()),
        EnvironmentSource::Path(_) | EnvironmentSource::Header(_) | EnvironmentSource::Host(_) => None,
    })
}

/// All parts, or all that keeps them from being built.
pub(super) fn build(settings: &Settings) -> Result<Built, Vec<PlacedFault>> {
    build_parts(settings).map_err(|first| {
        let all = check(settings);
        if all.is_empty() { vec![PlacedFault::of(first, settings)] } else { all }
    })
}

fn build_parts(settings: &Settings) -> Result<Built, BuildFault> {
    let workers = settings
        .workers
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    let keepers = keepers(settings)?;
    Ok(Built {
        routing: routing(settings)?,
        verifier: keepers.ring_for(verifier(settings)?),
        keepers,
        hooks: webhooks::hooks(settings)?,
        workers,
    })
}

/// Who keeps the keys of a configuration's issuers fresh.
fn keepers(settings: &Settings) -> Result<KeyKeepers, BuildFault> {
    KeyKeepers::of(&settings.issuers).map_err(key_fault)
}

pub(super) fn key_fault((issuer, fault): (IssuerName, net::ask::SetupFault)) -> BuildFault {
    BuildFault::Keys { issuer: issuer.to_string(), fault }
}

/// The verifier of a configuration's issuers.
///
/// # Errors
/// The first fault; [`check`] tells all.
pub fn verifier(settings: &Settings) -> Result<Verifier, BuildFault> {
    let environment = environment_claim(settings);
    let issuers: Result<Vec<_>, _> =
        settings.issuers.iter().map(|issuer| issuer_options(issuer, environment, settings)).collect();
    Verifier::new(issuers?, token_limits(settings))
        .map_err(|fault| BuildFault::Issuers { issuer: None, fault })
}

pub(super) fn issuer_options(
    issuer: &IssuerSettings,
    environment: Option<&str>,
    settings: &Settings,
) -> Result<IssuerOptions, BuildFault> {
    let fault = |what: String| BuildFault::Issuer { issuer: issuer.name.to_string(), what };
    let path = |text: &str| ClaimPath::parse(text).map_err(|e| fault(format!("claim `{text}`: {e}")));
    let keys = match &issuer.keys {
        KeyText::Jwks(text) => KeySource::Jwks(text.clone()),
        KeyText::Fetched(address) => KeySource::Fetched(KeyOrigin {
            url: address.url.clone(),
            authorities: address.server.authorities.clone(),
        }),
        KeyText::Pem(text) => KeySource::Pem(vec![PemKey { kid: None, pem: text.clone() }]),
    };
    let audience = issuer.audiences.first().cloned().unwrap_or_default();
    let mut options = IssuerOptions::new(issuer.name.clone(), &issuer.issuer, issuer.kind, &audience, keys);
    options.audiences.clone_from(&issuer.audiences);
    options.algorithms = issuer
        .algorithms
        .iter()
        .map(|name| Algorithm::named(name).ok_or_else(|| fault(format!("no algorithm is called `{name}`"))))
        .collect::<Result<_, _>>()?;
    if let Some(types) = &issuer.types {
        options.types = TypeRule { accepted: types.clone(), absent: false };
    }
    options.types.absent = issuer.untyped;
    options.cookie.clone_from(&issuer.cookie);
    options.leeway_ms = issuer.leeway_ms;
    options.max_lifetime_ms = Some(issuer.max_lifetime_ms);
    for (slot, written) in [
        (&mut options.claims.tenant, &issuer.claims.tenant),
        (&mut options.claims.roles, &issuer.claims.roles),
        (&mut options.claims.email, &issuer.claims.email),
        (&mut options.claims.email_verified, &issuer.claims.email_verified),
    ] {
        if let Some(text) = written {
            *slot = Some(path(text)?);
        }
    }
    if issuer.rows {
        options.claims.roles = None;
    }
    options.claims.environment = environment.map(path).transpose()?;
    let counted = |rule: &SupportSettings| -> Result<SupportRule, BuildFault> {
        Ok(match rule {
            SupportSettings::Nobody => SupportRule::Nobody,
            SupportSettings::Everybody => SupportRule::Everybody,
            SupportSettings::Claim { path: at, values } => {
                SupportRule::Claim { path: path(at)?, values: values.clone() }
            }
        })
    };
    options.claims.support = counted(&issuer.claims.support)?;
    let organisations = issuer.claims.organisations.iter();
    options.claims.organisations = organisations
        .map(|(name, rule)| Ok((name.clone(), counted(rule)?)))
        .collect::<Result<_, BuildFault>>()?;
    options.claims.ticket = settings.ticket_claim.as_deref().map(path).transpose()?;
    options.dangerous_hmac = settings.dangerous.hmac;
    Ok(options)
}

/// The map of a configuration as the data plane uses it.
///
/// # Errors
/// The first fault; of the table, all.
pub fn routing(settings: &Settings) -> Result<Routing, BuildFault> {
    let mut specs = Vec::with_capacity(settings.routes.len());
    let mut bindings = Vec::with_capacity(settings.routes.len());
    for (id, entry) in (0u32..).zip(&settings.routes) {
        let template = entry.template.clone();
        let place = |name: &str| template.names().position(|known| known == name);
        let tenant = settings.tenants.from.iter().filter_map(|source| match source {
            TenantSource::Path(name) => place(name),
            TenantSource::Header(_)
            | TenantSource::Host(_)
            | TenantSource::Claim
            | TenantSource::Fixed(_) => None,
        });
        let environment = settings.tenants.environment_from.iter().filter_map(|source| match source {
            EnvironmentSource::Path(name) => place(name),
            EnvironmentSource::Header(_) | EnvironmentSource::Host(_) | EnvironmentSource::Claim(_) => None,
        });
        let upstream = settings.policy.rules.get(entry.rule).map_or(0, |rule| rule.upstream);
        let resource = entry.resource_parameter.as_deref().and_then(place);
        // All of them are parameters of the path, so none is passed over.
        let within = entry.within_parameters.iter().filter_map(|name| place(name)).collect();
        let (tenant, environment) = (tenant.collect(), environment.collect());
        let (preflight, bounds) = (preflight(entry.preflight), bounds(&entry.limits));
        bindings.push(Binding {
            rule: entry.rule,
            tenant,
            environment,
            resource,
            within,
            upstream,
            upgrade: entry.upgrade,
            preflight,
            bounds,
            query: entry.query.iter().map(parameter).collect(),
        });
        specs.push(RouteSpec { host: entry.host.clone(), methods: entry.methods.clone(), template, id });
    }
    let table = RouteTable::build_under(specs, settings.paths.table).map_err(BuildFault::Routes)?;
    let millis = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let asserter = Asserter {
        issuer: settings.assertion.issuer.clone(),
        header: settings.assertion.header.as_str().to_owned(),
        signer: signer(settings)?,
    };
    Ok(Routing {
        policy: Arc::new(settings.policy.clone()),
        asserter,
        emergency: emergency(settings)?,
        address_rate: settings.limits.address_rate.map(|(second, once)| Rate::new(second, once)),
        subject_rate: settings.limits.subject_rate.map(|(second, once)| Rate::new(second, once)),
        entrance: entrance(&settings.entrance),
        log: Wanted { access: settings.log.access, trace: settings.log.trace },
        most_connections: i64::try_from(settings.limits.connections).unwrap_or(i64::MAX),
        table,
        upgrades: bindings.iter().any(|binding| binding.upgrade),
        bindings,
        tenant: settings.tenants.from.iter().map(tenant_source).collect(),
        environment: settings.tenants.environment_from.iter().map(environment_source).collect(),
        default_environment: settings.tenants.default_environment.to_string(),
        paths: settings.paths.rules,
        upstreams: settings.upstreams.iter().map(upstream).collect(),
        cors: settings.cors.as_ref().map(cors).unwrap_or_default(),
        preflight: Rule {
            name: "preflight".to_owned(),
            permissions: Vec::new(),
            public: true,
            resource: None,
            within: Default::default(),
            upstream: 0,
            effect: Some(Effect::Read),
            record: false,
            environments: BTreeSet::new(),
            plans: None,
            narrow: None,
            whole_only: false,
            creates: None,
        },
        unmapped_upstream: settings.unmapped_upstream,
        prefix: settings.prefix.clone(),
        stripped: NameSet::new(settings.identity_headers.iter().map(http::HeaderName::as_str)),
        limits: Limits {
            max_head: size(settings.limits.request_head),
            max_target: size(settings.limits.target),
            max_fields: size(settings.limits.headers),
            max_value: largest_value(size(settings.limits.token)),
            ..Limits::default()
        },
        header_timeout: millis(settings.limits.header_timeout_ms),
        body_timeout: millis(settings.limits.body_idle_ms),
        body_rate: settings.limits.body_rate,
        http2_in_clear: settings.http2_in_clear,
        keep_alive: millis(settings.limits.keep_alive_ms),
        api_body: size(settings.limits.api_body),
    })
}

/// Who verifies emergency tokens, where any are taken.
pub(super) fn emergency(settings: &Settings) -> Result<Option<EmergencyVerifier>, BuildFault> {
    let tokens = settings.policy.emergency.break_glass.as_ref().and_then(|glass| glass.tokens.as_ref());
    let made = tokens.map(|tokens| EmergencyVerifier::new(tokens, token_limits(settings)));
    made.transpose().map_err(BuildFault::Emergency)
}

fn token_limits(settings: &Settings) -> TokenLimits {
    TokenLimits {
        max_token_bytes: usize::try_from(settings.limits.token).unwrap_or(usize::MAX),
        ..TokenLimits::default()
    }
}

fn entrance(settings: &resolve::EntranceSettings) -> Entrance {
    let hops = settings.hops.as_ref().map(|hops| Hops {
        from: hops.from.clone(),
        header: if hops.forwarded { HopHeader::Forwarded } else { HopHeader::XForwardedFor },
        count: hops.count,
    });
    Entrance { proxied: settings.proxied.clone(), hops }
}

fn preflight(written: resolve::Preflight) -> Preflight {
    match written {
        resolve::Preflight::Answer => Preflight::Answer,
        resolve::Preflight::Forward => Preflight::Forward,
        resolve::Preflight::Refuse => Preflight::Refuse,
    }
}

fn bounds(limits: &resolve::RouteLimits) -> Bounds {
    let millis = |ms: Option<i64>| ms.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0)));
    Bounds {
        request_body: limits.request_body,
        body_idle: millis(limits.body_idle_ms),
        body_rate: limits.body_rate,
        response_timeout: millis(limits.response_timeout_ms),
        tunnel_idle: millis(limits.tunnel_idle_ms),
        total: millis(limits.total_ms),
    }
}

fn cors(settings: &resolve::CorsSettings) -> Cors {
    Cors {
        origins: settings.origins.clone(),
        headers: settings.headers.join(", "),
        credentials: settings.credentials,
        max_age: settings.max_age_s.to_string(),
    }
}

/// The longest header value: it must hold the largest token, with `Bearer` before it.
fn largest_value(token: usize) -> usize {
    token.saturating_add("Bearer ".len()).max(Limits::default().max_value)
}

fn tenant_source(source: &TenantSource) -> Source {
    match source {
        TenantSource::Path(_) => Source::Path,
        TenantSource::Header(name) => Source::Header(name.as_str().to_owned()),
        TenantSource::Host(labels) => Source::Host(labels.iter().map(label).collect()),
        TenantSource::Claim => Source::Claim,
        TenantSource::Fixed(tenant) => Source::Fixed(tenant.to_string()),
    }
}

fn environment_source(source: &EnvironmentSource) -> Source {
    match source {
        EnvironmentSource::Path(_) => Source::Path,
        EnvironmentSource::Header(name) => Source::Header(name.as_str().to_owned()),
        EnvironmentSource::Host(labels) => Source::Host(labels.iter().map(label).collect()),
        EnvironmentSource::Claim(_) => Source::Claim,
    }
}

fn label(label: &HostLabel) -> Label {
    match label {
        HostLabel::Literal(text) => Label::Literal(text.clone()),
        HostLabel::Tenant => Label::Tenant,
        HostLabel::Environment => Label::Environment,
    }
}

fn upstream(settings: &UpstreamSettings) -> Upstream {
    let millis = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    Upstream {
        name: settings.name.clone(),
        servers: settings.servers.iter().map(|one| server(settings, one)).collect(),
        check: settings.check.clone(),
        protocol: settings.protocol,
        trailers: settings.trailers,
        ping: millis(settings.ping_ms),
        authority: settings.authority.clone(),
        host: match &settings.host_header {
            HostHeader::Upstream => Some(settings.authority.clone()),
            HostHeader::Client => None,
            HostHeader::Fixed(host) => Some(host.clone()),
        },
        audience: settings.audience.clone(),
        assert: if settings.assert_members { Assert::All } else { Assert::Staff },
        headers: settings
            .headers
            .iter()
            .map(|(name, pieces)| HeaderTemplate {
                name: name.as_str().to_owned(),
                pieces: pieces.iter().map(piece).collect(),
            })
            .collect(),
        connect_timeout: millis(settings.connect_timeout_ms),
        response_timeout: millis(settings.response_timeout_ms),
        idle: usize::try_from(settings.idle).unwrap_or(usize::MAX),
        idle_timeout: millis(settings.idle_timeout_ms),
        rewrite: settings.rewrite.clone(),
    }
}

fn server(upstream: &UpstreamSettings, settings: &net::servers::Server) -> Server {
    let name = settings.place.to_string();
    Server {
        // Connections of plain TCP outlive a reload; those over TLS do not, since whom they were proved to is judged by
        // the authorities of their own time. A number, not an address: memory is used again.
        key: match &settings.tls {
            Some(tls) => format!("{name} {:?} {}", tls.name, BUILT.fetch_add(1, Ordering::Relaxed)),
            None => name.clone(),
        },
        place: settings.place.clone(),
        tls: settings.tls.clone(),
        health: Arc::new(Health::new(&upstream.name, &name, upstream.eject)),
        name: name.into(),
    }
}

fn parameter((name, pieces): &(String, Vec<crate::config::resolve::Piece>)) -> Parameter {
    Parameter { name: name.clone(), pieces: pieces.iter().map(piece).collect() }
}

fn piece(piece: &crate::config::resolve::Piece) -> Piece {
    match piece {
        crate::config::resolve::Piece::Literal(text) => Piece::Text(text.clone()),
        crate::config::resolve::Piece::Slot(slot) => match slot {
            Slot::Subject => Piece::Subject,
            Slot::Tenant => Piece::Tenant,
            Slot::Environment => Piece::Environment,
            Slot::Role => Piece::Role,
            Slot::Kind => Piece::Kind,
            Slot::Session => Piece::Session,
            Slot::Actor => Piece::Actor,
            Slot::Client => Piece::Client,
        },
    }
}
