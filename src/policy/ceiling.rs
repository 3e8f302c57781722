//! The default ceiling: what staff never do unless the configuration opens it and says why, since it would go on working
//! after their session has ended (GW-10, law 5).
//!
//! A catalogue is written in the application's own words, so this goes by words: the last one of what a permission is
//! about, or of what is done. `docs/routes.md` says it to people, with the same lists.
//!
//! Never here: what a configuration opens ([`crate::config`]), the administration of support access, which nothing opens
//! ([`super::Policy::above_ceiling`]).

use super::{Catalogue, PermissionSet};
use crate::model::PermissionName;

/// Of these, reading is having.
pub const TO_HAVE: &[&str] = &["credential", "password", "secret"];

/// These give access, or work, on their own once they are made or changed.
pub const TO_MAKE: &[&str] = &[
    "apikey",
    "cert",
    "certificate",
    "cron",
    "cronjob",
    "hook",
    "invitation",
    "invite",
    "key",
    "member",
    "passkey",
    "schedule",
    "scheduler",
    "service_account",
    "token",
    "user",
    "webhook",
];

/// An action that begins with one of these only reads.
pub const READS: &[&str] = &["count", "find", "get", "list", "read", "search", "show", "view"];

/// Whether a permission is closed to staff where nothing else is said.
pub fn closed_by_default(name: &PermissionName) -> bool {
    let (kind, action) = (name.resource_type(), name.action());
    let about = |words| ends_with_one_of(kind, words) || ends_with_one_of(action, words);
    let reads = action.split(['_', '-']).next().is_some_and(|first| READS.contains(&first));
    about(TO_HAVE) || about(TO_MAKE) && !reads
}

/// What of a catalogue is closed to staff where nothing else is said.
pub fn default_ceiling(catalogue: &Catalogue) -> PermissionSet {
    let mut closed = PermissionSet::default();
    for (id, _) in catalogue.iter().filter(|(_, name)| closed_by_default(name)) {
        closed.insert(id);
    }
    closed
}

/// Whether the last word, or words, of a name are one of these, in the singular or the plural.
fn ends_with_one_of(name: &str, words: &[&str]) -> bool {
    let name = name.replace('-', "_");
    let singular = name.strip_suffix('s').unwrap_or(&name);
    [name.as_str(), singular].into_iter().any(|name| {
        words.iter().any(|word| {
            name.strip_suffix(word).is_some_and(|before| before.is_empty() || before.ends_with('_'))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(name: &str) -> bool {
        closed_by_default(&PermissionName::new(name).unwrap())
    }

    // GW-10
    #[test]
    fn what_would_outlive_a_session_is_closed_by_default() {
        for name in [
            "credentials:create",
            "credentials:read",
            "client-secrets:list",
            "password:reset",
            "keys:create",
            "api_keys:rotate",
            "api-keys:delete",
            "apikeys:manage",
            "tokens:write",
            "access_tokens:export",
            "certificates:upload",
            "webhooks:create",
            "webhooks:manage",
            "web_hooks:write",
            "users:create",
            "users:invite",
            "users:write",
            "users:manage",
            "users:delete",
            "team-members:add",
            "invitations:send",
            "service_accounts:create",
            "schedules:write",
            "report_schedules:run",
            "cron:write",
            // By what is done.
            "settings:rotate_keys",
            "profile:create-token",
            "settings:read_secrets",
            "reports:schedule",
            "teams:invite",
        ] {
            assert!(closed(name), "{name}");
        }
    }

    // GW-10
    #[test]
    fn what_only_reads_and_what_is_about_something_else_stays_open() {
        for name in [
            "users:read",
            "users:list",
            "users:search_by_name",
            "webhooks:view",
            "api_keys:list",
            "schedules:read",
            "settings:list_tokens",
            "orders:write",
            "integrations:run",
            // The last word says what it is about.
            "user_preferences:write",
            "token-ring:write",
            "key_figures:refresh",
            "webhook_logs:replay",
            "scheduled_jobs:run",
            // And it is a whole word.
            "monkeys:feed",
            "turkey:roast",
            "superusers:wave",
            "jobs:reschedule",
            "users_:read",
        ] {
            assert!(!closed(name), "{name}");
        }
    }

    #[test]
    fn the_lists_are_sorted_words_in_the_singular() {
        for list in [TO_HAVE, TO_MAKE, READS] {
            assert!(list.is_sorted(), "{list:?}");
        }
        for word in TO_HAVE.iter().chain(TO_MAKE) {
            assert!(
                !word.ends_with('s') && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{word}"
            );
        }
    }
}
