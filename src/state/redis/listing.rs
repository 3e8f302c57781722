//! Listings: of one part by one index, of all parts by merging what each of them says ([`super::merged`]).
//!
//! A listing names documents first and loads them afterwards; a document that is gone by then is a fault, since
//! documents are never deleted.
//!
//! Never here: what a document means.

use std::collections::BTreeMap;

use ::redis::Value;

use crate::{
    model::{Key, Kind, TenantId, Timestamp},
    state::{Found, Gathered, Mark, Part, StoreFault, codec},
};

use super::{
    RedisStore,
    gather::Answered,
    said::{self, number, text, word},
    scripts::{self, Call},
    value,
};

impl RedisStore {
    /// Asks a part for the names of documents that begin with `prefix`, those after `after`; `None`: there can be none.
    fn names_call(&self, part: Part, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Option<Call> {
        let end = codec::after_prefix(prefix);
        let (sign, from) = match after {
            Some(after) if after >= end.as_slice() => return None,
            Some(after) if after >= prefix => (b'(', after),
            _ => (b'[', prefix),
        };
        let bound = |sign: u8, bytes: &[u8]| [&[sign], bytes].concat();
        let call = self.call(&scripts::LIST, part, &["head", "keys"]);
        Some(call.arg(bound(sign, from)).arg(bound(b'(', &end)).number(limit))
    }

    async fn named(&self, part: Part, call: Option<Call>) -> Result<Vec<(Key, Found)>, StoreFault> {
        let Some(call) = call else { return Ok(Vec::new()) };
        let mut rows = self.one(part, call).await?;
        let keys = names(part, rows.next())?;
        self.with_documents(keys).await
    }

    async fn with_documents(&self, keys: Vec<Key>) -> Result<Vec<(Key, Found)>, StoreFault> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let found = crate::state::Store::load(self, &keys).await?;
        let gone = |key: &Key| value::lost(key, "the index names it, and it is gone");
        let rows = keys.into_iter().zip(found);
        Ok(rows
            .map(|(key, found)| {
                let found = found.unwrap_or_else(|| gone(&key));
                (key, found)
            })
            .collect())
    }

    pub(super) async fn list_below(
        &self,
        tenant: &TenantId,
        kind: Kind,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Found)>, StoreFault> {
        let part = self.names.part_of(&Key::Tenant(tenant.clone()));
        let after = after.map(codec::key);
        let prefix = codec::tenant_prefix(tenant, kind);
        self.named(part, self.names_call(part, &prefix, after.as_deref(), limit)).await
    }

    pub(super) async fn list_all_stops(
        &self,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Found)>, StoreFault> {
        let part = self.names.part_of(&Key::Stop(crate::model::Reach::All));
        let after = after.map(codec::key);
        self.named(part, self.names_call(part, &codec::stops_prefix(), after.as_deref(), limit)).await
    }

    /// All documents of one kind, in whatever parts they lie.
    pub(super) async fn list_kind(
        &self,
        kind: Kind,
        after: Option<&Key>,
        limit: usize,
    ) -> Gathered<(Key, Found)> {
        let prefix = codec::kind_prefix(kind);
        let ask = |part, after: Option<&Key>, limit| {
            self.names_call(part, &prefix, after.map(codec::key).as_deref(), limit)
        };
        let told = self.merged(limit, after, ask, |part, mut rows| names(part, rows.next())).await;
        self.with_theirs(told).await
    }

    /// The documents of these; a part that tells its names and not its documents is silent.
    async fn with_theirs(&self, named: Gathered<Key>) -> Gathered<(Key, Found)> {
        let Gathered { rows: keys, mut silent } = named;
        if let Ok(rows) = self.with_documents(keys.clone()).await {
            return Gathered { rows, silent };
        }
        let mut by_part: BTreeMap<Part, Vec<Key>> = BTreeMap::new();
        for key in keys {
            by_part.entry(self.names.part_of(&key)).or_default().push(key);
        }
        let mut rows = Vec::new();
        for (part, keys) in by_part {
            match self.with_documents(keys).await {
                Ok(theirs) => rows.extend(theirs),
                Err(fault) => silent.push((part, fault)),
            }
        }
        rows.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Gathered { rows, silent }
    }

    pub(super) async fn list_all_tenants(
        &self,
        after: Option<&TenantId>,
        limit: usize,
    ) -> Gathered<(TenantId, Found)> {
        let after = after.map(|tenant| Key::Tenant(tenant.clone()));
        let Gathered { rows, silent } = self.list_kind(Kind::Tenant, after.as_ref(), limit).await;
        let rows = rows.into_iter().filter_map(|(key, found)| Some((key.tenant()?.clone(), found)));
        Gathered { rows: rows.collect(), silent }
    }

    pub(super) async fn all_due(
        &self,
        until: Timestamp,
        after: Option<&(Timestamp, Key)>,
        limit: usize,
    ) -> Gathered<(Timestamp, Key)> {
        let ask = |part, after: Option<&(Timestamp, Key)>, limit: usize| {
            let call = self.call(&scripts::DUE, part, &["head", "due"]).number(until.ms()).number(limit);
            Some(match after {
                Some((at, key)) => call.number(at.ms()).arg(codec::key(key)),
                None => call.arg("").arg(""),
            })
        };
        self.merged(limit, after, ask, deadlines).await
    }

    pub(super) async fn mark_of(&self, part: Part) -> Result<Mark, StoreFault> {
        let mut rows = self.one(part, self.call(&scripts::MARK, part, &["head"])).await?;
        let epoch = number(rows.next().as_ref()).and_then(|epoch| u32::try_from(epoch).ok());
        let (position, line) = (number(rows.next().as_ref()), said::line(rows.next().as_ref()));
        let rebuilt = word(rows.next().as_ref());
        match (self.id.get(), epoch, position, line) {
            (Some(id), Some(epoch), Some(position), Some(line)) => {
                Ok(Mark { id: *id, epoch, position, line, rebuilt: !rebuilt.is_empty() })
            }
            _ => Err(StoreFault::PartDamaged { part: part.0, detail: "its mark cannot be read".to_owned() }),
        }
    }
}

fn names(part: Part, row: Option<Value>) -> Result<Vec<Key>, StoreFault> {
    let Some(Value::Array(rows)) = row else { return Err(said::senseless("no names")) };
    let damaged = || StoreFault::PartDamaged { part: part.0, detail: "a key cannot be read".to_owned() };
    rows.iter().map(|row| text(row).and_then(codec::read_key).ok_or_else(damaged)).collect()
}

fn deadlines(part: Part, mut answer: Answered) -> Result<Vec<(Timestamp, Key)>, StoreFault> {
    let Some(Value::Array(pairs)) = answer.next() else { return Err(said::senseless("no deadlines")) };
    let damaged = || StoreFault::PartDamaged {
        part: part.0,
        detail: "the index of deadlines cannot be read".to_owned(),
    };
    pairs.chunks(2).map(|pair| deadline(pair).ok_or_else(damaged)).collect()
}

/// A name and its deadline. Redis tells scores as texts, or as numbers where the newer protocol is spoken.
fn deadline(pair: &[Value]) -> Option<(Timestamp, Key)> {
    let [name, at] = pair else { return None };
    let at = match at {
        Value::Int(at) => *at,
        other => std::str::from_utf8(text(other)?).ok()?.parse().ok()?,
    };
    Some((Timestamp::from_ms(at), codec::read_key(text(name)?)?))
}
