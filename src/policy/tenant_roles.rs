//! What a role's name means in a tenant: what the configuration says of it, or what the tenant says of one of its own or of
//! one that the configuration lets tenants adjust. Whoever asks what a role may do there asks here.
//!
//! A configured role that tenants do not adjust means the same everywhere: nothing is looked up for it, nor for any name
//! where tenants say nothing of roles.
//!
//! Never here: who may say something of a role ([`crate::lifecycle`]).

use crate::model::{Giver, Key, PermissionName, PlanName, RoleName, Subject, TenantRole};

use super::{Facts, Lack, Need, PermissionId, PermissionSet, Plans, Policy, SUPPORT_MANAGE, has_plan};

/// How many roles of its own a tenant may define where the configuration says only that it may.
pub const MOST_ROLES: usize = 50;

/// What tenants may do about roles.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TenantRoles {
    /// The permission that it takes; [`SUPPORT_MANAGE`] where none is configured.
    pub permission: Option<PermissionName>,
    /// How many roles of its own a tenant may define; 0: none.
    pub most: usize,
    /// The plans that have it; `None`: all, also none.
    pub plans: Plans,
}

impl TenantRoles {
    /// The permission that it takes.
    pub fn permission(&self) -> &str {
        self.permission.as_ref().map_or(SUPPORT_MANAGE, PermissionName::as_str)
    }

    /// Whether a plan has it. An unknown one, or none, has it only where every tenant does.
    pub fn in_plan(&self, plan: Option<&PlanName>) -> bool {
        has_plan(&self.plans, plan)
    }
}

/// What a role's name means in one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning<'a> {
    /// Nothing.
    Nothing,
    /// What the configuration says.
    Configured(&'a PermissionSet),
    /// What the tenant says, and no more than this set where there is one.
    Told(&'a TenantRole, Option<&'a PermissionSet>),
}

impl Meaning<'_> {
    /// Whether the role holds this.
    pub fn holds(self, policy: &Policy, permission: PermissionId) -> bool {
        match self {
            Meaning::Nothing => false,
            Meaning::Configured(set) => set.contains(permission),
            Meaning::Told(role, within) => {
                within.is_none_or(|set| set.contains(permission))
                    && policy.catalogue.name(permission).is_some_and(|name| role.permissions.contains(name))
            }
        }
    }

    /// All that it holds.
    pub fn set(self, policy: &Policy) -> PermissionSet {
        if let Meaning::Configured(set) = self {
            return set.clone();
        }
        let mut set = PermissionSet::default();
        for (id, _) in policy.catalogue.iter().filter(|(id, _)| self.holds(policy, *id)) {
            set.insert(id);
        }
        set
    }
}

/// A tenant, as far as roles in it are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Here<'a> {
    /// Which.
    pub tenant: &'a str,
    /// What is known.
    pub facts: &'a Facts,
    /// What is configured.
    pub policy: &'a Policy,
}

impl<'a> Here<'a> {
    /// What a role's name means here.
    pub fn role(self, name: &RoleName) -> Result<Meaning<'a>, Lack> {
        let configured = match self.policy.role(name) {
            Some(role) if role.adjustable => Some(&role.permissions),
            Some(role) => return Ok(Meaning::Configured(&role.permissions)),
            None if self.policy.tenant_roles.most == 0 => return Ok(Meaning::Nothing),
            None => None,
        };
        let untold = configured.map_or(Meaning::Nothing, Meaning::Configured);
        let Some(tenant) = self.facts.tenant(self.tenant)? else { return Ok(untold) };
        if !tenant.roles.contains(name) {
            return Ok(untold);
        }
        // What the tenant is known to have said and cannot be found is lost; that is never taken for never said.
        let Some(told) = self.facts.role(self.tenant, name)? else { return Err(Lack::Unavailable) };
        // Said of another life of the tenant, or gone in one of two histories.
        let past = told.removed.is_some() || told.life != tenant.life;
        Ok(match (told.own, configured) {
            (true, _) if past => untold,
            // Since the configuration has one of that name too, no more than both.
            (true, configured) => Meaning::Told(told, configured),
            (false, None) => Meaning::Nothing,
            (false, Some(set)) => Meaning::Told(told, past.then_some(set)),
        })
    }

    /// Whether any of these roles holds this. Nothing is looked up where one does that means the same everywhere.
    pub fn any_holds<'r>(
        self,
        roles: impl IntoIterator<Item = &'r RoleName> + Clone,
        permission: PermissionId,
    ) -> Result<bool, Lack> {
        if self.policy.roles_can(roles.clone(), permission) {
            return Ok(true);
        }
        let mut lacks = Lacks::default();
        for name in roles {
            match self.role(name) {
                Ok(role) if role.holds(self.policy, permission) => return Ok(true),
                Ok(_) => {}
                Err(lack) => lacks.note(lack),
            }
        }
        lacks.or(false)
    }

    /// All that these roles hold together.
    pub fn all<'r>(self, roles: impl IntoIterator<Item = &'r RoleName>) -> Result<PermissionSet, Lack> {
        let mut all = PermissionSet::default();
        for name in roles {
            all.add(&self.role(name)?.set(self.policy));
        }
        Ok(all)
    }

    /// Who put something into a role of this name as a person of the tenant and is this subject (GW-14): whoever granted it
    /// did not grant that.
    pub fn filled_by(self, name: &RoleName, subject: &Subject) -> Result<Option<&'a Giver>, Lack> {
        if !self.policy.is_told(name) {
            return Ok(None);
        }
        // A name that only tenants know and this one does not list means nothing here.
        if self.policy.role(name).is_none() {
            let tenant = self.facts.tenant(self.tenant)?;
            if !tenant.is_some_and(|tenant| tenant.roles.contains(name)) {
                return Ok(None);
            }
        }
        let told = self.facts.role(self.tenant, name)?;
        Ok(told.and_then(|told| told.by.iter().find(|giver| giver.is(subject))))
    }

    /// The same of several roles that somebody holds: whoever lets somebody act as them did not give that either.
    pub fn any_filled_by<'r>(
        self,
        roles: impl IntoIterator<Item = &'r RoleName>,
        subject: &Subject,
    ) -> Result<Option<&'a Giver>, Lack> {
        let mut lacks = Lacks::default();
        for name in roles {
            match self.filled_by(name, subject) {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                Err(lack) => lacks.note(lack),
            }
        }
        lacks.or(None)
    }
}

/// What several roles lack together, so that it is fetched at once.
#[derive(Default)]
pub(super) struct Lacks {
    needed: Vec<Key>,
    unavailable: bool,
}

impl Lacks {
    pub(super) fn note(&mut self, lack: Lack) {
        match lack {
            Lack::Need(Need(keys)) => {
                for key in keys {
                    if !self.needed.contains(&key) {
                        self.needed.push(key);
                    }
                }
            }
            Lack::Unavailable => self.unavailable = true,
        }
    }

    /// The answer where nothing lacks.
    pub(super) fn or<T>(self, answer: T) -> Result<T, Lack> {
        match (self.needed.is_empty(), self.unavailable) {
            (false, _) => Err(Lack::Need(Need(self.needed))),
            (true, true) => Err(Lack::Unavailable),
            (true, false) => Ok(answer),
        }
    }
}

impl Policy {
    /// Whether what this role means is, or may be, for a tenant to say.
    pub fn is_told(&self, name: &RoleName) -> bool {
        self.role(name).map_or(self.tenant_roles.most > 0, |role| role.adjustable)
    }
}
