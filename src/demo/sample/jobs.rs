//! Jobs: longer work that was started by hand or by an integration, and steering it. How far a job is follows from
//! the time that passed; no thread works on it.

use http::StatusCode;
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{Answer, Fault, created, json, no_content};
use super::api::Call;
use super::assertion::Who;
use super::books::{Books, written};

/// One job.
#[derive(Clone)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) kind: JobKind,
    /// The order or integration that it is about.
    pub(super) about: Option<String>,
    pub(super) created_at: i64,
    pub(super) created_by: String,
    /// Seconds worked before `course` began.
    pub(super) worked_s: i64,
    pub(super) course: Course,
}

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum JobKind {
    PullOrders,
    RepullOrder,
    PushStock,
    PushInvoices,
    FetchTracking,
    RebuildMappings,
}

/// What a job was last told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Course {
    Running { since: i64 },
    Paused,
    Cancelled,
}

/// How a job stands, and what it can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Running,
    Paused,
    Cancelled,
    Done,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewJob {
    kind: JobKind,
    about: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Steer {
    state: State,
}

pub(super) async fn answer(call: &Call<'_>, body: Incoming, below: &[&str]) -> Result<Answer, Fault> {
    match (below, call.method) {
        ([], "GET") => list(call),
        ([], "POST") => create(call, call.json(body).await?),
        ([], _) => Err(Fault::method("GET, HEAD, POST")),
        ([id], "GET") => Ok(json(StatusCode::OK, &find(&mut *call.books()?, id)?.view(call.now()))),
        ([id], "PATCH") => steer(call, id, call.json(body).await?),
        ([id], "DELETE") => call.books()?.jobs.remove(*id).map(|_| no_content()).ok_or_else(|| unknown(id)),
        ([_], _) => Err(Fault::method("GET, HEAD, PATCH, DELETE")),
        _ => Err(Fault::not_found("page", call.head.uri.path())),
    }
}

/// Starts a job that works from `now` on.
pub(super) fn start(books: &mut Books, kind: JobKind, about: Option<String>, who: &Who, now: i64) -> Job {
    let job = Job {
        id: books.new_id("job"),
        kind,
        about,
        created_at: now,
        created_by: who.author(),
        worked_s: 0,
        course: Course::Running { since: now },
    };
    books.jobs.insert(job.id.clone(), job.clone());
    job
}

fn list(call: &Call<'_>) -> Result<Answer, Fault> {
    let now = call.now();
    let jobs: Vec<Value> = call.books()?.jobs.values().map(|job| job.view(now)).collect();
    Ok(json(StatusCode::OK, &json!({"tenant": call.who.tenant, "environment": call.who.env, "jobs": jobs})))
}

fn create(call: &Call<'_>, new: NewJob) -> Result<Answer, Fault> {
    let now = call.now();
    let job = start(&mut *call.books()?, new.kind, new.about, call.who, now);
    Ok(created(&call.address(&format!("jobs/{}", job.id)), &job.view(now)))
}

fn steer(call: &Call<'_>, id: &str, steer: Steer) -> Result<Answer, Fault> {
    let now = call.now();
    let mut books = call.books()?;
    let job = find(&mut books, id)?;
    if matches!(job.state(now), State::Done | State::Cancelled) {
        let message = format!("`{id}` has ended; start a new job");
        return Err(Fault::new(StatusCode::CONFLICT, "job_ended", message));
    }
    job.worked_s = job.worked(now);
    job.course = match steer.state {
        State::Running => Course::Running { since: now },
        State::Paused => Course::Paused,
        State::Cancelled => Course::Cancelled,
        State::Done => return Err(Fault::invalid("a job is done when its work is; nobody can say so")),
    };
    Ok(json(StatusCode::OK, &job.view(now)))
}

impl JobKind {
    /// How long the work takes, in seconds.
    fn takes_s(self) -> i64 {
        match self {
            Self::RepullOrder => 5,
            Self::FetchTracking => 20,
            Self::PushStock => 45,
            Self::PushInvoices => 90,
            Self::PullOrders => 120,
            Self::RebuildMappings => 600,
        }
    }
}

impl Job {
    fn worked(&self, now: i64) -> i64 {
        let lately = match self.course {
            Course::Running { since } => now.saturating_sub(since).max(0),
            Course::Paused | Course::Cancelled => 0,
        };
        self.worked_s.saturating_add(lately).min(self.kind.takes_s())
    }

    fn state(&self, now: i64) -> State {
        match self.course {
            Course::Cancelled => State::Cancelled,
            Course::Paused => State::Paused,
            Course::Running { .. } if self.worked(now) >= self.kind.takes_s() => State::Done,
            Course::Running { .. } => State::Running,
        }
    }

    /// The job as it stands at `now`.
    pub(super) fn view(&self, now: i64) -> Value {
        json!({
            "id": self.id,
            "kind": self.kind,
            "about": self.about,
            "state": self.state(now),
            "percent": self.worked(now).saturating_mul(100) / self.kind.takes_s(),
            "created_at": written(self.created_at),
            "created_by": self.created_by,
        })
    }
}

fn find<'b>(books: &'b mut Books, id: &str) -> Result<&'b mut Job, Fault> {
    books.jobs.get_mut(id).ok_or_else(|| unknown(id))
}

fn unknown(id: &str) -> Fault {
    Fault::not_found("job", id)
}
