//! A walk that is written down as data: people with the claims of their tokens, and steps. Read strictly; what it says is
//! performed like the tour.
//!
//! Never here: how a step is performed.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::steps::{Do, Step};

/// People and steps.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Script {
    pub(super) people: Vec<Someone>,
    steps: Vec<Written>,
}

/// Somebody with a token.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Someone {
    pub(super) name: String,
    /// Who that is, for people.
    pub(super) what: String,
    /// The issuer of their token, by its name in the configuration.
    pub(super) issuer: String,
    /// What it says, beside whose it is for whom and how long.
    pub(super) claims: Map<String, Value>,
}

/// A step: exactly one of `ask`, `open`, `cut`, `advance` and `verify`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    title: String,
    who: Option<String>,
    /// Method and path.
    ask: Option<String>,
    body: Option<Value>,
    status: Option<u16>,
    #[serde(default)]
    says: Vec<String>,
    keep: Option<String>,
    /// A path whose answer goes on, under the name `as`.
    open: Option<String>,
    r#as: Option<String>,
    cut: Option<String>,
    advance: Option<String>,
    #[serde(default)]
    verify: bool,
}

impl Script {
    /// Reads one; the fault as text.
    pub(super) fn read(text: &str) -> Result<Script, String> {
        let script: Script = serde_saphyr::from_str(text).map_err(|fault| fault.to_string())?;
        match script.steps.iter().find(|step| step.does().is_none()) {
            Some(step) => Err(format!("the step `{}` does not say one thing to do", step.title)),
            None => Ok(script),
        }
    }

    pub(super) fn steps(&self) -> Vec<Step<'_>> {
        self.steps.iter().filter_map(Written::step).collect()
    }
}

impl Written {
    fn step(&self) -> Option<Step<'_>> {
        Some(Step { title: self.title.as_str().into(), does: self.does()? })
    }

    fn does(&self) -> Option<Do<'_>> {
        let named = [
            self.ask.is_some(),
            self.open.is_some(),
            self.cut.is_some(),
            self.advance.is_some(),
            self.verify,
        ];
        if named.iter().filter(|named| **named).count() != 1 {
            return None;
        }
        let who = self.who.as_deref();
        if let Some(ask) = &self.ask {
            let (method, path) = ask.split_once(' ')?;
            return Some(Do::Ask {
                who,
                method,
                path,
                body: self.body.as_ref().map(|body| body.to_string().into()),
                status: self.status?,
                says: self.says.iter().map(String::as_str).collect(),
                keep: self.keep.as_deref(),
            });
        }
        if let Some(path) = &self.open {
            return Some(Do::Open { who: who?, path, name: self.r#as.as_deref()? });
        }
        if let Some(name) = &self.cut {
            return Some(Do::Cut { name });
        }
        match &self.advance {
            Some(by) => Some(Do::Advance(by)),
            None => Some(Do::Verify),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_says_one_thing_to_do_and_nothing_that_is_not_known() {
        let script = |step: &str| Script::read(&format!("people: []\nsteps: [ {{ title: x, {step} }} ]"));
        for good in [
            "ask: GET /a, status: 200",
            "open: /a, who: sam, as: stream",
            "cut: stream",
            "advance: 1h",
            "verify: true",
        ] {
            assert_eq!(script(good).unwrap().steps().len(), 1, "{good}");
        }
        for bad in [
            "who: sam",
            "ask: GET /a",
            "ask: GET, status: 200",
            "open: /a",
            "open: /a, as: b",
            "cut: a, verify: true",
            "verify: false",
            "asks: GET /a",
        ] {
            assert!(script(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn each_preset_has_a_walk_that_ends_with_the_proof_of_its_record() {
        for preset in crate::demo::PRESETS {
            let script = Script::read(preset.walk).unwrap();
            assert!(
                matches!(script.steps().last().map(|step| &step.does), Some(Do::Verify)),
                "{}",
                preset.name
            );
            for step in script.steps() {
                if let Do::Ask { who: Some(who), .. } | Do::Open { who, .. } = &step.does {
                    assert!(script.people.iter().any(|person| person.name == *who), "{}: {who}", step.title);
                }
            }
        }
    }
}
