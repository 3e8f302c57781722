//! The head of a line: methods, template, host.

use http::Method;

use crate::{
    config::{
        fault::Code,
        resolve::context::{Context, short},
        suggest,
        written::{At, Place},
    },
    policy::{path::PathRules, routes::Template},
};

const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Methods and template of `GET,POST /path`.
pub(super) fn head(context: Context<'_>, at: &At<String>) -> Option<(Vec<Method>, String)> {
    let bad = |part: &str, message: String, hint: &str| {
        context.put(Code::BadRoute, context.part(at.place, part), message, hint);
    };
    let Some((methods, template)) = at.value.split_once(' ') else {
        let message = format!("`{}` is not methods and path", short(&at.value));
        bad(&at.value, message, "write both with a space between: `GET /t/{tenant}/api/orders`");
        return None;
    };
    let template = template.trim_start_matches(' ');
    let mut read: Vec<Method> = Vec::new();
    let mut sound = true;
    for name in methods.split(',') {
        let upper =
            !name.is_empty() && name.len() <= 32 && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
        let slip = !METHODS.contains(&name) && suggest::nearest(name, METHODS.iter().copied()).is_some();
        let method = Method::from_bytes(name.as_bytes()).ok().filter(|_| upper && !slip);
        match method {
            Some(Method::TRACE | Method::CONNECT) => {
                bad(name, format!("`{name}` is always refused"), "remove it from the route");
                sound = false;
            }
            Some(method) if read.contains(&method) => {
                bad(methods, format!("`{name}` stands here twice"), "keep one of them");
                sound = false;
            }
            Some(method) => read.push(method),
            None => {
                let upper_name = name.to_ascii_uppercase();
                let hint = suggest::hint(&upper_name, METHODS.iter().copied(), "usual methods");
                bad(name, format!("`{}` is no method", short(name)), &hint);
                sound = false;
            }
        }
    }
    sound.then(|| (read, template.to_owned()))
}

/// The template, with the caret below what is wrong in it.
pub(super) fn template(context: Context<'_>, place: Place, text: &str, rules: PathRules) -> Option<Template> {
    let bad = |place: Place, message: String| {
        let hint = "a path is `/t/{tenant}/orders/{order}`; a parameter is a whole segment, `{*rest}` the whole rest";
        context.put(Code::BadRoute, place, message, hint);
        None
    };
    match Template::parse(text) {
        Ok(template) => match template.fault_under(rules) {
            Some(fault) => bad(place, format!("no request can match this path: {fault}")),
            None => Some(template),
        },
        // Only where the text stands in the file as it is does a column of it mean a place in the file.
        Err(fault) if place.len() == text.len() => {
            let start = (fault.column - 1).min(text.len());
            bad(place.within(start, fault.length.min(text.len() - start)), fault.problem.to_string())
        }
        Err(fault) => bad(place, fault.to_string()),
    }
}

/// The host of a route, as it is compared.
pub(in crate::config::resolve) fn own_host(context: Context<'_>, at: &At<String>) -> Option<String> {
    let sound = !at.value.is_empty()
        && at.value.len() <= 253
        && at.value.split('.').all(|label| {
            !label.is_empty()
                && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        });
    if !sound {
        context.put(
            Code::BadValue,
            at.place,
            format!("`{}` is no host for a route", short(&at.value)),
            "write it in lower case, without port, wildcard or dot at the end: `app.example`",
        );
        return None;
    }
    Some(at.value.clone())
}
