//! `postern token`: keys and tokens for people who try things out, and the gateway's own verifier on the command line.
//!
//! Never here: a second way to verify or sign ([`crate::identity`]).

use std::{
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    str::FromStr,
};

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    config::Settings,
    identity::{
        Algorithm, Signer, TokenFault, VerifiedSubject, Verifier,
        batch::{BatchOptions, verify_lines},
    },
    model::{Span, SubjectKind, Timestamp},
};

use super::{
    Answer, ConfigArg, Trouble,
    keyfile::{self, Readers},
    out::{Out, say},
};

#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Make a signing key, for an issuer to try things with or for assertions
    #[command(after_help = super::EXIT)]
    Key(Key),
    /// Make a token and print it; for trying things out
    #[command(after_help = super::EXIT)]
    Mint(Mint),
    /// Verify a token as the gateway would, or lines of test vectors
    #[command(after_help = super::EXIT)]
    Verify(Verify),
}

impl Token {
    pub(super) fn perform(self, out: &mut Out) -> Result<Answer, Trouble> {
        match self {
            Token::Key(command) => command.perform(out),
            Token::Mint(command) => command.perform(out),
            Token::Verify(command) => command.perform(out),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Signing {
    #[value(name = "ES256")]
    Es256,
    #[value(name = "EdDSA")]
    EdDsa,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Pem,
    Jwk,
}

#[derive(Debug, Args)]
pub(super) struct Key {
    /// What it signs with
    #[arg(long, value_enum)]
    algorithm: Signing,
    /// Its name in tokens and in the key set [default: its RFC 7638 thumbprint]
    #[arg(long)]
    kid: Option<String>,
    /// The private half goes here, readable by its owner only
    #[arg(long, value_name = "FILE")]
    private: PathBuf,
    /// The form of the private half: `assertion.key` takes PEM; a JWK keeps the `kid`
    #[arg(long, value_enum, default_value = "pem")]
    format: Form,
    /// The public half goes here, as a JSON web key set
    #[arg(long, value_name = "FILE")]
    jwks: PathBuf,
}

impl Key {
    fn perform(self, out: &mut Out) -> Result<Answer, Trouble> {
        let algorithm = match self.algorithm {
            Signing::Es256 => Algorithm::Es256,
            Signing::EdDsa => Algorithm::EdDsa,
        };
        let signer = make(algorithm, self.kid.as_deref())?;
        let private = match self.format {
            Form::Pem => signer.to_pem(),
            Form::Jwk => signer.to_private_jwk(),
        };
        let private = private.map_err(Trouble::of)?;
        let public = signer.public_jwks().map_err(Trouble::of)?;
        keyfile::all_new(&[&self.private, &self.jwks])?;
        keyfile::write_new(&self.private, &private, Readers::Owner)?;
        keyfile::write_new(&self.jwks, &format!("{public}\n"), Readers::All)?;
        writeln!(out, "kid {}", signer.kid())?;
        Ok(Answer::Yes)
    }
}

/// A new key under a name.
pub(super) fn make(algorithm: Algorithm, kid: Option<&str>) -> Result<Signer, Trouble> {
    let signer = Signer::generate(algorithm).map_err(Trouble::of)?;
    match kid {
        None => Ok(signer),
        Some(kid) if !kid.is_empty() && kid.bytes().all(|byte| byte.is_ascii_graphic()) => {
            let pem = signer.to_pem().map_err(Trouble::of)?;
            Signer::from_pem(&pem, Some(kid)).map_err(Trouble::of)
        }
        Some(_) => Err(Trouble::Says("a `kid` is visible ASCII without spaces".to_owned())),
    }
}

/// Prints a signed token. Whatever `--claim` names takes the place of what would be there by itself, times included.
#[derive(Debug, Args)]
pub(super) struct Mint {
    /// The private key: PEM (PKCS#8), or a private JSON web key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The key's name, where a PEM key has another than its thumbprint
    #[arg(long)]
    kid: Option<String>,
    /// `iss`
    #[arg(long, value_name = "ISS")]
    issuer: String,
    /// `aud`
    #[arg(long, value_name = "AUD")]
    audience: String,
    /// `sub`
    #[arg(long, value_name = "SUB")]
    subject: String,
    /// How long it holds
    #[arg(long, value_name = "SPAN", default_value = "15m", value_parser = lifetime)]
    lifetime: i64,
    /// More claims: `name=text`, or `name:=JSON` as in 'roles:=["administrator"]'
    #[arg(long = "claim", value_name = "NAME=VALUE")]
    claims: Vec<Claim>,
    /// `typ`
    #[arg(long = "type", value_name = "TYPE", default_value = "at+jwt")]
    typ: String,
}

/// Milliseconds.
pub(super) fn lifetime(text: &str) -> Result<i64, String> {
    match Span::parse(text) {
        Some(Span::Millis(ms)) if ms >= 1_000 => Ok(ms),
        Some(Span::Millis(_)) => Err("write at least `1s`".to_owned()),
        Some(Span::CalendarDays(_) | Span::CalendarMonths(_)) | None => {
            Err("no duration; write `15m` or `1h 30m`".to_owned())
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Claim {
    name: String,
    value: Value,
}

impl FromStr for Claim {
    type Err = String;

    fn from_str(text: &str) -> Result<Claim, String> {
        let Some((name, value)) = text.split_once('=') else {
            return Err("write `name=text`, or `name:=JSON`".to_owned());
        };
        let (name, value) = match name.strip_suffix(':') {
            Some(name) => (
                name,
                serde_json::from_str(value)
                    .map_err(|fault| format!("what follows `:=` is no JSON: {fault}"))?,
            ),
            None => (name, Value::from(value)),
        };
        if name.is_empty() {
            return Err("the claim has no name".to_owned());
        }
        Ok(Claim { name: name.to_owned(), value })
    }
}

/// A private key from a file: in PEM, or a private JSON web key.
pub(super) fn signer_of(path: &Path, kid: Option<&str>) -> Result<Signer, Trouble> {
    let text = keyfile::read(path)?;
    let signer = if text.trim_start().starts_with('{') {
        if kid.is_some() {
            return Err(Trouble::Says("a JSON web key brings its own `kid`; leave `--kid` out".to_owned()));
        }
        Signer::from_jwk(&text)
    } else {
        Signer::from_pem(&text, kid)
    };
    signer.map_err(|fault| Trouble::at(path, fault))
}

impl Mint {
    fn perform(self, out: &mut Out) -> Result<Answer, Trouble> {
        let signer = signer_of(&self.key, self.kid.as_deref())?;
        let claims = self.claims(super::now())?;
        writeln!(out, "{}", signer.sign(&self.typ, &claims).map_err(Trouble::of)?)?;
        Ok(Answer::Yes)
    }

    fn claims(&self, now: Timestamp) -> Result<Map<String, Value>, Trouble> {
        let seconds = now.ms().div_euclid(1000);
        let until = now.ms().saturating_add(self.lifetime).div_euclid(1000);
        let mut claims = Map::new();
        for (name, value) in [
            ("iss", Value::from(self.issuer.as_str())),
            ("aud", Value::from(self.audience.as_str())),
            ("sub", Value::from(self.subject.as_str())),
            ("iat", Value::from(seconds)),
            ("exp", Value::from(until)),
        ] {
            claims.insert(name.to_owned(), value);
        }
        for (number, claim) in self.claims.iter().enumerate() {
            if self.claims.iter().take(number).any(|other| other.name == claim.name) {
                return Err(Trouble::Says(format!("the claim `{}` is given twice", claim.name)));
            }
            claims.insert(claim.name.clone(), claim.value.clone());
        }
        Ok(claims)
    }
}

/// Without `--batch`: prints the verified subject as JSON, or says the fault's code and what to do about it. With
/// `--batch`: reads JSON lines `{"id","keys":[JWK…],"token"}` from standard input and writes `{"id","valid","reason"}`
/// for each, looking at headers and signatures only; the exit status is 0 when all lines were answered.
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The configuration whose issuers count
    #[arg(long, value_name = "FILE", required_unless_present = "batch")]
    config: Option<PathBuf>,
    /// The token; `-` or nothing reads it from standard input
    token: Option<String>,
    /// Lines of test vectors from standard input
    #[arg(long, conflicts_with_all = ["config", "token"])]
    batch: bool,
    /// Take HMAC algorithms with shared keys too
    #[arg(long, requires = "batch", conflicts_with_all = ["config", "token"])]
    allow_hmac: bool,
}

/// A verified subject, for people and programs.
#[derive(Serialize)]
struct Verified<'a> {
    kind: SubjectKind,
    issuer: &'a str,
    sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    support: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    roles: Option<Vec<&'a str>>,
    acting: bool,
    expires: Timestamp,
    token: String,
}

impl<'a> Verified<'a> {
    fn of(subject: &'a VerifiedSubject) -> Self {
        let staff = subject.kind == SubjectKind::Staff;
        Verified {
            kind: subject.kind,
            issuer: subject.id.issuer.as_str(),
            sub: &subject.id.sub,
            email: subject.email.as_deref(),
            support: staff.then_some(subject.support),
            tenant: subject.tenant.as_ref().map(|tenant| tenant.as_str()),
            environment: subject.environment.as_ref().map(|environment| environment.as_str()),
            roles: (!staff).then(|| subject.roles.iter().map(|role| role.as_str()).collect()),
            acting: subject.acting,
            expires: subject.expires,
            token: subject.fingerprint().to_string(),
        }
    }
}

impl Verify {
    fn perform(self, out: &mut Out) -> Result<Answer, Trouble> {
        let Some(config) = self.config else {
            let options = BatchOptions { allow_hmac: self.allow_hmac, ..BatchOptions::default() };
            let done = verify_lines(io::stdin().lock(), out, &options)?;
            say(&format!("{} valid, {} invalid, {} unreadable", done.valid, done.invalid, done.unreadable));
            return Ok(Answer::Yes);
        };
        let settings = ConfigArg { config }.load()?;
        let verifier = verifier(&settings)?;
        let token = given(self.token.as_deref().unwrap_or("-"))?;
        match verifier.verify(token.as_bytes(), super::now()) {
            Ok(subject) => {
                serde_json::to_writer_pretty(&mut *out, &Verified::of(&subject)).map_err(io::Error::from)?;
                writeln!(out)?;
                Ok(Answer::Yes)
            }
            Err(fault) => {
                say(&refused(fault));
                Ok(Answer::No)
            }
        }
    }
}

/// The verifier of a configuration.
pub(super) fn verifier(settings: &Settings) -> Result<Verifier, Trouble> {
    crate::app::verifier(settings).map_err(|fault| Trouble::at(&settings.file, fault))
}

/// Why a token was refused.
pub(super) fn refused(fault: TokenFault) -> String {
    format!("error[{}]: {fault}", fault.code())
}

/// A token given in words, or by `-` on standard input. What is longer than any token is not read to its end.
fn given(text: &str) -> Result<String, Trouble> {
    if text != "-" {
        return Ok(text.to_owned());
    }
    let mut token = String::new();
    let read = io::stdin().lock().take(1 << 20).read_to_string(&mut token);
    read.map_err(|fault| Trouble::Says(format!("standard input: {fault}")))?;
    Ok(token.trim().to_owned())
}

/// A token from a file, or by `-` from standard input.
pub(super) fn from_file(path: &Path) -> Result<String, Trouble> {
    let token = if path.as_os_str() == "-" { given("-")? } else { keyfile::read(path)?.trim().to_owned() };
    if token.contains(['\r', '\n']) {
        return Err(Trouble::at(path, "holds more than one line; a token is one"));
    }
    Ok(token)
}
