//! How the application of a line is asked to narrow: parameters of the query that the gateway writes.
//!
//! Never here: writing them ([``crate::proxy`).

use std::collections::BTreeSet;

use crate::{
    config::{
        fault::Code,
        resolve::{
            context::{Context, short},
            resources::Types,
            settings::{Piece, Slot},
            upstreams,
        },
        written::{At, Place, Table},
    },
    model::ResourceType,
    policy::{
        Rule,
        parameter::{alike, is_name},
    },
};

/// What is known of each caller who may see some only.
const SLOTS: [Slot; 4] = [Slot::Subject, Slot::Tenant, Slot::Environment, Slot::Role];

/// Reads them. `None` where one of them is broken.
pub(super) fn parameters(
    context: Context<'_>,
    table: &At<Table<String>>,
) -> Option<Vec<(String, Vec<Piece>)>> {
    let hint = "name a parameter by which the application shows no more than its caller's part: \
                `query: { visible_to: \"{subject}\" }`";
    if table.value.entries.is_empty() && table.value.broken.is_empty() {
        context.put(Code::BadValue, table.place, "nothing is asked of the application", hint);
        return None;
    }
    let mut sound = table.value.broken.is_empty();
    let mut all: Vec<(String, Vec<Piece>)> = Vec::new();
    for (key, value) in &table.value.entries {
        if !is_name(&key.value) {
            let message = format!("`{}` is no name for a parameter", short(&key.value));
            let hint = "use at most 64 letters, digits, `_`, `-`, `.` and brackets, a letter or digit first";
            context.put(Code::BadValue, key.place, message, hint);
            sound = false;
        }
        if let Some((before, _)) = all.iter().find(|(name, _)| alike(name, &key.value)) {
            let message = format!("some readers take `{}` and `{before}` for one", short(&key.value));
            context.put(Code::DuplicateName, key.place, message, "keep one of them, or rename one");
            sound = false;
        }
        match upstreams::template(context, value, "a query") {
            Some(pieces) => {
                sound &= fits(context, value, &pieces);
                all.push((key.value.clone(), pieces));
            }
            None => sound = false,
        }
    }
    sound.then_some(all)
}

/// Whether each caller who is narrowed has something to put there.
fn fits(context: Context<'_>, at: &At<String>, pieces: &[Piece]) -> bool {
    if pieces.is_empty() {
        let hint = "say whose things are meant: `\"{subject}\"`, or the word that the application knows";
        context.put(Code::BadValue, at.place, "a parameter without a value asks for everything", hint);
        return false;
    }
    for piece in pieces {
        let Piece::Slot(slot) = piece else { continue };
        if !SLOTS.contains(slot) {
            let name = Slot::ALL.iter().find(|(_, known)| known == slot).map_or("", |(name, _)| name);
            let message = format!("`{{{name}}}` says nothing of whose things are meant");
            let hint = "use `{subject}`, `{tenant}`, `{environment}` or `{role}`";
            context.put(Code::UnknownWord, context.part(at.place, name), message, hint);
            return false;
        }
    }
    true
}

/// Of which type the things are: as named, or the only one that can be meant.
pub(super) fn kind(
    context: Context<'_>,
    rule: &Rule,
    (named, place): (Option<&(ResourceType, Place)>, Place),
    types: &Types,
) -> Option<ResourceType> {
    let Some(acted) = &rule.resource else {
        let hint = "name the resource that the path names: `resource: { type: board, id: board }`";
        let message = "the application narrows what lies in a resource, and this route names none, so nobody passes by it";
        context.put(Code::MissingKey, place, message, hint);
        return None;
    };
    if !types.whole {
        return None;
    }
    let inside: BTreeSet<&ResourceType> =
        types.map.keys().filter(|kind| types.lies_in(kind, acted)).collect();
    if let Some((kind, place)) = named {
        if !inside.contains(kind) {
            let message = format!("no resource of type `{kind}` lies in one of type `{acted}`");
            context.put(Code::BadValue, *place, message, "name a type that lies in what the route acts on");
            return None;
        }
        return Some(kind.clone());
    }
    let holds = |kind: &ResourceType| types.map.values().any(|rule| rule.parent.as_ref() == Some(kind));
    let mut last = inside.iter().filter(|kind| !holds(kind));
    match (last.next(), last.next()) {
        (Some(only), None) => Some((*only).clone()),
        (None, _) => {
            let message =
                format!("nothing lies in a `{acted}`, so there are no things of whom some are seen");
            context.put(Code::BadValue, place, message, "declare what lies in it by `resource_types`");
            None
        }
        (Some(one), Some(other)) => {
            let message = format!("`{one}` lies in a `{acted}`, and `{other}` too");
            let hint = format!("say which of them is meant: `type: {one}`");
            context.put(Code::MissingKey, place, message, hint);
            None
        }
    }
}
