//! `postern break-glass`: an operator enters in an emergency, by a gateway that runs. For three in the morning: what has to be
//! said is asked for by name, a lost answer is asked for again under one idempotency key, and what to send from then on
//! is printed.
//!
//! Never here: who may, and what it gives (the gateway says so), another way of asking a server ([`crate::net::ask`]).

use std::{io::Write as _, path::PathBuf, time::Duration};

use bytes::Bytes;
use clap::{Args, Subcommand};
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::{
    engine::new_id,
    model::TenantId,
    net::ask::{Address, AskFault, Asker},
};

use super::{
    Answer, Trouble,
    emergency_token::Token,
    keyfile,
    out::{Out, plain, say},
};

/// How long one try lasts.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How often it is tried, under one key, where no answer or only a fault comes.
const TRIES: u32 = 3;
/// What is waited between two tries.
const PAUSE: Duration = Duration::from_secs(1);
/// The most bytes of an answer.
const LARGEST: usize = 1 << 20;

/// Enters a tenant in an emergency, without its consent: for operators whom the configuration names, for a short time, seen
/// by the tenant at once. Prints the session, its end, and the header to send with each request. Your token is read from
/// a file, or from POSTERN_TOKEN. Where the gateway's store cannot be asked: `postern break-glass token`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct BreakGlass {
    #[command(subcommand)]
    make: Option<Make>,
    #[command(flatten)]
    enter: Option<Enter>,
}

#[derive(Debug, Subcommand)]
enum Make {
    /// Make an emergency token, which opens where the gateway's store cannot be asked; needs no gateway
    #[command(after_help = super::EXIT)]
    Token(Token),
}

impl BreakGlass {
    pub(super) fn perform(self, out: &mut Out) -> Result<Answer, Trouble> {
        match (self.make, self.enter) {
            (Some(Make::Token(command)), _) => command.perform(out),
            (None, Some(command)) => command.perform(out),
            (None, None) => Err(Trouble::Says("say where the gateway is, by `--url`".to_owned())),
        }
    }
}

#[derive(Debug, Args)]
struct Enter {
    /// Where the gateway's proxy listener is reached, such as https://app.example
    #[arg(long, value_name = "URL")]
    url: String,
    /// The reserved prefix of the support API
    #[arg(long, value_name = "PREFIX", default_value = "/_postern/")]
    prefix: String,
    /// Certificates of the authority that vouches for the gateway, in PEM; the system's without
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Your token as an operator; POSTERN_TOKEN without
    #[arg(long, value_name = "FILE")]
    token: Option<PathBuf>,
    /// The tenant to enter
    #[arg(long)]
    tenant: String,
    /// In which of its environments
    #[arg(long, default_value = "production")]
    environment: String,
    /// The incident that it belongs to
    #[arg(long)]
    incident: String,
    /// Which of the configured causes it is
    #[arg(long)]
    cause: String,
    /// Why, in your words
    #[arg(long)]
    reason: String,
    /// For how long, where less than the configured time will do, such as 30m
    #[arg(long = "for", value_name = "TIME")]
    lasts: Option<String>,
    /// The idempotency key of an earlier try whose answer was lost
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Print the gateway's answer as it came
    #[arg(long)]
    json: bool,
}

/// What came.
struct Told {
    status: StatusCode,
    challenge: Option<String>,
    body: Value,
}

impl Told {
    /// It does not say whether anything happened: the same again, with the same key, will.
    fn is_open(&self) -> bool {
        let underway = self.body.get("code").is_some_and(|code| code == "idempotency_in_progress");
        self.status.is_server_error()
            || underway
            || self.status.is_success() && self.body.get("session").is_none()
    }
}

impl Enter {
    fn perform(self, out: &mut Out) -> Result<Answer, Trouble> {
        TenantId::check(&self.tenant).map_err(|fault| Trouble::Says(format!("`--tenant` {fault}")))?;
        let asker = Asker::new(&self.address()?, TIMEOUT).map_err(Trouble::of)?;
        let authorization = self.authorization()?;
        let key = match &self.key {
            Some(key) => key.clone(),
            None => new_id("key", super::now()).map_err(Trouble::of)?,
        };
        let quoted = HeaderValue::try_from(format!("\"{key}\""))
            .map_err(|_| Trouble::Says("`--key` is no idempotency key".to_owned()))?;
        let body = Bytes::from(self.declared().to_string());
        let request = || {
            let mut request = Request::post("/").body(Full::new(body.clone()));
            if let Ok(request) = &mut request {
                let headers = request.headers_mut();
                headers.insert(header::AUTHORIZATION, authorization.clone());
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                headers.insert("idempotency-key", quoted.clone());
            }
            request.map_err(Trouble::of)
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let told = runtime.block_on(async {
            let mut tries = 1;
            loop {
                let told = asker.ask(request()?, read).await.and_then(|told| told);
                match told {
                    Ok(told) if !told.is_open() || tries == TRIES => return Ok(told),
                    Ok(told) => say(&format!("{}; trying again", refused(&told))),
                    Err(fault) if tries == TRIES => {
                        let again =
                            "nobody knows whether you are inside: run this again with the same words and";
                        return Err(Trouble::Says(format!("{fault}; {again} `--key {key}`")));
                    }
                    Err(fault) => say(&format!("{fault}; trying again")),
                }
                tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
        })?;
        if !told.status.is_success() || told.is_open() {
            say(&format!("error: {}", refused(&told)));
            if told.is_open() {
                say(&format!("run this again with the same words and `--key {key}`"));
            }
            return Ok(Answer::No);
        }
        if self.json {
            writeln!(out, "{}", told.body)?;
        } else {
            self.print(out, &told.body)?;
        }
        Ok(Answer::Yes)
    }

    fn address(&self) -> Result<Address, Trouble> {
        let wrong = |what: &str| Trouble::Says(format!("`--url`: {what}"));
        let form = "write where the gateway is reached, such as `https://app.example`";
        let uri: Uri = self.url.parse().map_err(|_| wrong(form))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(wrong(form));
        };
        if authority.as_str().contains('@') || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong(
                "it takes scheme, host and port, nothing else; the prefix goes into `--prefix`",
            ));
        }
        let tls = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err(wrong(form)),
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let loopback = host == "localhost"
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        if !tls && !loopback {
            return Err(wrong("a token goes by `https` only, save to this machine itself"));
        }
        let sound = self.prefix.starts_with('/') && self.prefix.ends_with('/');
        if !sound || self.prefix.parse::<Uri>().is_err() {
            return Err(Trouble::Says("`--prefix` begins and ends with `/`".to_owned()));
        }
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let target = format!("{}v1/tenants/{}/break-glass", self.prefix, self.tenant);
        let authorities = self.ca.as_deref().map(keyfile::read).transpose()?;
        let authorities = authorities.map(|text| text.to_string());
        Ok(Address { tls, host, port, authority: authority.to_string(), target, authorities })
    }

    fn authorization(&self) -> Result<HeaderValue, Trouble> {
        let token = match &self.token {
            Some(path) => keyfile::read(path)?,
            None => Zeroizing::new(std::env::var("POSTERN_TOKEN").map_err(|_| {
                let how = "name the file with your token by `--token`, or put the token into POSTERN_TOKEN";
                Trouble::Says(how.to_owned())
            })?),
        };
        let mut value = HeaderValue::try_from(format!("Bearer {}", token.trim()))
            .map_err(|_| Trouble::Says("this is no token: it holds what no header may".to_owned()))?;
        value.set_sensitive(true);
        Ok(value)
    }

    fn declared(&self) -> Value {
        let words = [
            ("environment", &self.environment),
            ("incident", &self.incident),
            ("cause", &self.cause),
            ("reason", &self.reason),
        ];
        let said = words.into_iter().chain(self.lasts.as_ref().map(|lasts| ("for", lasts)));
        Value::Object(
            said.map(|(name, word)| (name.to_owned(), Value::from(word.as_str()))).collect::<Map<_, _>>(),
        )
    }

    fn print(&self, out: &mut Out, body: &Value) -> Result<(), Trouble> {
        let text = |at: &str| plain(body.pointer(at).and_then(Value::as_str).unwrap_or("not told"));
        let session = text("/session/id");
        writeln!(out, "session   {session}")?;
        writeln!(out, "inside    {}, {}", self.tenant, plain(&self.environment))?;
        let rights = body.pointer("/session/rights").and_then(Value::as_array).into_iter().flatten();
        let rights: Vec<String> = rights.filter_map(Value::as_str).map(plain).collect();
        writeln!(out, "role      {}: {}", text("/session/role"), rights.join(" "))?;
        writeln!(out, "ends      {}", text("/session/ends/at"))?;
        if body.pointer("/session/active") == Some(&Value::Bool(false)) {
            writeln!(out, "          it is over already; enter again without `--key`")?;
        }
        writeln!(out, "send      Postern-Session: {session}")?;
        let base = self.url.trim_end_matches('/');
        writeln!(out, "leave     DELETE {base}{}v1/tenants/{}/sessions/{session}", self.prefix, self.tenant)?;
        Ok(())
    }
}

/// The whole of an answer, as far as it is JSON.
async fn read(response: Response<Incoming>) -> Result<Told, AskFault> {
    let (head, body) = response.into_parts();
    let bytes = Limited::new(body, LARGEST).collect().await.map(|whole| whole.to_bytes()).unwrap_or_default();
    let challenge = head.headers.get(header::WWW_AUTHENTICATE);
    let challenge = challenge.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Ok(Told { status: head.status, challenge, body })
}

/// Why not, in one line.
fn refused(told: &Told) -> String {
    let text = |name: &str| told.body.get(name).and_then(Value::as_str).map(plain);
    let code = text("code").unwrap_or_else(|| "the answer is not the support API's".to_owned());
    let detail = text("detail").map(|detail| format!(": {detail}")).unwrap_or_default();
    let challenge = told.challenge.as_deref().map(|c| format!(" ({})", plain(c))).unwrap_or_default();
    format!("{} {code}{detail}{challenge}", told.status.as_u16())
}
