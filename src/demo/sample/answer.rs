//! How the application answers: JSON, faults as JSON with a stable code, and how a request's body and query are read.
//!
//! What is answered is decided in the files named after the things; no data lives here.

use std::ops::RangeInclusive;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, LOCATION, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::assertion::Distrust;
use super::seen::Trace;

/// The body of an answer, whole or streamed.
pub(super) type Content = UnsyncBoxBody<Bytes, std::io::Error>;
/// An answer.
pub(super) type Answer = Response<Content>;

/// The most that a request's JSON may have, in bytes.
const JSON_LIMIT: usize = 64 * 1024;

/// Why a request is not carried out.
#[derive(Debug)]
pub(super) struct Fault {
    status: StatusCode,
    code: &'static str,
    message: String,
    extra: Option<(HeaderName, HeaderValue)>,
}

impl Fault {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), extra: None }
    }

    /// There is no `what` called `id` here.
    pub(super) fn not_found(what: &str, id: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("there is no {what} `{id}` here"))
    }

    /// The request says something that makes no sense.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", message)
    }

    /// The thing exists, but not for this method.
    pub(super) fn method(allowed: &'static str) -> Self {
        let message = format!("this takes {allowed} only");
        let mut fault = Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
        fault.extra = Some((ALLOW, HeaderValue::from_static(allowed)));
        fault
    }

    pub(super) fn into_answer(self) -> Answer {
        let mut answer = json(self.status, &json!({"error": {"code": self.code, "message": self.message}}));
        if let Some((name, value)) = self.extra {
            answer.headers_mut().insert(name, value);
        }
        answer
    }
}

impl From<Distrust> for Fault {
    fn from(distrust: Distrust) -> Self {
        let mut fault = Self::new(StatusCode::UNAUTHORIZED, distrust.code(), distrust.to_string());
        fault.extra = Some((WWW_AUTHENTICATE, HeaderValue::from_static("Postern-Assertion")));
        fault
    }
}

/// An answer of JSON.
pub(super) fn json<T: Serialize>(status: StatusCode, value: &T) -> Answer {
    match serde_json::to_vec(value) {
        Ok(mut text) => {
            text.push(b'\n');
            let body = Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync();
            with_body(status, "application/json", body)
        }
        Err(_) => with_body(StatusCode::INTERNAL_SERVER_ERROR, "application/json", nothing()),
    }
}

/// An answer of JSON for something that was just made at `location`.
pub(super) fn created<T: Serialize>(location: &str, value: &T) -> Answer {
    let mut answer = json(StatusCode::CREATED, value);
    if let Ok(value) = HeaderValue::from_str(location) {
        answer.headers_mut().insert(LOCATION, value);
    }
    answer
}

/// Done, and nothing to say.
pub(super) fn no_content() -> Answer {
    let mut answer = Response::new(nothing());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer
}

/// An answer with a body of its own.
pub(super) fn with_body(status: StatusCode, media_type: &'static str, body: Content) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn nothing() -> Content {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A request's JSON, whole and of the expected shape. Unknown members are refused, so that a typing error does not
/// pass for a change.
pub(super) async fn read_json<T: DeserializeOwned>(mut body: Incoming, trace: &Trace) -> Result<T, Fault> {
    let mut text = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| cut(trace))?;
        let Some(data) = frame.data_ref() else { continue };
        trace.received(data.len());
        if text.len().saturating_add(data.len()) > JSON_LIMIT {
            let message = format!("the body is larger than {JSON_LIMIT} bytes");
            return Err(Fault::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message));
        }
        text.extend_from_slice(data);
    }
    serde_json::from_slice(&text).map_err(|error| {
        Fault::new(StatusCode::BAD_REQUEST, "bad_json", format!("the body does not fit: {error}"))
    })
}

/// The request's body broke off.
pub(super) fn cut(trace: &Trace) -> Fault {
    trace.broke();
    Fault::new(StatusCode::BAD_REQUEST, "body_cut", "the body ended before its end; nothing was changed")
}

/// A request's query. Names and values are taken as they are: none that matters here needs escaping.
#[derive(Clone, Copy)]
pub(super) struct Query<'a>(pub(super) Option<&'a str>);

impl<'a> Query<'a> {
    pub(super) fn get(self, name: &str) -> Option<&'a str> {
        let pairs = self.0.into_iter().flat_map(|query| query.split('&'));
        pairs.filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// The whole number called `name`, or `default` where it is not given.
    pub(super) fn number(self, name: &str, default: u64, range: RangeInclusive<u64>) -> Result<u64, Fault> {
        let Some(text) = self.get(name) else { return Ok(default) };
        text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
            let message =
                format!("`{name}` must be a whole number from {} to {}", range.start(), range.end());
            Fault::new(StatusCode::BAD_REQUEST, "bad_query", message)
        })
    }
}
