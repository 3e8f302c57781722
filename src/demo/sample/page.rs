//! The page for a browser, `/t/{tenant}/`: the tenant's orders, and who is looking at them. Without scripts; every
//! value from outside is escaped.

use std::fmt::Write;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_SECURITY_POLICY, HeaderValue};
use http_body_util::{BodyExt, Full};

use super::answer::{Answer, Fault, with_body};
use super::api::Call;
use super::books::price;
use super::orders::Order;
use super::people::sentence;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:64rem;padding:0 1rem;color:#222}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.4rem .6rem;border-bottom:1px solid #ddd}\
td.n{text-align:right;font-variant-numeric:tabular-nums}.who{padding:.6rem .9rem;border-left:.4rem solid;margin:1rem 0}\
.member{border-color:#2a7;background:#effaf4}.staff{border-color:#d70;background:#fff6ea}.other{border-color:#888;\
background:#f4f4f4}small{color:#666}";
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

pub(super) fn answer(call: &Call<'_>) -> Result<Answer, Fault> {
    if call.method != "GET" {
        return Err(Fault::method("GET, HEAD"));
    }
    let orders: Vec<Order> = call.books()?.orders.values().cloned().collect();
    let body = Full::new(Bytes::from(page(call, &orders))).map_err(|never| match never {}).boxed_unsync();
    let mut answer = with_body(StatusCode::OK, "text/html; charset=utf-8", body);
    answer.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    Ok(answer)
}

fn page(call: &Call<'_>, orders: &[Order]) -> String {
    let who = call.who;
    let colour = match who.kind.as_str() {
        _ if who.act.is_some() => "staff",
        "staff" => "staff",
        "member" => "member",
        _ => "other",
    };
    let title = escape(&format!("{}, {}", call.tenant.name, who.env));
    let you = escape(&sentence(who, call.tenant));
    let rows: String = orders.iter().map(row).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Orders of {title}</title>\
         <style>{STYLE}</style></head>\n<body><h1>Orders of {title}</h1>\n\
         <p class=\"who {colour}\">Looking at this page: <strong>{you}</strong></p>\n\
         <table><thead><tr><th>Order</th><th>Placed</th><th>Customer</th><th>Articles</th><th>Status</th>\
         <th>Total</th></tr></thead>\n<tbody>\n{rows}</tbody></table>\n\
         <p><small>{} orders. The same as JSON: <a href=\"api/orders\">api/orders</a>, \
         <a href=\"api/mappings\">api/mappings</a>, <a href=\"api/integrations\">api/integrations</a>, \
         <a href=\"api/jobs\">api/jobs</a>, <a href=\"api/users\">api/users</a>, \
         <a href=\"api/whoami\">api/whoami</a>.</small></p></body></html>\n",
        orders.len()
    )
}

fn row(order: &Order) -> String {
    let mut articles = String::new();
    for line in &order.lines {
        let comma = if articles.is_empty() { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(articles, "{comma}{} × {}", line.quantity, line.article);
    }
    let status = serde_json::to_value(order.status).ok();
    let status = status.as_ref().and_then(|value| value.as_str()).unwrap_or_default().replace('_', " ");
    let note = if order.note.is_empty() {
        String::new()
    } else {
        format!("<br><small>{}</small>", escape(&order.note))
    };
    format!(
        "<tr><td>{}<br><small>{}</small></td><td>{}</td><td>{}<br><small>{}, {}</small></td><td>{}{note}</td>\
         <td>{status}</td><td class=\"n\">{}&nbsp;{}</td></tr>\n",
        escape(&order.id),
        escape(&order.channel),
        escape(&order.placed_at),
        escape(&order.customer.name),
        escape(&order.customer.city),
        escape(&order.customer.country),
        escape(&articles),
        price(order.total),
        order.currency,
    )
}

/// Text as it stands safely between tags and in quoted attributes.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}
