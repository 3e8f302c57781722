//! How a tenant's person grants access beyond consent, moves its expiry, and withdraws it.
//!
//! Never here: whether a grant is good right now ([`crate::policy`]).

use std::collections::BTreeMap;

use chrono::NaiveDate;

use crate::{
    model::{
        Document, End, EndCause, EnvironmentId, Grant, GrantId, Grantee, Key, RoleName, Scope, Span, Subject,
        Tenant, TenantId, Timestamp, Version, Zone,
    },
    policy::{granting::closed, resources::beyond},
};

use super::{Change, Event, Moment, Refusal, Stop, granting, grantor::gives, role};

/// Until when, as a person says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// An instant.
    At(Timestamp),
    /// A bare date: the access ends when that date begins in the tenant's zone.
    Date(NaiveDate),
    /// So long from now.
    For(Span),
}

impl Until {
    pub(super) fn instant(self, now: Timestamp, zone: Zone) -> Timestamp {
        match self {
            Until::At(at) => at,
            Until::Date(date) => zone.begin_of(date),
            Until::For(span) => span.end(now, zone),
        }
    }
}

/// What is granted.
pub(super) struct Terms<'a> {
    pub(super) environment: &'a EnvironmentId,
    pub(super) to: &'a Grantee,
    pub(super) role: &'a RoleName,
    pub(super) scope: &'a Scope,
    pub(super) until: &'a Until,
}

/// Makes a grant: by an administrator of the tenant, or by whom the configuration lets. It stands beside consent and may go
/// beyond it.
pub(super) fn make(
    at: &Moment<'_>,
    id: &TenantId,
    grant: &GrantId,
    terms: Terms<'_>,
) -> Result<Change, Stop> {
    let (grantor, given_as) = granting::giver(at, id)?;
    at.reaches(terms.environment)?;
    let Some(tenant) = at.facts.tenant(id.as_str())? else { return Err(Refusal::NotFound("tenant").into()) };
    at.still_there(tenant)?;
    if !tenant.environments.contains(terms.environment) {
        return Err(Refusal::EnvironmentUnknown(terms.environment.clone()).into());
    }
    let (where_to, what) = ((terms.environment, terms.to), (terms.role, terms.scope));
    granting::fits(at, (id, tenant), (grantor, given_as), where_to, what)?;
    let until = checked(at, *terms.until, tenant.zone)?;
    let key = Key::Grant(id.clone(), grant.clone());
    let giver = at.giver(id, grantor, &key.to_string())?;
    if at.facts.grant(id.as_str(), grant.as_str())?.is_some() {
        return Err(Refusal::Changed.into());
    }
    let document = Grant {
        environment: terms.environment.clone(),
        to: terms.to.clone(),
        bound: None,
        role: Some(terms.role.clone()),
        act_as: None,
        scope: terms.scope.clone(),
        grantor: giver.person,
        grantor_mail: giver.mail,
        grantor_row_mail: giver.row_mail,
        prolonged_by: Default::default(),
        given_as,
        given: at.now,
        until,
        ended: None,
    };
    let role = Some(terms.role.clone());
    let event = Event::GrantMade { grant: grant.clone(), role, act_as: None, ticket: None, until };
    let mut documents = vec![(key, Document::Grant(document))];
    documents.extend(gives(at, id, grantor, until)?);
    documents.extend(role::named(at, id, grant, &[], &terms.scope.named(Some(terms.role)), until)?);
    Ok(Change { documents, events: vec![event], narrows: false })
}

/// Moves the expiry, nearer or further; it holds for the session that runs by it.
pub(super) fn move_expiry(
    at: &Moment<'_>,
    id: &TenantId,
    grant_id: &GrantId,
    until: &Until,
    expected: Option<Version>,
) -> Result<Change, Stop> {
    let (by, given_as) = granting::changer(at, id, grant_id)?;
    let key = Key::Grant(id.clone(), grant_id.clone());
    let Some(tenant) = at.facts.tenant(id.as_str())? else { return Err(Refusal::NotFound("tenant").into()) };
    let grant = standing_grant(at, id, tenant, grant_id)?;
    at.reaches(&grant.environment)?;
    at.as_seen(&key, expected)?;
    if grant.act_as.is_some() {
        return Err(Refusal::LoginAccessMoved.into());
    }
    let until = checked(at, *until, tenant.zone)?;
    if until == grant.until {
        return Ok(Change::NOTHING);
    }
    let mut prolonged_by = grant.prolonged_by.clone();
    if until > grant.until {
        at.still_there(tenant)?;
        granting::still_theirs(grant, given_as)?;
        may_hand_on(at, id, by, grant.role.as_ref(), &grant.scope)?;
        prolonged_by = granting::also_by(at, id, grant, &key, by)?;
    }
    let event = Event::GrantMoved { grant: grant_id.clone(), from: grant.until, until };
    let document = Document::Grant(Grant { until, prolonged_by, ..grant.clone() });
    let mut documents = vec![(key, document)];
    if until > grant.until && by.id == grant.grantor {
        documents.extend(gives(at, id, by, until)?);
    }
    documents.extend(role::named(at, id, grant_id, &[], &grant.scope.named(grant.role.as_ref()), until)?);
    // An earlier end takes nothing away now, and can be asked for again and again, a millisecond earlier each time: so it
    // is no narrowing, which may use the ledger's reserve. Whoever cannot wait withdraws the grant.
    Ok(Change { documents, events: vec![event], narrows: false })
}

/// Withdraws a grant. Its sessions fall with it: their validity rests on it. Of one that is over nothing is left to
/// withdraw: repeating it changes nothing, and like the first time it is answered when what ran by it is cut.
pub(super) fn withdraw(at: &Moment<'_>, id: &TenantId, grant_id: &GrantId) -> Result<Change, Stop> {
    let by = granting::withdrawer(at, id, grant_id)?.id.clone();
    let grant = match not_ended(at, id, grant_id) {
        Err(Stop::Refused(Refusal::Ended(_))) => return Ok(Change::NOTHING),
        standing => standing?,
    };
    let end = End { at: at.now, cause: EndCause::Withdrawn, by: Some(by) };
    let mut change = ended(id, grant_id, grant, end);
    let names = grant.scope.named(grant.role.as_ref());
    change.documents.extend(role::named(at, id, grant_id, &names, &[], at.now)?);
    Ok(change)
}

/// A grant reaches no further than whoever gives or prolongs it, apart from what staff may never do anyway: each of its roles where
/// it gives that, a role that it gives nowhere in the whole tenant (CEL-08).
pub(super) fn may_hand_on(
    at: &Moment<'_>,
    id: &TenantId,
    by: &Subject,
    main: Option<&RoleName>,
    scope: &Scope,
) -> Result<(), Stop> {
    let mut rights = BTreeMap::new();
    for name in scope.named(main) {
        rights.insert(name, at.here(id).role(name)?.set(at.policy));
    }
    let given = scope.given(main);
    let each = given.iter().flat_map(|(name, resource)| {
        let all = rights.get(name);
        let catalogue = at.policy.catalogue.iter();
        let for_staff = catalogue.filter(move |(right, _)| {
            all.is_some_and(|all| all.contains(*right)) && !at.policy.above_ceiling(*right)
        });
        for_staff.map(move |(right, lacking)| ((*name, lacking), right, resource.as_ref()))
    });
    match beyond(by, each, at.here(id))? {
        Some(((role, lacking), _)) => {
            Err(Refusal::BeyondGrantor { role: role.clone(), lacking: lacking.clone() }.into())
        }
        None => Ok(()),
    }
}

/// The grant with its end, and the event that says so.
pub(super) fn ended(id: &TenantId, grant_id: &GrantId, grant: &Grant, end: End) -> Change {
    let event = Event::GrantEnded { grant: grant_id.clone(), cause: end.cause, at: end.at };
    let document = Document::Grant(Grant { ended: Some(end), ..grant.clone() });
    Change {
        documents: vec![(Key::Grant(id.clone(), grant_id.clone()), document)],
        events: vec![event],
        narrows: true,
    }
}

/// A grant that has not ended; one whose time is over has, written down or not.
fn not_ended<'a>(at: &Moment<'a>, id: &TenantId, grant: &GrantId) -> Result<&'a Grant, Stop> {
    match at.facts.grant(id.as_str(), grant.as_str())? {
        None => Err(Refusal::NotFound("grant").into()),
        Some(grant) if !not_over(grant, at.now) => Err(Refusal::Ended("grant").into()),
        Some(grant) => Ok(grant),
    }
}

/// The same, and nothing closed the way to it since.
pub(super) fn standing_grant<'a>(
    at: &Moment<'a>,
    id: &TenantId,
    tenant: &Tenant,
    grant: &GrantId,
) -> Result<&'a Grant, Stop> {
    let grant = not_ended(at, id, grant)?;
    match closed(grant, tenant, at.policy) {
        Some(_) => Err(Refusal::Ended("grant").into()),
        None => Ok(grant),
    }
}

/// Whether a grant has neither ended nor run out, written down or not.
pub(super) fn not_over(grant: &Grant, now: Timestamp) -> bool {
    grant.ended.is_none() && now < grant.until
}

/// The instant that was meant: in the future, and no further than the configuration allows.
pub(super) fn checked(at: &Moment<'_>, until: Until, zone: Zone) -> Result<Timestamp, Refusal> {
    let until = until.instant(at.now, zone);
    if until <= at.now {
        return Err(Refusal::NotInFuture(until));
    }
    match at.policy.grant_most.map(|most| most.end(at.now, zone)) {
        Some(most) if until > most => Err(Refusal::TooFar { at: until, most }),
        Some(_) | None => Ok(until),
    }
}
