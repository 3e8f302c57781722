//! A disk that is full: a small tmpfs that holds state and ledger. Mounting takes root; where it is refused, these tests
//! fail and say so.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::Command as Program,
    sync::atomic::Ordering::SeqCst,
};

use postern::{
    engine::Changed,
    lifecycle::{Command, WantedBasis},
    model::SessionId,
};
use tempfile::TempDir;

use crate::{client::Ending, cuts::counting, operations::operations, world::*};

/// A tmpfs, unmounted when dropped.
pub struct SmallDisk {
    pub path: PathBuf,
    _dir: TempDir,
}

impl SmallDisk {
    pub fn mount(mib: u32) -> SmallDisk {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("disk");
        std::fs::create_dir(&path).unwrap();
        let done = Program::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mib}m,mode=0700"), "postern-test"])
            .arg(&path)
            .output()
            .expect("there is a `mount`");
        assert!(
            done.status.success(),
            "a tmpfs cannot be mounted, so a full disk cannot be tested; run as root: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        SmallDisk { path, _dir: dir }
    }

    /// Takes all the room there is.
    pub fn fill(&self) {
        let mut filler = std::fs::File::options().append(true).create(true).open(self.filler()).unwrap();
        for size in [1 << 20, 64 << 10, 4096, 1] {
            let piece = vec![1u8; size];
            while filler.write_all(&piece).is_ok() {}
        }
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }

    pub fn make_room(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Program::new("umount").arg("-l").arg(&self.path).status();
    }
}

fn world_on(disk: &Path, plan: Plan) -> World {
    // What runs meanwhile waits for as long as it takes to fill a disk.
    World::of(Plan {
        data: Some(disk.to_owned()),
        ..plan.edit("response_timeout: 3s", "response_timeout: 60s")
    })
}

/// Staff requests until the ledger takes no more.
fn use_up(world: &World, agent: &str) {
    let mut client = world.client();
    for _ in 0..20_000 {
        client.send(request("GET", "/t/acme/orders", agent, ""));
        let reply = client.reply();
        if reply.status == 503 {
            assert_eq!(reply.code(), "ledger_full");
            assert!(reply.text().contains("make room"), "{}", reply.text());
            return;
        }
        assert_eq!(reply.status, 200);
    }
    panic!("the disk is never full");
}

fn start(session: &str) -> Command {
    Command::StartSession {
        tenant: tenant("acme"),
        session: SessionId::new(session).unwrap(),
        environment: production(),
        basis: WantedBasis::Consent,
        reason: "there may be room".to_owned(),
        ticket: None,
        lasts: None,
    }
}

// GW-08
// GW-07
#[test]
fn a_full_disk_stops_staff_only_and_a_removal_still_cuts_at_once() {
    let disk = SmallDisk::mount(16);
    let (hooks, count) = counting();
    let world = world_on(&disk.path, Plan::default().hooks(hooks));
    let (admin, agent) = (world.people.admin("acme"), world.people.staff("sam"));
    let member = world.people.member("rita", "acme", &["read_only"]);
    let session = world.start_session("acme", &agent);
    let other_agent = world.people.staff("olga");
    let other = world.start_session("acme", &other_agent);
    let mut stream = world.client();
    stream.send(request("GET", "/t/acme/download?do=events", &agent, ""));
    stream.head();
    let mut done_soon = world.client();
    done_soon.send(request("GET", "/t/acme/orders?do=slow", &other_agent, ""));
    until("both are under way", || world.upstream.seen().len() == 2);
    disk.fill();
    use_up(&world, &agent);
    let forwarded = world.upstream.seen().len();
    assert_eq!(world.get("/t/acme/orders", &agent).code(), "ledger_full");
    assert_eq!(world.upstream.seen().len(), forwarded, "no record, no access");
    assert_eq!(world.get("/t/acme/orders", &member).status, 200, "members go on");
    let ready = operations(&world, "/readyz");
    assert!(ready.starts_with("HTTP/1.1 200") && ready.contains("staff: refused: the ledger"), "{ready}");
    let metrics = operations(&world, "/metrics");
    for line in
        ["\npostern_staff_served 0\n", "\npostern_ledger_healthy 0\n", "\npostern_ledger_room_short 1\n"]
    {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
    // Nothing is widened without its record.
    // A record that is smaller than the last one may still fit; then it is there. Sooner or later none does.
    let widened = (0..500).find_map(|number| {
        let one = world.people.staff(&format!("more-{number}"));
        world.change(start(&format!("ses_more_{number}")), &one).err()
    });
    let widened = widened.expect("the disk is full");
    assert!(["ledger_full", "state_unavailable"].contains(&widened.code()), "{widened}");
    // An exchange that runs ends as it would.
    world.upstream.release();
    assert_eq!(done_soon.reply().status, 200);
    // Two removals, the second one on whatever the first one left.
    for (session, whose) in [(&session, &agent), (&other, &other_agent)] {
        let removed = world.change(World::end("acme", session), &admin);
        let answered = count.load(SeqCst);
        println!("removal on a full disk: {removed:?}");
        assert!(matches!(removed, Ok(Changed::Done { .. } | Changed::InForce { .. })), "{removed:?}");
        let named = world.ask("GET", "/t/acme/orders", whose, &format!("Postern-Session: {session}\r\n"));
        assert_eq!(named.code(), "session_ended");
        assert_eq!(count.load(SeqCst), answered);
    }
    assert_eq!(stream.read_out().0, Ending::Reset);
    // Room comes back; so does service, by itself.
    disk.make_room();
    until("the pending removals are durable", || world.gateway().engine().pending() == 0);
    let third = world.people.staff("theo");
    until("changes are taken", || world.change(start("ses_after"), &third).is_ok());
    assert_eq!(world.get("/t/acme/orders", &third).status, 200);
    let mut world = world;
    until("every intent has its outcome", || world.gateway().engine().journal().status().open_intents == 0);
    world.gateway.take().unwrap().stop();
    let records = world.prove();
    let cut = records.iter().filter(|record| record["cut_by"]["reason"] == "session_ended").count();
    assert_eq!(cut, 1, "the open stream has its outcome");
    // The ends are durable, wherever they waited.
    world.up();
    for (session, whose) in [(&session, &agent), (&other, &other_agent)] {
        let named = world.ask("GET", "/t/acme/orders", whose, &format!("Postern-Session: {session}\r\n"));
        assert_eq!(named.code(), "session_ended");
    }
    world.finish();
}

/// While ordinary staff get 503 an operator still enters and works, each with a record, and both have their outcomes.
// GW-06
#[test]
fn on_a_full_disk_break_glass_enters_and_works_while_other_staff_are_refused() {
    let disk = SmallDisk::mount(16);
    // The store has room of its own.
    let data = TempDir::new().unwrap();
    std::fs::create_dir(disk.path.join("ledger")).unwrap();
    std::os::unix::fs::symlink(disk.path.join("ledger"), data.path().join("ledger")).unwrap();
    let plan = Plan::default().edit(
        "members: { unmapped: refuse }",
        "members: { unmapped: refuse }\nbreak_glass: { operators: [{ issuer: vendor, sub: olga }], role: editor }",
    );
    let world = world_on(data.path(), plan);
    let (agent, olga) = (world.people.staff("sam"), world.people.staff("olga"));
    world.start_session("acme", &agent);
    world.done(World::consent("globex", "block"), &world.people.admin("globex"));
    disk.fill();
    use_up(&world, &agent);
    let session = SessionId::new("ses_glass").unwrap();
    let enter = postern::lifecycle::Command::BreakGlass {
        tenant: tenant("globex"),
        session: session.clone(),
        environment: production(),
        reason: "the platform is down".to_owned(),
        incident: "INC-7".to_owned(),
        cause: "stability".to_owned(),
        lasts: None,
    };
    world.done(enter, &olga);
    for _ in 0..20 {
        assert_eq!(world.get("/t/globex/orders", &olga).status, 200);
        assert_eq!(world.get("/t/acme/orders", &agent).code(), "ledger_full");
    }
    // Bounded: in the end there is room for outcomes alone.
    let mut client = world.client();
    let refused = (0..20_000).any(|_| {
        client.send(request("GET", "/t/globex/orders", &olga, ""));
        client.reply().status == 503
    });
    assert!(refused, "break-glass never takes all of the reserve");
    until("every intent has its outcome", || world.gateway().engine().journal().status().open_intents == 0);
    assert!(world.gateway().engine().journal().takes_outcomes());
    disk.make_room();
    let records = world.finish();
    let glass = |record: &&serde_json::Value| record["basis"]["break_glass"]["incident"] == "INC-7";
    assert!(records.iter().filter(glass).count() > 20);
}

/// The reserve is used up too: what narrows is in force in memory, says what it waits for, and is durable later.
#[test]
fn a_removal_that_nothing_can_be_written_about_is_in_force_and_becomes_durable() {
    let disk = SmallDisk::mount(16);
    let (hooks, count) = counting();
    let world = world_on(&disk.path, Plan::default().hooks(hooks));
    let admin = world.people.admin("acme");
    let agent = world.people.staff("sam");
    let session = world.start_session("acme", &agent);
    let mut stream = world.client();
    stream.send(request("GET", "/t/acme/download?do=events", &agent, ""));
    stream.head();
    // Every outcome of these takes from the reserve.
    disk.fill();
    use_up(&world, &agent);
    let mut waiting = None;
    for number in 0..2_000 {
        let level = if number % 2 == 0 { "block" } else { "read_only" };
        let tenants = ["globex", "acme-eu"];
        for id in tenants {
            let changed = world.change(World::consent(id, level), &world.people.admin(id));
            if let Ok(Changed::InForce { waiting: what, .. }) = changed {
                waiting = Some(what);
            }
        }
        if waiting.is_some() {
            break;
        }
        // Widening is refused on a full disk, so there is nothing left to lower.
        if number > 0 {
            break;
        }
    }
    let removed = world.change(World::end("acme", &session), &admin);
    let answered = count.load(SeqCst);
    println!("lowered: waiting for {waiting:?}; removed: {removed:?}");
    assert!(matches!(removed, Ok(Changed::InForce { .. })), "nothing could be written: {removed:?}");
    assert_eq!(stream.read_out().0, Ending::Reset);
    assert_eq!(count.load(SeqCst), answered);
    // Asked again while it waits: it is not durable yet, and the answer must not say so.
    let again = world.change(World::end("acme", &session), &admin);
    if world.gateway().engine().pending() > 0 {
        assert!(matches!(again, Ok(Changed::InForce { .. })), "{again:?}");
    }
    disk.make_room();
    until("nothing waits", || world.gateway().engine().pending() == 0);
    assert!(matches!(world.change(World::end("acme", &session), &admin), Ok(Changed::Unchanged)));
    let key = postern::model::Key::Session(tenant("acme"), session.clone());
    let stored =
        block(world.gateway().engine().store().load(&[key])).unwrap().pop().unwrap().unwrap().unwrap();
    assert!(serde_json::to_string(&stored).unwrap().contains("\"removed\""));
    world.finish();
}

/// What an earlier life left open is settled once, however often the disk makes the settling begin again.
// GW-08
#[test]
fn a_start_on_a_full_disk_serves_members_and_settles_once_there_is_room() {
    let disk = SmallDisk::mount(16);
    let mut world = world_on(&disk.path, Plan::default());
    let agent = world.people.staff("sam");
    let member = world.people.member("rita", "acme", &["read_only"]);
    world.start_session("acme", &agent);
    until("every intent has its outcome", || world.gateway().engine().journal().status().open_intents == 0);
    world.gateway.take().unwrap().stop();
    let child = crate::child::Child::start(&world, None, "");
    let mut clients = Vec::new();
    for number in 0..20 {
        let mut client = crate::client::Client::connect(child.address);
        client.send(request("GET", "/t/acme/orders?do=stall", &agent, ""));
        clients.push(client);
        until("it is under way", || world.upstream.seen().len() > number);
    }
    child.kill();
    disk.fill();
    world.try_up().unwrap_or_else(|fault| panic!("on a full disk: {fault}"));
    assert_eq!(world.get("/t/acme/orders", &member).status, 200, "members are served");
    // Long enough for several tries of settling.
    until("settling was tried", || {
        world.of_kind("access.outcome").iter().any(|outcome| outcome["end"] == "unknown")
    });
    let refused = world.get("/t/acme/orders", &agent);
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(["settling", "ledger_full"].contains(&refused.code().as_str()), "{}", refused.text());
    let started = std::time::Instant::now();
    until("it was tried again", || started.elapsed() > std::time::Duration::from_millis(1_700));
    disk.make_room();
    world.until_ready();
    assert_eq!(world.get("/t/acme/orders", &agent).status, 200);
    world.upstream.release();
    let records = world.finish();
    let unknown = records.iter().filter(|record| record["end"] == "unknown").count();
    assert_eq!(unknown, 20, "each of them once");
}
