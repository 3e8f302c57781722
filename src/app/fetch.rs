//! Fetching one key set: one bounded answer from the address that the configuration names ([`crate::net::ask`]).
//!
//! Never here: when something is fetched, what keys mean (see [`super::keys`], [`crate::identity`]).

use std::time::Duration;

use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;

use crate::{
    config::resolve::KeyAddress,
    identity::MAX_JWKS_BYTES,
    net::ask::{AskFault, Asker, SetupFault},
};

/// Why a key set was not fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchFault {
    #[error(transparent)]
    Ask(#[from] AskFault),
    #[error("it redirects, and redirects are not followed: configure the address that it means")]
    Redirect,
    #[error("it answers with status {0}")]
    Status(StatusCode),
    #[error("the answer is larger than {MAX_JWKS_BYTES} bytes")]
    TooLarge,
    #[error("the answer is compressed, which was not asked for")]
    Encoded,
    #[error("the answer broke off: {0}")]
    BrokenOff(Box<dyn std::error::Error + Send + Sync>),
    #[error("the answer is no text")]
    NoText,
}

impl FetchFault {
    /// The word for metrics.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Ask(fault) => fault.code(),
            Self::Redirect => "redirect",
            Self::Status(_) => "status",
            Self::TooLarge => "too_large",
            Self::Encoded => "encoded",
            Self::BrokenOff(_) => "broken_off",
            Self::NoText => "no_text",
        }
    }
}

/// What was fetched.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) text: String,
    /// How long the answer calls itself fresh.
    pub(super) max_age: Option<Duration>,
}

/// Fetches from one address.
pub(super) struct Fetcher(Asker);

impl Fetcher {
    /// Reads the authorities; nothing is connected to.
    pub(super) fn new(address: &KeyAddress) -> Result<Fetcher, SetupFault> {
        let timeout = Duration::from_millis(u64::try_from(address.timeout_ms).unwrap_or(0));
        Asker::new(&address.server, timeout).map(Fetcher)
    }

    /// Fetches once.
    pub(super) async fn fetch(&self) -> Result<Answer, FetchFault> {
        let mut request = Request::new(Full::default());
        let wanted = header::HeaderValue::from_static("application/jwk-set+json, application/json");
        request.headers_mut().insert(header::ACCEPT, wanted);
        self.0.ask(request, read).await?
    }
}

async fn read(response: Response<Incoming>) -> Result<Answer, FetchFault> {
    let (head, body) = response.into_parts();
    if head.status.is_redirection() {
        return Err(FetchFault::Redirect);
    }
    if head.status != StatusCode::OK {
        return Err(FetchFault::Status(head.status));
    }
    if head.headers.get_all(header::CONTENT_ENCODING).iter().any(|value| value != "identity") {
        return Err(FetchFault::Encoded);
    }
    let body = Limited::new(body, MAX_JWKS_BYTES).collect().await.map_err(|fault| {
        if fault.is::<LengthLimitError>() { FetchFault::TooLarge } else { FetchFault::BrokenOff(fault) }
    })?;
    let text = String::from_utf8(body.to_bytes().into()).map_err(|_| FetchFault::NoText)?;
    Ok(Answer { text, max_age: max_age(&head.headers) })
}

/// What `Cache-Control` says; of several words the one that allows the least counts.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let words = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    words
        .flat_map(|value| value.split(','))
        .filter_map(|word| {
            let word = word.trim().to_ascii_lowercase();
            match word.split_once('=') {
                Some(("max-age", seconds)) => Some(seconds.trim_matches('"').parse().unwrap_or(0)),
                _ if word == "no-store" || word == "no-cache" => Some(0),
                _ => None,
            }
        })
        .min()
        .map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_that_cache_control_allows_counts() {
        for (values, seconds) in [
            (vec![], None),
            (vec!["public"], None),
            (vec!["public, max-age=300"], Some(300)),
            (vec!["Max-Age=\"60\""], Some(60)),
            (vec!["max-age=600", "max-age=60"], Some(60)),
            (vec!["max-age=600, no-cache"], Some(0)),
            (vec!["no-store"], Some(0)),
            (vec!["max-age=-5"], Some(0)),
            (vec!["max-age=99999999999999999999999"], Some(0)),
            (vec!["s-maxage=5"], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in &values {
                headers.append(header::CACHE_CONTROL, header::HeaderValue::from_static(value));
            }
            assert_eq!(max_age(&headers), seconds.map(Duration::from_secs), "{values:?}");
        }
    }
}
