//! Where keys and passwords may stand in a text that could be read.
//!
//! Never here: what is done about them (see [`crate::config::veil`]).

use super::{
    Place,
    node::{Node, Value},
};
use crate::config::veil::Veil;

/// Names whose values are about keys.
const ABOUT_KEYS: &[&str] = &["key", "keys", "inline", "secret"];
/// Names that belong into such a value.
const KNOWN: &[&str] = &["file", "env", "inline", "keys"];

/// Walks the tree, and says what of its text is never shown.
pub(super) fn veil(root: &Node) -> Veil {
    let mut veil = Veil::default();
    let mut aliases = Vec::new();
    walk(root, false, &mut veil, &mut aliases);
    let leading = aliases.into_iter().filter(|(_, to)| veil.blots.contains(to)).map(|(from, _)| from);
    veil.silent.extend(leading.collect::<Vec<_>>());
    veil
}

fn walk(node: &Node, about_key: bool, veil: &mut Veil, aliases: &mut Vec<(Place, Place)>) {
    if node.place != node.written {
        aliases.push((node.place, node.written));
    }
    if about_key {
        // The place of a mapping is where it begins, so each part has its own.
        veil.silent.extend([node.place, node.written]);
    }
    match &node.value {
        Value::Map(entries) => {
            for (key, value) in entries {
                let name = if let Value::Text(name) = &key.value { name.as_str() } else { "" };
                if about_key && !KNOWN.contains(&name) {
                    walk(key, true, veil, aliases);
                }
                let starts = ABOUT_KEYS.contains(&name);
                let password =
                    name == "url" && matches!(&value.value, Value::Text(text) if text.contains('@'));
                if about_key && names_a_place(name, &value.value) {
                    continue;
                }
                walk(value, about_key || starts || password, veil, aliases);
            }
        }
        Value::List(items) => {
            for item in items {
                walk(item, about_key, veil, aliases);
            }
        }
        // Nothing is no secret; and what it would blot out is the word beside it.
        Value::Null => {}
        Value::Bool(_) | Value::Integer(_) | Value::Float(_) | Value::Text(_) => {
            if about_key {
                veil.blots.extend([node.place, node.written]);
            }
        }
    }
}

/// Whether this is plainly the name of a file or variable: it helps to see it, and no key looks like that.
fn names_a_place(name: &str, value: &Value) -> bool {
    let Value::Text(text) = value else { return false };
    match name {
        "file" => {
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'/');
            let ends = [".key", ".pem", ".json", ".jwks", ".pub", ".secret", ".txt"];
            text.bytes().all(plain) && ends.iter().any(|end| text.ends_with(end))
        }
        "env" => {
            text.contains('_')
                && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        }
        _ => false,
    }
}
