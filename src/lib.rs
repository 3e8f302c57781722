//! Postern: a reverse proxy that lets a vendor's support staff into a tenant's data only as far as the tenant
//! consented, only for as long, and never without a record.
//!
//! The rooms, from the ground up; arrows point down only (`tests/architecture.rs` holds them to it):
//!
//! | layer | rooms | what they are |
//! | --- | --- | --- |
//! | 0 | [`model`], [`policy`], [`lifecycle`] | what is and what may be: pure, no input or output |
//! | 1 | [`identity`], [`state`], [`audit`], [`net`] | who knocks, what is known, what happened, how to get there |
//! | 2 | [`engine`], [`webhook`], [`fleet`] | the two protocols that bind a record to a deed; whom the record is told to; the other gateways |
//! | 3 | [`proxy`], [`control`] | the doors |
//! | 4 | [`config`] | what was written and what it means |
//! | 5 | [`app`], [`cli`], [`demo`] | the program |

pub mod app;
pub mod audit;
pub mod cli;
pub mod config;
pub mod control;
pub mod demo;
pub mod engine;
pub mod fleet;
pub mod identity;
pub mod lifecycle;
pub mod model;
pub mod net;
pub mod policy;
pub mod proxy;
pub mod state;
pub mod webhook;
