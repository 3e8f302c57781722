//! Texts that are no honest mistakes: too large, too deep, repeating themselves, or no text at all.

use std::{path::Path, time::Duration};

use proptest::prelude::*;

use super::{BASE, files, load};
use postern::config::{self, Code, ConfigFaults};

fn codes(faults: &ConfigFaults) -> Vec<Code> {
    faults.faults().iter().map(|fault| fault.code).collect()
}

fn refused(text: &str) -> ConfigFaults {
    load(text).map(|_| ()).expect_err("must be refused")
}

#[test]
fn a_file_that_is_too_large_is_refused_before_it_is_read() {
    let text = format!("{BASE}\n# {}", "x".repeat(config::MAX_FILE));
    assert_eq!(codes(&refused(&text)), [Code::Unreadable]);
    let mut sources = files();
    sources.insert("/big.yaml".into(), text.into_bytes());
    let faults = config::load(Path::new("/big.yaml"), &sources).map(|_| ()).unwrap_err();
    assert!(faults.to_string().contains("larger than 8388608 bytes"), "{faults}");
    let faults = config::load(Path::new("/none.yaml"), &sources).map(|_| ()).unwrap_err();
    assert!(faults.to_string().contains("no such file"), "{faults}");
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..9 {
        let refs = vec![format!("*a{}", i - 1); 10].join(", ");
        text.push_str(&format!("a{i}: &a{i} [{refs}]\n"));
    }
    assert_eq!(codes(&refused(&text)), [Code::TooMuch]);
}

#[test]
fn deep_nesting_is_refused_without_overflowing_the_stack() {
    for (open, close) in [("[", "]"), ("{a: ", "}")] {
        for depth in [40, 10_000] {
            let text = format!("gateway: {}x{}", open.repeat(depth), close.repeat(depth));
            let found = codes(&refused(&text));
            assert!(matches!(found[..], [Code::TooMuch | Code::Syntax]), "{found:?}");
        }
    }
    let block: String = (0..2_000).map(|i| format!("{}a:\n", " ".repeat(i))).collect();
    assert!(!codes(&refused(&block)).is_empty());
}

#[test]
fn a_byte_that_is_no_utf8_is_named_with_its_place() {
    let faults = config::load_bytes(Path::new("/c.yaml"), b"gateway: main\nlisten: \xff\n", &files())
        .map(|_| ())
        .unwrap_err();
    let fault = &faults.faults()[0];
    assert_eq!((fault.code, fault.line, fault.column), (Code::NotUtf8, 2, 9));
}

#[test]
fn nothing_and_several_documents_are_no_configuration() {
    for text in ["", "\n\n", "# only a comment\n", "---\n...\n", "null", "~"] {
        let faults = refused(text);
        assert!(!faults.faults().is_empty(), "{text:?}");
    }
    assert!(!codes(&refused(&format!("{BASE}\n---\n{BASE}"))).is_empty());
    for text in ["[]", "x", "1", "- gateway: main"] {
        assert_eq!(codes(&refused(text)), [Code::WrongType], "{text:?}");
    }
}

#[test]
fn a_byte_order_mark_does_not_move_columns() {
    let (settings, _) = load(&format!("\u{feff}{BASE}")).unwrap();
    assert_eq!(settings.gateway, "main");
    let fault = refused("\u{feff}gatewy: main").faults()[0].clone();
    assert_eq!((fault.code, fault.line, fault.column), (Code::UnknownKey, 1, 1));
}

#[test]
fn no_secret_is_ever_printed() {
    let (settings, _) = load(BASE).unwrap();
    let printed = format!("{settings:?}");
    assert!(!printed.contains("ledger-key") && !printed.contains("assertion-key"), "{printed}");
    assert_eq!(settings.ledger.key.expose(), b"ledger-key");
}

#[test]
fn a_private_key_in_the_file_is_named_and_not_shown() {
    let inline = "{ inline: { keys: [ { kty: EC, crv: P-256, x: a, y: b, d: TOPSECRET } ] } }";
    let faults = refused(&BASE.replace("{ file: vendor.jwks.json }", inline));
    assert_eq!(codes(&faults), [Code::PrivateKey]);
    let drawn = config::render(&faults, config::Look { fancy: true, width: 100 });
    for told in [faults.to_string(), drawn] {
        assert!(told.contains("postern.yaml:16:21") && !told.contains("TOPSECRET"), "{told}");
    }
}

#[test]
fn a_key_in_the_wrong_place_is_never_shown() {
    const SECRET: &str = "TOPSECRETx0";
    let key = "key: { file: ledger.key }";
    let pem = "-----BEGIN PRIVATE KEY-----\n        TOPSECRETx0\n        -----END PRIVATE KEY-----\n";
    let block = format!("key:\n      file: |\n        {pem}    ");
    let ledger = |key: &str| {
        let flow = "ledger: { path: ledger, origin: example.com/postern/main, key: { file: ledger.key } }";
        BASE.replace(
            flow,
            &format!("ledger:\n    path: ledger\n    origin: example.com/postern/main\n    {key}"),
        )
    };
    let texts = [
        BASE.replace(key, "key: PRIVATE+KEY+example+00+TOPSECRETx0"),
        BASE.replace(key, "key: TOPSECRETx0"),
        BASE.replace(key, "key: { TOPSECRETx0 }"),
        BASE.replace(key, "key: { TOPSECRETx0: 1, file: ledger.key }"),
        BASE.replace(key, "key: { file: TOPSECRETx0 }"),
        BASE.replace(key, "key: { env: TOPSECRETx0 }"),
        BASE.replace(key, "key: { env: [TOPSECRETx0] }"),
        BASE.replace(key, "kye: { file: PRIVATE+KEY+example+00+TOPSECRETx0 }"),
        BASE.replace(key, "key: { file: &k TOPSECRETx0 }, segment: *k"),
        ledger(&block),
        // A neighbour's fault draws the line with the key too.
        ledger(&block).replace("identity_headers: [X-User]", "identity_headers: [1]"),
        BASE.replace(key, "key: { file: TOPSECRETx0 }").replace("state: { path: state.redb }", "state: {}"),
        // No YAML: nothing is known of keys.
        ledger(&block).replace("identity_headers: [X-User]", "identity_headers: [X-User"),
        ledger("key: { file: PRIVATE+KEY+example+00+TOPSECRETx0").replace("assertion:", "\tassertion:"),
        BASE.replace("\"http://127.0.0.1:8000\"", "\"http://svc:TOPSECRETx0@127.0.0.1:8000\""),
        BASE.replace("\"http://127.0.0.1:8000\"", "\"https://svc:TOPSECRETx0@127.0.0.1:8000/x\""),
        BASE.replace("\"http://127.0.0.1:8000\"", "\"svc:TOPSECRETx0@127.0.0.1:8000\""),
        BASE.replace("\"http://127.0.0.1:8000\"", "\"http://svc:TOPSECRETx0@127.0.0.1:8000\", idle: x"),
    ];
    for text in texts {
        assert!(text.contains(SECRET), "{text}");
        let faults = refused(&text);
        let drawn = config::render(&faults, config::Look { fancy: false, width: 200 });
        for told in [faults.to_string(), format!("{:?}", faults.faults()), drawn] {
            assert!(!told.contains("TOPSECRET"), "{told}");
        }
    }
}

#[test]
fn aliases_are_read_and_blamed_where_they_are_used() {
    let text = BASE
        .replace("public: true", "public: &yes true")
        .replace("limits:", "  - { route: \"GET /more\", public: *yes }\nlimits:");
    assert_eq!(load(&text).unwrap().0.routes.len(), 5);
    let text = BASE.replace("last: 8h", "last: &term 8").replace("longest: 180d", "longest: *term");
    let places: Vec<_> = refused(&text).faults().iter().map(|f| (f.line, f.column)).collect();
    assert_eq!(places, [(40, 25), (41, 20)]);
}

#[test]
fn ten_thousand_routes_load_in_reasonable_time() {
    let mut text = BASE.to_owned();
    let (head, tail) = BASE.split_once("limits:").unwrap();
    text.clear();
    text.push_str(head);
    for i in 0..10_000 {
        text.push_str(&format!(
            "  - {{ route: \"GET /t/{{tenant}}/things{}/{{id}}/part{}\", permission: orders:read }}\n",
            i / 100,
            i % 100
        ));
    }
    text.push_str("limits:");
    text.push_str(tail);
    #[expect(clippy::disallowed_methods, reason = "a test that measures")]
    let start = std::time::Instant::now();
    let (settings, _) = load(&text).map_err(|faults| faults.to_string()).unwrap();
    let took = start.elapsed();
    println!("10,004 routes, {} bytes: {took:?}", text.len());
    assert_eq!(settings.routes.len(), 10_004);
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn thousands_of_faults_are_counted_and_not_all_told() {
    let text: String = (0..5_000).map(|i| format!("key{i}: 1\n")).collect();
    let faults = refused(&text);
    assert_eq!(faults.faults().len(), config::MOST_FAULTS);
    assert!(faults.more() > 4_000);
    assert!(faults.to_string().ends_with("more"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_text_panics(text in "\\PC{0,200}|[ \\-:{}\\[\\]\"'&*!|>%@`,#?\\n\\ta-c]{0,200}") {
        let told = load(&text).map(|_| ()).map_err(|faults| {
            let look = config::Look { fancy: true, width: 80 };
            (faults.to_string(), config::render(&faults, look))
        });
        prop_assert!(told.is_err());
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let faults = config::load_bytes(Path::new("c.yaml"), &bytes, &files()).map(|_| ()).unwrap_err();
        let drawn = config::render(&faults, config::Look { fancy: false, width: 40 });
        prop_assert!(!drawn.is_empty());
    }

    #[test]
    fn no_damage_to_a_good_file_panics(
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), 0usize..12, "\\PC{0,6}|[ \\n\\t:{}\\[\\]\"'*&-]{0,4}"), 1..4)
    ) {
        let mut text: Vec<char> = BASE.chars().collect();
        for (at, len, new) in cuts {
            let at = at.index(text.len());
            let end = (at + len).min(text.len());
            text.splice(at..end, new.chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(faults) = load(&text) {
            for fault in faults.faults() {
                let lines = text.lines().count() + 1;
                prop_assert!(fault.line <= lines, "{}", fault);
                prop_assert!(!fault.hint.is_empty());
            }
            let drawn = config::render(&faults, config::Look { fancy: true, width: 100 });
            prop_assert!(!drawn.is_empty());
        }
    }
}
