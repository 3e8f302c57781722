//! Mappings: how a field of one system becomes a field of another. Some come with the product (`built_in`, their
//! identifiers begin with `std-`), the others were made by the tenant (`custom`, `map-`).

use std::collections::BTreeMap;

use http::StatusCode;
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answer::{Answer, Fault, created, json, no_content};
use super::api::Call;
use super::books::{Books, written};

/// One mapping.
#[derive(Clone, Serialize)]
pub(super) struct Mapping {
    pub(super) id: String,
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) from: String,
    pub(super) to: String,
    /// Which value becomes which; an empty table passes values as they are.
    pub(super) table: BTreeMap<String, String>,
    pub(super) enabled: bool,
    pub(super) created_by: String,
    pub(super) changed_at: String,
    pub(super) changed_by: String,
}

/// Where a mapping comes from. It is fixed when the mapping is made, and nobody makes a built-in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    BuiltIn,
    Custom,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewMapping {
    name: String,
    from: String,
    to: String,
    #[serde(default)]
    table: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    name: Option<String>,
    from: Option<String>,
    to: Option<String>,
    table: Option<BTreeMap<String, String>>,
    enabled: Option<bool>,
}

pub(super) async fn answer(call: &Call<'_>, body: Incoming, below: &[&str]) -> Result<Answer, Fault> {
    match (below, call.method) {
        ([], "GET") => list(call),
        ([], "POST") => create(call, call.json(body).await?),
        ([], _) => Err(Fault::method("GET, HEAD, POST")),
        ([id], "GET") => Ok(json(StatusCode::OK, find(&mut *call.books()?, id)?)),
        ([id], "PATCH") => change(call, id, call.json(body).await?),
        ([id], "DELETE") => {
            call.books()?.mappings.remove(*id).map(|_| no_content()).ok_or_else(|| unknown(id))
        }
        ([_], _) => Err(Fault::method("GET, HEAD, PATCH, DELETE")),
        _ => Err(Fault::not_found("page", call.head.uri.path())),
    }
}

fn list(call: &Call<'_>) -> Result<Answer, Fault> {
    let books = call.books()?;
    let wanted = match call.query.get("kind") {
        None => None,
        Some(text) => Some(serde_json::from_value::<Kind>(json!(text)).map_err(|_| {
            Fault::new(StatusCode::BAD_REQUEST, "bad_query", "`kind` must be `built_in` or `custom`")
        })?),
    };
    let mappings: Vec<&Mapping> =
        books.mappings.values().filter(|mapping| wanted.is_none_or(|kind| mapping.kind == kind)).collect();
    Ok(json(
        StatusCode::OK,
        &json!({"tenant": call.who.tenant, "environment": call.who.env, "mappings": mappings}),
    ))
}

fn create(call: &Call<'_>, new: NewMapping) -> Result<Answer, Fault> {
    let author = call.who.author();
    let mut books = call.books()?;
    let mapping = Mapping {
        id: books.new_id("map"),
        kind: Kind::Custom,
        name: new.name,
        from: new.from,
        to: new.to,
        table: new.table,
        enabled: true,
        created_by: author.clone(),
        changed_at: written(call.now()),
        changed_by: author,
    };
    let answer = created(&call.address(&format!("mappings/{}", mapping.id)), &mapping);
    books.mappings.insert(mapping.id.clone(), mapping);
    Ok(answer)
}

fn change(call: &Call<'_>, id: &str, change: Change) -> Result<Answer, Fault> {
    let mut books = call.books()?;
    let mapping = find(&mut books, id)?;
    let Change { name, from, to, table, enabled } = change;
    mapping.name = name.unwrap_or_else(|| std::mem::take(&mut mapping.name));
    mapping.from = from.unwrap_or_else(|| std::mem::take(&mut mapping.from));
    mapping.to = to.unwrap_or_else(|| std::mem::take(&mut mapping.to));
    mapping.table = table.unwrap_or_else(|| std::mem::take(&mut mapping.table));
    mapping.enabled = enabled.unwrap_or(mapping.enabled);
    mapping.changed_at = written(call.now());
    mapping.changed_by = call.who.author();
    Ok(json(StatusCode::OK, mapping))
}

fn find<'b>(books: &'b mut Books, id: &str) -> Result<&'b mut Mapping, Fault> {
    books.mappings.get_mut(id).ok_or_else(|| unknown(id))
}

fn unknown(id: &str) -> Fault {
    Fault::not_found("mapping", id)
}
