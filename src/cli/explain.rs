//! `postern explain`: one request, read and decided as the gateway would, with everything that led there.
//!
//! Never here: a decision of its own; the gateway's collecting and deciding are called.

mod at;
mod glass;
mod page;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    sync::Arc,
};

use clap::Args;

use crate::{
    config::Settings,
    identity::{TokenFault, VerifiedSubject},
    model::{IssuerName, LevelName, RoleName, Subject, SubjectKind, SubjectRef, TenantId, Timestamp},
    policy::{Caller, Decision, Facts, Named, Policy, Route, Verdict, decide},
    proxy::{
        preview::{self, Preview, Refused},
        respond::Told,
        routing::Routing,
        wire::{RequestHead, RequestView},
    },
};

use page::{candidates, line, named, of_rule, who_passes};

use super::{
    Answer, ConfigArg, Trouble,
    out::{Out, plain},
    rehearse::{self, Rehearsed},
    token,
};

/// Reads the request as the gateway would, finds the route that owns it, its tenant, environment and permissions, and
/// says who would pass. With `--role`, `--level`, `--acting-as`, `--break-glass`, `--member-role`, `--resource-role` or `--token` it says what
/// would be decided for them; the exit status is then 1 if that is a no. It is 1 too if the request is refused whoever asks.
#[derive(Debug, Args)]
pub(super) struct Explain {
    #[command(flatten)]
    config: ConfigArg,
    /// GET, POST, …
    #[arg(value_name = "METHOD", value_parser = one_line)]
    method: String,
    /// The path, as it is sent; a query may follow
    #[arg(value_name = "PATH", value_parser = one_line)]
    path: String,
    /// The host that the client names
    #[arg(long, default_value = "localhost", value_parser = one_line)]
    host: String,
    /// A header that the client sends: 'X-Environment: sandbox'
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<String>,
    /// The caller's token, from a file, or from standard input by `-`
    #[arg(long, value_name = "FILE")]
    token: Option<PathBuf>,
    /// As support in a session with this role, by a grant
    #[arg(long, value_name = "ROLE", conflicts_with_all = ["level", "acting_as", "break_glass", "member_role"])]
    role: Option<String>,
    /// As support in a session by consent at this level
    #[arg(long, value_name = "LEVEL", conflicts_with_all = ["acting_as", "break_glass", "member_role"])]
    level: Option<String>,
    /// As support who acts as a member with this role, by login access; several may be given
    #[arg(long, value_name = "ROLE", conflicts_with_all = ["break_glass", "member_role"])]
    acting_as: Vec<String>,
    /// As whom `--token` names, or as an operator of `break_glass`, who broke the glass: without anybody's consent
    #[arg(long, conflicts_with = "member_role")]
    break_glass: bool,
    /// As a member with this role; several may be given
    #[arg(long, value_name = "ROLE")]
    member_role: Vec<String>,
    /// As a member who holds this role at the resource, or at what it lies in, and none in the tenant
    #[arg(long, value_name = "ROLE", conflicts_with_all = ["role", "level", "acting_as", "break_glass", "member_role"])]
    resource_role: Option<String>,
}

/// What stands in one line of a head and cannot begin another.
fn one_line(text: &str) -> Result<String, String> {
    if text.contains(['\r', '\n']) {
        Err("it must not hold a line break".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

fn header(text: &str) -> Result<String, String> {
    match text.split_once(':') {
        Some((name, _)) if !name.is_empty() => one_line(text),
        _ => Err("write `Name: value`".to_owned()),
    }
}

/// Who asks, by the token given.
enum Who {
    Nobody,
    Refused(TokenFault),
    Known(Arc<VerifiedSubject>),
}

/// Whom the question is about.
enum Asked {
    /// Support in a session by a grant of this role.
    Role(RoleName),
    /// Support in a session by consent at this level.
    Level(LevelName),
    /// Support who acts as a member with these roles.
    ActingAs(Vec<RoleName>),
    /// An operator who broke the glass.
    Glass,
    /// A member with these roles.
    Member(Vec<RoleName>),
    /// A member with this role at the resource.
    At(RoleName),
}

/// Everything that an explanation looks at.
struct Stage<'a> {
    settings: &'a Settings,
    routing: &'a Routing,
    request: RequestView<'a>,
    who: &'a Who,
    now: Timestamp,
}

impl Explain {
    pub(super) fn perform(self, out: &mut Out) -> Result<Answer, Trouble> {
        let settings = self.config.load()?;
        let fault = |fault| Trouble::at(&settings.file, fault);
        let routing = crate::app::routing(&settings).map_err(fault)?;
        let now = super::now();
        let head = self.head()?;
        let mut read = RequestHead::new();
        if let Err(refused) = preview::head(&mut read, &head, &routing) {
            return refuse(out, &self, &refused);
        }
        let request = read.view(&head);
        let who = match preview::bearer(&request) {
            None => Who::Nobody,
            Some(token) => match token::verifier(&settings)?.verify(token, now) {
                Ok(subject) => Who::Known(subject),
                Err(fault) => Who::Refused(fault),
            },
        };
        let stage = Stage { settings: &settings, routing: &routing, request, who: &who, now };
        let subject = match &who {
            Who::Known(subject) => Some(subject.subject()),
            Who::Nobody | Who::Refused(_) => None,
        };
        match preview::preview(&routing, &stage.request, subject) {
            Err(refused) => refuse(out, &self, &refused),
            Ok(read) => self.tell(out, &stage, &read),
        }
    }

    /// The head that a client would send.
    fn head(&self) -> Result<Vec<u8>, Trouble> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", self.method, self.path, self.host);
        for header in &self.headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        if let Some(path) = &self.token {
            head.push_str(&format!("Authorization: Bearer {}\r\n", token::from_file(path)?));
        }
        head.push_str("\r\n");
        Ok(head.into_bytes())
    }

    fn tell(&self, out: &mut Out, stage: &Stage<'_>, read: &Preview<'_>) -> Result<Answer, Trouble> {
        let ask = &read.ask;
        let asked = self.asked(&stage.settings.policy)?;
        line(out, "request", &format!("{} {}, host {}", read.method, read.path.as_str(), read.host))?;
        if read.inside {
            let what =
                format!("below `{}`: the gateway's own support API, never forwarded", stage.routing.prefix);
            line(out, "route", &what)?;
            return Ok(Answer::Yes);
        }
        candidates(out, stage, read)?;
        line(out, "tenant", &named(ask.tenant))?;
        let known =
            matches!(ask.environment, Named::As(name) if stage.settings.policy.environments.contains(name));
        let unknown = if known { "" } else { ", which is none that is known" };
        line(out, "environment", &format!("{}{unknown}", named(ask.environment)))?;
        if let Route::Mapped(rule) = ask.route {
            of_rule(out, stage, read, rule)?;
        }
        who_passes(out, stage, read)?;
        self.judge(out, stage, read, asked)
    }

    /// Those who were asked about, by names that the configuration knows.
    fn asked(&self, policy: &Policy) -> Result<Option<Asked>, Trouble> {
        if let Some(name) = &self.role {
            return Ok(Some(Asked::Role(role(policy, name)?)));
        }
        if let Some(name) = &self.level {
            let level = LevelName::new(name).ok().filter(|level| policy.ladder.knows(level));
            let level = level.ok_or_else(|| {
                let known: Vec<&str> =
                    policy.ladder.levels().iter().map(|level| level.name.as_str()).collect();
                Trouble::Says(format!("there is no consent level `{name}`; there are {}", known.join(", ")))
            })?;
            return Ok(Some(Asked::Level(level)));
        }
        if !self.acting_as.is_empty() {
            let roles: Result<_, _> = self.acting_as.iter().map(|name| role(policy, name)).collect();
            return Ok(Some(Asked::ActingAs(roles?)));
        }
        if self.break_glass {
            if policy.emergency.break_glass.is_none() {
                let what = "the configuration has no `break_glass`: nobody enters without a tenant's consent or grant";
                return Err(Trouble::Says(what.to_owned()));
            }
            return Ok(Some(Asked::Glass));
        }
        if !self.member_role.is_empty() {
            let roles: Result<_, _> = self.member_role.iter().map(|name| role(policy, name)).collect();
            return Ok(Some(Asked::Member(roles?)));
        }
        if let Some(name) = &self.resource_role {
            let roles = &policy.resources.roles;
            let found = RoleName::new(name).ok().filter(|role| roles.contains_key(role));
            return Ok(Some(Asked::At(found.ok_or_else(|| {
                let known: Vec<&str> = roles.keys().map(RoleName::as_str).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                Trouble::Says(format!("there is no role `{name}` at resources; there are {known}"))
            })?)));
        }
        Ok(None)
    }

    /// What would be decided for those who were asked about.
    fn judge(
        &self,
        out: &mut Out,
        stage: &Stage<'_>,
        read: &Preview<'_>,
        asked: Option<Asked>,
    ) -> Result<Answer, Trouble> {
        let (whom, decision) = match asked {
            // Whoever that is: the token names nobody.
            Some(Asked::Glass) if matches!(stage.who, Who::Refused(_)) => {
                (token_words(stage.who), stage.by_token(read))
            }
            Some(Asked::Glass) => {
                writeln!(out)?;
                return Ok(glass::tell(out, stage, read)?);
            }
            Some(Asked::Role(role)) => (
                format!("support, in a session with the role `{role}`"),
                stage.rehearsed(read, Rehearsed::Role(&role)),
            ),
            Some(Asked::Level(level)) => (
                format!("support, in a session by consent at `{level}`"),
                stage.rehearsed(read, Rehearsed::Level(&level)),
            ),
            Some(Asked::ActingAs(roles)) => (
                format!("support, acting as a member with `{}`", self.acting_as.join("`, `")),
                stage.rehearsed(read, Rehearsed::ActingAs(&roles)),
            ),
            Some(Asked::Member(roles)) => {
                (format!("a member with `{}`", self.member_role.join("`, `")), stage.member(read, roles))
            }
            Some(Asked::At(role)) => {
                (format!("a member with `{role}` at the resource"), at::by_role(stage, read, &role))
            }
            None if !matches!(stage.who, Who::Nobody) => (token_words(stage.who), stage.by_token(read)),
            None if self.closed(stage, read) => {
                let highest = stage.settings.policy.ladder.levels().last();
                let support = highest.and_then(|level| stage.rehearsed(read, Rehearsed::Level(&level.name)));
                writeln!(out, "\nrefused, whoever asks")?;
                verdict(out, "members", stage.member(read, Vec::new()))?;
                verdict(out, "support", support)?;
                return Ok(Answer::No);
            }
            None => return Ok(Answer::Yes),
        };
        let adjustable = {
            let policy = &stage.settings.policy;
            let of = |role: &String| {
                RoleName::new(role).is_ok_and(|role| policy.role(&role).is_some_and(|role| role.adjustable))
            };
            self.role.iter().chain(&self.member_role).any(of)
        };
        writeln!(out)?;
        let staff = matches!(&decision, Some(Decision::Allow(permit)) if permit.staff().is_some());
        let undecided = decision.is_none();
        let answer = verdict(out, &whom, decision)?;
        if staff && !stage.settings.policy.conditions.is_empty() {
            writeln!(out, "where they meet `staff.require`, which is left out of this")?;
        }
        if adjustable {
            writeln!(out, "as the configuration has the role; a tenant may have adjusted it")?;
        }
        if undecided && stage.by_glass() {
            glass::tell(out, stage, read)?;
        }
        Ok(answer)
    }

    /// Whether nobody at all would pass.
    fn closed(&self, stage: &Stage<'_>, read: &Preview<'_>) -> bool {
        !matches!(read.ask.route, Route::Mapped(rule) if rule.public)
            && stage.members(read).is_empty()
            && stage.levels(read).is_empty()
            && stage.roles(read).is_empty()
            && at::passing(stage, read).is_empty()
            && !passes(&stage.member(read, Vec::new()))
    }
}

/// Says what would be decided.
fn verdict(out: &mut Out, whom: &str, decision: Option<Decision>) -> io::Result<Answer> {
    match decision {
        Some(Decision::Allow(permit)) => {
            let some = if permit.narrowed() { ", with an answer narrowed to what they may see" } else { "" };
            writeln!(out, "{whom}: passes ({}){some}", permit.reason())?;
        }
        Some(Decision::Deny(denial)) => {
            let told = Told::denial(&denial);
            let more = told.more.map(|more| format!(" [{more}]")).unwrap_or_default();
            writeln!(out, "{whom}: {} {}{more}: {}", told.status, told.code, told.detail)?;
            return Ok(Answer::No);
        }
        // Of staff that is their sessions, of members what services push and who manages them.
        None => {
            writeln!(
                out,
                "{whom}: that depends on their sessions or rows, which only a running gateway knows"
            )?;
        }
    }
    Ok(Answer::Yes)
}

fn refuse(out: &mut Out, explain: &Explain, refused: &Refused) -> Result<Answer, Trouble> {
    line(out, "request", &format!("{} {}", explain.method, plain(&explain.path)))?;
    line(out, "refused", &format!("{} {}: {}", refused.status, refused.code, refused.message))?;
    writeln!(out, "\nrefused before anything is looked up, whoever asks")?;
    Ok(Answer::No)
}

impl Stage<'_> {
    /// A staff subject: the token's, or one made up.
    fn support(&self) -> Option<Subject> {
        if let Who::Known(subject) = self.who
            && subject.kind == SubjectKind::Staff
        {
            return Some(subject.subject().clone());
        }
        self.somebody(SubjectKind::Staff)
    }

    fn somebody(&self, kind: SubjectKind) -> Option<Subject> {
        let issuer = self.settings.issuers.iter().find(|issuer| issuer.kind == kind);
        let issuer = issuer.map(|issuer| issuer.name.clone()).or_else(|| IssuerName::new("somebody").ok());
        Some(Subject::named(kind, SubjectRef { issuer: issuer?, sub: Arc::from("somebody") }))
    }

    /// What a member with these roles in the request's tenant would be told.
    fn member(&self, read: &Preview<'_>, roles: Vec<RoleName>) -> Option<Decision> {
        let mut subject = self.somebody(SubjectKind::Member)?;
        subject.roles = roles;
        subject.tenant = match read.ask.tenant {
            Named::As(tenant) => TenantId::new(tenant).ok(),
            // Where only the token names it, any will do.
            Named::Missing | Named::Unclear => TenantId::new("somewhere").ok(),
        };
        let seen = preview::preview(self.routing, &self.request, Some(&subject)).ok()?;
        rehearse::member(&self.settings.policy, &seen.ask, &subject, self.now)
    }

    /// Roles with which a member passes.
    fn members(&self, read: &Preview<'_>) -> Vec<&str> {
        let roles = self.settings.policy.roles.keys();
        roles
            .filter(|role| passes(&self.member(read, vec![(*role).clone()])))
            .map(|role| role.as_str())
            .collect()
    }

    /// Consent levels at which support passes.
    fn levels(&self, read: &Preview<'_>) -> Vec<&str> {
        let levels = self.settings.policy.ladder.levels().iter().map(|level| &level.name);
        let passing = levels.filter(|level| passes(&self.rehearsed(read, Rehearsed::Level(level))));
        passing.map(|level| level.as_str()).collect()
    }

    /// Roles with which support passes, by a grant.
    fn roles(&self, read: &Preview<'_>) -> Vec<&str> {
        let roles = self.settings.policy.roles.keys();
        let passing = roles.filter(|role| passes(&self.rehearsed(read, Rehearsed::Role(role))));
        passing.map(|role| role.as_str()).collect()
    }

    /// Roles of a person as whom support passes, by login access.
    fn acting(&self, read: &Preview<'_>) -> Vec<&str> {
        let roles = self.settings.policy.roles.keys();
        let passing = roles
            .filter(|role| passes(&self.rehearsed(read, Rehearsed::ActingAs(std::slice::from_ref(*role)))));
        passing.map(|role| role.as_str()).collect()
    }

    fn rehearsed(&self, read: &Preview<'_>, session: Rehearsed<'_>) -> Option<Decision> {
        rehearse::support(self.settings, &read.ask, &self.support()?, session, self.now)
    }

    /// As far as it can be told without a store.
    fn by_token(&self, read: &Preview<'_>) -> Option<Decision> {
        let caller = match self.who {
            Who::Nobody => Caller::Nobody,
            Who::Refused(TokenFault::KeysUnavailable) => Caller::Unverifiable,
            Who::Refused(fault) => Caller::Refused(fault.code()),
            Who::Known(subject) => Caller::Known(subject.subject()),
        };
        match decide(&read.ask, caller, &Facts::new(), self.now, &self.settings.policy) {
            Verdict::Decided(decision) => Some(decision),
            Verdict::Need(_) => None,
        }
    }
}

fn passes(decision: &Option<Decision>) -> bool {
    matches!(decision, Some(Decision::Allow(_)))
}

/// Whether only some of the answer's items are shown.
fn is_narrowed(decision: &Decision) -> bool {
    matches!(decision, Decision::Allow(permit) if permit.narrowed())
}

fn role(policy: &Policy, name: &str) -> Result<RoleName, Trouble> {
    RoleName::new(name).ok().filter(|role| policy.role(role).is_some()).ok_or_else(|| {
        let known: Vec<&str> = policy.roles.keys().map(|role| role.as_str()).collect();
        Trouble::Says(format!("there is no role `{name}`; there are {}", known.join(", ")))
    })
}

fn token_words(who: &Who) -> String {
    match who {
        Who::Nobody => "without a token".to_owned(),
        Who::Refused(fault) => format!("the bearer of this token ({fault})"),
        Who::Known(subject) if subject.kind == SubjectKind::Staff => format!("{}, staff", subject.id),
        Who::Known(subject) => {
            let roles: Vec<&str> = subject.roles.iter().map(|role| role.as_str()).collect();
            let tenant = subject.tenant.as_ref().map(|tenant| tenant.as_str()).unwrap_or_default();
            format!("{}, member of {tenant} with the roles [{}]", subject.id, roles.join(", "))
        }
    }
}
