//! A second implementation of the rules, written from the design and not from the code: sets of words, plain
//! recursion, no order of rules. Where the product answers with one reason, this answers with *all* that speaks
//! against the request; the product's reason must be among them, and it must allow exactly where nothing speaks.
//!
//! Consent that closes is told by the order of events, not by instants: a session by consent is over once the level in
//! force was seen closed after any step since it began.

use std::collections::{BTreeMap, BTreeSet};

use postern::{
    lifecycle::{Actor, Choice, Command, Switch, Until, WantedBasis},
    model::{
        Basis, Consent, Document, EndCause, GivenAs, Giver, Grantee, Key, OrganisationName, Reach, RoleAt,
        Scope, Span, Subject, SubjectKind, Veiled, Zone,
    },
    policy::Caller,
};

use crate::naive_grants::Others;
use crate::naive_requests::Request as Asked;
use crate::naive_roles::{Told, for_staff, tellable};
use crate::world::{
    CAUSES, DESKS, ENVIRONMENTS, GLASS, GLASS_MS, LENT_MS, Map, Name, OPERATORS, PERMISSIONS, Plain, Request,
};

pub(crate) type Words = BTreeSet<String>;
pub(crate) type Codes = BTreeSet<&'static str>;

/// Somebody who gave something: as they came, or as a document keeps them.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Came(String, Vec<String>),
    Kept(Giver),
    Above(Veiled),
}

impl Source {
    /// As they came, with the address of their row.
    pub(crate) fn came(by: Option<&Subject>, row: Option<String>) -> Vec<Source> {
        let own = |by: &Subject| by.email.as_ref().map(|e| e.to_string()).into_iter();
        by.map(|by| Source::Came(by.id.sub.to_string(), own(by).chain(row).collect())).into_iter().collect()
    }

    pub(crate) fn kept(givers: &BTreeSet<Giver>) -> Vec<Source> {
        givers.iter().cloned().map(Source::Kept).collect()
    }

    /// GW-14: the same `sub`, whoever says it, or the same address.
    pub(crate) fn is(&self, subject: &Subject) -> bool {
        match self {
            Source::Came(sub, _) => {
                *sub == *subject.id.sub || subject.email.as_ref().is_some_and(|mail| self.has(mail))
            }
            Source::Kept(giver) => giver.is(subject),
            Source::Above(giver) => giver.is(subject),
        }
    }

    /// Whether that is an address of theirs.
    pub(crate) fn has(&self, address: &str) -> bool {
        match self {
            Source::Came(_, mails) => mails.iter().any(|mail| mail == address),
            Source::Kept(giver) => giver.has(address),
            Source::Above(giver) => giver.mails.iter().any(|mark| mark.is(address)),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Tenant {
    pub(crate) parent: Option<String>,
    pub(crate) environments: Words,
    pub(crate) inherit: bool,
    pub(crate) cap: Option<String>,
    pub(crate) removed: bool,
    /// What began or was granted in an environment until then is over.
    pub(crate) taken: BTreeMap<String, i64>,
    pub(crate) zone: Zone,
    pub(crate) plan: Option<String>,
    /// A level beside that choice, and until when.
    pub(crate) raised: Option<(String, i64)>,
    /// Who chose, and who raised.
    pub(crate) by: Vec<Source>,
    pub(crate) raised_by: Vec<Source>,
    /// Whether each session by consent has to be approved, and who said so.
    pub(crate) approval: bool,
    pub(crate) approval_by: Vec<Source>,
    /// Who lifted its own switch last.
    pub(crate) lifted_by: Vec<Source>,
    /// Whether others than administrators give.
    pub(crate) others: Option<Others>,
}

/// Resources, each with the role that is its own, where one is.
pub(crate) type Covers = BTreeMap<(String, String), Option<String>>;

pub(crate) fn covers_of(scope: &Scope) -> Option<Covers> {
    match scope {
        Scope::Everything => None,
        Scope::Resources(all) => {
            Some(all.iter().map(|(k, i)| ((k.to_string(), i.to_string()), None)).collect())
        }
        Scope::Roles(all) => {
            let one = |at: &RoleAt| ((at.r#type.to_string(), at.id.to_string()), Some(at.role.to_string()));
            Some(all.iter().map(one).collect())
        }
    }
}

/// The role at a resource; `None` where it is not covered.
fn role_at(covers: Option<&Covers>, main: &str, resource: Option<&(String, String)>) -> Option<String> {
    match covers {
        None => Some(main.to_owned()),
        Some(covers) => Some(covers.get(resource?)?.clone().unwrap_or_else(|| main.to_owned())),
    }
}

/// Every role that is given anywhere.
fn roles_of(covers: Option<&Covers>, main: &str) -> Words {
    let main = main.to_owned();
    match covers {
        Some(covers) if !covers.is_empty() => {
            covers.values().map(|own| own.clone().unwrap_or_else(|| main.clone())).collect()
        }
        _ => Words::from([main]),
    }
}

/// The same, and the grant's own where it is given nowhere.
pub(crate) fn named_in(covers: Option<&Covers>, main: &str) -> Words {
    let mut all = roles_of(covers, main);
    all.insert(main.to_owned());
    all
}

#[derive(Debug, Clone)]
pub(crate) struct Grant {
    pub(crate) environment: String,
    pub(crate) to: Grantee,
    pub(crate) bound: Option<String>,
    pub(crate) role: String,
    /// It gives no role: it lets somebody act as its giver.
    pub(crate) acts: bool,
    pub(crate) grantor: String,
    pub(crate) given_as: GivenAs,
    /// `None` for everything; else each resource with the role that is its own, where one is.
    pub(crate) scope: Option<Covers>,
    pub(crate) given: i64,
    pub(crate) until: i64,
    pub(crate) ended: Option<EndCause>,
    /// Who gave or prolonged it.
    pub(crate) by: Vec<Source>,
    /// The tenant was removed since.
    pub(crate) past: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) who: String,
    pub(crate) environment: String,
    /// Of one by consent: who had given it.
    pub(crate) by: Vec<Source>,
    /// `None` by consent and by break-glass.
    pub(crate) grant: Option<String>,
    pub(crate) glass: bool,
    /// It acts as whoever gave the grant.
    pub(crate) acts: bool,
    pub(crate) role: String,
    pub(crate) rights: Words,
    /// By a grant over named resources: what that covered at the start, and what its roles could do then.
    pub(crate) began: Option<Covers>,
    pub(crate) then: BTreeMap<String, Words>,
    pub(crate) started: i64,
    pub(crate) deadline: i64,
    pub(crate) ended: Option<EndCause>,
    /// The level in force was seen closed since it began.
    pub(crate) closed: bool,
    /// A kill switch was set over it since it began.
    pub(crate) stopped: bool,
    /// Since it began a tenant of its chain began to follow its parent: then the product may see a closing that
    /// happened further up before that, and be narrower than need be.
    pub(crate) joined: bool,
    /// The environment in which its agent's index lists it, if it does. An index may be wrong; it opens nothing.
    pub(crate) listed: Option<String>,
}

/// A member's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) roles: Words,
    pub(crate) suspended: bool,
    pub(crate) email: Option<String>,
    pub(crate) removed: bool,
    /// When they were last suspended or removed.
    pub(crate) away: Option<i64>,
    /// The tenant was removed since.
    pub(crate) old: bool,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Naive {
    pub(crate) members: BTreeMap<(String, String), Row>,
    /// What tenants said of roles, by tenant and role.
    pub(crate) told: BTreeMap<(String, String), Told>,
    /// Tenants with a role that they list and of which nothing is found: what they said is lost (GW-17).
    pub(crate) lost: BTreeSet<(String, String)>,
    /// Of whoever gave a grant: the roles of their last token, and of those since that lacked some; when it was seen, and
    /// until when that is needed.
    pub(crate) sighted: BTreeMap<(String, String), (Vec<Words>, i64, i64)>,
    pub(crate) tenants: BTreeMap<String, Tenant>,
    pub(crate) grants: BTreeMap<(String, String), Grant>,
    pub(crate) sessions: BTreeMap<(String, String), Session>,
    pub(crate) requests: BTreeMap<(String, String), Asked>,
    /// The kill switches that are set, by name; whether somebody set it over themselves.
    pub(crate) stops: BTreeMap<String, bool>,
    /// Who is kept out of which tenant; and of whom else that was lifted, by whom.
    pub(crate) barred: BTreeSet<(String, String)>,
    pub(crate) let_in: BTreeMap<(String, String), Vec<Source>>,
    /// Since when, and how often, somebody asked in a tenant within a day.
    pub(crate) asked: BTreeMap<(String, String), (i64, u32)>,
}

fn covers(pattern: &str, name: &str) -> bool {
    let (a, b) = pattern.split_once(':').unwrap();
    let (c, d) = name.split_once(':').unwrap();
    (a == "*" || a == c) && (b == "*" || b == d)
}

/// Everything that a role may do; nothing for a name that is not known.
pub(crate) fn role_can(plain: &Plain, role: &str) -> Words {
    let Some((allow, except)) = plain.roles.get(role) else { return Words::new() };
    let any = |patterns: &[String], name: &str| patterns.iter().any(|pattern| covers(pattern, name));
    PERMISSIONS.iter().filter(|n| any(allow, n) && !any(except, n)).map(|n| (*n).to_owned()).collect()
}

/// Law 5: the ceiling, and whatever administers support access.
pub(crate) fn forbidden(plain: &Plain, permission: &str) -> bool {
    permission.starts_with("support:") || plain.ceiling.iter().any(|pattern| covers(pattern, permission))
}

pub(crate) fn level_role<'a>(plain: &'a Plain, level: &str) -> Option<&'a str> {
    plain.ladder.iter().find(|(name, _)| name == level)?.1.as_deref()
}

pub(crate) fn rank(plain: &Plain, level: &str) -> usize {
    plain.ladder.iter().position(|(name, _)| name == level).unwrap_or(0)
}

pub(crate) fn who(subject: &Subject) -> String {
    format!("{}|{}", subject.id.issuer, subject.id.sub)
}

impl Session {
    /// The roles that count at a resource: that of the start, and that of the grant now; `None` where either covers no such.
    fn part(&self, grant: Option<&Grant>, place: Option<&(String, String)>) -> Option<Vec<String>> {
        let mut roles = vec![role_at(self.began.as_ref(), &self.role, place)?];
        if let Some(grant) = grant {
            roles.push(role_at(grant.scope.as_ref(), &grant.role, place)?);
        }
        Some(roles)
    }

    fn by_consent(&self) -> bool {
        self.grant.is_none() && !self.glass
    }
}

fn may_break(who: &str) -> bool {
    GLASS.iter().any(|sub| who == format!("vendor|{sub}"))
}

/// The names of the switches that bear on somebody in a tenant.
fn bearing(tenant: &str, who: &str) -> [String; 4] {
    ["all".into(), format!("own {tenant}"), format!("tenant {tenant}"), format!("person {who}")]
}

pub(crate) fn switch_name(switch: &Switch) -> String {
    match switch {
        Switch::Own(tenant) => format!("own {tenant}"),
        Switch::Operators(Reach::All) => "all".into(),
        Switch::Operators(Reach::Tenant(tenant)) => format!("tenant {tenant}"),
        Switch::Operators(Reach::Person(person)) => format!("person {}|{}", person.issuer, person.sub),
    }
}

impl Naive {
    /// Speaks against an entry: whoever is kept out, or let themselves in again.
    pub(crate) fn kept_out(&self, tenant: &str, agent: &Subject, codes: &mut Codes) {
        let row = (tenant.to_owned(), who(agent));
        if self.barred.contains(&row) {
            codes.insert("barred");
        }
        if self.let_in.get(&row).is_some_and(|by| by.iter().any(|giver| giver.is(agent))) {
            codes.insert("self_granted");
        }
    }
}

impl Row {
    pub(crate) fn gone(&self) -> bool {
        self.removed || self.old
    }
}

impl Naive {
    /// Whether a refusal of an approved request may be right though no order of events says so: as of sessions that joined.
    pub(crate) fn doubtful(&self, command: &Command) -> bool {
        let Command::StartSession { tenant, basis: WantedBasis::Request(id), .. } = command else {
            return false;
        };
        let request = self.requests.get(&(tenant.to_string(), id.to_string()));
        request.and_then(|request| request.approved.as_ref()).is_some_and(|approved| approved.doubtful)
    }

    /// The address in somebody's row.
    pub(crate) fn row_mail(&self, tenant: &str, by: Option<&Subject>) -> Option<String> {
        self.members.get(&(tenant.to_owned(), who(by?))).and_then(|row| row.email.clone())
    }

    fn has_left(&self, tenant: &str, person: &str) -> bool {
        match self.members.get(&(tenant.to_owned(), person.to_owned())) {
            Some(row) => row.gone() || row.suspended,
            None => person.starts_with("rows|"),
        }
    }

    /// Nothing is given to a whole tenant by a token for one environment of several.
    pub(crate) fn reaches_all<'a>(
        subject: Option<&Subject>,
        environments: impl IntoIterator<Item = &'a str>,
        codes: &mut Codes,
    ) {
        let Some(own) = subject.and_then(|by| by.environment.as_ref()) else { return };
        if environments.into_iter().any(|one| one != own.as_str()) {
            codes.insert("environment_foreign");
        }
    }

    /// Whether a choice of consent is less than the one before, at this instant and at each later one.
    fn is_less(&self, new: &Naive, plain: &Plain, tenant: &str, now: i64) -> bool {
        let at = |world: &Naive, then| rank(plain, &world.level(plain, tenant, 0, then));
        let known = &new.tenants[tenant];
        let closed = |world: &Naive| level_role(plain, &world.level(plain, tenant, 0, now)).is_none();
        if !known.inherit && closed(new) {
            return true;
        }
        let ends = |world: &Naive| {
            let ends: Vec<i64> = world.tenants.values().filter_map(|t| Some(t.raised.as_ref()?.1)).collect();
            ends
        };
        let instants = ends(self).into_iter().chain(ends(new)).filter(|then| *then > now).chain([now]);
        if instants.into_iter().any(|then| at(new, then) > at(self, then)) {
            return false;
        }
        let old = &self.tenants[tenant];
        let raise_was = old.raised.as_ref().filter(|(_, until)| now < *until);
        let within = match (&known.raised, raise_was) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some((level, until)), Some((old, was))) => {
                until <= was && rank(plain, level) <= rank(plain, old)
            }
        };
        let same = (known.inherit, &known.cap) == (old.inherit, &old.cap);
        at(new, now) < at(self, now) || (same && within)
    }

    pub(crate) fn is_stopped(&self, tenant: &str, who: &str) -> bool {
        bearing(tenant, who).iter().any(|name| self.stops.contains_key(name))
    }

    /// GW-15: while a level is raised, the higher of it and of what was chosen.
    pub(crate) fn level(&self, plain: &Plain, tenant: &str, depth: usize, now: i64) -> String {
        let removed = self.tenants.get(tenant).is_some_and(|t| t.removed);
        if removed && depth == 0 {
            return plain.ladder[0].0.clone();
        }
        let chosen = self.chosen(plain, tenant, depth, now);
        let own = match self.tenants.get(tenant).and_then(|t| t.raised.clone()) {
            Some((level, until)) if now < until && rank(plain, &level) > rank(plain, &chosen) => level,
            _ => chosen,
        };
        // A parent that was removed: the child has the lower of what it last gave and this.
        if removed && rank(plain, &own) > rank(plain, "read_only") { "read_only".into() } else { own }
    }

    /// Who gave what is in force.
    pub(crate) fn givers(&self, plain: &Plain, tenant: &str, depth: usize, now: i64) -> Vec<Source> {
        let Some(t) = self.tenants.get(tenant).filter(|_| depth <= 64) else { return Vec::new() };
        let chosen = rank(plain, &self.chosen(plain, tenant, depth, now));
        match &t.raised {
            Some((level, until)) if now < *until && rank(plain, level) > chosen => t.raised_by.clone(),
            _ => {
                let above = t.parent.as_ref().filter(|_| t.inherit);
                let above = above.map(|parent| self.givers(plain, parent, depth + 1, now));
                t.by.iter().cloned().chain(above.unwrap_or_default()).collect()
            }
        }
    }

    /// Rule 6, by plain recursion. The lowest where the chain cannot be read whole.
    fn chosen(&self, plain: &Plain, tenant: &str, depth: usize, now: i64) -> String {
        let lowest = plain.ladder[0].0.clone();
        let Some(t) = self.tenants.get(tenant) else { return lowest };
        if depth > 64 {
            return lowest;
        }
        let above = match (&t.parent, t.inherit) {
            (_, false) => None,
            (None, true) => Some(lowest.clone()),
            (Some(parent), true) => Some(self.level(plain, parent, depth + 1, now)),
        };
        match (above, t.cap.clone()) {
            (None, None) => lowest,
            (Some(one), None) | (None, Some(one)) => {
                if plain.ladder.iter().any(|(name, _)| *name == one) {
                    one
                } else {
                    lowest
                }
            }
            (Some(a), Some(b)) => {
                if rank(plain, &a) <= rank(plain, &b) {
                    a
                } else {
                    plain.ladder[rank(plain, &b)].0.clone()
                }
            }
        }
    }

    /// Whether what began then in that environment of a tenant is over because the environment went away since.
    fn taken(&self, tenant: &str, environment: &str, begun: i64) -> bool {
        let tenant = self.tenants.get(tenant);
        tenant.and_then(|t| t.taken.get(environment)).is_some_and(|at| begun <= *at)
    }

    fn open(&self, plain: &Plain, tenant: &str, now: i64) -> bool {
        level_role(plain, &self.level(plain, tenant, 0, now)).is_some()
    }

    /// Whether `upper` is the tenant itself or above it.
    fn is_above(&self, upper: &str, tenant: &str) -> bool {
        upper == tenant
            || self
                .tenants
                .get(tenant)
                .and_then(|t| t.parent.as_deref())
                .is_some_and(|p| self.is_above(upper, p))
    }

    /// To be called before and after each step: sessions by consent where nothing is open are over.
    pub(crate) fn look(&mut self, plain: &Plain, now: i64) {
        let closed: Vec<_> = self.tenants.keys().filter(|t| !self.open(plain, t, now)).cloned().collect();
        let over = |t: &&Tenant| t.inherit && t.raised.as_ref().is_some_and(|(_, until)| *until <= now);
        let fallen: Vec<_> =
            self.tenants.iter().filter(|(_, t)| over(t)).map(|(name, _)| name.clone()).collect();
        // What follows its parent again may see a closing there that happened before.
        let joined: BTreeSet<_> = self
            .sessions
            .keys()
            .filter(|(tenant, _)| fallen.iter().any(|upper| self.is_above(upper, tenant)))
            .cloned()
            .collect();
        for key in joined {
            self.sessions.get_mut(&key).unwrap().joined = true;
        }
        let followers: Vec<_> = self
            .requests
            .keys()
            .filter(|(tenant, _)| fallen.iter().any(|upper| self.is_above(upper, tenant)))
            .cloned()
            .collect();
        for ((tenant, id), request) in &mut self.requests {
            let Some(approved) = &mut request.approved else { continue };
            approved.doubtful |= followers.contains(&(tenant.clone(), id.clone()));
            if closed.contains(tenant) {
                // What is approved in the millisecond in which it opens again is new.
                approved.over |= approved.at < now;
                approved.doubtful = true;
            }
        }
        for ((tenant, _), session) in &mut self.sessions {
            session.closed |= session.by_consent() && closed.contains(tenant);
        }
    }

    fn all_of(plain: &Plain, roles: impl Iterator<Item = String>) -> Words {
        roles.flat_map(|role| role_can(plain, &role)).collect()
    }

    /// What a member may do: by the token, or where the issuer says so by the row.
    pub(crate) fn held(&self, plain: &Plain, subject: &Subject) -> Result<Words, &'static str> {
        let tenant = subject.tenant.as_ref().map(|own| own.to_string()).unwrap_or_default();
        if subject.id.issuer.as_str() != "rows" {
            return Ok(self.all_in(plain, &tenant, subject.roles.iter().map(|role| role.to_string())));
        }
        match self.members.get(&(tenant.clone(), who(subject))) {
            Some(row) if !row.gone() && !row.suspended => {
                Ok(self.all_in(plain, &tenant, row.roles.iter().cloned()))
            }
            Some(row) if !row.gone() => Err("member_suspended"),
            Some(_) | None => Err("member_unknown"),
        }
    }

    /// Rule 5: what whoever gave a grant can do now, by their row or by the last that was seen of them.
    fn giver(&self, plain: &Plain, tenant: &str, grant: &Grant, now: i64) -> Result<Words, &'static str> {
        let key = (tenant.to_owned(), grant.grantor.clone());
        if let Some(row) = self.members.get(&key) {
            let gone = row.gone() || row.suspended;
            return if gone {
                Err("grantor_gone")
            } else {
                Ok(self.all_in(plain, tenant, row.roles.iter().cloned()))
            };
        }
        if grant.grantor.starts_with("rows|") {
            return Err("grantor_gone");
        }
        match self.sighted.get(&key) {
            Some((tokens, seen, _)) if now - seen < plain.grantor_memory_ms => {
                let mut can: Words = PERMISSIONS.map(str::to_owned).into();
                for roles in tokens {
                    let by_this = self.all_in(plain, tenant, roles.iter().cloned());
                    can.retain(|right| by_this.contains(right));
                }
                Ok(can)
            }
            Some(_) | None => Err("grantor_unknown"),
        }
    }

    /// A token of a giver's own says all this of them from now on.
    fn sight(&mut self, tenant: &str, subject: &Subject, now: i64, needed: i64) {
        let roles = subject.roles.iter().map(|role| role.to_string()).collect();
        let key = (tenant.to_owned(), who(subject));
        let needed = self.sighted.get(&key).map_or(needed, |(_, _, before)| needed.max(*before));
        self.sighted.insert(key, (vec![roles], now, needed));
    }

    /// They give something until then: nothing is written down of what was a moment ago.
    fn gave(&mut self, plain: &Plain, tenant: &str, subject: Option<&Subject>, now: i64, until: i64) {
        let Some(subject) = subject.filter(|subject| subject.id.issuer.as_str() != "rows") else { return };
        let roles: Words = subject.roles.iter().map(|role| role.to_string()).collect();
        match self.sighted.get(&(tenant.to_owned(), who(subject))) {
            Some((known, seen, needed))
                if *known == [roles] && until <= *needed && now - seen < plain.grantor_memory_ms / 24 => {}
            Some(_) | None => self.sight(tenant, subject, now, until + 86_400_000),
        }
    }

    /// A token only passed by: what it lacks is gone at once; the rest waits until a part of the time has passed since the
    /// last that was written down.
    fn passed(&mut self, plain: &Plain, tenant: &str, subject: &Subject, now: i64, needed: i64) {
        let roles: Words = subject.roles.iter().map(|role| role.to_string()).collect();
        let part = plain.grantor_memory_ms / 24;
        if subject.id.issuer.as_str() == "rows" {
            return;
        }
        if let Some((known, seen, _)) = self.sighted.get_mut(&(tenant.to_owned(), who(subject))) {
            let age = now - *seen;
            let fresh = age < plain.grantor_memory_ms;
            if fresh && known.iter().all(|token| token.iter().any(|role| !roles.contains(role))) {
                known.push(roles);
                return;
            }
            if fresh && (*known == [roles] && age < part || age < part.min(300_000)) {
                return;
            }
        }
        self.sight(tenant, subject, now, needed);
    }

    fn is_for(grant: &Grant, subject: &Subject) -> bool {
        match &grant.to {
            Grantee::Subject(named) => *named == subject.id,
            Grantee::Support => subject.support,
            Grantee::Organisation(name) => subject.organisations.contains(name),
            Grantee::Email(address) => match &grant.bound {
                Some(first) => *first == who(subject),
                None => subject.email.as_ref() == Some(address),
            },
            Grantee::Erased => grant.bound.as_ref().is_some_and(|first| *first == who(subject)),
        }
    }

    fn grant_faults(grant: Option<&Grant>, now: i64) -> Codes {
        let Some(grant) = grant else { return Codes::from(["grant_missing"]) };
        let mut codes = Codes::new();
        match grant.ended {
            Some(EndCause::Expired) => drop(codes.insert("grant_expired")),
            Some(_) => drop(codes.insert("grant_withdrawn")),
            None => {}
        }
        if now >= grant.until {
            codes.insert("grant_expired");
        }
        codes
    }

    /// Law 4: all that speaks against a session at this instant.
    fn session_faults(
        &self,
        plain: &Plain,
        tenant: &str,
        session: &Session,
        subject: &Subject,
        now: i64,
    ) -> Codes {
        let mut codes = Codes::new();
        match session.ended {
            Some(EndCause::Expired) => drop(codes.insert("session_expired")),
            Some(EndCause::Stopped) => drop(codes.insert("session_stopped")),
            Some(EndCause::GrantWithdrawn) => drop(codes.insert("grant_withdrawn")),
            Some(EndCause::GrantExpired) => drop(codes.insert("grant_expired")),
            Some(EndCause::ConsentWithdrawn) => drop(codes.insert("consent_withdrawn")),
            Some(EndCause::TenantRemoved) => drop(codes.insert("tenant_removed")),
            Some(EndCause::EnvironmentRemoved) => drop(codes.insert("environment_removed")),
            Some(EndCause::GrantingOff) => drop(codes.insert("granting_off")),
            Some(EndCause::GiverGone) => drop(codes.insert("grantor_gone")),
            Some(_) => drop(codes.insert("session_ended")),
            None => {}
        }
        if now >= session.deadline {
            codes.insert("session_expired");
        }
        if self.is_stopped(tenant, &session.who) {
            codes.insert("stopped");
        }
        if session.stopped {
            codes.insert("session_stopped");
        }
        let own = |by: &[Source]| by.iter().any(|giver| giver.is(subject));
        let force = || self.givers(plain, tenant, 0, now);
        if session.by_consent() && (own(&session.by) || (plain.immediate && own(&force()))) {
            codes.insert("self_granted");
        }
        if self.tenants.get(tenant).is_some_and(|t| t.removed) {
            codes.insert("tenant_removed");
        }
        if self.taken(tenant, &session.environment, session.started) {
            codes.insert("environment_removed");
        }
        if session.glass && (!may_break(&session.who) || plain.glass.as_ref() != Some(&session.role)) {
            codes.insert("break_glass_withdrawn");
        }
        match &session.grant {
            None if session.glass => {}
            None if plain.immediate && (session.closed || !self.open(plain, tenant, now)) => {
                codes.insert("consent_withdrawn");
            }
            None => {}
            Some(id) => {
                let grant = self.grants.get(&(tenant.to_owned(), id.clone()));
                codes.extend(Self::grant_faults(grant, now));
                if let Some(grant) = grant {
                    let mut named = named_in(session.began.as_ref(), &session.role);
                    named.extend(named_in(grant.scope.as_ref(), &grant.role));
                    let filled = named.iter().any(|role| self.filled_by(plain, tenant, role, subject))
                        || self.lender_filled_by(plain, tenant, grant, subject);
                    if own(&grant.by) || filled || self.let_by(tenant, grant, subject) {
                        codes.insert("self_granted");
                    }
                    if self.switched_off(tenant, grant) {
                        codes.insert("granting_off");
                    }
                    if self.giver_went(tenant, grant) {
                        codes.insert("grantor_gone");
                    }
                    let named =
                        matches!(grant.to, Grantee::Subject(_) | Grantee::Support | Grantee::Organisation(_));
                    // Acting takes what was lent to an organisation, and a role what was granted.
                    let lent = grant.acts && matches!(grant.to, Grantee::Organisation(_));
                    if session.acts != grant.acts || session.acts != lent {
                        codes.insert("grant_missing");
                    }
                    let bound = named || grant.bound.is_some();
                    if grant.environment != session.environment || !Self::is_for(grant, subject) || !bound {
                        codes.insert("grant_missing");
                    }
                    if self.taken(tenant, &session.environment, grant.given) {
                        codes.insert("environment_removed");
                    }
                    codes.extend(self.giver(plain, tenant, grant, now).err());
                }
            }
        }
        codes
    }

    /// What ended a session for good beside its own time.
    fn fallen(&self, plain: &Plain, tenant: &str, session: &Session, now: i64) -> Vec<EndCause> {
        let mut causes = Vec::new();
        let grant = session.grant.as_ref().and_then(|id| self.grants.get(&(tenant.to_owned(), id.clone())));
        if session.stopped {
            causes.push(EndCause::Stopped);
        }
        if self.tenants.get(tenant).is_some_and(|t| t.removed) {
            causes.push(EndCause::TenantRemoved);
        }
        let taken = |begun| self.taken(tenant, &session.environment, begun);
        if taken(session.started) || grant.is_some_and(|grant| taken(grant.given)) {
            causes.push(EndCause::EnvironmentRemoved);
        }
        if session.by_consent() && plain.immediate && session.closed {
            causes.push(EndCause::ConsentWithdrawn);
        }
        if let Some(grant) = grant {
            if grant.ended.is_some_and(|cause| cause != EndCause::Expired) {
                causes.push(EndCause::GrantWithdrawn);
            }
            if now >= grant.until {
                causes.push(EndCause::GrantExpired);
            }
            if self.switched_off(tenant, grant) {
                causes.push(EndCause::GrantingOff);
            }
            if self.giver_went(tenant, grant) {
                causes.push(EndCause::GiverGone);
            }
        }
        causes
    }

    /// Notes what an end was written down as; whether it is one of what ended it.
    pub(crate) fn written(&mut self, plain: &Plain, key: &Key, cause: EndCause, now: i64) -> bool {
        let Key::Session(t, s) = key else { return true };
        let at = (t.to_string(), s.to_string());
        let session = self.sessions[&at].clone();
        let mut known = self.fallen(plain, t.as_str(), &session, now);
        known.extend((now >= session.deadline).then_some(EndCause::Expired));
        self.sessions.get_mut(&at).unwrap().ended = Some(cause);
        known.contains(&cause) || (cause == EndCause::ConsentWithdrawn && session.joined)
    }

    /// Rule 4: start ∩ role now ∩ level now, minus the ceiling.
    pub(crate) fn rights(&self, plain: &Plain, tenant: &str, session: &Session, now: i64) -> Words {
        let grant = session.grant.as_ref().and_then(|id| self.grants.get(&(tenant.to_owned(), id.clone())));
        if session.acts {
            // PRA-12: all that the person can do now, whatever it was at the start.
            let giver = grant.map(|grant| self.giver(plain, tenant, grant, now));
            let mut rights = giver.and_then(Result::ok).unwrap_or_default();
            rights.retain(|right| !forbidden(plain, right));
            return rights;
        }
        let places = [session.began.as_ref(), grant.and_then(|grant| grant.scope.as_ref())];
        let places: Vec<Option<&(String, String)>> = match places.into_iter().flatten().next() {
            Some(covers) => covers.keys().map(Some).collect(),
            None => vec![None],
        };
        let parts = places.into_iter().filter_map(|place| session.part(grant, place));
        let rights = parts.flat_map(|roles| self.can(plain, tenant, session, &roles)).collect();
        self.bound(plain, tenant, session, now, rights)
    }

    /// What all of these roles allow, and the first of them allowed at the start. Where one means nothing, none does.
    fn can(&self, plain: &Plain, tenant: &str, session: &Session, roles: &[String]) -> Words {
        let start = &roles[0];
        let mut rights = match session.then.get(start) {
            Some(rights) => rights.clone(),
            None if *start == session.role => session.rights.clone(),
            None => Words::new(),
        };
        for role in roles {
            let can = self.role_in(plain, tenant, role).unwrap_or_default();
            rights.retain(|right| can.contains(right));
        }
        rights
    }

    /// What of these rights is left by what bounds a session at this instant.
    fn bound(&self, plain: &Plain, tenant: &str, session: &Session, now: i64, mut rights: Words) -> Words {
        let grant = session.grant.as_ref().and_then(|id| self.grants.get(&(tenant.to_owned(), id.clone())));
        if session.by_consent() && plain.immediate {
            let level = self.level(plain, tenant, 0, now);
            let level = level_role(plain, &level).map(|role| role_can(plain, role)).unwrap_or_default();
            rights.retain(|right| level.contains(right));
        }
        if let Some(Ok(giver)) = grant.map(|grant| self.giver(plain, tenant, grant, now)) {
            rights.retain(|right| giver.contains(right));
        }
        rights.retain(|right| !forbidden(plain, right));
        rights
    }

    /// What can be refused without any document. `None` where that is not all.
    pub(crate) fn beforehand(plain: &Plain, request: &Request, caller: Caller<'_>) -> Option<Codes> {
        let mut codes = Codes::new();
        if let Map::Rule(_, true, _) = request.route {
            return Some(codes);
        }
        let subject = match caller {
            Caller::Nobody => return Some(Codes::from(["token_missing"])),
            Caller::Refused(_) => return Some(Codes::from(["token_invalid"])),
            Caller::Unverifiable => return Some(Codes::from(["keys_unavailable"])),
            Caller::Known(subject) => subject,
        };
        let member = subject.kind == SubjectKind::Member;
        let by_row = subject.id.issuer.as_str() == "rows";
        let mut told = false;
        match &request.tenant {
            // Where members may pass an unmapped route, nothing says where its path would name a tenant: theirs counts.
            Name::Missing
                if member
                    && plain.members_unmapped
                    && subject.tenant.is_some()
                    && matches!(request.route, Map::Unmapped) => {}
            Name::Missing => drop(codes.insert("tenant_missing")),
            Name::Unclear => drop(codes.insert("tenant_unclear")),
            Name::As(name) => {
                if member && subject.tenant.as_ref().is_none_or(|own| own.as_str() != name) {
                    codes.insert("tenant_foreign");
                }
            }
        }
        match &request.environment {
            Name::As(name) if ENVIRONMENTS.contains(&name.as_str()) => {}
            _ => drop(codes.insert("environment_unknown")),
        }
        match &request.route {
            // Where the map knows the path, or one that some back-end takes for the same, it is not silent.
            Map::Method => drop(codes.insert("method_unmapped")),
            Map::Twin => drop(codes.insert("route_twin")),
            Map::Unmapped if !(member && plain.members_unmapped && !subject.acting) => {
                codes.insert("route_unmapped");
            }
            Map::Rule(permissions, _, _) if member => {
                let same = subject.roles.iter().filter(|role| !tellable(plain, role.as_str()));
                let all = Self::all_of(plain, same.map(|role| role.to_string()));
                if !by_row && permissions.iter().any(|p| !all.contains(p)) {
                    told = subject.roles.iter().any(|role| tellable(plain, role.as_str()));
                    if !told {
                        codes.insert("permission_missing");
                    }
                }
                if subject.acting && permissions.iter().any(|p| forbidden(plain, p)) {
                    codes.insert("ceiling");
                }
            }
            Map::Rule(permissions, _, _) => {
                if permissions.is_empty() || permissions.iter().any(|p| forbidden(plain, p)) {
                    codes.insert("ceiling");
                }
            }
            Map::Unmapped => {}
        }
        if member {
            return if (by_row || told) && codes.is_empty() { None } else { Some(codes) };
        }
        if subject.acting {
            codes.insert("acting");
        }
        if request.session == Name::Unclear {
            codes.insert("session_unclear");
        }
        if request.clock_behind {
            codes.insert("clock_behind");
        }
        if codes.is_empty() { None } else { Some(codes) }
    }

    /// All that speaks against a request; nothing: it is allowed.
    pub(crate) fn objections(&self, plain: &Plain, request: &Request, caller: Caller<'_>, now: i64) -> Codes {
        let mut codes = self.all_objections(plain, request, caller, now);
        let lost = matches!(&request.tenant, Name::As(name) if self.lost.iter().any(|(of, _)| of == name));
        if lost && !codes.is_empty() && Self::beforehand(plain, request, caller).is_none() {
            codes.insert("state_unavailable");
        }
        codes
    }

    fn all_objections(&self, plain: &Plain, request: &Request, caller: Caller<'_>, now: i64) -> Codes {
        if let Some(codes) = Self::beforehand(plain, request, caller) {
            return codes;
        }
        if let Caller::Known(subject) = caller
            && subject.kind == SubjectKind::Member
        {
            let held = match self.held(plain, subject) {
                Ok(held) => held,
                Err(code) => return Codes::from([code]),
            };
            return match &request.route {
                Map::Rule(permissions, _, _) if permissions.iter().any(|p| !held.contains(p)) => {
                    Codes::from(["permission_missing"])
                }
                _ => Codes::new(),
            };
        }
        let (Caller::Known(subject), Map::Rule(permissions, _, kind)) = (caller, &request.route) else {
            panic!("decided beforehand")
        };
        let (Name::As(tenant), Name::As(environment)) = (&request.tenant, &request.environment) else {
            panic!("decided beforehand")
        };
        let missing = Codes::from(["session_missing"]);
        let Some(known) = self.tenants.get(tenant) else { return missing };
        let mine = |session: &&Session| session.who == who(subject);
        let mut codes = Codes::new();
        let session = match &request.session {
            Name::As(name) => {
                let Some(session) = self.sessions.get(&(tenant.clone(), name.clone())).filter(mine) else {
                    return missing;
                };
                codes.extend(self.session_faults(plain, tenant, session, subject, now));
                session
            }
            _ => {
                let here = self
                    .sessions
                    .iter()
                    .filter(|((t, _), s)| t == tenant && s.listed.as_ref() == Some(environment))
                    .map(|(_, session)| session)
                    .filter(mine);
                let judged: Vec<_> =
                    here.map(|s| (s, self.session_faults(plain, tenant, s, subject, now))).collect();
                let good: Vec<_> = judged
                    .iter()
                    .filter(|(_, faults)| faults.is_empty())
                    .map(|(session, _)| *session)
                    .collect();
                match good[..] {
                    [] if judged.is_empty() => return missing,
                    [] => return judged.into_iter().flat_map(|(_, faults)| faults).collect(),
                    [session] => session,
                    _ => return Codes::from(["session_ambiguous"]),
                }
            }
        };
        if session.environment != *environment {
            codes.insert("session_elsewhere");
        }
        if !known.environments.contains(environment) {
            codes.insert("environment_unknown");
        }
        let grant = session.grant.as_ref().and_then(|id| self.grants.get(&(tenant.clone(), id.clone())));
        let place = kind.clone().zip(request.resource.clone());
        let part = session.part(grant, place.as_ref());
        let roles = part.clone().unwrap_or_else(|| vec![session.role.clone()]);
        if !session.acts && roles.iter().any(|role| self.role_in(plain, tenant, role).is_none()) {
            codes.insert("role_unknown");
        }
        let can = self.can(plain, tenant, session, &roles);
        let rights = if session.acts {
            self.rights(plain, tenant, session, now)
        } else {
            self.bound(plain, tenant, session, now, can.clone())
        };
        for permission in permissions.iter().filter(|p| !rights.contains(*p)) {
            if session.acts || !can.contains(permission) {
                codes.insert("permission_missing");
            } else if session.grant.is_some() {
                codes.insert("grantor_lacks");
            } else {
                codes.insert("consent_lowered");
            }
        }
        if part.is_none() {
            codes.insert("grant_scope");
        }
        codes
    }

    pub(crate) fn administrator(&self, plain: &Plain, actor: Actor<'_>, tenant: &str, codes: &mut Codes) {
        match actor {
            Actor::Subject(subject) if subject.acting => drop(codes.insert("acting")),
            Actor::Subject(subject)
                if subject.kind == SubjectKind::Member
                    && subject.tenant.as_ref().is_some_and(|own| own.as_str() == tenant)
                    && self.held(plain, subject).is_ok_and(|held| held.contains("support:manage")) => {}
            _ => drop(codes.insert("not_allowed")),
        }
    }

    /// A person of the tenant, in a token of their own.
    fn person(actor: Actor<'_>, tenant: &str, codes: &mut Codes) {
        match actor {
            Actor::Subject(subject) if subject.acting => drop(codes.insert("acting")),
            Actor::Subject(subject)
                if subject.kind == SubjectKind::Member
                    && subject.tenant.as_ref().is_some_and(|own| own.as_str() == tenant) => {}
            _ => drop(codes.insert("not_allowed")),
        }
    }

    /// What a person lent to an organisation ends; since they lend it anew, or since they take it back.
    fn take_back(
        &mut self,
        tenant: &str,
        user: &Subject,
        to: &OrganisationName,
        environment: Option<&str>,
        now: i64,
        anew: bool,
    ) {
        for ((of, _), grant) in &mut self.grants {
            let meant = of == tenant
                && grant.acts
                && grant.grantor == who(user)
                && grant.to == Grantee::Organisation(to.clone())
                && environment.is_none_or(|only| grant.environment == only);
            if meant && grant.ended.is_none() && now < grant.until {
                grant.ended = Some(if anew { EndCause::Replaced } else { EndCause::Withdrawn });
            }
        }
    }

    /// Somebody is suspended or gone: what they lent ends (PRA-12).
    fn left(&mut self, tenant: &str, person: &str, now: i64) {
        for ((of, _), grant) in &mut self.grants {
            let theirs = of == tenant && grant.acts && grant.grantor == person;
            if theirs && grant.ended.is_none() && now < grant.until {
                grant.ended = Some(EndCause::GiverGone);
            }
        }
    }

    /// `crm` may push everything everywhere, `narrow` what `beta` is.
    fn service(actor: Actor<'_>, tenant: &str, codes: &mut Codes) {
        match actor {
            Actor::Subject(subject) if subject.acting => drop(codes.insert("acting")),
            Actor::Subject(subject)
                if subject.kind == SubjectKind::Service
                    && (&*subject.id.sub == "crm" || (&*subject.id.sub == "narrow" && tenant == "beta"))
                    && subject.tenant.as_ref().is_none_or(|own| own.as_str() == tenant) => {}
            _ => drop(codes.insert("not_allowed")),
        }
    }

    /// A tenant that was not there, or not any more.
    #[expect(clippy::too_many_arguments, reason = "what is said of a tenant")]
    fn registered(
        &mut self,
        plain: &Plain,
        id: &str,
        parent: Option<String>,
        zone: Zone,
        environments: Words,
        plan: Option<String>,
        codes: &mut Codes,
    ) {
        if parent.as_deref() == Some(id) {
            codes.insert("parent_itself");
        }
        if parent.as_ref().is_some_and(|p| self.tenants.get(p).is_none_or(|p| p.removed)) {
            codes.insert("parent_unknown");
        }
        let before = self.tenants.get(id).cloned();
        let taken = before.as_ref().map(|before| before.taken.clone()).unwrap_or_default();
        // One that comes back gives no more than it gave.
        let stood = before.as_ref().and_then(|before| before.cap.clone());
        let lower = stood.filter(|stood| rank(plain, stood) < rank(plain, "read_only"));
        let cap = Some(lower.unwrap_or_else(|| "read_only".into()));
        let (inherit, removed, raised) = (false, false, None);
        let by = before.as_ref().map(|before| before.by.clone()).unwrap_or_default();
        let raised_by = Vec::new();
        for ((tenant, _), row) in &mut self.members {
            row.old |= tenant == id;
        }
        for ((tenant, _), told) in &mut self.told {
            told.old |= tenant == id;
        }
        for ((tenant, _), grant) in &mut self.grants {
            grant.past |= tenant == id;
        }
        let new = Tenant {
            parent,
            environments,
            inherit,
            cap,
            removed,
            taken,
            zone,
            plan,
            raised,
            by,
            raised_by,
            approval: before.as_ref().is_some_and(|before| before.approval),
            approval_by: before.as_ref().map(|before| before.approval_by.clone()).unwrap_or_default(),
            others: before.as_ref().and_then(|before| before.others.clone()),
            lifted_by: before.map(|before| before.lifted_by).unwrap_or_default(),
        };
        self.tenants.insert(id.to_owned(), new);
    }

    fn until(until: &Until, now: i64) -> i64 {
        match until {
            Until::At(at) => at.ms(),
            Until::For(Span::Millis(ms)) => now + ms,
            Until::For(Span::CalendarDays(_) | Span::CalendarMonths(_)) | Until::Date(_) => {
                panic!("not used in histories")
            }
        }
    }

    fn dates(plain: &Plain, until: i64, now: i64, codes: &mut Codes) {
        if until <= now {
            codes.insert("not_in_future");
        }
        if plain.grant_most_ms.is_some_and(|most| until > now + most) {
            codes.insert("too_far");
        }
    }

    /// A token that is for one environment gives nothing in another.
    pub(crate) fn reaches(subject: Option<&Subject>, wanted: &str, codes: &mut Codes) {
        if subject.and_then(|by| by.environment.as_ref()).is_some_and(|own| own.as_str() != wanted) {
            codes.insert("environment_foreign");
        }
    }

    /// What is given anywhere: roles that there are, bounded by what their giver can do, over something.
    fn given(
        &self,
        plain: &Plain,
        tenant: &str,
        by: Option<&Subject>,
        role: &str,
        scope: Option<&Covers>,
        codes: &mut Codes,
    ) {
        if scope.is_some_and(BTreeMap::is_empty) {
            codes.insert("scope_empty");
        }
        for role in named_in(scope, role) {
            if self.role_in(plain, tenant, &role).is_none() {
                codes.insert("role_unknown");
            }
            self.bounded(plain, tenant, by, &role, codes);
        }
    }

    /// Nobody hands on what they may not do themselves.
    fn bounded(&self, plain: &Plain, tenant: &str, by: Option<&Subject>, role: &str, codes: &mut Codes) {
        let own = by.and_then(|by| self.held(plain, by).ok()).unwrap_or_default();
        if !for_staff(plain, self.role_in(plain, tenant, role)).is_subset(&own) {
            codes.insert("beyond_grantor");
        }
    }

    /// A command: everything that speaks against it, or the state after it. `stale`: the version that the caller saw
    /// is not the current one.
    pub(crate) fn apply(
        &self,
        plain: &Plain,
        command: &Command,
        actor: Actor<'_>,
        now: i64,
        stale: bool,
    ) -> Result<Naive, Codes> {
        let mut next = self.clone();
        let mut codes = Codes::new();
        let subject = match actor {
            Actor::Subject(subject) => Some(subject),
            Actor::Configuration | Actor::Clock | Actor::Application => None,
        };
        let staff = subject.filter(|s| s.kind == SubjectKind::Staff);
        match command {
            Command::Resource { .. } | Command::Created { .. } => {
                panic!("what lies below tenants has a naive model of its own")
            }
            Command::RegisterTenant { tenant, parent, environments, zone } => {
                let parent = parent.as_ref().map(|p| p.to_string());
                if !matches!(actor, Actor::Configuration) {
                    codes.insert("not_allowed");
                }
                match self.tenants.get(tenant.as_str()) {
                    Some(known) if known.parent != parent => drop(codes.insert("parent_fixed")),
                    Some(known) if !known.removed => {}
                    Some(_) | None => {
                        let environments = environments.iter().map(|e| e.to_string()).collect();
                        next.registered(
                            plain,
                            tenant.as_str(),
                            parent,
                            *zone,
                            environments,
                            None,
                            &mut codes,
                        );
                    }
                }
            }
            Command::PushTenant { tenant, parent, zone, environments, plan, .. } => {
                Self::service(actor, tenant.as_str(), &mut codes);
                let parent = parent.as_ref().map(|p| p.to_string());
                let plan = plan.as_ref().map(|p| p.to_string());
                let wanted: Words = environments.iter().map(|e| e.to_string()).collect();
                if wanted.is_empty() {
                    codes.insert("environments_missing");
                }
                if wanted.iter().any(|e| !ENVIRONMENTS.contains(&e.as_str())) {
                    codes.insert("environment_unknown");
                }
                if plain.configured.contains(&tenant.to_string()) {
                    codes.insert("tenant_configured");
                }
                if stale {
                    codes.insert("changed");
                }
                match next.tenants.get_mut(tenant.as_str()) {
                    Some(known) if known.parent != parent => drop(codes.insert("parent_fixed")),
                    Some(known) if !known.removed => {
                        for lost in known.environments.difference(&wanted) {
                            known.taken.insert(lost.clone(), now);
                        }
                        (known.zone, known.environments, known.plan) = (*zone, wanted, plan);
                    }
                    Some(_) | None => {
                        if let Some(parent) = &parent {
                            Self::service(actor, parent, &mut codes);
                        }
                        next.registered(plain, tenant.as_str(), parent, *zone, wanted, plan, &mut codes);
                    }
                }
            }
            Command::PushMember { tenant, member, roles, suspended, email, .. } => {
                Self::service(actor, tenant.as_str(), &mut codes);
                // `narrow` pushes tenants alone.
                if subject.is_some_and(|by| &*by.id.sub == "narrow") {
                    codes.insert("not_allowed");
                }
                if !["tenants", "rows"].contains(&member.issuer.as_str()) {
                    codes.insert("issuer_unknown");
                }
                let known = |role: &str| self.role_in(plain, tenant.as_str(), role).is_some();
                if roles.iter().any(|role| !known(role.as_str())) {
                    codes.insert("role_unknown");
                }
                match self.tenants.get(tenant.as_str()) {
                    None => drop(codes.insert("not_found")),
                    Some(known) if known.removed => drop(codes.insert("tenant_removed")),
                    Some(_) => {}
                }
                if stale {
                    codes.insert("changed");
                }
                let before = self.members.get(&(tenant.to_string(), member.to_string()));
                let leaves = *suspended && before.is_none_or(|row| !row.suspended);
                let row = Row {
                    roles: roles.iter().map(|role| role.to_string()).collect(),
                    suspended: *suspended,
                    email: email.as_ref().map(|email| email.to_string()),
                    removed: false,
                    away: if leaves { Some(now) } else { before.and_then(|row| row.away) },
                    old: false,
                };
                next.members.insert((tenant.to_string(), member.to_string()), row);
                if *suspended {
                    next.left(tenant.as_str(), &member.to_string(), now);
                }
            }
            Command::RemoveMember { tenant, member, .. } => {
                Self::service(actor, tenant.as_str(), &mut codes);
                if subject.is_some_and(|by| &*by.id.sub == "narrow") {
                    codes.insert("not_allowed");
                }
                match next.members.get_mut(&(tenant.to_string(), member.to_string())) {
                    None => drop(codes.insert("not_found")),
                    Some(row) if row.removed => {}
                    Some(row) => {
                        if stale {
                            codes.insert("changed");
                        }
                        (row.roles, row.email, row.removed) = (Words::new(), None, true);
                        row.away = Some(now);
                        next.left(tenant.as_str(), &member.to_string(), now);
                    }
                }
            }
            Command::SeeGrantor { tenant, needed } => match subject {
                Some(subject) if subject.acting => drop(codes.insert("acting")),
                Some(subject)
                    if subject.kind == SubjectKind::Member && subject.tenant.as_ref() == Some(tenant) =>
                {
                    next.passed(plain, tenant.as_str(), subject, now, needed.ms());
                }
                Some(_) | None => drop(codes.insert("not_found")),
            },
            Command::RemoveTenant { tenant, .. } => {
                Self::service(actor, tenant.as_str(), &mut codes);
                if plain.configured.contains(&tenant.to_string()) {
                    codes.insert("tenant_configured");
                }
                // No raise outlives its date by it.
                let level = self.level(plain, tenant.as_str(), 0, i64::MAX);
                let by = self.givers(plain, tenant.as_str(), 0, i64::MAX);
                let Some(known) = next.tenants.get_mut(tenant.as_str()) else {
                    codes.insert("not_found");
                    return Err(codes);
                };
                if !known.removed {
                    if stale {
                        codes.insert("changed");
                    }
                    for lost in &known.environments {
                        known.taken.insert(lost.clone(), now);
                    }
                    (known.removed, known.inherit, known.cap) = (true, false, Some(level));
                    known.raised = None;
                    known.by = by;
                }
            }
            Command::SetConsent { tenant, choice, until, .. } => {
                self.administrator(plain, actor, tenant.as_str(), &mut codes);
                let below = self.chosen(plain, tenant.as_str(), 0, now);
                let Some(known) = next.tenants.get_mut(tenant.as_str()) else {
                    codes.insert("not_found");
                    return Err(codes);
                };
                if known.removed {
                    codes.insert("tenant_removed");
                }
                if stale {
                    codes.insert("changed");
                }
                let was = (known.inherit, known.cap.clone());
                let raise_was = known.raised.clone().filter(|(_, until)| now < *until);
                match choice {
                    Choice::Level(level) => {
                        if !plain.ladder.iter().any(|(name, _)| name == level.as_str()) {
                            codes.insert("level_unknown");
                        }
                        match until {
                            Some(until) => {
                                if rank(plain, level.as_str()) <= rank(plain, &below) {
                                    codes.insert("not_raised");
                                }
                                let until = Self::until(until, now);
                                Self::dates(plain, until, now, &mut codes);
                                known.raised = Some((level.to_string(), until));
                            }
                            None => {
                                (known.inherit, known.cap) = (false, Some(level.to_string()));
                                known.raised = None;
                            }
                        }
                    }
                    Choice::Inherit => {
                        let above = known.parent.as_ref().and_then(|p| self.tenants.get(p));
                        if known.parent.is_none() || above.is_some_and(|above| above.removed) {
                            codes.insert("nothing_to_inherit");
                        }
                        if until.is_some() {
                            codes.insert("not_raised");
                        }
                        (known.inherit, known.cap, known.raised) = (true, None, None);
                        for ((below, _), session) in &mut next.sessions {
                            session.joined |= self.is_above(tenant.as_str(), below);
                        }
                        for ((below, _), request) in &mut next.requests {
                            if let Some(approved) = &mut request.approved {
                                approved.doubtful |= self.is_above(tenant.as_str(), below);
                            }
                        }
                    }
                }
                // Who chose first has chosen.
                let row = self.row_mail(tenant.as_str(), subject);
                let known = next.tenants.get_mut(tenant.as_str()).unwrap();
                let raise = known.raised.clone();
                if until.is_none() && (was != (known.inherit, known.cap.clone()) || raise != raise_was) {
                    known.by = Source::came(subject, row.clone());
                }
                if until.is_some() && raise != raise_was {
                    known.raised_by = Source::came(subject, row);
                }
                let changed = was != (known.inherit, known.cap.clone()) || raise != raise_was;
                if changed && !self.is_less(&next, plain, tenant.as_str(), now) {
                    let all = self.tenants[tenant.as_str()].environments.iter().map(String::as_str);
                    Self::reaches_all(subject, all, &mut codes);
                }
            }
            Command::SetRole { .. } | Command::RemoveRole { .. } => {
                next.say(plain, command, actor, now, stale, &mut codes);
            }
            Command::MakeGrant { tenant, grant, environment, to, role, scope, until } => {
                let given_as = self.gives_as(plain, actor, tenant.as_str());
                codes.extend(given_as.err());
                let given_as = given_as.unwrap_or_default();
                if given_as != GivenAs::Administrator && *scope == Scope::Everything {
                    codes.insert("scope_too_wide");
                }
                // Of the token alone, so it is true of tenants too that nobody knows.
                Self::reaches(subject, environment.as_str(), &mut codes);
                let Some(known) = self.tenants.get(tenant.as_str()) else {
                    codes.insert("not_found");
                    return Err(codes);
                };
                if known.removed {
                    codes.insert("tenant_removed");
                }
                if !known.environments.contains(environment.as_str()) {
                    codes.insert("environment_unknown");
                }
                let scope = covers_of(scope);
                self.given(plain, tenant.as_str(), subject, role.as_str(), scope.as_ref(), &mut codes);
                let until = Self::until(until, now);
                Self::dates(plain, until, now, &mut codes);
                let key = (tenant.to_string(), grant.to_string());
                if self.grants.contains_key(&key) {
                    codes.insert("changed");
                }
                next.grants.insert(
                    key,
                    Grant {
                        environment: environment.to_string(),
                        to: to.clone(),
                        bound: None,
                        role: role.to_string(),
                        acts: false,
                        scope,
                        grantor: subject.map(who).unwrap_or_default(),
                        given_as,
                        given: now,
                        until,
                        ended: None,
                        by: Source::came(subject, self.row_mail(tenant.as_str(), subject)),
                        past: false,
                    },
                );
                next.gave(plain, tenant.as_str(), subject, now, until);
            }
            Command::MoveGrant { tenant, grant, until, .. } => {
                let by = self.changes(plain, actor, (tenant.as_str(), grant.as_str()), &mut codes);
                let Some(known) = next.grants.get_mut(&(tenant.to_string(), grant.to_string())) else {
                    codes.insert("not_found");
                    return Err(codes);
                };
                if known.ended.is_some() || now >= known.until || self.switched_off(tenant.as_str(), known) {
                    codes.insert("ended");
                }
                if stale {
                    codes.insert("changed");
                }
                Self::reaches(subject, &known.environment, &mut codes);
                if known.acts {
                    codes.insert("login_access_moved");
                    return Err(codes);
                }
                let before = known.until;
                known.until = Self::until(until, now);
                known.past = false;
                if known.until > before && self.tenants.get(tenant.as_str()).is_some_and(|t| t.removed) {
                    codes.insert("tenant_removed");
                }
                if known.until > before {
                    Self::still_theirs(known, by, &mut codes);
                    known.by.extend(Source::came(subject, self.row_mail(tenant.as_str(), subject)));
                    for role in named_in(known.scope.as_ref(), &known.role) {
                        self.bounded(plain, tenant.as_str(), subject, &role, &mut codes);
                    }
                }
                Self::dates(plain, known.until, now, &mut codes);
                if known.until > before && subject.map(who).as_ref() == Some(&known.grantor) {
                    let until = known.until;
                    next.gave(plain, tenant.as_str(), subject, now, until);
                }
            }
            Command::ChangeGrant { tenant, grant, role, scope, until, .. } => {
                let by = self.changes(plain, actor, (tenant.as_str(), grant.as_str()), &mut codes);
                let Some(known) = next.grants.get_mut(&(tenant.to_string(), grant.to_string())) else {
                    codes.insert("not_found");
                    return Err(codes);
                };
                if known.ended.is_some() || now >= known.until || self.switched_off(tenant.as_str(), known) {
                    codes.insert("ended");
                }
                if stale {
                    codes.insert("changed");
                }
                Self::reaches(subject, &known.environment, &mut codes);
                if self.tenants.get(tenant.as_str()).is_some_and(|t| t.removed) {
                    codes.insert("tenant_removed");
                }
                if known.acts {
                    codes.insert("login_access_moved");
                    return Err(codes);
                }
                let before = (known.role.clone(), known.scope.clone(), known.until);
                if let Some(role) = role {
                    known.role = role.to_string();
                }
                if let Some(scope) = scope {
                    known.scope = covers_of(scope);
                }
                if let Some(until) = until {
                    known.until = Self::until(until, now);
                    Self::dates(plain, known.until, now, &mut codes);
                }
                if (known.role.clone(), known.scope.clone(), known.until) != before {
                    known.by.extend(Source::came(subject, self.row_mail(tenant.as_str(), subject)));
                    known.past = false;
                    Self::still_theirs(known, by, &mut codes);
                    let given = [known.given_as, by.unwrap_or_default()];
                    if given != [GivenAs::Administrator; 2] && known.scope.is_none() {
                        codes.insert("scope_too_wide");
                    }
                    let (role, scope) = (known.role.clone(), known.scope.clone());
                    self.given(plain, tenant.as_str(), subject, &role, scope.as_ref(), &mut codes);
                    if subject.map(who).as_ref() == Some(&known.grantor) {
                        let until = known.until;
                        next.gave(plain, tenant.as_str(), subject, now, until);
                    }
                }
            }
            Command::SetGranting { tenant, allowed, .. } => {
                self.administrator(plain, actor, tenant.as_str(), &mut codes);
                if stale {
                    codes.insert("changed");
                }
                next.let_others(plain, (tenant, *allowed), subject, now, &mut codes);
            }
            Command::WithdrawGrant { tenant, grant } => {
                self.withdraws(plain, actor, (tenant.as_str(), grant.as_str()), &mut codes);
                let Some(known) = next.grants.get_mut(&(tenant.to_string(), grant.to_string())) else {
                    codes.insert("not_found");
                    return Err(codes);
                };
                if known.ended.is_none() && now < known.until {
                    known.ended = Some(EndCause::Withdrawn);
                }
            }
            Command::AllowLogin { tenant, grant, environment, organisation, lasts, .. } => {
                Self::person(actor, tenant.as_str(), &mut codes);
                Self::reaches(subject, environment.as_str(), &mut codes);
                if !DESKS.contains(&organisation.as_str()) {
                    codes.insert("not_found");
                }
                let Span::Millis(ms) = lasts else { panic!("not used in histories") };
                if !LENT_MS.contains(ms) {
                    codes.insert("duration_not_offered");
                }
                let Some(known) = self.tenants.get(tenant.as_str()) else {
                    codes.insert("not_found");
                    return Err(codes);
                };
                if known.removed {
                    codes.insert("tenant_removed");
                }
                if !known.environments.contains(environment.as_str()) {
                    codes.insert("environment_unknown");
                }
                let Some(user) = subject else { return Err(codes) };
                let gone = match self.members.get(&(tenant.to_string(), who(user))) {
                    Some(row) => row.gone() || row.suspended,
                    None => user.id.issuer.as_str() == "rows",
                };
                if gone {
                    codes.insert("not_allowed");
                }
                let key = (tenant.to_string(), grant.to_string());
                if self.grants.contains_key(&key) {
                    codes.insert("changed");
                }
                // PRA-02: the new one takes the place of the old one.
                next.take_back(tenant.as_str(), user, organisation, Some(environment.as_str()), now, true);
                let new = Grant {
                    past: false,
                    environment: environment.to_string(),
                    to: Grantee::Organisation(organisation.clone()),
                    bound: None,
                    role: String::new(),
                    acts: true,
                    scope: None,
                    grantor: who(user),
                    given_as: GivenAs::Administrator,
                    given: now,
                    until: now + ms,
                    ended: None,
                    by: Source::came(subject, self.row_mail(tenant.as_str(), subject)),
                };
                next.grants.insert(key, new);
                next.gave(plain, tenant.as_str(), subject, now, now + ms);
            }
            Command::WithdrawLogin { tenant, organisation, environment } => {
                Self::person(actor, tenant.as_str(), &mut codes);
                let Some(user) = subject else { return Err(codes) };
                let environment = environment.as_ref().map(|environment| environment.as_str());
                next.take_back(tenant.as_str(), user, organisation, environment, now, false);
            }
            Command::SetApproval { tenant, required, .. } => {
                let row = self.row_mail(tenant.as_str(), subject);
                next.rule(plain, tenant.as_str(), *required, actor, row, stale, &mut codes);
            }
            Command::Request { tenant, request, step } => {
                next.step(
                    self,
                    plain,
                    tenant.as_str(),
                    request.as_str(),
                    step,
                    actor,
                    now,
                    stale,
                    &mut codes,
                );
            }
            Command::StartSession { tenant, session, environment, basis, reason, lasts, .. } => {
                match staff {
                    None => drop(codes.insert("not_staff")),
                    Some(staff) if staff.acting => drop(codes.insert("acting")),
                    Some(_) => {}
                }
                Self::reaches(subject, environment.as_str(), &mut codes);
                if reason.trim().is_empty() {
                    codes.insert("reason_unfit");
                }
                let Some(agent) = staff else { return Err(codes) };
                let everywhere = ["all".to_owned(), format!("person {}", who(agent))];
                if everywhere.iter().any(|name| self.stops.contains_key(name)) {
                    codes.insert("stopped");
                }
                let Some(known) = self.tenants.get(tenant.as_str()).filter(|t| !t.removed) else {
                    codes.insert(if *basis == WantedBasis::Consent { "consent_closes" } else { "not_found" });
                    return Err(codes);
                };
                if !known.environments.contains(environment.as_str()) {
                    codes.insert("environment_unknown");
                }
                let mut grant_id = None;
                let mut began = None;
                let own = |by: &[Source]| by.iter().any(|giver| giver.is(agent));
                let mut by = Vec::new();
                let mut most = now + plain.lasts_ms;
                let role = match basis {
                    WantedBasis::Consent | WantedBasis::Request(_) => {
                        by = self.givers(plain, tenant.as_str(), 0, now);
                        let mut at_most = usize::MAX;
                        if let WantedBasis::Request(id) = basis {
                            let key = (tenant.to_string(), id.to_string());
                            let request = next.requests.get_mut(&key);
                            let Some(request) = request.filter(|request| request.who == who(agent)) else {
                                codes.insert("not_found");
                                return Err(codes);
                            };
                            if request.over(now).is_some() {
                                codes.insert("request_over");
                                return Err(codes);
                            }
                            let Some(approved) = request.approved.clone() else {
                                codes.insert("not_approved");
                                return Err(codes);
                            };
                            if request.environment != environment.as_str()
                                || self.taken(tenant.as_str(), environment.as_str(), request.asked)
                            {
                                codes.insert("beyond_request");
                            }
                            if approved.over || self.has_left(tenant.as_str(), &approved.who) {
                                codes.insert("request_over");
                            }
                            at_most = rank(plain, &approved.level);
                            most = most.min(now + approved.lasts);
                            by.push(approved.by);
                            request.over = Some("used");
                        } else if known.approval {
                            codes.insert("approval_required");
                        } else {
                            by.extend(known.approval_by.iter().cloned());
                        }
                        if own(&by) {
                            codes.insert("self_granted");
                        }
                        let level = self.level(plain, tenant.as_str(), 0, now);
                        let level = plain.ladder[rank(plain, &level).min(at_most)].0.clone();
                        match level_role(plain, &level) {
                            Some(role) => role.to_owned(),
                            None => {
                                codes.insert("consent_closes");
                                return Err(codes);
                            }
                        }
                    }
                    WantedBasis::Grant(id) | WantedBasis::ActAs(id) => {
                        let acting = matches!(basis, WantedBasis::ActAs(_));
                        grant_id = Some(id.to_string());
                        let grant = next.grants.get_mut(&(tenant.to_string(), id.to_string()));
                        let Some(grant) = grant.filter(|grant| Self::is_for(grant, agent)) else {
                            codes.insert("not_found");
                            return Err(codes);
                        };
                        if grant.ended.is_some()
                            || grant.acts != acting
                            || self.taken(tenant.as_str(), environment.as_str(), grant.given)
                            || self.giver(plain, tenant.as_str(), grant, now).is_err()
                            || self.switched_off(tenant.as_str(), grant)
                            || self.giver_went(tenant.as_str(), grant)
                            || now >= grant.until
                            || grant.environment != environment.as_str()
                        {
                            codes.insert("grant_gives_nothing");
                        }
                        let named = named_in(grant.scope.as_ref(), &grant.role);
                        let mine = |role: &String| self.filled_by(plain, tenant.as_str(), role, agent);
                        let filled = named.iter().any(mine)
                            || self.lender_filled_by(plain, tenant.as_str(), grant, agent);
                        let filled = filled || self.let_by(tenant.as_str(), grant, agent);
                        if own(&grant.by) || filled {
                            codes.insert("self_granted");
                        }
                        if matches!(grant.to, Grantee::Email(_)) && grant.bound.is_none() {
                            grant.bound = Some(who(agent));
                        }
                        began = grant.scope.clone();
                        grant.role.clone()
                    }
                };
                if self.is_stopped(tenant.as_str(), &who(agent)) {
                    codes.insert("stopped");
                }
                if own(&known.lifted_by) {
                    codes.insert("self_granted");
                }
                self.kept_out(tenant.as_str(), agent, &mut codes);
                let acts = matches!(basis, WantedBasis::ActAs(_));
                let meant = self.role_in(plain, tenant.as_str(), &role).filter(|_| !acts);
                if !acts && meant.is_none() {
                    codes.insert("role_unknown");
                }
                let deadline = match lasts {
                    None => most,
                    Some(Span::Millis(ms)) => now + ms,
                    Some(Span::CalendarDays(_) | Span::CalendarMonths(_)) => panic!("not used in histories"),
                };
                if deadline <= now {
                    codes.insert("not_in_future");
                }
                if deadline > most {
                    codes.insert("lasts_too_long");
                }
                let key = (tenant.to_string(), session.to_string());
                if self.sessions.contains_key(&key) {
                    codes.insert("changed");
                }
                let mine = |s: &Session| s.who == who(agent);
                for ((t, _), old) in &mut next.sessions {
                    if t != tenant.as_str() || !mine(old) {
                        continue;
                    }
                    if old.ended.is_some() {
                        old.listed = None;
                        continue;
                    }
                    // P17-18: the older session by consent in that environment ends.
                    if grant_id.is_none() && old.by_consent() && old.environment == environment.as_str() {
                        let over = now >= old.deadline;
                        old.ended = Some(if over { EndCause::Expired } else { EndCause::Replaced });
                        old.listed = None;
                    }
                }
                let count = next
                    .sessions
                    .iter()
                    .filter(|((t, _), s)| t == tenant.as_str() && mine(s) && s.ended.is_none());
                if count.count() >= 32 {
                    codes.insert("too_many_sessions");
                }
                let rights = for_staff(plain, meant);
                let could = |role: String| {
                    let can = for_staff(plain, self.role_in(plain, tenant.as_str(), &role));
                    (role, can)
                };
                let then = roles_of(began.as_ref(), &role).into_iter().map(could).collect();
                let new = Session {
                    began,
                    then,
                    who: who(agent),
                    environment: environment.to_string(),
                    by,
                    grant: grant_id,
                    glass: false,
                    acts,
                    role,
                    rights,
                    started: now,
                    deadline,
                    ended: None,
                    closed: false,
                    stopped: false,
                    joined: false,
                    listed: Some(environment.to_string()),
                };
                if !codes.contains("changed") {
                    next.sessions.insert(key, new);
                }
            }
            Command::BreakGlass { tenant, session, environment, reason, incident, cause, lasts } => {
                let by = match subject {
                    Some(by) if by.acting => return Err(Codes::from(["acting"])),
                    Some(by) if staff.is_some() && may_break(&who(by)) => by,
                    _ => return Err(Codes::from(["not_operator"])),
                };
                let Some(role) = plain.glass.clone() else { return Err(Codes::from(["not_operator"])) };
                Self::reaches(subject, environment.as_str(), &mut codes);
                if reason.trim().is_empty() {
                    codes.insert("reason_unfit");
                }
                let number = incident.strip_prefix("INC-").unwrap_or_default();
                if !(1..=4).contains(&number.len()) || !number.bytes().all(|b| b.is_ascii_digit()) {
                    codes.insert("incident_malformed");
                }
                if !CAUSES.contains(&cause.as_str()) {
                    codes.insert("cause_unknown");
                }
                if self.is_stopped(tenant.as_str(), &who(by)) {
                    codes.insert("stopped");
                }
                self.kept_out(tenant.as_str(), by, &mut codes);
                let Some(known) = self.tenants.get(tenant.as_str()).filter(|t| !t.removed) else {
                    codes.insert("not_found");
                    return Err(codes);
                };
                if !known.environments.contains(environment.as_str()) {
                    codes.insert("environment_unknown");
                }
                if !plain.roles.contains_key(&role) {
                    codes.insert("role_unknown");
                }
                let deadline = match lasts {
                    None => now + GLASS_MS,
                    Some(Span::Millis(ms)) => now + ms,
                    Some(Span::CalendarDays(_) | Span::CalendarMonths(_)) => panic!("not used in histories"),
                };
                if deadline <= now {
                    codes.insert("not_in_future");
                }
                if deadline > now + GLASS_MS {
                    codes.insert("lasts_too_long");
                }
                let key = (tenant.to_string(), session.to_string());
                if self.sessions.contains_key(&key) {
                    codes.insert("changed");
                }
                let mut count = 0;
                for ((t, _), old) in &mut next.sessions {
                    if t != tenant.as_str() || old.who != who(by) {
                        continue;
                    }
                    if old.ended.is_some() {
                        old.listed = None;
                        continue;
                    }
                    if old.glass && old.environment == environment.as_str() {
                        let over = now >= old.deadline;
                        old.ended = Some(if over { EndCause::Expired } else { EndCause::Replaced });
                        old.listed = None;
                    } else {
                        count += 1;
                    }
                }
                if count >= 32 {
                    codes.insert("too_many_sessions");
                }
                let rights = role_can(plain, &role).into_iter().filter(|p| !forbidden(plain, p)).collect();
                let new = Session {
                    began: None,
                    then: Default::default(),
                    who: who(by),
                    environment: environment.to_string(),
                    by: Default::default(),
                    grant: None,
                    glass: true,
                    acts: false,
                    role,
                    rights,
                    started: now,
                    deadline,
                    ended: None,
                    closed: false,
                    stopped: false,
                    joined: false,
                    listed: Some(environment.to_string()),
                };
                if !codes.contains("changed") {
                    next.sessions.insert(key, new);
                }
            }
            Command::EndSession { tenant, session } => {
                let mut power = Codes::new();
                self.administrator(plain, actor, tenant.as_str(), &mut power);
                if power.contains("acting") {
                    return Err(power);
                }
                let key = (tenant.to_string(), session.to_string());
                let removes = power.is_empty();
                if !removes && staff.is_none() {
                    return Err(power);
                }
                let mine = |s: &&mut Session| removes || staff.is_some_and(|agent| s.who == who(agent));
                let Some(found) = next.sessions.get_mut(&key).filter(mine) else {
                    return Err(Codes::from(["not_found"]));
                };
                if found.ended.is_none() {
                    let over = now >= found.deadline;
                    // P17-27: who is removed is out, with whatever else they have there.
                    let bars = (removes && !over && plain.bar).then(|| found.who.clone());
                    let cause = if removes { EndCause::Removed } else { EndCause::Ended };
                    found.ended = Some(if over { EndCause::Expired } else { cause });
                    found.listed = None;
                    if let Some(whose) = bars {
                        let row = (tenant.to_string(), whose.clone());
                        for ((t, _), other) in &mut next.sessions {
                            let open = other.ended.is_none() && now < other.deadline;
                            if t == tenant.as_str() && other.who == whose && open {
                                other.ended = Some(EndCause::Removed);
                                other.listed = None;
                            }
                        }
                        next.let_in.remove(&row);
                        next.barred.insert(row);
                    }
                }
            }
            Command::LiftBar { tenant, person } => {
                self.administrator(plain, actor, tenant.as_str(), &mut codes);
                let Some(known) = self.tenants.get(tenant.as_str()) else {
                    return Err(codes.into_iter().chain(["not_found"]).collect());
                };
                if known.removed {
                    codes.insert("tenant_removed");
                }
                let row = (tenant.to_string(), person.to_string());
                if next.barred.remove(&row) {
                    let mail = self.row_mail(tenant.as_str(), subject);
                    next.let_in.insert(row, Source::came(subject, mail));
                    let all = known.environments.iter().map(String::as_str);
                    Self::reaches_all(subject, all, &mut codes);
                }
            }
            Command::Stop { switch, reason } | Command::Lift { switch, reason } => {
                let set = matches!(command, Command::Stop { .. });
                let name = switch_name(switch);
                let mut themselves = false;
                if reason.trim().is_empty() {
                    codes.insert("reason_unfit");
                }
                match switch {
                    Switch::Own(tenant) => {
                        self.administrator(plain, actor, tenant.as_str(), &mut codes);
                        match next.tenants.get_mut(tenant.as_str()) {
                            None => drop(codes.insert("not_found")),
                            Some(known) if self.stops.contains_key(&name) != set => {
                                known.lifted_by = Vec::new();
                                if !set {
                                    let row = self.row_mail(tenant.as_str(), subject);
                                    known.lifted_by = Source::came(subject, row);
                                    let all = known.environments.iter().map(String::as_str);
                                    Self::reaches_all(subject, all, &mut codes);
                                }
                            }
                            Some(_) => {}
                        }
                    }
                    Switch::Operators(reach) => {
                        let by = match staff {
                            Some(by) if by.acting => return Err(Codes::from(["acting"])),
                            Some(by) if OPERATORS.contains(&&*by.id.sub) => who(by),
                            _ if subject.is_some_and(|s| s.acting) => return Err(Codes::from(["acting"])),
                            _ => return Err(Codes::from(["not_operator"])),
                        };
                        themselves = name == format!("person {by}");
                        // Who is stopped is no operator, save that they undo what they did to themselves.
                        let own = self.stops.get(&format!("person {by}"));
                        let undoes = themselves && (set || own == Some(&true));
                        if own.is_some() && !undoes {
                            codes.insert("stopped");
                        }
                        if !set && self.stops.contains_key(&name) {
                            Self::reaches_all(subject, ENVIRONMENTS, &mut codes);
                        }
                        match reach {
                            Reach::Person(person) if set && person.issuer.as_str() != "vendor" => {
                                codes.insert("issuer_unknown");
                            }
                            Reach::Tenant(tenant) if set && !self.tenants.contains_key(tenant.as_str()) => {
                                codes.insert("not_found");
                            }
                            _ => {}
                        }
                    }
                }
                if set {
                    let before = next.stops.get(&name).copied();
                    // Only what somebody set over themselves gives way to another one's.
                    if before.is_none() || (before == Some(true) && !themselves) {
                        next.stops.insert(name.clone(), themselves);
                        for ((tenant, _), session) in &mut next.sessions {
                            session.stopped |= bearing(tenant, &session.who).contains(&name);
                        }
                        for ((tenant, _), request) in &mut next.requests {
                            let borne = bearing(tenant, &request.who).contains(&name);
                            if let Some(approved) = request.approved.as_mut().filter(|_| borne) {
                                approved.over = true;
                            }
                        }
                    }
                } else if next.stops.remove(&name).is_some() {
                    for ((tenant, _), request) in &mut next.requests {
                        let borne = bearing(tenant, &request.who).contains(&name);
                        if let Some(approved) = request.approved.as_mut().filter(|_| borne) {
                            approved.over |= approved.at < now;
                        }
                    }
                }
            }
            Command::Expire { key } => {
                if !matches!(actor, Actor::Clock) {
                    codes.insert("not_allowed");
                }
                let mut felled = false;
                if let Key::Session(t, s) = key
                    && let Some(session) = next.sessions.get(&(t.to_string(), s.to_string()))
                {
                    felled = !next.fallen(plain, t.as_str(), session, now).is_empty();
                }
                let (ended, deadline) = match key {
                    Key::Session(t, s) => match next.sessions.get_mut(&(t.to_string(), s.to_string())) {
                        Some(session) => {
                            if session.ended.is_none() && now >= session.deadline {
                                session.listed = None;
                            }
                            (&mut session.ended, session.deadline)
                        }
                        None => return Err(codes.into_iter().chain(["not_found"]).collect()),
                    },
                    Key::Grant(t, g) => match next.grants.get_mut(&(t.to_string(), g.to_string())) {
                        Some(grant) => (&mut grant.ended, grant.until),
                        None => return Err(codes.into_iter().chain(["not_found"]).collect()),
                    },
                    Key::Tenant(t) => {
                        let Some(known) = next.tenants.get_mut(t.as_str()) else {
                            return Err(codes.into_iter().chain(["not_found"]).collect());
                        };
                        if known.raised.as_ref().is_some_and(|(_, until)| now < *until) {
                            codes.insert("not_due");
                        }
                        known.raised = None;
                        return if codes.is_empty() { Ok(next) } else { Err(codes) };
                    }
                    Key::Request(t, r) => {
                        let Some(request) = next.requests.get_mut(&(t.to_string(), r.to_string())) else {
                            return Err(codes.into_iter().chain(["not_found"]).collect());
                        };
                        if request.over(now).is_none() {
                            codes.insert("not_due");
                        }
                        request.over = request.over(now);
                        return if codes.is_empty() { Ok(next) } else { Err(codes) };
                    }
                    Key::Presence(..)
                    | Key::Member(..)
                    | Key::Made(..)
                    | Key::Grantor(..)
                    | Key::Role(..)
                    | Key::Resource(..)
                    | Key::Joined(..)
                    | Key::Tally(..)
                    | Key::Stop(_) => {
                        return Err(codes.into_iter().chain(["not_found"]).collect());
                    }
                };
                if ended.is_none() {
                    if now < deadline && !felled {
                        codes.insert("not_due");
                    }
                    // Of a session it is noted behind this as what it was written down.
                    *ended = Some(EndCause::Expired);
                }
            }
            Command::AcceptClock { tenant, session } => {
                if !matches!(actor, Actor::Clock) {
                    codes.insert("not_allowed");
                }
                let Some(known) = next.sessions.get_mut(&(tenant.to_string(), session.to_string())) else {
                    return Err(codes.into_iter().chain(["not_found"]).collect());
                };
                if known.ended.is_none() {
                    let over = now >= known.deadline;
                    known.listed = None;
                    known.ended = Some(if over { EndCause::Expired } else { EndCause::ClockAccepted });
                }
            }
        }
        if !codes.is_empty() {
            return Err(codes);
        }
        next.look(plain, now);
        Ok(next)
    }

    /// The same world read from documents at that instant; closings are told by the marks. `open`: the levels that give
    /// something.
    pub(crate) fn read(documents: &BTreeMap<Key, Document>, open: &Words, now: i64) -> Naive {
        let mut naive = Naive::default();
        let mut listed = BTreeSet::new();
        for (key, document) in documents {
            match (key, document) {
                (Key::Tenant(id), Document::Tenant(tenant)) => {
                    let Consent { inherit, cap, raised, .. } = &tenant.consent;
                    let new = Tenant {
                        parent: tenant.parent.as_ref().map(|p| p.to_string()),
                        environments: tenant.environments.iter().map(|e| e.to_string()).collect(),
                        inherit: *inherit,
                        cap: cap.as_ref().map(|c| c.to_string()),
                        removed: tenant.removed.is_some(),
                        taken: tenant.taken.iter().map(|(e, at)| (e.to_string(), at.ms())).collect(),
                        zone: tenant.zone,
                        plan: tenant.plan.as_ref().map(|plan| plan.to_string()),
                        raised: raised.as_ref().map(|r| (r.level.to_string(), r.until.ms())),
                        by: Source::kept(&tenant.consent.by)
                            .into_iter()
                            .chain(tenant.consent.above.iter().cloned().map(Source::Above))
                            .collect(),
                        approval: tenant.approval.as_ref().is_some_and(|rule| rule.required),
                        approval_by: tenant
                            .approval
                            .as_ref()
                            .map(|rule| Source::kept(&rule.by))
                            .unwrap_or_default(),
                        lifted_by: Source::kept(&tenant.stop.lifted_by),
                        others: Others::read(tenant),
                        raised_by: raised.as_ref().map(|r| Source::kept(&r.by)).unwrap_or_default(),
                    };
                    naive.tenants.insert(id.to_string(), new);
                    let said = |role| documents.contains_key(&Key::Role(id.clone(), role));
                    let lost = tenant.roles.iter().filter(|role| !said((*role).clone()));
                    naive.lost.extend(lost.map(|role| (id.to_string(), role.to_string())));
                    if tenant.stop.set.is_some() {
                        naive.stops.insert(format!("own {id}"), false);
                    }
                }
                (Key::Stop(reach), Document::Stop(stop)) => {
                    if let Some(halt) = &stop.set
                        && counts(documents, reach)
                    {
                        naive.stops.insert(switch_name(&Switch::Operators(reach.clone())), halt.own);
                    }
                }
                (Key::Grant(tenant, id), Document::Grant(grant)) => {
                    let new = Grant {
                        environment: grant.environment.to_string(),
                        to: grant.to.clone(),
                        bound: grant.bound.as_ref().map(|b| format!("{}|{}", b.issuer, b.sub)),
                        role: grant.role.as_ref().map(ToString::to_string).unwrap_or_default(),
                        acts: grant.act_as.is_some(),
                        grantor: grant.grantor.to_string(),
                        given_as: grant.given_as,
                        scope: covers_of(&grant.scope),
                        given: grant.given.ms(),
                        until: grant.until.ms(),
                        ended: grant.ended.as_ref().map(|end| end.cause),
                        by: {
                            let mut by = Source::kept(&grant.prolonged_by);
                            by.push(Source::Kept(grant.giver()));
                            by
                        },
                        past: false,
                    };
                    naive.grants.insert((tenant.to_string(), id.to_string()), new);
                }
                (Key::Session(tenant, id), Document::Session(session)) => {
                    let mut closed = false;
                    let mut next = Some(tenant.clone());
                    let mut walked = 0;
                    while let Some(Document::Tenant(t)) = next.and_then(|id| documents.get(&Key::Tenant(id)))
                    {
                        walked += 1;
                        if walked > 65 {
                            break;
                        }
                        closed |= t.consent.closed_at.is_some_and(|at| session.started <= at);
                        // While a level of its own is raised, a closing further up is none here.
                        let raised = t.consent.raised.as_ref();
                        if raised.is_some_and(|r| now < r.until.ms() && open.contains(r.level.as_str())) {
                            break;
                        }
                        next = t.parent.clone().filter(|_| t.consent.inherit);
                    }
                    let new = Session {
                        who: format!("{}|{}", session.subject.issuer, session.subject.sub),
                        environment: session.environment.to_string(),
                        by: Source::kept(&session.givers)
                            .into_iter()
                            .chain(session.above.iter().cloned().map(Source::Above))
                            .collect(),
                        grant: match &session.basis {
                            Basis::Consent(_) | Basis::BreakGlass(_) => None,
                            Basis::Grant(id) => Some(id.to_string()),
                            Basis::ActAs(acting) => Some(acting.grant.to_string()),
                        },
                        glass: matches!(session.basis, Basis::BreakGlass(_)),
                        acts: matches!(session.basis, Basis::ActAs(_)),
                        role: session.role.as_ref().map(ToString::to_string).unwrap_or_default(),
                        rights: session.rights.iter().map(|r| r.to_string()).collect(),
                        began: session.within.as_ref().and_then(|within| covers_of(&within.scope)),
                        then: session
                            .within
                            .iter()
                            .flat_map(|within| &within.rights)
                            .map(|(role, rights)| {
                                (role.to_string(), rights.iter().map(|r| r.to_string()).collect())
                            })
                            .collect(),
                        started: session.started.ms(),
                        deadline: session.deadline.ms(),
                        ended: session.ended.as_ref().map(|end| end.cause),
                        closed,
                        stopped: over(documents, tenant.as_str(), session),
                        joined: false,
                        listed: None,
                    };
                    naive.sessions.insert((tenant.to_string(), id.to_string()), new);
                }
                (Key::Request(tenant, id), Document::Request(request)) => {
                    let request = Asked::read(request);
                    naive.requests.insert((tenant.to_string(), id.to_string()), request);
                }
                (Key::Member(tenant, person), Document::Member(member)) => {
                    let row = Row {
                        roles: member.roles.iter().map(|role| role.to_string()).collect(),
                        suspended: member.suspended,
                        email: member.email.as_ref().map(|email| email.to_string()),
                        removed: member.removed.is_some(),
                        away: member.away.map(|at| at.ms()),
                        old: match documents.get(&Key::Tenant(tenant.clone())) {
                            Some(Document::Tenant(known)) => known.life != member.life,
                            _ => true,
                        },
                    };
                    naive.members.insert((tenant.to_string(), person.to_string()), row);
                }
                (Key::Role(tenant, role), Document::Role(_)) => {
                    let told = Told::read(documents, key).unwrap();
                    naive.told.insert((tenant.to_string(), role.to_string()), told);
                }
                (Key::Grantor(tenant, person), Document::Grantor(grantor)) => {
                    let words = |roles: &BTreeSet<postern::model::RoleName>| -> Words {
                        roles.iter().map(|role| role.to_string()).collect()
                    };
                    let roles = grantor.roles.iter().map(words).collect();
                    let key = (tenant.to_string(), person.to_string());
                    naive.sighted.insert(key, (roles, grantor.seen.ms(), grantor.needed.ms()));
                }
                (Key::Presence(tenant, subject), Document::Presence(presence)) => {
                    if let Some(asked) = presence.asked {
                        let key = (tenant.to_string(), subject.to_string());
                        naive.asked.insert(key, (asked.since.ms(), asked.times));
                    }
                    let row = (tenant.to_string(), subject.to_string());
                    if presence.barred.is_some() {
                        naive.barred.insert(row);
                    } else if !presence.lifted_by.is_empty() {
                        naive.let_in.insert(row, Source::kept(&presence.lifted_by));
                    }
                    for (id, environment) in &presence.sessions {
                        listed.insert((
                            tenant.to_string(),
                            id.to_string(),
                            subject.clone(),
                            environment.clone(),
                        ));
                    }
                }
                _ => {}
            }
        }
        for (tenant, id, subject, environment) in listed {
            if let Some(session) = naive.sessions.get_mut(&(tenant, id))
                && session.who == format!("{}|{}", subject.issuer, subject.sub)
            {
                session.listed = Some(environment.to_string());
            }
        }
        naive
    }
}

/// A switch over a tenant or a person counts where the one over everything says that there are such.
fn counts(documents: &BTreeMap<Key, Document>, reach: &Reach) -> bool {
    let all = documents.get(&Key::Stop(Reach::All));
    *reach == Reach::All || matches!(all, Some(Document::Stop(all)) if all.others)
}

/// Whether a switch was set over a session since it began.
fn over(documents: &BTreeMap<Key, Document>, tenant: &str, session: &postern::model::Session) -> bool {
    documents.iter().any(|(key, document)| {
        let stop = match (key, document) {
            (Key::Tenant(id), Document::Tenant(known)) if id.as_str() == tenant => &known.stop,
            (Key::Stop(reach), Document::Stop(stop)) if counts(documents, reach) => {
                let who = format!("{}|{}", session.subject.issuer, session.subject.sub);
                if !bearing(tenant, &who).contains(&switch_name(&Switch::Operators(reach.clone()))) {
                    return false;
                }
                stop
            }
            _ => return false,
        };
        stop.closed_at.is_some_and(|at| session.started <= at)
    })
}
