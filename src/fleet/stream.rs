//! Bodies of the peers' listener: whole ones, and lines that are made while they are read. One line waits at most, so that whoever
//! reads slowly holds up nobody and nothing is kept for them.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;

/// What is answered.
pub(super) type Answered = Either<Full<Bytes>, Lines>;

/// Lines, for as long as somebody makes them.
pub(super) struct Lines(mpsc::Receiver<Bytes>);

/// A body of lines, and where they are put in.
pub(super) fn lines() -> (mpsc::Sender<Bytes>, Lines) {
    let (into, out) = mpsc::channel(1);
    (into, Lines(out))
}

impl Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let line = ready!(self.0.poll_recv(context));
        Poll::Ready(line.map(|line| Ok(Frame::data(line))))
    }
}
