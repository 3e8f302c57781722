//! What local play needs, and nobody else may have.
//!
//! Never here: where it may be used (see [`super::gateway`]).

/// What local play needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DangerousSettings {
    /// The clock can be moved.
    pub clock: bool,
    /// HMAC is taken.
    pub hmac: bool,
    /// Key sets may be fetched without TLS.
    pub http_keys: bool,
}

impl DangerousSettings {
    /// The names of those in use.
    pub fn in_use(self) -> Vec<&'static str> {
        // Taken apart whole, so that none is forgotten.
        let DangerousSettings { clock, hmac, http_keys } = self;
        let all = [(clock, "clock"), (hmac, "hmac"), (http_keys, "http_keys")];
        all.into_iter().filter(|(on, _)| *on).map(|(_, name)| name).collect()
    }
}
