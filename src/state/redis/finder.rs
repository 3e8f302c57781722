//! Who is the primary of which parts: one address; what a majority of the Sentinels say; what the Cluster says of each part's
//! slot. Whoever is named proves it to the link that connects ([`super::supervise`]).
//!
//! Never here: connections to the servers of the store themselves, and when to ask anew.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use redis::{Cmd, Pipeline, Value, aio::MultiplexedConnection};
use tokio::{task::JoinSet, time::timeout};

use super::{
    beat::{text, unexpected},
    dial::Dial,
    keys::Names,
    options::{Address, Options, Servers},
    said,
};
use crate::state::{Part, Parts, ServerFault, StoreFault};

/// Once one server of a Cluster has answered, the others have so long to know better.
const SECONDS_THOUGHT: Duration = Duration::from_millis(50);

/// Primaries and their parts.
pub(super) type Routes = BTreeMap<Address, Parts>;

/// See the module's header.
pub(super) struct Finder {
    dial: Arc<Dial>,
    names: Names,
    servers: Servers,
    limit: Duration,
    /// The slot of each part, once a server has worked it out; it never changes.
    slots: Vec<u16>,
    /// The primaries found last: they may be asked as well.
    known: Vec<Address>,
}

impl Finder {
    pub(super) fn new(options: &Options, names: &Names, dial: &Arc<Dial>) -> Self {
        Self {
            dial: Arc::clone(dial),
            names: names.clone(),
            servers: options.servers.clone(),
            limit: options.timeout,
            slots: Vec::new(),
            known: Vec::new(),
        }
    }

    /// Asks. A part that no server has is in none of the sets.
    pub(super) async fn find(&mut self) -> Result<Routes, StoreFault> {
        let all: Parts = self.names.parts().collect();
        match self.servers.clone() {
            Servers::One(address) => Ok(Routes::from([(address, all)])),
            Servers::Sentinel { name, addresses } => {
                Ok(Routes::from([(self.sentinels(&name, &addresses).await?, all)]))
            }
            Servers::Cluster(seeds) => self.cluster(seeds).await,
        }
    }

    async fn sentinels(&self, name: &str, addresses: &[Address]) -> Result<Address, StoreFault> {
        let mut asked = JoinSet::new();
        for address in addresses {
            let (dial, address, name, limit) =
                (Arc::clone(&self.dial), address.clone(), name.to_owned(), self.limit);
            asked.spawn(async move { named(&dial, &address, &name, limit).await });
        }
        let mut votes: BTreeMap<Address, usize> = BTreeMap::new();
        let (mut answered, mut fault) = (0, String::new());
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok(Ok(address)) => {
                    answered += 1;
                    let votes = votes.entry(address.clone()).or_default();
                    *votes += 1;
                    if *votes > addresses.len() / 2 {
                        return Ok(address);
                    }
                }
                Ok(Err(StoreFault::Server { detail, .. })) => fault = format!(" ({detail})"),
                Ok(Err(_)) => {}
                Err(_) => {}
            }
        }
        let all = addresses.len();
        let said = format!(
            "of {all} sentinels {answered} named a primary of `{name}`, and no majority the same{fault}"
        );
        Err(said::so(ServerFault::Unknown, said))
    }

    async fn cluster(&mut self, seeds: Vec<Address>) -> Result<Routes, StoreFault> {
        let mut addresses = seeds;
        addresses.extend(std::mem::take(&mut self.known));
        addresses.sort();
        addresses.dedup();
        let tags: Vec<Vec<u8>> = self.names.parts().map(|part| self.names.of(part, "head")).collect();
        let mut asked = JoinSet::new();
        for address in &addresses {
            let (dial, address, limit) = (Arc::clone(&self.dial), address.clone(), self.limit);
            let tags = if self.slots.is_empty() { tags.clone() } else { Vec::new() };
            asked.spawn(async move { view(&dial, &address, &tags, limit).await });
        }
        let mut best: Option<View> = None;
        let mut fault = said::so(ServerFault::Unknown, "no server of the cluster answered");
        loop {
            let next = match best.as_ref().is_some_and(|best| best.serves) {
                true => timeout(SECONDS_THOUGHT, asked.join_next()).await.unwrap_or(None),
                false => asked.join_next().await,
            };
            match next {
                None => break,
                Some(Ok(Ok(view))) => {
                    if best.as_ref().is_none_or(|best| (view.serves, view.epoch) > (best.serves, best.epoch))
                    {
                        best = Some(view);
                    }
                }
                Some(Ok(Err(StoreFault::Server { detail, .. }))) => {
                    fault = said::so(ServerFault::Unknown, detail)
                }
                Some(Ok(Err(_))) => {}
                Some(Err(_)) => {}
            }
        }
        // Asked again, whatever came of it: the seeds alone may all be gone by then.
        self.known = addresses;
        let best = best.ok_or(fault)?;
        if self.slots.is_empty() {
            self.slots.clone_from(&best.slots);
        }
        let mut routes = Routes::new();
        for (part, slot) in (0..).map(Part).zip(&self.slots) {
            if let Some((.., address)) = best.ranges.iter().find(|(from, to, _)| (from..=to).contains(&slot))
            {
                let parts = routes.entry(address.clone()).or_default();
                *parts = parts.with(part);
            }
        }
        if routes.is_empty() {
            return Err(said::so(ServerFault::Unknown, "the cluster has no server for any part"));
        }
        self.known.retain(|address| !routes.contains_key(address));
        self.known.truncate(16);
        self.known.extend(routes.keys().cloned());
        Ok(routes)
    }
}

/// What one Sentinel says.
async fn named(dial: &Dial, address: &Address, name: &str, limit: Duration) -> Result<Address, StoreFault> {
    let mut wire = dial.guide(address).await?;
    let mut command = Cmd::new();
    command.arg("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(name);
    match said::timely(limit, wire.connection.send_packed_command(&command)).await {
        Ok(Value::Array(pair)) => {
            let host = pair.first().and_then(text).map(str::to_owned);
            let port = pair.get(1).and_then(text).and_then(|port| port.parse().ok());
            let primary = host.zip(port).map(|(host, port)| Address { host, port });
            primary.ok_or_else(|| said::of(address, unexpected("SENTINEL", None)))
        }
        Ok(Value::Nil) => {
            let unknown = format!("it does not know `{name}`");
            Err(said::of(address, said::so(ServerFault::Unknown, unknown)))
        }
        Ok(other) => Err(said::of(address, unexpected("SENTINEL", Some(other)))),
        Err(trouble) => Err(said::of(address, trouble)),
    }
}

/// What one server of a Cluster thinks.
struct View {
    serves: bool,
    epoch: u64,
    ranges: Vec<(u16, u16, Address)>,
    slots: Vec<u16>,
}

async fn view(dial: &Dial, address: &Address, tags: &[Vec<u8>], limit: Duration) -> Result<View, StoreFault> {
    let mut wire = dial.server(address, Arc::new(|_| ())).await?;
    look(&mut wire.connection, address, tags, limit).await.map_err(|trouble| said::of(address, trouble))
}

async fn look(
    connection: &mut MultiplexedConnection,
    address: &Address,
    tags: &[Vec<u8>],
    limit: Duration,
) -> Result<View, StoreFault> {
    let mut pipe = Pipeline::with_capacity(tags.len() + 2);
    pipe.cmd("CLUSTER").arg("INFO").cmd("CLUSTER").arg("SLOTS");
    for tag in tags {
        pipe.cmd("CLUSTER").arg("KEYSLOT").arg(tag.as_slice());
    }
    let values = said::timely(limit, connection.send_packed_commands(&pipe, 0, tags.len() + 2)).await?;
    let mut values = values.into_iter();
    let info = values.next();
    let Some(info) = info.as_ref().and_then(text) else { return Err(unexpected("CLUSTER INFO", info)) };
    let said = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let serves = said("cluster_state:") == Some("ok");
    let epoch = said("cluster_current_epoch:").and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
    let rows = match values.next() {
        Some(Value::Array(rows)) => rows,
        other => return Err(unexpected("CLUSTER SLOTS", other)),
    };
    let ranges = rows.iter().filter_map(|row| range(row, address)).collect();
    let mut slots = Vec::with_capacity(tags.len());
    for value in values {
        match value {
            Value::Int(slot) => slots.push(u16::try_from(slot).unwrap_or(u16::MAX)),
            other => return Err(unexpected("CLUSTER KEYSLOT", Some(other))),
        }
    }
    Ok(View { serves, epoch, ranges, slots })
}

/// One row of `CLUSTER SLOTS`: first and last slot, and the primary before its replicas. A server that does not know its own
/// name is the one that was asked.
fn range(row: &Value, asked: &Address) -> Option<(u16, u16, Address)> {
    let Value::Array(row) = row else { return None };
    let [Value::Int(from), Value::Int(to), Value::Array(primary), ..] = row.as_slice() else { return None };
    let [host, Value::Int(port), ..] = primary.as_slice() else { return None };
    let host = match text(host) {
        Some("?") => return None,
        Some("") | None => asked.host.clone(),
        Some(host) => host.to_owned(),
    };
    let port = u16::try_from(*port).ok()?;
    Some((u16::try_from(*from).ok()?, u16::try_from(*to).ok()?, Address { host, port }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_slots_names_its_primary_and_an_unnamed_one_is_whoever_was_asked() {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let row = |host: Value| {
            let node = Value::Array(vec![host, Value::Int(7000), bulk("id"), Value::Array(Vec::new())]);
            Value::Array(vec![Value::Int(0), Value::Int(5460), node.clone(), node])
        };
        let seed = Address { host: "seed".into(), port: 1 };
        let host =
            |value| range(&row(value), &seed).map(|(from, to, address)| (from, to, address.to_string()));
        assert_eq!(host(bulk("10.0.0.1")), Some((0, 5460, "10.0.0.1:7000".into())));
        assert_eq!(host(bulk("")), Some((0, 5460, "seed:7000".into())));
        assert_eq!(host(Value::Nil), Some((0, 5460, "seed:7000".into())));
        assert_eq!(host(bulk("?")), None);
        assert_eq!(range(&Value::Nil, &seed), None);
    }
}
