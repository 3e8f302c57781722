//! What a caller adds to a record: members of its own, made from any serialisable struct, and how they are cut when
//! they are too long.
//!
//! A [`Body`] is made on the caller's thread, so the one writer only copies bytes. Never here: what events mean.

use serde::Serialize;

use super::tree::sha256;

/// The members that the ledger itself writes; no event may bring its own.
pub const RESERVED: [&str; 14] = [
    "v", "log", "seq", "batch", "at", "kind", "session", "sseq", "opens", "closes", "prev", "cut", "digests",
    "open",
];

/// How long strings are kept, tried in this order until the record fits.
const KEEP: [usize; 8] = [8192, 4096, 2048, 1024, 512, 256, 128, 64];
/// What an entry in `cut` costs at least: strings that would save less stay whole.
const CUT_COST: usize = 160;

/// Why a value cannot be the body of a record.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BodyError {
    /// Serialising failed.
    #[error("the event cannot be written as json: {0}")]
    Json(String),
    /// The value is not an object.
    #[error("an event must be a struct or a map, so that it becomes members of the record")]
    NotAnObject,
    /// A member's name belongs to the ledger.
    #[error("the event's member `{0}` has a name that the ledger uses itself; rename it")]
    Reserved(String),
}

/// The members of an event, as JSON without the outer braces. Only [`Body::of`] makes one, so it is always valid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body(String);

impl Body {
    /// A body without members.
    pub fn empty() -> Body {
        Body::default()
    }

    /// Serialises an event.
    ///
    /// # Errors
    /// [`BodyError`] when the value is no object or uses a name of the ledger's own.
    pub fn of<T: Serialize + ?Sized>(event: &T) -> Result<Body, BodyError> {
        let text = serde_json::to_string(event).map_err(|e| BodyError::Json(e.to_string()))?;
        let inner = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).ok_or(BodyError::NotAnObject)?;
        let mut clash = None;
        // Every record passes here: no path is made for names alone.
        walk(text.as_bytes(), false, &mut |found| {
            if let Found::TopKey(key) = found
                && RESERVED.iter().any(|name| name.as_bytes() == key)
            {
                clash = Some(String::from_utf8_lossy(key).into_owned());
            }
        });
        if let Some(name) = clash {
            return Err(BodyError::Reserved(name));
        }
        // The leaf of a line ends at the first `,"open":`, so no deeper member may be spelled like that; `o` is the
        // same letter to every reader of JSON.
        if inner.contains(",\"open\":") {
            return Ok(Body(inner.replace(",\"open\":", ",\"\\u006fpen\":")));
        }
        Ok(Body(inner.to_owned()))
    }

    /// The members.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The members in at most `max` bytes together with the entries for `cut`, longest strings cut first; `None`
    /// when even that does not suffice.
    pub(crate) fn cut_to(&self, max: usize) -> Option<(String, Vec<Cut>)> {
        let text = format!("{{{}}}", self.0);
        let mut strings = Vec::new();
        walk(text.as_bytes(), true, &mut |found| {
            if let Found::Text { start, end, path } = found {
                strings.push((start, end, path.to_owned()));
            }
        });
        KEEP.iter().find_map(|keep| {
            let (cut, entries) = cut_strings(&text, &strings, *keep)?;
            let cost: usize = entries.iter().map(|c| CUT_COST + c.at.len()).sum();
            (cut.len() + cost <= max).then_some((cut, entries))
        })
    }
}

/// One entry of the member `cut`.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Where, as a JSON pointer into the record.
    pub(crate) at: String,
    /// Length of the whole value in bytes of UTF-8.
    pub(crate) bytes: usize,
    /// SHA-256 of the whole value.
    pub(crate) sha256: String,
}

/// The longest beginning of `text` of at most `max` bytes that ends between characters.
pub(crate) fn beginning(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max)).unwrap_or(text)
}

fn cut_strings(text: &str, strings: &[(usize, usize, String)], keep: usize) -> Option<(String, Vec<Cut>)> {
    let mut out = String::with_capacity(text.len());
    let mut entries = Vec::new();
    let mut from = 0;
    for (start, end, path) in strings {
        if end - start <= keep + CUT_COST + path.len() {
            continue;
        }
        let value: String = serde_json::from_str(text.get(*start..*end)?).ok()?;
        if value.len() <= keep {
            continue;
        }
        out.push_str(text.get(from..*start)?);
        out.push_str(&serde_json::to_string(beginning(&value, keep)).ok()?);
        from = *end;
        entries.push(Cut { at: path.clone(), bytes: value.len(), sha256: sha256(&[value.as_bytes()]).hex() });
    }
    out.push_str(text.get(from..)?);
    let inner = out.strip_prefix('{')?.strip_suffix('}')?.to_owned();
    Some((inner, entries))
}

enum Found<'a> {
    /// The name of a member of the outermost object, as spelled.
    TopKey(&'a [u8]),
    /// A string value with its quotes, and its JSON pointer.
    Text { start: usize, end: usize, path: &'a str },
}

/// One open object or array on the way to where [`walk`] is.
struct Level {
    array: bool,
    index: usize,
    /// Length of the path that leads to this object or array.
    path: usize,
}

/// Walks compact, valid JSON (as serde_json writes it) and tells of names and strings; where paths are not wanted, they
/// are empty.
fn walk(text: &[u8], paths: bool, tell: &mut impl FnMut(Found<'_>)) {
    let mut levels: Vec<Level> = Vec::new();
    let mut path = String::new();
    let mut at = 0;
    let mut is_key = false;
    while let Some(byte) = text.get(at) {
        match byte {
            b'{' | b'[' => {
                let array = *byte == b'[';
                levels.push(Level { array, index: 0, path: path.len() });
                if array && paths {
                    path.push_str("/0");
                }
                is_key = !array;
            }
            b'}' | b']' => {
                if let Some(level) = levels.pop() {
                    path.truncate(level.path);
                }
                is_key = false;
            }
            b',' => {
                if let Some(level) = levels.last_mut() {
                    path.truncate(level.path);
                    level.index += 1;
                    if level.array && paths {
                        path.push_str(&format!("/{}", level.index));
                    }
                    is_key = !level.array;
                }
            }
            b':' => is_key = false,
            b'"' => {
                let start = at;
                at += 1;
                while let Some(inner) = text.get(at) {
                    match inner {
                        b'\\' => at += 2,
                        b'"' => break,
                        _ => at += 1,
                    }
                }
                if is_key {
                    let key = text.get(start + 1..at).unwrap_or_default();
                    if levels.len() == 1 {
                        tell(Found::TopKey(key));
                    }
                    if !paths {
                        at += 1;
                        continue;
                    }
                    let key = String::from_utf8_lossy(key).replace('~', "~0").replace('/', "~1");
                    path.push('/');
                    path.push_str(&key);
                } else {
                    tell(Found::Text { start, end: at + 1, path: &path });
                }
            }
            _ => {}
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_body_is_the_members_of_the_struct() {
        let body = Body::of(&json!({"a": 1, "b": {"seq": 2, "x": [{"open": 3}]}})).unwrap();
        assert_eq!(body.as_str(), r#""a":1,"b":{"seq":2,"x":[{"open":3}]}"#);
        #[derive(Serialize)]
        struct Inner {
            y: u8,
            open: u8,
        }
        let body = Body::of(&json!({})).unwrap();
        assert_eq!(body, Body::empty());
        #[derive(Serialize)]
        struct Outer {
            inner: Inner,
        }
        let body = Body::of(&Outer { inner: Inner { y: 1, open: 4 } }).unwrap();
        assert_eq!(body.as_str(), r#""inner":{"y":1,"\u006fpen":4}"#);
        let back: serde_json::Value = serde_json::from_str(&format!("{{{}}}", body.as_str())).unwrap();
        assert_eq!(back, json!({"inner": {"y": 1, "open": 4}}));
    }

    #[test]
    fn names_of_the_ledger_are_refused_at_the_top_only() {
        for name in RESERVED {
            let event = json!({"fine": "\",\"x", name: 1});
            assert_eq!(Body::of(&event), Err(BodyError::Reserved(name.to_owned())));
        }
        assert!(Body::of(&json!({"x": {"seq": 1}, "seqs": 1, "y": "seq"})).is_ok());
        assert_eq!(Body::of(&[1]), Err(BodyError::NotAnObject));
    }

    #[test]
    fn longest_strings_are_cut_and_the_cut_is_told() {
        let long = "ä\"".repeat(9000);
        let event = json!({"short": "stays", "deep": {"l/i~st": ["x", long]}, "n": 5});
        let body = Body::of(&event).unwrap();
        let (cut, entries) = body.cut_to(2000).unwrap();
        assert!(cut.len() < 2000);
        let back: serde_json::Value = serde_json::from_str(&format!("{{{cut}}}")).unwrap();
        assert_eq!(back["short"], "stays");
        let kept = back["deep"]["l/i~st"][1].as_str().unwrap();
        assert!(long.starts_with(kept) && kept.len() >= 64);
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].at, "/deep/l~1i~0st/1");
        assert_eq!(entries[0].bytes, long.len());
        assert_eq!(entries[0].sha256, sha256(&[long.as_bytes()]).hex());
        assert_eq!(Body::of(&json!({"n": vec![1; 5000]})).unwrap().cut_to(2000), None);
    }
}
