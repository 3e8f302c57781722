//! Where in the file stands what only building proves: keys, and the name that one of them has to bear.
//!
//! Never here: what is wrong with it.

use std::collections::BTreeMap;

use super::context::Context;
use crate::{
    config::written::{Field, File},
    model::IssuerName,
};

/// Where in the file stands what can only be proved by building parts of it: line and column, from 1.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Places {
    /// `ledger.origin`.
    pub ledger_origin: Option<Spot>,
    /// `ledger.key`.
    pub ledger_key: Option<Spot>,
    /// `assertion.key`.
    pub assertion_key: Option<Spot>,
    /// `break_glass.tokens.keys`.
    pub emergency_keys: Option<Spot>,
    /// Each issuer, and its keys.
    pub issuers: BTreeMap<IssuerName, (Spot, Spot)>,
    /// Each webhook.
    pub webhooks: BTreeMap<String, Spot>,
}

/// A line and a column, both from 1.
pub type Spot = (usize, usize);

pub(super) fn places(context: Context<'_>, file: &File) -> Places {
    fn spot<T>(context: Context<'_>, field: &Field<T>) -> Option<Spot> {
        field.given().map(|at| context.spot(at.place))
    }
    let ledger = file.ledger.value();
    let issuers = file.issuers.given().into_iter().flat_map(|list| &list.value.items);
    let webhooks = file.webhooks.given().into_iter().flat_map(|list| &list.value.items);
    Places {
        ledger_origin: ledger.and_then(|ledger| spot(context, &ledger.origin)),
        ledger_key: ledger.and_then(|ledger| spot(context, &ledger.key)),
        assertion_key: file.assertion.value().and_then(|assertion| spot(context, &assertion.key)),
        emergency_keys: file
            .break_glass
            .value()
            .and_then(|glass| glass.tokens.value())
            .and_then(|tokens| spot(context, &tokens.keys)),
        issuers: issuers
            .filter_map(|at| {
                let name = IssuerName::new(at.value.name.value()?).ok()?;
                let whole = context.spot(at.place);
                Some((name, (whole, spot(context, &at.value.keys).unwrap_or(whole))))
            })
            .collect(),
        webhooks: webhooks
            .filter_map(|at| Some((at.value.name.value()?.clone(), context.spot(at.place))))
            .collect(),
    }
}
