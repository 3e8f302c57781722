//! HTTP/1.1 as bytes: a strict reader of heads and bodies, and a writer that can only write what this reader takes.
//!
//! Both sides of the gateway speak through this room, so that what was matched is what is forwarded (law 10), no client
//! says who it is in a header (law 9), and the end of an exchange is decided by the caller, byte by byte (law 6).
//!
//! * [`request`], [`response`]: a head becomes a table of offsets into the caller's buffer; nothing is copied.
//! * [`host`]: host and port in the one spelling that is taken.
//! * [`known`]: the header names that mean something to a gateway, recognised while they are read.
//! * [`body`], [`chunk`]: where a body ends, and how one is framed on the way out.
//! * [`trailers`]: which of them may go on.
//! * [`mod@write`]: heads on the way out, and whole answers of our own; [`name_set`]: configured names to remove.
//! * [`fault`]: everything that is refused, each with a stable code.
//!
//! Never here: sockets, timers, async, routes, identities, configuration, or a decision about who may do what.

pub mod body;
pub mod chunk;
mod connection;
pub mod fault;
mod fields;
pub mod host;
pub mod known;
pub mod name_set;
mod recognise;
pub mod request;
pub mod response;
mod scan;
pub mod trailers;
pub mod write;

#[cfg(test)]
mod tests;

pub use body::{BodyFault, BodyReader, Step};
pub use chunk::{BodyWriter, Frame, WriteFault};
pub use fault::HeadFault;
pub use fields::{Field, Framing, Limits, Parsed, Version};
pub use host::Authority;
pub use known::{Known, KnownSet, canonical_eq};
pub use name_set::NameSet;
pub use request::{Method, RequestHead, RequestView};
pub use response::{ResponseHead, ResponseView};
pub use trailers::pass_trailers;
pub use write::{
    CONTINUE, ClientConnection, Name, Only, RequestEdit, ResponseEdit, SimpleResponse, Target,
    UpstreamConnection, Value, client_framing, write_request, write_response, write_simple_response,
    write_stream_head,
};
