//! Why a look-up came to nothing, each with a stable word for metrics and logs. To the caller all of them are one: unknown.

/// See the module's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("too many look-ups wait for this application already, or too many of one tenant")]
    Busy,
    #[error("nobody takes a connection: {0}")]
    Unreachable(&'static str),
    #[error("it took longer than `within`")]
    Slow,
    #[error("it hung up before all of its answer was there")]
    HungUp,
    #[error("what it answers is no HTTP that can be read")]
    Unreadable,
    #[error("the assertion could not be signed")]
    Unsigned,
    #[error("it redirects, and redirects are not followed")]
    Redirect,
    #[error("it knows no such resource")]
    NotFound,
    #[error("it answers with status {0}")]
    Status(u16),
    #[error("its answer is not declared as `application/json`")]
    Type,
    #[error("its answer is compressed, which was not asked for")]
    Coded,
    #[error("its answer is larger than {} KiB", super::MOST_BODY >> 10)]
    TooLarge,
    #[error("its answer is not one JSON object")]
    NotJson,
    #[error("a name stands twice in an object of its answer")]
    Twice,
    #[error("its answer lacks a member that `look_up` points to")]
    Missing,
    #[error("its answer has something at a place that cannot stand there")]
    Value,
    #[error("its answer names more people than a resource may")]
    TooMany,
    #[error("its answer is about another resource, or another tenant's")]
    Another,
}

impl Fault {
    /// All words.
    pub(super) const CODES: [&'static str; 18] = [
        "busy",
        "unreachable",
        "slow",
        "hung_up",
        "unreadable",
        "unsigned",
        "redirect",
        "not_found",
        "status",
        "type",
        "coded",
        "too_large",
        "not_json",
        "twice",
        "missing",
        "value",
        "too_many",
        "another",
    ];

    /// The place of its word among them.
    pub(super) fn number(self) -> usize {
        match self {
            Fault::Busy => 0,
            Fault::Unreachable(_) => 1,
            Fault::Slow => 2,
            Fault::HungUp => 3,
            Fault::Unreadable => 4,
            Fault::Unsigned => 5,
            Fault::Redirect => 6,
            Fault::NotFound => 7,
            Fault::Status(_) => 8,
            Fault::Type => 9,
            Fault::Coded => 10,
            Fault::TooLarge => 11,
            Fault::NotJson => 12,
            Fault::Twice => 13,
            Fault::Missing => 14,
            Fault::Value => 15,
            Fault::TooMany => 16,
            Fault::Another => 17,
        }
    }

    /// The word.
    pub(super) fn code(self) -> &'static str {
        Self::CODES.get(self.number()).copied().unwrap_or_default()
    }

    /// Whether nothing was answered at all.
    pub(super) fn is_silence(self) -> bool {
        matches!(self, Fault::Busy | Fault::Unreachable(_) | Fault::Slow | Fault::HungUp)
    }

    /// Whether it is what happens every day: somebody named a resource that there is not.
    pub(super) fn is_ordinary(self) -> bool {
        self == Fault::NotFound
    }
}
