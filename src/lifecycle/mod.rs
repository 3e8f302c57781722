//! The verbs: how consent, grants and sessions come to be, change and end.
//!
//! Lives here: one file a subject, each command a pure function from command, facts, actor and time to documents and events.
//! Who may give the command is part of the rule and decided here.
//!
//! Never here: committing or recording (that is [`crate::engine`]), a clock, input or output. Ids of new documents are
//! part of the command.

mod bar;
mod break_glass;
mod command;
mod consent;
pub mod created;
mod event;
mod expire;
mod fall;
mod grant;
mod granting;
pub mod grantor;
mod invitation;
mod login;
mod member;
mod moment;
mod once;
mod refusal;
mod request;
mod resource;
mod role;
mod seat;
mod session;
mod stop;
mod tenant;

use crate::{
    model::{Document, Key, Subject, SubjectRef, Timestamp},
    policy::{Facts, Lack, Need, Policy},
};

use moment::Moment;

pub use command::{Choice, Command, WantedBasis};
pub use created::{ActedOn, Created};
pub use event::Event;
pub use fall::fallen;
pub use grant::Until;
pub use login::MEMBERSHIP;
pub use once::{Applied, MOST_KEYS, apply_once};
pub use refusal::Refusal;
pub use request::Step;
pub use resource::Deed;
pub use stop::Switch;

/// Who gives a command.
#[derive(Debug, Clone, Copy)]
pub enum Actor<'a> {
    /// A verified caller.
    Subject(&'a Subject),
    /// The configuration of this gateway, at start.
    Configuration,
    /// The passing of time.
    Clock,
    /// What the application answered to a request that was admitted.
    Application,
}

impl Actor<'_> {
    /// The person, if it is one.
    pub fn subject(&self) -> Option<&SubjectRef> {
        match self {
            Actor::Subject(subject) => Some(&subject.id),
            Actor::Configuration | Actor::Clock | Actor::Application => None,
        }
    }
}

/// What a command comes to. What it rests on are the facts it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The documents as they are afterwards. Empty: everything is as wanted already.
    pub documents: Vec<(Key, Document)>,
    /// What happened.
    pub events: Vec<Event>,
    /// Whether it only takes rights away. Such a change never waits for what is broken: it acts in this gateway's
    /// memory at once.
    pub narrows: bool,
}

impl Change {
    /// Everything is as wanted already.
    pub const NOTHING: Change = Change { documents: Vec::new(), events: Vec::new(), narrows: false };
}

/// What [`apply`] answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It lacks these documents; fetch them and ask again.
    Need(Need),
    /// No.
    Refused(Refusal),
    /// Yes: commit this.
    Changed(Change),
}

/// Why a command's rule stopped before its end.
enum Stop {
    Lack(Lack),
    Refused(Refusal),
}

impl From<Lack> for Stop {
    fn from(lack: Lack) -> Self {
        Stop::Lack(lack)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Stop::Refused(refusal)
    }
}

/// Applies a command to what is known. Nothing is changed here: the answer says what to commit.
pub fn apply(command: &Command, facts: &Facts, actor: Actor<'_>, now: Timestamp, policy: &Policy) -> Outcome {
    let at = Moment { facts, actor, now, policy };
    let result = match command {
        Command::RegisterTenant { tenant, parent, zone, environments } => {
            let parent = parent.as_ref();
            let (zone, plan, seat_limit) = (*zone, None, None);
            tenant::register(&at, tenant, &tenant::Wanted { parent, zone, environments, plan, seat_limit })
        }
        Command::PushTenant { tenant, parent, zone, environments, plan, seat_limit, expected } => {
            let (parent, plan, seat_limit) = (parent.as_ref(), plan.as_ref(), *seat_limit);
            let wanted = tenant::Wanted { parent, zone: *zone, environments, plan, seat_limit };
            tenant::push(&at, tenant, &wanted, *expected)
        }
        Command::RemoveTenant { tenant, expected } => tenant::remove(&at, tenant, *expected),
        Command::PushMember { tenant, member, roles, suspended, email, expected } => {
            let wanted = member::Wanted { roles, suspended: *suspended, email: email.as_ref() };
            member::push(&at, tenant, member, &wanted, *expected)
        }
        Command::RemoveMember { tenant, member, expected } => member::remove(&at, tenant, member, *expected),
        Command::SeeGrantor { tenant, needed } => grantor::see(&at, tenant, *needed),
        Command::SetConsent { tenant, choice, until, expected } => {
            consent::set(&at, tenant, choice, *until, *expected)
        }
        Command::SetRole { tenant, role, permissions, expected } => {
            role::set(&at, tenant, role, permissions, *expected)
        }
        Command::RemoveRole { tenant, role, expected } => role::remove(&at, tenant, role, *expected),
        Command::Resource { tenant, resource, deed, expected } => {
            resource::step(&at, tenant, resource, deed, *expected)
        }
        Command::Created { tenant, made } => created::step(&at, tenant, made),
        Command::MakeGrant { tenant, grant, environment, to, role, scope, until } => {
            grant::make(&at, tenant, grant, grant::Terms { environment, to, role, scope, until })
        }
        Command::MoveGrant { tenant, grant, until, expected } => {
            grant::move_expiry(&at, tenant, grant, until, *expected)
        }
        Command::ChangeGrant { tenant, grant, role, scope, until, expected } => {
            let wanted = granting::Wanted { role: role.as_ref(), scope: scope.as_ref(), until: *until };
            granting::change(&at, tenant, grant, &wanted, *expected)
        }
        Command::SetGranting { tenant, allowed, expected } => granting::set(&at, tenant, *allowed, *expected),
        Command::WithdrawGrant { tenant, grant } => grant::withdraw(&at, tenant, grant),
        Command::AllowLogin { tenant, grant, environment, organisation, lasts, ticket } => {
            let (lasts, ticket) = (*lasts, ticket.as_deref());
            login::allow(&at, tenant, grant, &login::Terms { environment, organisation, lasts, ticket })
        }
        Command::WithdrawLogin { tenant, organisation, environment } => {
            login::withdraw(&at, tenant, organisation, environment.as_ref())
        }
        Command::SetApproval { tenant, required, expected } => {
            request::set_rule(&at, tenant, *required, *expected)
        }
        Command::Request { tenant, request, step } => request::step(&at, tenant, request, step),
        Command::StartSession { tenant, session, environment, basis, reason, ticket, lasts } => {
            session::start(
                &at,
                tenant,
                session,
                &session::Wish { environment, basis, reason, ticket: ticket.as_deref(), lasts: *lasts },
            )
        }
        Command::BreakGlass { tenant, session, environment, reason, incident, cause, lasts } => {
            let declared = break_glass::Declared { environment, reason, incident, cause, lasts: *lasts };
            break_glass::enter(&at, tenant, session, &declared)
        }
        Command::EndSession { tenant, session } => session::end(&at, tenant, session),
        Command::LiftBar { tenant, person } => bar::lift(&at, tenant, person),
        Command::Stop { switch, reason } => stop::set(&at, switch, reason),
        Command::Lift { switch, reason } => stop::lift(&at, switch, reason),
        Command::Expire { key } => expire::expire(&at, key),
        Command::AcceptClock { tenant, session } => expire::distrusted(&at, tenant, session),
    };
    match result {
        Ok(change) => Outcome::Changed(change),
        Err(Stop::Refused(refusal)) => Outcome::Refused(refusal),
        Err(Stop::Lack(Lack::Need(need))) => Outcome::Need(need),
        Err(Stop::Lack(Lack::Unavailable)) => Outcome::Refused(Refusal::Unavailable),
    }
}
