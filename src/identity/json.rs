//! JSON that can be read in one way only: no duplicate members at any depth, nesting bounded.
//!
//! Lives here: the small tree that headers, claims and keys are read into, and paths into it. Never here: what a member
//! means. (`serde_json::Value` lets the last of two equal members win, so it is never used for what a stranger sent;
//! the support API reads its bodies with it too.)

use std::{cell::Cell, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Why a text is no JSON that can be read in one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JsonFault {
    /// Not JSON, or not an object where one is needed.
    Syntax,
    /// A member stands twice in one object.
    Duplicate,
    /// Nested deeper than the bound.
    TooDeep,
}

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Json>),
    Object(Object),
}

/// The members of an object, each name once, in the order of the text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Object(Vec<(String, Json)>);

impl Object {
    /// Reads one object and nothing else; `depth` counts the objects and lists inside one another, itself included.
    pub(crate) fn read(text: &[u8], depth: u8) -> Result<Self, JsonFault> {
        let why = Cell::new(JsonFault::Syntax);
        let mut reader = serde_json::Deserializer::from_slice(text);
        let value = Seed { depth, why: &why }.deserialize(&mut reader).map_err(|_| why.get())?;
        reader.end().map_err(|_| JsonFault::Syntax)?;
        match value {
            Json::Object(object) => Ok(object),
            _ => Err(JsonFault::Syntax),
        }
    }

    /// The member of that name.
    pub(crate) fn get(&self, name: &str) -> Option<&Json> {
        self.0.iter().find(|(member, _)| member == name).map(|(_, value)| value)
    }

    /// The names of its members.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Whether a member of that name is there, whatever its value.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

impl Json {
    /// The text, where it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// A way to a claim: `realm_access.roles`, or an RFC 6901 pointer where names hold dots (`/https:~1~1a.example~1t`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimPath(Vec<String>);

/// Why a text is no way to a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a claim is named by `a.b.c` or by a JSON pointer `/a/b/c` with `~1` for `/` and `~0` for `~`; no name may be empty"
)]
pub struct ClaimPathFault;

impl ClaimPath {
    /// Reads a dotted path, or a JSON pointer where the text begins with `/`.
    pub fn parse(text: &str) -> Result<Self, ClaimPathFault> {
        let names: Option<Vec<String>> = match text.strip_prefix('/') {
            Some(pointer) => pointer.split('/').map(unescape).collect(),
            None => Some(text.split('.').map(str::to_owned).collect()),
        };
        let names = names.ok_or(ClaimPathFault)?;
        if names.iter().any(String::is_empty) { Err(ClaimPathFault) } else { Ok(Self(names)) }
    }

    /// The value that the path leads to. Lists on the way are not entered.
    pub(super) fn find<'a>(&self, claims: &'a Object) -> Option<&'a Json> {
        let (first, rest) = self.0.split_first()?;
        rest.iter().try_fold(claims.get(first)?, |value, name| match value {
            Json::Object(object) => object.get(name),
            _ => None,
        })
    }
}

fn unescape(name: &str) -> Option<String> {
    let mut out = String::with_capacity(name.len());
    let mut chars = name.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '~' => match chars.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            other => other,
        });
    }
    Some(out)
}

#[derive(Clone, Copy)]
struct Seed<'a> {
    depth: u8,
    why: &'a Cell<JsonFault>,
}

impl Seed<'_> {
    fn inside<E: Error>(self) -> Result<Self, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Self { depth, ..self }),
            None => Err(self.refuse(JsonFault::TooDeep)),
        }
    }

    fn refuse<E: Error>(self, why: JsonFault) -> E {
        self.why.set(why);
        E::custom("refused")
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Integer(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Json, E> {
        // Beyond the range of i64 nothing here has a meaning; the nearest float keeps the magnitude for range checks.
        Ok(i64::try_from(value).map_or(Json::Float(value as f64), Json::Integer))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Json, E> {
        Ok(Json::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
        let inside = self.inside()?;
        let mut out = Vec::new();
        while let Some(value) = list.next_element_seed(inside)? {
            out.push(value);
        }
        Ok(Json::List(out))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let inside = self.inside()?;
        let mut out: Vec<(String, Json)> = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value_seed(inside)?;
            out.push((name, value));
        }
        if has_duplicate(&out) {
            Err(self.refuse(JsonFault::Duplicate))
        } else {
            Ok(Json::Object(Object(out)))
        }
    }
}

/// Sorting keeps an object of very many members from costing a square of them.
fn has_duplicate(members: &[(String, Json)]) -> bool {
    let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.iter().zip(names.iter().skip(1)).any(|(a, b)| a == b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_stands_twice_is_refused_at_any_depth_and_in_any_spelling() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"x":{"a":1,"b":2,"a":3}}"#,
            r#"{"x":[[{"":1,"":2}]]}"#,
        ] {
            assert_eq!(Object::read(text.as_bytes(), 8), Err(JsonFault::Duplicate), "{text}");
        }
        assert!(Object::read(br#"{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}"#, 8).is_ok());
    }

    #[test]
    fn depth_is_bounded_exactly() {
        assert!(Object::read(br#"{"a":[[1]]}"#, 3).is_ok());
        assert_eq!(Object::read(br#"{"a":[[1]]}"#, 2), Err(JsonFault::TooDeep));
        let bomb = format!("{}1{}", "{\"a\":".repeat(4000), "}".repeat(4000));
        assert_eq!(Object::read(bomb.as_bytes(), 16), Err(JsonFault::TooDeep));
    }

    #[test]
    fn what_is_not_one_object_is_refused() {
        for text in [
            "",
            " ",
            "1",
            "[]",
            "null",
            "\"a\"",
            "{} {}",
            "{},",
            "{'a':1}",
            "{\"a\":01}",
            "{\"a\":NaN}",
            "{a:1}",
        ] {
            assert_eq!(Object::read(text.as_bytes(), 8), Err(JsonFault::Syntax), "{text}");
        }
        for bytes in
            [&b"\xef\xbb\xbf{}"[..], b"{\"a\":\"\xff\"}", b"{\"a\":\"\\ud800\"}", b"{}\0", b"{\"a\":1e999}"]
        {
            assert_eq!(Object::read(bytes, 8), Err(JsonFault::Syntax), "{bytes:?}");
        }
    }

    #[test]
    fn paths_go_by_dots_or_by_pointer() {
        let claims =
            Object::read(br#"{"a":{"b":{"c":1}},"https://x.example/t":"acme","a.b":2,"l":[{"b":1}]}"#, 8)
                .unwrap();
        let find = |path: &str| ClaimPath::parse(path).unwrap().find(&claims).cloned();
        assert_eq!(find("a.b.c"), Some(Json::Integer(1)));
        assert_eq!(find("/a/b/c"), Some(Json::Integer(1)));
        assert_eq!(find("/https:~1~1x.example~1t"), Some(Json::Text("acme".into())));
        assert_eq!(find("/a.b"), Some(Json::Integer(2)));
        assert_eq!(find("a.x"), None);
        assert_eq!(find("l.b"), None);
        for bad in ["", "a..b", ".a", "/", "/a//b", "/a~2", "/a~"] {
            assert_eq!(ClaimPath::parse(bad), Err(ClaimPathFault), "{bad}");
        }
    }
}
