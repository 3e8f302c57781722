//! `/v1/stops` and `/v1/tenants/{t}/stop`: kill switches, of the vendor's operators and of a tenant's administrators
//! (GW-13).

use serde::Serialize;

use crate::{
    lifecycle::{Command, Refusal, Switch},
    model::{Key, Reach, Stop, SubjectKind, SubjectRef, TenantId, Timestamp},
    policy::Lack,
};

use super::{
    Api,
    call::{Call, cursor},
    form::Form,
    outcome::Outcome,
    problem::Problem,
    reply::Reply,
    walk::{Page, Rows, Walk},
};

/// One switch.
#[derive(Debug, Clone, Serialize)]
struct StopView {
    reach: Reach,
    stopped: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<SubjectRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Sessions that began until then are over, whether it is set or lifted.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_until: Option<Timestamp>,
    /// `false`: it is in force on this gateway, and not stored yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    durable: Option<bool>,
}

impl StopView {
    fn of(reach: Reach, stop: Option<&Stop>) -> StopView {
        let set = stop.and_then(|stop| stop.set.as_ref());
        StopView {
            reach,
            stopped: set.is_some(),
            since: set.map(|set| set.since),
            by: set.map(|set| set.by.clone()),
            reason: set.map(|set| set.reason.clone()),
            ended_until: stop.and_then(|stop| stop.closed_at),
            durable: None,
        }
    }
}

/// A row of the list.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
enum Row {
    Stop(Box<StopView>),
    /// One that cannot be read. Whom it concerns is let in nowhere meanwhile.
    Unreadable {
        reach: Reach,
        unreadable: &'static str,
    },
}

/// Both switches over a tenant.
#[derive(Serialize)]
struct OfTenant {
    tenant: TenantId,
    /// Its own, which its administrators set and lift.
    own: StopView,
    /// That of the vendor's operators.
    operators: StopView,
}

#[derive(Serialize)]
struct ChangedView {
    #[serde(skip_serializing_if = "Option::is_none")]
    stop: Option<StopView>,
    outcome: Outcome,
}

impl Api {
    /// The switches that are set: first those that are in force and not stored yet, on the first page, then the others, over
    /// everything first.
    pub(super) async fn stops(&self, call: &Call<'_>) -> Result<Reply, Problem> {
        must_be_operator(call)?;
        let query = call.query(&["after", "limit"])?;
        let (after, limit): (Option<Reach>, usize) = (query.after()?, query.limit()?);
        let mut page: Page<Row> = Page::default();
        // What is in force here and not stored yet comes first.
        let (mut shown, mut early) = (Vec::new(), Vec::new());
        if after.is_none() {
            for key in self.engine.pending_keys() {
                let Key::Stop(reach) = key else { continue };
                let view = self.stop_of(&reach).await.filter(|view| view.stopped);
                if let Some(view) = view.filter(|_| !shown.contains(&reach)) {
                    early.push(Row::Stop(Box::new(StopView { durable: Some(false), ..view })));
                    shown.push(reach);
                }
            }
        }
        let mut walk = Walk::new(self.engine.store(), Rows::Stops, after.map(Key::Stop));
        while let Some((key, found)) = walk.next().await? {
            let Key::Stop(reach) = &key else { continue };
            if shown.contains(reach) {
                continue;
            }
            let row = match (found, self.stop_of(reach).await) {
                (Err(fault), _) => Row::Unreadable { reach: reach.clone(), unreadable: fault.code() },
                (Ok(_), Some(view)) if view.stopped => Row::Stop(Box::new(view)),
                (Ok(_), _) => continue,
            };
            if !page.put(row, cursor(reach), limit) {
                page.items.splice(..0, early);
                return Ok(Reply::ok(&page));
            }
        }
        if let Some(Key::Stop(reach)) = walk.stopped() {
            page.next = Some(cursor(&reach));
        }
        page.items.splice(..0, early);
        Ok(Reply::ok(&page))
    }

    /// An operator sets or lifts a switch. Repeating it changes nothing.
    pub(super) async fn set_stop(&self, call: &Call<'_>) -> Result<Reply, Problem> {
        must_be_operator(call)?;
        call.query(&[])?;
        call.without_conditions()?;
        let object = call.object()?;
        let form = Form::of(&object, &["reach", "stopped", "reason"])?;
        let reach = form.reach()?;
        let command = wanted(Switch::Operators(reach.clone()), &form)?;
        let outcome = self.change(call, command).await?;
        let stop = self.stop_of(&reach).await;
        Ok(Reply::with(outcome.status(200), &ChangedView { stop, outcome }))
    }

    /// The switches over a tenant.
    pub(super) async fn tenant_stop(&self, call: &Call<'_>, tenant: &TenantId) -> Result<Reply, Problem> {
        call.must_see(tenant)?;
        call.query(&[])?;
        let own = self.own_stop(tenant).await?.ok_or(Refusal::NotFound("tenant"))?;
        let reach = Reach::Tenant(tenant.clone());
        let operators = self.stop_of(&reach).await.ok_or(Refusal::Unavailable)?;
        Ok(Reply::ok(&OfTenant { tenant: tenant.clone(), own, operators }))
    }

    /// An administrator sets or lifts their tenant's own switch. Repeating it changes nothing.
    pub(super) async fn set_tenant_stop(&self, call: &Call<'_>, tenant: &TenantId) -> Result<Reply, Problem> {
        call.must_manage(tenant)?;
        call.query(&[])?;
        call.without_conditions()?;
        let object = call.object()?;
        let form = Form::of(&object, &["stopped", "reason"])?;
        let command = wanted(Switch::Own(tenant.clone()), &form)?;
        let outcome = self.change(call, command).await?;
        let stop = self.own_stop(tenant).await.ok().flatten();
        Ok(Reply::with(outcome.status(200), &ChangedView { stop, outcome }))
    }

    /// One of the operators' switches as it is in force; `None` where it cannot be told.
    async fn stop_of(&self, reach: &Reach) -> Option<StopView> {
        let found = self.engine.known(|facts| {
            let stop = match reach {
                Reach::All => facts.stop_of_all()?,
                Reach::Tenant(tenant) => facts.stop_of_tenant(tenant.as_str())?,
                Reach::Person(person) => facts.stop_of_person(person)?,
            };
            Ok(StopView::of(reach.clone(), stop))
        });
        found.await.ok()
    }

    async fn own_stop(&self, tenant: &TenantId) -> Result<Option<StopView>, Problem> {
        let found = self.engine.known(|facts| -> Result<_, Lack> {
            let known = facts.tenant(tenant.as_str())?;
            Ok(known.map(|known| StopView::of(Reach::Tenant(tenant.clone()), Some(&known.stop))))
        });
        Ok(found.await?)
    }
}

fn wanted(switch: Switch, form: &Form<'_>) -> Result<Command, Problem> {
    let (stopped, reason) = (form.yes_or_no("stopped")?, form.text("reason")?.to_owned());
    Ok(if stopped { Command::Stop { switch, reason } } else { Command::Lift { switch, reason } })
}

/// Refuses everybody whom the configuration does not name, before anything that they sent is read.
fn must_be_operator(call: &Call<'_>) -> Result<(), Problem> {
    let subject = call.subject.subject();
    let named = subject.kind == SubjectKind::Staff && call.policy.emergency.operators.contains(&subject.id);
    match named {
        _ if subject.acting => Err(Refusal::Acting.into()),
        true => Ok(()),
        false => Err(Refusal::NotOperator.into()),
    }
}
