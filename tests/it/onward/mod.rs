//! HTTP/2 towards applications, and gRPC through the gateway with its trailers.

pub mod application;
mod broken;
mod calls;
mod cuts;
mod flushes;
mod raw;
mod secure;
mod shared;
mod stuck;

use application::Application;

use crate::world::*;

/// The line that says where the application is.
pub const URL: &str = "  app:\n    url:";

/// A world in clear whose application speaks HTTP/2, towards clients of HTTP/2.
pub fn world(application: &Application, more: &'static str) -> World {
    crate::http2::peer::clear(plan(application, more))
}

/// The same on one core, so that one connection carries everything.
pub fn one_core(application: &Application, more: &'static str) -> World {
    World::of(plan(application, more).edit("workers: 2", "workers: 1\nhttp2: prior_knowledge"))
}

/// The same towards clients of HTTP/1.1.
pub fn world_of_http1(application: &Application, more: &'static str) -> World {
    World::of(plan(application, more))
}

fn plan(application: &Application, more: &'static str) -> Plan {
    let plan = Plan { upstream: Some(application.address), ..Plan::default() };
    plan.edit(URL, more)
}

/// With trailers.
pub const GRPC: &str = "  app:\n    protocol: http2\n    trailers: pass\n    url:";
/// Without.
pub const PLAIN: &str = "  app:\n    protocol: http2\n    url:";
