//! How the answers of a line are narrowed.
//!
//! Never here: whether somebody needs it; that is for the proofs.

use http::Method;

use super::{keys, query};
use crate::{
    config::{
        fault::Code,
        resolve::{
            context::{Context, short},
            resources::Types,
            rights::Names,
            settings::Piece,
        },
        written::{At, Field, Filter, Narrow, OneOrMany, Place, Route},
    },
    model::ResourceType,
    policy::{
        self, Effect, Rule,
        narrow::{Beside, How, ListShape, ListShapeFault, Pointer},
        resources::{MOST_WITHIN, Within},
    },
};

/// What a line says of it.
pub(super) enum Told {
    /// It is closed to whoever may see some only.
    Refused(Place),
    /// What its items are, and where.
    Read(Items),
    /// How the application is asked.
    Asked(Asked),
}

impl Told {
    fn place(&self) -> Place {
        match self {
            Told::Refused(place) | Told::Read(Items { place, .. }) | Told::Asked(Asked { place, .. }) => {
                *place
            }
        }
    }
}

/// How the application of a line is asked.
pub(super) struct Asked {
    parameters: Vec<(String, Vec<Piece>)>,
    kind: Option<(ResourceType, Place)>,
    place: Place,
}

/// What the items of an answer are, and where they are.
pub(super) struct Items {
    kind: ResourceType,
    shape: ListShape,
    place: Place,
}

/// Reads it. `None` where it is broken, or not there.
pub(super) fn told(context: Context<'_>, route: &Route, names: &Names, types: &Types) -> Option<Told> {
    let at = route.narrow.given()?;
    let narrowing = match &at.value {
        Narrow::Refuse => return Some(Told::Refused(at.place)),
        Narrow::As(narrowing) => narrowing,
    };
    if let Some(table) = narrowing.query.given() {
        if let Some(filter) = narrowing.filter.given() {
            let hint = "keep one of the two: `filter` where the gateway reads the answer, `query` where the application narrows it";
            context.put(
                Code::OneOf,
                filter.place,
                "both `filter` and `query` say how this is narrowed",
                hint,
            );
            return None;
        }
        let kind =
            narrowing.kind.given().map(|at| (keys::resource_type(context, at, names, types), at.place));
        let parameters = query::parameters(context, table)?;
        let kind = match kind {
            Some((kind, place)) => Some((kind?, place)),
            None if narrowing.kind.is_broken() => return None,
            None => None,
        };
        return Some(Told::Asked(Asked { parameters, kind, place: at.place }));
    }
    if narrowing.query.is_broken() {
        return None;
    }
    if let Some(kind) = narrowing.kind.given() {
        let hint = "write it into `filter`: `filter: { type: cards, … }`";
        context.put(Code::OneOf, kind.place, "`type` stands beside `query` only", hint);
    }
    let hint = "say what the items are and where: `filter: { type: cards, list: /cards, id: /id }`; or how the application is asked for the \
                caller's part: `query: { visible_to: \"{subject}\" }`";
    let filter = context.need(&narrowing.filter, at.place, "filter", hint)?;
    let kind =
        context.need(&filter.value.kind, filter.place, "type", "name the type of the items: `type: cards`");
    let kind = kind.and_then(|kind| keys::resource_type(context, kind, names, types));
    let hint = "say where the list is: `list: /cards`, or `list: \"\"` where the answer itself is one";
    let list = context.need(&filter.value.list, filter.place, "list", hint);
    let hint = "say where in an item its id is: `id: /id`";
    let id = context.need(&filter.value.id, filter.place, "id", hint);
    let (list, id) = (list.and_then(|at| pointer(context, at)), id.and_then(|at| pointer(context, at)));
    let (beside, place) = beside(context, filter)?;
    let shape = match ListShape::new(&list?, id?, &beside) {
        Ok(shape) => shape,
        Err(fault) => {
            let hint = match fault {
                ListShapeFault::Overlap => "name each place once, beside the list and not around it",
                ListShapeFault::NoEnvelope => "remove the key",
                ListShapeFault::TooMany => "name the object that they stand in",
            };
            context.put(Code::BadValue, place, fault.to_string(), hint);
            return None;
        }
    };
    Some(Told::Read(Items { kind: kind?, shape, place: at.place }))
}

pub(super) fn pointer(context: Context<'_>, at: &At<String>) -> Option<Pointer> {
    match Pointer::parse(&at.value) {
        Ok(pointer) => Some(pointer),
        Err(fault) => {
            let message = format!("`{}` is no JSON pointer", short(&at.value));
            context.put(Code::BadValue, at.place, message, fault.to_string());
            None
        }
    }
}

/// What passes beside the list, and where that is said.
fn beside(context: Context<'_>, filter: &At<Filter>) -> Option<(Beside, Place)> {
    let pointers = |at: &At<OneOrMany<String>>| -> Option<Vec<Pointer>> {
        let all: Vec<_> = at.value.0.items.iter().map(|one| pointer(context, one)).collect();
        all.into_iter().collect::<Option<Vec<Pointer>>>().filter(|_| !at.value.0.broken)
    };
    match (&filter.value.keep, &filter.value.drop) {
        (Field::Given(_), Field::Given(drop)) => {
            let hint = "keep one of the two: `keep` for what may pass, or `drop` for what may not";
            context.put(
                Code::OneOf,
                drop.place,
                "both `keep` and `drop` say what passes beside the list",
                hint,
            );
            None
        }
        (Field::Broken, _) | (_, Field::Broken) => None,
        (Field::Given(keep), Field::Absent) => Some((Beside::Keep(pointers(keep)?), keep.place)),
        (Field::Absent, Field::Given(drop)) => Some((Beside::Drop(pointers(drop)?), drop.place)),
        (Field::Absent, Field::Absent) => Some((Beside::default(), filter.place)),
    }
}

/// Adds it to the rule of its line, and what the application is asked. Only what is read can be narrowed: what is done to many is
/// done to those that are hidden too.
pub(super) fn narrowed(
    context: Context<'_>,
    mut rule: Rule,
    methods: &[Method],
    upgrade: bool,
    told: Option<Told>,
    types: &Types,
) -> (Rule, Vec<(String, Vec<Piece>)>) {
    let Some(told) = told else { return (rule, Vec::new()) };
    let place = told.place();
    if rule.public {
        let hint = "ask for a permission, or remove `narrow`";
        context.put(
            Code::OneOf,
            place,
            "a public route hears of nobody, so there is nobody to narrow it for",
            hint,
        );
    }
    if matches!(told, Told::Refused(_)) {
        rule.whole_only = true;
        return (rule, Vec::new());
    }
    if upgrade {
        let hint = "give WebSockets a route of their own";
        context.put(
            Code::OneOf,
            place,
            "what passes in a WebSocket is not looked at, so it cannot be narrowed",
            hint,
        );
    }
    if let Some(method) = methods.iter().find(|method| rule.effect(method, false) == Effect::Write) {
        let hint =
            "give what is read a route of its own; where a search is sent by `POST`, declare `effect: read`";
        let message = format!("`{method}` writes here, and only what is read can be narrowed");
        context.put(Code::BadValue, place, message, hint);
    } else if let (Told::Asked(_), Some(method)) =
        (&told, methods.iter().find(|method| !asks_by_query(method)))
    {
        let hint = "use `filter`, or give `GET` a route of its own";
        let message =
            format!("what a `{method}` asks for stands in its body, which the gateway does not write");
        context.put(Code::BadValue, place, message, hint);
    }
    let (kind, how, parameters) = match told {
        Told::Refused(_) => return (rule, Vec::new()),
        Told::Read(Items { kind, shape, .. }) => (kind, How::Filter(shape), Vec::new()),
        Told::Asked(Asked { parameters, kind, .. }) => {
            let Some(kind) = query::kind(context, &rule, (kind.as_ref(), place), types) else {
                return (rule, Vec::new());
            };
            (kind, How::Query, parameters)
        }
    };
    // Where the path names what the list is of, its items lie there, or are not shown.
    let within = match &rule.resource {
        Some(list) => {
            let types = std::iter::once(list).chain(&rule.within.types).take(MOST_WITHIN).cloned();
            Within { types: types.collect(), checked: false }
        }
        None => rule.within.clone(),
    };
    let item = Rule { resource: Some(kind), within, ..rule.clone() };
    rule.narrow = Some(Box::new(policy::Narrow { how, item }));
    (rule, parameters)
}

/// Whether a request with this method says by its query what it asks for, and nowhere else.
fn asks_by_query(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}
