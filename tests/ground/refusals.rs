//! One line for each code with which a command is refused, and one for each that only looks like it.

use std::collections::BTreeSet;

use postern::{
    lifecycle::{Actor, Choice, Command, Refusal, Step, Switch, Until, WantedBasis},
    model::{Document, Grantee, Key, Reach, Scope, Span, Subject, Version, Zone},
    policy::Policy,
};

use crate::world::*;

const NOW: i64 = 1_000;

/// `acme` at `full`, its child `beta` at `block`, a grant to anna and one to ben's address, anna inside `acme`.
fn world(policy: &Policy) -> World {
    let mut world = World::default();
    for (tenant, parent) in [("acme", None), ("beta", Some("acme")), ("gamma", None)] {
        world.run(&register(tenant, parent), Actor::Configuration, 1, policy).unwrap();
    }
    let administrator = admin("acme");
    let acme = Actor::Subject(&administrator);
    world.run(&consent("acme", Choice::Level(level("full"))), acme, 2, policy).unwrap();
    world
        .run(&consent("beta", Choice::Level(level("block"))), Actor::Subject(&admin("beta")), 2, policy)
        .unwrap();
    let raised = raise("gamma", Choice::Level(level("full")), Until::At(at(NOW + 1)));
    world.run(&raised, Actor::Subject(&admin("gamma")), 2, policy).unwrap();
    world.run(&register("delta", None), Actor::Configuration, 1, policy).unwrap();
    let herself = member("delta", "anna", &["administrator"]);
    let chosen = consent("delta", Choice::Level(level("full")));
    world.run(&chosen, Actor::Subject(&herself), 2, policy).unwrap();
    let given = grant("twin", Grantee::Support, "reader", Until::At(at(90_000)));
    world.run(&given, Actor::Subject(&twin("acme")), 2, policy).unwrap();
    let required = Command::SetApproval { tenant: tid("delta"), required: true, expected: None };
    let delta = admin("delta");
    world.run(&required, Actor::Subject(&delta), 3, policy).unwrap();
    for (name, who, when) in
        [("dead", "ben", -9_000), ("r1", "ben", 900), ("r2", "ben", 900), ("hers", "cleo", 900)]
    {
        // The dead one is made by hand: nobody could ask so long ago.
        let made = world.run(&ask("delta", name, |_| {}), Actor::Subject(&staff(who)), when.max(4), policy);
        made.unwrap();
        if when < 0 {
            let key = Key::Request(tid("delta"), rid(name));
            let Some(Document::Request(mut request)) = world.document(&key, policy) else { panic!() };
            request.expires = at(NOW);
            world.put(key, Document::Request(request));
        }
    }
    let less = yes(Some("read_only"), None);
    world.run(&step("r2", less), Actor::Subject(&delta), 950, policy).unwrap();
    for n in 1..8 {
        let command = ask("delta", &format!("hers{n}"), |_| {});
        world.run(&command, Actor::Subject(&staff("cleo")), 900, policy).unwrap();
    }
    for (name, until) in [("g1", 90_000), ("over", 500), ("gone", 90_000)] {
        let to = Grantee::Subject(staff("anna").id);
        world.run(&grant(name, to, "administrator", Until::At(at(until))), acme, 3, policy).unwrap();
    }
    world.run(&Command::WithdrawGrant { tenant: tid("acme"), grant: gid("gone") }, acme, 4, policy).unwrap();
    world.run(&start("acme", "s1", WantedBasis::Consent), Actor::Subject(&staff("anna")), 5, policy).unwrap();
    world
}

fn register(tenant: &str, parent: Option<&str>) -> Command {
    let environments = vec![eid("production")];
    Command::RegisterTenant { tenant: tid(tenant), parent: parent.map(tid), zone: Zone::UTC, environments }
}

fn consent(tenant: &str, choice: Choice) -> Command {
    Command::SetConsent { tenant: tid(tenant), choice, until: None, expected: None }
}

fn raise(tenant: &str, choice: Choice, until: Until) -> Command {
    Command::SetConsent { tenant: tid(tenant), choice, until: Some(until), expected: None }
}

fn ask(tenant: &str, request: &str, change: impl FnOnce(&mut Step)) -> Command {
    let mut step = Step::Ask {
        environment: eid("production"),
        level: level("limited_edit"),
        reason: "an order is stuck".into(),
        ticket: None,
        lasts: Some(Span::Millis(3_000)),
    };
    change(&mut step);
    Command::Request { tenant: tid(tenant), request: rid(request), step }
}

fn step(request: &str, step: Step) -> Command {
    Command::Request { tenant: tid("delta"), request: rid(request), step }
}

fn yes(to: Option<&str>, lasts: Option<i64>) -> Step {
    Step::Approve { level: to.map(level), lasts: lasts.map(Span::Millis), expected: None }
}

fn asked(request: &str) -> WantedBasis {
    WantedBasis::Request(rid(request))
}

fn for_longer(mut command: Command) -> Command {
    if let Command::StartSession { lasts, .. } = &mut command {
        *lasts = Some(Span::Millis(3_001));
    }
    command
}

fn grant(name: &str, to: Grantee, of: &str, until: Until) -> Command {
    Command::MakeGrant {
        tenant: tid("acme"),
        grant: gid(name),
        environment: eid("production"),
        to,
        role: role(of),
        scope: Scope::Everything,
        until,
    }
}

fn start(tenant: &str, session: &str, basis: WantedBasis) -> Command {
    Command::StartSession {
        tenant: tid(tenant),
        session: sid(session),
        environment: eid("production"),
        basis,
        reason: "an order is stuck".into(),
        ticket: None,
        lasts: None,
    }
}

/// A start by consent in `acme`, with something changed.
fn start_with(change: impl FnOnce(&mut String, &mut Option<String>, &mut Option<Span>)) -> Command {
    let mut command = start("acme", "s2", WantedBasis::Consent);
    if let Command::StartSession { reason, ticket, lasts, .. } = &mut command {
        change(reason, ticket, lasts);
    }
    command
}

struct Line(&'static str, &'static str, Who, Command);

#[derive(Clone, Copy)]
enum Who {
    Admin,
    Clerk,
    Warden,
    SandboxAdmin,
    SandboxAnna,
    Acting,
    ParentsAdmin,
    Anna,
    Ben,
    Cleo,
    Twin,
    Olga,
    ActingAnna,
    Configuration,
    Clock,
}

impl Who {
    fn subject(self, tenant: &str) -> Option<Subject> {
        Some(match self {
            Who::Admin => admin(tenant),
            Who::Clerk => member(tenant, "clara", &["editor", "reader"]),
            Who::Warden => member(tenant, "wanda", &["warden"]),
            Who::SandboxAdmin => Subject { environment: Some(eid("sandbox")), ..admin(tenant) },
            Who::SandboxAnna => Subject { environment: Some(eid("sandbox")), ..staff("anna") },
            Who::Acting => Subject { acting: true, ..admin(tenant) },
            Who::ParentsAdmin => admin("acme"),
            Who::Anna => staff("anna"),
            Who::Ben => staff("ben"),
            Who::Cleo => staff("cleo"),
            Who::Twin => twin(tenant),
            Who::Olga => staff("olga"),
            Who::ActingAnna => Subject { acting: true, ..staff("anna") },
            Who::Configuration | Who::Clock => return None,
        })
    }
}

fn table() -> Vec<Line> {
    use Who::{
        Acting, ActingAnna, Admin, Anna, Ben, Cleo, Clerk, Clock, Configuration, Olga, ParentsAdmin,
        SandboxAdmin, SandboxAnna, Twin, Warden,
    };
    let anna = || Grantee::Subject(staff("anna").id);
    let soon = Until::For(Span::Millis(1_000));
    let level_of = |name: &str| Choice::Level(level(name));
    let by = |name: &str| WantedBasis::Grant(gid(name));
    let end = |session: &str| Command::EndSession { tenant: tid("acme"), session: sid(session) };
    let expire = |session: &str| Command::Expire { key: Key::Session(tid("acme"), sid(session)) };
    let accepted = |session: &str| Command::AcceptClock { tenant: tid("acme"), session: sid(session) };
    let withdraw = |name: &str| Command::WithdrawGrant { tenant: tid("acme"), grant: gid(name) };
    let moved = |name: &str, until, expected| Command::MoveGrant {
        tenant: tid("acme"),
        grant: gid(name),
        until,
        expected,
    };
    let seen = |number| Some(Version { epoch: 0, number });
    let scope = |scope| match grant("g2", anna(), "reader", soon) {
        Command::MakeGrant { tenant, grant, environment, to, role, until, .. } => {
            Command::MakeGrant { tenant, grant, environment, to, role, until, scope }
        }
        other => other,
    };
    let elsewhere = |command| match command {
        Command::StartSession { tenant, session, basis, reason, ticket, lasts, .. } => {
            Command::StartSession {
                tenant,
                session,
                environment: eid("sandbox"),
                basis,
                reason,
                ticket,
                lasts,
            }
        }
        other => other,
    };
    let stop = |switch| Command::Stop { switch, reason: "something is wrong".into() };
    let lift = |switch| Command::Lift { switch, reason: "it is well again".into() };
    let over = |name: &str| Switch::Operators(Reach::Person(staff(name).id));
    let all = || Switch::Operators(Reach::All);
    let own = |name: &str| Switch::Own(tid(name));
    let glass = |incident: &str, cause: &str, tenant: &str| Command::BreakGlass {
        tenant: tid(tenant),
        session: sid("s2"),
        environment: eid("production"),
        reason: "the platform is down".into(),
        incident: incident.into(),
        cause: cause.into(),
        lasts: None,
    };
    let longer = match glass("INC-1", "stability", "acme") {
        Command::BreakGlass { tenant, session, environment, reason, incident, cause, .. } => {
            let lasts = Some(Span::Millis(GLASS_MS + 1));
            Command::BreakGlass { tenant, session, environment, reason, incident, cause, lasts }
        }
        other => other,
    };
    vec![
        Line(
            "not_operator",
            "no other staff break the glass (GW-06)",
            Anna,
            glass("INC-1", "stability", "acme"),
        ),
        Line("not_operator", "nor where there is no tenant", Anna, glass("INC-1", "stability", "nowhere")),
        Line("not_operator", "nor do members", Admin, glass("INC-1", "stability", "acme")),
        Line("not_found", "there is no tenant to enter", Olga, glass("INC-1", "stability", "nowhere")),
        Line("incident_malformed", "an incident is one", Olga, glass("soon", "stability", "acme")),
        Line("cause_unknown", "haste is no emergency (P17-28)", Olga, glass("INC-1", "haste", "acme")),
        Line("lasts_too_long", "an emergency is short", Olga, longer),
        Line("not_operator", "no other staff stop anything (GW-13)", Ben, stop(all())),
        Line("not_operator", "nor let it go on", Ben, lift(all())),
        Line("not_operator", "a tenant's administrator stops nobody else", Admin, stop(over("anna"))),
        Line("not_operator", "time stops nothing", Clock, stop(all())),
        Line("acting", "nobody stops anything while acting", ActingAnna, stop(all())),
        Line("not_allowed", "an operator does not use the tenant's own switch", Olga, stop(own("acme"))),
        Line("not_allowed", "nor lifts it", Olga, lift(own("acme"))),
        Line("not_allowed", "the parent's administrator stops no child", ParentsAdmin, stop(own("beta"))),
        Line("acting", "nobody lifts while acting", Acting, lift(own("acme"))),
        Line(
            "issuer_unknown",
            "a member is nobody whom this stops",
            Olga,
            stop(Switch::Operators(Reach::Person(person("tenants", "acme-admin")))),
        ),
        Line(
            "not_found",
            "a slip of the pen stops no tenant",
            Olga,
            stop(Switch::Operators(Reach::Tenant(tid("nowhere")))),
        ),
        Line("not_found", "there is no tenant to stop", Admin, stop(own("nowhere"))),
        Line("reason_unfit", "a stop says why", Olga, Command::Stop { switch: all(), reason: "  ".into() }),
        Line(
            "reason_unfit",
            "a lift says why",
            Admin,
            Command::Lift { switch: own("acme"), reason: "a\nb".into() },
        ),
        Line("not_allowed", "an administrator registers no tenant", Admin, register("new", None)),
        Line(
            "not_allowed",
            "the parent's administrator leaves the child alone (P17-11)",
            ParentsAdmin,
            consent("beta", level_of("full")),
        ),
        Line("not_allowed", "staff change no consent", Anna, consent("acme", level_of("full"))),
        Line(
            "not_allowed",
            "who does not administer support changes no consent",
            Clerk,
            consent("acme", level_of("block")),
        ),
        Line("not_allowed", "staff grant nothing", Anna, grant("g2", anna(), "reader", soon)),
        Line(
            "not_allowed",
            "the configuration grants nothing",
            Configuration,
            grant("g2", anna(), "reader", soon),
        ),
        Line("not_allowed", "the clock withdraws nothing", Clock, withdraw("g1")),
        Line("not_allowed", "a member who is no administrator removes nobody", Clerk, end("s1")),
        Line("not_allowed", "nobody but the clock says that time passed", Admin, expire("s1")),
        Line(
            "acting",
            "nobody changes consent while acting (law 5)",
            Acting,
            consent("acme", level_of("block")),
        ),
        Line("acting", "nobody grants while acting (PRA-04)", Acting, grant("g2", anna(), "reader", soon)),
        Line("acting", "acting never chains (PRA-05)", ActingAnna, start("acme", "s2", WantedBasis::Consent)),
        Line("acting", "nobody removes while acting", Acting, end("s1")),
        Line("not_found", "there is no such tenant", Admin, consent("nowhere", level_of("full"))),
        Line("not_found", "there is no such grant", Admin, withdraw("g9")),
        Line("not_found", "somebody else's grant is none", Ben, start("acme", "s2", by("g1"))),
        Line("not_found", "an unknown tenant has no grant", Anna, start("nowhere", "s2", by("g1"))),
        Line("not_found", "somebody else's session is none", Ben, end("s1")),
        Line("not_found", "there is no such session", Clock, expire("s9")),
        Line("not_found", "nor one whose clock is accepted", Clock, accepted("s9")),
        Line("not_allowed", "no person ends a session by accepting a clock", Anna, accepted("s1")),
        Line(
            "not_found",
            "an index has no deadline",
            Clock,
            Command::Expire { key: Key::Presence(tid("acme"), staff("anna").id) },
        ),
        Line(
            "not_found",
            "nor has a tenant that nobody knows",
            Clock,
            Command::Expire { key: Key::Tenant(tid("nowhere")) },
        ),
        Line("parent_fixed", "a parent is fixed at registration", Configuration, register("beta", None)),
        Line(
            "parent_unknown",
            "a parent comes first (rule 6)",
            Configuration,
            register("new", Some("newer")),
        ),
        Line("parent_itself", "nobody is their own parent", Configuration, register("new", Some("new"))),
        Line(
            "level_unknown",
            "a level has to be on the ladder",
            Admin,
            consent("acme", level_of("everything")),
        ),
        Line(
            "nothing_to_inherit",
            "a tenant without a parent inherits nothing (P17-10)",
            Admin,
            consent("acme", Choice::Inherit),
        ),
        Line(
            "not_raised",
            "until a date a level only rises (GW-15)",
            Admin,
            raise("acme", level_of("limited_edit"), soon),
        ),
        Line("not_raised", "nor stays as it is", Admin, raise("acme", level_of("full"), soon)),
        Line("not_raised", "what is inherited has no date", Admin, raise("beta", Choice::Inherit, soon)),
        Line(
            "not_in_future",
            "consent is raised until later than now",
            Admin,
            raise("beta", level_of("full"), Until::At(at(NOW))),
        ),
        Line(
            "too_far",
            "consent is raised no further ahead than a grant",
            Admin,
            raise("beta", level_of("full"), Until::For(Span::Millis(100_001))),
        ),
        Line(
            "not_due",
            "a raise that runs is not written down as over",
            Clock,
            Command::Expire { key: Key::Tenant(tid("gamma")) },
        ),
        Line(
            "changed",
            "consent was changed in between",
            Admin,
            Command::SetConsent {
                tenant: tid("acme"),
                choice: level_of("block"),
                until: None,
                expected: seen(9),
            },
        ),
        Line("changed", "a grant was changed in between", Admin, moved("g1", soon, seen(2))),
        Line("changed", "a grant's name is taken", Admin, grant("g1", anna(), "reader", soon)),
        Line("changed", "a session's name is taken", Anna, start("acme", "s1", WantedBasis::Consent)),
        Line(
            "environment_unknown",
            "the tenant has no such environment",
            Anna,
            elsewhere(start("acme", "s2", WantedBasis::Consent)),
        ),
        Line("role_unknown", "there is no such role", Admin, grant("g2", anna(), "emperor", soon)),
        Line(
            "environment_foreign",
            "a token for one environment grants nothing in another",
            SandboxAdmin,
            grant("g2", anna(), "reader", soon),
        ),
        Line(
            "environment_foreign",
            "nor moves what was granted there",
            SandboxAdmin,
            moved("g1", soon, None),
        ),
        Line(
            "environment_foreign",
            "nor enters there",
            SandboxAnna,
            start("acme", "s2", WantedBasis::Consent),
        ),
        Line("beyond_grantor", "nobody hands on what they lack", Warden, grant("g2", anna(), "editor", soon)),
        Line("beyond_grantor", "nor prolongs it", Warden, moved("g1", Until::At(at(90_001)), None)),
        Line(
            "not_in_future",
            "a grant ends later than now (P17-21)",
            Admin,
            grant("g2", anna(), "reader", Until::At(at(NOW))),
        ),
        Line(
            "not_in_future",
            "an expiry is not moved into the past",
            Admin,
            moved("g1", Until::At(at(NOW - 1)), None),
        ),
        Line(
            "not_in_future",
            "a date that has begun is over (P17-22)",
            Admin,
            grant("g2", anna(), "reader", Until::Date("1970-01-01".parse().unwrap())),
        ),
        Line(
            "not_in_future",
            "a session lasts longer than nothing",
            Anna,
            start_with(|_, _, lasts| *lasts = Some(Span::Millis(0))),
        ),
        Line(
            "too_far",
            "a grant ends within the time that is allowed",
            Admin,
            grant("g2", anna(), "reader", Until::For(Span::Millis(100_001))),
        ),
        Line(
            "too_far",
            "an expiry is not moved beyond it",
            Admin,
            moved("g1", Until::For(Span::Millis(100_001)), None),
        ),
        Line("scope_empty", "a scope names something", Admin, scope(Scope::Resources(BTreeSet::new()))),
        Line("ended", "an end is never undone", Admin, moved("gone", soon, None)),
        Line("ended", "what is over is over, written down or not", Admin, moved("over", soon, None)),
        Line("consent_closes", "the tenant blocks (P17-06)", Anna, start("beta", "s2", WantedBasis::Consent)),
        Line(
            "consent_closes",
            "an unknown tenant looks like one that blocks (law 11)",
            Anna,
            start("nowhere", "s2", WantedBasis::Consent),
        ),
        Line("grant_gives_nothing", "the grant was withdrawn", Anna, start("acme", "s2", by("gone"))),
        Line("grant_gives_nothing", "the grant has expired", Anna, start("acme", "s2", by("over"))),
        Line(
            "grant_gives_nothing",
            "the grant is for another environment",
            Anna,
            elsewhere(start("acme", "s2", by("g1"))),
        ),
        Line(
            "self_granted",
            "nobody consents to themselves (GW-14), by the same name",
            Anna,
            start("delta", "s2", WantedBasis::Consent),
        ),
        Line("self_granted", "nor by the same address", Anna, start("acme", "s2", by("twin"))),
        Line(
            "approval_required",
            "this tenant wants to be asked (GW-16)",
            Ben,
            start("delta", "s2", WantedBasis::Consent),
        ),
        Line("approval_not_required", "this one does not", Anna, ask("acme", "r9", |_| {})),
        Line("consent_closes", "nor is one asked that blocks", Anna, ask("beta", "r9", |_| {})),
        Line("consent_closes", "or that nobody knows (law 11)", Anna, ask("nowhere", "r9", |_| {})),
        Line("self_granted", "nobody asks for what they gave", Anna, ask("delta", "r9", |_| {})),
        Line("not_staff", "members ask for nothing", Admin, ask("delta", "r9", |_| {})),
        Line("changed", "a request's name is taken", Ben, ask("delta", "r1", |_| {})),
        Line(
            "level_unknown",
            "a request is for a level of the ladder",
            Ben,
            ask("delta", "r9", |step| {
                if let Step::Ask { level: wanted, .. } = step {
                    *wanted = level("most");
                }
            }),
        ),
        Line(
            "not_approved",
            "nobody enters before somebody says yes",
            Ben,
            start("delta", "s2", asked("r1")),
        ),
        Line("not_found", "another's request is none", Anna, start("delta", "s2", asked("r1"))),
        Line("not_found", "an unknown tenant has none", Ben, start("nowhere", "s2", asked("r1"))),
        Line("request_over", "it died unanswered", Ben, start("delta", "s2", asked("dead"))),
        Line("request_over", "nor is it approved after its death", Admin, step("dead", yes(None, None))),
        Line("request_over", "nor refused", Admin, step("dead", Step::Refuse("late".into()))),
        Line("request_decided", "it was approved in other terms", Admin, step("r2", yes(None, None))),
        Line(
            "request_decided",
            "nothing is asked about it then",
            Admin,
            step("r2", Step::Question("why".into())),
        ),
        Line(
            "beyond_request",
            "a yes is to no more than was asked",
            Admin,
            step("r1", yes(Some("full"), None)),
        ),
        Line("beyond_request", "nor for longer", Admin, step("r1", yes(None, Some(3_001)))),
        Line("beyond_request", "nor for elsewhere", Ben, elsewhere(start("delta", "s2", asked("r2")))),
        Line(
            "lasts_too_long",
            "nor does a session last longer",
            Ben,
            for_longer(start("delta", "s2", asked("r2"))),
        ),
        Line("self_granted", "nobody approves their own", Twin, step("hers", yes(None, None))),
        Line("nothing_asked", "an answer has a question", Ben, step("r1", Step::Answer("so".into()))),
        Line("not_found", "nobody answers for another", Anna, step("r1", Step::Answer("so".into()))),
        Line("not_allowed", "an agent approves nothing", Ben, step("r1", yes(None, None))),
        Line(
            "not_allowed",
            "a parent's administrator is none here",
            ParentsAdmin,
            step("r1", yes(None, None)),
        ),
        Line("acting", "nor does who acts for one", Acting, step("r1", yes(None, None))),
        Line("requests_waiting", "eight wait at a time", Cleo, ask("delta", "r9", |_| {})),
        Line("reason_unfit", "a refusal says why", Admin, step("r1", Step::Refuse(" ".into()))),
        Line(
            "not_due",
            "a request that waits is not over",
            Clock,
            Command::Expire { key: Key::Request(tid("delta"), rid("r1")) },
        ),
        Line("not_staff", "members start no sessions", Admin, start("acme", "s2", WantedBasis::Consent)),
        Line("not_staff", "time starts no sessions", Clock, start("acme", "s2", WantedBasis::Consent)),
        Line(
            "reason_unfit",
            "a reason says something",
            Anna,
            start_with(|reason, _, _| *reason = " ".into()),
        ),
        Line(
            "reason_unfit",
            "a reason is on one line",
            Anna,
            start_with(|reason, _, _| *reason = "a\nb".into()),
        ),
        Line("reason_unfit", "a reason is short", Anna, start_with(|reason, _, _| *reason = "ä".repeat(501))),
        Line(
            "ticket_unfit",
            "a ticket has no blank",
            Anna,
            start_with(|_, ticket, _| *ticket = Some("T 1".into())),
        ),
        Line(
            "ticket_unfit",
            "a ticket is not empty",
            Anna,
            start_with(|_, ticket, _| *ticket = Some(String::new())),
        ),
        Line(
            "lasts_too_long",
            "a session lasts no longer than configured",
            Anna,
            start_with(|_, _, lasts| *lasts = Some(Span::Millis(10_001))),
        ),
        Line("not_due", "a deadline that has not passed is not written down", Clock, expire("s1")),
    ]
}

fn run(world: &World, line: &Line, policy: &Policy) -> Result<postern::lifecycle::Change, Refusal> {
    let subject = line.2.subject(line.3.tenant().map_or("acme", |tenant| tenant.as_str()));
    let actor = match (&subject, line.2) {
        (Some(subject), _) => Actor::Subject(subject),
        (None, Who::Clock) => Actor::Clock,
        (None, _) => Actor::Configuration,
    };
    world.dry(&line.3, actor, NOW, policy)
}

#[test]
fn every_refusal_has_its_code_and_says_what_to_do() {
    let mut plain = Plain::new(true);
    plain.grant_most_ms = Some(100_000);
    let policy = plain.compile();
    let world = world(&policy);
    let mut seen = BTreeSet::new();
    for line in table() {
        match run(&world, &line, &policy) {
            Err(refusal) => {
                assert_eq!(refusal.code(), line.0, "{}: {refusal}", line.1);
                seen.insert(refusal.code());
                let text = refusal.to_string();
                assert!(!text.contains('\n') && !text.ends_with('.'), "{text}");
            }
            Ok(change) => panic!("{}: {change:?}", line.1),
        }
    }
    // Those that take a world of their own.
    let olga = staff("olga");
    let mut stopped = world.clone();
    let stop = Command::Stop { switch: Switch::Operators(Reach::All), reason: "all of it".into() };
    stopped.run(&stop, Actor::Subject(&olga), NOW, &policy).unwrap();
    let enter = start("acme", "s2", WantedBasis::Consent);
    let refusal = stopped.dry(&enter, Actor::Subject(&staff("anna")), NOW, &policy).unwrap_err();
    assert!(refusal.to_string().contains("an operator"), "{refusal}");
    seen.insert(refusal.code());
    let mut broken = world.clone();
    broken.unavailable.insert(Key::Tenant(tid("acme")));
    let anna = staff("anna");
    let start_again = |n: usize| start("acme", &format!("many{n}"), WantedBasis::Grant(gid("g1")));
    let refusal = broken.dry(&start_again(0), Actor::Subject(&anna), NOW, &policy).unwrap_err();
    seen.insert(refusal.code());
    let stopped_by_nobody = world.clone();
    let mut full = world;
    let refusal = (0..).find_map(|n| full.run(&start_again(n), Actor::Subject(&anna), NOW, &policy).err());
    seen.insert(refusal.unwrap().code());
    match full.document(&Key::Presence(tid("acme"), anna.id.clone()), &policy) {
        Some(Document::Presence(presence)) => assert_eq!(presence.sessions.len(), 32),
        other => panic!("{other:?}"),
    }
    // One that is over makes room for another.
    let end = Command::EndSession { tenant: tid("acme"), session: sid("many3") };
    full.run(&end, Actor::Subject(&anna), NOW, &policy).unwrap();
    full.run(&start_again(99), Actor::Subject(&anna), NOW, &policy).unwrap();
    // Where removals keep people out, and a tenant does not end what it did not let in.
    let strict = Plain { bar: true, ..Plain::new(true) }.compile();
    let mut barred = stopped_by_nobody.clone();
    let remove = Command::EndSession { tenant: tid("acme"), session: sid("s1") };
    barred.run(&remove, Actor::Subject(&admin("acme")), NOW, &strict).unwrap();
    let refusal = barred.dry(&start_again(0), Actor::Subject(&anna), NOW + 1, &strict).unwrap_err();
    seen.insert(refusal.code());
    let mut aloof = policy.clone();
    aloof.emergency.break_glass.as_mut().unwrap().tenant_ends = false;
    let mut glass = stopped_by_nobody;
    let enter = Command::BreakGlass {
        tenant: tid("acme"),
        session: sid("glass"),
        environment: eid("production"),
        reason: "everything stands still".into(),
        incident: "INC-1".into(),
        cause: "stability".into(),
        lasts: None,
    };
    glass.run(&enter, Actor::Subject(&olga), NOW, &aloof).unwrap();
    let remove = Command::EndSession { tenant: tid("acme"), session: sid("glass") };
    let refusal = glass.dry(&remove, Actor::Subject(&admin("acme")), NOW + 1, &aloof).unwrap_err();
    seen.insert(refusal.code());
    assert_eq!(seen.len(), 43, "a code without a line: {seen:?}");
}

#[test]
fn who_may_do_less_than_a_grant_still_shortens_and_withdraws_it() {
    let policy = Plain::new(true).compile();
    let mut world = world(&policy);
    let warden = member("acme", "wanda", &["warden"]);
    let shorter = Command::MoveGrant {
        tenant: tid("acme"),
        grant: gid("g1"),
        until: Until::At(at(80_000)),
        expected: None,
    };
    // It may be asked for again and again, so it may not use what is set aside for ends.
    assert!(!world.run(&shorter, Actor::Subject(&warden), NOW, &policy).unwrap().narrows);
    let withdraw = Command::WithdrawGrant { tenant: tid("acme"), grant: gid("g1") };
    assert!(world.run(&withdraw, Actor::Subject(&warden), NOW, &policy).unwrap().narrows);
}

#[test]
fn repeating_what_is_so_already_changes_nothing() {
    let policy = Plain::new(true).compile();
    let mut world = world(&policy);
    let administrator = admin("acme");
    let acme = Actor::Subject(&administrator);
    let end = Command::EndSession { tenant: tid("acme"), session: sid("s1") };
    assert!(!world.run(&end, acme, NOW, &policy).unwrap().documents.is_empty());
    let nothing = |world: &World, command: &Command, actor: Actor<'_>| {
        let change = world.dry(command, actor, NOW + 1, &policy).unwrap();
        assert_eq!(change, postern::lifecycle::Change::NOTHING, "{command:?}");
    };
    nothing(&world, &end, acme);
    nothing(&world, &end, Actor::Subject(&staff("anna")));
    nothing(&world, &Command::Expire { key: Key::Session(tid("acme"), sid("s1")) }, Actor::Clock);
    nothing(&world, &Command::Expire { key: Key::Grant(tid("acme"), gid("gone")) }, Actor::Clock);
    nothing(&world, &consent("acme", Choice::Level(level("full"))), acme);
    nothing(&world, &Command::Expire { key: Key::Tenant(tid("acme")) }, Actor::Clock);
    nothing(&world, &register("beta", Some("acme")), Actor::Configuration);
    let moved = Command::MoveGrant {
        tenant: tid("acme"),
        grant: gid("g1"),
        until: Until::At(at(90_000)),
        expected: None,
    };
    nothing(&world, &moved, acme);
}
