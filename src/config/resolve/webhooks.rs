//! Who is told of what happened: names, addresses, secrets, what is wanted.
//!
//! Never here: telling it ([`crate::webhook`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use zeroize::Zeroizing;

use super::{
    address::{About, address},
    context::Context,
    gateway::DAY,
};
use crate::{
    config::{
        fault::Code,
        written::{At, Field, File, KeyFrom, OneOrMany, Webhook},
    },
    model::{IssuerName, TenantId},
    net::ask::Address,
};

/// Webhooks, at most.
const MOST: usize = 64;
/// Secrets of one, at most.
const MOST_SECRETS: usize = 3;
/// Bytes of a secret.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// How it begins.
const PREFIX: &str = "whsec_";
/// What is told where nothing is said: who came in, and all that ends what was inside.
const EVENTS: [&str; 8] = [
    "session_started",
    "session_ended",
    "glass_broken",
    "grant_ended",
    "consent_changed",
    "consent_fell",
    "support_stopped",
    "tenant_removed",
];
/// Some write base64 without its padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const OF_WEBHOOKS: About = About {
    what: "a webhook",
    form: "write the whole address: `https://hooks.example/postern`",
    clear: "without TLS whoever sits in between reads who is inside",
    instead: "use `https://`, with `ca` for an authority of your own; `http` goes to an address of this machine alone, \
              as `http://127.0.0.1:9000/`",
    password: "the receiver knows us by the signature; leave it out",
};

/// One webhook.
#[derive(Debug, Clone)]
pub struct WebhookSettings {
    /// Its name.
    pub name: String,
    /// Where to.
    pub server: Address,
    /// What signs, each of them.
    pub secrets: Vec<SigningSecret>,
    /// What is told, by name.
    pub events: BTreeSet<&'static str>,
    /// Of which tenants; `None` is all.
    pub tenants: Option<BTreeSet<TenantId>>,
    /// How long one attempt may take, in milliseconds.
    pub timeout_ms: i64,
    /// For how long one event is tried, in milliseconds.
    pub give_up_ms: i64,
}

/// The bytes of a secret. Never printed, wiped when dropped.
#[derive(Clone)]
pub struct SigningSecret(Zeroizing<Vec<u8>>);

impl SigningSecret {
    /// The bytes that sign.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningSecret")
    }
}

pub(super) fn webhooks(context: Context<'_>, file: &File) -> Vec<WebhookSettings> {
    let Some(list) = file.webhooks.given() else { return Vec::new() };
    if list.value.items.len() > MOST {
        let message = format!("{} webhooks are more than {MOST}", list.value.items.len());
        context.put(Code::OutOfRange, list.place, message, "let one receiver hand on what others want");
    }
    let mut places = BTreeMap::new();
    for at in &list.value.items {
        if let Some(name) = at.value.name.given()
            && let Some(first) = places.insert(name.value.as_str(), name.place)
        {
            context.twice(name.place, "webhook", &name.value, first);
        }
    }
    list.value.items.iter().filter_map(|at| webhook(context, at)).collect()
}

fn webhook(context: Context<'_>, at: &At<Webhook>) -> Option<WebhookSettings> {
    let written = &at.value;
    let name = context.need(&written.name, at.place, "name", "give it a short name: `name: operations`");
    // The form of an issuer's name is that of any word here; it names a file too.
    let name = name.and_then(|name| context.id(name, IssuerName::new, "name of a webhook"));
    let url = context.need(&written.url, at.place, "url", OF_WEBHOOKS.form);
    let server = url.and_then(|url| address(context, url, &written.ca, &OF_WEBHOOKS, this_machine));
    let secrets = secrets(context, at);
    let events = match &written.events {
        Field::Absent => Some(EVENTS.into()),
        Field::Broken => None,
        Field::Given(list) => {
            filled(context, list).then(|| list.value.0.items.iter().map(|at| at.value.0).collect())
        }
    };
    let tenants = match &written.tenants {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(list) => {
            let read: BTreeSet<TenantId> =
                list.value.0.items.iter().filter_map(|at| context.id(at, TenantId::new, "tenant")).collect();
            // One that was left out because it is broken would make it wider, not narrower.
            (filled(context, list) && read.len() == list.value.0.items.len()).then_some(Some(read))
        }
    };
    let timeout_ms = context.duration(&written.timeout, 15_000, 1_000, 60_000);
    let give_up_ms = context.duration(&written.give_up, 3 * DAY, 60_000, 30 * DAY);
    Some(WebhookSettings {
        name: name?.as_str().to_owned(),
        server: server?,
        secrets: secrets?,
        events: events?,
        tenants: tenants?,
        timeout_ms,
        give_up_ms,
    })
}

/// An address that leads nowhere else, whatever a name server says.
fn this_machine(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn filled<T>(context: Context<'_>, list: &At<OneOrMany<T>>) -> bool {
    if list.value.0.items.is_empty() && !list.value.0.broken {
        context.put(Code::BadValue, list.place, "this list is empty", "name at least one, or remove the key");
    }
    !list.value.0.items.is_empty() && !list.value.0.broken
}

fn secrets(context: Context<'_>, at: &At<Webhook>) -> Option<Vec<SigningSecret>> {
    let hint = "name where it is: `secret: { env: POSTERN_WEBHOOK_SECRET }` or `secret: { file: … }`";
    let list = context.need(&at.value.secret, at.place, "secret", hint)?;
    if !filled(context, list) {
        return None;
    }
    let count = list.value.0.items.len();
    if count > MOST_SECRETS {
        let message = format!("{count} secrets are more than {MOST_SECRETS}");
        context.put(Code::OutOfRange, list.place, message, "take out those that no receiver uses any more");
        return None;
    }
    let read: Vec<_> = list.value.0.items.iter().filter_map(|at| secret(context, at)).collect();
    (read.len() == count).then_some(read)
}

fn secret(context: Context<'_>, at: &At<KeyFrom>) -> Option<SigningSecret> {
    let secret = context.secret_at(at, "the webhook's secret")?;
    let bad = |message: String| {
        let hint = "make one with `echo \"whsec_$(openssl rand -base64 32)\"`";
        context.put(Code::BadKeys, at.place, message, hint);
        None
    };
    let text = std::str::from_utf8(secret.expose()).unwrap_or_default().trim_ascii();
    let Some(encoded) = text.strip_prefix(PREFIX) else {
        return bad(format!("the webhook's secret does not begin with `{PREFIX}`"));
    };
    let Ok(bytes) = BASE64.decode(encoded).map(Zeroizing::new) else {
        return bad("what stands behind `whsec_` is no base64".to_owned());
    };
    if !SECRET_BYTES.contains(&bytes.len()) {
        let (least, most) = (SECRET_BYTES.start(), SECRET_BYTES.end());
        return bad(format!(
            "the webhook's secret has {} bytes, and {least} to {most} are wanted",
            bytes.len()
        ));
    }
    Some(SigningSecret(bytes))
}
