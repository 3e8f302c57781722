//! The compact form of a signed token: three canonical parts and a header that asks for nothing unusual.
//!
//! Lives here: splitting, base64url, the rules on headers that hold for every issuer. Never here: keys, claims, clocks.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    algorithm::Algorithm,
    fault::TokenFault,
    json::{Json, JsonFault, Object},
    options::{ASSERTION_TYPE, Limits},
};

/// A token taken apart, nothing of it verified yet.
pub(super) struct Compact<'a> {
    pub(super) header: Header,
    /// Header and payload as they were signed.
    pub(super) signed: &'a [u8],
    pub(super) payload: Vec<u8>,
    pub(super) signature: Vec<u8>,
}

/// What a header may say.
pub(super) struct Header {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    pub(super) typ: Option<String>,
}

impl<'a> Compact<'a> {
    /// Takes a token apart; whatever could be read in a second way is refused.
    pub(super) fn read(token: &'a [u8], limits: &Limits) -> Result<Self, TokenFault> {
        if token.len() > limits.max_token_bytes {
            return Err(TokenFault::TooLarge);
        }
        let mut parts = token.split(|byte| *byte == b'.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenFault::NotCompact);
        };
        let header = Header::read(&decode(header)?, limits)?;
        let signed = token.get(..token.len() - signature.len() - 1).ok_or(TokenFault::NotCompact)?;
        Ok(Self { header, signed, payload: decode(payload)?, signature: decode(signature)? })
    }

    /// The claims, as an object without duplicate members.
    pub(super) fn claims(&self, limits: &Limits) -> Result<Object, TokenFault> {
        Object::read(&self.payload, limits.max_depth).map_err(|fault| fault.of(TokenFault::PayloadJson))
    }
}

impl Header {
    fn read(text: &[u8], limits: &Limits) -> Result<Self, TokenFault> {
        let header =
            Object::read(text, limits.max_depth).map_err(|fault| fault.of(TokenFault::HeaderJson))?;
        if header.has("crit") {
            return Err(TokenFault::Critical);
        }
        if ["jku", "jwk", "x5u", "x5c"].into_iter().any(|name| header.has(name)) {
            return Err(TokenFault::KeyInHeader);
        }
        if header.has("b64") {
            return Err(TokenFault::Unencoded);
        }
        if header.has("zip") {
            return Err(TokenFault::Compressed);
        }
        let name = text_of(&header, "alg")?.ok_or(TokenFault::AlgMissing)?;
        let kid = text_of(&header, "kid")?.map(str::to_owned);
        let typ = text_of(&header, "typ")?.map(str::to_owned);
        let algorithm = match Algorithm::named(name) {
            Some(algorithm) => algorithm,
            None if name.eq_ignore_ascii_case("none") => return Err(TokenFault::AlgNone),
            None => return Err(TokenFault::AlgUnsupported),
        };
        if typ.as_deref().is_some_and(|typ| is_type(typ, ASSERTION_TYPE)) {
            return Err(TokenFault::OwnAssertion);
        }
        Ok(Self { algorithm, kid, typ })
    }
}

fn text_of<'a>(header: &'a Object, name: &str) -> Result<Option<&'a str>, TokenFault> {
    match header.get(name) {
        None => Ok(None),
        Some(Json::Text(text)) => Ok(Some(text)),
        Some(_) => Err(TokenFault::HeaderForm),
    }
}

impl JsonFault {
    fn of(self, syntax: TokenFault) -> TokenFault {
        match self {
            JsonFault::Syntax => syntax,
            JsonFault::Duplicate => TokenFault::DuplicateMember,
            JsonFault::TooDeep => TokenFault::TooDeep,
        }
    }
}

/// Whether two `typ` values are the same media type: case does not matter, `application/` may be left out (RFC 7515
/// section 4.1.9).
pub(super) fn is_type(a: &str, b: &str) -> bool {
    subtype(a).eq_ignore_ascii_case(subtype(b))
}

fn subtype(typ: &str) -> &str {
    const PREFIX: &str = "application/";
    match typ.split_at_checked(PREFIX.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) && !rest.contains('/') => rest,
        _ => typ,
    }
}

/// Canonical base64url: no padding, no white space, no stray bits in the last character.
fn decode(part: &[u8]) -> Result<Vec<u8>, TokenFault> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenFault::Base64)
}
