//! Who may do what, as tables to be read and compared: a change of rights is a change of ticks.
//!
//! Never here: a decision of its own.

use std::io::{self, Write};

use crate::{config::Settings, policy::Policy};

use super::{
    check::{above, adjustable},
    narrowing,
};

/// The tables. `x` allows; `-` marks what the ceiling takes from support.
pub(super) fn print(out: &mut impl Write, settings: &Settings) -> io::Result<()> {
    let policy = &settings.policy;
    let roles: Vec<&str> = policy.roles.keys().map(|name| name.as_str()).collect();
    let mut rows = Vec::new();
    for (id, name) in policy.catalogue.iter() {
        let mut cells: Vec<&str> =
            policy.roles.values().map(|role| tick(role.permissions.contains(id), false)).collect();
        cells.push(if policy.above_ceiling(id) { "-" } else { "x" });
        rows.push((name.to_string(), cells));
    }
    let mut heads = roles;
    heads.push("(support)");
    table(out, "permission", &heads, &rows)?;
    writeln!(out, "\nx: the role holds it; (support): `-` is above the ceiling for support in any role")?;
    if let Some(what) = adjustable(policy) {
        writeln!(out, "{what}")?;
    }
    writeln!(out)?;
    at_resources(out, policy)?;

    let levels = policy.ladder.levels();
    let heads: Vec<&str> = levels.iter().map(|level| level.name.as_str()).collect();
    let mut rows = Vec::new();
    for rule in &policy.rules {
        let cells = (0..levels.len()).map(|rank| tick(reaches(policy, rule, rank), closed(policy, rule)));
        rows.push((rule.name.clone(), cells.collect()));
    }
    table(out, "route", &heads, &rows)?;
    writeln!(
        out,
        "\nx: support in a session by consent at this level passes; -: closed to support at every level"
    )?;
    narrowed(out, settings)
}

/// For each type of resources, what the roles hold that are held there.
fn at_resources(out: &mut impl Write, policy: &Policy) -> io::Result<()> {
    let mut any = false;
    for kind in policy.resources.types.keys() {
        let roles = || policy.resources.roles.iter().filter(|(_, role)| role.at == *kind);
        let heads: Vec<&str> = roles().map(|(name, _)| name.as_str()).collect();
        if heads.is_empty() {
            continue;
        }
        any = true;
        let rows = policy.catalogue.iter().map(|(id, name)| {
            let cells = roles().map(|(_, role)| {
                let whose = (role.own.contains(id), role.assigned.contains(id));
                match (role.permissions.contains(id), whose) {
                    (true, _) => "x",
                    (false, (true, true)) => "b",
                    (false, (true, false)) => "m",
                    (false, (false, true)) => "a",
                    (false, (false, false)) => ".",
                }
            });
            (name.to_string(), cells.collect::<Vec<_>>())
        });
        // What no role there holds is no line of its own.
        let rows: Vec<_> = rows.filter(|(_, cells)| cells.iter().any(|cell| *cell != ".")).collect();
        table(out, &format!("at {kind}"), &heads, &rows)?;
        writeln!(out)?;
    }
    if any {
        let words = "x: whoever holds the role at a resource holds it there and below; m: with what they made, a: with what is \
                     assigned to them, b: with either";
        writeln!(out, "{words}")?;
        let conditions = narrowing::conditions(policy);
        if !conditions.is_empty() {
            writeln!(out, "made or assigned: {}", conditions.join("; "))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// How the answers of routes are narrowed to whoever may see some only; a route that is not here is closed to them where it acts on
/// more than a thing of theirs.
fn narrowed(out: &mut impl Write, settings: &Settings) -> io::Result<()> {
    let rules = || {
        let all = settings.policy.rules.iter().enumerate();
        all.filter_map(|(number, rule)| Some((&rule.name, narrowing::how(settings, number)?)))
    };
    let Some(widest) = rules().map(|(name, _)| name.chars().count()).max() else { return Ok(()) };
    writeln!(out, "\n{:<widest$}  for whoever may see some only", "narrowed")?;
    rules().try_for_each(|(name, how)| writeln!(out, "{name:<widest$}  {how}"))
}

fn closed(policy: &Policy, rule: &crate::policy::Rule) -> bool {
    !rule.public && above(policy, &rule.permissions)
}

fn reaches(policy: &Policy, rule: &crate::policy::Rule, rank: usize) -> bool {
    rule.public
        || !closed(policy, rule)
            && policy
                .role_at(rank)
                .is_some_and(|role| rule.permissions.iter().all(|id| role.permissions.contains(*id)))
}

fn tick(holds: bool, closed: bool) -> &'static str {
    match (holds, closed) {
        (true, _) => "x",
        (false, true) => "-",
        (false, false) => ".",
    }
}

fn table(out: &mut impl Write, first: &str, heads: &[&str], rows: &[(String, Vec<&str>)]) -> io::Result<()> {
    let widest = rows.iter().map(|(name, _)| name.chars().count()).chain([first.len()]).max().unwrap_or(0);
    write!(out, "{first:<widest$}")?;
    for head in heads {
        write!(out, "  {head}")?;
    }
    writeln!(out)?;
    for (name, cells) in rows {
        let mut row = format!("{name:<widest$}");
        for (head, cell) in heads.iter().zip(cells) {
            row.push_str(&format!("  {cell:^width$}", width = head.chars().count()));
        }
        writeln!(out, "{}", row.trim_end())?;
    }
    Ok(())
}
