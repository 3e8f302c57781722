//! A yes, as JSON. Nothing that the support API says may be kept by anybody on the way.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use crate::model::Version;

use super::following::Following;

/// An answer to somebody who gets what they asked for.
#[derive(Debug)]
pub(super) struct Reply {
    status: u16,
    body: Vec<u8>,
    headers: Vec<(HeaderName, String)>,
    /// What comes behind the head, piece by piece, instead of a body.
    rest: Option<Following>,
}

impl Reply {
    /// 200, and then events for as long as there are.
    pub(super) fn stream(rest: Following) -> Reply {
        Reply { status: 200, body: Vec::new(), headers: Vec::new(), rest: Some(rest) }
    }

    /// 200 with this.
    pub(super) fn ok(body: &impl Serialize) -> Reply {
        Reply::with(200, body)
    }

    /// 200 with a text that is JSON already.
    pub(super) fn document(text: &str) -> Reply {
        Reply { status: 200, body: text.as_bytes().to_vec(), headers: Vec::new(), rest: None }
    }

    /// This status with this.
    pub(super) fn with(status: u16, body: &impl Serialize) -> Reply {
        // Shapes of this room hold texts, numbers and lists; writing them cannot fail.
        let body = serde_json::to_vec(body).unwrap_or_default();
        Reply { status, body, headers: Vec::new(), rest: None }
    }

    /// Names the version that is shown.
    pub(super) fn tagged(mut self, version: Option<Version>) -> Reply {
        if let Some(version) = version {
            self.headers.push((header::ETAG, format!("\"{version}\"")));
        }
        self
    }

    /// Says of a repeat that it is one.
    pub(super) fn replayed(mut self, repeated: bool) -> Reply {
        if repeated {
            self.headers.push((HeaderName::from_static("idempotent-replayed"), "true".to_owned()));
        }
        self
    }

    /// Names the place of what was made.
    pub(super) fn at(mut self, path: String) -> Reply {
        self.headers.push((header::LOCATION, path));
        self
    }

    pub(super) fn into_parts(self) -> (Response<Bytes>, Option<Following>) {
        let kind = if self.rest.is_some() { "text/event-stream" } else { "application/json" };
        let mut response = response(self.status, kind, self.body);
        for (name, value) in self.headers {
            // Made of identifiers and numbers: always a good value.
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        }
        (response, self.rest)
    }
}

/// A response with the headers that all have.
pub(super) fn response(status: u16, content_type: &'static str, body: Vec<u8>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
