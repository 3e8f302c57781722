//! People: a tenant's users with their roles, and `whoami`, which says whom the application believes it is talking to.

use http::StatusCode;
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answer::{Answer, Fault, created, json};
use super::api::Call;
use super::assertion::Who;
use super::books::{Tenant, written};

/// One of the tenant's own people.
#[derive(Clone, Serialize)]
pub(super) struct User {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) email: String,
    pub(super) role: Role,
    pub(super) changed_at: String,
    pub(super) changed_by: String,
}

/// What a user may do, as the tenant sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Role {
    Admin,
    Operations,
    Viewer,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewUser {
    name: String,
    email: String,
    role: Role,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewRole {
    role: Role,
}

pub(super) async fn answer(call: &Call<'_>, body: Incoming, below: &[&str]) -> Result<Answer, Fault> {
    match (below, call.method) {
        ([], "GET") => {
            let books = call.books()?;
            let users: Vec<&User> = books.users.values().collect();
            let list = json!({"tenant": call.who.tenant, "environment": call.who.env, "users": users});
            Ok(json(StatusCode::OK, &list))
        }
        ([], "POST") => create(call, call.json(body).await?),
        ([], _) => Err(Fault::method("GET, HEAD, POST")),
        ([id, "role"], "PUT") => set_role(call, id, call.json(body).await?),
        ([_, "role"], _) => Err(Fault::method("PUT")),
        _ => Err(Fault::not_found("page", call.head.uri.path())),
    }
}

fn create(call: &Call<'_>, new: NewUser) -> Result<Answer, Fault> {
    let mut books = call.books()?;
    if books.users.values().any(|user| user.email == new.email) {
        let message = format!("there is already a user with the address `{}`", new.email);
        return Err(Fault::new(StatusCode::CONFLICT, "user_exists", message));
    }
    let user = User {
        id: books.new_id("usr"),
        name: new.name,
        email: new.email,
        role: new.role,
        changed_at: written(call.now()),
        changed_by: call.who.author(),
    };
    let answer = created(&call.address("users"), &user);
    books.users.insert(user.id.clone(), user);
    Ok(answer)
}

fn set_role(call: &Call<'_>, id: &str, new: NewRole) -> Result<Answer, Fault> {
    let mut books = call.books()?;
    let user = books.users.get_mut(id).ok_or_else(|| Fault::not_found("user", id))?;
    user.role = new.role;
    user.changed_at = written(call.now());
    user.changed_by = call.who.author();
    Ok(json(StatusCode::OK, user))
}

/// Whom the application believes it is talking to, and the names of the headers that reached it.
pub(super) fn whoami(call: &Call<'_>) -> Result<Answer, Fault> {
    if call.method != "GET" {
        return Err(Fault::method("GET, HEAD"));
    }
    let who = call.who;
    let mut heard: Vec<&str> = call.head.headers.keys().map(http::HeaderName::as_str).collect();
    heard.sort_unstable();
    let answer = json!({
        "you_are": sentence(who, call.tenant),
        "kind": who.kind,
        "person": who.person(),
        "subject": who.sub,
        "act": who.act,
        "tenant": who.tenant,
        "environment": who.env,
        "role": who.role,
        "session": who.session,
        "assertion": who.jti,
        "headers_heard": heard,
    });
    Ok(json(StatusCode::OK, &answer))
}

/// The same as a sentence, for people.
pub(super) fn sentence(who: &Who, tenant: &Tenant) -> String {
    let as_whom = if who.person() == who.sub { String::new() } else { format!(" acting as {}", who.sub) };
    let role = who.role.as_ref().map_or_else(|| " without a role".to_owned(), |role| format!(" as {role}"));
    let session =
        who.session.as_ref().map_or_else(String::new, |session| format!(", support session {session}"));
    format!("{} ({}){as_whom}{role} in {}, {}{session}", who.person(), who.kind, tenant.name, who.env)
}
