//! From a request's path to the thing it is about: `/t/{tenant}/…`, in the environment that the caller is in.
//!
//! What each thing answers to is in the file named after it. The only question of trust asked here is whether the
//! path, the environment and the assertion speak of the same place.

use std::sync::MutexGuard;

use http::StatusCode;
use http::request::Parts;
use hyper::body::Incoming;

use super::answer::{Answer, Fault, Query, read_json};
use super::assertion::Who;
use super::books::{Books, Tenant};
use super::seen::Trace;
use super::{Clock, Inner, integrations, jobs, mappings, orders, page, people, stand_in, streams, upload};

/// The header by which the gateway says which environment a request is for.
const ENVIRONMENT: &str = "x-environment";

/// One request that is believed, with all that the things need to answer it.
pub(super) struct Call<'a> {
    pub(super) who: &'a Who,
    pub(super) tenant: &'a Tenant,
    /// `GET` for `HEAD` too: an answer's body is left out on the way.
    pub(super) method: &'a str,
    pub(super) query: Query<'a>,
    pub(super) head: &'a Parts,
    pub(super) clock: &'a Clock,
    pub(super) trace: &'a Trace,
}

impl Call<'_> {
    /// The books of the caller's tenant and environment. Not to be held across an await.
    pub(super) fn books(&self) -> Result<MutexGuard<'_, Books>, Fault> {
        self.tenant.books(&self.who.env).ok_or_else(|| no_environment(&self.who.env))
    }

    pub(super) fn now(&self) -> i64 {
        (self.clock)()
    }

    /// The address of something below this tenant's `/api`.
    pub(super) fn address(&self, below: &str) -> String {
        format!("/t/{}/api/{below}", self.who.tenant)
    }

    pub(super) async fn json<T: serde::de::DeserializeOwned>(&self, body: Incoming) -> Result<T, Fault> {
        read_json(body, self.trace).await
    }
}

pub(super) async fn answer(
    inner: &Inner,
    head: &Parts,
    who: Who,
    body: Incoming,
    trace: &Trace,
) -> Result<Answer, Fault> {
    let segments: Vec<&str> = head.uri.path().split('/').skip(1).collect();
    let ["t", tenant, place @ ..] = segments.as_slice() else {
        if let Some(things) = &inner.stands_in {
            return stand_in::answer((inner, things), head, &who, body, trace).await;
        }
        return Err(Fault::not_found("page", head.uri.path()));
    };
    if *tenant != who.tenant {
        let message = format!("the path is about `{tenant}`, the assertion about `{}`", who.tenant);
        return Err(Fault::new(StatusCode::FORBIDDEN, "tenant_mismatch", message));
    }
    same_environment(head, &who)?;
    let tenant = inner.world.tenant(tenant).ok_or_else(|| Fault::not_found("tenant", tenant))?;
    let method = match head.method.as_str() {
        "HEAD" => "GET",
        other => other,
    };
    let call =
        Call { who: &who, tenant, method, query: Query(head.uri.query()), head, clock: &inner.now, trace };
    drop(call.books()?);
    match place {
        [""] => page::answer(&call),
        ["api", "whoami"] => people::whoami(&call),
        ["api", "orders", below @ ..] => orders::answer(&call, body, below).await,
        ["api", "mappings", below @ ..] => mappings::answer(&call, body, below).await,
        ["api", "integrations", below @ ..] => integrations::answer(&call, body, below).await,
        ["api", "jobs", below @ ..] => jobs::answer(&call, body, below).await,
        ["api", "users", below @ ..] => people::answer(&call, body, below).await,
        ["api", "imports"] => upload::answer(&call, body).await,
        ["api", "exports", "orders.csv"] => streams::orders_csv(&call),
        ["api", "exports", "fast.bin"] => streams::fast_bin(&call),
        ["api", "events"] => streams::events(&call),
        _ => Err(Fault::not_found("page", head.uri.path())),
    }
}

/// The header may repeat what the assertion says; it never says something else.
fn same_environment(head: &Parts, who: &Who) -> Result<(), Fault> {
    match head.headers.get_all(ENVIRONMENT).iter().find(|value| value.as_bytes() != who.env.as_bytes()) {
        None => Ok(()),
        Some(other) => {
            let other = String::from_utf8_lossy(other.as_bytes());
            let message = format!("`X-Environment` says `{other}`, the assertion says `{}`", who.env);
            Err(Fault::new(StatusCode::FORBIDDEN, "environment_mismatch", message))
        }
    }
}

fn no_environment(environment: &str) -> Fault {
    Fault::not_found("environment", environment)
}
