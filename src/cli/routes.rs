//! `postern routes`: from an OpenAPI document to a route map, and back: what of the document the map does not own.
//!
//! Never here: which route owns a request (that is [`crate::policy::routes`]), what a route may say
//! ([`crate::config`]).

mod coverage;
mod document;
mod import;
mod names;
mod tree;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::config::{Disk, Source as _};

use super::{Answer, ConfigArg, Trouble, out::Out};
use document::Document;
use tree::{MAX_DOCUMENT, Tree};

#[derive(Debug, Subcommand)]
pub(super) enum Routes {
    /// Write a route map from an OpenAPI document
    #[command(after_help = super::EXIT)]
    Import(Import),
    /// Say which operations of an OpenAPI document a map does not own
    #[command(after_help = super::EXIT)]
    Coverage(Coverage),
}

/// Prints `permissions` and `routes` as a configuration has them, with a suggested permission for each operation of the
/// document (OpenAPI 3.0 or 3.1, YAML or JSON). What cannot be mapped, and what has to be looked at, is told in comments.
/// Exit status 1 if an operation could not be mapped.
#[derive(Debug, Args)]
pub(super) struct Import {
    /// The document
    #[arg(value_name = "OPENAPI")]
    document: PathBuf,
    /// The path before all others, in the place of what the document's servers say; may be a template: `/t/{tenant}`
    #[arg(long, value_name = "PATH")]
    base: Option<String>,
    /// The host that the routes hold for
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// The upstream that answers
    #[arg(long, value_name = "NAME")]
    upstream: Option<String>,
}

/// Asks the map for each operation of the document. Says which are refused to staff because no route owns them, which
/// are open to everybody, and which routes no operation of the document reaches. Exit status 1 if an operation has no
/// route.
#[derive(Debug, Args)]
pub(super) struct Coverage {
    #[command(flatten)]
    config: ConfigArg,
    /// The document
    #[arg(value_name = "OPENAPI")]
    document: PathBuf,
    /// The path before all others, in the place of what the document's servers say; may be a template: `/t/{tenant}`
    #[arg(long, value_name = "PATH")]
    base: Option<String>,
    /// The host that is asked for; else each that a route names, and one that none names
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Routes {
    pub(super) fn perform(self, out: &mut Out) -> Result<Answer, Trouble> {
        match self {
            Routes::Import(command) => {
                let document = read(&command.document, command.base.as_deref())?;
                let host = command.host.as_deref();
                import::write(out, &document, &import::Around { host, upstream: command.upstream.as_deref() })
            }
            Routes::Coverage(command) => {
                let settings = command.config.load()?;
                let document = read(&command.document, command.base.as_deref())?;
                coverage::write(out, &settings, &document, command.host.as_deref(), command.json)
            }
        }
    }
}

fn read(path: &Path, base: Option<&str>) -> Result<Document, Trouble> {
    let bytes = Disk.read_file(path, MAX_DOCUMENT).map_err(|fault| Trouble::at(path, fault))?;
    let tree = Tree::parse(&bytes).map_err(|fault| Trouble::at(path, fault))?;
    document::read(&tree, base).map_err(|fault| Trouble::at(path, fault))
}

/// A text of the document as it may stand in one line of ours: a comment cannot be left, a terminal not be steered.
fn plain(text: &str) -> String {
    let mut out: String = text
        .chars()
        .take(200)
        .map(|letter| match letter {
            ' '..='~' => letter,
            letter if letter.is_alphanumeric() => letter,
            letter if letter.is_whitespace() => ' ',
            _ => '?',
        })
        .collect();
    if text.chars().nth(200).is_some() {
        out.push_str("...");
    }
    out
}
