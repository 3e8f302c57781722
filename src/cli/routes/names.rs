//! Names of ours for what a document calls otherwise: parameters, permissions.
//!
//! Suggestions: deterministic, told in comments, to be read by a person. Never here: a rule.

use std::collections::BTreeSet;

use http::Method;

use crate::{
    model::PermissionName,
    policy::{
        Effect,
        path::PathRules,
        routes::{Segment, Template, TemplateFault},
    },
};

use super::document::{Operation, Security};

/// Words that say what is done, and so come second in a permission.
const ACTIONS: &[&str] =
    &["read", "write", "create", "update", "delete", "list", "get", "manage", "admin", "execute"];

/// A path of the document as a template, parameters renamed to what ours may be called; or why it cannot be one.
pub(super) fn template(path: &str) -> Result<Template, String> {
    let mut names = BTreeSet::new();
    let mut out = String::new();
    for (number, segment) in path.split('/').enumerate() {
        if number > 0 {
            out.push('/');
        }
        let inner = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        match inner.filter(|inner| !inner.contains(['{', '}'])) {
            Some(name) => {
                let mut ours = snake(name);
                if !ours.starts_with(|first: char| first.is_ascii_lowercase()) {
                    ours = format!("p{ours}");
                }
                while !names.insert(ours.clone()) {
                    ours.push('_');
                }
                out.push_str(&format!("{{{ours}}}"));
            }
            None if segment.contains(['{', '}']) => {
                return Err(format!(
                    "`{}`: a parameter that is only a part of a segment cannot be told from its surroundings",
                    super::plain(segment)
                ));
            }
            None => out.push_str(segment),
        }
    }
    let template = Template::parse(&out).map_err(|TemplateFault { problem, .. }| problem.to_string())?;
    match template.fault_under(PathRules::default()) {
        Some(fault) => Err(fault.to_string()),
        None => Ok(template),
    }
}

/// `orderId` and `Order-ID` as `order_id`.
pub(super) fn snake(name: &str) -> String {
    let mut out = String::new();
    let mut lower = false;
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && lower {
            out.push('_');
        }
        lower = letter.is_ascii_lowercase() || letter.is_ascii_digit();
        let letter = letter.to_ascii_lowercase();
        if letter.is_ascii_lowercase() || letter.is_ascii_digit() {
            out.push(letter);
        } else if !out.is_empty() && !out.ends_with('_') {
            out.push('_');
        }
    }
    out.trim_end_matches('_').to_owned()
}

/// The permissions that an operation should ask for, and why these.
pub(super) fn permissions(
    operation: &Operation,
    template: &Template,
) -> Option<(Vec<PermissionName>, &'static str)> {
    let effect = Effect::of(&operation.method);
    let by_method = suggestion(operation, template, effect)?;
    let Security::Scopes(scopes) = &operation.security else { return Some((vec![by_method], "")) };
    let mut found: Vec<PermissionName> = scopes.iter().filter_map(|scope| of_scope(scope)).collect();
    found.sort();
    found.dedup();
    if found.len() < scopes.len() || found.is_empty() {
        let why = if scopes.is_empty() { "" } else { "its scopes are no permissions of ours" };
        return Some((vec![by_method], why));
    }
    // A level that only reads must not reach it by a permission to read alone.
    if effect == Effect::Write && found.iter().all(|name| matches!(name.action(), "read" | "list" | "get")) {
        found.push(by_method);
        found.sort();
        found.dedup();
        let why =
            "its scopes only read, and the method writes; if it changes nothing, say `effect: read` instead";
        return Some((found, why));
    }
    Some((found, "from its scopes"))
}

/// `orders:read` as it is, `read:orders` the other way round.
fn of_scope(scope: &str) -> Option<PermissionName> {
    let (first, second) = scope.split_once([':', '.'])?;
    let (kind, action) = if ACTIONS.contains(&first) && !ACTIONS.contains(&second) {
        (second, first)
    } else {
        (first, second)
    };
    let name = PermissionName::new(&format!("{kind}:{action}")).ok()?;
    (name.resource_type() != crate::policy::SUPPORT_TYPE).then_some(name)
}

fn suggestion(operation: &Operation, template: &Template, effect: Effect) -> Option<PermissionName> {
    let action = if effect == Effect::Read { "read" } else { "write" };
    let own = |kind: &str| {
        let kind = snake(kind);
        let name = PermissionName::new(&format!("{kind}:{action}")).ok()?;
        (kind != crate::policy::SUPPORT_TYPE).then_some(name)
    };
    let by_tag = operation.tag.as_deref().and_then(own);
    by_tag.or_else(|| noun(template).and_then(|noun| own(&noun))).or_else(|| own("application"))
}

/// The last literal: `orders` of `/t/{tenant}/orders/{order}`.
fn noun(template: &Template) -> Option<String> {
    template.segments().iter().rev().find_map(|segment| match segment {
        Segment::Literal(literal) => Some(literal.to_string()),
        Segment::Parameter(_) | Segment::Tail(_) => None,
    })
}

/// Whether a name of the document can name a route in records.
pub(super) fn fits(name: &str) -> bool {
    (1..=200).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\'))
}

/// What cannot be mapped at all.
pub(super) fn refused(method: &Method) -> Option<&'static str> {
    (*method == Method::TRACE).then_some("`TRACE` is always refused")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_get_names_that_ours_may_have() {
        for (theirs, ours) in [
            ("/orders/{orderId}", "/orders/{order_id}"),
            ("/o/{Order-ID}/{x.y}", "/o/{order_id}/{x_y}"),
            ("/{2fa}/{id}/{ID}", "/{p2fa}/{id}/{id_}"),
            ("/{}/", "/{p}/"),
            ("/", "/"),
        ] {
            assert_eq!(template(theirs).unwrap().as_str(), ours);
        }
        for bad in [
            "/a/{x}.json",
            "/a b",
            "/a;x",
            "/a/../b",
            "//a",
            "a",
            "/%2F",
            "/{a}{b}",
            "/caf\u{e9}",
            "/{x",
            "/a?b=c",
            "/a#b",
        ] {
            assert!(template(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn scopes_become_permissions_either_way_round() {
        let name = |scope: &str| of_scope(scope).map(|name| name.to_string());
        assert_eq!(name("orders:read").as_deref(), Some("orders:read"));
        assert_eq!(name("write:pets").as_deref(), Some("pets:write"));
        assert_eq!(name("orders.read").as_deref(), Some("orders:read"));
        assert_eq!(name("support:manage"), None);
        assert_eq!(name("openid"), None);
        assert_eq!(name("https://example.com/auth/x"), None);
    }
}
