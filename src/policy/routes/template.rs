//! Route templates: `/t/{tenant}/api/orders/{order}`, `/assets/{*rest}`.
//!
//! Lives here: parsing, with the column of what is wrong. A parameter is a whole segment, a tail is the whole rest; a
//! literal holds only characters that stand for themselves in a request (law 10). Never here: which template wins.

use std::fmt;

use crate::policy::path::{CanonicalPath, MAX_PATH, MAX_SEGMENTS, PathFault, PathRules, plain_in_literal};

/// The largest number of parameters in one template, the tail included.
pub const MAX_PARAMETERS: usize = 16;
/// The longest literal segment, in bytes.
pub const MAX_LITERAL: usize = 255;

/// One piece of a template between two slashes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Segment {
    /// Matches itself, byte for byte.
    Literal(Box<str>),
    /// `{name}`: matches any one segment.
    Parameter(Box<str>),
    /// `{*name}`: matches one or more segments up to the end, a trailing slash included.
    Tail(Box<str>),
}

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Template {
    text: Box<str>,
    // INVARIANT: a tail only as the last segment; at most `MAX_PARAMETERS` names, all different.
    segments: Box<[Segment]>,
    trailing_slash: bool,
}

/// What is wrong with a template, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem} (column {column})")]
pub struct TemplateFault {
    /// The first character concerned, counted from 1 in bytes of the template.
    pub column: usize,
    /// How many bytes are concerned; 0 at the end of the text.
    pub length: usize,
    /// What is wrong.
    pub problem: TemplateProblem,
}

/// The kinds of faults in a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateProblem {
    /// The first character is not `/`.
    #[error("a template starts with `/`")]
    NotRooted,
    /// Two slashes side by side: no request has that.
    #[error("a template has no empty segment; write one slash")]
    EmptySegment,
    /// `.`, `..`, or a literal that ends in a dot: no request has that.
    #[error("a literal segment is not `.` or `..` and does not end in `.`; such requests are refused")]
    Dots,
    /// A character that no literal can match.
    #[error("`{0}` cannot stand in a literal segment; requests that need it match a parameter")]
    Character(char),
    /// A brace where none belongs.
    #[error("a parameter is a whole segment: `{{name}}` or `{{*name}}` between two slashes")]
    PartOfSegment,
    /// The name is empty or has other characters than `[a-z][a-z0-9_]*`.
    #[error("a parameter's name matches `[a-z][a-z0-9_]*`")]
    Name,
    /// Two parameters share a name.
    #[error("the name `{0}` stands twice in this template")]
    Duplicate(String),
    /// Something follows a tail.
    #[error("`{{*…}}` takes the whole rest, so nothing follows it, no slash either")]
    AfterTail,
    /// More than [`MAX_PARAMETERS`].
    #[error("a template has at most {MAX_PARAMETERS} parameters")]
    TooManyParameters,
    /// More segments than any request may have.
    #[error("a template has at most {MAX_SEGMENTS} segments")]
    TooManySegments,
    /// The literal is longer than [`MAX_LITERAL`], or the whole longer than any request.
    #[error("a literal segment has at most {MAX_LITERAL} bytes, a template at most {MAX_PATH}")]
    TooLong,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// The first fault from the left.
    pub fn parse(text: &str) -> Result<Self, TemplateFault> {
        let Some(inner) = text.strip_prefix('/') else { return fault(1, 0, TemplateProblem::NotRooted) };
        if text.len() > MAX_PATH {
            return fault(1, text.len(), TemplateProblem::TooLong);
        }
        let (inner, trailing_slash) = match inner.strip_suffix('/') {
            Some(before) => (before, true),
            None => (inner, inner.is_empty()),
        };
        let mut segments: Vec<Segment> = Vec::new();
        let mut column = 2;
        // `/` alone has no segment; `//` has an empty one.
        if !(inner.is_empty() && text.len() == 1) {
            for piece in inner.split('/') {
                if let Some(Segment::Tail(_)) = segments.last() {
                    return fault(column - 1, piece.len() + 1, TemplateProblem::AfterTail);
                }
                if segments.len() == MAX_SEGMENTS {
                    return fault(column, piece.len(), TemplateProblem::TooManySegments);
                }
                segments.push(segment(piece, column, &segments)?);
                column += piece.len() + 1;
            }
        }
        if trailing_slash && matches!(segments.last(), Some(Segment::Tail(_))) {
            return fault(text.len(), 1, TemplateProblem::AfterTail);
        }
        Ok(Self { text: text.into(), segments: segments.into(), trailing_slash })
    }

    /// The text it was read from.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The segments from the left.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Whether it ends in `/`, and so matches only requests that do.
    pub fn has_trailing_slash(&self) -> bool {
        self.trailing_slash
    }

    /// The parameters' names in the order in which [`super::Params`] holds their values.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        names(&self.segments)
    }

    /// Why no request can match it under these rules, if so: a literal holds a character that clients have to encode.
    pub fn fault_under(&self, rules: PathRules) -> Option<PathFault> {
        CanonicalPath::under(self.example("x").as_bytes(), rules).err()
    }

    /// A path that it matches, with `filler` for every parameter.
    pub fn example(&self, filler: &str) -> String {
        let mut path = String::new();
        for segment in &self.segments {
            path.push('/');
            path.push_str(if let Segment::Literal(literal) = segment { literal } else { filler });
        }
        if self.trailing_slash {
            path.push('/');
        }
        path
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn names(segments: &[Segment]) -> impl Iterator<Item = &str> {
    segments.iter().filter_map(|segment| match segment {
        Segment::Literal(_) => None,
        Segment::Parameter(name) | Segment::Tail(name) => Some(name.as_ref()),
    })
}

fn segment(piece: &str, column: usize, before: &[Segment]) -> Result<Segment, TemplateFault> {
    let Some(inner) = piece.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
        return literal(piece, column);
    };
    let (name, tail) = match inner.strip_prefix('*') {
        Some(name) => (name, true),
        None => (inner, false),
    };
    if name.contains(['{', '}']) {
        return fault(column, piece.len(), TemplateProblem::PartOfSegment);
    }
    let mut bytes = name.bytes();
    if !bytes.next().is_some_and(|b| b.is_ascii_lowercase())
        || !bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    {
        return fault(column, piece.len(), TemplateProblem::Name);
    }
    if names(before).any(|earlier| earlier == name) {
        return fault(column, piece.len(), TemplateProblem::Duplicate(name.to_owned()));
    }
    if names(before).count() == MAX_PARAMETERS {
        return fault(column, piece.len(), TemplateProblem::TooManyParameters);
    }
    Ok(if tail { Segment::Tail(name.into()) } else { Segment::Parameter(name.into()) })
}

fn literal(piece: &str, column: usize) -> Result<Segment, TemplateFault> {
    if piece.is_empty() {
        return fault(column, 0, TemplateProblem::EmptySegment);
    }
    for (at, character) in piece.char_indices() {
        if matches!(character, '{' | '}') {
            return fault(column + at, 1, TemplateProblem::PartOfSegment);
        }
        if !u8::try_from(character).is_ok_and(|byte| byte.is_ascii() && plain_in_literal(byte)) {
            return fault(column + at, character.len_utf8(), TemplateProblem::Character(character));
        }
    }
    if piece.ends_with('.') {
        return fault(column, piece.len(), TemplateProblem::Dots);
    }
    if piece.len() > MAX_LITERAL {
        return fault(column, piece.len(), TemplateProblem::TooLong);
    }
    Ok(Segment::Literal(piece.into()))
}

fn fault<T>(column: usize, length: usize, problem: TemplateProblem) -> Result<T, TemplateFault> {
    Err(TemplateFault { column, length, problem })
}
