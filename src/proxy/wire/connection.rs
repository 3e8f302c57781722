//! The Connection header: what it says about the connection, and which headers it takes out of the message.
//!
//! Never here: removing them (that is `write`).

use super::fault::HeadFault;
use super::fields::Fields;
use super::known::{Known, KnownSet, canonical_eq};
use super::recognise::recognise;
use super::scan;

/// Options that name headers we do not know; more than a handful is no ordinary message.
const MOST_UNKNOWN: usize = 16;

/// What all Connection headers of one head say together.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Options {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
    unknown: usize,
}

impl Options {
    /// Adds one Connection header. Refuses an option that names a header the message or the gateway needs: taking it out
    /// would make what is forwarded other than what was decided on (law 10).
    pub(super) fn read(&mut self, value: &[u8]) -> Result<(), HeadFault> {
        if value.eq_ignore_ascii_case(b"keep-alive") {
            self.keep_alive = true;
            return Ok(());
        }
        for option in split(value) {
            let (len, odd) = scan::token(option);
            if len != option.len() {
                return Err(HeadFault::ConnectionInvalid);
            }
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
                continue;
            }
            match recognise(option, odd) {
                Known::KeepAlive if !odd => self.keep_alive = true,
                Known::Upgrade => self.upgrade = true,
                Known::Other => self.unknown += 1,
                known if KnownSet::NAMEABLE.contains(known) => {}
                _ => return Err(HeadFault::ConnectionNamesProtected),
            }
        }
        if self.unknown > MOST_UNKNOWN {
            return Err(HeadFault::ConnectionTooMany);
        }
        Ok(())
    }

    /// Marks the headers that the unknown options name. Known ones that may be named are hop-by-hop and removed anyway.
    pub(super) fn mark(self, fields: &mut Fields, bytes: &[u8]) {
        if self.unknown == 0 {
            return;
        }
        let lists: Vec<&[u8]> = fields
            .entries
            .iter()
            .filter(|entry| entry.known == Known::Connection)
            .map(|entry| entry.value(bytes))
            .collect();
        for entry in fields.entries.iter_mut().filter(|entry| entry.known == Known::Other) {
            let name = entry.name(bytes);
            if lists.iter().any(|list| split(list).any(|option| canonical_eq(option, name))) {
                entry.name_connection();
            }
        }
    }
}

/// The elements of a comma-separated list; empty ones do not count (RFC 9110, 5.6.1).
fn split(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&byte| byte == b',').map(scan::trim).filter(|element| !element.is_empty())
}
