//! How often something was tried under one name, counted by all who share a store (decision 0028).
//!
//! Such a count is no document: nothing rests on it but a bound, it is not waited for to be confirmed, and it is over by itself.
//!
//! Never here: what is bounded, and by how much.

/// What is to be counted, under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound<'a> {
    /// The name.
    pub name: &'a str,
    /// How long each counts, in milliseconds of the store's clock.
    pub span_ms: i64,
    /// How many may count at once.
    pub most: u32,
    /// What is to be counted, by an id of its own: told twice, it counts once. `None` counts nothing.
    pub add: Option<&'a str>,
    /// What does not count any more.
    pub forget: &'a [String],
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// It counts, or nothing was to be.
    Within,
    /// There are too many, and it does not count: there is room again after so many milliseconds.
    Beyond {
        /// From now on.
        after_ms: i64,
    },
    /// Nobody shares this store: whoever asks counts alone.
    Alone,
}
