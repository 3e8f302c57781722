//! A request that runs, looked up in a map that came while it ran.
//!
//! Of the request only host, method and path are kept, so only what they say can be read again. Where the two maps name
//! the tenant or the environment by other means, or read other ones from this path, nothing can be said about it.
//!
//! Never here: deciding (that is the engine's).

use std::sync::Arc;

use crate::{
    engine::{
        knock::{Particulars, Path, outer_of},
        reload::Place,
    },
    policy::{Named, Reason, Route, path::CanonicalPath, routes::Params},
};

use super::{
    collect,
    routing::{Binding, Routing},
};

/// Where a request stands in `now` that was admitted under `before`.
///
/// # Errors
/// Why it cannot be asked again.
pub fn find_again(before: &Routing, now: &Routing, about: &Particulars) -> Result<Place, Reason> {
    let replaced = Reason::ConfigurationReplaced;
    if before.tenant != now.tenant
        || before.environment != now.environment
        || before.default_environment != now.default_environment
    {
        return Err(replaced);
    }
    let method = http::Method::from_bytes(about.method.as_bytes()).map_err(|_| replaced)?;
    let path = CanonicalPath::under(about.path.as_bytes(), now.paths).map_err(|_| replaced)?;
    let mut params = Params::new();
    let there = collect::route(now, &about.host, &method, &path, &mut params);
    let mut params_before = Params::new();
    let here = collect::route(before, &about.host, &method, &path, &mut params_before);
    let places: [fn(&Binding) -> &[usize]; 2] = [|binding| &binding.tenant, |binding| &binding.environment];
    for names in places {
        let (named, was) = (there.named(names, &path, &params), here.named(names, &path, &params_before));
        if !same(named, was) {
            // Where the route is gone, nothing of the path is read any more.
            return Err(if there.rule.is_none() { Reason::RouteUnmapped } else { replaced });
        }
    }
    Ok(Place {
        path: match (there.rule, there.route) {
            (Some(rule), _) => Path::Rule(rule),
            (None, Route::Method) => Path::Method,
            (None, Route::Twin) => Path::Twin,
            (None, Route::Mapped(_) | Route::Unmapped) => Path::Unmapped,
        },
        resource: there.resource(&path, &params).map(Arc::from),
        within: outer_of(there.within(&path, &params)),
    })
}

fn same(one: Named<'_>, other: Named<'_>) -> bool {
    match (one, other) {
        (Named::As(one), Named::As(other)) => one == other,
        (Named::Missing, Named::Missing) => true,
        (Named::As(_) | Named::Missing | Named::Unclear, _) => false,
    }
}
