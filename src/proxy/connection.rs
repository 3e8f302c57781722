//! One client connection: heads come in one after another, each is decided by itself, and each answer is whole before
//! the next head is looked at.

mod api;
mod asked;
mod heads;
mod outgoing;
mod told;

pub(super) use told::turn_away;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use crate::{
    engine::{
        Admission, Answer, Glance, Report,
        knock::{Particulars, Who},
    },
    policy::{Ask, Denial, Effect, Named, Route, routes::Params},
};

use self::{
    asked::Narrowing,
    heads::{Came, Coming},
    outgoing::{Own, Unsent},
    told::{unreadable, upstream_words},
};
use super::{
    access::Note,
    collect::{self, Mapped},
    core::Core,
    counters::Counters,
    intake,
    narrow::head::NOT_ASKED,
    page::Page,
    patience::Patience,
    preflight::{self, Preflight},
    relay::{Client, Next, Plan, forward},
    respond::Told,
    routing::Routing,
    socket::Socket,
    upgrade,
    wire::{Framing, KnownSet, RequestHead, RequestView, Target},
};

/// How much is read at once while a head is awaited.
const PIECE: usize = 8 << 10;
/// How long an answer to somebody who does not read may take.
const ANSWER: Duration = Duration::from_secs(10);
/// How closely one request follows another on a connection that is busy.
const FOLLOWS: Duration = Duration::from_secs(1);
/// How long a connection that waits for a request when the gateway is stopped goes on waiting for one: it may be on its
/// way, and whoever sent it must not find a closed door.
const LAST_CALL: Duration = Duration::from_secs(1);
/// What is read and thrown away behind a refused request, so that its answer is not lost.
const LINGER: usize = 64 << 10;

struct Connection {
    stream: Socket,
    /// Whose connection it is.
    peer: SocketAddr,
    /// From where the request in hand comes.
    client: IpAddr,
    /// Bytes that have come and belong to no request yet.
    inbox: Vec<u8>,
    head: RequestHead,
    patience: Patience,
    /// When it began, until its first head has come.
    fresh: Option<tokio::time::Instant>,
    /// The kernel was told to keep little that is not sent.
    little_unsent: bool,
    /// A refusal of the request in hand is to be a page.
    page: Option<Box<Page>>,
    /// What is told of the request in hand, where that is wanted.
    note: Option<Box<Note>>,
}

/// Serves a connection to its end. What a request needs while it runs is many times what a connection needs that waits
/// for one: it is made when one comes, kept while others follow closely, and let go of after that.
pub(super) async fn serve(core: &Core, stream: Socket, peer: SocketAddr) {
    stream.bound_unsent();
    let mut connection = Connection::new(stream, peer, Patience::of(core.timers()));
    loop {
        let most = core.shared().routing.load().keep_alive;
        if !matches!(connection.first_byte(core, most.saturating_sub(FOLLOWS)).await, Coming::Now) {
            break Box::pin(connection.close()).await;
        }
        match Box::pin(converse(core, connection)).await {
            Some(rests) => connection = rests,
            None => break,
        }
    }
}

/// One request after another, until none follows closely. `None`: the connection is over.
async fn converse(core: &Core, mut connection: Connection) -> Option<Connection> {
    loop {
        let bytes = match connection.next_head(core).await {
            Came::Head(bytes) => bytes,
            Came::Nothing => {
                // Whoever idles holds no buffer, and no table.
                connection.head = RequestHead::new();
                return Some(connection);
            }
            Came::End => break,
        };
        let (next, finish) = connection.handle(core, &bytes).await;
        core.give_back(bytes);
        match next {
            Next::Again => {
                if let Some((admission, report)) = finish {
                    admission.finish(&report);
                }
                if connection.inbox.is_empty() {
                    core.give_back(std::mem::take(&mut connection.inbox));
                }
            }
            Next::Reset => {
                connection.stream.reset_on_drop();
                // Let go of first, then said to be over: nothing passes once the end was answered.
                drop(connection);
                if let Some((admission, report)) = finish {
                    admission.finish(&report);
                }
                return None;
            }
            Next::Close | Next::Answer { .. } => {
                if let Some((admission, report)) = finish {
                    admission.finish(&report);
                }
                break;
            }
        }
    }
    connection.close().await;
    None
}

/// Answers what has no request in it that could be read.
pub(super) async fn refuse(stream: Socket, peer: SocketAddr, told: &Told) {
    let mut connection = Connection::new(stream, peer, Patience::new());
    connection.tell(told, false).await;
    connection.close().await;
}

impl Connection {
    fn new(stream: Socket, peer: SocketAddr, patience: Patience) -> Connection {
        Connection {
            stream,
            peer,
            client: peer.ip().to_canonical(),
            inbox: Vec::new(),
            head: RequestHead::new(),
            patience,
            fresh: Some(tokio::time::Instant::now()),
            little_unsent: false,
            page: None,
            note: None,
        }
    }

    /// Everything about one request.
    async fn handle(&mut self, core: &Core, bytes: &[u8]) -> (Next, Option<(Admission, Report)>) {
        let head = std::mem::take(&mut self.head);
        let done = self.handle_head(core, &head, bytes).await;
        self.head = head;
        let note = self.note.take();
        if let (Some(mut note), Some((_, report))) = (note, &done.1) {
            note.reported(report);
        }
        done
    }

    async fn handle_head(
        &mut self,
        core: &Core,
        head: &RequestHead,
        bytes: &[u8],
    ) -> (Next, Option<(Admission, Report)>) {
        let request = head.view(bytes);
        let shared = core.shared();
        let routing = shared.routing.load_full();
        let unclear = self.look_whence(&routing, &request);
        self.note = Note::begin(&routing, self.client, &request);
        self.page = Page::asked(&request);
        if let Some(told) = unclear {
            Counters::add(&core.counters().unreadable);
            return (self.refuse(core, &request, &told).await, None);
        }
        let target = match intake::target(&request, routing.paths) {
            Ok(target) => target,
            Err(fault) => {
                Counters::add(&core.counters().unreadable);
                return (self.refuse(core, &request, &unreadable(fault)).await, None);
            }
        };
        let inside = target.path.as_str().starts_with(&routing.prefix);
        self.page = self.page.take().filter(|_| !inside);
        if inside && self.stream.must_switch() {
            return (self.refuse(core, &request, &no_websocket().told()).await, None);
        }
        // Before a token costs anything. The support API is asked later: whoever takes something back is never refused for
        // what others of their network do.
        if !inside && let Some(told) = self.too_many_here(core, &routing) {
            return (self.refuse(core, &request, &told).await, None);
        }
        let who = core.who_in_time(&request, inside).await;
        if let Some(page) = &mut self.page {
            page.read_by(&who, &routing.prefix);
        }
        if let Some(note) = &mut self.note {
            note.path(&target);
            note.asked(&who, Named::Missing);
        }
        if inside {
            if !matches!(who, Who::Known(_))
                && let Some(told) = self.too_many_here(core, &routing)
            {
                return (self.refuse(core, &request, &told).await, None);
            }
            return (self.inside(core, &routing, &request, target.whole, who).await, None);
        }
        if let (Some(rate), Who::Known(subject)) = (&routing.subject_rate, &who)
            && let Err(after) = rate.take(&subject.id, core.engine().wall())
        {
            Counters::add(&core.counters().limited);
            return (self.refuse(core, &request, &Told::too_many("this person", after)).await, None);
        }
        let Ok(method) = http::Method::from_bytes(request.method_name()) else {
            return (
                self.refuse(core, &request, &Told::plain(400, "method_malformed", "no such method")).await,
                None,
            );
        };
        let host = collect::host(&request);
        let mut params = Params::new();
        let mut mapped = collect::route(&routing, host, &method, &target.path, &mut params);
        let question = match mapped.route {
            Route::Mapped(_) => None,
            Route::Method | Route::Twin | Route::Unmapped => preflight::question(&request, &method),
        };
        if let Some(question) = &question {
            let asked = collect::route(&routing, host, &question.method, &target.path, &mut params);
            match asked.binding.map(|binding| binding.preflight) {
                Some(Preflight::Answer) => {
                    return (self.preflight(core, &routing, &request, question).await, None);
                }
                Some(Preflight::Forward) => {
                    mapped = Mapped {
                        route: Route::Mapped(&routing.preflight),
                        rule: None,
                        binding: asked.binding,
                    };
                }
                Some(Preflight::Refuse) | None => params = Params::new(),
            }
        }
        let in_path = |places| mapped.named(places, &target.path, &params);
        let subject = match &who {
            Who::Known(subject) => Some(subject.subject()),
            Who::Nobody | Who::Refused(_) | Who::Unverifiable => None,
        };
        let emergency = collect::emergency(&request, &routing, subject, core.engine().wall());
        let ask = Ask {
            route: mapped.route,
            tenant: collect::tenant(&routing, &request, host, in_path(|binding| &binding.tenant), subject),
            environment: collect::environment(
                &routing,
                &request,
                host,
                in_path(|binding| &binding.environment),
                subject,
            ),
            resource: mapped.resource(&target.path, &params),
            within: mapped.within(&target.path, &params),
            session: collect::session(&request),
            emergency: &emergency,
            around: collect::around(&request, &routing.policy, self.client),
            clock_behind: false,
            does: Effect::Write,
        };
        let caller = who.caller();
        if let Some(note) = &mut self.note {
            note.asked(&who, ask.tenant);
        }
        let admission = match shared.engine.glance(&ask, caller, &routing.policy) {
            Glance::Admitted(admission) => admission,
            Glance::Denied(denial) => {
                let about = self.particulars(&routing, &method, host, &target, &mapped);
                return (self.deny(core, &request, &routing, &who, &denial, &ask, &about).await, None);
            }
            Glance::Look => {
                let about = self.particulars(&routing, &method, host, &target, &mapped);
                let ask = asked::doing(ask, &request, &method, &mapped, self.stream.must_switch());
                match self.admit(core, &routing, &who, &ask, &mapped, &about).await {
                    Ok(admission) => admission,
                    Err(Refused::Denied(denial)) => {
                        return (
                            self.deny(core, &request, &routing, &who, &denial, &ask, &about).await,
                            None,
                        );
                    }
                    Err(Refused::Told(told)) => {
                        Counters::add(&core.counters().faulted);
                        return (self.refuse(core, &request, &told).await, None);
                    }
                }
            }
        };
        self.forward(core, &routing, &request, &method, target, &mapped, &ask, &who, admission).await
    }

    async fn admit(
        &self,
        core: &Core,
        routing: &Routing,
        who: &Who,
        ask: &Ask<'_>,
        mapped: &Mapped<'_>,
        about: &Particulars,
    ) -> Result<Admission, Refused> {
        let Who::Known(subject) = who else {
            return Err(Refused::Told(Told::plain(
                503,
                "undecided",
                "the gateway could not come to a decision",
            )));
        };
        let knock = asked::knock(routing, ask, mapped);
        match core.engine().admit(knock, Arc::clone(subject), about).await {
            Answer::Admitted(admission) => Ok(admission),
            Answer::Denied(denial) => Err(Refused::Denied(denial)),
            Answer::Faulted(fault) => Err(Refused::Told(Told::plain(503, fault.code(), fault.to_string()))),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "everything that was collected about one request")]
    async fn forward(
        &mut self,
        core: &Core,
        routing: &Routing,
        request: &RequestView<'_>,
        method: &http::Method,
        target: intake::Target<'_>,
        mapped: &Mapped<'_>,
        ask: &Ask<'_>,
        who: &Who,
        admission: Admission,
    ) -> (Next, Option<(Admission, Report)>) {
        if let Some(page) = &mut self.page {
            page.about(&admission);
        }
        let number = mapped.binding.map(|binding| binding.upstream).or(routing.unmapped_upstream);
        let upstream = number.and_then(|number| routing.upstreams.get(number));
        let rewritten = match upstream.filter(|upstream| !upstream.rewrite.is_identity()) {
            Some(upstream) => match upstream.rewrite.apply(&target.path, routing.paths) {
                Ok(path) => Some(path),
                Err(fault) => {
                    let unsent = Unsent::new(400, "path_not_rewritten", fault.to_string());
                    return self.give_up(core, request, &unsent, admission).await;
                }
            },
            None => None,
        };
        let path = rewritten.as_deref().unwrap_or(target.path.as_str());
        let whole = rewritten.as_ref().map(|path| format!("{path}{}", target.query()));
        let bounds = mapped.binding.map(|binding| binding.bounds).unwrap_or_default();
        if let Framing::Length(length) = request.head().framing()
            && bounds.request_body.is_some_and(|most| length > most)
        {
            let unsent = Unsent::new(413, "body_too_large", "this route takes no body of that size");
            return self.give_up(core, request, &unsent, admission).await;
        }
        let upgrade = match upgrade::asked(request, mapped.binding, core, routing, who) {
            Ok(upgrade) => upgrade,
            Err((status, code, detail)) => {
                return self.give_up(core, request, &Unsent::new(status, code, detail), admission).await;
            }
        };
        let must_switch = self.stream.must_switch();
        if must_switch && upgrade.is_none() {
            return self.give_up(core, request, &no_websocket(), admission).await;
        }
        let Some(upstream) = upstream else {
            return self.give_up(core, request, &no_upstream(), admission).await;
        };
        let public = matches!(ask.route, Route::Mapped(rule) if rule.public);
        let asserter = &routing.asserter;
        let client = self.client;
        let own = Own { core, upstream, method, path, ask, who, admission: &admission, asserter, client };
        let mut lines = match own.lines(public) {
            Ok(lines) => lines,
            Err(unsent) => return self.give_up(core, request, &unsent, admission).await,
        };
        let mut untold = KnownSet::of(&[]);
        if let Some(note) = &mut self.note {
            note.admitted(&admission, &upstream.name);
            if let Some((trace, instead)) = note.fresh_trace() {
                lines.push(("traceparent", trace.to_owned()));
                untold = instead;
            }
        }
        let (narrowed, asked) = match asked::narrowed(&own, routing, mapped, target.query()) {
            Ok(Narrowing::Not) => (None, None),
            Ok(Narrowing::Here(narrowed)) => (Some(narrowed), None),
            Ok(Narrowing::There(target)) => (None, Some(target)),
            Err(unsent) => return self.give_up(core, request, &unsent, admission).await,
        };
        if narrowed.is_some() {
            asked::uncoded(NOT_ASKED, &mut lines, &mut untold);
        }
        let making = match asked::making(&own, routing, request, mapped, &mut lines, &mut untold) {
            Ok(making) => making,
            Err(unsent) => return self.give_up(core, request, &unsent, admission).await,
        };
        let Some(sent) = Target::new(asked.as_deref().or(whole.as_deref()).unwrap_or(target.whole)) else {
            return self.give_up(core, request, &no_upstream(), admission).await;
        };
        let (add, host) = match (outgoing::fit(&lines), outgoing::host(request, upstream)) {
            (Ok(add), Ok(host)) => (add, host),
            (Err(unsent), _) | (_, Err(unsent)) => {
                return self.give_up(core, request, &unsent, admission).await;
            }
        };
        // A preflight names nobody, whatever its sender adds.
        let preflight = matches!(ask.route, Route::Mapped(rule) if std::ptr::eq(rule, &routing.preflight));
        let as_staff = preflight || collect::treated_as_staff(who);
        let drop = routing.dropped(as_staff).union(untold);
        let in_session = admission.staff().is_some();
        if in_session && !self.little_unsent {
            self.little_unsent = true;
            self.stream.keep_little_unsent();
        }
        let counters = core.counters();
        Counters::add(if in_session {
            &counters.staff
        } else if public {
            &counters.public
        } else {
            &counters.members
        });
        let plan = Plan {
            settings: upstream,
            caller: core.caller(who, self.client),
            target: sent,
            host,
            drop,
            add: &add,
            as_staff,
            unstored: as_staff || asked.is_some(),
            bounds,
            upgrade,
            must_switch,
            narrowed,
            making,
        };
        let client =
            Client { stream: &mut self.stream, inbox: &mut self.inbox, patience: &mut self.patience };
        let (next, report) = forward(core, routing, &admission, request, &plan, client).await;
        let next = match next {
            Next::Answer { status, code, again } => {
                Counters::add(&counters.upstream_failed);
                let told = Told::plain(status, code, upstream_words(code));
                // Over before it is told: whoever does not read this holds up nobody's removal.
                admission.finish(&report);
                if let Some(note) = &mut self.note {
                    note.reported(&report);
                }
                let told = self.tell_for(request, &told, again).await;
                return (if told && again { Next::Again } else { Next::Close }, None);
            }
            Next::Reset => {
                if matches!(report.end, crate::engine::End::Cut) {
                    Counters::add(&counters.cut);
                }
                Next::Reset
            }
            next => next,
        };
        (next, Some((admission, report)))
    }
}

fn no_upstream() -> Unsent {
    Unsent::new(502, "upstream_missing", "the map names no application for this route")
}

fn no_websocket() -> Unsent {
    Unsent::new(501, "upgrade_unsupported", "no WebSocket is spoken on this route")
}

enum Refused {
    Denied(Denial),
    Told(Told),
}
