//! Faults of a configuration: all of them, each with its place and what to do.
//!
//! Lives here: the closed list of codes, the collector that every part reports to, and the plain rendering. Never
//! here: colours and frames (see [`super::render`]), when something is a fault.

use std::{
    cell::RefCell,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::written::Place;

/// How many faults one report holds; what is more is only counted.
pub const MOST_FAULTS: usize = 200;

/// What kind of fault it is: a closed list of stable names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// The file cannot be read, or is too large.
    Unreadable,
    /// The file is no UTF-8.
    NotUtf8,
    /// The text is no YAML that is read here.
    Syntax,
    /// The text is too deep, too long or repeats itself too often.
    TooMuch,
    /// A key stands twice in one mapping.
    DuplicateKey,
    /// A key that nothing is known of.
    UnknownKey,
    /// A key that must be there.
    MissingKey,
    /// A key without a value.
    EmptyValue,
    /// A list where a text belongs, and the like.
    WrongType,
    /// A value that does not have the form it must have.
    BadValue,
    /// A value that is none of the words that are understood.
    UnknownWord,
    /// A number, size or duration outside of its bounds.
    OutOfRange,
    /// Keys of which exactly one must be given.
    OneOf,
    /// A name that stands twice.
    DuplicateName,
    /// A permission that the catalogue does not have.
    UnknownPermission,
    /// A role that is not declared.
    UnknownRole,
    /// A consent level that is not on the ladder.
    UnknownLevel,
    /// An upstream that is not declared.
    UnknownUpstream,
    /// An environment that is not declared.
    UnknownEnvironment,
    /// A parent that is not declared.
    UnknownTenant,
    /// A time zone that this build does not know.
    UnknownZone,
    /// A pattern that covers no permission.
    PatternCoversNothing,
    /// A name that belongs to Postern itself.
    ReservedName,
    /// The lowest level of the ladder gives a role.
    LowestLevelHasRole,
    /// A higher level of the ladder gives none.
    LevelWithoutRole,
    /// A level allows less than the one below.
    LadderNotMonotone,
    /// The ceiling leaves nothing of a level.
    LevelEmptied,
    /// A tenant stands before its parent.
    ParentAfterChild,
    /// Tenants that are each other's parents.
    ParentCycle,
    /// A chain of parents longer than is followed.
    ParentsTooDeep,
    /// An algorithm that this version does not know.
    UnknownAlgorithm,
    /// An algorithm for which no key is there, or a key for which no algorithm is there.
    AlgorithmWithoutKey,
    /// A key set that cannot be used.
    BadKeys,
    /// A private key where a public one belongs.
    PrivateKey,
    /// A setting of `dangerous` away from loopback, or something that needs one.
    Dangerous,
    /// Something that is not encrypted is reachable from elsewhere.
    NotLoopback,
    /// Two listeners on one address.
    SameAddress,
    /// A file or variable that holds a secret or a key cannot be read.
    SecretUnreadable,
    /// A header that cannot be used for this.
    BadHeader,
    /// An upstream's address that cannot be used.
    BadUrl,
    /// A route's methods or template cannot be read.
    BadRoute,
    /// A route below the reserved prefix.
    ReservedPath,
    /// Two routes own the same request.
    RouteConflict,
    /// A parameter that the template does not have.
    MissingParameter,
    /// A map without routes.
    NoRoutes,
    /// Staff have no way to name a tenant or an environment.
    NoWayIn,
    /// Something that is declared and not used.
    Unused,
}

impl Code {
    /// Its stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Code::Unreadable => "unreadable",
            Code::NotUtf8 => "not_utf8",
            Code::Syntax => "syntax",
            Code::TooMuch => "too_much",
            Code::DuplicateKey => "duplicate_key",
            Code::UnknownKey => "unknown_key",
            Code::MissingKey => "missing_key",
            Code::EmptyValue => "empty_value",
            Code::WrongType => "wrong_type",
            Code::BadValue => "bad_value",
            Code::UnknownWord => "unknown_word",
            Code::OutOfRange => "out_of_range",
            Code::OneOf => "one_of",
            Code::DuplicateName => "duplicate_name",
            Code::UnknownPermission => "unknown_permission",
            Code::UnknownRole => "unknown_role",
            Code::UnknownLevel => "unknown_level",
            Code::UnknownUpstream => "unknown_upstream",
            Code::UnknownEnvironment => "unknown_environment",
            Code::UnknownTenant => "unknown_tenant",
            Code::UnknownZone => "unknown_zone",
            Code::PatternCoversNothing => "pattern_covers_nothing",
            Code::ReservedName => "reserved_name",
            Code::LowestLevelHasRole => "lowest_level_has_role",
            Code::LevelWithoutRole => "level_without_role",
            Code::LadderNotMonotone => "ladder_not_monotone",
            Code::LevelEmptied => "level_emptied",
            Code::ParentAfterChild => "parent_after_child",
            Code::ParentCycle => "parent_cycle",
            Code::ParentsTooDeep => "parents_too_deep",
            Code::UnknownAlgorithm => "unknown_algorithm",
            Code::AlgorithmWithoutKey => "algorithm_without_key",
            Code::BadKeys => "bad_keys",
            Code::PrivateKey => "private_key",
            Code::Dangerous => "dangerous",
            Code::NotLoopback => "not_loopback",
            Code::SameAddress => "same_address",
            Code::SecretUnreadable => "secret_unreadable",
            Code::BadHeader => "bad_header",
            Code::BadUrl => "bad_url",
            Code::BadRoute => "bad_route",
            Code::ReservedPath => "reserved_path",
            Code::RouteConflict => "route_conflict",
            Code::MissingParameter => "missing_parameter",
            Code::NoRoutes => "no_routes",
            Code::NoWayIn => "no_way_in",
            Code::Unused => "unused",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

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
    if fault.line > 0 {
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
pub(super) struct Faults(RefCell<Vec<Noted>>);

impl Faults {
    pub(super) fn new() -> Self {
        Self(RefCell::new(Vec::new()))
    }

    pub(super) fn put(&self, code: Code, place: Place, message: impl Into<String>, hint: impl Into<String>) {
        self.note(code, Severity::Error, place, message.into(), hint.into());
    }

    pub(super) fn warn(&self, code: Code, place: Place, message: impl Into<String>, hint: impl Into<String>) {
        self.note(code, Severity::Warning, place, message.into(), hint.into());
    }

    fn note(&self, code: Code, severity: Severity, place: Place, message: String, hint: String) {
        self.0.borrow_mut().push(Noted { code, severity, place, message, hint });
    }

    /// Whether nothing but warnings was noted.
    pub(super) fn are_warnings(&self) -> bool {
        self.0.borrow().iter().all(|noted| noted.severity == Severity::Warning)
    }

    /// How many were noted so far.
    pub(super) fn count(&self) -> usize {
        self.0.borrow().len()
    }

    fn told(self, script: &Script) -> (Vec<ConfigFault>, usize) {
        let mut noted = self.0.into_inner();
        noted.sort_by_key(|fault| fault.place.start());
        let more = noted.len().saturating_sub(MOST_FAULTS);
        noted.truncate(MOST_FAULTS);
        let told = noted.into_iter().map(|noted| {
            let (line, column) =
                if noted.place.is_nowhere() { (0, 0) } else { script.line_column(noted.place.start()) };
            ConfigFault {
                code: noted.code,
                severity: noted.severity,
                message: noted.message,
                hint: noted.hint,
                file: script.file.clone(),
                line,
                column,
                excerpt: if line == 0 { String::new() } else { script.excerpt(line) },
                place: noted.place,
            }
        });
        (told.collect(), more)
    }

    pub(super) fn into_faults(self, script: &Script) -> ConfigFaults {
        let (faults, more) = self.told(script);
        ConfigFaults { faults, more, script: script.clone() }
    }

    pub(super) fn into_warnings(self, script: &Script) -> Vec<Warning> {
        self.told(script).0
    }
}
