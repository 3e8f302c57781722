//! `postern state`: the beginning of a store.
//!
//! Never here: how a store is made ([`crate::app`]).

use std::io::Write as _;

use clap::{Args, Subcommand};

use super::{Answer, ConfigArg, Trouble, out::Out};
use crate::config::resolve::StateSettings;

#[derive(Debug, Subcommand)]
pub(super) enum State {
    /// Begin an empty store, once ever: an empty one is never taken for a new one
    ///
    /// Makes the store's file and nothing else. Refuses where there is a store already, or a ledger: a store that is
    /// missing beside its ledger is rebuilt by `postern run`.
    #[command(after_help = super::EXIT)]
    Init(Init),
    /// Accept a clock that is behind the ledger, and end all sessions
    ///
    /// For a gateway that refuses staff as `clock_behind` though its clock is right: an earlier one ran ahead. Run it while
    /// no gateway runs on this ledger. All sessions end, the ledger says so (`clock.accepted`), and the next start serves
    /// staff again. What tenants gave until an instant holds until that instant by the accepted clock. Where the clock is
    /// wrong, set it right instead.
    #[command(after_help = super::EXIT)]
    AcceptClock(ConfigArg),
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

impl State {
    pub(super) fn perform(self, out: &mut Out) -> Result<Answer, Trouble> {
        match self {
            State::Init(command) => command.perform(out)?,
            State::AcceptClock(config) => {
                let settings = config.load()?;
                let done = crate::app::accept_clock(&settings, None).map_err(Trouble::of)?;
                writeln!(out, "the ledger reached {}; from here on {} counts", done.ledger, done.now)?;
                writeln!(out, "sessions that ended: {}", done.sessions)?;
            }
        }
        Ok(Answer::Yes)
    }
}
