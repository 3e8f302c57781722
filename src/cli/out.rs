//! Where text goes: results to standard output, what is to be said about them to standard error.
//!
//! A reader that closes its end (`postern audit query … | head`) is no fault: what it would not read is dropped, and
//! the exit status still says how things are. Any other failure of standard output is one.
//!
//! Never here: what is said.

use std::io::{self, BufWriter, IsTerminal as _, Write};

/// Without what a terminal would obey: records, and requests to be explained, hold what others sent.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Standard output.
pub(super) struct Out {
    inner: BufWriter<io::Stdout>,
    gone: bool,
}

impl Out {
    pub(super) fn stdout() -> Out {
        Out { inner: BufWriter::with_capacity(1 << 16, io::stdout()), gone: false }
    }

    /// Whether nobody reads any more; whoever writes much can stop.
    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    fn unless_gone<T>(&mut self, done: io::Result<T>, instead: T) -> io::Result<T> {
        match done {
            Err(fault) if fault.kind() == io::ErrorKind::BrokenPipe => {
                self.gone = true;
                Ok(instead)
            }
            done => done,
        }
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.gone {
            return Ok(bytes.len());
        }
        let done = self.inner.write(bytes);
        self.unless_gone(done, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.gone {
            return Ok(());
        }
        let done = self.inner.flush();
        self.unless_gone(done, ())
    }
}

/// Says something about the work on standard error. If nobody listens there, nobody is told.
pub(super) fn say(text: &str) {
    let mut text = text.trim_end().to_owned();
    text.push('\n');
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Whether standard error is a terminal that wants colours (see <https://no-color.org>).
pub(super) fn fancy() -> bool {
    let refuses = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal()
        && !refuses("NO_COLOR")
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// How wide lines may be.
pub(super) fn width() -> usize {
    let said = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    said.unwrap_or(100).clamp(60, 200)
}
