//! The lines of an explanation: what was read and what it means, words at the left, answers at the right.
//!
//! Never here: a decision.

use std::io::{self, Write as _};

use crate::{
    policy::{Named, Route, Rule, routes::Standing},
    proxy::{preview::Preview, routing::Upstream},
};

use super::{Stage, at, glass, passes};
use crate::cli::{narrowing, out::Out};

/// The width of the words at the left.
const LEFT: usize = 13;

pub(super) fn line(out: &mut Out, left: &str, right: &str) -> io::Result<()> {
    writeln!(out, "{left:<LEFT$}{right}")
}

pub(super) fn named(name: Named<'_>) -> String {
    match name {
        Named::As(text) => text.to_owned(),
        Named::Missing => "not named by the request".to_owned(),
        Named::Unclear => "named in no one way".to_owned(),
    }
}

/// The routes that came into question, the owner first.
pub(super) fn candidates(out: &mut Out, stage: &Stage<'_>, read: &Preview<'_>) -> io::Result<()> {
    let settings = stage.settings;
    let mut explanation = stage.routing.table.explain(read.host, &read.method, &read.path);
    explanation.candidates.sort_by_key(|candidate| candidate.standing != Standing::Owns);
    let mut left = "route";
    if read.rule.is_none() {
        let what = match read.ask.route {
            Route::Method => "the path is mapped, this method is not",
            Route::Twin => "the path differs from a mapped one in case or its last slash only",
            Route::Mapped(_) | Route::Unmapped => "no route owns this path",
        };
        line(out, left, what)?;
        left = "";
    }
    for candidate in &explanation.candidates {
        let entry = usize::try_from(candidate.spec.id).ok().and_then(|id| settings.routes.get(id));
        let place = entry.map_or(0, |entry| entry.line);
        let methods: Vec<&str> = candidate.spec.methods.iter().map(http::Method::as_str).collect();
        let host = candidate.spec.host.as_deref().unwrap_or_default();
        let why = match candidate.standing {
            Standing::Owns => "owns the request",
            Standing::OtherMethod => "covers the path, does not name the method",
            Standing::LessSpecific => "covers the path, something more specific comes first",
            Standing::CaseTwin => "differs in letter case only, so nothing less specific may match",
            Standing::SlashTwin => "differs in the last slash only, so nothing less specific may match",
        };
        let what = format!(
            "{}:{place}: {} {host}{}: {why}",
            settings.file.display(),
            methods.join(","),
            candidate.spec.template
        );
        line(out, left, &what)?;
        left = "";
    }
    Ok(())
}

fn servers(upstream: &Upstream) -> String {
    upstream.servers.iter().map(|server| &*server.name).collect::<Vec<_>>().join(", ")
}

pub(super) fn of_rule(out: &mut Out, stage: &Stage<'_>, read: &Preview<'_>, rule: &Rule) -> io::Result<()> {
    let policy = &stage.settings.policy;
    if let Some(kind) = &rule.resource {
        line(out, "resource", &format!("{kind} {}", read.ask.resource.unwrap_or("not named")))?;
    }
    if let Some(how) = read.rule.and_then(|number| narrowing::how(stage.settings, number)) {
        line(out, "narrowed", &how)?;
    }
    if let Some(upstream) = stage.routing.upstreams.get(rule.upstream) {
        line(out, "upstream", &format!("{} at {}", upstream.name, servers(upstream)))?;
    }
    if rule.public {
        return line(
            out,
            "permissions",
            "none: the route is public; no assertion is sent, and of staff no credentials",
        );
    }
    let name = |id| policy.catalogue.name(id).map(|name| name.as_str()).unwrap_or_default();
    let all: Vec<&str> = rule.permissions.iter().map(|id| name(*id)).collect();
    line(out, "permissions", &all.join(" and "))?;
    if let Some(plans) = &rule.plans {
        let plans: Vec<&str> = plans.iter().map(|plan| plan.as_str()).collect();
        let what = format!("{} only; what follows is said of a tenant with one of them", plans.join(", "));
        line(out, "plans", &what)?;
    }
    if let Some(creates) = &rule.creates {
        line(out, "creates", &format!("{creates}; where the application answers 201"))?;
    }
    let above: Vec<&str> =
        rule.permissions.iter().filter(|id| policy.above_ceiling(**id)).map(|id| name(*id)).collect();
    if above.is_empty() {
        line(out, "ceiling", "not reached")
    } else {
        line(
            out,
            "ceiling",
            &format!("closed to support at every level and by every grant: {}", above.join(", ")),
        )?;
        let by_default: Vec<&str> = rule
            .permissions
            .iter()
            .filter(|id| stage.settings.ceiling.by_default.contains(**id))
            .map(|id| name(*id))
            .collect();
        if by_default.is_empty() {
            return Ok(());
        }
        let names = by_default.join(", ");
        line(out, "", &format!("by the default ceiling, which `ceiling.open` opens with a reason: {names}"))
    }
}

pub(super) fn who_passes(out: &mut Out, stage: &Stage<'_>, read: &Preview<'_>) -> io::Result<()> {
    if matches!(read.ask.route, Route::Mapped(rule) if rule.public) {
        return line(out, "passes", "everybody");
    }
    let list = |names: Vec<&str>, none: &str| {
        if names.is_empty() { none.to_owned() } else { names.join(", ") }
    };
    if passes(&stage.member(read, Vec::new())) {
        line(out, "members", "all pass: the map is silent, and `members.unmapped` allows it")?;
    } else {
        line(out, "members", &list(stage.members(read), "with no role"))?;
    }
    at::of_all(out, stage, read)?;
    line(out, "by consent", &list(stage.levels(read), "at no level"))?;
    line(out, "by grant", &list(stage.roles(read), "with no role"))?;
    if stage.settings.policy.login_access.is_open() {
        line(out, "acting as", &list(stage.acting(read), "with no role"))?;
    }
    glass::of_all(out, stage, read)?;
    if stage.settings.policy.conditions.is_empty() {
        return Ok(());
    }
    line(out, "and support", "has to meet `staff.require`, which is left out of this")
}
