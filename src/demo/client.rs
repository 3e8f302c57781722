//! A small HTTP client for the walk through the demo: one connection a call, and streams that can be watched.
//!
//! Never here: what an answer must be.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::watch, task::JoinHandle};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// An answer, whole.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: String,
}

/// What is sent.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) token: Option<String>,
    pub(super) body: Option<String>,
}

fn fault(what: impl std::fmt::Display) -> String {
    what.to_string()
}

async fn send(address: SocketAddr, call: &Call) -> Result<http::Response<hyper::body::Incoming>, String> {
    let stream = TcpStream::connect(address).await.map_err(fault)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(fault)?;
    tokio::spawn(connection);
    let mut request = Request::builder()
        .method(call.method.clone())
        .uri(&call.path)
        .header(header::HOST, address.to_string())
        .header(header::ACCEPT, "application/json");
    if let Some(token) = &call.token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    if call.body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let body = Full::new(Bytes::from(call.body.clone().unwrap_or_default()));
    sender.send_request(request.body(body).map_err(fault)?).await.map_err(fault)
}

/// Sends a call and takes the whole answer.
pub(super) async fn ask(address: SocketAddr, call: &Call) -> Result<Reply, String> {
    let answered = async {
        let answer = send(address, call).await?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.map_err(fault)?.to_bytes();
        Ok(Reply { status, body: String::from_utf8_lossy(&body).into_owned() })
    };
    tokio::time::timeout(PATIENCE, answered).await.map_err(|_| "no answer in time".to_owned())?
}

/// How far a stream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Progress {
    /// So many bytes came; more may.
    Running(u64),
    /// It ended as it should.
    Ended(u64),
    /// It broke.
    Broken(u64, String),
}

/// An answer that goes on.
pub(super) struct Stream {
    progress: watch::Receiver<Progress>,
    task: JoinHandle<()>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Opens a stream.
pub(super) async fn open(address: SocketAddr, call: Call) -> Result<(u16, Stream), String> {
    let answer = tokio::time::timeout(PATIENCE, send(address, &call))
        .await
        .map_err(|_| "no answer in time".to_owned())??;
    let status = answer.status().as_u16();
    let (tell, progress) = watch::channel(Progress::Running(0));
    let mut body = answer.into_body();
    let task = tokio::spawn(async move {
        let mut bytes = 0u64;
        loop {
            let next = match body.frame().await {
                Some(Ok(frame)) => {
                    bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                    Progress::Running(bytes)
                }
                Some(Err(broken)) => Progress::Broken(bytes, broken.to_string()),
                None => Progress::Ended(bytes),
            };
            let over = !matches!(next, Progress::Running(_));
            tell.send_replace(next);
            if over {
                return;
            }
        }
    });
    Ok((status, Stream { progress, task }))
}

impl Stream {
    /// Waits until it has brought something.
    pub(super) async fn flows(&mut self) -> Result<u64, String> {
        self.until(|progress| matches!(progress, Progress::Running(bytes) if *bytes > 0)).await.and_then(
            |progress| match progress {
                Progress::Running(bytes) => Ok(bytes),
                Progress::Ended(_) | Progress::Broken(..) => Err("it ended before it began".to_owned()),
            },
        )
    }

    /// Waits until it breaks.
    pub(super) async fn breaks(&mut self) -> Result<u64, String> {
        match self.until(|progress| !matches!(progress, Progress::Running(_))).await? {
            Progress::Broken(bytes, _) => Ok(bytes),
            Progress::Ended(_) => Err("it ended as if nothing had happened".to_owned()),
            Progress::Running(_) => Err("it goes on".to_owned()),
        }
    }

    async fn until(&mut self, enough: impl Fn(&Progress) -> bool) -> Result<Progress, String> {
        let over = |progress: &Progress| enough(progress) || !matches!(progress, Progress::Running(_));
        match tokio::time::timeout(PATIENCE, self.progress.wait_for(over)).await {
            Ok(Ok(progress)) => Ok(progress.clone()),
            Ok(Err(_)) => Err("nobody watches it any more".to_owned()),
            Err(_) => Err("nothing happened in time".to_owned()),
        }
    }
}
