//! The vendor's emergency authority: whoever signs emergency tokens, and the configuration that takes them.

use postern::{
    engine::new_id,
    identity::{Algorithm, EMERGENCY_TYPE, Signer},
    model::Timestamp,
};
use serde_json::{Value, json};

use crate::world::request;

pub struct Authority(pub Signer);

impl Authority {
    pub fn new() -> Authority {
        Authority(Signer::generate(Algorithm::EdDsa).unwrap())
    }

    /// `break_glass` for `olga` and `otto`, with this authority and what is said besides.
    pub fn glass(&self, more: &str) -> String {
        let keys = self.0.public_jwks().unwrap();
        format!(
            "break_glass: {{ operators: [{{ issuer: vendor, sub: olga }}, {{ issuer: vendor, sub: otto }}], role: editor, \
             tokens: {{ keys: {{ inline: {keys} }}, audience: tests{more} }} }}"
        )
    }

    /// What a token for `olga` in `acme` says, for an hour from now.
    pub fn claims(now: Timestamp) -> Value {
        let seconds = now.ms() / 1_000;
        json!({
            "jti": new_id("emg", now).unwrap(), "iat": seconds, "nbf": seconds, "exp": seconds + 3_600, "aud": "tests",
            "operator": { "issuer": "vendor", "sub": "olga" }, "tenant": "acme",
            "reason": "orders are stuck", "incident": "INC-4711", "cause": "stability",
        })
    }

    pub fn sign(&self, claims: &Value) -> String {
        self.0.sign(EMERGENCY_TYPE, claims).unwrap()
    }

    /// A token with these claims instead of the usual ones; `null` leaves one out.
    pub fn token(&self, now: Timestamp, edits: Value) -> String {
        let mut claims = Authority::claims(now);
        for (name, value) in edits.as_object().unwrap() {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        self.sign(&claims)
    }
}

/// A request with an emergency token.
pub fn with_token(target: &str, own: &str, token: &str) -> String {
    request("GET", target, own, &format!("Postern-Emergency: {token}\r\n"))
}
