//! What one record says: sessions without gaps, intents, headers, and personal values against their digests.
//!
//! Never here: whether the record is genuine (that is `chain`).

use std::collections::{BTreeMap, HashMap};

use super::source::Item;
use super::{Finding, Report, What};
use crate::audit::journal::book::{Header, IntentRef};
use crate::audit::open;
use crate::audit::read::{parse_header, segment_name};
use crate::audit::record::{self, SEGMENT};
use crate::audit::tree::Frontier;

#[derive(Default)]
pub(super) struct Content {
    sessions: HashMap<String, u64>,
    intents: BTreeMap<(u64, String), IntentRef>,
    by_id: HashMap<String, u64>,
    /// After a loss the counters are not known; they are taken as they come until the next header.
    pub(super) lenient: bool,
}

impl Content {
    /// Takes up a record. Answers with its header if it is one.
    pub(super) fn take(
        &mut self,
        item: &Item,
        origin: &str,
        tree: Option<&Frontier>,
        report: &mut Report,
    ) -> Option<Header> {
        let line = record::parse(&item.bytes).ok()?;
        let lead = &line.lead;
        let mut find = |what, detail: String| {
            report.add(Finding {
                what,
                file: item.file.to_string(),
                line: item.line,
                first: lead.seq,
                last: lead.seq,
                detail,
            });
        };
        if lead.log != origin {
            find(What::Altered, format!("the record is of the log `{}`", lead.log));
        }
        if let Err(why) = open::check(&line) {
            find(What::Open, why);
        }
        if let Some((session, sseq)) = lead.session {
            let expected = self.sessions.get(session).map_or(1, |n| n + 1);
            if sseq != expected && !self.lenient {
                find(
                    What::SessionGap,
                    format!("session `{session}` goes on with {sseq} instead of {expected}"),
                );
            }
            self.sessions.insert(session.to_owned(), sseq);
        }
        if let Some(id) = lead.opens {
            let session = lead.session.map(|(s, _)| s.to_owned());
            let intent = IntentRef { id: id.to_owned(), seq: lead.seq, kind: lead.kind.to_owned(), session };
            if let Some(seq) = self.by_id.insert(id.to_owned(), lead.seq) {
                self.intents.remove(&(seq, id.to_owned()));
            }
            self.intents.insert((lead.seq, id.to_owned()), intent);
        }
        if let Some(id) = lead.closes
            && let Some(seq) = self.by_id.remove(id)
        {
            self.intents.remove(&(seq, id.to_owned()));
        }
        let header = match (lead.kind == SEGMENT, item.line == 1) {
            (false, false) => None,
            (true, true) => match parse_header(&line) {
                Some(header) => {
                    self.check_header(item, lead.seq, &header, tree, &mut find);
                    Some(header)
                }
                None => {
                    find(What::Header, "the header is not as the format has it".into());
                    None
                }
            },
            (true, false) => {
                find(What::Header, "a header stands within a segment".into());
                None
            }
            (false, true) => {
                find(What::Header, "the segment does not begin with a header".into());
                None
            }
        };
        *report.kinds.entry(lead.kind.to_owned()).or_default() += 1;
        header
    }

    fn check_header(
        &mut self,
        item: &Item,
        seq: u64,
        header: &Header,
        tree: Option<&Frontier>,
        find: &mut impl FnMut(What, String),
    ) {
        if segment_name(header.segment) != *item.file {
            find(What::Header, format!("the header is segment {}'s", header.segment));
        }
        let after = header.after.as_ref().map(|a| (a.segment.clone(), a.lines));
        if after != item.before && !(item.before.is_none() && seq > 0) {
            find(What::Header, "the header names another end of the segment before".into());
        }
        if Frontier::from_parts(seq, header.frontier.clone()).is_none() {
            find(What::Header, "the header's frontier does not fit its sequence number".into());
        }
        if let Some(tree) = tree
            && tree.nodes() != header.frontier
        {
            find(What::Header, "the header's frontier is not that of the records before it".into());
        }
        let known = self.intents.values();
        if !self.lenient {
            for (session, last) in &header.sessions {
                if self.sessions.get(session) != Some(last) {
                    find(What::Header, format!("the header has session `{session}` at {last}"));
                }
            }
            if !known.eq(header.intents.iter()) {
                find(What::Header, "the header's open intents are not those of the records before it".into());
            }
        }
        // From here on the header's word counts: whoever is not in it begins anew.
        self.sessions = header.sessions.iter().map(|(s, n)| (s.clone(), *n)).collect();
        self.intents = header.intents.iter().map(|i| ((i.seq, i.id.clone()), i.clone())).collect();
        self.by_id = header.intents.iter().map(|i| (i.id.clone(), i.seq)).collect();
        self.lenient = false;
    }

    pub(super) fn open_intents(&self) -> Vec<IntentRef> {
        self.intents.values().cloned().collect()
    }
}
