//! `postern token verify --batch`: the gateway's own rules on headers and signatures, run on lines of test vectors.
//!
//! A line is a JSON object with `id` (a text or an integer), `keys` (a list of JSON web keys) and `token` (a text); its
//! answer is `{"id","valid","reason"}` on one line, in the same order. Other members are passed over, so that vectors
//! can keep their comments. Payloads may be anything and no claim is looked at: vectors have none. Everything else is
//! the same code that verifies callers: form, canonical base64url, header rules, the choice of the key, what a key must
//! be. Two things differ, because vectors need them: any algorithm that fits the key passes, and a key may hold its
//! private half, which is not read.
//!
//! A line that cannot be read gets an answer too, and the batch goes on; only a broken input or output ends it.
//!
//! Never here: rules of its own.

use std::io::{self, BufRead, Read as _, Write};

use serde::Serialize;

use super::{
    algorithm::Algorithm,
    fault::TokenFault,
    json::{Json, Object},
    jwk::KeyRules,
    jws::Compact,
    keys::KeySet,
    options::Limits,
};

/// What a batch takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchOptions {
    /// Takes HMAC algorithms with `oct` keys.
    pub allow_hmac: bool,
    /// The longest line, in bytes; longer ones are passed over and answered `line_too_long`.
    pub max_line_bytes: usize,
    /// The same bounds as for callers.
    pub limits: Limits,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self { allow_hmac: false, max_line_bytes: 1 << 20, limits: Limits::default() }
    }
}

/// How a batch went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BatchSummary {
    /// Tokens that verified.
    pub valid: u64,
    /// Tokens that did not.
    pub invalid: u64,
    /// Lines that could not be read.
    pub unreadable: u64,
}

/// What a line names itself.
#[derive(Serialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Integer(i64),
    Unknown,
}

#[derive(Serialize)]
struct Answer {
    id: Id,
    valid: bool,
    reason: &'static str,
}

/// The reason of a token that verified.
const VERIFIED: &str = "verified";

enum Fault {
    /// The token does not verify.
    Invalid(&'static str),
    /// The line is not of the form.
    Unreadable(&'static str),
}

impl From<TokenFault> for Fault {
    fn from(fault: TokenFault) -> Self {
        Self::Invalid(fault.code())
    }
}

/// Answers every line of `input` on `output`. Blank lines have no answer.
///
/// # Errors
/// Only those of `input` and `output` themselves.
pub fn verify_lines(
    mut input: impl BufRead,
    mut output: impl Write,
    options: &BatchOptions,
) -> io::Result<BatchSummary> {
    let mut summary = BatchSummary::default();
    let mut line = Vec::new();
    while let Some(whole) = next_line(&mut input, &mut line, options.max_line_bytes)? {
        let (id, verdict) = if !whole {
            (Id::Unknown, Err(Fault::Unreadable("line_too_long")))
        } else if line.trim_ascii().is_empty() {
            continue;
        } else {
            judge(&line, options)
        };
        let (valid, reason, count) = match verdict {
            Ok(()) => (true, VERIFIED, &mut summary.valid),
            Err(Fault::Invalid(reason)) => (false, reason, &mut summary.invalid),
            Err(Fault::Unreadable(reason)) => (false, reason, &mut summary.unreadable),
        };
        *count += 1;
        serde_json::to_writer(&mut output, &Answer { id, valid, reason })?;
        output.write_all(b"\n")?;
    }
    output.flush()?;
    Ok(summary)
}

/// Reads a line into `line`; `Some(false)` where it was longer than the bound and has been passed over.
fn next_line(input: &mut impl BufRead, line: &mut Vec<u8>, max: usize) -> io::Result<Option<bool>> {
    line.clear();
    let bound = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    if input.by_ref().take(bound).read_until(b'\n', line)? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') || line.len() <= max {
        return Ok(Some(true));
    }
    input.skip_until(b'\n')?;
    Ok(Some(false))
}

fn judge(line: &[u8], options: &BatchOptions) -> (Id, Result<(), Fault>) {
    let Ok(line) = Object::read(line, options.limits.max_depth) else {
        return (Id::Unknown, Err(Fault::Unreadable("line_json")));
    };
    let id = match line.get("id") {
        Some(Json::Text(id)) => Id::Text(id.clone()),
        Some(Json::Integer(id)) => Id::Integer(*id),
        _ => return (Id::Unknown, Err(Fault::Unreadable("line_id"))),
    };
    let verdict = match (line.get("keys"), line.get("token")) {
        (Some(Json::List(keys)), Some(Json::Text(token))) => verify(keys, token, options),
        // The JSON serialisation of RFC 7515 section 7.2, which a bearer token cannot be.
        (Some(Json::List(_)), Some(Json::Object(_))) => Err(TokenFault::NotCompact.into()),
        (Some(Json::List(_)), _) => Err(Fault::Unreadable("line_token")),
        _ => Err(Fault::Unreadable("line_keys")),
    };
    (id, verdict)
}

fn verify(keys: &[Json], token: &str, options: &BatchOptions) -> Result<(), Fault> {
    let compact = Compact::read(token.as_bytes(), &options.limits)?;
    let algorithm = compact.header.algorithm;
    if algorithm.is_hmac() && !options.allow_hmac {
        return Err(TokenFault::AlgNotAllowed.into());
    }
    let rules = KeyRules { algorithms: Algorithm::ALL, hmac: options.allow_hmac, private: true };
    let set = KeySet::of(keys, &rules);
    if set.is_mixed() {
        return Err(Fault::Invalid("keys_mixed"));
    }
    let key = match set.choose(algorithm, compact.header.kid.as_deref()) {
        Ok(key) => key,
        // Where no key could be used at all, why not says more than that none is known.
        Err(TokenFault::KeyUnknown) if set.is_empty() => {
            let why = set.ignored.first().map_or(TokenFault::KeyUnknown.code(), |key| key.fault.code());
            return Err(Fault::Invalid(why));
        }
        Err(fault) => return Err(fault.into()),
    };
    if key.verifies(compact.signed, &compact.signature) { Ok(()) } else { Err(TokenFault::Signature.into()) }
}
