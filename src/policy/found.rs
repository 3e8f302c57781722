//! In which session a request is made (rule 3).
//!
//! Never here: what that session may do ([`mod@super::decide`]).

use crate::model::{Session, SessionId, Subject, SubjectRef, Timestamp};

use super::{
    Ask, Detail, Facts, Lack, Named, Policy, Reason,
    standing::{Fallen, standing},
};

/// The session that the request is made in: the one it names, or the only good one (rule 3).
pub(super) fn find_session<'a>(
    ask: &Ask<'_>,
    tenant_id: &str,
    environment: &str,
    subject: &Subject,
    facts: &'a Facts,
    now: Timestamp,
    policy: &Policy,
) -> Result<Result<(&'a SessionId, &'a Session), Fallen>, Lack> {
    let missing = Ok(Err((Reason::SessionMissing, Detail::None)));
    if let Named::As(named) = ask.session {
        // Whose session it is decides before anything else is said about it.
        return match facts.session_by_name(tenant_id, named)? {
            Some((id, session)) if is_of(session, &subject.id) => Ok(Ok((id, session))),
            Some(_) | None => missing,
        };
    }
    let Some(presence) = facts.presence(tenant_id, &subject.id)? else { return missing };
    let Some(tenant) = facts.tenant(tenant_id)? else { return missing };
    let mut good = None;
    let mut fallen: Option<(Timestamp, Fallen)> = None;
    for (id, session_environment) in &presence.sessions {
        if session_environment.as_str() != environment {
            continue;
        }
        let Some(session) = facts.session(tenant_id, id.as_str())? else { continue };
        if !is_of(session, &subject.id) {
            continue;
        }
        match standing(session, tenant_id, tenant, subject, facts, now, policy)? {
            Ok(_) if good.is_some() => return Ok(Err((Reason::SessionAmbiguous, Detail::None))),
            Ok(_) => good = Some((id, session)),
            Err(why) => {
                if fallen.as_ref().is_none_or(|(started, _)| *started < session.started) {
                    fallen = Some((session.started, why));
                }
            }
        }
    }
    match (good, fallen) {
        (Some(found), _) => Ok(Ok(found)),
        (None, Some((_, why))) => Ok(Err(why)),
        (None, None) => missing,
    }
}

fn is_of(session: &Session, subject: &SubjectRef) -> bool {
    session.subject == *subject
}
