//! `postern state`: the beginning of a store.
//!
//! Never here: how a store is made ([`crate::app`]).

use std::io::Write as _;

use clap::Subcommand;

use super::{Answer, ConfigArg, Trouble, out::Out};

#[derive(Debug, Subcommand)]
pub(super) enum State {
    /// Begin an empty store, once ever: an empty one is never taken for a new one
    ///
    /// Makes the store's file and nothing else. Refuses where there is a store already, or a ledger: a store that is
    /// missing beside its ledger is rebuilt by `postern run`.
    #[command(after_help = super::EXIT)]
    Init(ConfigArg),
    /// Accept a clock that is behind the ledger, and end all sessions
    ///
    /// For a gateway that refuses staff as `clock_behind` though its clock is right: an earlier one ran ahead. Run it while
    /// no gateway runs on this ledger. All sessions end, the ledger says so (`clock.accepted`), and the next start serves
    /// staff again. What tenants gave until an instant holds until that instant by the accepted clock. Where the clock is
    /// wrong, set it right instead.
    #[command(after_help = super::EXIT)]
    AcceptClock(ConfigArg),
}

impl State {
    pub(super) fn perform(self, out: &mut Out) -> Result<Answer, Trouble> {
        match self {
            State::Init(config) => {
                let settings = config.load()?;
                crate::app::init(&settings).map_err(Trouble::of)?;
                writeln!(out, "an empty store begins at `{}`", settings.state.file().display())?;
            }
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
