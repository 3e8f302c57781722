//! The signature of Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`, one for each secret.
//!
//! Never here: where a secret comes from.

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::model::Timestamp;

pub(super) struct Signer(Vec<hmac::Key>);

impl Signer {
    pub(super) fn new(secrets: &[&[u8]]) -> Signer {
        Signer(secrets.iter().map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret)).collect())
    }

    /// The value of `webhook-signature`: `v1,<base64>` for each secret, with a space between.
    pub(super) fn sign(&self, id: &str, at_s: i64, body: &[u8]) -> String {
        let one = |key: &hmac::Key| {
            let mut context = hmac::Context::with_key(key);
            context.update(format!("{id}.{at_s}.").as_bytes());
            context.update(body);
            format!("v1,{}", STANDARD.encode(context.sign()))
        };
        self.0.iter().map(one).collect::<Vec<_>>().join(" ")
    }
}

/// An instant as `webhook-timestamp` has it: in seconds.
pub(super) fn seconds(at: Timestamp) -> i64 {
    at.ms() / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Worked out with Python's `hmac`, from a secret, an id, an instant and a body that others use as an example too.
    #[test]
    fn the_signature_is_the_one_that_others_work_out() {
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let other = [7u8; 32];
        let body = br#"{"test": 2432232314}"#;
        let told = Signer::new(&[&secret]).sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(told, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let both = Signer::new(&[&other, &secret]).sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        let (first, second) = both.split_once(' ').unwrap();
        assert_eq!(second, told);
        assert!(first.starts_with("v1,") && first != told);
    }
}
