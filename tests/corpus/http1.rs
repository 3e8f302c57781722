//! Raw HTTP/1.1 requests: whole, byte by byte, and cut at every byte.

use std::{collections::BTreeSet, io::Write as _, sync::atomic::Ordering::SeqCst};

use crate::{
    format::{Case, cases},
    judge::{Judge, all_that_comes},
    world::Plan,
};

const FILES: [(&str, &str); 9] = [
    ("heads", include_str!("http1/heads.txt")),
    ("targets", include_str!("http1/targets.txt")),
    ("fields", include_str!("http1/fields.txt")),
    ("names", include_str!("http1/names.txt")),
    ("framing", include_str!("http1/framing.txt")),
    ("chunks", include_str!("http1/chunks.txt")),
    ("upgrades", include_str!("http1/upgrades.txt")),
    ("pipelines", include_str!("http1/pipelines.txt")),
    ("ordinary", include_str!("http1/ordinary.txt")),
];

fn all(judge: &Judge) -> Vec<Case> {
    FILES.iter().flat_map(|(_, text)| cases(text, &judge.fill())).collect()
}

/// Judges each case in the pieces that `cut` makes of it; every one that fails is named.
fn run(judge: &mut Judge, chosen: &[Case], cut: impl Fn(&Case) -> Vec<Vec<u8>>) {
    let mut wrong = Vec::new();
    for case in chosen {
        let pieces = cut(case);
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        if let Err(fault) = judge.judge(case, &pieces) {
            wrong.push(format!("{} ({}): {fault}", case.id, case.expected.join(" ; ")));
        }
    }
    println!("{} cases", chosen.len());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), chosen.len(), wrong.join("\n"));
}

#[test]
fn every_request_is_read_one_way_or_refused() {
    let mut judge = Judge::new(Plan::default());
    let cases = all(&judge);
    assert!(cases.len() >= 300, "{}", cases.len());
    assert!(cases.iter().all(|case| !case.why.is_empty()), "every case says why");
    let ids: BTreeSet<&str> = cases.iter().map(|case| case.id.as_str()).collect();
    assert_eq!(ids.len(), cases.len(), "each id once");
    run(&mut judge, &cases, |case| case.pieces.clone());
    let connections = judge.world.upstream.notes.connections.load(SeqCst);
    println!("{connections} connections to the application");
    assert!(connections < 100, "the innocent came by connections that the cases had used: {connections}");
    judge.finish();
}

#[test]
fn it_makes_no_difference_in_which_pieces_a_request_comes() {
    let mut judge = Judge::new(Plan::default());
    let mut cases = all(&judge);
    cases.retain(|case| case.bytes().len() < 2_000);
    // Every third, another third each time that a file changes its length; all of the framing.
    let mut chosen: Vec<Case> = cases.iter().step_by(3).cloned().collect();
    chosen.extend(
        crate::format::cases(FILES[5].1, &judge.fill()).into_iter().filter(|case| case.bytes().len() < 2_000),
    );
    run(&mut judge, &chosen, |case| case.bytes().iter().map(|byte| vec![*byte]).collect());
    judge.finish();
}

#[test]
fn a_request_cut_at_any_byte_arrives_nowhere_as_a_whole() {
    let judge = Judge::new(Plan::default());
    let token = &judge.admin;
    let put = |framing: &str, body: &str| {
        format!(
            "PUT /t/acme/orders/7 HTTP/1.1\r\nHost: app.example\r\nAuthorization: Bearer {token}\r\n{framing}\r\n\r\n{body}"
        )
    };
    for whole in [
        put("Content-Length: 11", "hello world"),
        put("Transfer-Encoding: chunked", "5;a=b\r\nhello\r\n6\r\n world\r\n0\r\nX-User: root\r\n\r\n"),
        format!("GET /t/acme/orders HTTP/1.1\r\nHost: app.example\r\nAuthorization: Bearer {token}\r\n\r\n"),
    ] {
        let head = whole.find("\r\n\r\n").unwrap();
        for cut in 1..whole.len() {
            // Within the token one place is like another.
            if cut > 100 && cut + 60 < head && cut % 16 != 0 {
                continue;
            }
            let mut client = judge.world.client();
            client.stream.write_all(&whole.as_bytes()[..cut]).unwrap();
            let answer = all_that_comes(&mut client);
            assert!(!answer.starts_with(b"HTTP/1.1 2"), "cut at {cut}: {}", answer.escape_ascii());
            if cut % 7 == 0 {
                let reply = judge.world.get("/t/acme/orders?do=echo", token);
                assert_eq!(
                    (reply.status, reply.text().as_str()),
                    (200, "/t/acme/orders?do=echo"),
                    "after {cut}"
                );
            }
        }
    }
    for seen in judge.world.upstream.seen().iter().filter(|seen| !seen.line().contains("do=echo")) {
        let ended = seen.body.ends_with(b"0\r\n\r\n") || seen.body == b"hello world";
        assert!(seen.line().starts_with("PUT ") && !ended, "cut, and whole: {seen:?}");
    }
    judge.finish();
}
