//! What becomes of a path on its way to an application: a prefix taken off, another put before it.
//!
//! Lives here: prefixes, which templates lie below one, and the proof that what a template matches stays canonical (law
//! 10): canonical is a matter of each segment by itself, so one example of a template speaks for all that it matches, but
//! for the bounds of length and count; these are looked at again for each request. Never here: a repair of any kind.

use std::fmt;

use super::template::{Segment, Template, TemplateFault};
use crate::policy::path::{CanonicalPath, PathFault, PathRules};

/// Whole literal segments at the beginning of a path: `/billing`, `/api/v2`; without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Prefix {
    // INVARIANT: at least one segment, literals alone, no trailing slash.
    template: Template,
}

/// Why a text is no prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrefixFault {
    /// It is no template either.
    #[error("{0}")]
    Template(#[from] TemplateFault),
    /// Something else than literals, or nothing at all.
    #[error("a prefix is one or more plain segments, without parameter and without `/` at its end")]
    NotPlain,
}

/// How far a template lies below a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cover {
    /// Every path that it matches begins so.
    Whole,
    /// Some of its paths may begin so.
    Part,
    /// None does.
    Nothing,
}

impl Prefix {
    /// Reads a prefix.
    ///
    /// # Errors
    /// When it is more than plain segments.
    pub fn parse(text: &str) -> Result<Self, PrefixFault> {
        let template = Template::parse(text)?;
        let plain = template.segments().iter().all(|segment| matches!(segment, Segment::Literal(_)));
        if !plain || template.segments().is_empty() || template.has_trailing_slash() {
            return Err(PrefixFault::NotPlain);
        }
        Ok(Self { template })
    }

    /// The text it was read from.
    pub fn as_str(&self) -> &str {
        self.template.as_str()
    }

    /// How many segments it has.
    pub fn depth(&self) -> usize {
        self.template.segments().len()
    }

    /// How far a template lies below it.
    pub fn covers(&self, template: &Template) -> Cover {
        let mut segments = template.segments().iter();
        for own in self.template.segments() {
            match segments.next() {
                Some(segment @ Segment::Literal(_)) if segment == own => {}
                Some(Segment::Parameter(_) | Segment::Tail(_)) => return Cover::Part,
                Some(Segment::Literal(_)) | None => return Cover::Nothing,
            }
        }
        Cover::Whole
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a path cannot be rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RewriteFault {
    /// It does not begin with the prefix that is to be taken off.
    #[error("it does not begin with the prefix that is taken off")]
    NotBelow,
    /// Nothing is left of it.
    #[error("the prefix that is taken off is all of it")]
    Empty,
    /// What comes out is not canonical.
    #[error("what goes to the application is refused: {0}")]
    NotCanonical(PathFault),
}

/// See the module's header. The default leaves paths as they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rewrite {
    /// Taken off.
    pub strip: Option<Prefix>,
    /// Put before what is left.
    pub add: Option<Prefix>,
}

impl Rewrite {
    /// Whether it changes nothing.
    pub fn is_identity(&self) -> bool {
        self.strip.is_none() && self.add.is_none()
    }

    /// The path that goes to the application, judged as any path is.
    ///
    /// # Errors
    /// When the path does not begin as it must, or what comes out is not canonical.
    pub fn apply(&self, path: &CanonicalPath<'_>, rules: PathRules) -> Result<String, RewriteFault> {
        let made = self.made(path.as_str())?;
        CanonicalPath::under(made.as_bytes(), rules).map_err(RewriteFault::NotCanonical)?;
        Ok(made)
    }

    /// Proves that every path of a template can be rewritten, as far as that does not depend on its length.
    ///
    /// # Errors
    /// What would be wrong with each path of the template; of [`RewriteFault::NotBelow`] with some.
    pub fn prove(&self, template: &Template, rules: PathRules) -> Result<(), RewriteFault> {
        if self.strip.as_ref().is_some_and(|strip| strip.covers(template) != Cover::Whole) {
            return Err(RewriteFault::NotBelow);
        }
        let made = self.made(&template.example("x"))?;
        CanonicalPath::under(made.as_bytes(), rules).map(|_| ()).map_err(RewriteFault::NotCanonical)
    }

    /// What becomes of a template, as a template.
    pub(in crate::policy) fn template(&self, template: &Template) -> Option<Template> {
        Template::parse(&self.made(template.as_str()).ok()?).ok()
    }

    /// The path that a client sends for the application to get this one.
    pub(in crate::policy) fn undone(&self, path: &str) -> Option<String> {
        let rest = below(self.add.as_ref(), path)?;
        Some(format!("{}{rest}", text(self.strip.as_ref())))
    }

    fn made(&self, path: &str) -> Result<String, RewriteFault> {
        match below(self.strip.as_ref(), path) {
            Some("") => Err(RewriteFault::Empty),
            Some(rest) => Ok(format!("{}{rest}", text(self.add.as_ref()))),
            None => Err(RewriteFault::NotBelow),
        }
    }
}

fn text(prefix: Option<&Prefix>) -> &str {
    prefix.map_or("", Prefix::as_str)
}

/// What follows a prefix, from the slash on.
fn below<'p>(prefix: Option<&Prefix>, path: &'p str) -> Option<&'p str> {
    path.strip_prefix(text(prefix)).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Option<Prefix> {
        Some(Prefix::parse(text).unwrap())
    }

    fn template(text: &str) -> Template {
        Template::parse(text).unwrap()
    }

    fn applied(rewrite: &Rewrite, path: &str) -> Result<String, RewriteFault> {
        rewrite.apply(&CanonicalPath::of(path.as_bytes()).unwrap(), PathRules::default())
    }

    #[test]
    fn prefixes_are_plain_whole_segments() {
        for good in ["/a", "/api/v2", "/a.b"] {
            assert_eq!(Prefix::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "a", "/", "/a/", "/{x}", "/a/{*rest}", "//a", "/a/..", "/a%20b"] {
            assert!(Prefix::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_prefix_covers_in_whole_segments_only() {
        let own = prefix("/api/v2").unwrap();
        for (text, cover) in [
            ("/api/v2", Cover::Whole),
            ("/api/v2/", Cover::Whole),
            ("/api/v2/{x}", Cover::Whole),
            ("/api/v2/{*rest}", Cover::Whole),
            ("/api/v20", Cover::Nothing),
            ("/api", Cover::Nothing),
            ("/api/", Cover::Nothing),
            ("/{x}/v2", Cover::Part),
            ("/{x}", Cover::Part),
            ("/api/{*rest}", Cover::Part),
            ("/API/v2", Cover::Nothing),
        ] {
            assert_eq!(own.covers(&template(text)), cover, "{text}");
        }
    }

    #[test]
    fn rewriting_takes_off_and_puts_before() {
        let both = Rewrite { strip: prefix("/billing"), add: prefix("/api/v2") };
        assert_eq!(applied(&both, "/billing/invoices/7").unwrap(), "/api/v2/invoices/7");
        assert_eq!(applied(&both, "/billing/").unwrap(), "/api/v2/");
        assert_eq!(applied(&both, "/billing"), Err(RewriteFault::Empty));
        assert_eq!(applied(&both, "/billings/7"), Err(RewriteFault::NotBelow));
        assert_eq!(applied(&both, "/other"), Err(RewriteFault::NotBelow));
        let strip = Rewrite { strip: prefix("/billing"), add: None };
        assert_eq!(applied(&strip, "/billing/a/").unwrap(), "/a/");
        let add = Rewrite { strip: None, add: prefix("/v2") };
        assert_eq!(applied(&add, "/").unwrap(), "/v2/");
        assert!(Rewrite::default().is_identity() && !add.is_identity());
    }

    #[test]
    fn what_grows_past_the_bounds_is_refused_for_that_request() {
        let add = Rewrite { strip: None, add: prefix("/v2") };
        let deep = "/a".repeat(64);
        assert_eq!(applied(&add, &deep), Err(RewriteFault::NotCanonical(PathFault::TooManySegments)));
        let long = format!("/{}", "a".repeat(8_190));
        assert_eq!(applied(&add, &long), Err(RewriteFault::NotCanonical(PathFault::TooLong)));
        assert_eq!(add.prove(&template("/{*rest}"), PathRules::default()), Ok(()));
    }

    #[test]
    fn templates_that_cannot_be_rewritten_are_found() {
        let strip = Rewrite { strip: prefix("/billing"), add: None };
        let prove = |text: &str| strip.prove(&template(text), PathRules::default());
        assert_eq!(prove("/billing/{x}"), Ok(()));
        assert_eq!(prove("/billing"), Err(RewriteFault::Empty));
        assert_eq!(prove("/{x}/y"), Err(RewriteFault::NotBelow));
        let add = Rewrite { strip: None, add: prefix("/a@b") };
        let encoded =
            PathRules { delimiters: crate::policy::path::Delimiters::Encoded, ..PathRules::default() };
        assert!(matches!(add.prove(&template("/x"), encoded), Err(RewriteFault::NotCanonical(_))));
    }

    #[test]
    fn undone_and_applied_are_each_others_opposite() {
        let both = Rewrite { strip: prefix("/billing"), add: prefix("/api/v2") };
        assert_eq!(both.undone("/api/v2/x").as_deref(), Some("/billing/x"));
        assert_eq!(both.undone("/api/v3/x"), None);
        assert_eq!(both.template(&template("/billing/{x}")).unwrap().as_str(), "/api/v2/{x}");
    }
}
