//! The gateways of the fleet, as the store knows them: each writes itself down, and finds the others (decision 0027).
//!
//! An entry stays until an operator takes it out: a gateway that hangs or is gone is missing, by name, and not forgotten. Beside it
//! stand the processes that go by a name: there is to be one (decision 0028).
//!
//! Never here: asking them for anything ([`crate::fleet`]), what a process does that is not alone.

use std::collections::BTreeSet;

use ::redis::Value;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{model::Timestamp, state::Part, state::StoreFault};

use super::{
    RedisStore,
    heal::lines,
    said::{self, number, text},
    scripts,
};

/// After how many milliseconds a process counts as gone that did not write itself down.
const GONE_MS: u64 = 5_000;

/// A gateway that wrote itself down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Where the others reach it; empty where it cannot be, or what stands there cannot be read.
    pub address: String,
    /// When it wrote that last, by the store's clock.
    pub seen: Timestamp,
}

/// A process that goes by a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Run {
    /// The beat that it began with. Beats of all processes have one order.
    pub began: u64,
    /// Which process.
    pub process: Uuid,
    /// Its last beat.
    pub seen: u64,
}

/// What an operator says of a gateway that will not come back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Farewell {
    /// Who says so.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Where its ledger is kept.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub archive: Option<String>,
}

/// A gateway that was retired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retired {
    /// Its name.
    pub name: String,
    /// When, by the store's clock.
    pub at: Timestamp,
    /// What was said of it; `None` where that cannot be read.
    pub farewell: Option<Farewell>,
    /// The gateway whose ledger has it.
    pub recorded_by: Option<String>,
}

/// What a gateway finds in the store when it writes itself down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// All gateways, itself among them.
    pub gateways: Vec<Listed>,
    /// The beat that this process began with.
    pub began: u64,
    /// The other processes that go by its name.
    pub others: Vec<Run>,
    /// Who was retired, oldest first.
    pub retired: Vec<Retired>,
}

/// What became of retiring a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retiring {
    /// It is done.
    Done(Retired),
    /// It still runs, or did a moment ago.
    Runs,
    /// There is none of that name.
    Unknown,
}

impl RedisStore {
    /// Writes this gateway down, and the process that it is; answers all that there are. An entry is no change: it is not waited for, and
    /// written anew. `began` is what the first answer of this process said.
    ///
    /// # Errors
    /// As of any question to the first part.
    pub async fn announce(
        &self,
        name: &str,
        address: &str,
        process: Uuid,
        began: Option<u64>,
    ) -> Result<Announced, StoreFault> {
        let call = self
            .call(&scripts::GATEWAYS, Part::FIRST, &["head", "gateways", "runs", "retired"])
            .arg(name)
            .arg(address)
            .arg(process.to_string())
            .arg(began.map(|beat| beat.to_string()).unwrap_or_default())
            .number(GONE_MS);
        let mut rows = self.one(Part::FIRST, call).await?;
        let gateways = pairs(rows.next()).ok_or_else(|| said::senseless("no gateways"))?;
        let began = number(rows.next().as_ref()).ok_or_else(|| said::senseless("no beat"))?;
        let others = rows.next();
        let retired = pairs(rows.next()).ok_or_else(|| said::senseless("nobody who was retired"))?;
        Ok(Announced {
            gateways: gateways.into_iter().map(|(name, entry)| listed(name, &entry)).collect(),
            began,
            others: runs(others).ok_or_else(|| said::senseless("no processes"))?,
            retired: farewells(&retired),
        })
    }

    /// This process ends: the next of its name need not wait to see whether it goes on.
    ///
    /// # Errors
    /// As of any question to the first part. It is gone all the same, a little later.
    pub async fn leave(&self, name: &str, process: Uuid) -> Result<(), StoreFault> {
        let call = self.call(&scripts::LEAVE, Part::FIRST, &["head", "runs"]);
        self.one(Part::FIRST, call.arg(name).arg(process.to_string())).await.map(drop)
    }

    /// Takes out a gateway that nobody is any more.
    ///
    /// # Errors
    /// As of any question to the first part.
    pub async fn retire(&self, name: &str, farewell: &Farewell) -> Result<Retiring, StoreFault> {
        let words = serde_json::to_string(farewell).map_err(|_| said::senseless("a farewell is no JSON"))?;
        let call = self.retirement().arg("retire").arg(name).arg(words).number(GONE_MS);
        let mut rows = self.one(Part::FIRST, call).await?;
        match rows.next().as_ref().and_then(text) {
            Some(b"runs") => Ok(Retiring::Runs),
            Some(b"unknown") => Ok(Retiring::Unknown),
            Some(b"retired") => {
                let at = rows.next().as_ref().and_then(text).and_then(|at| retirement(&lossy(at)));
                let (at, name) = at.ok_or_else(|| said::senseless("no retirement"))?;
                let farewell = Some(farewell.clone());
                Ok(Retiring::Done(Retired { name, at, farewell, recorded_by: None }))
            }
            _ => Err(said::senseless("retiring answered with something that nobody knows")),
        }
    }

    /// A gateway's ledger has it that another one was retired. A store that forgot it is told so anew.
    ///
    /// # Errors
    /// As of any question to the first part.
    pub async fn retirement_recorded(&self, retired: &Retired, by: &str) -> Result<(), StoreFault> {
        let which = format!("{} {}", retired.at.ms(), retired.name);
        let words = retired.farewell.as_ref().map(serde_json::to_string).transpose();
        let words = words.map_err(|_| said::senseless("a farewell is no JSON"))?.unwrap_or_default();
        let call = self.retirement().arg("record").arg(which).arg(words).arg(by);
        self.one(Part::FIRST, call).await.map(drop)
    }

    /// Writes down gateways that the store forgot: nobody knows where they are, and an operator can retire them.
    ///
    /// # Errors
    /// As of any question to the first part.
    pub async fn gateways_known(&self, names: &BTreeSet<String>) -> Result<(), StoreFault> {
        let call = self.retirement().arg("known").arg(lines(names));
        self.one(Part::FIRST, call).await.map(drop)
    }

    /// Who was retired, oldest first.
    ///
    /// # Errors
    /// As of any question to the first part.
    pub async fn retired(&self) -> Result<Vec<Retired>, StoreFault> {
        let mut rows = self.one(Part::FIRST, self.retirement().arg("look")).await?;
        let fields = pairs(rows.next()).ok_or_else(|| said::senseless("nobody who was retired"))?;
        Ok(farewells(&fields))
    }

    fn retirement(&self) -> scripts::Call {
        self.call(&scripts::RETIRE, Part::FIRST, &["head", "gateways", "runs", "retired"])
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The fields of a hash.
fn pairs(value: Option<Value>) -> Option<Vec<(String, String)>> {
    let fields = match value? {
        Value::Array(fields) => fields,
        // As RESP3 has it.
        Value::Map(pairs) => pairs.into_iter().flat_map(|(key, value)| [key, value]).collect(),
        _ => return None,
    };
    let words = |value: &Value| text(value).map(lossy);
    let pair = |pair: &[Value]| match pair {
        [key, value] => Some((words(key)?, words(value).unwrap_or_default())),
        _ => None,
    };
    Some(fields.chunks_exact(2).filter_map(pair).collect())
}

fn listed(name: String, entry: &str) -> Listed {
    let read = entry.split_once(' ').and_then(|(seen, address)| Some((seen.parse().ok()?, address)));
    let (seen, address) = read.unwrap_or((0, ""));
    Listed { name, address: address.to_owned(), seen: Timestamp::from_ms(seen) }
}

fn runs(value: Option<Value>) -> Option<Vec<Run>> {
    let Value::Array(words) = value? else { return None };
    let run = |run: &[Value]| match run {
        [process, began, seen] => Some(Run {
            process: Uuid::parse_str(std::str::from_utf8(text(process)?).ok()?).ok()?,
            began: number(Some(began))?,
            seen: number(Some(seen))?,
        }),
        _ => None,
    };
    // One that cannot be read is no process of this program.
    Some(words.chunks_exact(3).filter_map(run).collect())
}

/// When, and who.
fn retirement(field: &str) -> Option<(Timestamp, String)> {
    let (at, name) = field.split_once(' ')?;
    Some((Timestamp::from_ms(at.parse().ok()?), name.to_owned()))
}

fn farewells(fields: &[(String, String)]) -> Vec<Retired> {
    let recorded = |field: &str| {
        let known = fields.iter().find(|(key, _)| key.strip_prefix('+') == Some(field));
        known.map(|(_, by)| by.clone())
    };
    let mut all: Vec<Retired> = fields
        .iter()
        .filter(|(field, _)| !field.starts_with('+'))
        .filter_map(|(field, words)| {
            let (at, name) = retirement(field)?;
            let farewell = serde_json::from_str(words).ok();
            Some(Retired { name, at, farewell, recorded_by: recorded(field) })
        })
        .collect();
    all.sort_by(|a, b| (a.at, &a.name).cmp(&(b.at, &b.name)));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_cannot_be_read_is_a_gateway_all_the_same() {
        let good = listed("a".to_owned(), "1795389442190 gw1.internal:9443");
        assert_eq!((good.address.as_str(), good.seen.ms()), ("gw1.internal:9443", 1_795_389_442_190));
        for entry in ["", "x", "x y", " a:1"] {
            let odd = listed("b".to_owned(), entry);
            assert_eq!((odd.name.as_str(), odd.address.as_str(), odd.seen.ms()), ("b", "", 0), "{entry}");
        }
    }

    #[test]
    fn who_was_retired_is_read_in_order_also_where_nobody_knows_what_was_said() {
        let field = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let all = farewells(&[
            field("+9 b", "a"),
            field("9 b", r#"{"by":"olga","reason":"scaled down","archive":"s3://x"}"#),
            field("8 c d", "?"),
            field("x y", "{}"),
        ]);
        assert_eq!(all.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["c d", "b"]);
        assert_eq!((all[0].farewell.as_ref(), all[0].recorded_by.as_ref()), (None, None));
        let farewell = all[1].farewell.as_ref().unwrap();
        assert_eq!((farewell.by.as_str(), farewell.archive.as_deref()), ("olga", Some("s3://x")));
        assert_eq!((all[1].at.ms(), all[1].recorded_by.as_deref()), (9, Some("a")));
    }
}
