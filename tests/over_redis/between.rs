//! What meets on the way: two who change one tenant, news that come during a load, a value that nobody can read.

use std::{
    sync::Barrier,
    time::{Duration, Instant},
};

use postern::{
    engine::{ChangeFault, Changed},
    lifecycle::Refusal,
};

use crate::{
    stage::Stage,
    watch::{ask, ask_whole, lone},
    wire::How,
    world::*,
};

fn put_consent(level: &str, token: &str, more: &str) -> String {
    let body = format!("{{\"level\":\"{level}\"}}");
    let head = format!("Content-Type: application/json\r\nContent-Length: {}\r\n{more}", body.len());
    lone("PUT", "/_postern/v1/tenants/acme/consent", token, &head) + &body
}

fn header(answer: &str, name: &str) -> Option<String> {
    let lines =
        answer.lines().skip(1).take_while(|line| !line.is_empty()).filter_map(|line| line.split_once(':'));
    lines.filter(|(one, _)| one.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned()).next()
}

/// Of two who saw the same and change it, one is told that somebody was first; of two who take any version, both are done, and all
/// gateways agree on what came of it.
#[test]
fn of_two_administrators_on_two_gateways_one_is_first() {
    let stage = Stage::set();
    let shown = |number: usize| {
        ask_whole(stage.address(number), &lone("GET", "/_postern/v1/tenants/acme/consent", &stage.admin, ""))
            .1
    };
    let choice = |number: usize| {
        let body = shown(number).split_once("\r\n\r\n").unwrap().1.to_owned();
        serde_json::from_str::<serde_json::Value>(&body).unwrap()["choice"].as_str().unwrap().to_owned()
    };
    let watches = stage.watch(2);
    watches.back(Instant::now());
    let mark = watches.mark();
    // Levels that give sam what he does in any case. Guarded, both want what is not so yet.
    for round in 0..12 {
        let guarded = round % 2 == 0;
        let now = choice(0);
        let (this, other) = if now == "full" { ("edit", "full") } else { ("full", "edit") };
        let levels = if guarded { [this, this] } else { [this, other] };
        until("both see the same", || header(&shown(0), "etag") == header(&shown(1), "etag"));
        let more = if guarded {
            format!("If-Match: {}\r\n", header(&shown(0), "etag").unwrap())
        } else {
            String::new()
        };
        let together = Barrier::new(2);
        let mut said = std::thread::scope(|scope| {
            let asking = [0, 1].map(|number| {
                let text = put_consent(levels[number], &stage.admin, &more);
                let (together, address) = (&together, stage.address(number));
                scope.spawn(move || {
                    together.wait();
                    ask(address, &text)
                })
            });
            asking.map(|one| one.join().unwrap())
        });
        said.sort();
        assert!(said[0].is(200, ""), "{said:?}");
        assert!(if guarded { said[1].is(412, "changed") } else { said[1].is(200, "") }, "{said:?}");
        assert!(levels.contains(&choice(0).as_str()));
        for number in 1..3 {
            until("all agree", || choice(number) == choice(0));
        }
    }
    let end = Instant::now();
    watches.members_went_on(mark);
    for watch in watches.all() {
        assert_eq!(watch.kinds(mark).len(), 1, "{:?}", watch.kinds(mark));
    }
    watches.row(
        "two administrators change one tenant on two gateways",
        mark,
        end,
        "",
        "with `If-Match` one is 200 and one 412 `changed`; without, both are 200, and all agree on the later",
    );
    stage.finish();
}

/// Who is told that all is as they want it goes away: a gateway that hears nothing tells nobody so by what it once knew.
#[test]
fn what_was_so_when_a_gateway_heard_last_is_promised_to_nobody() {
    let stage = Stage::set();
    assert!(stage.changes(0, World::consent("acme", "edit"), &stage.admin).unwrap());
    let as_wanted = |said: Result<Changed, ChangeFault>| matches!(said, Ok(Changed::Unchanged));
    let wants = |gateway: usize| stage.gateways[gateway].change(World::consent("acme", "edit"), &stage.admin);
    until("it is so at another gateway", || as_wanted(wants(1)));
    stage.wires[1].set(How::Held);
    assert!(stage.changes(0, World::consent("acme", "full"), &stage.admin).unwrap());
    let said = wants(1);
    assert!(matches!(said, Err(ChangeFault::Refused(Refusal::Unavailable))), "{said:?}");
    stage.wires[1].set(How::Passes);
    until("it is changed again", || wants(1).is_ok());
    // It may have been told as in force and not yet kept.
    until("it is so for all", || {
        let shown = lone("GET", "/_postern/v1/tenants/acme/consent", &stage.admin, "");
        ask_whole(stage.address(0), &shown).1.contains("\"choice\":\"edit\"")
    });
    stage.finish();
}

/// What a load brings that was sent before the news came does not stand after them.
#[test]
fn news_that_come_during_a_load_are_not_undone_by_it() {
    let stage = Stage::set();
    let watches = stage.watch(1);
    watches.back(Instant::now());
    let mark = watches.mark();
    let late = Duration::from_millis(150);
    stage.wires[1].set(How::LateAnswers(late));
    let (mut after, mut within) = (0, 0);
    for round in 0..12 {
        let (agent, session) = stage.lets_in(0, &format!("agent{round}"));
        // Nobody asked gateway b for it yet: it has to load, and the answer is under way when the end is told.
        let began = Instant::now();
        let asked = std::thread::scope(|scope| {
            let asking = scope.spawn(|| stage.reads(1, &agent));
            until("the load is under way", || began.elapsed() > late / 3);
            stage.gateways[0].done(World::end("acme", &session), &stage.admin);
            asking.join().unwrap()
        });
        if asked.status == 200 {
            within += 1
        } else {
            after += 1
        }
        // On a busy machine such a load takes longer than one is waited for.
        assert!([200, 403].contains(&asked.status) || asked.is(503, "state_unavailable"), "{asked}");
        let ended = Instant::now();
        until("the end stands", || stage.reads(1, &agent).status == 403);
        assert!(ended.elapsed() < Duration::from_millis(700), "round {round}: {:?}", ended.elapsed());
        for _ in 0..5 {
            assert_eq!(stage.reads(1, &agent).status, 403, "round {round}: it came back");
        }
    }
    let end = Instant::now();
    stage.set_wires(How::Passes);
    watches.back(end);
    watches.members_went_on(mark);
    let more = format!(
        "who was loading when the end came: {after} refused, {within} admitted before it; nobody afterwards"
    );
    watches.row("an end that is told during a load", mark, end, "", &more);
    stage.finish();
}

/// A value that cannot be read, or that a newer build wrote, is neither absent nor a default: it is refused with its code.
#[test]
fn a_value_that_cannot_be_read_is_refused_and_shuts_out_nobody_else() {
    let stage = Stage::set();
    let watches = stage.watch(1);
    watches.back(Instant::now());
    for what in ["damaged", "of a newer build"] {
        let (agent, session) = stage.lets_in(0, &format!("agent{}", what.len()));
        let keys = stage.redis.tell(&["KEYS", &format!("postern:*{session}*")]);
        let key = keys
            .lines()
            .find(|key| stage.redis.tell(&["TYPE", key]) == "+string")
            .unwrap_or_else(|| panic!("{keys}"));
        let before = stage.redis.tell(&["GET", key]);
        let mark = watches.mark();
        let (version, json) = before.split_once('\n').unwrap();
        let mut value: serde_json::Value = serde_json::from_str(json).unwrap();
        let bad = if what == "damaged" {
            format!("{version}\n{}", &json[..json.len() / 2])
        } else {
            value["format"] = 99.into();
            format!("{version}\n{value}")
        };
        stage.redis.tell(&["SET", key, &bad]);
        let found = stage.reads(1, &agent);
        assert!(found.is(503, "state_unavailable"), "{found}");
        // Where it is known already, it is what it was.
        assert_eq!(stage.reads(0, &agent).status, 200);
        // Taken away it can be all the same.
        let consent = stage.changes(1, World::consent("acme", "block"), &stage.admin);
        assert!(consent.is_ok(), "{consent:?}");
        until("it is in force there too", || stage.reads(0, &agent).status == 403);
        stage.redis.tell(&["SET", key, &before]);
        assert!(stage.changes(1, World::consent("acme", "full"), &stage.admin).unwrap());
        let mended = Instant::now();
        // Where the consent was given it is known at once.
        stage.gateways[1].start_session("acme", &stage.agent);
        watches.back(mended);
        watches.members_went_on(mark);
        let row = format!("a stored session is {what}");
        println!(
            "| {row} | {found} by whom needs it; all others as before | the same | 200 | 200 | the tenant can lower its consent all the same |"
        );
    }
    stage.finish();
}
