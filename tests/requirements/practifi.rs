//! Login access, sentence by sentence (docs/requirements.md): the preset `practifi` runs as it stands, over sockets and with
//! tokens; each test looks at what the client, the application and the record were told.

use serde_json::{Value, json};

#[path = "practifi/stage.rs"]
mod stage;

use crate::client::Ending;
use stage::{Stage, json_of, preset_in, request, until};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

fn production(lasts: &str) -> Value {
    json!({ "environment": "production", "for": lasts })
}

#[test]
fn the_preset_is_accepted_as_it_stands() {
    let dir = tempfile::TempDir::new().unwrap();
    let file = preset_in(dir.path());
    let postern = |more: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_postern"));
        let output = command.args(more).arg("--config").arg(&file).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, said) = postern(&["check"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("warning"), "{said}");
    assert!(
        said.contains("login access: 1d, 3 calendar days, 7 calendar days, 1 calendar month\n"),
        "{said}"
    );
    assert!(said.contains("  biz_support      of vendor, by `groups`: biz-support\n"), "{said}");
    assert!(said.contains("  launch_partner   all of partner\n"), "{said}");
    let explain = |path: &str, role: &str| postern(&["explain", "GET", path, "--acting-as", role]);
    let (code, said) = explain("/firms/acme/reports/fees", "adviser");
    assert_eq!((code, said.contains("passes (session_by_act_as)")), (Some(0), true), "{said}");
    let (code, said) = explain("/firms/acme/reports/fees", "assistant");
    assert_eq!((code, said.contains("permission_missing")), (Some(1), true), "{said}");
    let (code, said) = explain("/firms/acme/exports/clients.csv", "system_admin");
    assert_eq!((code, said.contains("ceiling")), (Some(1), true), "{said}");
}

// PRA-01
#[test]
fn pra_01_any_user_lets_support_in_for_a_duration_from_the_list_and_no_longer() {
    let stage = Stage::start();
    let sam = stage.sam();
    // The start: nobody enters, by login access or otherwise.
    let access = json_of(&stage.api("GET", "tenants/acme/login-access", &stage.user("acme", "cho"), None));
    assert_eq!(
        access["durations"],
        json!(["no access", "1d", "3 calendar days", "7 calendar days", "1 calendar month"])
    );
    for organisation in access["organisations"].as_array().unwrap() {
        assert_eq!(organisation["access"], json!([]), "{organisation}");
    }
    assert_eq!(stage.get("/firms/acme/tasks", &sam).code(), "session_missing");
    let consent = json!({ "environment": "production", "basis": "consent", "reason": "a case" });
    assert_eq!(stage.api("POST", "tenants/acme/sessions", &sam, Some(consent)).code(), "consent_closes");
    assert_eq!(stage.enter("acme", &sam, "grt_none").code(), "not_found");

    // What is on the list; an assistant may, as anybody may.
    for lasts in ["1d", "24h", "3 calendar days", "7 calendar days", "1 calendar month"] {
        let grant = stage.lend("cho", lasts);
        let session = stage.session(&sam, &grant);
        assert_eq!(stage.in_session("GET", "/firms/acme/tasks", &sam, &session).status, 200, "{lasts}");
    }
    // More, or what is not on it.
    let seen = stage.seen().len();
    for lasts in ["2 calendar months", "31d", "32 calendar days", "2d", "8 calendar days", "1h", "0s"] {
        let reply = stage.lend_to("acme", "ben", "biz_support", production(lasts));
        assert_eq!((reply.status, reply.code().as_str()), (422, "duration_not_offered"), "{lasts}");
    }
    for lasts in ["forever", "none", "", "7"] {
        assert_eq!(stage.lend_to("acme", "ben", "biz_support", production(lasts)).status, 400, "{lasts}");
    }
    let until_then = json!({ "environment": "production", "until": "2027-01-01T00:00:00Z" });
    assert_eq!(stage.lend_to("acme", "ben", "biz_support", until_then).status, 400);
    assert_eq!(stage.seen().len(), seen);
    until("the refusal is written down", || {
        stage.of_kind("change.refused").iter().any(|record| record["reason"] == "duration_not_offered")
    });
    stage.finish();
}

// PRA-02
#[test]
fn pra_02_a_new_grant_replaces_the_old_and_durations_never_add_up() {
    let stage = Stage::start();
    let sam = stage.sam();
    let first = stage.lend("ben", "7 calendar days");
    let session = stage.session(&sam, &first);
    stage.advance(6 * DAY + 16 * HOUR);
    let sam = stage.sam();
    let second = stage.lend("ben", "7 calendar days");
    assert_ne!(first, second);
    let access = json_of(&stage.api("GET", "tenants/acme/login-access", &stage.user("acme", "ben"), None));
    let standing = access["organisations"].as_array().unwrap().iter();
    let standing: Vec<_> = standing.flat_map(|one| one["access"].as_array().unwrap()).collect();
    assert_eq!(standing.len(), 1, "{standing:?}");
    // From its own moment, whatever was left of the one before.
    assert_eq!(
        (&standing[0]["id"], &standing[0]["until"]),
        (&json!(second), &json!("2026-01-28T09:00:00.000Z"))
    );
    let ended = stage.events("grant_ended");
    assert_eq!((&ended[0]["grant"], &ended[0]["cause"]), (&json!(first), &json!("replaced")));
    // What ran by the first is over with it; another session takes the second.
    assert_eq!(stage.in_session("GET", "/firms/acme/deals", &sam, &session).status, 403);
    assert_eq!(stage.enter("acme", &sam, &first).code(), "grant_gives_nothing");
    stage.session(&sam, &second);
    assert_eq!(stage.get("/firms/acme/deals", &sam).status, 200);
    // A shorter one replaces a longer one too.
    let third = stage.lend("ben", "1d");
    stage.advance(DAY);
    assert_eq!(stage.enter("acme", &stage.sam(), &third).code(), "grant_gives_nothing");

    // `no access` withdraws at once, what runs included.
    let fourth = stage.lend("ben", "1 calendar month");
    let sam = stage.sam();
    stage.session(&sam, &fourth);
    let mut feed = stage.connect();
    feed.send(request("GET", "/firms/acme/feed", &sam, "", None));
    assert!(feed.head().contains(" 200 "));
    let reply = stage.lend_to("acme", "ben", "biz_support", production("no access"));
    assert_eq!((reply.status, json_of(&reply)["access"].clone()), (200, json!([])), "{}", reply.text());
    // It was cut before that was answered.
    assert_eq!(feed.read_out().0, Ending::Reset);
    assert_eq!(stage.get("/firms/acme/deals", &sam).code(), "grant_withdrawn");
    let (_, outcome) = stage.last_access();
    assert_eq!((&outcome["end"], &outcome["cut_by"]["reason"]), (&json!("cut"), &json!("grant_withdrawn")));
    stage.finish();
}

// PRA-03
#[test]
fn pra_03_the_application_sees_the_user_and_the_record_names_both() {
    let stage = Stage::start();
    let (sam, ben) = (stage.sam(), stage.user("acme", "ben"));
    let session = stage.session(&sam, &stage.lend("ben", "1d"));
    assert_eq!(stage.get("/firms/acme/deals", &ben).status, 200);
    let own = stage.last();
    // What support sends of itself does not pass.
    let forged = "X-User: ada\r\nX_Acting: nobody\r\nCookie: sid=1\r\nX-Roles: system_admin\r\n";
    assert_eq!(stage.send("GET", "/firms/acme/deals", &sam, forged, None).status, 200);
    let acted = stage.last();
    for name in ["X-User", "X-Roles", "X-Environment"] {
        assert_eq!(acted.value(name), own.value(name), "{name}");
    }
    assert_eq!(acted.value("X-User").as_deref(), Some("ben"));
    assert_eq!(acted.value("X-Roles").as_deref(), Some("adviser"));
    assert_eq!(
        (own.value("X-Acting").as_deref(), acted.value("X-Acting").as_deref()),
        (Some(""), Some("sam"))
    );
    assert_eq!((acted.value("Authorization"), acted.value("Cookie")), (None, None));
    let claims = acted.assertion();
    for (name, value) in [
        ("sub", json!("ben")),
        ("issuer", json!("app")),
        ("kind", json!("member")),
        ("role", json!("adviser")),
        ("tenant", json!("acme")),
        ("act", json!({ "sub": "sam", "kind": "staff", "issuer": "vendor" })),
        ("session", json!(session)),
    ] {
        assert_eq!(claims[name], value, "{claims}");
    }
    let (intent, outcome) = stage.last_access();
    for record in [&intent, &outcome] {
        assert_eq!(record["subject"], json!({ "issuer": "vendor", "sub": "sam" }), "{record}");
        assert_eq!(record["acting_as"], json!({ "issuer": "app", "sub": "ben" }), "{record}");
        assert_eq!(record["session"], json!(session), "{record}");
    }
    assert_eq!(intent["roles"], json!(["adviser"]));
    let started = stage.events("session_started");
    assert_eq!(started[0]["acting_as"]["sub"], "ben");
    // And who looks at the session is told.
    let view = json_of(&stage.api(
        "GET",
        &format!("tenants/acme/sessions/{session}"),
        &stage.user("acme", "ada"),
        None,
    ));
    assert_eq!((&view["person"]["sub"], &view["acting_as"]["sub"]), (&json!("sam"), &json!("ben")), "{view}");
    stage.finish();
}

// PRA-04
#[test]
fn pra_04_nobody_grants_login_access_while_acting_as_somebody_else() {
    let stage = Stage::start();
    let (sam, path) = (stage.sam(), "tenants/acme/login-access/platform_support");
    stage.session(&sam, &stage.lend("ada", "1d"));
    // In a session as an administrator: the support API knows support as support, whomever it acts as.
    assert_eq!(stage.get("/firms/acme/settings", &sam).status, 200);
    let before = stage.events("grant_made").len();
    for method in ["PUT", "DELETE"] {
        let body = (method == "PUT").then(|| production("1d"));
        assert_eq!(stage.api(method, path, &sam, body).code(), "not_allowed", "{method}");
    }
    assert_eq!(stage.api("GET", "tenants/acme/login-access", &sam, None).code(), "not_allowed");
    // With a token by which support acts as her, made by whomever.
    let acting = stage.user_acting("acme", "ada", "sam");
    for method in ["PUT", "DELETE"] {
        let body = (method == "PUT").then(|| production("1d"));
        let reply = stage.api(method, path, &acting, body);
        assert_eq!((reply.status, reply.code().as_str()), (403, "acting"), "{method}");
    }
    assert_eq!(stage.events("grant_made").len(), before);
    // By her own it goes.
    assert_eq!(stage.lend_to("acme", "ada", "platform_support", production("1d")).status, 201);
    stage.finish();
}

// PRA-05
#[test]
fn pra_05_acting_never_chains() {
    let stage = Stage::start();
    let sam = stage.sam();
    let (as_ada, as_ben) = (stage.lend("ada", "1d"), stage.lend("ben", "1d"));
    let session = stage.session(&sam, &as_ada);
    // Who acts as an administrator administers no support access: no grant, no session of somebody else's, no removal.
    let grant = json!({ "environment": "production", "to": "support", "role": "adviser", "scope": "everything", "for": "1h" });
    assert_eq!(stage.api("POST", "tenants/acme/grants", &sam, Some(grant)).code(), "not_allowed");
    let level = json!({ "level": "none" });
    assert_eq!(stage.api("PUT", "tenants/acme/consent", &sam, Some(level)).code(), "not_allowed");
    let end = format!("tenants/acme/grants/{as_ben}");
    assert_eq!(stage.api("DELETE", &end, &sam, None).code(), "not_allowed");
    // What the administrator may do to users is above the ceiling.
    assert_eq!(stage.send("POST", "/firms/acme/users", &sam, "", Some(json!({}))).code(), "ceiling");
    assert_eq!(stage.send("POST", "/firms/acme/api-keys", &sam, "", Some(json!({}))).code(), "ceiling");
    // A token by which somebody acts as support enters nothing, and does nothing in a session that runs.
    let chained = stage.staff_acting("sam", "eve");
    assert_eq!(stage.enter("acme", &chained, &as_ben).code(), "acting");
    assert_eq!(stage.in_session("GET", "/firms/acme/deals", &chained, &session).code(), "acting");
    // From one user to another goes by that user's own grant only, and then as another session beside it.
    let other = stage.session(&sam, &as_ben);
    assert_eq!(stage.get("/firms/acme/deals", &sam).code(), "session_ambiguous");
    assert_eq!(stage.in_session("GET", "/firms/acme/deals", &sam, &other).status, 200);
    assert_eq!(stage.last().assertion()["act"], json!({ "sub": "sam", "kind": "staff", "issuer": "vendor" }));
    assert_eq!(stage.last().value("X-User").as_deref(), Some("ben"));
    stage.finish();
}

// PRA-06
#[test]
fn pra_06_each_user_grants_for_themselves_alone() {
    let stage = Stage::start();
    let sam = stage.sam();
    let as_ada = stage.lend("ada", "7 calendar days");
    let session = stage.session(&sam, &as_ada);
    assert_eq!(stage.get("/firms/acme/deals", &sam).status, 200);
    assert_eq!(stage.last().value("X-User").as_deref(), Some("ada"));
    // Her grant is for her account: no other can be named by it.
    let body = json!({ "environment": "production", "for": "1d", "user": "ben" });
    assert_eq!(stage.lend_to("acme", "ada", "biz_support", body).code(), "body_malformed");
    let role = json!({ "environment": "production", "to": { "organisation": "biz_support" }, "role": "adviser",
        "scope": "everything", "for": "1h" });
    let made = stage.api("POST", "tenants/acme/grants", &stage.user("acme", "ada"), Some(role));
    assert_eq!(made.status, 400, "{}", made.text());
    // Nor does she see or take back what another gave, nor move it.
    let as_ben = stage.lend("ben", "1d");
    let path = "tenants/acme/login-access";
    let own = json_of(&stage.api("GET", path, &stage.user("acme", "ada"), None)).to_string();
    assert!(own.contains(&as_ada) && !own.contains(&as_ben), "{own}");
    let taken = stage.api("DELETE", &format!("{path}/biz_support"), &stage.user("acme", "cho"), None);
    assert_eq!(json_of(&taken)["outcome"]["changed"], false);
    let moved = stage.api(
        "PATCH",
        &format!("tenants/acme/grants/{as_ben}"),
        &stage.user("acme", "ada"),
        Some(json!({ "for": "30d" })),
    );
    assert_eq!((moved.status, moved.code().as_str()), (409, "login_access_moved"));
    // As an administrator she sees who gave what.
    let all = json_of(&stage.api("GET", "tenants/acme/grants", &stage.user("acme", "ada"), None));
    let givers: std::collections::BTreeSet<_> = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|grant| grant["grantor"]["sub"].as_str().unwrap())
        .collect();
    assert_eq!(givers, ["ada", "ben"].into(), "{all}");
    // Two accounts, two sessions.
    let other = stage.session(&sam, &as_ben);
    for (session, user) in [(&session, "ada"), (&other, "ben")] {
        assert_eq!(stage.in_session("GET", "/firms/acme/deals", &sam, session).status, 200);
        assert_eq!(stage.last().value("X-User").as_deref(), Some(user));
    }
    // Another firm's user gives nothing here, and whoever may not know is told one thing.
    let reply = stage.api(
        "PUT",
        &format!("{path}/biz_support"),
        &stage.user("globex", "gus"),
        Some(production("1d")),
    );
    assert_eq!((reply.status, reply.code().as_str()), (403, "not_allowed"));
    stage.finish();
}

// PRA-07
#[test]
fn pra_07_at_the_end_of_the_duration_access_stops_by_itself() {
    let stage = Stage::start();
    let grant = stage.lend("ben", "1d");
    stage.advance(DAY - 30 * MINUTE);
    let sam = stage.sam();
    let session = stage.session(&sam, &grant);
    let mut feed = stage.connect();
    feed.send(request("GET", "/firms/acme/feed", &sam, "", None));
    assert!(feed.head().contains(" 200 "));
    stage.advance(30 * MINUTE - 1);
    assert_eq!(stage.get("/firms/acme/deals", &sam).status, 200);
    let seen = stage.seen().len();
    stage.advance(1);
    assert_eq!(stage.get("/firms/acme/deals", &sam).code(), "grant_expired");
    // What runs is cut, without anybody doing anything.
    assert_eq!(feed.read_out().0, Ending::Reset);
    assert_eq!(stage.enter("acme", &sam, &grant).code(), "grant_gives_nothing");
    assert_eq!(stage.seen().len(), seen);
    // Both ends are in the record, with the instant at which they took effect.
    let at = "2026-01-15T17:00:00.000Z";
    until("the ends are written down", || {
        stage.events("session_ended").len() == 1 && stage.events("grant_ended").len() == 1
    });
    let (session_end, grant_end) = (&stage.events("session_ended")[0], &stage.events("grant_ended")[0]);
    assert_eq!((&session_end["session"], &session_end["at"]), (&json!(session), &json!(at)));
    assert_eq!(session_end["cause"], "grant_expired");
    assert_eq!(
        (&grant_end["grant"], &grant_end["cause"], &grant_end["at"]),
        (&json!(grant), &json!("expired"), &json!(at))
    );
    stage.finish();
}

// PRA-08
#[test]
fn pra_08_one_week_is_suggested_and_shorter_ones_stay_on_the_list() {
    let stage = Stage::start();
    let access = json_of(&stage.api("GET", "tenants/acme/login-access", &stage.user("acme", "ben"), None));
    let suggested = access["suggested"].as_str().unwrap();
    assert_eq!(suggested, "7 calendar days");
    let offered = access["durations"].as_array().unwrap();
    let place = offered.iter().position(|one| one == suggested).expect("it is offered");
    assert_eq!(offered[1..place], [json!("1d"), json!("3 calendar days")], "shorter ones stay");
    let grant = stage.lend("ben", suggested);
    let view = json_of(&stage.api("GET", &format!("tenants/acme/grants/{grant}"), &stage.sam(), None));
    assert_eq!(view["until"], "2026-01-21T17:00:00.000Z");
    stage.lend("ben", "1d");
    assert_eq!(stage.events("grant_made").last().unwrap()["until"], "2026-01-15T17:00:00.000Z");
    stage.finish();
}

// PRA-09
#[test]
fn pra_09_a_grant_is_to_one_organisation_and_any_of_its_people_use_it_under_their_own_name() {
    let stage = Stage::start();
    let access = json_of(&stage.api("GET", "tenants/acme/login-access", &stage.user("acme", "ben"), None));
    let names: Vec<_> =
        access["organisations"].as_array().unwrap().iter().map(|one| one["organisation"].clone()).collect();
    assert_eq!(names, [json!("biz_support"), json!("launch_partner"), json!("platform_support")]);
    let grant = stage.lend("ben", "1d");
    let others = [
        stage.staff("pat", &["platform-support"]),
        stage.staff("nia", &[]),
        stage.staff("lee", &["biz-support-leads"]),
        stage.partner("sam"),
    ];
    for other in &others {
        assert_eq!(stage.enter("acme", other, &grant).code(), "not_found");
        assert_eq!(stage.api("GET", &format!("tenants/acme/grants/{grant}"), other, None).status, 404);
        assert_eq!(json_of(&stage.api("GET", "tenants/acme/grants", other, None))["items"], json!([]));
        assert_eq!(stage.get("/firms/acme/deals", other).code(), "session_missing");
    }
    assert!(stage.seen().is_empty());
    // Any of its people find it, enter, and stand in the record each by their own name.
    for sub in ["sam", "mia"] {
        let token = stage.staff(sub, &["biz-support"]);
        let found = json_of(&stage.api("GET", "tenants/acme/grants", &token, None));
        assert_eq!(found["items"][0]["id"], json!(grant), "{found}");
        assert_eq!(found["items"][0]["to"], json!({ "organisation": "biz_support" }));
        stage.session(&token, &grant);
        assert_eq!(stage.get("/firms/acme/deals", &token).status, 200);
        assert_eq!(stage.last().value("X-User").as_deref(), Some("ben"));
        let (intent, outcome) = stage.last_access();
        assert_eq!((&intent["subject"]["sub"], &outcome["subject"]["sub"]), (&json!(sub), &json!(sub)));
    }
    // Who is taken out of the organisation is out with the next token.
    let moved = stage.staff("mia", &["platform-support"]);
    assert_eq!(stage.get("/firms/acme/deals", &moved).code(), "grant_missing");
    // One that is known by its issuer.
    assert_eq!(stage.lend_to("acme", "cho", "launch_partner", production("1d")).status, 201);
    let theirs = json_of(&stage.api("GET", "tenants/acme/grants", &stage.partner("sam"), None));
    assert_eq!(theirs["items"][0]["grantor"]["sub"], "cho", "{theirs}");
    assert_eq!(stage.lend_to("acme", "cho", "nobody", production("1d")).status, 404);
    stage.finish();
}

// PRA-10
#[test]
fn pra_10_the_confirmation_opens_nothing_by_itself_and_the_ticket_stands_in_the_record() {
    let stage = Stage::start();
    let body = json!({ "environment": "production", "for": "7 calendar days", "ticket": "ZD-4711" });
    let reply = stage.lend_to("acme", "ben", "biz_support", body);
    let confirmation = json_of(&reply)["confirmation"].as_str().unwrap().to_owned();
    // Whoever holds it has nothing by it: no token, another organisation's, a user's own.
    let held = |token: &str| {
        let more = format!("Postern-Session: {confirmation}\r\n");
        stage.send("GET", "/firms/acme/deals", token, &more, None)
    };
    assert_eq!(held(&confirmation).status, 401);
    assert_eq!(held(&stage.sam()).code(), "session_missing");
    assert_eq!(
        stage.enter("acme", &stage.staff("pat", &["platform-support"]), &confirmation).code(),
        "not_found"
    );
    assert_eq!(stage.enter("acme", &stage.user("acme", "cho"), &confirmation).code(), "not_staff");
    assert_eq!(stage.enter("globex", &stage.sam(), &confirmation).code(), "not_found");
    assert!(stage.seen().is_empty());
    // Quoted, it tells the organisation's people what they were given; as what it is.
    let sam = stage.sam();
    let view = json_of(&stage.api("GET", &format!("tenants/acme/grants/{confirmation}"), &sam, None));
    assert_eq!(
        (&view["grantor"]["sub"], &view["act_as"]["ticket"]),
        (&json!("ben"), &json!("ZD-4711")),
        "{view}"
    );
    let as_role =
        json!({ "environment": "production", "basis": { "grant": confirmation }, "reason": "a case" });
    assert_eq!(stage.api("POST", "tenants/acme/sessions", &sam, Some(as_role)).code(), "grant_gives_nothing");
    // The ticket stands with the grant and with the session.
    let made = stage.events("grant_made").pop().unwrap();
    assert_eq!((&made["ticket"], &made["act_as"]), (&json!("ZD-4711"), &json!("biz_support")));
    let start = json!({ "environment": "production", "basis": { "act_as": confirmation }, "reason": "a case", "ticket": "ZD-4712" });
    let begun = stage.api("POST", "tenants/acme/sessions", &sam, Some(start));
    assert_eq!((begun.status, &json_of(&begun)["session"]["ticket"]), (201, &json!("ZD-4712")));
    let recorded = stage.of_kind("change.outcome").pop().unwrap();
    assert!(recorded["documents"].to_string().contains("ZD-4712"), "{recorded}");
    let long = json!({ "environment": "production", "for": "1d", "ticket": "a b" });
    assert_eq!(stage.lend_to("acme", "ben", "biz_support", long).code(), "ticket_unfit");
    stage.finish();
}

// PRA-11
#[test]
fn pra_11_an_administrator_who_acts_as_a_colleague_grants_nothing_either() {
    let stage = Stage::start();
    // The application lets its administrators log in as a colleague, and says so in the token that it makes.
    let as_ben = stage.user_acting("acme", "ben", "ada");
    assert_eq!(stage.get("/firms/acme/deals", &as_ben).status, 200);
    assert_eq!(stage.last().value("X-User").as_deref(), Some("ben"));
    let path = "tenants/acme/login-access/biz_support";
    let reply = stage.api("PUT", path, &as_ben, Some(production("1d")));
    assert_eq!((reply.status, reply.code().as_str()), (403, "acting"), "{}", reply.text());
    assert_eq!(stage.api("GET", "tenants/acme/login-access", &as_ben, None).code(), "acting");
    assert_eq!(json_of(&stage.api("GET", "tenants/acme/grants", &stage.sam(), None))["items"], json!([]));
    // Neither do they end what the colleague gave: that is theirs, by a token of their own.
    stage.lend("ben", "1d");
    assert_eq!(stage.api("DELETE", path, &as_ben, None).code(), "acting");
    assert_eq!(stage.events("grant_ended"), Vec::<Value>::new());
    let withdrawn = stage.api("DELETE", path, &stage.user("acme", "ben"), None);
    assert_eq!((withdrawn.status, json_of(&withdrawn)["outcome"]["changed"].clone()), (200, json!(true)));
    stage.finish();
}

// PRA-12
#[test]
fn pra_12_acting_has_the_users_rights_of_that_moment_minus_the_ceiling_and_ends_with_them() {
    let stage = Stage::start();
    let sam = stage.sam();
    let session = stage.session(&sam, &stage.lend("cho", "7 calendar days"));
    let may = |path: &str, token: &str| stage.get(path, token).status;
    let cho = stage.user("acme", "cho");
    for path in ["/firms/acme/tasks", "/firms/acme/deals", "/firms/acme/reports/fees", "/firms/acme/settings"]
    {
        assert_eq!(may(path, &sam), may(path, &cho), "{path}");
    }
    assert_eq!((may("/firms/acme/tasks", &sam), may("/firms/acme/deals", &sam)), (200, 403));
    // More, and less, as the user's rights change.
    stage.push("acme", "cho", &["system_admin"]);
    assert_eq!((may("/firms/acme/deals", &sam), may("/firms/acme/settings", &sam)), (200, 200));
    assert_eq!(stage.last().value("X-Roles").as_deref(), Some("system_admin"));
    // The ceiling holds whatever the user may do.
    assert_eq!(stage.send("POST", "/firms/acme/users", &cho, "", Some(json!({}))).status, 200);
    assert_eq!(stage.send("POST", "/firms/acme/users", &sam, "", Some(json!({}))).code(), "ceiling");
    assert_eq!(
        (may("/firms/acme/exports/clients.csv", &cho), may("/firms/acme/exports/clients.csv", &sam)),
        (200, 403)
    );
    let told = json_of(&stage.api("GET", &format!("tenants/acme/sessions/{session}"), &sam, None));
    let rights: Vec<&str> = told["rights"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(rights.contains(&"settings:write"), "{rights:?}");
    assert!(
        !rights.iter().any(|right| ["users:manage", "exports:run", "support:manage"].contains(right)),
        "{rights:?}"
    );
    // What runs is cut where it is no longer the user's to do.
    let mut feed = stage.connect();
    feed.send(request("GET", "/firms/acme/feed", &sam, "", None));
    assert!(feed.head().contains(" 200 "));
    stage.push("acme", "cho", &[]);
    assert_eq!(feed.read_out().0, Ending::Reset);
    assert_eq!(stage.get("/firms/acme/tasks", &sam).code(), "permission_missing");
    stage.push("acme", "cho", &["assistant"]);
    assert_eq!(may("/firms/acme/tasks", &sam), 200);
    // A suspended user is acted for no more, and what they had given does not come back with them.
    let mut feed = stage.connect();
    feed.send(request("GET", "/firms/acme/feed", &sam, "", None));
    assert!(feed.head().contains(" 200 "));
    stage.suspend("acme", "cho", &["assistant"]);
    assert_eq!(feed.read_out().0, Ending::Reset);
    assert_eq!(stage.get("/firms/acme/tasks", &sam).code(), "grant_withdrawn");
    let reply = stage.lend_to("acme", "cho", "biz_support", production("1d"));
    assert_eq!((reply.status, reply.code().as_str()), (403, "not_allowed"), "nor do they give any");
    stage.push("acme", "cho", &["assistant"]);
    assert_eq!(stage.get("/firms/acme/tasks", &sam).status, 403);
    assert_eq!(stage.events("grant_ended").last().unwrap()["cause"], "giver_gone");
    // Nor is one who is gone.
    stage.session(&sam, &stage.lend("ben", "1d"));
    assert_eq!(may("/firms/acme/deals", &sam), 200);
    stage.remove("acme", "ben");
    assert_eq!(stage.get("/firms/acme/deals", &sam).status, 403);
    stage.finish();
}

// PRA-13
#[test]
fn pra_13_after_a_session_the_firm_lists_what_was_done_in_it_apart_from_what_the_user_did() {
    let stage = Stage::start();
    let (sam, ben, ada) = (stage.sam(), stage.user("acme", "ben"), stage.user("acme", "ada"));
    let grant = stage.lend("ben", "1d");
    let session = stage.session(&sam, &grant);
    let done =
        [("GET", "/firms/acme/deals"), ("PATCH", "/firms/acme/contacts/c1"), ("POST", "/firms/acme/notes")];
    for (method, path) in done {
        let body = (method != "GET").then(|| json!({}));
        assert_eq!(stage.send(method, path, &sam, "", body).status, 200);
        // The user goes on working beside it, and so does another session.
        assert_eq!(stage.get("/firms/acme/tasks", &ben).status, 200);
    }
    let mia = stage.staff("mia", &["biz-support"]);
    stage.session(&mia, &grant);
    assert_eq!(stage.get("/firms/acme/meetings", &mia).status, 200);
    let end = stage.api("DELETE", &format!("tenants/acme/sessions/{session}"), &sam, None);
    assert_eq!(end.status, 200, "{}", end.text());
    until("every intent has its outcome", || {
        stage.of_kind("access.outcome").len() == stage.of_kind("access.intent").len()
    });
    let asked = format!("tenants/acme/audit?session={session}");
    let page = json_of(&stage.api("GET", &asked, &ada, None));
    assert_eq!(page["complete"], true, "{page}");
    let records: Vec<&Value> = page["items"].as_array().unwrap().iter().map(|item| &item["record"]).collect();
    let intents: Vec<_> = records.iter().filter(|record| record["kind"] == "access.intent").collect();
    let listed: Vec<_> =
        intents.iter().map(|r| (r["method"].as_str().unwrap(), r["path"].as_str().unwrap())).collect();
    assert_eq!(listed, done);
    let outcomes = records.iter().filter(|record| record["kind"] == "access.outcome");
    assert_eq!(outcomes.clone().count(), done.len());
    for record in intents.into_iter().copied().chain(outcomes.copied()) {
        assert_eq!(
            (&record["subject"]["sub"], &record["acting_as"]["sub"]),
            (&json!("sam"), &json!("ben")),
            "{record}"
        );
    }
    // Entry and end are among them.
    let events: String = records.iter().map(|record| record["events"].to_string()).collect();
    assert!(events.contains("session_started") && events.contains("session_ended"), "{events}");
    // It is the firm's own record: nobody else's administrator, and no staff.
    assert_eq!(stage.api("GET", &asked, &stage.user("globex", "gus"), None).status, 403);
    assert_eq!(stage.api("GET", &asked, &sam, None).status, 403);
    stage.finish();
}

// PRA-14
#[test]
fn pra_14_a_month_is_the_same_day_and_time_in_the_firms_zone_or_the_last_day_and_a_week_seven_days() {
    // What is given then, for so long, ends then: over both changes of the clocks, at the end of a month, and in the zone of
    // a firm that is a day ahead.
    let cases = [
        ("acme", "2026-01-14T12:00:00-05:00", "1 calendar month", "2026-02-14T12:00:00-05:00"),
        ("acme", "2026-01-31T12:00:00-05:00", "1 calendar month", "2026-02-28T12:00:00-05:00"),
        ("acme", "2026-02-20T12:00:00-05:00", "1 calendar month", "2026-03-20T12:00:00-04:00"),
        ("acme", "2026-03-05T12:00:00-05:00", "7 calendar days", "2026-03-12T12:00:00-04:00"),
        ("acme", "2026-10-15T12:00:00-04:00", "1 calendar month", "2026-11-15T12:00:00-05:00"),
        ("acme", "2026-10-29T12:00:00-04:00", "7 calendar days", "2026-11-05T12:00:00-05:00"),
        ("globex", "2026-10-30T20:00:00Z", "1 calendar month", "2026-11-30T07:00:00+11:00"),
        ("globex", "2027-01-30T20:00:00Z", "1 calendar month", "2027-02-28T07:00:00+11:00"),
    ];
    let stage = Stage::start();
    for (firm, given, lasts, ends) in cases {
        stage.set(given);
        let user = if firm == "acme" { "ben" } else { "gus" };
        let reply = stage.lend_to(firm, user, "biz_support", production(lasts));
        assert_eq!(reply.status, 201, "{}", reply.text());
        let reply = json_of(&reply);
        let until = reply["access"][0]["until"].as_str().unwrap().to_owned();
        let instant = |text: &str| postern::model::Timestamp::parse(text).unwrap();
        assert_eq!(instant(&until), instant(ends), "{firm} {given} {lasts}");
        let grant = reply["confirmation"].as_str().unwrap();
        // To the millisecond.
        stage.set(ends);
        stage.advance(-1);
        assert_eq!(stage.enter(firm, &stage.sam(), grant).status, 201, "{firm} {given} {lasts}");
        stage.advance(1);
        assert_eq!(stage.enter(firm, &stage.sam(), grant).code(), "grant_gives_nothing");
    }
    stage.finish();
}
