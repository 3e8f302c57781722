//! One step of healing: look, work out what comes next, do it. Whoever stops between two steps has harmed nothing.
//!
//! Never here: what comes next ([`super::next()`]), when to look again.

use std::collections::BTreeSet;

use crate::model::{Key, Stored, Version, join::join};

use super::{
    super::{Part, StoreFault, lease::Line, shadow::ShadowFault},
    Copying, Heal, Known, Look, Next, Putting, Reached, Round, Saying, Seen, Under,
    next::{self, Memory},
};

/// How many documents are joined in one step.
const PAGE: usize = 64;
/// How many are copied in one step. They are only read, so of a large store four times as many are no long wait for anybody else.
const COPY_PAGE: usize = 256;

/// One gateway's healing of one part.
#[derive(Debug, Clone, Default)]
pub struct Healing {
    pub(super) memory: Memory,
    /// Up to which key the part was copied, and in which unbroken stretch of following.
    copied: Option<(Key, u32)>,
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turned {
    /// The part is sound and holds what this gateway knows; its shadow misses nothing of it.
    Serves,
    /// The same, but the shadow is still being filled: take another step soon.
    Copies,
    /// Something was done, or something else was done meanwhile: take another step.
    Works,
    /// Nothing to do before this instant, or before the head moves.
    Waits {
        /// On the clock that never runs back, in milliseconds.
        until_ms: i64,
        /// The gateways that have not joined yet.
        missing: BTreeSet<String>,
    },
    /// The head is missing, and this gateway knows too little to make one.
    Lost,
    /// It is another store than the one that this gateway's shadow is of.
    OtherStore(uuid::Uuid),
}

/// Why a step came to nothing. It can be taken again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HealFault {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// The shadow.
    #[error(transparent)]
    Shadow(#[from] ShadowFault),
}

/// Who heals, and with what.
pub struct Healer<'a> {
    /// The store.
    pub store: &'a dyn Heal,
    /// What this gateway knows.
    pub known: &'a dyn Known,
    /// Its name.
    pub me: &'a str,
    /// How long a healing is waited for that does not get on, in milliseconds.
    pub grace_ms: i64,
}

impl std::fmt::Debug for Healer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Healer").field("me", &self.me).finish_non_exhaustive()
    }
}

impl Healing {
    /// Takes one step for a part of which this gateway has no change under way: one that is acknowledged during the step would
    /// not be among what it says that it has joined, until the next step.
    /// `fresh` is a name that nobody else ever has, and not used before; `now_ms` is on the clock that
    /// never runs back.
    ///
    /// # Errors
    /// Where store or shadow do not answer. Nothing is lost by that; the step is taken anew.
    pub async fn turn(
        &mut self,
        healer: &Healer<'_>,
        part: Part,
        now_ms: i64,
        fresh: &str,
    ) -> Result<Turned, HealFault> {
        let Healer { store, known, me, grace_ms } = *healer;
        let seen = known.seen(part);
        let mut sight = store.sight(part, seen.as_ref().map_or(0, |seen| seen.number), me).await?;
        if known.seen(part) != seen {
            // A change came in between, perhaps of before the loss: it has to be looked for as well.
            return Ok(Turned::Works);
        }
        let (gateways, retired) = (known.gateways(), known.retired());
        if let Some(round) = sight.head.as_mut().and_then(|head| head.round.as_mut()) {
            round.awaited.retain(|gateway| !retired.contains(gateway));
        }
        let look =
            Look { sight: &sight, seen: seen.as_ref(), me, gateways: &gateways, now_ms, grace_ms, fresh };
        match next::next(&look, self) {
            Next::Serve => match seen {
                Some(seen) if seen.gaps => self.copy(healer, part, &seen).await,
                _ => Ok(Turned::Serves),
            },
            Next::TakeUp(to) => {
                known.take_up(part, seen.as_ref(), to);
                Ok(Turned::Works)
            }
            Next::Mark(marking) => {
                tracing::info!(
                    part = part.0,
                    epoch = marking.epoch,
                    number = marking.number,
                    "the store has lost something; what gateways know is joined in"
                );
                store.mark(part, marking).await?;
                Ok(Turned::Works)
            }
            Next::Join { under, attempt, from } => {
                let head_epoch = match (&under, &sight.head) {
                    (Under::Round(_), Some(head)) => head.round.as_ref().map_or(0, |round| round.coming),
                    (Under::Sound(epoch), _) => *epoch,
                    (Under::Round(_), None) => 0,
                };
                let epoch = seen.as_ref().map_or(0, |seen| seen.epoch);
                let putting = Putting {
                    gateway: me.to_owned(),
                    attempt,
                    under,
                    from,
                    to: Reached::End,
                    epoch,
                    read: (0, Line::NONE),
                    awaited: gateways.iter().cloned().chain([me.to_owned()]).collect(),
                    change: fresh.to_owned(),
                    write: Vec::new(),
                };
                page(healer, part, putting, head_epoch).await
            }
            Next::Say(saying) => say(healer, part, seen.as_ref(), sight.head.as_ref(), saying).await,
            Next::Trust { round, over } => {
                if over {
                    tracing::info!(
                        part = part.0,
                        "not all gateways that are known have joined; whoever comes later joins before it serves"
                    );
                }
                store.trust(part, &round, over, &retired).await?;
                Ok(Turned::Works)
            }
            Next::Wait { until_ms } => {
                let round = sight.head.as_ref().and_then(|head| head.round.as_ref());
                let missing = round.map(Round::missing).unwrap_or_default();
                Ok(Turned::Waits { until_ms, missing })
            }
            Next::Lost => Ok(Turned::Lost),
            Next::OtherStore(id) => Ok(Turned::OtherStore(id)),
        }
    }

    /// Copies a page of the part into the shadow, which was not there for all of it.
    async fn copy(&mut self, healer: &Healer<'_>, part: Part, seen: &Seen) -> Result<Turned, HealFault> {
        let after = match &self.copied {
            // A jump may have gone over a change of what had been copied.
            Some((after, jumps)) if *jumps == seen.jumps => Some(after.clone()),
            _ => None,
        };
        let (epoch, number, line) = (seen.epoch, seen.number, seen.line);
        let copying = Copying { epoch, number, line, after, limit: COPY_PAGE };
        // Given up while it waits, it goes on from there: else a part that changes often would begin again and again.
        let page = healer.store.page(part, copying).await?;
        self.copied = None;
        let Some(page) = page else { return Ok(Turned::Works) };
        let last = page.documents.last().map(|(key, _)| key.clone());
        // What this build cannot read a newer one has in its own shadow.
        let readable: Vec<(Key, Stored)> =
            page.documents.into_iter().filter_map(|(key, found)| Some((key, found.ok()?))).collect();
        healer.known.note(part, &readable, page.number, page.line);
        if let Some(last) = last {
            self.copied = Some((last, seen.jumps));
            return Ok(Turned::Copies);
        }
        // Whatever else was seen meanwhile came after the pages, or is among them.
        if let Some(now) = healer.known.seen(part)
            && now.jumps == seen.jumps
        {
            let whole = Seen { whole: true, gaps: false, ..now.clone() };
            healer.known.take_up(part, Some(&now), whole);
        }
        Ok(Turned::Works)
    }
}

/// Joins a page of what is known into the store.
async fn page(
    healer: &Healer<'_>,
    part: Part,
    mut putting: Putting,
    epoch: u32,
) -> Result<Turned, HealFault> {
    let known = healer.known.documents(part, putting.from.as_ref(), PAGE).await?;
    let keys: Vec<Key> = known.iter().map(|(key, _)| key.clone()).collect();
    if let Some(last) = keys.last() {
        putting.to = Reached::Key(last.clone());
        let loaded = healer.store.load(part, &keys).await?;
        putting.read = (loaded.number, loaded.line);
        for ((key, mine), found) in known.iter().zip(loaded.found) {
            let before = match found {
                Some(Ok(before)) => Some(before),
                None => None,
                Some(Err(unreadable)) => {
                    // Whoever needs it is refused. Overwriting it could lose what another build reads.
                    tracing::error!(document = %key, code = unreadable.code(), "nothing can be joined into this document: {unreadable}");
                    continue;
                }
            };
            if let Some(joined) = joined_in(before.as_ref(), mine, epoch) {
                putting.write.push((key.clone(), before.map_or(Version::NONE, |b| b.version), joined));
            }
        }
    }
    healer.store.put(part, putting).await?;
    // Where something moved, the next look sees what.
    Ok(Turned::Works)
}

async fn say(
    healer: &Healer<'_>,
    part: Part,
    seen: Option<&Seen>,
    head: Option<&super::Head>,
    saying: Saying,
) -> Result<Turned, HealFault> {
    let by_pages = matches!(saying.proof, super::Proof::Pages(_));
    let said = healer.store.say_joined(part, saying).await?;
    if let (Some((number, line)), true, Some(seen), Some(head)) = (said, by_pages, seen, head) {
        // What others brought before this place is in the store, but not here.
        let to = Seen {
            store: Some(head.id),
            epoch: head.epoch,
            number,
            line,
            whole: seen.whole,
            gaps: true,
            jumps: seen.jumps.wrapping_add(1),
            ..Seen::default()
        };
        healer.known.take_up(part, Some(seen), to);
    }
    Ok(Turned::Works)
}

/// What a document becomes when this is joined into it; `None` where that changes nothing. What changes gets a version
/// above all that either side had, of this epoch at least.
pub fn joined_in(before: Option<&Stored>, mine: &Stored, epoch: u32) -> Option<Stored> {
    let mut both = before.map_or_else(|| mine.clone(), |before| join(before, mine));
    if let Some(before) = before {
        let same = both.heads == before.heads && both.changes == before.changes;
        // A version that was once seen is never undercut: who remembers it would take the older one for news.
        if same && mine.version <= before.version {
            return None;
        }
    }
    let next = both.version.next();
    both.version = Version { epoch: next.epoch.max(epoch), ..next };
    Some(both)
}

#[cfg(test)]
mod tests {
    use std::{
        future::{Future as _, pending},
        sync::Mutex,
        task::{Context, Waker},
    };

    use super::*;
    use crate::{
        model::TenantId,
        state::{
            Answer, Unreadable,
            healing::{Done, Head, Loaded, Marking, Page, Sight},
        },
    };

    fn tenant(number: usize) -> Key {
        Key::Tenant(TenantId::new(&format!("org-{number:04}")).unwrap())
    }

    /// A sound part with so many documents that nobody can read, which are pages all the same.
    struct Part0 {
        documents: usize,
        /// What was asked for, and whether it is answered.
        asked: Mutex<Vec<Option<Key>>>,
        silent: Mutex<bool>,
        seen: Mutex<Seen>,
    }

    impl Part0 {
        fn of(documents: usize) -> Part0 {
            let seen = Seen {
                store: Some(uuid::Uuid::nil()),
                epoch: 1,
                number: 1,
                line: Line::parse(b"0123456789abcdef0123").unwrap(),
                gaps: true,
                ..Seen::default()
            };
            Part0 { documents, asked: Mutex::default(), silent: Mutex::default(), seen: Mutex::new(seen) }
        }

        fn is_silent(&self, silent: bool) {
            *self.silent.lock().unwrap() = silent;
        }
    }

    impl Heal for Part0 {
        fn sight<'a>(&'a self, _: Part, _: u64, _: &'a str) -> Answer<'a, Result<Sight, StoreFault>> {
            let seen = self.seen.lock().unwrap();
            let (id, epoch, number, line) = (seen.store.unwrap(), seen.epoch, seen.number, seen.line);
            let head = Head { id, was: Vec::new(), epoch, number, line, round: None };
            Box::pin(async move { Ok(Sight { head: Some(head), line_at: line, cursor: None }) })
        }

        fn page(&self, _: Part, copying: Copying) -> Answer<'_, Result<Option<Page>, StoreFault>> {
            self.asked.lock().unwrap().push(copying.after.clone());
            if *self.silent.lock().unwrap() {
                return Box::pin(pending());
            }
            let all = (0..self.documents).map(tenant);
            let rest = all.filter(|key| copying.after.as_ref().is_none_or(|after| key > after));
            let lost = |key: Key| (key.clone(), Err(Unreadable::Damaged { key, detail: String::new() }));
            let documents = rest.take(copying.limit).map(lost).collect();
            let (number, line) = (copying.number, copying.line);
            Box::pin(async move { Ok(Some(Page { documents, number, line })) })
        }

        fn mark(&self, _: Part, _: Marking) -> Answer<'_, Result<Done, StoreFault>> {
            panic!("it is sound")
        }

        fn load<'a>(&'a self, _: Part, _: &'a [Key]) -> Answer<'a, Result<Loaded, StoreFault>> {
            panic!("nothing is joined")
        }

        fn put(&self, _: Part, _: Putting) -> Answer<'_, Result<Done, StoreFault>> {
            panic!("nothing is joined")
        }

        fn say_joined(&self, _: Part, _: Saying) -> Answer<'_, Result<Option<(u64, Line)>, StoreFault>> {
            panic!("nothing is joined")
        }

        fn trust<'a>(
            &'a self,
            _: Part,
            _: &'a str,
            _: bool,
            _: &'a BTreeSet<String>,
        ) -> Answer<'a, Result<Done, StoreFault>> {
            panic!("it is sound")
        }
    }

    impl Known for Part0 {
        fn seen(&self, _: Part) -> Option<Seen> {
            Some(self.seen.lock().unwrap().clone())
        }

        fn gateways(&self) -> BTreeSet<String> {
            BTreeSet::new()
        }

        fn documents<'a>(
            &'a self,
            _: Part,
            _: Option<&'a Key>,
            _: usize,
        ) -> Answer<'a, Result<Vec<(Key, Stored)>, ShadowFault>> {
            panic!("nothing is joined")
        }

        fn note(&self, _: Part, _: &[(Key, Stored)], _: u64, _: Line) {}

        fn take_up(&self, _: Part, _: Option<&Seen>, to: Seen) -> bool {
            *self.seen.lock().unwrap() = to;
            true
        }
    }

    #[tokio::test]
    async fn a_copy_that_is_given_up_while_it_waits_goes_on_from_where_it_was() {
        let part = Part0::of(3 * COPY_PAGE);
        let healer = Healer { store: &part, known: &part, me: "a", grace_ms: 1 };
        let mut healing = Healing::default();
        let mut turns = 0;
        loop {
            part.is_silent(true);
            // Something else came: whoever copies is wanted elsewhere.
            let mut given_up = Box::pin(healing.turn(&healer, Part(0), 0, "fresh"));
            assert!(given_up.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            drop(given_up);
            part.is_silent(false);
            healing.turn(&healer, Part(0), 0, "fresh").await.unwrap();
            turns += 1;
            if part.seen.lock().unwrap().whole {
                break;
            }
            assert!(turns < 10, "it does not end: {:?}", part.asked.lock().unwrap());
        }
        let last = |page: usize| (page > 0).then(|| tenant(page * COPY_PAGE - 1));
        let expected: Vec<_> = (0..=3).flat_map(|page| [last(page), last(page)]).collect();
        assert_eq!(*part.asked.lock().unwrap(), expected);
    }
}
