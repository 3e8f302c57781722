//! The command line: words in, other rooms' work, text out.
//!
//! One file for each command. Results go to standard output, everything about them to standard error; a reader that
//! goes away is no fault. The clock is the composition root's ([`crate::app::clock`]).
//!
//! Never here: a rule, a default of the configuration, anything that another door needs too.

mod audit;
mod break_glass;
mod check;
mod demo;
mod emergency_token;
mod explain;
mod grid;
mod keyfile;
mod narrowing;
mod out;
mod rehearse;
mod routes;
mod run;
mod state;
mod token;

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};

use crate::{
    config::{self, ConfigFaults, Disk, Look, Settings, Warning},
    engine::Clock as _,
    model::Timestamp,
};

use out::{Out, say};

/// What every help ends with.
const EXIT: &str = "\
Exit status:
  0  done; what was asked holds
  1  it does not hold (a fault in the configuration, a token refused, a ledger that does not verify),
     or it could not be done; standard error says why
  2  the command line itself cannot be read";

/// Lets a vendor's support staff in only as far as the tenant consented, only for as long, and never without a record.
#[derive(Debug, Parser)]
#[command(name = "postern", version, arg_required_else_help = true, after_help = EXIT)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway until SIGTERM or SIGINT
    #[command(after_help = EXIT)]
    Run(run::Run),
    /// Check a configuration and say what it means
    #[command(after_help = EXIT)]
    Check(check::Check),
    /// Say what would be decided about a request, and why; needs no running gateway
    #[command(after_help = EXIT)]
    Explain(explain::Explain),
    /// A route map from an OpenAPI document, and what of one a map does not own
    #[command(subcommand, after_help = EXIT)]
    Routes(routes::Routes),
    /// Signing keys and tokens, to try things out
    #[command(subcommand, after_help = EXIT)]
    Token(token::Token),
    /// Keys of a ledger; verify and read one
    #[command(subcommand, after_help = EXIT)]
    Audit(audit::Audit),
    /// The store of consent, grants and sessions
    #[command(subcommand, after_help = EXIT)]
    State(state::State),
    /// Enter a tenant in an emergency, by a gateway that runs
    #[command(after_help = EXIT)]
    BreakGlass(Box<break_glass::BreakGlass>),
    /// A sample application behind the gateway, and a tour
    #[command(after_help = EXIT)]
    Demo(demo::Demo),
}

/// The configuration that a command works on.
#[derive(Debug, Args)]
struct ConfigArg {
    /// The configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// How a command that could do its work came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// What was asked holds.
    Yes,
    /// It does not. What is wrong was said.
    No,
}

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    /// The configuration is not right.
    #[error("{0}")]
    Config(#[from] Box<ConfigFaults>),
    /// Anything else, ready to be said.
    #[error("{0}")]
    Says(String),
    /// Standard output is broken (not: gone).
    #[error("standard output: {0}")]
    Output(#[from] std::io::Error),
}

impl Trouble {
    fn of(fault: impl std::fmt::Display) -> Trouble {
        Trouble::Says(fault.to_string())
    }

    /// About one file.
    fn at(path: &Path, fault: impl std::fmt::Display) -> Trouble {
        Trouble::Says(format!("`{}`: {fault}", path.display()))
    }
}

/// Reads the command line, does what it says, and answers with the exit status.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(fault) => {
            // Help is no fault: its status is 0. Where it cannot be printed there is nobody to tell.
            let _ = fault.print();
            return ExitCode::from(u8::try_from(fault.exit_code()).unwrap_or(2));
        }
    };
    let mut out = Out::stdout();
    let done = cli.command.perform(&mut out).and_then(|answer| {
        out.flush()?;
        Ok(answer)
    });
    match done {
        Ok(Answer::Yes) => ExitCode::SUCCESS,
        Ok(Answer::No) => ExitCode::from(1),
        Err(trouble) => {
            // What was printed so far comes before the reason why there is no more.
            let _ = out.flush();
            match &trouble {
                Trouble::Config(faults) => say(&draw(faults)),
                Trouble::Says(_) | Trouble::Output(_) => say(&format!("error: {trouble}")),
            }
            ExitCode::from(1)
        }
    }
}

impl Command {
    fn perform(self, out: &mut Out) -> Result<Answer, Trouble> {
        match self {
            Command::Run(command) => command.perform(out),
            Command::Check(command) => command.perform(out),
            Command::Explain(command) => command.perform(out),
            Command::Routes(command) => command.perform(out),
            Command::Token(command) => command.perform(out),
            Command::Audit(command) => command.perform(out),
            Command::State(command) => command.perform(out),
            Command::BreakGlass(command) => command.perform(out),
            Command::Demo(command) => command.perform(out),
        }
    }
}

impl ConfigArg {
    /// Reads it; warnings are said.
    fn load(&self) -> Result<Settings, Trouble> {
        let (settings, warnings) = config::load(&self.config, &Disk).map_err(Box::new)?;
        warn(&warnings);
        Ok(settings)
    }
}

fn warn(warnings: &[Warning]) {
    for warning in warnings {
        say(&format!("{warning}\n"));
    }
}

/// Faults as people like them on a terminal, and as programs like them elsewhere.
fn draw(faults: &ConfigFaults) -> String {
    if out::fancy() {
        config::render(faults, Look { fancy: true, width: out::width() })
    } else {
        faults.to_string()
    }
}

/// Now, by the one clock.
fn now() -> Timestamp {
    crate::app::clock::SystemClock::default().now()
}
