//! Envoy: plain, or with `jwt_authn` and an RBAC policy for each route.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::player::{RESOURCES, ROUTES, Sort, installed, roles, text};
use crate::world::{MEMBERS_ISSUER, Plan, World};

fn typed(name: &str, kind: &str, mut config: Value) -> Value {
    config["@type"] = json!(format!("type.googleapis.com/{kind}"));
    json!({ "name": name, "typed_config": config })
}

/// Writes its configuration; the program, and what it is started with.
pub fn write(world: &World, at: &Path, port: u16, plan: Plan, sort: Sort) -> (Option<PathBuf>, Vec<String>) {
    let mut filters = Vec::new();
    if sort.enforces() {
        filters.push(jwt(world, sort == Sort::EnvoyCached));
        filters.push(rbac());
    }
    filters.push(typed(
        "envoy.filters.http.router",
        "envoy.extensions.filters.http.router.v3.Router",
        json!({ "suppress_envoy_headers": true }),
    ));
    let manager = typed(
        "envoy.filters.network.http_connection_manager",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        json!({
            "stat_prefix": "in",
            "generate_request_id": false,
            "http_filters": filters,
            "route_config": { "virtual_hosts": [{
                "name": "all", "domains": ["*"],
                "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "origin", "timeout": "0s" } }],
            }] },
        }),
    );
    let mut chain = json!({ "filters": [manager] });
    if plan.secure {
        let file = |name: &str| json!({ "filename": text(&world.dir().join(name)) });
        chain["transport_socket"] = typed(
            "envoy.transport_sockets.tls",
            "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            json!({ "common_tls_context": {
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_certificates": [{ "certificate_chain": file("tls.pem"), "private_key": file("tls.key") }],
            } }),
        );
    }
    let address = |port: u16| json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } });
    let config = json!({ "static_resources": {
        "listeners": [{ "name": "in", "address": address(port), "filter_chains": [chain] }],
        "clusters": [{
            "name": "origin", "type": "STATIC", "connect_timeout": "5s",
            "load_assignment": { "cluster_name": "origin", "endpoints": [{ "lb_endpoints": [
                { "endpoint": { "address": address(world.origin_port()) } },
            ] }] },
        }],
    } });
    let file = at.join("envoy.json");
    std::fs::write(&file, config.to_string()).unwrap();
    let args = ["--concurrency", "1", "--disable-hot-restart", "-l", "error", "-c", &text(&file)];
    let installed = installed(&[
        PathBuf::from(std::env::var("ENVOY").unwrap_or_default()),
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/peers/envoy/_bin/envoy"),
        PathBuf::from("/usr/bin/envoy"),
    ]);
    (installed, args.map(str::to_owned).into())
}

fn jwt(world: &World, cached: bool) -> Value {
    let mut provider = json!({
        "issuer": MEMBERS_ISSUER, "audiences": ["app"], "forward": true, "payload_in_metadata": "jwt",
        "local_jwks": { "filename": text(&world.dir().join("members.jwks.json")) },
    });
    if cached {
        provider["jwt_cache_config"] = json!({ "jwt_cache_size": 100_000 });
    }
    typed(
        "envoy.filters.http.jwt_authn",
        "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        json!({
            "providers": { "app": provider },
            "rules": [{ "match": { "prefix": "/" }, "requires": { "provider_name": "app" } }],
        }),
    )
}

fn rbac() -> Value {
    let mut policies = Map::new();
    let holds = |claim: &str, value: Value| {
        json!({ "metadata": {
            "filter": "envoy.filters.http.jwt_authn", "path": [{ "key": "jwt" }, { "key": claim }], "value": value,
        } })
    };
    for resource in RESOURCES {
        for (method, id, writes) in ROUTES {
            let path = format!("/t/acme/api/{resource}");
            let path = if id { json!({ "prefix": path + "/" }) } else { json!({ "exact": path }) };
            let roles: Vec<Value> = roles(resource, writes)
                .iter()
                .map(|role| {
                    holds(
                        "roles",
                        json!({ "list_match": { "one_of": { "string_match": { "exact": role } } } }),
                    )
                })
                .collect();
            let tenant = holds("tenant", json!({ "string_match": { "exact": "acme" } }));
            policies.insert(
                format!("{method}-{resource}-{id}"),
                json!({
                    "permissions": [{ "and_rules": { "rules": [
                        { "header": { "name": ":method", "string_match": { "exact": method } } },
                        { "url_path": { "path": path } },
                    ] } }],
                    "principals": [{ "and_ids": { "ids": [tenant, { "or_ids": { "ids": roles } }] } }],
                }),
            );
        }
    }
    typed(
        "envoy.filters.http.rbac",
        "envoy.extensions.filters.http.rbac.v3.RBAC",
        json!({ "rules": { "action": "ALLOW", "policies": policies } }),
    )
}
