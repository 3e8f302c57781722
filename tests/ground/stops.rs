//! Kill switches, case by case (GW-13): whom they reach, who lifts them, what stays ended.

use postern::{
    lifecycle::{Actor, Change, Command, Refusal, Switch, WantedBasis},
    model::{
        Document, EndCause, EnvironmentId, Grantee, Key, Reach, Scope, Side, Stored, Subject, Timestamp,
        Zone, join::join,
    },
    policy::{Caller, Policy},
};

use crate::world::*;

const NOW: i64 = 1_000;

fn all() -> Switch {
    Switch::Operators(Reach::All)
}

fn over(name: &str) -> Switch {
    Switch::Operators(Reach::Person(staff(name).id))
}

fn over_tenant(name: &str) -> Switch {
    Switch::Operators(Reach::Tenant(tid(name)))
}

struct Scene {
    world: World,
    policy: Policy,
    now: i64,
}

impl Scene {
    /// `acme` and `other` at their default level, anna and ben inside both.
    fn new() -> Scene {
        let policy = Plain::new(true).compile();
        let mut scene = Scene { world: World::default(), policy, now: NOW };
        for tenant in ["acme", "other"] {
            let environments: Vec<EnvironmentId> = vec![eid("production")];
            let command =
                Command::RegisterTenant { tenant: tid(tenant), parent: None, zone: Zone::UTC, environments };
            scene.world.run(&command, Actor::Configuration, 1, &scene.policy).unwrap();
            for agent in ["anna", "ben"] {
                scene.start(tenant, agent, &format!("{tenant}-{agent}")).unwrap();
            }
        }
        scene.now += 1;
        scene
    }

    fn run(&mut self, command: &Command, by: &Subject) -> Result<Change, Refusal> {
        self.now += 1;
        self.world.run(command, Actor::Subject(by), self.now, &self.policy)
    }

    fn stop(&mut self, switch: Switch, by: &str) -> Result<Change, Refusal> {
        let by = by.strip_prefix("admin of ").map_or_else(|| staff(by), admin);
        self.run(&Command::Stop { switch, reason: "something is wrong".into() }, &by)
    }

    fn lift(&mut self, switch: Switch, by: &str) -> Result<Change, Refusal> {
        let by = by.strip_prefix("admin of ").map_or_else(|| staff(by), admin);
        self.run(&Command::Lift { switch, reason: "it is well again".into() }, &by)
    }

    fn start(&mut self, tenant: &str, agent: &str, session: &str) -> Result<Change, Refusal> {
        let command = Command::StartSession {
            tenant: tid(tenant),
            session: sid(session),
            environment: eid("production"),
            basis: WantedBasis::Consent,
            reason: "an order is stuck".into(),
            ticket: None,
            lasts: None,
        };
        self.run(&command, &staff(agent))
    }

    /// The code for reading orders in the session that was there from the start.
    fn reads(&self, tenant: &str, agent: &str) -> &'static str {
        let request = Request::simple(tenant, "orders:read").inside(&format!("{tenant}-{agent}"));
        self.world.decide(&request, Caller::Known(&staff(agent)), self.now, &self.policy).code()
    }

    fn all_read(&self) -> [&'static str; 4] {
        [("acme", "anna"), ("acme", "ben"), ("other", "anna"), ("other", "ben")]
            .map(|(t, a)| self.reads(t, a))
    }
}

const GOOD: &str = "session_by_consent";

// GW-13
#[test]
fn each_switch_ends_what_it_reaches_and_nothing_else() {
    for (switch, by, expected) in [
        (all(), "olga", ["stopped"; 4]),
        (over("anna"), "olga", ["stopped", GOOD, "stopped", GOOD]),
        (over_tenant("acme"), "olga", ["stopped", "stopped", GOOD, GOOD]),
        (Switch::Own(tid("acme")), "admin of acme", ["stopped", "stopped", GOOD, GOOD]),
    ] {
        let mut scene = Scene::new();
        assert_eq!(scene.all_read(), [GOOD; 4]);
        let change = scene.stop(switch.clone(), by).unwrap();
        assert!(change.narrows);
        assert_eq!(scene.all_read(), expected, "{switch:?}");
        // Nobody whom it reaches starts anew; everybody else does.
        for (n, (tenant, agent)) in
            [("acme", "anna"), ("acme", "ben"), ("other", "anna"), ("other", "ben")].into_iter().enumerate()
        {
            let started = scene.start(tenant, agent, &format!("again-{tenant}-{agent}"));
            assert_eq!(started.is_ok(), expected[n] == GOOD, "{switch:?}: {started:?}");
            if let Err(refusal) = started {
                let side = if by == "olga" { Side::Operators } else { Side::Tenant };
                assert_eq!(refusal, Refusal::Stopped(side));
            }
        }
        assert_eq!(scene.stop(switch.clone(), by).unwrap(), Change::NOTHING, "again");
        assert!(!scene.lift(switch.clone(), by).unwrap().narrows, "a lift gives something");
        assert_eq!(scene.lift(switch, by).unwrap(), Change::NOTHING, "again");
    }
}

// GW-13
#[test]
fn what_ran_before_a_stop_does_not_come_back_when_it_is_lifted() {
    for (switch, by) in [
        (all(), "olga"),
        (over("anna"), "olga"),
        (over_tenant("acme"), "olga"),
        (Switch::Own(tid("acme")), "admin of acme"),
    ] {
        let mut scene = Scene::new();
        scene.stop(switch.clone(), by).unwrap();
        scene.lift(switch.clone(), by).unwrap();
        assert_eq!(scene.reads("acme", "anna"), "session_stopped", "{switch:?}");
        // What starts in the very millisecond of the lift is new.
        scene.now -= 1;
        scene.start("acme", "anna", "anew").unwrap();
        let request = Request::simple("acme", "orders:read").inside("anew");
        let decided = scene.world.decide(&request, Caller::Known(&staff("anna")), scene.now, &scene.policy);
        assert_eq!(decided.code(), GOOD);
    }
}

#[test]
fn what_starts_in_the_millisecond_of_a_stop_is_over() {
    let mut scene = Scene::new();
    scene.start("acme", "ben", "late").unwrap();
    scene.now -= 1;
    scene.stop(all(), "olga").unwrap();
    scene.lift(all(), "olga").unwrap();
    let request = Request::simple("acme", "orders:read").inside("late");
    let decided = scene.world.decide(&request, Caller::Known(&staff("ben")), scene.now, &scene.policy);
    assert_eq!(decided.code(), "session_stopped");
}

#[test]
fn each_side_lifts_its_own_switch_and_not_the_others() {
    let mut scene = Scene::new();
    scene.stop(over_tenant("acme"), "olga").unwrap();
    scene.stop(Switch::Own(tid("acme")), "admin of acme").unwrap();
    assert_eq!(scene.lift(over_tenant("acme"), "admin of acme").unwrap_err().code(), "not_operator");
    assert_eq!(scene.lift(Switch::Own(tid("acme")), "olga").unwrap_err().code(), "not_allowed");
    scene.lift(Switch::Own(tid("acme")), "admin of acme").unwrap();
    assert_eq!(scene.reads("acme", "anna"), "stopped", "the operators' holds");
    scene.lift(over_tenant("acme"), "olga").unwrap();
    assert_eq!(scene.reads("acme", "anna"), "session_stopped");
}

// GW-13
#[test]
fn a_stopped_operator_is_none_any_more_and_never_does_everybody_lock_everybody_out() {
    let mut scene = Scene::new();
    let stopped = Refusal::Stopped(Side::Operators);
    // Somebody else's stop is not theirs to lift, nor do they stop or lift anything else.
    scene.stop(over("anna"), "olga").unwrap();
    for switch in [over("anna"), all()] {
        assert_eq!(scene.lift(switch, "anna").unwrap_err(), stopped);
    }
    assert_eq!(scene.stop(over("olga"), "anna").unwrap_err(), stopped);
    // Whoever stopped the last other one is not stopped, or by their own hand, which they can lift.
    scene.stop(over("olga"), "olga").unwrap();
    assert_eq!(scene.stop(all(), "olga").unwrap_err(), stopped);
    assert_eq!(scene.lift(over("anna"), "olga").unwrap_err(), stopped);
    scene.lift(over("olga"), "olga").unwrap();
    scene.lift(over("anna"), "olga").unwrap();
    // Stopping everything leaves the operators what they are.
    scene.stop(all(), "anna").unwrap();
    scene.lift(all(), "olga").unwrap();
}

#[test]
fn another_ones_stop_takes_the_place_of_ones_own() {
    let mut scene = Scene::new();
    scene.stop(over("anna"), "anna").unwrap();
    assert!(scene.stop(over("anna"), "olga").unwrap().narrows);
    assert_eq!(scene.lift(over("anna"), "anna").unwrap_err(), Refusal::Stopped(Side::Operators));
    scene.lift(over("anna"), "olga").unwrap();
    // And not the other way round.
    scene.stop(over("anna"), "olga").unwrap();
    assert_eq!(scene.stop(over("anna"), "anna").unwrap(), Change::NOTHING);
    assert_eq!(scene.lift(over("anna"), "anna").unwrap_err(), Refusal::Stopped(Side::Operators));
}

#[test]
fn a_switch_is_set_also_where_nothing_can_be_read_and_lifted_only_where_it_can() {
    let mut scene = Scene::new();
    for key in [Key::Stop(Reach::All), Key::Stop(Reach::Person(staff("anna").id)), Key::Tenant(tid("acme"))] {
        scene.world.unavailable.insert(key);
    }
    for switch in [all(), over("anna"), over_tenant("acme")] {
        let command = Command::Stop { switch, reason: "something is wrong".into() };
        let change =
            scene.world.dry(&command, Actor::Subject(&staff("olga")), scene.now, &scene.policy).unwrap();
        assert!(change.narrows && !change.documents.is_empty());
    }
    let lifted = scene.lift(all(), "olga").unwrap_err();
    assert_eq!(lifted, Refusal::Unavailable);
    assert_eq!(scene.reads("other", "ben"), "state_unavailable", "and nobody passes meanwhile");
}

#[test]
fn a_lift_that_did_not_know_of_a_stop_does_not_undo_it() {
    let mut scene = Scene::new();
    let key = Key::Stop(Reach::All);
    scene.stop(all(), "olga").unwrap();
    let before: Stored = scene.world.docs[&key].clone();
    scene.lift(all(), "olga").unwrap();
    let lifted = scene.world.docs[&key].clone();
    // The lift descends from the stop: it holds. Set anew on the other side, it does not.
    let holds = |world: &mut World, stored: Stored| {
        world.docs.insert(key.clone(), stored);
    };
    holds(&mut scene.world, join(&before, &lifted));
    assert_eq!(scene.reads("acme", "anna"), "session_stopped");
    let mut elsewhere = before.clone();
    let Document::Stop(stop) = elsewhere.heads[0].document.clone() else { panic!() };
    elsewhere = Stored::after(Some(&elsewhere), "c99999999".parse().unwrap(), Document::Stop(stop));
    holds(&mut scene.world, join(&elsewhere, &lifted));
    assert_eq!(scene.reads("acme", "anna"), "stopped");
}

#[test]
fn a_stop_over_a_grant_reaches_its_sessions_too() {
    let mut scene = Scene::new();
    let grant = Command::MakeGrant {
        tenant: tid("acme"),
        grant: gid("g1"),
        environment: eid("production"),
        to: Grantee::Support,
        role: role("administrator"),
        scope: Scope::Everything,
        until: postern::lifecycle::Until::At(at(90_000)),
    };
    scene.run(&grant, &admin("acme")).unwrap();
    let enter = Command::StartSession {
        tenant: tid("acme"),
        session: sid("by-grant"),
        environment: eid("production"),
        basis: WantedBasis::Grant(gid("g1")),
        reason: "as agreed".into(),
        ticket: None,
        lasts: None,
    };
    scene.run(&enter, &staff("cleo")).unwrap_err();
    scene.run(&enter, &staff("ben")).unwrap();
    scene.stop(Switch::Own(tid("acme")), "admin of acme").unwrap();
    let request = Request::simple("acme", "orders:write").inside("by-grant");
    let decided = scene.world.decide(&request, Caller::Known(&staff("ben")), scene.now, &scene.policy);
    assert_eq!(decided.code(), "stopped");
    assert_eq!(scene.run(&enter, &staff("ben")).unwrap_err(), Refusal::Stopped(Side::Tenant));
}

// GW-13
#[test]
fn a_session_that_a_switch_ended_is_written_down_as_that() {
    let mut scene = Scene::new();
    scene.stop(over("anna"), "olga").unwrap();
    let set = scene.now;
    scene.lift(over("anna"), "olga").unwrap();
    let key = Key::Session(tid("acme"), sid("acme-anna"));
    let expire = Command::Expire { key: key.clone() };
    scene.world.run(&expire, Actor::Clock, NOW + 20_000, &scene.policy).unwrap();
    let Some(Document::Session(session)) = scene.world.document(&key, &scene.policy) else { panic!() };
    let end = session.ended.unwrap();
    assert_eq!((end.cause, end.at), (EndCause::Stopped, Timestamp::from_ms(set)));
    assert_eq!(scene.reads("acme", "anna"), "session_stopped");
    let key = Key::Session(tid("acme"), sid("acme-ben"));
    let expire = Command::Expire { key: key.clone() };
    scene.world.run(&expire, Actor::Clock, NOW + 20_000, &scene.policy).unwrap();
    let Some(Document::Session(session)) = scene.world.document(&key, &scene.policy) else { panic!() };
    assert_eq!(session.ended.unwrap().cause, EndCause::Expired);
}

// P17-16
#[test]
fn a_session_that_fell_is_written_down_at_once_with_what_it_fell_with_and_whoever_asks_is_still_told() {
    let mut scene = Scene::new();
    let key = Key::Session(tid("acme"), sid("acme-anna"));
    let expire = Command::Expire { key: key.clone() };
    let ask = |scene: &mut Scene| scene.world.run(&expire, Actor::Clock, scene.now, &scene.policy);
    assert!(matches!(ask(&mut scene), Err(Refusal::NotDue(_))), "it stands");
    scene.stop(Switch::Own(tid("acme")), "admin of acme").unwrap();
    let set = scene.now;
    scene.now += 5;
    ask(&mut scene).unwrap();
    let Some(Document::Session(session)) = scene.world.document(&key, &scene.policy) else { panic!() };
    let end = session.ended.unwrap();
    assert_eq!((end.cause, end.at), (EndCause::Stopped, Timestamp::from_ms(set)));
    assert_eq!(scene.reads("acme", "anna"), "stopped", "and who can lift it");
    scene.lift(Switch::Own(tid("acme")), "admin of acme").unwrap();
    assert_eq!(scene.reads("acme", "anna"), "session_stopped");
    assert!(ask(&mut scene).unwrap().documents.is_empty(), "once");
}

#[test]
fn the_usual_case_costs_one_look_up_and_members_none() {
    let mut scene = Scene::new();
    let request = Request::simple("acme", "orders:read");
    let stops = |scene: &World, caller: &Subject, policy: &Policy, now| {
        let decided = scene.decide(&request, Caller::Known(caller), now, policy);
        decided.asked.iter().filter(|key| matches!(key, Key::Stop(_))).count()
    };
    assert_eq!(stops(&scene.world, &staff("anna"), &scene.policy, scene.now), 1);
    assert_eq!(stops(&scene.world, &admin("acme"), &scene.policy, scene.now), 0);
    scene.stop(over("cleo"), "olga").unwrap();
    assert_eq!(stops(&scene.world, &staff("anna"), &scene.policy, scene.now), 3);
    assert_eq!(stops(&scene.world, &admin("acme"), &scene.policy, scene.now), 0);
    scene.stop(all(), "olga").unwrap();
    assert_eq!(stops(&scene.world, &staff("anna"), &scene.policy, scene.now), 1);
}
