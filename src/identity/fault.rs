//! Why a token admits nobody: a closed list with stable codes.
//!
//! Lives here: [`TokenFault`]. Never here: a piece of a token, of a key, or of a claim's value; a message says what is
//! wrong and what to do about it, and may be shown to whoever sent the token.

/// Why a token was refused. The list is closed: a new reason does not compile until somebody chooses its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TokenFault {
    /// Longer than the bound.
    #[error("the token is too large; ask the issuer for fewer claims, or raise the limit on token size")]
    TooLarge,
    /// Not three parts separated by dots.
    #[error("the token is not a signed token in compact form; send three base64url parts separated by dots")]
    NotCompact,
    /// A part is not canonical base64url.
    #[error(
        "a part of the token is not canonical base64url; send it as issued, without padding or white space"
    )]
    Base64,
    /// The header is not one JSON object.
    #[error("the token's header is not a JSON object; ask the issuer for a signed JSON web token")]
    HeaderJson,
    /// The payload is not one JSON object.
    #[error("the token's payload is not a JSON object; ask the issuer for a signed JSON web token")]
    PayloadJson,
    /// A member stands twice in one object, at any depth.
    #[error(
        "the token names a member twice, so it can be read in two ways; ask the issuer to name each once"
    )]
    DuplicateMember,
    /// Nested deeper than the bound.
    #[error("the token is nested too deeply; ask the issuer for flatter claims")]
    TooDeep,
    /// A header member has the wrong type.
    #[error("a member of the token's header has the wrong type; `alg`, `kid` and `typ` are texts")]
    HeaderForm,
    /// `crit` is present.
    #[error("the token's header has `crit`; no critical extension is supported, so issue the token without")]
    Critical,
    /// `jku`, `jwk`, `x5u` or `x5c` is present.
    #[error("the token brings its own key (`jku`, `jwk`, `x5u` or `x5c`); issue it with a `kid` only")]
    KeyInHeader,
    /// `b64` is present.
    #[error("the token's header has `b64`; unencoded payloads are not supported")]
    Unencoded,
    /// `zip` is present.
    #[error("the token's header has `zip`; compressed payloads are not supported")]
    Compressed,
    /// No `alg`.
    #[error("the token's header has no `alg`; ask the issuer for a signed token")]
    AlgMissing,
    /// `alg` is `none`.
    #[error("the token is not signed; ask the issuer for a signed token")]
    AlgNone,
    /// An algorithm that nobody here knows.
    #[error("the token's algorithm is not supported; use RS, PS, ES or EdDSA")]
    AlgUnsupported,
    /// An algorithm that this issuer does not use.
    #[error(
        "the token's algorithm is not one configured for its issuer; add it to the issuer's `algorithms`"
    )]
    AlgNotAllowed,
    /// No `typ`, where the issuer must send one.
    #[error(
        "the token has no `typ`; have the issuer send `at+jwt` or `JWT`, or accept tokens without for it"
    )]
    TypMissing,
    /// A `typ` that the issuer may not use.
    #[error(
        "the token's `typ` is not accepted; send an access token (`at+jwt` or `JWT`), not one of another use"
    )]
    TypNotAllowed,
    /// Postern's own assertion, which never comes back as a token (rule 14).
    #[error(
        "an assertion that this gateway made for an application is no token; send the caller's own token"
    )]
    OwnAssertion,
    /// The issuer's keys were never fetched, or are too old: nothing can be said about the token.
    #[error(
        "the issuer's keys cannot be had right now, so its tokens cannot be judged; try again in a moment"
    )]
    KeysUnavailable,
    /// No key with that `kid`, or none that fits.
    #[error(
        "no key is known for the token; check that it comes from the configured issuer and that keys are fresh"
    )]
    KeyUnknown,
    /// There is a key with that `kid`, yet not for this algorithm.
    #[error("the key that the token names is not for its algorithm; check the issuer's key set")]
    KeyMismatch,
    /// Several keys would fit.
    #[error("several keys fit the token; have the issuer send a `kid` that names one")]
    KeyAmbiguous,
    /// The signature does not verify.
    #[error("the token's signature does not verify; get a new token from the configured issuer")]
    Signature,
    /// No `iss`, or not a text.
    #[error("the token has no `iss`; ask the issuer to name itself")]
    IssMissing,
    /// An issuer that is not configured.
    #[error(
        "the token's issuer is not configured here; compare its `iss` with the configuration byte by byte"
    )]
    IssUnknown,
    /// No `aud`.
    #[error("the token has no `aud`; ask the issuer for a token made for this gateway")]
    AudMissing,
    /// `aud` is neither a text nor a list of texts.
    #[error("the token's `aud` is neither a text nor a list of texts")]
    AudForm,
    /// A token for somebody else.
    #[error("the token was made for another audience; ask the issuer for one made for this gateway")]
    AudNotAllowed,
    /// No `exp`.
    #[error("the token has no `exp`; ask the issuer for tokens that expire")]
    ExpMissing,
    /// `exp`, `nbf` or `iat` is no number of seconds between 1970 and 9999.
    #[error("the token's `exp`, `nbf` or `iat` is not a number of seconds between the years 1970 and 9999")]
    TimeForm,
    /// Past `exp` and leeway.
    #[error("the token has expired; get a new one")]
    Expired,
    /// Before `nbf`.
    #[error("the token is not valid yet; try again later, or compare the clocks")]
    NotYetValid,
    /// `iat` is in the future.
    #[error("the token was issued in the future; compare the issuer's clock with the gateway's")]
    IssuedInFuture,
    /// No `iat`, where the issuer's lifetime is bounded.
    #[error(
        "the token has no `iat`, so its lifetime cannot be bounded; have the issuer send it, or lift the bound"
    )]
    IatMissing,
    /// Lives longer than the issuer's bound.
    #[error(
        "the token lives longer than its issuer may grant; ask for a shorter one, or raise `max_lifetime`"
    )]
    LifetimeTooLong,
    /// No `sub`.
    #[error("the token has no `sub`; ask the issuer to name the subject")]
    SubMissing,
    /// `sub` is not 1 to 255 visible ASCII characters.
    #[error("the token's `sub` must be 1 to 255 visible ASCII characters")]
    SubForm,
    /// A member's token without a tenant.
    #[error(
        "the token names no tenant; have the issuer send the claim that the configuration maps to the tenant"
    )]
    TenantMissing,
    /// A tenant that has no canonical form.
    #[error(
        "the token's tenant is not a canonical identifier; letters, digits and inside also `.`, `_`, `~`, `-`"
    )]
    TenantForm,
    /// The claim that names the environment is there and is no canonical identifier.
    #[error("the environment claim must be one identifier in canonical form")]
    EnvironmentForm,
    /// Several tokens in one request, or one twice in different words.
    #[error("the request carries several tokens that differ; send one, in the header or in the cookie")]
    Several,
    /// A token in a cookie, of an issuer that has none.
    #[error("this token may not come in a cookie; send it in `Authorization`")]
    InCookie,
    /// An emergency token that lacks a claim, or has one too many.
    #[error("this is no emergency token as `postern break-glass token` makes them; have another one signed")]
    EmergencyForm,
    /// Roles that are neither a text nor a list of texts.
    #[error("the token's roles are neither a text nor a list of texts")]
    RolesForm,
}

impl TokenFault {
    /// Every fault there is, in the order of the checks.
    pub const ALL: &'static [TokenFault] = &[
        Self::TooLarge,
        Self::NotCompact,
        Self::Base64,
        Self::HeaderJson,
        Self::PayloadJson,
        Self::DuplicateMember,
        Self::TooDeep,
        Self::HeaderForm,
        Self::Critical,
        Self::KeyInHeader,
        Self::Unencoded,
        Self::Compressed,
        Self::AlgMissing,
        Self::AlgNone,
        Self::AlgUnsupported,
        Self::AlgNotAllowed,
        Self::TypMissing,
        Self::TypNotAllowed,
        Self::OwnAssertion,
        Self::KeysUnavailable,
        Self::KeyUnknown,
        Self::KeyMismatch,
        Self::KeyAmbiguous,
        Self::Signature,
        Self::IssMissing,
        Self::IssUnknown,
        Self::AudMissing,
        Self::AudForm,
        Self::AudNotAllowed,
        Self::ExpMissing,
        Self::TimeForm,
        Self::Expired,
        Self::NotYetValid,
        Self::IssuedInFuture,
        Self::IatMissing,
        Self::LifetimeTooLong,
        Self::SubMissing,
        Self::SubForm,
        Self::TenantMissing,
        Self::TenantForm,
        Self::EnvironmentForm,
        Self::RolesForm,
        Self::Several,
        Self::InCookie,
        Self::EmergencyForm,
    ];

    /// The stable code of this fault, for answers, records and tests.
    pub const fn code(self) -> &'static str {
        match self {
            Self::TooLarge => "token_too_large",
            Self::NotCompact => "token_not_compact",
            Self::Base64 => "token_base64",
            Self::HeaderJson => "token_header_json",
            Self::PayloadJson => "token_payload_json",
            Self::DuplicateMember => "token_duplicate_member",
            Self::TooDeep => "token_too_deep",
            Self::HeaderForm => "token_header_form",
            Self::Critical => "token_crit",
            Self::KeyInHeader => "token_key_in_header",
            Self::Unencoded => "token_b64",
            Self::Compressed => "token_zip",
            Self::AlgMissing => "token_alg_missing",
            Self::AlgNone => "token_alg_none",
            Self::AlgUnsupported => "token_alg_unsupported",
            Self::AlgNotAllowed => "token_alg_not_allowed",
            Self::TypMissing => "token_typ_missing",
            Self::TypNotAllowed => "token_typ_not_allowed",
            Self::OwnAssertion => "token_own_assertion",
            Self::KeysUnavailable => "keys_unavailable",
            Self::KeyUnknown => "token_key_unknown",
            Self::KeyMismatch => "token_key_mismatch",
            Self::KeyAmbiguous => "token_key_ambiguous",
            Self::Signature => "token_signature",
            Self::IssMissing => "token_iss_missing",
            Self::IssUnknown => "token_iss_unknown",
            Self::AudMissing => "token_aud_missing",
            Self::AudForm => "token_aud_form",
            Self::AudNotAllowed => "token_aud_not_allowed",
            Self::ExpMissing => "token_exp_missing",
            Self::TimeForm => "token_time_form",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
            Self::IssuedInFuture => "token_issued_in_future",
            Self::IatMissing => "token_iat_missing",
            Self::LifetimeTooLong => "token_lifetime_too_long",
            Self::SubMissing => "token_sub_missing",
            Self::SubForm => "token_sub_form",
            Self::TenantMissing => "token_tenant_missing",
            Self::TenantForm => "token_tenant_form",
            Self::EnvironmentForm => "token_environment_form",
            Self::RolesForm => "token_roles_form",
            Self::Several => "token_several",
            Self::InCookie => "token_in_cookie",
            Self::EmergencyForm => "token_emergency_form",
        }
    }
}
