//! A store in Redis: 64 parts, each with its own history (decision 0024).
//!
//! Lives here: how its servers are found, connected to and watched ([`links`]).
//!
//! Never here: what a document means, what is too old (decision 0025), what heals a part (decision 0026).

mod beat;
mod dial;
mod finder;
mod keys;
pub mod links;
pub mod options;
mod pushes;
mod said;
mod settings;
mod supervise;
mod tls;

pub use beat::Told;
pub use links::{Links, Ready};
pub use options::{Address, Options, Servers, Tls};
pub use pushes::Pushed;
