//! A document as a tree, from YAML or JSON, under bounds: size, depth, aliases, no key twice.
//!
//! Never here: what a key means.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{DuplicateKeyPolicy, MergeKeyPolicy};

/// The largest document, in bytes.
pub(super) const MAX_DOCUMENT: usize = 16 << 20;
/// How deep a document may nest. Schemas nest deep; nothing that is read here does.
const DEPTH: usize = 100;

/// One node. Numbers are kept as they print, since here they are names alone (`200:`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tree {
    Null,
    Bool(bool),
    Text(String),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

impl Tree {
    /// Reads a document; the first fault in words, with its place as far as the parser knows it.
    pub(super) fn parse(bytes: &[u8]) -> Result<Tree, String> {
        let text = std::str::from_utf8(bytes).map_err(|fault| {
            format!("byte {} is no UTF-8; save the document as UTF-8", fault.valid_up_to() + 1)
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.trim_start().starts_with(['{', '[']) {
            return serde_json::from_str(text)
                .map_err(|fault| format!("it is no JSON that is read here: {fault}"));
        }
        let mut options = serde_saphyr::options! {
            duplicate_keys: DuplicateKeyPolicy::PassThrough,
            merge_keys: MergeKeyPolicy::Error,
        };
        options.budget = serde_saphyr::budget! {
            max_depth: DEPTH,
            max_nodes: 2_000_000,
            max_events: 4_000_000,
            max_documents: 1,
            max_aliases: 10_000,
            max_anchors: 1_000,
            max_recorded_anchor_events: 100_000,
        };
        serde_saphyr::from_str_with_options(text, options).map_err(|fault| {
            let at = fault.location().map(|at| format!("line {}, column {}: ", at.line(), at.column()));
            let told = fault.without_snippet().to_string();
            let line = told.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
            format!("it is no YAML that is read here: {}{line}", at.unwrap_or_default())
        })
    }

    /// The value of a key, if this is a mapping that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Tree> {
        self.entries().iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// All keys with their values; nothing where this is no mapping.
    pub(super) fn entries(&self) -> &[(String, Tree)] {
        if let Tree::Map(entries) = self { entries } else { &[] }
    }

    /// All elements; nothing where this is no list.
    pub(super) fn items(&self) -> &[Tree] {
        if let Tree::List(items) = self { items } else { &[] }
    }

    /// The text, if this is one.
    pub(super) fn text(&self) -> Option<&str> {
        if let Tree::Text(text) = self { Some(text) } else { None }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a document")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Tree, E> {
        Ok(Tree::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut entries: Vec<(String, Tree)> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        while let Some(key) = map.next_key::<Tree>()? {
            let key = match key {
                Tree::Text(text) => text,
                Tree::Bool(value) => value.to_string(),
                Tree::Null => "null".to_owned(),
                Tree::List(_) | Tree::Map(_) => return Err(A::Error::custom("a key is no text")),
            };
            if !seen.insert(key.clone()) {
                let key: String = key.chars().take(60).flat_map(char::escape_debug).collect();
                return Err(A::Error::custom(format!("the key `{key}` stands twice in one mapping")));
            }
            entries.push((key, map.next_value()?));
        }
        Ok(Tree::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_and_json_read_alike() {
        let yaml = Tree::parse(b"a: [x, 1, true, null]\n200: {b: c}\n").unwrap();
        let json = Tree::parse(b"{\t\"a\": [\"x\", 1, true, null], \"200\": {\"b\": \"c\"}}").unwrap();
        assert_eq!(yaml, json);
        assert_eq!(yaml.get("200").and_then(|map| map.get("b")).and_then(Tree::text), Some("c"));
    }

    #[test]
    fn hostile_documents_are_refused_with_a_reason() {
        let laughs = (1..40).fold("a0: &a0 [x, x]\n".to_owned(), |text, n| {
            format!("{text}a{n}: &a{n} [*a{}, *a{}]\n", n - 1, n - 1)
        });
        let deep = "{\"a\":".repeat(100_000);
        let deep_yaml = "a: ".to_owned() + &"[".repeat(100_000);
        for (text, word) in [
            ("a: 1\na: 2\n", "stands twice"),
            ("{\"a\": 1, \"a\": 2}", "stands twice"),
            ("{\"a\": {\"b\": 1, \"b\": {}}}", "stands twice"),
            (&laughs, "no YAML"),
            (&deep, "no JSON"),
            (&deep_yaml, "no YAML"),
            ("a: {<<: *x}", "no YAML"),
            ("a: 1\n---\nb: 2\n", "no YAML"),
            ("? [a]\n: b\n", "no text"),
            ("{", "no JSON"),
        ] {
            let fault = Tree::parse(text.as_bytes()).unwrap_err();
            assert!(fault.contains(word) && !fault.contains('\n'), "{fault}");
        }
        assert!(Tree::parse(b"a: \xff").unwrap_err().contains("byte 4"));
    }
}
