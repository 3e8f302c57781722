//! `/v1/tenants/{t}/break-glass`: an operator enters in an emergency, without anybody's consent (GW-06).
//!
//! How often one operator tries is bounded ([`Engine::count_attempt`](crate::engine::Engine::count_attempt)): a slip of a script is not to
//! fill the record, and somebody who guesses at references is to be slow. What cannot be read, and what a gateway certainly
//! did not do, is no try.
//!
//! Never here: who may, and what it gives ([`crate::lifecycle`]).

use crate::{
    lifecycle::{Command, Refusal},
    model::{SessionId, SubjectKind, TenantId},
};

use super::{
    Api,
    call::Call,
    form::Form,
    problem::{Left, Problem},
    reply::Reply,
};

fn too_many(after: u16) -> Problem {
    let detail = "you tried to break the glass too often within an hour";
    Problem { after: Some(after), ..Problem::new(429, "too_many_attempts", detail) }
}

impl Api {
    pub(super) async fn break_glass(&self, call: &Call<'_>, tenant: &TenantId) -> Result<Reply, Problem> {
        let subject = call.subject.subject();
        if subject.acting {
            return Err(Refusal::Acting.into());
        }
        let glass = call.policy.break_glass(&subject.id).filter(|_| subject.kind == SubjectKind::Staff);
        let glass = glass.ok_or(Refusal::NotOperator)?;
        if let Some(unmet) = call.unmet_of(&glass.conditions) {
            return Err(Problem::unmet(unmet));
        }
        call.query(&[])?;
        call.without_conditions()?;
        let object = call.object()?;
        let form = Form::of(&object, &["environment", "reason", "incident", "cause", "for"])?;
        let id = call.fresh("ses", SessionId::new)?;
        let command = Command::BreakGlass {
            tenant: tenant.clone(),
            session: id.clone(),
            environment: form.environment()?,
            reason: form.text("reason")?.to_owned(),
            incident: form.text("incident")?.to_owned(),
            cause: form.text("cause")?.to_owned(),
            lasts: form.lasts()?,
        };
        // Counted before it is tried, so that many at once are bounded too.
        let attempt =
            self.engine.count_attempt(&subject.id, call.now, glass.attempts, &id).await.map_err(too_many)?;
        let entered = self.entered(call, tenant, id, command).await;
        // What this gateway could not do is nobody's attempt. Of what the store may have taken nobody knows that it could not.
        if entered.as_ref().is_err_and(|problem| problem.status >= 500 && problem.left != Left::Open) {
            self.engine.withdraw_attempt(attempt).await;
        }
        entered
    }
}
