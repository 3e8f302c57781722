//! The whole table of decisions as a golden file, `tests/decisions/grid.txt`: who, on what basis, in what state of it,
//! at which consent level, in which environment, against each class of route. A change of the rules is reviewed as a
//! diff of its ticks and crosses.
//!
//! To write it anew after a change that is meant: `POSTERN_WRITE_GRID=1 cargo test --test ground grid`, then read the
//! diff.

use std::fmt::Write as _;

use postern::{
    lifecycle::{Actor, Choice, Command, Until, WantedBasis},
    model::{Grantee, Key, Scope, Span, Subject, Zone},
    policy::{Caller, Policy},
};

use crate::world::*;

/// The classes of routes: heading, permission, type of the resource.
const ROUTES: [(&str, &str); 9] = [
    ("public", "orders:read"),
    ("reads", "orders:read"),
    ("steers", "mappings:write"),
    ("writes", "orders:write"),
    ("ceiling", "users:manage"),
    ("support", "support:manage"),
    ("other method", ""),
    ("twin", ""),
    ("unmapped", ""),
];

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/decisions/grid.txt");

fn request(column: usize, environment: &str, session: Name) -> Request {
    let (heading, permission) = ROUTES[column];
    Request {
        route: match heading {
            "other method" => Map::Method,
            "twin" => Map::Twin,
            "unmapped" => Map::Unmapped,
            _ => Map::Rule(vec![permission.into()], heading == "public", Some("orders".into())),
        },
        session,
        resource: Some("o1".into()),
        ..Request::simple("beta", "orders:read").environment(environment)
    }
}

struct Row<'a> {
    who: &'a str,
    basis: &'a str,
    state: &'a str,
    level: &'a str,
    environment: &'a str,
    cells: Vec<String>,
}

fn cells(
    world: &World,
    caller: Caller<'_>,
    environment: &str,
    session: &Name,
    now: i64,
    policy: &Policy,
) -> Vec<String> {
    (0..ROUTES.len())
        .map(|column| {
            let decided = world.decide(&request(column, environment, session.clone()), caller, now, policy);
            if decided.allowed() { "✓".to_owned() } else { format!("✗ {}", decided.code()) }
        })
        .collect()
}

const STARTED: i64 = 1_000;
/// Sessions last ten seconds here.
const OVER: i64 = STARTED + 10_000;

/// `acme` above `beta`, with `beta` at a level.
fn tenants(now: &str, policy: &Policy) -> World {
    let mut world = World::default();
    for (tenant, parent) in [("acme", None), ("beta", Some("acme"))] {
        let environments = ENVIRONMENTS.map(eid).to_vec();
        let command = Command::RegisterTenant {
            tenant: tid(tenant),
            parent: parent.map(tid),
            zone: Zone::UTC,
            environments,
        };
        world.run(&command, Actor::Configuration, 1, policy).unwrap();
    }
    set(&mut world, now, 2, policy);
    world
}

fn set(world: &mut World, to: &str, now: i64, policy: &Policy) {
    let choice = Choice::Level(level(to));
    let command = Command::SetConsent { tenant: tid("beta"), choice, until: None, expected: None };
    world.run(&command, Actor::Subject(&admin("beta")), now, policy).unwrap();
}

fn enter(world: &mut World, session: &str, basis: WantedBasis, policy: &Policy) {
    let command = Command::StartSession {
        tenant: tid("beta"),
        session: sid(session),
        environment: eid("production"),
        basis,
        reason: "an order is stuck".into(),
        ticket: None,
        lasts: None,
    };
    world.run(&command, Actor::Subject(&staff("anna")), STARTED, policy).unwrap();
}

fn remove(world: &mut World, policy: &Policy) {
    let command = Command::EndSession { tenant: tid("beta"), session: sid("s1") };
    world.run(&command, Actor::Subject(&admin("beta")), STARTED + 1, policy).unwrap();
}

fn by_consent<'a>(rows: &mut Vec<Row<'a>>, policy: &Policy) {
    for started in ["read_only", "limited_edit", "full"] {
        for now in LEVELS {
            let mut world = tenants(started, policy);
            enter(&mut world, "s1", WantedBasis::Consent, policy);
            set(&mut world, now, STARTED + 1, policy);
            let anna = staff("anna");
            let basis = match started {
                "read_only" => "consent read_only",
                "limited_edit" => "consent limited_edit",
                _ => "consent full",
            };
            let mut row = |state, environment, session: &Name, at, world: &World| {
                let cells = cells(world, Caller::Known(&anna), environment, session, at, policy);
                rows.push(Row { who: "staff", basis, state, level: now, environment, cells });
            };
            let unnamed = Name::Missing;
            row("runs", "production", &unnamed, STARTED + 5, &world);
            if now != started || started == "limited_edit" {
                continue;
            }
            row("runs, named", "production", &Name::of("s1"), STARTED + 5, &world);
            row("runs, named", "sandbox", &Name::of("s1"), STARTED + 5, &world);
            row("runs", "sandbox", &unnamed, STARTED + 5, &world);
            row("runs", "moon", &unnamed, STARTED + 5, &world);
            row("last instant", "production", &unnamed, OVER - 1, &world);
            row("deadline", "production", &unnamed, OVER, &world);
            let mut removed = world.clone();
            remove(&mut removed, policy);
            row("removed", "production", &unnamed, STARTED + 5, &removed);
            row("removed, named", "production", &Name::of("s1"), STARTED + 5, &removed);
            set(&mut world, "block", STARTED + 2, policy);
            set(&mut world, now, STARTED + 3, policy);
            row("blocked since, open again", "production", &unnamed, STARTED + 5, &world);
        }
    }
}

fn by_grant<'a>(rows: &mut Vec<Row<'a>>, policy: &Policy) {
    let orders = |id: &str| Scope::Resources([("orders".parse().unwrap(), id.parse().unwrap())].into());
    let kinds = [
        ("grant editor", "editor", Scope::Everything),
        ("grant administrator", "administrator", Scope::Everything),
        ("grant administrator o1", "administrator", orders("o1")),
        ("grant administrator o2", "administrator", orders("o2")),
    ];
    for (basis, of, scope) in kinds {
        for level in ["block", "full"] {
            let mut world = tenants(level, policy);
            let command = Command::MakeGrant {
                tenant: tid("beta"),
                grant: gid("g1"),
                environment: eid("production"),
                to: Grantee::Email("anna@vendor.example".into()),
                role: role(of),
                scope: scope.clone(),
                until: Until::For(Span::Millis(5_000)),
            };
            world.run(&command, Actor::Subject(&admin("beta")), STARTED, policy).unwrap();
            let before = world.clone();
            enter(&mut world, "s1", WantedBasis::Grant(gid("g1")), policy);
            let anna = staff("anna");
            let mut row = |who, state, caller: &Subject, environment, at, world: &World| {
                let cells = cells(world, Caller::Known(caller), environment, &Name::Missing, at, policy);
                rows.push(Row { who, basis, state, level, environment, cells });
            };
            row("staff", "runs", &anna, "production", STARTED + 5, &world);
            if level == "full" || of == "editor" {
                continue;
            }
            row("staff", "not entered", &anna, "production", STARTED + 5, &before);
            row("staff", "runs", &anna, "sandbox", STARTED + 5, &world);
            row("staff, same address", "runs for another", &staff("cleo"), "production", STARTED + 5, &world);
            row("staff", "grant expired", &anna, "production", STARTED + 5_000, &world);
            // Rule 5: whoever gave it is remembered for a while.
            let short = &Policy { grantor_memory_ms: 2_400, ..policy.clone() };
            let mut seen = |state, at, world: &World| {
                let cells = cells(world, Caller::Known(&anna), "production", &Name::Missing, at, short);
                rows.push(Row { who: "staff", basis, state, level, environment: "production", cells });
            };
            seen("giver remembered, last instant", STARTED + 2_399, &world);
            seen("giver forgotten", STARTED + 2_400, &world);
            let sight = |roles: &[&str], at| {
                let mut world = world.clone();
                let command =
                    Command::SeeGrantor { tenant: tid("beta"), needed: crate::world::at(STARTED + 5_000) };
                world.run(&command, Actor::Subject(&member("beta", "beta-admin", roles)), at, short).unwrap();
                world
            };
            seen("giver seen again", STARTED + 2_405, &sight(&["administrator"], STARTED + 2_400));
            seen("giver seen as editor", STARTED + 5, &sight(&["editor"], STARTED + 4));
            let mut row = |who, state, caller: &Subject, environment, at, world: &World| {
                let cells = cells(world, Caller::Known(caller), environment, &Name::Missing, at, policy);
                rows.push(Row { who, basis, state, level, environment, cells });
            };
            let mut withdrawn = world.clone();
            let command = Command::WithdrawGrant { tenant: tid("beta"), grant: gid("g1") };
            withdrawn.run(&command, Actor::Subject(&admin("beta")), STARTED + 2, policy).unwrap();
            row("staff", "grant withdrawn", &anna, "production", STARTED + 5, &withdrawn);
            let mut lost = world.clone();
            lost.docs.remove(&Key::Grant(tid("beta"), gid("g1")));
            row("staff", "grant lost", &anna, "production", STARTED + 5, &lost);
            lost.unavailable.insert(Key::Grant(tid("beta"), gid("g1")));
            row("staff", "grant unreadable", &anna, "production", STARTED + 5, &lost);
            let mut second = world.clone();
            enter(&mut second, "s2", WantedBasis::Grant(gid("g1")), policy);
            row("staff", "two run, none named", &anna, "production", STARTED + 5, &second);
            remove(&mut world, policy);
            row("staff", "removed", &anna, "production", STARTED + 5, &world);
        }
    }
}

/// `rita`, whose roles stand in a row, lets the desk that `anna` belongs to act as her.
fn by_acting<'a>(rows: &mut Vec<Row<'a>>, policy: &Policy) {
    let pushed = |world: &mut World, of: &str, suspended: bool, now: i64| {
        let command = Command::PushMember {
            tenant: tid("beta"),
            member: rower("beta", "rita").id,
            roles: vec![role(of)],
            suspended,
            email: None,
            expected: None,
        };
        world.run(&command, Actor::Subject(&program("crm")), now, policy).unwrap();
    };
    let lend = |world: &mut World, grant: &str, now: i64| {
        let command = Command::AllowLogin {
            tenant: tid("beta"),
            grant: gid(grant),
            environment: eid("production"),
            organisation: desk("help"),
            lasts: Span::Millis(LENT_MS[0]),
            ticket: None,
        };
        world.run(&command, Actor::Subject(&rower("beta", "rita")), now, policy).unwrap();
    };
    for (basis, of) in [
        ("acts as reader", "reader"),
        ("acts as editor", "editor"),
        ("acts as administrator", "administrator"),
    ] {
        let level = "block";
        let mut world = tenants(level, policy);
        pushed(&mut world, of, false, STARTED);
        lend(&mut world, "g1", STARTED);
        let before = world.clone();
        enter(&mut world, "s1", WantedBasis::ActAs(gid("g1")), policy);
        let anna = staff("anna");
        let mut row = |who, state, caller: &Subject, environment, at, world: &World| {
            let cells = cells(world, Caller::Known(caller), environment, &Name::Missing, at, policy);
            rows.push(Row { who, basis, state, level, environment, cells });
        };
        row("staff", "runs", &anna, "production", STARTED + 5, &world);
        let changed = |change: &dyn Fn(&mut World)| {
            let mut world = world.clone();
            change(&mut world);
            world
        };
        row(
            "staff",
            "user is administrator since",
            &anna,
            "production",
            STARTED + 5,
            &changed(&|world| pushed(world, "administrator", false, STARTED + 2)),
        );
        row(
            "staff",
            "user is reader since",
            &anna,
            "production",
            STARTED + 5,
            &changed(&|world| pushed(world, "reader", false, STARTED + 2)),
        );
        if of != "editor" {
            continue;
        }
        row("staff", "not entered", &anna, "production", STARTED + 5, &before);
        row("staff", "runs", &anna, "sandbox", STARTED + 5, &world);
        row("staff of the desk", "runs for another", &staff("ben"), "production", STARTED + 5, &world);
        let moved = Subject { organisations: [desk("night")].into(), ..staff("anna") };
        row("staff of another desk", "runs", &moved, "production", STARTED + 5, &world);
        row("staff", "last instant", &anna, "production", STARTED + LENT_MS[0] - 1, &world);
        row("staff", "over", &anna, "production", STARTED + LENT_MS[0], &world);
        row(
            "staff",
            "given anew",
            &anna,
            "production",
            STARTED + 5,
            &changed(&|world| lend(world, "g2", STARTED + 2)),
        );
        let withdrawn = changed(&|world| {
            let (tenant, organisation) = (tid("beta"), desk("help"));
            let command = Command::WithdrawLogin { tenant, organisation, environment: None };
            world.run(&command, Actor::Subject(&rower("beta", "rita")), STARTED + 2, policy).unwrap();
        });
        row("staff", "withdrawn", &anna, "production", STARTED + 5, &withdrawn);
        row(
            "staff",
            "user suspended",
            &anna,
            "production",
            STARTED + 5,
            &changed(&|world| pushed(world, of, true, STARTED + 2)),
        );
        let back = changed(&|world| {
            pushed(world, of, true, STARTED + 2);
            pushed(world, of, false, STARTED + 3);
        });
        row("staff", "user suspended and back", &anna, "production", STARTED + 5, &back);
        let mut lost = world.clone();
        lost.docs.remove(&Key::Member(tid("beta"), rower("beta", "rita").id));
        row("staff", "user's row lost", &anna, "production", STARTED + 5, &lost);
    }
}

fn without_session<'a>(rows: &mut Vec<Row<'a>>, policy: &Policy) {
    let world = tenants("full", policy);
    let mut row = |who, caller: Caller<'_>, environment, session: Name| {
        let cells = cells(&world, caller, environment, &session, STARTED, policy);
        let state = match session {
            Name::As(_) => "names one that is not there",
            Name::Unclear => "names two",
            Name::Missing => "-",
        };
        rows.push(Row { who, basis: "-", state, level: "full", environment, cells });
    };
    let acting = Subject { acting: true, ..admin("beta") };
    let people = [
        ("member, administrator", admin("beta")),
        ("member, acting", acting),
        ("member, editor", member("beta", "ed", &["editor"])),
        ("member, reader", member("beta", "rita", &["reader"])),
        ("member, unknown role", member("beta", "uma", &["gone"])),
        ("member of the parent", admin("acme")),
        ("member of another", admin("other")),
        ("staff", staff("anna")),
    ];
    row("nobody", Caller::Nobody, "production", Name::Missing);
    row("refused token", Caller::Refused("signature"), "production", Name::Missing);
    for (who, subject) in &people {
        row(who, Caller::Known(subject), "production", Name::Missing);
    }
    row("member, administrator", Caller::Known(&people[0].1), "moon", Name::Missing);
    row("staff", Caller::Known(&people[7].1), "production", Name::of("s9"));
    row("staff", Caller::Known(&people[7].1), "production", Name::Unclear);
}

fn print(title: &str, rows: &[Row<'_>]) -> String {
    let mut headings = vec!["who", "basis", "state", "level", "environment"];
    headings.extend(ROUTES.map(|(heading, _)| heading));
    let table: Vec<Vec<String>> = std::iter::once(headings.into_iter().map(str::to_owned).collect())
        .chain(rows.iter().map(|row| {
            let lead = [row.who, row.basis, row.state, row.level, row.environment].map(str::to_owned);
            lead.into_iter().chain(row.cells.iter().cloned()).collect()
        }))
        .collect();
    let widths: Vec<usize> =
        (0..table[0].len()).map(|c| table.iter().map(|row| row[c].chars().count()).max().unwrap()).collect();
    let mut text = format!("{title}\n\n");
    for row in &table {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            write!(line, "{cell:width$}  ").unwrap();
        }
        writeln!(text, "{}", line.trim_end()).unwrap();
    }
    text + "\n"
}

#[test]
fn the_grid_of_decisions_is_as_written_down() {
    let mut text = String::from(
        "Decisions: who may do what, in which state, at which consent level of that moment. Made by tests/ground/grid.rs,\n\
         which says how to write this file anew. Roles: reader reads all but users; editor steers mappings and jobs,\n\
         too; administrator *:*. Ceiling: users:manage. Sessions last 10 s, grants 5 s, login access 6 s.\n\n",
    );
    let future = Plain::new(false).compile();
    let immediate = Plain::new(true).compile();
    for (title, policy) in [("on_lower: future", &future), ("on_lower: immediate", &immediate)] {
        let mut rows = Vec::new();
        by_consent(&mut rows, policy);
        text += &print(&format!("By consent, {title}"), &rows);
    }
    let mut rows = Vec::new();
    by_grant(&mut rows, &immediate);
    text += &print("By grant", &rows);
    let mut rows = Vec::new();
    by_acting(&mut rows, &immediate);
    text += &print("Acting as a person of the tenant", &rows);
    let mut rows = Vec::new();
    without_session(&mut rows, &immediate);
    text += &print("Without a session", &rows);
    let mut rows = Vec::new();
    let mut open = Plain::new(true);
    open.members_unmapped = true;
    without_session(&mut rows, &open.compile());
    text += &print("Without a session, where members pass unmapped routes", &rows);
    if std::env::var_os("POSTERN_WRITE_GRID").is_some() {
        std::fs::write(GOLDEN, &text).unwrap();
    }
    let golden = std::fs::read_to_string(GOLDEN).unwrap_or_default();
    for (n, (now, then)) in text.lines().zip(golden.lines()).enumerate() {
        assert_eq!(now, then, "line {} of {GOLDEN} differs; see this test's header", n + 1);
    }
    assert_eq!(text.lines().count(), golden.lines().count(), "rows came or went; see this test's header");
}
