//! How the gateway answers a browser's question whether it may ask (CORS preflight).

use http::HeaderName;

use super::context::{Context, short};
use crate::config::{
    fault::Code,
    written::{At, File},
};

/// The longest time for which browsers remember an answer, in milliseconds.
const DAY: i64 = 86_400_000;

/// How CORS preflights are answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorsSettings {
    /// The origins that may ask, as browsers write them.
    pub origins: Vec<String>,
    /// The request headers that they may send, in lower case.
    pub headers: Vec<String>,
    /// Whether they may send cookies.
    pub credentials: bool,
    /// Seconds that a browser may remember the answer.
    pub max_age_s: i64,
}

pub(super) fn cors(context: Context<'_>, file: &File) -> Option<CorsSettings> {
    let at = file.cors.given()?;
    let hint = "list who may ask, e.g. `origins: [\"https://app.example\"]`";
    let list = context.need(&at.value.origins, at.place, "origins", hint)?;
    if list.value.0.items.is_empty() && !list.value.0.broken {
        context.put(Code::BadValue, list.place, "this list is empty", hint);
    }
    let origins = list.value.0.items.iter().filter_map(|at| origin(context, at)).collect();
    let mut headers: Vec<String> = Vec::new();
    for at in at.value.headers.value().into_iter().flat_map(|list| &list.0.items) {
        match HeaderName::from_bytes(at.value.as_bytes()) {
            Ok(name) if headers.iter().any(|known| known == name.as_str()) => {
                let message = format!("`{name}` stands here twice");
                context.put(Code::DuplicateName, at.place, message, "keep one of them");
            }
            Ok(name) => headers.push(name.as_str().to_owned()),
            Err(_) => {
                let message = format!("`{}` is no name of a header", short(&at.value));
                context.put(Code::BadHeader, at.place, message, "write each out, as in `X-Request-Id`");
            }
        }
    }
    if let Some(age) = at.value.max_age.given().filter(|age| (1..1_000).contains(&age.value.0)) {
        context.warn(
            Code::Unused,
            age.place,
            "browsers are told whole seconds, so this is none at all",
            "use at least `1s`, or `0s` where nothing is to be remembered",
        );
    }
    Some(CorsSettings {
        origins,
        headers,
        credentials: at.value.credentials.value().copied().unwrap_or(false),
        max_age_s: context.duration(&at.value.max_age, 600_000, 0, DAY) / 1_000,
    })
}

/// An origin as browsers send it: scheme, host in lower case, port where it is not the scheme's own.
fn origin(context: Context<'_>, at: &At<String>) -> Option<String> {
    let rest = at.value.strip_prefix("https://").or_else(|| at.value.strip_prefix("http://"));
    let sound = rest.is_some_and(|rest| {
        let (host, port) = rest.rsplit_once(':').map_or((rest, None), |(host, port)| (host, Some(port)));
        let own = if at.value.starts_with("https") { "443" } else { "80" };
        !host.is_empty()
            && host.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-'))
            && port.is_none_or(|port| {
                port != own && !port.starts_with('0') && port.parse::<u16>().is_ok_and(|port| port > 0)
            })
    });
    if sound {
        return Some(at.value.clone());
    }
    let message = format!("`{}` is no origin", short(&at.value));
    let hint = "write it as browsers do: `https://app.example`, lower case, no `*`, no path, no usual port";
    context.put(Code::BadValue, at.place, message, hint);
    None
}
