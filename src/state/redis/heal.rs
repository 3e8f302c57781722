//! What a store in Redis offers to be healed: [`Heal`], each step one script on the primary of the part.
//!
//! Beside the head stands, while a healing goes on or somebody joins late, a hash `…:heal`: the healing's name (`round`), the `coming`
//! epoch, whether the head was `lost`, its `progress`; `w:<gateway>` for whom it waits, `j:<gateway>` for who has joined (1: whole), and
//! `a:<gateway>`, how far that one has come: its attempt and `k<key>` or `e`.
//!
//! None of these waits for a majority: what a later beat confirms, it confirms with all that came before it.
//!
//! Never here: what is done when ([`crate::state::healing`]), what a script does (`scripts/heal_*.lua`).

use std::collections::BTreeSet;

use ::redis::Value;
use uuid::Uuid;

use crate::{
    model::{Key, Stored},
    state::{
        Answer, Line, Part, StoreFault,
        checked::due_of,
        codec,
        healing::{
            Copying, Cursor, Done, Head, Heal, Loaded, Marking, Page, Proof, Putting, Reached, Round, Saying,
            Sight, Under,
        },
    },
};

use super::{
    RedisStore,
    said::{self, number, text, word},
    scripts::{self, Call, Script},
    value,
};

const ALL: [&str; 8] = ["head", "feed", "ids", "line", "keys", "due", "asks", "heal"];

impl RedisStore {
    /// A call on a part of whatever store it is: the machine compares ids itself.
    fn call_any(&self, script: &'static Script, part: Part, keys: &[&str]) -> Call {
        let keys = keys.iter().map(|what| self.names.of(part, what)).collect();
        Call::new(script, keys).arg("").number(self.names.count()).number(super::keys::FORMAT)
    }

    async fn look(&self, part: Part, place: u64, gateway: &str) -> Result<Sight, StoreFault> {
        let call = self.call_any(&scripts::HEAL_SIGHT, part, &["head", "line", "heal"]);
        let value = self.read_raw(part, call.number(place).arg(gateway)).await?;
        let rows = match &value {
            Value::Array(rows) if rows.first().and_then(text) == Some(b"none") => return Ok(Sight::default()),
            Value::Array(rows) if rows.first().and_then(text) == Some(b"ok") => rows,
            _ => return self.opened(part, value).and(Err(senseless())),
        };
        let damaged =
            || StoreFault::PartDamaged { part: part.0, detail: "its head cannot be read".to_owned() };
        sight(rows).ok_or_else(damaged)
    }

    async fn marked(&self, part: Part, marking: Marking) -> Result<Done, StoreFault> {
        let expected = marking.expected.map_or_else(|| "none".to_owned(), |epoch| epoch.to_string());
        let call = self
            .call_any(&scripts::HEAL_MARK, part, &ALL)
            .arg(expected)
            .arg(marking.id.to_string())
            .number(marking.epoch)
            .number(marking.number)
            .arg(lines(&marking.awaited))
            .arg(marking.round);
        let value = self.read_raw(part, call).await?;
        match &value {
            Value::Array(rows) => match rows.first().and_then(text) {
                Some(b"ok") => Ok(Done::Yes),
                Some(b"moved") => Ok(Done::Moved),
                _ => self.opened(part, value).and(Err(senseless())),
            },
            _ => Err(senseless()),
        }
    }

    async fn put_page(&self, part: Part, putting: Putting) -> Result<Done, StoreFault> {
        let Putting { gateway, attempt, under, from, to, epoch, awaited, read, change, write } = putting;
        let from = from.map(|key| cursor(&attempt, &Reached::Key(key))).unwrap_or_default();
        let (kind, what) = under_as(&under);
        let mut call = self
            .call(&scripts::HEAL_PUT, part, &ALL)
            .number(self.names.skip())
            .arg(self.names.prefix())
            .number(part.0)
            .arg(gateway)
            .arg(kind)
            .arg(what)
            .arg(from)
            .arg(cursor(&attempt, &to))
            .number(epoch)
            .arg(lines(&awaited))
            .arg(change)
            .number(read.0)
            .arg(read.1.as_str());
        for (key, before, stored) in &write {
            call.key(self.names.document(part, key));
            call.push(value::version(*before));
            call.push(due_of(stored).map(|at| at.ms().to_string()).unwrap_or_default());
            // Whatever was taken apart fits when it is joined, also where each side alone was at the bound.
            let json = serde_json::to_string(stored).map_err(|_| said::senseless("a document is no JSON"))?;
            call.push(value::bytes(stored, &json));
            call.push(remembered(stored));
        }
        self.done(part, call).await.map(|(done, _)| done)
    }

    async fn said_joined(&self, part: Part, saying: Saying) -> Result<Option<(u64, Line)>, StoreFault> {
        let (kind, what) = under_as(&saying.under);
        let call = self.call(&scripts::HEAL_SAY, part, &ALL).arg(saying.gateway).arg(kind).arg(what);
        let call = match saying.proof {
            Proof::Pages(attempt) => call.arg(cursor(&attempt, &Reached::End)).number(0).arg(""),
            Proof::Line(number, line) => call.arg("").number(number).arg(line.as_str()),
        };
        let call = call
            .number(u8::from(saying.whole))
            .number(saying.epoch)
            .number(saying.number)
            .arg(lines(&saying.awaited))
            .arg(saying.change);
        match self.done(part, call).await? {
            (Done::Yes, rows) => place(&rows).map(Some).ok_or_else(senseless),
            (Done::Moved, _) => Ok(None),
        }
    }

    async fn copied(&self, part: Part, copying: Copying) -> Result<Option<Page>, StoreFault> {
        let bound = match &copying.after {
            Some(after) => [b"(", codec::key(after).as_slice()].concat(),
            None => b"-".to_vec(),
        };
        let call = self.call(&scripts::LIST, part, &["head", "keys"]);
        let mut rows = self.one(part, call.arg(bound).arg("+").number(copying.limit)).await?;
        let Some(Value::Array(names)) = rows.next() else { return Err(senseless()) };
        let damaged = || StoreFault::PartDamaged { part: part.0, detail: "a name cannot be read".to_owned() };
        let keys: Option<Vec<Key>> = names.iter().map(|name| text(name).and_then(codec::read_key)).collect();
        let keys = keys.ok_or_else(damaged)?;
        let epoch = copying.epoch.to_string();
        let proof = (copying.number, copying.line);
        let Some(loaded) = self.loaded(part, &keys, &epoch, proof).await? else { return Ok(None) };
        // What a history names that was left since, this one has not.
        let documents = keys.into_iter().zip(loaded.found).filter_map(|(key, found)| Some((key, found?)));
        Ok(Some(Page { documents: documents.collect(), number: loaded.number, line: loaded.line }))
    }

    /// Documents as of one place: of a sound part of this epoch whose history goes through a place, or, where the epoch is
    /// left out, as they are.
    async fn loaded(
        &self,
        part: Part,
        keys: &[Key],
        epoch: &str,
        proof: (u64, Line),
    ) -> Result<Option<Loaded>, StoreFault> {
        let mut call = self
            .call(&scripts::HEAL_PAGE, part, &["head", "line", "keys"])
            .number(self.names.skip())
            .arg(epoch)
            .number(proof.0)
            .arg(proof.1.as_str());
        keys.iter().for_each(|key| call.key(self.names.document(part, key)));
        let (Done::Yes, rows) = self.done(part, call).await? else { return Ok(None) };
        let (number, line) = place(&rows).ok_or_else(senseless)?;
        let rows = rows.get(2..).unwrap_or_default();
        if rows.len() != keys.len() {
            return Err(senseless());
        }
        let found = keys.iter().zip(rows).map(|(key, row)| match row {
            Value::BulkString(bytes) => Some(value::read(key, bytes)),
            Value::Array(why) => Some(value::lost(key, &word(why.first()))),
            _ => None,
        });
        Ok(Some(Loaded { found: found.collect(), number, line }))
    }

    /// A step that is done or not, and what it answers.
    async fn done(&self, part: Part, call: Call) -> Result<(Done, Vec<Value>), StoreFault> {
        let value = self.read_raw(part, call).await?;
        let mut rows = self.opened(part, value)?;
        match rows.next().as_ref().and_then(text) {
            Some(b"done") => Ok((Done::Yes, rows.collect())),
            Some(b"moved") => Ok((Done::Moved, Vec::new())),
            _ => Err(senseless()),
        }
    }
}

fn senseless() -> StoreFault {
    said::senseless("a step of a healing answered with something that nobody knows")
}

fn place(rows: &[Value]) -> Option<(u64, Line)> {
    Some((number(rows.first())?, Line::parse(text(rows.get(1)?)?)?))
}

/// Names of gateways as scripts take them.
pub(super) fn lines(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<&str>>().join("\n")
}

fn under_as(under: &Under) -> (&'static str, String) {
    match under {
        Under::Round(name) => ("round", name.clone()),
        Under::Sound(epoch) => ("sound", epoch.to_string()),
    }
}

fn cursor(attempt: &str, at: &Reached) -> Vec<u8> {
    let mut bytes = format!("{attempt} ").into_bytes();
    match at {
        Reached::Key(key) => {
            bytes.push(b'k');
            bytes.extend_from_slice(&codec::key(key));
        }
        Reached::End => bytes.push(b'e'),
    }
    bytes
}

fn read_cursor(bytes: &[u8]) -> Option<Cursor> {
    let end = bytes.iter().position(|byte| *byte == b' ')?;
    let (attempt, rest) = bytes.split_at_checked(end)?;
    let at = match rest.get(1..)?.split_first()? {
        (b'k', key) => Reached::Key(codec::read_key(key)?),
        (b'e', []) => Reached::End,
        _ => return None,
    };
    Some(Cursor { attempt: std::str::from_utf8(attempt).ok()?.to_owned(), at })
}

/// The changes that count as made with a document.
fn remembered(stored: &Stored) -> String {
    let changes = stored.changes.iter().chain(stored.heads.iter().map(|head| &head.change));
    let changes: BTreeSet<&str> = changes.map(|change| change.as_str()).collect();
    changes.into_iter().collect::<Vec<&str>>().join(" ")
}

fn sight(rows: &[Value]) -> Option<Sight> {
    let [_, id, was, epoch, newest, line, state, line_at, cursor, Value::Array(heal)] = rows else {
        return None;
    };
    let id_of = |text: &[u8]| Uuid::parse_str(std::str::from_utf8(text).ok()?).ok();
    let was: Option<Vec<Uuid>> =
        text(was)?.split(|byte| *byte == b' ').filter(|one| !one.is_empty()).map(id_of).collect();
    let round = match text(state)? {
        b"good" => None,
        b"suspect" => Some(round(heal)?),
        _ => return None,
    };
    let head = Head {
        id: id_of(text(id)?)?,
        was: was?,
        epoch: u32::try_from(number(Some(epoch))?).ok()?,
        number: number(Some(newest))?,
        line: Line::parse(text(line)?)?,
        round,
    };
    Some(Sight {
        head: Some(head),
        line_at: Line::parse(text(line_at)?)?,
        cursor: read_cursor(text(cursor)?),
    })
}

fn round(fields: &[Value]) -> Option<Round> {
    let mut round = Round::default();
    for pair in fields.chunks(2) {
        let [field, value] = pair else { return None };
        let field = std::str::from_utf8(text(field)?).ok()?;
        let told = || std::str::from_utf8(text(value)?).ok();
        match field.split_once(':') {
            Some(("w", gateway)) => drop(round.awaited.insert(gateway.to_owned())),
            Some(("j", gateway)) => drop(round.joined.insert(gateway.to_owned(), told()? == "1")),
            Some(("a", _)) => {}
            _ => match field {
                "round" => round.name = told()?.to_owned(),
                "coming" => round.coming = told()?.parse().ok()?,
                "lost" => round.lost = told()? == "1",
                "progress" => round.progress = told()?.parse().ok()?,
                _ => {}
            },
        }
    }
    (!round.name.is_empty()).then_some(round)
}

impl Heal for RedisStore {
    fn sight<'a>(
        &'a self,
        part: Part,
        place: u64,
        gateway: &'a str,
    ) -> Answer<'a, Result<Sight, StoreFault>> {
        Box::pin(self.look(part, place, gateway))
    }

    fn mark(&self, part: Part, marking: Marking) -> Answer<'_, Result<Done, StoreFault>> {
        Box::pin(self.marked(part, marking))
    }

    fn load<'a>(&'a self, part: Part, keys: &'a [Key]) -> Answer<'a, Result<Loaded, StoreFault>> {
        Box::pin(async move {
            let loaded = self.loaded(part, keys, "", (0, Line::NONE)).await?;
            loaded.ok_or_else(senseless)
        })
    }

    fn put(&self, part: Part, putting: Putting) -> Answer<'_, Result<Done, StoreFault>> {
        Box::pin(self.put_page(part, putting))
    }

    fn say_joined(&self, part: Part, saying: Saying) -> Answer<'_, Result<Option<(u64, Line)>, StoreFault>> {
        Box::pin(self.said_joined(part, saying))
    }

    fn trust<'a>(
        &'a self,
        part: Part,
        round: &'a str,
        over: bool,
        retired: &'a BTreeSet<String>,
    ) -> Answer<'a, Result<Done, StoreFault>> {
        let call = self.call(&scripts::HEAL_TRUST, part, &["head", "heal"]).arg(round).number(u8::from(over));
        let call = call.arg(lines(retired));
        Box::pin(async move { self.done(part, call).await.map(|(done, _)| done) })
    }

    fn page(&self, part: Part, copying: Copying) -> Answer<'_, Result<Option<Page>, StoreFault>> {
        Box::pin(self.copied(part, copying))
    }
}
