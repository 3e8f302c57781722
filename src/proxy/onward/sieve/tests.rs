//! However what an application sends is cut, and however little is asked for at once: all of it but empty frames.

use std::task::Waker;

use proptest::prelude::*;

use super::*;

/// Comes in such pieces; where one is 0, nothing is there for once.
struct Pieces<'a> {
    left: &'a [u8],
    sizes: Vec<usize>,
    turn: usize,
    reads: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.reads += 1;
        let size = this.sizes[this.turn % this.sizes.len()];
        this.turn += 1;
        if size == 0 && !this.left.is_empty() {
            return Poll::Pending;
        }
        let (now, left) = this.left.split_at(size.min(buf.remaining()).min(this.left.len()));
        buf.put_slice(now);
        this.left = left;
        Poll::Ready(Ok(()))
    }
}

fn frame(kind: u8, flags: u8, stream: u8, length: u8) -> Vec<u8> {
    let mut all = vec![0, 0, length, kind, flags, 0, 0, 0, stream];
    all.resize(HEAD + usize::from(length), kind + 1);
    all
}

fn is_empty(kind: u8, flags: u8, stream: u8, length: u8) -> bool {
    (kind, flags & END_STREAM, length) == (DATA, 0, 0) && stream != 0
}

/// Everything up to the end, and how often nothing was there.
fn read_out(sieve: &mut Sieve, pieces: &mut Pieces<'_>, rooms: &[usize]) -> io::Result<Vec<u8>> {
    let (mut all, mut rooms) = (Vec::new(), rooms.iter().cycle());
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        let mut place = vec![0; *rooms.next().unwrap()];
        let mut buf = ReadBuf::new(&mut place);
        match sieve.poll_read(pieces, &mut cx, &mut buf) {
            Poll::Pending => assert!(buf.filled().is_empty()),
            Poll::Ready(read) => {
                let count = read?;
                assert_eq!(count, buf.filled().len());
                if count == 0 {
                    assert!(pieces.left.is_empty(), "an end that is none");
                    return Ok(all);
                }
                all.extend_from_slice(buf.filled());
            }
        }
    }
}

proptest! {
    #[test]
    fn all_but_empty_frames_pass_however_they_are_cut(
        frames in proptest::collection::vec(
            (0..3u8, prop_oneof![4 => Just(0u8), 1 => Just(1), 1 => Just(4)], 0..4u8, prop_oneof![3 => Just(0u8), 1 => 1..40u8]),
            0..30,
        ),
        short in 0..12usize,
        mut sizes in proptest::collection::vec(0..30usize, 1..12),
        rooms in proptest::collection::vec(1..40usize, 1..8),
    ) {
        sizes.push(7);
        let (mut all, mut expected) = (Vec::new(), Vec::new());
        for (kind, flags, stream, length) in frames {
            let bytes = frame(kind, flags, stream, length);
            if !is_empty(kind, flags, stream, length) {
                expected.extend_from_slice(&bytes);
            }
            all.extend(bytes);
        }
        // It may end within a frame, and even that is told.
        let end = frame(1, 0, 1, 40);
        let end = &end[..short];
        all.extend_from_slice(end);
        expected.extend_from_slice(end);
        let mut pieces = Pieces { left: &all, sizes, turn: 0, reads: 0 };
        prop_assert_eq!(read_out(&mut Sieve::new(), &mut pieces, &rooms).unwrap(), expected);
    }
}

#[test]
fn empty_frames_are_paid_for_by_others_and_without_them_end_the_connection() {
    let mut sieve = Sieve::new();
    // For ever, where something comes beside them.
    let mut mixed = frame(DATA, 0, 1, 3);
    mixed.extend(frame(DATA, 0, 1, 0).repeat(PAID as usize));
    let all = mixed.repeat(10_000);
    let mut pieces = Pieces { left: &all, sizes: vec![8000], turn: 0, reads: 0 };
    assert_eq!(read_out(&mut sieve, &mut pieces, &[8000]).unwrap().len(), 12 * 10_000);
    // Nothing but them, and other frames that bring nothing: not.
    let mut nothing = frame(6, 0, 0, 8);
    nothing.extend(frame(DATA, 0, 1, 0).repeat(100));
    let all = nothing.repeat(10_000);
    let mut pieces = Pieces { left: &all, sizes: vec![8000], turn: 0, reads: 0 };
    let fault = read_out(&mut sieve, &mut pieces, &[8000]).unwrap_err();
    assert_eq!(fault.kind(), io::ErrorKind::InvalidData);
}

#[test]
fn one_poll_reads_a_bounded_number_of_times_and_is_woken_for_the_rest() {
    struct Woken(std::sync::atomic::AtomicUsize);
    impl std::task::Wake for Woken {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }
    let woken = std::sync::Arc::new(Woken(std::sync::atomic::AtomicUsize::new(0)));
    let waker = Waker::from(std::sync::Arc::clone(&woken));
    let all = frame(DATA, 0, 1, 0).repeat(1000);
    let mut pieces = Pieces { left: &all, sizes: vec![18], turn: 0, reads: 0 };
    let mut place = [0; 100];
    let mut buf = ReadBuf::new(&mut place);
    let mut sieve = Sieve::new();
    assert!(sieve.poll_read(&mut pieces, &mut Context::from_waker(&waker), &mut buf).is_pending());
    assert_eq!((pieces.reads, woken.0.load(std::sync::atomic::Ordering::Relaxed)), (READS, 1));
}

#[test]
fn slowly_they_may_come_for_ever() {
    let mut sieve = Sieve::new();
    let second = |sieve: &mut Sieve| {
        sieve.since -= EACH * 100;
        assert_eq!(sieve.sift(&mut frame(DATA, 0, 1, 0).repeat(100)).unwrap(), 0);
    };
    for _ in 0..MOST / 100 * 3 {
        second(&mut sieve);
    }
}
