//! The application where it stands in for another one, whose routes it does not know: it keeps what it is given
//! ([`super::things`]), and answers any other request that it believes by saying what was asked and who it takes the caller for.
//! With `?every=` it goes on, as its events do.

use http::StatusCode;
use http::request::Parts;
use hyper::body::Incoming;
use serde::Serialize;

use super::answer::{Answer, Fault, Query, json};
use super::api::Call;
use super::assertion::Who;
use super::seen::Trace;
use super::things::Things;
use super::{Inner, streams};

#[derive(Serialize)]
struct Asked<'a> {
    asked: String,
    of: &'a Who,
}

/// Answers whatever is asked about the tenant that the assertion names.
pub(super) async fn answer(
    (inner, things): (&Inner, &Things),
    head: &Parts,
    who: &Who,
    body: Incoming,
    trace: &Trace,
) -> Result<Answer, Fault> {
    if !head.uri.path().split('/').any(|segment| segment == who.tenant) {
        let message =
            format!("the path is about something else than `{}`, of which the assertion is", who.tenant);
        return Err(Fault::new(StatusCode::FORBIDDEN, "tenant_mismatch", message));
    }
    let query = Query(head.uri.query());
    if query.get("every").is_none() {
        if let Some(answer) = things.answer(head, body, trace).await? {
            return Ok(answer);
        }
        let asked = format!("{} {}", head.method, head.uri.path());
        return Ok(json(StatusCode::OK, &Asked { asked, of: who }));
    }
    let tenant = inner.world.tenant(&who.tenant).ok_or_else(|| Fault::not_found("tenant", &who.tenant))?;
    let call = Call { who, tenant, method: head.method.as_str(), query, head, clock: &inner.now, trace };
    streams::events(&call)
}
