//! What a route says of what its requests make in the application: of which type it is, where its identifier stands in the
//! answer, and what follows from it for whoever made it.
//!
//! An identifier is read in one way or not at all (law 10): what is unlike the template, not canonical or of another host
//! names nothing.
//!
//! Never here: bytes of an answer (see `proxy`), or what is done then ([`crate::lifecycle`]).

use std::{collections::BTreeMap, fmt};

use crate::model::{ResourceId, ResourceType, RoleName};

use super::{
    narrow::Pointer,
    path::{CanonicalPath, PathRules},
    routes::{Segment, Template},
};

/// See the module's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Creates {
    /// What is made.
    pub kind: ResourceType,
    /// Where its identifier stands.
    pub id: IdFrom,
    /// The role at it that whoever made it gets.
    pub role: Option<RoleName>,
    /// The roles in the tenant that whoever made it holds no more, each with the one that takes its place.
    pub becomes: BTreeMap<RoleName, RoleName>,
}

/// What stands for the tenant in the form of a `Location`.
pub const TENANT: &str = "tenant";

/// Where the identifier of what was made stands in the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdFrom {
    /// In `Location`, which is a path of this form: `{tenant}` stands for the tenant, and its one other parameter is the identifier.
    Location(Template),
    /// At this place of the JSON that the answer has for a body.
    Json(Pointer),
}

impl fmt::Display for IdFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IdFrom::Location(template) => write!(f, "location {template}"),
            IdFrom::Json(pointer) => write!(f, "json {:?}", pointer.to_string()),
        }
    }
}

/// All that it says, in one line.
impl fmt::Display for Creates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", self.kind, self.id)?;
        if let Some(role) = &self.role {
            write!(f, ", role {role}")?;
        }
        for (from, to) in &self.becomes {
            write!(f, ", {from} becomes {to}")?;
        }
        Ok(())
    }
}

/// Why the identifier of what was made cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unread {
    /// No `Location`.
    #[error("the answer has no `Location`")]
    LocationMissing,
    /// Several of them.
    #[error("the answer has `Location` twice")]
    LocationTwice,
    /// It leads to another host or tenant.
    #[error("`Location` leads to another host, or to another tenant, than the one that was asked")]
    LocationElsewhere,
    /// It is no path of the form that the route declares.
    #[error("`Location` is no path of the form that the route declares")]
    LocationUnlike,
    /// What stands there is no identifier in its canonical form (rule 2).
    #[error("what stands there is no identifier of a resource")]
    IdMalformed,
    /// Not declared as JSON.
    #[error("the answer is not declared as JSON")]
    NotJson,
    /// Compressed, although nothing was asked for that is.
    #[error("the answer is compressed, although it was asked not to be")]
    Coded,
    /// Not JSON to the letter, nested too deeply, or cut off.
    #[error("the answer's body cannot be read as JSON in one way only")]
    Unreadable,
    /// Larger than is read.
    #[error("the answer's body is larger than the gateway looks through")]
    TooLarge,
    /// Slower than is waited for.
    #[error("the answer's body did not come in time")]
    TooSlow,
    /// Nothing stands at that place, or no text and no whole number.
    #[error("the answer has no identifier where the route says that it is")]
    IdMissing,
    /// A member that leads there stands twice.
    #[error("a member that leads to the identifier stands twice")]
    IdTwice,
}

impl Unread {
    /// The stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Unread::LocationMissing => "location_missing",
            Unread::LocationTwice => "location_twice",
            Unread::LocationElsewhere => "location_elsewhere",
            Unread::LocationUnlike => "location_unlike",
            Unread::IdMalformed => "id_malformed",
            Unread::NotJson => "answer_not_json",
            Unread::Coded => "answer_coded",
            Unread::Unreadable => "answer_unreadable",
            Unread::TooLarge => "answer_too_large",
            Unread::TooSlow => "answer_too_slow",
            Unread::IdMissing => "id_missing",
            Unread::IdTwice => "id_twice",
        }
    }
}

/// The identifier that a text is.
///
/// # Errors
/// [`Unread::IdMalformed`] where it has not the canonical form (rule 2).
pub fn id_of(text: &str) -> Result<ResourceId, Unread> {
    ResourceId::new(text).map_err(|_| Unread::IdMalformed)
}

/// The identifier that a `Location` names in this tenant. `hosts` are the names of the host that was asked.
///
/// # Errors
/// [`Unread`] where it names none, or one that can be read in two ways.
pub fn id_in_location(
    template: &Template,
    value: &[u8],
    tenant: &str,
    hosts: &[&str],
    rules: PathRules,
) -> Result<ResourceId, Unread> {
    let text = std::str::from_utf8(value).map_err(|_| Unread::LocationUnlike)?;
    let path = if text.starts_with('/') { text } else { path_of(text, hosts)? };
    let path = CanonicalPath::under(path.as_bytes(), rules).map_err(|_| Unread::LocationUnlike)?;
    if path.segment_count() != template.segments().len()
        || path.has_trailing_slash() != template.has_trailing_slash()
    {
        return Err(Unread::LocationUnlike);
    }
    let mut id = Err(Unread::LocationUnlike);
    for (segment, declared) in path.segments().zip(template.segments()) {
        match declared {
            Segment::Literal(literal) if **literal == *segment => {}
            Segment::Parameter(name) if **name == *TENANT && *segment != *tenant => {
                return Err(Unread::LocationElsewhere);
            }
            Segment::Parameter(name) if **name == *TENANT => {}
            Segment::Parameter(_) => id = id_of(segment),
            Segment::Literal(_) | Segment::Tail(_) => return Err(Unread::LocationUnlike),
        }
    }
    id
}

/// The path of an address that leads to the host that was asked.
fn path_of<'t>(text: &'t str, hosts: &[&str]) -> Result<&'t str, Unread> {
    let (scheme, rest) = text.split_once("://").ok_or(Unread::LocationUnlike)?;
    let port = match scheme.to_ascii_lowercase().as_str() {
        "http" => ":80",
        "https" => ":443",
        _ => return Err(Unread::LocationUnlike),
    };
    let (authority, path) =
        rest.split_at_checked(rest.find(['/', '?', '#']).unwrap_or(rest.len())).unwrap_or((rest, ""));
    let plain = |name: &str| name.strip_suffix(port).unwrap_or(name).to_ascii_lowercase();
    if hosts.iter().any(|host| !host.is_empty() && plain(host) == plain(authority)) {
        Ok(path)
    } else {
        Err(Unread::LocationElsewhere)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Result<String, Unread> {
        let template = Template::parse("/api/v1/pipes/{pipe}").unwrap();
        let hosts = ["pipes.example", "10.0.0.7:8000"];
        id_in_location(&template, value.as_bytes(), "acme", &hosts, PathRules::default())
            .map(|id| id.to_string())
    }

    #[test]
    fn a_location_that_names_the_tenant_names_the_one_that_was_asked() {
        let template = Template::parse("/t/{tenant}/pipes/{pipe}").unwrap();
        let read = |tenant, value: &str| {
            let id = id_in_location(&template, value.as_bytes(), tenant, &[], PathRules::default());
            id.map(|id| id.to_string())
        };
        assert_eq!(read("acme", "/t/acme/pipes/p1"), Ok("p1".to_owned()));
        assert_eq!(read("globex", "/t/globex/pipes/globex"), Ok("globex".to_owned()));
        for other in ["/t/acme/pipes/p1", "/t/GLOBEX/pipes/p1", "/t/globex2/pipes/p1"] {
            assert_eq!(read("globex", other), Err(Unread::LocationElsewhere), "{other}");
        }
        assert_eq!(read("globex", "/t/globex/cards/p1"), Err(Unread::LocationUnlike));
    }

    // PFP-04
    #[test]
    fn a_location_names_what_was_made_in_one_way_or_not_at_all() {
        for good in [
            "/api/v1/pipes/p1",
            "http://pipes.example/api/v1/pipes/p1",
            "https://Pipes.Example:443/api/v1/pipes/p1",
            "http://10.0.0.7:8000/api/v1/pipes/p1",
        ] {
            assert_eq!(read(good), Ok("p1".to_owned()), "{good}");
        }
        for unlike in [
            "",
            "p1",
            "pipes/p1",
            "./p1",
            "/api/v1/pipes",
            "/api/v1/pipes/",
            "/api/v1/pipes/p1/",
            "/api/v1/pipes/p1/cards",
            "/API/v1/pipes/p1",
            "/api/v2/pipes/p1",
            "/api/v1/pipes/../p1",
            "/api/v1//p1",
            "//pipes.example/api/v1/pipes/p1",
            "/api/v1/pipes/p1?x=1",
            "/api/v1/pipes/p1#x",
            "/api/v1/pipes/p%31",
            "/api/v1/pipes/p 1",
            "http://pipes.example",
            "http://pipes.example?/api/v1/pipes/p1",
            "ftp://pipes.example/api/v1/pipes/p1",
            "mailto:p1",
        ] {
            assert_eq!(read(unlike), Err(Unread::LocationUnlike), "{unlike}");
        }
        for elsewhere in [
            "http://other.example/api/v1/pipes/p1",
            "http://pipes.example.other/api/v1/pipes/p1",
            "http://pipes.example:8080/api/v1/pipes/p1",
            "https://pipes.example:80/api/v1/pipes/p1",
            "http://me@pipes.example/api/v1/pipes/p1",
            "http:///api/v1/pipes/p1",
            "http://pipes.example\\@other.example/api/v1/pipes/p1",
        ] {
            assert_eq!(read(elsewhere), Err(Unread::LocationElsewhere), "{elsewhere}");
        }
        for malformed in ["/api/v1/pipes/-p", "/api/v1/pipes/p:1", "/api/v1/pipes/p%20"] {
            assert!(
                matches!(read(malformed), Err(Unread::IdMalformed | Unread::LocationUnlike)),
                "{malformed}"
            );
        }
        assert_eq!(read(&format!("/api/v1/pipes/{}", "x".repeat(129))), Err(Unread::IdMalformed));
    }
}
