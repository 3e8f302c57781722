//! Of the second implementation: what tenants say of roles.

use std::collections::{BTreeMap, BTreeSet};

use postern::{
    lifecycle::{Actor, Command},
    model::{Document, Key, RoleName, Subject},
};

use crate::{
    naive::{Grant, Naive, Source, Words, forbidden, named_in, role_can},
    world::{PERMISSIONS, Plain},
};

/// What a tenant said of a role.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) words: Words,
    /// One of its own; otherwise one that it adjusted.
    pub(crate) own: bool,
    pub(crate) by: Vec<Source>,
    pub(crate) taken_back: bool,
    /// The tenant was removed since.
    pub(crate) old: bool,
    /// The tenant's list of roles has it.
    pub(crate) listed: bool,
}

impl Told {
    pub(crate) fn read(documents: &BTreeMap<Key, Document>, key: &Key) -> Option<Told> {
        let (Key::Role(tenant, name), Some(Document::Role(role))) = (key, documents.get(key)) else {
            return None;
        };
        let tenant = match documents.get(&Key::Tenant(tenant.clone())) {
            Some(Document::Tenant(tenant)) => Some(tenant),
            _ => None,
        };
        Some(Told {
            words: role.permissions.iter().map(|name| name.to_string()).collect(),
            own: role.own,
            by: Source::kept(&role.by),
            taken_back: role.removed.is_some(),
            old: tenant.is_none_or(|tenant| tenant.life != role.life),
            listed: tenant.is_some_and(|tenant| tenant.roles.contains(name)),
        })
    }
}

/// Whether tenants may say anything of a role of that name.
pub(crate) fn tellable(plain: &Plain, role: &str) -> bool {
    if plain.roles.contains_key(role) {
        plain.adjustable.iter().any(|name| name == role)
    } else {
        plain.own_roles > 0
    }
}

impl Naive {
    fn told(&self, tenant: &str, role: &str) -> Option<&Told> {
        self.told.get(&(tenant.to_owned(), role.to_owned()))
    }

    /// What a role may do in a tenant; `None` where there is no such role.
    pub(crate) fn role_in(&self, plain: &Plain, tenant: &str, role: &str) -> Option<Words> {
        let configured = plain.roles.contains_key(role).then(|| role_can(plain, role));
        if tellable(plain, role) && self.lost.contains(&(tenant.to_owned(), role.to_owned())) {
            // Not taken for never said: what the configuration has is not what it holds here.
            return None;
        }
        let told = self.told(tenant, role).filter(|told| told.listed && tellable(plain, role));
        let Some(told) = told else { return configured };
        let valid = !told.taken_back && !told.old;
        let both = |configured: &Words| told.words.intersection(configured).cloned().collect();
        match (told.own, &configured) {
            (true, None) => valid.then(|| told.words.clone()),
            (true, Some(set)) if valid => Some(both(set)),
            (true, Some(_)) => configured,
            (false, None) => None,
            (false, Some(_)) if valid => Some(told.words.clone()),
            (false, Some(set)) => Some(both(set)),
        }
    }

    pub(crate) fn all_in(&self, plain: &Plain, tenant: &str, roles: impl Iterator<Item = String>) -> Words {
        roles.flat_map(|role| self.role_in(plain, tenant, &role).unwrap_or_default()).collect()
    }

    /// GW-14: whether they put something into a role as a person of the tenant.
    pub(crate) fn filled_by(&self, plain: &Plain, tenant: &str, role: &str, subject: &Subject) -> bool {
        let told = self.told(tenant, role).filter(|_| tellable(plain, role));
        let told = told.filter(|told| told.listed || plain.roles.contains_key(role));
        told.is_some_and(|told| told.by.iter().any(|giver| giver.is(subject)))
    }

    /// The same of the roles of whoever lets others act as them, as a row or any of the tokens that count names them.
    pub(crate) fn lender_filled_by(
        &self,
        plain: &Plain,
        tenant: &str,
        grant: &Grant,
        subject: &Subject,
    ) -> bool {
        let key = (tenant.to_owned(), grant.grantor.clone());
        let roles: Words = match (self.members.get(&key), self.sighted.get(&key)) {
            (Some(row), _) => row.roles.clone(),
            (None, Some((tokens, _, _))) => tokens.iter().flatten().cloned().collect(),
            (None, None) => Words::new(),
        };
        grant.acts && roles.iter().any(|role| self.filled_by(plain, tenant, role, subject))
    }

    /// A grant that stands and names the role.
    fn is_granted(&self, tenant: &str, role: &str, now: i64) -> bool {
        let here = self.grants.iter().filter(|((t, _), grant)| {
            t == tenant && !grant.acts && named_in(grant.scope.as_ref(), &grant.role).contains(role)
        });
        here.into_iter().any(|(_, grant)| grant.ended.is_none() && now < grant.until && !grant.past)
    }

    /// All that speaks against saying something of a role whatever is said; whether it is one of the tenant's own.
    fn may_tell(
        &self,
        plain: &Plain,
        (tenant, role): (&str, &str),
        actor: Actor<'_>,
        stale: bool,
        codes: &mut BTreeSet<&'static str>,
    ) -> bool {
        self.administrator(plain, actor, tenant, codes);
        let own = !plain.roles.contains_key(role);
        if !tellable(plain, role) {
            codes.insert(if own { "own_roles_closed" } else { "role_locked" });
        }
        if stale {
            codes.insert("changed");
        }
        let plan = self.tenants.get(tenant).and_then(|known| known.plan.as_ref());
        if plain.role_plans.as_ref().is_some_and(|plans| plan.is_none_or(|plan| !plans.contains(plan))) {
            codes.insert("plan_lacks_roles");
        }
        own
    }

    fn gives(
        &self,
        plain: &Plain,
        tenant: &str,
        added: &Words,
        subject: Option<&Subject>,
        codes: &mut BTreeSet<&'static str>,
    ) {
        let held = subject.and_then(|by| self.held(plain, by).ok()).unwrap_or_default();
        if !added.is_subset(&held) {
            codes.insert("beyond_own_rights");
        }
        let all = self.tenants[tenant].environments.iter().map(String::as_str);
        Naive::reaches_all(subject, all, codes);
        if self.tenants[tenant].removed {
            codes.insert("tenant_removed");
        }
    }

    pub(crate) fn say(
        &mut self,
        plain: &Plain,
        command: &Command,
        actor: Actor<'_>,
        now: i64,
        stale: bool,
        codes: &mut BTreeSet<&'static str>,
    ) {
        let subject = match actor {
            Actor::Subject(subject) => Some(subject),
            Actor::Configuration | Actor::Clock | Actor::Application => None,
        };
        match command {
            Command::SetRole { tenant, role, permissions, .. } => {
                let (tenant, role) = (tenant.as_str(), role.as_str());
                let own = self.may_tell(plain, (tenant, role), actor, stale, codes);
                let words: Words = permissions.iter().map(|name| name.to_string()).collect();
                if words.iter().any(|name| !PERMISSIONS.contains(&name.as_str())) {
                    codes.insert("permission_unknown");
                }
                let Some(known) = self.tenants.get(tenant) else {
                    codes.insert("not_found");
                    return;
                };
                if known.removed {
                    codes.insert("tenant_removed");
                }
                let told = self.told(tenant, role).cloned();
                let stands = told
                    .clone()
                    .filter(|told| told.own == own && !told.taken_back && !told.old && told.listed);
                let before = self.role_in(plain, tenant, role).unwrap_or_default();
                let listed = told.as_ref().is_some_and(|told| told.listed);
                let same = match &stands {
                    Some(stands) => stands.words == words,
                    None => !own && !listed && before == words,
                };
                if same {
                    return;
                }
                let added: Words = words.difference(&before).cloned().collect();
                if !added.is_empty() || (own && stands.is_none()) {
                    self.gives(plain, tenant, &added, subject, codes);
                }
                let mine = |(t, name): &&(String, String)| t == tenant && !plain.roles.contains_key(name);
                let own_roles = self.told.iter().filter(|(key, told)| told.listed && mine(key)).count();
                if own && !listed && own_roles >= plain.own_roles {
                    codes.insert("too_many_roles");
                }
                let mut by = stands.map(|stands| stands.by).unwrap_or_default();
                if !added.is_empty() {
                    by.extend(Source::came(subject, self.row_mail(tenant, subject)));
                }
                let told = Told { words, own, by, taken_back: false, old: false, listed: true };
                self.told.insert((tenant.to_owned(), role.to_owned()), told);
            }
            Command::RemoveRole { tenant, role, .. } => {
                let (tenant, role) = (tenant.as_str(), role.as_str());
                let mut against = BTreeSet::new();
                let own = self.may_tell(plain, (tenant, role), actor, stale, &mut against);
                let Some(told) =
                    self.told(tenant, role).cloned().filter(|_| self.tenants.contains_key(tenant))
                else {
                    // Whose time to be compared has not come.
                    against.retain(|code| !["changed", "plan_lacks_roles"].contains(code));
                    if own || !self.tenants.contains_key(tenant) {
                        against.insert("not_found");
                    }
                    codes.extend(against);
                    return;
                };
                if told.taken_back && !told.listed {
                    against.retain(|code| !["changed", "plan_lacks_roles"].contains(code));
                    codes.extend(against);
                    return;
                }
                codes.extend(against);
                if told.own && !told.old && self.is_granted(tenant, role, now) {
                    codes.insert("role_granted");
                }
                let before = self.role_in(plain, tenant, role).unwrap_or_default();
                let words = role_can(plain, role);
                let added: Words = words.difference(&before).cloned().collect();
                let mut by = if told.own { Vec::new() } else { told.by };
                if !added.is_empty() {
                    self.gives(plain, tenant, &added, subject, codes);
                    if !told.own {
                        by.extend(Source::came(subject, self.row_mail(tenant, subject)));
                    }
                }
                let told = Told { words, by, taken_back: true, listed: false, ..told };
                self.told.insert((tenant.to_owned(), role.to_owned()), told);
            }
            other => panic!("{other:?}"),
        }
    }
}

/// What support gets of a role here.
pub(crate) fn for_staff(plain: &Plain, role: Option<Words>) -> Words {
    role.unwrap_or_default().into_iter().filter(|right| !forbidden(plain, right)).collect()
}

/// The names that the generators know.
pub(crate) const OWN: [&str; 3] = ["helper", "checker", "counter"];

pub(crate) fn named(name: &str) -> RoleName {
    name.parse().unwrap()
}
