//! `postern explain`: one request, read and decided as the gateway would, with everything that led there.

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
    policy::{Caller, Decision, Facts, Named, Policy, Route, Rule, Verdict, decide, routes::Standing},
    proxy::{
        preview::{self, Preview, Refused},
        respond::Told,
        routing::Routing,
        wire::{RequestHead, RequestView},
    },
};

use super::{
    Answer, ConfigArg, Trouble,
    out::Out,
    rehearse::{self, Rehearsed},
    token,
};

/// Reads the request as the gateway would, finds the route that owns it, its tenant, environment and permissions, and
/// says who would pass. With `--role`, `--level`, `--member-role` or `--token` it says what would be decided for them;
/// the exit status is then 1 if that is a no. It is 1 too if the request is refused whoever asks.
#[derive(Debug, Args)]
pub(super) struct Explain {
    #[command(flatten)]
    config: ConfigArg,
    /// GET, POST, …
    #[arg(value_name = "METHOD")]
    method: String,
    /// The path, as it is sent; a query may follow
    #[arg(value_name = "PATH")]
    path: String,
    /// The host that the client names
    #[arg(long, default_value = "localhost")]
    host: String,
    /// A header that the client sends: 'X-Environment: sandbox'
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<String>,
    /// The caller's token, from a file, or from standard input by `-`
    #[arg(long, value_name = "FILE")]
    token: Option<PathBuf>,
    /// As support in a session with this role, by a grant
    #[arg(long, value_name = "ROLE", conflicts_with_all = ["level", "member_role"])]
    role: Option<String>,
    /// As support in a session by consent at this level
    #[arg(long, value_name = "LEVEL", conflicts_with = "member_role")]
    level: Option<String>,
    /// As a member with this role; several may be given
    #[arg(long, value_name = "ROLE")]
    member_role: Vec<String>,
}

/// One line of a head, and no more than one.
fn header(text: &str) -> Result<String, String> {
    match text.split_once(':') {
        Some((name, _)) if !name.is_empty() && !text.contains(['\r', '\n']) => Ok(text.to_owned()),
        _ => Err("write one line, `Name: value`".to_owned()),
    }
}

/// Who asks, by the token given.
enum Who {
    Nobody,
    Refused(TokenFault),
    Known(Arc<VerifiedSubject>),
}

/// Everything that an explanation looks at.
struct Stage<'a> {
    settings: &'a Settings,
    routing: &'a Routing,
    request: RequestView<'a>,
    who: &'a Who,
    now: Timestamp,
}

/// The width of the words at the left.
const LEFT: usize = 13;

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
        let (policy, ask) = (&stage.settings.policy, &read.ask);
        line(out, "request", &format!("{} {}, host {}", read.method, read.path.as_str(), read.host))?;
        if read.inside {
            let what =
                format!("below `{}`: the gateway's own support API, never forwarded", stage.routing.prefix);
            line(out, "route", &what)?;
            return Ok(Answer::Yes);
        }
        candidates(out, stage, read)?;
        line(out, "tenant", &named(ask.tenant))?;
        line(out, "environment", &named(ask.environment))?;
        if let Route::Mapped(rule) = ask.route {
            of_rule(out, stage, read, rule)?;
        }
        who_passes(out, stage, read)?;
        self.judge(out, stage, read, policy)
    }

    /// What would be decided for those who were asked about.
    fn judge(
        &self,
        out: &mut Out,
        stage: &Stage<'_>,
        read: &Preview<'_>,
        policy: &Policy,
    ) -> Result<Answer, Trouble> {
        let mut judged = Vec::new();
        if let Some(name) = &self.role {
            let role = role(policy, name)?;
            let decision = stage.rehearsed(read, Rehearsed::Role(&role));
            judged.push((format!("support, in a session with the role `{name}`"), decision));
        }
        if let Some(name) = &self.level {
            let level = LevelName::new(name).ok().filter(|level| policy.ladder.knows(level));
            let level = level.ok_or_else(|| {
                let known: Vec<&str> =
                    policy.ladder.levels().iter().map(|level| level.name.as_str()).collect();
                Trouble::Says(format!("there is no consent level `{name}`; there are {}", known.join(", ")))
            })?;
            let decision = stage.rehearsed(read, Rehearsed::Level(&level));
            judged.push((format!("support, in a session by consent at `{name}`"), decision));
        }
        if !self.member_role.is_empty() {
            let roles: Result<Vec<RoleName>, Trouble> =
                self.member_role.iter().map(|name| role(policy, name)).collect();
            let decision = stage.member(read, roles?);
            judged.push((format!("a member with `{}`", self.member_role.join("`, `")), decision));
        }
        if judged.is_empty() && !matches!(stage.who, Who::Nobody) {
            judged.push((token_words(stage.who), stage.by_token(read)));
        }
        writeln!(out)?;
        if judged.is_empty() {
            let nobody = self.closed(stage, read);
            if nobody {
                writeln!(out, "refused, whoever asks")?;
            }
            return Ok(if nobody { Answer::No } else { Answer::Yes });
        }
        let mut answer = Answer::Yes;
        for (whom, decision) in judged {
            match decision {
                Some(Decision::Allow(permit)) => writeln!(out, "{whom}: passes ({})", permit.reason())?,
                Some(Decision::Deny(denial)) => {
                    let told = Told::denial(&denial);
                    let more = told.more.map(|more| format!(" [{more}]")).unwrap_or_default();
                    writeln!(out, "{whom}: {} {}{more}: {}", told.status, told.code, told.detail)?;
                    answer = Answer::No;
                }
                None => writeln!(
                    out,
                    "{whom}: passes or not by their sessions, which only a running gateway knows"
                )?,
            }
        }
        Ok(answer)
    }

    /// Whether nobody at all would pass.
    fn closed(&self, stage: &Stage<'_>, read: &Preview<'_>) -> bool {
        !matches!(read.ask.route, Route::Mapped(rule) if rule.public)
            && stage.members(read).is_empty()
            && stage.levels(read).is_empty()
            && stage.roles(read).is_empty()
            && !passes(&stage.member(read, Vec::new()))
    }
}

fn refuse(out: &mut Out, explain: &Explain, refused: &Refused) -> Result<Answer, Trouble> {
    let printable: String =
        explain.path.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    line(out, "request", &format!("{} {printable}", explain.method))?;
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
        Some(Subject {
            kind,
            id: SubjectRef { issuer: issuer?, sub: Arc::from("somebody") },
            email: None,
            support: kind == SubjectKind::Staff,
            tenant: None,
            environment: None,
            roles: Vec::new(),
            acting: false,
            expires: Timestamp::MAX,
        })
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

    fn rehearsed(&self, read: &Preview<'_>, session: Rehearsed<'_>) -> Option<Decision> {
        rehearse::support(self.settings, &read.ask, &self.support()?, session, self.now)
    }

    /// As far as it can be told without a store.
    fn by_token(&self, read: &Preview<'_>) -> Option<Decision> {
        let caller = match self.who {
            Who::Nobody => Caller::Nobody,
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

fn line(out: &mut Out, left: &str, right: &str) -> io::Result<()> {
    writeln!(out, "{left:<LEFT$}{right}")
}

fn named(name: Named<'_>) -> String {
    match name {
        Named::As(text) => text.to_owned(),
        Named::Missing => "not named by the request".to_owned(),
        Named::Unclear => "named in no one way".to_owned(),
    }
}

/// The routes that came into question, the owner first.
fn candidates(out: &mut Out, stage: &Stage<'_>, read: &Preview<'_>) -> io::Result<()> {
    let settings = stage.settings;
    let explanation = stage.routing.table.explain(read.host, &read.method, &read.path);
    let mut left = "route";
    if read.rule.is_none() {
        let what = match read.ask.route {
            Route::Method => "the path is mapped, this method is not",
            Route::Mapped(_) | Route::Unmapped => "no route owns this path",
        };
        line(out, left, what)?;
        left = "";
    }
    for candidate in &explanation.candidates {
        let entry = usize::try_from(candidate.spec.id).ok().and_then(|id| settings.routes.get(id));
        let place = entry.map_or(0, |entry| entry.line);
        let methods: Vec<&str> = candidate.spec.methods.iter().map(http::Method::as_str).collect();
        let host = candidate.spec.host.as_deref().unwrap_or_default();
        let why = match candidate.standing {
            Standing::Owns => "owns the request",
            Standing::OtherMethod => "covers the path, does not name the method",
            Standing::LessSpecific => "covers the path, something more specific comes first",
            Standing::CaseTwin => "differs in letter case only, so nothing less specific may match",
            Standing::SlashTwin => "differs in the last slash only, so nothing less specific may match",
        };
        let what = format!(
            "{}:{place}: {} {host}{}: {why}",
            settings.file.display(),
            methods.join(","),
            candidate.spec.template
        );
        line(out, left, &what)?;
        left = "";
    }
    Ok(())
}

fn of_rule(out: &mut Out, stage: &Stage<'_>, read: &Preview<'_>, rule: &Rule) -> io::Result<()> {
    let policy = &stage.settings.policy;
    if let Some(kind) = &rule.resource {
        line(out, "resource", &format!("{kind} {}", read.ask.resource.unwrap_or("not named")))?;
    }
    if let Some(upstream) = stage.routing.upstreams.get(rule.upstream) {
        line(out, "upstream", &format!("{} at {}", upstream.name, upstream.address))?;
    }
    if rule.public {
        return line(out, "permissions", "none: the route is public, and who asks is not forwarded");
    }
    let name = |id| policy.catalogue.name(id).map(|name| name.as_str()).unwrap_or_default();
    let all: Vec<&str> = rule.permissions.iter().map(|id| name(*id)).collect();
    line(out, "permissions", &all.join(" and "))?;
    let above: Vec<&str> =
        rule.permissions.iter().filter(|id| policy.above_ceiling(**id)).map(|id| name(*id)).collect();
    if above.is_empty() {
        line(out, "ceiling", "not reached")
    } else {
        line(
            out,
            "ceiling",
            &format!("closed to support at every level and by every grant: {}", above.join(", ")),
        )
    }
}

fn who_passes(out: &mut Out, stage: &Stage<'_>, read: &Preview<'_>) -> io::Result<()> {
    if matches!(read.ask.route, Route::Mapped(rule) if rule.public) {
        return line(out, "passes", "everybody");
    }
    let list = |names: Vec<&str>, none: &str| {
        if names.is_empty() { none.to_owned() } else { names.join(", ") }
    };
    if passes(&stage.member(read, Vec::new())) {
        line(out, "members", "all pass: the map is silent, and `members.unmapped` allows it")?;
    } else {
        line(out, "members", &list(stage.members(read), "with no role"))?;
    }
    line(out, "by consent", &list(stage.levels(read), "at no level"))?;
    line(out, "by grant", &list(stage.roles(read), "with no role"))
}
