//! `postern run`: the gateway, from its configuration to its last outcome.
//!
//! Never here: in which order parts start and stop ([`crate::app`]).

use std::{fmt, io::Write as _, time::Duration};

use clap::{Args, ValueEnum};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::filter::LevelFilter;

use crate::app::{self, Extra, Gateway, Notify};

use super::{Answer, ConfigArg, Trouble, out::Out};

/// Runs the gateway. Prints `listening on http://ADDRESS` (`https` with `tls`) and `operations on http://ADDRESS` when clients may come
/// (a port 0 in the configuration becomes the one that the system chose). SIGTERM or SIGINT lets running requests end
/// for as long as `limits.drain` says; a second one does not wait for them. SIGHUP reads the configuration and every file
/// that it names again, and so does a change of any of these: what is right is in force at once and cuts no stream that it
/// still allows; what is wrong changes nothing and is logged with all its faults.
#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    config: ConfigArg,
    /// How often, in seconds, the files of the configuration are looked at; 0 leaves it to SIGHUP
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    watch: u16,
    #[command(flatten)]
    log: LogArgs,
}

/// What is told while things run, on standard error.
#[derive(Debug, Args)]
pub(super) struct LogArgs {
    /// The form of log lines
    #[arg(long = "log", value_name = "FORM", value_enum, default_value_t = Form::Text)]
    form: Form,
    /// What is not less important than this is logged
    #[arg(long = "log-level", value_name = "LEVEL", value_enum, default_value_t = Level::Info)]
    level: Level,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Level {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Form::Text => "text",
            Form::Json => "json",
        })
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Off => "off",
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        })
    }
}

impl LogArgs {
    /// Logs from now on. A process does this once; a second time changes nothing.
    pub(super) fn begin(&self) {
        let level = match self.level {
            Level::Off => LevelFilter::OFF,
            Level::Error => LevelFilter::ERROR,
            Level::Warn => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Debug => LevelFilter::DEBUG,
            Level::Trace => LevelFilter::TRACE,
        };
        // A log line that cannot be written must not take the gateway down.
        let lines = tracing_subscriber::fmt()
            .with_writer(std::io::stderr)
            .with_max_level(level)
            .log_internal_errors(false);
        let _ = match self.form {
            Form::Text => {
                tracing::subscriber::set_global_default(lines.with_ansi(super::out::fancy()).finish())
            }
            Form::Json => tracing::subscriber::set_global_default(
                lines.json().flatten_event(true).with_current_span(false).with_span_list(false).finish(),
            ),
        };
    }
}

impl Run {
    pub(super) fn perform(self, out: &mut Out) -> Result<Answer, Trouble> {
        let every = Duration::from_secs(self.watch.into());
        let (settings, warnings, watch) = app::load(&self.config.config, every).map_err(Box::new)?;
        super::warn(&warnings);
        self.log.begin();
        let variable = |name: &str| std::env::var(name).ok();
        let notify = Notify::to(variable("NOTIFY_SOCKET").as_deref());
        let passed = app::passed(std::process::id(), variable).map_err(Trouble::of)?;
        let signals =
            Signals::catch(Hangup::IsHeard).map_err(|fault| Trouble::Says(format!("signals: {fault}")))?;
        let extra = Extra { watch: (self.watch > 0).then_some(watch), passed, ..Extra::default() };
        let scheme = if settings.tls.is_some() { "https" } else { "http" };
        let gateway = Gateway::start(settings, extra).map_err(Trouble::of)?;
        writeln!(out, "listening on {scheme}://{}", gateway.address())?;
        writeln!(out, "operations on http://{}", gateway.operations())?;
        out.flush()?;
        notify.ready();
        let rest = signals.wait(&|| {
            notify.reloading();
            // What came of it is logged.
            notify.reloaded(gateway.reload().is_ok());
        });
        notify.stopping();
        tracing::info!("stopping; running requests may end");
        rest.end_at_once();
        gateway.stop();
        tracing::info!("stopped");
        Ok(Answer::Yes)
    }
}

/// The signals that end a gateway.
pub(super) struct Signals {
    runtime: tokio::runtime::Runtime,
    terminate: Signal,
    interrupt: Signal,
    /// Caught only where it does not end the gateway.
    hangup: Option<Signal>,
}

/// What a SIGHUP does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hangup {
    /// Ends the process, as where a terminal is closed.
    Ends,
    /// Is heard by whoever waits: it must not end a gateway without its running requests.
    IsHeard,
}

impl Signals {
    /// From here on they no longer end the process by themselves.
    pub(super) fn catch(on_hangup: Hangup) -> std::io::Result<Signals> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (terminate, interrupt, hangup) = {
            let _inside = runtime.enter();
            let hangup = match on_hangup {
                Hangup::IsHeard => Some(signal(SignalKind::hangup())?),
                Hangup::Ends => None,
            };
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?, hangup)
        };
        Ok(Signals { runtime, terminate, interrupt, hangup })
    }

    /// Waits for one that ends; at each SIGHUP before it, this is done.
    pub(super) fn wait(mut self, on_hangup: &dyn Fn()) -> Signals {
        let (terminate, interrupt, hangup) = (&mut self.terminate, &mut self.interrupt, &mut self.hangup);
        loop {
            let ends = self.runtime.block_on(async {
                let hung_up = async {
                    match hangup {
                        Some(hangup) => hangup.recv().await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    _ = terminate.recv() => true,
                    _ = interrupt.recv() => true,
                    _ = hung_up => false,
                }
            });
            if ends {
                return self;
            }
            // Outside of the runtime: it may block, and signals that come meanwhile are kept.
            on_hangup();
        }
    }

    /// The next one ends the process, whatever it does then: what that leaves open is settled by the next start.
    pub(super) fn end_at_once(self) {
        // Without a thread there is no second signal; the first is on its way.
        let _ = std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            drop(self.wait(&|| {}));
            std::process::exit(1);
        });
    }
}
