//! What of a document a map owns: one look-up for each operation, by the table that the gateway uses.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
};

use serde_json::json;

use crate::{
    cli::{Answer, Trouble, narrowing, out::Out},
    config::Settings,
    policy::{
        path::CanonicalPath,
        routes::{Match, Params, RouteSpec, RouteTable, Segment},
    },
};

use super::{
    document::{Document, Operation},
    names, plain,
};

/// A host that no route names.
const ELSEWHERE: &str = "elsewhere.invalid";

/// How an operation stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// This route owns it, by its place in the settings.
    Owned(usize),
    /// A route owns its path, none with its method.
    MethodUnmapped,
    /// No route owns its path.
    Unmapped,
    /// No request for it passes the gateway.
    Refused(String),
}

impl State {
    fn word(&self, public: bool) -> &'static str {
        match self {
            State::Owned(_) if public => "public",
            State::Owned(_) => "owned",
            State::MethodUnmapped => "method_unmapped",
            State::Unmapped => "unmapped",
            State::Refused(_) => "refused",
        }
    }
}

pub(super) fn write(
    out: &mut Out,
    settings: &Settings,
    document: &Document,
    host: Option<&str>,
    json: bool,
) -> Result<Answer, Trouble> {
    let specs = (0_u32..).zip(&settings.routes).map(|(id, entry)| RouteSpec {
        host: entry.host.clone(),
        methods: entry.methods.clone(),
        template: entry.template.clone(),
        id,
    });
    let table = RouteTable::build_under(specs.collect(), settings.paths.table)
        .map_err(|faults| Trouble::Says(faults.first().map(ToString::to_string).unwrap_or_default()))?;
    let hosts: BTreeSet<&str> = match host {
        Some(host) => BTreeSet::from([host]),
        None => settings.routes.iter().map(|entry| entry.host.as_deref().unwrap_or(ELSEWHERE)).collect(),
    };
    let mut met: BTreeSet<usize> = BTreeSet::new();
    let states: Vec<State> = document
        .operations
        .iter()
        .map(|operation| state(settings, &table, &hosts, operation, &mut met))
        .collect();
    let stale: Vec<usize> = (0..settings.routes.len()).filter(|number| !met.contains(number)).collect();
    let complete = states.iter().all(|state| matches!(state, State::Owned(_)));
    if json {
        write_json(out, settings, document, &states, &stale, complete)?;
    } else {
        write_text(out, settings, document, &states, &stale)?;
    }
    Ok(if complete { Answer::Yes } else { Answer::No })
}

/// The state on the host that owns it, if one does. Every route that is met is noted.
fn state(
    settings: &Settings,
    table: &RouteTable,
    hosts: &BTreeSet<&str>,
    operation: &Operation,
    met: &mut BTreeSet<usize>,
) -> State {
    let template = match names::template(&operation.path) {
        Ok(template) => template,
        Err(why) => return State::Refused(why),
    };
    let example = template.example(table.filler());
    let path = match CanonicalPath::under(example.as_bytes(), settings.paths.rules) {
        Ok(path) => path,
        Err(why) => return State::Refused(why.to_string()),
    };
    let mut state = State::Unmapped;
    for host in hosts {
        match table.lookup(host, &operation.method, &path, &mut Params::new()) {
            Match::Route(id) => {
                let number = usize::try_from(id).unwrap_or(usize::MAX);
                met.insert(number);
                if !matches!(state, State::Owned(_)) {
                    state = State::Owned(number);
                }
            }
            Match::MethodNotMapped if state == State::Unmapped => state = State::MethodUnmapped,
            _ => {}
        }
    }
    state
}

fn is_public(settings: &Settings, state: &State) -> bool {
    let State::Owned(number) = state else { return false };
    let rule = settings.routes.get(*number).and_then(|entry| settings.policy.rules.get(entry.rule));
    rule.is_some_and(|rule| rule.public)
}

/// A route's name and line.
fn named(settings: &Settings, number: usize) -> (&str, usize) {
    let Some(entry) = settings.routes.get(number) else { return ("", 0) };
    (settings.policy.rules.get(entry.rule).map_or("", |rule| rule.name.as_str()), entry.line)
}

fn write_text(
    out: &mut Out,
    settings: &Settings,
    document: &Document,
    states: &[State],
    stale: &[usize],
) -> Result<(), Trouble> {
    let pairs = || document.operations.iter().zip(states);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for state in states {
        *counts.entry(state.word(is_public(settings, state))).or_default() += 1;
    }
    let count = |word: &str| counts.get(word).copied().unwrap_or(0);
    let by_tail = states
        .iter()
        .filter(|state| matches!(state, State::Owned(number) if tailed(settings, *number)))
        .count();
    writeln!(out, "{}: {} operations", plain(&document.title), states.len())?;
    writeln!(out, "  {:>5}  owned by a route that asks for something", count("owned"))?;
    writeln!(out, "  {:>5}  open to everybody", count("public"))?;
    writeln!(
        out,
        "  {:>5}  without a route: refused to staff",
        states.len() - count("owned") - count("public")
    )?;
    writeln!(out, "  {by_tail:>5}  of the owned by a `{{*tail}}`")?;
    let narrowed =
        states.iter().filter(|state| matches!(state, State::Owned(number) if is_narrowed(settings, *number)));
    let narrowed = narrowed.count();
    if narrowed > 0 {
        writeln!(out, "  {narrowed:>5}  of the owned narrowed for whoever may see some only")?;
    }
    let mut section = |title: &str, rows: Vec<String>| -> std::io::Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        writeln!(out, "\n{title}")?;
        rows.iter().try_for_each(|row| writeln!(out, "  {row}"))
    };
    let unowned = pairs().filter_map(|(operation, state)| {
        let why = match state {
            State::Owned(_) => return None,
            State::MethodUnmapped => "its path is mapped, its method is not",
            State::Unmapped => "no route",
            State::Refused(why) => why,
        };
        Some(format!("{}: {}", title(operation), plain(why)))
    });
    section("without a route", unowned.collect())?;
    let open = pairs().filter(|(_, state)| is_public(settings, state)).map(|(operation, state)| {
        let State::Owned(number) = state else { return String::new() };
        let (name, line) = named(settings, *number);
        format!("{} by `{name}`, line {line}", title(operation))
    });
    section("open to everybody", open.collect())?;
    let rows = stale.iter().map(|number| {
        let (name, line) = named(settings, *number);
        format!("`{name}`, line {line}")
    });
    section("routes that no operation of the document reaches", rows.collect())?;
    section("to look at", document.notes.iter().map(|note| format!("{}: {}", note.at, note.what)).collect())?;
    Ok(())
}

fn is_narrowed(settings: &Settings, number: usize) -> bool {
    let rule = settings.routes.get(number).and_then(|entry| settings.policy.rules.get(entry.rule));
    rule.is_some_and(|rule| narrowing::word(rule).is_some())
}

fn tailed(settings: &Settings, number: usize) -> bool {
    settings
        .routes
        .get(number)
        .is_some_and(|entry| matches!(entry.template.segments().last(), Some(Segment::Tail(_))))
}

fn title(operation: &Operation) -> String {
    let id = operation.id.as_deref().map(|id| format!(" ({})", plain(id))).unwrap_or_default();
    format!("{} {}{id}", operation.method, plain(&operation.path))
}

fn write_json(
    out: &mut Out,
    settings: &Settings,
    document: &Document,
    states: &[State],
    stale: &[usize],
    complete: bool,
) -> Result<(), Trouble> {
    let route = |number: usize| {
        let (name, line) = named(settings, number);
        let entry = settings.routes.get(number);
        let rule = entry.and_then(|entry| settings.policy.rules.get(entry.rule));
        match rule.and_then(narrowing::word) {
            Some(narrow) => json!({ "name": name, "line": line, "narrow": narrow }),
            None => json!({ "name": name, "line": line }),
        }
    };
    let operations: Vec<_> = document
        .operations
        .iter()
        .zip(states)
        .map(|(operation, state)| {
            json!({
                "method": operation.method.as_str(),
                "path": operation.path,
                "operation": operation.id,
                "state": state.word(is_public(settings, state)),
                "route": if let State::Owned(number) = state { route(*number) } else { json!(null) },
                "why": if let State::Refused(why) = state { json!(why) } else { json!(null) },
            })
        })
        .collect();
    let notes: Vec<_> =
        document.notes.iter().map(|note| json!({ "at": note.at, "what": note.what })).collect();
    let value = json!({
        "document": document.title,
        "complete": complete,
        "operations": operations,
        "routes_without_operation": stale.iter().map(|number| route(*number)).collect::<Vec<_>>(),
        "notes": notes,
    });
    serde_json::to_writer_pretty(&mut *out, &value).map_err(std::io::Error::from)?;
    writeln!(out)?;
    Ok(())
}
