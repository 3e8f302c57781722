//! Lists that are narrowed: whatever passes is JSON, in its place and without what is hidden, however the bytes were cut into
//! pieces; and what another reader takes is refused only for the reasons that there are. The first byte says which shape the
//! rest is read by, the second how it is cut.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use postern::{
    policy::narrow::{Beside, ListShape, Pointer},
    proxy::narrow::{Filter, MOST_ITEM, NarrowFault},
};
use serde_json::Value;

struct Case {
    list: &'static str,
    id: &'static str,
    shape: ListShape,
}

static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let pointer = |text: &str| Pointer::parse(text).expect("a pointer");
    let all = |texts: &[&str]| texts.iter().map(|text| pointer(text)).collect();
    let case = |list, id, beside: Beside| Case {
        list,
        id,
        shape: ListShape::new(&pointer(list), pointer(id), &beside).expect("a shape"),
    };
    vec![
        case("", "/id", Beside::default()),
        case("", "", Beside::default()),
        case("/a", "/id", Beside::Keep(all(&["/b", "/c/d"]))),
        case("/a/b", "/n/id", Beside::Drop(all(&["/a/t", "/t"]))),
    ]
});

/// Those that begin with a `v`, and even numbers.
fn sees(id: &str) -> bool {
    id.starts_with('v') || id.parse::<i64>().is_ok_and(|number| number % 2 == 0)
}

fn narrow(shape: &ListShape, bytes: &[u8], size: usize) -> Result<Vec<u8>, NarrowFault> {
    let mut filter = Filter::new(shape);
    let mut out = Vec::new();
    for mut piece in bytes.chunks(size) {
        loop {
            let fed = filter.feed(piece, &mut out)?;
            piece = &piece[fed.taken..];
            assert!(filter.holds() <= MOST_ITEM + (16 << 10));
            let Some(id) = filter.asked() else { break };
            let sees = sees(id);
            filter.answer(sees, &mut out);
        }
        assert!(piece.is_empty());
    }
    filter.finish()?;
    Ok(out)
}

fuzz_target!(|input: &[u8]| {
    let [which, cut, text @ ..] = input else { return };
    let case = &CASES[usize::from(*which) % CASES.len()];
    let whole = narrow(&case.shape, text, text.len().max(1));
    let pieces = narrow(&case.shape, text, usize::from(*cut % 16) + 1);
    assert_eq!(whole, pieces);
    let theirs = serde_json::from_slice::<Value>(text);
    match (&whole, &theirs) {
        (Ok(out), theirs) => {
            let read: Value = serde_json::from_slice(out).unwrap_or_else(|fault| {
                assert!(fault.to_string().contains("out of range"), "{fault}");
                Value::Null
            });
            if read.is_null() {
                return;
            }
            for item in read.pointer(case.list).and_then(Value::as_array).expect("a list in its place") {
                let id = item.pointer(case.id).expect("an id in its place");
                let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
                assert!(sees(&id), "{id}");
            }
            if let Err(fault) = theirs {
                // Numbers beyond a double are numbers all the same; what does not pass is not converted.
                assert!(fault.to_string().contains("out of range"), "{fault}");
            }
        }
        (Err(NarrowFault::Twice | NarrowFault::ListMissing | NarrowFault::NameTooLong), _) => {}
        (Err(NarrowFault::ItemTooLarge), _) => assert!(text.len() > MOST_ITEM),
        (Err(NarrowFault::Depth), _) => assert!(theirs.is_err(), "they read as deeply as we do"),
        (Err(fault), Ok(_)) => panic!("refused for {fault}"),
        (Err(_), Err(_)) => {}
    }
});
