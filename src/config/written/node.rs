//! The text as a tree: scalars, lists and mappings, each with its place.
//!
//! Lives here: parsing under bounds (size, depth, aliases), by the YAML library. Never here: what a key means.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{DuplicateKeyPolicy, Location, MergeKeyPolicy, Options, Spanned};

use super::Place;
use crate::config::fault::{Code, Faults};

/// How deep a configuration may nest.
const DEPTH: usize = 32;

/// One node of the text.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Where it is used: of an alias, the alias.
    pub(super) place: Place,
    /// Where it is written out.
    pub(super) written: Place,
    pub(super) value: Value,
}

/// What a node is. A plain scalar that looks like a number or a truth value keeps its kind; its text is in the source.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

impl Value {
    /// What it is, in words.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Null => "nothing",
            Value::Bool(_) => "a truth value",
            Value::Integer(_) | Value::Float(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

fn options() -> Options {
    let mut options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::Error,
    };
    options.budget = serde_saphyr::budget! {
        max_depth: DEPTH,
        max_nodes: 1_000_000,
        max_events: 2_000_000,
        max_documents: 1,
        max_aliases: 10_000,
        max_anchors: 1_000,
        max_recorded_anchor_events: 100_000,
    };
    options
}

/// Parses a text; where that fails, the fault is noted.
pub(super) fn parse(text: &str, faults: &Faults, byte: impl Fn(usize, usize) -> usize) -> Option<Node> {
    match serde_saphyr::from_str_with_options::<Option<Spanned<Raw>>>(text, options()) {
        Ok(Some(spanned)) => Some(place(spanned)),
        Ok(None) => {
            faults.put(
                Code::Syntax,
                Place::default(),
                "the file holds nothing",
                "start from one of the examples, or from `gateway:`, `listen:`, `upstreams:` and `routes:`",
            );
            None
        }
        Err(error) => {
            let at = error.location().map_or(0, |at| match at.span().byte_offset() {
                Some(offset) => usize::try_from(offset).unwrap_or(0),
                None => byte(small(at.line()), small(at.column())),
            });
            let plain = error.without_snippet();
            let (code, hint) = advice(plain, text, at);
            let message = match code {
                Code::TooMuch => "this nests too deep, or repeats too much, to be read".to_owned(),
                _ => one_line(&plain.to_string()),
            };
            faults.put(code, Place::at(at.min(text.len()), 0), message, hint);
            None
        }
    }
}

fn small(number: u64) -> usize {
    usize::try_from(number).unwrap_or(0)
}

fn advice(error: &serde_saphyr::Error, text: &str, at: usize) -> (Code, &'static str) {
    use serde_saphyr::Error as E;
    let line = text.get(..at.min(text.len())).unwrap_or_default().rsplit('\n').next().unwrap_or_default();
    let rest = text.get(at.min(text.len())..).unwrap_or_default();
    match error {
        // What an alias leads to is told as a fault of the alias.
        E::AliasError { error, .. } => advice(error, text, at),
        E::Budget { .. }
        | E::AliasReplayLimitExceeded { .. }
        | E::AliasExpansionLimitExceeded { .. }
        | E::AliasReplayStackDepthExceeded { .. } => {
            (Code::TooMuch, "use fewer levels, anchors and aliases; a configuration needs none of them")
        }
        E::MultipleDocuments { .. } => (Code::Syntax, "one file holds one configuration; remove the `---`"),
        E::MergeKeyNotAllowed { .. } => (Code::Syntax, "write the keys out; `<<` is not read here"),
        _ if line.contains('\t') || rest.starts_with('\t') || error.to_string().contains(" tab") => {
            (Code::Syntax, "indent with spaces; YAML allows no tabs there")
        }
        _ => {
            (Code::Syntax, "check indentation, colons, brackets and quotes at this place and just before it")
        }
    }
}

/// The library's messages as ours are: one line, lower case at the start, no line numbers.
fn one_line(text: &str) -> String {
    let first = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("this is no YAML");
    let mut words = first;
    if let Some(rest) = words.strip_prefix("error: ") {
        words = rest;
    }
    if words.starts_with("line ")
        && let Some((_, rest)) = words.split_once(": ")
    {
        words = rest;
    }
    let cut = words.find(" at line ").map_or(words, |at| words.get(..at).unwrap_or(words));
    let mut letters = cut.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}

fn place(spanned: Spanned<Raw>) -> Node {
    Node {
        place: Place::of(&spanned.referenced),
        written: Place::of(&spanned.defined),
        value: spanned.value.0,
    }
}

impl Place {
    fn of(location: &Location) -> Self {
        let span = location.span();
        let (start, len) = (span.byte_offset().unwrap_or(0), span.byte_len().unwrap_or(0));
        Self::at(small(start), small(len))
    }
}

struct Raw(Value);

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw(Value::Integer(value.into())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw(Value::Integer(value.into())))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw(Value::Integer(value)))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw(i128::try_from(value).map_or(Value::Float(f64::INFINITY), Value::Integer)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw(Value::Float(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw(Value::Text(value.to_owned())))
    }

    fn visit_string<E>(self, value: String) -> Result<Raw, E> {
        Ok(Raw(Value::Text(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Raw, A::Error> {
        let mut nodes = Vec::new();
        while let Some(element) = list.next_element::<Spanned<Raw>>()? {
            nodes.push(place(element));
        }
        Ok(Raw(Value::List(nodes)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<Raw>>()? {
            let key = place(key);
            let mut value = place(map.next_value::<Spanned<Raw>>()?);
            // A value that is not there has no place to point at.
            if matches!(value.value, Value::Null) && value.place.is_empty() {
                value.place = key.place;
            }
            entries.push((key, value));
        }
        Ok(Raw(Value::Map(entries)))
    }
}
