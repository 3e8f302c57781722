//! What is known when a rule is asked: documents that were fetched, and which ones are not there.
//!
//! A rule that lacks a document names it in [`Need`]; the shell fetches it and asks again. So what is refused without
//! a document costs no look-up. Facts also are what a permit rests on: every document that was looked at, with its
//! version.
//!
//! Never here: how documents are fetched.

use std::sync::Arc;

use crate::model::{
    Document, Grant, GrantId, Grantor, Joined, Key, Made, Member, Presence, Reach, Request, RequestId,
    Resource, ResourceId, ResourceRef, ResourceType, RoleName, Session, SessionId, Stop, SubjectRef, Tally,
    Tenant, TenantId, TenantRole, Version,
};

use super::{age::Read, look_up::Outside};

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
    /// The store cannot say, or says what cannot be read. Never taken for [`Fact::Absent`].
    Unavailable,
}

/// The documents that a rule still lacks, in the order in which it wants them. A resource that is at hand already is named where
/// its application is to be asked about it ([`super::look_up`]).
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
    pub(super) outside: Outside,
    /// How old they are, where somebody else changes the store too.
    pub(super) read: Option<Read>,
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

    /// Everything that was seen, with its version; [`Version::NONE`] for what is not there. What could not be had was
    /// not seen: nothing may be committed against its absence.
    pub fn versions(&self) -> impl Iterator<Item = (&Key, Version)> {
        self.known.iter().filter_map(|(key, fact)| match fact {
            Fact::Absent => Some((key, Version::NONE)),
            Fact::Found(snapshot) => Some((key, snapshot.version)),
            Fact::Unavailable => None,
        })
    }

    /// The version at which a document was seen; `None` when it was not.
    pub fn version(&self, key: &Key) -> Option<Version> {
        self.versions().find(|(known, _)| *known == key).map(|(_, version)| version)
    }

    /// Whether something that was looked at could not be had.
    pub fn lacks_any(&self) -> bool {
        self.known.iter().any(|(_, fact)| *fact == Fact::Unavailable)
    }

    /// Every key that somebody looked at.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.known.iter().map(|(key, _)| key)
    }

    /// What is known of a key; `None` when nobody looked yet.
    pub fn get(&self, key: &Key) -> Option<&Fact> {
        self.known.iter().find(|(known, _)| known == key).map(|(_, fact)| fact)
    }

    /// The tenant; `Ok(None)` when there is none such, also when the text cannot be the name of one.
    pub fn tenant(&self, id: &str) -> Result<Option<&Tenant>, Lack> {
        Ok(self.tenant_by_name(id)?.map(|(_, tenant)| tenant))
    }

    /// The tenant, and its name as its key holds it, so that nobody has to make the name once more.
    pub fn tenant_by_name(&self, id: &str) -> Result<Option<(&TenantId, &Tenant)>, Lack> {
        let found = self.look(
            |key| matches!(key, Key::Tenant(t) if t.as_str() == id),
            || TenantId::new(id).ok().map(Key::Tenant),
        )?;
        match found {
            None => Ok(None),
            Some((Key::Tenant(id), Document::Tenant(tenant))) => Ok(Some((id, tenant))),
            Some(_) => Err(Lack::Unavailable),
        }
    }

    /// A grant of a tenant.
    pub fn grant(&self, tenant: &str, id: &str) -> Result<Option<&Grant>, Lack> {
        let found = self.look(
            |key| matches!(key, Key::Grant(t, g) if g.as_str() == id && t.as_str() == tenant),
            || Some(Key::Grant(TenantId::new(tenant).ok()?, GrantId::new(id).ok()?)),
        )?;
        match found {
            None => Ok(None),
            Some((_, Document::Grant(grant))) => Ok(Some(grant)),
            Some(_) => Err(Lack::Unavailable),
        }
    }

    /// All grants that are at hand.
    pub fn grants(&self) -> impl Iterator<Item = &Grant> {
        self.known.iter().filter_map(|(_, fact)| match fact {
            Fact::Found(snapshot) => match &snapshot.document {
                Document::Grant(grant) => Some(grant),
                _ => None,
            },
            Fact::Absent | Fact::Unavailable => None,
        })
    }

    /// A session in a tenant.
    pub fn session(&self, tenant: &str, id: &str) -> Result<Option<&Session>, Lack> {
        Ok(self.session_by_name(tenant, id)?.map(|(_, session)| session))
    }

    /// A session in a tenant, and its name as its key holds it.
    pub fn session_by_name(&self, tenant: &str, id: &str) -> Result<Option<(&SessionId, &Session)>, Lack> {
        let found = self.look(
            |key| matches!(key, Key::Session(t, s) if s.as_str() == id && t.as_str() == tenant),
            || Some(Key::Session(TenantId::new(tenant).ok()?, SessionId::new(id).ok()?)),
        )?;
        match found {
            None => Ok(None),
            Some((Key::Session(_, id), Document::Session(session))) => Ok(Some((id, session))),
            Some(_) => Err(Lack::Unavailable),
        }
    }

    /// The index of a subject's sessions in a tenant.
    pub fn presence(&self, tenant: &str, subject: &SubjectRef) -> Result<Option<&Presence>, Lack> {
        let found = self.look(
            |key| matches!(key, Key::Presence(t, s) if s == subject && t.as_str() == tenant),
            || Some(Key::Presence(TenantId::new(tenant).ok()?, subject.clone())),
        )?;
        match found {
            None => Ok(None),
            Some((_, Document::Presence(presence))) => Ok(Some(presence)),
            Some(_) => Err(Lack::Unavailable),
        }
    }

    /// A request in a tenant.
    pub fn request(&self, tenant: &str, id: &str) -> Result<Option<&Request>, Lack> {
        let found = self.look(
            |key| matches!(key, Key::Request(t, r) if r.as_str() == id && t.as_str() == tenant),
            || Some(Key::Request(TenantId::new(tenant).ok()?, RequestId::new(id).ok()?)),
        )?;
        match found {
            None => Ok(None),
            Some((_, Document::Request(request))) => Ok(Some(request)),
            Some(_) => Err(Lack::Unavailable),
        }
    }

    /// The row of a tenant's member.
    pub fn member(&self, tenant: &str, subject: &SubjectRef) -> Result<Option<&Member>, Lack> {
        let found = self.look(
            |key| matches!(key, Key::Member(t, s) if s == subject && t.as_str() == tenant),
            || Some(Key::Member(TenantId::new(tenant).ok()?, subject.clone())),
        )?;
        match found {
            None => Ok(None),
            Some((_, Document::Member(member))) => Ok(Some(member)),
            Some(_) => Err(Lack::Unavailable),
        }
    }

    /// What a subject made in a tenant under idempotency keys.
    pub fn made(&self, tenant: &TenantId, subject: &SubjectRef) -> Result<Option<&Made>, Lack> {
        let found = self.look(
            |key| matches!(key, Key::Made(t, s) if s == subject && t == tenant),
            || Some(Key::Made(tenant.clone(), subject.clone())),
        )?;
        match found {
            None => Ok(None),
            Some((_, Document::Made(made))) => Ok(Some(made)),
            Some(_) => Err(Lack::Unavailable),
        }
    }

    /// What is remembered of one who gave grants in a tenant.
    pub fn grantor(&self, tenant: &str, subject: &SubjectRef) -> Result<Option<&Grantor>, Lack> {
        let found = self.look(
            |key| matches!(key, Key::Grantor(t, s) if s == subject && t.as_str() == tenant),
            || Some(Key::Grantor(TenantId::new(tenant).ok()?, subject.clone())),
        )?;
        match found {
            None => Ok(None),
            Some((_, Document::Grantor(grantor))) => Ok(Some(grantor)),
            Some(_) => Err(Lack::Unavailable),
        }
    }

    /// What a tenant says of a role.
    pub fn role(&self, tenant: &str, name: &RoleName) -> Result<Option<&TenantRole>, Lack> {
        let found = self.look(
            |key| matches!(key, Key::Role(t, n) if n == name && t.as_str() == tenant),
            || Some(Key::Role(TenantId::new(tenant).ok()?, name.clone())),
        )?;
        match found {
            None => Ok(None),
            Some((_, Document::Role(role))) => Ok(Some(role)),
            Some(_) => Err(Lack::Unavailable),
        }
    }

    /// A resource below a tenant.
    pub fn resource(&self, tenant: &str, kind: &ResourceType, id: &str) -> Result<Option<&Resource>, Lack> {
        let found = self.look(
            |key| matches!(key, Key::Resource(t, r) if r.id.as_str() == id && r.kind == *kind && t.as_str() == tenant),
            || {
                let resource = ResourceRef { kind: kind.clone(), id: ResourceId::new(id).ok()? };
                Some(Key::Resource(TenantId::new(tenant).ok()?, resource))
            },
        )?;
        match found {
            None => Ok(None),
            Some((_, Document::Resource(resource))) => Ok(Some(resource)),
            Some(_) => Err(Lack::Unavailable),
        }
    }

    /// The row of a member of a resource.
    pub fn joined(
        &self,
        tenant: &str,
        kind: &ResourceType,
        id: &str,
        person: &SubjectRef,
    ) -> Result<Option<&Joined>, Lack> {
        let wanted = |key: &Key| {
            matches!(key, Key::Joined(t, r, p)
                if p == person && r.id.as_str() == id && r.kind == *kind && t.as_str() == tenant)
        };
        let found = self.look(wanted, || {
            let resource = ResourceRef { kind: kind.clone(), id: ResourceId::new(id).ok()? };
            Some(Key::Joined(TenantId::new(tenant).ok()?, resource, person.clone()))
        })?;
        match found {
            None => Ok(None),
            Some((_, Document::Joined(row))) => Ok(Some(row)),
            Some(_) => Err(Lack::Unavailable),
        }
    }

    /// How many members a resource has.
    pub fn tally(&self, tenant: &TenantId, resource: &ResourceRef) -> Result<Option<&Tally>, Lack> {
        let found = self.look(
            |key| matches!(key, Key::Tally(t, r) if r == resource && t == tenant),
            || Some(Key::Tally(tenant.clone(), resource.clone())),
        )?;
        match found {
            None => Ok(None),
            Some((_, Document::Tally(tally))) => Ok(Some(tally)),
            Some(_) => Err(Lack::Unavailable),
        }
    }

    /// The operators' switch over everything.
    pub fn stop_of_all(&self) -> Result<Option<&Stop>, Lack> {
        self.stop(|reach| *reach == Reach::All, || Some(Reach::All))
    }

    /// The operators' switch over a person.
    pub fn stop_of_person(&self, subject: &SubjectRef) -> Result<Option<&Stop>, Lack> {
        let wanted = |reach: &Reach| matches!(reach, Reach::Person(person) if person == subject);
        self.stop(wanted, || Some(Reach::Person(subject.clone())))
    }

    /// The operators' switch over a tenant.
    pub fn stop_of_tenant(&self, tenant: &str) -> Result<Option<&Stop>, Lack> {
        let wanted = |reach: &Reach| matches!(reach, Reach::Tenant(id) if id.as_str() == tenant);
        self.stop(wanted, || TenantId::new(tenant).ok().map(Reach::Tenant))
    }

    fn stop(
        &self,
        wanted: impl Fn(&Reach) -> bool,
        name: impl FnOnce() -> Option<Reach>,
    ) -> Result<Option<&Stop>, Lack> {
        let found =
            self.look(|key| matches!(key, Key::Stop(reach) if wanted(reach)), || name().map(Key::Stop))?;
        match found {
            None => Ok(None),
            Some((_, Document::Stop(stop))) => Ok(Some(stop)),
            Some(_) => Err(Lack::Unavailable),
        }
    }

    /// What is known of a key; a document of another kind than its key names cannot be read.
    fn look(
        &self,
        wanted: impl Fn(&Key) -> bool,
        name: impl FnOnce() -> Option<Key>,
    ) -> Result<Option<(&Key, &Document)>, Lack> {
        match self.known.iter().find(|(key, _)| wanted(key)) {
            Some((key, Fact::Found(snapshot))) => Ok(Some((key, &snapshot.document))),
            Some((_, Fact::Absent)) => Ok(None),
            Some((_, Fact::Unavailable)) => Err(Lack::Unavailable),
            None => match name() {
                Some(key) => Err(Lack::Need(Need(vec![key]))),
                None => Ok(None),
            },
        }
    }
}
