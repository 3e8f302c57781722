//! What begins goes before what goes on: of the bodies that are under way so many pieces pass while the core goes once through
//! all that is ready, and the others when it has looked again at what has arrived. Four thousand uploads whose next piece comes
//! in the same millisecond would otherwise stand before every request that comes behind them.
//!
//! Where fewer are ready at a time, nobody waits. Never here: what a piece is, and whose.

use std::{cell::Cell, rc::Rc};

use tokio::sync::Notify;

/// Pieces that pass in one turn: two milliseconds' work.
const PIECES: usize = 96;
/// As many may pass before anybody looks whether the turn is over: who is alone pays next to nothing.
const FEW: usize = 16;

/// A core's turns; see the module's header.
#[derive(Default)]
pub(super) struct Turns {
    /// Pieces that passed, or were told to, since the last turn began.
    passed: Cell<usize>,
    waiting: Cell<usize>,
    /// Somebody sees to the next turn.
    seen_to: Cell<bool>,
    next: Notify,
}

/// Somebody waits, for as long as this lives.
struct Waits<'a>(&'a Cell<usize>);

impl<'a> Waits<'a> {
    fn new(count: &'a Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Turns {
    /// Over when the next piece may pass. Whoever asks first passes first.
    pub(super) async fn turn(self: &Rc<Self>) {
        let passed = self.passed.get();
        if passed >= FEW && !self.seen_to.replace(true) {
            // It comes behind all that is ready now.
            tokio::task::spawn_local(Rc::clone(self).see_to_it());
        }
        if passed < PIECES && self.waiting.get() == 0 {
            return self.passed.set(passed + 1);
        }
        let _waits = Waits::new(&self.waiting);
        self.next.notified().await;
    }

    /// Begins one turn behind the other, for as long as anybody waits.
    async fn see_to_it(self: Rc<Self>) {
        while self.waiting.get() > 0 {
            // The runtime looks at what has arrived before it comes back to who yields.
            tokio::task::yield_now().await;
            let pass = self.waiting.get().min(PIECES);
            self.passed.set(pass);
            for _ in 0..pass {
                self.next.notify_one();
            }
        }
        self.passed.set(0);
        self.seen_to.set(false);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::UnixStream,
        runtime::{Builder, LocalOptions},
        task::spawn_local,
    };

    use super::*;

    const MANY: usize = 1000;

    fn on_a_core<T>(what: impl Future<Output = T>) -> T {
        let runtime =
            Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
        let all = async { tokio::time::timeout(Duration::from_secs(20), what).await };
        runtime.block_on(all).expect("all pass")
    }

    #[test]
    fn what_arrives_waits_for_one_turn_and_not_for_all_who_came_before_it() {
        on_a_core(async {
            let turns = Rc::new(Turns::default());
            let passed = Rc::new(Cell::new(0));
            let (mut told, mut teller) = UnixStream::pair().unwrap();
            let seen = Rc::clone(&passed);
            let fresh = spawn_local(async move {
                told.read_u8().await.unwrap();
                seen.get()
            });
            // It waits for its byte by now.
            tokio::task::yield_now().await;
            teller.write_u8(1).await.unwrap();
            let pieces: Vec<_> = (0..MANY)
                .map(|_| {
                    let (turns, passed) = (Rc::clone(&turns), Rc::clone(&passed));
                    spawn_local(async move {
                        turns.turn().await;
                        passed.set(passed.get() + 1);
                    })
                })
                .collect();
            let before = fresh.await.unwrap();
            assert!(before <= 2 * PIECES, "{before} of {MANY} pieces stood before it");
            for piece in pieces {
                piece.await.unwrap();
            }
            assert_eq!(passed.get(), MANY);
        });
    }

    #[test]
    fn they_pass_in_the_order_in_which_they_came_and_who_goes_away_holds_up_nobody() {
        on_a_core(async {
            let turns = Rc::new(Turns::default());
            let order = Rc::new(std::cell::RefCell::new(Vec::new()));
            let pieces: Vec<_> = (0..MANY)
                .map(|number| {
                    let (turns, order) = (Rc::clone(&turns), Rc::clone(&order));
                    spawn_local(async move {
                        turns.turn().await;
                        order.borrow_mut().push(number);
                    })
                })
                .collect();
            tokio::task::yield_now().await;
            for gone in pieces.iter().step_by(3) {
                gone.abort();
            }
            for piece in pieces {
                let _ = piece.await;
            }
            let order = order.take();
            assert!(order.is_sorted(), "{order:?}");
            assert!(order.len() >= MANY * 2 / 3);
            // And afterwards nobody waits for anything.
            assert_eq!(turns.waiting.get(), 0);
            tokio::task::yield_now().await;
            for _ in 0..3 * PIECES {
                turns.turn().await;
            }
        });
    }
}
