//! `Idempotency-Key`: how it is spelled, and how a repeat is answered. Whoever did not hear the answer to a creation sends it
//! again with the same key, and hears of what the first one made.
//!
//! Never here: what is kept and for how long ([`crate::model::once`]), whether the caller may ask
//! ([`crate::lifecycle`]).

use http::{HeaderMap, HeaderName, Method};

use crate::{
    engine::Changed,
    lifecycle::{Command, Refusal},
    model::{
        GrantId, RequestId, SessionId, TenantId,
        once::{Once, Thing},
    },
};

use super::{
    Api,
    call::{Call, one},
    outcome::Outcome,
    problem::Problem,
};

/// Characters of a key, at most.
const LONGEST: usize = 128;
const NAME: HeaderName = HeaderName::from_static("idempotency-key");

/// What a creation came to.
pub(super) struct Creation {
    pub(super) outcome: Outcome,
    /// Of a repeat: what the first one made.
    earlier: Option<Thing>,
}

impl Creation {
    /// Whether the same request made it before.
    pub(super) fn repeated(&self) -> bool {
        self.earlier.is_some()
    }

    /// The grant that there is now.
    pub(super) fn grant(&self, fresh: GrantId) -> Result<GrantId, Problem> {
        match &self.earlier {
            None => Ok(fresh),
            Some(Thing::Grant(id)) => Ok(id.clone()),
            Some(Thing::Session(_) | Thing::Request(_)) => Err(Refusal::KeyReused.into()),
        }
    }

    /// The session that there is now.
    pub(super) fn session(&self, fresh: SessionId) -> Result<SessionId, Problem> {
        match &self.earlier {
            None => Ok(fresh),
            Some(Thing::Session(id)) => Ok(id.clone()),
            Some(Thing::Grant(_) | Thing::Request(_)) => Err(Refusal::KeyReused.into()),
        }
    }

    /// The request for approval that there is now.
    pub(super) fn request(&self, fresh: RequestId) -> Result<RequestId, Problem> {
        match &self.earlier {
            None => Ok(fresh),
            Some(Thing::Request(id)) => Ok(id.clone()),
            Some(Thing::Grant(_) | Thing::Session(_)) => Err(Refusal::KeyReused.into()),
        }
    }

    /// What is shown of it. A creation has happened, and that it cannot be shown is no reason to say that it has not; of a
    /// repeat nothing happened but the showing.
    pub(super) fn shown<T>(
        &self,
        what: &'static str,
        found: Result<Option<T>, Problem>,
    ) -> Result<Option<T>, Problem> {
        if self.repeated() {
            found?.ok_or_else(|| Refusal::NotFound(what).into()).map(Some)
        } else {
            Ok(found.ok().flatten())
        }
    }
}

impl Api {
    /// Makes something by the caller, once for each key of theirs.
    pub(super) async fn create(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        command: Command,
    ) -> Result<Creation, Problem> {
        let request = (Method::POST.as_str(), call.path);
        let once = key(call.headers)?.map(|key| Once::of(tenant, &call.subject.id, key, request, call.body));
        let changed = self.engine.change_once(command, call.giver(), once).await;
        let changed = changed.map_err(|fault| Problem::change(&fault, &call.policy.ladder))?;
        let earlier = match &changed {
            Changed::Already { made, .. } => Some(made.clone()),
            Changed::Done { .. } | Changed::Unchanged | Changed::InForce { .. } => None,
        };
        Ok(Creation { outcome: Outcome::of(changed), earlier })
    }
}

/// The key, if there is one: a string of structured fields, `"8e03978e-…"`, or the same without its quotes, as many clients send
/// it. Both spell one key.
fn key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = one(headers, &NAME) else { return Ok(None) };
    let value = value.ok_or_else(malformed)?.trim_matches([' ', '\t']);
    let quoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    // Without quotes, what separates values or parameters may not stand there: it could be two keys, or one and more.
    let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\');
    let bare = |b: u8| plain(b) && !matches!(b, b',' | b';');
    let sound = match quoted {
        Some(inside) => inside.bytes().all(plain),
        None => value.bytes().all(bare),
    };
    let key = quoted.unwrap_or(value);
    if sound && (1..=LONGEST).contains(&key.len()) { Ok(Some(key)) } else { Err(malformed()) }
}

fn malformed() -> Problem {
    let detail = format!(
        "`Idempotency-Key` must come once, as 1 to {LONGEST} visible ASCII characters in quotes, neither `\"` nor `\\` among them"
    );
    Problem { field: Some(NAME.as_str().into()), ..Problem::new(400, "idempotency_key_malformed", detail) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn read(values: &[&[u8]]) -> Result<Option<String>, &'static str> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(NAME, HeaderValue::from_bytes(value).unwrap());
        }
        key(&headers).map(|key| key.map(str::to_owned)).map_err(|problem| problem.code)
    }

    #[test]
    fn a_key_is_one_short_string_with_or_without_its_quotes() {
        let longest = "k".repeat(LONGEST);
        assert_eq!(read(&[]), Ok(None));
        for (value, key) in [
            ("\"8e03978e-40d5\"", "8e03978e-40d5"),
            ("8e03978e-40d5", "8e03978e-40d5"),
            ("  \"a,b;c=d\"\t", "a,b;c=d"),
            (&longest, &longest),
        ] {
            assert_eq!(read(&[value.as_bytes()]), Ok(Some(key.to_owned())), "{value}");
        }
        let too_long = format!("\"{longest}k\"");
        for value in [
            "",
            "\"\"",
            "\"",
            "\"a",
            "a\"",
            "a b",
            "\"a b\"",
            "a,b",
            "a;b=1",
            "\"a\";b=1",
            "\"a\", \"b\"",
            "\"a\\\"b\"",
            "\"a\\\\b\"",
            "'a' ",
            ":YQ==: x",
            "\"a\tb\"",
            &too_long,
        ] {
            let expected =
                if value == "'a' " { Ok(Some("'a'".to_owned())) } else { Err("idempotency_key_malformed") };
            assert_eq!(read(&[value.as_bytes()]), expected, "{value}");
        }
        assert_eq!(read(&[b"a", b"a"]), Err("idempotency_key_malformed"));
        assert_eq!(read(&["é".as_bytes()]), Err("idempotency_key_malformed"));
    }
}
