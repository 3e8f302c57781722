//! Any document, spelt in any way and cut anywhere.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Spells a document in one of its many ways: spaces anywhere, any character as an escape.
fn spell(value: &Value, dice: &mut impl FnMut(u32) -> u32, out: &mut String) {
    let space = |dice: &mut dyn FnMut(u32) -> u32, out: &mut String| {
        if dice(6) == 0 {
            out.push_str([" ", "\n", "\t\r", "  "][dice(4) as usize]);
        }
    };
    space(dice, out);
    match value {
        Value::String(text) => spell_text(text, dice, out),
        Value::Array(items) => {
            out.push('[');
            for (number, item) in items.iter().enumerate() {
                if number > 0 {
                    out.push(',');
                }
                spell(item, dice, out);
            }
            space(dice, out);
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (number, (name, value)) in members.iter().enumerate() {
                if number > 0 {
                    out.push(',');
                }
                space(dice, out);
                spell_text(name, dice, out);
                space(dice, out);
                out.push(':');
                spell(value, dice, out);
            }
            space(dice, out);
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
    space(dice, out);
}

fn spell_text(text: &str, dice: &mut impl FnMut(u32) -> u32, out: &mut String) {
    out.push('"');
    for char in text.chars() {
        let must = char < ' ' || char == '"' || char == '\\';
        // A marker stays readable, so that it is found wherever it comes out.
        if must || (!char.is_ascii_uppercase() && dice(8) == 0) {
            for unit in char.encode_utf16(&mut [0; 2]) {
                out.push_str(&if dice(2) == 0 { format!("\\u{unit:04x}") } else { format!("\\u{unit:04X}") });
            }
        } else {
            out.push(char);
        }
    }
    out.push('"');
}

fn dice(seed: u64) -> impl FnMut(u32) -> u32 {
    let mut state = seed | 1;
    move |sides| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32 % sides
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        (-1000i32..1000).prop_map(|n| json!(f64::from(n) / 8.0)),
        "[a-z\"\\\\/é😀\u{0}-\u{1f} ]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("(id|cards|data|node|total|[a-z]{0,3})", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// An item, and whether it is seen.
fn any_item() -> impl Strategy<Value = (Value, bool)> {
    let id = prop_oneof![
        4 => "v[a-zé]{0,6}".prop_map(|id| (json!(id), true)),
        4 => "h[a-zé]{0,6}".prop_map(|id| (json!(id), false)),
        1 => (0i64..1000).prop_map(|id| (json!(id * 2), true)),
        1 => (0i64..1000).prop_map(|id| (json!(id * 2 + 1), false)),
        1 => Just((json!(2.5), false)),
        1 => Just((Value::Null, false)),
        1 => Just((json!({ "id": "v1" }), false)),
    ];
    let more = prop::collection::btree_map("[a-z]{1,4}", any_value(), 0..4);
    (id, more, any::<bool>(), 0..20u8).prop_map(|((id, seen), more, nested, odd)| {
        if odd == 0 {
            return (json!(["HIDDEN", id]), false);
        }
        let mut item: serde_json::Map<String, Value> = more.into_iter().collect();
        if !seen {
            item.insert("x".to_owned(), json!("HIDDEN"));
        }
        item.insert(
            "node".to_owned(),
            if nested { json!({ "a": id.clone(), "id": id }) } else { json!({ "id": id }) },
        );
        (Value::Object(item), seen)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn out_comes_the_document_without_what_is_hidden(
        items in prop::collection::vec(any_item(), 0..12),
        kept in any_value(),
        other in any_value(),
        seed in any::<u64>(),
        cuts in prop::collection::vec(1usize..40, 1..20),
        keeps in any::<bool>(),
    ) {
        let whole = |items: Vec<Value>, counted: bool| {
            let mut data = json!({ "cards": items, "kept": kept });
            let mut document = json!({ "zone": 1 });
            if counted {
                data["count"] = json!(["HIDDEN", other]);
                document["total"] = json!({ "HIDDEN": other });
            }
            if !keeps && !counted {
                document = json!({ "zone": 1 });
            }
            document["data"] = data;
            document
        };
        let beside = if keeps { keep(&["/data/kept", "/zone"]) } else { drop(&["/data/count", "/total"]) };
        let shape = shape("/data/cards", "/node/id", &beside);
        let mut text = String::new();
        spell(&whole(items.iter().map(|(item, _)| item.clone()).collect(), true), &mut dice(seed), &mut text);
        let (out, end) = narrow(&shape, text.as_bytes(), &cuts);
        prop_assert_eq!(end, Ok(()), "{}", text);
        prop_assert!(!String::from_utf8_lossy(&out).contains("HIDDEN"));
        let seen = items.iter().filter(|(_, seen)| *seen).map(|(item, _)| item.clone()).collect();
        let read: Value = serde_json::from_slice(&out).unwrap();
        prop_assert_eq!(read, whole(seen, false));
        // However it came.
        prop_assert_eq!(narrow(&shape, text.as_bytes(), &[usize::MAX]).0, &out[..]);
        prop_assert_eq!(narrow(&shape, text.as_bytes(), &[1]).0, &out[..]);
    }

    /// What is broken anywhere either is refused, or is JSON to another reader too; and even then nothing hidden comes out.
    #[test]
    fn what_is_broken_is_never_passed(
        items in prop::collection::vec(any_item(), 0..6),
        seed in any::<u64>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0u8..3, any::<u8>()), 1..4),
        cuts in prop::collection::vec(1usize..40, 1..20),
    ) {
        let shape = shape("", "/node/id", &Beside::default());
        let mut text = String::new();
        spell(&Value::from(items.iter().map(|(item, _)| item.clone()).collect::<Vec<_>>()), &mut dice(seed), &mut text);
        let mut bytes = text.into_bytes();
        for (at, what, byte) in edits {
            let at = at.index(bytes.len());
            let byte = if byte < 128 { b"{}[]\":,\\ux0-.eE tfn"[usize::from(byte) % 19] } else { byte };
            match what {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ if bytes.len() > 1 => { bytes.remove(at); }
                _ => {}
            }
        }
        let (out, end) = narrow(&shape, &bytes, &cuts);
        let theirs = serde_json::from_slice::<Value>(&bytes);
        match (end, theirs) {
            (Ok(()), Ok(_)) => {
                let read: Value = serde_json::from_slice(&out).unwrap();
                for item in read.as_array().unwrap() {
                    let id = &item["node"]["id"];
                    prop_assert!(sees(&id.as_str().map_or_else(|| id.to_string(), str::to_owned)));
                }
            }
            // Numbers beyond a double are numbers all the same.
            (Ok(()), Err(fault)) => prop_assert!(fault.to_string().contains("out of range"), "{fault}"),
            (Err(NarrowFault::Twice | NarrowFault::ListMissing), Ok(_)) | (Err(_), Err(_)) => {}
            (Err(fault), Ok(_)) => prop_assert!(false, "{fault}: {}", String::from_utf8_lossy(&bytes)),
        }
        prop_assert_eq!(narrow(&shape, &bytes, &[usize::MAX]).1, end);
    }
}
