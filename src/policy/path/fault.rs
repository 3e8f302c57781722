//! Why a path is refused: one closed list, each with a stable code (law 12).
//!
//! Never here: the status that a code is answered with; that is chosen in one place by the door.

use super::{MAX_PATH, MAX_SEGMENTS};

/// Why a request path cannot be read in exactly one way. `docs/paths.md` explains each to platform teams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PathFault {
    /// The path does not start with `/`.
    #[error("the path must start with `/`; send it in origin form")]
    NotRooted,
    /// The path is longer than [`MAX_PATH`] bytes.
    #[error("the path is longer than {MAX_PATH} bytes; shorten it")]
    TooLong,
    /// The path has more than [`MAX_SEGMENTS`] segments.
    #[error("the path has more than {MAX_SEGMENTS} segments; shorten it")]
    TooManySegments,
    /// Two slashes stand side by side; some back-ends merge them, others do not.
    #[error("the path has an empty segment (`//`); write one slash")]
    EmptySegment,
    /// A segment is `.` or `..`.
    #[error("the path has a `.` or `..` segment; send the path it leads to")]
    DotSegment,
    /// A segment ends in a dot, which some back-ends cut off.
    #[error("a segment ends in `.`, which some servers drop; leave it out")]
    TrailingDot,
    /// A segment begins or ends with an encoded space, which some back-ends cut off.
    #[error("a segment begins or ends with `%20`, which some servers drop; leave it out")]
    EdgeSpace,
    /// A backslash, raw or encoded; some back-ends read it as `/`.
    #[error("the path has a backslash, raw or as `%5C`, which some servers read as `/`")]
    Backslash,
    /// A `;`, raw where not allowed or encoded; some back-ends strip what follows it.
    #[error("the path has a `;`, raw or as `%3B`, and some servers drop what follows it")]
    MatrixParameter,
    /// A control character, raw or encoded, NUL included.
    #[error("the path has a control character, raw or encoded")]
    Control,
    /// A raw byte above 0x7E.
    #[error("the path has a raw non-ASCII byte; percent-encode it as UTF-8")]
    RawNonAscii,
    /// A byte that RFC 3986 does not allow raw in a path.
    #[error(
        "the path has a raw character that must be percent-encoded (space, quotes, `<>[]^{{|}}` or a backtick)"
    )]
    RawUnsafe,
    /// A `?`: the caller has to cut the query off first.
    #[error("the path has a `?`; the query is not part of it")]
    Query,
    /// A `#`: a fragment is never sent.
    #[error("the path has a `#`; a fragment is never sent to a server")]
    Fragment,
    /// `%` without two hexadecimal digits after it.
    #[error("the path has a `%` without two hexadecimal digits after it")]
    BadEscape,
    /// `%c3` where `%C3` is the canonical spelling (RFC 3986, 6.2.2.1).
    #[error("the path has a percent escape in lower case; write `%C3`, not `%c3`")]
    LowerCaseEscape,
    /// `%2F`.
    #[error("the path has an encoded slash (`%2F`), which some servers read as `/`")]
    EncodedSlash,
    /// `%25`, which a second decoding turns into something else.
    #[error("the path has an encoded percent sign (`%25`), which changes meaning when it is decoded twice")]
    EncodedPercent,
    /// `%3F` or `%23`, which after decoding look like the end of the path.
    #[error(
        "the path has an encoded `?` or `#` (`%3F`, `%23`), which some servers read as the end of the path"
    )]
    EncodedDelimiter,
    /// A character is percent-encoded that has to stand raw, so one path would have two spellings.
    #[error("the path has a percent escape for a character that must stand raw (`%41` for `A`)")]
    NeedlessEscape,
    /// One of `$ & + , : = @` stands raw although the configuration says that clients encode them.
    #[error("the path has one of `$ & + , : = @` raw, and this gateway expects them percent-encoded")]
    RawDelimiter,
    /// The escapes do not decode to UTF-8; overlong forms and surrogates included.
    #[error("the percent escapes in the path are not valid UTF-8")]
    InvalidUtf8,
    /// The escapes decode to a character that some back-ends turn into an ASCII one, drop, or do not show.
    #[error(
        "the path has a character that some servers turn into another or drop (full-width, compatibility, invisible, combining)"
    )]
    LookAlike,
    /// Any non-ASCII character, where the configuration refuses them all.
    #[error("the path has a non-ASCII character, and this gateway takes none in paths")]
    NonAscii,
}

impl PathFault {
    /// Every fault, in the order of `docs/paths.md`.
    pub const ALL: [Self; 24] = [
        Self::NotRooted,
        Self::TooLong,
        Self::TooManySegments,
        Self::EmptySegment,
        Self::DotSegment,
        Self::TrailingDot,
        Self::EdgeSpace,
        Self::Backslash,
        Self::MatrixParameter,
        Self::Control,
        Self::RawNonAscii,
        Self::RawUnsafe,
        Self::Query,
        Self::Fragment,
        Self::BadEscape,
        Self::LowerCaseEscape,
        Self::EncodedSlash,
        Self::EncodedPercent,
        Self::EncodedDelimiter,
        Self::NeedlessEscape,
        Self::RawDelimiter,
        Self::InvalidUtf8,
        Self::LookAlike,
        Self::NonAscii,
    ];

    /// The stable code: part of the interface, never renamed.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotRooted => "path_not_rooted",
            Self::TooLong => "path_too_long",
            Self::TooManySegments => "path_too_many_segments",
            Self::EmptySegment => "path_empty_segment",
            Self::DotSegment => "path_dot_segment",
            Self::TrailingDot => "path_trailing_dot",
            Self::EdgeSpace => "path_edge_space",
            Self::Backslash => "path_backslash",
            Self::MatrixParameter => "path_matrix_parameter",
            Self::Control => "path_control",
            Self::RawNonAscii => "path_raw_non_ascii",
            Self::RawUnsafe => "path_raw_unsafe",
            Self::Query => "path_query",
            Self::Fragment => "path_fragment",
            Self::BadEscape => "path_bad_escape",
            Self::LowerCaseEscape => "path_lower_case_escape",
            Self::EncodedSlash => "path_encoded_slash",
            Self::EncodedPercent => "path_encoded_percent",
            Self::EncodedDelimiter => "path_encoded_delimiter",
            Self::NeedlessEscape => "path_needless_escape",
            Self::RawDelimiter => "path_raw_delimiter",
            Self::InvalidUtf8 => "path_invalid_utf8",
            Self::LookAlike => "path_look_alike",
            Self::NonAscii => "path_non_ascii",
        }
    }
}
