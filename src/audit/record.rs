//! One line of a ledger: how it is written and how it is read back, byte for byte.
//!
//! The leading members have one order and one spelling, so they are read without a JSON parser; the whole line is
//! then checked to be JSON. Never here: files, the tree, whether lines fit together.

use super::tree::{Hash, leaf_hash};

/// The version of the format, the first member of each line.
pub const VERSION: u64 = 1;
/// The kind of a segment's first record.
pub const SEGMENT: &str = "segment";
/// Where the leaf of a line ends, if personal values follow it.
pub const OPEN: &str = ",\"open\":";
/// The last instant that a record can bear: the end of the year 9999.
pub const MAX_MS: i64 = 253_402_300_799_999;

/// The members that every record begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lead<'a> {
    /// The log's name.
    pub log: &'a str,
    /// The record's place in the log: its leaf index.
    pub seq: u64,
    /// The `seq` of the first record that was made durable in the same write and flush.
    pub batch: u64,
    /// Milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// What kind of event it is.
    pub kind: &'a str,
    /// The session that it belongs to, and its place among that session's records in this log, from 1.
    pub session: Option<(&'a str, u64)>,
    /// The intent that this record opens.
    pub opens: Option<&'a str>,
    /// The intent that this record closes.
    pub closes: Option<&'a str>,
    /// The leaf hash of the line before.
    pub prev: Hash,
}

/// A line taken apart.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The fixed members.
    pub lead: Lead<'a>,
    /// The rest of the leaf: the event's members, `cut` and `digests`, each with a comma before it.
    pub rest: &'a str,
    /// The bytes that are hashed: the line up to `,"open":` or its closing brace.
    pub leaf: &'a str,
    /// The value of `open`, if it is there.
    pub open: Option<&'a str>,
}

impl Line<'_> {
    /// The leaf hash.
    pub fn hash(&self) -> Hash {
        leaf_hash(self.leaf.as_bytes())
    }

    /// The leaf hash that this line would have if its `prev` said this.
    pub fn hash_with_prev(&self, prev: &Hash) -> Hash {
        let name = ",\"prev\":\"";
        let Some((before, _)) = self.leaf.split_once(name) else { return self.hash() };
        let mut leaf = format!("{before}{name}").into_bytes();
        prev.push_hex(&mut leaf);
        leaf.push(b'"');
        leaf.extend_from_slice(self.rest.as_bytes());
        leaf_hash(&leaf)
    }

    /// The leaf as a JSON object of its own.
    pub fn leaf_json(&self) -> String {
        format!("{}}}", self.leaf)
    }
}

/// Writes the fixed members: everything from the opening brace to `prev`, without a comma after it.
pub fn push_lead(out: &mut Vec<u8>, lead: &Lead<'_>) {
    out.extend_from_slice(b"{\"v\":1,\"log\":\"");
    out.extend_from_slice(lead.log.as_bytes());
    out.extend_from_slice(b"\",\"seq\":");
    push_number(out, lead.seq);
    out.extend_from_slice(b",\"batch\":");
    push_number(out, lead.batch);
    out.extend_from_slice(b",\"at\":\"");
    push_time(out, lead.at_ms);
    push_text(out, "\",\"kind\":\"", lead.kind);
    if let Some((session, sseq)) = lead.session {
        push_text(out, "\",\"session\":\"", session);
        out.extend_from_slice(b"\",\"sseq\":");
        push_number(out, sseq);
    } else {
        out.push(b'"');
    }
    if let Some(id) = lead.opens {
        push_text(out, ",\"opens\":\"", id);
        out.push(b'"');
    }
    if let Some(id) = lead.closes {
        push_text(out, ",\"closes\":\"", id);
        out.push(b'"');
    }
    out.extend_from_slice(b",\"prev\":\"");
    lead.prev.push_hex(out);
    out.push(b'"');
}

/// The most bytes that [`push_lead`] and the line's end can take, for names of these lengths.
pub const fn lead_bound(names: usize) -> usize {
    320 + names
}

fn push_text(out: &mut Vec<u8>, name: &str, text: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn push_number(out: &mut Vec<u8>, mut number: u64) {
    let start = out.len();
    loop {
        out.push(b'0' + (number % 10) as u8);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    if let Some(digits) = out.get_mut(start..) {
        digits.reverse();
    }
}

/// Appends an instant as RFC 3339 in UTC with milliseconds; it is clamped to the years 1970 to 9999.
pub fn push_time(out: &mut Vec<u8>, ms: i64) {
    let ms = ms.clamp(0, MAX_MS).unsigned_abs();
    let (days, rest) = (ms / 86_400_000, ms % 86_400_000);
    // Days to a date of the Gregorian calendar, counting in eras of 400 years from 1 March of year 0.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let fields = [
        (year, 4, b'-'),
        (month, 2, b'-'),
        (day, 2, b'T'),
        (rest / 3_600_000, 2, b':'),
        (rest / 60_000 % 60, 2, b':'),
        (rest / 1000 % 60, 2, b'.'),
        (rest % 1000, 3, b'Z'),
    ];
    for (value, width, after) in fields {
        for place in (0..width).rev() {
            out.push(b'0' + (value / 10_u64.pow(place) % 10) as u8);
        }
        out.push(after);
    }
}

/// Reads what [`push_time`] writes, and nothing else.
pub fn parse_time(text: &str) -> Option<i64> {
    let time = chrono::DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis();
    let mut spelled = Vec::with_capacity(24);
    push_time(&mut spelled, time);
    (spelled == text.as_bytes()).then_some(time)
}

/// Reads the rest of a line, piece by piece.
struct Reader<'a>(&'a str);

impl<'a> Reader<'a> {
    fn skip(&mut self, text: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(text)?;
        Some(())
    }

    fn until_quote(&mut self) -> Option<&'a str> {
        let (text, rest) = self.0.split_once('"')?;
        self.0 = rest;
        super::note::is_plain(text).then_some(text)
    }

    fn number(&mut self) -> Option<u64> {
        let end = self.0.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.0.len());
        let (digits, rest) = self.0.split_at_checked(end)?;
        self.0 = rest;
        if digits.len() > 1 && digits.starts_with('0') {
            return None;
        }
        digits.parse().ok()
    }
}

/// Takes a line apart (without its newline).
///
/// # Errors
/// What is wrong with it, in a few words.
pub fn parse(line: &[u8]) -> Result<Line<'_>, &'static str> {
    let text = std::str::from_utf8(line).map_err(|_| "not UTF-8")?;
    let mut reader = Reader(text);
    let lead = parse_lead(&mut reader).ok_or("the fixed members are not as the format has them")?;
    let tail = reader.0;
    let (rest, open) = match tail.split_once(OPEN) {
        Some((rest, open)) => (rest, Some(open.strip_suffix('}').ok_or("no closing brace")?)),
        None => (tail.strip_suffix('}').ok_or("no closing brace")?, None),
    };
    let leaf_len = text.len() - tail.len() + rest.len();
    let leaf = text.get(..leaf_len).ok_or("not UTF-8")?;
    serde_json::from_slice::<serde::de::IgnoredAny>(line).map_err(|_| "not JSON")?;
    Ok(Line { lead, rest, leaf, open })
}

fn parse_lead<'a>(reader: &mut Reader<'a>) -> Option<Lead<'a>> {
    reader.skip("{\"v\":1,\"log\":\"")?;
    let log = reader.until_quote()?;
    reader.skip(",\"seq\":")?;
    let seq = reader.number()?;
    reader.skip(",\"batch\":")?;
    let batch = reader.number()?;
    reader.skip(",\"at\":\"")?;
    let at_ms = parse_time(reader.until_quote()?)?;
    reader.skip(",\"kind\":\"")?;
    let kind = reader.until_quote()?;
    let session = match reader.skip(",\"session\":\"") {
        Some(()) => {
            let session = reader.until_quote()?;
            reader.skip(",\"sseq\":")?;
            Some((session, reader.number()?))
        }
        None => None,
    };
    let mut id = |name| match reader.skip(name) {
        Some(()) => reader.until_quote().map(Some),
        None => Some(None),
    };
    let opens = id(",\"opens\":\"")?;
    let closes = id(",\"closes\":\"")?;
    reader.skip(",\"prev\":\"")?;
    let prev = Hash::from_hex(reader.until_quote()?.as_bytes())?;
    Some(Lead { log, seq, batch, at_ms, kind, session, opens, closes, prev })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lead<'a>() -> Lead<'a> {
        Lead {
            log: "postern.example/gw1",
            seq: 12,
            batch: 10,
            at_ms: 1_700_000_000_123,
            kind: "access.intent",
            session: Some(("s-1", 3)),
            opens: Some("x-9"),
            closes: None,
            prev: Hash([0xab; 32]),
        }
    }

    #[test]
    fn a_line_reads_back_as_it_was_written() {
        let mut out = Vec::new();
        push_lead(&mut out, &lead());
        out.extend_from_slice(br#","route":"orders"}"#);
        let text = String::from_utf8(out.clone()).unwrap();
        assert_eq!(
            text,
            format!(
                r#"{{"v":1,"log":"postern.example/gw1","seq":12,"batch":10,"at":"2023-11-14T22:13:20.123Z","kind":"access.intent","session":"s-1","sseq":3,"opens":"x-9","prev":"{}","route":"orders"}}"#,
                "ab".repeat(32)
            )
        );
        let line = parse(&out).unwrap();
        assert_eq!(line.lead, lead());
        assert_eq!(line.rest, r#","route":"orders""#);
        assert_eq!(line.leaf.len() + 1, out.len());
        assert_eq!(line.hash_with_prev(&Hash([0xab; 32])), line.hash());
        assert_ne!(line.hash_with_prev(&Hash::ZERO), line.hash());
    }

    #[test]
    fn erasing_open_leaves_the_leaf_as_it_was() {
        let mut out = Vec::new();
        push_lead(&mut out, &lead());
        let (mut with, mut without) = (out.clone(), out);
        with.extend_from_slice(br#","a":"x","open":[{"salt":"00","person":"p"}]}"#);
        without.extend_from_slice(br#","a":"x"}"#);
        let (with, without) = (parse(&with).unwrap(), parse(&without).unwrap());
        assert_eq!(with.hash(), without.hash());
        assert_eq!(with.open, Some(r#"[{"salt":"00","person":"p"}]"#));
        assert_eq!(without.open, None);
    }

    #[test]
    fn other_spellings_are_not_lines() {
        let mut out = Vec::new();
        push_lead(&mut out, &lead());
        out.push(b'}');
        let good = String::from_utf8(out).unwrap();
        assert!(parse(good.as_bytes()).is_ok());
        for (from, to) in [
            ("\"v\":1", "\"v\":2"),
            ("\"seq\":12", "\"seq\":012"),
            ("\"seq\":12", "\"seq\": 12"),
            ("22:13:20.123Z", "22:13:20.12Z"),
            ("22:13:20.123Z", "24:13:20.123Z"),
            ("abab", "ABab"),
            ("}", "} "),
            ("}", ",}"),
        ] {
            assert!(parse(good.replacen(from, to, 1).as_bytes()).is_err(), "{from} {to}");
        }
    }

    proptest! {
        #[test]
        fn instants_are_spelled_as_chrono_spells_them(ms in 0..=MAX_MS) {
            let mut out = Vec::new();
            push_time(&mut out, ms);
            let text = String::from_utf8(out).unwrap();
            let chrono = chrono::DateTime::from_timestamp_millis(ms).unwrap();
            prop_assert_eq!(&text, &chrono.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string());
            prop_assert_eq!(parse_time(&text), Some(ms));
        }

        #[test]
        fn no_bytes_make_the_parser_fail_otherwise_than_by_saying_so(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
            let mut out = Vec::new();
            push_lead(&mut out, &lead());
            out.extend_from_slice(&bytes);
            let _ = parse(&out);
        }
    }
}
