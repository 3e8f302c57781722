//! Where in the file stands what only building proves: keys, and the name that one of them has to bear.
//!
//! Never here: what is wrong with it.

use super::{
    context::Context,
    settings::{Places, Spot},
};
use crate::{
    config::written::{Field, File},
    model::IssuerName,
};

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
