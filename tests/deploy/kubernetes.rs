//! deploy/kubernetes: what it carries fits together. No cluster is asked; what a cluster would refuse is looked at by hand here.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use postern::config::{Settings, resolve::StateSettings};
use serde_json::{Value, json};

use super::{
    after, bytes,
    carried::{CONFIG, Inside, Keys, fits, host, keeps_everything, port, state},
    one, text, texts, yaml,
};

const DOMAIN: &str = "postern-fleet.postern.svc.cluster.local";
const FILES: [&str; 9] = [
    "namespace.yaml",
    "network-policy.yaml",
    "config.yaml",
    "redis.yaml",
    "application.yaml",
    "gateway.yaml",
    "init.yaml",
    "by-hand.yaml",
    "secrets.yaml",
];

fn all() -> Vec<Value> {
    FILES.iter().flat_map(|file| yaml(&format!("kubernetes/{file}"))).collect()
}

fn find(kind: &str, name: &str) -> Value {
    let found = all().into_iter().filter(|one| one["kind"] == kind && one["metadata"]["name"] == name);
    let found: Vec<_> = found.collect();
    assert_eq!(found.len(), 1, "{kind} {name}");
    found.into_iter().next().unwrap()
}

/// The pods that are asked for: what asks, and how they are.
fn pods() -> Vec<(Value, Value)> {
    let pods = all().into_iter().filter(|one| !one["spec"]["template"].is_null());
    pods.map(|one| (one.clone(), one["spec"]["template"].clone())).collect()
}

fn containers(pod: &Value) -> &Vec<Value> {
    assert!(pod["spec"]["initContainers"].is_null());
    pod["spec"]["containers"].as_array().unwrap()
}

fn selects(selector: &Value, labels: &Value) -> bool {
    selector.as_object().unwrap().iter().all(|(name, value)| labels[name] == *value)
}

#[test]
fn each_object_is_of_the_version_that_clusters_have_and_in_its_namespace() {
    let versions = BTreeMap::from([
        ("Namespace", "v1"),
        ("ConfigMap", "v1"),
        ("Secret", "v1"),
        ("Service", "v1"),
        ("ServiceAccount", "v1"),
        ("StatefulSet", "apps/v1"),
        ("Deployment", "apps/v1"),
        ("Job", "batch/v1"),
        ("PodDisruptionBudget", "policy/v1"),
        ("NetworkPolicy", "networking.k8s.io/v1"),
    ]);
    let mut seen = BTreeSet::new();
    for object in all() {
        let kind = object["kind"].as_str().unwrap();
        assert_eq!(object["apiVersion"], versions[kind], "{kind}");
        let name = object["metadata"]["name"].as_str().unwrap();
        assert!(seen.insert((kind.to_owned(), name.to_owned())), "{kind} {name} twice");
        if kind != "Namespace" {
            assert_eq!(object["metadata"]["namespace"], "postern", "{kind} {name}");
        }
    }
    // What is applied is everything but secrets, which are no real ones, the beginning, which is said once, and what is done by hand.
    let listed = texts(&one("kubernetes/kustomization.yaml")["resources"]);
    let listed: BTreeSet<_> = listed.iter().map(String::as_str).collect();
    let apart = BTreeSet::from(["init.yaml", "by-hand.yaml", "secrets.yaml"]);
    assert_eq!(listed, FILES.into_iter().filter(|file| !apart.contains(file)).collect());
}

#[test]
fn no_pod_is_root_writes_to_its_own_files_or_takes_all_there_is() {
    let pods = pods();
    assert_eq!(pods.len(), 5);
    for (object, pod) in &pods {
        let name = &object["metadata"]["name"];
        let spec = &pod["spec"];
        assert_eq!(spec["automountServiceAccountToken"], false, "{name}");
        let context = &spec["securityContext"];
        assert_eq!(context["runAsNonRoot"], true, "{name}");
        assert!(
            context["runAsUser"].as_u64().unwrap() > 0 && context["runAsGroup"].as_u64().unwrap() > 0,
            "{name}"
        );
        assert_eq!(context["seccompProfile"], json!({ "type": "RuntimeDefault" }), "{name}");
        for container in containers(pod) {
            let wanted = json!({
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": { "drop": ["ALL"] },
            });
            assert_eq!(container["securityContext"], wanted, "{name}");
            let resources = &container["resources"];
            for kind in ["requests", "limits"] {
                let all = &resources[kind];
                assert!(all["cpu"].is_string() && bytes(all["memory"].as_str().unwrap()) > 0, "{name}");
            }
            let memory = |kind: &str| bytes(resources[kind]["memory"].as_str().unwrap());
            assert!(memory("requests") <= memory("limits"), "{name}");
            let image = container["image"].as_str().unwrap();
            assert!(image.contains(':') && !image.ends_with(":latest"), "{name}: {image}");
        }
    }
    assert_eq!(
        find("Namespace", "postern")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"],
        "restricted"
    );
}

#[test]
fn selectors_find_pods_and_volumes_are_there() {
    let pods = pods();
    let somebody =
        |selector: &Value| pods.iter().any(|(_, pod)| selects(selector, &pod["metadata"]["labels"]));
    for object in all() {
        let name = &object["metadata"]["name"];
        let spec = &object["spec"];
        for selector in [&spec["selector"]["matchLabels"], &spec["podSelector"]["matchLabels"]] {
            assert!(selector.is_null() || somebody(selector), "{name}");
        }
        if object["kind"] == "Service" {
            let chosen =
                pods.iter().filter(|(_, pod)| selects(&spec["selector"], &pod["metadata"]["labels"]));
            for (_, pod) in chosen.inspect(|(one, _)| assert_ne!(one["kind"], "Job")) {
                for port in spec["ports"].as_array().unwrap() {
                    let named = |have: &Value| have["name"] == port["targetPort"];
                    let have =
                        containers(pod)[0]["ports"].as_array().unwrap().iter().find(|have| named(have));
                    assert!(have.is_some(), "{name}: {port}");
                }
            }
        }
    }
    for (object, pod) in &pods {
        let name = &object["metadata"]["name"];
        if object["kind"] != "Job" {
            let selector = &object["spec"]["selector"]["matchLabels"];
            assert!(selects(selector, &pod["metadata"]["labels"]), "{name}");
        }
        if object["kind"] == "StatefulSet" {
            let service = find("Service", object["spec"]["serviceName"].as_str().unwrap());
            assert_eq!(service["spec"]["clusterIP"], "None", "{name}");
        }
        let none = Vec::new();
        let list = |value: &Value| value.as_array().unwrap_or(&none).clone();
        let declared = list(&pod["spec"]["volumes"]).into_iter().map(|volume| volume["name"].clone());
        let claimed = list(&object["spec"]["volumeClaimTemplates"])
            .into_iter()
            .map(|claim| claim["metadata"]["name"].clone());
        let declared: Vec<_> = declared.chain(claimed).collect();
        let mounted: Vec<_> = containers(pod)
            .iter()
            .flat_map(|container| list(&container["volumeMounts"]))
            .map(|mount| mount["name"].clone())
            .collect();
        let set = |list: &[Value]| list.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        assert_eq!((set(&declared), declared.len()), (set(&mounted), mounted.len()), "{name}");
    }
}

/// The files and variables of a container of gateways.
pub fn inside(pod: &Value, name: &str, keys: &Keys, config: &std::path::Path) -> Inside {
    let container = &containers(pod)[0];
    let volume = |name: &Value| {
        let all = pod["spec"]["volumes"].as_array().unwrap();
        all.iter().find(|volume| volume["name"] == *name).cloned()
    };
    let mut files = BTreeMap::new();
    for mount in container["volumeMounts"].as_array().unwrap() {
        let at = PathBuf::from(mount["mountPath"].as_str().unwrap());
        let Some(sources) =
            volume(&mount["name"]).and_then(|volume| volume["projected"]["sources"].as_array().cloned())
        else {
            continue;
        };
        for source in sources {
            if let Some(map) = source["configMap"]["name"].as_str() {
                let data = &find("ConfigMap", map)["data"];
                for (file, text) in data.as_object().unwrap() {
                    std::fs::write(config.join(file), text.as_str().unwrap()).unwrap();
                    files.insert(at.join(file), config.join(file));
                }
            }
            if let Some(secret) = source["secret"]["name"].as_str() {
                // Nothing but what the template of the secret names.
                for file in find("Secret", secret)["stringData"].as_object().unwrap().keys() {
                    files.insert(at.join(file), keys.path("gateways").join(file));
                }
            }
        }
    }
    let variables = container["env"].as_array().unwrap().iter().map(|variable| {
        let value = variable["value"].as_str().map_or_else(
            || {
                assert_eq!(variable["valueFrom"]["fieldRef"]["fieldPath"], "metadata.name");
                name.to_owned()
            },
            str::to_owned,
        );
        (variable["name"].as_str().unwrap().to_owned(), value)
    });
    Inside { files, variables: variables.collect() }
}

/// Each gateway's settings.
fn settings() -> Vec<Settings> {
    let set = find("StatefulSet", "postern");
    let count = set["spec"]["replicas"].as_u64().unwrap();
    let names: Vec<_> = (0..count).map(|number| format!("postern-{number}")).collect();
    let named: Vec<_> = names.iter().map(String::as_str).collect();
    let keys = Keys::make(&["--domain", DOMAIN], &named);
    let dir = tempfile::tempdir().unwrap();
    let job = find("Job", "postern-init")["spec"]["template"].clone();
    let beginning = inside(&job, "postern-init-abcde", &keys, dir.path()).check();
    let job = find("Job", "by-hand")["spec"]["template"].clone();
    assert_eq!(inside(&job, "by-hand-abcde", &keys, dir.path()).check().gateway, beginning.gateway);
    let pod = &set["spec"]["template"];
    let all: Vec<_> = names.iter().map(|name| inside(pod, name, &keys, dir.path()).check()).collect();
    assert_eq!(beginning.gateway, all[0].gateway);
    all
}

#[test]
fn each_gateway_is_fine_and_keeps_what_is_its_own_on_its_own_volume() {
    let set = find("StatefulSet", "postern");
    let pod = &set["spec"]["template"];
    let container = &containers(pod)[0];
    let all = settings();
    assert!(all.len() >= 2);
    for (settings, number) in all.iter().zip(0..) {
        let name = format!("postern-{number}");
        assert_eq!(settings.gateway, name);
        assert!(settings.ledger.origin.ends_with(&name));
        let fleet = settings.fleet.as_ref().unwrap();
        assert_eq!(host(&fleet.address), format!("{name}.{DOMAIN}"));
        assert_eq!(port(&fleet.address), fleet.listen.port());
        let claim = &set["spec"]["volumeClaimTemplates"][0]["metadata"]["name"];
        let mounts = container["volumeMounts"].as_array().unwrap();
        let place = mounts.iter().find(|mount| mount["name"] == *claim).unwrap();
        assert_ne!(place["readOnly"], true);
        let at = place["mountPath"].as_str().unwrap();
        assert!(state(settings).iter().all(|path| path.starts_with(at)));
        assert!(
            mounts.iter().filter(|mount| mount["readOnly"] != true).count() == 1,
            "it writes to one place"
        );
        assert!(fits(settings, bytes(container["resources"]["limits"]["memory"].as_str().unwrap())));
        let stop = settings.limits.shutdown_delay_ms + settings.limits.drain_ms;
        let grace = pod["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap() * 1000;
        assert!(grace >= stop + 10_000, "killed after {grace} ms, and needs {stop}");
        let probe = &container["readinessProbe"];
        let out =
            probe["periodSeconds"].as_i64().unwrap() * probe["failureThreshold"].as_i64().unwrap() * 1000;
        assert!(settings.limits.shutdown_delay_ms >= out + 2000, "out after {out} ms");
    }
    let args = texts(&container["args"]);
    assert_eq!((args[0].as_str(), after(&args, "--config")), ("run", CONFIG));
    let args = texts(&containers(&find("Job", "postern-init")["spec"]["template"])[0]["args"]);
    assert_eq!(
        (&args[..3], after(&args, "--config")),
        (&["state", "init", "--if-none"].map(str::to_owned)[..], CONFIG)
    );
    // What is done by hand is done as the first gateway, with its files, once.
    let job = find("Job", "by-hand");
    let pod = &job["spec"]["template"];
    assert_eq!(job["spec"]["backoffLimit"], 0);
    let claims = pod["spec"]["volumes"].as_array().unwrap();
    let claims: Vec<_> =
        claims.iter().filter_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str()).collect();
    let claim = set["spec"]["volumeClaimTemplates"][0]["metadata"]["name"].as_str().unwrap();
    assert_eq!(claims, [format!("{claim}-{}", all[0].gateway)]);
    let begins = find("Job", "postern-init")["spec"]["template"].clone();
    assert_eq!(pod["metadata"]["labels"], begins["metadata"]["labels"], "the same way to Redis");
    assert_eq!(containers(pod)[0]["volumeMounts"], containers(&begins)[0]["volumeMounts"]);
    for kept in ["whenDeleted", "whenScaled"] {
        assert_eq!(set["spec"]["persistentVolumeClaimRetentionPolicy"][kept], "Retain");
    }
    let budget = find("PodDisruptionBudget", "postern");
    assert_eq!(budget["spec"]["maxUnavailable"], 1);
    assert_eq!(budget["spec"]["selector"], set["spec"]["selector"]);
}

/// Whether a policy lets these pods be reached, and by whom.
fn ingress(name: &str) -> BTreeMap<u64, Value> {
    let policy = find("NetworkPolicy", name);
    let rules = policy["spec"]["ingress"].as_array().unwrap().clone();
    let port = |rule: &Value| {
        assert_eq!(rule["ports"].as_array().unwrap().len(), 1);
        rule["ports"][0]["port"].as_u64().unwrap()
    };
    rules.iter().map(|rule| (port(rule), rule["from"].clone())).collect()
}

fn egress(name: &str) -> BTreeSet<u64> {
    let policy = find("NetworkPolicy", name);
    let rules = policy["spec"]["egress"].as_array().unwrap().clone();
    let ports = rules.iter().flat_map(|rule| rule["ports"].as_array().unwrap().clone());
    ports.map(|port| port["port"].as_u64().unwrap()).collect()
}

#[test]
fn ports_of_probes_services_and_policies_are_those_that_the_configuration_says() {
    let settings = settings().remove(0);
    let set = find("StatefulSet", "postern");
    let pod = &set["spec"]["template"];
    let container = &containers(pod)[0];
    let named = |name: &str| {
        let all = container["ports"].as_array().unwrap();
        let port = all.iter().find(|port| port["name"] == name).unwrap_or_else(|| panic!("no port {name}"));
        u16::try_from(port["containerPort"].as_u64().unwrap()).unwrap()
    };
    let fleet = settings.fleet.as_ref().unwrap();
    assert_eq!(named("proxy"), settings.listen.port());
    assert_eq!(named("operations"), settings.operations.port());
    assert_eq!(named("fleet"), fleet.listen.port());
    for listener in [settings.listen, settings.operations, fleet.listen] {
        assert!(listener.ip().is_unspecified(), "{listener} is reached from other pods");
    }
    for (probe, path) in
        [("startupProbe", "/livez"), ("readinessProbe", "/readyz"), ("livenessProbe", "/livez")]
    {
        assert_eq!(container[probe]["httpGet"], json!({ "path": path, "port": "operations" }), "{probe}");
    }
    let service = find("Service", "postern-fleet");
    assert_eq!(service["spec"]["ports"][0]["port"], fleet.listen.port());
    assert_eq!(service["spec"]["publishNotReadyAddresses"], true);
    assert_eq!(find("Service", "postern")["spec"]["ports"][0]["targetPort"], "proxy");

    let gateways = json!([{ "podSelector": { "matchLabels": pod["metadata"]["labels"] } }]);
    let reached = ingress("gateways");
    let ports = [settings.listen, settings.operations, fleet.listen].map(|address| u64::from(address.port()));
    assert_eq!(reached.keys().copied().collect::<BTreeSet<_>>(), BTreeSet::from(ports));
    assert_eq!(reached[&ports[2]], gateways, "gateways alone reach each other's fleet listener");
    for other in [ports[0], ports[1]] {
        assert!(reached[&other][0]["namespaceSelector"]["matchLabels"].is_object(), "not everybody");
    }
    let StateSettings::Redis(redis) = &settings.state else { panic!("in Redis") };
    assert_eq!(redis.servers, [("redis".to_owned(), 6379)]);
    let server = &find("StatefulSet", "redis")["spec"]["template"];
    assert_eq!(containers(server)[0]["ports"][0]["containerPort"], 6379);
    assert_eq!(find("Service", "redis")["spec"]["ports"][0]["port"], 6379);
    assert_eq!(ingress("redis").keys().copied().collect::<Vec<_>>(), [6379]);
    let words = texts(&containers(server)[0]["args"]);
    keeps_everything(
        &words,
        redis.copies,
        bytes(containers(server)[0]["resources"]["limits"]["memory"].as_str().unwrap()),
    );
    let data = containers(server)[0]["volumeMounts"].as_array().unwrap();
    assert!(
        data.iter().any(|mount| mount["mountPath"] == after(&words, "--dir") && mount["readOnly"] != true)
    );

    let words = texts(&containers(&find("Deployment", "application")["spec"]["template"])[0]["args"]);
    let application = u64::from(port(after(&words, "--listen")));
    assert_eq!(after(&words, "--issuer"), settings.assertion.issuer);
    assert_eq!(ingress("application"), BTreeMap::from([(application, gateways)]));
    assert_eq!(find("Service", "application")["spec"]["ports"][0]["port"], application);
    assert!(text("kubernetes/config.yaml").contains(&format!("url: \"http://application:{application}\"")));
    assert_eq!(egress("gateways"), BTreeSet::from([53, 6379, application, u64::from(fleet.listen.port())]));
    assert_eq!(egress("init"), BTreeSet::from([53, 6379]));
    let nobody = find("NetworkPolicy", "nobody");
    assert_eq!(nobody["spec"], json!({ "podSelector": {}, "policyTypes": ["Ingress", "Egress"] }));
}
