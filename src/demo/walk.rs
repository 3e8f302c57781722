//! The walk: the tour performed, each step compared with what it must be.
//!
//! Never here: a step.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    time::Duration,
};

use http::Method;

use crate::audit::{note::VerifyingKey, verify::verify};

use super::{
    client::{self, Call, Stream},
    stage::Stage,
    steps::Do,
};

/// How long the gateway may take until staff are served, and a checkpoint until it covers everything.
const PATIENCE: Duration = Duration::from_secs(10);

/// Walks; `Ok(false)`: a step was not what it must be.
pub(super) async fn walk(stage: &Stage, out: &mut dyn Write) -> io::Result<bool> {
    let mut walker = Walker { stage, kept: BTreeMap::new(), streams: BTreeMap::new() };
    if !until(|| stage.gateway.engine().serves_staff()).await {
        writeln!(out, "staff are not served after {PATIENCE:?}")?;
        return Ok(false);
    }
    let mut good = true;
    for (number, step) in (1..).zip(stage.steps()) {
        match walker.perform(&step.does).await {
            Ok(saw) => writeln!(out, "{number:>2}. ✓ {}\n      {saw}", step.title)?,
            Err(saw) => {
                good = false;
                writeln!(out, "{number:>2}. ✗ {}\n      {saw}", step.title)?;
            }
        }
        out.flush()?;
    }
    let seen = stage.sample.received();
    writeln!(out, "\nthe application received {seen} requests in all")?;
    Ok(good)
}

struct Walker<'a> {
    stage: &'a Stage,
    kept: BTreeMap<String, String>,
    streams: BTreeMap<String, Stream>,
}

impl Walker<'_> {
    async fn perform(&mut self, does: &Do<'_>) -> Result<String, String> {
        match does {
            Do::Ask { who, method, path, body, status, says, keep } => {
                let call = Call {
                    method: Method::from_bytes(method.as_bytes()).map_err(|e| e.to_string())?,
                    path: self.filled(path),
                    token: who.and_then(|person| self.stage.token(person)),
                    body: body.as_deref().map(|body| self.filled(body)),
                };
                let reply = client::ask(self.stage.gateway.address(), &call).await?;
                let saw = format!("{method} {} → {} {}", call.path, reply.status, shortened(&reply.body));
                if reply.status != *status {
                    return Err(format!("{saw}\n      must be {status}"));
                }
                if let Some(missing) = says.iter().find(|text| !reply.body.contains(**text)) {
                    return Err(format!("{saw}\n      must say `{missing}`"));
                }
                if let Some(name) = keep {
                    let id = id_in(&reply.body).ok_or_else(|| format!("{saw}\n      has no `id`"))?;
                    self.kept.insert((*name).to_owned(), id);
                }
                Ok(saw)
            }
            Do::Open { who, path, name } => {
                let call = Call {
                    method: Method::GET,
                    path: (*path).to_owned(),
                    token: self.stage.token(who),
                    body: None,
                };
                let (status, mut stream) = client::open(self.stage.gateway.address(), call).await?;
                if status != 200 {
                    return Err(format!("GET {path} → {status}"));
                }
                let bytes = stream.flows().await?;
                self.streams.insert((*name).to_owned(), stream);
                Ok(format!("GET {path} → 200, {bytes} bytes and more to come"))
            }
            Do::Cut { name } => {
                let mut stream = self.streams.remove(*name).ok_or("it was never opened")?;
                let bytes = stream.breaks().await?;
                Ok(format!("`{name}` was reset after {bytes} bytes"))
            }
            Do::Advance(by) => {
                let call = Call {
                    method: Method::POST,
                    path: "/clock".to_owned(),
                    token: None,
                    body: Some(format!("{{\"advance\":\"{by}\"}}")),
                };
                let reply = client::ask(self.stage.gateway.operations(), &call).await?;
                let saw = format!("POST /clock → {} {}", reply.status, reply.body.trim());
                if reply.status == 200 { Ok(saw) } else { Err(saw) }
            }
            Do::Verify => self.verify().await,
        }
    }

    async fn verify(&self) -> Result<String, String> {
        let journal = self.stage.gateway.engine().journal();
        // A checkpoint is signed once a second.
        until(|| {
            let status = journal.status();
            status.signed == status.size
        })
        .await;
        let key = std::fs::read_to_string(self.stage.dir.join("ledger.pub")).map_err(|e| e.to_string())?;
        let key = VerifyingKey::parse(key.trim()).map_err(|e| e.to_string())?;
        let report = verify(&self.stage.dir.join("ledger"), &key).map_err(|e| e.to_string())?;
        let saw = report.to_string().replace('\n', "\n      ");
        if report.is_clean() { Ok(saw) } else { Err(saw) }
    }

    fn filled(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, value) in &self.kept {
            text = text.replace(&format!("{{{name}}}"), value);
        }
        text
    }
}

async fn until(ready: impl Fn() -> bool) -> bool {
    let waited = async {
        while !ready() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waited).await.is_ok()
}

/// The first `id` in an answer: the one that `id()` of the printed tour finds too.
fn id_in(body: &str) -> Option<String> {
    let (_, rest) = body.split_once("\"id\":\"")?;
    rest.split_once('"').map(|(id, _)| id.to_owned())
}

fn shortened(body: &str) -> String {
    let line: String = body.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() > 160 { line.chars().take(160).chain(['…']).collect() } else { line }
}
