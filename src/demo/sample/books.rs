//! What the application keeps: for each tenant and environment one set of books, in memory and behind one lock.
//!
//! The things in the books are described in the files named after them; what they hold at the start is in `seed`.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, SecondsFormat};

use super::integrations::Integration;
use super::jobs::Job;
use super::mappings::Mapping;
use super::orders::Order;
use super::people::User;
use super::upload::Import;

/// All tenants.
#[derive(Default)]
pub(super) struct World {
    tenants: BTreeMap<&'static str, Tenant>,
}

/// One tenant: its name and its environments, which share nothing.
pub(super) struct Tenant {
    pub(super) name: &'static str,
    pub(super) environments: BTreeMap<&'static str, Mutex<Books>>,
}

/// What one tenant keeps in one environment.
#[derive(Default)]
pub(super) struct Books {
    pub(super) orders: BTreeMap<String, Order>,
    pub(super) mappings: BTreeMap<String, Mapping>,
    pub(super) integrations: BTreeMap<String, Integration>,
    pub(super) jobs: BTreeMap<String, Job>,
    pub(super) users: BTreeMap<String, User>,
    pub(super) imports: Vec<Import>,
    made: u64,
}

impl World {
    pub(super) fn insert(&mut self, id: &'static str, tenant: Tenant) {
        self.tenants.insert(id, tenant);
    }

    pub(super) fn tenant(&self, id: &str) -> Option<&Tenant> {
        self.tenants.get(id)
    }
}

impl Tenant {
    /// The books of one environment, held by the caller alone while it uses them.
    pub(super) fn books(&self, environment: &str) -> Option<MutexGuard<'_, Books>> {
        Some(self.environments.get(environment)?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Books {
    /// A new identifier: `prefix` and a number that these books never used before.
    pub(super) fn new_id(&mut self, prefix: &str) -> String {
        self.made = self.made.saturating_add(1);
        format!("{prefix}-{}", self.made.saturating_add(9000))
    }
}

/// Seconds since 1970 UTC as people read them.
pub(super) fn written(seconds: i64) -> String {
    match DateTime::from_timestamp(seconds, 0) {
        Some(time) => time.to_rfc3339_opts(SecondsFormat::Secs, true),
        None => seconds.to_string(),
    }
}

/// An amount of hundredths as a price tag shows it.
pub(super) fn price(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}
