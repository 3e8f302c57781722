//! What staff never do: what the file denies, and what is closed by default unless the file opens it and says why (GW-10).
//!
//! Never here: what is closed by default ([`crate::policy::ceiling`]), what follows for a request.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    context::{Context, short},
    rights::Names,
};
use crate::{
    config::{
        fault::Code,
        written::{At, File, Opened, Place},
    },
    model::PermissionName,
    policy::{PermissionSet, SUPPORT_TYPE, ceiling::default_ceiling},
};

/// Characters of a reason, at most.
const LONGEST: usize = 300;
const HINT: &str =
    "write `open: [ { permission: webhooks:create, because: \"agents set them up with the customer\" } ]`";

/// How the ceiling came about; [`crate::policy::Policy::ceiling`] is the whole of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CeilingSettings {
    /// What is closed by default, and by nothing that the file says.
    pub by_default: PermissionSet,
    /// What would be closed by default and is open, with the reason.
    pub opened: Vec<(PermissionName, String)>,
}

/// Everything that is closed, and how that came about.
pub(super) fn ceiling(context: Context<'_>, file: &File, names: &Names) -> (PermissionSet, CeilingSettings) {
    let written = file.ceiling.value().map(|at| &at.0);
    let denied = written.and_then(|written| written.deny.value());
    let denied = denied.map(|list| names.covered(context, list)).unwrap_or_default();
    let usual = default_ceiling(&names.catalogue);
    let mut opened = Vec::new();
    let mut open = PermissionSet::default();
    let mut places: BTreeMap<&str, Place> = BTreeMap::new();
    for at in written.and_then(|written| written.open.value()).into_iter().flat_map(|list| &list.items) {
        let permission = context.need(&at.value.permission, at.place, "permission", HINT);
        let because = because(context, at);
        let Some(permission) = permission else { continue };
        if let Some(first) = places.insert(&permission.value, permission.place) {
            context.twice(permission.place, "permission", &permission.value, first);
        }
        let Some(name) = one(context, names, permission) else { continue };
        let Some(id) = names.catalogue.id(name.as_str()) else { continue };
        if denied.contains(id) {
            let message = format!("`{name}` is opened here, and closed by `deny`");
            context.put(Code::BadValue, permission.place, message, "keep one of them");
        } else if !usual.contains(id) {
            let message = format!("`{name}` is not closed by default, so this opens nothing");
            context.warn(Code::Unused, permission.place, message, "remove it");
            continue;
        }
        open.insert(id);
        opened.extend(because.map(|because| (name, because)));
    }
    let mut by_default = usual;
    by_default.remove(&denied);
    by_default.remove(&open);
    let mut closed = denied;
    closed.add(&by_default);
    takes(context, file, names, &by_default);
    (closed, CeilingSettings { by_default, opened })
}

/// A permission by its one name. What administers support access is nobody's to open.
fn one(context: Context<'_>, names: &Names, at: &At<String>) -> Option<PermissionName> {
    if at.value.starts_with(&format!("{SUPPORT_TYPE}:")) {
        let message = format!("`{}` is never open to staff: it administers support access", short(&at.value));
        context.put(Code::ReservedName, at.place, message, "remove it");
        return None;
    }
    if at.value.contains('*') {
        let message = format!("`{}` is a pattern; each permission is opened by its name", short(&at.value));
        context.put(Code::BadValue, at.place, message, "name each, with its own reason");
        return None;
    }
    let id = names.permission(context, at)?;
    names.catalogue.name(id).cloned()
}

fn because(context: Context<'_>, at: &At<Opened>) -> Option<String> {
    let because = context.need(&at.value.because, at.place, "because", HINT)?;
    let text = because.value.trim();
    if !text.is_empty() && text.chars().count() <= LONGEST && !text.chars().any(char::is_control) {
        return Some(text.to_owned());
    }
    let message = "this is no reason that somebody could read";
    let hint = format!("say in one line of at most {LONGEST} characters why staff may do it");
    context.put(Code::BadValue, because.place, message, hint);
    None
}

/// Tells where a role of support names what the default takes from it: whoever wrote the name meant to give it.
fn takes(context: Context<'_>, file: &File, names: &Names, by_default: &PermissionSet) {
    let levels = file.consent.value().and_then(|consent| consent.levels.value());
    let of_levels = levels.into_iter().flat_map(|list| &list.items).filter_map(|at| at.value.role.value());
    let glass = file.break_glass.value().and_then(|glass| glass.role.value());
    let roles: BTreeSet<&str> = of_levels.chain(glass).map(String::as_str).collect();
    for (name, at) in file.roles.value().into_iter().flat_map(|table| &table.entries) {
        if !roles.contains(name.value.as_str()) {
            continue;
        }
        for at in at.value.allow.value().into_iter().flat_map(|list| &list.0.items) {
            if !names.catalogue.id(&at.value).is_some_and(|id| by_default.contains(id)) {
                continue;
            }
            let message = format!(
                "`{}` is closed to support by default, since it would outlive a session: the role `{}` gives it to members only",
                short(&at.value),
                short(&name.value)
            );
            let hint = format!(
                "open it: `ceiling: {{ open: [ {{ permission: {}, because: \"…\" }} ] }}`; or close it yourself, by `deny`",
                short(&at.value)
            );
            context.warn(Code::CeilingTakes, at.place, message, hint);
        }
    }
}
