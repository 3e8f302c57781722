//! A document as a map in our configuration's own form, to be read by a person and pasted.

use std::{
    collections::{BTreeSet, HashSet},
    io::Write as _,
};

use crate::{
    cli::{Answer, Trouble, out::Out},
    model::PermissionName,
    policy::routes::{RouteFault, RouteSpec, RouteTable, Template},
};

use super::{
    document::{Document, Operation, Security},
    names, plain,
};

/// What the command line adds to each line.
pub(super) struct Around<'a> {
    pub(super) host: Option<&'a str>,
    pub(super) upstream: Option<&'a str>,
}

struct Line<'a> {
    operation: &'a Operation,
    template: Template,
    permissions: Vec<PermissionName>,
    why: &'static str,
}

/// How often a map with conflicts is tried again without the later of the two.
const MOST_TRIES: usize = 8;

pub(super) fn write(out: &mut Out, document: &Document, around: &Around<'_>) -> Result<Answer, Trouble> {
    let mut lost: Vec<(String, String)> = Vec::new();
    let mut lines = Vec::new();
    for operation in &document.operations {
        match line(operation) {
            Ok(line) => lines.push(line),
            Err(why) => lost.push((title(operation), why)),
        }
    }
    alone(&mut lines, &mut lost, around.host);
    let permissions: BTreeSet<&PermissionName> = lines.iter().flat_map(|line| &line.permissions).collect();
    let mapped = lines.len();
    let of = document.operations.len();
    writeln!(out, "# From the OpenAPI {} document `{}`:", plain(&document.openapi), plain(&document.title))?;
    writeln!(out, "# {mapped} of {of} operations. Permissions are suggested, not decided: read each line.")?;
    if document.operations.iter().any(|operation| operation.security == Security::Silent) {
        writeln!(
            out,
            "# Where the document says nothing of a login, a permission is asked for all the same."
        )?;
    }
    for note in &document.notes {
        writeln!(out, "# look at {}: {}", note.at, note.what)?;
    }
    for (operation, why) in &lost {
        writeln!(out, "# not mapped: {operation}: {}", plain(why))?;
    }
    writeln!(out, "\npermissions:{}", if permissions.is_empty() { " []" } else { "" })?;
    for name in &permissions {
        writeln!(out, "  - {name}")?;
    }
    writeln!(out, "\nroutes:{}", if lines.is_empty() { " []" } else { "" })?;
    let mut names = HashSet::new();
    let mut tag = None;
    for line in &lines {
        if line.operation.tag.as_deref() != tag {
            tag = line.operation.tag.as_deref();
            writeln!(out, "  # {}", plain(tag.unwrap_or("without a tag")))?;
        }
        write_line(out, line, around, &mut names)?;
    }
    Ok(if lost.is_empty() { Answer::Yes } else { Answer::No })
}

fn title(operation: &Operation) -> String {
    format!("{} {}", operation.method, plain(&operation.path))
}

fn line(operation: &Operation) -> Result<Line<'_>, String> {
    if let Some(why) = names::refused(&operation.method) {
        return Err(why.to_owned());
    }
    let template = names::template(&operation.path)?;
    let (permissions, why) = match operation.security {
        Security::Nobody => (Vec::new(), "the document asks for no login here"),
        Security::Silent | Security::Scopes(_) => {
            names::permissions(operation, &template).ok_or("no permission can be suggested")?
        }
    };
    Ok(Line { operation, template, permissions, why })
}

/// Takes out what has no place beside the others, until they make a map.
fn alone(lines: &mut Vec<Line<'_>>, lost: &mut Vec<(String, String)>, host: Option<&str>) {
    for _ in 0..MOST_TRIES {
        let specs = (0_u32..)
            .zip(lines.iter())
            .map(|(id, line)| RouteSpec {
                host: host.map(str::to_owned),
                methods: vec![line.operation.method.clone()],
                template: line.template.clone(),
                id,
            })
            .collect();
        let Err(faults) = RouteTable::build(specs) else { return };
        let mut gone: BTreeSet<usize> = BTreeSet::new();
        for fault in faults {
            let (id, why) = match fault {
                RouteFault::Conflict { a, b, witness } => {
                    (b, format!("`{witness}` is owned by {} already", at(lines, a)))
                }
                RouteFault::CaseTwins { a, b, witness } => {
                    (a.max(b), format!("it differs from {} in case only: {witness}", at(lines, a.min(b))))
                }
                RouteFault::NeverReached { id, .. } => {
                    (id, "more specific paths leave nothing to it".to_owned())
                }
                RouteFault::NoMethod { id }
                | RouteFault::RefusedMethod { id, .. }
                | RouteFault::Host { id, .. } => (id, fault.to_string()),
                RouteFault::TooEntangled => {
                    lost.push(("everything".to_owned(), RouteFault::TooEntangled.to_string()));
                    lines.clear();
                    return;
                }
            };
            let number = usize::try_from(id).unwrap_or(usize::MAX);
            if gone.insert(number)
                && let Some(line) = lines.get(number)
            {
                lost.push((title(line.operation), why));
            }
        }
        let mut number = 0;
        lines.retain(|_| {
            number += 1;
            !gone.contains(&(number - 1))
        });
    }
    for line in lines.drain(..) {
        lost.push((title(line.operation), "it conflicts with others in too many ways".to_owned()));
    }
}

fn at(lines: &[Line<'_>], id: u32) -> String {
    let line = usize::try_from(id).ok().and_then(|number| lines.get(number));
    line.map_or_else(String::new, |line| format!("`{}`", title(line.operation)))
}

fn write_line(
    out: &mut Out,
    line: &Line<'_>,
    around: &Around<'_>,
    names: &mut HashSet<String>,
) -> Result<(), Trouble> {
    let mut remarks: Vec<String> = Vec::new();
    let mut keys: Vec<String> = Vec::new();
    match &line.operation.id {
        Some(id) if names::fits(id) && names.insert(id.clone()) => keys.push(format!("name: \"{id}\"")),
        Some(id) => remarks.push(format!("`{}` cannot name a route, or names two", plain(id))),
        None => {}
    }
    if line.operation.deprecated {
        remarks.push("deprecated".to_owned());
    }
    if !line.why.is_empty() {
        remarks.push(line.why.to_owned());
    }
    keys.push(format!("route: \"{} {}\"", line.operation.method, line.template));
    if let Some(host) = around.host {
        keys.push(format!("host: \"{host}\""));
    }
    match line.permissions.as_slice() {
        [] => keys.push("public: true".to_owned()),
        [one] => keys.push(format!("permission: {one}")),
        many => {
            let all: Vec<String> = many.iter().map(ToString::to_string).collect();
            keys.push(format!("permission: [{}]", all.join(", ")));
        }
    }
    if let Some(upstream) = around.upstream {
        keys.push(format!("upstream: \"{upstream}\""));
    }
    let remark = if remarks.is_empty() { String::new() } else { format!("  # {}", remarks.join("; ")) };
    writeln!(out, "  - {{ {} }}{remark}", keys.join(", "))?;
    Ok(())
}
