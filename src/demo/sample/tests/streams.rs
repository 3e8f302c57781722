//! Long answers and uploads: their content, their pace, what a slow reader costs, and what a cut leaves behind.

use super::*;
use crate::demo::sample::End;
use crate::demo::sample::seen::KEPT;

const CSV: &str = "/t/acme/api/exports/orders.csv";
/// What may lie between the application and a reader: the two kernels' buffers and the connection's own.
const IN_BETWEEN: u64 = 16 << 20;

/// Waits until the application handed out nothing for a while: it is held back by its reader.
async fn settled(stage: &Stage) -> u64 {
    let waiting = async {
        let (mut sent, mut quiet) = (0, 0);
        while quiet < 10 || sent == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let now = stage.last().sent;
            quiet = if now == sent { quiet + 1 } else { 0 };
            sent = now;
        }
        sent
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap()
}

/// What the whole process holds in memory, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[tokio::test]
async fn fast_download_is_exactly_as_long_as_asked_for() {
    let stage = Stage::new().await;
    for bytes in [0usize, 1, 16_384, 1_000_003] {
        let heard = stage.ask("GET", &format!("/t/acme/api/exports/fast.bin?bytes={bytes}"), None).await;
        assert_eq!(heard.body.len(), bytes);
        assert!(heard.head.contains(&format!("content-length: {bytes}\r\n")), "{}", heard.head);
        let expected = |(at, byte): (usize, &u8)| usize::from(*byte) == at % 16_384 % 251;
        assert!(heard.body.iter().enumerate().all(expected));
        let seen = stage.until("complete", |seen| seen.end != End::Open).await;
        assert_eq!((seen.end, seen.sent), (End::Complete, bytes as u64));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_reader_of_a_fast_download_holds_memory_flat() {
    let stage = Stage::new().await;
    let whole = 4u64 << 30;
    let before = resident();
    let mut stream = stage.open("GET", &format!("/t/acme/api/exports/fast.bin?bytes={whole}"), "").await;
    let mut read = 0;
    let mut buffer = vec![0; 256 * 1024];
    for _ in 0..3 {
        let sent = settled(&stage).await;
        assert!(sent - read <= IN_BETWEEN, "{sent} bytes were made, {read} were read");
        for _ in 0..80 {
            read += stream.read(&mut buffer).await.unwrap() as u64;
        }
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 64 << 20, "memory grew by {grown} bytes while 4 GiB were on offer");
    assert_eq!(stage.last().end, End::Open);
    drop(stream);
    let seen = stage.until("cut", |seen| seen.end != End::Open).await;
    assert_eq!(seen.end, End::Cut);
    assert!(seen.sent < whole / 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_reader_of_the_csv_holds_it_back_whatever_its_rate() {
    let stage = Stage::new().await;
    let target = format!("{CSV}?seconds=3600&rate=100000000");
    let mut stream = stage.open("GET", &target, "").await;
    let first = settled(&stage).await;
    assert!(first <= IN_BETWEEN, "{first} bytes were made for a reader that reads none");
    let mut buffer = vec![0; 256 * 1024];
    let mut read = 0;
    while read < first + (1 << 20) {
        read += stream.read(&mut buffer).await.unwrap() as u64;
    }
    let later = stage.until("further", |seen| seen.sent > first).await.sent;
    assert!(later <= read + IN_BETWEEN);
}

#[tokio::test]
async fn csv_keeps_its_rate_and_ends_on_a_whole_row() {
    let stage = Stage::new().await;
    let started = tokio::time::Instant::now();
    let heard = stage.ask("GET", &format!("{CSV}?seconds=2&rate=20000"), None).await;
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(1700), "it took {took:?}");
    assert!(heard.head.contains("content-type: text/csv"));
    let text = String::from_utf8(heard.body).unwrap();
    assert!((40_000..40_300).contains(&text.len()), "{} bytes", text.len());
    assert!(text.ends_with("\r\n"));
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("line,order,placed_at,channel,customer,country,articles,total,currency"));
    assert_eq!(
        lines.clone().nth(6),
        Some("7,ord-1042,2026-05-14T06:28:00Z,web-shop,Grace Lindqvist,US,1x TENT-2P + 2x LAMP-H,298.00,USD")
    );
    for (at, line) in lines.enumerate() {
        assert!(line.starts_with(&format!("{},ord-10", at + 1)) && line.split(',').count() == 9, "{line}");
    }
}

#[tokio::test]
async fn csv_quotes_what_would_break_a_row() {
    let stage = Stage::new().await;
    let customer = json!({"name": "Smith, \"Bob\"", "email": "b@mail.example", "city": "C", "country": "US"});
    let new = json!({"customer": customer, "lines": [{"sku": "LAMP-H", "quantity": 1}]});
    stage.ask("POST", "/t/acme/api/orders", Some(new)).await;
    let heard = stage.ask("GET", &format!("{CSV}?seconds=1&rate=2000"), None).await;
    let text = String::from_utf8(heard.body).unwrap();
    assert!(text.contains(",telephone,\"Smith, \"\"Bob\"\"\",US,"), "{text}");
}

#[tokio::test]
async fn events_come_one_by_one_until_the_reader_hangs_up() {
    let stage = Stage::new().await;
    let mut stream = stage.open("GET", "/t/acme/api/events?every=20", "").await;
    let mut text = String::new();
    let reading = async {
        while !text.contains("id: 5\n") {
            let mut buffer = [0; 1024];
            let count = stream.read(&mut buffer).await.unwrap();
            assert_ne!(count, 0, "the stream has no end");
            text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.unwrap();
    assert!(text.to_lowercase().contains("content-type: text/event-stream"));
    assert!(text.contains("event: stock_checked\ndata: {"));
    assert!(
        text.contains("\"order\":\"ord-1036\"") && text.contains("\"at\":\"2026-05-14T06:40:00Z\""),
        "{text}"
    );
    drop(stream);
    let seen = stage.until("cut", |seen| seen.end != End::Open).await;
    assert_eq!((seen.end, seen.status), (End::Cut, Some(200)));
}

#[tokio::test]
async fn upload_is_counted_and_hashed_and_not_kept() {
    let stage = Stage::new().await;
    let target = "/t/acme/api/imports";
    let body = "abc".repeat(1_000_000);
    let headers = format!("Postern-Assertion: {}\r\n", stage.sign(&stage.claims("POST", target)));
    let heard = stage.raw("POST", target, &headers, &body).await;
    assert_eq!((heard.status, &heard.json()["bytes"]), (201, &json!(3_000_000)));
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body.as_bytes());
    let expected: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(heard.json()["sha256"], json!(expected));
    assert_eq!(stage.last().received, 3_000_000);
    let empty = stage.raw("POST", target, &headers, "").await.json();
    assert_eq!(empty["sha256"], "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    let list = stage.ask("GET", target, None).await.json();
    assert_eq!(list["imports"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn upload_cut_off_half_way_leaves_nothing_behind() {
    let stage = Stage::new().await;
    let target = "/t/acme/api/imports";
    for (framing, half) in [
        ("Content-Length: 100000\r\n", "x".repeat(50_000)),
        ("Transfer-Encoding: chunked\r\n", format!("c350\r\n{}\r\n", "x".repeat(50_000))),
    ] {
        let mut stream = stage.open("POST", target, framing).await;
        stream.write_all(half.as_bytes()).await.unwrap();
        stage.until("half received", |seen| seen.end == End::Open && seen.received == 50_000).await;
        drop(stream);
        let seen = stage.until("cut", |seen| seen.end != End::Open).await;
        assert_eq!((seen.end, seen.received), (End::Cut, 50_000), "{framing}");
    }
    assert_eq!(stage.ask("GET", target, None).await.json()["imports"], json!([]));
}

#[tokio::test]
async fn stop_ends_the_application_with_streams_open() {
    let stage = Stage::new().await;
    let mut events = stage.open("GET", "/t/acme/api/events?every=10", "").await;
    let mut upload = stage.open("POST", "/t/acme/api/imports", "Content-Length: 10\r\n").await;
    stage.until("two under way", |seen| seen.number == 2).await;
    stage.stop.cancel();
    tokio::time::timeout(PATIENCE, stage.server).await.unwrap().unwrap().unwrap();
    for stream in [&mut events, &mut upload] {
        let mut rest = Vec::new();
        // A reset is as good an end as any; it must come.
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.unwrap();
    }
    assert!(stage.sample.seen().iter().all(|seen| seen.end == End::Cut), "{:?}", stage.sample.seen());
    assert!(TcpStream::connect(stage.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn log_keeps_the_latest_and_counts_all() {
    let stage = Stage::new().await;
    assert_eq!((stage.sample.received(), stage.sample.seen().len()), (0, 0));
    let mut stream = TcpStream::connect(stage.address).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let writing = async {
        for number in 0..KEPT + 20 {
            let request = format!("GET /t/acme/{number}?a=b HTTP/1.1\r\nHost: app\r\n\r\n");
            writer.write_all(request.as_bytes()).await.unwrap();
        }
        stage.until("all answered", |seen| seen.number == (KEPT + 20) as u64 && seen.status.is_some()).await;
    };
    let mut answers = Vec::new();
    tokio::select! { () = writing => {}, _ = reader.read_to_end(&mut answers) => panic!("closed") }
    let seen = stage.sample.seen();
    assert_eq!((seen.len(), stage.sample.received()), (KEPT, (KEPT + 20) as u64));
    let (first, last) = (seen.first().unwrap(), seen.last().unwrap());
    assert_eq!((first.number, last.path.as_str()), (21, "/t/acme/531"));
    assert_eq!((last.query.as_deref(), last.status, &last.who), (Some("a=b"), Some(401), &None));
}
