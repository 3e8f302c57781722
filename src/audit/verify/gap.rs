//! A gap in the chain: what happened to the records that belong between two places where the log is whole.
//!
//! Never here: finding out where the log goes on.

use std::collections::BTreeMap;

use super::chain::{Verifier, linked};
use super::source::Item;
use super::{Finding, What};
use crate::audit::read::{CHECKPOINT, ReadError};

impl Verifier<'_> {
    /// Names what happened to the records from the expected one to `until`, of which `island` is all that is there.
    /// `next` is the line of record `until`; without it the log ends here.
    pub(super) fn between(
        &mut self,
        island: &[Item],
        until: u64,
        next: Option<&Item>,
        at_end: bool,
    ) -> Result<(), ReadError> {
        let from = self.expected;
        if let Some(anchor) = self.anchor.as_ref().and_then(|a| a.link) {
            self.push(anchor.hash)?;
        }
        // Those that claim a place of their own in the gap, by sequence number.
        let mut claimed: BTreeMap<u64, &Item> = BTreeMap::new();
        let mut strays: Vec<&Item> = Vec::new();
        // Of two that claim one place, the one that stands there has it.
        for (place, item) in (from..).zip(island) {
            if item.seq() == Some(place) && place < until {
                claimed.insert(place, item);
            }
        }
        for (place, item) in (from..).zip(island) {
            match item.seq() {
                Some(seq) if seq == place && place < until => {}
                Some(seq) if (from..until).contains(&seq) && !claimed.contains_key(&seq) => {
                    claimed.insert(seq, item);
                }
                _ => strays.push(item),
            }
        }
        let anchor = self.anchor.as_ref().and_then(|a| a.link);
        let link_of = |seq: u64| {
            let before = anchor.filter(|a| a.seq == seq);
            before
                .or_else(|| claimed.get(&seq).and_then(|i| i.link))
                .or_else(|| next.and_then(|n| n.link).filter(|l| l.seq == seq))
        };
        let mut altered: Vec<u64> = Vec::new();
        for (seq, item) in &claimed {
            let Some(link) = item.link else { continue };
            let before = seq.checked_sub(1).and_then(link_of).map(|b| linked(&b, &link));
            let behind = link_of(seq + 1).map(|b| linked(&link, &b));
            if before != Some(true) && behind != Some(true) && (before, behind) != (None, None) {
                altered.push(*seq);
            }
        }
        let mut findings: Vec<(What, Item, u64, u64, &str)> = Vec::new();
        let mut strays = strays.into_iter();
        let order: Vec<u64> =
            island.iter().filter_map(Item::seq).filter(|s| claimed.contains_key(s)).collect();
        for (seq, here) in claimed.keys().zip(&order) {
            if seq != here
                && let Some(item) = claimed.get(here)
            {
                findings.push((
                    What::Reordered,
                    (*item).clone(),
                    *here,
                    *here,
                    "the line stands in the wrong place",
                ));
            }
        }
        for seq in &altered {
            if let Some(item) = claimed.get(seq) {
                findings.push((
                    What::Altered,
                    (*item).clone(),
                    *seq,
                    *seq,
                    "the line fits neither neighbour",
                ));
            }
        }
        // Holes: a line that claims no place stands in each, as long as there are such lines; the rest are losses.
        let mut seq = from;
        let mut lost: Option<(u64, u64)> = None;
        let shown = next.or(island.last()).cloned().or_else(|| self.anchor.clone());
        let mut losses: Vec<(u64, u64)> = Vec::new();
        while seq < until {
            if claimed.contains_key(&seq) {
                losses.extend(lost.take());
                seq += 1;
            } else if let Some(item) = strays.next() {
                let why = "the line is not the record that belongs here";
                let what = if at_end && !item.whole { What::CutOff } else { What::Altered };
                findings.push((what, item.clone(), seq, seq, why));
                seq += 1;
            } else {
                // All up to the next claim are lost.
                let end = claimed.range(seq..).next().map_or(until, |(s, _)| *s);
                lost = Some((seq, end - 1));
                seq = end;
            }
        }
        losses.extend(lost);
        let tail = claimed.keys().next_back().copied();
        for (first, last) in losses {
            let cut = at_end && tail.is_none_or(|t| first > t);
            let what = if cut { What::CutOff } else { What::Dropped };
            let item = match claimed.get(&(last + 1)) {
                Some(item) => Some((*item).clone()),
                None => shown.clone(),
            };
            match item {
                Some(item) => findings.push((what, item, first, last, "the records are not there")),
                None => self.report.add(Finding {
                    what,
                    file: CHECKPOINT.to_owned(),
                    line: 2,
                    first,
                    last,
                    detail: "no record is there at all".into(),
                }),
            }
        }
        for item in strays {
            if at_end && !item.whole {
                // Being written when the process ended; never acknowledged.
                self.report.outside_bytes += item.bytes.len() as u64;
            } else {
                findings.push((
                    What::Inserted,
                    item.clone(),
                    until,
                    until,
                    "the line does not belong to the log",
                ));
            }
        }
        findings.sort_by_key(|(_, _, first, ..)| *first);
        // The leaves, as far as the lines or their successors tell them.
        for seq in from..until {
            let told = link_of(seq + 1).filter(|_| !altered.contains(&(seq + 1))).map(|l| l.prev);
            let own =
                claimed.get(&seq).and_then(|i| i.link).filter(|_| !altered.contains(&seq)).map(|l| l.hash);
            match told.or(own) {
                Some(leaf) => self.push(leaf)?,
                None => {
                    self.tree = None;
                    break;
                }
            }
        }
        for (what, item, first, last, why) in findings {
            self.find(what, &item, first, last, why);
        }
        self.expected = until;
        self.anchor = None;
        Ok(())
    }
}
