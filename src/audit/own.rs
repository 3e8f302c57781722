//! What of a ledger is a tenant's own: a bounded stretch of it, read from the files, narrowed by kind, session, time and grant; and
//! whether a record that another ledger's gateway handed over is such a one.
//!
//! There is no index beside the files that could say something else. Never here: who may read it, and whether it can be proven (that
//! is [`verify`](super::verify)).

use std::{collections::BTreeSet, path::PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use super::{
    read::{Place, ReadError, Records},
    record::{self, Line},
};
use crate::model::{GrantId, Key, TenantId};

/// Records that one call looks at, whomever they belong to.
const STRETCH: u64 = 20_000;

/// A record as it stands in the ledger.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// Its place in the log.
    pub seq: u64,
    /// Its leaf hash, in hexadecimal.
    pub leaf: String,
    /// It, byte for byte: what `leaf` is the hash of, closed by a brace (`docs/ledger-format.md`).
    pub record: Box<RawValue>,
    /// The values that may be erased, with their salts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<Box<RawValue>>,
}

/// Which records of a tenant are wanted.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filters {
    /// Whose.
    pub tenant: TenantId,
    /// Of this kind only.
    pub kind: Option<String>,
    /// Of this session only.
    pub session: Option<String>,
    /// Only what a grant is about, and what was done by it.
    pub of: Option<OfGrant>,
    /// From this instant on only, in milliseconds since 1970 UTC.
    pub since: Option<i64>,
}

/// A stretch that is wanted.
pub struct Wanted {
    /// The ledger's directory.
    pub dir: PathBuf,
    /// Which of its records.
    pub filters: Filters,
    /// Behind this record.
    pub after: Option<u64>,
    /// So many records at most.
    pub limit: usize,
    /// No more once there are so many bytes of them.
    pub bytes: usize,
    /// Records from here on are not durable yet.
    pub size: u64,
    /// Where an earlier look ended that went up to `after`.
    pub place: Option<Place>,
}

/// A grant and the sessions that are known to run by it, by whose ids a record is known to be about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfGrant {
    id: String,
    /// Its document, as records spell it.
    document: String,
    /// What runs and ran by it, as far as it is known.
    pub sessions: BTreeSet<String>,
}

impl OfGrant {
    /// A grant of a tenant, and what is known to run by it.
    pub fn new(tenant: &TenantId, id: &GrantId, sessions: BTreeSet<String>) -> OfGrant {
        let document = Key::Grant(tenant.clone(), id.clone()).to_string();
        OfGrant { id: id.to_string(), document, sessions }
    }

    /// Whether a record is about it; of a session that is not known yet, learns that it runs by it.
    fn takes(&mut self, line: &Line<'_>) -> bool {
        let session = line.lead.session.map(|(id, _)| id);
        if session.is_some_and(|session| self.sessions.contains(session)) {
            return true;
        }
        // Cheap, and right for all that does not name it; what it lets through is parsed.
        let names = line.rest.contains(&self.id) && self.is_named(line.rest);
        if names && let Some(session) = session {
            self.sessions.insert(session.to_owned());
        }
        names
    }

    /// Whether it stands in a record where a grant stands: what somebody wrote as a reason or asked for as a path is no such
    /// place.
    fn is_named(&self, rest: &str) -> bool {
        #[derive(Deserialize)]
        struct Own {
            basis: Option<Value>,
            #[serde(default)]
            writes: Vec<String>,
            #[serde(default)]
            events: Vec<Value>,
            #[serde(default)]
            documents: Value,
        }
        let Some(members) = rest.strip_prefix(',') else { return false };
        let Ok(own) = serde_json::from_str::<Own>(&format!("{{{members}}}")) else { return false };
        let by = |basis: &Value| basis["grant"] == self.id.as_str();
        own.basis.as_ref().is_some_and(by)
            || own.writes.contains(&self.document)
            || own.events.iter().any(|event| event["grant"] == self.id.as_str())
            || starts_by(&own.documents, &self.id)
    }
}

/// Whether documents of a change hold a session on this grant.
fn starts_by(documents: &Value, id: &str) -> bool {
    match documents {
        Value::Array(all) => all.iter().any(|one| starts_by(one, id)),
        Value::Object(members) => {
            members.get("basis").is_some_and(|basis| basis["grant"] == id)
                || members.values().any(|one| starts_by(one, id))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// What one stretch of the ledger holds of it.
pub struct Stretch {
    /// With the sessions that were learned.
    pub of: Option<OfGrant>,
    /// The records.
    pub items: Vec<Recorded>,
    /// The last record that was looked at.
    pub last: Option<u64>,
    /// When that was written, where one was looked at.
    pub at_ms: Option<i64>,
    /// Where that stands.
    pub place: Option<Place>,
    /// Whether everything up to the size was looked at.
    pub complete: bool,
}

/// Reads on behind `after`, a bounded stretch.
///
/// # Errors
/// [`ReadError`].
pub fn read_on(wanted: &Wanted) -> Result<Stretch, ReadError> {
    let mut records = match (wanted.place, wanted.after, wanted.filters.since) {
        (Some(place), _, _) => Records::behind(&wanted.dir, place)?,
        (None, Some(after), _) => Records::from_seq(&wanted.dir, after.saturating_add(1))?,
        (None, None, Some(since)) => Records::from_time(&wanted.dir, since)?,
        (None, None, None) => Records::open(&wanted.dir)?,
    };
    let (mut items, mut looked, mut bytes) = (Vec::new(), 0, 0);
    let mut of = wanted.filters.of.clone();
    // Where nothing is looked at, the place stays.
    let (mut last, mut at_ms, mut place) = (wanted.after, None, wanted.place);
    let complete = loop {
        if items.len() >= wanted.limit || looked >= STRETCH || bytes >= wanted.bytes {
            break false;
        }
        let found = records.next(|line, _, _| {
            let seq = line.lead.seq;
            if seq >= wanted.size || wanted.after.is_some_and(|after| seq <= after) {
                return (seq, line.lead.at_ms, None);
            }
            let fits = wanted.filters.fit(line) && of.as_mut().is_none_or(|of| of.takes(line));
            (seq, line.lead.at_ms, fits.then(|| recorded(line)).flatten())
        })?;
        let Some((seq, at, item)) = found.filter(|(seq, ..)| *seq < wanted.size) else { break true };
        if wanted.after.is_none_or(|after| seq > after) {
            looked += 1;
            (last, at_ms) = (Some(seq), Some(at));
            place = records.place();
        }
        if let Some(item) = item {
            bytes += item.bytes();
            items.push(item);
        }
    };
    Ok(Stretch { of, items, last, at_ms, place, complete })
}

impl Filters {
    /// All but the grant: what belongs to that is learned in the order of a ledger.
    fn fit(&self, line: &Line<'_>) -> bool {
        self.kind.as_deref().is_none_or(|kind| line.lead.kind == kind)
            && self.since.is_none_or(|since| line.lead.at_ms >= since)
            && self.session.as_deref().is_none_or(|wanted| line.lead.session.is_some_and(|(id, _)| id == wanted))
            // Cheap, and right for all that does not belong; what it lets through is parsed.
            && line.rest.contains(self.tenant.as_str())
            && of_tenant(line.rest).is_some_and(|tenant| tenant == self.tenant.as_str())
    }
}

/// The tenant that a record names as its own: the member of that name on the outermost level, nothing within.
fn of_tenant(rest: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Own {
        tenant: Option<String>,
    }
    let members = rest.strip_prefix(',')?;
    serde_json::from_str::<Own>(&format!("{{{members}}}")).ok()?.tenant
}

fn recorded(line: &Line<'_>) -> Option<Recorded> {
    Some(Recorded {
        seq: line.lead.seq,
        leaf: line.hash().hex(),
        record: RawValue::from_string(format!("{}}}", line.leaf)).ok()?,
        open: line.open.and_then(|open| RawValue::from_string(open.to_owned()).ok()),
    })
}

/// What is wrong with a record that somebody else handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// It is no record of that log at that place.
    Malformed,
    /// It is one, and not what was asked for: another tenant's above all.
    NotAsked,
}

impl Recorded {
    /// About how many bytes it takes.
    pub fn bytes(&self) -> usize {
        self.record.get().len() + self.open.as_ref().map_or(0, |open| open.get().len()) + 128
    }

    /// When a record was written that somebody else says is of this log and is wanted, in milliseconds since 1970 UTC. It is read as
    /// a ledger's own line is: one line, at its place, the hash its own, the tenant the one that was asked for. What it says of a
    /// grant's sessions is learned, as where a ledger is read.
    ///
    /// # Errors
    /// [`Foreign`].
    pub fn looked_at(&self, log: &str, wanted: &mut Filters) -> Result<i64, Foreign> {
        // A line break would end a line where a record is one, and an event where it is told as one.
        let one_line = |text: &str| text.bytes().all(|b| b >= 0x20);
        let record = self.record.get();
        if !one_line(record) || !self.open.as_ref().is_none_or(|open| one_line(open.get())) {
            return Err(Foreign::Malformed);
        }
        let line = record::parse(record.as_bytes()).map_err(|_| Foreign::Malformed)?;
        let own = line.lead.log == log && line.lead.seq == self.seq && line.open.is_none();
        if !own || line.hash().hex() != self.leaf {
            return Err(Foreign::Malformed);
        }
        let fits = wanted.fit(&line) && wanted.of.as_mut().is_none_or(|of| of.takes(&line));
        if fits { Ok(line.lead.at_ms) } else { Err(Foreign::NotAsked) }
    }

    /// When it was written, in milliseconds since 1970 UTC, of a record that was read here.
    pub fn at_ms(&self) -> i64 {
        record::parse(self.record.get().as_bytes()).map_or(0, |line| line.lead.at_ms)
    }
}
