//! The personal values of a record, read back from `open` and held against the digests that are proven.
//!
//! Never here: which values there are ([`super::journal`]), what they mean.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};

use super::{journal::personal_digest, record::Line, tree::bytes_from_hex};

/// Who is meant, in `open` as in `digests`.
const PERSON: &str = "person";

#[derive(Deserialize)]
struct Digests {
    #[serde(default)]
    digests: Vec<Members>,
}

/// The members of an object, all strings. One that is named twice says two things, and readers would take one each: it
/// is no such object.
struct Members(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings, each named once")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, String>()? {
                    if members.insert(name, value).is_some() {
                        return Err(A::Error::custom("a member is there twice"));
                    }
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

/// What a record still says of one person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Who, by the identifier that the record gave them.
    pub person: String,
    /// Their values by name.
    pub values: BTreeMap<String, String>,
}

/// The people of whom a record still says something that has the digest that was recorded; whoever was erased is not
/// among them, and neither is what was tampered with.
pub fn people(line: &Line<'_>) -> Vec<Person> {
    let Ok((people, digests)) = read(line) else { return Vec::new() };
    let mut found = Vec::new();
    for (index, person) in people.into_iter().enumerate() {
        let Some(Members(mut values)) = person else { continue };
        let Some(salt) = salt(&values) else { continue };
        values.retain(|name, value| name != "salt" && genuine(&digests, index, &salt, name, value));
        if let Some(person) = values.remove(PERSON) {
            found.push(Person { person, values });
        }
    }
    found
}

/// Whatever personal values are still there must have the digests that were recorded.
pub(super) fn check(line: &Line<'_>) -> Result<(), String> {
    let (people, digests) = read(line)?;
    for (index, person) in people.iter().enumerate() {
        let Some(Members(person)) = person else { continue };
        let salt = salt(person).ok_or_else(|| format!("person {index} in `open` has no salt"))?;
        for (name, value) in person.iter().filter(|(name, _)| *name != "salt") {
            if !genuine(&digests, index, &salt, name, value) {
                return Err(format!("`{name}` of person {index} does not have the digest that was recorded"));
            }
        }
    }
    Ok(())
}

type Read = (Vec<Option<Members>>, Vec<Members>);

fn read(line: &Line<'_>) -> Result<Read, String> {
    let Some(open) = line.open else { return Ok((Vec::new(), Vec::new())) };
    let people: Vec<Option<Members>> =
        serde_json::from_str(open).map_err(|_| "`open` is not as the format has it".to_owned())?;
    let digests: Digests = serde_json::from_str(&line.leaf_json())
        .map_err(|_| "`digests` is not as the format has it".to_owned())?;
    Ok((people, digests.digests))
}

fn salt(person: &BTreeMap<String, String>) -> Option<Vec<u8>> {
    person.get("salt").and_then(|salt| bytes_from_hex(salt.as_bytes()))
}

fn genuine(digests: &[Members], index: usize, salt: &[u8], name: &str, value: &str) -> bool {
    digests
        .get(index)
        .and_then(|digests| digests.0.get(name))
        .is_some_and(|digest| *digest == personal_digest(salt, name, value).hex())
}
