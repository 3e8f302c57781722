//! What is in the books at the start: Acme Outdoor, which sells tents and boots, and its European subsidiary, each
//! with a production environment and a sandbox of a few made-up test orders.
//!
//! All times are relative to the start, so that the books always look like today's. Everything is invented.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::books::{Books, Tenant, World, written};
use super::integrations::{Integration, Settings, System};
use super::jobs::{Course, Job, JobKind};
use super::mappings::{Kind, Mapping};
use super::orders::{Customer, Order, Status, line, total};
use super::people::{Role, User};

/// Number, minutes ago, channel, customer (name, city, country), lines, status, note.
type OrderRow = (
    u32,
    i64,
    &'static str,
    (&'static str, &'static str, &'static str),
    &'static [(&'static str, u32)],
    Status,
    &'static str,
);

const ACME: [OrderRow; 7] = [
    (
        1042,
        12,
        "web-shop",
        ("Grace Lindqvist", "Portland", "US"),
        &[("TENT-2P", 1), ("LAMP-H", 2)],
        Status::New,
        "",
    ),
    (
        1041,
        55,
        "web-shop",
        ("Tomás Herrera", "Austin", "US"),
        &[("BOOT-42", 1)],
        Status::OnHold,
        "Address could not be verified, customer was asked",
    ),
    (
        1040,
        140,
        "marketplace",
        ("Priya Raman", "Seattle", "US"),
        &[("BAG-45", 1), ("BOTTLE-1", 2)],
        Status::Released,
        "",
    ),
    (
        1039,
        260,
        "web-shop",
        ("Noah Becker", "Denver", "US"),
        &[("SLEEP-3S", 2), ("STOVE-S", 1)],
        Status::Packed,
        "",
    ),
    (
        1038,
        1_500,
        "telephone",
        ("Mount Hood Scouts", "Gresham", "US"),
        &[("TENT-2P", 6), ("STOVE-S", 6)],
        Status::Released,
        "School trip: must arrive before Friday",
    ),
    (1037, 2_900, "web-shop", ("Aiko Morita", "San Diego", "US"), &[("LAMP-H", 1)], Status::Shipped, ""),
    (
        1036,
        4_400,
        "marketplace",
        ("Samuel Osei", "Chicago", "US"),
        &[("BOOT-42", 1), ("MAP-ALP", 1)],
        Status::Cancelled,
        "Cancelled by the customer before packing",
    ),
];

const ACME_EU: [OrderRow; 5] = [
    (
        5107,
        8,
        "web-shop-eu",
        ("Élodie Marchand", "Lyon", "FR"),
        &[("BAG-45", 1), ("MAP-ALP", 2)],
        Status::New,
        "",
    ),
    (5106, 75, "web-shop-eu", ("Jonas Weiß", "Leipzig", "DE"), &[("TENT-2P", 1)], Status::Released, ""),
    (
        5105,
        190,
        "web-shop-eu",
        ("Marta Kowalska", "Gdańsk", "PL"),
        &[("SLEEP-3S", 1), ("BOTTLE-1", 1)],
        Status::OnHold,
        "VAT number is missing in the order that was pulled",
    ),
    (
        5104,
        1_320,
        "telephone",
        ("Bergschule Allgäu", "Oberstdorf", "DE"),
        &[("LAMP-H", 12), ("STOVE-S", 4)],
        Status::Packed,
        "",
    ),
    (5103, 3_100, "web-shop-eu", ("Liam Byrne", "Galway", "IE"), &[("BOOT-42", 1)], Status::Shipped, ""),
];

const SANDBOX: [OrderRow; 2] = [
    (
        2,
        600,
        "web-shop-test",
        ("Test Customer", "Testville", "US"),
        &[("TENT-2P", 1)],
        Status::New,
        "A test order",
    ),
    (
        1,
        10_000,
        "web-shop-test",
        ("Test Customer", "Testville", "US"),
        &[("LAMP-H", 100)],
        Status::Cancelled,
        "Load test of the warehouse connection",
    ),
];

/// Identifier, kind, name, from, to, table, enabled.
type MappingRow = (
    &'static str,
    Kind,
    &'static str,
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
    bool,
);

const MAPPINGS: [MappingRow; 5] = [
    (
        "std-country",
        Kind::BuiltIn,
        "Country names to codes",
        "shop.address.country",
        "erp.party.country_code",
        &[("France", "FR"), ("Germany", "DE"), ("United States", "US")],
        true,
    ),
    (
        "std-currency",
        Kind::BuiltIn,
        "Currency as it is",
        "shop.order.currency",
        "erp.invoice.currency",
        &[],
        true,
    ),
    (
        "std-order-state",
        Kind::BuiltIn,
        "Order state to warehouse state",
        "office.order.status",
        "warehouse.job.state",
        &[("released", "PICK"), ("packed", "READY"), ("cancelled", "STOP")],
        true,
    ),
    (
        "map-shipping",
        Kind::Custom,
        "Our shipping methods",
        "shop.order.shipping_method",
        "carrier.service",
        &[("Standard", "ECONOMY"), ("Express", "NEXT_DAY"), ("Pick-up", "NONE")],
        true,
    ),
    (
        "map-gift-note",
        Kind::Custom,
        "Gift message onto the packing slip",
        "shop.order.gift_message",
        "warehouse.slip.line_2",
        &[],
        false,
    ),
];

/// Identifier, name, system, credential, minutes between runs, where stock lies.
type IntegrationRow = (&'static str, &'static str, System, &'static str, u32, &'static str);

const INTEGRATIONS: [IntegrationRow; 5] = [
    ("web-shop", "Our web shop", System::WebShop, "key ending in 7f2c", 5, "portland"),
    ("marketplace", "Outdoor marketplace", System::Marketplace, "key ending in 19ab", 15, "portland"),
    ("erp", "Finance and invoices", System::Erp, "certificate of office.acme.example", 60, "portland"),
    ("warehouse", "Third-party warehouse Portland", System::Warehouse, "user acme-wms", 10, "portland"),
    ("carrier", "Parcel carrier", System::Carrier, "account 4471-88", 30, "portland"),
];

const INTEGRATIONS_EU: [IntegrationRow; 3] = [
    ("web-shop-eu", "Our web shop for Europe", System::WebShop, "key ending in c04e", 5, "rotterdam"),
    (
        "erp",
        "Finance and invoices of the group",
        System::Erp,
        "certificate of office.acme.example",
        60,
        "rotterdam",
    ),
    ("warehouse-eu", "Warehouse Rotterdam", System::Warehouse, "user acme-eu-wms", 10, "rotterdam"),
];

const SANDBOX_INTEGRATIONS: [IntegrationRow; 1] =
    [("web-shop-test", "Test shop", System::WebShop, "key ending in 0000", 60, "nowhere")];

/// Identifier, name, role; the address is the identifier's at the tenant's domain.
type UserRow = (&'static str, &'static str, Role);

const USERS: [UserRow; 4] = [
    ("alice", "Alice Meyer", Role::Admin),
    ("bob", "Bob Tanaka", Role::Operations),
    ("carla", "Carla Ruiz", Role::Operations),
    ("dev", "Dev Patel", Role::Viewer),
];

const USERS_EU: [UserRow; 2] = [("ines", "Inès Laurent", Role::Admin), ("jan", "Jan Novák", Role::Viewer)];

/// The books of both tenants as they stand at `now`, in seconds since 1970 UTC.
pub(super) fn world(now: i64) -> World {
    let mut world = World::default();
    let acme = books(now, "acme.example", &ACME, &INTEGRATIONS, &USERS);
    let acme_eu = books(now, "eu.acme.example", &ACME_EU, &INTEGRATIONS_EU, &USERS_EU);
    let sandbox = books(now, "acme.example", &SANDBOX, &SANDBOX_INTEGRATIONS, &USERS);
    let sandbox_eu = books(now, "eu.acme.example", &SANDBOX, &SANDBOX_INTEGRATIONS, &USERS_EU);
    world.insert("acme", tenant("Acme Outdoor", acme, sandbox));
    world.insert("acme-eu", tenant("Acme Outdoor Europe", acme_eu, sandbox_eu));
    world
}

fn tenant(name: &'static str, production: Books, sandbox: Books) -> Tenant {
    let environments = [("production", production), ("sandbox", sandbox)];
    Tenant { name, environments: environments.map(|(id, books)| (id, Mutex::new(books))).into() }
}

fn books(
    now: i64,
    domain: &str,
    orders: &[OrderRow],
    systems: &[IntegrationRow],
    users: &[UserRow],
) -> Books {
    let mut books = Books::default();
    let author = users.first().map_or("the product", |(id, ..)| *id);
    books.orders = keyed(orders.iter().map(|row| order(now, row)), |order| &order.id);
    books.mappings = keyed(MAPPINGS.iter().map(|row| mapping(now, author, row)), |mapping| &mapping.id);
    books.integrations = keyed(systems.iter().map(|row| integration(now, domain, row)), |system| &system.id);
    books.users = keyed(users.iter().map(|row| user(now, domain, row)), |user| &user.id);
    let about = systems.first().map(|(id, ..)| (*id).to_owned());
    books.jobs = keyed([finished_pull(now, about)].into_iter(), |job| &job.id);
    books
}

fn keyed<T>(things: impl Iterator<Item = T>, id: fn(&T) -> &String) -> BTreeMap<String, T> {
    things.map(|thing| (id(&thing).clone(), thing)).collect()
}

fn order(now: i64, row: &OrderRow) -> Order {
    let (number, minutes_ago, channel, (name, city, country), lines, status, note) = *row;
    let placed_at = written(now.saturating_sub(minutes_ago * 60));
    let lines = lines.iter().filter_map(|(sku, quantity)| line(sku, *quantity)).collect::<Vec<_>>();
    let address = name.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), ".");
    Order {
        id: format!("ord-{number}"),
        channel: channel.to_owned(),
        placed_at: placed_at.clone(),
        status,
        customer: Customer {
            name: name.to_owned(),
            email: format!("{address}@mail.example"),
            city: city.to_owned(),
            country: country.to_owned(),
        },
        total: total(&lines),
        lines,
        currency: if country == "US" { "USD" } else { "EUR" },
        note: note.to_owned(),
        pulls: u32::from(channel != "telephone"),
        changed_at: placed_at,
        changed_by: channel.to_owned(),
    }
}

fn mapping(now: i64, tenants_author: &str, row: &MappingRow) -> Mapping {
    let (id, kind, name, from, to, table, enabled) = *row;
    let author = match kind {
        Kind::BuiltIn => "the product",
        Kind::Custom => tenants_author,
    };
    Mapping {
        id: id.to_owned(),
        kind,
        name: name.to_owned(),
        from: from.to_owned(),
        to: to.to_owned(),
        table: table.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        enabled,
        created_by: author.to_owned(),
        changed_at: written(now.saturating_sub(40 * 86_400)),
        changed_by: author.to_owned(),
    }
}

fn integration(now: i64, domain: &str, row: &IntegrationRow) -> Integration {
    let (id, name, system, credential, every_minutes, warehouse) = *row;
    Integration {
        id: id.to_owned(),
        name: name.to_owned(),
        system,
        credential: credential.to_owned(),
        settings: Settings {
            enabled: true,
            every_minutes,
            batch_size: 50,
            warehouse: warehouse.to_owned(),
            alert_to: format!("operations@{domain}"),
        },
        runs: 1,
        last_run_at: Some(written(now.saturating_sub(240))),
        last_run_by: Some("schedule".to_owned()),
    }
}

fn user(now: i64, domain: &str, row: &UserRow) -> User {
    let (id, name, role) = *row;
    User {
        id: format!("usr-{id}"),
        name: name.to_owned(),
        email: format!("{id}@{domain}"),
        role,
        changed_at: written(now.saturating_sub(90 * 86_400)),
        changed_by: "the product".to_owned(),
    }
}

/// The last scheduled run, which is long done.
fn finished_pull(now: i64, about: Option<String>) -> Job {
    let since = now.saturating_sub(240);
    Job {
        id: "job-801".to_owned(),
        kind: JobKind::PullOrders,
        about,
        created_at: since,
        created_by: "schedule".to_owned(),
        worked_s: 0,
        course: Course::Running { since },
    }
}
