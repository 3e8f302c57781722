//! What an explanation says of break-glass: who would be let in, as what, for how long, and what they could do there.
//!
//! Never here: a decision; the gateway's own entry and decision are rehearsed.

use std::io::{self, Write as _};

use crate::{
    model::{Span, Subject, SubjectKind},
    policy::{BreakGlass, Decision, Policy},
    proxy::preview::Preview,
};

use super::{Stage, Who, page::line, passes, verdict};
use crate::cli::{
    Answer,
    out::Out,
    rehearse::{self, Glass},
};

impl Stage<'_> {
    /// Whether the one whose token was given may break the glass.
    pub(super) fn by_glass(&self) -> bool {
        matches!(self.who, Who::Known(subject) if self.settings.policy.break_glass(&subject.id).is_some())
    }

    /// The first operator of the configuration.
    fn operator(&self) -> Option<Subject> {
        let glass = self.settings.policy.emergency.break_glass.as_ref()?;
        Some(Subject { id: glass.operators.first()?.clone(), ..self.somebody(SubjectKind::Staff)? })
    }

    fn glass(&self, read: &Preview<'_>, who: &Subject) -> Option<Glass> {
        rehearse::glass(self.settings, &read.ask, who, self.now)
    }
}

/// The line of an operator among all who pass.
pub(super) fn of_all(out: &mut Out, stage: &Stage<'_>, read: &Preview<'_>) -> io::Result<()> {
    let Some(told) = stage.operator().and_then(|who| stage.glass(read, &who)) else { return Ok(()) };
    let role = role(&stage.settings.policy);
    match told {
        Glass::Decided(decision, Some(lasts)) if passes(&decision) => {
            line(out, "break-glass", &format!("as `{role}`, for {} at most", Span::Millis(lasts)))
        }
        Glass::Decided(..) | Glass::Refused(_) => line(out, "break-glass", &format!("not as `{role}`")),
    }
}

/// Of the one whose token was given, or of an operator, who broke the glass.
pub(super) fn tell(out: &mut Out, stage: &Stage<'_>, read: &Preview<'_>) -> io::Result<Answer> {
    let role = role(&stage.settings.policy);
    let who = match stage.who {
        Who::Known(subject) => Some(subject.subject().clone()),
        Who::Nobody | Who::Refused(_) => stage.operator(),
    };
    let Some((who, told)) = who.and_then(|who| stage.glass(read, &who).map(|told| (who, told))) else {
        return Ok(Answer::No);
    };
    let (decision, lasts) = match told {
        Glass::Refused(refusal) => {
            writeln!(out, "{}, by break-glass: does not get in, {}: {refusal}", who.id, refusal.code())?;
            return Ok(Answer::No);
        }
        Glass::Decided(decision, lasts) => (decision, lasts),
    };
    let permitted = matches!(&decision, Some(Decision::Allow(permit)) if permit.staff().is_some());
    let answer = verdict(out, &format!("{}, by break-glass, with the role `{role}`", who.id), decision)?;
    if let Some(lasts) = lasts {
        writeln!(
            out,
            "such a session lasts {} at most, whatever the tenant consents to; the tenant sees it at once, and each\n\
             request is recorded, with cause, incident and reason",
            Span::Millis(lasts)
        )?;
    }
    let policy = &stage.settings.policy;
    let demands = |glass: &BreakGlass| !glass.conditions.is_empty();
    let of_glass = policy.emergency.break_glass.as_ref().is_some_and(demands);
    let left_out = match (policy.conditions.is_empty(), of_glass) {
        (true, false) => return Ok(answer),
        (false, false) => "`staff.require`, which is",
        (true, true) => "`break_glass.require`, which is",
        (false, true) => "`staff.require` and `break_glass.require`, which are",
    };
    if permitted {
        writeln!(out, "where they meet {left_out} left out of this")?;
    }
    Ok(answer)
}

/// What breaking the glass gives.
fn role(policy: &Policy) -> &str {
    policy.emergency.break_glass.as_ref().map(|glass| glass.role.as_str()).unwrap_or_default()
}
