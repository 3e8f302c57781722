//! What a head can be refused for: one variant a reason, each with a stable code and the status it asks for.
//!
//! Never here: the text of an answer, or whether the connection lives on (after a fault it must not: what follows the
//! fault has no known place in the stream).

use thiserror::Error;

/// Why a request or response head was refused. From an upstream each of them means 502.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HeadFault {
    /// Nothing may stand before the request line or status line.
    #[error("an empty line stands before the message; start with the first line")]
    LeadingEmptyLine,
    /// LF without CR.
    #[error("a line ends in LF alone; end lines with CR LF")]
    BareLf,
    /// CR without LF.
    #[error("a CR stands without LF; end lines with CR LF")]
    BareCr,
    /// Not `method SP target SP HTTP/1.x`.
    #[error("the request line is malformed; send `method target HTTP/1.1` with single spaces")]
    RequestLine,
    /// The method is no token.
    #[error("the method holds a byte that no method has")]
    MethodInvalid,
    /// More than 24 bytes.
    #[error("the method is longer than 24 bytes")]
    MethodTooLong,
    /// A standard method in another case: some readers fold it, some do not (law 10).
    #[error("the method differs from a standard one in case; write it in capitals")]
    MethodCase,
    /// `CONNECT` and `TRACE` (rule 12).
    #[error("this gateway takes neither CONNECT nor TRACE")]
    MethodRefused,
    /// Beyond [`Limits::max_target`](super::Limits::max_target).
    #[error("the request target is too long")]
    TargetTooLong,
    /// Not visible ASCII, or a byte that must be percent-encoded.
    #[error("the request target holds a byte that must be percent-encoded")]
    TargetByte,
    /// `#`.
    #[error("the request target holds `#`; fragments are not sent")]
    TargetFragment,
    /// Neither `/…`, nor `http(s)://authority/…`, nor `*` with OPTIONS.
    #[error("the request target has no form that is taken here; send a path that starts with `/`")]
    TargetForm,
    /// The authority of an absolute target is no host, or holds user information.
    #[error("the authority in the request target is not a plain host and port")]
    TargetAuthority,
    /// The authority of an absolute target is not what Host says.
    #[error("the authority in the request target is not the one in Host")]
    TargetHostMismatch,
    /// What stands at the version's place is no version.
    #[error("the protocol version is malformed; send `HTTP/1.1`")]
    VersionMalformed,
    /// A version, but neither 1.0 nor 1.1.
    #[error("the protocol version is not taken here; send `HTTP/1.1`")]
    VersionUnsupported,
    /// The name is no token.
    #[error("a header name holds a byte that no name has")]
    HeaderNameInvalid,
    /// White space in or after the name.
    #[error("white space stands in a header name or before its colon")]
    HeaderNameSpace,
    /// A line without colon.
    #[error("a header line has no colon")]
    HeaderColonMissing,
    /// A line that starts with white space.
    #[error("a header line starts with white space; folded lines are not taken")]
    ObsFold,
    /// A control byte in a value.
    #[error("a header value holds a control byte")]
    HeaderValueByte,
    /// Beyond [`Limits::max_name`](super::Limits::max_name).
    #[error("a header name is too long")]
    HeaderNameTooLong,
    /// Beyond [`Limits::max_value`](super::Limits::max_value).
    #[error("a header value is too long")]
    HeaderValueTooLong,
    /// Beyond [`Limits::max_fields`](super::Limits::max_fields).
    #[error("there are too many header lines")]
    TooManyHeaders,
    /// Beyond [`Limits::max_head`](super::Limits::max_head).
    #[error("the head is too large")]
    HeadTooLarge,
    /// HTTP/1.1 without Host.
    #[error("Host is missing; send exactly one")]
    HostMissing,
    /// Two of them, equal or not.
    #[error("Host is sent twice; send exactly one")]
    HostDuplicate,
    /// Not `host` or `host:port`.
    #[error("Host is not a plain host and port")]
    HostInvalid,
    /// Two of them, equal or not.
    #[error("Content-Length is sent twice; send exactly one")]
    ContentLengthDuplicate,
    /// Not 1 to 19 digits without leading zero.
    #[error("Content-Length is not a plain decimal number")]
    ContentLengthInvalid,
    /// Two of them, equal or not.
    #[error("Transfer-Encoding is sent twice; send exactly one")]
    TransferEncodingDuplicate,
    /// Anything but `chunked`.
    #[error("the transfer coding is not taken here; send `chunked` alone")]
    TransferCodingUnsupported,
    /// HTTP/1.0 has no transfer codings.
    #[error("Transfer-Encoding stands in an HTTP/1.0 message")]
    TransferEncodingInHttp10,
    /// Both ways to tell where the body ends.
    #[error("Content-Length and Transfer-Encoding stand together; send one of them")]
    FramingConflict,
    /// `Content_Length` and its like: framing for a reader that folds names, none for others.
    #[error("a header name looks like a framing header but is spelled otherwise")]
    FramingLookalike,
    /// A header that may be sent once only.
    #[error("a header that may be sent once is sent twice")]
    HeaderDuplicate,
    /// An element of Connection is no token.
    #[error("Connection holds something that is no option")]
    ConnectionInvalid,
    /// Connection names a header that belongs to the message or to us.
    #[error("Connection names a header that is not hop-by-hop")]
    ConnectionNamesProtected,
    /// More than sixteen unknown options.
    #[error("Connection names too many headers")]
    ConnectionTooMany,
    /// `GET` and `HEAD` with a body: a back-end that ignores it would read it as the next request.
    #[error("GET and HEAD have no body here; send none")]
    BodyUnexpected,
    /// Anything but `100-continue`.
    #[error("the expectation is not taken here; send `100-continue` or none")]
    ExpectUnsupported,
    /// Not `HTTP/1.x SP 3DIGIT [SP reason]`.
    #[error("the status line is malformed")]
    StatusLine,
    /// Not 100 to 599.
    #[error("the status is not between 100 and 599")]
    StatusRange,
    /// A 1xx or 204 that announces a body.
    #[error("a response that has no body announces one")]
    BodyForbidden,
    /// A 101 without `Connection: upgrade` and `Upgrade`.
    #[error("a 101 response does not say what it switches to")]
    UpgradeIncomplete,
}

impl HeadFault {
    /// The stable code, for the caller and for counts.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::LeadingEmptyLine => "leading_empty_line",
            Self::BareLf => "bare_lf",
            Self::BareCr => "bare_cr",
            Self::RequestLine => "request_line_malformed",
            Self::MethodInvalid => "method_invalid",
            Self::MethodTooLong => "method_too_long",
            Self::MethodCase => "method_case",
            Self::MethodRefused => "method_refused",
            Self::TargetTooLong => "target_too_long",
            Self::TargetByte => "target_byte",
            Self::TargetFragment => "target_fragment",
            Self::TargetForm => "target_form",
            Self::TargetAuthority => "target_authority",
            Self::TargetHostMismatch => "target_host_mismatch",
            Self::VersionMalformed => "version_malformed",
            Self::VersionUnsupported => "version_unsupported",
            Self::HeaderNameInvalid => "header_name_invalid",
            Self::HeaderNameSpace => "header_name_space",
            Self::HeaderColonMissing => "header_colon_missing",
            Self::ObsFold => "obs_fold",
            Self::HeaderValueByte => "header_value_byte",
            Self::HeaderNameTooLong => "header_name_too_long",
            Self::HeaderValueTooLong => "header_value_too_long",
            Self::TooManyHeaders => "too_many_headers",
            Self::HeadTooLarge => "head_too_large",
            Self::HostMissing => "host_missing",
            Self::HostDuplicate => "host_duplicate",
            Self::HostInvalid => "host_invalid",
            Self::ContentLengthDuplicate => "content_length_duplicate",
            Self::ContentLengthInvalid => "content_length_invalid",
            Self::TransferEncodingDuplicate => "transfer_encoding_duplicate",
            Self::TransferCodingUnsupported => "transfer_coding_unsupported",
            Self::TransferEncodingInHttp10 => "transfer_encoding_in_http10",
            Self::FramingConflict => "framing_conflict",
            Self::FramingLookalike => "framing_lookalike",
            Self::HeaderDuplicate => "header_duplicate",
            Self::ConnectionInvalid => "connection_invalid",
            Self::ConnectionNamesProtected => "connection_names_protected",
            Self::ConnectionTooMany => "connection_too_many",
            Self::BodyUnexpected => "body_unexpected",
            Self::ExpectUnsupported => "expect_unsupported",
            Self::StatusLine => "status_line_malformed",
            Self::StatusRange => "status_out_of_range",
            Self::BodyForbidden => "body_forbidden",
            Self::UpgradeIncomplete => "upgrade_incomplete",
        }
    }

    /// The status that the fault asks for when a client caused it; a fault of an upstream is always 502.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::TargetTooLong => 414,
            Self::ExpectUnsupported => 417,
            Self::HeaderNameTooLong
            | Self::HeaderValueTooLong
            | Self::TooManyHeaders
            | Self::HeadTooLarge => 431,
            Self::MethodTooLong | Self::MethodRefused | Self::TransferCodingUnsupported => 501,
            Self::StatusLine | Self::StatusRange | Self::BodyForbidden | Self::UpgradeIncomplete => 502,
            Self::VersionUnsupported => 505,
            Self::LeadingEmptyLine
            | Self::BareLf
            | Self::BareCr
            | Self::RequestLine
            | Self::MethodInvalid
            | Self::MethodCase
            | Self::TargetByte
            | Self::TargetFragment
            | Self::TargetForm
            | Self::TargetAuthority
            | Self::TargetHostMismatch
            | Self::VersionMalformed
            | Self::HeaderNameInvalid
            | Self::HeaderNameSpace
            | Self::HeaderColonMissing
            | Self::ObsFold
            | Self::HeaderValueByte
            | Self::HostMissing
            | Self::HostDuplicate
            | Self::HostInvalid
            | Self::ContentLengthDuplicate
            | Self::ContentLengthInvalid
            | Self::TransferEncodingDuplicate
            | Self::TransferEncodingInHttp10
            | Self::FramingConflict
            | Self::FramingLookalike
            | Self::HeaderDuplicate
            | Self::ConnectionInvalid
            | Self::ConnectionNamesProtected
            | Self::ConnectionTooMany
            | Self::BodyUnexpected => 400,
        }
    }
}
