//! `postern audit`: keys of a ledger, its proof, and what stands in it.
//!
//! Never here: the proof itself ([`crate::audit`]).

use std::{
    collections::HashMap,
    io::{self, Write as _},
    path::PathBuf,
};

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::Value;

use crate::{
    audit::{
        SigningKey,
        read::Records,
        record::{Line, OPEN},
        verify::{Report, verify},
    },
    model::Timestamp,
};

use super::{
    Answer, Trouble,
    keyfile::{self, Readers},
    out::{Out, plain, say},
};

#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// Make the key with which a ledger signs its checkpoints
    #[command(after_help = super::EXIT)]
    Key(Key),
    /// Prove a ledger from its files and its public key; needs nothing of the gateway
    #[command(after_help = super::EXIT)]
    Verify(Verify),
    /// Print records as they stand in a ledger; verifies nothing
    #[command(after_help = super::EXIT)]
    Query(Query),
}

impl Audit {
    pub(super) fn perform(self, out: &mut Out) -> Result<Answer, Trouble> {
        match self {
            Audit::Key(command) => command.perform(out),
            Audit::Verify(command) => command.perform(out),
            Audit::Query(command) => command.perform(out),
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Key {
    /// The log's name, unique in the world: the `ledger.origin` of its gateway
    #[arg(long, value_name = "NAME")]
    origin: String,
    /// The private half goes here, readable by its owner only
    #[arg(long, value_name = "FILE")]
    private: PathBuf,
    /// The public half goes here: what auditors are given
    #[arg(long, value_name = "FILE")]
    public: PathBuf,
}

impl Key {
    fn perform(self, out: &mut Out) -> Result<Answer, Trouble> {
        let key = SigningKey::generate(&self.origin).map_err(Trouble::of)?;
        let public = key.verifying_key().to_text();
        keyfile::all_new(&[&self.private, &self.public])?;
        key.save(&self.private).map_err(Trouble::of)?;
        keyfile::write_new(&self.public, &format!("{public}\n"), Readers::All)?;
        writeln!(out, "{public}")?;
        Ok(Answer::Yes)
    }
}

/// Names every line that was altered, dropped, inserted, reordered or cut off. Exit status 1 if there is one.
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The ledger's directory
    #[arg(value_name = "DIR")]
    ledger: PathBuf,
    /// Its public key: the file, or the text itself
    #[arg(long, value_name = "KEY")]
    key: String,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Told<'a> {
    verified: bool,
    findings: Vec<Finding<'a>>,
    unlisted_findings: u64,
    records: u64,
    root: Option<String>,
    signed_records: u64,
    checkpoints: u64,
    segments: u64,
    outside_bytes: u64,
    kinds: &'a std::collections::BTreeMap<String, u64>,
    open_intents: Vec<Intent<'a>>,
}

#[derive(Serialize)]
struct Finding<'a> {
    what: &'static str,
    file: &'a str,
    line: u64,
    first: u64,
    last: u64,
    detail: &'a str,
}

#[derive(Serialize)]
struct Intent<'a> {
    id: &'a str,
    record: u64,
    kind: &'a str,
}

impl<'a> Told<'a> {
    fn of(report: &'a Report) -> Self {
        Told {
            verified: report.is_clean(),
            findings: report
                .findings
                .iter()
                .map(|finding| Finding {
                    what: finding.what.code(),
                    file: &finding.file,
                    line: finding.line,
                    first: finding.first,
                    last: finding.last,
                    detail: &finding.detail,
                })
                .collect(),
            unlisted_findings: report.unlisted,
            records: report.size,
            root: report.root.map(|root| root.to_string()),
            signed_records: report.signed,
            checkpoints: report.checkpoints,
            segments: report.segments,
            outside_bytes: report.outside_bytes,
            kinds: &report.kinds,
            open_intents: report
                .open_intents
                .iter()
                .map(|intent| Intent { id: &intent.id, record: intent.seq, kind: &intent.kind })
                .collect(),
        }
    }
}

impl Verify {
    fn perform(self, out: &mut Out) -> Result<Answer, Trouble> {
        let key = keyfile::verifying(&self.key)?;
        let report = verify(&self.ledger, &key).map_err(Trouble::of)?;
        if self.json {
            serde_json::to_writer(&mut *out, &Told::of(&report)).map_err(io::Error::from)?;
            writeln!(out)?;
        } else {
            write!(out, "{report}")?;
        }
        Ok(if report.is_clean() { Answer::Yes } else { Answer::No })
    }
}

/// Prints the JSON lines that match all that is asked for, as they are. An outcome belongs to whom its intent belongs
/// to. Nothing is verified: `postern audit verify` does that.
#[derive(Debug, Args)]
pub(super) struct Query {
    /// The ledger's directory
    #[arg(value_name = "DIR")]
    ledger: PathBuf,
    /// Of this tenant
    #[arg(long)]
    tenant: Option<String>,
    /// Of this support session
    #[arg(long)]
    session: Option<String>,
    /// Of this person: `sub`, or `issuer|sub`
    #[arg(long)]
    subject: Option<String>,
    /// Of this kind: `access.intent`, or all of `access`
    #[arg(long)]
    kind: Option<String>,
    /// From this instant on (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = instant)]
    since: Option<Timestamp>,
    /// Before this instant (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = instant)]
    until: Option<Timestamp>,
    /// A line of text for each record, for people
    #[arg(long)]
    table: bool,
}

fn instant(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| "write it as `2026-03-29T00:00:00Z`".to_owned())
}

/// What is remembered of an intent until its outcome.
#[derive(Clone, Default)]
struct About {
    tenant: String,
    subject: String,
    sub: String,
    session: String,
    /// What it was about, in words.
    what: String,
}

impl Query {
    fn perform(self, out: &mut Out) -> Result<Answer, Trouble> {
        say("note: nothing is verified here; `postern audit verify` does that");
        let mut records = Records::open(&self.ledger).map_err(Trouble::of)?;
        let mut intents: HashMap<String, About> = HashMap::new();
        while !out.is_gone() {
            let written = records
                .next(|line, _, _| {
                    let (about, tail) = about(line, &mut intents);
                    if !self.wants(line, &about) {
                        return Ok(());
                    }
                    if self.table { row(out, line, &about, &tail) } else { whole(out, line) }
                })
                .map_err(Trouble::of)?;
            match written {
                Some(written) => written?,
                None => break,
            }
        }
        Ok(Answer::Yes)
    }

    fn wants(&self, line: &Line<'_>, about: &About) -> bool {
        let lead = &line.lead;
        let at = Timestamp::from_ms(lead.at_ms);
        let is =
            |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        self.since.is_none_or(|since| since <= at)
            && self.until.is_none_or(|until| at < until)
            && self.kind.as_deref().is_none_or(|kind| {
                lead.kind == kind || lead.kind.strip_prefix(kind).is_some_and(|rest| rest.starts_with('.'))
            })
            && is(&self.session, &about.session)
            && is(&self.tenant, &about.tenant)
            && (is(&self.subject, &about.sub) || is(&self.subject, &about.subject))
    }
}

/// What a record is about, its intent's share included, and how it went.
fn about(line: &Line<'_>, intents: &mut HashMap<String, About>) -> (About, String) {
    let lead = &line.lead;
    // A header is long and about nobody.
    let members = if lead.kind == crate::audit::record::SEGMENT {
        Value::Null
    } else {
        let inner = line.rest.strip_prefix(',').unwrap_or_default();
        serde_json::from_str(&format!("{{{inner}}}")).unwrap_or(Value::Null)
    };
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let mut about = lead.closes.and_then(|id| intents.remove(id)).unwrap_or_default();
    if let Some((session, _)) = lead.session {
        session.clone_into(&mut about.session);
    }
    if let Some(tenant) = text("tenant") {
        tenant.clone_into(&mut about.tenant);
    }
    if let Some(subject) = members.get("subject") {
        let part = |name: &str| subject.get(name).and_then(Value::as_str).unwrap_or_default();
        part("sub").clone_into(&mut about.sub);
        about.subject = format!("{}|{}", part("issuer"), part("sub"));
    }
    let what: Vec<&str> = ["method", "path", "command"].into_iter().filter_map(text).collect();
    if !what.is_empty() {
        about.what = what.join(" ");
    }
    let mut tail: Vec<String> =
        ["end", "outcome", "reason", "fault"].into_iter().filter_map(text).map(str::to_owned).collect();
    if let Some(status) = members.get("status").and_then(Value::as_u64) {
        tail.insert(0, status.to_string());
    }
    if let Some(cut) = members.get("cut").and_then(|cut| cut.get("reason")).and_then(Value::as_str) {
        tail.push(cut.to_owned());
    }
    if let Some(id) = lead.opens {
        intents.insert(id.to_owned(), about.clone());
    }
    (about, tail.join(" "))
}

/// A record as it stands in its file.
fn whole(out: &mut Out, line: &Line<'_>) -> io::Result<()> {
    out.write_all(line.leaf.as_bytes())?;
    if let Some(open) = line.open {
        out.write_all(OPEN.as_bytes())?;
        out.write_all(open.as_bytes())?;
    }
    out.write_all(b"}\n")
}

fn row(out: &mut Out, line: &Line<'_>, about: &About, tail: &str) -> io::Result<()> {
    let dash = |text: &str| if text.is_empty() { "-".to_owned() } else { plain(text) };
    let at = Timestamp::from_ms(line.lead.at_ms);
    let row = format!(
        "{at}  {:<16} {:<12} {:<20} {}  {}",
        line.lead.kind,
        dash(&about.tenant),
        dash(&about.subject),
        dash(&about.what),
        plain(tail),
    );
    writeln!(out, "{}", row.trim_end())
}
