//! What leaves of a stream that was cut, however the bytes are given and however the kernel takes them.

use proptest::prelude::*;

use super::*;

const CUT: u32 = 3;

#[derive(Debug, Clone)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    length: usize,
}

fn frames() -> impl Strategy<Value = Vec<Frame>> {
    let kinds = prop_oneof![
        8 => Just(DATA),
        1 => Just(HEADERS),
        1 => Just(CONTINUATION),
        1 => Just(RST_STREAM),
        1 => Just(8u8),
    ];
    let length = prop_oneof![Just(0usize), 1..20usize, 200..300usize];
    let frame = (kinds, any::<bool>(), prop_oneof![Just(1u32), Just(CUT), Just(5)], length);
    let frame = frame.prop_map(|(kind, ends, stream, length)| Frame {
        kind,
        flags: if ends && kind <= HEADERS { END_STREAM } else { 0 },
        stream: if kind == HEADERS && length > 20 { 1 } else { stream },
        length: if matches!(kind, RST_STREAM | 8) { 4 } else { length },
    });
    proptest::collection::vec(frame, 1..12)
}

fn encoded(frames: &[Frame]) -> Vec<u8> {
    let mut all = Vec::new();
    for frame in frames {
        let length = u32::try_from(frame.length).unwrap().to_be_bytes();
        all.extend_from_slice(&[length[1], length[2], length[3], frame.kind, frame.flags]);
        all.extend_from_slice(&frame.stream.to_be_bytes());
        all.resize(all.len() + frame.length, 7);
    }
    all
}

/// What should leave when the stream is cut behind so many bytes; `Err` with how much at most, where it cannot. Then whether a
/// reset is to be added.
fn expected(frames: &[Frame], at: usize) -> (Result<Vec<u8>, usize>, bool) {
    let mut all = encoded(frames);
    let (mut start, mut unended, mut reset) = (0, false, false);
    for frame in frames {
        let payload = start + HEAD;
        let end = payload + frame.length;
        if frame.stream == CUT && end > at {
            match frame.kind {
                DATA => {
                    if frame.flags & END_STREAM != 0 {
                        if start + 4 < at {
                            return (Err(at), false);
                        }
                        all[start + 4] = 0;
                        unended = true;
                    }
                    all[payload.max(at).min(end)..end].fill(0);
                }
                HEADERS | CONTINUATION => return (Err(at.max(start)), false),
                // Told when its head is whole.
                RST_STREAM => reset |= payload > at,
                _ => {}
            }
        }
        start = end;
    }
    (Ok(all), unended && !reset)
}

proptest! {
    #[test]
    fn nothing_of_a_stream_leaves_once_it_was_cut(
        frames in frames(),
        at in any::<proptest::sample::Index>(),
        given in proptest::collection::vec(HEAD..60usize, 1..20),
        taken in proptest::collection::vec(1..40usize, 1..20),
    ) {
        let input = encoded(&frames);
        let at = at.index(input.len() + 1);
        let (expected, told) = expected(&frames, at);
        let (cuts, mut outgoing) = (Cuts::default(), Outgoing::new());
        let mut out = input[..at].to_vec();
        for piece in out.chunks(taken[0]) {
            outgoing.left(piece, &cuts, |_| {});
        }
        cuts.add(CUT);
        let (mut given, mut taken) = (given.iter().cycle(), taken.iter().cycle());
        let ended = loop {
            if out.len() == input.len() {
                break Ok(());
            }
            let all = &input[out.len()..];
            let all = &all[..all.len().min(*given.next().unwrap())];
            let (first, second) = all.split_at(all.len() / 2);
            match outgoing.emptied(&[IoSlice::new(first), IoSlice::new(second)], &cuts) {
                Err(Inseparable) => break Err(()),
                Ok(bytes) => {
                    prop_assert!(!bytes.is_empty() && bytes.len() <= all.len());
                    let now = bytes[..bytes.len().min(*taken.next().unwrap())].to_vec();
                    outgoing.left(&now, &cuts, |_| {});
                    out.extend(now);
                }
            }
        };
        match expected {
            Ok(expected) => {
                prop_assert_eq!(ended, Ok(()));
                prop_assert_eq!(&out, &expected);
                let reset = [0, 0, 4, RST_STREAM, 0, 0, 0, 0, 3, 0, 0, 0, 8];
                prop_assert_eq!(outgoing.settled(&cuts), if told { &reset[..] } else { &[] });
                prop_assert!(cuts.is_empty());
            }
            Err(most) => {
                prop_assert_eq!(ended, Err(()));
                prop_assert!(out.len() <= most);
            }
        }
    }
}

#[test]
fn a_head_of_which_nothing_can_be_seen_does_not_pass() {
    let (cuts, outgoing) = (Cuts::default(), Outgoing::new());
    cuts.add(CUT);
    assert_eq!(outgoing.emptied(&[IoSlice::new(&[0, 0, 1, 0, 1])], &cuts), Err(Inseparable));
}
