//! The keeper of the applications' servers: looks at intervals whether each is well, for all cores, and tells of them in the
//! metrics. One keeper for each map in force; a reload ends it and begins another.
//!
//! Never here: what one look is ([`crate::proxy::check`]), which server is asked ([`crate::proxy`]).

use std::{fmt::Write as _, sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::net::servers::Check;
use crate::proxy::{
    check::look,
    health::State,
    routing::{Routing, Server, Upstream},
};

/// Looks after all servers of a map that are to be looked after, until told to stop.
pub(super) async fn keep_checking(routing: Arc<Routing>, stop: CancellationToken) {
    let mut looking = JoinSet::new();
    for (number, upstream) in routing.upstreams.iter().enumerate() {
        let Some(check) = &upstream.check else { continue };
        let count = u32::try_from(upstream.servers.len()).unwrap_or(1).max(1);
        for (place, server) in (0u32..).zip(&upstream.servers) {
            // Not all at once, and the first at once.
            let wait = check.every / count * place;
            looking.spawn(after(Arc::clone(&routing), number, server.clone(), wait));
        }
    }
    tokio::select! {
        () = stop.cancelled() => {}
        () = async { while looking.join_next().await.is_some() {} } => {}
    }
}

async fn after(routing: Arc<Routing>, number: usize, server: Server, wait: Duration) {
    let Some(upstream) = routing.upstreams.get(number) else { return };
    let Some(check) = &upstream.check else { return };
    sleep(wait).await;
    look_after(upstream, &server, check).await;
}

async fn look_after(upstream: &Upstream, server: &Server, check: &Check) {
    // On end, of the same kind.
    let (mut was_good, mut times) = (true, 0u32);
    loop {
        let looked = look(upstream, server, check).await;
        let good = looked.is_ok();
        times = if good == was_good { times.saturating_add(1) } else { 1 };
        was_good = good;
        let enough = if good { check.healthy_after } else { check.unhealthy_after };
        let why = looked.err().map(|unwell| unwell.to_string()).unwrap_or_default();
        server.health.checked(good, times >= enough, &why);
        sleep(check.every).await;
    }
}

/// What is told of one server, as one metric.
type Metric = (&'static str, &'static str, &'static str, fn(&State) -> u64);

const METRICS: [Metric; 5] = [
    ("up", "gauge", "1 when the server is asked like any other, 0 when it is left out.", |state| {
        u64::from(state.is_in)
    }),
    ("unreached_total", "counter", "Connections to the server that could not be opened.", |state| {
        state.unreached
    }),
    ("ejected_total", "counter", "How often the server was left out for them.", |state| state.ejected),
    ("checks_good_total", "counter", "Checks that found the server well.", |state| state.good),
    ("checks_bad_total", "counter", "Checks that did not.", |state| state.bad),
];

/// In the form of metrics. The labels are those of the configuration.
pub(super) fn metrics(routing: &Routing, retried: u64, out: &mut String) {
    for (name, kind, help, value) in METRICS {
        let _ = writeln!(out, "# HELP postern_server_{name} {help}\n# TYPE postern_server_{name} {kind}");
        for upstream in &routing.upstreams {
            for server in &upstream.servers {
                let labels =
                    format!("upstream=\"{}\",server=\"{}\"", quoted(&upstream.name), quoted(&server.name));
                let _ = writeln!(out, "postern_server_{name}{{{labels}}} {}", value(&server.health.state()));
            }
        }
    }
    let _ = writeln!(
        out,
        "# HELP postern_retries_total Requests that tried another server, none of their bytes having left.\n# TYPE postern_retries_total counter\npostern_retries_total {retried}"
    );
}

/// A label's value: names are visible ASCII, but a path of a socket may hold anything.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
