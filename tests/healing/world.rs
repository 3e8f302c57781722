//! Servers, gateways and what is true: each holds what it would hold, in memory and on disk, and what it must never lose is
//! kept beside it, worked out by nothing that is tested.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
    task::{Context, Poll},
};

use postern::{
    model::{
        Basis, ChangeId, Consent, Document, End, EndCause, EnvironmentId, Grant, GrantId, Grantee,
        IssuerName, Key, Ladder, Level, LevelName, RoleName, Scope, Session, SessionId, Stored, SubjectRef,
        Tenant, TenantId, Timestamp, Zone,
        join::{join, narrowest},
    },
    state::{
        Answer, Line, Part, StoreFault,
        healing::{
            Copying, Cursor, Done, Heal, HealFault, Healing, Known, Loaded, Marking, Page, Putting, Saying,
            Seen, Sight, Turned,
        },
        shadow::ShadowFault,
    },
};

use crate::model::Copied;

pub(crate) const PART: Part = Part(7);
pub(crate) const LEVELS: [&str; 4] = ["block", "read_only", "limited_edit", "full"];

/// What is broken on purpose, to see that it is found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Broken {
    /// How far a gateway has come is kept outside of the part's own history.
    pub(crate) cursors_apart: bool,
    /// Places are compared, and lines are not.
    pub(crate) places_only: bool,
    /// Whoever joins counts as one that misses nothing.
    pub(crate) all_whole: bool,
    /// A head that is made anew begins with the place and line that were seen last.
    pub(crate) old_line: bool,
    /// A change is made on what was read of another history.
    pub(crate) no_proof: bool,
    /// What a crash lost and the ledger has is put back without saying that nothing proves it.
    pub(crate) quiet_ledger: bool,
    /// A page counts as joined wherever it is sent, whatever it was compared with.
    pub(crate) any_page: bool,
}

/// Random numbers from a seed.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    pub(crate) fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % most as u64) as usize
    }

    pub(crate) fn one_in(&mut self, most: usize) -> bool {
        self.below(most) == 0
    }
}

/// A change that somebody made, and all that it came after.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) key: usize,
    pub(crate) before: BTreeSet<usize>,
    pub(crate) acknowledged: bool,
    ended: bool,
    rank: Option<usize>,
}

pub(crate) fn change_id(number: usize) -> String {
    format!("c{number:06}")
}

fn number_of(change: &ChangeId) -> usize {
    change.as_str()[1..].parse().unwrap()
}

pub(crate) struct Words {
    pub(crate) keys: Vec<Key>,
    firsts: Vec<Document>,
    pub(crate) ladder: Ladder,
    levels: Vec<LevelName>,
}

pub(crate) fn words() -> &'static Words {
    static WORDS: OnceLock<Words> = OnceLock::new();
    WORDS.get_or_init(|| {
        let acme = || TenantId::new("acme").unwrap();
        let at = Timestamp::from_ms;
        let environment = || EnvironmentId::new("production").unwrap();
        let person = |issuer: &str, sub: &str| SubjectRef {
            issuer: IssuerName::new(issuer).unwrap(),
            sub: sub.into(),
        };
        let level = |name: &str| LevelName::new(name).unwrap();
        let environments = [environment()].into();
        let tenant = Tenant::new(None, Zone::UTC, environments, Consent::own(level("full")));
        let grant = Grant {
            environment: environment(),
            to: Grantee::Support,
            bound: None,
            role: Some(RoleName::new("reader").unwrap()),
            act_as: None,
            scope: Scope::Everything,
            grantor: person("app", "adele"),
            grantor_mail: None,
            grantor_row_mail: None,
            prolonged_by: BTreeSet::new(),
            given_as: Default::default(),
            given: at(1),
            until: at(1_000_000),
            ended: None,
        };
        let session = Session {
            subject: person("staff", "anna"),
            environment: environment(),
            basis: Basis::Consent(level("full")),
            role: Some(RoleName::new("reader").unwrap()),
            rights: Vec::new(),
            within: None,
            reason: "a ticket".to_owned(),
            ticket: None,
            request: None,
            givers: BTreeSet::new(),
            above: BTreeSet::new(),
            started: at(1),
            deadline: at(1_000_000),
            ended: None,
        };
        let grants = ["g1", "g2"].map(|id| Key::Grant(acme(), GrantId::new(id).unwrap()));
        let [first, second] = grants;
        Words {
            keys: vec![
                Key::Tenant(acme()),
                first,
                second,
                Key::Session(acme(), SessionId::new("s1").unwrap()),
            ],
            firsts: vec![
                Document::Tenant(tenant),
                Document::Grant(grant.clone()),
                Document::Grant(grant),
                Document::Session(session),
            ],
            ladder: Ladder::new(LEVELS.map(|name| Level { name: level(name), role: None }).into()),
            levels: LEVELS.map(level).into(),
        }
    })
}

/// What a gateway has in memory or on disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    pub(crate) documents: BTreeMap<Key, Arc<Stored>>,
    pub(crate) seen: Option<Seen>,
    pub(crate) gateways: BTreeSet<String>,
    /// The truth beside it: the changes that came to be known here.
    pub(crate) knows: BTreeSet<usize>,
    /// How often it was filled from the store.
    pub(crate) copies: usize,
}

impl Memory {
    pub(crate) fn take_in(&mut self, key: &Key, stored: &Stored) {
        self.knows.extend(stored.heads.iter().map(|head| number_of(&head.change)));
        let joined = match self.documents.get(key) {
            Some(known) => Arc::new(join(known, stored)),
            None => Arc::new(stored.clone()),
        };
        self.documents.insert(key.clone(), joined);
    }

    pub(crate) fn note(&mut self, documents: &[(Key, Stored)], number: u64, line: Line) {
        documents.iter().for_each(|(key, stored)| self.take_in(key, stored));
        self.seen.get_or_insert_default().claim(number, line);
    }
}

/// A shadow as the simulation has it: the product's, without a file.
#[derive(Clone, Default)]
pub(crate) struct Shade(pub(crate) Arc<Mutex<Memory>>);

impl Shade {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap()
    }
}

impl Known for Shade {
    fn seen(&self, _part: Part) -> Option<Seen> {
        self.lock().seen.clone()
    }

    fn gateways(&self) -> BTreeSet<String> {
        self.lock().gateways.clone()
    }

    fn documents<'a>(
        &'a self,
        _part: Part,
        after: Option<&'a Key>,
        limit: usize,
    ) -> Answer<'a, Result<Vec<(Key, Stored)>, ShadowFault>> {
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let memory = self.lock();
        // Small pages, so that there are several.
        let rows = memory.documents.range((from, std::ops::Bound::Unbounded)).take(limit.min(2));
        let rows = rows.map(|(key, stored)| (key.clone(), (**stored).clone())).collect();
        Box::pin(std::future::ready(Ok(rows)))
    }

    fn note(&self, _part: Part, documents: &[(Key, Stored)], number: u64, line: Line) {
        self.lock().note(documents, number, line);
    }

    fn take_up(&self, _part: Part, from: Option<&Seen>, to: Seen) -> bool {
        let mut memory = self.lock();
        let unmoved = memory.seen.as_ref() == from;
        if unmoved {
            memory.copies += usize::from(!to.gaps && memory.seen.as_ref().is_some_and(|seen| seen.gaps));
            memory.seen = Some(to);
        }
        unmoved
    }
}

pub(crate) type Running =
    Pin<Box<dyn Future<Output = (Healing, Result<Turned, HealFault>)> + Send + 'static>>;

pub(crate) struct Gateway {
    pub(crate) name: String,
    pub(crate) up: bool,
    /// Which server it talks to.
    pub(crate) at: usize,
    pub(crate) shade: Shade,
    pub(crate) disk: Memory,
    /// Its changes that were acknowledged: place and document.
    pub(crate) ledger: Vec<(u64, Key, Stored)>,
    pub(crate) healing: Healing,
    pub(crate) trusts: bool,
    /// Its clock is that much ahead of the others'.
    pub(crate) ahead_ms: i64,
}

#[derive(Clone, Default)]
pub(crate) struct Server {
    pub(crate) alive: bool,
    pub(crate) part: Arc<Copied>,
    /// Which one it copies; none where it thinks that it is the primary.
    pub(crate) follows: Option<usize>,
}

pub(crate) struct World {
    pub(crate) dice: Dice,
    pub(crate) broken: Broken,
    pub(crate) servers: Vec<Server>,
    /// The one that is found as the primary.
    pub(crate) main: usize,
    pub(crate) backups: Vec<Arc<Copied>>,
    pub(crate) made: Vec<Made>,
    pub(crate) gateways: Vec<Gateway>,
    pub(crate) now_ms: i64,
    pub(crate) names: u64,
    pub(crate) cursors: BTreeMap<String, Cursor>,
    /// Nothing fails any more.
    pub(crate) quiet: bool,
    pub(crate) violation: Option<String>,
    pub(crate) counts: Counts,
}

/// How often what happened, to see that it does.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) acknowledged: usize,
    pub(crate) ambiguous: usize,
    pub(crate) trusted: usize,
    pub(crate) marked: usize,
    pub(crate) lost: usize,
    pub(crate) healed: usize,
    pub(crate) by_grace: usize,
    pub(crate) late: usize,
    pub(crate) forks: usize,
    pub(crate) copied: usize,
    pub(crate) for_good: usize,
}

impl Counts {
    pub(crate) fn and(self, other: Counts) -> Counts {
        Counts {
            acknowledged: self.acknowledged + other.acknowledged,
            ambiguous: self.ambiguous + other.ambiguous,
            trusted: self.trusted + other.trusted,
            marked: self.marked + other.marked,
            lost: self.lost + other.lost,
            healed: self.healed + other.healed,
            by_grace: self.by_grace + other.by_grace,
            late: self.late + other.late,
            forks: self.forks + other.forks,
            copied: self.copied + other.copied,
            for_good: self.for_good + other.for_good,
        }
    }
}

impl World {
    /// What is wrong, if nothing else was before.
    pub(crate) fn violated(&mut self, what: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(what());
        }
    }

    pub(crate) fn fresh(&mut self) -> String {
        self.names += 1;
        format!("n{}", self.names)
    }

    /// After a write: whether a majority has it.
    pub(crate) fn confirmed(&mut self, primary: usize) -> bool {
        let mut copies = 1;
        for number in 0..self.servers.len() {
            let follows = self.servers[number].follows == Some(primary) && self.servers[number].alive;
            if follows && (self.quiet || !self.dice.one_in(4)) {
                self.servers[number].part = Arc::clone(&self.servers[primary].part);
                copies += 1;
            }
        }
        copies * 2 > self.servers.len()
    }

    /// The document after somebody changed it, from what they know of it.
    pub(crate) fn changed(&mut self, key: usize, before: Option<&Stored>) -> (usize, Stored) {
        let words = words();
        let number = self.made.len();
        let mut document = match before {
            Some(before) => narrowest(before, &words.ladder).unwrap(),
            None => words.firsts[key].clone(),
        };
        let now = Timestamp::from_ms(2 + number as i64);
        let end = Some(End { at: now, cause: EndCause::Withdrawn, by: None });
        let ends = before.is_some() && self.dice.one_in(3);
        let rank = self.dice.below(LEVELS.len());
        let (mut ended, mut ranked) = (false, None);
        match &mut document {
            Document::Tenant(tenant) => {
                tenant.consent = Consent::own(words.levels[rank].clone());
                ranked = Some(rank);
            }
            Document::Grant(grant) if ends && grant.ended.is_none() => (grant.ended, ended) = (end, true),
            Document::Session(session) if ends && session.ended.is_none() => {
                (session.ended, ended) = (end, true);
            }
            Document::Grant(grant) => grant.until = Timestamp::from_ms(1_000_000 + number as i64),
            Document::Session(session) => session.reason = format!("ticket {number}"),
            other => panic!("{other:?}"),
        }
        let mut above = BTreeSet::new();
        for head in before.iter().flat_map(|before| &before.heads) {
            let earlier = number_of(&head.change);
            above.insert(earlier);
            above.extend(self.made[earlier].before.iter().copied());
        }
        self.made.push(Made { key, before: above, acknowledged: false, ended, rank: ranked });
        let change = ChangeId::new(&change_id(number)).unwrap();
        (number, Stored::after(before, change, document))
    }

    /// Whether a change is in force in a document, or was changed again.
    fn holds(&self, stored: Option<&Arc<Stored>>, change: usize) -> bool {
        stored.is_some_and(|stored| {
            stored
                .heads
                .iter()
                .map(|head| number_of(&head.change))
                .any(|newest| newest == change || self.made[newest].before.contains(&change))
        })
    }

    /// The laws, of a gateway that trusts what a server has (law 8).
    pub(crate) fn check(&mut self, gateway: usize, server: usize) {
        let part = Arc::clone(&self.servers[server].part);
        let words = words();
        let (knows, seen, documents) = {
            let memory = self.gateways[gateway].shade.lock();
            (memory.knows.clone(), memory.seen.clone(), memory.documents.clone())
        };
        let name = self.gateways[gateway].name.clone();
        self.counts.trusted += 1;
        self.counts.forks += part.documents.values().filter(|stored| stored.heads.len() > 1).count().min(1);
        if part.unvouched {
            self.violated(|| format!("{name} trusts an emptied store: nobody who has all of it has joined"));
        }
        // What anybody brought is there as well.
        let brought = part.brought.iter();
        let brought: BTreeSet<usize> = brought.flat_map(|(_, knows)| knows.iter().copied()).collect();
        for change in &brought {
            let key = &words.keys[self.made[*change].key];
            if !self.holds(part.documents.get(key), *change) {
                self.violated(|| {
                    format!("{name} trusts a part that lacks change {change}, which somebody has joined")
                });
                return;
            }
        }
        for change in knows {
            let made = self.made[change].clone();
            let key = &words.keys[made.key];
            let stored = part.documents.get(key);
            if !self.holds(stored, change) {
                let what = if made.acknowledged { "acknowledged" } else { "followed" };
                self.violated(|| {
                    format!("{name} trusts a part that lacks the {what} change {change} of {key}")
                });
                return;
            }
            let Some(holds) = stored.and_then(|stored| narrowest(stored, &words.ladder)) else { continue };
            let newest = stored
                .is_some_and(|stored| stored.heads.iter().any(|head| number_of(&head.change) == change));
            let back = match &holds {
                Document::Grant(grant) => made.ended && grant.ended.is_none(),
                Document::Session(session) => made.ended && session.ended.is_none(),
                Document::Tenant(tenant) if newest => {
                    let cap = tenant.consent.cap.as_ref().map_or(0, |cap| words.ladder.rank(cap));
                    made.rank.is_some_and(|rank| cap > rank)
                }
                _ => false,
            };
            if back {
                self.violated(|| {
                    format!("{name} trusts a part in which {key} is wider than change {change} left it")
                });
            }
        }
        let Some((seen, head)) = seen.zip(part.head.as_ref()) else { return };
        if seen.whole && !seen.gaps && seen.number == head.number {
            for (key, stored) in &part.documents {
                if documents.get(key).is_none_or(|known| known.heads != stored.heads) {
                    self.violated(|| format!("{name} takes its shadow for whole, and it lacks {key}"));
                }
            }
        }
    }
}

/// A gateway's way to its server: each step is on the way for a while, and its answer, too.
pub(crate) struct Way {
    pub(crate) world: Arc<Mutex<World>>,
    pub(crate) gateway: usize,
}

/// Gives others a turn, once.
struct Turn(bool);

impl Future for Turn {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Way {
    fn at<T: Send + 'static>(
        &self,
        writes: bool,
        work: impl FnOnce(&mut World, &mut Arc<Copied>) -> T + Send + 'static,
    ) -> Answer<'static, Result<T, StoreFault>> {
        let (world, gateway) = (Arc::clone(&self.world), self.gateway);
        Box::pin(async move {
            Turn(false).await;
            let done = {
                let mut world = world.lock().unwrap();
                let world = &mut *world;
                let server = world.gateways[gateway].at;
                let dead = !world.servers[server].alive;
                let fate = if world.quiet { 9 } else { world.dice.below(40) };
                if dead || fate == 0 {
                    Err(StoreFault::Unavailable { detail: "it is away".to_owned() })
                } else {
                    let mut part = Arc::clone(&world.servers[server].part);
                    let done = work(world, &mut part);
                    world.servers[server].part = part;
                    if writes {
                        let _majority = world.confirmed(server);
                    }
                    // Done, and nobody is told.
                    if fate == 1 {
                        Err(StoreFault::Unavailable { detail: "it went away".to_owned() })
                    } else {
                        Ok(done)
                    }
                }
            };
            Turn(false).await;
            done
        })
    }
}

impl Heal for Way {
    fn sight<'a>(
        &'a self,
        _part: Part,
        place: u64,
        gateway: &'a str,
    ) -> Answer<'a, Result<Sight, StoreFault>> {
        let (gateway, number) = (gateway.to_owned(), self.gateway);
        self.at(false, move |world, part| {
            let seen = world.gateways[number].shade.lock().seen.clone();
            sight_of(world.broken, &world.cursors, part, place, &gateway, seen.as_ref())
        })
    }

    fn mark(&self, _part: Part, marking: Marking) -> Answer<'_, Result<Done, StoreFault>> {
        let number = self.gateway;
        self.at(true, move |world, part| {
            let broken = world.broken;
            let part = Arc::make_mut(part);
            let done = part.mark(&marking, broken);
            if done == Done::Yes {
                world.counts.marked += 1;
                world.counts.lost += usize::from(marking.expected.is_none());
            }
            if broken.old_line
                && let (Done::Yes, None, Some(head)) = (done, marking.expected, part.head.as_mut())
            {
                head.line =
                    world.gateways[number].shade.lock().seen.as_ref().map_or(Line::NONE, |seen| seen.line);
            }
            done
        })
    }

    fn load<'a>(&'a self, _part: Part, keys: &'a [Key]) -> Answer<'a, Result<Loaded, StoreFault>> {
        let keys = keys.to_vec();
        self.at(false, move |_, part| {
            let found = keys.iter().map(|key| part.documents.get(key).map(|stored| Ok((**stored).clone())));
            let (number, line) = part.head.as_ref().map_or((0, Line::NONE), |head| (head.number, head.line));
            Loaded { found: found.collect(), number, line }
        })
    }

    fn put(&self, _part: Part, putting: Putting) -> Answer<'_, Result<Done, StoreFault>> {
        self.at(true, move |world, part| {
            let apart = world.broken.cursors_apart.then_some(&mut world.cursors);
            let read = if world.broken.any_page { (0, Line::NONE) } else { putting.read };
            Arc::make_mut(part).put(&Putting { read, ..putting }, apart)
        })
    }

    fn say_joined(&self, _part: Part, saying: Saying) -> Answer<'_, Result<Option<(u64, Line)>, StoreFault>> {
        let number = self.gateway;
        self.at(true, move |world, part| {
            let apart = world.broken.cursors_apart.then_some(&world.cursors);
            let part = Arc::make_mut(part);
            let said = part.say_joined(&saying, world.broken, apart);
            if said.is_some() {
                let knows = world.gateways[number].shade.lock().knows.clone();
                part.brought.insert(saying.gateway.clone(), Arc::new(knows));
                world.counts.late +=
                    usize::from(matches!(saying.under, postern::state::healing::Under::Sound(_)));
            }
            said
        })
    }

    fn trust<'a>(
        &'a self,
        _part: Part,
        round: &'a str,
        over: bool,
        retired: &'a BTreeSet<String>,
    ) -> Answer<'a, Result<Done, StoreFault>> {
        let (round, retired) = (round.to_owned(), retired.clone());
        self.at(true, move |world, part| {
            let done = Arc::make_mut(part).trust(&round, over, &retired);
            if done == Done::Yes {
                world.counts.healed += 1;
                world.counts.by_grace += usize::from(over);
            }
            done
        })
    }

    fn page(&self, _part: Part, copying: Copying) -> Answer<'_, Result<Option<Page>, StoreFault>> {
        // Small pages, so that there are several.
        self.at(false, move |_, part| part.page(&Copying { limit: copying.limit.min(2), ..copying }))
    }
}

pub(crate) fn sight_of(
    broken: Broken,
    apart: &BTreeMap<String, Cursor>,
    part: &Copied,
    place: u64,
    gateway: &str,
    seen: Option<&Seen>,
) -> Sight {
    let mut sight = part.sight(place, gateway);
    if broken.cursors_apart {
        sight.cursor = apart.get(gateway).cloned();
    }
    if broken.places_only
        && let (Some(seen), Some(head)) = (seen, &mut sight.head)
    {
        sight.line_at = seen.line;
        if head.number == seen.number {
            head.line = seen.line;
        }
    }
    sight
}
