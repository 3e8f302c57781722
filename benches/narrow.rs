//! What narrowing a list costs: for each item that passes, for each that does not, and for ten megabytes; with what it allocates.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a benchmark"
)]

#[path = "machine/mod.rs"]
mod machine;

use divan::{Bencher, black_box, counter::BytesCount, counter::ItemsCount};
use postern::{
    policy::narrow::{Beside, ListShape, Pointer},
    proxy::narrow::Filter,
};

#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

/// What a gateway reads at once.
const PIECE: usize = 16 << 10;

fn main() {
    println!("{}.", machine::machine());
    divan::main();
}

/// A card as an application tells of it, about 500 bytes.
fn card(number: usize) -> String {
    format!(
        r#"{{"id":"card_{number:08}","title":"Reconcile the payout of week {number}","pipe":{{"id":"pipe_12","name":"Finance"}},"phase":"In review","labels":["urgent","EU","q{}"],"assignees":[{{"id":"u_{}","name":"Zoë Müller"}}],"fields":[{{"name":"amount","value":{}.50}},{{"name":"due","value":"2026-12-01"}},{{"name":"note","value":"see \"thread\" of Monday\nand the file"}}],"created_at":"2026-11-22T12:00:00Z","updated_at":"2026-11-22T12:34:56Z","comments":{},"done":false,"late":null}}"#,
        number % 4,
        number % 97,
        number * 7,
        number % 11
    )
}

fn list(cards: usize) -> String {
    let cards: Vec<String> = (0..cards).map(card).collect();
    format!(r#"{{"total":{},"cards":[{}],"page":{{"size":50}}}}"#, cards.len(), cards.join(","))
}

fn shape() -> ListShape {
    let pointer = |text| Pointer::parse(text).unwrap();
    ListShape::new(&pointer("/cards"), pointer("/id"), &Beside::Keep(vec![pointer("/page")])).unwrap()
}

/// As the relay does it: in pieces, what passes let go of after each.
fn narrow(shape: &ListShape, text: &str, out: &mut Vec<u8>, sees: impl Fn(usize) -> bool) -> usize {
    let mut filter = Filter::new(shape);
    let (mut asked, mut passed) = (0, 0);
    for mut piece in text.as_bytes().chunks(PIECE) {
        loop {
            let fed = filter.feed(black_box(piece), out).unwrap();
            piece = &piece[fed.taken..];
            if filter.asked().is_none() {
                break;
            }
            filter.answer(sees(asked), out);
            asked += 1;
        }
        passed += out.len();
        out.clear();
    }
    filter.finish().unwrap();
    passed
}

#[divan::bench(args = ["all_pass", "every_third_passes", "none_passes"])]
fn thousand_cards(bencher: Bencher<'_, '_>, what: &str) {
    let (shape, text) = (shape(), list(1000));
    let step = match what {
        "all_pass" => 1,
        "every_third_passes" => 3,
        _ => usize::MAX,
    };
    let mut out = Vec::with_capacity(2 * PIECE);
    bencher.counter(ItemsCount::new(1000usize)).counter(BytesCount::of_str(&text)).bench_local(|| {
        narrow(&shape, &text, &mut out, |number| number % step == step.wrapping_sub(1) % step)
    });
}

/// Beside it: reading the same into a tree and writing it again, which holds all of it.
#[divan::bench]
fn thousand_cards_by_serde_json(bencher: Bencher<'_, '_>) {
    let text = list(1000);
    bencher.counter(ItemsCount::new(1000usize)).counter(BytesCount::of_str(&text)).bench_local(|| {
        let mut read: serde_json::Value = serde_json::from_str(black_box(&text)).unwrap();
        read["cards"].as_array_mut().unwrap().retain(|card| card["id"].as_str().is_some());
        serde_json::to_vec(&read).unwrap().len()
    });
}

/// The most that is allocated at once is what the filter holds: one item, and what of a piece passes.
#[divan::bench(sample_count = 20)]
fn ten_megabytes(bencher: Bencher<'_, '_>) {
    let (shape, text) = (shape(), list(20_000));
    bencher.counter(ItemsCount::new(20_000usize)).counter(BytesCount::of_str(&text)).bench_local(|| {
        let mut out = Vec::new();
        narrow(&shape, &text, &mut out, |number| number % 2 == 0)
    });
}
