//! Changes of which Redis did not say whether it made them: a gateway finds out as soon as it can be asked again, by itself, and writes down
//! what happened. Nobody has to start it anew, and nobody has to ask it for anything.

use std::sync::{Arc, Mutex};

use postern::{
    engine::{
        ChangeFault,
        hooks::{Hooks, Step},
    },
    lifecycle::Command,
    model::{Document, Key},
    policy::Fact,
};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::{servers::Server, stage::Stage, wire::How, world::*};

/// A change that has recorded its intent and is about to be committed, and goes on when this is answered.
type Held = oneshot::Sender<()>;

/// Holds changes of one gateway before they are committed, for as long as somebody wants to have them.
#[derive(Clone, Default)]
struct Gate(Arc<Mutex<Option<mpsc::UnboundedSender<Held>>>>);

impl Gate {
    fn hooks(&self) -> Hooks {
        let gate = self.clone();
        let at = move |step: Step| {
            let wanted = if step == Step::ChangeRecorded { gate.0.lock().unwrap().clone() } else { None };
            let (go_on, may) = oneshot::channel();
            let held = wanted.is_some_and(|wanted| wanted.send(go_on).is_ok());
            let wait = async move {
                if held {
                    let _ = may.await;
                }
            };
            Box::pin(wait) as std::pin::Pin<Box<dyn Future<Output = ()> + Send>>
        };
        Hooks { at: Some(Arc::new(at)), ..Hooks::default() }
    }

    /// Makes a change at the first gateway and does something to the store between intent and commit: what came of it.
    fn between(
        &self,
        stage: &Stage,
        command: Command,
        token: &str,
        hurt: impl FnOnce(),
    ) -> Result<bool, ChangeFault> {
        let (wanted, mut held) = mpsc::unbounded_channel();
        *self.0.lock().unwrap() = Some(wanted);
        std::thread::scope(|scope| {
            let changing = scope.spawn(|| stage.changes(0, command, token));
            let go_on = held.blocking_recv().unwrap();
            *self.0.lock().unwrap() = None;
            hurt();
            go_on.send(()).unwrap();
            changing.join().unwrap()
        })
    }
}

fn stage(gate: &Gate) -> Stage {
    Stage::over(Server::start(&[]), 1, |name| if name == "a" { gate.hooks() } else { Hooks::default() })
}

fn open_intents(stage: &Stage) -> u64 {
    stage.gateways[0].gateway().engine().journal().status().open_intents
}

/// The level that `globex` has chosen, as a gateway knows it.
fn level(gateway: &World) -> Option<String> {
    match block(gateway.gateway().engine().fact(&Key::Tenant(tenant("globex")))) {
        Fact::Found(found) => match &found.document {
            Document::Tenant(globex) => globex.consent.cap.as_ref().map(ToString::to_string),
            other => panic!("{other:?}"),
        },
        Fact::Absent | Fact::Unavailable => None,
    }
}

/// What the ledger of the first gateway has of the last change of consent: its outcome, which nobody but that gateway asked for.
fn outcome(stage: &Stage) -> Value {
    let a = &stage.gateways[0];
    let intents = a.of_kind("change.intent");
    let intent = intents.iter().rev().find(|record| record["command"] == "set_consent").unwrap();
    let mut outcomes = a.of_kind("change.outcome");
    outcomes.retain(|record| record["change"] == intent["change"]);
    assert_eq!(outcomes.len(), 1, "{outcomes:?}");
    outcomes.remove(0)
}

fn answered(stage: &Stage) {
    until("the gateway has found out", || open_intents(stage) == 0);
    assert!(stage.gateways[0].gateway().engine().settled());
}

#[test]
fn what_a_redis_that_stood_still_took_is_recorded_when_it_goes_on() {
    let gate = Gate::default();
    let stage = stage(&gate);
    let admin = stage.gateways[0].people.admin("globex");
    let before = level(&stage.gateways[0]);
    assert_ne!(before.as_deref(), Some("full"));
    let made = gate.between(&stage, World::consent("globex", "full"), &admin, || stage.redis.freeze());
    assert!(matches!(made, Err(ChangeFault::InDoubt(_))), "{made:?}");
    assert_eq!(open_intents(&stage), 1, "nobody knows");
    // What was sent before it stood still it takes when it goes on.
    stage.redis.thaw();
    answered(&stage);
    let found = outcome(&stage);
    assert_eq!(found["outcome"], "stored", "{found}");
    assert_eq!(found["events"][0]["event"], "consent_changed", "{found}");
    assert_eq!(found["documents"].as_array().unwrap().len(), 1, "{found}");
    assert!(found.get("settled").is_none(), "no start found it: {found}");
    for gateway in &stage.gateways {
        until("it is in force everywhere", || level(gateway).as_deref() == Some("full"));
    }
    stage.finish();
}

#[test]
fn what_never_came_to_a_redis_that_stood_still_is_recorded_as_not_made() {
    let gate = Gate::default();
    let stage = stage(&gate);
    let admin = stage.gateways[0].people.admin("globex");
    let before = level(&stage.gateways[0]);
    let made = gate.between(&stage, World::consent("globex", "full"), &admin, || {
        stage.redis.freeze();
        stage.set_wires(How::Held);
    });
    assert!(matches!(made, Err(ChangeFault::InDoubt(_))), "{made:?}");
    assert_eq!(open_intents(&stage), 1, "nobody knows");
    // What was on its way is lost with its connections.
    stage.set_wires(How::Closed);
    stage.redis.thaw();
    stage.set_wires(How::Passes);
    answered(&stage);
    let found = outcome(&stage);
    assert_eq!(found["outcome"], "failed", "{found}");
    assert_eq!(found["events"], serde_json::json!([]), "{found}");
    for gateway in &stage.gateways {
        assert_eq!(level(gateway), before);
    }
    // Nothing of it is in the way of the next.
    until("it can be made", || stage.changes(0, World::consent("globex", "full"), &admin) == Ok(true));
    assert_eq!(outcome(&stage)["outcome"], "stored");
    stage.finish();
}

/// One server that says nothing keeps no other change from its answer, and each gets its own.
#[test]
fn several_are_asked_for_each_by_itself() {
    let gate = Gate::default();
    let stage = stage(&gate);
    let (wanted, mut held) = mpsc::unbounded_channel();
    *gate.0.lock().unwrap() = Some(wanted);
    let a = &stage.gateways[0];
    let acme = a.people.staff("vera");
    std::thread::scope(|scope| {
        let consent =
            scope.spawn(|| stage.changes(0, World::consent("globex", "full"), &a.people.admin("globex")));
        let session = scope.spawn(|| {
            let command = Command::StartSession {
                tenant: tenant("acme"),
                session: postern::model::SessionId::new("ses_unanswered").unwrap(),
                environment: production(),
                basis: postern::lifecycle::WantedBasis::Consent,
                reason: "a test looks around".to_owned(),
                ticket: None,
                lasts: None,
            };
            stage.changes(0, command, &acme)
        });
        let all = [held.blocking_recv().unwrap(), held.blocking_recv().unwrap()];
        *gate.0.lock().unwrap() = None;
        stage.redis.freeze();
        all.into_iter().for_each(|go_on| go_on.send(()).unwrap());
        for changing in [consent, session] {
            let made = changing.join().unwrap();
            assert!(matches!(made, Err(ChangeFault::InDoubt(_))), "{made:?}");
        }
    });
    assert_eq!(open_intents(&stage), 2);
    stage.redis.thaw();
    answered(&stage);
    assert_eq!(outcome(&stage)["outcome"], "stored");
    let outcomes = a.of_kind("change.outcome");
    let started = outcomes.iter().find(|record| record["session"] == "ses_unanswered").unwrap();
    assert_eq!(
        (&started["outcome"], &started["events"][0]["event"]),
        (&"stored".into(), &"session_started".into())
    );
    for number in 0..3 {
        until("the session is known everywhere", || stage.reads(number, &acme).is(200, ""));
    }
    stage.finish();
}
