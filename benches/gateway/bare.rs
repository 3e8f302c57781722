//! The peer that shows what hyper itself costs: hyper's server and client on one thread, a last-in-first-out pool of
//! connections to the origin, nothing looked at and nothing enforced.

use std::{
    cell::RefCell,
    convert::Infallible,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, Uri, header};
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    client::conn::http1::SendRequest,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

type Pool = Rc<RefCell<Vec<SendRequest<Incoming>>>>;

/// Serves on that port, forwarding to the origin's, until it is killed.
pub fn serve(port: u16, origin: u16) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    let pool = Pool::default();
    local.block_on(&runtime, async move {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let pool = Rc::clone(&pool);
            tokio::task::spawn_local(async move {
                let service = service_fn(move |request| forward(request, Rc::clone(&pool), origin));
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
}

async fn forward(
    mut request: Request<Incoming>,
    pool: Pool,
    origin: u16,
) -> Result<Response<Returning>, Infallible> {
    let path = request.uri().path_and_query().cloned().unwrap();
    *request.uri_mut() = Uri::from(path);
    request.headers_mut().remove(header::CONNECTION);
    loop {
        let pooled = pool.borrow_mut().pop();
        let mut sender = match pooled {
            Some(sender) => sender,
            None => {
                let stream = TcpStream::connect(("127.0.0.1", origin)).await.unwrap();
                stream.set_nodelay(true).unwrap();
                let (sender, connection) =
                    hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
                tokio::task::spawn_local(connection);
                sender
            }
        };
        if sender.ready().await.is_err() {
            continue;
        }
        let answer = sender.send_request(request).await.unwrap();
        return Ok(answer.map(|inner| Returning { inner, sender: Some(sender), pool }));
    }
}

/// A body that gives its connection back when it is over.
struct Returning {
    inner: Incoming,
    sender: Option<SendRequest<Incoming>>,
    pool: Pool,
}

impl Body for Returning {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Returning {
    fn drop(&mut self) {
        if let Some(sender) = self.sender.take() {
            self.pool.borrow_mut().push(sender);
        }
    }
}
