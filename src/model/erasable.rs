//! What of a document can be erased from the record of it: personal values that the rules never need to prove anything.
//!
//! Documents stand whole in the part of the ledger that is proven, so that a lost store is rebuilt from it; these values
//! are taken out of them first and stand beside it, where they can be erased. Put back they are as they were; where they
//! were erased the document gives less than it did, never more.
//!
//! Never here: how a record keeps them ([`crate::audit`]), or which record has them ([`crate::engine`]).

use std::sync::Arc;

use super::{Document, document::Grantee};

/// The name of the one kind there is: an address.
pub const EMAIL: &str = "email";

/// The address in a document, if it holds one.
fn address(document: &Document) -> Option<&Arc<str>> {
    match document {
        Document::Grant(grant) => match &grant.to {
            Grantee::Email(address) => Some(address),
            Grantee::Subject(_) | Grantee::Organisation(_) | Grantee::Support | Grantee::Erased => None,
        },
        Document::Member(member) => member.email.as_ref(),
        // Givers are kept as digests, and so are requests that bore a key; people otherwise by the name that their issuer
        // gives them.
        Document::Tenant(_)
        | Document::Session(_)
        | Document::Presence(_)
        | Document::Request(_)
        | Document::Made(_)
        | Document::Grantor(_)
        | Document::Role(_)
        | Document::Resource(_)
        | Document::Joined(_)
        | Document::Tally(_)
        | Document::Stop(_) => None,
    }
}

/// The document without its address, and that; `None` where it holds none.
pub fn without_address(document: &Document) -> Option<(Document, Arc<str>)> {
    let address = Arc::clone(address(document)?);
    let mut told = document.clone();
    forget(&mut told);
    Some((told, address))
}

/// What was taken out, put back.
pub fn put_back(document: &mut Document, address: &str) {
    match document {
        Document::Grant(grant) if grant.to == Grantee::Erased => grant.to = Grantee::Email(address.into()),
        Document::Member(member) if member.email.is_none() => member.email = Some(address.into()),
        _ => {}
    }
}

fn forget(document: &mut Document) {
    match document {
        Document::Grant(grant) => grant.to = Grantee::Erased,
        Document::Member(member) => member.email = None,
        Document::Tenant(_)
        | Document::Session(_)
        | Document::Presence(_)
        | Document::Request(_)
        | Document::Made(_)
        | Document::Grantor(_)
        | Document::Role(_)
        | Document::Resource(_)
        | Document::Joined(_)
        | Document::Tally(_)
        | Document::Stop(_) => {}
    }
}

/// Of two copies of one state, of which one may have lost its address: what both know. What was erased in one is not
/// brought back by the other.
pub fn as_both_know(mine: &mut Document, other: &Document) {
    if address(mine).is_some() && address(mine) != address(other) {
        forget(mine);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::model::Member;

    fn member(email: Option<&str>) -> Document {
        Document::Member(Member {
            roles: BTreeSet::new(),
            suspended: false,
            email: email.map(Arc::from),
            removed: None,
            life: 0,
            left: 0,
            seat: false,
        })
    }

    #[test]
    fn an_address_is_taken_out_and_put_back() {
        let whole = member(Some("anna@acme.example"));
        let (mut told, address) = without_address(&whole).unwrap();
        assert_eq!((told.clone(), &*address), (member(None), "anna@acme.example"));
        assert_eq!(without_address(&told), None);
        put_back(&mut told, &address);
        assert_eq!(told, whole);
        // Nothing that is there is replaced.
        put_back(&mut told, "ben@acme.example");
        assert_eq!(told, whole);
    }

    #[test]
    fn what_one_copy_lost_the_other_does_not_bring_back() {
        let (whole, lost) = (member(Some("anna@acme.example")), member(None));
        let (mut one, mut other) = (whole.clone(), lost.clone());
        as_both_know(&mut one, &lost);
        as_both_know(&mut other, &whole);
        assert_eq!((one, other), (lost.clone(), lost));
    }
}
