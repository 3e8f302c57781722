//! PFC and PFP: company roles and pipe roles. The lines of `docs/requirements.md` that begin so, one test each, on
//! `config/presets/pipefy.yaml`.

use std::ops::Deref;

use serde_json::{Value, json};

use crate::{
    client::Reply,
    stage::{Answer, Stage, person_id},
    upstream::Seen,
    world::*,
};

#[path = "pipefy/cards.rs"]
mod cards;
#[path = "pipefy/company.rs"]
mod company;
#[path = "pipefy/creating.rs"]
mod creating;
#[path = "pipefy/databases.rs"]
mod databases;
#[path = "pipefy/grid.rs"]
mod grid;
#[path = "pipefy/guests.rs"]
mod guests;
#[path = "pipefy/joining.rs"]
mod joining;
#[path = "pipefy/plans.rs"]
mod plans;
#[path = "pipefy/ways.rs"]
mod ways;

const PRESET: &str = include_str!("../../config/presets/pipefy.yaml");

/// The company acme, on the plan `business`, with a person in each role of a company, two private pipes, two databases.
struct Acme(Stage);

impl Deref for Acme {
    type Target = Stage;
    fn deref(&self) -> &Stage {
        &self.0
    }
}

const PEOPLE: [(&str, &str); 7] = [
    ("sue", "super_admin"),
    ("adam", "admin"),
    ("mia", "member"),
    ("max", "member"),
    ("moe", "member"),
    ("gus", "company_guest"),
    ("xena", "external_guest"),
];

/// Who is what in the pipe p1, beside that they are members of the company.
const IN_P1: [(&str, &str); 5] = [
    ("rhea", "read_only"),
    ("vic", "restricted_view"),
    ("fay", "start_form_only"),
    ("mo", "pipe_member"),
    ("ada", "pipe_admin"),
];

fn acme() -> Acme {
    acme_with(NOON, &[])
}

/// The same at another time, and with more of the preset changed.
fn acme_with(now: i64, edits: &[(&'static str, &'static str)]) -> Acme {
    let acme = Acme(Stage::set(PRESET, now, edits));
    acme.company("acme", Some("business")).is(201);
    for (sub, role) in PEOPLE {
        acme.row(sub, &[role]).is(200);
    }
    for resource in ["pipe/p1", "pipe/p2", "database/d1", "database/d2"] {
        acme.push(resource, json!({})).is(200);
    }
    acme
}

/// The same with somebody in each role of the pipe p1.
fn staffed() -> Acme {
    let acme = acme();
    for (sub, role) in IN_P1 {
        acme.row(sub, &["member"]).is(200);
        acme.put("pipe/p1", sub, role).is(200);
    }
    acme
}

impl Acme {
    /// A company and its plan, as the program that provisions them says it.
    #[track_caller]
    fn company(&self, name: &str, plan: Option<&str>) -> Answer {
        let mut body = json!({"environments": ["production", "sandbox"], "zone": "America/Sao_Paulo"});
        if let Some(plan) = plan {
            body["plan"] = json!(plan);
        }
        self.api("PUT", &format!("/v1/tenants/{name}"), &self.provisioner(), body)
    }

    /// What somebody is in acme.
    #[track_caller]
    fn row(&self, sub: &str, roles: &[&str]) -> Answer {
        self.row_in("acme", sub, json!({"roles": roles}))
    }

    #[track_caller]
    fn row_in(&self, company: &str, sub: &str, body: Value) -> Answer {
        let path = format!("/v1/tenants/{company}/members/{}", person_id("app", sub));
        let method = if body.is_null() { "DELETE" } else { "PUT" };
        self.api(method, &path, &self.provisioner(), body)
    }

    /// A person of acme: what they may do stands in rows.
    fn who(&self, sub: &str) -> String {
        self.member(sub, "acme", &[])
    }

    /// What there is, as the application says it.
    #[track_caller]
    fn push(&self, resource: &str, body: Value) -> Answer {
        self.api("PUT", &at(resource), &self.provisioner(), body)
    }

    /// A card of a pipe: who made it, to whom it is assigned.
    #[track_caller]
    fn card(&self, id: &str, pipe: &str, creator: Option<&str>, assignees: &[&str]) {
        let mut body =
            json!({"parent": pipe, "assignees": assignees.iter().map(|sub| app(sub)).collect::<Vec<_>>()});
        if let Some(creator) = creator {
            body["creator"] = app(creator);
        }
        self.push(&format!("card/{id}"), body).is(200);
    }

    /// The application makes somebody a member of a resource.
    #[track_caller]
    fn put(&self, resource: &str, sub: &str, role: &str) -> Answer {
        self.put_by(&self.provisioner(), resource, sub, role)
    }

    /// Somebody makes somebody a member of a resource, or themselves.
    #[track_caller]
    fn put_by(&self, token: &str, resource: &str, sub: &str, role: &str) -> Answer {
        self.api("PUT", &member_of(resource, sub), token, json!({"role": role}))
    }

    #[track_caller]
    fn take_out(&self, token: &str, resource: &str, sub: &str) -> Answer {
        self.delete(&member_of(resource, sub), token)
    }

    /// What a role holds in acme from now on, by somebody of it.
    #[track_caller]
    fn adjust(&self, by: &str, role: &str, permissions: &[&str]) -> Answer {
        self.api(
            "PUT",
            &format!("/v1/tenants/acme/roles/{role}"),
            &self.who(by),
            json!({"permissions": permissions}),
        )
    }

    /// Whether a request of somebody's, with a path below the company's, reaches the application; where not, why.
    #[track_caller]
    fn asks(&self, sub: &str, method: &str, below: &str) -> Result<Seen, String> {
        self.reaches(method, &format!("/orgs/acme/{below}"), &self.who(sub))
    }

    #[track_caller]
    fn can(&self, sub: &str, method: &str, below: &str) {
        if let Err(code) = self.asks(sub, method, below) {
            panic!("{sub} is refused {method} {below}: {code}");
        }
    }

    #[track_caller]
    fn cannot(&self, sub: &str, method: &str, below: &str) {
        match self.asks(sub, method, below) {
            Ok(_) => panic!("{sub} passes {method} {below}"),
            Err(code) => assert_eq!(code, "permission_missing", "{sub} {method} {below}"),
        }
    }

    /// The answer to a request of somebody's, as it came.
    fn answer(&self, sub: &str, method: &str, below: &str) -> Reply {
        self.ask(method, &format!("/orgs/acme/{below}"), &self.who(sub))
    }

    /// What the application answers to such a request from now on.
    fn says(&self, request: &str, body: &str) {
        let (method, below) = request.split_once(' ').unwrap();
        self.world.upstream.answers(
            &format!("{method} /orgs/acme/{below}"),
            "200 OK\r\nContent-Type: application/json",
            body,
        );
    }

    /// How many paid seats the company has.
    #[track_caller]
    fn seats(&self) -> u64 {
        let answer = self.get("/v1/tenants/acme", &self.who("sue")).is(200);
        answer.body["seats"].as_u64().unwrap_or_else(|| panic!("{:#}", answer.body))
    }

    /// The resources of a type that show themselves to somebody, page by page.
    #[track_caller]
    fn shown(&self, sub: &str, kind: &str) -> Vec<String> {
        let (mut all, mut next) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("{}?limit=2{next}", at(kind)), &self.who(sub)).is(200).body;
            let ids = page["items"].as_array().unwrap().iter();
            all.extend(ids.map(|item| item["id"].as_str().unwrap().to_owned()));
            match page["next"].as_str() {
                Some(after) => next = format!("&after={after}"),
                None => return all,
            }
        }
    }

    /// Who is in a resource and as what, as somebody is told it.
    #[track_caller]
    fn members(&self, token: &str, resource: &str) -> Vec<(String, String)> {
        let answer = self.get(&format!("{}/members", at(resource)), token).is(200);
        let items = answer.body["items"].as_array().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        items.iter().map(|item| (text(&item["person"]["sub"]), text(&item["role"]))).collect()
    }
}

/// A resource of acme in the API.
fn at(resource: &str) -> String {
    format!("/v1/tenants/acme/resources/{resource}")
}

fn member_of(resource: &str, sub: &str) -> String {
    format!("{}/members/{}", at(resource), person_id("app", sub))
}

/// One of the companies' people.
fn app(sub: &str) -> Value {
    json!({"issuer": "app", "sub": sub})
}

/// What a list of cards looks like when the application answers with these.
fn cards_of(ids: &[&str]) -> String {
    let items: Vec<String> = ids.iter().map(|id| format!(r#"{{"id":"{id}","title":"of {id}"}}"#)).collect();
    format!(r#"{{"cards":[{}]}}"#, items.join(","))
}
