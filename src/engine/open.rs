//! Which sessions have not ended, by tenant, and which tenants lie below which: where a change may have felled something.
//!
//! Kept in memory, of what was read and of what was told. A session that is over and still named here is found to be when it is looked
//! at; one that has not ended is never missing, but for what nobody told of: then all of them are read again.
//!
//! Never here: what fells a session ([`super::fall`]), anything that somebody is admitted by.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::model::{Document, Key, SessionId, Stored, TenantId};

/// See the module's header.
#[derive(Debug, Default)]
pub(super) struct Open {
    sessions: HashMap<TenantId, BTreeSet<SessionId>>,
    /// Tenants by their parents. Both are fixed for good when a tenant is registered.
    children: HashMap<TenantId, BTreeSet<TenantId>>,
    /// The tenants whose parents are known.
    placed: HashSet<TenantId>,
    /// Those with sessions, and parents of others, of whom they are not known.
    unplaced: BTreeSet<TenantId>,
}

impl Open {
    /// A session has not ended.
    pub(super) fn begun(&mut self, tenant: &TenantId, session: &SessionId) {
        self.sessions.entry(tenant.clone()).or_default().insert(session.clone());
        if !self.placed.contains(tenant) {
            self.unplaced.insert(tenant.clone());
        }
    }

    /// A session has ended.
    pub(super) fn over(&mut self, tenant: &TenantId, session: &SessionId) {
        if let Some(sessions) = self.sessions.get_mut(tenant) {
            sessions.remove(session);
            if sessions.is_empty() {
                self.sessions.remove(tenant);
            }
        }
    }

    /// This is a tenant's parent.
    pub(super) fn place(&mut self, tenant: &TenantId, parent: Option<&TenantId>) {
        self.unplaced.remove(tenant);
        self.placed.insert(tenant.clone());
        if let Some(parent) = parent {
            self.children.entry(parent.clone()).or_default().insert(tenant.clone());
            if !self.placed.contains(parent) {
                self.unplaced.insert(parent.clone());
            }
        }
    }

    /// These documents were written.
    pub(super) fn told(&mut self, written: &[(Key, Stored)]) {
        for (key, stored) in written {
            let documents = || stored.heads.iter().map(|head| &head.document);
            match key {
                Key::Session(tenant, id) => {
                    let goes_on = |document: &Document| matches!(document, Document::Session(one) if one.ended.is_none());
                    if documents().any(goes_on) {
                        self.begun(tenant, id);
                    } else {
                        self.over(tenant, id);
                    }
                }
                Key::Tenant(tenant) => {
                    for document in documents() {
                        if let Document::Tenant(document) = document {
                            self.place(tenant, document.parent.as_ref());
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// The tenants whose parents are to be looked up.
    pub(super) fn unplaced(&self) -> Vec<TenantId> {
        self.unplaced.iter().cloned().collect()
    }

    /// The sessions that have not ended in these tenants, and below those of which that is asked. Of whom nobody knows below whom they
    /// are, they may be below any.
    pub(super) fn touched(&self, tenants: &BTreeMap<TenantId, bool>) -> Vec<Key> {
        let below = tenants.iter().filter(|(_, below)| **below).map(|(tenant, _)| tenant);
        let mut reached: BTreeSet<&TenantId> = BTreeSet::new();
        let mut next: Vec<&TenantId> = below.clone().collect();
        if !next.is_empty() {
            next.extend(&self.unplaced);
        }
        while let Some(tenant) = next.pop() {
            if reached.insert(tenant) {
                next.extend(self.children.get(tenant).into_iter().flatten());
            }
        }
        reached.extend(tenants.keys());
        let mut touched = Vec::new();
        for tenant in reached {
            let sessions = self.sessions.get(tenant).into_iter().flatten();
            touched.extend(sessions.map(|session| Key::Session(tenant.clone(), session.clone())));
        }
        touched
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::new(name).unwrap()
    }

    fn session(name: &str) -> SessionId {
        SessionId::new(name).unwrap()
    }

    fn touched(open: &Open, name: &str, below: bool) -> Vec<String> {
        let keys = open.touched(&[(tenant(name), below)].into());
        keys.iter().map(|key| key.tenant().unwrap().to_string()).collect()
    }

    #[test]
    fn a_change_touches_its_tenant_and_where_asked_all_below_it_and_nobody_beside() {
        let mut open = Open::default();
        open.place(&tenant("a"), None);
        open.place(&tenant("b"), None);
        for (child, parent) in [("a1", "a"), ("a11", "a1")] {
            open.place(&tenant(child), Some(&tenant(parent)));
        }
        for name in ["a", "a11", "b"] {
            open.begun(&tenant(name), &session(&format!("ses_{name}")));
        }
        assert_eq!(open.unplaced(), []);
        assert_eq!(touched(&open, "a", true), ["a", "a11"]);
        assert_eq!(touched(&open, "a", false), ["a"]);
        assert_eq!(touched(&open, "a1", true), ["a11"]);
        assert_eq!(touched(&open, "b", true), ["b"]);
        open.over(&tenant("a"), &session("ses_a"));
        assert_eq!(touched(&open, "a", true), ["a11"]);
    }

    #[test]
    fn whoever_may_be_below_is_touched_until_it_is_known() {
        let mut open = Open::default();
        open.begun(&tenant("c"), &session("ses_c"));
        assert_eq!(touched(&open, "a", true), ["c"]);
        assert_eq!(touched(&open, "a", false), Vec::<String>::new());
        open.place(&tenant("c"), Some(&tenant("p")));
        assert_eq!(open.unplaced(), [tenant("p")]);
        assert_eq!(touched(&open, "a", true), ["c"], "by a parent of whom it is not known");
        open.place(&tenant("p"), None);
        assert_eq!(touched(&open, "a", true), Vec::<String>::new());
    }
}
