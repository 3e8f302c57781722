//! What an emergency token opens: exactly what break-glass gives the operator whom it names, in the tenant that it names, without
//! anything that a store would have to say (rule 18). Nothing here waits for a document that cannot be had: what is known last binds,
//! and of a tenant that was never known nothing does.
//!
//! Never here: whether a token was signed (that is `identity`), entering by a store that answers ([`crate::lifecycle`]).

use std::{collections::BTreeSet, sync::Arc};

use crate::model::{
    Basis, EmergencyKey, EmergencyToken, EnvironmentId, SessionId, Side, Subject, SubjectRef, Tenant,
    Timestamp,
};

use super::{
    Ask, BreakGlass, Deadline, Decision, Detail, Due, Facts, Lack, Named, OnRemove, Policy, Reason, Rule,
    Staff,
    decide::{deny, deny_as},
    emergency::Halted,
    standing::Fallen,
};

/// How long an exchange goes on before it is asked again for what could not be had, in milliseconds.
const AGAIN_MS: i64 = 5_000;

/// Which emergency tokens count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmergencyTokens {
    /// Who may sign them.
    pub keys: BTreeSet<EmergencyKey>,
    /// What they must be made for.
    pub audience: String,
    /// How long one lives at most, in milliseconds.
    pub longest_ms: i64,
    /// Those that were taken back.
    pub revoked: BTreeSet<SessionId>,
}

/// What a request brings for an emergency.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Brought {
    /// Nothing.
    #[default]
    Nothing,
    /// Something malformed, or several.
    Unclear,
    /// A token that was refused, with the fault's code.
    Refused(&'static str),
    /// A token that a key of the emergency authority signed.
    Token(Arc<EmergencyToken>),
}

impl Brought {
    /// The token that came.
    pub fn token(&self) -> Option<&Arc<EmergencyToken>> {
        match self {
            Brought::Token(token) => Some(token),
            Brought::Nothing | Brought::Unclear | Brought::Refused(_) => None,
        }
    }
}

/// Decides about a request that brings something for an emergency; never by anything else that its caller may have.
pub(super) fn decide(
    ask: &Ask<'_>,
    rule: &Rule,
    subject: &Subject,
    (tenant_id, environment): (&str, &str),
    facts: &Facts,
    now: Timestamp,
    policy: &Policy,
) -> Result<Decision, Lack> {
    let (token, glass) = match counts(ask, subject, (tenant_id, environment), now, policy) {
        Ok(counts) => counts,
        Err(fallen) => return Ok(deny_as(fallen)),
    };
    if let Some(unmet) = glass.conditions.unmet(subject, &ask.around, now) {
        return Ok(deny_as(unmet));
    }
    // What it gives is asked before what is known: a refusal then costs no look-up.
    let Some(role) = policy.role(&glass.role) else { return Ok(deny(Reason::RoleUnknown)) };
    if !rule.permissions.iter().all(|permission| role.permissions.contains(*permission)) {
        return Ok(deny(Reason::PermissionMissing));
    }
    let Ok(environment) = EnvironmentId::new(environment) else {
        return Ok(deny(Reason::EnvironmentUnknown));
    };
    if let Some(fallen) = kept_out(token, glass, &environment, facts, policy)? {
        return Ok(deny_as(fallen));
    }
    let longest = Deadline { at: now.plus_ms(policy.max_exchange_ms), due: Due::Exchange };
    let again = facts.lacks_any().then(|| Deadline { at: now.plus_ms(AGAIN_MS), due: Due::Unknown });
    Ok(Decision::by_token(Staff {
        tenant: token.tenant.clone(),
        environment,
        session: token.id.clone(),
        role: Some(glass.role.clone()),
        acted_for: None,
        basis: Basis::BreakGlass(token.glass.clone()),
        deadline: again
            .into_iter()
            .fold(Deadline { at: token.ends, due: Due::Session }.min(longest), Deadline::min),
    }))
}

/// Whether the token counts for this operator, here, now: all of it without a document.
fn counts<'a>(
    ask: &Ask<'a>,
    subject: &Subject,
    (tenant, environment): (&str, &str),
    now: Timestamp,
    policy: &'a Policy,
) -> Result<(&'a EmergencyToken, &'a BreakGlass), Fallen> {
    let no = |reason| Err((reason, Detail::None));
    let invalid = |code| Err((Reason::EmergencyInvalid, Detail::Token(code)));
    // Who is no operator hears nothing of what would count.
    let Some(glass) = policy.break_glass(&subject.id) else { return no(Reason::EmergencyNotOperator) };
    let Some(rules) = &glass.tokens else { return no(Reason::EmergencyNotConfigured) };
    if ask.session != Named::Missing {
        return no(Reason::EmergencyAndSession);
    }
    let token = match ask.emergency {
        Brought::Token(token) => token,
        Brought::Refused(code) => return invalid(code),
        Brought::Nothing | Brought::Unclear => return no(Reason::EmergencyUnclear),
    };
    // Asked again of what is under way, where another configuration came.
    if !rules.keys.contains(&token.by) {
        return invalid("token_key_unknown");
    }
    if *rules.audience != *token.audience {
        return invalid("token_aud_not_allowed");
    }
    if token.ends.ms_since(token.issued) > rules.longest_ms {
        return invalid("token_lifetime_too_long");
    }
    if token.operator != subject.id {
        return no(Reason::EmergencyOfAnother);
    }
    if rules.revoked.contains(&token.id) {
        return no(Reason::EmergencyRevoked);
    }
    if now >= token.ends {
        return Err((Reason::EmergencyOver, Detail::At(token.ends)));
    }
    if token.tenant.as_str() != tenant {
        return no(Reason::EmergencyOtherTenant);
    }
    if token.environment.as_ref().is_some_and(|own| own.as_str() != environment) {
        return no(Reason::EmergencyOtherEnvironment);
    }
    if !glass.causes.contains(&*token.glass.cause) || !glass.incident.matches(&token.glass.incident) {
        return no(Reason::EmergencyUndeclared);
    }
    Ok((token, glass))
}

/// What is known, as far as it can be had; a document that nobody looked at yet is asked for all the same.
pub(super) fn as_known<T>(looked: Result<Option<T>, Lack>) -> Result<Option<T>, Lack> {
    match looked {
        Err(Lack::Unavailable) => Ok(None),
        looked => looked,
    }
}

/// Why the operator stays outside by what is known last: kill switches, the tenant's own among them where it may end break-glass, and
/// what it took away since the token was made.
fn kept_out(
    token: &EmergencyToken,
    glass: &BreakGlass,
    environment: &EnvironmentId,
    facts: &Facts,
    policy: &Policy,
) -> Result<Option<Fallen>, Lack> {
    let id = token.tenant.as_str();
    let tenant = match facts.tenant(id) {
        // The store said so: there is nothing to enter.
        Ok(None) => return Ok(Some((Reason::TenantForeign, Detail::None))),
        looked => as_known(looked)?,
    };
    let halted = halted_as_known(&token.operator, id, tenant.filter(|_| glass.tenant_ends), facts)?;
    if let Some(side) = halted.now {
        return Ok(Some((Reason::Stopped, Detail::LiftedBy(side))));
    }
    if let Some(at) = halted.closed_at.filter(|at| token.issued <= *at) {
        return Ok(Some((Reason::SessionStopped, Detail::At(at))));
    }
    if policy.sessions.on_remove == OnRemove::Bar
        && glass.tenant_ends
        && let Some(presence) = as_known(facts.presence(id, &token.operator))?
        && let Some(at) = presence.closed_at.filter(|at| token.issued <= *at)
    {
        return Ok(Some((Reason::SessionEnded, Detail::At(at))));
    }
    let Some(tenant) = tenant else { return Ok(None) };
    Ok(if let Some(at) = tenant.removed {
        Some((Reason::TenantRemoved, Detail::At(at)))
    } else if let Some(at) = tenant.took_away(environment, token.issued) {
        Some((Reason::EnvironmentRemoved, Detail::At(at)))
    } else if !tenant.environments.contains(environment) {
        Some((Reason::EnvironmentUnknown, Detail::None))
    } else {
        None
    })
}

/// The kill switches that bear on this person here, as far as they are known.
fn halted_as_known(
    subject: &SubjectRef,
    id: &str,
    own: Option<&Tenant>,
    facts: &Facts,
) -> Result<Halted, Lack> {
    let halted = Halted::default().and(own.map(|tenant| &tenant.stop), Side::Tenant);
    let (all, others) = match facts.stop_of_all() {
        Ok(all) => (all, all.is_some_and(|all| all.others)),
        // Whether there are others it cannot say; they are looked at.
        Err(Lack::Unavailable) => (None, true),
        Err(lack) => return Err(lack),
    };
    let halted = halted.and(all, Side::Operators);
    if !others {
        return Ok(halted);
    }
    let person = as_known(facts.stop_of_person(subject))?;
    let tenant = as_known(facts.stop_of_tenant(id))?;
    Ok(halted.and(person, Side::Operators).and(tenant, Side::Operators))
}
