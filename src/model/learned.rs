//! Where what is known of a resource was learned from, if no service said it: the answers of the application to creations that
//! the gateway admitted (rule 15).
//!
//! Never here: reading an answer ([`crate::proxy`]), or what follows from a creation ([`crate::lifecycle`]).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{ExchangeId, Resource};

/// How many exchanges are remembered: the latest.
pub const LEARNED_MOST: usize = 8;

/// The provenance of a resource that was learned.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Learned {
    /// By which exchanges: one that is told again changes nothing. At most [`LEARNED_MOST`].
    pub by: BTreeSet<ExchangeId>,
    /// Two answers contradict each other in who made it: nobody knows any more, whatever a third one says.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub creator_unclear: bool,
    /// The same of what it lies in.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub parent_unclear: bool,
}

impl Learned {
    /// By one exchange.
    pub fn of(exchange: ExchangeId) -> Learned {
        Learned { by: [exchange].into(), ..Learned::default() }
    }

    /// The same, by this one too.
    #[must_use]
    pub fn and(mut self, exchange: ExchangeId) -> Learned {
        self.by.insert(exchange);
        self.bounded()
    }

    fn bounded(mut self) -> Learned {
        // Ids rise with time.
        while self.by.len() > LEARNED_MOST {
            self.by.pop_first();
        }
        self
    }

    /// What holds of two histories. What a service said in one of them is what was said: nothing is learned beside it.
    pub(super) fn meet(a: &Resource, b: &Resource) -> Option<Learned> {
        let (one, other) = (a.learned.as_ref()?, b.learned.as_ref()?);
        let both = Learned {
            by: one.by.union(&other.by).cloned().collect(),
            creator_unclear: one.creator_unclear || other.creator_unclear || a.creator != b.creator,
            parent_unclear: one.parent_unclear || other.parent_unclear || a.parent != b.parent,
        };
        Some(both.bounded())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{ResourceRef, SubjectRef};

    fn person(name: u8) -> SubjectRef {
        SubjectRef { issuer: "app".parse().unwrap(), sub: format!("p{name}").into() }
    }

    fn board(id: u8) -> ResourceRef {
        ResourceRef { kind: "board".parse().unwrap(), id: format!("b{id}").parse().unwrap() }
    }

    /// A resource as a gateway may have it: pushed, learned, or learned in two ways.
    fn any() -> impl Strategy<Value = Resource> {
        let by = proptest::collection::btree_set(0u8..20, 1..10);
        (proptest::option::of(0u8..3), proptest::option::of(0u8..3), 0u8..4, by).prop_map(
            |(creator, parent, how, by)| {
                let by = by.into_iter().map(|n| ExchangeId::new(&format!("exc_{n:02}")).unwrap()).collect();
                let learned = Learned { by, creator_unclear: how == 1, parent_unclear: how == 2 }.bounded();
                Resource {
                    creator: creator.filter(|_| how != 1).map(person),
                    parent: parent.filter(|_| how != 2).map(board),
                    learned: (how != 3).then_some(learned),
                    ..Resource::default()
                }
            },
        )
    }

    proptest! {
        // PFP-04
        #[test]
        fn what_was_learned_in_two_histories_is_the_same_in_whichever_order_they_meet(
            a in any(), b in any(), c in any()
        ) {
            prop_assert_eq!(a.clone().meet(&b), b.clone().meet(&a));
            prop_assert_eq!(a.clone().meet(&a), a.clone());
            prop_assert_eq!(a.clone().meet(&b).meet(&c), a.clone().meet(&b.clone().meet(&c)));
            let both = a.clone().meet(&b);
            // Of what they contradict each other in nobody knows anything, also if a third one agrees with either.
            if a.creator != b.creator {
                prop_assert_eq!(&both.creator, &None);
                prop_assert!(both.learned.as_ref().is_none_or(|learned| learned.creator_unclear));
                prop_assert_eq!(&both.clone().meet(&a).creator, &None);
            }
            prop_assert!(both.learned.as_ref().is_none_or(|learned| learned.by.len() <= LEARNED_MOST));
        }
    }
}
