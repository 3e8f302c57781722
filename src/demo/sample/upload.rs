//! Imports: a long upload that is counted and hashed while it arrives, and never kept. An upload that breaks off
//! leaves nothing behind.

use aws_lc_rs::digest::{Context, SHA256};
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Serialize;
use serde_json::json;

use super::answer::{Answer, Fault, cut, json};
use super::api::Call;
use super::books::written;

/// What is known of one upload that arrived whole.
#[derive(Clone, Serialize)]
pub(super) struct Import {
    id: String,
    bytes: u64,
    sha256: String,
    imported_at: String,
    imported_by: String,
}

pub(super) async fn answer(call: &Call<'_>, body: Incoming) -> Result<Answer, Fault> {
    match call.method {
        "GET" => Ok(json(StatusCode::OK, &json!({"imports": call.books()?.imports}))),
        "POST" => import(call, body).await,
        _ => Err(Fault::method("GET, HEAD, POST")),
    }
}

async fn import(call: &Call<'_>, mut body: Incoming) -> Result<Answer, Fault> {
    let mut bytes = 0u64;
    let mut digest = Context::new(&SHA256);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| cut(call.trace))?;
        if let Some(data) = frame.data_ref() {
            call.trace.received(data.len());
            bytes = bytes.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
            digest.update(data);
        }
    }
    let sha256 = digest.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let mut books = call.books()?;
    let import = Import {
        id: books.new_id("imp"),
        bytes,
        sha256,
        imported_at: written(call.now()),
        imported_by: call.who.author(),
    };
    let answer = json(StatusCode::CREATED, &import);
    books.imports.push(import);
    Ok(answer)
}
