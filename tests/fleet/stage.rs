//! Two gateways, `a` with its support API and `b` beside it, and what is asked of them.

use std::sync::Arc;

use postern::{
    engine::{
        Admission, Answer, Clock as _, End, Engine, Report,
        fuse::{Cut, Look},
        hooks::Hooks,
        knock::{Knock, Name, Outer, Particulars, Path, Who},
        registry::Live,
    },
    identity::VerifiedSubject,
    policy::{Catalogue, Effect, OnLower, Reason, Rule, TenantRoles},
};
use serde_json::{Value, json};

use super::support::{Beside, Wish, World, shared::Shared, until};

/// Orders are read, and written by whoever may; nothing of members is recorded.
fn map(catalogue: &Catalogue) -> Vec<Rule> {
    vec![Rule {
        name: "/t/{tenant}/api/orders".to_owned(),
        permissions: vec![catalogue.id("orders:read").unwrap()],
        public: false,
        resource: None,
        within: Default::default(),
        upstream: 0,
        effect: None,
        record: false,
        environments: Default::default(),
        plans: None,
        narrow: None,
        whole_only: false,
        creates: None,
    }]
}

pub(crate) fn wish() -> Wish {
    Wish {
        shared: true,
        rules: map,
        on_lower: OnLower::Immediate,
        adjustable: &["support_reader"],
        tenant_roles: TenantRoles { permission: None, most: 3, plans: None },
        ..Wish::default()
    }
}

pub(crate) struct Fleet {
    pub(crate) a: World,
    pub(crate) b: Beside,
}

impl Fleet {
    pub(crate) async fn new() -> Fleet {
        Fleet::with(wish(), Hooks::default()).await
    }

    pub(crate) async fn with(wish: Wish, hooks: Hooks) -> Fleet {
        let a = World::with(wish).await;
        let b = a.beside(hooks).await;
        let fleet = Fleet { a, b };
        fleet.heard().await;
        fleet
    }

    pub(crate) fn of_a(&self) -> &Arc<Shared> {
        self.a.view.as_ref().unwrap()
    }

    pub(crate) fn of_b(&self) -> &Arc<Shared> {
        self.b.view.as_ref().unwrap()
    }

    /// Both are told everything, and both are heard of now.
    pub(crate) async fn heard(&self) {
        self.of_a().heard().await;
        self.of_b().heard().await;
    }

    /// `b` is told what `a` has changed.
    pub(crate) async fn tell_b(&self) {
        self.of_b().tell().await;
    }

    /// On `b`.
    pub(crate) async fn ask(&self, tenant: &str, who: &Who, does: Effect) -> Answer {
        ask(&self.b.engine, tenant, who, does).await
    }

    /// On `b`, admitted.
    pub(crate) async fn runs(&self, tenant: &str, who: &Who, does: Effect) -> Running {
        Running::of(&self.b.engine, self.ask(tenant, who, does).await)
    }

    /// On `b`, refused with this code; `None` where it is admitted.
    pub(crate) async fn refused(&self, tenant: &str, who: &Who, does: Effect) -> Option<Reason> {
        match self.ask(tenant, who, does).await {
            Answer::Admitted(admission) => {
                admission.finish(&report());
                None
            }
            Answer::Denied(denial) => Some(denial.reason),
            Answer::Faulted(fault) => panic!("{fault}"),
        }
    }

    /// An operator breaks the glass.
    pub(crate) async fn break_glass(&self, tenant: &str, who: &Who) {
        let body = json!({
            "environment": "production", "reason": "orders of all tenants are lost", "incident": "INC-4711",
            "cause": "integrity",
        });
        self.a.put("POST", &format!("/v1/tenants/{tenant}/break-glass"), body, who).await.is(201);
    }

    pub(crate) async fn pushed(&self, tenant: &str, who: &str, roles: Value) {
        use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
        let path = format!("/v1/tenants/{tenant}/members/rows.{}", URL_SAFE_NO_PAD.encode(who));
        self.a.put("PUT", &path, json!({ "roles": roles }), &self.a.crm()).await.is(200);
    }
}

fn report() -> Report {
    Report { end: End::Complete, status: Some(200), sent: 0, received: 0, fault: None, server: None }
}

pub(crate) fn subject(who: &Who) -> Arc<VerifiedSubject> {
    let Who::Known(subject) = who else { panic!("not a verified caller") };
    Arc::clone(subject)
}

pub(crate) async fn ask(engine: &Arc<Engine>, tenant: &str, who: &Who, does: Effect) -> Answer {
    let knock = Knock {
        emergency: postern::policy::Brought::Nothing,
        policy: engine.policy(),
        path: Path::Rule(0),
        tenant: Name::As(tenant.into()),
        environment: Name::As("production".into()),
        resource: None,
        within: Outer::default(),
        session: Name::Missing,
        does,
        client: None,
        ticket: Name::Missing,
        asked: None,
    };
    engine.admit(knock, subject(who), &Particulars::default()).await
}

/// An exchange under way.
pub(crate) struct Running {
    engine: Arc<Engine>,
    pub(crate) admission: Admission,
}

impl Running {
    pub(crate) fn of(engine: &Arc<Engine>, answer: Answer) -> Running {
        match answer {
            Answer::Admitted(admission) => Running { engine: Arc::clone(engine), admission },
            Answer::Denied(denial) => panic!("refused: {denial:?}"),
            Answer::Faulted(fault) => panic!("{fault}"),
        }
    }

    pub(crate) fn live(&self) -> &Live {
        self.admission.live().unwrap()
    }

    pub(crate) fn look(&self) -> Look {
        self.live().fuse.look(self.engine.now())
    }

    pub(crate) fn cut(&self) -> Option<Cut> {
        self.live().fuse.burnt()
    }

    /// Waits until it is cut, without looking at the clock; why.
    pub(crate) async fn is_cut(&self, what: &str) -> Reason {
        until(what, || self.cut().is_some()).await;
        self.cut().unwrap().reason
    }

    /// Waits until whatever was going on about it is over, and it goes on.
    pub(crate) async fn goes_on(&self, what: &str) {
        until(what, || self.look() == Look::Alive).await;
    }
}

/// This instant.
pub(crate) fn now(fleet: &Fleet) -> i64 {
    fleet.a.clock.now().ms()
}
