//! Faults of a configuration: all of them, each with its place and what to do.
//!
//! Lives here: the collector that every part reports to, and the plain rendering. Never here: colours and frames (see
//! [`mod@super::render`]), when something is a fault.

use std::{
    cell::RefCell,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use super::code::Code;
use super::{veil::Veil, written::Place};

/// How many faults one report holds; what is more is only counted.
pub const MOST_FAULTS: usize = 200;

/// Whether a configuration with it may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It may not.
    Error,
    /// It may; somebody should look.
    Warning,
}

/// One fault, told in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFault {
    /// Its stable code.
    pub code: Code,
    /// Whether it is only a warning.
    pub severity: Severity,
    /// What is wrong: one line, lower case.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; 0 where the fault has no place in the text.
    pub line: usize,
    /// The column in characters, from 1; 0 where the fault has no place in the text.
    pub column: usize,
    /// The line as written, without its end, cut where it is very long.
    pub excerpt: String,
    pub(super) place: Place,
}

/// A warning has the form of a fault.
pub type Warning = ConfigFault;

impl ConfigFault {
    /// How many characters the caret spans: at least one.
    pub(super) fn width(&self, script: &Script) -> usize {
        let text = script.text.get(self.place.start()..self.place.end()).unwrap_or_default();
        text.lines().next().unwrap_or_default().chars().count().max(1)
    }
}

/// All faults of one configuration, in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFaults {
    faults: Vec<ConfigFault>,
    more: usize,
    pub(super) script: Script,
}

impl ConfigFaults {
    /// The faults, warnings among them, by their place in the text.
    pub fn faults(&self) -> &[ConfigFault] {
        &self.faults
    }

    /// How many there are beyond [`MOST_FAULTS`].
    pub fn more(&self) -> usize {
        self.more
    }
}

impl std::error::Error for ConfigFaults {}

impl fmt::Display for ConfigFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, fault) in self.faults.iter().enumerate() {
            if number > 0 {
                f.write_str("\n\n")?;
            }
            write_plain(f, fault, fault.width(&self.script))?;
        }
        if self.more > 0 {
            write!(f, "\n\nand {} more", self.more)?;
        }
        Ok(())
    }
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_plain(f, self, 1)
    }
}

fn write_plain(f: &mut fmt::Formatter<'_>, fault: &ConfigFault, width: usize) -> fmt::Result {
    let word = match fault.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    write!(f, "{}", fault.file.display())?;
    if fault.line > 0 {
        write!(f, ":{}:{}", fault.line, fault.column)?;
    }
    write!(f, ": {word}[{}]: {}", fault.code, fault.message)?;
    if !fault.excerpt.is_empty() {
        let number = fault.line.to_string();
        let before = fault.column.saturating_sub(1);
        // Tabs stay tabs, so that the caret stands below what it means.
        let pad: String =
            fault.excerpt.chars().take(before).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let room = fault.excerpt.chars().count().saturating_sub(before).max(1);
        write!(f, "\n  {number} | {}", fault.excerpt)?;
        write!(f, "\n  {:w$} | {pad}{}", "", "^".repeat(width.min(room)), w = number.len())?;
    }
    write!(f, "\n  hint: {}", fault.hint)
}

/// As much of a text as fits in a message.
pub(super) fn short(text: &str) -> String {
    let mut out: String = text.chars().take(60).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().count() > 60 {
        out.push('…');
    }
    out
}

/// The text that faults point into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Script {
    pub(super) file: PathBuf,
    pub(super) text: Arc<str>,
    starts: Vec<usize>,
}

/// The longest excerpt, in characters.
const LONGEST_EXCERPT: usize = 400;

impl Script {
    pub(super) fn new(file: &Path, text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1);
        Self {
            file: file.to_owned(),
            text: Arc::from(text),
            starts: std::iter::once(0).chain(ends).collect(),
        }
    }

    /// Forgets the text behind the line of this byte: it cannot be shown as it stands in the file.
    pub(super) fn limit(&mut self, byte: usize) {
        let mut end = byte.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        *self = Self::new(&self.file, self.text.get(..end).unwrap_or_default());
    }

    /// Line and column of a byte, both from 1.
    pub(super) fn line_column(&self, byte: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= byte).max(1);
        let start = self.starts.get(line - 1).copied().unwrap_or(0);
        let before = self.text.get(start..byte.min(self.text.len())).unwrap_or_default();
        (line, before.chars().count() + 1)
    }

    /// The byte at which a line and column, both from 1, stand.
    pub(super) fn byte(&self, line: usize, column: usize) -> usize {
        let Some(start) = line.checked_sub(1).and_then(|i| self.starts.get(i)) else {
            return self.text.len();
        };
        let rest = self.text.get(*start..).unwrap_or_default();
        let inside = rest.char_indices().nth(column.saturating_sub(1)).map_or(rest.len(), |(at, _)| at);
        start + inside
    }

    fn excerpt(&self, line: usize) -> String {
        let start = line.checked_sub(1).and_then(|i| self.starts.get(i)).copied().unwrap_or(0);
        let rest = self.text.get(start..).unwrap_or_default();
        let whole = rest.lines().next().unwrap_or_default();
        whole.chars().take(LONGEST_EXCERPT).collect()
    }
}

#[derive(Debug)]
struct Noted {
    code: Code,
    severity: Severity,
    place: Place,
    message: String,
    hint: String,
}

/// Collects faults while a configuration is read. Shared by reference, hence the cell.
#[derive(Debug)]
pub(super) struct Faults {
    noted: RefCell<Vec<Noted>>,
    veil: RefCell<Veil>,
}

impl Faults {
    pub(super) fn new() -> Self {
        Self { noted: RefCell::new(Vec::new()), veil: RefCell::new(Veil::default()) }
    }

    /// Says what of the text is never shown.
    pub(super) fn veil(&self, veil: Veil) {
        self.veil.replace(veil);
    }

    pub(super) fn put(&self, code: Code, place: Place, message: impl Into<String>, hint: impl Into<String>) {
        self.note(code, Severity::Error, place, message.into(), hint.into());
    }

    pub(super) fn warn(&self, code: Code, place: Place, message: impl Into<String>, hint: impl Into<String>) {
        self.note(code, Severity::Warning, place, message.into(), hint.into());
    }

    fn note(&self, code: Code, severity: Severity, place: Place, message: String, hint: String) {
        self.noted.borrow_mut().push(Noted { code, severity, place, message, hint });
    }

    /// Whether nothing but warnings was noted.
    pub(super) fn are_warnings(&self) -> bool {
        self.noted.borrow().iter().all(|noted| noted.severity == Severity::Warning)
    }

    /// How many were noted so far.
    pub(super) fn count(&self) -> usize {
        self.noted.borrow().len()
    }

    fn told(self, script: &Script) -> (Vec<ConfigFault>, usize, Script) {
        let veil = self.veil.into_inner();
        let shown = Script::new(&script.file, &veil.over(&script.text));
        let mut noted = self.noted.into_inner();
        noted.sort_by_key(|fault| fault.place.start());
        let more = noted.len().saturating_sub(MOST_FAULTS);
        noted.truncate(MOST_FAULTS);
        let told = noted.into_iter().map(|noted| {
            let (line, column) =
                if noted.place.is_nowhere() { (0, 0) } else { script.line_column(noted.place.start()) };
            ConfigFault {
                code: noted.code,
                severity: noted.severity,
                message: veil.message(noted.place, noted.message),
                hint: noted.hint,
                file: script.file.clone(),
                line,
                column,
                excerpt: if line == 0 || noted.code.hides_text() {
                    String::new()
                } else {
                    shown.excerpt(line)
                },
                place: noted.place,
            }
        });
        (told.collect(), more, shown)
    }

    pub(super) fn into_faults(self, script: &Script) -> ConfigFaults {
        let (faults, more, script) = self.told(script);
        ConfigFaults { faults, more, script }
    }

    pub(super) fn into_warnings(self, script: &Script) -> Vec<Warning> {
        self.told(script).0
    }
}
