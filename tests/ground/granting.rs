//! Grants whose scope names roles, and grants by members: what the application is told, who prolongs what, and that no grant
//! gives what its giver cannot do, whatever a role comes to hold.

use std::collections::BTreeSet;

use postern::{
    lifecycle::{Actor, Change, Command, Refusal, Until, WantedBasis},
    model::{Document, GivenAs, Grantee, Key, RoleAt, RoleName, Scope, Span, Subject, Zone},
    policy::{Caller, Decision, Policy},
};

use crate::world::*;

/// Tenants adjust `clerk` and define two roles; who holds `reader` gives while the setting allows it, who holds `editor` always.
fn narrowed() -> Policy {
    let by_role = [("reader".to_owned(), false), ("editor".to_owned(), true)].into();
    Plain { adjustable: vec!["clerk".into()], own_roles: 2, by_role, ..Plain::new(true) }.compile()
}

struct Story {
    world: World,
    policy: Policy,
    now: i64,
}

impl Story {
    fn new() -> Story {
        let mut story = Story { world: World::default(), policy: narrowed(), now: 1_000 };
        let acme = Command::RegisterTenant {
            tenant: tid("acme"),
            parent: None,
            zone: Zone::UTC,
            environments: vec![eid("production")],
        };
        story.world.run(&acme, Actor::Configuration, story.now, &story.policy).unwrap();
        story
    }

    fn run(&mut self, by: &Subject, command: &Command) -> Result<Change, Refusal> {
        self.now += 10;
        self.world.run(command, Actor::Subject(by), self.now, &self.policy)
    }

    #[track_caller]
    fn does(&mut self, by: &Subject, command: &Command) {
        self.run(by, command).unwrap();
    }

    #[track_caller]
    fn refused(&mut self, by: &Subject, command: &Command, code: &str) {
        assert_eq!(self.run(by, command).unwrap_err().code(), code);
    }

    fn row(&mut self, sub: &str, roles: &[&str]) {
        let push = Command::PushMember {
            tenant: tid("acme"),
            member: person("rows", sub),
            roles: roles.iter().map(|name| role(name)).collect(),
            suspended: false,
            email: None,
            expected: None,
        };
        self.does(&program("crm"), &push);
    }

    fn say(&mut self, role: &str, permissions: &[&str]) {
        let permissions = permissions.iter().map(|name| name.parse().unwrap()).collect();
        let say =
            Command::SetRole { tenant: tid("acme"), role: self::role(role), permissions, expected: None };
        self.does(&admin("acme"), &say);
    }

    #[track_caller]
    fn enter(&mut self, sub: &str, grant: &str) -> String {
        let session = format!("s{}", self.world.changes);
        self.does(&staff(sub), &start(&session, grant));
        session
    }

    /// The code of a decision at an order, or none; and the role that the application is told of.
    fn at(
        &self,
        sub: &str,
        session: &str,
        order: Option<&str>,
        permission: &str,
    ) -> (String, Option<RoleName>) {
        let mut request = Request::simple("acme", permission).inside(session);
        if let Some(order) = order {
            request.route = Map::Rule(vec![permission.to_owned()], false, Some("orders".to_owned()));
            request.resource = Some(order.to_owned());
        }
        let decided = self.world.decide(&request, Caller::Known(&staff(sub)), self.now, &self.policy);
        let told = match &decided.decision {
            Decision::Allow(permit) => permit.staff().unwrap().role.clone(),
            Decision::Deny(_) => None,
        };
        (decided.code().to_owned(), told)
    }

    #[track_caller]
    fn is(&self, (sub, session, order): (&str, &str, &str), permission: &str, code: &str) {
        assert_eq!(self.at(sub, session, Some(order), permission).0, code);
    }
}

fn orders(each: &[(&str, &str)]) -> Scope {
    let one = |(id, name): &(&str, &str)| RoleAt {
        r#type: "orders".parse().unwrap(),
        id: id.parse().unwrap(),
        role: role(name),
    };
    Scope::Roles(each.iter().map(one).collect())
}

fn order(id: &str) -> Scope {
    Scope::Resources([("orders".parse().unwrap(), id.parse().unwrap())].into())
}

fn make(grant: &str, name: &str, scope: Scope) -> Command {
    Command::MakeGrant {
        tenant: tid("acme"),
        grant: gid(grant),
        environment: eid("production"),
        to: Grantee::Support,
        role: role(name),
        scope,
        until: Until::For(Span::Millis(9_000)),
    }
}

fn change(grant: &str, name: Option<&str>, scope: Option<Scope>) -> Command {
    let (tenant, grant, role) = (tid("acme"), gid(grant), name.map(role));
    Command::ChangeGrant { tenant, grant, role, scope, until: None, expected: None }
}

fn lasting(grant: &str, ms: i64) -> Command {
    let until = Until::For(Span::Millis(ms));
    Command::MoveGrant { tenant: tid("acme"), grant: gid(grant), until, expected: None }
}

fn withdraw(grant: &str) -> Command {
    Command::WithdrawGrant { tenant: tid("acme"), grant: gid(grant) }
}

fn start(session: &str, grant: &str) -> Command {
    Command::StartSession {
        tenant: tid("acme"),
        session: sid(session),
        environment: eid("production"),
        basis: WantedBasis::Grant(gid(grant)),
        reason: "as agreed".into(),
        ticket: None,
        lasts: None,
    }
}

fn others(allowed: bool) -> Command {
    Command::SetGranting { tenant: tid("acme"), allowed, expected: None }
}

fn remove_role(name: &str) -> Command {
    Command::RemoveRole { tenant: tid("acme"), role: role(name), expected: None }
}

#[test]
fn the_application_is_told_the_role_of_the_resource_and_never_a_wider_one() {
    let mut story = Story::new();
    let boss = admin("acme");
    story.does(&boss, &make("g1", "editor", orders(&[("o1", "reader"), ("o2", "editor")])));
    let session = story.enter("anna", "g1");
    let told = |story: &Story, order: &str| story.at("anna", &session, Some(order), "orders:read");
    let by_grant = |name: Option<&str>| ("session_by_grant".to_owned(), name.map(role));
    assert_eq!(told(&story, "o1"), by_grant(Some("reader")));
    assert_eq!(told(&story, "o2"), by_grant(Some("editor")));
    // Widened, it is told what the session has; narrowed, what the grant gives.
    story.does(&boss, &change("g1", None, Some(orders(&[("o1", "editor"), ("o2", "reader")]))));
    assert_eq!(told(&story, "o1"), by_grant(Some("reader")));
    assert_eq!(told(&story, "o2"), by_grant(Some("reader")));
    // Where neither lies within the other, what both allow is allowed, and no name says that.
    story.does(&boss, &change("g1", None, Some(orders(&[("o1", "warden")]))));
    assert_eq!(told(&story, "o1"), by_grant(None));
    assert_eq!(story.at("anna", &session, Some("o1"), "mappings:read").0, "permission_missing");
    assert_eq!(story.at("anna", &session, Some("o2"), "orders:read").0, "grant_scope");
}

// CEL-08
#[test]
fn who_gave_as_an_administrator_and_is_none_any_more_gives_no_more_by_it() {
    let mut story = Story::new();
    story.row("rita", &["administrator"]);
    let rita = rower("acme", "rita");
    story.does(&rita, &make("g1", "reader", Scope::Everything));
    story.does(&admin("acme"), &others(true));
    story.row("rita", &["reader"]);
    story.refused(&rita, &make("g2", "reader", Scope::Everything), "scope_too_wide");
    story.refused(&rita, &lasting("g1", 12_000), "given_as_other");
    story.refused(&rita, &change("g1", None, Some(order("o1"))), "given_as_other");
    // As who she is she gives, by the setting; nearer ends and withdrawals are hers.
    story.does(&rita, &make("g2", "reader", order("o1")));
    story.does(&rita, &lasting("g2", 12_000));
    story.does(&rita, &lasting("g1", 5_000));
    let session = story.enter("anna", "g1");
    story.does(&admin("acme"), &others(false));
    assert_eq!(story.at("anna", &session, None, "orders:read").0, "session_by_grant");
    story.refused(&staff("anna"), &start("s9", "g2"), "grant_gives_nothing");
    story.does(&rita, &withdraw("g1"));
    assert_eq!(story.at("anna", &session, None, "orders:read").0, "grant_withdrawn");
    // By a role that always may she gave one; since she holds another, which takes the setting, that is another's to prolong.
    story.row("rita", &["editor"]);
    story.does(&rita, &make("g3", "reader", order("o1")));
    let given = story.world.document(&Key::Grant(tid("acme"), gid("g3")), &story.policy);
    assert!(matches!(given, Some(Document::Grant(grant)) if grant.given_as == GivenAs::Member));
    story.does(&admin("acme"), &others(true));
    story.row("rita", &["reader"]);
    story.refused(&rita, &lasting("g3", 12_000), "given_as_other");
    story.does(&admin("acme"), &lasting("g3", 12_000));
}

// CEL-08
// PFC-17
#[test]
fn no_grant_gives_what_its_giver_cannot_do_whatever_a_role_comes_to_hold() {
    let mut story = Story::new();
    story.does(&admin("acme"), &others(true));
    story.row("mia", &["reader"]);
    let mia = rower("acme", "mia");
    // An adjusted role is what it is in this tenant: not what the configuration says of it.
    story.refused(&mia, &make("g1", "clerk", order("o1")), "beyond_grantor");
    story.say("clerk", &["orders:read", "users:manage"]);
    story.does(&mia, &make("g1", "clerk", order("o1")));
    // And one of the tenant's own, at one of several resources.
    story.say("helper", &["orders:read"]);
    story.does(&mia, &make("g2", "reader", orders(&[("o1", "helper"), ("o2", "reader")])));
    let (early, own) = (story.enter("anna", "g1"), story.enter("anna", "g2"));
    // Who may adjusts them; it reaches support by no grant of somebody who lacks it.
    story.say("clerk", &["orders:read", "orders:write"]);
    story.say("helper", &["orders:read", "orders:write"]);
    let (later, other) = (story.enter("ben", "g1"), story.enter("ben", "g2"));
    for (sub, session, code) in [
        ("anna", &early, "permission_missing"),
        ("anna", &own, "permission_missing"),
        ("ben", &later, "grantor_lacks"),
        ("ben", &other, "grantor_lacks"),
    ] {
        story.is((sub, session, "o1"), "orders:write", code);
        story.is((sub, session, "o1"), "orders:read", "session_by_grant");
    }
    // Neither is it given anew, prolonged, or changed into.
    for (grant, name, scope) in [
        ("g3", "clerk", order("o1")),
        ("g3", "helper", order("o1")),
        ("g3", "reader", orders(&[("o1", "reader"), ("o2", "helper")])),
        ("g3", "helper", orders(&[("o1", "reader")])),
    ] {
        story.refused(&mia, &make(grant, name, scope), "beyond_grantor");
    }
    for grant in ["g1", "g2"] {
        story.refused(&mia, &lasting(grant, 12_000), "beyond_grantor");
    }
    story.refused(&mia, &change("g2", Some("helper"), None), "beyond_grantor");
    story.refused(&mia, &change("g2", None, Some(orders(&[("o3", "helper")]))), "beyond_grantor");
    // An administrator, who could, widens what others gave: it is still bounded by whoever gave it.
    story.does(&admin("acme"), &change("g2", None, Some(orders(&[("o3", "helper")]))));
    let third = story.enter("ben", "g2");
    story.is(("ben", &third, "o3"), "orders:write", "grantor_lacks");
    story.refused(&admin("acme"), &change("g2", None, Some(Scope::Everything)), "scope_too_wide");
    // Once she can, it does; what is taken from her role, support loses in the same moment.
    story.row("mia", &["reader", "helper"]);
    story.is(("ben", &third, "o3"), "orders:write", "session_by_grant");
    story.is(("ben", &later, "o1"), "orders:write", "session_by_grant");
    story.say("helper", &["orders:read"]);
    story.is(("ben", &third, "o3"), "orders:write", "permission_missing");
    story.is(("ben", &later, "o1"), "orders:write", "grantor_lacks");
    // A role that is hers alone for giving does not let her give: only those of the table do.
    story.row("mia", &["helper"]);
    story.refused(&mia, &make("g4", "helper", order("o1")), "not_allowed");
}

// GW-14
#[test]
fn whoever_filled_the_role_of_one_resource_enters_by_no_grant_that_names_it() {
    let mut story = Story::new();
    let (boss, twin) = (admin("acme"), twin("acme"));
    let permissions = vec!["orders:write".parse().unwrap()];
    let say = Command::SetRole { tenant: tid("acme"), role: role("helper"), permissions, expected: None };
    story.does(&twin, &say);
    story.does(&boss, &make("g1", "reader", orders(&[("o1", "reader"), ("o2", "helper")])));
    story.refused(&staff("anna"), &start("s1", "g1"), "self_granted");
    let session = story.enter("ben", "g1");
    story.is(("ben", &session, "o2"), "orders:write", "session_by_grant");
    // Named later, it closes what runs.
    story.does(&boss, &make("g2", "reader", order("o1")));
    let session = story.enter("anna", "g2");
    story.is(("anna", &session, "o1"), "orders:read", "session_by_grant");
    story.does(&boss, &change("g2", None, Some(orders(&[("o1", "reader"), ("o2", "helper")]))));
    story.is(("anna", &session, "o1"), "orders:read", "self_granted");
}

// P17-31
#[test]
fn a_role_that_a_scope_names_stays_until_no_standing_grant_names_it() {
    let mut story = Story::new();
    let boss = admin("acme");
    story.say("helper", &["orders:read"]);
    story.does(&boss, &make("g1", "reader", orders(&[("o1", "reader"), ("o2", "helper")])));
    story.refused(&boss, &remove_role("helper"), "role_granted");
    // Longer than was said first.
    story.does(&boss, &lasting("g1", 20_000));
    story.now += 12_000;
    story.refused(&boss, &remove_role("helper"), "role_granted");
    story.does(&boss, &change("g1", None, Some(order("o1"))));
    story.does(&boss, &remove_role("helper"));
    // Named by a change, it is known as well; and as the grant's own, where each resource has another.
    story.say("helper", &["orders:read"]);
    story.does(&boss, &change("g1", Some("helper"), Some(orders(&[("o1", "reader")]))));
    story.refused(&boss, &remove_role("helper"), "role_granted");
    story.does(&boss, &withdraw("g1"));
    story.does(&boss, &remove_role("helper"));
    let standing: BTreeSet<_> = story.world.documents(&story.policy).into_keys().collect();
    assert!(standing.contains(&Key::Role(tid("acme"), role("helper"))), "its end is kept");
}
