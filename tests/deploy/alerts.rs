//! deploy/prometheus/alerts.yaml: each alarm asks for what a gateway says, and the guide says what to do about it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{one, text};

const FILE: &str = "prometheus/alerts.yaml";

fn rules() -> Vec<Value> {
    let groups = one(FILE)["groups"].as_array().unwrap().clone();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

/// The names of metrics in an expression, with the labels that are asked for.
fn asked(expression: &str) -> BTreeSet<(String, Vec<String>)> {
    let mut rest = expression;
    let mut found = BTreeSet::new();
    while let Some(at) = rest.find("postern_") {
        let from = &rest[at..];
        let end = from.find(|c: char| !(c.is_ascii_lowercase() || c == '_')).unwrap_or(from.len());
        let labels = from[end..]
            .strip_prefix('{')
            .and_then(|labels| labels.split_once('}'))
            .map_or("", |(all, _)| all);
        let named = labels.split(',').filter_map(|label| label.split(['=', '!']).next());
        let named = named.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        found.insert((from[..end].to_owned(), named.collect()));
        rest = &from[end..];
    }
    found
}

/// Of a gateway of a fleet that has everything which is measured.
pub fn ask_for_what_there_is(metrics: &str) {
    for rule in rules() {
        let expression = rule["expr"].as_str().unwrap();
        let names = asked(expression);
        assert!(!names.is_empty() || expression.contains("up{"), "{expression}");
        for (name, labels) in names {
            let of = |line: &&str| line.strip_prefix(&name).is_some_and(|rest| rest.starts_with(['{', ' ']));
            let samples: Vec<_> = metrics.lines().filter(of).collect();
            assert!(!samples.is_empty(), "`{name}` of {} is no metric", rule["alert"]);
            for label in labels {
                assert!(
                    samples.iter().all(|sample| sample.contains(&format!("{label}=\""))),
                    "{name}{{{label}}}"
                );
            }
        }
    }
}

#[test]
fn each_alarm_says_what_it_is_and_where_the_guide_says_what_to_do() {
    let guide = std::fs::read_to_string(super::deploy("../docs/operations.md")).unwrap();
    let fleet = std::fs::read_to_string(super::deploy("../docs/fleet.md")).unwrap_or_default();
    let mut names = BTreeSet::new();
    for rule in rules() {
        let name = rule["alert"].as_str().unwrap().to_owned();
        assert!(["page", "ticket"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{name}");
        let says = rule["annotations"]["summary"].as_str().unwrap();
        assert!(!says.is_empty() && !says.ends_with('.'), "{name}");
        assert!(
            guide.contains(&format!("`{name}`")) || fleet.contains(&format!("`{name}`")),
            "the guide has no `{name}`"
        );
        assert!(names.insert(name));
    }
    assert!(text(FILE).lines().all(|line| line.len() <= 160));
}
