//! A shelf for anything: JSON objects below paths, for an application that stands in for another one. What is posted to a path is
//! kept below it, under an id that says what it is of: `/orgs/acme/pipes` makes `pipe-1`. A path below which something is kept
//! lists it, under its own last word.
//!
//! Never here: what any of it means, and who may see it; that is what the gateway is for.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::StatusCode;
use http::request::Parts;
use hyper::body::Incoming;
use serde_json::{Map, Value, json};

use super::answer::{self, Answer, Fault, read_json};
use super::seen::Trace;

/// The most that is kept; it is a demonstration.
const MOST: usize = 1_000;

/// What is kept.
#[derive(Default)]
pub(super) struct Things {
    shelf: Mutex<Shelf>,
}

#[derive(Default)]
struct Shelf {
    /// By its path.
    things: BTreeMap<String, Map<String, Value>>,
    /// How many there ever were.
    made: u64,
}

impl Things {
    /// Answers a request that makes, shows, changes or removes something; `None`: it is about nothing that is kept here.
    pub(super) async fn answer(
        &self,
        head: &Parts,
        body: Incoming,
        trace: &Trace,
    ) -> Result<Option<Answer>, Fault> {
        let path = head.uri.path();
        let json =
            head.headers.get(http::header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
        match head.method.as_str() {
            "POST" if json => Ok(Some(self.make(path, read_json(body, trace).await?)?)),
            "PUT" if json && self.has(path) => Ok(self.change(path, read_json(body, trace).await?)),
            "GET" | "HEAD" => Ok(self.show(path)),
            "DELETE" => Ok(self.locked().things.remove(path).map(|_| answer::no_content())),
            _ => Ok(None),
        }
    }

    fn make(&self, path: &str, mut thing: Map<String, Value>) -> Result<Answer, Fault> {
        let mut shelf = self.locked();
        let Shelf { things, made } = &mut *shelf;
        if things.len() >= MOST {
            let message = format!("nothing is kept beyond {MOST} things; start it again");
            return Err(Fault::new(StatusCode::INSUFFICIENT_STORAGE, "full", message));
        }
        *made = made.saturating_add(1);
        let word = last(path);
        let id = format!("{}-{made}", word.strip_suffix('s').unwrap_or(word));
        thing.insert("id".to_owned(), json!(id));
        let place = format!("{path}/{id}");
        let answer = answer::created(&place, &thing);
        things.insert(place, thing);
        Ok(answer)
    }

    fn show(&self, path: &str) -> Option<Answer> {
        let shelf = self.locked();
        if let Some(thing) = shelf.things.get(path) {
            return Some(answer::json(StatusCode::OK, thing));
        }
        let below = format!("{path}/");
        let list: Vec<_> = shelf
            .things
            .iter()
            .filter(|(place, _)| place.strip_prefix(&below).is_some_and(|rest| !rest.contains('/')))
            .map(|(_, thing)| thing)
            .collect();
        (!list.is_empty()).then(|| answer::json(StatusCode::OK, &json!({ last(path): list })))
    }

    fn change(&self, path: &str, said: Map<String, Value>) -> Option<Answer> {
        let mut shelf = self.locked();
        let thing = shelf.things.get_mut(path)?;
        thing.extend(said.into_iter().filter(|(name, _)| name != "id"));
        Some(answer::json(StatusCode::OK, thing))
    }

    fn has(&self, path: &str) -> bool {
        self.locked().things.contains_key(path)
    }

    fn locked(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}
