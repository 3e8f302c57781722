//! nginx that asks a service about each request (`auth_request`), its answer cached or not.

use std::path::{Path, PathBuf};

use super::player::text;

/// Writes its configuration; the program, and what it is started with.
pub fn write(
    at: &Path,
    port: u16,
    origin: u16,
    service: u16,
    cached: bool,
) -> (Option<PathBuf>, Vec<String>) {
    // One URI and one token: the best case of such a cache. A withdrawal is as late as this says.
    let (zone, cache) = if cached {
        (
            "proxy_cache_path cache keys_zone=auth:10m max_size=64m;",
            "proxy_cache auth; proxy_cache_key \"$http_authorization $request_method $request_uri\"; proxy_cache_valid 200 204 10s;",
        )
    } else {
        ("", "")
    };
    let config = format!(
        "daemon off; master_process off; worker_processes 1; pid nginx.pid; error_log stderr crit;
events {{ worker_connections 16384; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 300;
  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
  {zone}
  upstream origin {{ server 127.0.0.1:{origin}; keepalive 256; keepalive_requests 1000000000; }}
  upstream service {{ server 127.0.0.1:{service}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      auth_request /_may;
      proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_buffers 32 8k;
    }}
    location = /_may {{
      internal; {cache}
      proxy_pass http://service; proxy_http_version 1.1; proxy_set_header Connection \"\";
      proxy_pass_request_body off; proxy_set_header Content-Length \"\";
      proxy_set_header X-Original-Method $request_method; proxy_set_header X-Original-URI $request_uri;
    }}
  }}
}}
"
    );
    std::fs::write(at.join("nginx.conf"), config).unwrap();
    let args = ["-p", &text(at), "-c", &text(&at.join("nginx.conf")), "-e", "stderr"].map(str::to_owned);
    let program = PathBuf::from("/usr/sbin/nginx");
    (program.exists().then_some(program), args.into())
}
