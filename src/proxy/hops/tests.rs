use super::*;
use crate::{
    model::Address,
    proxy::wire::{Limits, Parsed, RequestHead},
};

fn network(base: &str, bits: u8) -> Network {
    let base: IpAddr = base.parse().unwrap();
    let wide = if base.is_ipv4() { bits + 96 } else { bits };
    Network::new(address_of(base), wide).unwrap()
}

fn hops(header: HopHeader, count: Option<usize>) -> Hops {
    Hops { from: vec![network("10.0.0.0", 8), network("2001:db8:a::", 48)], header, count }
}

fn client(hops: &Hops, peer: &str, lines: &str) -> Result<String, Unclear> {
    let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    let mut head = RequestHead::new();
    let parsed = head.parse(text.as_bytes(), &Limits::default()).unwrap();
    assert!(matches!(parsed, Parsed::Complete { .. }));
    hops.client(peer.parse().unwrap(), &head.view(text.as_bytes())).map(|found| found.to_string())
}

fn by_list(peer: &str, lines: &str) -> Result<String, Unclear> {
    client(&hops(HopHeader::XForwardedFor, None), peer, lines)
}

fn by_element(peer: &str, value: &str) -> Result<String, Unclear> {
    client(&hops(HopHeader::Forwarded, None), peer, &format!("Forwarded: {value}\r\n"))
}

fn is(address: &str) -> Result<String, Unclear> {
    Ok(address.to_owned())
}

#[test]
fn a_peer_that_is_not_trusted_says_nothing() {
    for lines in
        ["", "X-Forwarded-For: 10.0.0.1\r\n", "X-Forwarded-For: \"\r\n", "Forwarded: for=10.0.0.1\r\n"]
    {
        assert_eq!(by_list("192.0.2.1", lines), is("192.0.2.1"), "{lines}");
        assert_eq!(by_list("::ffff:192.0.2.1", lines), is("192.0.2.1"), "{lines}");
        assert_eq!(by_list("2001:db8:b::1", lines), is("2001:db8:b::1"), "{lines}");
    }
    assert_eq!(by_list("11.0.0.1", "X-Forwarded-For: 10.0.0.1\r\n"), is("11.0.0.1"));
}

#[test]
fn the_client_is_the_last_one_that_no_hop_vouches_for_as_a_hop() {
    for (value, found) in [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7, 10.1.2.3", "203.0.113.7"),
        ("1.1.1.1, 203.0.113.7, 10.1.2.3,10.4.5.6", "203.0.113.7"),
        // What the client wrote is not looked at.
        ("10.0.0.1, 203.0.113.7", "203.0.113.7"),
        ("unknown, \", , ,203.0.113.7", "203.0.113.7"),
        ("203.0.113.7:4711", "203.0.113.7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("2001:db8::7", "2001:db8::7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("203.0.113.7, ::ffff:10.1.2.3", "203.0.113.7"),
        ("203.0.113.7, 2001:db8:a::1", "203.0.113.7"),
        // All of them are hops: the farthest asked for itself.
        ("10.9.9.9, 10.1.2.3", "10.9.9.9"),
    ] {
        assert_eq!(by_list("10.0.0.1", &format!("X-Forwarded-For: {value}\r\n")), is(found), "{value}");
    }
    let two = "X-Forwarded-For: 1.1.1.1\r\nx-forwarded-for: 203.0.113.7\r\nX-FORWARDED-FOR: 10.1.1.1\r\n";
    assert_eq!(by_list("::ffff:10.0.0.1", two), is("203.0.113.7"), "lines are one list");
}

#[test]
fn what_a_hop_says_in_no_one_way_is_refused_and_not_guessed() {
    for value in [
        "",
        "unknown",
        "_hidden",
        "203.0.113.7,",
        "203.0.113.7, ",
        "203.0.113.7, 10.0.0.1, unknown",
        "203.0.113.07",
        "203.0.113.256",
        "203.0.113",
        "3405803783",
        "0xcb.0.0x71.7",
        "203.0.113.7 10.0.0.1",
        "203.0.113.7;10.0.0.1",
        "203.0.113.7:",
        "203.0.113.7:70000",
        "203.0.113.7:+80",
        "203.0.113.7:_x",
        "[203.0.113.7]",
        "[2001:db8::7",
        "2001:db8::7]",
        "[2001:db8::7]4711",
        "fe80::1%eth0",
        "for=203.0.113.7",
        "\"203.0.113.7\"",
        "203.0.113.7\u{a0}",
    ] {
        assert_eq!(by_list("10.0.0.1", &format!("X-Forwarded-For: {value}\r\n")), Err(Unclear), "{value:?}");
    }
}

#[test]
fn a_hop_without_a_word_asks_for_itself_and_lookalikes_are_no_word() {
    for lines in
        ["", "X_Forwarded_For: 203.0.113.7\r\n", "X-Forwarded: 203.0.113.7\r\n", "Forwarded: for=1.1.1.1\r\n"]
    {
        assert_eq!(by_list("10.0.0.1", lines), is("10.0.0.1"), "{lines}");
    }
}

#[test]
fn so_many_hops_are_counted_from_the_end() {
    let counted = |count, value: &str| {
        let hops = hops(HopHeader::XForwardedFor, Some(count));
        client(&hops, "10.0.0.1", &format!("X-Forwarded-For: {value}\r\n"))
    };
    assert_eq!(counted(1, "1.1.1.1, 203.0.113.7"), is("203.0.113.7"));
    assert_eq!(counted(2, "1.1.1.1, 203.0.113.7, 198.51.100.1"), is("203.0.113.7"));
    assert_eq!(counted(2, "garbage, 203.0.113.7, 198.51.100.1"), is("203.0.113.7"));
    // It did not come the way that it was to come.
    assert_eq!(counted(3, "203.0.113.7, 198.51.100.1"), Err(Unclear));
    assert_eq!(counted(2, "203.0.113.7, garbage"), Err(Unclear));
}

#[test]
fn forwarded_is_read_whole_or_not_at_all() {
    for (value, found) in [
        ("for=203.0.113.7", "203.0.113.7"),
        ("For=\"203.0.113.7\"", "203.0.113.7"),
        ("for=203.0.113.7:80", "203.0.113.7"),
        ("for=\"[2001:db8::7]:4711\"", "2001:db8::7"),
        ("for=\"[2001:db8::7]:_port\"", "2001:db8::7"),
        ("proto=https;for=203.0.113.7 ; by=10.0.0.1", "203.0.113.7"),
        ("for=unknown, for=203.0.113.7;host=\"a, for=1.1.1.1\", for=10.2.2.2", "203.0.113.7"),
        ("for=\"_a\\\"b\", for=203.0.113.7", "203.0.113.7"),
        ("proto=http, for=203.0.113.7", "203.0.113.7"),
    ] {
        assert_eq!(by_element("10.0.0.1", value), is(found), "{value}");
    }
    for value in [
        "",
        "for",
        "for=",
        "for=203.0.113.7,",
        "for=203.0.113.7;",
        "203.0.113.7",
        "for=\"203.0.113.7",
        // The quote that a client left open swallows the word of the hop.
        "for=\", for=203.0.113.7",
        "for=\"x, for=\"203.0.113.7\"",
        "for=203.0.113.7;for=1.1.1.1",
        "for=203.0.113.7;FOR=203.0.113.7",
        "for =203.0.113.7",
        "for= 203.0.113.7",
        "for=[2001:db8::7]",
        "for=2001:db8::7",
        "for=\"2001:db8::7\"",
        "for=unknown",
        "for=_hidden",
        "by=203.0.113.7",
        "for=203.0.113.7, proto=https",
        "for=\"203.0.113.\\7\"",
        "for=203.0.113.7:_",
    ] {
        assert_eq!(by_element("10.0.0.1", value), Err(Unclear), "{value}");
    }
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever a client sends in front, what its hop saw is what counts.
        #[test]
        fn nothing_in_front_changes_what_the_hop_saw(junk in "[ -~]{0,40}", last in any::<[u8; 4]>()) {
            let own = IpAddr::from(last);
            prop_assume!(!hops(HopHeader::XForwardedFor, None).trusts(own));
            let line = format!("X-Forwarded-For: {junk}, {own}\r\n");
            prop_assert_eq!(by_list("10.0.0.1", &line), is(&own.to_string()));
            let lines = format!("X-Forwarded-For: {junk}\r\nX-Forwarded-For: {own}\r\n");
            prop_assert_eq!(by_list("10.0.0.1", &lines), is(&own.to_string()));
        }

        /// The same of `Forwarded`, or it is refused.
        #[test]
        fn nothing_in_front_of_an_element_changes_what_the_hop_saw(
            junk in "[ -~]{0,40}|(for=|\"|,|;|\\\\|10\\.0\\.0\\.2|1\\.1\\.1\\.1){0,8}", last in any::<[u8; 4]>(),
        ) {
            let own = IpAddr::from(last);
            prop_assume!(!hops(HopHeader::Forwarded, None).trusts(own));
            let found = by_element("10.0.0.1", &format!("{junk}, for={own};proto=https"));
            prop_assert!(found == Err(Unclear) || found == is(&own.to_string()), "{:?}", found);
        }
    }

    #[test]
    fn addresses_are_compared_as_numbers() {
        assert_eq!(address_of("::ffff:10.0.0.1".parse().unwrap()), Address(0xffff_0a00_0001));
    }
}
