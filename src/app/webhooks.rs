//! From what the configuration says of webhooks to those that are told.
//!
//! Never here: telling ([`crate::webhook`]).

use std::time::Duration;

use super::proofs::BuildFault;
use crate::{
    config::{Settings, resolve::SigningSecret},
    webhook::{Hook, Options},
};

/// The webhooks of a configuration.
///
/// # Errors
/// The first that cannot be told, whatever stands at its address.
pub(super) fn hooks(settings: &Settings) -> Result<Vec<Hook>, BuildFault> {
    let hook = |written: &crate::config::resolve::WebhookSettings| {
        let options = Options {
            name: &written.name,
            server: &written.server,
            secrets: written.secrets.iter().map(SigningSecret::expose).collect(),
            events: written.events.clone(),
            tenants: written.tenants.clone(),
            timeout: Duration::from_millis(u64::try_from(written.timeout_ms).unwrap_or(0)),
            give_up_ms: written.give_up_ms,
        };
        Hook::new(options).map_err(|fault| BuildFault::Webhook { name: written.name.clone(), fault })
    };
    settings.webhooks.iter().map(hook).collect()
}
