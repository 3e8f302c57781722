//! The kinds of stored documents: by them stores lay documents out and list them.
//!
//! Never here: what a document of a kind holds ([`super::document`]).

/// The kinds of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// [`super::Document::Tenant`].
    Tenant,
    /// [`super::Document::Grant`].
    Grant,
    /// [`super::Document::Session`].
    Session,
    /// [`super::Document::Presence`].
    Presence,
    /// [`super::Document::Member`].
    Member,
    /// [`super::Document::Request`].
    Request,
    /// [`super::Document::Made`].
    Made,
    /// [`super::Document::Grantor`].
    Grantor,
    /// [`super::Document::Role`].
    Role,
    /// [`super::Document::Resource`].
    Resource,
    /// [`super::Document::Joined`].
    Joined,
    /// [`super::Document::Tally`].
    Tally,
    /// [`super::Document::Stop`].
    Stop,
}
