//! What the filter does with this document and that one; with any at all: [`random`].

mod random;

use super::{Filter, MOST_ITEM, NarrowFault};
use crate::policy::narrow::{Beside, ListShape, Pointer};

fn pointer(text: &str) -> Pointer {
    Pointer::parse(text).unwrap()
}

fn shape(list: &str, id: &str, beside: &Beside) -> ListShape {
    ListShape::new(&pointer(list), pointer(id), beside).unwrap()
}

fn keep(texts: &[&str]) -> Beside {
    Beside::Keep(texts.iter().map(|text| pointer(text)).collect())
}

fn drop(texts: &[&str]) -> Beside {
    Beside::Drop(texts.iter().map(|text| pointer(text)).collect())
}

/// All of it through the filter, in pieces that end where `cuts` says; what came out before a fault comes with it. Those whose
/// id begins with `v`, or is an even number, are seen.
fn narrow(shape: &ListShape, bytes: &[u8], cuts: &[usize]) -> (Vec<u8>, Result<(), NarrowFault>) {
    let mut filter = Filter::new(shape);
    let mut out = Vec::new();
    let mut cuts = cuts.iter().copied().cycle();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (mut piece, after) = rest.split_at(cuts.next().unwrap_or(rest.len()).clamp(1, rest.len()));
        rest = after;
        loop {
            match filter.feed(piece, &mut out) {
                Err(fault) => return (out, Err(fault)),
                Ok(fed) => {
                    piece = &piece[fed.taken..];
                    assert_eq!(fed.asks, filter.asked().is_some());
                }
            }
            let Some(id) = filter.asked() else { break };
            let sees = sees(id);
            filter.answer(sees, &mut out);
        }
        assert!(piece.is_empty(), "all of it is taken unless something is asked");
    }
    let end = filter.finish();
    (out, end)
}

fn sees(id: &str) -> bool {
    id.starts_with('v') || id.parse::<i64>().is_ok_and(|number| number % 2 == 0)
}

/// The same whole, byte by byte, and in threes: always the same.
fn narrowed(shape: &ListShape, text: impl AsRef<[u8]>) -> Result<String, NarrowFault> {
    let bytes = text.as_ref();
    let whole = narrow(shape, bytes, &[usize::MAX]);
    for size in [1, 3] {
        let pieces = narrow(shape, bytes, &[size]);
        assert_eq!(pieces.1, whole.1, "{}", String::from_utf8_lossy(bytes));
        if whole.1.is_ok() {
            assert_eq!(pieces.0, whole.0);
        }
    }
    whole.1.map(|()| String::from_utf8(whole.0).unwrap())
}

#[test]
fn what_may_be_seen_passes_and_nothing_else() {
    let cards = shape("/cards", "/id", &keep(&["/page"]));
    let text = r#" { "total" : 3, "cards":[ {"id":"v1", "a": [1, 2]} ,{"id":"h2","a":"HIDDEN"}, {"a":{"id":"h"},"id":"v3"} ], "next": "c2", "page": { "size" : 50 } } "#;
    assert_eq!(
        narrowed(&cards, text).unwrap(),
        r#"{"cards":[{"id":"v1", "a": [1, 2]},{"a":{"id":"h"},"id":"v3"}],"page":{ "size" : 50 }}"#
    );
    let all_but = shape("/cards", "/id", &drop(&["/total", "/next"]));
    assert_eq!(
        narrowed(&all_but, text).unwrap(),
        r#"{"cards":[{"id":"v1", "a": [1, 2]},{"a":{"id":"h"},"id":"v3"}],"page":{ "size" : 50 }}"#
    );
    let bare = shape("", "/id", &Beside::default());
    assert_eq!(narrowed(&bare, r#"[{"id":1},{"id":2},{"id":4}]"#).unwrap(), r#"[{"id":2},{"id":4}]"#);
    assert_eq!(narrowed(&bare, "[]").unwrap(), "[]");
    assert_eq!(narrowed(&bare, "\n[ ]\t").unwrap(), "[]");
    let ids = shape("/ids", "", &Beside::default());
    assert_eq!(
        narrowed(&ids, r#"{"ids":["v1","h2",4,5,null,["v1"],{"id":"v1"}]}"#).unwrap(),
        r#"{"ids":["v1",4]}"#
    );
    let deep = shape("/data/pipe/cards", "/node/id", &keep(&["/data/pipe/name", "/meta/page"]));
    let text = r#"{"data":{"pipe":{"cards":[{"node":{"id":"v1"}},{"node":{"x":1}},{"node":{"id":"h"},"id":"v"}],"name":"p","cards_count":3}},"meta":{"page":1,"total":3}}"#;
    assert_eq!(
        narrowed(&deep, text).unwrap(),
        r#"{"data":{"pipe":{"cards":[{"node":{"id":"v1"}}],"name":"p"}},"meta":{"page":1}}"#
    );
}

#[test]
fn an_id_that_is_none_is_not_seen() {
    let cards = shape("", "/id", &Beside::default());
    let seen = |item: &str| narrowed(&cards, format!("[{item}]")).unwrap() != "[]";
    assert!(seen(r#"{"id":"v"}"#) && seen(r#"{"id":0}"#) && seen(r#"{"id":-2}"#));
    // The largest number that all readers tell from its neighbours.
    assert!(seen(r#"{"id":9007199254740990}"#));
    for none in [
        "{}",
        "1",
        "null",
        "\"v1\"",
        "[]",
        r#"[{"id":"v1"}]"#,
        r#"{"id":null}"#,
        r#"{"id":true}"#,
        r#"{"id":["v1"]}"#,
        r#"{"id":{"id":"v1"}}"#,
        r#"{"id":""}"#,
        r#"{"id":2.0}"#,
        r#"{"id":2e0}"#,
        r#"{"id":-0}"#,
        r#"{"id":9007199254740992}"#,
        r#"{"id":-9007199254740992}"#,
        r#"{"id":20000000000000000000}"#,
        r#"{"ID":"v1"}"#,
        r#"{"x":{"id":"v1"}}"#,
        &format!(r#"{{"id":"v{}"}}"#, "x".repeat(256)),
        &format!(r#"{{"id":2{}}}"#, "0".repeat(300)),
    ] {
        assert!(!seen(none), "{none}");
    }
    assert!(seen(&format!(r#"{{"id":"v{}"}}"#, "x".repeat(255))), "as long as an id may be");
}

#[test]
fn names_are_what_they_mean_and_not_how_they_are_spelt() {
    let cards = shape("/cards", "/id", &drop(&["/tot\u{1F600}al"]));
    let text = r#"{"c\u0061rds":[{"\u0069d":"\u0076\u00e9"},{"i\u0064":"h"}],"tot\ud83d\ude00al":2,"\/":1}"#;
    assert_eq!(narrowed(&cards, text).unwrap(), r#"{"c\u0061rds":[{"\u0069d":"\u0076\u00e9"}],"\/":1}"#);
    assert_eq!(narrowed(&cards, "{\"cards\":[],\"tot\u{1F600}al\":2}").unwrap(), r#"{"cards":[]}"#);
}

#[test]
fn what_decides_and_stands_twice_is_refused() {
    let cards = shape("/data/cards", "/node/id", &keep(&["/page"]));
    for twice in [
        r#"{"data":{"cards":[]},"data":{"cards":[]}}"#,
        r#"{"data":{"cards":[],"c\u0061rds":[]}}"#,
        r#"{"page":1,"data":{"cards":[]},"page":2}"#,
        r#"{"data":{"cards":[{"node":{"id":"v1","id":"h1"}}]}}"#,
        r#"{"data":{"cards":[{"node":{"id":"v1","\u0069\u0064":"v1"}}]}}"#,
        r#"{"data":{"cards":[{"node":{"id":"v1"},"node":{"id":"h1"}}]}}"#,
        r#"{"data":{"cards":[{"node":1,"node":{"id":"v1"}}]}}"#,
        r#"{"data":{"cards":[{"node":{"id":null,"id":"v1"}}]}}"#,
    ] {
        assert_eq!(narrowed(&cards, twice), Err(NarrowFault::Twice), "{twice}");
    }
    // What decides nothing may stand as often as it likes; here it does not pass anyway.
    assert!(narrowed(&cards, r#"{"x":1,"x":2,"data":{"cards":[{"a":1,"a":2,"node":{"id":"v1"}}]}}"#).is_ok());
}

#[test]
fn where_no_list_is_nothing_passes() {
    let cards = shape("/data/cards", "/id", &keep(&["/x"]));
    for missing in [
        "{}",
        "[]",
        "null",
        "\"data\"",
        "7",
        r#"{"data":{}}"#,
        r#"{"data":[]}"#,
        r#"{"data":null}"#,
        r#"{"data":{"cards":null}}"#,
        r#"{"data":{"cards":{}}}"#,
        r#"{"data":{"Cards":[]}}"#,
        r#"{"cards":[]}"#,
        r#"{"x":{"data":{"cards":[]}}}"#,
    ] {
        assert_eq!(narrowed(&cards, missing), Err(NarrowFault::ListMissing), "{missing}");
    }
    assert_eq!(narrowed(&shape("", "/id", &keep(&[])), r#"{"cards":[]}"#), Err(NarrowFault::ListMissing));
}

#[test]
fn what_should_be_looked_into_and_cannot_be_does_not_pass() {
    let cards = shape("/cards", "/id", &drop(&["/meta/total"]));
    for meta in ["1", "[{\"total\":3}]", "\"3\"", "null"] {
        let text = format!(r#"{{"meta":{meta},"cards":[],"a":1}}"#);
        assert_eq!(narrowed(&cards, text).unwrap(), r#"{"cards":[],"a":1}"#, "{meta}");
    }
}

#[test]
fn only_json_to_the_letter_passes() {
    let list = shape("", "/id", &Beside::default());
    for bad in [
        "[1,]",
        "[,1]",
        "[1 2]",
        "[{\"a\":1,}]",
        "[{,}]",
        "[{\"a\"}]",
        "[{\"a\" 1}]",
        "[{a:1}]",
        "[{'a':1}]",
        "[{1:1}]",
        "[01]",
        "[-]",
        "[+1]",
        "[.5]",
        "[1.]",
        "[1.e1]",
        "[1e]",
        "[1e+]",
        "[-01]",
        "[0x1]",
        "[NaN]",
        "[-NaN]",
        "[Infinity]",
        "[-Infinity]",
        "[nul]",
        "[nulL]",
        "[TRUE]",
        "[truefalse]",
        "[\"\t\"]",
        "[\"\n\"]",
        "[\"\0\"]",
        "[\"\\x\"]",
        "[\"\\u12g4\"]",
        "[\"\\ud800\"]",
        "[\"\\ud800x\"]",
        "[\"\\ud800\\n\"]",
        "[\"\\ud800\\ud800\"]",
        "[\"\\udc00\"]",
        "[\"\\ud800\\u0041\"]",
        "[{\"\\ud800\":1}]",
        "[}",
        "[{]",
        "[{\"a\":1]",
        "[/*x*/]",
        "[]//",
        "\u{feff}[]",
        "\u{a0}[]",
        "\x0c[]",
        ")]}',\n[]",
    ] {
        let fault = narrowed(&list, bad).unwrap_err();
        assert!(matches!(fault, NarrowFault::Syntax | NarrowFault::Trailing), "{bad}: {fault}");
    }
    for bad in [
        &b"[\"\xff\"]"[..],
        b"[\"\xc0\x80\"]",
        b"[\"\xc1\xbf\"]",
        b"[\"\xe0\x80\x80\"]",
        b"[\"\xed\xa0\x80\"]",
        b"[\"\xf0\x80\x80\x80\"]",
        b"[\"\xf4\x90\x80\x80\"]",
        b"[\"\xf5\x80\x80\x80\"]",
        b"[\"\xc3\"]",
        b"[\"\x80\"]",
        b"[\"\xe2\x82\"]",
        b"\xef\xbb\xbf[]",
        b"\xff\xfe[\0]\0",
        b"[\x80]",
    ] {
        assert_eq!(narrowed(&list, bad), Err(NarrowFault::Syntax), "{bad:?}");
    }
    for good in [
        "[-0.1e+9]",
        "[0,1E5,\"\\ud83d\\ude00\\/\\b\\f\\r\\t\\\\\"]",
        "[\"\u{7f}\u{10ffff}\u{800}\"]",
        "[1e999]",
    ] {
        assert_eq!(narrowed(&list, good).unwrap(), "[]", "{good}");
    }
}

#[test]
fn nothing_follows_the_document_and_its_end_is_awaited() {
    let list = shape("", "/id", &Beside::default());
    for more in ["[] []", "[]{}", "[],", "[]]", "[]\0", "[]x", "[{\"id\":\"v\"}]\n{\"id\":\"h\"}"] {
        assert_eq!(narrowed(&list, more), Err(NarrowFault::Trailing), "{more}");
    }
    let cards = shape("/cards", "/id", &keep(&["/x"]));
    let whole = r#"{"cards":[{"id":"v1"},{"id":2}],"x":[12]}"#;
    for end in 0..whole.len() {
        assert_eq!(narrowed(&cards, &whole[..end]), Err(NarrowFault::CutOff), "{}", &whole[..end]);
    }
    assert!(narrowed(&cards, whole).is_ok());
}

#[test]
fn depth_is_bounded_exactly() {
    let list = shape("", "/id", &Beside::default());
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(narrowed(&list, nested(128)).unwrap(), "[]");
    assert_eq!(narrowed(&list, nested(129)), Err(NarrowFault::Depth));
    let objects = format!("[{}1{}]", "{\"a\":".repeat(128), "}".repeat(128));
    assert_eq!(narrowed(&list, objects), Err(NarrowFault::Depth));
}

#[test]
fn an_item_of_the_largest_size_passes_and_a_larger_one_does_not() {
    let list = shape("", "/id", &Beside::default());
    let item = |len: usize| format!("{{\"id\":\"v\",\"a\":\"{}\"}}", "x".repeat(len - 17));
    let text = format!("[{}]", item(MOST_ITEM));
    assert_eq!(narrow(&list, text.as_bytes(), &[4096]), (text.clone().into_bytes(), Ok(())));
    let text = format!("[{}]", item(MOST_ITEM + 1));
    assert_eq!(narrow(&list, text.as_bytes(), &[4096]).1, Err(NarrowFault::ItemTooLarge));
    // What is in no item may be as long as it likes, and is not held.
    let cards = shape("/cards", "/id", &keep(&["/x"]));
    let text = format!("{{\"y\":[\"{0}\"],\"x\":\"{0}\",\"cards\":[]}}", "x".repeat(MOST_ITEM + 1));
    let (out, end) = narrow(&cards, text.as_bytes(), &[4096]);
    assert_eq!((out.len(), end), (MOST_ITEM + 1 + 19, Ok(())));
    // But for names, which are held until it is known whether they pass.
    let text = format!("{{\"{}\":1,\"cards\":[]}}", "x".repeat(5000));
    assert_eq!(narrow(&cards, text.as_bytes(), &[100]).1, Err(NarrowFault::NameTooLong));
}

/// The filter holds one item and little else, however long the list is.
#[test]
fn a_list_of_ten_megabytes_is_held_one_item_at_a_time() {
    let cards = shape("/cards", "/id", &Beside::default());
    let mut text = String::from("{\"cards\":[");
    let mut number = 0;
    let mut largest = 0;
    while text.len() < 10 << 20 {
        let before = text.len();
        let (kind, more) = if number % 3 == 0 { ('h', "HIDDEN") } else { ('v', "seen") };
        let filler = more.repeat(1 + number % 400);
        text.push_str(&format!(
            "{{\"id\":\"{kind}{number}\",\"title\":\"{filler}\",\"labels\":[1,2,{{\"x\":null}}]}},"
        ));
        largest = largest.max(text.len() - before);
        number += 1;
    }
    text.pop();
    text.push_str("]}");
    let mut filter = Filter::new(&cards);
    let (mut out, mut most, mut passed, mut asked) = (Vec::new(), 0, 0, 0);
    for mut piece in text.as_bytes().chunks(16 << 10) {
        loop {
            let fed = filter.feed(piece, &mut out).unwrap();
            piece = &piece[fed.taken..];
            most = most.max(filter.holds());
            let Some(id) = filter.asked() else { break };
            let sees = sees(id);
            filter.answer(sees, &mut out);
            asked += 1;
        }
        assert!(!out.windows(6).any(|bytes| bytes == b"HIDDEN"));
        // What passes is handed on with each piece, and is never more than that piece and the item before it.
        assert!(out.len() <= (16 << 10) + largest);
        passed += out.len();
        out.clear();
    }
    filter.finish().unwrap();
    assert_eq!(asked, number);
    assert!(passed > 5 << 20 && passed < 8 << 20);
    // Vectors grow by doubling.
    assert!(most <= 2 * largest + 1024, "{most} of {largest}");
}
