//! What is known when a rule is asked: documents that were fetched, and which ones are not there.
//!
//! A rule that lacks a document names it in [`Need`]; the shell fetches it and asks again. So what is refused without
//! a document costs no look-up. Facts also are what a permit rests on: every document that was looked at, with its
//! version.
//!
//! Never here: how documents are fetched.

use std::sync::Arc;

use crate::model::{
    Document, Grant, GrantId, Key, Presence, Session, SessionId, SubjectRef, Tenant, TenantId, Version,
};

/// What holds of one document, ready for the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its version.
    pub version: Version,
    /// What it says.
    pub document: Document,
}

/// What is known about one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// The store has no such document.
    Absent,
    /// The store has it.
    Found(Arc<Snapshot>),
    /// The store cannot say, or says what cannot be read. Never taken for [`Fact::Absent`] (GW-17).
    Unavailable,
}

/// The documents that a rule still lacks, in the order in which it wants them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need(pub Vec<Key>);

/// Why a rule cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lack {
    /// It wants documents.
    Need(Need),
    /// What it wants cannot be had.
    Unavailable,
}

/// The documents at hand. A handful, so a list.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    known: Vec<(Key, Fact)>,
}

impl Facts {
    /// No documents.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces what is known about a key.
    pub fn put(&mut self, key: Key, fact: Fact) {
        match self.known.iter_mut().find(|(known, _)| *known == key) {
            Some((_, old)) => *old = fact,
            None => self.known.push((key, fact)),
        }
    }

    /// Everything that was looked at, with the version seen; [`Version::NONE`] for what is not there.
    pub fn versions(&self) -> impl Iterator<Item = (&Key, Version)> {
        self.known.iter().map(|(key, fact)| match fact {
            Fact::Absent | Fact::Unavailable => (key, Version::NONE),
            Fact::Found(snapshot) => (key, snapshot.version),
        })
    }

    /// The keys that were looked at.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.known.iter().map(|(key, _)| key)
    }

    /// What is known of a key; `None` when nobody looked yet.
    pub fn get(&self, key: &Key) -> Option<&Fact> {
        self.known.iter().find(|(known, _)| known == key).map(|(_, fact)| fact)
    }

    /// The tenant; `Ok(None)` when there is none such, also when the text cannot be the name of one.
    pub fn tenant(&self, id: &str) -> Result<Option<&Tenant>, Lack> {
        let found = self.look(
            |key| matches!(key, Key::Tenant(t) if t.as_str() == id),
            || TenantId::new(id).ok().map(Key::Tenant),
        )?;
        Ok(found.and_then(|document| match document {
            Document::Tenant(tenant) => Some(tenant),
            Document::Grant(_) | Document::Session(_) | Document::Presence(_) => None,
        }))
    }

    /// A grant of a tenant.
    pub fn grant(&self, tenant: &str, id: &str) -> Result<Option<&Grant>, Lack> {
        let found = self.look(
            |key| matches!(key, Key::Grant(t, g) if g.as_str() == id && t.as_str() == tenant),
            || Some(Key::Grant(TenantId::new(tenant).ok()?, GrantId::new(id).ok()?)),
        )?;
        Ok(found.and_then(|document| match document {
            Document::Grant(grant) => Some(grant),
            Document::Tenant(_) | Document::Session(_) | Document::Presence(_) => None,
        }))
    }

    /// A session in a tenant.
    pub fn session(&self, tenant: &str, id: &str) -> Result<Option<&Session>, Lack> {
        let found = self.look(
            |key| matches!(key, Key::Session(t, s) if s.as_str() == id && t.as_str() == tenant),
            || Some(Key::Session(TenantId::new(tenant).ok()?, SessionId::new(id).ok()?)),
        )?;
        Ok(found.and_then(|document| match document {
            Document::Session(session) => Some(session),
            Document::Tenant(_) | Document::Grant(_) | Document::Presence(_) => None,
        }))
    }

    /// The index of a subject's sessions in a tenant.
    pub fn presence(&self, tenant: &str, subject: &SubjectRef) -> Result<Option<&Presence>, Lack> {
        let found = self.look(
            |key| matches!(key, Key::Presence(t, s) if s == subject && t.as_str() == tenant),
            || Some(Key::Presence(TenantId::new(tenant).ok()?, subject.clone())),
        )?;
        Ok(found.and_then(|document| match document {
            Document::Presence(presence) => Some(presence),
            Document::Tenant(_) | Document::Grant(_) | Document::Session(_) => None,
        }))
    }

    fn look(
        &self,
        wanted: impl Fn(&Key) -> bool,
        name: impl FnOnce() -> Option<Key>,
    ) -> Result<Option<&Document>, Lack> {
        match self.known.iter().find(|(key, _)| wanted(key)).map(|(_, fact)| fact) {
            Some(Fact::Found(snapshot)) => Ok(Some(&snapshot.document)),
            Some(Fact::Absent) => Ok(None),
            Some(Fact::Unavailable) => Err(Lack::Unavailable),
            None => match name() {
                Some(key) => Err(Lack::Need(Need(vec![key]))),
                None => Ok(None),
            },
        }
    }
}
