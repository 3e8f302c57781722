//! What only building proves of a configuration, all at once, each with its place in the file.
//!
//! Never here: building ([`super::build`]), what reading a configuration finds ([`crate::config`]).

use std::path::PathBuf;

use super::{
    build::{emergency, environment_claim, issuer_options, key_fault, ledger_key, routing, signer, verifier},
    keys::KeyKeepers,
    webhooks,
};
use crate::{
    audit::note::NoteError,
    config::resolve::{Settings, Spot},
    identity::{KeySetFault, Limits as TokenLimits, Verifier, mint::SignerFault, verifier::VerifierFault},
    model::IssuerName,
    net,
    policy::routes::RouteFault,
};

/// Why a configuration cannot be built into parts.
#[derive(Debug, thiserror::Error)]
pub enum BuildFault {
    /// The issuers: one of them, or what is wrong between them.
    #[error("issuers: {fault}")]
    Issuers {
        /// Which.
        issuer: Option<IssuerName>,
        /// What is wrong.
        fault: VerifierFault,
    },
    /// An issuer's setting.
    #[error("issuer `{issuer}`: {what}")]
    Issuer {
        /// Its name.
        issuer: String,
        /// What is wrong.
        what: String,
    },
    /// An address of keys.
    #[error("issuer `{issuer}`: keys: {fault}")]
    Keys {
        /// The issuer's name.
        issuer: String,
        /// What is wrong.
        fault: net::ask::SetupFault,
    },
    /// The keys of the emergency authority.
    #[error("break_glass.tokens.keys: {0}")]
    Emergency(KeySetFault),
    /// A webhook.
    #[error("webhook `{name}`: {fault}")]
    Webhook {
        /// Its name.
        name: String,
        /// What is wrong.
        fault: net::ask::SetupFault,
    },
    /// The key of assertions.
    #[error("assertion.key: {0}")]
    Assertion(#[from] SignerFault),
    /// The key of the ledger.
    #[error("ledger.key: {0}")]
    Ledger(NoteError),
    /// The key of another ledger.
    #[error(
        "ledger.key is the key of the log `{key}`, and ledger.origin is `{origin}`; they must be the same"
    )]
    LedgerOrigin {
        /// The key's name.
        key: String,
        /// The log's name.
        origin: String,
    },
    /// The route map.
    #[error("routes: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Routes(Vec<RouteFault>),
}

/// The same, with its place in the file.
#[derive(Debug)]
pub struct PlacedFault {
    file: PathBuf,
    spot: Option<Spot>,
    /// What is wrong.
    pub fault: BuildFault,
}

impl PlacedFault {
    pub(super) fn of(fault: BuildFault, settings: &Settings) -> PlacedFault {
        let places = &settings.places;
        let issuer = |name: &str| places.issuers.iter().find(|(known, _)| known.as_str() == name);
        let spot = match &fault {
            BuildFault::Issuers { issuer: Some(name), .. } => {
                places.issuers.get(name).map(|(whole, _)| *whole)
            }
            BuildFault::Issuer { issuer: name, .. } => issuer(name).map(|(_, (whole, _))| *whole),
            BuildFault::Keys { issuer: name, .. } => issuer(name).map(|(_, (_, keys))| *keys),
            BuildFault::Assertion(_) => places.assertion_key,
            BuildFault::Ledger(_) => places.ledger_key,
            BuildFault::LedgerOrigin { .. } => places.ledger_origin,
            BuildFault::Emergency(_) => places.emergency_keys,
            BuildFault::Webhook { name, .. } => places.webhooks.get(name).copied(),
            BuildFault::Issuers { issuer: None, .. } | BuildFault::Routes(_) => None,
        };
        PlacedFault { file: settings.file.clone(), spot, fault }
    }
}

impl std::fmt::Display for PlacedFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some((line, column)) = self.spot {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": error: {}", self.fault)
    }
}

/// All of them, one a line.
pub(super) fn lines(faults: &[PlacedFault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Everything that keeps a gateway from being built from its configuration, all at once; nothing is opened.
pub fn check(settings: &Settings) -> Vec<PlacedFault> {
    let mut faults = unproved(settings);
    // The map carries the signer and the keys of the emergency authority, whose faults were told.
    faults.extend(
        routing(settings)
            .err()
            .filter(|fault| !matches!(fault, BuildFault::Assertion(_) | BuildFault::Emergency(_))),
    );
    faults.into_iter().map(|fault| PlacedFault::of(fault, settings)).collect()
}

/// The same of a configuration that has faults of its own: what they are not the cause of.
pub fn check_beside(settings: &Settings) -> Vec<PlacedFault> {
    unproved(settings).into_iter().map(|fault| PlacedFault::of(fault, settings)).collect()
}

/// What only building proves, but for the map, which was compiled when it was read.
fn unproved(settings: &Settings) -> Vec<BuildFault> {
    let environment = environment_claim(settings);
    let mut faults = Vec::new();
    // One by one, so that all of them are told; together only for what is wrong between them.
    for issuer in &settings.issuers {
        let alone = issuer_options(issuer, environment, settings).and_then(|options| {
            let made = Verifier::new(vec![options], TokenLimits::default());
            made.map_err(|fault| BuildFault::Issuers { issuer: Some(issuer.name.clone()), fault })
        });
        faults.extend(alone.err());
    }
    if faults.is_empty() {
        faults.extend(verifier(settings).err());
    }
    for issuer in &settings.issuers {
        let keeper = KeyKeepers::of(std::slice::from_ref(issuer));
        faults.extend(keeper.err().map(key_fault));
    }
    faults.extend(webhooks::hooks(settings).err());
    faults.extend(signer(settings).err());
    faults.extend(emergency(settings).err());
    match ledger_key(settings) {
        Ok(key) if key.verifying_key().name() == settings.ledger.origin => {}
        Ok(key) => faults.push(BuildFault::LedgerOrigin {
            key: key.verifying_key().name().to_owned(),
            origin: settings.ledger.origin.clone(),
        }),
        Err(fault) => faults.push(BuildFault::Ledger(fault)),
    }
    faults
}
