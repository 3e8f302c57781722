//! Public keys of issuers: where they are, and for which algorithms they are good.
//!
//! Never here: the keys' own mathematics; [`crate::identity`] takes them apart for good.

use serde_json::Value;

use super::{
    address::{About, address},
    context::Context,
    dangerous::DangerousSettings,
    settings::{KeyAddress, KeyText},
};
use crate::config::{
    fault::Code,
    written::{At, Duration, Field, Keys, Place},
};

/// What kind of key an algorithm takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Rsa,
    P256,
    P384,
    P521,
    Ed25519,
    Hmac,
}

impl Family {
    pub(super) fn told(self) -> &'static str {
        match self {
            Family::Rsa => "a key with `kty` RSA",
            Family::P256 => "a key with `kty` EC and `crv` P-256",
            Family::P384 => "a key with `kty` EC and `crv` P-384",
            Family::P521 => "a key with `kty` EC and `crv` P-521",
            Family::Ed25519 => "a key with `kty` OKP and `crv` Ed25519",
            Family::Hmac => "a key with `kty` oct",
        }
    }
}

/// Keys as text, and what they are good for where that shows without taking them apart.
pub(super) struct ReadKeys {
    pub(super) text: KeyText,
    pub(super) families: Option<Vec<Family>>,
}

pub(super) fn keys(
    context: Context<'_>,
    field: &Field<Keys>,
    owner: Place,
    dangerous: DangerousSettings,
) -> Option<ReadKeys> {
    let hint = "name its public keys: `keys: { url: \"https://id.example/keys\" }`, `keys: { file: vendor.jwks.json }`, \
                or `keys: { inline: { keys: [ … ] } }`";
    let at = context.need(field, owner, "keys", hint)?;
    let written = &at.value;
    if !matches!(written.url, Field::Given(_)) {
        only_of_url(context, written);
    }
    match (&written.file, &written.inline, &written.url) {
        (Field::Given(file), Field::Absent, Field::Absent) => {
            let (_, bytes) = context.read(file, "the key set")?;
            match std::str::from_utf8(&bytes) {
                Ok(text) if text.contains("-----BEGIN ") => pem(context, file.place, text),
                Ok(text) => jwks(context, file.place, text, dangerous),
                Err(_) => {
                    context.put(Code::BadKeys, file.place, "the file of keys is no text", hint);
                    None
                }
            }
        }
        (Field::Absent, Field::Given(inline), Field::Absent) => {
            jwks(context, inline.place, &inline.value.0, dangerous)
        }
        (Field::Absent, Field::Absent, Field::Given(url)) => {
            let address = fetched(context, written, url, dangerous)?;
            Some(ReadKeys { text: KeyText::Fetched(address), families: None })
        }
        (file, inline, url) if file.is_broken() || inline.is_broken() || url.is_broken() => None,
        _ => {
            let message = "`keys` needs exactly one of `file`, `inline` and `url`";
            context.put(Code::OneOf, at.place, message, hint);
            None
        }
    }
}

/// What says something about fetching where nothing is fetched.
fn only_of_url(context: Context<'_>, written: &Keys) {
    let durations = [
        ("refresh", &written.refresh),
        ("keep", &written.keep),
        ("refetch", &written.refetch),
        ("timeout", &written.timeout),
    ];
    let durations = durations.into_iter().filter_map(|(key, field)| Some((key, field.given()?.place)));
    for (key, place) in written.ca.given().map(|at| ("ca", at.place)).into_iter().chain(durations) {
        context.put(
            Code::BadValue,
            place,
            format!("`{key}` says how keys are fetched, and these are not"),
            "remove it, or name where the keys are fetched from with `url`",
        );
    }
}

/// The shortest `refresh`, which a `max-age` does not go below either, in milliseconds.
const LEAST_REFRESH_MS: i64 = 30_000;
/// The shortest `keep`, in milliseconds.
const LEAST_KEEP_MS: i64 = 60_000;

const OF_KEYS: About = About {
    what: "a key set",
    form: "write the whole address: `https://id.example/.well-known/jwks.json`",
    clear: "keys fetched without TLS are the keys of whoever sits in between",
    instead: "use `https://`, or for local play `dangerous: { http_keys: true }`",
    password: "publish the keys where they can be read without a password; they are public",
};

fn fetched(
    context: Context<'_>,
    written: &Keys,
    url: &At<String>,
    dangerous: DangerousSettings,
) -> Option<KeyAddress> {
    let bounded =
        |field: &Field<Duration>, default, least, most| context.duration(field, default, least, most);
    let refresh_ms = bounded(&written.refresh, 900_000, LEAST_REFRESH_MS, 86_400_000);
    let keep_ms = bounded(&written.keep, 86_400_000, LEAST_KEEP_MS, 30 * 86_400_000);
    let refetch_ms = bounded(&written.refetch, 10_000, 1_000, 3_600_000);
    let timeout_ms = bounded(&written.timeout, 5_000, 100, 60_000);
    if keep_ms < refresh_ms && (LEAST_KEEP_MS..).contains(&keep_ms) {
        let place = written.keep.given().map(|at| at.place).or(written.refresh.given().map(|at| at.place));
        context.put(
            Code::OutOfRange,
            place.unwrap_or(url.place),
            "the keys would be too old before they are fetched again: `keep` is shorter than `refresh`",
            "let `keep` be several times as long as `refresh`, so that an outage is bridged",
        );
    }
    let server = address(context, url, &written.ca, &OF_KEYS, |_| dangerous.http_keys)?;
    Some(KeyAddress { url: url.value.clone(), server, refresh_ms, keep_ms, refetch_ms, timeout_ms })
}

fn pem(context: Context<'_>, place: Place, text: &str) -> Option<ReadKeys> {
    if text.contains("PRIVATE KEY-----") {
        private(context, place);
        return None;
    }
    if !text.contains("-----BEGIN PUBLIC KEY-----") {
        context.put(
            Code::BadKeys,
            place,
            "the file holds PEM, and no public key in it",
            "write the key as `-----BEGIN PUBLIC KEY-----` (`openssl pkey -pubout` does)",
        );
        return None;
    }
    Some(ReadKeys { text: KeyText::Pem(text.to_owned()), families: None })
}

fn private(context: Context<'_>, place: Place) {
    context.put(
        Code::PrivateKey,
        place,
        "a private key stands where only public ones belong",
        "take it out, and treat it as known to others: whoever holds it can make tokens",
    );
}

fn jwks(context: Context<'_>, place: Place, text: &str, dangerous: DangerousSettings) -> Option<ReadKeys> {
    let bad = |message: &str, hint: &str| {
        context.put(Code::BadKeys, place, message, hint);
        None
    };
    let form = "a JSON Web Key Set is `{ \"keys\": [ { \"kty\": … } ] }`";
    let Ok(set) = serde_json::from_str::<Value>(text) else { return bad("the key set is no JSON", form) };
    let Some(keys) = set.get("keys").and_then(Value::as_array) else {
        return bad("the key set has no list `keys`", form);
    };
    if keys.is_empty() {
        return bad("the key set is empty", "put the issuer's public keys there");
    }
    let mut families = Vec::new();
    for key in keys {
        let text = |name: &str| key.get(name).and_then(Value::as_str);
        let family = match (text("kty"), text("crv")) {
            (Some("RSA"), _) => Some(Family::Rsa),
            (Some("EC"), Some("P-256")) => Some(Family::P256),
            (Some("EC"), Some("P-384")) => Some(Family::P384),
            (Some("EC"), Some("P-521")) => Some(Family::P521),
            (Some("OKP"), Some("Ed25519")) => Some(Family::Ed25519),
            (Some("oct"), _) => Some(Family::Hmac),
            // Keys of other kinds may stand in a set; they are never used.
            (Some(_), _) => None,
            (None, _) => return bad("a key of the set has no `kty`", form),
        };
        if family == Some(Family::Hmac) && !dangerous.hmac {
            return bad(
                "a key of the set is a shared secret (`kty` oct)",
                "use public keys, or for local play `dangerous: { hmac: true }`",
            );
        }
        if family != Some(Family::Hmac) && key.get("d").is_some() {
            private(context, place);
            return None;
        }
        // A key set aside for encryption signs nothing.
        if text("use") != Some("enc") {
            families.extend(family);
        }
    }
    Some(ReadKeys { text: KeyText::Jwks(text.to_owned()), families: Some(families) })
}
