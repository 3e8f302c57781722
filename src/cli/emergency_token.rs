//! `postern break-glass token`: what an operator brings where the gateway's store cannot be asked. Signed by somebody else, with a
//! key that lies apart; needs no gateway and no network.
//!
//! Never here: whether a gateway takes it (it says so), another way to sign ([`crate::identity`]).

use std::{io::Write as _, path::PathBuf};

use clap::Args;
use serde::Serialize;

use crate::{
    engine::new_id,
    identity::EMERGENCY_TYPE,
    model::{EMERGENCY_PREFIX, EnvironmentId, IssuerName, TenantId, Timestamp},
};

use super::{
    Answer, Trouble,
    out::{Out, say},
    token::{lifetime, signer_of},
};

/// The longest that any gateway takes, in milliseconds.
const LONGEST_MS: i64 = 4 * 3_600_000;

/// Prints an emergency token. It opens one tenant to one operator, who sends it in `Postern-Emergency` beside a token of their own
#[derive(Debug, Args)]
pub(super) struct Token {
    /// The private key of the emergency authority: PEM (PKCS#8), or a private JSON web key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The key's name, where a PEM key has another than its thumbprint
    #[arg(long)]
    kid: Option<String>,
    /// `break_glass.tokens.audience` of the gateways that are to take it
    #[arg(long, value_name = "AUD")]
    audience: String,
    /// Who may use it: the configured name of their issuer, and their `sub`, as in `vendor:olga`
    #[arg(long, value_name = "ISSUER:SUB")]
    operator: String,
    /// The tenant to enter
    #[arg(long)]
    tenant: String,
    /// In which of its environments; each without
    #[arg(long)]
    environment: Option<String>,
    /// The incident that it belongs to
    #[arg(long)]
    incident: String,
    /// Which of the configured causes it is
    #[arg(long)]
    cause: String,
    /// Why, in your words
    #[arg(long)]
    reason: String,
    /// For how long, from now; at most 4h, and what the gateway's configuration allows
    #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = lifetime)]
    lasts_ms: i64,
}

#[derive(Serialize)]
struct Claims<'a> {
    jti: &'a str,
    iat: i64,
    nbf: i64,
    exp: i64,
    aud: &'a str,
    operator: Operator<'a>,
    tenant: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<&'a str>,
    reason: &'a str,
    incident: &'a str,
    cause: &'a str,
}

#[derive(Serialize)]
struct Operator<'a> {
    issuer: &'a str,
    sub: &'a str,
}

impl Token {
    pub(super) fn perform(self, out: &mut Out) -> Result<Answer, Trouble> {
        let wrong = |what: &str, fault: &dyn std::fmt::Display| Trouble::Says(format!("`--{what}` {fault}"));
        TenantId::check(&self.tenant).map_err(|fault| wrong("tenant", &fault))?;
        if let Some(environment) = &self.environment {
            EnvironmentId::check(environment).map_err(|fault| wrong("environment", &fault))?;
        }
        let (issuer, sub) = self
            .operator
            .split_once(':')
            .filter(|(_, sub)| !sub.is_empty())
            .ok_or_else(|| wrong("operator", &"names issuer and `sub`, as in `vendor:olga`"))?;
        IssuerName::check(issuer).map_err(|fault| wrong("operator", &fault))?;
        for (name, text) in [
            ("audience", &self.audience),
            ("incident", &self.incident),
            ("cause", &self.cause),
            ("reason", &self.reason),
        ] {
            if text.trim().is_empty() {
                return Err(wrong(name, &"is empty"));
            }
        }
        if self.lasts_ms > LONGEST_MS {
            return Err(wrong("for", &"is longer than 4h, which no gateway takes"));
        }
        let signer = signer_of(&self.key, self.kid.as_deref())?;
        let now = super::now();
        let made = new_id(EMERGENCY_PREFIX.trim_end_matches('_'), now).map_err(Trouble::of)?;
        let iat = now.ms() / 1_000;
        let exp = iat + self.lasts_ms / 1_000;
        let claims = Claims {
            jti: &made,
            iat,
            nbf: iat,
            exp,
            aud: &self.audience,
            operator: Operator { issuer, sub },
            tenant: &self.tenant,
            environment: self.environment.as_deref(),
            reason: &self.reason,
            incident: &self.incident,
            cause: &self.cause,
        };
        let token = signer.sign(EMERGENCY_TYPE, &claims).map_err(Trouble::of)?;
        writeln!(out, "{token}")?;
        say(&format!("{made}, signed by {}, ends {}", signer.kid(), Timestamp::from_ms(exp * 1_000)));
        say("send it in `Postern-Emergency`, beside the operator's own token in `Authorization`");
        say(&format!("take it back with `break_glass.tokens.revoked: [{made}]` and a reload"));
        Ok(Answer::Yes)
    }
}
