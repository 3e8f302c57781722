//! The stage of the demo: a folder with keys and a configuration, the sample application, the gateway in front of it,
//! and people with tokens.
//!
//! Never here: what is played on it.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    app::{self, Extra, Gateway, clock::SystemClock},
    audit::note::{SigningKey, create},
    config,
    engine::Clock as _,
    identity::{Algorithm, Signer},
};

use super::{
    sample::{Options, Sample},
    script::{Script, Someone},
    steps::{Step, tour},
};

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
    /// The walk of a preset; a fault of the preset itself.
    #[error("the preset's walk: {0}")]
    Walk(String),
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

    pub(super) const fn name(self) -> &'static str {
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
    people: Vec<Someone>,
    tokens: Vec<(String, String)>,
    script: Option<Script>,
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

fn write(path: &Path, text: &str) -> Result<(), StageFault> {
    create(path, text.as_bytes(), 0o600).map_err(|source| StageFault::File { path: path.to_owned(), source })
}

fn key(what: impl std::fmt::Display) -> StageFault {
    StageFault::Key(what.to_string())
}

impl Stage {
    /// Sets it: into `dir`, which is made, and must not be there yet. `listen` and `operations` may have port 0.
    pub(super) fn set(options: super::Options<'_>) -> Result<Stage, StageFault> {
        let super::Options { dir, listen, operations, preset } = options;
        let script = preset.map(|preset| Script::read(preset.walk).map_err(StageFault::Walk)).transpose()?;
        let people = script.as_ref().map_or_else(usual_people, |script| script.people.clone());
        // In a folder that anybody may write to, a name that is there already may be somebody else's.
        fs::DirBuilder::new().mode(0o700).create(dir).map_err(|source| match source.kind() {
            std::io::ErrorKind::AlreadyExists => StageFault::There(dir.to_owned()),
            _ => StageFault::File { path: dir.to_owned(), source },
        })?;
        let clock = Arc::new(SystemClock::default());
        let assertion = Signer::generate(Algorithm::EdDsa).map_err(key)?;
        let ledger = SigningKey::generate("example.com/postern/demo").map_err(key)?;
        write(&dir.join("assertion.pem"), &assertion.to_pem().map_err(key)?)?;
        write(&dir.join("ledger.key"), &ledger.to_text().map_err(key)?)?;
        write(&dir.join("ledger.pub"), &ledger.verifying_key().to_text())?;
        let written = preset.map_or(CONFIGURATION, |preset| preset.configuration);
        // Of each issuer one key, in the file that its configuration names after it.
        let mut signers = Vec::new();
        for name in people.iter().map(|person| person.issuer.clone()).chain(named_issuers(written)) {
            if signers.iter().all(|(known, _)| *known != name) {
                let signer = Signer::generate(Algorithm::Es256).map_err(key)?;
                write(&dir.join(format!("{name}.jwks.json")), &signer.public_jwks().map_err(key)?)?;
                signers.push((name, signer));
            }
        }
        let listener =
            std::net::TcpListener::bind("127.0.0.1:0").map_err(|e| StageFault::Sample(e.to_string()))?;
        let application = listener.local_addr().map_err(|e| StageFault::Sample(e.to_string()))?;
        let file = dir.join("postern.yaml");
        write(&file, &configuration(written, listen, operations, application)?)?;
        let (settings, _) = config::load(&file, &config::Disk)
            .map_err(|faults| StageFault::Configuration(faults.to_string()))?;
        let tokens = mint(&people, &signers, &settings.issuers, clock.now().ms() / 1000)?;
        for (name, token) in &tokens {
            write(&dir.join(format!("{name}.token")), token)?;
        }
        app::init(&settings)?;
        let now = Arc::clone(&clock);
        let sample = Sample::new(Options {
            issuer: settings.assertion.issuer.clone(),
            audience: settings
                .upstreams
                .first()
                .map(|upstream| upstream.audience.clone())
                .unwrap_or_default(),
            keys: assertion.public_jwks().map_err(key)?,
            now: Arc::new(move || now.now().ms() / 1000),
            stands_in: preset.is_some(),
        })
        .map_err(|fault| StageFault::Sample(fault.to_string()))?;
        let stop = CancellationToken::new();
        let thread = serve(sample.clone(), listener, stop.clone())?;
        let gateway = Gateway::start(settings, Extra { system: Some(clock), ..Extra::default() })?;
        let (dir, thread) = (dir.to_owned(), Some(thread));
        Ok(Stage { dir, gateway, sample, people, tokens, script, stop, thread })
    }

    /// Somebody's token.
    pub(super) fn token(&self, name: &str) -> Option<String> {
        self.tokens.iter().find(|(known, _)| known == name).map(|(_, token)| token.clone())
    }

    /// Who plays: names, and who that is.
    pub(super) fn people(&self) -> impl Iterator<Item = (&str, &str)> {
        self.people.iter().map(|person| (person.name.as_str(), person.what.as_str()))
    }

    /// What is played: the usual tour, or a preset's walk.
    pub(super) fn steps(&self) -> Vec<Step<'_>> {
        match &self.script {
            Some(script) => script.steps(),
            None => tour(),
        }
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

/// Serves it on a thread of its own.
pub(super) fn serve(
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

/// The issuers of a configuration whose keys lie in files that are called after them.
fn named_issuers(written: &str) -> Vec<String> {
    let named = |line: &str| {
        let name = line.trim().strip_prefix("keys: { file: ")?.strip_suffix(".jwks.json }")?;
        Some(name.to_owned())
    };
    written.lines().filter_map(named).collect()
}

/// A published configuration, with the demo's own addresses and a clock that can be moved.
fn configuration(
    written: &str,
    listen: SocketAddr,
    operations: SocketAddr,
    application: SocketAddr,
) -> Result<String, StageFault> {
    let upstream = written.lines().find(|line| line.trim().starts_with("url: \"http://127.0.0.1:"));
    let upstream = upstream.ok_or_else(|| StageFault::Configuration("it names no application".to_owned()))?;
    // The sample believes assertions alone, of members too.
    let asserts = if written.contains("assert: everyone") { "" } else { "\n    assert: everyone" };
    let mut text = written.to_owned();
    let changes = [
        ("listen: 127.0.0.1:8080", format!("listen: {listen}")),
        ("operations: 127.0.0.1:9090", format!("operations: {operations}")),
        (upstream, format!("    url: \"http://{application}\"{asserts}")),
        ("origin: example.com/postern/main", "origin: example.com/postern/demo".to_owned()),
        (
            "    algorithms: [ES256]\n",
            "    algorithms: [ES256]\n    max_lifetime: 30d # for the demo only\n".to_owned(),
        ),
    ];
    for (from, to) in changes {
        if !text.contains(from) {
            return Err(StageFault::Configuration(format!("it no longer has `{}`", from.trim())));
        }
        text = text.replace(from, &to);
    }
    text.push_str("\n# The operations listener can move the gateway's clock forward: POST /clock {\"advance\":\"5d\"}\n");
    text.push_str("dangerous: { clock: true }\n");
    Ok(text)
}

/// Those of the usual tour.
fn usual_people() -> Vec<Someone> {
    let person = |person: Person| {
        let member =
            |sub: &str, tenant: &str, role: &str| json!({ "sub": sub, "tenant": tenant, "roles": [role] });
        let (issuer, claims) = match person {
            Person::Alice => ("app", member("usr-alice", "acme", "admin")),
            Person::Bob => ("app", member("usr-bob", "acme", "operations")),
            Person::Ines => ("app", member("usr-ines", "acme-eu", "admin")),
            Person::Sam => (
                "vendor",
                json!({ "sub": "sam", "email": "sam@vendor.example", "email_verified": true, "groups": ["support"] }),
            ),
        };
        let claims = claims.as_object().cloned().unwrap_or_default();
        let (name, what) = (person.name().to_owned(), person.what().to_owned());
        Someone { name, what, issuer: issuer.to_owned(), claims }
    };
    Person::ALL.map(person).into()
}

fn mint(
    people: &[Someone],
    signers: &[(String, Signer)],
    issuers: &[config::resolve::IssuerSettings],
    now: i64,
) -> Result<Vec<(String, String)>, StageFault> {
    let mut tokens = Vec::new();
    for person in people {
        let issuer = issuers.iter().find(|issuer| issuer.name.as_str() == person.issuer);
        let signer = signers.iter().find(|(name, _)| *name == person.issuer);
        let (Some(issuer), Some((_, signer))) = (issuer, signer) else {
            return Err(StageFault::Walk(format!("there is no issuer `{}`", person.issuer)));
        };
        let mut claims = person.claims.clone();
        claims.insert("iss".to_owned(), json!(issuer.issuer));
        claims.insert("aud".to_owned(), json!(issuer.audiences.first()));
        claims.insert("iat".to_owned(), json!(now));
        claims.insert("exp".to_owned(), json!(now + TOKENS_S));
        tokens.push((person.name.clone(), signer.sign("at+jwt", &claims).map_err(key)?));
    }
    Ok(tokens)
}
