//! Integrations: the other systems that a tenant's back office exchanges orders and stock with, their settings, and
//! starting a run by hand. No credential is kept here, only what hints at it.

use http::StatusCode;
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answer::{Answer, Fault, created, json, no_content};
use super::api::Call;
use super::books::{Books, written};
use super::jobs::{self, JobKind};

/// One integration.
#[derive(Clone, Serialize)]
pub(super) struct Integration {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) system: System,
    pub(super) credential: String,
    pub(super) settings: Settings,
    pub(super) runs: u32,
    pub(super) last_run_at: Option<String>,
    pub(super) last_run_by: Option<String>,
}

/// What kind of system is on the other side; it decides what a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum System {
    WebShop,
    Marketplace,
    Erp,
    Warehouse,
    Carrier,
}

/// How an integration works.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    pub(super) enabled: bool,
    pub(super) every_minutes: u32,
    pub(super) batch_size: u32,
    pub(super) warehouse: String,
    pub(super) alert_to: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewIntegration {
    name: String,
    system: System,
    settings: Settings,
}

pub(super) async fn answer(call: &Call<'_>, body: Incoming, below: &[&str]) -> Result<Answer, Fault> {
    match (below, call.method) {
        ([], "GET") => list(call),
        ([], "POST") => create(call, call.json(body).await?),
        ([], _) => Err(Fault::method("GET, HEAD, POST")),
        ([id], "GET") => Ok(json(StatusCode::OK, find(&mut *call.books()?, id)?)),
        ([id], "DELETE") => {
            call.books()?.integrations.remove(*id).map(|_| no_content()).ok_or_else(|| unknown(id))
        }
        ([_], _) => Err(Fault::method("GET, HEAD, DELETE")),
        ([id, "settings"], "GET") => Ok(json(StatusCode::OK, &find(&mut *call.books()?, id)?.settings)),
        ([id, "settings"], "PUT") => configure(call, id, call.json(body).await?),
        ([_, "settings"], _) => Err(Fault::method("GET, HEAD, PUT")),
        ([id, "run"], "POST") => run(call, id),
        ([_, "run"], _) => Err(Fault::method("POST")),
        _ => Err(Fault::not_found("page", call.head.uri.path())),
    }
}

fn list(call: &Call<'_>) -> Result<Answer, Fault> {
    let books = call.books()?;
    let integrations: Vec<&Integration> = books.integrations.values().collect();
    let place = json!({"tenant": call.who.tenant, "environment": call.who.env, "integrations": integrations});
    Ok(json(StatusCode::OK, &place))
}

fn create(call: &Call<'_>, new: NewIntegration) -> Result<Answer, Fault> {
    new.settings.check()?;
    let mut books = call.books()?;
    let integration = Integration {
        id: books.new_id("int"),
        name: new.name,
        system: new.system,
        credential: "not yet given".to_owned(),
        settings: new.settings,
        runs: 0,
        last_run_at: None,
        last_run_by: None,
    };
    let answer = created(&call.address(&format!("integrations/{}", integration.id)), &integration);
    books.integrations.insert(integration.id.clone(), integration);
    Ok(answer)
}

fn configure(call: &Call<'_>, id: &str, settings: Settings) -> Result<Answer, Fault> {
    settings.check()?;
    let mut books = call.books()?;
    let integration = find(&mut books, id)?;
    integration.settings = settings;
    Ok(json(StatusCode::OK, &integration.settings))
}

fn run(call: &Call<'_>, id: &str) -> Result<Answer, Fault> {
    let mut books = call.books()?;
    let now = call.now();
    let integration = find(&mut books, id)?;
    if !integration.settings.enabled {
        let message = format!("`{id}` is switched off; set `enabled` in its settings first");
        return Err(Fault::new(StatusCode::CONFLICT, "switched_off", message));
    }
    integration.runs = integration.runs.saturating_add(1);
    integration.last_run_at = Some(written(now));
    integration.last_run_by = Some(call.who.author());
    let kind = match integration.system {
        System::WebShop | System::Marketplace => JobKind::PullOrders,
        System::Erp => JobKind::PushInvoices,
        System::Warehouse => JobKind::PushStock,
        System::Carrier => JobKind::FetchTracking,
    };
    let job = jobs::start(&mut books, kind, Some(id.to_owned()), call.who, now);
    Ok(json(StatusCode::ACCEPTED, &json!({"integration": id, "job": job.view(now)})))
}

impl Settings {
    fn check(&self) -> Result<(), Fault> {
        if !(1..=1440).contains(&self.every_minutes) {
            return Err(Fault::invalid("`every_minutes` must be from 1 to 1440"));
        }
        if !(1..=1000).contains(&self.batch_size) {
            return Err(Fault::invalid("`batch_size` must be from 1 to 1000"));
        }
        Ok(())
    }
}

fn find<'b>(books: &'b mut Books, id: &str) -> Result<&'b mut Integration, Fault> {
    books.integrations.get_mut(id).ok_or_else(|| unknown(id))
}

fn unknown(id: &str) -> Fault {
    Fault::not_found("integration", id)
}
