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
}

impl State {
    pub(super) fn perform(self, out: &mut Out) -> Result<Answer, Trouble> {
        let State::Init(config) = self;
        let settings = config.load()?;
        crate::app::init_state(&settings.state.path, &settings.ledger.path).map_err(Trouble::of)?;
        writeln!(out, "an empty store begins at `{}`", settings.state.path.display())?;
        Ok(Answer::Yes)
    }
}
