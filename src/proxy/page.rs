//! A refusal as a page, for a person whose browser opened an address of the application: what happened, and what to do next,
//! in the words of the problem and in the reader's role.
//!
//! A page is given only to who asks for one: a navigation that takes HTML, by what only browsers say about it. Everybody else
//! gets the problem, since programs take any HTML for the application's. It is one document: no script, nothing fetched, its
//! style allowed by digest, never framed, never kept. Status, challenge and code are those of the problem.
//!
//! Never here: what is told (see [`respond`](super::respond)), pages of the support API, which are problems always.

use std::{fmt::Write as _, sync::LazyLock};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    engine::{Admission, knock::Who},
    model::SubjectKind,
};

use super::{
    respond::Told,
    wire::{Known, RequestView},
};

/// What an answer may look different for.
pub const VARY: &str = "Accept, Sec-Fetch-Dest, Sec-Fetch-Mode";

const STYLE: &str = ":root{color-scheme:light dark;--ink:#1c2126;--soft:#56606b;--paper:#f5f6f8;--card:#fff;--line:#d7dce1;--mark:#8a3b12}\
@media(prefers-color-scheme:dark){:root{--ink:#e8eaed;--soft:#a3adb8;--paper:#14171a;--card:#1d2125;--line:#343a41;--mark:#f0a06c}}\
*{box-sizing:border-box}body{margin:0;min-height:100vh;display:flex;align-items:center;justify-content:center;padding:1rem;\
background:var(--paper);color:var(--ink);font:1rem/1.55 system-ui,-apple-system,\"Segoe UI\",Roboto,sans-serif}\
main{width:100%;max-width:36rem;background:var(--card);border:1px solid var(--line);border-radius:.75rem;padding:1.75rem 2rem}\
h1{margin:0 0 .75rem;font-size:1.35rem;line-height:1.3}p{margin:0 0 .9rem;overflow-wrap:anywhere}\
.next{border-left:3px solid var(--mark);padding-left:.9rem}\
dl{display:grid;grid-template-columns:auto 1fr;gap:.2rem .9rem;margin:1.4rem 0 0;padding-top:1rem;border-top:1px solid var(--line);\
font-size:.875rem;color:var(--soft)}dt,dd{margin:0}dd{overflow-wrap:anywhere}\
code{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}\
@media(max-width:30rem){main{padding:1.25rem}dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:.5rem}}";

/// The only style that counts is the one above; nothing else is loaded, run, framed or sent anywhere.
pub static POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

/// Who reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reader {
    /// Nobody that is known, or not yet.
    #[default]
    Nobody,
    /// Somebody whose token was refused or cannot be judged.
    Unverified,
    /// One of the vendor's people.
    Staff,
    /// One of a tenant's people.
    Member,
}

/// A page that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// Who reads it.
    pub reader: Reader,
    /// The exchange in the record, where there is one.
    pub exchange: Option<String>,
    /// Where the support API is.
    pub prefix: String,
}

impl Page {
    /// The page that a request asks for, if it does.
    pub(super) fn asked(request: &RequestView<'_>) -> Option<Box<Page>> {
        let navigates = match request.method_name() {
            b"GET" | b"HEAD" | b"POST" => navigates(request),
            _ => false,
        };
        navigates.then(Box::default)
    }

    /// Who asks is known now.
    pub(super) fn read_by(&mut self, who: &Who, prefix: &str) {
        prefix.clone_into(&mut self.prefix);
        self.reader = match who {
            Who::Nobody => Reader::Nobody,
            Who::Refused(_) | Who::Unverifiable => Reader::Unverified,
            Who::Known(subject) => match subject.kind {
                SubjectKind::Staff => Reader::Staff,
                SubjectKind::Member => Reader::Member,
                // No person.
                SubjectKind::Service => Reader::Nobody,
            },
        };
    }

    /// It was admitted, and is recorded under this.
    pub(super) fn about(&mut self, admission: &Admission) {
        self.exchange = admission.live().map(|live| live.exchange.to_string());
    }

    /// The whole document.
    pub fn html(&self, told: &Told) -> String {
        let mut out = String::with_capacity(4 << 10);
        let title = escaped(heading(told));
        let _ = write!(
            out,
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"robots\" content=\"noindex\">\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n\
             <body>\n<main>\n<h1>{title}</h1>\n<p>{}.</p>\n<p class=\"next\">{}</p>\n<dl>\n\
             <dt>Status</dt><dd>{}</dd>\n<dt>Code</dt><dd><code>{}</code></dd>\n",
            escaped(&sentence(&told.detail)),
            escaped(&self.next(told)),
            told.status,
            escaped(&told.code),
        );
        let more = [("Fault", told.more), ("Exchange", self.exchange.as_deref())];
        for (name, value) in more {
            if let Some(value) = value {
                let _ = writeln!(out, "<dt>{name}</dt><dd><code>{}</code></dd>", escaped(value));
            }
        }
        out.push_str("</dl>\n</main>\n</body>\n</html>\n");
        out
    }

    /// What to do next.
    fn next(&self, told: &Told) -> String {
        let text = match (told.status, self.reader) {
            (401, Reader::Staff) => "Sign in again as it is asked for here, then open this page again.",
            (401, Reader::Unverified) => {
                "Your sign-in has ended or does not count here. Sign in again, then open this page again."
            }
            (401, _) => "Sign in to the application, then open this page again.",
            (409, Reader::Staff) => "Name the session that you mean, or end the others.",
            (403, Reader::Staff) => match told.code.as_str() {
                "session_missing" | "session_ended" | "session_expired" | "session_elsewhere"
                | "exchange_too_long" => {
                    return format!(
                        "Start a support session for this tenant and environment (POST {}v1/tenants/TENANT/sessions, with a \
                     reason), then open this page again.",
                        self.prefix
                    );
                }
                "consent_withdrawn" | "consent_lowered" | "grant_withdrawn" | "grant_expired"
                | "grant_missing" | "grant_scope" => {
                    "Ask the tenant: its administrators decide how far support may go."
                }
                "network_refused" => {
                    "Connect to the network that support works from, then open this page again."
                }
                "ticket_missing" | "ticket_malformed" => {
                    "Start a support session that names its ticket, then open this page again."
                }
                "permission_missing" => {
                    "If you need this for your work, ask the tenant for a grant that covers it."
                }
                _ => {
                    "No session opens this to support. Ask the tenant to do it, or whoever runs this gateway."
                }
            },
            (403, Reader::Member) => {
                "If you need this, ask an administrator of your organisation. Nothing was changed."
            }
            (403, _) => "If you have an account, sign in with it, then open this page again.",
            (429, _) => {
                return match told.after {
                    Some(1) => "Wait a second, then open this page again.".to_owned(),
                    Some(seconds) => format!("Wait {seconds} seconds, then open this page again."),
                    None => "Wait a little, then open this page again.".to_owned(),
                };
            }
            (502 | 504, Reader::Staff) => {
                "Try again in a moment. The attempt is recorded; if it goes on, tell whoever runs the application, with what stands below."
            }
            (502 | 504, _) => {
                "Try again in a moment. If it goes on, tell whoever runs the application, with what stands below."
            }
            (503, _) => {
                "Try again in a moment. If it goes on, tell whoever runs this gateway, with what stands below."
            }
            (408, _) => "Try again, over a better line if you can.",
            (413, _) => "Send less at once.",
            (_, _) => {
                "Go back and try another way. If a link led here, tell whoever made it, with what stands below."
            }
        };
        text.to_owned()
    }
}

/// Whether a browser opens an address for somebody to look at. Of those that say so nothing else is asked; of those that
/// cannot (over plain HTTP to another machine, browsers do not), HTML has to be what they want first.
fn navigates(request: &RequestView<'_>) -> bool {
    let (mode, destination) = (said(request, b"sec-fetch-mode"), said(request, b"sec-fetch-dest"));
    match (mode, destination) {
        (Said::Once(mode), Said::Once(destination)) => {
            mode == b"navigate" && destination == b"document" && takes_html(request, false)
        }
        (Said::Never, Said::Never) => {
            matches!(said(request, b"x-requested-with"), Said::Never) && takes_html(request, true)
        }
        (_, _) => false,
    }
}

/// Whether `Accept` names HTML; first of all, where that is asked.
fn takes_html(request: &RequestView<'_>, first: bool) -> bool {
    let Some(accept) = request.find(Known::Accept) else { return false };
    let Ok(accept) = std::str::from_utf8(accept) else { return false };
    let mut ranges = accept.split(',').map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let html = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("text/html"));
        let refused = parts.any(|part| {
            let zero = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
            zero.is_some_and(|weight| weight.parse::<f32>().map_or(true, |weight| weight <= 0.0))
        });
        html && !refused
    });
    if first { ranges.next().unwrap_or(false) } else { ranges.any(|html| html) }
}

enum Said<'a> {
    Never,
    Once(&'a [u8]),
    Otherwise,
}

fn said<'a>(request: &RequestView<'a>, name: &[u8]) -> Said<'a> {
    let mut lines = request.fields().filter(|field| field.name.eq_ignore_ascii_case(name));
    match (lines.next(), lines.next()) {
        (None, _) => Said::Never,
        (Some(line), None) => Said::Once(line.value),
        (Some(_), Some(_)) => Said::Otherwise,
    }
}

/// What happened, in a few words.
fn heading(told: &Told) -> &'static str {
    match told.status {
        401 => "Please sign in",
        403 if told.code.starts_with("session_") => "No active support session",
        403 => "This is not open to you",
        408 => "That took too long",
        409 => "Which support session?",
        413 => "That is too large",
        429 => "Too many requests",
        501 => "That is not possible here",
        502 => "The application failed",
        503 => "Not available right now",
        504 => "The application did not answer",
        _ => "This request cannot be read",
    }
}

/// The text of a problem as a sentence of its own.
fn sentence(text: &str) -> String {
    let mut letters = text.trim_end_matches('.').chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            letter if letter.is_control() => out.push(' '),
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::wire::{Limits, Parsed, RequestHead};

    fn asks(method: &str, lines: &str) -> bool {
        let text = format!("{method} /t/acme/orders HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let mut head = RequestHead::new();
        let parsed = head.parse(text.as_bytes(), &Limits::default()).unwrap();
        assert!(matches!(parsed, Parsed::Complete { .. }));
        Page::asked(&head.view(text.as_bytes())).is_some()
    }

    const CHROME: &str =
        "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8\r\n";
    const NAVIGATION: &str =
        "Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";

    #[test]
    fn only_a_navigation_that_takes_html_gets_a_page() {
        for method in ["GET", "HEAD", "POST"] {
            assert!(asks(method, &format!("{CHROME}{NAVIGATION}")), "{method}");
        }
        // Browsers that say nothing of it, to another machine over plain HTTP.
        assert!(asks("GET", CHROME));
        for (method, lines) in [
            ("PUT", format!("{CHROME}{NAVIGATION}")),
            ("GET", String::new()),
            ("GET", NAVIGATION.to_owned()),
            ("GET", format!("Accept: */*\r\n{NAVIGATION}")),
            ("GET", "Accept: */*\r\n".to_owned()),
            ("GET", "Accept: text/*\r\n".to_owned()),
            ("GET", "Accept: text/html;q=0\r\n".to_owned()),
            ("GET", "Accept: text/html; q=0.000\r\n".to_owned()),
            ("GET", "Accept: application/json, text/html\r\n".to_owned()),
            ("GET", "Accept: application/json, text/plain, */*\r\n".to_owned()),
            ("GET", "Accept: text/htmlx\r\n".to_owned()),
            ("GET", format!("{CHROME}X-Requested-With: XMLHttpRequest\r\n")),
            ("GET", format!("{CHROME}Sec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n")),
            ("GET", format!("{CHROME}Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n")),
            ("GET", format!("{CHROME}Sec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: document\r\n")),
            ("GET", format!("{CHROME}Sec-Fetch-Mode: navigate\r\n")),
            ("GET", format!("{CHROME}Sec-Fetch-Dest: document\r\n")),
            ("GET", format!("{CHROME}{NAVIGATION}Sec-Fetch-Mode: cors\r\n")),
        ] {
            assert!(!asks(method, &lines), "{method} {lines}");
        }
        assert!(asks("GET", &format!("Accept: application/json, text/html;q=0.1\r\n{NAVIGATION}")));
    }

    #[test]
    fn whatever_is_told_stays_text() {
        let evil = "</p><script>alert(1)</script>\"'&\u{0}\r\n";
        let mut told = Told::plain(400, evil, evil);
        told.more = Some("<img src=x onerror=alert(1)>");
        let page =
            Page { reader: Reader::Staff, exchange: Some(evil.to_owned()), prefix: "/_postern/".to_owned() };
        let html = page.html(&told);
        assert!(!html.contains("<script") && !html.contains("<img") && !html.contains('\u{0}'), "{html}");
        assert_eq!(html.matches("&lt;script&gt;").count(), 3);
        // Nothing that runs, nothing that is fetched, no style but the one.
        let html = page.html(&Told::plain(403, "session_missing", "a text"));
        for of_elsewhere in
            ["//", "src=", "href=", "url(", "@import", "style=", "onload", "<script", "<link", "<form"]
        {
            assert!(!html.contains(of_elsewhere), "{of_elsewhere}");
        }
    }

    #[test]
    fn the_style_is_the_one_that_is_allowed() {
        let html = Page::default().html(&Told::plain(403, "a", "b"));
        let (_, rest) = html.split_once("<style>").unwrap();
        let (style, _) = rest.split_once("</style>").unwrap();
        let sum = STANDARD.encode(digest(&SHA256, style.as_bytes()));
        assert!(POLICY.contains(&format!("'sha256-{sum}'")), "{}", *POLICY);
    }
}
