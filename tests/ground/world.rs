//! People, tenants, a configuration in plain words, and a store in memory that runs commands as the shell would.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use postern::{
    lifecycle::{self, Actor, Change, Command, Outcome, Refusal},
    model::{
        ChangeId, Document, EnvironmentId, GrantId, IssuerName, Key, Ladder, Level, LevelName,
        OrganisationName, PermissionName, RequestId, RoleName, SessionId, Span, Stored, Subject, SubjectKind,
        SubjectRef, TenantId, Timestamp, Version, join::narrowest,
    },
    policy::{
        Age, Ask, BreakGlass, Caller, Callers, Catalogue, Decision, Effect, Fact, Facts, Granting, Named,
        OnLower, OnRemove, Pattern, PermissionSet, Policy, Push, Role, Rule, ServiceRule, Snapshot,
        TenantRoles, Verdict, Whose, decide, decide::Route, granting::May, shape::Shape,
    },
};

pub(crate) const TENANTS: [&str; 5] = ["acme", "beta", "gamma", "delta", "other"];
/// The parents of [`TENANTS`]: a chain of four, and one that stands alone.
pub(crate) const PARENTS: [Option<&str>; 5] = [None, Some("acme"), Some("beta"), Some("gamma"), None];
pub(crate) const ENVIRONMENTS: [&str; 2] = ["production", "sandbox"];
pub(crate) const LEVELS: [&str; 4] = ["block", "read_only", "limited_edit", "full"];
pub(crate) const ROLES: [&str; 5] = ["reader", "editor", "administrator", "clerk", "gone"];
pub(crate) const PERMISSIONS: [&str; 9] = [
    "orders:read",
    "orders:write",
    "mappings:read",
    "mappings:write",
    "users:read",
    "users:manage",
    "jobs:run",
    "support:read",
    "support:manage",
];
/// How long one exchange may run.
pub(crate) const EXCHANGE_MS: i64 = 3_600_000;

pub(crate) fn tid(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}
pub(crate) fn eid(name: &str) -> EnvironmentId {
    EnvironmentId::new(name).unwrap()
}
pub(crate) fn gid(name: &str) -> GrantId {
    GrantId::new(name).unwrap()
}
pub(crate) fn sid(name: &str) -> SessionId {
    SessionId::new(name).unwrap()
}
pub(crate) fn rid(name: &str) -> RequestId {
    RequestId::new(name).unwrap()
}
pub(crate) fn role(name: &str) -> RoleName {
    RoleName::new(name).unwrap()
}
pub(crate) fn level(name: &str) -> LevelName {
    LevelName::new(name).unwrap()
}
pub(crate) fn at(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms)
}
pub(crate) fn person(issuer: &str, sub: &str) -> SubjectRef {
    SubjectRef { issuer: IssuerName::new(issuer).unwrap(), sub: sub.into() }
}

/// A configuration in words. Patterns are `type:action`, `*` for any.
#[derive(Debug, Clone)]
pub(crate) struct Plain {
    /// Role: what it allows, and what it excepts from that.
    pub(crate) roles: BTreeMap<String, (Vec<String>, Vec<String>)>,
    /// Levels with their role, lowest first.
    pub(crate) ladder: Vec<(String, Option<String>)>,
    pub(crate) ceiling: Vec<String>,
    pub(crate) immediate: bool,
    /// Whoever is removed is kept out.
    pub(crate) bar: bool,
    pub(crate) lasts_ms: i64,
    pub(crate) grant_most_ms: Option<i64>,
    /// For how long what a giver's token said counts.
    pub(crate) grantor_memory_ms: i64,
    pub(crate) members_unmapped: bool,
    /// The role that is given by break-glass; nobody breaks the glass without.
    pub(crate) glass: Option<String>,
    /// The tenants that the configuration names.
    pub(crate) configured: Vec<String>,
    /// The roles that tenants adjust, how many of their own they may define, and the plans that have it.
    pub(crate) adjustable: Vec<String>,
    /// The roles that take a paid seat.
    pub(crate) seats: Vec<String>,
    pub(crate) own_roles: usize,
    pub(crate) role_plans: Option<Vec<String>>,
    /// Who gives beside administrators, by role: whether always, or while the tenant's setting allows it.
    pub(crate) by_role: BTreeMap<String, bool>,
}

fn given_by((name, always): (&String, &bool)) -> (RoleName, May) {
    (role(name), if *always { May::Always } else { May::WhenAllowed })
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}

impl Plain {
    /// The ladder of P17 with small roles.
    pub(crate) fn new(immediate: bool) -> Self {
        let role =
            |name: &str, allow: &[&str], except: &[&str]| (name.to_owned(), (words(allow), words(except)));
        Self {
            roles: [
                role("reader", &["*:read"], &["users:*"]),
                role("editor", &["*:read", "mappings:*", "jobs:run"], &["users:*"]),
                role("administrator", &["*:*"], &[]),
                role("warden", &["support:*", "orders:read"], &[]),
                role("clerk", &["orders:*", "users:manage"], &["orders:read"]),
            ]
            .into(),
            ladder: vec![
                ("block".into(), None),
                ("read_only".into(), Some("reader".into())),
                ("limited_edit".into(), Some("editor".into())),
                ("full".into(), Some("administrator".into())),
            ],
            ceiling: words(&["users:manage"]),
            immediate,
            bar: false,
            lasts_ms: 10_000,
            glass: Some("administrator".into()),
            grant_most_ms: None,
            grantor_memory_ms: 24_000,
            members_unmapped: false,
            configured: words(&["other"]),
            adjustable: Vec::new(),
            seats: Vec::new(),
            own_roles: 0,
            role_plans: None,
            by_role: BTreeMap::new(),
        }
    }

    /// The same as the product has it.
    pub(crate) fn compile(&self) -> Policy {
        let catalogue = Catalogue::new(PERMISSIONS.iter().map(|name| PermissionName::new(name).unwrap()));
        let covered = |patterns: &[String]| {
            let mut set = PermissionSet::default();
            for pattern in patterns {
                set.add(&catalogue.covered(&Pattern::parse(pattern).unwrap()));
            }
            set
        };
        let roles = self.roles.iter().map(|(name, (allow, except))| {
            let mut permissions = covered(allow);
            permissions.remove(&covered(except));
            let adjustable = self.adjustable.contains(name);
            (role(name), Role { permissions, adjustable, seat: self.seats.contains(name), plans: None })
        });
        Policy {
            fingerprint: "test".into(),
            roles: roles.collect(),
            resources: Default::default(),
            tenant_roles: TenantRoles {
                permission: None,
                most: self.own_roles,
                plans: self
                    .role_plans
                    .as_ref()
                    .map(|plans| plans.iter().map(|plan| plan.parse().unwrap()).collect()),
            },
            ceiling: covered(&self.ceiling),
            ladder: Ladder::new(
                self.ladder
                    .iter()
                    .map(|(name, of)| Level { name: level(name), role: of.as_deref().map(role) })
                    .collect(),
            ),
            default_level: level("read_only"),
            on_lower: if self.immediate { OnLower::Immediate } else { OnLower::Future },
            session_lasts: Span::Millis(self.lasts_ms),
            sessions: postern::policy::SessionRules {
                on_remove: if self.bar { OnRemove::Bar } else { OnRemove::End },
                as_long_as_granted: false,
            },
            grant_most: self.grant_most_ms.map(Span::Millis),
            granting: Granting {
                by_role: self.by_role.iter().map(given_by).collect(),
                ..Granting::default()
            },
            grantor_memory_ms: self.grantor_memory_ms,
            approvals: postern::policy::Approvals { unanswered_ms: 4_000, usable_ms: 1_000 },
            emergency: postern::policy::Emergency {
                operators: OPERATORS.map(|sub| person("vendor", sub)).into(),
                staff: [IssuerName::new("vendor").unwrap()].into(),
                break_glass: self.glass.as_deref().map(|of| BreakGlass {
                    tokens: None,
                    operators: GLASS.map(|sub| person("vendor", sub)).into(),
                    role: role(of),
                    lasts_ms: GLASS_MS,
                    causes: CAUSES.map(str::to_owned).into(),
                    incident: Shape::parse("INC-[0-9]{1,4}").unwrap(),
                    conditions: postern::policy::Conditions::default(),
                    attempts: 10,
                    tenant_ends: true,
                }),
            },
            login_access: postern::policy::LoginAccess {
                durations: LENT_MS.map(Span::Millis).into(),
                suggested: None,
                organisations: DESKS.map(desk).into(),
            },
            conditions: postern::policy::Conditions::default(),
            max_exchange_ms: EXCHANGE_MS,
            staleness: Default::default(),
            members_unmapped: self.members_unmapped,
            environments: ENVIRONMENTS.iter().map(|name| eid(name)).collect(),
            callers: Callers {
                services: vec![
                    service_rule("crm", &[Push::Tenants, Push::Members], None),
                    service_rule("narrow", &[Push::Tenants], Some(&["beta"])),
                ],
                configured: Arc::new(self.configured.iter().map(|name| tid(name)).collect()),
                members: ["tenants", "rows"].map(|name| IssuerName::new(name).unwrap()).into(),
                by_row: [IssuerName::new("rows").unwrap()].into(),
            },
            rules: Vec::new(),
            catalogue,
        }
    }
}

fn service_rule(sub: &str, may: &[Push], tenants: Option<&[&str]>) -> ServiceRule {
    ServiceRule {
        issuer: IssuerName::new("programs").unwrap(),
        whose: Whose::Subjects([Arc::from(sub)].into()),
        may: may.iter().copied().collect(),
        tenants: tenants.map(|names| names.iter().map(|name| tid(name)).collect()),
    }
}

/// Programs: `crm` may push everything everywhere, `narrow` what `beta` is.
pub(crate) fn program(sub: &str) -> Subject {
    let like = member("acme", sub, &[]);
    Subject { kind: SubjectKind::Service, id: person("programs", sub), tenant: None, ..like }
}

/// The vendor's people: `anna` and `cleo` hold the same address, `anna` and `ben` are support.
pub(crate) const STAFF: [&str; 3] = ["anna", "ben", "cleo"];

/// Those who may break the glass, for one of these causes and so long.
pub(crate) const GLASS: [&str; 2] = ["cleo", "olga"];
pub(crate) const CAUSES: [&str; 2] = ["stability", "integrity"];
pub(crate) const GLASS_MS: i64 = 5_000;

/// Those who may use the kill switches; one of them also is an agent.
pub(crate) const OPERATORS: [&str; 2] = ["anna", "olga"];

/// For how long login access is given, and to whom. `anna` belongs to one of them, `ben` to both, `cleo` to none.
pub(crate) const LENT_MS: [i64; 2] = [6_000, 30_000];
pub(crate) const DESKS: [&str; 2] = ["help", "night"];

pub(crate) fn desk(name: &str) -> OrganisationName {
    OrganisationName::new(name).unwrap()
}

pub(crate) fn staff(sub: &str) -> Subject {
    Subject {
        kind: SubjectKind::Staff,
        id: person("vendor", sub),
        email: matches!(sub, "anna" | "cleo").then(|| Arc::from("anna@vendor.example")),
        support: sub != "cleo",
        organisations: match sub {
            "anna" => [desk("help")].into(),
            "ben" => DESKS.map(desk).into(),
            _ => Default::default(),
        },
        tenant: None,
        environment: None,
        roles: Vec::new(),
        login: None,
        acting: false,
        expires: Timestamp::MAX,
    }
}

pub(crate) fn member(tenant: &str, sub: &str, roles: &[&str]) -> Subject {
    Subject {
        kind: SubjectKind::Member,
        id: person("tenants", sub),
        email: None,
        support: false,
        organisations: Default::default(),
        tenant: Some(tid(tenant)),
        environment: None,
        roles: roles.iter().map(|name| role(name)).collect(),
        login: None,
        acting: false,
        expires: Timestamp::MAX,
    }
}

/// A member whose roles stand in a row.
pub(crate) fn rower(tenant: &str, sub: &str) -> Subject {
    Subject { id: person("rows", sub), ..member(tenant, sub, &[]) }
}

pub(crate) fn admin(tenant: &str) -> Subject {
    member(tenant, &format!("{tenant}-admin"), &["administrator"])
}

/// An administrator with the address of anna and cleo, who are staff.
pub(crate) fn twin(tenant: &str) -> Subject {
    Subject { email: Some(Arc::from("anna@vendor.example")), ..member(tenant, "twin", &["administrator"]) }
}

/// A request, in words.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) route: Map,
    pub(crate) tenant: Name,
    pub(crate) environment: Name,
    pub(crate) session: Name,
    pub(crate) resource: Option<String>,
    pub(crate) clock_behind: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Map {
    /// These permissions; whether it is public; the type of its resource.
    Rule(Vec<String>, bool, Option<String>),
    Method,
    Twin,
    Unmapped,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Name {
    As(String),
    Missing,
    Unclear,
}

impl Name {
    pub(crate) fn of(text: &str) -> Self {
        Name::As(text.to_owned())
    }
    fn as_named(&self) -> Named<'_> {
        match self {
            Name::As(text) => Named::As(text),
            Name::Missing => Named::Missing,
            Name::Unclear => Named::Unclear,
        }
    }
}

impl Request {
    /// One permission, in production, without a session's name.
    pub(crate) fn simple(tenant: &str, permission: &str) -> Self {
        Self {
            route: Map::Rule(vec![permission.to_owned()], false, None),
            tenant: Name::of(tenant),
            environment: Name::of("production"),
            session: Name::Missing,
            resource: None,
            clock_behind: false,
        }
    }
    pub(crate) fn inside(mut self, session: &str) -> Self {
        self.session = Name::of(session);
        self
    }
    pub(crate) fn environment(mut self, name: &str) -> Self {
        self.environment = Name::of(name);
        self
    }
}

/// What a decision came to, and what it looked up on the way.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) decision: Decision,
    pub(crate) facts: Facts,
    pub(crate) asked: Vec<Key>,
    pub(crate) rounds: usize,
}

impl Decided {
    pub(crate) fn allowed(&self) -> bool {
        matches!(self.decision, Decision::Allow(_))
    }
    pub(crate) fn code(&self) -> &'static str {
        match &self.decision {
            Decision::Allow(permit) => permit.reason().code(),
            Decision::Deny(denial) => denial.reason.code(),
        }
    }
}

/// A store in memory, and what cannot be had of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    pub(crate) docs: BTreeMap<Key, Stored>,
    pub(crate) unavailable: BTreeSet<Key>,
    /// How old what is known is to whoever decides.
    pub(crate) age: Age,
    pub(crate) changes: u64,
}

impl World {
    /// A world with these documents.
    pub(crate) fn of(docs: impl IntoIterator<Item = (Key, Document)>) -> Self {
        let mut world = Self::default();
        for (key, document) in docs {
            world.put(key, document);
        }
        world
    }

    /// What is about to be read is as old as everything here.
    fn note_age(&self, facts: &mut Facts) {
        match self.age {
            Age::Now => return,
            Age::Known(ms) => facts.lies_in(1, -ms),
            Age::Never => facts.lies_in_doubt(1, Age::Never, None),
            // Known until a moment ago.
            Age::Suspect => facts.lies_in_doubt(1, Age::Suspect, Some(0)),
        }
        facts.look_at_age(0);
    }

    pub(crate) fn put(&mut self, key: Key, document: Document) {
        self.changes += 1;
        let change = ChangeId::new(&format!("c{:08}", self.changes)).unwrap();
        let stored = Stored::after(self.docs.get(&key), change, document);
        self.docs.insert(key, stored);
    }

    pub(crate) fn version(&self, key: &Key) -> Version {
        self.docs.get(key).map_or(Version::NONE, |stored| stored.version)
    }

    /// What the store says of a key.
    pub(crate) fn fact(&self, key: &Key, policy: &Policy) -> Fact {
        if self.unavailable.contains(key) {
            return Fact::Unavailable;
        }
        match self.docs.get(key) {
            None => Fact::Absent,
            Some(stored) => match narrowest(stored, &policy.ladder) {
                Some(document) => Fact::Found(Arc::new(Snapshot { version: stored.version, document })),
                None => Fact::Unavailable,
            },
        }
    }

    /// The document as it holds.
    pub(crate) fn document(&self, key: &Key, policy: &Policy) -> Option<Document> {
        narrowest(self.docs.get(key)?, &policy.ladder)
    }

    /// All documents as they hold.
    pub(crate) fn documents(&self, policy: &Policy) -> BTreeMap<Key, Document> {
        self.docs.keys().filter_map(|key| Some((key.clone(), self.document(key, policy)?))).collect()
    }

    /// Decides as the shell does: fetches what is needed and asks again. No key is asked for twice.
    pub(crate) fn decide(&self, request: &Request, caller: Caller<'_>, now: i64, policy: &Policy) -> Decided {
        let rule;
        let route = match &request.route {
            Map::Rule(permissions, public, resource) => {
                rule = Rule {
                    name: "GET /t/{tenant}".into(),
                    permissions: permissions.iter().map(|name| policy.catalogue.id(name).unwrap()).collect(),
                    public: *public,
                    resource: resource.as_deref().map(|kind| kind.parse().unwrap()),
                    within: Default::default(),
                    upstream: 0,
                    effect: None,
                    record: false,
                    environments: Default::default(),
                    plans: None,
                    narrow: None,
                    whole_only: false,
                    creates: None,
                };
                Route::Mapped(&rule)
            }
            Map::Method => Route::Method,
            Map::Twin => Route::Twin,
            Map::Unmapped => Route::Unmapped,
        };
        let ask = Ask {
            route,
            tenant: request.tenant.as_named(),
            environment: request.environment.as_named(),
            resource: request.resource.as_deref(),
            within: Default::default(),
            session: request.session.as_named(),
            around: postern::policy::Around::default(),
            emergency: &postern::policy::Brought::Nothing,
            clock_behind: request.clock_behind,
            does: Effect::Write,
        };
        let mut facts = Facts::new();
        let mut asked = Vec::new();
        let mut rounds = 0;
        loop {
            rounds += 1;
            match decide(&ask, caller, &facts, at(now), policy) {
                Verdict::Decided(decision) => return Decided { decision, facts, asked, rounds },
                Verdict::Need(need) => {
                    assert!(!need.0.is_empty(), "a need names a document");
                    for key in need.0 {
                        assert!(facts.get(&key).is_none(), "{key} was asked for twice");
                        let fact = self.fact(&key, policy);
                        asked.push(key.clone());
                        self.note_age(&mut facts);
                        facts.put(key, fact);
                    }
                }
            }
        }
    }

    /// Runs a command as the shell does, without committing.
    pub(crate) fn dry(
        &self,
        command: &Command,
        actor: Actor<'_>,
        now: i64,
        policy: &Policy,
    ) -> Result<Change, Refusal> {
        let mut facts = Facts::new();
        loop {
            match lifecycle::apply(command, &facts, actor, at(now), policy) {
                Outcome::Refused(refusal) => return Err(refusal),
                Outcome::Changed(change) => {
                    for (key, document) in &change.documents {
                        let fact = facts.get(key);
                        assert!(fact.is_some(), "{key} is written without having been read");
                        assert_eq!(key.kind(), document.kind());
                        if matches!(key, Key::Stop(_)) {
                            // A switch is set whatever is there: it is joined with that.
                            let switches = matches!(command, Command::Stop { .. } | Command::Lift { .. });
                            assert!(switches, "{key} is written by {command:?}");
                            continue;
                        }
                        assert_ne!(
                            fact,
                            Some(&Fact::Unavailable),
                            "{key} is written over what cannot be read"
                        );
                        assert_eq!(key.tenant(), command.tenant(), "a command writes in its own tenant only");
                    }
                    let keys: BTreeSet<_> = change.documents.iter().map(|(key, _)| key).collect();
                    assert_eq!(keys.len(), change.documents.len(), "a document is written once");
                    assert_eq!(change.documents.is_empty(), change.events.is_empty());
                    return Ok(change);
                }
                Outcome::Need(need) => {
                    assert!(!need.0.is_empty(), "a need names a document");
                    for key in need.0 {
                        assert!(facts.get(&key).is_none(), "{key} was asked for twice");
                        let fact = self.fact(&key, policy);
                        facts.put(key, fact);
                    }
                }
            }
        }
    }

    /// Runs a command and commits what it comes to.
    pub(crate) fn run(
        &mut self,
        command: &Command,
        actor: Actor<'_>,
        now: i64,
        policy: &Policy,
    ) -> Result<Change, Refusal> {
        let change = self.dry(command, actor, now, policy)?;
        self.commit(&change);
        Ok(change)
    }

    pub(crate) fn commit(&mut self, change: &Change) {
        for (key, document) in &change.documents {
            self.put(key.clone(), document.clone());
        }
    }
}
