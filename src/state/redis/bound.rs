//! Counts within bounds: one sorted set for each name, in the part of the vendor's kill switches, which a server forgets by itself when all of
//! it is over (decision 0028).
//!
//! Never here: what is bounded; waiting for a majority: a fail-over may forget the last of them.

use crate::state::{Bound, Counted, StoreFault};

use super::{
    RedisStore,
    said::{self, number, text},
    scripts,
};

impl RedisStore {
    pub(super) async fn counted(&self, bound: Bound<'_>) -> Result<Counted, StoreFault> {
        let part = self.names.vendor();
        let mut call = self
            .call(&scripts::BOUND, part, &["head", &format!("bound:{}", bound.name)])
            .number(bound.span_ms)
            .number(bound.most.max(1))
            .arg(bound.add.unwrap_or_default());
        bound.forget.iter().for_each(|id| call.push(id.as_bytes()));
        let mut rows = self.one(part, call).await?;
        match rows.next().as_ref().and_then(text) {
            Some(b"counted") => Ok(Counted::Within),
            Some(b"full") => {
                let after = number(rows.next().as_ref()).and_then(|ms| i64::try_from(ms).ok());
                Ok(Counted::Beyond { after_ms: after.unwrap_or(0) })
            }
            _ => Err(said::senseless("a count answered with something that nobody knows")),
        }
    }
}
