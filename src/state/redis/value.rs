//! Documents as the bytes that Redis keeps.
//!
//! A document is its version as text, a line break, and its JSON form: a script compares the version and reads nothing
//! else.
//!
//! Never here: keys ([`super::keys`]), commands ([`super::scripts`]).

use crate::{
    model::{Key, Stored, Version},
    state::{Found, Unreadable, codec},
};

/// A version as scripts compare it; of what is not there `-`, which no document has.
pub(super) fn version(version: Version) -> String {
    if version == Version::NONE { "-".to_owned() } else { version.to_string() }
}

/// A document as bytes.
pub(super) fn bytes(stored: &Stored, json: &str) -> Vec<u8> {
    format!("{}\n{json}", stored.version).into_bytes()
}

/// A document from its bytes.
pub(super) fn read(key: &Key, bytes: &[u8]) -> Found {
    let damaged = |detail: &str| Unreadable::Damaged { key: key.clone(), detail: detail.to_owned() };
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (head, json) =
        end.and_then(|end| bytes.split_at_checked(end)).ok_or_else(|| damaged("it has no version"))?;
    let stored = codec::read_document(key, json.get(1..).unwrap_or_default())?;
    if stored.version.to_string().as_bytes() != head {
        return Err(damaged("it has two versions"));
    }
    Ok(stored)
}

/// What is there and is no document.
pub(super) fn lost(key: &Key, detail: &str) -> Found {
    Err(Unreadable::Damaged { key: key.clone(), detail: detail.to_owned() })
}

/// The documents after a change, from names and bytes in turn.
pub(super) fn documents<'a>(rows: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Option<Vec<(Key, Found)>> {
    rows.map(|(name, bytes)| {
        let key = codec::read_key(name)?;
        let found = read(&key, bytes);
        Some((key, found))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ChangeId, Document, Presence, SubjectRef, TenantId, document::FORMAT};

    fn document() -> (Key, Stored) {
        let subject = SubjectRef { issuer: "staff".parse().unwrap(), sub: "a\nb c".into() };
        let key = Key::Presence(TenantId::new("acme").unwrap(), subject);
        let change = ChangeId::new("c1").unwrap();
        (key, Stored::after(None, change, Document::Presence(Presence::default())))
    }

    #[test]
    fn a_document_comes_back_and_bears_its_version_in_front() {
        let (key, stored) = document();
        let bytes = bytes(&stored, &codec::document(&key, &stored).unwrap());
        assert!(bytes.starts_with(b"0.1\n{"));
        assert_eq!(read(&key, &bytes), Ok(stored.clone()));
        assert_eq!((version(stored.version).as_str(), version(Version::NONE).as_str()), ("0.1", "-"));
    }

    #[test]
    fn what_is_damaged_or_newer_is_neither_absent_nor_a_default() {
        let (key, stored) = document();
        let text = codec::document(&key, &stored).unwrap();
        let damaged = |bytes: &[u8]| match read(&key, bytes) {
            Err(Unreadable::Damaged { detail, .. }) => detail,
            other => panic!("{other:?}"),
        };
        assert_eq!(damaged(b""), "it has no version");
        assert_eq!(damaged(text.as_bytes()), "it has no version");
        assert_eq!(damaged(format!("0.2\n{text}").as_bytes()), "it has two versions");
        assert_eq!(damaged(format!(" 0.1\n{text}").as_bytes()), "it has two versions");
        damaged(b"0.1\n");
        damaged(b"0.1\n{\"format\":1}");
        let newer = format!("0.1\n{{\"format\":{},\"what\":1}}", FORMAT + 1);
        let expected = Unreadable::Newer { key: key.clone(), found: FORMAT + 1, known: FORMAT };
        assert_eq!(read(&key, newer.as_bytes()), Err(expected));
    }
}
