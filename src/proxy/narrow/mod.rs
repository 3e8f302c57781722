//! Lists on their way to somebody who may see some of their items: a JSON document goes in as it comes, and out comes the
//! same document without the items that are hidden, and without whatever in the envelope could count them.
//!
//! * [`scan`]: JSON, strictly, in pieces of any size, without holding any of it.
//! * [`filter`]: the two together; holds one item at a time.
//! * [`head`]: which answers can be narrowed at all, and what of their heads passes.
//! * [`one`]: the identifier of what an application has made, out of a document that is there whole.
//! * [`fault`]: everything that is not understood, each with a stable code. Nothing of it passes unfiltered.
//! * [`query`]: where the application narrows instead, the query that asks it to.
//!
//! Never here: sockets, async, where a route's lists are ([`crate::policy::narrow`]), or who may see what: the filter asks for each
//! item by its id, and whoever drives it answers.

pub mod fault;
pub mod filter;
pub mod head;
pub mod one;
pub mod query;
pub mod scan;

#[cfg(test)]
mod tests;

pub use fault::NarrowFault;
pub use filter::{Fed, Filter, MOST_ITEM};
