//! The guarded path of a request, up to the gate: classify, read the body, understand it, hand it over.
//!
//! Steps 2 to 7 of the walk. What is not understood is refused here, with an audit line; what turns out to touch
//! no guarded field goes back to the pass path as it came. Nothing is decided here.

use super::agent::{behind_misnamed, is_name, proxy_user};
use super::body::OnAnswer;
use super::fault::MadeHere;
use super::front::has_one_meaning;
use super::headers::host_of;
use super::read_memo::{KnownRead, ReadKey, ReadMemo, Remembered};
use super::{Body, Came, CollectError, Guard, Note, Passed, Peer, Route, collect_within, pass_on};
use super::{claims, own, preconditions, reply, singletons};
use crate::admission::{By, Expectation, StateTag, Unnamed};
use crate::dialect::{
    self, Address, AnswerClass, Credential, Dialect, Glance, Guarded, GuardedRoute, Head, ParseError, ReadOutcome,
    Scrutiny, Shows, SideWrite, Target, WireResponse,
};
use crate::effect::Health;
use crate::gate::{About, Answered, Ask, EntryCondition, Filing, Gate, Judged, ReadMark, Sender};
use crate::model::{BootTime, Code, Instance, Project, Rejection};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use hyper::body::Incoming;
use secrecy::SecretString;
use std::sync::Arc;
use std::time::Duration;

/// How guarded requests are read.
#[derive(Clone, Debug)]
pub struct GuardConfig {
    /// The longest body of a guarded write, bytes.
    pub max_body: usize,
    /// How long such a body may take.
    pub body_timeout: Duration,
    /// Where an instance may be named.
    pub sources: Vec<InstanceSource>,
    /// What the tracker's webhooks are signed with; none: they are off.
    pub webhook_secret: Option<SecretString>,
    /// The address that the tracker calls, where it is signed along.
    pub webhook_url: Option<String>,
}

/// Where an instance may be named (manual: rules).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceSource {
    /// The listener that the request came in by.
    Listener,
    /// The path prefix `/as/<agent>/`.
    Path,
    /// The header `Claimgate-Agent`.
    Header,
}

/// The gate as the edge knows it.
pub struct GateGuard {
    gate: Arc<Gate>,
    runtime: tokio::runtime::Handle,
    config: GuardConfig,
}

/// One request under the guard, before it is understood.
pub(super) struct Candidate {
    pub(super) head: Parts,
    pub(super) target: Target,
    peer: Peer,
    arrived: BootTime,
    /// The path without what is secret in it.
    shown_path: String,
}

/// What was found in the head of a request; it goes with the request.
#[derive(Default)]
pub(super) enum Found {
    /// Nothing that its answer could say more about.
    #[default]
    Nothing,
    /// A read about items.
    Read(Arc<KnownRead>),
    /// What passes beside them: a comment, say.
    Beside(Box<Target>),
    /// What may change what is guarded, or is refused.
    Guarded(Box<(Target, dialect::Route)>),
}

/// The header that names an instance.
pub const AGENT_HEADER: &str = "claimgate-agent";

// === impl GateGuard ===

impl GateGuard {
    /// Guards by this gate; guarded sections run on `runtime`.
    pub fn new(gate: Arc<Gate>, runtime: tokio::runtime::Handle, config: GuardConfig) -> Arc<Self> {
        Arc::new(Self { gate, runtime, config })
    }

    fn dialect(&self) -> &dyn Dialect {
        &*self.gate.ports().dialect
    }

    /// What labels are called may change with this request: before it is answered, and after.
    fn notice_labels(&self, head: &Head<'_>) {
        if self.dialect().defines_labels(head) {
            self.gate.forget_labels();
        }
    }

    async fn guarded(&self, request: Candidate, route: Option<dialect::Route>, body: Incoming) -> Response<Body> {
        if self.is_misnamed(&request.head) {
            return self.refuse(&request, &misnamed()).await;
        }
        let path = request.head.uri.path();
        if claims::is_here(path) {
            return self.claims(request, body).await;
        }
        if singletons::is_here(path) {
            return self.singletons(&request, path).await;
        }
        if own::is_own(path) {
            let (secret, address) = (self.config.webhook_secret.as_ref(), self.config.webhook_url.as_deref());
            let proof = own::WebhookProof { secret, address };
            return own::serve(&self.gate, proof, path, &request.head, body).await;
        }
        match route {
            Some(dialect::Route::Guarded(route)) => self.candidate(request, &*route, body).await,
            Some(dialect::Route::Refuse(error)) => self.refuse(&request, &error.rejection()).await,
            // `classify` finds one of the two in all that is guarded: never reached, and never let through.
            None | Some(dialect::Route::Pass | dialect::Route::Read { .. }) => {
                let error = ParseError::Ambiguous("the request was read in two ways".to_owned());
                self.refuse(&request, &error.rejection()).await
            }
        }
    }

    /// A request that may change what is guarded: its body is read and understood, what it does beside its items is judged,
    /// and what is left of it goes through the gate, or on as it came.
    async fn candidate(&self, request: Candidate, route: &dyn GuardedRoute, body: Incoming) -> Response<Body> {
        let body = match self.collect(body).await {
            Ok(body) => body,
            Err(rejection) => return self.refuse_as(route, &request, &rejection).await,
        };
        let understood = self.scrutinized(|scrutiny| route.understand(&request.head(), &body, scrutiny));
        let understood = match understood {
            Ok(understood) => understood,
            Err(error) => return self.refuse_as(route, &request, &error.rejection()).await,
        };
        let mut filing = None;
        if let Some(beside) = understood.beside {
            match self.judge_beside(&request, beside, &body).await {
                Ok(Judged::GoesOn(goes_on)) => filing = Some(goes_on).filter(|filing| !filing.is_idle()),
                Ok(Judged::Refused(reply)) => return reply::decided(reply, &refuser(route, &request.head.headers)),
                Err(rejection) => return self.refuse_as(route, &request, &rejection).await,
            }
        }
        if let Some(guarded) = understood.guarded {
            return self.submit(guarded, request, (body, filing), route).await;
        }
        if understood.unknown {
            self.gate.ports().metrics.unknown_web_calls.inc();
        }
        self.notice_labels(&request.head());
        let on_answer = filing.map(|filing| self.once_answered(filing, &request.head()));
        let mut answer = pass_on(request.head, body);
        answer.extensions_mut().extend(on_answer.unwrap_or_default());
        answer
    }

    async fn submit(
        &self,
        guarded: Guarded,
        mut request: Candidate,
        (body, filing): (Bytes, Option<Filing>),
        route: &dyn GuardedRoute,
    ) -> Response<Body> {
        let ask = match guarded.sender() {
            Some(sender) => {
                // Later versions compare it with `Origin`, also where HTTP/2 has it in the target.
                if let Some(Ok(host)) = host_of(&request.head.uri, &request.head.headers).map(HeaderValue::from_str) {
                    request.head.headers.insert(header::HOST, host);
                }
                Ok(Ask { condition: EntryCondition::Always, ..request.asked(sender.credential.clone(), None, body) })
            }
            None => self.ask(&request, body),
        };
        let ask = match ask {
            Ok(ask) => ask,
            Err(rejection) => return self.refuse_as(route, &request, &rejection).await,
        };
        let reply = self.gate.submit(guarded, ask, &self.runtime).await;
        let undone = reply.as_ref().is_none_or(|reply| match &reply.answer {
            Answered::Tracker(response) => route.undone_by(response.status, &response.headers),
            Answered::Refused(rejection) => rejection.code != Code::OutcomeUnknown,
        });
        if let Some(filing) = filing.filter(|_| undone) {
            filing.give_back(&self.runtime).await;
        }
        match reply {
            Some(mut reply) => match reply.after.rest.take() {
                Some(rest) => reply::passed_on(request.head, *rest, &reply),
                None => reply::decided(reply, &refuser(route, &request.head.headers)),
            },
            // The walk was given up before anything was durable; only a client that has gone sees this.
            None => reply::refused(&unread("the request was abandoned"), "", &refuser(route, &request.head.headers)),
        }
    }

    /// A form that files an item and goes on as it came: what began with it ends where the tracker files nothing.
    fn once_answered(&self, filing: Filing, head: &Head<'_>) -> Extensions {
        let (route, runtime) = (self.dialect().classify(head), self.runtime.clone());
        let on_answer = OnAnswer::new(move |answer| {
            let undone = match (answer.extensions().get::<MadeHere>(), &route) {
                (Some(made), _) => !made.may_be_done,
                (None, dialect::Route::Guarded(route)) => route.undone_by(answer.status(), answer.headers()),
                (None, _) => false,
            };
            undone.then(|| Box::pin(async move { filing.give_back(&runtime).await }) as BoxFuture<'static, ()>)
        });
        let mut extensions = Extensions::new();
        extensions.insert(on_answer);
        extensions
    }

    async fn judge_beside(&self, request: &Candidate, write: SideWrite, body: &[u8]) -> Result<Judged, Box<Rejection>> {
        let (credential, instance) = match &write.sender {
            Some(sender) => (sender.credential.clone(), None),
            None => self.whose(request, body)?,
        };
        let ask = request.asked(credential, instance, Bytes::new());
        Ok(self.gate.judge_side_effect(write, ask, &self.runtime).await)
    }

    async fn collect(&self, body: Incoming) -> Result<Bytes, Rejection> {
        let collected = collect_within(body, self.config.max_body, &self.gate.ports().room);
        match tokio::time::timeout(self.config.body_timeout, collected).await {
            Ok(Ok(body)) => Ok(body),
            Ok(Err(CollectError::TooLarge(_))) => Err(self.too_large()),
            Ok(Err(CollectError::NoRoom)) => Err(claims::no_room()),
            Ok(Err(CollectError::Body(_))) => Err(unread("the body did not arrive whole")),
            Err(_) => Err(unread("the body did not arrive in time")),
        }
    }

    /// With what the rules in force are about.
    fn scrutinized<T>(&self, look: impl FnOnce(&Scrutiny<'_>) -> T) -> T {
        let rules = self.gate.rules();
        look(&Scrutiny {
            once: &|what| rules.is_ruled(what),
            counts: &|verdict| rules.counts(verdict),
            filing: rules.judges_creations(),
            dependencies: rules.workflow.dependencies_by != By::Anyone,
            closing: &self.gate.settings().closing,
        })
    }

    /// The write as the gate takes it: by whom, and under which conditions.
    fn ask(&self, request: &Candidate, body: Bytes) -> Result<Ask, Box<Rejection>> {
        let (credential, instance) = self.whose(request, &body)?;
        let expectation = preconditions::read(&request.head.headers, &self.gate.rules().workflow);
        let expectation = expectation.map_err(|why| Box::new(unread(&why)))?;
        Ok(Ask { expectation, ..request.asked(credential, instance, body) })
    }

    fn whose(&self, request: &Candidate, body: &[u8]) -> Result<(Credential, Option<Instance>), Box<Rejection>> {
        let credential =
            self.dialect().credential(&request.head(), body).map_err(|error| Box::new(error.rejection()))?;
        let instance = self.instance(&request.head, &request.peer)?;
        Ok((credential, instance))
    }

    /// A call of the gate's own, for whoever has the credential.
    async fn claims(&self, request: Candidate, body: Incoming) -> Response<Body> {
        let call = match claims::route(&request.head.method, &request.target) {
            Ok(claims::Call::Describe) => return claims::describe(),
            Ok(call) => call,
            Err(response) => return *response,
        };
        match self.claim(call, &request, body).await {
            Ok(response) => response,
            Err(rejection) => self.refuse(&request, &rejection).await,
        }
    }

    async fn claim(
        &self,
        call: claims::Call,
        request: &Candidate,
        body: Incoming,
    ) -> Result<Response<Body>, Box<Rejection>> {
        let body = claims::body(body, self.config.max_body, self.config.body_timeout, &self.gate.ports().room).await?;
        let understood = claims::understand(self.dialect(), call, (&request.target, &request.head.headers), &body)?;
        let (credential, instance) = self.whose(request, &body)?;
        let expectation = claims::stated(call, &request.head.headers, &self.gate.rules().workflow)?;
        let (headers, arrived, about) = (request.head.headers.clone(), request.arrived, request.about());
        let sender = Sender { credential, instance, named: understood.named, headers, arrived, about, expectation };
        match self.gate.claim(understood.call, sender, &self.runtime).await {
            Some(claimed) => Ok(claims::answer(self.dialect(), call, claimed)),
            // Only a client that has gone sees this.
            None => Err(Box::new(unread("the request was abandoned"))),
        }
    }

    async fn singletons(&self, request: &Candidate, path: &str) -> Response<Body> {
        match self.whose(request, b"") {
            Ok((credential, instance)) => {
                let gate = (&self.gate, &self.runtime);
                singletons::serve(gate, &request.head.method, path, &credential, instance).await
            }
            Err(rejection) => self.refuse(request, &rejection).await,
        }
    }

    async fn refuse(&self, request: &Candidate, rejection: &Rejection) -> Response<Body> {
        let id = self.recorded(request, rejection).await;
        reply::refused(rejection, &id, &|rejection, id| self.dialect().reject(rejection, id))
    }

    /// The same in the shape that clients of this call show.
    async fn refuse_as(&self, route: &dyn GuardedRoute, request: &Candidate, rejection: &Rejection) -> Response<Body> {
        let id = self.recorded(request, rejection).await;
        reply::refused(rejection, &id, &refuser(route, &request.head.headers))
    }

    /// The refusal's name, once its line is on disk.
    async fn recorded(&self, request: &Candidate, rejection: &Rejection) -> String {
        let now = self.gate.ports().clock.boot();
        let took = Duration::from_micros(now.0.saturating_sub(request.arrived.0));
        let id = self.gate.record_refusal(rejection, &request.about(), took);
        self.gate.recorded().await;
        id
    }

    fn too_large(&self) -> Rejection {
        let message = format!(
            "the body of a guarded write may have {} bytes at most (server.max_guarded_body): send less at a time",
            self.config.max_body
        );
        Rejection::of_request(Code::BodyTooLarge, message)
    }

    /// Whether a passed answer shows an item as it is: in full, as JSON, and not compressed.
    fn shows_item(note: &Passed<'_>) -> bool {
        let is = |name, value: &[u8]| note.headers.get(name).is_some_and(|it| it.as_bytes().starts_with(value));
        let plain =
            || !note.headers.contains_key(header::CONTENT_ENCODING) || is(header::CONTENT_ENCODING, b"identity");
        note.status == StatusCode::OK && is(header::CONTENT_TYPE, b"application/json") && plain()
    }

    /// The item whose representation a passed answer is.
    fn shown_item<'a>(note: &Passed<'a>) -> Option<&'a (Address, ReadKey)> {
        match &note.note.0 {
            Found::Read(read) => read.item().filter(|_| Self::shows_item(note)),
            Found::Nothing | Found::Beside(_) | Found::Guarded(_) => None,
        }
    }

    /// Whether this header may say who sends a request.
    fn may_identify(&self, name: &HeaderName) -> bool {
        self.dialect().may_identify(name) || name == AGENT_HEADER
    }

    /// A request that is not guarded, and what its answer is about.
    fn passes(&self, head: &Parts, target: Target) -> Note {
        if head.method == Method::GET {
            return Note::default();
        }
        self.notice_labels(&Head { method: &head.method, target: &target, headers: &head.headers });
        Note(Found::Beside(Box::new(target)))
    }

    /// Who is alive by what is about these items, as far as anybody can say who sends it.
    fn mark(
        &self,
        head: &Head<'_>,
        (project, address, shows): (Option<&Project>, Option<&Address>, Shows),
        (parts, peer): (&Parts, &Peer),
    ) -> Option<ReadMark> {
        let credential = self.dialect().credential(head, &[]).ok()?;
        let instance = self.instance(parts, peer).ok().flatten();
        Some(self.gate.read_mark(&credential, instance, (project, address), shows))
    }

    /// What passed beside the items is about what a read of the same place would be about.
    fn saw_beside(&self, note: &Passed<'_>, target: &Target, answered: bool) {
        let head = Head { method: &note.head.method, target, headers: &note.head.headers };
        if answered {
            self.notice_labels(&head);
        }
        let place = Head { method: &Method::GET, ..head };
        let dialect::Route::Read { project, address, .. } = self.dialect().classify(&place) else { return };
        let Ok(credential) = self.dialect().credential(&head, &[]) else { return };
        let instance = self.instance(note.head, note.peer).ok().flatten();
        if answered {
            self.gate.saw_read(&credential, instance, (project.as_ref(), address.as_ref()), Shows::Beside);
        } else {
            self.gate.missed_read(&credential, instance, address.as_ref());
        }
    }

    /// Whether the path names an agent by a name that no agent may have.
    fn is_misnamed(&self, head: &Parts) -> bool {
        self.config.sources.contains(&InstanceSource::Path)
            && behind_misnamed(head.uri.path()).is_some_and(has_one_meaning)
    }

    /// The instance that the request names; sources that disagree are refused.
    fn instance(&self, head: &Parts, peer: &Peer) -> Result<Option<Instance>, Box<Rejection>> {
        let named = self.config.sources.iter().filter_map(|source| named_by(*source, head, peer).transpose());
        let mut found: Option<String> = None;
        for name in named {
            let name = name?;
            if found.as_ref().is_some_and(|before| *before != name) {
                return Err(identity(TWO_NAMES));
            }
            found = Some(name);
        }
        let by_address = self.gate.rules().unnamed == Unnamed::Address;
        let address =
            peer.addr.filter(|_| by_address).map(|addr| Instance::of_address(&addr.ip().to_canonical().to_string()));
        Ok(found.map(|name| Instance::new(&name)).or(address))
    }
}

impl Guard for GateGuard {
    fn classify(&self, head: &Parts, peer: &Peer, memo: &ReadMemo) -> Route {
        let path = head.uri.path();
        if own::is_own(path) || (self.is_misnamed(head) && behind_misnamed(path).is_some_and(own::is_own)) {
            return Route::Guarded(Note::default());
        }
        let glance = if head.method == Method::GET { self.dialect().glance(path) } else { Glance::Unsure };
        let key = match glance {
            Glance::Pass => return Route::Pass(Note::default()),
            Glance::Read => Some(memo.key(head, peer, self.gate.rules_version(), |name| self.may_identify(name))),
            Glance::Unsure => None,
        };
        if let Some(read) = key.and_then(|key| memo.get(key, path)) {
            return Route::Pass(Note(Found::Read(read)));
        }
        let target = Target::of(&head.uri);
        let view = Head { method: &head.method, target: &target, headers: &head.headers };
        let route = match self.dialect().classify(&view) {
            dialect::Route::Pass => return Route::Pass(self.passes(head, target)),
            dialect::Route::Read { project, address, shows } => {
                let mark = self.mark(&view, (project.as_ref(), address.as_ref(), shows), (head, peer));
                let item = address.filter(|_| shows != Shows::Beside);
                let read = Arc::new(memo.read(path, mark, item));
                if let Some(key) = key {
                    memo.put(key, Arc::clone(&read));
                }
                return Route::Pass(Note(Found::Read(read)));
            }
            dialect::Route::Guarded(route) if self.scrutinized(|scrutiny| route.passes(scrutiny)) => {
                return Route::Pass(self.passes(head, target));
            }
            route @ (dialect::Route::Guarded(_) | dialect::Route::Refuse(_)) => route,
        };
        tracing::trace!(client = ?peer.addr, "guarded");
        Route::Guarded(Note(Found::Guarded(Box::new((target, route)))))
    }

    fn serve(
        self: Arc<Self>,
        head: Parts,
        body: Incoming,
        peer: Peer,
        note: Note,
    ) -> BoxFuture<'static, Response<Body>> {
        let (target, route) = match note.0 {
            Found::Guarded(found) => (found.0, Some(found.1)),
            Found::Nothing | Found::Read(_) | Found::Beside(_) => (Target::of(&head.uri), None),
        };
        let shown_path = self.dialect().shown_path(head.uri.path()).unwrap_or_else(|| head.uri.path().to_owned());
        let request = Candidate { target, arrived: self.gate.ports().clock.boot(), head, peer, shown_path };
        Box::pin(async move { self.guarded(request, route, body).await })
    }

    fn note_of(&self, head: &Parts) -> Note {
        Note(Found::Beside(Box::new(Target::of(&head.uri))))
    }

    /// A read of an item got a 2xx: its credential may read there, and its holder is alive. So is a holder whose call the
    /// tracker did not answer.
    fn passed(&self, note: Passed<'_>) {
        let answered = !matches!(note.status.as_u16(), 502..=504);
        if answered {
            self.gate.notice_answer(Some(AnswerClass::of(note.status)));
        }
        if answered && !note.status.is_success() {
            return;
        }
        match &note.note.0 {
            Found::Nothing | Found::Guarded(_) => {}
            Found::Read(read) if answered => note.memo.note(read, |mark| self.gate.touch(mark)),
            Found::Read(read) => read.with_mark(|mark| self.gate.miss(mark)),
            Found::Beside(target) => self.saw_beside(&note, target, answered),
        }
    }

    fn health(&self) -> Option<&Health> {
        Some(&self.gate.ports().metrics.health)
    }

    fn shows_state(&self, note: Passed<'_>) -> bool {
        Self::shown_item(&note).is_some()
    }

    fn state_of(&self, note: Passed<'_>, body: &Bytes) -> Option<HeaderValue> {
        let item = Self::shown_item(&note)?;
        let answer = (note.headers.get(header::CONTENT_TYPE)?.as_bytes(), &body[..]);
        // Before the rules: see there.
        let version = self.gate.rules_version();
        if let Remembered::State(known) = note.memo.state(item, answer, version) {
            return known;
        }
        let rules = self.gate.rules();
        let response = WireResponse { status: note.status, headers: note.headers.clone(), body: body.clone() };
        let state = match self.dialect().read(&item.0, &response) {
            ReadOutcome::Item(seen) => reply::state(&StateTag::of(&rules.workflow.shown(&seen))),
            ReadOutcome::Denied | ReadOutcome::Moved(_) | ReadOutcome::Unreadable(_) => None,
        };
        note.memo.learn_state(item, answer, state.as_ref(), version);
        state
    }
}

// === impl Candidate ===

impl Candidate {
    fn head(&self) -> Head<'_> {
        Head { method: &self.head.method, target: &self.target, headers: &self.head.headers }
    }

    /// The request as the gate takes it, of this sender.
    fn asked(&self, credential: Credential, instance: Option<Instance>, body: Bytes) -> Ask {
        Ask {
            credential,
            instance,
            headers: self.head.headers.clone(),
            arrived: self.arrived,
            about: self.about(),
            operator: false,
            expectation: Expectation::Implied,
            condition: EntryCondition::Awaited,
            body,
        }
    }

    fn about(&self) -> About {
        let text = |headers: &HeaderMap, name| headers.get(name).and_then(|value| value.to_str().ok().map(capped));
        About {
            method: self.head.method.as_str().to_owned(),
            path: capped(&self.shown_path),
            client: self.peer.addr.map(|addr| addr.ip().to_canonical().to_string()),
            connection: self.peer.addr.map(|addr| addr.to_string()),
            request_id: text(&self.head.headers, "x-request-id"),
        }
    }
}

/// How the clients of this call show a refusal.
fn refuser<'a>(route: &'a dyn GuardedRoute, headers: &'a HeaderMap) -> impl Fn(&Rejection, &str) -> WireResponse + 'a {
    move |rejection, id| route.reject(rejection, id, headers)
}

fn named_by(source: InstanceSource, head: &Parts, peer: &Peer) -> Result<Option<String>, Box<Rejection>> {
    let name = match source {
        InstanceSource::Listener => by_entrance(head, peer)?,
        InstanceSource::Path => head.extensions.get::<Came>().and_then(|came| came.agent.clone()),
        InstanceSource::Header => {
            let mut values = head.headers.get_all(AGENT_HEADER).iter();
            match (values.next(), values.next()) {
                (_, Some(_)) => return Err(identity("the header Claimgate-Agent stands twice; send it once")),
                (value, None) => value.map(|value| value.to_str().unwrap_or("\u{fffd}").to_owned()),
            }
        }
    };
    name.map(checked).transpose()
}

/// The agent that the listener stands for, or that the user of the proxy is. In a tunnel the CONNECT has said that already.
fn by_entrance(head: &Parts, peer: &Peer) -> Result<Option<String>, Box<Rejection>> {
    let stands = peer.instance.as_deref().map(str::to_owned);
    let is_proxied = peer.hosts.is_some() && !peer.tls;
    let Some(value) = head.headers.get(header::PROXY_AUTHORIZATION).filter(|_| is_proxied) else { return Ok(stands) };
    match proxy_user(value.to_str().unwrap_or_default()).map_err(identity)? {
        Some(named) if stands.as_ref().is_some_and(|stands| *stands != named) => Err(identity(TWO_NAMES)),
        named => Ok(named.or(stands)),
    }
}

fn checked(name: String) -> Result<String, Box<Rejection>> {
    match is_name(&name) {
        true if Instance::new(&name).is_address() => {
            Err(identity("names that begin with addr: are given by the gate, to agents that it knows by their address"))
        }
        true => Ok(name),
        false => Err(misnamed()),
    }
}

fn misnamed() -> Box<Rejection> {
    identity("an agent's name has 1 to 64 letters, digits or any of - _ . : @")
}

fn identity(message: &str) -> Box<Rejection> {
    Box::new(Rejection::of_request(Code::IdentityRequired, message))
}

fn unread(message: &str) -> Rejection {
    Rejection::of_request(Code::AmbiguousRequest, message)
}

const TWO_NAMES: &str = "the request names two different agents; name one";

/// Clients choose these texts; the audit keeps only so much of them.
fn capped(text: &str) -> String {
    const MOST: usize = 512;
    text.chars().take(MOST).collect()
}
