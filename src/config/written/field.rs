//! The building blocks of the mirror: values that know their place, and collections that survive a broken element.
//!
//! Never here: a key of the file.

use std::{borrow::Cow, fmt, marker::PhantomData};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// Where something stands in the text, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    start: u32,
    len: u32,
}

/// Nowhere in the text.
impl Default for Place {
    fn default() -> Self {
        Self { start: 0, len: u32::MAX }
    }
}

impl Place {
    /// A place of so many bytes. Files are bounded far below what fits here.
    pub(in crate::config) fn at(start: usize, len: usize) -> Self {
        let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX - 1);
        Self { start: small(start), len: small(len) }
    }

    /// A part of this place.
    pub(in crate::config) fn within(self, start: usize, len: usize) -> Self {
        if self.is_nowhere() { self } else { Self::at(self.start() + start, len) }
    }

    pub(in crate::config) fn start(self) -> usize {
        usize::try_from(self.start).unwrap_or(0)
    }

    pub(in crate::config) fn end(self) -> usize {
        if self.is_nowhere() { 0 } else { self.start() + usize::try_from(self.len).unwrap_or(0) }
    }

    pub(in crate::config) fn len(self) -> usize {
        self.end().saturating_sub(self.start())
    }

    pub(super) fn is_empty(self) -> bool {
        self.len == 0
    }

    pub(in crate::config) fn is_nowhere(self) -> bool {
        self.len == u32::MAX
    }

    pub(super) fn packed(self) -> u64 {
        u64::from(self.start) << 32 | u64::from(self.len)
    }

    fn unpacked(packed: u64) -> Self {
        let low = |n: u64| u32::try_from(n & u64::from(u32::MAX)).unwrap_or(0);
        Self { start: low(packed >> 32), len: low(packed) }
    }
}

/// How the decoder knows that a place is asked for.
pub(super) const AT: &str = "$at";
/// How the decoder knows that a number will do where a text is read.
pub(super) const UNIT: &str = "$unit";
/// How the decoder knows that a list may stand for a mapping whose first key has that list.
pub(super) const FIRST: &str = "$first";
/// How the decoder knows that one may stand for a list of one.
pub(super) const MANY: &str = "$many";

/// How the decoder knows that a word may stand for a mapping.
pub(super) const WORD: &str = "$word";
/// How the decoder knows that a truth value may stand for something else.
pub(super) const FLAG: &str = "$flag";

/// A value and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub place: Place,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for V<T> {
            type Value = At<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<At<T>, A::Error> {
                let place = Place::unpacked(parts.next_element()?.unwrap_or_default());
                let missing = || serde::de::Error::custom("the value is missing");
                let value = parts.next_element()?.ok_or_else(missing)?;
                Ok(At { value, place })
            }
        }
        deserializer.deserialize_newtype_struct(AT, V(PhantomData))
    }
}

/// A key of a mapping, given or not. A broken one was told when it was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Field<T> {
    /// The key is not there.
    #[default]
    Absent,
    /// The key is there, its value cannot be used, and that is told.
    Broken,
    /// The key is there.
    Given(At<T>),
}

impl<T> Field<T> {
    /// The value with its place, if there is a good one.
    pub fn given(&self) -> Option<&At<T>> {
        match self {
            Field::Given(at) => Some(at),
            Field::Absent | Field::Broken => None,
        }
    }

    /// The value, if there is a good one.
    pub fn value(&self) -> Option<&T> {
        self.given().map(|at| &at.value)
    }

    /// Whether the key is not there at all.
    pub fn is_absent(&self) -> bool {
        matches!(self, Field::Absent)
    }

    /// Whether the key is there with a value that cannot be used.
    pub fn is_broken(&self) -> bool {
        matches!(self, Field::Broken)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // What is wrong was told where it stands.
        Ok(At::deserialize(deserializer).map_or(Field::Broken, Field::Given))
    }
}

/// A list; broken elements were told when they were read and are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List<T> {
    /// The good elements.
    pub items: Vec<At<T>>,
    /// Whether an element was left out.
    pub broken: bool,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { items: Vec::new(), broken: false }
    }
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
    type Value = List<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<List<T>, A::Error> {
        let mut read = List::default();
        while let Some(element) = list.next_element::<Field<T>>()? {
            match element {
                Field::Given(at) => read.items.push(at),
                Field::Absent | Field::Broken => read.broken = true,
            }
        }
        Ok(read)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListVisitor(PhantomData))
    }
}

/// A list, for which a single element may stand alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneOrMany<T>(pub List<T>);

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self(List::default())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(MANY, ListVisitor(PhantomData)).map(OneOrMany)
    }
}

/// A mapping, for which the list of its first key may stand alone. `T` has to call itself `FIRST`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FirstOrAll<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for FirstOrAll<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(FirstOrAll)
    }
}

/// A mapping from free names to values, in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table<T> {
    /// The good entries.
    pub entries: Vec<(At<String>, At<T>)>,
    /// The names of entries whose values were left out.
    pub broken: Vec<String>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), broken: Vec::new() }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Table<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for V<T> {
            type Value = Table<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Table<T>, A::Error> {
                let mut read = Table::default();
                while let Some(key) = map.next_key::<Field<String>>()? {
                    let Field::Given(key) = key else {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    };
                    match map.next_value::<Field<T>>()? {
                        Field::Given(value) => read.entries.push((key, value)),
                        Field::Absent | Field::Broken => read.broken.push(key.value),
                    }
                }
                Ok(read)
            }
        }
        deserializer.deserialize_map(V(PhantomData))
    }
}

// The schema sees through the blocks.

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }
}

impl<T: JsonSchema> JsonSchema for Field<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }
}

impl<T: JsonSchema> JsonSchema for List<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("ListOf{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let items = generator.subschema_for::<T>();
        json_schema!({ "type": "array", "items": items })
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}

impl<T: JsonSchema> JsonSchema for FirstOrAll<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("FirstOrAll{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let all = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [{ "type": "array", "items": { "type": "string" } }, all] })
    }
}

impl<T: JsonSchema> JsonSchema for Table<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("TableOf{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let values = generator.subschema_for::<T>();
        json_schema!({ "type": "object", "additionalProperties": values })
    }
}
