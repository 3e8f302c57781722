//! One sentence for each fault and each option; the corpus against simulated back-ends is in `tests/paths.rs`.

use super::*;

fn fault(raw: &str) -> PathFault {
    CanonicalPath::of(raw.as_bytes()).unwrap_err()
}

#[test]
fn ordinary_paths_pass_unchanged() {
    for raw in [
        "/",
        "/a",
        "/a/",
        "/t/acme/api/orders/42",
        "/.well-known/openid-configuration",
        "/@me/x:disable/a=b,c+d&e$f",
        "/~u/!'()*",
        "/caf%C3%A9/%E4%B8%AD%E6%96%87/%F0%9F%98%80",
        "/a%20b/%5B1%5D/%7Bx%7D",
        "/v1.2/a..b/.a",
    ] {
        let path = CanonicalPath::of(raw.as_bytes()).unwrap();
        assert_eq!(path.as_str(), raw);
        let segments: Vec<&str> = path.segments().collect();
        let joined =
            format!("/{}{}", segments.join("/"), if raw.len() > 1 && raw.ends_with('/') { "/" } else { "" });
        assert_eq!(joined, raw);
        assert_eq!(segments.len(), path.segment_count());
        for (number, segment) in segments.iter().enumerate() {
            assert_eq!(&raw[path.range(number).unwrap()], *segment);
        }
        assert_eq!(path.range(segments.len()), None);
    }
}

#[test]
fn every_fault_has_its_spelling() {
    use PathFault::*;
    for (raw, expected) in [
        ("", NotRooted),
        ("a", NotRooted),
        ("*", NotRooted),
        ("http://h/a", NotRooted),
        ("//", EmptySegment),
        ("//a", EmptySegment),
        ("/a//b", EmptySegment),
        ("/a//", EmptySegment),
        ("/.", DotSegment),
        ("/a/./b", DotSegment),
        ("/a/..", DotSegment),
        ("/a/../", DotSegment),
        ("/a./b", TrailingDot),
        ("/a/...", TrailingDot),
        ("/a%20/b", EdgeSpace),
        ("/%20a", EdgeSpace),
        ("/a\\b", Backslash),
        ("/a%5Cb", Backslash),
        ("/a;b", MatrixParameter),
        ("/a%3Bb", MatrixParameter),
        ("/a\0", Control),
        ("/a\t", Control),
        ("/a%00", Control),
        ("/a%0D%0A", Control),
        ("/a%7F", Control),
        ("/a%C2%85", Control),
        ("/caf\u{e9}", RawNonAscii),
        ("/a b", RawUnsafe),
        ("/a[1]", RawUnsafe),
        ("/a?b", Query),
        ("/a#b", Fragment),
        ("/a%", BadEscape),
        ("/a%4", BadEscape),
        ("/a%zz", BadEscape),
        ("/a%u002e", BadEscape),
        ("/caf%c3%a9", LowerCaseEscape),
        ("/a%2fb", LowerCaseEscape),
        ("/a%2Fb", EncodedSlash),
        ("/a%252Fb", EncodedPercent),
        ("/a%3Fb", EncodedDelimiter),
        ("/a%23b", EncodedDelimiter),
        ("/%41", NeedlessEscape),
        ("/%2E%2E/a", NeedlessEscape),
        ("/a%40b", NeedlessEscape),
        ("/%C0%AF", InvalidUtf8),
        ("/%E0%80%AF", InvalidUtf8),
        ("/%ED%A0%80", InvalidUtf8),
        ("/%F5%80%80%80", InvalidUtf8),
        ("/%80", InvalidUtf8),
        ("/%C3", InvalidUtf8),
        ("/%C3x", InvalidUtf8),
        ("/%C3%", BadEscape),
        ("/%EF%BC%8F", LookAlike),
        ("/%EF%BC%8E%EF%BC%8E", LookAlike),
        ("/e%CC%81", LookAlike),
    ] {
        assert_eq!(fault(raw), expected, "{raw:?}");
    }
    assert_eq!(CanonicalPath::of(b"/\xff").unwrap_err(), RawNonAscii);
}

#[test]
fn length_and_segments_are_bounded() {
    let longest = format!("/{}", "a".repeat(MAX_PATH - 1));
    assert!(CanonicalPath::of(longest.as_bytes()).is_ok());
    assert_eq!(fault(&format!("{longest}a")), PathFault::TooLong);
    let deepest = "/a".repeat(MAX_SEGMENTS);
    assert_eq!(CanonicalPath::of(deepest.as_bytes()).unwrap().segment_count(), MAX_SEGMENTS);
    assert_eq!(CanonicalPath::of(format!("{deepest}/").as_bytes()).unwrap().segment_count(), MAX_SEGMENTS);
    assert_eq!(fault(&format!("{deepest}/a")), PathFault::TooManySegments);
}

#[test]
fn matrix_parameters_pass_only_when_allowed_and_hide_no_dots() {
    let rules = PathRules { matrix_parameters: true, ..PathRules::default() };
    assert!(CanonicalPath::under(b"/a;v=1/b", rules).is_ok());
    for (raw, expected) in [
        ("/..;/a", PathFault::DotSegment),
        ("/.;x", PathFault::DotSegment),
        ("/;x", PathFault::EmptySegment),
        ("/a.;x", PathFault::TrailingDot),
        ("/a%20;x", PathFault::EdgeSpace),
        ("/a%3Bx", PathFault::MatrixParameter),
    ] {
        assert_eq!(CanonicalPath::under(raw.as_bytes(), rules).unwrap_err(), expected, "{raw}");
    }
}

#[test]
fn delimiters_have_one_spelling_either_way() {
    let encoded = PathRules { delimiters: Delimiters::Encoded, ..PathRules::default() };
    for (raw, escaped) in
        [("$", "%24"), ("&", "%26"), ("+", "%2B"), (",", "%2C"), (":", "%3A"), ("=", "%3D"), ("@", "%40")]
    {
        let (raw, escaped) = (format!("/a{raw}b"), format!("/a{escaped}b"));
        assert!(CanonicalPath::of(raw.as_bytes()).is_ok());
        assert_eq!(fault(&escaped), PathFault::NeedlessEscape);
        assert!(CanonicalPath::under(escaped.as_bytes(), encoded).is_ok());
        assert_eq!(CanonicalPath::under(raw.as_bytes(), encoded).unwrap_err(), PathFault::RawDelimiter);
    }
}

#[test]
fn non_ascii_can_be_refused_altogether() {
    let ascii = PathRules { non_ascii: false, ..PathRules::default() };
    assert_eq!(CanonicalPath::under(b"/caf%C3%A9", ascii).unwrap_err(), PathFault::NonAscii);
    assert!(CanonicalPath::under(b"/a%20b", ascii).is_ok());
}

#[test]
fn codes_are_unique_and_messages_are_one_line() {
    let mut codes: Vec<_> = PathFault::ALL.iter().map(|fault| fault.code()).collect();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), PathFault::ALL.len());
    assert!(PathFault::ALL.iter().all(|fault| !fault.to_string().contains('\n')));
}

#[test]
fn every_code_is_explained_to_platform_teams() {
    let page = include_str!("../../../docs/paths.md");
    let codes = PathFault::ALL.map(PathFault::code);
    for code in codes.into_iter().chain([QueryFault::Fragment.code(), QueryFault::NotVisible.code()]) {
        assert!(page.contains(&format!("`{code}`")), "{code} is not in docs/paths.md");
    }
}

#[test]
fn sharp_s_and_dotless_i_have_a_twin_in_ascii() {
    let mut buffer = [0; 16];
    assert_eq!(case_twin(b"Addre%C3%9F", &mut buffer), Some(&b"address"[..]));
    assert_eq!(case_twin(b"adm%C4%B1n", &mut buffer), Some(&b"admin"[..]));
    assert_eq!(case_twin(b"caf%C3%A9", &mut buffer), None);
    assert_eq!(case_twin(b"aaaaaaaaaaaaaaaaaaaaa", &mut buffer), None);
}

#[test]
fn query_is_visible_ascii_without_a_fragment() {
    assert_eq!(query_ok(b"a=1&b=%2F..\\%00;\"x\"|"), Ok(()));
    assert_eq!(query_ok(b""), Ok(()));
    assert_eq!(query_ok(b"a#b"), Err(QueryFault::Fragment));
    for bad in [&b"a b"[..], b"a\r\nX: y", b"\0", b"\x7f", b"\xc3\xa9"] {
        assert_eq!(query_ok(bad), Err(QueryFault::NotVisible));
    }
    assert_eq!(QueryFault::Fragment.code(), "query_fragment");
}

#[test]
fn segment_has_one_reading() {
    assert_eq!(decoded("orders"), "orders");
    assert_eq!(decoded("caf%C3%A9%20%5B1%5D"), "café [1]");
}
