//! The closed vocabulary of decisions: one stable code for each reason, used in answers, records and tests alike
//! (law 12).
//!
//! Never here: HTTP statuses and texts (see `proxy::respond`): a code says why, the door says how it is told.

use std::fmt;

use serde::Serialize;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// Why a request was admitted or refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// Every reason, in the order of their declaration.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)*];

            /// The stable code.
            pub fn code(self) -> &'static str {
                match self { $(Reason::$name => $code,)* }
            }
        }
    };
}

reasons! {
    /// The map opens this route to everybody; identity is removed.
    PublicRoute = "public_route",
    /// A member's role holds the permission.
    MemberRole = "member_role",
    /// The configuration lets members pass where the map is silent.
    MemberUnmapped = "member_unmapped",
    /// A staff session by consent holds the permission.
    SessionByConsent = "session_by_consent",
    /// A staff session by grant holds the permission.
    SessionByGrant = "session_by_grant",
    /// A staff session acts as a person of the tenant, who can do this.
    SessionByActAs = "session_by_act_as",
    /// A staff session by break-glass holds the permission.
    SessionByBreakGlass = "session_by_break_glass",
    /// An emergency token opens, and what break-glass gives holds the permission.
    EmergencyToken = "emergency_token",

    /// No bearer token came with the request.
    TokenMissing = "token_missing",
    /// A token came and was refused; the fault has a code of its own.
    TokenInvalid = "token_invalid",
    /// A token came and cannot be judged: its issuer's keys cannot be had right now.
    KeysUnavailable = "keys_unavailable",
    /// The map has no such route (law 3).
    RouteUnmapped = "route_unmapped",
    /// The map has this path in another case, or with another last slash: whose it is the back-end's reading decides.
    RouteTwin = "route_twin",
    /// The map has the path, not with this method.
    MethodUnmapped = "method_unmapped",
    /// The request names no tenant.
    TenantMissing = "tenant_missing",
    /// The request's tenant has not the canonical form, or two places name different ones.
    TenantUnclear = "tenant_unclear",
    /// The caller has no business in that tenant, or there is none such: one answer for both (law 11).
    TenantForeign = "tenant_foreign",
    /// The environment is not one that exists.
    EnvironmentUnknown = "environment_unknown",
    /// The route does not exist in this environment.
    RouteElsewhere = "route_elsewhere",
    /// The tenant's plan, as far as it is known, does not have this route.
    RouteNotInPlan = "route_not_in_plan",
    /// Roles of this caller's issuer stand in rows, and there is none of them.
    MemberUnknown = "member_unknown",
    /// The member is suspended.
    MemberSuspended = "member_suspended",
    /// The caller's rights do not hold the permission of the route.
    PermissionMissing = "permission_missing",
    /// Somebody acts as this staff subject: acting never chains (law 5).
    Acting = "acting",
    /// A program's token opens no route: services speak to the support API alone.
    ServiceNotHere = "service_not_here",
    /// Staff do not come from this network.
    NetworkRefused = "network_refused",
    /// The sign-in is of a class that is not enough (RFC 9470).
    AcrInsufficient = "acr_insufficient",
    /// The sign-in lacks a method that is asked for (RFC 9470).
    AmrInsufficient = "amr_insufficient",
    /// The sign-in is too long ago, or nobody knows how long (RFC 9470).
    AuthTooOld = "auth_too_old",
    /// No ticket is named where one must be.
    TicketMissing = "ticket_missing",
    /// The ticket has not the shape of one, or several are named.
    TicketMalformed = "ticket_malformed",
    /// The configuration closes this to staff at every level (law 5).
    Ceiling = "ceiling",
    /// The session header is malformed or comes twice.
    SessionUnclear = "session_unclear",
    /// The caller has no active session here (law 2), or not the one that they named.
    SessionMissing = "session_missing",
    /// Several sessions are active and the request names none (rule 3).
    SessionAmbiguous = "session_ambiguous",
    /// The session was ended.
    SessionEnded = "session_ended",
    /// A kill switch is set: over this person, the tenant, or everything.
    Stopped = "stopped",
    /// A kill switch ended the session; it was lifted since, and the session stays ended.
    SessionStopped = "session_stopped",
    /// The configuration no longer lets this person break the glass, or gives another role by it.
    BreakGlassWithdrawn = "break_glass_withdrawn",
    /// An emergency token came, of somebody whom the configuration does not let break the glass.
    EmergencyNotOperator = "emergency_not_operator",
    /// An emergency token came, and the configuration takes none.
    EmergencyNotConfigured = "emergency_not_configured",
    /// An emergency token and a session are named both.
    EmergencyAndSession = "emergency_and_session",
    /// The header of the emergency token is malformed or comes twice.
    EmergencyUnclear = "emergency_unclear",
    /// The emergency token was refused; the fault has a code of its own.
    EmergencyInvalid = "emergency_invalid",
    /// The emergency token was made for another operator (rule 18).
    EmergencyOfAnother = "emergency_of_another",
    /// The emergency token is for another tenant (rule 18).
    EmergencyOtherTenant = "emergency_other_tenant",
    /// The emergency token is for another environment.
    EmergencyOtherEnvironment = "emergency_other_environment",
    /// The emergency token names a cause or an incident that the configuration does not take.
    EmergencyUndeclared = "emergency_undeclared",
    /// The configuration took the emergency token back.
    EmergencyRevoked = "emergency_revoked",
    /// The emergency token is over.
    EmergencyOver = "emergency_over",
    /// The operator tried to break the glass too often within an hour.
    EmergencyTooOften = "emergency_too_often",
    /// The session's deadline has passed.
    SessionExpired = "session_expired",
    /// One exchange runs so long at the most (rule 10); the session goes on.
    ExchangeTooLong = "exchange_too_long",
    /// A service removed the tenant.
    TenantRemoved = "tenant_removed",
    /// The environment was taken away since the session began, or since its grant was given.
    EnvironmentRemoved = "environment_removed",
    /// The session is for another environment.
    SessionElsewhere = "session_elsewhere",
    /// The tenant's consent no longer admits anybody, or did not for a while since the session began.
    ConsentWithdrawn = "consent_withdrawn",
    /// The tenant's consent no longer reaches as far as this route.
    ConsentLowered = "consent_lowered",
    /// The grant behind the session was withdrawn.
    GrantWithdrawn = "grant_withdrawn",
    /// The grant behind the session has expired.
    GrantExpired = "grant_expired",
    /// The grant behind the session cannot be found or is not for this person.
    GrantMissing = "grant_missing",
    /// Whoever gave the grant is no member any more, or suspended, or nobody knows (rule 5).
    GrantorGone = "grantor_gone",
    /// Whoever gave the grant was not seen for as long as their roles are remembered, or never (rule 5).
    GrantorUnknown = "grantor_unknown",
    /// Whoever gave the grant cannot do this any more.
    GrantorLacks = "grantor_lacks",
    /// The tenant's plan gives no support access, or did not for a while since the grant was given.
    PlanCloses = "plan_closes",
    /// This environment cannot be granted beside the others that there are, or could not for a while since the grant was
    /// given.
    EnvironmentCloses = "environment_closes",
    /// The tenant lets nobody but its administrators give grants, or did not for a while since this one was given.
    GrantingOff = "granting_off",
    /// The grant covers other resources than the one asked for.
    GrantScope = "grant_scope",
    /// The caller gave it themselves, as a person of the tenant (GW-14).
    SelfGranted = "self_granted",
    /// The role of the session is no longer known; it gives nothing.
    RoleUnknown = "role_unknown",
    /// What the decision needs cannot be had right now.
    StateUnavailable = "state_unavailable",
    /// What the decision needs is known as it was too long ago (rule 9).
    StateStale = "state_stale",
    /// The store has lost something where it lies, and is not healed yet (law 8).
    StateSuspect = "state_suspect",
    /// The ledger takes not even outcomes, so nothing of staff runs (law 1).
    RecordUnavailable = "record_unavailable",
    /// The gateway's clock is behind its own record (rule 7).
    ClockBehind = "clock_behind",
    /// Another process goes by the gateway's name: it serves no staff.
    GatewayNameTaken = "gateway_name_taken",
    /// Another configuration names tenants or environments by other means, or no longer takes the caller's issuer for what
    /// it was: what runs cannot be decided again.
    ConfigurationReplaced = "configuration_replaced",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_snake_case_words() {
        let mut codes: Vec<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        assert!(codes.iter().all(|code| code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Reason::ALL.len());
    }
}
