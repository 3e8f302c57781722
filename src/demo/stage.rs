//! The stage of the demo: a folder with keys and a configuration, the sample application, the gateway in front of it,
//! and four people with tokens.
//!
//! Never here: what is played on it.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::{
    app::{self, Extra, Gateway, clock::SystemClock},
    audit::note::{SigningKey, create},
    config,
    engine::Clock as _,
    identity::{Algorithm, Signer},
};

use super::sample::{Options, Sample};

/// The configuration that the demo starts from; published, so that people can read what they see.
const CONFIGURATION: &str = include_str!("../../config/examples/demo/postern.yaml");
/// How long the people's tokens hold, in seconds: past the days by which the walk moves the clock.
const TOKENS_S: i64 = 20 * 86_400;

/// What went wrong while the stage was set.
#[derive(Debug, thiserror::Error)]
pub enum StageFault {
    /// A file.
    #[error("`{path}`: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The folder is there already.
    #[error("`{}` is there already, and the demo writes its keys into a folder of its own; name another one", .0.display())]
    There(PathBuf),
    /// A key.
    #[error("a key for the demo: {0}")]
    Key(String),
    /// The configuration; a fault of the demo itself.
    #[error("the demo's configuration: {0}")]
    Configuration(String),
    /// The gateway.
    #[error(transparent)]
    Start(#[from] app::StartFault),
    /// The beginning of the state.
    #[error(transparent)]
    State(#[from] app::OpenFault),
    /// The sample application.
    #[error("the sample application: {0}")]
    Sample(String),
}

/// Somebody with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Person {
    /// Administrator of `acme`.
    Alice,
    /// A limited member of `acme`.
    Bob,
    /// Administrator of the child, `acme-eu`.
    Ines,
    /// The vendor's support agent.
    Sam,
}

impl Person {
    pub(super) const ALL: [Person; 4] = [Person::Alice, Person::Bob, Person::Ines, Person::Sam];

    pub(super) fn name(self) -> &'static str {
        match self {
            Person::Alice => "alice",
            Person::Bob => "bob",
            Person::Ines => "ines",
            Person::Sam => "sam",
        }
    }

    pub(super) fn what(self) -> &'static str {
        match self {
            Person::Alice => "administrator of the tenant acme",
            Person::Bob => "works for acme in the role operations",
            Person::Ines => "administrator of acme-eu, a child of acme",
            Person::Sam => "support agent of the vendor",
        }
    }
}

/// Everything that runs.
pub(super) struct Stage {
    pub(super) dir: PathBuf,
    pub(super) gateway: Gateway,
    pub(super) sample: Sample,
    tokens: Vec<(Person, String)>,
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Serialize)]
struct StaffClaims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    iat: i64,
    exp: i64,
    email: &'a str,
    email_verified: bool,
    groups: [&'a str; 1],
}

#[derive(Serialize)]
struct MemberClaims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    iat: i64,
    exp: i64,
    tenant: &'a str,
    roles: [&'a str; 1],
}

fn write(path: &Path, text: &str) -> Result<(), StageFault> {
    create(path, text.as_bytes(), 0o600).map_err(|source| StageFault::File { path: path.to_owned(), source })
}

fn key(what: impl std::fmt::Display) -> StageFault {
    StageFault::Key(what.to_string())
}

impl Stage {
    /// Sets it: into `dir`, which is made, and must not be there yet. `listen` and `operations` may have port 0.
    pub(super) fn set(dir: &Path, listen: SocketAddr, operations: SocketAddr) -> Result<Stage, StageFault> {
        // In a folder that anybody may write to, a name that is there already may be somebody else's.
        fs::DirBuilder::new().mode(0o700).create(dir).map_err(|source| match source.kind() {
            std::io::ErrorKind::AlreadyExists => StageFault::There(dir.to_owned()),
            _ => StageFault::File { path: dir.to_owned(), source },
        })?;
        let clock = Arc::new(SystemClock::default());
        let vendor = Signer::generate(Algorithm::Es256).map_err(key)?;
        let people = Signer::generate(Algorithm::Es256).map_err(key)?;
        let assertion = Signer::generate(Algorithm::EdDsa).map_err(key)?;
        let ledger = SigningKey::generate("example.com/postern/demo").map_err(key)?;
        write(&dir.join("vendor.jwks.json"), &vendor.public_jwks().map_err(key)?)?;
        write(&dir.join("app.jwks.json"), &people.public_jwks().map_err(key)?)?;
        write(&dir.join("assertion.pem"), &assertion.to_pem().map_err(key)?)?;
        write(&dir.join("ledger.key"), &ledger.to_text().map_err(key)?)?;
        write(&dir.join("ledger.pub"), &ledger.verifying_key().to_text())?;
        let tokens = mint(&vendor, &people, clock.now().ms() / 1000)?;
        for (person, token) in &tokens {
            write(&dir.join(format!("{}.token", person.name())), token)?;
        }
        let listener =
            std::net::TcpListener::bind("127.0.0.1:0").map_err(|e| StageFault::Sample(e.to_string()))?;
        let application = listener.local_addr().map_err(|e| StageFault::Sample(e.to_string()))?;
        let file = dir.join("postern.yaml");
        write(&file, &configuration(listen, operations, application)?)?;
        let (settings, _) = config::load(&file, &config::Disk)
            .map_err(|faults| StageFault::Configuration(faults.to_string()))?;
        app::init_state(&settings.state.path, &settings.ledger.path)?;
        let now = Arc::clone(&clock);
        let sample = Sample::new(Options {
            issuer: settings.assertion.issuer.clone(),
            audience: "app".to_owned(),
            keys: assertion.public_jwks().map_err(key)?,
            now: Arc::new(move || now.now().ms() / 1000),
        })
        .map_err(|fault| StageFault::Sample(fault.to_string()))?;
        let stop = CancellationToken::new();
        let thread = serve(sample.clone(), listener, stop.clone())?;
        let gateway = Gateway::start(settings, Extra { system: Some(clock), ..Extra::default() })?;
        Ok(Stage { dir: dir.to_owned(), gateway, sample, tokens, stop, thread: Some(thread) })
    }

    /// Somebody's token.
    pub(super) fn token(&self, person: Person) -> Option<String> {
        self.tokens.iter().find(|(known, _)| *known == person).map(|(_, token)| token.clone())
    }

    /// Ends the gateway, then the application.
    pub(super) fn strike(mut self) {
        self.gateway.stop();
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(
    sample: Sample,
    listener: std::net::TcpListener,
    stop: CancellationToken,
) -> Result<std::thread::JoinHandle<()>, StageFault> {
    let fault = |e: std::io::Error| StageFault::Sample(e.to_string());
    listener.set_nonblocking(true).map_err(fault)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(fault)?;
    std::thread::Builder::new()
        .name("application".to_owned())
        .spawn(move || {
            runtime.block_on(async move {
                let served = match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => sample.serve(listener, stop).await,
                    Err(fault) => Err(fault),
                };
                if let Err(fault) = served {
                    tracing::error!(%fault, "the sample application ended");
                }
            });
        })
        .map_err(fault)
}

/// The published configuration, with the demo's own addresses and a clock that can be moved.
fn configuration(
    listen: SocketAddr,
    operations: SocketAddr,
    application: SocketAddr,
) -> Result<String, StageFault> {
    let mut text = CONFIGURATION.to_owned();
    let changes = [
        ("listen: 127.0.0.1:8080", format!("listen: {listen}")),
        ("operations: 127.0.0.1:9090", format!("operations: {operations}")),
        ("url: \"http://127.0.0.1:1880\"", format!("url: \"http://{application}\"")),
        ("origin: example.com/postern/main", "origin: example.com/postern/demo".to_owned()),
        ("    leeway: 5s\n", "    leeway: 5s\n    max_lifetime: 30d # for the demo only\n".to_owned()),
        (
            "    keys: { file: app.jwks.json }\n",
            "    keys: { file: app.jwks.json }\n    max_lifetime: 30d # for the demo only\n".to_owned(),
        ),
    ];
    for (from, to) in changes {
        if !text.contains(from) {
            return Err(StageFault::Configuration(format!("the example no longer has `{}`", from.trim())));
        }
        text = text.replacen(from, &to, 1);
    }
    text.push_str("\n# The operations listener can move the gateway's clock forward: POST /clock {\"advance\":\"5d\"}\n");
    text.push_str("dangerous: { clock: true }\n");
    Ok(text)
}

fn mint(vendor: &Signer, people: &Signer, now: i64) -> Result<Vec<(Person, String)>, StageFault> {
    let exp = now + TOKENS_S;
    let mut tokens = Vec::new();
    for person in Person::ALL {
        let member = |sub, tenant, role| MemberClaims {
            iss: "https://id.app.example",
            aud: "app",
            sub,
            iat: now,
            exp,
            tenant,
            roles: [role],
        };
        let token = match person {
            Person::Alice => people.sign("at+jwt", &member("usr-alice", "acme", "admin")),
            Person::Bob => people.sign("at+jwt", &member("usr-bob", "acme", "operations")),
            Person::Ines => people.sign("at+jwt", &member("usr-ines", "acme-eu", "admin")),
            Person::Sam => vendor.sign(
                "at+jwt",
                &StaffClaims {
                    iss: "https://id.vendor.example",
                    aud: "postern",
                    sub: "sam",
                    iat: now,
                    exp,
                    email: "sam@vendor.example",
                    email_verified: true,
                    groups: ["support"],
                },
            ),
        };
        tokens.push((person, token.map_err(key)?));
    }
    Ok(tokens)
}
