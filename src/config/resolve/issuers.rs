//! Whose tokens count: names, algorithms that fit the keys, claims that fit the kind.
//!
//! Never here: reading a token, or the keys' own mathematics.

use std::collections::BTreeMap;

use super::{
    context::{Context, short},
    dangerous::DangerousSettings,
    gateway::{DAY, TOP},
    keys::{self, Family},
    settings::{ClaimSettings, IssuerSettings, SupportSettings},
};
use crate::{
    config::{
        fault::Code,
        suggest,
        written::{self, At, Claims, Field, File, Issuer, List, OneOrMany, Place},
    },
    model::{IssuerName, SubjectKind},
};

/// The algorithms that are known, with the keys that they take.
const ALGORITHMS: &[(&str, Family)] = &[
    ("RS256", Family::Rsa),
    ("RS384", Family::Rsa),
    ("RS512", Family::Rsa),
    ("PS256", Family::Rsa),
    ("PS384", Family::Rsa),
    ("PS512", Family::Rsa),
    ("ES256", Family::P256),
    ("ES384", Family::P384),
    ("ES512", Family::P521),
    ("EdDSA", Family::Ed25519),
    ("Ed25519", Family::Ed25519),
    ("HS256", Family::Hmac),
    ("HS384", Family::Hmac),
    ("HS512", Family::Hmac),
];

pub(super) fn issuers(
    context: Context<'_>,
    file: &File,
    dangerous: DangerousSettings,
) -> Vec<IssuerSettings> {
    let hint = "say whose tokens count; without an issuer nobody is anybody";
    let Some(list) = context.need(&file.issuers, TOP(), "issuers", hint) else { return Vec::new() };
    if list.value.items.is_empty() && !list.value.broken {
        context.put(Code::MissingKey, list.place, "there is no issuer", hint);
    }
    let (mut names, mut claimed) = (BTreeMap::new(), BTreeMap::new());
    let mut out = Vec::new();
    for at in &list.value.items {
        if let Some(name) = at.value.name.given()
            && let Some(first) = names.insert(name.value.as_str(), name.place)
        {
            context.twice(name.place, "issuer", &name.value, first);
        }
        if let Some(iss) = at.value.issuer.given()
            && let Some(first) = claimed.insert(iss.value.as_str(), iss.place)
        {
            let line = context.line(first);
            context.put(
                Code::DuplicateName,
                iss.place,
                format!("the issuer of line {line} has the same `issuer`, so a token could be of either"),
                "one `iss` makes one kind of subject: keep one of the two",
            );
        }
        out.extend(issuer(context, at, dangerous));
    }
    let staff = |at: &At<Issuer>| {
        at.value.kind.is_broken() || at.value.kind.value() == Some(&written::SubjectKind::Staff)
    };
    if !list.value.broken && !list.value.items.is_empty() && !list.value.items.iter().any(staff) {
        context.warn(
            Code::NoWayIn,
            list.place,
            "no issuer is of kind `staff`, so support cannot enter",
            "add the issuer of the vendor's people",
        );
    }
    out
}

fn issuer(context: Context<'_>, at: &At<Issuer>, dangerous: DangerousSettings) -> Option<IssuerSettings> {
    let written = &at.value;
    let name = context.need(
        &written.name,
        at.place,
        "name",
        "give it a short name for records, e.g. `name: vendor`",
    );
    let name = name.and_then(|name| context.id(name, IssuerName::new, "name of an issuer"));
    let issuer = context.need(&written.issuer, at.place, "issuer", "write the `iss` of its tokens");
    let issuer = issuer.and_then(|issuer| context.visible(issuer, "an `iss`", 512));
    let kind = context.need(
        &written.kind,
        at.place,
        "kind",
        "say whom it speaks for: `staff`, `member` or `service`",
    );
    let hint = "name the `aud` that its tokens for this gateway have; others' tokens must not count here";
    let audiences = context.need(&written.audience, at.place, "audience", hint);
    let audiences = audiences.and_then(|list| texts(context, list, "an audience"));
    let leeway_ms = context.duration(&written.leeway, 5_000, 0, 60_000);
    let max_lifetime_ms = context.duration(&written.max_lifetime, DAY, 1_000, 366 * DAY);
    let types = match &written.types {
        Field::Given(list) => Some(texts(context, list, "a `typ`")?),
        Field::Absent | Field::Broken => None,
    };
    let claims = kind.and_then(|kind| claims(context, &written.claims, kind.value));
    let cookie = cookie(context, &written.cookie, kind.map(|kind| kind.value));
    let rows = rows(context, written, kind.map(|kind| kind.value));
    let keys = keys::keys(context, &written.keys, at.place, dangerous);
    let algorithms = algorithms(
        context,
        written,
        at.place,
        keys.as_ref().and_then(|keys| keys.families.as_deref()),
        dangerous,
    );
    let kind = match kind?.value {
        written::SubjectKind::Staff => SubjectKind::Staff,
        written::SubjectKind::Member => SubjectKind::Member,
        written::SubjectKind::Service => SubjectKind::Service,
    };
    Some(IssuerSettings {
        name: name?,
        issuer: issuer?,
        kind,
        audiences: audiences?,
        algorithms: algorithms?,
        untyped: written.untyped.value().copied().unwrap_or(false),
        rows,
        cookie: cookie?,
        types,
        keys: keys?.text,
        leeway_ms,
        max_lifetime_ms,
        claims: claims?,
    })
}

/// Whether members' roles stand in rows.
fn rows(context: Context<'_>, written: &Issuer, kind: Option<written::SubjectKind>) -> bool {
    let Some(at) = written.roles.given() else { return false };
    if kind.is_some_and(|kind| kind != written::SubjectKind::Member) {
        context.put(
            Code::BadValue,
            at.place,
            "`roles` says where members' roles stand, and this issuer speaks for others",
            "remove it",
        );
        return false;
    }
    let rows = at.value == written::RolesFrom::Rows;
    let claim = written.claims.value().and_then(|claims| claims.roles.given());
    if let (true, Some(claim)) = (rows, claim) {
        context.put(
            Code::BadValue,
            claim.place,
            "roles stand in rows here, so none are read from tokens",
            "remove the claim, or write `roles: claims`",
        );
    }
    rows
}

/// A cookie for tokens: of members alone, since a browser sends it unasked.
fn cookie(
    context: Context<'_>,
    field: &Field<String>,
    kind: Option<written::SubjectKind>,
) -> Option<Option<String>> {
    let Some(at) = field.given() else { return field.is_absent().then_some(None) };
    if kind.is_some_and(|kind| kind != written::SubjectKind::Member) {
        context.put(
            Code::BadValue,
            at.place,
            "only members' tokens may come in a cookie",
            "remove it: a page of somebody else could make a browser send it, and support work must not begin so",
        );
        return None;
    }
    if at.value.len() > 128 || http::HeaderName::from_bytes(at.value.as_bytes()).is_err() {
        context.put(
            Code::BadValue,
            at.place,
            format!("`{}` is no name of a cookie", short(&at.value)),
            "use letters, digits, `-` and `_`, as in `__Host-token`; case matters",
        );
        return None;
    }
    Some(Some(at.value.clone()))
}

pub(super) fn texts(context: Context<'_>, list: &At<OneOrMany<String>>, what: &str) -> Option<Vec<String>> {
    let List { items, broken } = &list.value.0;
    if items.is_empty() && !broken {
        context.put(Code::BadValue, list.place, "this list is empty", format!("name {what}"));
        return None;
    }
    let read: Vec<String> = items.iter().filter_map(|at| context.visible(at, what, 512)).collect();
    (read.len() == items.len() && !broken).then_some(read)
}

fn algorithms(
    context: Context<'_>,
    written: &Issuer,
    owner: Place,
    families: Option<&[Family]>,
    dangerous: DangerousSettings,
) -> Option<Vec<String>> {
    let hint = "pin the algorithms of its tokens, e.g. `algorithms: [ES256]`";
    let list = context.need(&written.algorithms, owner, "algorithms", hint)?;
    let items = &list.value.0.items;
    if items.is_empty() && !list.value.0.broken {
        context.put(Code::BadValue, list.place, "this list is empty", hint);
    }
    let mut out: Vec<String> = Vec::new();
    for at in items {
        let Some((name, family)) = ALGORITHMS.iter().find(|(name, _)| *name == at.value) else {
            let known = ALGORITHMS.iter().map(|(name, _)| *name);
            let hint = match at.value.as_str() {
                "none" => "a token without a signature is no token; name what its keys sign with".to_owned(),
                other => suggest::hint(other, known, "algorithms"),
            };
            let message = format!("`{}` is no algorithm that is known", short(&at.value));
            context.put(Code::UnknownAlgorithm, at.place, message, hint);
            continue;
        };
        if out.iter().any(|known| known == name) {
            context.put(
                Code::DuplicateName,
                at.place,
                format!("`{name}` stands here twice"),
                "keep one of them",
            );
            continue;
        }
        if *family == Family::Hmac && !dangerous.hmac {
            context.put(
                Code::Dangerous,
                at.place,
                format!("with `{name}`, whoever verifies tokens can make them"),
                "use public keys (ES256, EdDSA), or for local play `dangerous: { hmac: true }`",
            );
        } else if families.is_some_and(|families| !families.contains(family)) {
            context.put(
                Code::AlgorithmWithoutKey,
                at.place,
                format!("no key of this issuer is for `{name}`: it takes {}", family.told()),
                "remove the algorithm, or give a key for it",
            );
        }
        out.push((*name).to_owned());
    }
    Some(out)
}

fn claims(context: Context<'_>, field: &Field<Claims>, kind: written::SubjectKind) -> Option<ClaimSettings> {
    let Some(at) = field.given() else {
        return field.is_absent().then(ClaimSettings::default);
    };
    let written = &at.value;
    let path = |field: &Field<String>| field.given().and_then(|at| claim_path(context, at));
    let of_other = |place: Option<Place>, key: &str, whose: &str| {
        if let Some(place) = place {
            context.put(
                Code::BadValue,
                place,
                format!("`{key}` says nothing about this kind of issuer"),
                format!("remove it: it is read from tokens of {whose} only"),
            );
        }
    };
    let place = |field: &Field<String>| field.given().map(|at| at.place);
    match kind {
        written::SubjectKind::Staff => {
            of_other(place(&written.tenant), "tenant", "members");
            of_other(place(&written.roles), "roles", "members and services");
        }
        written::SubjectKind::Member => {
            of_other(written.support.given().map(|at| at.place), "support", "staff");
        }
        written::SubjectKind::Service => {
            of_other(place(&written.email), "email", "staff");
            of_other(place(&written.email_verified), "email_verified", "staff");
            of_other(written.support.given().map(|at| at.place), "support", "staff");
        }
    }
    Some(ClaimSettings {
        tenant: path(&written.tenant),
        roles: path(&written.roles),
        email: path(&written.email),
        email_verified: path(&written.email_verified),
        support: support(context, &written.support)?,
        organisations: Vec::new(),
    })
}

/// A way to a claim: `a.b.c`, or a JSON pointer where names hold dots.
pub(super) fn claim_path(context: Context<'_>, at: &At<String>) -> Option<String> {
    let text = at.value.as_str();
    let sound = match text.strip_prefix('/') {
        Some(pointer) => pointer.split('/').all(|name| {
            let escapes = name.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
            !name.is_empty() && escapes
        }),
        None => text.split('.').all(|name| !name.is_empty()),
    };
    if sound && text.len() <= 256 && !text.chars().any(char::is_control) {
        return Some(text.to_owned());
    }
    context.put(
        Code::BadValue,
        at.place,
        format!("`{}` is no way to a claim", short(text)),
        "write `a.b.c`, or a JSON pointer such as `/https:~1~1app.example~1tenant`",
    );
    None
}

fn support(context: Context<'_>, field: &Field<written::Support>) -> Option<SupportSettings> {
    let Some(at) = field.given() else {
        return field.is_absent().then(SupportSettings::default);
    };
    let written = &at.value;
    match (written.everybody.value(), &written.claim, &written.any) {
        (Some(true), Field::Absent, Field::Absent) => Some(SupportSettings::Everybody),
        (None | Some(false), Field::Given(claim), Field::Given(any)) => {
            let path = claim_path(context, claim)?;
            Some(SupportSettings::Claim { path, values: texts(context, any, "a value of the claim")? })
        }
        (_, claim, any) if claim.is_broken() || any.is_broken() || written.everybody.is_broken() => None,
        _ => {
            context.put(
                Code::OneOf,
                at.place,
                "`support` is either `everybody: true`, or `claim` with `any`",
                "write `support: { claim: groups, any: [support] }`",
            );
            None
        }
    }
}
