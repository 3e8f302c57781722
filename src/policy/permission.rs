//! Permissions as numbers, roles as sets of them.
//!
//! Lives here: the closed catalogue, patterns with wildcards, and bit sets over the catalogue. Bit numbers never leave
//! the process: documents and records hold names.

use crate::model::PermissionName;

/// A permission's number in one [`Catalogue`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PermissionId(u16);

/// The permissions that administer support access itself. They belong to every catalogue, and no staff member ever
/// holds one, whatever a role says (law 5).
pub const SUPPORT_READ: &str = "support:read";
/// See [`SUPPORT_READ`]: changes consent, grants and removes agents.
pub const SUPPORT_MANAGE: &str = "support:manage";
/// The resource type of the permissions that administer support access.
pub const SUPPORT_TYPE: &str = "support";

/// The closed list of permissions that this policy knows, sorted by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalogue {
    names: Vec<PermissionName>,
}

/// How many permissions a catalogue may hold.
pub const MOST_PERMISSIONS: usize = 4096;

impl Catalogue {
    /// The catalogue of these names and the built-in ones. Names past [`MOST_PERMISSIONS`] are the caller's fault to
    /// refuse before.
    pub fn new(names: impl IntoIterator<Item = PermissionName>) -> Self {
        let built_in =
            [SUPPORT_READ, SUPPORT_MANAGE].into_iter().filter_map(|name| PermissionName::new(name).ok());
        let mut names: Vec<_> = names.into_iter().chain(built_in).collect();
        names.sort();
        names.dedup();
        names.truncate(MOST_PERMISSIONS);
        Self { names }
    }

    /// The number of a name; `None` when the catalogue does not have it.
    pub fn id(&self, name: &str) -> Option<PermissionId> {
        let at = self.names.binary_search_by(|known| known.as_str().cmp(name)).ok()?;
        u16::try_from(at).ok().map(PermissionId)
    }

    /// The name of a number.
    pub fn name(&self, id: PermissionId) -> Option<&PermissionName> {
        self.names.get(usize::from(id.0))
    }

    /// All names with their numbers, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (PermissionId, &PermissionName)> {
        (0u16..).map(PermissionId).zip(&self.names)
    }

    /// Everything that a pattern covers.
    pub fn covered(&self, pattern: &Pattern) -> PermissionSet {
        let mut set = PermissionSet::default();
        for (id, name) in self.iter() {
            if pattern.covers(name) {
                set.insert(id);
            }
        }
        set
    }
}

/// `orders:read`, `orders:*`, `*:read` or `*:*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    resource_type: Option<String>,
    action: Option<String>,
}

impl Pattern {
    /// Reads a pattern; `None` when the text is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, action) = text.split_once(':')?;
        let word = |part: &str| if part == "*" { "x".to_owned() } else { part.to_owned() };
        PermissionName::new(&format!("{}:{}", word(kind), word(action))).ok()?;
        let part = |part: &str| (part != "*").then(|| part.to_owned());
        Some(Self { resource_type: part(kind), action: part(action) })
    }

    /// Whether a permission is meant by this pattern.
    pub fn covers(&self, name: &PermissionName) -> bool {
        self.resource_type.as_deref().is_none_or(|kind| kind == name.resource_type())
            && self.action.as_deref().is_none_or(|action| action == name.action())
    }
}

/// A set of permissions of one catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PermissionSet {
    words: Vec<u64>,
}

impl PermissionSet {
    fn place(id: PermissionId) -> (usize, u64) {
        (usize::from(id.0 >> 6), 1u64 << (id.0 & 63))
    }

    /// Adds one.
    pub fn insert(&mut self, id: PermissionId) {
        let (word, bit) = Self::place(id);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        if let Some(slot) = self.words.get_mut(word) {
            *slot |= bit;
        }
    }

    /// Whether it holds one.
    pub fn contains(&self, id: PermissionId) -> bool {
        let (word, bit) = Self::place(id);
        self.words.get(word).is_some_and(|slot| slot & bit != 0)
    }

    /// Adds all of another set.
    pub fn add(&mut self, other: &PermissionSet) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (slot, more) in self.words.iter_mut().zip(&other.words) {
            *slot |= more;
        }
    }

    /// Takes away all of another set.
    pub fn remove(&mut self, other: &PermissionSet) {
        for (slot, less) in self.words.iter_mut().zip(&other.words) {
            *slot &= !less;
        }
    }

    /// Whether everything in this set is in the other.
    pub fn is_within(&self, other: &PermissionSet) -> bool {
        self.words.iter().enumerate().all(|(i, word)| word & !other.words.get(i).copied().unwrap_or(0) == 0)
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue() -> Catalogue {
        Catalogue::new(
            ["orders:read", "orders:write", "users:read", "users:manage"]
                .map(|n| PermissionName::new(n).unwrap()),
        )
    }

    #[test]
    fn wildcards_cover_type_or_action() {
        let all = catalogue();
        let names = |text: &str| -> Vec<String> {
            let set = all.covered(&Pattern::parse(text).unwrap());
            all.iter().filter(|(id, _)| set.contains(*id)).map(|(_, name)| name.to_string()).collect()
        };
        assert_eq!(names("*:read"), ["orders:read", "support:read", "users:read"]);
        assert_eq!(names("orders:*"), ["orders:read", "orders:write"]);
        assert_eq!(names("users:manage"), ["users:manage"]);
        assert_eq!(names("*:*").len(), 6);
        for bad in ["", "orders", "orders:re*", "**:read", "orders:read:x", "Orders:*"] {
            assert!(Pattern::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn sets_add_and_take_away() {
        let all = catalogue();
        let mut set = all.covered(&Pattern::parse("*:*").unwrap());
        let reads = all.covered(&Pattern::parse("*:read").unwrap());
        assert!(reads.is_within(&set));
        set.remove(&reads);
        assert!(
            !set.contains(all.id("orders:read").unwrap()) && set.contains(all.id("orders:write").unwrap())
        );
        assert!(!reads.is_within(&set));
        set.add(&reads);
        assert!(reads.is_within(&set) && !set.is_empty());
    }
}
