//! Why an answer cannot be narrowed. Each of these ends the answer: what is not understood is not passed on.
//!
//! Never here: what the client is told (see [`relay`](crate::proxy)).

/// Why an answer cannot be narrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NarrowFault {
    /// A status that answers no list: a part of one, a redirect, "not modified".
    #[error("the application answered with a status that no list has")]
    Status,
    /// Not declared as JSON, or declared in two ways.
    #[error("the application's answer is not declared as JSON")]
    Type,
    /// Compressed, although nothing was asked for that is.
    #[error("the application compressed the list, although it was asked not to")]
    Coded,
    /// Not JSON in UTF-8: RFC 8259 to the letter.
    #[error("the application's answer is not JSON")]
    Syntax,
    /// Nested deeper than [`MOST_DEPTH`](super::scan::MOST_DEPTH).
    #[error("the application's answer is nested too deeply")]
    Depth,
    /// Something follows behind the document.
    #[error("something follows behind the JSON of the application's answer")]
    Trailing,
    /// It ended before the document did.
    #[error("the application's answer ended within its JSON")]
    CutOff,
    /// There is no list where the configuration says that it is.
    #[error("the application's answer has no list where the route says that it is")]
    ListMissing,
    /// A member that decides what passes stands twice in one object: readers differ in which one counts.
    #[error("a member stands twice where it decides what passes")]
    Twice,
    /// One item is larger than the bound.
    #[error("an item of the list is larger than the gateway holds")]
    ItemTooLarge,
    /// The name of a member is longer than the bound.
    #[error("the name of a member is longer than the gateway holds")]
    NameTooLong,
}

impl NarrowFault {
    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            NarrowFault::Status => "narrow_status",
            NarrowFault::Type => "narrow_type",
            NarrowFault::Coded => "narrow_coded",
            NarrowFault::Syntax => "narrow_not_json",
            NarrowFault::Depth => "narrow_too_deep",
            NarrowFault::Trailing => "narrow_trailing",
            NarrowFault::CutOff => "narrow_cut_off",
            NarrowFault::ListMissing => "narrow_list_missing",
            NarrowFault::Twice => "narrow_member_twice",
            NarrowFault::ItemTooLarge => "narrow_item_too_large",
            NarrowFault::NameTooLong => "narrow_name_too_long",
        }
    }

    /// The fault of that code.
    #[must_use]
    pub fn of(code: &str) -> Option<NarrowFault> {
        ALL.iter().copied().find(|fault| fault.code() == code)
    }
}

const ALL: [NarrowFault; 11] = [
    NarrowFault::Status,
    NarrowFault::Type,
    NarrowFault::Coded,
    NarrowFault::Syntax,
    NarrowFault::Depth,
    NarrowFault::Trailing,
    NarrowFault::CutOff,
    NarrowFault::ListMissing,
    NarrowFault::Twice,
    NarrowFault::ItemTooLarge,
    NarrowFault::NameTooLong,
];
