//! The closed list of what can be wrong with a configuration, by stable names.
//!
//! Never here: when something is one of them, and how it is told.

use std::fmt;

/// What kind of fault it is: a closed list of stable names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// The file cannot be read, or is too large.
    Unreadable,
    /// The file is no UTF-8.
    NotUtf8,
    /// The text is no YAML that is read here.
    Syntax,
    /// The text is too deep, too long or repeats itself too often.
    TooMuch,
    /// A key stands twice in one mapping.
    DuplicateKey,
    /// A key that nothing is known of.
    UnknownKey,
    /// A key that must be there.
    MissingKey,
    /// A key without a value.
    EmptyValue,
    /// A list where a text belongs, and the like.
    WrongType,
    /// A value that does not have the form it must have.
    BadValue,
    /// A value that is none of the words that are understood.
    UnknownWord,
    /// A number, size or duration outside of its bounds.
    OutOfRange,
    /// Keys of which exactly one must be given.
    OneOf,
    /// A name that stands twice.
    DuplicateName,
    /// A permission that the catalogue does not have.
    UnknownPermission,
    /// A role that is not declared.
    UnknownRole,
    /// A consent level that is not on the ladder.
    UnknownLevel,
    /// An upstream that is not declared.
    UnknownUpstream,
    /// An environment that is not declared.
    UnknownEnvironment,
    /// A parent that is not declared.
    UnknownTenant,
    /// An issuer that is not declared.
    UnknownIssuer,
    /// A time zone that this build does not know.
    UnknownZone,
    /// A pattern that covers no permission.
    PatternCoversNothing,
    /// A name that belongs to Postern itself.
    ReservedName,
    /// The lowest level of the ladder gives a role.
    LowestLevelHasRole,
    /// A higher level of the ladder gives none.
    LevelWithoutRole,
    /// A level allows less than the one below.
    LadderNotMonotone,
    /// The ceiling leaves nothing of a level.
    LevelEmptied,
    /// A role of support names what is closed to support by default.
    CeilingTakes,
    /// A role that tenants may adjust, where it must be the same for all.
    AdjustableForStaff,
    /// A tenant stands before its parent.
    ParentAfterChild,
    /// Tenants that are each other's parents.
    ParentCycle,
    /// A chain of parents longer than is followed.
    ParentsTooDeep,
    /// An algorithm that this version does not know.
    UnknownAlgorithm,
    /// An algorithm for which no key is there, or a key for which no algorithm is there.
    AlgorithmWithoutKey,
    /// A key set that cannot be used.
    BadKeys,
    /// A private key where a public one belongs.
    PrivateKey,
    /// A setting of `dangerous` away from loopback, or something that needs one.
    Dangerous,
    /// Something that is not encrypted is reachable from elsewhere.
    NotLoopback,
    /// Two listeners on one address.
    SameAddress,
    /// A file or variable that holds a secret or a key cannot be read.
    SecretUnreadable,
    /// A variable of the environment that a value names and that cannot be had.
    BadVariable,
    /// A header that cannot be used for this.
    BadHeader,
    /// An upstream's address that cannot be used.
    BadUrl,
    /// A certificate, its key or an authority that TLS cannot use.
    BadCertificate,
    /// A route's methods or template cannot be read.
    BadRoute,
    /// A route below the reserved prefix.
    ReservedPath,
    /// Two routes own the same request.
    RouteConflict,
    /// Two routes that some applications cannot tell apart.
    RouteTwins,
    /// A route to which others leave nothing.
    RouteNeverReached,
    /// A prefix that cannot be used, or a route whose paths cannot be rewritten.
    BadRewrite,
    /// A route for which no upstream is responsible, or several for parts of it.
    UpstreamUnclear,
    /// A level that only reads reaches a route that writes.
    ReadingLevelWrites,
    /// What the ceiling closes to staff can be reached in another way.
    CeilingReached,
    /// A route that roles reach on a condition only, and that says nothing of how it is narrowed.
    NotNarrowed,
    /// A parameter that the template does not have.
    MissingParameter,
    /// A map without routes.
    NoRoutes,
    /// Staff have no way to name a tenant or an environment.
    NoWayIn,
    /// Members pass where no path is read, though paths name tenants.
    CrossesTenants,
    /// Something that is declared and not used.
    Unused,
}

impl Code {
    /// Whether the text at its place may hold a secret, so that no excerpt is shown.
    pub(super) const fn hides_text(self) -> bool {
        matches!(self, Code::PrivateKey | Code::BadKeys)
    }

    /// Its stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Code::Unreadable => "unreadable",
            Code::NotUtf8 => "not_utf8",
            Code::Syntax => "syntax",
            Code::TooMuch => "too_much",
            Code::DuplicateKey => "duplicate_key",
            Code::UnknownKey => "unknown_key",
            Code::MissingKey => "missing_key",
            Code::EmptyValue => "empty_value",
            Code::WrongType => "wrong_type",
            Code::BadValue => "bad_value",
            Code::UnknownWord => "unknown_word",
            Code::OutOfRange => "out_of_range",
            Code::OneOf => "one_of",
            Code::DuplicateName => "duplicate_name",
            Code::UnknownPermission => "unknown_permission",
            Code::UnknownRole => "unknown_role",
            Code::UnknownLevel => "unknown_level",
            Code::UnknownUpstream => "unknown_upstream",
            Code::UnknownEnvironment => "unknown_environment",
            Code::UnknownTenant => "unknown_tenant",
            Code::UnknownIssuer => "unknown_issuer",
            Code::UnknownZone => "unknown_zone",
            Code::PatternCoversNothing => "pattern_covers_nothing",
            Code::ReservedName => "reserved_name",
            Code::LowestLevelHasRole => "lowest_level_has_role",
            Code::LevelWithoutRole => "level_without_role",
            Code::LadderNotMonotone => "ladder_not_monotone",
            Code::LevelEmptied => "level_emptied",
            Code::CeilingTakes => "ceiling_takes",
            Code::AdjustableForStaff => "adjustable_for_staff",
            Code::ParentAfterChild => "parent_after_child",
            Code::ParentCycle => "parent_cycle",
            Code::ParentsTooDeep => "parents_too_deep",
            Code::UnknownAlgorithm => "unknown_algorithm",
            Code::AlgorithmWithoutKey => "algorithm_without_key",
            Code::BadKeys => "bad_keys",
            Code::PrivateKey => "private_key",
            Code::Dangerous => "dangerous",
            Code::NotLoopback => "not_loopback",
            Code::SameAddress => "same_address",
            Code::SecretUnreadable => "secret_unreadable",
            Code::BadVariable => "bad_variable",
            Code::BadHeader => "bad_header",
            Code::BadUrl => "bad_url",
            Code::BadCertificate => "bad_certificate",
            Code::BadRoute => "bad_route",
            Code::ReservedPath => "reserved_path",
            Code::RouteConflict => "route_conflict",
            Code::RouteTwins => "route_twins",
            Code::RouteNeverReached => "route_never_reached",
            Code::BadRewrite => "bad_rewrite",
            Code::UpstreamUnclear => "upstream_unclear",
            Code::ReadingLevelWrites => "reading_level_writes",
            Code::CeilingReached => "ceiling_reached",
            Code::NotNarrowed => "not_narrowed",
            Code::MissingParameter => "missing_parameter",
            Code::NoRoutes => "no_routes",
            Code::NoWayIn => "no_way_in",
            Code::CrossesTenants => "crosses_tenants",
            Code::Unused => "unused",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
