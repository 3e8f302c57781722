//! The ground (`model`, `policy`, `lifecycle`) against a second, naive reading of the design, and against its laws.
//!
//! - [`world`]: people, tenants, policies and a store in memory; [`naive`]: the second implementation.
//! - [`naive_requests`], [`naive_roles`], [`naive_grants`]: its parts on approvals, on what tenants say of roles, and on grants by
//!   members.
//! - [`histories`]: random histories of commands, both implementations side by side, and the laws as invariants.
//! - [`documents`]: decisions on random documents that no history need have made.
//! - [`grid`]: the whole table of decisions as a golden file.
//! - [`join`]: the laws of `join`. [`refusals`]: one line for each code with which a command is refused.
//! - [`granting`]: grants that name roles of resources, and grants by members; [`handing`]: by what these can do at resources.
//! - [`once`]: creations that bear an idempotency key.
//! - [`zones`]: local times that are missing or doubled.
//! - [`resources`]: what lies below tenants, beside a naive model of its own. [`membership`]: who may be a member of what.
//! - [`regressions`]: faults that were found once, each as a small story.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests"
)]

mod ages;
mod created;
mod documents;
mod granting;
mod grid;
mod handing;
mod histories;
mod join;
mod look_ups;
mod membership;
mod naive;
mod naive_grants;
mod naive_requests;
mod naive_roles;
mod once;
mod refusals;
mod regressions;
mod resources;
mod roles;
mod stops;
mod world;
mod zones;
