//! `postern state`: the beginning of a store, and what an operator says of it.
//!
//! Never here: how a store is made ([`crate::app`]).

use std::{io::Write as _, path::PathBuf};

use clap::{Args, Subcommand};

use crate::{audit::VerifyingKey, config::resolve::StateSettings, state::redis::Farewell};

use super::{
    Answer, ConfigArg, Trouble, keyfile,
    out::{Out, say},
};

#[derive(Debug, Subcommand)]
pub(super) enum State {
    /// Begin an empty store, once ever: an empty one is never taken for a new one
    ///
    /// Makes the store's file, or its parts in Redis, and nothing else. Refuses where there is a store already, or a ledger: a store that is
    /// missing beside its ledger is rebuilt by `postern run`.
    #[command(after_help = super::EXIT)]
    Init(Init),
    /// Make again what a store in Redis lost, from ledgers, where no gateway is left that knew it whole
    ///
    /// For gateways that say that nobody here knows enough. Needs the ledgers of all gateways that changed anything: this one's,
    /// and copies of the others'; each has to verify. What they have is joined in where the store has lost something, and
    /// nowhere else; gateways that start later join what they know. Run it while this gateway does not run.
    #[command(after_help = super::EXIT)]
    Rebuild(Rebuild),
    /// Accept a clock that is behind the ledger, and end all sessions
    ///
    /// For a gateway that refuses staff as `clock_behind` though its clock is right: an earlier one ran ahead. Run it while
    /// no gateway runs on this ledger. All sessions end, the ledger says so (`clock.accepted`), and the next start serves
    /// staff again. What tenants gave until an instant holds until that instant by the accepted clock. Where the clock is
    /// wrong, set it right instead.
    #[command(after_help = super::EXIT)]
    AcceptClock(ConfigArg),
    /// Retire a gateway of a fleet that will not come back
    ///
    /// Takes it out of the list in the store: it is no longer waited for when the store is healed, and tenants' records name it as
    /// retired and no longer as missing. A gateway that runs writes it into its ledger (`gateway.retired`), with these words: all
    /// of it is kept for good. Keep the ledger that it leaves: what it recorded stands nowhere else.
    #[command(after_help = super::EXIT)]
    Retire(Retire),
}

#[derive(Debug, Args)]
pub(super) struct Retire {
    /// Its name, as `gateway` in its configuration has it
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    config: ConfigArg,
    /// Who retires it: a name or number by which others know you, no e-mail address
    #[arg(long, value_name = "WHO")]
    by: String,
    /// Why
    #[arg(long, value_name = "WHY")]
    reason: String,
    /// Where its ledger is kept from now on; tenants' auditors are shown this
    #[arg(long, value_name = "WHERE")]
    archive: Option<String>,
}

impl Retire {
    fn perform(self, out: &mut Out) -> Result<(), Trouble> {
        let settings = self.config.load()?;
        let farewell = Farewell { by: self.by, reason: self.reason, archive: self.archive };
        let done = crate::app::retire(&settings, &self.name, &farewell).map_err(Trouble::of)?;
        writeln!(out, "gateway `{}` is retired since {}", done.name, done.at)?;
        match done.recorded_by {
            Some(by) => writeln!(out, "recorded in the ledger of `{by}`")?,
            None => say("warning: no gateway has recorded it yet; the next one that runs on this store does"),
        }
        if farewell.archive.is_none() {
            writeln!(out, "keep the ledger that it leaves: what it recorded stands nowhere else")?;
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(super) struct Init {
    #[command(flatten)]
    config: ConfigArg,
    /// Where there is a store, or a shadow or a ledger of one, say so and leave it at that, with exit status 0: for scripts that
    /// run each time
    #[arg(long)]
    if_none: bool,
}

impl Init {
    fn perform(self, out: &mut Out) -> Result<(), Trouble> {
        let settings = self.config.load()?;
        match crate::app::init(&settings) {
            Ok(()) => match &settings.state {
                StateSettings::File(path) => writeln!(out, "an empty store begins at `{}`", path.display())?,
                StateSettings::Redis(redis) => {
                    writeln!(out, "an empty store begins in Redis, below `{}`", redis.prefix)?;
                }
            },
            Err(fault) if self.if_none && fault.is_begun() => writeln!(out, "nothing is begun: {fault}")?,
            Err(fault) => return Err(Trouble::of(fault)),
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(super) struct Rebuild {
    #[command(flatten)]
    config: ConfigArg,
    /// Another gateway's ledger, and the file of its public key, or its text
    #[arg(long = "ledger", value_name = "DIR=KEY")]
    ledgers: Vec<String>,
}

impl Rebuild {
    fn perform(self, out: &mut Out) -> Result<(), Trouble> {
        let settings = self.config.load()?;
        let others: Result<Vec<_>, Trouble> = self.ledgers.iter().map(|text| other(text)).collect();
        let told = |done: usize, of: usize| {
            let _ = writeln!(out, "parts that are whole again: {done} of {of}");
        };
        let done = crate::app::rebuild(&settings, &others?, told).map_err(Trouble::of)?;
        writeln!(
            out,
            "the store {} has back what the ledgers have: {} changes of documents, in {} parts that had lost something",
            done.store, done.documents, done.parts
        )?;
        Ok(())
    }
}

fn other(text: &str) -> Result<(PathBuf, VerifyingKey), Trouble> {
    let wrong = || Trouble::of(format!("`{text}` does not say whose key a ledger has; write `DIR=KEY`"));
    let (ledger, key) = text.split_once('=').ok_or_else(wrong)?;
    Ok((PathBuf::from(ledger), keyfile::verifying(key)?))
}

impl State {
    pub(super) fn perform(self, out: &mut Out) -> Result<Answer, Trouble> {
        match self {
            State::Init(command) => command.perform(out)?,
            State::Rebuild(command) => command.perform(out)?,
            State::AcceptClock(config) => {
                let settings = config.load()?;
                let done = crate::app::accept_clock(&settings, None).map_err(Trouble::of)?;
                writeln!(out, "the ledger reached {}; from here on {} counts", done.ledger, done.now)?;
                writeln!(out, "sessions that ended: {}", done.sessions)?;
            }
            State::Retire(retire) => retire.perform(out)?,
        }
        Ok(Answer::Yes)
    }
}
