//! The catalogue, the roles, the consent ladder, and how long things last.
//!
//! Never here: who may do what in the end ([`crate::policy`]).

use std::collections::{BTreeMap, BTreeSet};

use super::{
    context::{Context, short},
    gateway::{DAY, TOP},
    tenant_roles::plans_of,
};
use crate::{
    config::{
        fault::Code,
        suggest,
        written::{self, At, Consent, Field, File, List, Place},
    },
    model::{Ladder, Level, LevelName, PermissionName, RoleName, Span},
    policy::{
        Approvals, Catalogue, GRANTOR_MEMORY_MS, OnLower, OnRemove, Pattern, PermissionSet, Role,
        SUPPORT_TYPE, SessionRules, permission::MOST_PERMISSIONS,
    },
};

/// The closed list, with the places of its names, and whether it was read whole.
pub(super) struct Names {
    pub(super) catalogue: Catalogue,
    pub(super) places: BTreeMap<PermissionName, Place>,
    pub(super) whole: bool,
}

impl Names {
    /// A permission by its name; tells where it is unknown.
    pub(super) fn permission(
        &self,
        context: Context<'_>,
        at: &At<String>,
    ) -> Option<crate::policy::PermissionId> {
        let found = self.catalogue.id(&at.value);
        if found.is_none() && self.whole {
            let known: Vec<&str> = self.catalogue.iter().map(|(_, name)| name.as_str()).collect();
            let message = format!("the catalogue has no permission `{}`", short(&at.value));
            let hint = match suggest::nearest(&at.value, known.iter().copied()) {
                Some(name) => format!("did you mean `{name}`? Else add it to `permissions`"),
                None => "add it to `permissions`".to_owned(),
            };
            context.put(Code::UnknownPermission, at.place, message, hint);
        }
        found
    }

    /// Everything that a list of permissions and patterns covers.
    pub(super) fn covered(&self, context: Context<'_>, list: &List<String>) -> PermissionSet {
        let mut set = PermissionSet::default();
        for at in &list.items {
            let Some(pattern) = Pattern::parse(&at.value) else {
                context.put(
                    Code::BadValue,
                    at.place,
                    format!("`{}` is no permission and no pattern", short(&at.value)),
                    "write `orders:read`, `orders:*`, `*:read` or `*:*`; a `*` stands for a whole word",
                );
                continue;
            };
            if !at.value.contains('*') {
                if let Some(id) = self.permission(context, at) {
                    set.insert(id);
                }
                continue;
            }
            let covered = self.catalogue.covered(&pattern);
            let support = at.value.starts_with(SUPPORT_TYPE);
            let any = self
                .catalogue
                .iter()
                .any(|(id, name)| covered.contains(id) && (support || name.resource_type() != SUPPORT_TYPE));
            if !any && self.whole {
                context.put(
                    Code::PatternCoversNothing,
                    at.place,
                    format!("the pattern `{}` covers no permission", short(&at.value)),
                    "correct it, remove it, or add what it should cover to `permissions`",
                );
            }
            set.add(&covered);
        }
        set
    }
}

pub(super) fn names(context: Context<'_>, file: &File) -> Names {
    let hint =
        "list the permissions that routes may ask for, e.g. `permissions: [orders:read, orders:write]`";
    let list = context.need(&file.permissions, TOP(), "permissions", hint);
    let mut places = BTreeMap::new();
    let mut whole = list.is_some();
    for at in list.into_iter().flat_map(|list| &list.value.items) {
        let Ok(name) = PermissionName::new(&at.value) else {
            whole = false;
            context.put(
                Code::BadValue,
                at.place,
                format!("`{}` is no permission", short(&at.value)),
                "write `resource_type:action` in lower case, e.g. `orders:read`; patterns stand in roles only",
            );
            continue;
        };
        if name.resource_type() == SUPPORT_TYPE {
            context.put(
                Code::ReservedName,
                at.place,
                format!("`{name}` is not yours to declare: what begins with `{SUPPORT_TYPE}:` is built in"),
                "remove it; `support:read` and `support:manage` are always there",
            );
        } else if let Some(first) = places.insert(name, at.place) {
            context.twice(at.place, "permission", &at.value, first);
        }
    }
    if let Some(list) = list {
        whole &= !list.value.broken;
        if places.len() + 2 > MOST_PERMISSIONS {
            context.put(
                Code::OutOfRange,
                list.place,
                format!("{} permissions are too many", places.len()),
                format!("use at most {}", MOST_PERMISSIONS - 2),
            );
        }
    }
    Names { catalogue: Catalogue::new(places.keys().cloned()), places, whole }
}

/// The roles, with whether all were read.
pub(super) struct Roles {
    pub(super) map: BTreeMap<RoleName, Role>,
    /// Those that are held at resources.
    elsewhere: BTreeSet<RoleName>,
    whole: bool,
}

impl Roles {
    /// A role by its name; tells where it is unknown.
    pub(super) fn known(&self, context: Context<'_>, at: &At<String>) -> Option<RoleName> {
        let found = self.map.keys().find(|name| name.as_str() == at.value);
        if found.is_none() && self.is_elsewhere(context, at) {
            return None;
        }
        if found.is_none() && self.whole {
            context.unknown(Code::UnknownRole, at, "role", self.map.keys().map(RoleName::as_str));
        }
        found.cloned()
    }

    /// Tells a role that is held at resources where one of the tenant belongs.
    fn is_elsewhere(&self, context: Context<'_>, at: &At<String>) -> bool {
        let found = self.elsewhere.contains(at.value.as_str());
        if found {
            context.put(
                Code::UnknownRole,
                at.place,
                format!("the role `{}` is held at resources only", short(&at.value)),
                "name a role without `at`",
            );
        }
        found
    }
}

pub(super) fn roles(context: Context<'_>, file: &File, names: &Names) -> Roles {
    let hint = "name sets of permissions, e.g. `roles: { read_only: { allow: \"*:read\" } }`";
    let table = context.need(&file.roles, TOP(), "roles", hint);
    let mut roles = Roles { map: BTreeMap::new(), elsewhere: BTreeSet::new(), whole: table.is_some() };
    let Some(table) = table else { return roles };
    roles.whole &= table.value.broken.is_empty();
    for (key, at) in &table.value.entries {
        let Some(name) = context.id(key, RoleName::new, "name of a role") else {
            roles.whole = false;
            continue;
        };
        let before = context.faults.count();
        let hint = "say what it may do, e.g. `allow: [\"orders:*\"]`";
        let allow = context.need(&at.value.allow, at.place, "allow", hint);
        let mut permissions = allow.map(|list| names.covered(context, &list.value.0)).unwrap_or_default();
        if let Some(list) = at.value.except.given() {
            permissions.remove(&names.covered(context, &list.value.0));
        }
        let sound = allow.is_some_and(|list| !list.value.0.broken) && context.faults.count() == before;
        // What a tenant adjusts may begin with nothing; and a role that says of what its holders are members is there for that.
        let for_others =
            at.value.adjustable.value().copied().unwrap_or(false) || at.value.joins.given().is_some();
        if permissions.is_empty() && sound && names.whole && !for_others {
            context.warn(
                Code::Unused,
                key.place,
                format!("the role `{name}` may do nothing"),
                "give it permissions, or remove it",
            );
        }
        if !at.value.at.is_absent() {
            // Held at resources; elsewhere its name means nothing.
            roles.elsewhere.insert(name);
            continue;
        }
        let adjustable = at.value.adjustable.value().copied().unwrap_or(false);
        let seat = at.value.seat.value().copied().unwrap_or(false);
        let plans = plans_of(context, &at.value.plans);
        roles.map.insert(name, Role { permissions, adjustable, seat, plans });
    }
    roles
}

/// The ladder with its default, once it is sound.
pub(super) struct Steps {
    pub(super) ladder: Ladder,
    pub(super) default: Option<LevelName>,
    pub(super) on_lower: OnLower,
    /// Where each level names its role.
    pub(super) places: Vec<Place>,
    /// The levels that only read.
    pub(super) reading: BTreeSet<LevelName>,
}

pub(super) fn consent(
    context: Context<'_>,
    file: &File,
    names: &Names,
    roles: &Roles,
    ceiling: &PermissionSet,
) -> Option<Steps> {
    let hint = "name the levels, lowest first: `levels: [ { level: block }, { level: read_only, role: read_only } ]`";
    let at = context.need(&file.consent, TOP(), "consent", hint)?;
    let list = context.need(&at.value.levels, at.place, "levels", hint)?;
    if list.value.items.is_empty() && !list.value.broken {
        context.put(Code::MissingKey, list.place, "the ladder has no level", hint);
    }
    let mut levels: Vec<Level> = Vec::new();
    let mut places: BTreeMap<LevelName, Place> = BTreeMap::new();
    let (mut step_places, mut reading) = (Vec::new(), BTreeSet::new());
    let mut also: BTreeMap<LevelName, LevelName> = BTreeMap::new();
    let mut whole = !list.value.broken;
    for (rank, step) in list.value.items.iter().enumerate() {
        let name =
            context.need(&step.value.level, step.place, "level", "name the level, e.g. `level: read_only`");
        let Some(name_at) = name else {
            whole = false;
            continue;
        };
        let Some(name) = context.id(name_at, LevelName::new, "name of a level") else {
            whole = false;
            continue;
        };
        if name.as_str() == "inherit" {
            context.put(
                Code::ReservedName,
                name_at.place,
                "`inherit` is what a child chooses to follow its parent; it is no level of its own",
                "give the level another name",
            );
        }
        if let Some(first) = places.insert(name.clone(), name_at.place) {
            context.twice(name_at.place, "level", name.as_str(), first);
        }
        let role = step.value.role.given();
        if rank == 0
            && let Some(role) = role
        {
            context.put(
                Code::LowestLevelHasRole,
                role.place,
                format!("the lowest level `{name}` gives a role, so no tenant could close the way"),
                "put a level without a role first, e.g. `{ level: block }`",
            );
        }
        if rank > 0 && step.value.role.is_absent() {
            context.put(
                Code::LevelWithoutRole,
                step.place,
                format!("the level `{name}` gives no role; only the lowest one may"),
                "give it a `role`, or make it the lowest level",
            );
        }
        if let Some(role) = role {
            step_role(context, role, &name, names, roles, ceiling);
        }
        step_places.push(role.map_or(name_at.place, |role| role.place));
        let reads = match step.value.effect.value() {
            Some(effect) => *effect == written::Effect::Read,
            None => name.as_str() == "read_only",
        };
        if reads {
            reading.insert(name.clone());
        }
        other_names(context, step, &name, &mut places, &mut also);
        levels.push(Level { name, role: role.and_then(|role| RoleName::new(&role.value).ok()) });
    }
    let on_lower = match at.value.on_lower.value() {
        Some(written::OnLower::Future) => OnLower::Future,
        Some(written::OnLower::Immediate) | None => OnLower::Immediate,
    };
    // What is stored of a tenant is a level's own name.
    places.retain(|name, _| !also.contains_key(name));
    let default = default_level(context, at, &places, whole);
    let ladder = Ladder::new(levels).also_named(also);
    Some(Steps { ladder, default, on_lower, places: step_places, reading })
}

/// Further names of a level: none that a level bears already.
fn other_names(
    context: Context<'_>,
    step: &At<written::LevelStep>,
    name: &LevelName,
    places: &mut BTreeMap<LevelName, Place>,
    also: &mut BTreeMap<LevelName, LevelName>,
) {
    for at in step.value.also.given().into_iter().flat_map(|list| &list.value.0.items) {
        let Some(other) = context.id(at, LevelName::new, "name of a level") else { continue };
        if other.as_str() == "inherit" {
            let message = "`inherit` is what a child chooses to follow its parent; no level is called so";
            context.put(Code::ReservedName, at.place, message, "choose another name");
        }
        if let Some(first) = places.get(&other) {
            context.twice(at.place, "level", other.as_str(), *first);
            continue;
        }
        places.insert(other.clone(), at.place);
        also.insert(other, name.clone());
    }
}

/// Tells where a level's role is unknown, or emptied by the ceiling.
fn step_role(
    context: Context<'_>,
    at: &At<String>,
    level: &LevelName,
    names: &Names,
    roles: &Roles,
    ceiling: &PermissionSet,
) {
    let Some(role) = roles.map.get(at.value.as_str()) else {
        if !roles.is_elsewhere(context, at) && roles.whole {
            context.unknown(Code::UnknownRole, at, "role", roles.map.keys().map(RoleName::as_str));
        }
        return;
    };
    if emptied(&role.permissions, names, ceiling) {
        context.warn(
            Code::LevelEmptied,
            at.place,
            format!("the ceiling leaves nothing of the level `{level}`"),
            "give it a role that staff may use, or lower the ceiling",
        );
    }
}

/// Whether the ceiling leaves nothing of a role that had something.
fn emptied(role: &PermissionSet, names: &Names, ceiling: &PermissionSet) -> bool {
    let mut set = role.clone();
    set.remove(ceiling);
    for (id, name) in names.catalogue.iter() {
        if name.resource_type() == SUPPORT_TYPE {
            let mut one = PermissionSet::default();
            one.insert(id);
            set.remove(&one);
        }
    }
    set.is_empty() && !role.is_empty()
}

/// What roles are, and what staff may never do of them.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    pub(super) names: &'a Names,
    pub(super) roles: &'a Roles,
    pub(super) ceiling: &'a PermissionSet,
}

impl Given<'_> {
    /// Warns of a role of which the ceiling leaves nothing, where staff are given it.
    pub(super) fn warn_where_emptied(self, context: Context<'_>, at: &At<String>, what: &str) {
        let Some(role) = self.roles.map.get(at.value.as_str()) else { return };
        if emptied(&role.permissions, self.names, self.ceiling) {
            context.warn(
                Code::LevelEmptied,
                at.place,
                format!(
                    "the ceiling leaves nothing of the role `{}`, so {what} gives nothing",
                    short(&at.value)
                ),
                "name a role that staff may use, or lower the ceiling",
            );
        }
    }
}

fn default_level(
    context: Context<'_>,
    at: &At<Consent>,
    places: &BTreeMap<LevelName, Place>,
    whole: bool,
) -> Option<LevelName> {
    let known = places.keys().map(LevelName::as_str);
    match &at.value.default {
        Field::Broken => None,
        Field::Given(default) => {
            let found = places.keys().find(|name| name.as_str() == default.value);
            if found.is_none() && whole {
                context.unknown(Code::UnknownLevel, default, "level", known);
            }
            found.cloned()
        }
        Field::Absent => {
            let usual = places.keys().find(|name| name.as_str() == "read_only");
            if usual.is_none() && whole {
                let hint = "say which level a tenant has that never chose; there is no `read_only` to take";
                context.need(&at.value.default, at.place, "default", hint);
            }
            usual.cloned()
        }
    }
}

/// How long sessions, grants and exchanges last.
pub(super) struct Terms {
    pub(super) session_lasts: Span,
    pub(super) sessions: SessionRules,
    pub(super) grant_most: Option<Span>,
    pub(super) max_exchange_ms: i64,
    pub(super) approvals: Approvals,
    pub(super) grantor_memory_ms: i64,
}

pub(super) fn terms(context: Context<'_>, file: &File) -> Terms {
    let none = written::Sessions::default();
    let sessions = file.sessions.value().unwrap_or(&none);
    let last = sessions.last.given();
    let session_lasts = last.map_or(Span::Millis(DAY / 3), |at| at.value.0);
    if let Some(at) = last {
        term(context, at.place, at.value.0, 60_000, 366);
    }
    let longest = file.grants.value().and_then(|grants| grants.longest.given());
    let grant_most = longest.map_or(Some(Span::Millis(180 * DAY)), |at| at.value.0);
    if let (Some(at), Some(span)) = (longest, grant_most) {
        term(context, at.place, span, 60_000, 36_600);
    }
    let none = written::Grants::default();
    let grants = file.grants.value().unwrap_or(&none);
    let grantor_memory_ms = context.duration(&grants.grantor_memory, GRANTOR_MEMORY_MS, 60_000, 400 * DAY);
    let max_exchange_ms = context.duration(&sessions.max_exchange, DAY / 24, 1_000, 7 * DAY);
    let none = written::Approvals::default();
    let written = file.approvals.value().unwrap_or(&none);
    let usual = Approvals::default();
    let approvals = Approvals {
        unanswered_ms: context.duration(&written.unanswered, usual.unanswered_ms, 60_000, 30 * DAY),
        usable_ms: context.duration(&written.usable, usual.usable_ms, 60_000, DAY),
    };
    let on_remove = match sessions.on_remove.value() {
        Some(written::OnRemove::Bar) => OnRemove::Bar,
        Some(written::OnRemove::End) | None => OnRemove::End,
    };
    let as_long_as_granted = sessions.by_grant.value() == Some(&written::ByGrant::Grant);
    let sessions = SessionRules { on_remove, as_long_as_granted };
    Terms { session_lasts, sessions, grant_most, max_exchange_ms, approvals, grantor_memory_ms }
}

pub(super) fn term(context: Context<'_>, place: Place, span: Span, least_ms: i64, most_days: i64) {
    let fits = match span {
        Span::Millis(ms) => ms >= least_ms && ms <= most_days * DAY,
        Span::CalendarDays(days) => days >= 1 && i64::from(days) <= most_days,
        Span::CalendarMonths(months) => months >= 1 && i64::from(months) * 30 <= most_days,
    };
    if !fits {
        context.put(
            Code::OutOfRange,
            place,
            "this time is out of bounds",
            format!("use 1m to {most_days}d, or 1 to {most_days} calendar days"),
        );
    }
}
