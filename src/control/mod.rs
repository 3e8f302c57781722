//! The support API: how tenants' administrators decide how far support may go and see who is inside, and how agents
//! enter and leave. `docs/support-api.md` says it to people.
//!
//! | file | what it does |
//! | --- | --- |
//! | `place` | which resource a path names, and which methods it takes |
//! | `call`, `form` | reads query, preconditions and body, strictly |
//! | `tenants`, `members`, `resource_list`, `resources`, `joined`, `consent`, `grants`, `login_access`, `sessions`, `support_users`, `support_profile`, `bars`, `rights`, `roles`, `stops`, `break_glass`, `audit`, `following` | one resource each |
//! | `beside` | who is inside: pages of sessions and standing grants |
//! | `session_view`, `grant_view`, `request_view`, `outcome` | what is shown |
//! | `seal` | places in a list that nobody may read |
//! | `once` | creations that bear an `Idempotency-Key` |
//! | `reply`, `problem` | a yes and a no as HTTP |
//!
//! Each call goes: who is it (401) → what is it (404, 405) → may they (403, before anything is looked up or read,
//! law 11) → is it readable (400, 415, 422) → the rules of [`crate::lifecycle`], by [`crate::engine`].
//!
//! Never here: a rule about who may change what beyond asking for it, committing or recording (that is
//! [`crate::engine`]), sockets, tokens.

mod audit;
mod bars;
mod beside;
mod break_glass;
mod call;
mod consent;
mod following;
mod form;
mod gather;
mod grant_view;
mod grants;
mod joined;
mod login_access;
mod members;
mod once;
mod outcome;
mod place;
mod places;
mod problem;
mod reply;
mod request_view;
mod requests;
mod resource_list;
mod resources;
mod rights;
mod roles;
mod seal;
mod session_view;
mod sessions;
mod stops;
mod support_profile;
mod support_users;
mod tenants;
mod walk;

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use http::{Request, Response, request};

use crate::{
    engine::{
        ChangeFault, Engine, Unavailable,
        knock::{Particulars, Who},
    },
    fleet::Fleet,
    identity::VerifiedSubject,
    lifecycle::Command,
    model::{Key, RoleName, SubjectKind, Version},
    policy::{Facts, Here, Policy, rows::held},
};

pub use self::following::Following;
use self::{
    call::{Call, Told},
    outcome::Outcome,
    place::{Place, Verb},
    problem::{Left, Problem},
    reply::Reply,
};

/// See the module's header.
pub struct Api {
    engine: Arc<Engine>,
    prefix: String,
    /// Turns to read the ledger: what it costs is bounded by them.
    readers: Arc<tokio::sync::Semaphore>,
    /// Those who follow the ledger.
    streams: Arc<following::Streams>,
    /// Under which lists say where they go on.
    seal: Arc<seal::Seal>,
    /// The other gateways, whose ledgers are read too.
    fleet: Option<Arc<Fleet>>,
    /// Turns to ask them.
    gathering: Arc<tokio::sync::Semaphore>,
}

/// The API's description, as published. The tests hold every answer to it.
const OPENAPI: &str = include_str!("../../config/openapi.json");

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Api {
    /// An API over an engine. `prefix` is the reserved prefix under which it is reached, such as `/_postern/`; it only
    /// stands in the places that answers name.
    pub fn new(engine: Arc<Engine>, prefix: &str) -> Api {
        Api {
            engine,
            prefix: prefix.trim_end_matches('/').to_owned(),
            readers: Arc::new(tokio::sync::Semaphore::new(audit::READERS)),
            streams: Arc::default(),
            seal: Arc::new(seal::Seal::new()),
            fleet: None,
            gathering: Arc::new(tokio::sync::Semaphore::new(gather::AT_ONCE)),
        }
    }

    /// The same API, whose answers about a tenant's record are gathered from all gateways of a fleet.
    #[must_use]
    pub fn gathering_from(self, fleet: Arc<Fleet>) -> Api {
        Api { fleet: Some(fleet), ..self }
    }

    /// The same API, with lists that go on at every gateway that knows the same secret.
    #[must_use]
    pub fn sealing_by(self, secret: &[u8]) -> Api {
        Api { seal: Arc::new(seal::Seal::of(secret)), ..self }
    }

    /// The same API under another prefix: what bounds its callers goes on counting where it is.
    #[must_use]
    pub fn under(&self, prefix: &str) -> Api {
        Api {
            engine: Arc::clone(&self.engine),
            prefix: prefix.trim_end_matches('/').to_owned(),
            readers: Arc::clone(&self.readers),
            streams: Arc::clone(&self.streams),
            seal: Arc::clone(&self.seal),
            fleet: self.fleet.clone(),
            gathering: Arc::clone(&self.gathering),
        }
    }

    /// Answers one call. The path stands below the prefix (`/v1/…`), the body is whole. The answer to `HEAD` has the
    /// body of `GET`, for its length: the door leaves it out.
    pub async fn answer(&self, request: Request<Bytes>, who: Who, client: IpAddr) -> Response<Bytes> {
        self.open(request, who, client).await.0
    }

    /// The same, and where the answer is a stream, what comes behind its head.
    pub async fn open(
        &self,
        request: Request<Bytes>,
        who: Who,
        client: IpAddr,
    ) -> (Response<Bytes>, Option<Following>) {
        let (head, body) = request.into_parts();
        match self.take(&head, &body, &who, client).await {
            Ok(reply) => reply.into_parts(),
            Err(problem) => {
                self.tell(&head, &who, client, &problem);
                (problem.into_response(), None)
            }
        }
    }

    async fn take(
        &self,
        head: &request::Parts,
        body: &Bytes,
        who: &Who,
        client: IpAddr,
    ) -> Result<Reply, Problem> {
        let now = self.engine.now();
        // The description is nobody's secret, and tools fetch it without a token.
        if head.uri.path() == "/v1/openapi.json" {
            Place::Document.verb(&head.method)?;
            return Ok(Reply::document(OPENAPI));
        }
        let subject = verified(who)?;
        let place = Place::of(head.uri.path())?;
        let verb = place.verb(&head.method)?;
        let policy = self.engine.policy();
        let row = self.row_of(subject, &policy).await?;
        let told = self.told_of(subject, row.as_deref(), &policy).await;
        let call = Call {
            row,
            told,
            subject,
            client,
            policy,
            now,
            path: head.uri.path(),
            query: head.uri.query(),
            headers: &head.headers,
            body,
        };
        if place == Place::Me {
            call.without_body()?;
            return self.me(&call);
        }
        // What takes something away never waits for the past; the engine tells it from what gives.
        let may_narrow = matches!(verb, Verb::Put | Verb::Patch | Verb::Delete);
        if !may_narrow && self.engine.store_newer() {
            return Err(Problem::change(&ChangeFault::StoreNewer, &call.policy.ladder));
        }
        if !may_narrow && !self.engine.settled() {
            return Err(Problem::change(&ChangeFault::Settling, &call.policy.ladder));
        }
        let stops = place == Place::Stops && verb == Verb::Put;
        if call.is_staff() && !stops && self.engine.clock_behind(now) {
            return Err(Problem::change(&ChangeFault::ClockBehind, &call.policy.ladder));
        }
        if call.is_staff() && !stops && verb != Verb::Delete && self.engine.name_taken() {
            return Err(Problem::change(&ChangeFault::NameTaken, &call.policy.ladder));
        }
        // What lost something says nothing of what is there; what narrows acts in memory all the same (law 8).
        if verb == Verb::Read && place.tenant().is_some_and(|tenant| self.engine.suspects(tenant)) {
            return Err(Problem::change(&ChangeFault::Suspect, &call.policy.ladder));
        }
        // Leaving takes no conditions: what narrows is never in anybody's way.
        if call.is_staff()
            && verb != Verb::Delete
            && let Some(unmet) = call.unmet()
        {
            return Err(Problem::unmet(unmet));
        }
        self.serve(&call, &place, verb).await
    }

    async fn serve(&self, call: &Call<'_>, place: &Place, verb: Verb) -> Result<Reply, Problem> {
        if verb == Verb::Read {
            // Not a secret, and nothing is looked up: a read with a body is nonsense whoever sends it.
            call.without_body()?;
        }
        match (place, verb) {
            (Place::Document, _) => Ok(Reply::document(OPENAPI)),
            (Place::Me, _) => self.me(call),
            (Place::OwnSessions, _) => self.own_sessions(call).await,
            (Place::BreakGlass(tenant), _) => self.break_glass(call, tenant).await,
            (Place::Stops, Verb::Put) => self.set_stop(call).await,
            (Place::Stops, _) => self.stops(call).await,
            (Place::Stop(tenant), Verb::Put) => self.set_tenant_stop(call, tenant).await,
            (Place::Stop(tenant), _) => self.tenant_stop(call, tenant).await,
            (Place::Rights(tenant), _) => self.rights(call, tenant).await,
            (Place::Audit(tenant), _) => self.audit(call, tenant).await,
            (Place::Tenants, _) => self.tenants(call).await,
            (Place::Tenant(tenant), Verb::Put) => self.push_tenant(call, tenant).await,
            (Place::Tenant(tenant), Verb::Delete) => self.remove_tenant(call, tenant).await,
            (Place::Tenant(tenant), _) => self.tenant(call, tenant).await,
            (Place::Roles(tenant), _) => self.roles(call, tenant).await,
            (Place::Role(tenant, name), Verb::Put) => self.set_role(call, tenant, name).await,
            (Place::Role(tenant, name), Verb::Delete) => self.remove_role(call, tenant, name).await,
            (Place::Role(tenant, name), _) => self.role(call, tenant, name).await,
            (Place::Follow(tenant), _) => self.follow(call, tenant).await,
            (Place::Members(tenant), _) => self.members(call, tenant).await,
            (Place::Member(tenant, member), Verb::Put) => self.push_member(call, tenant, member).await,
            (Place::Member(tenant, member), Verb::Delete) => self.remove_member(call, tenant, member).await,
            (Place::Member(tenant, member), _) => self.member(call, tenant, member).await,
            (Place::Resources(tenant, kind), _) => self.resources(call, tenant, kind).await,
            (Place::Resource(tenant, resource), Verb::Put) => {
                self.push_resource(call, tenant, resource).await
            }
            (Place::Resource(tenant, resource), Verb::Delete) => {
                self.remove_resource(call, tenant, resource).await
            }
            (Place::Resource(tenant, resource), _) => self.resource(call, tenant, resource).await,
            (Place::AllJoined(tenant, resource), _) => self.all_joined(call, tenant, resource).await,
            (Place::Joined(tenant, resource, person), Verb::Put) => {
                self.join(call, tenant, resource, person).await
            }
            (Place::Joined(tenant, resource, person), Verb::Delete) => {
                self.leave(call, tenant, resource, person).await
            }
            (Place::Joined(tenant, resource, person), _) => self.joined(call, tenant, resource, person).await,
            (Place::Consent(tenant), Verb::Put) => self.set_consent(call, tenant).await,
            (Place::Consent(tenant), _) => self.consent(call, tenant).await,
            (Place::Grants(tenant), Verb::Post) => self.make_grant(call, tenant).await,
            (Place::Grants(tenant), _) => self.grants(call, tenant).await,
            (Place::Grant(tenant, id), Verb::Patch) => self.move_grant(call, tenant, id).await,
            (Place::Grant(tenant, id), Verb::Delete) => self.withdraw_grant(call, tenant, id).await,
            (Place::Grant(tenant, id), _) => self.grant(call, tenant, id).await,
            (Place::LoginAccess(tenant), _) => self.login_access(call, tenant).await,
            (Place::LoginAccessTo(tenant, to), Verb::Delete) => self.withdraw_login(call, tenant, to).await,
            (Place::LoginAccessTo(tenant, to), _) => self.allow_login(call, tenant, to).await,
            (Place::Approval(tenant), Verb::Put) => self.set_approval(call, tenant).await,
            (Place::Approval(tenant), _) => self.approval(call, tenant).await,
            (Place::Requests(tenant), Verb::Post) => self.make_request(call, tenant).await,
            (Place::Requests(tenant), _) => self.requests(call, tenant).await,
            (Place::Request(tenant, id), Verb::Patch) => self.decide_request(call, tenant, id).await,
            (Place::Request(tenant, id), Verb::Delete) => self.withdraw_request(call, tenant, id).await,
            (Place::Request(tenant, id), _) => self.request(call, tenant, id).await,
            (Place::SupportUsers(tenant), _) => self.support_users(call, tenant).await,
            (Place::SupportProfile(tenant), Verb::Put) => self.set_granting(call, tenant).await,
            (Place::SupportProfile(tenant), _) => self.support_profile(call, tenant).await,
            (Place::Bars(tenant), _) => self.bars(call, tenant).await,
            (Place::Bar(tenant, person), _) => self.lift_bar(call, tenant, person).await,
            (Place::Sessions(tenant), Verb::Post) => self.start_session(call, tenant).await,
            (Place::Sessions(tenant), _) => self.sessions(call, tenant).await,
            (Place::Session(tenant, id), Verb::Delete) => self.end_session(call, tenant, id).await,
            (Place::Session(tenant, id), _) => self.session(call, tenant, id).await,
        }
    }

    /// The roles of a member whose roles stand in a row: the caller's own, so nothing is said of anybody else by it.
    async fn row_of(
        &self,
        subject: &VerifiedSubject,
        policy: &Policy,
    ) -> Result<Option<Vec<RoleName>>, Problem> {
        if subject.kind != SubjectKind::Member || !policy.callers.by_row.contains(&subject.id.issuer) {
            return Ok(None);
        }
        let held = self.engine.known(|facts| {
            let held = held(subject, facts, policy)?;
            Ok(held.row().map(|row| row.roles.iter().cloned().collect()).unwrap_or_default())
        });
        Ok(Some(held.await?))
    }

    /// What a member's roles hold in their tenant, where that is for the tenant to say; the caller's own, likewise.
    async fn told_of(&self, subject: &VerifiedSubject, row: Option<&[RoleName]>, policy: &Policy) -> Told {
        let roles = row.unwrap_or(&subject.roles);
        let tenant = match &subject.tenant {
            Some(tenant) if subject.kind == SubjectKind::Member => tenant,
            Some(_) | None => return Told::Nothing,
        };
        if !roles.iter().any(|role| policy.is_told(role)) {
            return Told::Nothing;
        }
        let all = self.engine.known(|facts| Here { tenant: tenant.as_str(), facts, policy }.all(roles));
        match all.await {
            Ok(rights) => Told::Rights(rights),
            Err(Unavailable) => Told::Unknown,
        }
    }

    /// Makes a change by the caller.
    async fn change(&self, call: &Call<'_>, command: Command) -> Result<Outcome, Problem> {
        let changed = self.engine.change(command, call.giver()).await;
        changed.map(Outcome::of).map_err(|fault| Problem::change(&fault, &call.policy.ladder))
    }

    /// Tells the record about a refusal that it does not know yet (rule 17).
    fn tell(&self, head: &request::Parts, who: &Who, client: IpAddr, problem: &Problem) {
        if problem.left == Left::Recorded || problem.status >= 500 {
            return;
        }
        let path = head.uri.path();
        let about = Particulars {
            method: head.method.to_string(),
            host: String::new(),
            path: path.to_owned(),
            client: client.to_string(),
            upstream: String::new(),
        };
        let place = Place::of(path).ok();
        let tenant = place.as_ref().and_then(Place::tenant).map(|tenant| tenant.as_str());
        let detail = problem.field.as_deref().map(str::to_owned);
        self.engine.refused_as(who, problem.code, detail, tenant, &about, &self.engine.policy());
    }

    fn path(&self, below: &str) -> String {
        format!("{}/v1/{below}", self.prefix)
    }
}

/// The caller, if a configured issuer vouches for them.
fn verified(who: &Who) -> Result<&Arc<VerifiedSubject>, Problem> {
    match who {
        Who::Nobody => Err(Problem::unverified(None)),
        Who::Refused(fault) => Err(Problem::unverified(Some(fault))),
        Who::Unverifiable => Err(Problem::unverifiable()),
        Who::Known(subject) => Ok(subject),
    }
}

/// The version at which a document was seen.
fn version(facts: &Facts, key: &Key) -> Version {
    facts.version(key).unwrap_or(Version::NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_may_travel_between_threads() {
        fn travels<T: Send>(_: fn(&'static Api, Request<Bytes>, Who, IpAddr) -> T) {}
        travels(|api, request, who, client| api.answer(request, who, client));
    }
}
