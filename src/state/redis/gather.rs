//! Asking several parts at once: those of one server in one round trip, and all servers at the same time.
//!
//! Never here: what is asked, what writes ([`super::store`]).

use std::{sync::Arc, vec};

use ::redis::Value;
use tokio::task::JoinSet;

use crate::state::{Part, StoreFault};

use super::{
    RedisStore,
    links::Ready,
    said,
    scripts::{self, Call},
};

/// The calls of one server, and which of all calls they are.
pub(super) struct Share {
    pub(super) ready: Arc<Ready>,
    pub(super) places: Vec<(usize, Part)>,
    pub(super) calls: Vec<Call>,
}

/// What a server answered to its share.
struct Sent {
    places: Vec<(usize, Part)>,
    answered: Result<Vec<Value>, StoreFault>,
}

/// What a script answered that it carried out.
pub(super) type Answered = vec::IntoIter<Value>;

impl RedisStore {
    /// Runs calls of several parts, those of one server in one round trip, and all at once; answers in their order.
    pub(super) async fn gather(&self, calls: Vec<(Part, Call)>) -> Result<Vec<Answered>, StoreFault> {
        let parts: Vec<Part> = calls.iter().map(|(part, _)| *part).collect();
        let mut answers: Vec<Option<Value>> = parts.iter().map(|_| None).collect();
        let mut running =
            self.shares(calls)?.into_iter().map(|share| self.sent(share)).collect::<JoinSet<_>>();
        while let Some(done) = running.join_next().await {
            let Sent { places, answered } = done.map_err(|_| said::given_up())?;
            for ((place, _), value) in places.into_iter().zip(answered?) {
                if let Some(slot) = answers.get_mut(place) {
                    *slot = Some(value);
                }
            }
        }
        let answers = parts.into_iter().zip(answers);
        answers.map(|(part, value)| self.opened(part, value.unwrap_or_default())).collect()
    }

    /// Sends one server its share.
    fn sent(&self, share: Share) -> impl Future<Output = Sent> + Send + 'static {
        let (Share { ready, places, calls }, timeout) = (share, self.options.timeout);
        async move {
            let mut connection = ready.loads.clone();
            let sent = scripts::send(&mut connection, &ready.sent, &calls, None);
            let answered = match tokio::time::timeout(timeout, sent).await {
                Ok(answered) => answered.map_err(|error| said::broken(&error)),
                Err(_) => Err(said::late(timeout)),
            };
            let answered = answered.inspect_err(|fault| ready.failed(fault)).and_then(|values| {
                ready.still()?;
                let faults = values.iter().filter_map(|value| match value {
                    Value::ServerError(error) => Some(said::error(error)),
                    _ => None,
                });
                faults.for_each(|fault| ready.failed(&fault));
                Ok(values)
            });
            Sent { places, answered }
        }
    }

    /// Which server is asked what.
    pub(super) fn shares(&self, calls: Vec<(Part, Call)>) -> Result<Vec<Share>, StoreFault> {
        let (shares, unsent) = self.shares_there(calls);
        unsent.into_iter().next().map_or(Ok(shares), |(_, fault)| Err(fault))
    }

    /// The same, and what nobody can be asked, by its place among the calls.
    fn shares_there(&self, calls: Vec<(Part, Call)>) -> (Vec<Share>, Vec<(usize, StoreFault)>) {
        let (mut shares, mut unsent): (Vec<Share>, _) = (Vec::new(), Vec::new());
        for (at, (part, call)) in calls.into_iter().enumerate() {
            let ready = match self.links.at(part) {
                Ok(ready) => ready,
                Err(fault) => {
                    unsent.push((at, fault));
                    continue;
                }
            };
            match shares.iter_mut().find(|share| Arc::ptr_eq(&share.ready, &ready)) {
                Some(share) => {
                    share.places.push((at, part));
                    share.calls.push(call);
                }
                None => shares.push(Share { ready, places: vec![(at, part)], calls: vec![call] }),
            }
        }
        (shares, unsent)
    }

    /// One call of one part.
    pub(super) async fn one(&self, part: Part, call: Call) -> Result<Answered, StoreFault> {
        let answers = self.gather(vec![(part, call)]).await?;
        answers.into_iter().next().ok_or_else(|| said::senseless("no answer"))
    }

    /// Runs calls of several parts as [`RedisStore::gather`] does; each gets what its own server says.
    pub(super) async fn each(&self, calls: Vec<(Part, Call)>) -> Vec<Result<Answered, StoreFault>> {
        let mut answers: Vec<Result<Answered, StoreFault>> =
            calls.iter().map(|_| Err(said::given_up())).collect();
        let mut put = |place: usize, answer| {
            if let Some(slot) = answers.get_mut(place) {
                *slot = answer;
            }
        };
        let (shares, unsent) = self.shares_there(calls);
        unsent.into_iter().for_each(|(place, fault)| put(place, Err(fault)));
        let mut running = shares.into_iter().map(|share| self.sent(share)).collect::<JoinSet<_>>();
        while let Some(done) = running.join_next().await {
            let Ok(Sent { places, answered }) = done else { continue };
            match answered {
                Ok(values) => {
                    let each = places.into_iter().zip(values);
                    each.for_each(|((place, part), value)| put(place, self.opened(part, value)));
                }
                Err(fault) => places.into_iter().for_each(|(place, _)| put(place, Err(fault.clone()))),
            }
        }
        answers
    }
}
