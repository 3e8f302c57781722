//! Answers that take their time: a long download at a steady rate, one as fast as the socket takes it, and a stream
//! of events without an end.
//!
//! Each is made piece by piece when the connection asks for the next piece, and it asks only when the reader took
//! what was there. So a slow reader holds one piece, not the rest of the download; nothing is ever made in advance.

use std::fmt::Write;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_DISPOSITION, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use serde_json::json;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::Clock;
use super::answer::{Answer, Fault, with_body};
use super::api::Call;
use super::books::{price, written};
use super::orders::Order;

/// The most that one piece of a stream may have, in bytes.
const PIECE: usize = 16 * 1024;
/// How often in a second a download at a steady rate goes on.
const STEPS: u32 = 20;
/// The same, to count with.
const STEPS_PER_S: i64 = STEPS as i64;

type Polled = Poll<Option<Result<Frame<Bytes>, io::Error>>>;

/// `/exports/orders.csv?seconds=60&rate=4096`: the tenant's orders over and over, `rate` bytes a second on average
/// for `seconds`, then the end. A slow reader makes it take longer, never larger.
pub(super) fn orders_csv(call: &Call<'_>) -> Result<Answer, Fault> {
    only_get(call)?;
    let seconds = call.query.number("seconds", 60, 1..=86_400)?;
    let rate = call.query.number("rate", 4096, 1..=100_000_000)?;
    let rows: Vec<String> = call.books()?.orders.values().map(row).collect();
    let mut steps = interval(Duration::from_secs(1) / STEPS);
    steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let left = seconds.saturating_mul(rate);
    let body = Csv { rows, line: 0, left, rate: i64::try_from(rate).unwrap_or(i64::MAX), due: 0, steps };
    let mut answer = with_body(StatusCode::OK, "text/csv; charset=utf-8", body.boxed_unsync());
    let name = HeaderValue::from_static("attachment; filename=\"orders.csv\"");
    answer.headers_mut().insert(CONTENT_DISPOSITION, name);
    Ok(answer)
}

/// `/exports/fast.bin?bytes=1048576`: that many bytes, as fast as they are taken. Byte `n` is `n % 251`, counted
/// anew each 16 KiB.
pub(super) fn fast_bin(call: &Call<'_>) -> Result<Answer, Fault> {
    only_get(call)?;
    let left = call.query.number("bytes", 1 << 20, 0..=1 << 40)?;
    Ok(with_body(StatusCode::OK, "application/octet-stream", Fast { left }.boxed_unsync()))
}

/// `/events?every=500`: the stock check that goes round the open orders, as one server-sent event each `every`
/// milliseconds, until somebody hangs up.
pub(super) fn events(call: &Call<'_>) -> Result<Answer, Fault> {
    only_get(call)?;
    let every = call.query.number("every", 500, 1..=3_600_000)?;
    let orders = call.books()?.orders.keys().cloned().collect();
    let mut ticks = interval(Duration::from_millis(every));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let place = (call.who.tenant.clone(), call.who.env.clone());
    let body = Events { orders, place, number: 0, ticks, clock: Clock::clone(call.clock) };
    Ok(with_body(StatusCode::OK, "text/event-stream", body.boxed_unsync()))
}

fn only_get(call: &Call<'_>) -> Result<(), Fault> {
    if call.method == "GET" { Ok(()) } else { Err(Fault::method("GET, HEAD")) }
}

/// One order as a row, without the number that stands before it.
fn row(order: &Order) -> String {
    let articles = order.lines.iter().map(|line| format!("{}x {}", line.quantity, line.sku));
    let cells = [
        order.id.clone(),
        order.placed_at.clone(),
        order.channel.clone(),
        order.customer.name.clone(),
        order.customer.country.clone(),
        articles.collect::<Vec<_>>().join(" + "),
        price(order.total),
        order.currency.to_owned(),
    ];
    cells.map(|cell| escape_cell(&cell)).join(",")
}

/// RFC 4180: a cell with a comma, a quote or a line break stands in quotes.
fn escape_cell(cell: &str) -> String {
    if cell.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

struct Csv {
    rows: Vec<String>,
    /// Lines made so far, the heading included.
    line: u64,
    /// Bytes still to make.
    left: u64,
    /// Bytes a second.
    rate: i64,
    /// What may be made now, in parts of a byte: one byte is `STEPS_PER_S` of them. Below zero after a row ran ahead.
    due: i64,
    steps: Interval,
}

impl Csv {
    fn next_line(&mut self, piece: &mut String) {
        let (before, count) = (piece.len(), u64::try_from(self.rows.len()).unwrap_or(u64::MAX));
        if self.line == 0 {
            piece.push_str("line,order,placed_at,channel,customer,country,articles,total,currency\r\n");
        } else {
            let place = (self.line - 1).checked_rem(count).and_then(|place| usize::try_from(place).ok());
            let row = place.and_then(|place| self.rows.get(place)).map_or("no orders", String::as_str);
            // Writing to a string cannot fail.
            let _ = write!(piece, "{},{row}\r\n", self.line);
        }
        self.line += 1;
        let made = piece.len() - before;
        self.left = self.left.saturating_sub(u64::try_from(made).unwrap_or(u64::MAX));
        self.due =
            self.due.saturating_sub(i64::try_from(made).unwrap_or(i64::MAX).saturating_mul(STEPS_PER_S));
    }
}

impl Body for Csv {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        // Rows are never torn, so a row may run ahead of the rate; the next one then waits until it is due.
        while self.due <= 0 {
            ready!(self.steps.poll_tick(cx));
            self.due = self.due.saturating_add(self.rate);
        }
        let mut piece = String::with_capacity(1024);
        while self.left > 0 && self.due > 0 && piece.len() < PIECE {
            self.next_line(&mut piece);
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(piece)))))
    }
}

struct Fast {
    left: u64,
}

/// The piece that a fast download repeats.
static PATTERN: [u8; PIECE] = pattern();

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, and the index is below the length")]
const fn pattern() -> [u8; PIECE] {
    let mut bytes = [0; PIECE];
    let mut at = 0;
    let mut value = 0;
    while at < PIECE {
        bytes[at] = value;
        value = if value == 250 { 0 } else { value + 1 };
        at += 1;
    }
    bytes
}

impl Body for Fast {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Polled {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let mut piece = Bytes::from_static(&PATTERN);
        piece.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left = self.left.saturating_sub(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

struct Events {
    orders: Vec<String>,
    /// Tenant and environment.
    place: (String, String),
    number: u64,
    ticks: Interval,
    clock: Clock,
}

impl Body for Events {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        ready!(self.ticks.poll_tick(cx));
        let at = written((self.clock)());
        let count = u64::try_from(self.orders.len()).unwrap_or(u64::MAX);
        let place = self.number.checked_rem(count).and_then(|place| usize::try_from(place).ok());
        self.number += 1;
        let order = place.and_then(|place| self.orders.get(place));
        let (tenant, environment) = &self.place;
        let data = json!({"tenant": tenant, "environment": environment, "order": order, "at": at});
        let event = format!("id: {}\nevent: stock_checked\ndata: {data}\n\n", self.number);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(event)))))
    }
}
