//! The tour as text: numbered commands to copy and paste.
//!
//! Never here: a step.

use std::io::{self, Write};

use super::{stage::Stage, steps::Do};

/// Prints it.
pub(super) fn print(stage: &Stage, out: &mut dyn Write) -> io::Result<()> {
    let base = format!("http://{}", stage.gateway.address());
    let dir = stage.dir.display();
    writeln!(out, "The application is behind the gateway at {base}")?;
    writeln!(out, "Operations (health, metrics, the clock) at http://{}", stage.gateway.operations())?;
    writeln!(out, "Keys, configuration, state and ledger in {dir}\n")?;
    writeln!(out, "These people, each with a token in a file:")?;
    for (name, what) in stage.people() {
        writeln!(out, "  {name:<6} {what}")?;
    }
    writeln!(out, "\nPaste this first:\n")?;
    writeln!(out, "  cd {dir}")?;
    writeln!(
        out,
        "  as() {{ curl -sS -H \"Authorization: Bearer $(cat $1.token)\" -H 'Content-Type: application/json' \"${{@:2}}\"; echo; }}"
    )?;
    writeln!(out, "  id() {{ grep -o '\"id\":\"[^\"]*' $1.json | head -n 1 | cut -d'\"' -f4; }}")?;
    for (number, step) in (1..).zip(stage.steps()) {
        writeln!(out, "\n{number:>2}. {}", step.title)?;
        match step.does {
            Do::Ask { who, method, path, body, status, says, keep } => {
                write!(out, "  ")?;
                match who {
                    Some(name) => write!(out, "as {name} -X {method}")?,
                    None => write!(out, "curl -sS -X {method}")?,
                }
                if let Some(body) = body {
                    write!(out, " -d {}", quoted(&pasted(&body)))?;
                }
                write!(out, " \"{base}{}\"", pasted(path))?;
                if let Some(name) = keep {
                    write!(out, " | tee {name}.json")?;
                }
                if who.is_none() {
                    write!(out, "; echo")?;
                }
                writeln!(out)?;
                write!(out, "     → {status}")?;
                if !says.is_empty() {
                    write!(out, ", says: {}", says.join(", "))?;
                }
                writeln!(out)?;
            }
            Do::Open { who, path, name } => {
                writeln!(out, "  as {} -N -o {name}.out \"{base}{path}\" &", who)?;
            }
            Do::Cut { name } => {
                writeln!(out, "     → curl says that the connection of `{name}` was reset")?;
            }
            Do::Advance(by) => {
                writeln!(
                    out,
                    "  curl -sS -X POST -d '{{\"advance\":\"{by}\"}}' http://{}/clock",
                    stage.gateway.operations()
                )?;
            }
            Do::Verify => {
                writeln!(out, "  {} audit verify ledger --key ledger.pub", program())?;
            }
        }
    }
    writeln!(out, "\nThe record is plain text: grep, jq or less {dir}/ledger/*.jsonl")?;
    writeln!(out, "Ctrl-C ends the demo.")
}

/// This program, as a shell finds it from anywhere.
fn program() -> String {
    std::env::current_exe().map_or_else(|_| "postern".to_owned(), |path| path.display().to_string())
}

/// What stands in braces comes from an answer that was kept.
fn pasted(text: &str) -> String {
    let kept = ["session", "grant", "glass"];
    kept.iter()
        .fold(text.to_owned(), |text, name| text.replace(&format!("{{{name}}}"), &format!("$(id {name})")))
}

/// For a shell: in single quotes, or, where something is to be filled in, in double ones.
fn quoted(text: &str) -> String {
    if text.contains("$(") { format!("\"{}\"", text.replace('"', "\\\"")) } else { format!("'{text}'") }
}
