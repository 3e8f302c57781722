//! deploy/compose: what it carries fits together.

use std::collections::BTreeSet;

use postern::config::Settings;
use serde_json::Value;

use super::{
    after, bytes,
    carried::{CONFIG, Inside, Keys, fits, host, keeps_everything, port, state},
    deploy, one, seconds, text, texts,
};

const FILE: &str = "compose/compose.yaml";
const GATEWAYS: [&str; 2] = ["gateway-1", "gateway-2"];

/// A volume of a service: what, where, and whether it may be written.
pub fn mounts(service: &Value) -> Vec<(String, String, bool)> {
    let list = service["volumes"].as_array().cloned().unwrap_or_default();
    let mount = |entry: &Value| {
        let parts: Vec<_> = entry.as_str().unwrap().split(':').map(str::to_owned).collect();
        assert!(parts.len() == 2 || parts[2] == "ro", "{entry}");
        (parts[0].clone(), parts[1].clone(), parts.len() == 2)
    };
    list.iter().map(mount).collect()
}

fn inside(service: &Value, keys: &Keys) -> Inside {
    let files = mounts(service).into_iter().filter_map(|(what, target, _)| {
        let here = match what.as_str() {
            "keys" => keys.path("gateways"),
            file if file.starts_with("./") => deploy("compose").join(file),
            _ => return None,
        };
        Some((target.into(), here))
    });
    let variables = service["environment"].as_object().unwrap().iter();
    let variables = variables.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()));
    Inside { files: files.collect(), variables: variables.collect() }
}

fn networks(service: &Value) -> BTreeSet<String> {
    service["networks"]
        .as_array()
        .map(|list| texts(&Value::Array(list.clone())))
        .unwrap_or_default()
        .into_iter()
        .collect()
}

fn meet(one: &Value, other: &Value) -> bool {
    networks(one).intersection(&networks(other)).next().is_some()
}

#[test]
fn no_service_is_root_writes_to_its_own_files_or_takes_all_there_is() {
    let file = one(FILE);
    for (name, service) in file["services"].as_object().unwrap() {
        let user = service["user"].as_str().unwrap_or_else(|| panic!("{name} says no user"));
        assert!(user.split(':').all(|id| id.parse::<u32>().unwrap() > 0), "{name} is {user}");
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(texts(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(texts(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
        let limits = &service["deploy"]["resources"]["limits"];
        assert!(bytes(limits["memory"].as_str().unwrap()) > 0, "{name}");
        assert!(limits["cpus"].as_str().unwrap().parse::<f64>().unwrap() > 0.0, "{name}");
        assert!(service["privileged"].is_null() && service["cap_add"].is_null(), "{name}");
    }
}

#[test]
fn what_is_named_is_declared_and_what_is_declared_is_used() {
    let file = one(FILE);
    let services = file["services"].as_object().unwrap();
    let declared = |kind: &str| file[kind].as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let volumes = services.values().flat_map(mounts).filter(|(what, ..)| !what.starts_with("./"));
    assert_eq!(volumes.map(|(what, ..)| what).collect::<BTreeSet<_>>(), declared("volumes"));
    assert_eq!(services.values().flat_map(networks).collect::<BTreeSet<_>>(), declared("networks"));
    for (what, ..) in services.values().flat_map(mounts).filter(|(what, ..)| what.starts_with("./")) {
        assert!(deploy("compose").join(&what).is_file(), "{what}");
    }
    for (name, service) in services {
        let needs = match &service["depends_on"] {
            Value::Array(list) => texts(&Value::Array(list.clone())),
            Value::Object(map) => map.keys().cloned().collect(),
            _ => Vec::new(),
        };
        assert!(needs.iter().all(|need| services.contains_key(need)), "{name} needs {needs:?}");
        // What is not fetched has somebody who builds it.
        let built = |image: &Value| {
            services.values().any(|other| other["image"] == *image && other["build"].is_object())
        };
        let local = service["build"].is_object() || service["pull_policy"] == "never";
        assert!(!local || built(&service["image"]), "{name}");
        assert!(local || service["image"].as_str().unwrap().contains(':'), "{name}: a version");
    }
    // A state is one gateway's; who begins the store has that of the first, so that a lost store is seen.
    let of =
        |name: &str| mounts(&services[name]).into_iter().find(|(_, at, _)| at == "/var/lib/postern").unwrap();
    assert_eq!(of("init"), of("gateway-1"));
    assert_ne!(of("gateway-1").0, of("gateway-2").0);
    assert!(texts(&services["init"]["command"]).starts_with(&[
        "state".to_owned(),
        "init".to_owned(),
        "--if-none".to_owned()
    ]));
}

/// What each gateway makes of the file that both read.
fn settings() -> Vec<Settings> {
    let file = one(FILE);
    let keys = Keys::make(&[], &GATEWAYS);
    GATEWAYS.iter().map(|name| inside(&file["services"][name], &keys).check()).collect()
}

#[test]
fn both_gateways_are_fine_and_keep_what_is_theirs_where_it_persists() {
    let file = one(FILE);
    let settings = settings();
    for (settings, name) in settings.iter().zip(GATEWAYS) {
        let service = &file["services"][name];
        assert_eq!(settings.gateway, name);
        assert!(settings.ledger.origin.ends_with(name));
        let writable: Vec<_> = mounts(service).into_iter().filter(|(.., rw)| *rw).collect();
        assert_eq!(writable.len(), 1, "{name} writes to one place");
        assert!(state(settings).iter().all(|path| path.starts_with(&writable[0].1)), "{name}");
        assert_eq!(after(&texts(&service["command"]), "--config"), CONFIG);

        let limit = bytes(service["deploy"]["resources"]["limits"]["memory"].as_str().unwrap());
        assert!(fits(settings, limit), "{name}: {} connections", settings.limits.connections);
        let stop = settings.limits.shutdown_delay_ms + settings.limits.drain_ms;
        let grace = seconds(service["stop_grace_period"].as_str().unwrap());
        assert!(grace >= stop + 10_000, "{name} is killed after {grace} ms and needs {stop}");
    }
    assert_eq!(settings[0].assertion.issuer, settings[1].assertion.issuer);
}

#[test]
fn addresses_and_ports_are_those_that_the_configuration_says() {
    let file = one(FILE);
    let services = &file["services"];
    let balancer = text("compose/haproxy.cfg");
    let mut servers = Vec::new();
    for (settings, name) in settings().iter().zip(GATEWAYS) {
        let gateway = &services[name];
        servers.push(format!("server {name} {name}:{}", settings.listen.port()));
        assert!(balancer.contains(&format!("check port {} ", settings.operations.port())));
        assert!(balancer.contains("send-proxy-v2") && balancer.contains("GET /readyz"));
        let subnet = file["networks"]["edge"]["ipam"]["config"][0]["subnet"].as_str().unwrap();
        assert!(text("compose/postern.yaml").contains(&format!("proxy_protocol: {{ from: {subnet} }}")));
        assert_eq!(settings.entrance.proxied.len(), 1);
        assert!(meet(gateway, &services["balancer"]));

        let fleet = settings.fleet.as_ref().unwrap();
        assert_eq!((host(&fleet.address), port(&fleet.address)), (name, fleet.listen.port()));
        assert!(meet(&services["gateway-1"], &services["gateway-2"]));
        for listener in [settings.listen, settings.operations, fleet.listen] {
            assert!(listener.ip().is_unspecified(), "{listener} is reached from other containers");
        }

        let postern::config::resolve::StateSettings::Redis(redis) = &settings.state else {
            panic!("in Redis")
        };
        assert_eq!(redis.servers, [("redis".to_owned(), 6379)]);
        assert!(meet(gateway, &services["redis"]) && meet(&services["init"], &services["redis"]));
        let words = texts(&services["redis"]["command"]);
        let memory = bytes(services["redis"]["deploy"]["resources"]["limits"]["memory"].as_str().unwrap());
        keeps_everything(&words, redis.copies, memory);
        let data = after(&words, "--dir");
        assert!(mounts(&services["redis"]).iter().any(|(_, at, writable)| at == data && *writable));

        let words = texts(&services["application"]["command"]);
        assert_eq!(after(&words, "--issuer"), settings.assertion.issuer);
        assert_eq!(settings.upstreams[0].audience, "app");
        let written = text("compose/postern.yaml");
        assert!(
            written.contains(&format!("url: \"http://application:{}\"", port(after(&words, "--listen"))))
        );
        assert!(meet(gateway, &services["application"]));
        assert!(!meet(&services["balancer"], &services["application"]), "nobody passes the gateways by");
    }
    let said = balancer.lines().map(str::trim).filter(|line| line.starts_with("server "));
    assert_eq!(said.collect::<Vec<_>>(), servers);
    // Out of the balancer before the gateway stops to take connections.
    let span = |word: &str| {
        let words: Vec<_> = balancer.split_whitespace().map(str::to_owned).collect();
        after(&words, word).to_owned()
    };
    let out = seconds(&span("inter")) * span("fall").parse::<i64>().unwrap();
    assert!(settings()[0].limits.shutdown_delay_ms >= out + 2000);
    for published in texts(&services["balancer"]["ports"]) {
        assert!(published.starts_with("127.0.0.1:"), "{published}");
        assert!(balancer.contains(&format!("bind :{}\n", port(&published))), "{published}");
    }
}
