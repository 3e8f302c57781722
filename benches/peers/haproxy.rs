//! HAProxy: plain, or with `jwt_verify` and a rule for each route.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use super::player::{RESOURCES, ROUTES, installed, roles, text};
use crate::world::{MEMBERS_ISSUER, Plan, World};

/// Writes its configuration; the program, and what it is started with.
pub fn write(
    world: &World,
    at: &Path,
    port: u16,
    plan: Plan,
    enforcing: bool,
) -> (Option<PathBuf>, Vec<String>) {
    let dir = world.dir().display();
    let bind =
        if plan.secure { format!("ssl crt {dir}/tls.both.pem alpn h2,http/1.1") } else { String::new() };
    let mut rules = String::new();
    if enforcing {
        // What HAProxy's own documentation of `jwt_verify` says to do, and then the tenant and forty rules.
        writeln!(
            rules,
            "  http-request deny deny_status 401 unless {{ req.hdr(authorization) -m found }}
  http-request set-var(txn.alg) http_auth_bearer,jwt_header_query('$.alg')
  http-request deny deny_status 401 unless {{ var(txn.alg) -m str ES256 }}
  http-request deny deny_status 401 unless {{ http_auth_bearer,jwt_verify(txn.alg,\"{dir}/members.pub.pem\") -m int 1 }}
  http-request set-var(txn.iss) http_auth_bearer,jwt_payload_query('$.iss')
  http-request set-var(txn.aud) http_auth_bearer,jwt_payload_query('$.aud')
  http-request set-var(txn.exp) http_auth_bearer,jwt_payload_query('$.exp','int')
  http-request set-var(txn.now) date()
  http-request set-var(txn.tenant) http_auth_bearer,jwt_payload_query('$.tenant')
  http-request set-var(txn.role) http_auth_bearer,jwt_payload_query('$.roles[0]')
  http-request set-var(txn.of) path,field(3,/)
  http-request set-var(txn.resource) path,field(5,/)
  http-request set-var(txn.id) path,field(6,/)
  http-request deny deny_status 401 unless {{ var(txn.iss) -m str {MEMBERS_ISSUER} }} {{ var(txn.aud) -m str app }}
  http-request deny deny_status 401 if {{ var(txn.exp),sub(txn.now) -m int lt 0 }}
  http-request deny deny_status 403 unless {{ var(txn.of),strcmp(txn.tenant) eq 0 }}"
        )
        .unwrap();
        for resource in RESOURCES {
            for (method, id, writes) in ROUTES {
                let id = if id { "{ var(txn.id) -m len gt 0 }" } else { "!{ var(txn.id) -m len gt 0 }" };
                let roles = roles(resource, writes).join(" ");
                writeln!(
                    rules,
                    "  http-request allow if {{ method {method} }} {{ var(txn.resource) -m str {resource} }} {id} {{ var(txn.role) -m str {roles} }}"
                )
                .unwrap();
            }
        }
        rules += "  http-request deny deny_status 403\n";
    }
    let config = format!(
        "global
  nbthread 1
  maxconn 4096
  tune.ssl.default-dh-param 2048
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  timeout http-keep-alive 300s
  option http-keep-alive
  http-reuse always
frontend in
  bind 127.0.0.1:{port} {bind}
{rules}  default_backend origin
backend origin
  server origin 127.0.0.1:{} maxconn 4096 pool-max-conn 1024
",
        world.origin_port()
    );
    let file = at.join("haproxy.cfg");
    std::fs::write(&file, config).unwrap();
    let program = installed(&[PathBuf::from("/usr/sbin/haproxy")]);
    (program, vec!["-db".to_owned(), "-f".to_owned(), text(&file)])
}
