//! PFP: what the five roles of a pipe may do with its cards.

use serde_json::json;

use super::{Acme, IN_P1, app, cards_of, staffed};

/// With a card that Vic made, one that is assigned to him, and one of somebody else's.
fn with_cards() -> Acme {
    let acme = staffed();
    acme.card("own", "p1", Some("vic"), &[]);
    acme.card("given", "p1", Some("mo"), &["vic"]);
    acme.card("other", "p1", Some("mo"), &[]);
    acme
}

const ALL: [&str; 3] = ["own", "given", "other"];

/// Of the cards of the pipe those that somebody is shown in its list.
fn listed(acme: &Acme, sub: &str) -> Vec<String> {
    acme.says("GET pipes/p1/cards", &cards_of(&ALL));
    let reply = acme.answer(sub, "GET", "pipes/p1/cards");
    assert_eq!(reply.status, 200, "{}", reply.text());
    let list: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    list["cards"].as_array().unwrap().iter().map(|card| card["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn pfp_03_read_only_sees_all_cards_and_comments_on_them() {
    let acme = with_cards();
    for card in ALL {
        acme.can("rhea", "GET", &format!("pipes/p1/cards/{card}"));
        acme.can("rhea", "GET", &format!("pipes/p1/cards/{card}/comments"));
        acme.can("rhea", "POST", &format!("pipes/p1/cards/{card}/comments"));
        for (method, below) in [("PUT", ""), ("DELETE", ""), ("POST", "/move"), ("POST", "/attachments")] {
            acme.cannot("rhea", method, &format!("pipes/p1/cards/{card}{below}"));
        }
    }
    assert_eq!(listed(&acme, "rhea"), ALL);
    acme.cannot("rhea", "POST", "pipes/p1/cards");
    acme.cannot("rhea", "POST", "pipes/p1/start-form");
    acme.0.finish();
}

#[test]
fn pfp_04_restricted_view_makes_cards_and_sees_and_edits_their_own_and_what_is_assigned_to_them() {
    let acme = with_cards();
    acme.can("vic", "POST", "pipes/p1/cards");
    for card in ["own", "given"] {
        acme.can("vic", "GET", &format!("pipes/p1/cards/{card}"));
        acme.can("vic", "PUT", &format!("pipes/p1/cards/{card}"));
    }
    acme.cannot("vic", "GET", "pipes/p1/cards/other");
    acme.cannot("vic", "PUT", "pipes/p1/cards/other");
    assert_eq!(listed(&acme, "vic"), ["own", "given"]);
    // A card of which nobody knows whose it is is not theirs.
    acme.push("card/unknown", json!({"parent": "p1"})).is(200);
    acme.cannot("vic", "GET", "pipes/p1/cards/unknown");
    acme.cannot("vic", "GET", "pipes/p1/cards/never-heard-of");
    acme.0.finish();
}

#[test]
fn pfp_05_start_form_only_sends_the_form_and_sees_nothing_of_what_becomes_of_it() {
    let acme = with_cards();
    acme.card("hers", "p1", Some("fay"), &["fay"]);
    acme.can("fay", "GET", "pipes/p1/start-form");
    acme.can("fay", "POST", "pipes/p1/start-form");
    for card in ["hers", "other"] {
        for (method, below) in
            [("GET", ""), ("PUT", ""), ("DELETE", ""), ("GET", "/comments"), ("POST", "/comments")]
        {
            acme.cannot("fay", method, &format!("pipes/p1/cards/{card}{below}"));
        }
    }
    for (method, below) in [
        ("GET", ""),
        ("GET", "/cards"),
        ("POST", "/cards"),
        ("POST", "/search"),
        ("GET", "/export.json"),
        ("GET", "/count"),
        ("GET", "/people"),
        ("PUT", "/start-form"),
    ] {
        acme.cannot("fay", method, &format!("pipes/p1{below}"));
    }
    acme.0.finish();
}

#[test]
fn pfp_06_a_pipe_member_makes_sees_edits_and_moves_every_card() {
    let acme = with_cards();
    acme.can("mo", "POST", "pipes/p1/cards");
    for card in ALL {
        acme.can("mo", "GET", &format!("pipes/p1/cards/{card}"));
        acme.can("mo", "PUT", &format!("pipes/p1/cards/{card}"));
        acme.can("mo", "POST", &format!("pipes/p1/cards/{card}/move"));
    }
    assert_eq!(listed(&acme, "mo"), ALL);
    acme.cannot("mo", "PUT", "pipes/p1/settings");
    acme.0.finish();
}

#[test]
fn pfp_07_an_admin_of_a_pipe_does_everything_in_it_and_does_not_delete_it() {
    let acme = with_cards();
    for card in ALL {
        for (method, below) in [("GET", ""), ("PUT", ""), ("POST", "/move"), ("DELETE", "")] {
            acme.can("ada", method, &format!("pipes/p1/cards/{card}{below}"));
        }
    }
    for (method, below) in [
        ("GET", "settings"),
        ("PUT", "settings"),
        ("PUT", "phases/1"),
        ("PUT", "start-form"),
        ("PUT", "people/7"),
        ("GET", "count"),
        ("GET", "events"),
        ("GET", "reports/7"),
    ] {
        acme.can("ada", method, &format!("pipes/p1/{below}"));
    }
    acme.cannot("ada", "DELETE", "pipes/p1");
    // That is the company's to say; who may see no card of it may delete it.
    acme.cannot("adam", "GET", "pipes/p1/cards/own");
    acme.can("adam", "DELETE", "pipes/p1");
    acme.0.finish();
}

#[test]
fn pfp_08_nobody_in_a_narrower_role_deletes_a_card_of_their_own_in_whatever_role_it_was_made() {
    let acme = with_cards();
    for (sub, role) in [("rhea", "read_only"), ("vic", "restricted_view"), ("fay", "start_form_only")] {
        // Made while they were the pipe's admin, who deletes cards.
        acme.put("pipe/p1", sub, "pipe_admin").is(200);
        let card = format!("of-{sub}");
        acme.card(&card, "p1", Some(sub), &[sub]);
        acme.can(sub, "DELETE", &format!("pipes/p1/cards/{card}"));
        acme.put("pipe/p1", sub, role).is(200);
        acme.cannot(sub, "DELETE", &format!("pipes/p1/cards/{card}"));
    }
    acme.cannot("vic", "DELETE", "pipes/p1/cards/own");
    acme.cannot("vic", "DELETE", "pipes/p1/cards/given");
    acme.0.finish();
}

#[test]
fn pfp_14_cards_are_deleted_by_admins_of_the_pipe_and_by_no_member_of_it() {
    let acme = with_cards();
    for (sub, _) in IN_P1 {
        let card = format!("made-by-{sub}");
        acme.card(&card, "p1", Some(sub), &[sub]);
        if sub == "ada" {
            acme.can(sub, "DELETE", &format!("pipes/p1/cards/{card}"));
        } else {
            acme.cannot(sub, "DELETE", &format!("pipes/p1/cards/{card}"));
        }
    }
    acme.0.finish();
}

#[test]
fn pfp_15_restricted_view_moves_nothing_and_only_an_admin_changes_anothers_comment() {
    let acme = with_cards();
    for card in ALL {
        acme.cannot("vic", "POST", &format!("pipes/p1/cards/{card}/move"));
    }
    // Comments go with editing, and for read-only with seeing.
    for card in ["own", "given"] {
        acme.can("vic", "POST", &format!("pipes/p1/cards/{card}/comments"));
    }
    acme.cannot("vic", "POST", "pipes/p1/cards/other/comments");
    acme.cannot("vic", "GET", "pipes/p1/cards/other/comments");
    acme.can("rhea", "POST", "pipes/p1/cards/other/comments");
    for (comment, card, creator) in
        [("k1", "own", "rhea"), ("k2", "own", "mo"), ("k3", "own", "vic"), ("k4", "other", "fay")]
    {
        acme.push(&format!("comment/{comment}"), json!({"parent": card, "creator": app(creator)})).is(200);
    }
    for method in ["PUT", "DELETE"] {
        for (sub, comment, passes) in [
            ("rhea", "own/comments/k1", true),
            ("rhea", "own/comments/k2", false),
            ("mo", "own/comments/k2", true),
            ("mo", "own/comments/k1", false),
            // On a card of his own it is still another's.
            ("vic", "own/comments/k1", false),
            ("fay", "other/comments/k4", false),
            ("ada", "own/comments/k1", true),
            ("ada", "own/comments/k3", true),
            ("ada", "other/comments/k4", true),
            // Where the path says another card than it stands at.
            ("ada", "other/comments/k1", false),
        ] {
            if passes {
                acme.can(sub, method, &format!("pipes/p1/cards/{comment}"));
            } else {
                acme.cannot(sub, method, &format!("pipes/p1/cards/{comment}"));
            }
        }
    }
    acme.0.finish();
}

#[test]
fn pfp_17_a_role_in_one_pipe_opens_no_card_of_another_whichever_the_path_names() {
    let acme = with_cards();
    acme.card("there", "p2", Some("vic"), &["vic"]);
    for (sub, _) in IN_P1 {
        for path in ["pipes/p2/cards/there", "pipes/p1/cards/there", "pipes/p2/cards/own", "pipes/p2/cards"] {
            acme.cannot(sub, "GET", path);
        }
        acme.cannot(sub, "DELETE", "pipes/p1/cards/there");
        acme.cannot(sub, "POST", "pipes/p2/cards");
    }
    // Nor does a list that the application mixed up.
    acme.says("GET pipes/p1/cards", &cards_of(&["own", "there"]));
    let reply = acme.answer("vic", "GET", "pipes/p1/cards");
    assert_eq!(reply.text(), cards_of(&["own"]));
    // Who is in both sees it where it is.
    acme.put("pipe/p2", "mo", "read_only").is(200);
    acme.can("mo", "GET", "pipes/p2/cards/there");
    acme.cannot("mo", "GET", "pipes/p1/cards/there");
    acme.cannot("mo", "PUT", "pipes/p2/cards/there");
    // Nothing is gone from where it was by a path that says so.
    acme.push("card/there", json!({"parent": "p1"})).is(200);
    acme.can("ada", "GET", "pipes/p1/cards/there");
    acme.cannot("mo", "GET", "pipes/p2/cards/there");
    acme.0.finish();
}
