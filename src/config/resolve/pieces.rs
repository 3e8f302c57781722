//! Templates: what the gateway puts into headers and queries that it writes.
//!
//! Never here: filling one.

/// A piece of a header template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Itself.
    Literal(String),
    /// Something that the gateway knows.
    Slot(Slot),
}

impl Piece {
    /// A template as it is written.
    pub fn written(pieces: &[Piece]) -> String {
        let text = |piece: &Piece| match piece {
            Piece::Literal(text) => text.clone(),
            Piece::Slot(slot) => {
                let name = Slot::ALL.iter().find(|(_, known)| known == slot).map_or("", |(name, _)| name);
                format!("{{{name}}}")
            }
        };
        pieces.iter().map(text).collect()
    }
}

/// What a header template may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// The caller's `sub`.
    Subject,
    /// The tenant.
    Tenant,
    /// The environment.
    Environment,
    /// The role or roles in force.
    Role,
    /// `staff` or `member`.
    Kind,
    /// The support session.
    Session,
    /// Who acts as the subject.
    Actor,
    /// The client's address.
    Client,
}

impl Slot {
    /// All slots with their names in templates.
    pub const ALL: &'static [(&'static str, Slot)] = &[
        ("subject", Slot::Subject),
        ("tenant", Slot::Tenant),
        ("environment", Slot::Environment),
        ("role", Slot::Role),
        ("kind", Slot::Kind),
        ("session", Slot::Session),
        ("actor", Slot::Actor),
        ("client", Slot::Client),
    ];
}
