//! The judgement: whether lines follow one another, what happened where they do not, and whether the tree is the one
//! that was signed.
//!
//! Lines are linked when one's `seq` and `prev` go on from the other. Where a link is missing, lines are put aside
//! until two that are linked show where the log goes on; what lies between is then named by comparing sequence
//! numbers. Never here: reading files.

use std::path::Path;

use super::content::Content;
use super::source::{Histories, Item, Link, Signed, Source, latest};
use super::{Finding, Report, What};
use crate::audit::note::{Checkpoint, VerifyingKey};
use crate::audit::read::{CHECKPOINT, ReadError};
use crate::audit::record;
use crate::audit::tree::{Frontier, Hash};

/// More lines than this are not put aside: the last of them is then taken as it is.
const MAX_ISLAND: usize = 4096;

pub(super) struct Verifier<'a> {
    key: &'a VerifyingKey,
    source: Source,
    histories: Histories,
    next_signed: Option<Signed>,
    latest: Option<Checkpoint>,
    /// The greatest size that any checkpoint covers.
    signed: u64,
    content: Content,
    pub(super) report: Report,
    /// The last line taken up; its leaf goes into the tree when the next line says what it was.
    pub(super) anchor: Option<Item>,
    /// The sequence number after the anchor's.
    pub(super) expected: u64,
    island: Vec<Item>,
    /// The tree before the anchor; `None` while leaves are missing.
    pub(super) tree: Option<Frontier>,
    /// Behind the last checkpoint that agreed: how many records it covers, and the place of the first one behind it.
    agreed: u64,
    behind: Option<(String, u64)>,
    disagreed: bool,
}

pub(super) fn linked(a: &Link, b: &Link) -> bool {
    b.seq == a.seq + 1 && b.prev == a.hash
}

impl<'a> Verifier<'a> {
    pub(super) fn new(dir: &Path, key: &'a VerifyingKey) -> Result<Verifier<'a>, ReadError> {
        let mut report = Report::default();
        let mut histories = Histories::new(dir)?;
        let latest = match latest(dir, key)? {
            Some(Signed { checkpoint: Ok(checkpoint), .. }) => Some(checkpoint),
            Some(Signed { checkpoint: Err(why), .. }) => {
                report.add(checkpoint_finding(CHECKPOINT, 1, 0, why));
                None
            }
            None => None,
        };
        let next_signed = histories.next(key)?;
        let none = latest.is_none() && report.is_clean();
        let source = Source::new(dir)?;
        let mut verifier = Verifier {
            key,
            source,
            histories,
            next_signed,
            signed: latest.as_ref().map_or(0, |c| c.size),
            latest,
            content: Content::default(),
            report,
            anchor: None,
            expected: 0,
            island: Vec::new(),
            tree: Some(Frontier::new()),
            agreed: 0,
            behind: None,
            disagreed: false,
        };
        if none {
            verifier.report.add(checkpoint_finding(CHECKPOINT, 0, 0, "there is no checkpoint".into()));
        }
        verifier.compare()?;
        Ok(verifier)
    }

    pub(super) fn run(mut self) -> Result<Report, ReadError> {
        while let Some(item) = self.source.next()? {
            self.line(item)?;
        }
        self.end()?;
        for file in std::mem::take(&mut self.source.empty) {
            let at = self.expected;
            let detail = "the segment has no lines, not even a header".to_owned();
            self.report.add(Finding { what: What::Header, file, line: 0, first: at, last: at, detail });
        }
        self.report.outside_bytes += self.source.outside_bytes;
        self.report.segments = self.source.segments;
        self.report.size = self.expected;
        self.report.signed = self.signed;
        self.report.root = self.tree.as_ref().filter(|t| t.size() == self.expected).map(Frontier::root);
        self.report.open_intents = self.content.open_intents();
        Ok(self.report)
    }

    fn line(&mut self, item: Item) -> Result<(), ReadError> {
        if self.island.is_empty() && self.follows(&item) {
            return self.go_on(item);
        }
        self.island.push(item);
        let found = match self.island.as_slice() {
            [.., a, b] => match (&a.link, &b.link) {
                (Some(a), Some(b)) => linked(a, b) && a.seq + 1 >= self.expected,
                _ => false,
            },
            _ => false,
        };
        if !found && self.island.len() < MAX_ISLAND {
            return Ok(());
        }
        let mut island = std::mem::take(&mut self.island);
        let last = island.pop();
        let resumed = island.pop();
        if let (Some(resumed), Some(last)) = (resumed, last) {
            self.resolve(island, resumed)?;
            if self.follows(&last) { self.go_on(last)? } else { self.island.push(last) }
        }
        Ok(())
    }

    fn follows(&self, item: &Item) -> bool {
        let Some(link) = &item.link else { return false };
        match self.anchor.as_ref().and_then(|a| a.link) {
            Some(anchor) => linked(&anchor, link),
            None => link.seq == self.expected && link.prev == Hash::ZERO && self.anchor.is_none(),
        }
    }

    /// The line is the next one: its `prev` is the anchor's leaf hash.
    fn go_on(&mut self, item: Item) -> Result<(), ReadError> {
        if let (Some(_), Some(link)) = (&self.anchor, &item.link) {
            self.push(link.prev)?;
        }
        self.accept(item);
        Ok(())
    }

    fn accept(&mut self, item: Item) {
        let tree = self.tree.as_ref().filter(|t| !self.disagreed && Some(t.size()) == item.seq());
        let header = self.content.take(&item, self.key.name(), tree, &mut self.report);
        if let Some(seq) = item.seq() {
            self.expected = seq + 1;
            let known = self.tree.as_ref().is_some_and(|t| t.size() == seq);
            if !known {
                // Leaves are missing: the tree goes on from what the next header says it is.
                self.tree = header.and_then(|h| Frontier::from_parts(seq, h.frontier));
            }
        }
        if self.behind.is_none() {
            self.behind = Some((item.file.to_string(), item.line));
        }
        self.anchor = Some(item);
    }

    pub(super) fn push(&mut self, leaf: Hash) -> Result<(), ReadError> {
        if let Some(tree) = &mut self.tree {
            tree.push(leaf);
        }
        self.compare()
    }

    /// Compares the tree with the checkpoints of its size.
    fn compare(&mut self) -> Result<(), ReadError> {
        let size = self.tree.as_ref().map_or(self.expected, Frontier::size);
        let root = self.tree.as_ref().map(Frontier::root);
        if let (Some(root), Some(latest)) = (root, &self.latest)
            && latest.size == size
        {
            let latest = latest.clone();
            self.judge(&latest, root, CHECKPOINT.to_owned());
        }
        while let Some(signed) = self.next_signed.take() {
            match &signed.checkpoint {
                Ok(checkpoint) if checkpoint.size > size => {
                    self.next_signed = Some(signed);
                    return Ok(());
                }
                Ok(checkpoint) => {
                    let checkpoint = checkpoint.clone();
                    self.signed = self.signed.max(checkpoint.size);
                    if let Some(root) = root.filter(|_| checkpoint.size == size) {
                        self.judge(&checkpoint, root, signed.file.clone());
                    }
                }
                Err(why) => {
                    self.report.add(checkpoint_finding(&signed.file, signed.line, size, why.clone()));
                }
            }
            self.next_signed = self.histories.next(self.key)?;
        }
        Ok(())
    }

    fn judge(&mut self, checkpoint: &Checkpoint, root: Hash, file: String) {
        self.report.checkpoints += 1;
        if checkpoint.root == root {
            self.agreed = checkpoint.size;
            self.behind = None;
        } else if !self.disagreed {
            // All that follow will disagree too.
            self.disagreed = true;
            let (at, line) = self.behind.clone().unwrap_or((file.clone(), 1));
            // Between two checkpoints only: where they cover single records, the record is known.
            let one = checkpoint.size == self.agreed + 1;
            let last = checkpoint.size.saturating_sub(1);
            let mut detail = format!("the records are not those that a checkpoint in `{file}` covers");
            if !one {
                // Each but the last is pinned by the line behind it.
                detail.push_str(&format!(
                    "; every `prev` fits, so either record {last} alone was altered, or they were rewritten with their chain"
                ));
            }
            self.report.add(Finding {
                what: if one { What::Altered } else { What::Mismatch },
                file: at,
                line,
                first: self.agreed,
                last,
                detail,
            });
        }
    }

    pub(super) fn find(&mut self, what: What, item: &Item, first: u64, last: u64, detail: &str) {
        self.content.lenient = true;
        self.report.add(Finding {
            what,
            file: item.file.to_string(),
            line: item.line,
            first,
            last,
            detail: detail.to_owned(),
        });
    }

    /// The log goes on with `resumed`; `island` lies between it and the anchor.
    fn resolve(&mut self, island: Vec<Item>, resumed: Item) -> Result<(), ReadError> {
        let Some(link) = resumed.link else {
            // Too much was put aside: nothing shows where the log goes on.
            self.between(&island, self.expected, None, false)?;
            self.find(What::Altered, &resumed, self.expected, self.expected, "nothing here fits together");
            return Ok(());
        };
        let anchor = self.anchor.as_ref().and_then(|a| a.link);
        if let Some(anchor) = anchor.filter(|a| a.seq == link.seq) {
            // Two lines for one place; the one that the log goes on from belongs there.
            for item in &island {
                self.find(What::Inserted, item, link.seq, link.seq, "the line does not belong to the log");
            }
            let detail = "the line takes the place of another record";
            match self.anchor.take() {
                Some(forged) if anchor.hash != link.hash => {
                    self.find(What::Inserted, &forged, link.seq, link.seq, detail);
                }
                _ => self.find(
                    What::Inserted,
                    &resumed,
                    link.seq,
                    link.seq,
                    "the line repeats the one before it",
                ),
            }
            self.expected = link.seq;
            self.accept(resumed);
            return Ok(());
        }
        if link.seq == self.expected {
            for item in &island {
                self.find(What::Inserted, item, link.seq, link.seq, "the line does not belong to the log");
            }
            match (self.anchor.clone(), anchor) {
                (Some(item), Some(anchor)) if anchor.hash != link.prev => {
                    self.find(
                        What::Altered,
                        &item,
                        anchor.seq,
                        anchor.seq,
                        "the next record names another hash",
                    );
                }
                (None, _) if link.seq == 0 && link.prev != Hash::ZERO => {
                    self.find(
                        What::Altered,
                        &resumed,
                        link.seq,
                        link.seq,
                        "the first record names one before it",
                    );
                }
                _ => {}
            }
            return self.go_on(resumed);
        }
        // Records are missing between the anchor and `resumed`, or stand there in another form.
        self.between(&island, link.seq, Some(&resumed), false)?;
        self.accept(resumed);
        Ok(())
    }

    /// No more lines. What is still put aside is judged by the latest checkpoint, which covers the end.
    fn end(&mut self) -> Result<(), ReadError> {
        self.signed = self.signed.max(self.rest_signed()?);
        let mut island = std::mem::take(&mut self.island);
        if let [genuine] = island.as_slice()
            && self.anchor_was_forged(genuine)
        {
            let genuine = genuine.clone();
            island.clear();
            if let (Some(forged), Some(seq)) = (self.anchor.take(), genuine.seq()) {
                self.find(What::Inserted, &forged, seq, seq, "the line takes the place of another record");
                self.expected = seq;
                self.accept(genuine);
            }
        }
        if let [only] = island.as_slice()
            && self.anchor_was_altered(only)
        {
            if let Some(anchor) = self.anchor.clone() {
                let seq = anchor.seq().unwrap_or_default();
                self.find(
                    What::Altered,
                    &anchor,
                    seq,
                    seq,
                    "the next record, which is signed, names another hash",
                );
            }
            self.go_on(only.clone())?;
        } else if !island.is_empty() || self.signed > self.expected {
            let until = self.signed.max(self.expected);
            return self.between(&island, until, None, true);
        }
        match self.anchor.as_ref().and_then(|a| a.link) {
            Some(anchor) => self.push(anchor.hash),
            None => Ok(()),
        }
    }

    /// Reads the checkpoints that cover more than is here.
    fn rest_signed(&mut self) -> Result<u64, ReadError> {
        let mut greatest = 0;
        let mut pending = self.next_signed.take();
        let mut kept = None;
        while let Some(signed) = pending {
            match &signed.checkpoint {
                Ok(checkpoint) => {
                    greatest = greatest.max(checkpoint.size);
                    if kept.is_none() {
                        kept = Some(signed);
                    }
                }
                Err(why) => {
                    let at = self.expected;
                    self.report.add(checkpoint_finding(&signed.file, signed.line, at, why.clone()));
                }
            }
            pending = self.histories.next(self.key)?;
        }
        self.next_signed = kept;
        let latest = self.latest.as_ref().map_or(0, |c| c.size);
        if greatest > latest && self.latest.is_some() {
            let why = format!("the latest checkpoint covers {latest} records, an earlier one {greatest}");
            self.report.add(checkpoint_finding(CHECKPOINT, 2, latest, why));
        }
        Ok(greatest)
    }

    /// The last two lines claim one place: whether the checkpoint is over the second.
    fn anchor_was_forged(&self, last: &Item) -> bool {
        let (Some(link), Some(latest), Some(tree)) = (last.link, &self.latest, &self.tree) else {
            return false;
        };
        if link.seq + 1 != self.expected || latest.size != self.expected {
            return false;
        }
        let mut tree = tree.clone();
        tree.push(link.hash);
        let anchor = self.anchor.as_ref().and_then(|a| a.link).map(|a| a.hash);
        anchor != Some(link.hash) && tree.root() == latest.root
    }

    /// The last line does not name the hash of the one before it: whether that one is to blame, the checkpoint over
    /// both tells.
    fn anchor_was_altered(&self, last: &Item) -> bool {
        let (Some(link), Some(latest), Some(tree)) = (last.link, &self.latest, &self.tree) else {
            return false;
        };
        if link.seq != self.expected
            || latest.size != self.expected + 1
            || record::parse(&last.bytes).is_err()
        {
            return false;
        }
        let mut tree = tree.clone();
        tree.push(link.prev);
        tree.push(link.hash);
        tree.root() == latest.root
    }
}

fn checkpoint_finding(file: &str, line: u64, seq: u64, detail: String) -> Finding {
    Finding { what: What::Checkpoint, file: file.to_owned(), line, first: seq, last: seq, detail }
}
