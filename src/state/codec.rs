//! Keys and documents as bytes.
//!
//! A key is its kind, its tenant, a zero byte, and the rest: no identifier holds a zero byte, so the keys of a tenant
//! are one range that no other tenant's name can reach into (law 11), and bytes are ordered as keys are. A document is
//! its JSON form with its format number.
//!
//! The kill switches of the vendor's operators lie in a range of their own, below the tenant without a name.
//!
//! Never here: where the bytes are kept.

use serde::Deserialize;

use crate::model::{
    GrantId, IssuerName, Key, Kind, Reach, RequestId, ResourceId, ResourceRef, ResourceType, RoleName,
    SessionId, Stored, SubjectRef, TenantId, document::FORMAT,
};

use super::{Found, Refusal, Unreadable};

const END: u8 = 0;

fn tag(kind: Kind) -> u8 {
    match kind {
        Kind::Tenant => 1,
        Kind::Grant => 2,
        Kind::Session => 3,
        Kind::Presence => 4,
        Kind::Member => 5,
        Kind::Request => 6,
        Kind::Made => 7,
        Kind::Grantor => 8,
        Kind::Role => 9,
        Kind::Resource => 20,
        Kind::Joined => 21,
        Kind::Tally => 22,
        // Far from the others: what is below tenants goes on counting there, and bytes are ordered as keys are.
        Kind::Stop => 100,
    }
}

/// What all keys of one kind begin with.
pub(crate) fn kind_prefix(kind: Kind) -> Vec<u8> {
    vec![tag(kind)]
}

/// What all keys of one kind below one tenant begin with.
pub(crate) fn tenant_prefix(tenant: &TenantId, kind: Kind) -> Vec<u8> {
    let mut bytes = kind_prefix(kind);
    bytes.extend_from_slice(tenant.as_str().as_bytes());
    bytes.push(END);
    bytes
}

/// What the keys of all kill switches begin with. No tenant's id is empty.
pub(crate) fn stops_prefix() -> Vec<u8> {
    vec![tag(Kind::Stop), END]
}

/// A key as bytes.
pub(crate) fn key(key: &Key) -> Vec<u8> {
    let mut bytes = match key {
        Key::Tenant(tenant)
        | Key::Grant(tenant, _)
        | Key::Session(tenant, _)
        | Key::Presence(tenant, _)
        | Key::Request(tenant, _)
        | Key::Made(tenant, _)
        | Key::Grantor(tenant, _)
        | Key::Role(tenant, _)
        | Key::Resource(tenant, _)
        | Key::Joined(tenant, ..)
        | Key::Tally(tenant, _)
        | Key::Member(tenant, _) => tenant_prefix(tenant, key.kind()),
        Key::Stop(_) => stops_prefix(),
    };
    match key {
        Key::Tenant(_) | Key::Stop(Reach::All) => {}
        Key::Stop(Reach::Tenant(tenant)) => {
            bytes.push(1);
            bytes.extend_from_slice(tenant.as_str().as_bytes());
        }
        Key::Stop(Reach::Person(subject)) => {
            bytes.push(2);
            push_subject(&mut bytes, subject);
        }
        Key::Grant(_, grant) => bytes.extend_from_slice(grant.as_str().as_bytes()),
        Key::Session(_, session) => bytes.extend_from_slice(session.as_str().as_bytes()),
        Key::Request(_, request) => bytes.extend_from_slice(request.as_str().as_bytes()),
        Key::Role(_, role) => bytes.extend_from_slice(role.as_str().as_bytes()),
        Key::Resource(_, resource) | Key::Tally(_, resource) => push_resource(&mut bytes, resource),
        Key::Joined(_, resource, person) => {
            push_resource(&mut bytes, resource);
            bytes.push(END);
            push_subject(&mut bytes, person);
        }
        Key::Presence(_, subject)
        | Key::Member(_, subject)
        | Key::Made(_, subject)
        | Key::Grantor(_, subject) => {
            push_subject(&mut bytes, subject);
        }
    }
    bytes
}

fn push_resource(bytes: &mut Vec<u8>, resource: &ResourceRef) {
    bytes.extend_from_slice(resource.kind.as_str().as_bytes());
    bytes.push(END);
    bytes.extend_from_slice(resource.id.as_str().as_bytes());
}

fn push_subject(bytes: &mut Vec<u8>, subject: &SubjectRef) {
    bytes.extend_from_slice(subject.issuer.as_str().as_bytes());
    bytes.push(END);
    bytes.extend_from_slice(subject.sub.as_bytes());
}

/// A key from its bytes; `None` when they are none.
pub(crate) fn read_key(bytes: &[u8]) -> Option<Key> {
    let (kind, rest) = bytes.split_first()?;
    let (tenant, rest) = cut(rest)?;
    if *kind == tag(Kind::Stop) {
        return if tenant.is_empty() { read_reach(rest).map(Key::Stop) } else { None };
    }
    let tenant = TenantId::new(tenant).ok()?;
    match kind {
        1 if rest.is_empty() => Some(Key::Tenant(tenant)),
        2 => Some(Key::Grant(tenant, GrantId::new(std::str::from_utf8(rest).ok()?).ok()?)),
        3 => Some(Key::Session(tenant, SessionId::new(std::str::from_utf8(rest).ok()?).ok()?)),
        4 => Some(Key::Presence(tenant, read_subject(rest)?)),
        5 => Some(Key::Member(tenant, read_subject(rest)?)),
        8 => Some(Key::Grantor(tenant, read_subject(rest)?)),
        6 => Some(Key::Request(tenant, RequestId::new(std::str::from_utf8(rest).ok()?).ok()?)),
        7 => Some(Key::Made(tenant, read_subject(rest)?)),
        9 => Some(Key::Role(tenant, RoleName::new(std::str::from_utf8(rest).ok()?).ok()?)),
        20 => Some(Key::Resource(tenant, read_resource(rest)?)),
        21 => {
            let (kind, rest) = cut(rest)?;
            let (id, person) = cut(rest)?;
            let resource = ResourceRef { kind: ResourceType::new(kind).ok()?, id: ResourceId::new(id).ok()? };
            Some(Key::Joined(tenant, resource, read_subject(person)?))
        }
        22 => Some(Key::Tally(tenant, read_resource(rest)?)),
        _ => None,
    }
}

fn read_resource(bytes: &[u8]) -> Option<ResourceRef> {
    let (kind, id) = cut(bytes)?;
    let id = ResourceId::new(std::str::from_utf8(id).ok()?).ok()?;
    Some(ResourceRef { kind: ResourceType::new(kind).ok()?, id })
}

fn read_reach(bytes: &[u8]) -> Option<Reach> {
    match bytes.split_first() {
        None => Some(Reach::All),
        Some((1, tenant)) => Some(Reach::Tenant(TenantId::new(std::str::from_utf8(tenant).ok()?).ok()?)),
        Some((2, subject)) => Some(Reach::Person(read_subject(subject)?)),
        Some(_) => None,
    }
}

fn read_subject(bytes: &[u8]) -> Option<SubjectRef> {
    let (issuer, sub) = cut(bytes)?;
    let issuer = IssuerName::new(issuer).ok()?;
    Some(SubjectRef { issuer, sub: std::str::from_utf8(sub).ok()?.into() })
}

fn cut(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let at = bytes.iter().position(|byte| *byte == END)?;
    let (text, rest) = bytes.split_at_checked(at)?;
    Some((std::str::from_utf8(text).ok()?, rest.get(1..)?))
}

/// The first bytes after everything that begins with `prefix`; none of ours begins with 255.
pub(crate) fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut bytes = prefix.to_vec();
    if let Some(last) = bytes.last_mut() {
        *last = last.saturating_add(1);
    }
    bytes
}

/// A document as text.
pub(crate) fn document(key: &Key, stored: &Stored) -> Result<String, Refusal> {
    if stored.format != FORMAT || !fits(key, stored) {
        return Err(Refusal::Mismatch(key.clone()));
    }
    let text = serde_json::to_string(stored).map_err(|_| Refusal::Mismatch(key.clone()))?;
    if text.len() > super::DOCUMENT_MOST {
        return Err(Refusal::TooLarge { key: key.clone(), bytes: text.len() });
    }
    Ok(text)
}

fn fits(key: &Key, stored: &Stored) -> bool {
    !stored.heads.is_empty() && stored.heads.iter().all(|head| head.document.kind() == key.kind())
}

/// A document from its bytes. What bears another format number is not looked at any further.
pub(crate) fn read_document(key: &Key, bytes: &[u8]) -> Found {
    #[derive(Deserialize)]
    struct Numbered {
        format: u32,
    }
    let damaged = |detail: String| Unreadable::Damaged { key: key.clone(), detail };
    let numbered: Numbered = serde_json::from_slice(bytes).map_err(|fault| damaged(fault.to_string()))?;
    if numbered.format > FORMAT {
        return Err(Unreadable::Newer { key: key.clone(), found: numbered.format, known: FORMAT });
    }
    if numbered.format != FORMAT {
        return Err(damaged(format!("format {} was never written", numbered.format)));
    }
    let stored: Stored = serde_json::from_slice(bytes).map_err(|fault| damaged(fault.to_string()))?;
    if !fits(key, &stored) {
        return Err(damaged("it holds something else than its key names".to_owned()));
    }
    Ok(stored)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn resource(kind: &str, id: &str) -> ResourceRef {
        ResourceRef { kind: ResourceType::new(kind).unwrap(), id: ResourceId::new(id).unwrap() }
    }

    fn any_key() -> impl Strategy<Value = Key> {
        let id = "[a-c][a-c._~-]{0,3}";
        (0..14usize, id, id, "[a-b][a-b_-]{0,2}").prop_map(|(kind, tenant, second, issuer)| {
            let tenant = TenantId::new(&tenant).unwrap();
            match kind {
                0 => Key::Tenant(tenant),
                1 => Key::Grant(tenant, GrantId::new(&second).unwrap()),
                2 => Key::Session(tenant, SessionId::new(&second).unwrap()),
                7 => Key::Request(tenant, RequestId::new(&second).unwrap()),
                4 => Key::Stop(Reach::All),
                5 => Key::Stop(Reach::Tenant(tenant)),
                10 => Key::Role(tenant, RoleName::new(&issuer).unwrap()),
                11 => Key::Resource(tenant, resource(&issuer, &second)),
                12 => Key::Tally(tenant, resource(&issuer, &second)),
                13 => {
                    let person =
                        SubjectRef { issuer: IssuerName::new("app").unwrap(), sub: second.clone().into() };
                    Key::Joined(tenant, resource(&issuer, &second), person)
                }
                kind => {
                    let subject =
                        SubjectRef { issuer: IssuerName::new(&issuer).unwrap(), sub: second.into() };
                    match kind {
                        3 => Key::Presence(tenant, subject),
                        8 => Key::Made(tenant, subject),
                        9 => Key::Grantor(tenant, subject),
                        _ => Key::Stop(Reach::Person(subject)),
                    }
                }
            }
        })
    }

    proptest! {
        #[test]
        fn keys_come_back_and_keep_their_order(a in any_key(), b in any_key()) {
            prop_assert_eq!(read_key(&key(&a)), Some(a.clone()));
            prop_assert_eq!(key(&a).cmp(&key(&b)), a.cmp(&b));
        }

        #[test]
        fn a_prefix_holds_the_keys_of_its_tenant_and_no_other(a in any_key(), b in any_key()) {
            let stops = |key: &Key| key.kind() == Kind::Stop;
            let prefix = match a.tenant().filter(|_| !stops(&a)) {
                Some(tenant) => tenant_prefix(tenant, a.kind()),
                None => stops_prefix(),
            };
            let inside = key(&b) >= prefix && key(&b) < after_prefix(&prefix);
            let same = if stops(&a) { stops(&b) } else { b.tenant() == a.tenant() && b.kind() == a.kind() };
            prop_assert_eq!(inside, same);
        }

        #[test]
        fn arbitrary_bytes_are_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some(found) = read_key(&bytes) {
                prop_assert_eq!(key(&found), bytes);
            }
        }
    }
}
