//! How resources are looked up at their applications.
//!
//! Never here: asking anybody, or when (see [`crate::policy::look_up`]).

use std::collections::BTreeMap;

use super::{
    context::{Context, short},
    resources::Types,
    settings::IssuerSettings,
    upstreams::Upstreams,
};
use crate::{
    config::{
        fault::Code,
        written::{At, Field, File, LookUp as Written},
    },
    model::{IssuerName, ResourceType, SubjectKind},
    policy::{
        LookUp,
        look_up::{Each, PathPiece},
        narrow::Pointer,
    },
};

/// The longest path.
const LONGEST: usize = 1024;
/// How long an answer counts, and how long the asking may take, where nothing is said, in milliseconds.
const FOR_MS: i64 = 10_000;
const WITHIN_MS: i64 = 500;

/// All of them, by type.
pub(super) fn look_ups(
    context: Context<'_>,
    file: &File,
    types: &Types,
    upstreams: &Upstreams,
    issuers: &[IssuerSettings],
    used: &mut [bool],
) -> BTreeMap<ResourceType, LookUp> {
    let mut all = BTreeMap::new();
    for (key, written) in file.resource_types.value().into_iter().flat_map(|table| &table.entries) {
        let (Ok(kind), Some(at)) = (ResourceType::new(&key.value), written.value.look_up.given()) else {
            continue;
        };
        let upstream = upstreams.find(context, &at.value.upstream, at.place, used);
        let told = look_up(context, &kind, at, types, file, issuers);
        if let (Some(upstream), Some(told)) = (upstream, told) {
            all.insert(kind, LookUp { upstream, ..told });
        }
    }
    all
}

fn look_up(
    context: Context<'_>,
    kind: &ResourceType,
    at: &At<Written>,
    types: &Types,
    file: &File,
    issuers: &[IssuerSettings],
) -> Option<LookUp> {
    let written = &at.value;
    let hint = format!("say where the application tells of one: `path: /internal/{{tenant}}/{{{kind}}}`");
    let path_at = context.need(&written.path, at.place, "path", &hint);
    let path = path_at.and_then(|at| path(context, at, kind));
    // In a part of a segment it tells no two tenants apart: `a-b` and `c` read like `a` and `b-c`.
    if let (Some(path_at), Some(path), Field::Absent) = (path_at, &path, &written.tenant)
        && !path_at.value.split('/').any(|segment| segment == "{tenant}")
    {
        let hint =
            "make `{tenant}` a whole segment of the path, or say by `tenant` where in the answer it stands";
        let message = match path.contains(&PathPiece::Tenant) {
            true => {
                "one path may stand for resources of several tenants, and nothing else says of which the answer is"
            }
            false => "nothing says of which tenant's resource the answer is",
        };
        context.put(Code::BadValue, path_at.place, message, hint);
    }
    let (id, tenant) = (one(context, &written.id), one(context, &written.tenant));
    let (creator, parent) = (one(context, &written.creator), one(context, &written.parent));
    let assignees = each(context, &written.assignees);
    let nothing =
        [&written.creator, &written.assignees, &written.parent].iter().all(|field| field.is_absent());
    if nothing {
        let hint = "name at least one place: `creator: /created_by/id`";
        context.put(Code::OneOf, at.place, "none of `creator`, `assignees` and `parent` is looked up", hint);
    }
    let lies = types.map.get(kind).is_some_and(|rule| rule.parent.is_some());
    match written.parent.given() {
        Some(parent) if !lies && types.whole => {
            let message =
                format!("resources of type `{kind}` lie in the tenant, so there is no parent to look up");
            context.put(Code::BadValue, parent.place, message, "remove it, or give the type a `parent`");
        }
        None if !lies && types.whole => {
            let message =
                format!("nobody has a row above a resource of type `{kind}`, so it is never looked up");
            let hint = "give the type a `parent`, at which members have their roles; or remove this";
            context.warn(Code::Unused, at.place, message, hint);
        }
        Some(_) | None => {}
    }
    let issuer = issuer(context, at, file, issuers);
    let for_ms = context.duration(&written.lasts, FOR_MS, 1_000, 300_000);
    let within_ms = context.duration(&written.within, WITHIN_MS, 10, 5_000);
    if within_ms >= for_ms {
        let place = written.within.given().map_or(at.place, |within| within.place);
        let message = "an answer may take as long as it counts";
        context.put(Code::OutOfRange, place, message, "make `within` shorter than `for`");
    }
    Some(LookUp {
        // Whoever calls puts it there.
        upstream: 0,
        path: path?,
        id: id?,
        tenant: tenant?,
        creator: creator?,
        assignees: assignees?,
        parent: parent?,
        issuer: issuer?,
        for_ms,
        within_ms,
    })
}

/// A path with its names. What stands between them is sent as it is.
fn path(context: Context<'_>, at: &At<String>, kind: &ResourceType) -> Option<Vec<PathPiece>> {
    let text = at.value.as_str();
    let wrong = |part: &str, message: String| {
        let hint = format!(
            "write a path as the application reads it, as in `/internal/{{tenant}}/{kind}s/{{{kind}}}`: no query, nothing encoded"
        );
        context.put(Code::BadValue, context.part(at.place, part), message, hint);
        None
    };
    let (mut pieces, mut rest) = (Vec::new(), text);
    while let Some((before, behind)) = rest.split_once('{') {
        let Some((name, behind)) = behind.split_once('}') else {
            let open = rest.strip_prefix(before).unwrap_or(rest);
            return wrong(open, "a `{` without its `}`".to_owned());
        };
        if !before.is_empty() {
            pieces.push(PathPiece::Text(before.to_owned()));
        }
        match name {
            "tenant" => pieces.push(PathPiece::Tenant),
            name if name == kind.as_str() => pieces.push(PathPiece::Id),
            other => {
                let names = ["tenant", kind.as_str()];
                let known = crate::config::suggest::hint(other, names, "names here");
                let message = format!("nothing is known about `{{{}}}`", short(other));
                context.put(Code::UnknownWord, context.part(at.place, other), message, known);
                return None;
            }
        }
        rest = behind;
    }
    if !rest.is_empty() {
        pieces.push(PathPiece::Text(rest.to_owned()));
    }
    if !pieces.contains(&PathPiece::Id) {
        return wrong(text, format!("the path names no `{{{kind}}}`"));
    }
    // With something in place of each name: identifiers hold no slash and are no dots.
    let whole: String = pieces
        .iter()
        .map(|piece| match piece {
            PathPiece::Text(text) => text.as_str(),
            PathPiece::Tenant | PathPiece::Id => "x",
        })
        .collect();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte);
    let mut segments = whole.split('/');
    let starts = segments.next() == Some("");
    let sound = starts && segments.all(|segment| !matches!(segment, "" | "." | ".."));
    if !sound || whole.len() > LONGEST || !whole.bytes().all(plain) {
        return wrong(text, format!("`{}` is no path", short(text)));
    }
    Some(pieces)
}

/// A place; the outer `None` where it is broken.
fn one(context: Context<'_>, field: &Field<String>) -> Option<Option<Pointer>> {
    match field {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(at) if at.value.split('/').any(|step| step == "*") => {
            let hint = "only `assignees` are several: name the one place";
            context.put(Code::BadValue, at.place, "`*` stands for the items of a list", hint);
            None
        }
        Field::Given(at) => pointer(context, at, &at.value, false).map(Some),
    }
}

/// Places, at most one of whose steps goes through a list.
fn each(context: Context<'_>, field: &Field<String>) -> Option<Option<Each>> {
    let at = match field {
        Field::Absent => return Some(None),
        Field::Broken => return None,
        Field::Given(at) => at,
    };
    let steps: Vec<&str> = at.value.split('/').collect();
    let mut parts = steps.split(|step| *step == "*");
    let (list, item, more) = (parts.next(), parts.next(), parts.next());
    if more.is_some() {
        let hint = "people stand in one list, as in `/assignees/*/id`";
        context.put(Code::BadValue, at.place, "`*` stands here twice", hint);
        return None;
    }
    let joined = |steps: &[&str]| steps.join("/");
    let list = pointer(context, at, &list.map(joined).unwrap_or_default(), item.is_some())?;
    let item = match item {
        Some([]) => Some(Pointer::default()),
        Some(steps) => Some(pointer(context, at, &format!("/{}", joined(steps)), true)?),
        None => None,
    };
    Some(Some(Each { at: list, item }))
}

fn pointer(context: Context<'_>, at: &At<String>, text: &str, may_be_empty: bool) -> Option<Pointer> {
    match Pointer::parse(text) {
        Ok(pointer) if may_be_empty || !pointer.steps().is_empty() => Some(pointer),
        Ok(_) => {
            let hint = "name a place in it, as in `/created_by/id`";
            context.put(Code::BadValue, at.place, "the answer itself is an object and names nobody", hint);
            None
        }
        Err(fault) => {
            let message = format!("`{}` is no JSON pointer", short(&at.value));
            context.put(Code::BadValue, at.place, message, fault.to_string());
            None
        }
    }
}

/// Whose subjects it tells of; the outer `None` where that is not known.
fn issuer(
    context: Context<'_>,
    at: &At<Written>,
    file: &File,
    issuers: &[IssuerSettings],
) -> Option<Option<IssuerName>> {
    let written = &at.value;
    let people = !written.creator.is_absent() || !written.assignees.is_absent();
    let whole = file.issuers.value().is_some_and(|all| all.items.len() == issuers.len());
    let members = || issuers.iter().filter(|issuer| issuer.kind == SubjectKind::Member);
    let named = match &written.issuer {
        Field::Broken => return None,
        Field::Given(named) if !people => {
            let hint = "remove it, or say where people stand: `creator: /created_by/id`";
            context.warn(Code::Unused, named.place, "nobody is looked up whose issuer this could be", hint);
            return Some(None);
        }
        Field::Given(named) => named,
        Field::Absent if !people => return Some(None),
        Field::Absent => {
            let mut all = members();
            return match (all.next(), all.next()) {
                (Some(only), None) => Some(Some(only.name.clone())),
                _ => {
                    if whole {
                        let hint = "name the issuer whose subjects these are, one of `kind: member`";
                        context.need(&written.issuer, at.place, "issuer", hint);
                    }
                    None
                }
            };
        }
    };
    match issuers.iter().find(|issuer| issuer.name.as_str() == named.value) {
        Some(issuer) if issuer.kind == SubjectKind::Member => return Some(Some(issuer.name.clone())),
        Some(_) => context.put(
            Code::BadValue,
            named.place,
            format!("the issuer `{}` does not speak for members", short(&named.value)),
            "name one of `kind: member`: resources are a tenant's people's",
        ),
        None if whole => {
            let known: Vec<&str> = members().map(|issuer| issuer.name.as_str()).collect();
            context.unknown(Code::UnknownIssuer, named, "issuer", known);
        }
        // It may be the one that could not be read; that is told.
        None => {}
    }
    None
}

/// All that it says, for the fingerprint.
pub(super) fn value(look_up: &LookUp) -> serde_json::Value {
    let LookUp { upstream, path, id, tenant, creator, assignees, parent, issuer, for_ms, within_ms } =
        look_up;
    let path: Vec<&str> = path
        .iter()
        .map(|piece| match piece {
            PathPiece::Text(text) => text.as_str(),
            PathPiece::Tenant => "{tenant}",
            PathPiece::Id => "{}",
        })
        .collect();
    let places = [id, tenant, creator, parent].map(|place| place.as_ref().map(Pointer::to_string));
    let assignees = assignees
        .as_ref()
        .map(|each| [Some(each.at.to_string()), each.item.as_ref().map(Pointer::to_string)]);
    let issuer = issuer.as_ref().map(IssuerName::as_str);
    serde_json::json!([upstream, path, places, assignees, issuer, for_ms, within_ms])
}
