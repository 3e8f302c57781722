//! A trouble that lasts, told in the log when it begins and when it is over, however often it is met meanwhile.
//!
//! Never here: what is said.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether it was told.
#[derive(Debug, Default)]
pub(super) struct Spoken(AtomicBool);

impl Spoken {
    /// It is met; whether it has just begun.
    pub(super) fn begins(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// It is not met; whether it was until now.
    pub(super) fn ends(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_once_when_it_begins_and_once_when_it_is_over() {
        let spoken = Spoken::default();
        assert!(!spoken.ends());
        for _ in 0..2 {
            assert_eq!([spoken.begins(), spoken.begins(), spoken.begins()], [true, false, false]);
            assert_eq!([spoken.ends(), spoken.ends()], [true, false]);
        }
    }
}
