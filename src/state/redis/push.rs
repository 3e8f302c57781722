//! What a script that moved a part tells those who listen: that it did.
//!
//! A push is the part and the number of its newest change, `7 12`. Whoever may publish on the channel can say that too, whoever may listen
//! hears it, and any may be lost. So nothing of what changed is in it, nothing of it is believed, and nothing rests on one: it only wakes
//! whoever reads the feed.
//!
//! Never here: listening, what a wake leads to.

use uuid::Uuid;

use crate::state::{Part, Place};

/// No push is longer: of two numbers and a space.
const MOST: usize = 5 + 1 + 20;

/// The channel of a store's pushes.
pub(crate) fn channel(prefix: &str, store: Uuid) -> String {
    format!("{prefix}:{store}:moved")
}

/// The place that a push says a part has moved to; `None` where it is none.
pub(crate) fn pushed(payload: &[u8]) -> Option<Place> {
    if payload.len() > MOST {
        return None;
    }
    let text = std::str::from_utf8(payload).ok()?;
    let (part, number) = text.split_once(' ')?;
    Some(Part(part.parse().ok()?).at(number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_is_a_part_and_a_number_and_nothing_else() {
        assert_eq!(pushed(b"7 12"), Some(Part(7).at(12)));
        assert_eq!(pushed(b"65535 18446744073709551615"), Some(Part(u16::MAX).at(u64::MAX)));
        let long = format!("7 {}12", "0".repeat(MOST));
        let others: [&[u8]; 12] = [
            b"",
            b" ",
            b"7",
            b"7 ",
            b" 12",
            b"7 12 ",
            b"7  12",
            b"7 12\n",
            b"-7 12",
            b"7 -12",
            b"7 \xff",
            long.as_bytes(),
        ];
        for other in others {
            assert_eq!(pushed(other), None, "{other:?}");
        }
        assert_eq!(pushed(b"7 18446744073709551616"), None);
        assert_eq!(pushed(b"65536 1"), None);
        assert_eq!(channel("p", Uuid::nil()), "p:00000000-0000-0000-0000-000000000000:moved");
    }
}
