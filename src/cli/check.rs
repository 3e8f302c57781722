//! `postern check`: all that is wrong with a configuration, or what it comes to.
//!
//! Never here: what is a fault ([`crate::config`], [`crate::app`]).

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::Args;

use crate::{
    config::{self, Disk, Settings, resolve::SupportSettings},
    model::{Span, SubjectKind, TenantId},
    policy::{OnLower, OnRemove, PermissionSet, Policy, look_up::PathPiece},
};

use super::{
    Answer, ConfigArg, Trouble, grid,
    out::{Out, say},
    warn,
};

/// Reads a configuration as `run` would, keys and route map included, and opens nothing else. All faults are told at
/// once on standard error with file, line, column and a hint; if there are none, a summary is printed.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// The configuration
    #[arg(long, value_name = "FILE", required_unless_present = "schema")]
    config: Option<PathBuf>,
    /// Print the JSON Schema of configurations
    #[arg(long, conflicts_with = "grid")]
    schema: bool,
    /// Print who may do what instead: permissions by role, routes by consent level
    #[arg(long)]
    grid: bool,
}

impl Check {
    pub(super) fn perform(self, out: &mut Out) -> Result<Answer, Trouble> {
        if self.schema {
            out.write_all(config::schema().as_bytes())?;
        }
        let Some(config) = self.config else { return Ok(Answer::Yes) };
        let (settings, warnings) = match config::load_whole(&config, &Disk) {
            Ok(read) => read,
            Err((faults, settings)) => {
                // What building would tell too, as far as enough can be read to tell it.
                say(&super::draw(&faults));
                for fault in settings.map(|settings| crate::app::check_beside(&settings)).unwrap_or_default()
                {
                    say(&format!("\n{fault}"));
                }
                return Ok(Answer::No);
            }
        };
        warn(&warnings);
        let faults = crate::app::check(&settings);
        for fault in &faults {
            say(&fault.to_string());
        }
        if !faults.is_empty() {
            return Ok(Answer::No);
        }
        let doubts = crate::app::doubts(&settings);
        for doubt in &doubts {
            say(&format!("{}: warning: {doubt}\n", config.display()));
        }
        if self.grid {
            grid::print(out, &settings)?;
        } else if !self.schema {
            summary(out, &ConfigArg { config }, &settings, warnings.len() + doubts.len())?;
        }
        Ok(Answer::Yes)
    }
}

fn summary(out: &mut Out, config: &ConfigArg, settings: &Settings, warnings: usize) -> io::Result<()> {
    let policy = &settings.policy;
    write!(out, "{}: fine", config.config.display())?;
    match warnings {
        0 => writeln!(out)?,
        1 => writeln!(out, ", with a warning")?,
        many => writeln!(out, ", with {many} warnings")?,
    }
    writeln!(out, "policy {}", policy.fingerprint)?;
    let dangerous = settings.dangerous.in_use();
    if !dangerous.is_empty() {
        writeln!(out, "\nDANGEROUS: {}; for local play only", dangerous.join(", "))?;
    }
    let public = policy.rules.iter().filter(|rule| rule.public).count();
    let closed = policy.rules.iter().filter(|rule| above(policy, &rule.permissions)).count();
    writeln!(out, "\nroutes      {:>4}  {public} public, {closed} closed to support", policy.rules.len())?;
    writeln!(out, "permissions {:>4}  support:* among them", policy.catalogue.iter().count())?;
    let creating = || policy.rules.iter().filter_map(|rule| Some((rule, rule.creates.as_deref()?)));
    if creating().next().is_some() {
        writeln!(out, "\ncreations")?;
    }
    for (rule, creates) in creating() {
        writeln!(out, "  {}\n    {creates}", rule.name)?;
    }

    writeln!(out, "\nissuers")?;
    for issuer in &settings.issuers {
        let kind = match issuer.kind {
            SubjectKind::Staff => "staff",
            SubjectKind::Member => "members",
            SubjectKind::Service => "services",
        };
        let support = match (issuer.kind, &issuer.claims.support) {
            (SubjectKind::Member | SubjectKind::Service, _) => "",
            (SubjectKind::Staff, SupportSettings::Nobody) => ", none of them support as a whole",
            (SubjectKind::Staff, SupportSettings::Everybody) => ", all of them support as a whole",
            (SubjectKind::Staff, SupportSettings::Claim { .. }) => ", support as a whole by a claim",
        };
        writeln!(
            out,
            "  {:<16} {kind}, {} by {}{support}",
            issuer.name.as_str(),
            issuer.issuer,
            issuer.algorithms.join(", ")
        )?;
    }

    writeln!(out, "\nroles")?;
    for (name, role) in &policy.roles {
        writeln!(out, "  {:<16} {}", name.as_str(), names(policy, &role.permissions, false))?;
    }
    if let Some(what) = adjustable(policy) {
        writeln!(out, "  {what}")?;
    }
    let own = &policy.tenant_roles;
    if own.most > 0 {
        writeln!(out, "  up to {} more of each tenant's own", own.most)?;
    }
    if own.most > 0 || adjustable(policy).is_some() {
        let plans = own.plans.as_ref().map(|plans| {
            let plans: Vec<&str> = plans.iter().map(|plan| plan.as_str()).collect();
            format!(", in the plans {}", plans.join(", "))
        });
        writeln!(out, "  said in the tenant by {}{}", own.permission(), plans.unwrap_or_default())?;
    }
    look_ups(out, settings)?;
    let lower = match policy.on_lower {
        OnLower::Immediate => "reaches running sessions at once",
        OnLower::Future => "governs later sessions",
    };
    writeln!(out, "\nconsent levels: default {}, a lowered one {lower}", policy.default_level)?;
    for level in policy.ladder.levels() {
        let role = level.role.as_ref().and_then(|name| policy.role(name));
        let may = role.map_or_else(|| "nothing".to_owned(), |role| names(policy, &role.permissions, true));
        writeln!(out, "  {:<16} {may}", level.name.as_str())?;
    }
    writeln!(out, "ceiling: {}, support:*", names(policy, &policy.ceiling, false))?;
    if !settings.ceiling.by_default.is_empty() {
        writeln!(out, "  {:<16} {}", "by default", names(policy, &settings.ceiling.by_default, false))?;
    }
    for (name, because) in &settings.ceiling.opened {
        writeln!(out, "  {:<16} {name}: {because}", "opened")?;
    }
    writeln!(
        out,
        "sessions last {}, one exchange {} at most",
        policy.session_lasts,
        Span::Millis(policy.max_exchange_ms)
    )?;

    if policy.sessions.as_long_as_granted {
        writeln!(out, "  {:<16} as long as their grant stands", "by a grant")?;
    }
    if policy.sessions.on_remove == OnRemove::Bar {
        writeln!(out, "  {:<16} is kept out until that is lifted", "who is removed")?;
    }
    let access = &policy.login_access;
    if access.is_open() {
        let durations: Vec<String> = access.durations.iter().map(Span::to_string).collect();
        writeln!(out, "login access: {}", durations.join(", "))?;
    }
    for organisation in &access.organisations {
        let issuers = settings.issuers.iter().filter_map(|issuer| {
            let rules = &issuer.claims.organisations;
            let (_, rule) = rules.iter().find(|(name, _)| name == organisation)?;
            Some(match rule {
                SupportSettings::Claim { path, values } => {
                    format!("of {}, by `{path}`: {}", issuer.name, values.join(", "))
                }
                SupportSettings::Everybody => format!("all of {}", issuer.name),
                SupportSettings::Nobody => format!("none of {}", issuer.name),
            })
        });
        writeln!(out, "  {:<16} {}", organisation.as_str(), issuers.collect::<Vec<_>>().join("; "))?;
    }

    let operators: Vec<String> = policy.emergency.operators.iter().map(ToString::to_string).collect();
    if !operators.is_empty() {
        writeln!(out, "kill switches: {}, beside each tenant's own", operators.join(", "))?;
    }
    if let Some(glass) = &policy.emergency.break_glass {
        let operators: Vec<String> = glass.operators.iter().map(ToString::to_string).collect();
        let role = policy.role(&glass.role);
        let may = role.map_or_else(|| "nothing".to_owned(), |role| names(policy, &role.permissions, true));
        let (lasts, causes) =
            (Span::Millis(glass.lasts_ms), glass.causes.iter().cloned().collect::<Vec<_>>());
        writeln!(out, "break-glass: {}, for {} at most", operators.join(", "), lasts)?;
        writeln!(out, "  causes           {}", causes.join(", "))?;
        writeln!(out, "  {:<16} {may}", glass.role.as_str())?;
        if !glass.tenant_ends {
            writeln!(out, "  {:<16} sees it, and cannot end it", "the tenant")?;
        }
    }
    if !settings.webhooks.is_empty() {
        writeln!(out, "webhooks")?;
    }
    for hook in &settings.webhooks {
        let tenants = match &hook.tenants {
            None => "all tenants".to_owned(),
            Some(tenants) => tenants.iter().map(TenantId::as_str).collect::<Vec<_>>().join(", "),
        };
        let events: Vec<&str> = hook.events.iter().copied().collect();
        // The host alone: a path may be as good as a password.
        writeln!(out, "  {:<16} {}, of {tenants}: {}", hook.name, hook.server.authority, events.join(", "))?;
    }
    let environments: Vec<&str> = policy.environments.iter().map(|name| name.as_str()).collect();
    writeln!(out, "\nenvironments: {}", environments.join(", "))?;
    writeln!(out, "tenants known from the start: {}", settings.tenants.known.len())?;
    for tenant in &settings.tenants.known {
        let parent = tenant.parent.as_ref().map(|parent| format!(", child of {parent}")).unwrap_or_default();
        writeln!(out, "  {:<16} {}{parent}", tenant.id.as_str(), tenant.zone.name())?;
    }
    Ok(())
}

/// What is looked up at applications.
fn look_ups(out: &mut Out, settings: &Settings) -> io::Result<()> {
    let types = &settings.policy.resources.types;
    let all = || types.iter().filter_map(|(kind, rule)| Some((kind, rule.look_up.as_deref()?)));
    if all().next().is_some() {
        writeln!(out, "\nlooked up where nobody pushed it")?;
    }
    for (kind, look_up) in all() {
        let path: String = look_up
            .path
            .iter()
            .map(|piece| match piece {
                PathPiece::Text(text) => text.clone(),
                PathPiece::Tenant => "{tenant}".to_owned(),
                PathPiece::Id => format!("{{{kind}}}"),
            })
            .collect();
        let upstream = settings.upstreams.get(look_up.upstream).map_or("", |upstream| upstream.name.as_str());
        let places = [
            ("parent", look_up.parent.is_some()),
            ("creator", look_up.creator.is_some()),
            ("assignees", look_up.assignees.is_some()),
        ];
        let places: Vec<&str> =
            places.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect();
        writeln!(
            out,
            "  {:<16} {}, at {upstream}{path}, for {} each",
            kind.as_str(),
            places.join(", "),
            Span::Millis(look_up.for_ms)
        )?;
    }
    Ok(())
}

/// Which roles a tenant may adjust, if any.
pub(super) fn adjustable(policy: &Policy) -> Option<String> {
    let roles = policy.roles.iter().filter(|(_, role)| role.adjustable);
    let roles: Vec<&str> = roles.map(|(name, _)| name.as_str()).collect();
    (!roles.is_empty()).then(|| format!("adjustable by each tenant: {}", roles.join(", ")))
}

/// Whether a route can never be reached by staff.
pub(super) fn above(policy: &Policy, permissions: &[crate::policy::PermissionId]) -> bool {
    permissions.iter().any(|permission| policy.above_ceiling(*permission))
}

/// The names of a set, by type: `orders:{read,write} jobs:read`. For staff without what is above the ceiling.
fn names(policy: &Policy, set: &PermissionSet, staff: bool) -> String {
    let mut types: Vec<(&str, Vec<&str>)> = Vec::new();
    for (id, name) in policy.catalogue.iter() {
        if !set.contains(id) || staff && policy.above_ceiling(id) {
            continue;
        }
        match types.last_mut() {
            Some((kind, actions)) if *kind == name.resource_type() => actions.push(name.action()),
            _ => types.push((name.resource_type(), vec![name.action()])),
        }
    }
    if types.is_empty() {
        return "nothing".to_owned();
    }
    let parts: Vec<String> = types
        .into_iter()
        .map(|(kind, actions)| match actions.as_slice() {
            [only] => format!("{kind}:{only}"),
            many => format!("{kind}:{{{}}}", many.join(",")),
        })
        .collect();
    parts.join(" ")
}
