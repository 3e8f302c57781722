//! What the fields of a body mean, read strictly: no unknown member, no wrong type, no value repaired, save that an
//! address is lower-cased.

use std::{collections::BTreeSet, sync::Arc};

use chrono::{Datelike, NaiveDate};

use crate::{
    identity::json::{Json, Object},
    lifecycle::{Choice, Step, Until, WantedBasis},
    model::{
        EnvironmentId, GrantId, Grantee, IssuerName, LevelName, PermissionName, PlanName, Reach, RequestId,
        ResourceId, ResourceType, RoleAt, RoleName, Scope, Span, SubjectRef, TenantId, Timestamp, Version,
        Zone,
    },
};

use super::problem::Problem;

/// What a person chooses who lets nobody act as them.
pub(super) const NO_ACCESS: &str = "no access";
/// Resources that one grant may name: so many that its record still fits into a line of the ledger.
const MOST_RESOURCES: usize = 100;
/// Permissions that one role may name; how much room they take bounds them beside.
const MOST_PERMISSIONS: usize = 1000;

/// One object of a body, with its place for messages.
pub(super) struct Form<'a> {
    object: &'a Object,
    at: String,
}

impl<'a> Form<'a> {
    /// The body's object, all of whose members must be among these.
    pub(super) fn of(object: &'a Object, known: &[&str]) -> Result<Form<'a>, Problem> {
        Form::inside(object, String::new(), known)
    }

    fn inside(object: &'a Object, at: String, known: &[&str]) -> Result<Form<'a>, Problem> {
        let form = Form { object, at };
        match object.names().find(|name| !known.contains(name)) {
            None => Ok(form),
            Some(unknown) => {
                let shown: String = unknown.chars().take(40).collect();
                Err(form
                    .wrong(&shown, format!("there is no such member here; known are: {}", known.join(", "))))
            }
        }
    }

    fn wrong(&self, name: &str, detail: impl Into<Box<str>>) -> Problem {
        let at = &self.at;
        if at.is_empty() {
            Problem::body(name, detail)
        } else {
            Problem::body(&format!("{at}.{name}"), detail)
        }
    }

    fn must(&self, name: &str) -> Result<&'a Json, Problem> {
        self.object.get(name).ok_or_else(|| self.wrong(name, "it must be given"))
    }

    /// A text that must be there.
    pub(super) fn text(&self, name: &str) -> Result<&'a str, Problem> {
        self.must(name)?.text().ok_or_else(|| self.wrong(name, "it must be a text"))
    }

    /// A text that may be left out.
    pub(super) fn maybe_text(&self, name: &str) -> Result<Option<&'a str>, Problem> {
        if self.object.has(name) { self.text(name).map(Some) } else { Ok(None) }
    }

    fn read<T, E: std::fmt::Display>(
        &self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, Problem> {
        read(self.text(name)?).map_err(|fault| self.wrong(name, format!("it {fault}")))
    }

    /// An environment's name.
    pub(super) fn environment(&self) -> Result<EnvironmentId, Problem> {
        self.read("environment", EnvironmentId::new)
    }

    /// A tenant's parent, where it has one.
    pub(super) fn parent(&self) -> Result<Option<TenantId>, Problem> {
        if self.object.has("parent") { self.read("parent", TenantId::new).map(Some) } else { Ok(None) }
    }

    /// A tenant's time zone; one that nobody knows is UTC.
    pub(super) fn zone(&self) -> Result<Zone, Problem> {
        if !self.object.has("zone") {
            return Ok(Zone::UTC);
        }
        Zone::named(self.text("zone")?)
            .ok_or_else(|| self.wrong("zone", "it must be an IANA name such as `Europe/Berlin`, or `UTC`"))
    }

    /// A tenant's environments.
    pub(super) fn environments(&self) -> Result<Vec<EnvironmentId>, Problem> {
        self.words("environments", MOST_RESOURCES, EnvironmentId::new)
    }

    /// What a tenant pays for.
    pub(super) fn plan(&self) -> Result<Option<PlanName>, Problem> {
        if self.object.has("plan") { self.read("plan", PlanName::new).map(Some) } else { Ok(None) }
    }

    /// How many paid seats a tenant's people may take, where that is bounded.
    pub(super) fn seat_limit(&self) -> Result<Option<u64>, Problem> {
        let wrong = || self.wrong("seat_limit", "it must be a whole number from 0 on");
        match self.object.get("seat_limit") {
            None => Ok(None),
            Some(Json::Integer(limit)) => u64::try_from(*limit).map(Some).map_err(|_| wrong()),
            Some(_) => Err(wrong()),
        }
    }

    /// A member's roles.
    pub(super) fn roles(&self) -> Result<Vec<RoleName>, Problem> {
        self.words("roles", MOST_RESOURCES, RoleName::new)
    }

    /// What a role holds.
    pub(super) fn permissions(&self) -> Result<Vec<PermissionName>, Problem> {
        self.words("permissions", MOST_PERMISSIONS, PermissionName::new)
    }

    /// A switch that is off where it is left out.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.object.get(name) {
            None => Ok(false),
            Some(Json::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.wrong(name, "it must be `true` or `false`")),
        }
    }

    /// An address, where there is one.
    pub(super) fn maybe_email(&self) -> Result<Option<Arc<str>>, Problem> {
        if self.object.has("email") { self.email().map(Some) } else { Ok(None) }
    }

    /// A list of names, each once.
    fn words<T: PartialEq, E: std::fmt::Display>(
        &self,
        name: &str,
        most: usize,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Vec<T>, Problem> {
        let Json::List(list) = self.must(name)? else { return Err(self.wrong(name, "it must be a list")) };
        if list.len() > most {
            return Err(self.wrong(name, format!("it must name at most {most}")));
        }
        let mut words = Vec::with_capacity(list.len());
        for (number, one) in list.iter().enumerate() {
            let at = format!("{name}[{number}]");
            let text = one.text().ok_or_else(|| self.wrong(&at, "it must be a text"))?;
            let word = read(text).map_err(|fault| self.wrong(&at, format!("it {fault}")))?;
            if words.contains(&word) {
                return Err(self.wrong(&at, "it stands twice"));
            }
            words.push(word);
        }
        Ok(words)
    }

    /// A role's name.
    pub(super) fn role(&self) -> Result<RoleName, Problem> {
        self.read("role", RoleName::new)
    }

    /// A tenant's choice. `inherit` is a word of its own, no level of the ladder.
    pub(super) fn choice(&self) -> Result<Choice, Problem> {
        match self.text("level")? {
            "inherit" => Ok(Choice::Inherit),
            _ => self.read("level", LevelName::new).map(Choice::Level),
        }
    }

    /// A level's name, where one is said.
    pub(super) fn maybe_level(&self) -> Result<Option<LevelName>, Problem> {
        if self.object.has("level") { self.level().map(Some) } else { Ok(None) }
    }

    /// A level's name.
    pub(super) fn level(&self) -> Result<LevelName, Problem> {
        self.read("level", LevelName::new)
    }

    /// What an answer to a request says: exactly one of its members.
    pub(super) fn step(&self, expected: Option<Version>) -> Result<Step, Problem> {
        let names: Vec<&str> = self.object.names().collect();
        let [name] = names.as_slice() else {
            return Err(self.wrong("", "give exactly one of `approve`, `ask`, `answer` and `refuse`"));
        };
        match *name {
            "approve" => match self.must("approve")? {
                Json::Object(object) => {
                    let form = self.below(object, "approve", &["level", "for"])?;
                    Ok(Step::Approve { level: form.maybe_level()?, lasts: form.lasts()?, expected })
                }
                _ => Err(self.wrong("approve", "it must be an object, `{}` for all that was asked for")),
            },
            "ask" => Ok(Step::Question(self.text("ask")?.to_owned())),
            "answer" => Ok(Step::Answer(self.text("answer")?.to_owned())),
            _ => Ok(Step::Refuse(self.text("refuse")?.to_owned())),
        }
    }

    /// On what a session is to rest: `"consent"`, `{"grant": "…"}`, `{"act_as": "…"}` or `{"request": "…"}`.
    pub(super) fn basis(&self) -> Result<WantedBasis, Problem> {
        match self.must("basis")? {
            Json::Text(word) if word == "consent" => Ok(WantedBasis::Consent),
            Json::Object(object) => {
                let form = self.below(object, "basis", &["grant", "act_as", "request"])?;
                let given: Vec<&str> = object.names().collect();
                match given.as_slice() {
                    ["request"] => form.read("request", RequestId::new).map(WantedBasis::Request),
                    ["act_as"] => form.read("act_as", GrantId::new).map(WantedBasis::ActAs),
                    [_, second, ..] => {
                        Err(form.wrong(second, "give one of `grant`, `act_as` and `request`, not several"))
                    }
                    [] | [_] => form.read("grant", GrantId::new).map(WantedBasis::Grant),
                }
            }
            _ => Err(self.wrong(
                "basis",
                "it must be `\"consent\"`, or one of `grant`, `act_as` and `request` with its id",
            )),
        }
    }

    /// To whom a grant is given.
    pub(super) fn grantee(&self) -> Result<Grantee, Problem> {
        let wrong = || {
            let detail = "it must be `\"support\"`, `{\"email\": \"…\"}` or \
                          `{\"subject\": {\"issuer\": \"…\", \"sub\": \"…\"}}`";
            self.wrong("to", detail)
        };
        match self.must("to")? {
            Json::Text(word) if word == "support" => Ok(Grantee::Support),
            Json::Object(to) => {
                let form = self.below(to, "to", &["subject", "email"])?;
                match (to.get("subject"), to.has("email")) {
                    (None, true) => form.email().map(Grantee::Email),
                    (Some(Json::Object(subject)), false) => {
                        form.below(subject, "subject", &["issuer", "sub"])?.subject().map(Grantee::Subject)
                    }
                    (Some(_), false) => Err(form.wrong("subject", "it must be an object")),
                    (None, false) | (Some(_), true) => Err(wrong()),
                }
            }
            _ => Err(wrong()),
        }
    }

    /// How far a kill switch reaches: `"all"`, `{"tenant": "…"}` or `{"person": {"issuer": "…", "sub": "…"}}`.
    pub(super) fn reach(&self) -> Result<Reach, Problem> {
        let wrong = || {
            let detail = "it must be `\"all\"`, `{\"tenant\": \"…\"}` or \
                          `{\"person\": {\"issuer\": \"…\", \"sub\": \"…\"}}`";
            self.wrong("reach", detail)
        };
        match self.must("reach")? {
            Json::Text(word) if word == "all" => Ok(Reach::All),
            Json::Object(object) => {
                let form = self.below(object, "reach", &["tenant", "person"])?;
                match (object.has("tenant"), object.get("person")) {
                    (true, None) => form.read("tenant", TenantId::new).map(Reach::Tenant),
                    (false, Some(Json::Object(person))) => {
                        form.below(person, "person", &["issuer", "sub"])?.subject().map(Reach::Person)
                    }
                    (false, Some(_)) => Err(form.wrong("person", "it must be an object")),
                    (true, Some(_)) | (false, None) => Err(wrong()),
                }
            }
            _ => Err(wrong()),
        }
    }

    /// `true` or `false`.
    pub(super) fn yes_or_no(&self, name: &str) -> Result<bool, Problem> {
        match self.must(name)? {
            Json::Bool(yes) => Ok(*yes),
            _ => Err(self.wrong(name, "it must be `true` or `false`")),
        }
    }

    /// What a resource lies in, where that is said.
    pub(super) fn parent_resource(&self) -> Result<Option<ResourceId>, Problem> {
        if self.object.has("parent") { self.read("parent", ResourceId::new).map(Some) } else { Ok(None) }
    }

    /// Whether a resource shows itself to everybody; where nothing is said it does not.
    pub(super) fn is_public(&self) -> Result<bool, Problem> {
        match self.maybe_text("visibility")? {
            None | Some("private") => Ok(false),
            Some("public") => Ok(true),
            Some(_) => Err(self.wrong("visibility", "it must be `\"public\"` or `\"private\"`")),
        }
    }

    /// A person who may be left out.
    pub(super) fn maybe_person(&self, name: &str) -> Result<Option<SubjectRef>, Problem> {
        match self.object.get(name) {
            None => Ok(None),
            Some(Json::Object(person)) => self.below(person, name, &["issuer", "sub"])?.subject().map(Some),
            Some(_) => Err(self.wrong(name, "it must be an object")),
        }
    }

    /// Several people, each once; nobody where it is left out.
    pub(super) fn people(&self, name: &str) -> Result<Vec<SubjectRef>, Problem> {
        let list = match self.object.get(name) {
            None => return Ok(Vec::new()),
            Some(Json::List(list)) if list.len() <= MOST_RESOURCES => list,
            Some(Json::List(_)) => {
                return Err(self.wrong(name, format!("it must name at most {MOST_RESOURCES}")));
            }
            Some(_) => return Err(self.wrong(name, "it must be a list")),
        };
        let mut people = Vec::with_capacity(list.len());
        for (number, one) in list.iter().enumerate() {
            let at = format!("{name}[{number}]");
            let Json::Object(one) = one else { return Err(self.wrong(&at, "it must be an object")) };
            let person = self.below(one, &at, &["issuer", "sub"])?.subject()?;
            if people.contains(&person) {
                return Err(self.wrong(&at, "it stands twice"));
            }
            people.push(person);
        }
        Ok(people)
    }

    fn subject(&self) -> Result<SubjectRef, Problem> {
        let issuer = self.read("issuer", IssuerName::new)?;
        let sub = self.text("sub")?;
        if (1..=255).contains(&sub.len()) && sub.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(SubjectRef { issuer, sub: Arc::from(sub) })
        } else {
            Err(self.wrong("sub", "it must have 1 to 255 visible ASCII characters"))
        }
    }

    /// An address in the one form in which tokens' addresses are compared (rule 1).
    fn email(&self) -> Result<Arc<str>, Problem> {
        let address = self.text("email")?;
        let formed = address
            .split_once('@')
            .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'));
        if formed && address.len() <= 254 && address.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(Arc::from(address.to_ascii_lowercase()))
        } else {
            Err(self.wrong("email", "it must be one address of at most 254 visible ASCII characters"))
        }
    }

    /// A role's name, where one is said.
    pub(super) fn maybe_role(&self) -> Result<Option<RoleName>, Problem> {
        if self.object.has("role") { self.role().map(Some) } else { Ok(None) }
    }

    /// What a grant covers, where that is said.
    pub(super) fn maybe_scope(&self, main: Option<&RoleName>) -> Result<Option<Scope>, Problem> {
        if self.object.has("scope") { self.scope(main).map(Some) } else { Ok(None) }
    }

    /// What a grant covers. A resource may name a role of its own; where one does, `main` is that of the others.
    pub(super) fn scope(&self, main: Option<&RoleName>) -> Result<Scope, Problem> {
        match self.must("scope")? {
            Json::Text(word) if word == "everything" => Ok(Scope::Everything),
            Json::Object(object) => {
                let form = self.below(object, "scope", &["resources"])?;
                match form.must("resources")? {
                    Json::List(list) if list.len() <= MOST_RESOURCES => form.resources(list, main),
                    Json::List(_) => {
                        Err(form.wrong("resources", format!("it must name at most {MOST_RESOURCES}")))
                    }
                    _ => Err(form.wrong("resources", "it must be a list")),
                }
            }
            _ => Err(self.wrong("scope", "it must be `\"everything\"` or `{\"resources\": […]}`")),
        }
    }

    fn resources(&self, list: &[Json], main: Option<&RoleName>) -> Result<Scope, Problem> {
        let (mut named, mut roles, mut missing) = (BTreeSet::new(), BTreeSet::new(), None);
        for (number, one) in list.iter().enumerate() {
            let name = format!("resources[{number}]");
            let Json::Object(one) = one else { return Err(self.wrong(&name, "it must be an object")) };
            let form = self.below(one, &name, &["type", "id", "role"])?;
            let (kind, id) = (form.read("type", ResourceType::new)?, form.read("id", ResourceId::new)?);
            if !named.insert((kind.clone(), id.clone())) {
                return Err(self.wrong(&name, "it stands twice"));
            }
            match form.maybe_role()?.or_else(|| main.cloned()) {
                Some(role) => drop(roles.insert(RoleAt { r#type: kind, id, role })),
                None => missing = Some(name),
            }
        }
        match missing {
            // None names a role, or all have the one.
            _ if roles.iter().all(|at| Some(&at.role) == main) => Ok(Scope::Resources(named)),
            Some(missing) => {
                Err(self.wrong(&missing, "name its role too, or give the `role` of those that name none"))
            }
            None => Ok(Scope::Roles(roles)),
        }
    }

    /// Whether somebody is invited and no member yet: with until when, where that is said.
    pub(super) fn invitation(&self) -> Result<Option<Option<Until>>, Problem> {
        match (self.flag("invited")?, self.maybe_until()?) {
            (true, until) => Ok(Some(until)),
            (false, None) => Ok(None),
            (false, Some(_)) => Err(self.wrong("invited", "an end goes with `\"invited\": true` only")),
        }
    }

    /// Until when a level or an invitation holds, where that is said.
    pub(super) fn maybe_until(&self) -> Result<Option<Until>, Problem> {
        let said = ["until", "date", "for"].into_iter().any(|name| self.object.has(name));
        if said { self.until().map(Some) } else { Ok(None) }
    }

    /// Until when a grant holds: exactly one of `until`, `date` and `for`. Every grant ends.
    pub(super) fn until(&self) -> Result<Until, Problem> {
        let given: Vec<&str> =
            ["until", "date", "for"].into_iter().filter(|name| self.object.has(name)).collect();
        match given.as_slice() {
            [] => {
                let detail = "every grant ends: say when by one of `until`, `date` and `for`";
                let problem = Problem::new(422, "expiry_missing", detail);
                Err(Problem { field: Some("until".into()), ..problem })
            }
            ["until"] => match Timestamp::parse(self.text("until")?) {
                Some(at) => Ok(Until::At(at)),
                None => Err(self.wrong("until", "it must be an RFC 3339 date and time with its offset")),
            },
            ["date"] => match date(self.text("date")?) {
                Some(date) => Ok(Until::Date(date)),
                None => Err(self.wrong("date", "it must be a date such as `2026-03-31`, from 1970 to 9999")),
            },
            ["for"] => self.span().map(Until::For),
            [_, second, ..] | [second] => {
                Err(self.wrong(second, "give one of `until`, `date` and `for`, not several"))
            }
        }
    }

    /// How long a session is to last, where that is said.
    pub(super) fn lasts(&self) -> Result<Option<Span>, Problem> {
        if self.object.has("for") { self.span().map(Some) } else { Ok(None) }
    }

    /// For how long login access is given; `no access` is none.
    pub(super) fn login_lasts(&self) -> Result<Option<Span>, Problem> {
        if self.text("for")? == NO_ACCESS { Ok(None) } else { self.span().map(Some) }
    }

    fn span(&self) -> Result<Span, Problem> {
        Span::parse(self.text("for")?).ok_or_else(|| {
            self.wrong("for", "it must be a time such as `8h`, `5d` (of 24 hours each), `5 calendar days` or `1 calendar month`")
        })
    }

    fn below(&self, object: &'a Object, name: &str, known: &[&str]) -> Result<Form<'a>, Problem> {
        let at = if self.at.is_empty() { name.to_owned() } else { format!("{}.{name}", self.at) };
        Form::inside(object, at, known)
    }
}

/// Exactly `YYYY-MM-DD`.
fn date(text: &str) -> Option<NaiveDate> {
    let shaped = text.len() == 10
        && text
            .bytes()
            .enumerate()
            .all(|(i, b)| if matches!(i, 4 | 7) { b == b'-' } else { b.is_ascii_digit() });
    let date = shaped.then(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok())??;
    (1970..=9999).contains(&date.year()).then_some(date)
}
