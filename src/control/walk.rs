//! Going through documents in the order of their keys, so many a call and no more, and cutting pages out of what is shown.
//!
//! What a cursor says is always the place of a row that was shown, or of one that the caller may know of: never of what
//! was passed over because it is somebody else's (law 11).
//!
//! Never here: what is shown to whom.

use std::{sync::Arc, vec::IntoIter};

use serde::Serialize;

use crate::{
    model::{Key, Kind, ResourceId, ResourceRef, ResourceType, TenantId},
    state::{Found, Store, StoreFault},
};

/// Rows that the store is asked for at a time.
const STEP: usize = 100;
/// Rows that one call looks at, at most; a page may come back short, with a cursor.
pub(super) const MOST_LOOKED_AT: usize = 2000;

/// What is gone through.
#[derive(Debug)]
pub(super) enum Rows<'a> {
    /// The documents of one kind below a tenant.
    Below(&'a TenantId, Kind),
    /// All tenants.
    Tenants,
    /// The operators' switches.
    Stops,
    /// The resources of one type below a tenant.
    OfType(&'a TenantId, &'a ResourceType),
    /// These, as far as they are there.
    These(IntoIter<Key>),
}

/// A walk through documents.
pub(super) struct Walk<'a> {
    store: &'a Arc<dyn Store>,
    rows: Rows<'a>,
    fetched: IntoIter<(Key, Found)>,
    last: Option<Key>,
    looked_at: usize,
    most: usize,
    ended: bool,
}

impl<'a> Walk<'a> {
    /// Through these rows, those behind `after`. Of [`Rows::These`] the caller leaves out what lies before.
    pub(super) fn new(store: &'a Arc<dyn Store>, rows: Rows<'a>, after: Option<Key>) -> Walk<'a> {
        let fetched = Vec::new().into_iter();
        Walk { store, rows, fetched, last: after, looked_at: 0, most: MOST_LOOKED_AT, ended: false }
    }

    /// The same, looking at no more than about so many rows.
    pub(super) fn at_most(self, most: usize) -> Walk<'a> {
        Walk { most, ..self }
    }

    /// The next one; `None` at the end, or where enough was looked at.
    pub(super) async fn next(&mut self) -> Result<Option<(Key, Found)>, StoreFault> {
        loop {
            if let Some(row) = self.fetched.next() {
                return Ok(Some(row));
            }
            if self.ended || self.looked_at >= self.most {
                return Ok(None);
            }
            self.fetched = self.fetch().await?.into_iter();
        }
    }

    /// Where enough was looked at before the end was reached: the last place that was looked at.
    pub(super) fn stopped(self) -> Option<Key> {
        if self.ended { None } else { self.last }
    }

    async fn fetch(&mut self) -> Result<Vec<(Key, Found)>, StoreFault> {
        let last = self.last.as_ref();
        let (found, looked_at) = match &mut self.rows {
            Rows::Below(tenant, kind) => {
                let rows = self.store.list(tenant, *kind, last, STEP).await?;
                let looked_at = rows.len();
                (rows, looked_at)
            }
            Rows::OfType(tenant, kind) => {
                let mut rows = Vec::new();
                let after = match last {
                    Some(last) => last.clone(),
                    None => {
                        let first = first_of(tenant, kind);
                        let found = self.store.load(std::slice::from_ref(&first)).await?.into_iter().next();
                        rows.extend(found.flatten().map(|found| (first.clone(), found)));
                        first
                    }
                };
                rows.extend(self.store.list(tenant, Kind::Resource, Some(&after), STEP).await?);
                rows.retain(|(key, _)| matches!(key, Key::Resource(_, of) if of.kind == **kind));
                let looked_at = rows.len();
                (rows, looked_at)
            }
            Rows::Tenants => {
                let after = last.and_then(Key::tenant);
                // Whoever goes through all of them may take what is missing for removed.
                let rows = self.store.list_tenants(after, STEP).await.whole()?;
                let looked_at = rows.len();
                (rows.into_iter().map(|(id, found)| (Key::Tenant(id), found)).collect(), looked_at)
            }
            Rows::Stops => {
                let rows = self.store.list_stops(last, STEP).await?;
                let looked_at = rows.len();
                (rows, looked_at)
            }
            Rows::These(keys) => {
                let keys: Vec<Key> = keys.take(STEP).collect();
                let found = self.store.load(&keys).await?;
                self.last = keys.last().cloned().or(self.last.take());
                let looked_at = keys.len();
                let there = keys.into_iter().zip(found).filter_map(|(key, found)| Some((key, found?)));
                (there.collect::<Vec<_>>(), looked_at)
            }
        };
        if !matches!(self.rows, Rows::These(_))
            && let Some((key, _)) = found.last()
        {
            self.last = Some(key.clone());
        }
        self.looked_at += looked_at;
        self.ended = looked_at < STEP;
        Ok(found)
    }
}

/// The first resource of a type that there can be: no identifier is less than this one.
fn first_of(tenant: &TenantId, kind: &ResourceType) -> Key {
    Key::Resource(tenant.clone(), ResourceRef { kind: kind.clone(), id: ResourceId::least() })
}

/// A page of a list.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    /// Where it goes on.
    pub(super) next: Option<String>,
    /// The place of the last row.
    #[serde(skip)]
    last: Option<String>,
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Page { items: Vec::new(), next: None, last: None }
    }
}

impl<T> Page<T> {
    /// Adds a row, with the cursor that leads behind it. `false`: the page is full already and goes on behind its last
    /// row, with this one first.
    pub(super) fn put(&mut self, row: T, place: String, limit: usize) -> bool {
        if self.items.len() >= limit {
            self.next = self.last.take();
            return false;
        }
        self.items.push(row);
        self.last = Some(place);
        true
    }
}
