//! What the gateway itself says to the application about one request: who asks, signed (law 9).
//!
//! Never here: writing the head (see [`wire`](crate::proxy::wire)).

use std::net::IpAddr;

use crate::{
    engine::{Admission, knock::Who},
    identity::VerifiedSubject,
    model::{Subject, SubjectKind},
    policy::{Ask, Named},
    proxy::{
        assertion::{About, Asserter, fill, fill_query},
        core::Core,
        narrow::query::{self, QueryFault},
        respond::Told,
        routing::{Assert, Parameter, Upstream},
        wire::{Authority, HeadFault, Name as HeaderName, RequestView, Value},
    },
};

/// Why an admitted request does not go out.
pub(super) struct Unsent {
    status: u16,
    pub(super) code: &'static str,
    detail: String,
}

impl Unsent {
    pub(super) fn new(status: u16, code: &'static str, detail: impl Into<String>) -> Unsent {
        Unsent { status, code, detail: detail.into() }
    }

    pub(super) fn told(&self) -> Told {
        Told::plain(self.status, self.code, self.detail.clone())
    }
}

/// What the gateway's own lines are made from.
pub(super) struct Own<'a> {
    pub(super) core: &'a Core,
    pub(super) upstream: &'a Upstream,
    pub(super) method: &'a http::Method,
    pub(super) path: &'a str,
    pub(super) ask: &'a Ask<'a>,
    pub(super) who: &'a Who,
    pub(super) admission: &'a Admission,
    pub(super) asserter: &'a Asserter,
    pub(super) client: IpAddr,
}

impl<'a> Own<'a> {
    /// The assertion and the configured headers. What the map opens to everybody hears of nobody.
    pub(super) fn lines(&self, public: bool) -> Result<Vec<(&'a str, String)>, Unsent> {
        let mut own = Vec::new();
        let Who::Known(subject) = self.who else { return Ok(own) };
        if public {
            return Ok(own);
        }
        let about = self.about(subject);
        if self.upstream.assert == Assert::All || subject.kind == SubjectKind::Staff {
            let asserter = self.asserter;
            match asserter.assert(&about, self.upstream, self.core.engine().wall()) {
                Ok(assertion) => own.push((asserter.header.as_str(), assertion)),
                Err(fault) => return Err(Unsent::new(503, "assertion_unsigned", fault.to_string())),
            }
        }
        for template in &self.upstream.headers {
            own.push((template.name.as_str(), fill(template, &about)));
        }
        Ok(own)
    }

    fn about(&self, subject: &'a VerifiedSubject) -> About<'a> {
        About {
            subject: subject.subject(),
            staff: self.admission.staff(),
            roles: self.admission.roles().unwrap_or(&subject.roles),
            tenant: self.tenant(subject.subject()),
            environment: named(self.ask.environment),
            method: self.method.as_str(),
            path: self.path,
            client: self.client,
        }
    }

    /// The target by which the application is asked to narrow for this caller: law 10 holds for the path, and of the query for
    /// every parameter that the client sent.
    pub(super) fn narrowed_target(
        &self,
        subject: &'a VerifiedSubject,
        parameters: &[Parameter],
        query: &str,
        most: usize,
    ) -> Result<String, Unsent> {
        let unsent = |fault: QueryFault| Unsent::new(400, fault.code(), fault.to_string());
        let about = self.about(subject);
        let mut own = Vec::with_capacity(parameters.len());
        for parameter in parameters {
            let value = fill_query(parameter, &about).ok_or_else(|| unsent(QueryFault::Value))?;
            own.push((parameter.name.as_str(), value));
        }
        let query = query::written(query.strip_prefix('?').unwrap_or_default(), &own).map_err(unsent)?;
        let target = format!("{}?{query}", self.path);
        if target.len() > most {
            let fault = HeadFault::TargetTooLong;
            return Err(Unsent::new(fault.status(), fault.code(), fault.to_string()));
        }
        Ok(target)
    }

    /// Where the map is silent and members pass, theirs is the token's; they are never told to the application without.
    fn tenant(&self, subject: &'a Subject) -> &'a str {
        match (self.ask.tenant, &subject.tenant) {
            (Named::Missing, Some(own)) => own.as_str(),
            (named_one, _) => named(named_one),
        }
    }
}

/// The same lines as a head can carry them.
pub(super) fn fit<'l>(lines: &'l [(&str, String)]) -> Result<Vec<(HeaderName<'l>, Value<'l>)>, Unsent> {
    let mut add = Vec::with_capacity(lines.len());
    for (name, value) in lines {
        let (Some(name), Some(value)) = (HeaderName::new(name), Value::ascii(value)) else {
            let detail = format!("`{name}` cannot carry this caller's name");
            return Err(Unsent::new(400, "header_value_unfit", detail));
        };
        add.push((name, value));
    }
    Ok(add)
}

/// The Host that the application is sent.
pub(super) fn host<'a>(request: &RequestView<'a>, upstream: &'a Upstream) -> Result<Authority<'a>, Unsent> {
    let host = match &upstream.host {
        Some(host) => Authority::new(host.as_bytes()),
        None => request.host(),
    };
    host.or_else(|| Authority::new(upstream.authority.as_bytes()))
        .ok_or_else(|| Unsent::new(502, "upstream_missing", "the application has no host"))
}

fn named(named: Named<'_>) -> &str {
    match named {
        Named::As(text) => text,
        Named::Missing | Named::Unclear => "",
    }
}
