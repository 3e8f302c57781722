//! Names of parameters that the gateway writes into queries, and which other names some reader would take for them.
//!
//! Never here: a query (see `proxy`).

/// Bytes of a name.
const LONGEST_NAME: usize = 64;

/// Whether a parameter of the gateway's may have this name: ASCII letters and digits to begin with, and up to where something
/// stands in brackets or behind a dot.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.[]".contains(&byte);
    (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(sound) && name.starts_with(is_letter)
}

/// Whether two names could be taken for one: by some reader, in some spelling.
#[must_use]
pub fn alike(one: &str, other: &str) -> bool {
    one != other && Stem::of(one) == Stem::of(other) && (is_plain(one) || is_plain(other))
}

fn is_plain(name: &str) -> bool {
    !name.contains(['.', '['])
}

/// What is left of a name when everything is left out by which spellings of it differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stem(Vec<u8>);

impl Stem {
    /// Of a name of ours.
    #[must_use]
    pub fn of(name: &str) -> Stem {
        let stem = name.split(['.', '[']).next().unwrap_or_default();
        Stem(stem.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_lowercase()).collect())
    }

    /// Whether a name is this one, or has it up to where something else begins: a bracket, a dot, a space, whatever is no part of a
    /// plain name; or says behind a dot, a bracket or a colon the same, for readers that bind parameters to the members of something
    /// that they may name or leave out.
    #[must_use]
    pub fn is_in(&self, name: &[u8]) -> bool {
        if self.begins(name) {
            return true;
        }
        // A letter of a name is looked at once for each letter of ours at most, whatever stands between them.
        let mut member = false;
        for (at, byte) in name.iter().enumerate() {
            if byte.is_ascii_alphanumeric() {
                if member && name.get(at..).is_some_and(|rest| self.begins(rest)) {
                    return true;
                }
                member = false;
            } else {
                member |= matches!(byte, b'.' | b'[' | b':');
            }
        }
        false
    }

    fn begins(&self, name: &[u8]) -> bool {
        let mut left = self.0.iter();
        for byte in name {
            if byte.is_ascii_alphanumeric() {
                if left.next() != Some(&byte.to_ascii_lowercase()) {
                    return false;
                }
            } else if left.as_slice().is_empty() && !matches!(byte, b'_' | b'-') {
                return true;
            }
        }
        left.as_slice().is_empty()
    }
}

fn is_letter(c: char) -> bool {
    c.is_ascii_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_such_that_it_can_be_told_what_comes_near_to_them() {
        for good in ["mine", "visible_to", "filter[author]", "q.owner", "x-who", "A1"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "_x", "[a]", "a b", "a=b", "a&b", "é", "a%41", "$filter", &"x".repeat(65)] {
            assert!(!is_name(bad), "{bad}");
        }
        assert!(alike("mine", "MINE") && alike("visible_to", "visibleTo") && alike("filter", "filter[a]"));
        assert!(!alike("filter[a]", "filter[b]") && !alike("mine", "yours"));
    }

    #[test]
    fn a_name_is_found_in_every_spelling_of_it_and_in_no_other_name() {
        let stem = Stem::of("visible_to[x]");
        for other in ["visible_to_all", "visible", "to", "", "invisible_to", "visible_t", "x[visible]"] {
            assert!(!stem.is_in(other.as_bytes()), "{other}");
        }
        for same in [
            "VisibleTo",
            "visible-to",
            " visible_to",
            "visible_to[]",
            "visible to.x",
            "visible_to\0",
            "x[visible_to]",
            "filter.visible_to",
            "a.b[ VisibleTo ]",
            "x:visible_to",
        ] {
            assert!(stem.is_in(same.as_bytes()), "{same}");
        }
    }
}
