//! What an application's answer says of a resource, read strictly: one JSON object, no name twice in any object of it, each place
//! that `look_up` points to there and of the right form. Anything else is no answer at all; nothing of it is guessed, and no part of
//! it counts by itself.
//!
//! `null` on the way to a value says that there is none. Never here: bytes of HTTP, how long it counts.

use std::collections::BTreeSet;

use crate::{
    engine::outside::Wanted,
    identity::json::{Json, JsonFault, Object},
    model::{
        IssuerName, Resource, ResourceId, ResourceRef, ResourceType, SubjectRef, resource::RESOURCE_MOST,
    },
    policy::{LookUp, look_up::Each, narrow::Pointer},
};

use super::fault::Fault;

/// Objects and lists inside one another.
const DEPTH: u8 = 32;
/// The largest number that is an identifier: beyond it some readers take several for one (RFC 8259, 6).
const MOST_NUMBER: i64 = (1 << 53) - 1;

/// Reads an answer. `parent` is the type of what such resources lie in.
pub(super) fn read(
    body: &[u8],
    rule: &LookUp,
    wanted: &Wanted,
    parent: Option<&ResourceType>,
) -> Result<Resource, Fault> {
    let object = Object::read(body, DEPTH).map_err(|fault| match fault {
        JsonFault::Syntax | JsonFault::TooDeep => Fault::NotJson,
        JsonFault::Duplicate => Fault::Twice,
    })?;
    let root = Json::Object(object);
    for (pointer, expected) in
        [(&rule.id, wanted.resource.id.as_str()), (&rule.tenant, wanted.tenant.as_str())]
    {
        let Some(pointer) = pointer else { continue };
        let found = follow(&root, pointer)?.ok_or(Fault::Missing)?;
        if name(found)? != expected {
            return Err(Fault::Another);
        }
    }
    let mut said = Resource { tenant_life: wanted.life, ..Resource::default() };
    if let (Some(pointer), Some(kind)) = (&rule.parent, parent)
        && let Some(found) = follow(&root, pointer)?
    {
        let id = ResourceId::new(&name(found)?).map_err(|_| Fault::Value)?;
        said.parent = Some(ResourceRef { kind: kind.clone(), id });
    }
    let Some(issuer) = &rule.issuer else { return Ok(said) };
    if let Some(pointer) = &rule.creator {
        said.creator = follow(&root, pointer)?.map(|found| person(found, issuer)).transpose()?;
    }
    if let Some(each) = &rule.assignees {
        said.assignees = people(&root, each, issuer)?;
    }
    if said.size() > RESOURCE_MOST { Err(Fault::TooMany) } else { Ok(said) }
}

/// The value at a place; `None` where it, or something on the way to it, is `null`.
fn follow<'a>(root: &'a Json, pointer: &Pointer) -> Result<Option<&'a Json>, Fault> {
    let mut at = root;
    for step in pointer.steps() {
        at = match at {
            Json::Object(object) => object.get(step).ok_or(Fault::Missing)?,
            Json::Null => return Ok(None),
            _ => return Err(Fault::Value),
        };
    }
    Ok(Some(at).filter(|found| **found != Json::Null))
}

fn people(root: &Json, each: &Each, issuer: &IssuerName) -> Result<BTreeSet<SubjectRef>, Fault> {
    let Some(found) = follow(root, &each.at)? else { return Ok(BTreeSet::new()) };
    let Some(item) = &each.item else { return Ok([person(found, issuer)?].into()) };
    let Json::List(list) = found else { return Err(Fault::Value) };
    let mut people = BTreeSet::new();
    for one in list {
        let found = follow(one, item)?.ok_or(Fault::Missing)?;
        people.insert(person(found, issuer)?);
    }
    Ok(people)
}

fn person(found: &Json, issuer: &IssuerName) -> Result<SubjectRef, Fault> {
    let sub = name(found)?;
    // As tokens have it (see `identity`): another form names nobody.
    let sound = (1..=255).contains(&sub.len()) && sub.bytes().all(|byte| byte.is_ascii_graphic());
    if sound { Ok(SubjectRef { issuer: issuer.clone(), sub: sub.into() }) } else { Err(Fault::Value) }
}

/// What names something: a text, or a number that every reader reads alike.
fn name(found: &Json) -> Result<String, Fault> {
    match found {
        Json::Text(text) => Ok(text.clone()),
        Json::Integer(number) if (0..=MOST_NUMBER).contains(number) => Ok(number.to_string()),
        Json::Null | Json::Bool(_) | Json::Integer(_) | Json::Float(_) | Json::List(_) | Json::Object(_) => {
            Err(Fault::Value)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::look_up::PathPiece;

    fn pointer(text: &str) -> Pointer {
        Pointer::parse(text).unwrap()
    }

    fn rule() -> LookUp {
        LookUp {
            upstream: 0,
            path: vec![PathPiece::Text("/cards/".to_owned()), PathPiece::Id],
            id: Some(pointer("/id")),
            tenant: Some(pointer("/org")),
            creator: Some(pointer("/made/by")),
            assignees: Some(Each { at: pointer("/to"), item: Some(pointer("/user/id")) }),
            parent: Some(pointer("/pipe/id")),
            issuer: Some("app".parse().unwrap()),
            for_ms: 10_000,
            within_ms: 500,
        }
    }

    fn told(body: &str, rule: &LookUp) -> Result<Resource, Fault> {
        let (kind, id) = ("card".parse().unwrap(), "c1".parse().unwrap());
        let wanted = Wanted { tenant: "acme".parse().unwrap(), life: 3, resource: ResourceRef { kind, id } };
        read(body.as_bytes(), rule, &wanted, Some(&"pipe".parse().unwrap()))
    }

    const FULL: &str = r#"{"id":"c1","org":"acme","made":{"by":"mia"},"to":[{"user":{"id":7}},{"user":{"id":"leo"}}],"pipe":{"id":"p1"},"x":[1,{"y":null}]}"#;

    fn person(sub: &str) -> SubjectRef {
        SubjectRef { issuer: "app".parse().unwrap(), sub: sub.into() }
    }

    #[test]
    fn what_is_said_of_a_resource_is_read_at_its_places() {
        let said = told(FULL, &rule()).unwrap();
        assert_eq!(said.creator, Some(person("mia")));
        assert_eq!(said.assignees, [person("7"), person("leo")].into());
        assert_eq!(said.parent.unwrap().to_string(), "pipe/p1");
        assert_eq!((said.tenant_life, said.life, said.removed, said.public), (3, 0, None, false));
        // Names are compared by what they mean.
        assert!(told(&FULL.replace("\"org\"", "\"\\u006frg\""), &rule()).is_ok());
    }

    #[test]
    fn null_says_that_there_is_nobody_and_nowhere() {
        for (from, to) in [("{\"by\":\"mia\"}", "{\"by\":null}"), ("{\"by\":\"mia\"}", "null")] {
            assert_eq!(told(&FULL.replace(from, to), &rule()).unwrap().creator, None);
        }
        let list = r#"[{"user":{"id":7}},{"user":{"id":"leo"}}]"#;
        for to in ["null", "[]"] {
            assert_eq!(told(&FULL.replace(list, to), &rule()).unwrap().assignees, BTreeSet::new());
        }
        assert_eq!(told(&FULL.replace("{\"id\":\"p1\"}", "null"), &rule()).unwrap().parent, None);
    }

    #[test]
    fn one_assignee_may_stand_without_a_list() {
        let one = LookUp { assignees: Some(Each { at: pointer("/made/by"), item: None }), ..rule() };
        assert_eq!(told(FULL, &one).unwrap().assignees, [person("mia")].into());
        let plain =
            LookUp { assignees: Some(Each { at: pointer("/to"), item: Some(Pointer::default()) }), ..rule() };
        let body = FULL.replace(r#"[{"user":{"id":7}},{"user":{"id":"leo"}}]"#, r#"["mia",8]"#);
        assert_eq!(told(&body, &plain).unwrap().assignees, [person("mia"), person("8")].into());
    }

    #[test]
    fn whatever_is_not_exactly_right_is_no_answer() {
        for (from, to, fault) in [
            ("\"id\":\"c1\"", "\"id\":\"c2\"", Fault::Another),
            ("\"id\":\"c1\"", "\"id\":null", Fault::Missing),
            ("\"id\":\"c1\",", "", Fault::Missing),
            ("\"org\":\"acme\"", "\"org\":\"globex\"", Fault::Another),
            ("\"org\":\"acme\"", "\"org\":\"ACME\"", Fault::Another),
            ("\"by\":\"mia\"", "\"by\":\"\"", Fault::Value),
            ("\"by\":\"mia\"", "\"by\":\"m a\"", Fault::Value),
            ("\"by\":\"mia\"", "\"by\":\"m\u{e9}\"", Fault::Value),
            ("\"by\":\"mia\"", "\"by\":true", Fault::Value),
            ("\"by\":\"mia\"", "\"by\":[\"mia\"]", Fault::Value),
            ("\"by\":\"mia\"", "\"of\":\"mia\"", Fault::Missing),
            ("\"by\":\"mia\"", "\"by\":\"mia\",\"by\":\"leo\"", Fault::Twice),
            ("\"by\":\"mia\"", "\"by\":\"mia\",\"b\\u0079\":\"leo\"", Fault::Twice),
            ("\"made\":{", "\"made\":{\"by\":1},\"made\":{", Fault::Twice),
            ("\"y\":null", "\"y\":1,\"y\":1", Fault::Twice),
            ("\"id\":7", "\"id\":7.5", Fault::Value),
            ("\"id\":7", "\"id\":7e1", Fault::Value),
            ("\"id\":7", "\"id\":-7", Fault::Value),
            ("\"id\":7", "\"id\":9007199254740992", Fault::Value),
            ("\"id\":7", "\"id\":null", Fault::Missing),
            ("{\"user\":{\"id\":7}}", "null", Fault::Missing),
            ("{\"user\":{\"id\":7}}", "7", Fault::Value),
            ("\"to\":[", "\"to\":{},\"was\":[", Fault::Value),
            ("\"to\":", "\"was\":", Fault::Missing),
            ("\"pipe\":{\"id\":\"p1\"}", "\"pipe\":{\"id\":\"../p1\"}", Fault::Value),
            ("\"pipe\":{\"id\":\"p1\"}", "\"pipe\":{\"id\":\"p 1\"}", Fault::Value),
            ("\"pipe\":{\"id\":\"p1\"}", "\"pipe\":\"p1\"", Fault::Value),
            ("\"x\":", "\"x\":nope,\"z\":", Fault::NotJson),
            ("}]}", "}]}{}", Fault::NotJson),
            ("}]}", "}]", Fault::NotJson),
        ] {
            assert!(FULL.contains(from), "{from}");
            assert_eq!(told(&FULL.replacen(from, to, 1), &rule()), Err(fault), "{from} -> {to}");
        }
        for body in ["", "[]", "null", "\"c1\"", "\u{feff}{}"] {
            assert_eq!(told(body, &rule()), Err(Fault::NotJson), "{body}");
        }
        let deep = FULL.replace("[1,", &format!("[{}1{},", "[".repeat(40), "]".repeat(40)));
        assert_eq!(told(&deep, &rule()), Err(Fault::NotJson));
        let many: Vec<String> = (0..200).map(|n| format!("{{\"user\":{{\"id\":{n}}}}}")).collect();
        let body = FULL.replace(r#"{"user":{"id":7}},{"user":{"id":"leo"}}"#, &many.join(","));
        assert_eq!(told(&body, &rule()), Err(Fault::TooMany));
    }
}
