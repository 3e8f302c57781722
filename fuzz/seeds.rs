//! Writes a target's first inputs: the cases of `tests/corpus`, and small honest examples where there is no corpus.
//! Compiled by itself (`scripts/fuzz` does), without a single dependency: `seeds TARGET DIRECTORY`, from the
//! repository's root.

#[path = "../tests/corpus/format.rs"]
#[allow(dead_code, reason = "of the format only reading is needed")]
mod format;

use std::{fs, path::Path};

const HEADER: &str = r#"{"alg":"EdDSA","kid":"k","typ":"at+jwt"}"#;

const DOCUMENTS: &str = include_str!("seeds/documents.jsonl");

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|fault| panic!("{path}: {fault}"))
}

fn files(dir: &str) -> Vec<String> {
    let mut files: Vec<String> = fs::read_dir(dir)
        .unwrap_or_else(|fault| panic!("{dir}: {fault}"))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .map(|path| path.display().to_string())
        .collect();
    files.sort();
    files
}

fn gate() -> Vec<Vec<u8>> {
    let fill = [("{admin}", "a.b.c"), ("{staff}", "d.e.f"), ("{expired}", "g.h.i"), ("{session}", "ses_1")];
    let cases = files("tests/corpus/http1").into_iter().flat_map(|file| format::cases(&text(&file), &fill));
    let mut seeds: Vec<Vec<u8>> = cases.map(|case| case.bytes()).filter(|bytes| bytes.len() < 4096).collect();
    // What is said around a request: PROXY headers as they stand there, of the others the values.
    for file in files("tests/corpus/client_address") {
        for case in format::cases(&text(&file), &fill) {
            let bytes = case.bytes();
            let lines = bytes.split(|byte| *byte == b'\n').filter_map(|line| {
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                let prefixes: [&[u8]; 2] = [b"X-Forwarded-For: ", b"Forwarded: "];
                prefixes.iter().find_map(|prefix| line.strip_prefix(*prefix)).map(<[u8]>::to_vec)
            });
            seeds.extend(lines);
            seeds.push(bytes);
        }
    }
    for lines in [
        "grpc-status: 0\r\ngrpc-message: all%20well\r\n",
        "x-user: root\r\nx-checksum: 7\r\n",
        "Trailer: a\r\n",
    ] {
        seeds.push(lines.as_bytes().to_vec());
    }
    seeds
}

fn path() -> Vec<Vec<u8>> {
    let cases = files("tests/corpus/paths").into_iter().flat_map(|file| format::cases(&text(&file), &[]));
    cases.map(|case| [b"\0".as_slice(), &case.bytes()].concat()).collect()
}

fn base64url(part: &[u8]) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'-' => Some(62),
        b'_' => Some(63),
        _ => None,
    };
    let (mut out, mut held, mut bits) = (Vec::new(), 0u32, 0);
    for value in part.iter().filter_map(|byte| value(*byte)) {
        held = held << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((held >> bits & 0xff) as u8);
        }
    }
    out
}

fn token() -> Vec<Vec<u8>> {
    let mut seeds = vec![];
    let times = r#""iat":1799999940,"exp":1800003600"#;
    for claims in [
        format!(r#"{{"iss":"https://staff.example/","aud":"postern","sub":"agent-7",{times}}}"#),
        format!(
            r#"{{"iss":"https://staff.example/","aud":["a","postern"],"sub":"a",{times},"nbf":1799999940.5,"email":"a@b.example","email_verified":true,"act":{{"sub":"x"}}}}"#
        ),
        format!(
            r#"{{"iss":"https://members.example/","aud":"postern","sub":"u|1",{times},"tenant":"acme","roles":["admin","viewer"],"environment":"production"}}"#
        ),
    ] {
        seeds.push(format!("\u{1}{HEADER}\n{claims}").into_bytes());
    }
    // The bad ones: as they stand, and their header and payload to be signed again.
    for case in files("tests/corpus/tokens").into_iter().flat_map(|file| format::cases(&text(&file), &[])) {
        let bytes = case.bytes();
        if bytes.len() > 2048 {
            continue;
        }
        let parts: Vec<&[u8]> = bytes.split(|byte| *byte == b'.').collect();
        if let [header, payload, ..] = parts.as_slice() {
            let header = String::from_utf8_lossy(&base64url(header)).replace("ES256", "EdDSA");
            let header = header.replace(r#""kid":"ec""#, r#""kid":"k""#);
            seeds.push([b"\x01", header.as_bytes(), b"\n", &base64url(payload)].concat());
        }
        seeds.push([b"\0", bytes.as_slice()].concat());
    }
    seeds
}

fn configuration() -> Vec<Vec<u8>> {
    let mut seeds =
        vec![text("tests/config/base.yaml").into_bytes(), text("tests/cli/postern.yaml").into_bytes()];
    let broken = text("tests/config/broken.rs") + &text("tests/config/meaning.rs");
    // Every text in the tests that looks like a piece of configuration, in the place of its first line.
    let base = text("tests/config/base.yaml");
    for piece in broken.split('"').filter(|piece| piece.contains(": ") && piece.len() < 400) {
        let key = piece.split(':').next().unwrap_or_default();
        let line = base.lines().find(|line| line.starts_with(&format!("{key}:")));
        seeds.push(
            line.map_or_else(|| format!("{base}{piece}\n"), |line| base.replace(line, piece)).into_bytes(),
        );
    }
    seeds
}

fn document() -> Vec<Vec<u8>> {
    let documents: Vec<&str> = DOCUMENTS.lines().collect();
    let mut seeds: Vec<Vec<u8>> = documents.iter().map(|one| one.as_bytes().to_vec()).collect();
    for two in documents.windows(2) {
        seeds.push(two.join("\n").into_bytes());
    }
    for three in documents.windows(3) {
        seeds.push(three.join("\n").into_bytes());
    }
    for key in
        [r#"{"tenant":"acme"}"#, r#"{"grant":["acme","gra_1"]}"#, r#"{"presence":["acme","vendor/sam"]}"#]
    {
        seeds.push(key.as_bytes().to_vec());
    }
    seeds
}

fn journal() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for file in 0..8u8 {
        for deed in 0..9u8 {
            for mode in 0..2u8 {
                seeds.push(vec![mode, file, deed, 1, 17, 1]);
            }
        }
    }
    seeds.push(b"\x01\x00\x06\x00\x00\x00\xff{\"v\":1,\"log\":\"postern.example/gw1\",\"seq\":18".to_vec());
    let zeros = "0".repeat(64);
    let line = format!(
        r#"{{"v":1,"log":"postern.example/gw1","seq":7,"batch":7,"at":"2023-11-14T22:13:20.000Z","kind":"access.intent","session":"s-0","sseq":1,"opens":"x-1","prev":"{zeros}","route":"orders.list"}}"#
    );
    seeds.push([b"\x03", line.as_bytes()].concat());
    seeds
}

fn checkpoint() -> Vec<Vec<u8>> {
    let vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let skey = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    let text = "PeterNeumann\n7\nAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=\n";
    let signature = "\n— other.example x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    let note = format!("{text}{signature}");
    let mut seeds: Vec<Vec<u8>> =
        [vkey, skey, text, note.as_str()].iter().map(|seed| format!("\0{seed}").into_bytes()).collect();
    seeds.extend((0..120u8).map(|at| vec![1, 0, at, 0, b'A']));
    seeds
}

fn narrow() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for text in [
        r#"[{"id":"v1","a":[1,-2.5e+3,true,null]},{"id":"h2"},{"id":4},{"\u0069d":"\u0076\ud83d\ude00"}]"#,
        r#"["v1","h2",3,4,9007199254740993]"#,
        r#" { "a" : [ {"id":"v1"} , {"id":"h"} ] , "b" : {"x":"\n\/"} , "c" : {"d":1,"t":2} , "t" : 3 } "#,
        r#"{"t":9,"a":{"t":1,"b":[{"n":{"id":"v1"}},{"n":{"id":"v","id":"h"}}],"x":"é😀"}}"#,
        r#"[NaN]"#,
        r#"["\ud800"]"#,
        "\u{feff}[]",
        "[] []",
        "[[[[[[[[[[]]]]]]]]]]",
    ] {
        for which in 0..4u8 {
            seeds.push([&[which, 7], text.as_bytes()].concat());
        }
    }
    seeds
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (target, dir) = (arguments.next().expect("a target"), arguments.next().expect("a directory"));
    let seeds = match target.as_str() {
        "gate" => gate(),
        "path" => path(),
        "token" => token(),
        "configuration" => configuration(),
        "document" => document(),
        "journal" => journal(),
        "checkpoint" => checkpoint(),
        "narrow" => narrow(),
        other => panic!("no such target: {other}"),
    };
    for (number, seed) in seeds.iter().enumerate() {
        fs::write(Path::new(&dir).join(format!("seed-{number:04}")), seed).expect("a place for seeds");
    }
    println!("{} seeds", seeds.len());
}
