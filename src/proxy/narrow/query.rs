//! The query of a request whose answer the application narrows: parameters of the gateway's own, and behind them what the client
//! asked for.
//!
//! Which of two parameters counts, where one ends, and which spellings of a name are the same one: readers of queries differ in all
//! of that, and nobody knows which of them the application is. So the client may send nothing that any of them could take for ours:
//! whatever comes near to it is refused. Ours come first, since readers stop after so many.
//!
//! Never here: what the parameters are (see [`assertion`](crate::proxy)), or whether they are needed.

use std::borrow::Cow;

use crate::policy::parameter::Stem;

/// How often what a client sends may be escaped over and over.
const MOST_ESCAPES: usize = 8;

/// Why a request cannot ask the application to narrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum QueryFault {
    /// It could be taken for a parameter that the gateway sets.
    #[error("the query has a parameter that is the gateway's to set here; leave it out")]
    Taken,
    /// Readers differ in what it says.
    #[error(
        "the query can be read in two ways; write names in ASCII, `%` with two digits, UTF-8, and `%3B` for `;`"
    )]
    Unclear,
    /// The caller has no such value, or one that could be read as several.
    #[error("what you are called cannot stand in the query by which the application is asked for your part")]
    Value,
}

impl QueryFault {
    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            QueryFault::Taken => "narrow_parameter_sent",
            QueryFault::Unclear => "narrow_query_unclear",
            QueryFault::Value => "narrow_value_unfit",
        }
    }
}

/// Whether this can stand in a parameter as one value. What an application could split, or take for a pattern, cannot.
#[must_use]
pub fn is_value(text: &str) -> bool {
    let split = |c: char| c.is_control() || c.is_whitespace() || ",;*%&'\"\\`".contains(c);
    !text.is_empty() && !text.contains(split)
}

/// Writes the query: these parameters, percent-encoded, and behind them what the client sent (without its `?`). What the client sent
/// word for word as it is written here is taken for what it is, a link of the application's that was followed, and not repeated.
///
/// # Errors
/// [`QueryFault`] where the client sent anything that could be taken for one of ours.
pub fn written(client: &str, own: &[(&str, String)]) -> Result<String, QueryFault> {
    let mut query = String::new();
    for (name, value) in own {
        if !query.is_empty() {
            query.push('&');
        }
        escape(&mut query, name);
        query.push('=');
        escape(&mut query, value);
    }
    if client.contains(';') {
        return Err(QueryFault::Unclear);
    }
    let same = |part: &&str| own.iter().any(|(name, value)| says(part, name, value));
    let rest: Vec<&str> = client.split('&').filter(|part| !same(part)).collect();
    let rest = rest.join("&");
    let stems: Vec<Stem> = own.iter().map(|(name, _)| Stem::of(name)).collect();
    look(&rest, &stems)?;
    if !rest.is_empty() {
        query.push('&');
        query.push_str(&rest);
    }
    Ok(query)
}

/// Whether this is that parameter and value, by its only spelling of the name.
fn says(part: &str, name: &str, value: &str) -> bool {
    let Some((said, told)) = part.split_once('=') else { return false };
    let mut escaped = String::new();
    escape(&mut escaped, name);
    (said == name || said == escaped) && decoded(told.as_bytes(), true).as_deref() == Some(value.as_bytes())
}

/// Looks at what the client sent as each reader does, and at what it holds once it is decoded too often.
fn look(rest: &str, stems: &[Stem]) -> Result<(), QueryFault> {
    for part in rest.split('&') {
        let whole = decoded(part.as_bytes(), true).ok_or(QueryFault::Unclear)?;
        if std::str::from_utf8(&whole).is_err() || whole.contains(&0) {
            return Err(QueryFault::Unclear);
        }
        let name = part.split_once('=').map_or(part, |(name, _)| name);
        let name = decoded(name.as_bytes(), true).ok_or(QueryFault::Unclear)?;
        if !name.iter().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(QueryFault::Unclear);
        }
    }
    let mut text = Cow::Borrowed(rest.as_bytes());
    for _ in 0..MOST_ESCAPES {
        let parts = text.split(|byte| matches!(byte, b'&' | b';' | b'?'));
        let mut names = parts.filter_map(|part| part.split(|byte| *byte == b'=').next());
        if names.any(|name| stems.iter().any(|stem| stem.is_in(name))) {
            return Err(QueryFault::Taken);
        }
        match decoded(&text, false) {
            Some(Cow::Owned(next)) => text = Cow::Owned(next),
            Some(Cow::Borrowed(_)) | None => return Ok(()),
        }
    }
    Err(QueryFault::Unclear)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Takes one layer of escapes off; borrowed where there is none. `None`: strictly, there is a `%` that is no escape.
fn decoded(text: &[u8], strictly: bool) -> Option<Cow<'_, [u8]>> {
    if !text.contains(&b'%') {
        return Some(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, behind @ ..] = rest {
        rest = behind;
        let escaped = match (byte, behind) {
            (b'%', [high, low, behind @ ..]) => {
                hex(*high).zip(hex(*low)).map(|(high, low)| (high << 4 | low, behind))
            }
            _ => None,
        };
        match escaped {
            Some((byte, behind)) => {
                out.push(byte);
                rest = behind;
            }
            None if *byte == b'%' && strictly => return None,
            None => out.push(*byte),
        }
    }
    if out.len() == text.len() { Some(Cow::Borrowed(text)) } else { Some(Cow::Owned(out)) }
}

/// Everything that is not unreserved (RFC 3986, 2.3) is escaped, in capitals.
fn escape(out: &mut String, text: &str) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |value: u8| char::from(DIGITS.get(usize::from(value)).copied().unwrap_or(b'0'));
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

#[cfg(test)]
mod tests;
