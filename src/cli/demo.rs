//! `postern demo`: a real application behind the gateway, four people, and a tour; or the tour walked.
//!
//! Never here: what the tour consists of ([`crate::demo`]).

use std::{io::Write as _, net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand};

use crate::demo::{self, Alone, Options, StageFault, Told};

use super::{
    Answer, Trouble, keyfile,
    out::Out,
    run::{Hangup, Signals},
};

/// Starts a sample application with the gateway in front of it and prints a numbered tour of commands to paste. Runs
/// until Ctrl-C. With `--walk` it takes the tour itself: exit status 0 when every step was what it must be.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Demo {
    #[command(subcommand)]
    part: Option<Part>,
    /// Walk the tour and say of each step whether it was what it must be
    #[arg(long)]
    walk: bool,
    /// Where keys, configuration, state and ledger are put; a folder that is not there yet. By default one below the
    /// temporary one, which is removed at the end
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// A preset to play instead: the gateway runs with its configuration, before an application that stands in for its
    /// product
    #[arg(long, value_name = "NAME", value_parser = demo::PRESETS.iter().map(|preset| preset.name).collect::<Vec<_>>())]
    preset: Option<String>,
    /// The gateway's address; port 0 lets the system choose
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The operations listener's address
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    operations: SocketAddr,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// The sample application alone, behind gateways that you start yourself
    #[command(after_help = super::EXIT)]
    Application(Application),
}

/// Prints `listening on http://ADDRESS` and runs until SIGTERM or SIGINT. It keeps everything in memory, and believes nobody but
/// the gateways whose keys it is given.
#[derive(Debug, Args)]
struct Application {
    /// Its address; port 0 lets the system choose
    #[arg(long, value_name = "ADDRESS")]
    listen: SocketAddr,
    /// The public half of the gateways' `assertion.key`, as a JSON web key set
    #[arg(long, value_name = "FILE")]
    keys: PathBuf,
    /// Their `assertion.issuer`
    #[arg(long, value_name = "ISS")]
    issuer: String,
    /// Its own name in their `upstreams`
    #[arg(long, value_name = "AUD", default_value = "app")]
    audience: String,
}

impl Application {
    fn perform(self, out: &mut Out) -> Result<Answer, Trouble> {
        let signals =
            Signals::catch(Hangup::Ends).map_err(|fault| Trouble::Says(format!("signals: {fault}")))?;
        let keys = keyfile::read(&self.keys)?.to_string();
        let told = Told { listen: self.listen, issuer: self.issuer, audience: self.audience, keys };
        let alone = Alone::start(told).map_err(Trouble::of)?;
        writeln!(out, "listening on http://{}", alone.address())?;
        out.flush()?;
        signals.wait(&|| {}).end_at_once();
        alone.stop();
        Ok(Answer::Yes)
    }
}

impl Demo {
    pub(super) fn perform(self, out: &mut Out) -> Result<Answer, Trouble> {
        if let Some(Part::Application(command)) = self.part {
            return command.perform(out);
        }
        let own = self.directory.is_none();
        let usual = || std::env::temp_dir().join(format!("postern-demo-{}", std::process::id()));
        let dir = self.directory.unwrap_or_else(usual);
        let named = |preset: &&demo::Preset| Some(preset.name) == self.preset.as_deref();
        let preset = demo::PRESETS.iter().find(named);
        let options = Options { dir: &dir, listen: self.listen, operations: self.operations, preset };
        let signals =
            Signals::catch(Hangup::Ends).map_err(|fault| Trouble::Says(format!("signals: {fault}")))?;
        // Dropped after the demo has stopped, however this ends; what was there before is somebody else's.
        let passing = own.then(|| Passing(dir.clone()));
        let demo = match demo::Demo::start(options) {
            Err(fault @ StageFault::There(_)) => {
                std::mem::forget(passing);
                return Err(Trouble::of(fault));
            }
            started => started.map_err(Trouble::of)?,
        };
        let answer = if self.walk {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let good = runtime.block_on(demo.walk(out))?;
            writeln!(
                out,
                "{}",
                if good { "every step was what it must be" } else { "some steps were not (✗)" }
            )?;
            if good { Answer::Yes } else { Answer::No }
        } else {
            demo.print_tour(out)?;
            out.flush()?;
            signals.wait(&|| {}).end_at_once();
            Answer::Yes
        };
        demo.stop();
        Ok(answer)
    }
}

/// A folder that nobody asked to keep: it holds private keys.
struct Passing(PathBuf);

impl Drop for Passing {
    fn drop(&mut self) {
        if let Err(fault) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(folder = %self.0.display(), %fault, "the demo's folder stays behind");
        }
    }
}
