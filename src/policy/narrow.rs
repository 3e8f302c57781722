//! How the answer of a route is narrowed to what the caller may see, where they may not see all of it: by the gateway, which then
//! knows what its items are, where the list is, where in an item its id is, what of the envelope passes; or by the application,
//! which is asked for no more.
//!
//! In the gateway each item is decided like a request that names it: one decision, asked once for each, and no second rule of who
//! sees what. A pointer is one of RFC 6901 that leads through objects only.
//!
//! Never here: bytes of an answer or of a query (see `proxy`).

use std::fmt;

use crate::model::ResourceType;

use super::Rule;

/// How many names a pointer may have.
const MOST_STEPS: usize = 16;
/// Bytes of one name in a pointer.
pub const LONGEST_NAME: usize = 256;
/// How many pointers may say what of the envelope passes.
const MOST_BESIDE: usize = 63;

/// A way through objects: `/data/cards`; empty for the value itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pointer(Vec<Box<str>>);

/// Why a text is no pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a place in a JSON document is a pointer such as `/data/cards`: names behind slashes, `~1` for `/` and `~0` for `~`, at most 16 of 256 bytes; empty for the document itself"
)]
pub struct PointerFault;

impl Pointer {
    /// Reads a pointer (RFC 6901).
    ///
    /// # Errors
    /// [`PointerFault`] where it is none, or one beyond the bounds.
    pub fn parse(text: &str) -> Result<Pointer, PointerFault> {
        if text.is_empty() {
            return Ok(Pointer::default());
        }
        let names = text.strip_prefix('/').ok_or(PointerFault)?;
        let names: Option<Vec<Box<str>>> = names.split('/').map(unescape).collect();
        let names = names.ok_or(PointerFault)?;
        if names.len() > MOST_STEPS || names.iter().any(|name| name.len() > LONGEST_NAME) {
            return Err(PointerFault);
        }
        Ok(Pointer(names))
    }

    /// Its names.
    pub fn steps(&self) -> &[Box<str>] {
        &self.0
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|name| write!(f, "/{}", name.replace('~', "~0").replace('/', "~1")))
    }
}

fn unescape(name: &str) -> Option<Box<str>> {
    let mut out = String::with_capacity(name.len());
    let mut chars = name.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '~' => match chars.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            other => other,
        });
    }
    Some(out.into())
}

/// What of the envelope passes, beside the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Beside {
    /// These and nothing else: what nobody declared could count what is hidden (rule 15).
    Keep(Vec<Pointer>),
    /// All but these: whoever writes this declares that nothing else counts.
    Drop(Vec<Pointer>),
}

impl Default for Beside {
    fn default() -> Self {
        Beside::Keep(Vec::new())
    }
}

/// Why pointers do not fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ListShapeFault {
    /// Two of them name the same place, or one lies within the other.
    #[error("two of these pointers are the same, or one lies within the other")]
    Overlap,
    /// The document itself is the list, so it has no envelope.
    #[error("where the document itself is the list, nothing stands beside it")]
    NoEnvelope,
    /// More than the bound.
    #[error("at most {MOST_BESIDE} places of an envelope can be named")]
    TooMany,
}

/// What becomes of a member of the envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// It is the list.
    List,
    /// It passes as it is.
    Keep,
    /// It does not.
    Drop,
    /// It is looked into; `true` if the list is in there.
    Into(Vec<Node>, bool),
}

/// A member that is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: Box<str>,
    /// What becomes of it.
    pub what: What,
}

/// What a route says of its lists, ready for use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListShape {
    /// What the document itself is.
    pub root: What,
    /// What becomes of members that are not named.
    pub keeps_others: bool,
    /// Where in an item its id is.
    pub id: Pointer,
}

impl ListShape {
    /// Puts it together.
    ///
    /// # Errors
    /// [`ListShapeFault`] where the pointers do not fit together.
    pub fn new(list: &Pointer, id: Pointer, beside: &Beside) -> Result<ListShape, ListShapeFault> {
        let (named, what, keeps_others) = match beside {
            Beside::Keep(named) => (named, What::Keep, false),
            Beside::Drop(named) => (named, What::Drop, true),
        };
        if named.len() > MOST_BESIDE {
            return Err(ListShapeFault::TooMany);
        }
        if list.steps().is_empty() {
            if !named.is_empty() {
                return Err(ListShapeFault::NoEnvelope);
            }
            return Ok(ListShape { root: What::List, keeps_others, id });
        }
        let mut top = Vec::new();
        place(&mut top, list.steps(), &What::List)?;
        for pointer in named {
            place(&mut top, pointer.steps(), &what)?;
        }
        Ok(ListShape { root: What::Into(top, true), keeps_others, id })
    }
}

/// All that it says, in one line.
impl fmt::Display for ListShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_what(&self.root, f)?;
        write!(
            f,
            " of {:?}, others {}",
            self.id.to_string(),
            if self.keeps_others { "pass" } else { "do not" }
        )
    }
}

fn write_what(what: &What, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match what {
        What::List => f.write_str("list"),
        What::Keep => f.write_str("keep"),
        What::Drop => f.write_str("drop"),
        What::Into(nodes, _) => {
            f.write_str("{")?;
            for node in nodes {
                write!(f, "{:?}:", node.name)?;
                write_what(&node.what, f)?;
                f.write_str(";")?;
            }
            f.write_str("}")
        }
    }
}

/// Hangs a member into the tree.
fn place(nodes: &mut Vec<Node>, steps: &[Box<str>], what: &What) -> Result<(), ListShapeFault> {
    let Some((name, rest)) = steps.split_first() else { return Err(ListShapeFault::Overlap) };
    let known = nodes.iter().position(|node| node.name == *name);
    match known.and_then(|at| nodes.get_mut(at)) {
        Some(Node { what: What::Into(inner, _), .. }) if !rest.is_empty() => place(inner, rest, what),
        Some(_) => Err(ListShapeFault::Overlap),
        None => {
            let what = match rest {
                [] => what.clone(),
                rest => {
                    let mut inner = Vec::new();
                    place(&mut inner, rest, what)?;
                    What::Into(inner, *what == What::List)
                }
            };
            nodes.push(Node { name: name.clone(), what });
            Ok(())
        }
    }
}

/// Who narrows an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// The gateway: where what is in an answer.
    Filter(ListShape),
    /// The application, by parameters of the query that the gateway writes. It knows whose a thing is, and nothing of grants.
    Query,
}

impl How {
    /// The word for it in configurations and records.
    pub fn code(&self) -> &'static str {
        match self {
            How::Filter(_) => "filter",
            How::Query => "query",
        }
    }
}

/// How the answer of a route is narrowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Narrow {
    /// By whom.
    pub how: How,
    /// What is asked for each item: what the route asks, of a resource of the items' type.
    pub item: Rule,
}

impl Narrow {
    /// The type of the items.
    pub fn kind(&self) -> Option<&ResourceType> {
        self.item.resource.as_ref()
    }

    /// What the gateway reads in an answer, where it does.
    pub fn shape(&self) -> Option<&ListShape> {
        match &self.how {
            How::Filter(shape) => Some(shape),
            How::Query => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(list: &str, beside: &Beside) -> Result<ListShape, ListShapeFault> {
        ListShape::new(&Pointer::parse(list).unwrap(), Pointer::parse("/id").unwrap(), beside)
    }

    fn all(texts: &[&str]) -> Vec<Pointer> {
        texts.iter().map(|text| Pointer::parse(text).unwrap()).collect()
    }

    #[test]
    fn pointers_are_those_of_rfc_6901_within_bounds() {
        let steps =
            |text: &str| Pointer::parse(text).map(|it| it.0.iter().map(ToString::to_string).collect());
        assert_eq!(steps(""), Ok(Vec::<String>::new()));
        assert_eq!(steps("/"), Ok(vec![String::new()]));
        assert_eq!(steps("/a~1b/m~0n/ "), Ok(vec!["a/b".to_owned(), "m~n".to_owned(), " ".to_owned()]));
        assert_eq!(steps("/~01"), Ok(vec!["~1".to_owned()]));
        for bad in ["a", "/~", "/~2", "/a~", &"/a".repeat(17), &format!("/{}", "x".repeat(257))] {
            assert_eq!(steps(bad), Err(PointerFault), "{bad}");
        }
    }

    #[test]
    fn pointers_that_overlap_are_no_shape() {
        for (list, named) in [
            ("/cards", &["/cards"][..]),
            ("/cards", &["/cards/x"]),
            ("/data/cards", &["/data"]),
            ("/cards", &["/a", "/a"]),
            ("/cards", &["/a/b", "/a"]),
            ("/cards", &["/a", "/a/b"]),
            ("/cards", &[""]),
        ] {
            assert_eq!(
                shape(list, &Beside::Keep(all(named))),
                Err(ListShapeFault::Overlap),
                "{list} {named:?}"
            );
            assert_eq!(
                shape(list, &Beside::Drop(all(named))),
                Err(ListShapeFault::Overlap),
                "{list} {named:?}"
            );
        }
        assert_eq!(shape("", &Beside::Drop(all(&["/a"]))), Err(ListShapeFault::NoEnvelope));
        assert!(shape("/data/cards", &Beside::Keep(all(&["/data/page", "/data/x/y", "/z"]))).is_ok());
        let many: Vec<Pointer> = (0..64).map(|n| Pointer::parse(&format!("/{n}")).unwrap()).collect();
        assert_eq!(shape("/cards", &Beside::Drop(many)), Err(ListShapeFault::TooMany));
    }
}
