//! One text or whole number out of a JSON document that is there whole: the identifier of what an application has made. Read in
//! one way or not at all: what leads to it must stand once, and all of the document must be JSON to the letter.
//!
//! Never here: which answers are looked at, or what is done with it.

use super::{
    fault::NarrowFault,
    filter::is_plain_number,
    scan::{Event, Kind, Scan},
};
use crate::policy::{creates::Unread, narrow::Pointer};

/// What is being read.
#[derive(Clone, Copy)]
enum Phase {
    /// An object on the way, between its members; or the document itself, before it begins.
    Object,
    /// Its member whose name was read; whether that is the next on the way.
    Member(bool),
    /// A value that is not on the way, to its end.
    Beside,
    /// The one that is asked for; whether it is a number.
    Value(bool),
}

/// What stands there.
///
/// # Errors
/// [`Unread`] where nothing does, or more than one thing.
pub fn text_at(pointer: &Pointer, document: &[u8]) -> Result<String, Unread> {
    let steps = pointer.steps();
    let mut scan = Scan::new();
    let mut phase = Phase::Member(true);
    // How many steps of the way were taken, down to the object in hand; and which of them were found.
    let (mut along, mut found) = (0usize, 0usize);
    let (mut began, mut value) = (false, None);
    let mut rest = document;
    // A number at the end of the document is over with it.
    let tail = b"\n";
    let mut at_tail = false;
    loop {
        let step = scan.next(rest).map_err(unreadable)?;
        rest = rest.get(step.taken..).unwrap_or_default();
        let Some(event) = step.event else {
            if at_tail {
                break;
            }
            at_tail = true;
            rest = tail;
            continue;
        };
        phase = match (phase, event) {
            (Phase::Object, Event::NameBegin) => {
                scan.want();
                Phase::Object
            }
            (Phase::Object, Event::Name) => {
                // Only of the object that the way leads through last may a name be the next step.
                let is_next =
                    steps.get(along.saturating_sub(1)).is_some_and(|step| scan.kept() == Some(&**step));
                if is_next {
                    if found >= along {
                        return Err(Unread::IdTwice);
                    }
                    found = along;
                }
                Phase::Member(is_next)
            }
            (Phase::Object, Event::End) => {
                along = along.saturating_sub(1);
                if along == 0 { Phase::Beside } else { Phase::Object }
            }
            (Phase::Member(true), Event::Begin(Kind::Object)) if along < steps.len() => {
                began = true;
                along += 1;
                Phase::Object
            }
            (Phase::Member(true), Event::Begin(kind @ (Kind::Text | Kind::Number)))
                if began && along == steps.len() =>
            {
                scan.want();
                scan.mute();
                Phase::Value(kind == Kind::Number)
            }
            (Phase::Member(_), Event::Begin(_)) => {
                scan.mute();
                Phase::Beside
            }
            (Phase::Value(is_number), Event::End) => {
                let text =
                    scan.kept().filter(|text| !text.is_empty() && (!is_number || is_plain_number(text)));
                value = text.map(str::to_owned);
                Phase::Object
            }
            (Phase::Beside, Event::End) => Phase::Object,
            // No two of them can follow each other otherwise.
            _ => return Err(Unread::Unreadable),
        };
    }
    if !scan.is_over() {
        return Err(Unread::Unreadable);
    }
    value.ok_or(Unread::IdMissing)
}

fn unreadable(_: NarrowFault) -> Unread {
    Unread::Unreadable
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pointer: &str, document: &str) -> Result<String, Unread> {
        text_at(&Pointer::parse(pointer).unwrap(), document.as_bytes())
    }

    // PFP-04
    #[test]
    fn an_identifier_stands_in_one_place_or_nowhere() {
        for (pointer, document, id) in [
            ("/id", r#"{"id":"p1"}"#, "p1"),
            ("/id", " {\"a\" : [{\"id\":\"x\"}], \"id\" : 7 }\r\n", "7"),
            (
                "/data/id",
                r#"{"id":"x","data":{"data":{"id":"y"},"id":"p1","o":{"id":2}},"z":[1,{"data":3}]}"#,
                "p1",
            ),
            ("/data/id", r#"{"data":{"\u0069d":"p\u0031"}}"#, "p1"),
            ("/a~1b/", r#"{"a/b":{"":"p1"}}"#, "p1"),
        ] {
            assert_eq!(read(pointer, document), Ok(id.to_owned()), "{document}");
        }
        for (pointer, document) in [
            ("/id", "{}"),
            ("/id", "7"),
            ("/id", r#""id""#),
            ("/id", r#"["id"]"#),
            ("/id", r#"[{"id":"p1"}]"#),
            ("/id", r#"{"id":null}"#),
            ("/id", r#"{"id":""}"#),
            ("/id", r#"{"id":["p1"]}"#),
            ("/id", r#"{"id":{"id":"p1"}}"#),
            ("/id", r#"{"id":1.0}"#),
            ("/id", r#"{"id":1e3}"#),
            ("/id", r#"{"id":-0}"#),
            ("/id", r#"{"id":9007199254740992}"#),
            ("/id", r#"{"data":{"id":"p1"}}"#),
            ("/data/id", r#"{"id":"p1"}"#),
            ("/data/id", r#"{"data":"p1"}"#),
            ("/data/id", r#"{"data":[{"id":"p1"}]}"#),
            ("/data/id", r#"{"data":{},"o":{"id":"p1"}}"#),
        ] {
            assert_eq!(read(pointer, document), Err(Unread::IdMissing), "{document}");
        }
        for (pointer, document) in [
            ("/id", r#"{"id":"p1","id":"p1"}"#),
            ("/id", r#"{"id":null,"\u0069d":"p1"}"#),
            ("/data/id", r#"{"data":{"id":"p1"},"data":{}}"#),
            ("/data/id", r#"{"data":7,"data":{"id":"p1"}}"#),
            ("/data/id", r#"{"data":{"id":"p1","id":2}}"#),
        ] {
            assert_eq!(read(pointer, document), Err(Unread::IdTwice), "{document}");
        }
        for document in [
            "",
            " ",
            "{",
            r#"{"id":"p1""#,
            r#"{"id":"p1"}}"#,
            r#"{"id":"p1"}{}"#,
            r#"{"id":"p1",}"#,
            r#"{'id':1}"#,
            "\u{feff}{\"id\":\"p1\"}",
            r#"{"id":"\ud800"}"#,
            "{\"id\":\"p1\"} x",
        ] {
            assert_eq!(read("/id", document), Err(Unread::Unreadable), "{document}");
        }
        assert_eq!(read("/id", &("[".repeat(200) + &"]".repeat(200))), Err(Unread::Unreadable));
        assert_eq!(read("/id", &format!("{{\"id\":\"{}\"}}", "x".repeat(257))), Err(Unread::IdMissing));
    }
}
