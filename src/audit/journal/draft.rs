//! What a caller hands to the journal, and how it is made ready for the writer: checked, digested, cut to size.
//!
//! All of this happens on the caller's thread. Never here: sequence numbers, which only the writer gives.

use aws_lc_rs::rand;

use super::AppendError;
use crate::audit::body::{Body, Cut, beginning};
use crate::audit::note::is_plain;
use crate::audit::record::{MAX_MS, SEGMENT, lead_bound};
use crate::audit::tree::{Hash, push_hex, sha256};

/// Personal values are kept up to this many bytes.
const PERSONAL_MAX: usize = 1024;

/// Who may still write when room runs out (the design's rule 16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Admissions and everything else that can be refused: stops before the reserve is touched.
    Ordinary,
    /// What begins by break-glass: may use the reserve while more than half of it is left, so that it never takes what
    /// outcomes and ends need.
    Emergency,
    /// Outcomes and ends: may use the reserve.
    Reserved,
}

/// A value that tells who somebody is. It stands in the erasable part of the record; the record proper holds a
/// salted digest of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Personal {
    /// The person, by an identifier; personal itself.
    pub person: String,
    /// The value's name: small letters, digits and `_`; not `salt` or `person`.
    pub name: &'static str,
    /// The value.
    pub value: String,
}

/// An event before it has a place in the log.
#[derive(Clone, Debug)]
pub struct Draft {
    /// What kind of event it is: visible ASCII, such as `access.intent`.
    pub kind: &'static str,
    /// Milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// The session that it belongs to.
    pub session: Option<String>,
    /// Whether no more of that session is awaited but the outcomes of its open intents.
    pub ends_session: bool,
    /// The id of the intent that it opens.
    pub opens: Option<String>,
    /// The id of the intent that it closes.
    pub closes: Option<String>,
    /// The event's own members.
    pub body: Body,
    /// Personal values.
    pub personal: Vec<Personal>,
    /// Whether it may use the reserve.
    pub class: Class,
}

impl Draft {
    /// An ordinary event without session, intent and personal values.
    pub fn new(kind: &'static str, at_ms: i64, body: Body) -> Draft {
        Draft {
            kind,
            at_ms,
            session: None,
            ends_session: false,
            opens: None,
            closes: None,
            body,
            personal: Vec::new(),
            class: Class::Ordinary,
        }
    }
}

/// A draft made ready.
pub(super) struct Ready {
    pub(super) kind: &'static str,
    pub(super) at_ms: i64,
    pub(super) session: Option<String>,
    pub(super) ends_session: bool,
    pub(super) opens: Option<String>,
    pub(super) closes: Option<String>,
    pub(super) class: Class,
    /// What follows the fixed members.
    pub(super) tail: Vec<u8>,
    /// How much of it belongs to the leaf.
    pub(super) leaf_tail: usize,
    /// The most bytes that the line can take.
    pub(super) bound: usize,
    /// Called when a record that nobody waits for and that may be lost is lost.
    pub(super) lost: Option<Lost>,
}

/// What is done about a record that is lost.
pub(super) type Lost = Box<dyn FnOnce() + Send>;

impl Ready {
    /// Whether it is tried again for as long as it takes. What may be lost is lost before what must not wait.
    pub(super) fn matters(&self) -> bool {
        self.closes.is_some() || self.class == Class::Reserved
    }

    /// It will not be written.
    pub(super) fn lose(self) {
        if let Some(lost) = self.lost {
            lost();
        }
    }
}

/// Salt, digests and values of one person, as they are written.
struct Person<'a> {
    id: &'a str,
    salt: [u8; 16],
    values: Vec<(&'static str, Hash, &'a str)>,
}

/// The digest of a personal value: `SHA-256(salt ‖ name ‖ 0x00 ‖ value)`.
pub(crate) fn personal_digest(salt: &[u8], name: &str, value: &str) -> Hash {
    sha256(&[salt, name.as_bytes(), &[0], value.as_bytes()])
}

pub(super) fn ready(draft: Draft, max_record: usize) -> Result<Ready, AppendError> {
    check(&draft)?;
    let names = draft.kind.len()
        + [&draft.session, &draft.opens, &draft.closes]
            .iter()
            .filter_map(|n| n.as_ref())
            .map(|n| n.len())
            .sum::<usize>();
    let lead = lead_bound(names + 200);
    let mut cuts = Vec::new();
    let (digests, open) = personal(&draft.personal, &mut cuts)?;
    let beside = lead + digests.len() + open.len() + cuts.len() * 300;
    let whole = draft.body.as_str();
    let budget = max_record.saturating_sub(beside);
    let too_large = || AppendError::TooLarge { bytes: beside + whole.len(), max: max_record };
    let cut;
    let mut body = whole;
    if whole.len() > budget {
        let (text, entries) = draft.body.cut_to(budget).ok_or_else(too_large)?;
        cut = text;
        body = &cut;
        cuts.extend(entries);
    }
    let mut tail = Vec::with_capacity(body.len() + digests.len() + open.len() + 16);
    if !body.is_empty() {
        tail.push(b',');
        tail.extend_from_slice(body.as_bytes());
    }
    if !cuts.is_empty() {
        tail.extend_from_slice(b",\"cut\":");
        tail.extend_from_slice(&serde_json::to_vec(&cuts).map_err(|e| AppendError::BadDraft(e.to_string()))?);
    }
    tail.extend_from_slice(&digests);
    let leaf_tail = tail.len();
    tail.extend_from_slice(&open);
    let bound = lead + tail.len();
    if bound > max_record {
        return Err(too_large());
    }
    Ok(Ready {
        kind: draft.kind,
        at_ms: draft.at_ms,
        session: draft.session,
        ends_session: draft.ends_session,
        opens: draft.opens,
        closes: draft.closes,
        class: draft.class,
        tail,
        leaf_tail,
        bound,
        lost: None,
    })
}

fn check(draft: &Draft) -> Result<(), AppendError> {
    let bad = |text: String| Err(AppendError::BadDraft(text));
    if !is_plain(draft.kind) || draft.kind == SEGMENT {
        return bad(format!("`{}` cannot be a kind", draft.kind));
    }
    for id in [&draft.session, &draft.opens, &draft.closes].into_iter().flatten() {
        if !is_plain(id) {
            return bad(format!(
                "`{}` cannot be an id: 1 to 200 visible ASCII characters",
                id.escape_debug()
            ));
        }
    }
    if !(0..=MAX_MS).contains(&draft.at_ms) {
        return bad(format!("{} ms is no time from 1970 to 9999", draft.at_ms));
    }
    for value in &draft.personal {
        let plain = value.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !plain || ["", "salt", "person"].contains(&value.name) {
            return bad(format!("`{}` cannot name a personal value", value.name));
        }
    }
    Ok(())
}

/// The members `digests` and `open`, each with its comma.
fn personal(values: &[Personal], cuts: &mut Vec<Cut>) -> Result<(Vec<u8>, Vec<u8>), AppendError> {
    if values.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let mut people: Vec<Person<'_>> = Vec::new();
    for value in values {
        let index = match people.iter().position(|p| p.id == value.person) {
            Some(index) => index,
            None => {
                let mut salt = [0; 16];
                rand::fill(&mut salt).map_err(|_| AppendError::Failed("no random numbers".into()))?;
                let mut person = Person { id: &value.person, salt, values: Vec::new() };
                person.keep(people.len(), "person", &value.person, cuts);
                people.push(person);
                people.len() - 1
            }
        };
        if let Some(person) = people.get_mut(index) {
            if person.values.iter().any(|(name, ..)| *name == value.name) {
                return Err(AppendError::BadDraft(format!("`{}` is given twice for one person", value.name)));
            }
            person.keep(index, value.name, &value.value, cuts);
        }
    }
    let (mut digests, mut open) = (b",\"digests\":[".to_vec(), b",\"open\":[".to_vec());
    for (index, person) in people.iter().enumerate() {
        if index > 0 {
            digests.push(b',');
            open.push(b',');
        }
        open.extend_from_slice(b"{\"salt\":\"");
        push_hex(&person.salt, &mut open);
        open.push(b'"');
        for (place, (name, digest, value)) in person.values.iter().enumerate() {
            digests.extend_from_slice(if place == 0 { b"{\"" } else { b",\"" });
            digests.extend_from_slice(name.as_bytes());
            digests.extend_from_slice(b"\":\"");
            digest.push_hex(&mut digests);
            digests.push(b'"');
            open.extend_from_slice(b",\"");
            open.extend_from_slice(name.as_bytes());
            open.extend_from_slice(b"\":");
            serde_json::to_writer(&mut open, value).map_err(|e| AppendError::BadDraft(e.to_string()))?;
        }
        digests.push(b'}');
        open.push(b'}');
    }
    digests.push(b']');
    open.push(b']');
    Ok((digests, open))
}

impl<'a> Person<'a> {
    /// Takes up a value, cut if it is too long; the digest of a whole value that was cut is salted as well.
    fn keep(&mut self, index: usize, name: &'static str, value: &'a str, cuts: &mut Vec<Cut>) {
        let kept = beginning(value, PERSONAL_MAX);
        if kept.len() < value.len() {
            cuts.push(Cut {
                at: format!("/open/{index}/{name}"),
                bytes: value.len(),
                sha256: personal_digest(&self.salt, name, value).hex(),
            });
        }
        self.values.push((name, personal_digest(&self.salt, name, kept), kept));
    }
}
