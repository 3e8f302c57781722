//! Identifiers and their one canonical form (rule 2): a pattern over ASCII, compared byte by byte.
//!
//! Lives here: newtypes that cannot hold anything but the canonical form. Never here: folding, trimming or any other
//! "repair" of what a caller sent; what is not canonical is refused.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// Why a text is no identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdFault {
    /// The text has no characters.
    #[error("is empty")]
    Empty,
    /// The text is longer than the kind of identifier allows.
    #[error("is longer than {0} characters")]
    TooLong(usize),
    /// The text holds a character outside the pattern, or starts with one that may only follow.
    #[error("must match `{0}`")]
    Pattern(&'static str),
}

/// Letters, digits, and inside also `.`, `_`, `~`, `-`; case matters.
const OPAQUE: &str = "[A-Za-z0-9][A-Za-z0-9._~-]*";
/// Lower-case words of the configuration.
const WORD: &str = "[a-z][a-z0-9_-]*";
/// `resource_type:action`.
const PERMISSION: &str = "[a-z][a-z0-9_-]*:[a-z][a-z0-9_-]*";

fn opaque(text: &str, max: usize) -> Result<(), IdFault> {
    check(
        text,
        max,
        OPAQUE,
        |b| b.is_ascii_alphanumeric(),
        |b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'~' | b'-'),
    )
}

fn word(text: &str, max: usize) -> Result<(), IdFault> {
    check(
        text,
        max,
        WORD,
        |b| b.is_ascii_lowercase(),
        |b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'),
    )
}

fn permission(text: &str, max: usize) -> Result<(), IdFault> {
    let Some((kind, action)) = text.split_once(':') else {
        return Err(if text.is_empty() { IdFault::Empty } else { IdFault::Pattern(PERMISSION) });
    };
    for part in [kind, action] {
        word(part, max).map_err(|fault| match fault {
            IdFault::TooLong(n) => IdFault::TooLong(n),
            IdFault::Empty | IdFault::Pattern(_) => IdFault::Pattern(PERMISSION),
        })?;
    }
    Ok(())
}

fn check(
    text: &str,
    max: usize,
    pattern: &'static str,
    first: fn(u8) -> bool,
    rest: fn(u8) -> bool,
) -> Result<(), IdFault> {
    let mut bytes = text.bytes();
    let head = bytes.next().ok_or(IdFault::Empty)?;
    if text.len() > max {
        return Err(IdFault::TooLong(max));
    }
    if first(head) && bytes.all(rest) { Ok(()) } else { Err(IdFault::Pattern(pattern)) }
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $check:ident, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes a text that already has the canonical form; anything else is refused, nothing is repaired.
            pub fn new(text: &str) -> Result<Self, IdFault> {
                $check(text, $max)?;
                Ok(Self(Arc::from(text)))
            }

            /// Whether a text has the canonical form.
            pub fn check(text: &str) -> Result<(), IdFault> {
                $check(text, $max)
            }

            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdFault;

            fn try_from(text: String) -> Result<Self, IdFault> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().to_owned()
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdFault;

            fn from_str(text: &str) -> Result<Self, IdFault> {
                Self::new(text)
            }
        }
    };
}

identifier!(
    /// An organisation of the application.
    TenantId, opaque, 128
);
identifier!(
    /// An environment of a tenant: `production`, `sandbox`, … Rights never cross from one to another.
    EnvironmentId, opaque, 64
);
identifier!(
    /// One thing below a tenant, as the application names it.
    ResourceId, opaque, 128
);
impl ResourceId {
    /// The one before which no other comes, byte by byte.
    pub fn least() -> ResourceId {
        ResourceId(Arc::from("0"))
    }
}

identifier!(
    /// A kind of resource: `orders`, `integration`, `pipe`.
    ResourceType, word, 64
);
identifier!(
    /// A role of the configuration.
    RoleName, word, 64
);
identifier!(
    /// A step of the consent ladder.
    LevelName, word, 64
);
identifier!(
    /// What a tenant pays for, as its provisioning calls it.
    PlanName, opaque, 64
);
identifier!(
    /// The short name that the configuration gives to an issuer of tokens.
    IssuerName, word, 64
);
identifier!(
    /// `resource_type:action`, e.g. `orders:read`. A name of the closed catalogue.
    PermissionName, permission, 64
);
identifier!(
    /// A support organisation that the configuration names.
    OrganisationName, word, 64
);
identifier!(
    /// A grant. No credential.
    GrantId, opaque, 64
);
identifier!(
    /// A support session. No credential (rule 3).
    SessionId, opaque, 64
);
identifier!(
    /// A request for approval. No credential.
    RequestId, opaque, 64
);
identifier!(
    /// One change of stored documents; a repeat carries the same id.
    ChangeId, opaque, 64
);
identifier!(
    /// One exchange: a request with its response, or a tunnel.
    ExchangeId, opaque, 64
);

impl PermissionName {
    /// The resource type before the colon.
    pub fn resource_type(&self) -> &str {
        self.0.split_once(':').map_or("", |(kind, _)| kind)
    }

    /// The action behind the colon.
    pub fn action(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, action)| action)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_forms_pass_unchanged() {
        for text in ["acme", "Acme-EU", "0f", "a.b_c~d-e"] {
            assert_eq!(TenantId::new(text).unwrap().as_str(), text);
        }
        assert_eq!(PermissionName::new("orders:read").unwrap().action(), "read");
    }

    #[test]
    fn anything_else_is_refused_and_never_repaired() {
        for text in ["", " acme", "acme ", ".", "..", "-a", "a/b", "a%2fb", "ａcme", "a\0", "é"] {
            assert!(TenantId::new(text).is_err(), "{text:?}");
        }
        for text in ["orders", "orders:", ":read", "Orders:read", "orders:read:all", "orders:*"] {
            assert!(PermissionName::new(text).is_err(), "{text:?}");
        }
        assert_eq!(TenantId::new(&"a".repeat(129)), Err(IdFault::TooLong(128)));
    }

    #[test]
    fn stored_text_is_checked_like_any_other() {
        assert!(serde_json::from_str::<TenantId>("\"a b\"").is_err());
        assert_eq!(serde_json::from_str::<TenantId>("\"a\"").unwrap().as_str(), "a");
    }
}
