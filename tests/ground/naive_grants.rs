//! Of the second implementation: grants by members who are no administrators, and the setting that lets some of them give.

use postern::{
    lifecycle::Actor,
    model::{GivenAs, Subject, SubjectKind, Tenant, TenantId},
};

use crate::{
    naive::{Codes, Grant, Naive, Source, Words, who},
    world::Plain,
};

/// A tenant's setting, once somebody touched it.
#[derive(Debug, Clone)]
pub(crate) struct Others {
    pub(crate) on: bool,
    /// What was given by it until then is over.
    pub(crate) off: Option<i64>,
    /// Who switched it on.
    pub(crate) by: Vec<Source>,
}

impl Others {
    pub(crate) fn read(tenant: &Tenant) -> Option<Others> {
        let setting = tenant.delegation.as_ref()?;
        let off = setting.off.map(|at| at.ms());
        Some(Others { on: setting.allowed, off, by: Source::kept(&setting.by) })
    }
}

/// A person of the tenant in a token of their own.
fn person<'a>(actor: Actor<'a>, tenant: &str) -> Option<&'a Subject> {
    match actor {
        Actor::Subject(subject) => {
            let theirs = subject.tenant.as_ref().is_some_and(|own| own.as_str() == tenant);
            (subject.kind == SubjectKind::Member && !subject.acting && theirs).then_some(subject)
        }
        Actor::Configuration | Actor::Clock | Actor::Application => None,
    }
}

impl Naive {
    fn roles_held(&self, tenant: &str, subject: &Subject) -> Words {
        if subject.id.issuer.as_str() != "rows" {
            return subject.roles.iter().map(|role| role.to_string()).collect();
        }
        let row = self.members.get(&(tenant.to_owned(), who(subject)));
        let row = row.filter(|row| !row.gone() && !row.suspended);
        row.map(|row| row.roles.clone()).unwrap_or_default()
    }

    /// As whom somebody gives.
    pub(crate) fn gives_as(
        &self,
        plain: &Plain,
        actor: Actor<'_>,
        tenant: &str,
    ) -> Result<GivenAs, &'static str> {
        let mut codes = Codes::new();
        self.administrator(plain, actor, tenant, &mut codes);
        let Some(refused) = codes.pop_first() else { return Ok(GivenAs::Administrator) };
        let Some(subject) = person(actor, tenant) else { return Err(refused) };
        let roles = self.roles_held(tenant, subject);
        let ways: Vec<bool> = roles.iter().filter_map(|role| plain.by_role.get(role)).copied().collect();
        let on = self.tenants.get(tenant).and_then(|known| known.others.as_ref()).is_some_and(|o| o.on);
        match (ways.contains(&true), ways.contains(&false)) {
            (true, _) => Ok(GivenAs::Member),
            (false, true) if on => Ok(GivenAs::Allowed),
            (false, true) => Err("granting_off"),
            (false, false) => Err(refused),
        }
    }

    /// Speaks against whoever may not withdraw a grant.
    pub(crate) fn withdraws(
        &self,
        plain: &Plain,
        actor: Actor<'_>,
        (tenant, grant): (&str, &str),
        codes: &mut Codes,
    ) {
        let known = self.grants.get(&(tenant.to_owned(), grant.to_owned()));
        let own = match (person(actor, tenant), known) {
            (Some(subject), Some(known)) => known.grantor == who(subject),
            _ => false,
        };
        if plain.by_role.is_empty() || !own {
            self.administrator(plain, actor, tenant, codes);
        }
    }

    /// The same of whoever may not change it; else as whom they would give it.
    pub(crate) fn changes(
        &self,
        plain: &Plain,
        actor: Actor<'_>,
        (tenant, grant): (&str, &str),
        codes: &mut Codes,
    ) -> Option<GivenAs> {
        let mut against = Codes::new();
        self.withdraws(plain, actor, (tenant, grant), &mut against);
        let given_as = self.gives_as(plain, actor, tenant);
        if against.is_empty() {
            against.extend(given_as.err());
        }
        codes.extend(&against);
        given_as.ok().filter(|_| against.is_empty())
    }

    /// Speaks against whoever could give less now than the grant was given as.
    pub(crate) fn still_theirs(grant: &Grant, by: Option<GivenAs>, codes: &mut Codes) {
        let theirs = match by {
            None | Some(GivenAs::Administrator) => true,
            Some(GivenAs::Member) => grant.given_as != GivenAs::Administrator,
            Some(GivenAs::Allowed) => grant.given_as == GivenAs::Allowed,
        };
        if !theirs {
            codes.insert("given_as_other");
        }
    }

    /// Whether what a grant rests on was switched off since.
    pub(crate) fn switched_off(&self, tenant: &str, grant: &Grant) -> bool {
        let setting = self.tenants.get(tenant).and_then(|known| known.others.as_ref());
        grant.given_as == GivenAs::Allowed
            && setting.is_none_or(|others| !others.on || others.off.is_some_and(|off| grant.given <= off))
    }

    /// Whether whoever gave it, and is no administrator, was suspended or removed since.
    pub(crate) fn giver_went(&self, tenant: &str, grant: &Grant) -> bool {
        let row = self.members.get(&(tenant.to_owned(), grant.grantor.clone()));
        let away = row.and_then(|row| row.away).is_some_and(|away| grant.given <= away);
        grant.given_as != GivenAs::Administrator && away
    }

    /// GW-14: whether they switched on what a grant rests on.
    pub(crate) fn let_by(&self, tenant: &str, grant: &Grant, subject: &Subject) -> bool {
        let setting = self.tenants.get(tenant).and_then(|known| known.others.as_ref());
        let own = setting.is_some_and(|others| others.by.iter().any(|giver| giver.is(subject)));
        grant.given_as == GivenAs::Allowed && own
    }

    /// The setting is chosen.
    pub(crate) fn let_others(
        &mut self,
        plain: &Plain,
        (tenant, allowed): (&TenantId, bool),
        subject: Option<&Subject>,
        now: i64,
        codes: &mut Codes,
    ) {
        let row = self.row_mail(tenant.as_str(), subject);
        let Some(known) = self.tenants.get_mut(tenant.as_str()) else {
            codes.insert("not_found");
            return;
        };
        if known.removed {
            codes.insert("tenant_removed");
        }
        let before = known.others.clone();
        if before.as_ref().is_some_and(|before| before.on) == allowed {
            return;
        }
        if !allowed {
            known.others = before.map(|before| Others { on: false, off: Some(now), ..before });
            return;
        }
        if !plain.by_role.values().any(|always| !always) {
            codes.insert("not_found");
        }
        Naive::reaches_all(subject, known.environments.iter().map(String::as_str), codes);
        let off = before.map(|before| before.off.unwrap_or(i64::MIN).max(now - 1));
        known.others = Some(Others { on: true, off, by: Source::came(subject, row) });
    }
}
