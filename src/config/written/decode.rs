//! From the tree to the mirror types: a serde deserializer that goes on after a fault.
//!
//! Each unknown key, wrong type and broken value is noted with its place where it is met, and [`super::Field`],
//! [`super::List`] and [`super::Table`] carry on behind it. So one run tells all of them. An error value of this
//! deserializer therefore means "already told", save for what a type says about its own text: that is told one step
//! further out, in [`Decoder::told`].
//!
//! Never here: what a value means beside others.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserializer,
    de::{self, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor, value::StrDeserializer},
    forward_to_deserialize_any,
};

use super::{
    AT, FIRST, FLAG, MANY, Place, UNIT, WORD,
    node::{Node, Value},
};
use crate::config::{
    fault::{Code, Faults},
    suggest,
};

/// Something went wrong and either is told already, or says what.
#[derive(Debug)]
pub(super) enum Stop {
    Told,
    Say { code: Code, message: String, hint: String },
}

impl std::error::Error for Stop {}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::Told => f.write_str("told"),
            Stop::Say { message, .. } => f.write_str(message),
        }
    }
}

impl de::Error for Stop {
    /// Types that check their own text separate what is wrong from what to do by a semicolon.
    fn custom<T: fmt::Display>(message: T) -> Self {
        let text = message.to_string();
        let (message, hint) = text.split_once("; ").unwrap_or((&text, "correct the value"));
        Stop::Say { code: Code::BadValue, message: message.to_owned(), hint: hint.to_owned() }
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Stop::Say {
            code: Code::UnknownWord,
            message: format!("`{variant}` is not understood here"),
            hint: suggest::hint(variant, expected.iter().copied(), "words"),
        }
    }
}

/// One node, and where to tell faults.
#[derive(Clone, Copy)]
pub(super) struct Decoder<'a> {
    pub(super) node: &'a Node,
    pub(super) text: &'a str,
    pub(super) faults: &'a Faults,
    /// Whether this is the key of a mapping: there, words that YAML may take for truth values are names.
    pub(super) of_key: bool,
}

impl<'a> Decoder<'a> {
    fn on(self, node: &'a Node) -> Self {
        Self { node, of_key: false, ..self }
    }

    fn on_key(self, node: &'a Node) -> Self {
        Self { node, of_key: true, ..self }
    }

    fn told<T>(self, result: Result<T, Stop>) -> Result<T, Stop> {
        match result {
            Err(Stop::Say { code, message, hint }) => {
                self.faults.put(code, self.node.place, message, hint);
                Err(Stop::Told)
            }
            other => other,
        }
    }

    fn tell<T>(self, code: Code, message: String, hint: &str) -> Result<T, Stop> {
        self.faults.put(code, self.node.place, message, hint);
        Err(Stop::Told)
    }

    /// A scalar as it stands in the text.
    fn raw(self) -> &'a str {
        self.text.get(self.node.written.start()..self.node.written.end()).unwrap_or_default().trim()
    }

    fn wanted<T>(self, what: &str) -> Result<T, Stop> {
        match &self.node.value {
            Value::Null => self.tell(
                Code::EmptyValue,
                format!("there is nothing here, {what} is wanted"),
                "give it a value, or remove the key",
            ),
            Value::Bool(_) | Value::Integer(_) | Value::Float(_) if what == "a text" => {
                let raw: String = self.raw().chars().take(60).collect();
                self.tell(
                    Code::WrongType,
                    format!("`{raw}` is {} to YAML, {what} is wanted", self.node.value.kind()),
                    "put it in quotes",
                )
            }
            other => self.tell(
                Code::WrongType,
                format!("this is {}, {what} is wanted", other.kind()),
                "write what the key takes; the schema and the examples show it",
            ),
        }
    }

    fn str(self) -> Result<&'a str, Stop> {
        match &self.node.value {
            Value::Text(text) => Ok(text),
            // `y` is the name of a coordinate, for one.
            Value::Bool(_) if self.of_key && !matches!(self.raw(), "true" | "false") => Ok(self.raw()),
            _ => self.wanted("a text"),
        }
    }

    /// The entries of a mapping by their keys; keys that are no text, and second ones, are told and left out.
    fn entries(self, map: &'a [(Node, Node)]) -> Vec<(&'a str, &'a Node, &'a Node)> {
        let mut seen: BTreeMap<&str, Place> = BTreeMap::new();
        let mut entries = Vec::with_capacity(map.len());
        for (key, value) in map {
            let Ok(name) = self.on_key(key).str() else { continue };
            if seen.insert(name, key.place).is_some() {
                self.faults.put(
                    Code::DuplicateKey,
                    key.place,
                    format!("the key `{name}` stands here for the second time"),
                    "keep one of them",
                );
            } else {
                entries.push((name, key, value));
            }
        }
        entries
    }

    /// The entries that a struct knows. An unknown key that is nearly a known one that is missing is told, and then
    /// taken for it, so that the slip is not told a second time as something missing.
    fn known(self, map: &'a [(Node, Node)], fields: &'static [&'static str]) -> Vec<Entry<'a>> {
        let entries = self.entries(map);
        let mut known: Vec<Entry<'a>> = Vec::with_capacity(entries.len());
        let mut strange = Vec::new();
        for (name, key, value) in entries {
            match fields.iter().find(|field| **field == name) {
                Some(field) => known.push(Entry { name: field, key, value }),
                None => strange.push((name, key, value)),
            }
        }
        for (name, key, value) in strange {
            let open =
                fields.iter().filter(|field| !known.iter().any(|entry| entry.name == **field)).copied();
            let meant = suggest::nearest(name, open);
            let hint = suggest::hint(name, fields.iter().copied(), "keys here");
            self.faults.put(
                Code::UnknownKey,
                key.place,
                format!("`{name}` is no key that is known here"),
                hint,
            );
            if let Some(field) = meant.and_then(|meant| fields.iter().find(|field| **field == meant)) {
                known.push(Entry { name: field, key, value });
            }
        }
        known
    }
}

/// One key and value of a mapping.
struct Entry<'a> {
    name: &'a str,
    key: &'a Node,
    value: &'a Node,
}

impl<'de, 'a: 'de> Deserializer<'de> for Decoder<'a> {
    type Error = Stop;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let result = match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Integer(value) => match i64::try_from(*value) {
                Ok(small) => visitor.visit_i64(small),
                Err(_) => visitor.visit_f64(*value as f64),
            },
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::List(_) => return self.deserialize_seq(visitor),
            Value::Map(_) => return self.deserialize_map(visitor),
        };
        self.told(result)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        match &self.node.value {
            // YAML has many words for it; here there are two.
            Value::Bool(value) if matches!(self.raw(), "true" | "false") => {
                self.told(visitor.visit_bool(*value))
            }
            _ => self.tell(
                Code::WrongType,
                format!("this is {}, `true` or `false` is wanted", self.node.value.kind()),
                "write `true` or `false`, without quotes",
            ),
        }
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        match &self.node.value {
            Value::Integer(value) => match u64::try_from(*value) {
                Ok(value) => self.told(visitor.visit_u64(value)),
                Err(_) => self.tell(
                    Code::OutOfRange,
                    format!("`{value}` is out of bounds"),
                    "write a whole number from 0 on",
                ),
            },
            _ => self.wanted("a whole number"),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let text = self.str()?;
        self.told(visitor.visit_borrowed_str(text))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_str(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        match name {
            AT => {
                let result = visitor.visit_seq(WithPlace { decoder: self, step: 0 });
                self.told(result)
            }
            // Whoever forgets the unit is told about units, not about quotes.
            UNIT => match &self.node.value {
                Value::Integer(_) | Value::Float(_) => self.told(visitor.visit_borrowed_str(self.raw())),
                _ => self.deserialize_str(visitor),
            },
            MANY => match &self.node.value {
                Value::List(_) => self.deserialize_seq(visitor),
                _ => {
                    let one = std::slice::from_ref(self.node);
                    visitor.visit_seq(Elements { decoder: self, nodes: one.iter() })
                }
            },
            WORD => match &self.node.value {
                Value::Text(word) => self.told(visitor.visit_borrowed_str(word)),
                _ => self.told(visitor.visit_newtype_struct(self)),
            },
            FLAG => match &self.node.value {
                Value::Bool(_) => self.deserialize_bool(visitor),
                _ => self.told(visitor.visit_newtype_struct(self)),
            },
            _ => self.told(visitor.visit_newtype_struct(self)),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        match &self.node.value {
            Value::List(nodes) => {
                let result = visitor.visit_seq(Elements { decoder: self, nodes: nodes.iter() });
                self.told(result)
            }
            _ => self.wanted("a list"),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        match &self.node.value {
            Value::Map(map) => {
                let entries = self
                    .entries(map)
                    .into_iter()
                    .map(|(name, key, value)| Entry { name, key, value })
                    .collect::<Vec<_>>();
                let result = visitor.visit_map(Entries::new(self, entries, false));
                self.told(result)
            }
            _ => self.wanted("a mapping"),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        match &self.node.value {
            Value::Map(map) => {
                let entries = self.known(map, fields);
                let result = visitor.visit_map(Entries::new(self, entries, true));
                self.told(result)
            }
            Value::List(_) if name == FIRST => {
                let first = fields.iter().take(1);
                let entries = first.map(|name| Entry { name, key: self.node, value: self.node }).collect();
                let result = visitor.visit_map(Entries::new(self, entries, true));
                self.told(result)
            }
            _ => self.wanted("a mapping"),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        let text: StrDeserializer<'_, Stop> = self.str()?.into_deserializer();
        self.told(visitor.visit_enum(text))
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u128 f32 f64 char bytes byte_buf option unit unit_struct tuple
        tuple_struct identifier ignored_any
    }
}

/// A value behind its place.
struct WithPlace<'a> {
    decoder: Decoder<'a>,
    step: u8,
}

impl<'de, 'a: 'de> SeqAccess<'de> for WithPlace<'a> {
    type Error = Stop;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Stop> {
        self.step += 1;
        match self.step {
            1 => seed.deserialize(self.decoder.node.place.packed().into_deserializer()).map(Some),
            2 => self.decoder.told(seed.deserialize(self.decoder)).map(Some),
            _ => Ok(None),
        }
    }
}

struct Elements<'a> {
    decoder: Decoder<'a>,
    nodes: std::slice::Iter<'a, Node>,
}

impl<'de, 'a: 'de> SeqAccess<'de> for Elements<'a> {
    type Error = Stop;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Stop> {
        let Some(node) = self.nodes.next() else { return Ok(None) };
        let decoder = self.decoder.on(node);
        decoder.told(seed.deserialize(decoder)).map(Some)
    }
}

struct Entries<'a> {
    decoder: Decoder<'a>,
    entries: std::vec::IntoIter<Entry<'a>>,
    value: Option<&'a Node>,
    of_struct: bool,
}

impl<'a> Entries<'a> {
    fn new(decoder: Decoder<'a>, entries: Vec<Entry<'a>>, of_struct: bool) -> Self {
        Self { decoder, entries: entries.into_iter(), value: None, of_struct }
    }
}

impl<'de, 'a: 'de> MapAccess<'de> for Entries<'a> {
    type Error = Stop;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Stop> {
        let Some(entry) = self.entries.next() else { return Ok(None) };
        self.value = Some(entry.value);
        if self.of_struct {
            let name: StrDeserializer<'_, Stop> = entry.name.into_deserializer();
            return seed.deserialize(name).map(Some);
        }
        let decoder = self.decoder.on_key(entry.key);
        decoder.told(seed.deserialize(decoder)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Stop> {
        let Some(node) = self.value.take() else { return Err(Stop::Told) };
        let decoder = self.decoder.on(node);
        decoder.told(seed.deserialize(decoder))
    }
}
