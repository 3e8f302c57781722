//! The gateways of the fleet, as the store knows them: each writes itself down, and finds the others (decision 0027).
//!
//! An entry stays until an operator takes it out: a gateway that hangs or is gone is missing, by name, and not forgotten.
//!
//! Never here: asking them for anything ([`crate::fleet`]).

use ::redis::Value;

use crate::{model::Timestamp, state::Part, state::StoreFault};

use super::{
    RedisStore,
    said::{self, text},
    scripts,
};

/// A gateway that wrote itself down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Where the others reach it; empty where what stands there cannot be read.
    pub address: String,
    /// When it wrote that last, by the store's clock.
    pub seen: Timestamp,
}

impl RedisStore {
    /// Writes this gateway down, and answers all that there are. An entry is no change: it is not waited for, and written anew.
    ///
    /// # Errors
    /// As of any question to the first part.
    pub async fn announce(&self, name: &str, address: &str) -> Result<Vec<Listed>, StoreFault> {
        let call = self.call(&scripts::GATEWAYS, Part::FIRST, &["head", "gateways"]);
        let mut rows = self.one(Part::FIRST, call.arg(name).arg(address)).await?;
        let fields = match rows.next() {
            Some(Value::Array(fields)) => fields,
            // As RESP3 has it.
            Some(Value::Map(pairs)) => pairs.into_iter().flat_map(|(key, value)| [key, value]).collect(),
            _ => return Err(said::senseless("no gateways")),
        };
        let words = |value: &Value| text(value).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        Ok(fields
            .chunks_exact(2)
            .filter_map(|pair| match pair {
                [name, entry] => Some(listed(words(name)?, &words(entry).unwrap_or_default())),
                _ => None,
            })
            .collect())
    }
}

fn listed(name: String, entry: &str) -> Listed {
    let read = entry.split_once(' ').and_then(|(seen, address)| Some((seen.parse().ok()?, address)));
    let (seen, address) = read.unwrap_or((0, ""));
    Listed { name, address: address.to_owned(), seen: Timestamp::from_ms(seen) }
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
}
