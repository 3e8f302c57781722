//! What lies below the reserved prefix is answered inside. This is the seam: the data plane hands over a whole small
//! request and its verified caller; who answers is put in at the top (`app`).

use std::{future::Future, net::IpAddr, pin::Pin};

use bytes::Bytes;

use crate::engine::knock::Who;

/// A request below the reserved prefix.
#[derive(Debug)]
pub struct InsideCall {
    /// Method, path below the prefix with query, headers and whole body.
    pub request: http::Request<Bytes>,
    /// Who calls.
    pub who: Who,
    /// From where.
    pub client: IpAddr,
}

/// What comes behind the head of an answer, piece by piece, for as long as there is more.
pub trait Pieces: Send {
    /// The next piece, waited for. It may be dropped and asked for again: nothing is lost.
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Option<Bytes>> + Send + '_>>;
}

/// Its answer.
pub struct InsideAnswer {
    /// The head, with the body where that is whole.
    pub response: http::Response<Bytes>,
    /// The body, where it comes in pieces.
    pub pieces: Option<Box<dyn Pieces>>,
}

/// A future answer.
pub type InsideFuture = Pin<Box<dyn Future<Output = InsideAnswer> + Send>>;

/// Whoever answers.
pub type InsideHandler = dyn Fn(InsideCall) -> InsideFuture + Send + Sync;
