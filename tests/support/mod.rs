//! A whole gateway below its doors, for tests: real store, real journal, real verifier, a clock that is moved by hand.

#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod described;
pub(crate) mod faulty;
pub(crate) mod shared;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request};
use postern::{
    audit::{
        Journal, Options, SigningKey,
        journal::{Recovered, disk::RealDisk},
        read::Records,
    },
    control::Api,
    engine::{Clock, Engine, Giver, Parts, documents_in, hooks::Hooks, knock::Who},
    identity::{Algorithm, ClaimPath, IssuerOptions, KeySource, Limits, Signer, SupportRule, Verifier},
    lifecycle::Command,
    model::{
        EnvironmentId, IssuerName, Key, Ladder, Level, LevelName, OrganisationName, PermissionName, RoleName,
        Span, Stored, SubjectKind, SubjectRef, TenantId, Timestamp, Zone,
    },
    policy::{
        BreakGlass, Callers, Catalogue, Emergency, Granting, LoginAccess, OnLower, Pattern, PermissionSet,
        Policy, Push, ResourceRules, Role, ServiceRule, TenantRoles, Whose,
    },
    state::{Cells, Embedded, Store},
};
use serde_json::{Value, json};

use faulty::Faulty;
use shared::Shared;

/// Two days and a half before the clocks change in Berlin.
pub(crate) const START: &str = "2026-03-27T12:00:00+01:00";
const ORIGIN: &str = "postern.example/gw1";
const AUDIENCE: &str = "postern";
/// The gateway of a world, and another one beside it; each has a folder of this name for its ledger.
const FIRST: &str = "gw1";
const SECOND: &str = "gw2";

const MANUAL: &str = include_str!("../../docs/support-api.md");

pub(crate) const HOUR: i64 = 3_600_000;
pub(crate) const DAY: i64 = 24 * HOUR;

/// A clock that stands until it is moved.
#[derive(Debug)]
pub(crate) struct Hand(AtomicI64);

impl Hand {
    pub(crate) fn advance(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }

    pub(crate) fn set(&self, at: &str) {
        self.0.store(Timestamp::parse(at).unwrap().ms(), Ordering::SeqCst);
    }
}

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_ms(self.0.load(Ordering::SeqCst))
    }
}

/// What may differ from world to world.
pub(crate) struct Wish {
    pub(crate) on_lower: OnLower,
    pub(crate) session_lasts: Span,
    pub(crate) sessions: postern::policy::SessionRules,
    pub(crate) grant_most: Option<Span>,
    pub(crate) grantor_memory_ms: i64,
    pub(crate) settle: bool,
    pub(crate) staleness: postern::policy::Staleness,
    /// The store is one that several gateways share.
    pub(crate) shared: bool,
    pub(crate) emergency: Emergency,
    /// What tenants may say of roles, and which of the configured ones.
    pub(crate) tenant_roles: TenantRoles,
    pub(crate) adjustable: &'static [&'static str],
    /// The roles that take a paid seat.
    pub(crate) seats: &'static [&'static str],
    /// Who may give which grants.
    pub(crate) granting: Granting,
    /// What lies below tenants.
    pub(crate) resources: fn(&Catalogue) -> ResourceRules,
    /// The rules of the map.
    pub(crate) rules: fn(&Catalogue) -> Vec<postern::policy::Rule>,
}

impl Wish {
    /// A store as one gateway sees it.
    fn view(&self, store: &Arc<Faulty>, clock: &Arc<Hand>) -> (Option<Arc<Shared>>, Arc<dyn Store>) {
        if !self.shared {
            return (None, Arc::clone(store) as Arc<dyn Store>);
        }
        let view = Arc::new(Shared::of(Arc::clone(store), Arc::clone(clock)));
        (Some(Arc::clone(&view)), view)
    }
}

impl Default for Wish {
    fn default() -> Self {
        Wish {
            on_lower: OnLower::Future,
            session_lasts: Span::CalendarDays(5),
            sessions: Default::default(),
            grant_most: Some(Span::CalendarDays(365)),
            grantor_memory_ms: postern::policy::GRANTOR_MEMORY_MS,
            settle: true,
            staleness: Default::default(),
            shared: false,
            emergency: emergency(),
            tenant_roles: TenantRoles::default(),
            adjustable: &[],
            seats: &[],
            granting: Granting::default(),
            resources: |_| ResourceRules::default(),
            rules: |_| Vec::new(),
        }
    }
}

/// The agents `olga` and `otto` are operators of the switches; `gustav` and `olga` may break the glass.
pub(crate) fn emergency() -> Emergency {
    let staff = IssuerName::new("staff").unwrap();
    let operator = |sub: &str| SubjectRef { issuer: staff.clone(), sub: sub.into() };
    let break_glass = BreakGlass {
        operators: [operator("gustav"), operator("olga")].into(),
        role: RoleName::new("order_clerk").unwrap(),
        lasts_ms: HOUR,
        causes: ["stability", "integrity"].map(str::to_owned).into(),
        incident: postern::policy::shape::Shape::parse("INC-[0-9]{1,6}").unwrap(),
        conditions: postern::policy::Conditions::default(),
        attempts: 10,
        tenant_ends: true,
        tokens: None,
    };
    Emergency {
        operators: ["olga", "otto"].map(operator).into(),
        staff: [staff.clone()].into(),
        break_glass: Some(break_glass),
    }
}

pub(crate) struct World {
    pub(crate) api: Arc<Api>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) clock: Arc<Hand>,
    pub(crate) store: Arc<Faulty>,
    /// The same as this gateway sees it, where several share it.
    pub(crate) view: Option<Arc<Shared>>,
    pub(crate) recovered: Recovered,
    pub(crate) journal: Arc<Journal>,
    wish: Wish,
    verifier: Verifier,
    staff: Signer,
    members: Signer,
    services: Signer,
    dir: Kept,
}

/// Where everything is kept. Nowhere in the part of its ledger that is proven stands an e-mail address.
struct Kept(tempfile::TempDir);

impl Kept {
    fn path(&self) -> &std::path::Path {
        self.0.path()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        for line in [FIRST, SECOND].iter().flat_map(|name| lines(&self.path().join(name))) {
            let leaf = line.split(",\"open\":").next().unwrap_or_default();
            // What a client asks for is not ours to hide.
            let leaf = leaf.split(",\"path\":").next().unwrap_or_default();
            for domain in ["@vendor.example", "@acme.example", "@b.c"] {
                assert!(!leaf.contains(domain), "an address stands in what is proven: {line}");
            }
        }
    }
}

/// Every line of a ledger.
fn lines(ledger: &std::path::Path) -> Vec<String> {
    let Ok(found) = std::fs::read_dir(ledger) else { return Vec::new() };
    let mut files: Vec<PathBuf> = found.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let texts = files.iter().filter_map(|file| std::fs::read(file).ok());
    let texts: Vec<String> = texts.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect();
    texts.iter().flat_map(|text| text.lines().map(str::to_owned)).collect()
}

fn records(ledger: &std::path::Path) -> Vec<Value> {
    let lines = lines(ledger);
    let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(Value::is_object).collect()
}

/// A gateway beside another one.
pub(crate) struct Beside {
    pub(crate) engine: Arc<Engine>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) view: Option<Arc<Shared>>,
    ledger: PathBuf,
}

impl Beside {
    /// Every record that is in its ledger by now.
    pub(crate) fn records(&self) -> Vec<Value> {
        records(&self.ledger)
    }
}

/// An answer of the API.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) raw: Bytes,
    pub(crate) body: Value,
}

impl Answer {
    /// The code of a problem, which also has to look like one, and to stand in the manual beside its status.
    pub(crate) fn code(&self) -> &str {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{self:?}");
        assert_eq!(self.body["status"], self.status);
        let code = self.body["code"].as_str().unwrap();
        let row = MANUAL.lines().find(|line| line.starts_with(&format!("| `{code}` ")));
        let row = row.unwrap_or_else(|| panic!("`{code}` is not in the manual"));
        assert!(row.contains(&format!("| {} |", self.status)), "{row}");
        code
    }

    pub(crate) fn etag(&self) -> String {
        self.headers["etag"].to_str().unwrap().to_owned()
    }

    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }

    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str) -> Answer {
        assert_eq!((self.status, self.code()), (status, code), "{}", self.body);
        self
    }
}

/// Waits for what somebody does in the background.
pub(crate) async fn until(what: &str, is: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if is() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("waited in vain: {what}");
}

pub(crate) fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

/// A policy with the ladder of four levels, roles for staff and members, and a ceiling.
pub(crate) fn policy(wish: &Wish) -> Policy {
    let catalogue = Catalogue::new(
        [
            "config:read",
            "integrations:create",
            "integrations:delete",
            "integrations:read",
            "integrations:run",
            "jobs:create",
            "jobs:delete",
            "jobs:manage",
            "mappings:create",
            "mappings:delete",
            "mappings:read",
            "mappings:write",
            "orders:read",
            "orders:write",
            "settings:write",
            "users:manage",
            "users:read",
        ]
        .map(|name| PermissionName::new(name).unwrap()),
    );
    let role = |patterns: &[&str]| {
        let mut permissions = PermissionSet::default();
        for pattern in patterns {
            permissions.add(&catalogue.covered(&Pattern::parse(pattern).unwrap()));
        }
        Role { permissions, adjustable: false, seat: false, plans: None }
    };
    let roles = [
        ("support_reader", role(&["config:read", "integrations:read", "mappings:read", "orders:read"])),
        (
            "support_editor",
            role(&[
                "config:read",
                "integrations:read",
                "integrations:run",
                "jobs:create",
                "jobs:manage",
                "mappings:create",
                "mappings:read",
                "mappings:write",
                "orders:read",
                "settings:write",
            ]),
        ),
        ("admin", role(&["*:*"])),
        ("auditor", role(&["support:read", "orders:read"])),
        ("viewer", role(&["orders:read"])),
        ("order_clerk", role(&["orders:*"])),
    ];
    let level = |name: &str, role: Option<&str>| Level {
        name: LevelName::new(name).unwrap(),
        role: role.map(|role| RoleName::new(role).unwrap()),
    };
    let resources = (wish.resources)(&catalogue);
    let rules = (wish.rules)(&catalogue);
    Policy {
        fingerprint: "test".to_owned(),
        ceiling: catalogue.covered(&Pattern::parse("users:manage").unwrap()),
        roles: roles
            .into_iter()
            .map(|(name, role)| {
                let (adjustable, seat) = (wish.adjustable.contains(&name), wish.seats.contains(&name));
                (RoleName::new(name).unwrap(), Role { adjustable, seat, ..role })
            })
            .collect(),
        catalogue,
        ladder: Ladder::new(vec![
            level("block", None),
            level("read_only", Some("support_reader")),
            level("limited_edit", Some("support_editor")),
            level("full", Some("admin")),
        ]),
        default_level: LevelName::new("read_only").unwrap(),
        on_lower: wish.on_lower,
        session_lasts: wish.session_lasts,
        sessions: wish.sessions,
        tenant_roles: wish.tenant_roles.clone(),
        resources,
        grant_most: wish.grant_most,
        approvals: Default::default(),
        granting: wish.granting.clone(),
        login_access: LoginAccess {
            durations: vec![Span::Millis(DAY), Span::CalendarDays(7), Span::CalendarMonths(1)],
            suggested: Some(Span::CalendarDays(7)),
            organisations: ["help_desk", "night_desk"]
                .map(|name| OrganisationName::new(name).unwrap())
                .into(),
        },
        grantor_memory_ms: wish.grantor_memory_ms,
        emergency: wish.emergency.clone(),
        conditions: postern::policy::Conditions::default(),
        max_exchange_ms: HOUR,
        staleness: wish.staleness,
        members_unmapped: false,
        environments: ["production", "sandbox"].map(|name| EnvironmentId::new(name).unwrap()).into(),
        callers: Callers {
            services: services(),
            configured: Arc::new([tenant("globex")].into()),
            members: ["members", "rows"].map(|name| IssuerName::new(name).unwrap()).into(),
            by_row: [IssuerName::new("rows").unwrap()].into(),
        },
        rules,
    }
}

/// `crm` pushes everything everywhere, `narrow` what `acme-west` is, `pair` what `acme` and `zulu` are, whoever is a `roster` members everywhere.
fn services() -> Vec<ServiceRule> {
    let rule = |whose, may: &[Push], tenants: Option<&[&str]>| ServiceRule {
        issuer: IssuerName::new("services").unwrap(),
        whose,
        may: may.iter().copied().collect(),
        tenants: tenants.map(|names| names.iter().map(|name| tenant(name)).collect()),
    };
    let subject = |name: &str| Whose::Subjects([Arc::from(name)].into());
    vec![
        rule(subject("crm"), &[Push::Tenants, Push::Members, Push::Resources], None),
        rule(subject("narrow"), &[Push::Tenants, Push::Members], Some(&["acme-west"])),
        rule(subject("pair"), &[Push::Tenants], Some(&["acme", "zulu"])),
        rule(Whose::Roles([RoleName::new("roster").unwrap()].into()), &[Push::Members], None),
    ]
}

fn issuer(name: &str, kind: SubjectKind, signer: &Signer) -> IssuerOptions {
    let keys = KeySource::Jwks(signer.public_jwks().unwrap());
    let name_of = IssuerName::new(name).unwrap();
    let mut options = IssuerOptions::new(name_of, &format!("https://{name}.example/"), kind, AUDIENCE, keys);
    options.claims.support =
        SupportRule::Claim { path: ClaimPath::parse("team").unwrap(), values: vec!["support".to_owned()] };
    let desk = |name: &str, team: &str| {
        let rule =
            SupportRule::Claim { path: ClaimPath::parse("team").unwrap(), values: vec![team.to_owned()] };
        (OrganisationName::new(name).unwrap(), rule)
    };
    options.claims.organisations = vec![desk("help_desk", "support"), desk("night_desk", "night")];
    options
}

/// A gateway with a ledger of its own.
async fn begin(
    (dir, name): (&Kept, &str),
    clock: &Arc<Hand>,
    store: Arc<dyn Store>,
    wish: &Wish,
    hooks: Hooks,
) -> (Arc<Engine>, Arc<Journal>, Recovered) {
    let policy = policy(wish);
    let cells = Cells::new(Arc::clone(&store), policy.ladder.clone(), 10_000);
    let options = Options {
        segment_bytes: 1 << 20,
        reserve_bytes: 256 << 10,
        ..Options::new(dir.path().join(name), ORIGIN.to_owned())
    };
    let key = SigningKey::load(&dir.path().join("signing.key")).unwrap();
    let ticking = Arc::clone(clock);
    let now = Arc::new(move || ticking.now().ms());
    let (journal, recovered) = Journal::open(options, key, now, Arc::new(RealDisk)).unwrap();
    let journal = Arc::new(journal);
    let parts = Parts {
        gateway: name.to_owned(),
        policy: Arc::new(policy),
        store: Arc::clone(&store),
        cells: Arc::new(cells),
        journal: Arc::clone(&journal),
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        background: tokio::runtime::Handle::current(),
        keeps: None,
        hooks,
    };
    let engine = Engine::new(parts, &recovered);
    if wish.shared {
        tokio::spawn(Arc::clone(&engine).keep_following());
        tokio::spawn(Arc::clone(&engine).keep_fuses());
    }
    if wish.settle {
        engine.settle(&mut recovered.open_intents.clone().into()).await.unwrap();
        engine.find_grantors().await.unwrap();
    }
    (engine, journal, recovered)
}

impl World {
    pub(crate) async fn new() -> World {
        World::with(Wish::default()).await
    }

    /// Tenants: `acme` (Berlin), its child `acme-west`, and `globex` (UTC), which has no sandbox.
    pub(crate) async fn with(wish: Wish) -> World {
        let dir = Kept(tempfile::tempdir().unwrap());
        let clock = Arc::new(Hand(AtomicI64::new(Timestamp::parse(START).unwrap().ms())));
        let path = dir.path().join("store");
        Embedded::init(&path).unwrap();
        let store = Arc::new(Faulty::new(Embedded::open(&path).unwrap()));
        SigningKey::generate(ORIGIN).unwrap().save(&dir.path().join("signing.key")).unwrap();
        let (view, seen) = wish.view(&store, &clock);
        let (engine, journal, recovered) = begin((&dir, FIRST), &clock, seen, &wish, Hooks::default()).await;
        let (staff, members) =
            (Signer::generate(Algorithm::Es256).unwrap(), Signer::generate(Algorithm::EdDsa).unwrap());
        let services = Signer::generate(Algorithm::Es256).unwrap();
        let issuers = vec![
            issuer("staff", SubjectKind::Staff, &staff),
            issuer("members", SubjectKind::Member, &members),
            issuer("services", SubjectKind::Service, &services),
            {
                // Signed with the services' key, so that there need not be one more.
                let mut rows = issuer("rows", SubjectKind::Member, &services);
                rows.claims.roles = None;
                rows
            },
        ];
        let verifier = Verifier::new(issuers, Limits::default()).unwrap();
        let api = Arc::new(Api::new(Arc::clone(&engine), "/_postern/"));
        let world = World {
            api,
            engine,
            clock,
            store,
            view,
            journal,
            recovered,
            wish,
            verifier,
            staff,
            members,
            services,
            dir,
        };
        world.register("acme", None, "Europe/Berlin", &["production", "sandbox"]).await;
        world.register("acme-west", Some("acme"), "Europe/Berlin", &["production", "sandbox"]).await;
        world.register("globex", None, "UTC", &["production"]).await;
        world
    }

    /// The same gateway after a restart: nothing in its memory, the same store and ledger.
    pub(crate) async fn restarted(self) -> World {
        self.journal.close();
        let World {
            api, engine, clock, store, journal, wish, verifier, staff, members, services, dir, ..
        } = self;
        drop((api, engine));
        // Whoever writes in the background lets go of the ledger when it finds it closed.
        let mut waited = 0;
        while Arc::strong_count(&journal) > 1 && waited < 2000 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            waited += 1;
        }
        drop(journal);
        let (view, seen) = wish.view(&store, &clock);
        let (engine, journal, recovered) = begin((&dir, FIRST), &clock, seen, &wish, Hooks::default()).await;
        let api = Arc::new(Api::new(Arc::clone(&engine), "/_postern/"));
        World {
            api,
            engine,
            clock,
            store,
            view,
            journal,
            recovered,
            wish,
            verifier,
            staff,
            members,
            services,
            dir,
        }
    }

    /// Another gateway on the same store, which knows of this one's changes only what it reads there.
    pub(crate) async fn beside(&self, hooks: Hooks) -> Beside {
        let (view, seen) = self.wish.view(&self.store, &self.clock);
        let (engine, journal, _) = begin((&self.dir, SECOND), &self.clock, seen, &self.wish, hooks).await;
        Beside { engine, journal, view, ledger: self.dir.path().join(SECOND) }
    }

    pub(crate) async fn register(&self, name: &str, parent: Option<&str>, zone: &str, environments: &[&str]) {
        let command = Command::RegisterTenant {
            tenant: tenant(name),
            parent: parent.map(tenant),
            zone: Zone::named(zone).unwrap(),
            environments: environments.iter().map(|name| EnvironmentId::new(name).unwrap()).collect(),
        };
        self.engine.change(command, Giver::Configuration).await.unwrap();
    }

    /// This instant, as tokens tell it.
    pub(crate) fn clock_seconds(&self) -> i64 {
        self.clock.now().ms() / 1000
    }

    fn verified(&self, token: &str) -> Who {
        Who::Known(self.verifier.verify(token.as_bytes(), self.clock.now()).unwrap())
    }

    fn claims(&self, issuer: &str, sub: &str, more: Value) -> Value {
        let now = self.clock.now().ms() / 1000;
        let mut claims = json!({
            "iss": format!("https://{issuer}.example/"), "aud": AUDIENCE, "sub": sub, "iat": now, "exp": now + 3600,
        });
        let more = more.as_object().unwrap().clone();
        claims.as_object_mut().unwrap().extend(more);
        claims
    }

    /// A staff subject with more claims.
    pub(crate) fn staff_with(&self, sub: &str, more: Value) -> Who {
        let token = self.staff.sign("at+jwt", &self.claims("staff", sub, more)).unwrap();
        self.verified(&token)
    }

    /// A staff subject of support, with a verified address `{sub}@vendor.example`.
    pub(crate) fn agent(&self, sub: &str) -> Who {
        let email = format!("{sub}@vendor.example");
        self.staff_with(sub, json!({"email": email, "email_verified": true, "team": "support"}))
    }

    /// A program with more claims.
    pub(crate) fn service_with(&self, sub: &str, more: Value) -> Who {
        let token = self.services.sign("at+jwt", &self.claims("services", sub, more)).unwrap();
        self.verified(&token)
    }

    /// A tenant's person whose roles stand in a row, whatever the token says.
    pub(crate) fn rower(&self, tenant: &str, sub: &str) -> Who {
        let more = json!({"tenant": tenant, "roles": ["admin"]});
        let token = self.services.sign("at+jwt", &self.claims("rows", sub, more)).unwrap();
        self.verified(&token)
    }

    /// The program that pushes tenants and members everywhere.
    pub(crate) fn crm(&self) -> Who {
        self.service_with("crm", json!({}))
    }

    /// A tenant's person with these roles and more claims.
    pub(crate) fn member_with(&self, tenant: &str, sub: &str, roles: &[&str], more: Value) -> Who {
        let mut claims = self.claims("members", sub, json!({"tenant": tenant, "roles": roles}));
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let token = self.members.sign("at+jwt", &claims).unwrap();
        self.verified(&token)
    }

    /// A tenant's person with these roles.
    pub(crate) fn member(&self, tenant: &str, sub: &str, roles: &[&str]) -> Who {
        self.member_with(tenant, sub, roles, json!({}))
    }

    /// An administrator of a tenant.
    pub(crate) fn admin(&self, tenant: &str) -> Who {
        self.member(tenant, &format!("admin-of-{tenant}"), &["admin"])
    }

    /// Sends a request as it is.
    pub(crate) async fn send(&self, request: Request<Bytes>, who: &Who) -> Answer {
        let client = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
        let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
        let response = self.api.answer(request, who.clone(), client).await;
        let (head, raw) = response.into_parts();
        assert_eq!(head.headers["cache-control"], "no-store");
        // Of a stream only the head is looked at here.
        let body = if raw.is_empty() { Value::Null } else { serde_json::from_slice(&raw).unwrap() };
        let content_type = head.headers["content-type"].to_str().unwrap();
        described::check(&method, &path, head.status.as_u16(), content_type, &body);
        Answer { status: head.status.as_u16(), headers: head.headers, raw, body }
    }

    /// Sends a request with headers and a text as its body.
    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
        who: &Who,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Bytes::copy_from_slice(body.as_bytes())).unwrap(), who).await
    }

    pub(crate) async fn get(&self, path: &str, who: &Who) -> Answer {
        self.call("GET", path, &[], "", who).await
    }

    pub(crate) async fn delete(&self, path: &str, who: &Who) -> Answer {
        self.call("DELETE", path, &[], "", who).await
    }

    /// Sends JSON.
    pub(crate) async fn put(&self, method: &str, path: &str, body: Value, who: &Who) -> Answer {
        self.call(method, path, &[("content-type", "application/json")], &body.to_string(), who).await
    }

    /// Sets a tenant's consent as its administrator.
    pub(crate) async fn consent(&self, tenant: &str, level: &str) -> Answer {
        let path = format!("/v1/tenants/{tenant}/consent");
        self.put("PUT", &path, json!({"level": level}), &self.admin(tenant)).await.is(200)
    }

    /// Tries to start a session by consent.
    pub(crate) async fn start(&self, tenant: &str, who: &Who) -> Answer {
        let body = json!({"environment": "production", "basis": "consent", "reason": "looking at order 7"});
        self.put("POST", &format!("/v1/tenants/{tenant}/sessions"), body, who).await
    }

    /// Starts a session by consent and answers its id.
    pub(crate) async fn started(&self, tenant: &str, who: &Who) -> String {
        let answer = self.start(tenant, who).await.is(201);
        answer.body["session"]["id"].as_str().unwrap().to_owned()
    }

    /// Makes a grant as the tenant's administrator and answers its id.
    pub(crate) async fn granted(&self, tenant: &str, to: Value, role: &str) -> String {
        let body = json!({
            "environment": "production", "to": to, "role": role, "scope": "everything", "for": "10d",
        });
        let path = format!("/v1/tenants/{tenant}/grants");
        let answer = self.put("POST", &path, body, &self.admin(tenant)).await.is(201);
        answer.body["grant"]["id"].as_str().unwrap().to_owned()
    }

    /// Tries to start a session by a grant.
    pub(crate) async fn enter_by(&self, tenant: &str, grant: &str, who: &Who) -> Answer {
        let body = json!({"environment": "production", "basis": {"grant": grant}, "reason": "as agreed"});
        self.put("POST", &format!("/v1/tenants/{tenant}/sessions"), body, who).await
    }

    /// The ids of those inside a tenant, as its administrator sees them.
    pub(crate) async fn inside(&self, tenant: &str) -> Vec<String> {
        let answer = self.get(&format!("/v1/tenants/{tenant}/sessions"), &self.admin(tenant)).await.is(200);
        let items = answer.body["items"].as_array().unwrap();
        items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Every document as the ledger told it last, with what may be erased put back.
    pub(crate) fn told(&self) -> BTreeMap<Key, Stored> {
        let mut records = Records::open(&self.ledger()).unwrap();
        let mut told = BTreeMap::new();
        while let Some(found) = records.next(|line, _, _| documents_in(line).unwrap()).unwrap() {
            told.extend(found);
        }
        told
    }

    pub(crate) fn ledger(&self) -> PathBuf {
        self.dir.path().join(FIRST)
    }

    /// Every record that is in the ledger by now.
    pub(crate) fn records(&self) -> Vec<Value> {
        records(&self.ledger())
    }

    /// Waits for a record such as this; those that nobody waits for are written in the background.
    pub(crate) async fn record(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..2000 {
            if let Some(record) = self.records().into_iter().find(&wanted) {
                return record;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("there is no such record in {:#?}", self.records())
    }
}
