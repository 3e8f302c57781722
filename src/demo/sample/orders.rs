//! Orders: what customers bought, and pulling one anew from the shop it came from.

use http::StatusCode;
use hyper::body::Incoming;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::json;

use super::answer::{Answer, Fault, created, json, no_content};
use super::api::Call;
use super::books::{Books, price, written};
use super::jobs::{self, JobKind};

/// One order.
#[derive(Clone, Serialize)]
pub(super) struct Order {
    pub(super) id: String,
    pub(super) channel: String,
    pub(super) placed_at: String,
    pub(super) status: Status,
    pub(super) customer: Customer,
    pub(super) lines: Vec<Line>,
    #[serde(serialize_with = "as_price")]
    pub(super) total: u64,
    pub(super) currency: &'static str,
    pub(super) note: String,
    /// How often it was pulled from its channel.
    pub(super) pulls: u32,
    pub(super) changed_at: String,
    pub(super) changed_by: String,
}

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    New,
    OnHold,
    Released,
    Packed,
    Shipped,
    Cancelled,
}

/// Who bought.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Customer {
    pub(super) name: String,
    pub(super) email: String,
    pub(super) city: String,
    pub(super) country: String,
}

/// One article of an order.
#[derive(Clone, Serialize)]
pub(super) struct Line {
    pub(super) sku: &'static str,
    pub(super) article: &'static str,
    pub(super) quantity: u32,
    #[serde(serialize_with = "as_price")]
    pub(super) price: u64,
}

/// What the shop sells: article number, name, price in hundredths.
pub(super) const CATALOGUE: [(&str, &str, u64); 8] = [
    ("TENT-2P", "Two-person tent", 24_900),
    ("BAG-45", "Backpack, 45 litres", 12_900),
    ("SLEEP-3S", "Sleeping bag, three seasons", 14_950),
    ("BOOT-42", "Trekking boots, size 42", 15_900),
    ("STOVE-S", "Gas stove, one burner", 3_990),
    ("LAMP-H", "Head torch", 2_450),
    ("BOTTLE-1", "Steel bottle, 1 litre", 1_990),
    ("MAP-ALP", "Hiking map, Western Alps", 1_290),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewOrder {
    customer: Customer,
    lines: Vec<NewLine>,
    #[serde(default)]
    note: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewLine {
    sku: String,
    quantity: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    status: Option<Status>,
    note: Option<String>,
}

pub(super) async fn answer(call: &Call<'_>, body: Incoming, below: &[&str]) -> Result<Answer, Fault> {
    match (below, call.method) {
        ([], "GET") => list(call),
        ([], "POST") => create(call, call.json(body).await?),
        ([], _) => Err(Fault::method("GET, HEAD, POST")),
        ([id], "GET") => Ok(json(StatusCode::OK, find(&mut *call.books()?, id)?)),
        ([id], "PATCH") => change(call, id, call.json(body).await?),
        ([id], "DELETE") => call.books()?.orders.remove(*id).map(|_| no_content()).ok_or_else(|| unknown(id)),
        ([_], _) => Err(Fault::method("GET, HEAD, PATCH, DELETE")),
        ([id, "repull"], "POST") => repull(call, id),
        ([_, "repull"], _) => Err(Fault::method("POST")),
        _ => Err(Fault::not_found("page", call.head.uri.path())),
    }
}

fn list(call: &Call<'_>) -> Result<Answer, Fault> {
    let books = call.books()?;
    let wanted = match call.query.get("status") {
        None => None,
        Some(text) => Some(serde_json::from_value::<Status>(json!(text)).map_err(|_| {
            Fault::new(
                StatusCode::BAD_REQUEST,
                "bad_query",
                format!("there is no status `{text}` of an order"),
            )
        })?),
    };
    let orders: Vec<&Order> =
        books.orders.values().filter(|order| wanted.is_none_or(|status| order.status == status)).collect();
    Ok(json(
        StatusCode::OK,
        &json!({"tenant": call.who.tenant, "environment": call.who.env, "orders": orders}),
    ))
}

fn create(call: &Call<'_>, new: NewOrder) -> Result<Answer, Fault> {
    if new.lines.is_empty() {
        return Err(Fault::invalid("an order needs at least one line"));
    }
    let lines = new.lines.iter().map(NewLine::priced).collect::<Result<Vec<Line>, Fault>>()?;
    let now = written(call.now());
    let mut books = call.books()?;
    let order = Order {
        id: books.new_id("ord"),
        channel: "telephone".to_owned(),
        placed_at: now.clone(),
        status: Status::New,
        customer: new.customer,
        total: total(&lines),
        lines,
        currency: "EUR",
        note: new.note,
        pulls: 0,
        changed_at: now,
        changed_by: call.who.author(),
    };
    let answer = created(&call.address(&format!("orders/{}", order.id)), &order);
    books.orders.insert(order.id.clone(), order);
    Ok(answer)
}

fn change(call: &Call<'_>, id: &str, change: Change) -> Result<Answer, Fault> {
    let mut books = call.books()?;
    let order = find(&mut books, id)?;
    order.status = change.status.unwrap_or(order.status);
    if let Some(note) = change.note {
        order.note = note;
    }
    order.changed_at = written(call.now());
    order.changed_by = call.who.author();
    Ok(json(StatusCode::OK, order))
}

/// An action on an integration, not on the order's content: the order is fetched again from where it came from.
fn repull(call: &Call<'_>, id: &str) -> Result<Answer, Fault> {
    let mut books = call.books()?;
    find(&mut books, id)?;
    let now = call.now();
    let job = jobs::start(&mut books, JobKind::RepullOrder, Some(id.to_owned()), call.who, now);
    let order = find(&mut books, id)?;
    order.pulls = order.pulls.saturating_add(1);
    Ok(json(StatusCode::ACCEPTED, &json!({"order": order.id, "pulls": order.pulls, "job": job.view(now)})))
}

fn find<'b>(books: &'b mut Books, id: &str) -> Result<&'b mut Order, Fault> {
    books.orders.get_mut(id).ok_or_else(|| unknown(id))
}

fn unknown(id: &str) -> Fault {
    Fault::not_found("order", id)
}

impl NewLine {
    fn priced(&self) -> Result<Line, Fault> {
        if !(1..=1000).contains(&self.quantity) {
            return Err(Fault::invalid(format!("the quantity of `{}` must be from 1 to 1000", self.sku)));
        }
        line(&self.sku, self.quantity)
            .ok_or_else(|| Fault::invalid(format!("there is no article `{}` in the catalogue", self.sku)))
    }
}

/// A line with the article's name and price from the catalogue.
pub(super) fn line(sku: &str, quantity: u32) -> Option<Line> {
    let (sku, article, price) = CATALOGUE.into_iter().find(|(known, ..)| *known == sku)?;
    Some(Line { sku, article, quantity, price })
}

/// What the lines cost together, in hundredths.
pub(super) fn total(lines: &[Line]) -> u64 {
    lines.iter().fold(0, |sum, line| sum.saturating_add(line.price.saturating_mul(u64::from(line.quantity))))
}

fn as_price<S: Serializer>(cents: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&price(*cents))
}
