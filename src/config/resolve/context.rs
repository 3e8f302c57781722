//! What every part of the resolution needs: the collector of faults, paths, secrets, and small checks of texts.
//!
//! Never here: what only one part needs.

use std::path::{Path, PathBuf};

use http::HeaderName;

use crate::{
    config::{
        fault::{Code, Faults, Script},
        source::{Origin, Secret, Source},
        suggest,
        written::{At, Duration, Field, KeyFrom, Place, Size},
    },
    model::{IdFault, Span},
};

pub(super) use crate::config::fault::short;

/// The largest file with a key.
pub(super) const MOST_KEY_BYTES: usize = 1 << 20;

/// Headers by which a connection or a message is run, and those that carry credentials: never identity, never set.
const RESERVED_HEADERS: &[&str] = &[
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "expect",
    "host",
    "keep-alive",
    "postern-session",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "www-authenticate",
];

#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) dir: &'a Path,
    pub(super) source: &'a dyn Source,
    pub(super) script: &'a Script,
    pub(super) faults: &'a Faults,
}

impl Context<'_> {
    pub(super) fn put(self, code: Code, place: Place, message: impl Into<String>, hint: impl Into<String>) {
        self.faults.put(code, place, message, hint);
    }

    pub(super) fn warn(self, code: Code, place: Place, message: impl Into<String>, hint: impl Into<String>) {
        self.faults.warn(code, place, message, hint);
    }

    /// The line of a place.
    pub(super) fn line(self, place: Place) -> usize {
        self.script.line_column(place.start()).0
    }

    /// Line and column of a place.
    pub(super) fn spot(self, place: Place) -> (usize, usize) {
        self.script.line_column(place.start())
    }

    /// A key that must be there.
    pub(super) fn need<'f, T>(
        self,
        field: &'f Field<T>,
        owner: Place,
        key: &str,
        hint: &str,
    ) -> Option<&'f At<T>> {
        if field.is_absent() {
            // What is missing has no place of its own: the caret marks where its mapping begins.
            let place = Place::at(owner.start(), 0);
            self.put(Code::MissingKey, place, format!("`{key}` is missing"), hint);
        }
        field.given()
    }

    /// The place of a part of a scalar, where it stands in the text as it is; else the whole scalar.
    pub(super) fn part(self, place: Place, part: &str) -> Place {
        let raw = self.script.text.get(place.start()..place.end()).unwrap_or_default();
        match raw.find(part) {
            Some(at) if !part.is_empty() => place.within(at, part.len()),
            _ => place,
        }
    }

    /// An identifier of the model.
    pub(super) fn id<T>(
        self,
        at: &At<String>,
        make: fn(&str) -> Result<T, IdFault>,
        what: &str,
    ) -> Option<T> {
        make(&at.value)
            .map_err(|fault| {
                let message = format!("`{}` is no {what}: it {fault}", short(&at.value));
                self.put(Code::BadValue, at.place, message, "rename it; nothing is trimmed or folded");
            })
            .ok()
    }

    /// A name that is not among those that there are.
    pub(super) fn unknown<'n>(
        self,
        code: Code,
        at: &At<String>,
        what: &str,
        known: impl IntoIterator<Item = &'n str> + Clone,
    ) {
        let message = format!("there is no {what} `{}`", short(&at.value));
        self.put(code, at.place, message, suggest::hint(&at.value, known, &format!("{what}s")));
    }

    /// A name that stood before.
    pub(super) fn twice(self, place: Place, what: &str, name: &str, first: Place) {
        let line = self.line(first);
        let message = format!("the {what} `{}` is declared twice, first in line {line}", short(name));
        self.put(Code::DuplicateName, place, message, "keep one of them, or give one another name");
    }

    /// Visible ASCII of bounded length, as names go into records, headers and tokens.
    pub(super) fn visible(self, at: &At<String>, what: &str, most: usize) -> Option<String> {
        let sound = !at.value.is_empty()
            && at.value.len() <= most
            && at.value.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\'));
        if sound {
            return Some(at.value.clone());
        }
        self.put(
            Code::BadValue,
            at.place,
            format!("`{}` cannot be {what}", short(&at.value)),
            format!("use 1 to {most} visible ASCII characters without spaces, quotes and backslashes"),
        );
        None
    }

    /// A path: as written, variables filled in, or below the directory of the configuration file.
    pub(super) fn path(self, at: &At<String>) -> Option<PathBuf> {
        let at = self.filled(at)?;
        if at.value.is_empty() || at.value.contains('\0') {
            self.put(Code::BadValue, at.place, "this is no path", "name a file or directory");
            return None;
        }
        Some(self.dir.join(&at.value))
    }

    /// The bytes of a file at a place.
    pub(super) fn read(self, at: &At<String>, what: &str) -> Option<(PathBuf, zeroize::Zeroizing<Vec<u8>>)> {
        let path = self.path(at)?;
        match self.source.read_file(&path, MOST_KEY_BYTES) {
            Ok(bytes) => Some((path, bytes)),
            Err(fault) => {
                self.put(
                    Code::SecretUnreadable,
                    at.place,
                    // What is written here may be the key itself, put in the wrong place.
                    format!("{what} cannot be read from the file that is named here: {fault}"),
                    "create the file, or correct its path; relative paths start at the configuration file",
                );
                None
            }
        }
    }

    /// A key from a file or a variable.
    pub(super) fn secret(self, field: &Field<KeyFrom>, owner: Place, what: &str) -> Option<Secret> {
        let at =
            self.need(field, owner, "key", "name where the key is: `key: { file: … }` or `key: { env: … }`")?;
        self.secret_at(at, what)
    }

    /// The same, where the key of the configuration is there.
    pub(super) fn secret_at(self, at: &At<KeyFrom>, what: &str) -> Option<Secret> {
        let given = [&at.value.file, &at.value.env].into_iter().filter(|f| !f.is_absent()).count();
        if given != 1 {
            self.put(
                Code::OneOf,
                at.place,
                format!("{what} needs exactly one of `file` and `env`, {given} are given"),
                "keep one of them",
            );
            return None;
        }
        let secret = match (at.value.file.given(), at.value.env.given()) {
            (Some(file), _) => {
                let (path, bytes) = self.read(file, what)?;
                (file.place, Secret::new(Origin::File(path), bytes))
            }
            (None, Some(name)) => match self.source.env(&name.value) {
                Ok(text) => {
                    let bytes = zeroize::Zeroizing::new(text.as_bytes().to_vec());
                    (name.place, Secret::new(Origin::Env(name.value.clone()), bytes))
                }
                Err(fault) => {
                    self.put(
                        Code::SecretUnreadable,
                        name.place,
                        format!("{what} cannot be read from the variable that is named here: {fault}"),
                        "set the variable for the gateway's process",
                    );
                    return None;
                }
            },
            (None, None) => return None,
        };
        if secret.1.expose().iter().all(u8::is_ascii_whitespace) {
            self.put(Code::SecretUnreadable, secret.0, format!("{what} is empty"), "put the key there");
            return None;
        }
        Some(secret.1)
    }

    /// A header that may carry identity.
    pub(super) fn header(self, place: Place, name: &str) -> Option<HeaderName> {
        let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
            self.put(
                Code::BadHeader,
                place,
                format!("`{}` is no name of a header", short(name)),
                "use letters, digits and `-`, as in `X-User`",
            );
            return None;
        };
        if RESERVED_HEADERS.contains(&folded(&header).as_str()) {
            self.put(
                Code::BadHeader,
                place,
                format!("the header `{header}` cannot be used for this"),
                "take a header of the application's own; this one runs the connection, the message or the login",
            );
            return None;
        }
        Some(header)
    }

    /// A duration within bounds, or the default, in milliseconds.
    pub(super) fn duration(self, field: &Field<Duration>, default: i64, least: i64, most: i64) -> i64 {
        let Some(at) = field.given() else { return default };
        let ms = at.value.0;
        if ms < least || ms > most {
            let message = format!("{} is out of bounds", Span::Millis(ms));
            self.put(
                Code::OutOfRange,
                at.place,
                message,
                format!("use {} to {}", Span::Millis(least), Span::Millis(most)),
            );
        }
        ms
    }

    /// A number within bounds, or the default.
    pub(super) fn count(self, field: &Field<u64>, default: u64, least: u64, most: u64) -> u64 {
        let Some(at) = field.given() else { return default };
        self.bounded(at.place, at.value, least, most)
    }

    /// A size within bounds, or the default, in bytes.
    pub(super) fn size(self, field: &Field<Size>, default: u64, least: u64, most: u64) -> u64 {
        let Some(at) = field.given() else { return default };
        self.bounded(at.place, at.value.0, least, most)
    }

    fn bounded(self, place: Place, value: u64, least: u64, most: u64) -> u64 {
        if value < least || value > most {
            let message = format!("{value} is out of bounds");
            self.put(Code::OutOfRange, place, message, format!("use {least} to {most}"));
        }
        value
    }
}

/// A header's name as a careless application compares it.
pub(super) fn folded(header: &HeaderName) -> String {
    header.as_str().replace('_', "-")
}
