//! The tour, step by step: what to type, and what must come of it. The printed tour and the walk read the same list, so
//! what people are told is what is checked.
//!
//! Never here: how a step is printed or performed.

use std::borrow::Cow;

use super::stage::Person::{self, Alice, Bob, Ines, Sam};

/// One thing to do.
pub(super) enum Do<'a> {
    /// Ask, and look at the answer. Words in braces stand for what an earlier answer said.
    Ask {
        /// The name of whoever asks.
        who: Option<&'a str>,
        method: &'a str,
        path: &'a str,
        body: Option<Cow<'a, str>>,
        status: u16,
        /// Texts that the answer must hold.
        says: Vec<&'a str>,
        /// Keep the answer's `id` under this name.
        keep: Option<&'a str>,
    },
    /// Open a stream that goes on, under this name.
    Open { who: &'a str, path: &'a str, name: &'a str },
    /// That stream must have been cut.
    Cut { name: &'a str },
    /// Move the clock.
    Advance(&'a str),
    /// Prove the record.
    Verify,
}

/// One step of the tour.
pub(super) struct Step<'a> {
    pub(super) title: Cow<'a, str>,
    pub(super) does: Do<'a>,
}

fn ask(
    title: &'static str,
    who: Option<Person>,
    method: &'static str,
    path: &'static str,
    body: Option<&'static str>,
    status: u16,
    says: &'static [&'static str],
) -> Step<'static> {
    let (title, says) = (title.into(), says.to_vec());
    let (who, body) = (who.map(Person::name), body.map(Cow::Borrowed));
    Step { title, does: Do::Ask { who, method, path, body, status, says, keep: None } }
}

const SESSIONS: &str = "/_postern/v1/tenants/acme/sessions";
const CONSENT: &str = "/_postern/v1/tenants/acme/consent";

/// The whole tour.
pub(super) fn tour() -> Vec<Step<'static>> {
    vec![
        ask(
            "Alice works as she always did: her own token, her own role",
            Some(Alice),
            "GET",
            "/t/acme/api/orders",
            None,
            200,
            &["ord-1042"],
        ),
        ask(
            "Without a token nothing opens",
            None,
            "GET",
            "/t/acme/api/orders",
            None,
            401,
            &["token_missing"],
        ),
        ask(
            "Bob's role does not manage users",
            Some(Bob),
            "POST",
            "/t/acme/api/users",
            Some("{\"name\":\"Eve\"}"),
            403,
            &["permission_missing"],
        ),
        ask(
            "Nobody reaches another tenant",
            Some(Bob),
            "GET",
            "/t/acme-eu/api/orders",
            None,
            403,
            &["tenant_foreign"],
        ),
        ask(
            "Sam, of the vendor's support, is refused: no session",
            Some(Sam),
            "GET",
            "/t/acme/api/orders",
            None,
            403,
            &["session_missing"],
        ),
        ask("What did the tenant consent to?", Some(Alice), "GET", CONSENT, None, 200, &["read_only"]),
        Step {
            title: "Sam starts a support session, and says why".into(),
            does: Do::Ask {
                who: Some(Sam.name()),
                method: "POST",
                path: SESSIONS,
                body: Some(Cow::Borrowed(
                    "{\"environment\":\"production\",\"basis\":\"consent\",\"reason\":\"order 1042 is stuck\",\"ticket\":\"HELP-77\"}",
                )),
                status: 201,
                says: vec!["read_only"],
                keep: Some("session"),
            },
        },
        ask("Now Sam can read", Some(Sam), "GET", "/t/acme/api/orders", None, 200, &["ord-1042"]),
        ask(
            "The application knows who is looking",
            Some(Sam),
            "GET",
            "/t/acme/api/whoami",
            None,
            200,
            &["staff", "sam"],
        ),
        ask(
            "… and change nothing; the answer names the consent level that would do",
            Some(Sam),
            "PATCH",
            "/t/acme/api/orders/ord-1042",
            Some("{\"note\":\"x\"}"),
            403,
            &["permission_missing", "full"],
        ),
        ask(
            "The session is for acme alone",
            Some(Sam),
            "GET",
            "/t/acme-eu/api/orders",
            None,
            403,
            &["session_missing"],
        ),
        ask("Alice sees who is inside", Some(Alice), "GET", SESSIONS, None, 200, &["HELP-77"]),
        Step {
            title: "Sam begins a long download".into(),
            does: Do::Open {
                who: Sam.name(),
                path: "/t/acme/api/exports/orders.csv?seconds=120&rate=20000",
                name: "download",
            },
        },
        ask(
            "Alice removes Sam",
            Some(Alice),
            "DELETE",
            "/_postern/v1/tenants/acme/sessions/{session}",
            None,
            200,
            &["removed"],
        ),
        Step { title: "The download is cut in the same moment".into(), does: Do::Cut { name: "download" } },
        ask("Sam is out", Some(Sam), "GET", "/t/acme/api/orders", None, 403, &["session_missing"]),
        Step {
            title: "Removal bars nobody: Sam may start again under the consent of the moment".into(),
            does: Do::Ask {
                who: Some(Sam.name()),
                method: "POST",
                path: SESSIONS,
                body: Some(Cow::Borrowed(
                    "{\"environment\":\"production\",\"basis\":\"consent\",\"reason\":\"watching the queue\"}",
                )),
                status: 201,
                says: vec!["deadline"],
                keep: Some("session"),
            },
        },
        Step {
            title: "Sam watches the application's events".into(),
            does: Do::Open { who: Sam.name(), path: "/t/acme/api/events?every=200", name: "events" },
        },
        Step {
            title: "Five calendar days and an hour pass (the demo can move the gateway's clock)".into(),
            does: Do::Advance("121h"),
        },
        Step {
            title: "The session is over, and the stream with it".into(),
            does: Do::Cut { name: "events" },
        },
        ask(
            "Alice closes the door",
            Some(Alice),
            "PUT",
            CONSENT,
            Some("{\"level\":\"block\"}"),
            200,
            &["block"],
        ),
        ask(
            "Sam cannot start a session by consent",
            Some(Sam),
            "POST",
            SESSIONS,
            Some("{\"environment\":\"production\",\"basis\":\"consent\",\"reason\":\"order 1042 again\"}"),
            403,
            &["consent_closes"],
        ),
        Step {
            title: "Alice lets Sam alone in, for two days, to do more than consent allowed".into(),
            does: Do::Ask {
                who: Some(Alice.name()),
                method: "POST",
                path: "/_postern/v1/tenants/acme/grants",
                body: Some(Cow::Borrowed(
                    "{\"environment\":\"production\",\"to\":{\"email\":\"sam@vendor.example\"},\"role\":\"operations\",\"scope\":\"everything\",\"for\":\"2d\"}",
                )),
                status: 201,
                says: vec!["operations", "until"],
                keep: Some("grant"),
            },
        },
        Step {
            title: "Sam starts a session by that grant".into(),
            does: Do::Ask {
                who: Some(Sam.name()),
                method: "POST",
                path: SESSIONS,
                body: Some(Cow::Borrowed(
                    "{\"environment\":\"production\",\"basis\":{\"grant\":\"{grant}\"},\"reason\":\"repairing order 1042\"}",
                )),
                status: 201,
                says: vec!["operations"],
                keep: Some("session"),
            },
        },
        ask(
            "Now Sam can change the order",
            Some(Sam),
            "PATCH",
            "/t/acme/api/orders/ord-1042",
            Some("{\"note\":\"address corrected with the customer\"}"),
            200,
            &["address corrected"],
        ),
        ask(
            "The child tenant follows its parent, if it chooses to",
            Some(Ines),
            "PUT",
            "/_postern/v1/tenants/acme-eu/consent",
            Some("{\"level\":\"inherit\"}"),
            200,
            &["block"],
        ),
        ask(
            "Alice, of the parent, decides nothing there",
            Some(Alice),
            "PUT",
            "/_postern/v1/tenants/acme-eu/consent",
            Some("{\"level\":\"full\"}"),
            403,
            &["not_allowed"],
        ),
        Step { title: "Every access has its record, and the record can be proven".into(), does: Do::Verify },
    ]
}
