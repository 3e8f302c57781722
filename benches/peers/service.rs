//! The small service that nginx asks about each request: hyper, a token verified, forty rules. It remembers nothing.

use std::{convert::Infallible, path::Path, rc::Rc};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::Empty;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use postern::{
    identity::{IssuerOptions, KeySource, Limits, Verifier},
    model::{IssuerName, SubjectKind, Timestamp},
};
use tokio::net::TcpListener;

use super::player::{RESOURCES, ROUTES, roles};
use crate::world::{MEMBERS_ISSUER, now_s};

/// Serves on that port until it is killed; keys lie in that directory.
pub fn serve(port: u16, dir: &Path) {
    let jwks = std::fs::read_to_string(dir.join("members.jwks.json")).unwrap();
    let name = IssuerName::new("app").unwrap();
    let issuer = IssuerOptions::new(name, MEMBERS_ISSUER, SubjectKind::Member, "app", KeySource::Jwks(jwks));
    let verifier = Rc::new(Verifier::new(vec![issuer], Limits::default()).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async move {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let verifier = Rc::clone(&verifier);
            tokio::task::spawn_local(async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    let status = may(&verifier, request.headers());
                    let answer = Response::builder().status(status).body(Empty::<Bytes>::new()).unwrap();
                    async move { Ok::<_, Infallible>(answer) }
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
}

fn may(verifier: &Verifier, headers: &HeaderMap) -> StatusCode {
    let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let Some(token) = value(header::AUTHORIZATION.as_str()).strip_prefix("Bearer ") else {
        return StatusCode::UNAUTHORIZED;
    };
    let now = Timestamp::from_ms(i64::try_from(now_s()).unwrap() * 1000);
    let Ok(subject) = verifier.verify(token.as_bytes(), now) else { return StatusCode::UNAUTHORIZED };
    let (method, path) = (value("x-original-method"), value("x-original-uri"));
    let mut parts = path.split('/').skip(1);
    let (Some("t"), Some(tenant), Some("api"), Some(resource), id, None) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return StatusCode::FORBIDDEN;
    };
    let known = RESOURCES.contains(&resource);
    let route = ROUTES.iter().find(|(verb, wants_id, _)| *verb == method && *wants_id == id.is_some());
    let holds = |writes| {
        roles(resource, writes).iter().any(|role| subject.roles.iter().any(|one| one.as_str() == *role))
    };
    match route {
        Some((_, _, writes))
            if known
                && holds(*writes)
                && subject.tenant.as_ref().is_some_and(|one| one.as_str() == tenant) =>
        {
            StatusCode::NO_CONTENT
        }
        _ => StatusCode::FORBIDDEN,
    }
}
