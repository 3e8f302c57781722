//! Which server of an application gets a request: of two taken at random among those that are in, the one with less to do
//! on this core. Where none is in, the least bad is asked anyway: a wrong check closes no application.
//!
//! Never here: whether a server is well (see [`health`](super::health)), a connection.

use std::{cell::Cell, collections::HashMap, rc::Rc};

use super::routing::{Server, Upstream};

/// Servers of which nothing runs are forgotten when there are more than this.
const MOST: usize = 1024;

/// What this core has under way, by server.
pub(super) struct Loads {
    under_way: HashMap<Box<str>, Rc<Cell<u32>>>,
    random: u64,
}

/// Counts as under way until it is dropped. Nothing is counted where there is no choice.
pub(super) struct Load(Option<Rc<Cell<u32>>>);

impl Drop for Load {
    fn drop(&mut self) {
        if let Some(count) = &self.0 {
            count.set(count.get().saturating_sub(1));
        }
    }
}

/// Servers that one request has tried already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tried(u64);

impl Tried {
    pub(super) fn add(&mut self, number: usize) {
        self.0 |= 1u64.checked_shl(u32::try_from(number).unwrap_or(u32::MAX)).unwrap_or(0);
    }

    fn has(self, number: usize) -> bool {
        self.0 & 1u64.checked_shl(u32::try_from(number).unwrap_or(u32::MAX)).unwrap_or(u64::MAX) != 0
    }
}

impl Default for Loads {
    fn default() -> Self {
        let mut seed = [0; 8];
        // Without, every core begins with the same server, and goes on otherwise.
        let _ = aws_lc_rs::rand::fill(&mut seed);
        Loads { under_way: HashMap::new(), random: u64::from_ne_bytes(seed) | 1 }
    }
}

impl Loads {
    /// The one to ask, by its number; `None` where all were tried.
    pub(super) fn choose<'u>(
        &mut self,
        upstream: &'u Upstream,
        tried: Tried,
    ) -> Option<(usize, &'u Server, Load)> {
        if let [only] = upstream.servers.as_slice() {
            return (tried == Tried::default()).then_some((0, only, Load(None)));
        }
        let number = self.number(&upstream.servers, tried)?;
        let server = upstream.servers.get(number)?;
        Some((number, server, self.again(upstream, server)))
    }

    /// One more on a server that was chosen before.
    pub(super) fn again(&mut self, upstream: &Upstream, server: &Server) -> Load {
        if upstream.servers.len() == 1 {
            return Load(None);
        }
        let count = self.count(server);
        count.set(count.get() + 1);
        Load(Some(count))
    }

    fn number(&mut self, servers: &[Server], tried: Tried) -> Option<usize> {
        let open = || servers.iter().enumerate().filter(|(number, _)| !tried.has(*number));
        // Whoever comes first after the time of one is over pays for the look whether it is back.
        if let Some((number, _)) =
            open().find(|(_, server)| !server.health.is_in() && server.health.may_try())
        {
            return Some(number);
        }
        let fit = || open().filter(|(_, server)| server.health.is_in());
        let count = fit().count();
        if count == 0 {
            // Any of them may be the first that is back.
            let hoped = || open().filter(|(_, server)| !server.health.is_unwell());
            return match hoped().count() {
                0 => open().nth(self.below(open().count())).map(|(number, _)| number),
                some => hoped().nth(self.below(some)).map(|(number, _)| number),
            };
        }
        let first = self.below(count);
        // Another one than the first, each as likely.
        let second = (first + 1 + self.below(count.saturating_sub(1).max(1))) % count;
        let (one, other) = (fit().nth(first)?, fit().nth(second)?);
        let less = if self.count(other.1).get() < self.count(one.1).get() { other } else { one };
        Some(less.0)
    }

    fn count(&mut self, server: &Server) -> Rc<Cell<u32>> {
        if let Some(count) = self.under_way.get(server.key.as_str()) {
            return Rc::clone(count);
        }
        if self.under_way.len() >= MOST {
            self.under_way.retain(|_, count| count.get() > 0);
        }
        Rc::clone(self.under_way.entry(server.key.as_str().into()).or_default())
    }

    /// A number below that one (xorshift: who guesses it wins nothing).
    fn below(&mut self, bound: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random % (bound as u64).max(1)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::upstream::tests::settings;

    fn upstream(count: usize) -> Upstream {
        let mut upstream = settings("127.0.0.1:1".to_owned());
        let one = upstream.servers[0].clone();
        upstream.servers = (0..count)
            .map(|number| Server {
                key: format!("server {number}"),
                health: crate::proxy::health::Health::new("app", "x", Default::default()).into(),
                ..one.clone()
            })
            .collect();
        upstream
    }

    #[test]
    fn the_busier_of_two_is_not_asked_and_all_get_their_share() {
        let upstream = upstream(4);
        let mut loads = Loads::default();
        let mut got = [0usize; 4];
        let mut under_way = Vec::new();
        for _ in 0..400 {
            let (number, _, load) = loads.choose(&upstream, Tried::default()).unwrap();
            got[number] += 1;
            under_way.push(load);
        }
        assert!(got.iter().all(|count| (90..=110).contains(count)), "{got:?}");
        drop(under_way);
        assert!(loads.under_way.values().all(|count| count.get() == 0));
        // With the first busy, of two it is taken only where chance names it twice.
        let busy: Vec<_> = (0..50).map(|_| loads.count(&upstream.servers[0])).collect();
        busy[0].set(50);
        let mut got = [0usize; 4];
        for _ in 0..300 {
            got[loads.choose(&upstream, Tried::default()).unwrap().0] += 1;
        }
        assert_eq!(got[0], 0);
    }

    fn five() -> Upstream {
        upstream(5)
    }

    #[test]
    fn who_is_out_is_not_asked_and_where_all_are_the_least_bad_is() {
        let upstream = upstream(3);
        let mut loads = Loads::default();
        for _ in 0..3 {
            upstream.servers[1].health.unreached("x");
        }
        upstream.servers[2].health.checked(false, true, "500");
        for _ in 0..100 {
            assert_eq!(loads.choose(&upstream, Tried::default()).unwrap().0, 0);
        }
        upstream.servers[0].health.checked(false, true, "500");
        assert_eq!(loads.choose(&upstream, Tried::default()).unwrap().0, 1, "its checks do not fail");
        // Of several that cannot be connected to, each gets its turn: any may be the first that is back.
        let down = five();
        for server in &down.servers {
            for _ in 0..3 {
                server.health.unreached("x");
            }
        }
        let asked: std::collections::BTreeSet<_> =
            (0..500).map(|_| loads.choose(&down, Tried::default()).unwrap().0).collect();
        assert_eq!(asked.len(), 5);
        let mut tried = Tried::default();
        tried.add(1);
        assert_ne!(loads.choose(&upstream, tried).unwrap().0, 1);
        tried.add(0);
        tried.add(2);
        assert!(loads.choose(&upstream, tried).is_none());
    }

    #[test]
    fn a_single_server_is_asked_once_whatever_is_held_of_it() {
        let upstream = upstream(1);
        let mut loads = Loads::default();
        for _ in 0..5 {
            upstream.servers[0].health.unreached("x");
        }
        let (number, _, load) = loads.choose(&upstream, Tried::default()).unwrap();
        assert!(number == 0 && load.0.is_none() && loads.under_way.is_empty());
        let mut tried = Tried::default();
        tried.add(0);
        assert!(loads.choose(&upstream, tried).is_none());
    }
}
