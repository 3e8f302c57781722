//! The configuration: what was written, and what it means.
//!
//! Lives here: a strict mirror of the file ([`written`]), its meaning ([`resolve`]: [`Settings`], checked across all
//! fields, secrets read, paths absolute), the faults with file, line and column, the published JSON Schema.
//!
//! Never here: a rule about who may do what (that is [`crate::policy`]), a default that another room could see without
//! it being in [`Settings`], a file or variable read in any other way than through the [`Source`] handed in.

mod code;
mod fault;
mod render;
pub mod resolve;
mod schema;
mod source;
mod suggest;
mod veil;
pub mod written;

use std::path::Path;

pub use fault::{Code, ConfigFault, ConfigFaults, MOST_FAULTS, Severity, Warning};
pub use render::{Look, render};
pub use resolve::Settings;
pub use schema::{SCHEMA_FILE, schema};
pub use source::{Disk, Secret, Source, SourceFault};

use fault::{Faults, Script};

/// The largest configuration file, in bytes.
pub const MAX_FILE: usize = 8 << 20;

/// Reads and checks a configuration.
///
/// Relative paths inside of it are relative to the directory of the file.
///
/// # Errors
/// All faults at once. Where the text is no YAML, only the first: nothing behind it can be trusted.
pub fn load(path: &Path, source: &dyn Source) -> Result<(Settings, Vec<Warning>), ConfigFaults> {
    let bytes = match source.read_file(path, MAX_FILE) {
        Ok(bytes) => bytes,
        Err(fault) => return Err(unreadable(path, &fault)),
    };
    load_bytes(path, &bytes, source)
}

/// Like [`load`]; beside faults what could be made out in spite of them, so that whoever looks at it tells more of what is
/// wrong at once. Nothing is run from that.
///
/// # Errors
/// As [`load`].
#[expect(clippy::type_complexity, reason = "two plain pairs")]
pub fn load_whole(
    path: &Path,
    source: &dyn Source,
) -> Result<(Settings, Vec<Warning>), (Box<ConfigFaults>, Option<Box<Settings>>)> {
    match source.read_file(path, MAX_FILE) {
        Ok(bytes) => read_bytes(path, &bytes, source),
        Err(fault) => Err((Box::new(unreadable(path, &fault)), None)),
    }
}

/// Like [`load`], for a text at hand; `path` is its name in faults and the base of relative paths.
///
/// # Errors
/// As [`load`].
pub fn load_bytes(
    path: &Path,
    bytes: &[u8],
    source: &dyn Source,
) -> Result<(Settings, Vec<Warning>), ConfigFaults> {
    read_bytes(path, bytes, source).map_err(|(faults, _)| *faults)
}

#[expect(clippy::type_complexity, reason = "two plain pairs")]
fn read_bytes(
    path: &Path,
    bytes: &[u8],
    source: &dyn Source,
) -> Result<(Settings, Vec<Warning>), (Box<ConfigFaults>, Option<Box<Settings>>)> {
    let alone = |faults: ConfigFaults| (Box::new(faults), None);
    if bytes.len() > MAX_FILE {
        return Err(alone(unreadable(path, &SourceFault::TooLarge(MAX_FILE))));
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(broken) => {
            let sound = bytes.get(..broken.valid_up_to()).unwrap_or_default();
            let mut script = Script::new(path, &String::from_utf8_lossy(bytes));
            script.limit(sound.len());
            let faults = Faults::new();
            faults.put(
                Code::NotUtf8,
                written::Place::at(sound.len(), 0),
                "a byte here is no UTF-8",
                "save the file as UTF-8",
            );
            return Err(alone(faults.into_faults(&script)));
        }
    };
    let script = Script::new(path, text);
    let faults = Faults::new();
    let Some(said) = written::read(text, &faults, |line, column| script.byte(line, column)) else {
        return Err(alone(faults.into_faults(&script)));
    };
    match resolve::resolve(path, &said, source, &script, &faults) {
        Some(settings) if faults.are_warnings() => Ok((settings, faults.into_warnings(&script))),
        settings => Err((Box::new(faults.into_faults(&script)), settings.map(Box::new))),
    }
}

fn unreadable(path: &Path, fault: &SourceFault) -> ConfigFaults {
    let faults = Faults::new();
    faults.put(
        Code::Unreadable,
        written::Place::default(),
        format!("the configuration file cannot be read: {fault}"),
        "name a readable file with `--config`",
    );
    faults.into_faults(&Script::new(path, ""))
}
