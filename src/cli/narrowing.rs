//! How routes are narrowed, in words: for explanations, tables and coverage alike.
//!
//! Never here: a decision.

use crate::{
    config::resolve::{Piece, Settings},
    policy::{Policy, RoleAt, Rule, narrow::How},
};

/// How the answers of a rule, by its number, are narrowed, where it says so.
pub(super) fn how(settings: &Settings, number: usize) -> Option<String> {
    let rule = settings.policy.rules.get(number)?;
    if rule.whole_only {
        return Some("refused to whoever may see some of it only".to_owned());
    }
    let narrow = rule.narrow.as_deref()?;
    let kind = narrow.kind().map(|kind| kind.as_str()).unwrap_or_default();
    Some(match &narrow.how {
        How::Filter(shape) => format!("to the {kind} that may be seen, in the gateway: {shape}"),
        How::Query => {
            let entry = settings.routes.iter().find(|entry| entry.rule == number);
            let asked = entry.into_iter().flat_map(|entry| &entry.query);
            let asked: Vec<String> =
                asked.map(|(name, pieces)| format!("{name}={}", Piece::written(pieces))).collect();
            format!("to the {kind} that may be seen, by the application: {}", asked.join(", "))
        }
    })
}

/// The word for it in a table.
pub(super) fn word(rule: &Rule) -> Option<&'static str> {
    match &rule.narrow {
        _ if rule.whole_only => Some("refuse"),
        Some(narrow) => Some(narrow.how.code()),
        None => None,
    }
}

/// What the conditions of a role speak of.
pub(super) fn spoken_of(role: &RoleAt) -> Option<String> {
    let kinds: Vec<&str> = role.of.iter().map(|kind| kind.as_str()).collect();
    (!kinds.is_empty()).then(|| kinds.join(", "))
}

/// Each role at a resource that holds something on a condition, with what that speaks of.
pub(super) fn conditions(policy: &Policy) -> Vec<String> {
    let roles = policy.resources.roles.iter();
    roles.filter_map(|(name, role)| Some(format!("{name} of {}", spoken_of(role)?))).collect()
}
