//! Variables of the environment inside of names, addresses and paths: `${POD_NAME}`, so that the gateways of a fleet share one file.
//!
//! A value is filled after the file was read, so nothing that a variable holds is ever taken for YAML.
//!
//! Never here: secrets, which name their variable whole (`env`); which values are filled.

use super::context::Context;
use crate::config::{
    fault::Code,
    written::{At, Place},
};

const OPEN: &str = "${";
const HINT: &str =
    "write `${NAME}` with letters, digits and `_`, and set the variable for the gateway's process";

impl Context<'_> {
    /// The text with what the variables hold that it names; `None` where one cannot be had, and that is told.
    pub(super) fn filled(self, at: &At<String>) -> Option<At<String>> {
        if !at.value.contains(OPEN) {
            return Some(at.clone());
        }
        let mut out = String::new();
        let mut rest = at.value.as_str();
        while let Some((before, behind)) = rest.split_once(OPEN) {
            out.push_str(before);
            let Some((name, after)) = behind.split_once('}').filter(|(name, _)| named(name)) else {
                // What stands there may be anything, so it is not repeated.
                self.put(Code::BadVariable, at.place, "`${` begins no name of a variable here", HINT);
                return None;
            };
            out.push_str(&self.variable(at.place, name)?);
            rest = after;
        }
        out.push_str(rest);
        Some(At { value: out, place: at.place })
    }

    fn variable(self, place: Place, name: &str) -> Option<String> {
        let place = self.part(place, &format!("{OPEN}{name}}}"));
        let wrong = |what: String| {
            self.put(Code::BadVariable, place, format!("the variable `{name}` {what}"), HINT);
            None
        };
        match self.source.env(name) {
            Ok(value) if value.is_empty() => wrong("is empty".to_owned()),
            Ok(value) => Some(String::clone(&value)),
            Err(fault) => wrong(format!("cannot be used: {fault}")),
        }
    }
}

/// Whether this is how a variable is called.
fn named(name: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphabetic() || b == b'_';
    name.len() <= 100
        && name.bytes().next().is_some_and(letter)
        && name.bytes().all(|b| letter(b) || b.is_ascii_digit())
}
