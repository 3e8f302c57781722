//! What was acknowledged and when, and whether what reaches the application may: the laws, as whoever stands outside can check them.
//!
//! Each bound has some slack for a machine that is busy: what is broken is broken for good, or for as long as a fault lasts.
//!
//! Never here: faults, sockets.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Mutex,
    time::{Duration, Instant},
};

/// How old what a gateway goes by may be where staff read, and where they write.
const READS: Duration = Duration::from_secs(2);
const WRITES: Duration = Duration::from_secs(1);
/// What a busy machine and the way through sockets add.
const SLACK: Duration = Duration::from_millis(700);
/// The same where a gateway has acknowledged an end itself: what it had handed over before arrives after.
const IN_HAND: Duration = Duration::from_millis(400);

/// A session that somebody was told of.
#[derive(Debug, Clone)]
pub struct Session {
    pub tenant: &'static str,
    pub person: String,
    /// Until then, on the wall clock in milliseconds.
    pub ends_ms: i64,
    /// It may have ended by now: somebody asked for that, or for what comes to it.
    pub doubtful: bool,
    /// Since when its end is acknowledged, and by which gateway.
    pub ended: Option<(Instant, usize)>,
}

/// What a tenant's administrator chose.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// What was acknowledged last.
    pub acknowledged: String,
    /// What was asked for since and may be so too.
    pub possible: BTreeSet<String>,
    /// Whether one of them was not acknowledged, and so may be made later than it was asked for.
    doubt: bool,
    /// Whether somebody wanted everybody out since.
    blocked: bool,
    /// Since when nobody of the staff may do anything there; since when nobody may write.
    nothing: Option<Instant>,
    reading: Option<Instant>,
}

/// What came to the application.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub gateway: usize,
    pub at: Instant,
    pub wall_ms: i64,
    pub writes: bool,
    pub path: String,
    /// What the gateway's assertion says, and what the path does.
    pub tenant: String,
    pub path_tenant: String,
    pub session: Option<String>,
}

#[derive(Debug, Default)]
struct Known {
    sessions: HashMap<String, Session>,
    choices: BTreeMap<&'static str, Choice>,
    /// Since when a gateway cannot reach the store.
    cut_off: BTreeMap<usize, Instant>,
    /// When it went on after it had been stopped in its tracks: what was in hand passes then.
    stopped: BTreeMap<usize, Instant>,
    /// Which requests of staff arrived through which gateway.
    paths: Vec<(usize, String)>,
    broken: Vec<String>,
}

/// See the module's header.
#[derive(Debug, Default)]
pub struct Truth(Mutex<Known>);

impl Truth {
    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap()
    }

    pub fn broke(&self, what: String) {
        self.lock().broken.push(what);
    }

    pub fn broken(&self) -> Vec<String> {
        self.lock().broken.clone()
    }

    /// Something of staff arrived, or a byte of what they have open.
    pub fn arrived(&self, arrival: &Arrival) {
        let mut known = self.lock();
        let Arrival { gateway, at, writes, .. } = arrival;
        let bound = if *writes { WRITES } else { READS };
        let mut broken = Vec::new();
        if arrival.tenant != arrival.path_tenant {
            broken.push("law 11: of another tenant");
        }
        let session = arrival.session.as_ref().and_then(|id| known.sessions.get(id));
        match session {
            None => broken.push("law 2: by no session that was ever acknowledged"),
            Some(session) => {
                if session.tenant != arrival.path_tenant {
                    broken.push("law 11: by another tenant's session");
                }
                if arrival.wall_ms > session.ends_ms + 700 {
                    broken.push("law 7: after the session's deadline");
                }
                if let Some((ended, by)) = session.ended {
                    let late = at.saturating_duration_since(ended);
                    let stood = known.stopped.get(gateway).is_some_and(|on| *at < *on + IN_HAND);
                    if (by == *gateway && late > IN_HAND && !stood) || late > bound + SLACK && !stood {
                        broken.push("laws 6 and 8: after its end was acknowledged");
                    }
                }
            }
        }
        if let Some(choice) = known.choices.get(arrival.path_tenant.as_str()) {
            let since = |instant: Option<Instant>| {
                instant.is_some_and(|since| at.saturating_duration_since(since) > bound + SLACK)
            };
            if since(choice.nothing) || (*writes && since(choice.reading)) {
                broken.push("law 8: after consent was lowered");
            }
        }
        if known
            .cut_off
            .get(gateway)
            .is_some_and(|since| at.saturating_duration_since(*since) > bound + SLACK)
        {
            broken.push("law 4: by what is older than it may be");
        }
        for law in broken {
            let text = format!(
                "{law}: {arrival:?}; {session:?}",
                session = arrival.session.as_ref().and_then(|id| known.sessions.get(id))
            );
            known.broken.push(text);
        }
        if !arrival.path.is_empty() {
            known.paths.push((*gateway, arrival.path.clone()));
        }
    }

    pub fn paths(&self) -> Vec<(usize, String)> {
        self.lock().paths.clone()
    }

    pub fn cut_off(&self, gateway: usize, is: bool) {
        let mut known = self.lock();
        if is {
            known.cut_off.entry(gateway).or_insert_with(Instant::now);
        } else {
            known.cut_off.remove(&gateway);
        }
    }

    /// It goes on.
    pub fn stood(&self, gateway: usize) {
        self.lock().stopped.insert(gateway, Instant::now());
    }

    pub fn began(&self, id: &str, mut session: Session) {
        let mut known = self.lock();
        // Which of the two came first, nobody outside can tell.
        session.doubtful |= known.choices.get(session.tenant).is_some_and(|choice| choice.blocked);
        // A new one by consent ends the older one.
        for other in known.sessions.values_mut() {
            if other.person == session.person && other.tenant == session.tenant {
                other.doubtful = true;
            }
        }
        known.sessions.insert(id.to_owned(), session);
    }

    /// Somebody is about to ask for the end of these.
    pub fn may_end(&self, is: impl Fn(&str, &Session) -> bool) {
        let mut known = self.lock();
        for (id, session) in &mut known.sessions {
            session.doubtful |= is(id, session);
        }
    }

    pub fn ended(&self, id: &str, gateway: usize) {
        let mut known = self.lock();
        if let Some(session) = known.sessions.get_mut(id) {
            session.ended.get_or_insert((Instant::now(), gateway));
        }
    }

    /// Those whose end was acknowledged; and those that have to be there.
    pub fn sessions(&self) -> [Vec<(String, Session)>; 2] {
        let known = self.lock();
        let all = known.sessions.iter().map(|(id, session)| (id.clone(), session.clone()));
        let (ended, rest): (Vec<_>, Vec<_>) = all.partition(|(_, session)| session.ended.is_some());
        [ended, rest.into_iter().filter(|(_, session)| !session.doubtful).collect()]
    }

    /// An administrator is about to choose a level.
    pub fn may_choose(&self, tenant: &'static str, level: &str) {
        let mut known = self.lock();
        let choice = known.choices.entry(tenant).or_default();
        choice.possible.insert(level.to_owned());
        if level != "block" {
            choice.nothing = None;
        }
        if !["block", "read_only"].contains(&level) {
            choice.reading = None;
        }
        choice.blocked |= level == "block";
        if level == "block" {
            for session in known.sessions.values_mut().filter(|session| session.tenant == tenant) {
                session.doubtful = true;
            }
        }
    }

    pub fn chose(&self, tenant: &'static str, level: &str) {
        let mut known = self.lock();
        let choice = known.choices.entry(tenant).or_default();
        choice.acknowledged = level.to_owned();
        let sure = !choice.doubt;
        if sure {
            choice.possible.clear();
        }
        if sure && level == "block" {
            choice.nothing.get_or_insert_with(Instant::now);
        }
        if sure && ["block", "read_only"].contains(&level) {
            choice.reading.get_or_insert_with(Instant::now);
        }
    }

    /// What was asked for is not acknowledged.
    pub fn is_doubtful(&self, tenant: &'static str) {
        self.lock().choices.entry(tenant).or_default().doubt = true;
    }

    pub fn choice(&self, tenant: &str) -> Choice {
        self.lock().choices.get(tenant).cloned().unwrap_or_default()
    }

    /// All gateways agree on this, and nothing is under way.
    pub fn settled(&self, tenant: &'static str, level: &str) {
        let mut known = self.lock();
        known.choices.insert(
            tenant,
            Choice { acknowledged: level.to_owned(), blocked: level == "block", ..Choice::default() },
        );
    }
}
