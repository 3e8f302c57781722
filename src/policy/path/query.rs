//! The query string: checked for what would end or split it, passed through untouched, never matched.
//!
//! Never here: parsing of parameters. No rule of a route map looks at the query (law 10).

/// Why a query string cannot be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum QueryFault {
    /// A `#`: a fragment is never sent.
    #[error("the query has a `#`; a fragment is never sent to a server, write `%23`")]
    Fragment,
    /// A space, a control character or a non-ASCII byte.
    #[error("the query has a byte that is not visible ASCII; percent-encode it")]
    NotVisible,
}

impl QueryFault {
    /// The stable code: part of the interface, never renamed.
    pub fn code(self) -> &'static str {
        match self {
            Self::Fragment => "query_fragment",
            Self::NotVisible => "query_not_visible",
        }
    }
}

/// Checks what follows the first `?` of a request target: visible ASCII without `#`. Its length is bounded with the
/// request head, not here.
///
/// # Errors
/// The first fault from the left.
pub fn query_ok(raw: &[u8]) -> Result<(), QueryFault> {
    for byte in raw {
        match byte {
            b'#' => return Err(QueryFault::Fragment),
            0x21..=0x7E => {}
            _ => return Err(QueryFault::NotVisible),
        }
    }
    Ok(())
}
