//! One attempt: one event, signed, by `POST`, and what the receiver makes of it.
//!
//! Only the status counts. Of the body of an answer a little is read, so that the receiver gets to its end, and thrown away.
//!
//! Never here: when there is another attempt.

use std::{sync::OnceLock, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;

use super::{Hook, message::Message, retry, sign::seconds};
use crate::model::Timestamp;

/// Of an answer's body, so much is read, and for so long.
const MOST_BODY: usize = 4 << 10;
const BODY: Duration = Duration::from_secs(1);

/// What became of an attempt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The receiver has it.
    Taken,
    /// The receiver wants nothing any more.
    Gone,
    /// It has to be told again.
    Failed {
        /// A stable word.
        code: &'static str,
        /// For people.
        why: String,
        /// What the receiver asks to wait.
        after: Option<Duration>,
    },
}

pub(super) async fn attempt(hook: &Hook, message: &Message, now: Timestamp) -> Verdict {
    // Once the head is there it is decided, however the rest goes.
    let head: OnceLock<(StatusCode, HeaderMap)> = OnceLock::new();
    let asked = hook
        .asker
        .ask(request(hook, message, now), |response: Response<Incoming>| {
            let (parts, body) = response.into_parts();
            let _ = head.set((parts.status, parts.headers));
            async move {
                let _ = tokio::time::timeout(BODY, Limited::new(body, MOST_BODY).collect()).await;
            }
        })
        .await;
    match (head.get(), asked) {
        (Some((status, headers)), _) => judged(*status, headers, now),
        (None, Err(fault)) => Verdict::Failed { code: fault.code(), why: fault.to_string(), after: None },
        (None, Ok(())) => {
            Verdict::Failed { code: "http", why: "there was no answer".to_owned(), after: None }
        }
    }
}

fn judged(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Verdict {
    if status.is_success() {
        return Verdict::Taken;
    }
    if status == StatusCode::GONE {
        return Verdict::Gone;
    }
    let (code, why) = if status.is_redirection() {
        (
            "redirect",
            "it redirects, and redirects are not followed: configure the address that it means".to_owned(),
        )
    } else {
        ("status", format!("it answers with status {}", status.as_u16()))
    };
    Verdict::Failed { code, why, after: retry::asked(headers, now) }
}

fn request(hook: &Hook, message: &Message, now: Timestamp) -> Request<Full<Bytes>> {
    let at = seconds(now);
    let mut request = Request::new(Full::new(message.body.clone()));
    *request.method_mut() = Method::POST;
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let signature = hook.signer.sign(&message.id, at, &message.body);
    for (name, value) in [
        ("webhook-id", message.id.clone()),
        ("webhook-timestamp", at.to_string()),
        ("webhook-signature", signature),
    ] {
        // Ids, numbers and base64 are visible ASCII.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_2xx_is_taken_and_only_410_is_the_end() {
        let now = Timestamp::from_ms(0);
        for status in 200..600 {
            let verdict = judged(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), now);
            match status {
                200..300 => assert_eq!(verdict, Verdict::Taken, "{status}"),
                410 => assert_eq!(verdict, Verdict::Gone),
                300..400 => assert!(matches!(verdict, Verdict::Failed { code: "redirect", .. }), "{status}"),
                _ => assert!(matches!(verdict, Verdict::Failed { code: "status", .. }), "{status}"),
            }
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("30"));
        let Verdict::Failed { after, .. } = judged(StatusCode::TOO_MANY_REQUESTS, &headers, now) else {
            panic!("taken")
        };
        assert_eq!(after, Some(Duration::from_secs(30)));
    }
}
