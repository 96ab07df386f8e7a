//! The calls.

use std::{
    collections::HashSet,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    answer::{self, MemberFault, Object, Shape},
    audit::{AuditSink, Cause, Purpose},
    budget::{self, Lane, Place},
    catalogue,
    cloud::Endpoints,
    directory::{Group, User},
    error::{ArgumentError, Decision, GoneReason, GraphError, TransportFault},
    event::{BookedEvent, BookedPage, Event, EventHead, Occurrence, OccurrencePage, Window},
    http::Http,
    ids::{EventId, GroupId, ManifestId, SubscriptionId, UserId, UserKey},
    paging::{MAX_PAGES, PageLink, PageToken},
    request::{Call, Request},
    send::{Attempt, RawAnswer, Sender},
    subscription::{Deletion, NewSubscription, Subscription},
    token::{Credential, EntraSource, Tokens},
    unrequested::Unrequested,
    write_back::BookingNote,
};

/// Whom a client speaks for.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// `namespace/name` of the `AccessScope`, for the audit.
    pub scope: String,
    /// Where tokens and Graph are.
    pub endpoints: Endpoints,
    /// Tenant.
    pub tenant_id: String,
    /// App registration.
    pub client_id: String,
    /// How the app proves itself.
    pub credential: Credential,
}

/// Which occurrences are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Series<'a> {
    /// Id of the series' master.
    pub master: &'a EventId,
    /// Manifest id of the add-in.
    pub manifest: &'a ManifestId,
    /// Span of time.
    pub window: &'a Window,
}

/// A client for one tenant and app. Clones share token and counters.
#[derive(Clone)]
pub struct GraphClient {
    inner: Arc<Inner>,
}

struct Inner {
    endpoints: Endpoints,
    sender: Arc<Sender>,
    tokens: Arc<Tokens>,
    unrequested: AtomicU64,
}

impl fmt::Debug for GraphClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GraphClient")
            .field("scope", &self.inner.sender.scope)
            .field("tenant_id", &self.inner.sender.tenant_id)
            .field("client_id", &self.inner.sender.client_id)
            .finish_non_exhaustive()
    }
}

impl GraphClient {
    /// Makes a client; nothing is sent yet.
    ///
    /// # Errors
    /// Tenant id, client id or credential cannot be sent.
    pub fn new(settings: ClientSettings, http: Http, audit: Arc<dyn AuditSink>) -> Result<Self, GraphError> {
        let ClientSettings { scope, endpoints, tenant_id, client_id, credential } = settings;
        let graph = endpoints.graph().origin().ascii_serialization();
        let sender = Arc::new(Sender { http, audit, scope, tenant_id, client_id, graph });
        let source = EntraSource { sender: sender.clone(), endpoints: endpoints.clone(), credential };
        source.check()?;
        let tokens = Tokens::new(source);
        Ok(Self { inner: Arc::new(Inner { endpoints, sender, tokens, unrequested: AtomicU64::new(0) }) })
    }

    /// Members of answers that were not asked for and were stripped, since the client was made. Anything but 0 is a
    /// violation of the promise of least data by the server.
    pub fn unrequested_members(&self) -> u64 {
        self.inner.unrequested.load(Ordering::Relaxed)
    }

    /// Proves the credential: gets a token, or finds one still good.
    ///
    /// # Errors
    /// No token; see [`GraphError::decision`].
    pub async fn acquire_token(&self, cause: &Cause) -> Result<(), GraphError> {
        self.inner.tokens.get(cause).await.map(drop)
    }

    /// Waits for a place in the budget for [`Self::create_subscription`]. It is taken first, so that what allows the call can be
    /// looked at after the waiting.
    ///
    /// # Errors
    /// [`GraphError::Paused`], [`GraphError::Exhausted`].
    pub async fn place_for_create(&self, lane: Lane) -> Result<Place, GraphError> {
        self.inner.sender.place(Purpose::CreateSubscription, lane).await
    }

    /// Makes a subscription. `place` is given up with the answer.
    ///
    /// # Errors
    /// Among others [`Decision::Conflict`] where one exists, and the reasons of endpoint validation, expiry and policy.
    pub async fn create_subscription(
        &self,
        cause: &Cause,
        new: &NewSubscription,
        place: Place,
    ) -> Result<Subscription, GraphError> {
        let request = self.request(&Call::CreateSubscription(new))?;
        let answer = self.exchange_at(Some(place), &request, cause).await?;
        self.read_one(&request, cause, &answer, Shape::Subscription, Subscription::read).await
    }

    /// Moves a subscription's expiry, and nothing else.
    ///
    /// # Errors
    /// Among others [`GoneReason::SubscriptionNotFound`].
    pub async fn renew_subscription(
        &self,
        cause: &Cause,
        id: &SubscriptionId,
        expiration: Timestamp,
    ) -> Result<Subscription, GraphError> {
        let call = Call::RenewSubscription { id, expiration };
        self.object(&call, cause, Shape::Subscription, Subscription::read).await
    }

    /// Authorises a subscription again, which moves no expiry. Renewing does the same beside moving it.
    ///
    /// # Errors
    /// Among others [`GoneReason::SubscriptionNotFound`].
    pub async fn reauthorize_subscription(
        &self,
        cause: &Cause,
        id: &SubscriptionId,
    ) -> Result<(), GraphError> {
        let request = self.request(&Call::ReauthorizeSubscription(id))?;
        self.exchange(&request, cause).await.map(drop)
    }

    /// Reads a subscription.
    ///
    /// # Errors
    /// Among others [`GoneReason::SubscriptionNotFound`].
    pub async fn get_subscription(
        &self,
        cause: &Cause,
        id: &SubscriptionId,
    ) -> Result<Subscription, GraphError> {
        self.object(&Call::GetSubscription(id), cause, Shape::Subscription, Subscription::read).await
    }

    /// All subscriptions of this app in the tenant, all pages.
    ///
    /// # Errors
    /// See [`GraphError::decision`]. A failed page fails the whole.
    pub async fn list_subscriptions(&self, cause: &Cause) -> Result<Vec<Subscription>, GraphError> {
        let mut all = Vec::new();
        self.pages(&Call::ListSubscriptions, cause, Shape::Subscription, |object| {
            all.push(Subscription::read(object)?);
            Ok(())
        })
        .await?;
        Ok(all)
    }

    /// Ends a subscription. One that is not there counts as ended.
    ///
    /// # Errors
    /// See [`GraphError::decision`].
    pub async fn delete_subscription(
        &self,
        cause: &Cause,
        id: &SubscriptionId,
        lane: Lane,
    ) -> Result<Deletion, GraphError> {
        let request = self.request(&Call::DeleteSubscription(id))?;
        let place = self.inner.sender.place(request.purpose(), lane).await?;
        match self.exchange_at(Some(place), &request, cause).await {
            Ok(_) => Ok(Deletion::Deleted),
            Err(error) if error.decision() == Decision::Gone(GoneReason::SubscriptionNotFound) => {
                Ok(Deletion::AlreadyGone)
            }
            Err(error) => Err(error),
        }
    }

    /// Looks a user up by object id or user principal name.
    ///
    /// # Errors
    /// Among others [`GoneReason::UserNotFound`].
    pub async fn user(&self, cause: &Cause, id_or_upn: &str) -> Result<User, GraphError> {
        let key = UserKey::parse(id_or_upn).map_err(ArgumentError::from)?;
        self.object(&Call::User(&key), cause, Shape::User, User::read).await
    }

    /// Looks a group up.
    ///
    /// # Errors
    /// Among others [`GoneReason::GroupNotFound`].
    pub async fn group(&self, cause: &Cause, id: &GroupId) -> Result<Group, GraphError> {
        self.object(&Call::Group(id), cause, Shape::Group, Group::read).await
    }

    /// The users who are members of a group, directly or through other groups: all pages, 36 bytes a member.
    ///
    /// # Errors
    /// Among others [`GoneReason::GroupNotFound`]. A failed page fails the whole.
    pub async fn transitive_members(
        &self,
        cause: &Cause,
        group_id: &GroupId,
    ) -> Result<HashSet<UserId>, GraphError> {
        let mut members = HashSet::new();
        self.pages(&Call::GroupMembers(group_id), cause, Shape::Member, |object| {
            members.insert(object.parsed("id", "a GUID")?);
            Ok(())
        })
        .await?;
        Ok(members)
    }

    /// First read of an event: identity, and the add-in's property.
    ///
    /// # Errors
    /// Among others [`GoneReason::EventNotFound`] and [`GoneReason::MailboxUnavailable`].
    pub async fn event_minimal(
        &self,
        cause: &Cause,
        user: &UserId,
        event: &EventId,
        manifest: &ManifestId,
    ) -> Result<EventHead, GraphError> {
        let call = Call::EventHead { user, event, manifest };
        self.object(&call, cause, Shape::EventHead, |object| EventHead::read(object, manifest)).await
    }

    /// The series that an occurrence or exception is of; `None` where Graph names none.
    ///
    /// # Errors
    /// Among others [`GoneReason::EventNotFound`] and [`GoneReason::MailboxUnavailable`].
    pub async fn series_master(
        &self,
        cause: &Cause,
        user: &UserId,
        event: &EventId,
    ) -> Result<Option<EventId>, GraphError> {
        let call = Call::EventMaster { user, event };
        self.object(&call, cause, Shape::EventMaster, |object| match object.optional("seriesMasterId") {
            Some(_) => object.parsed("seriesMasterId", "an event id").map(Some),
            None => Ok(None),
        })
        .await
    }

    /// Second read of an event: the listed fields.
    ///
    /// # Errors
    /// Among others [`GoneReason::EventNotFound`] and [`GoneReason::MailboxUnavailable`].
    pub async fn event_full(
        &self,
        cause: &Cause,
        user: &UserId,
        event: &EventId,
        manifest: &ManifestId,
    ) -> Result<Event, GraphError> {
        let call = Call::EventFull { user, event, manifest };
        self.object(&call, cause, Shape::EventFull, |object| Event::read(object, manifest)).await
    }

    /// One page of the events of a user's default calendar that carry the add-in's property: the first one, or the one
    /// that the last page named.
    ///
    /// # Errors
    /// Among others [`GoneReason::UserNotFound`] and [`GoneReason::MailboxUnavailable`]; a page of another list is refused
    /// unsent.
    pub async fn booked_events(
        &self,
        cause: &Cause,
        user: &UserId,
        manifest: &ManifestId,
        page: Option<&PageToken>,
    ) -> Result<BookedPage, GraphError> {
        let call = Call::BookedEvents { user, manifest };
        let read = |object: &Object| BookedEvent::read(object, manifest);
        let (events, next) = self.page(&call, cause, Shape::EventBooked, page, read).await?;
        Ok(BookedPage { events, next })
    }

    /// One page of the occurrences of a series within a span of time: the first one, or the one that the last page named.
    ///
    /// # Errors
    /// As [`Self::booked_events`], and [`GoneReason::EventNotFound`].
    pub async fn occurrences(
        &self,
        cause: &Cause,
        user: &UserId,
        series: &Series<'_>,
        page: Option<&PageToken>,
    ) -> Result<OccurrencePage, GraphError> {
        let Series { master, manifest, window } = series;
        let call = Call::Occurrences { user, master, manifest, window };
        let read = |object: &Object| Occurrence::read(object, manifest);
        let (occurrences, next) = self.page(&call, cause, Shape::Occurrence, page, read).await?;
        Ok(OccurrencePage { occurrences, next })
    }

    /// Writes what became of the bookings into our own property of the event. Whatever the answer holds is not looked at.
    ///
    /// # Errors
    /// Among others [`GoneReason::EventNotFound`], and a missing permission (`Calendars.ReadWrite`).
    pub async fn write_back(
        &self,
        cause: &Cause,
        user: &UserId,
        event: &EventId,
        manifest: &ManifestId,
        note: &BookingNote,
    ) -> Result<(), GraphError> {
        let request = self.request(&Call::WriteBack { user, event, manifest, note })?;
        self.exchange(&request, cause).await.map(drop)
    }

    /// One page of a list: the first one, or the one that the last page named.
    async fn page<T>(
        &self,
        call: &Call<'_>,
        cause: &Cause,
        shape: Shape,
        page: Option<&PageToken>,
        read: impl Fn(&Object) -> Result<T, MemberFault>,
    ) -> Result<(Vec<T>, Option<PageToken>), GraphError> {
        let first = self.request(call)?;
        let unsent = Context { purpose: first.purpose(), client_request_id: Uuid::nil() };
        let pages = page.map_or(0, |page| page.pages);
        if pages >= MAX_PAGES {
            return Err(unsent.transport(TransportFault::TooManyPages { limit: MAX_PAGES }));
        }
        let request = match page {
            None => first.clone(),
            Some(page) => {
                let link = PageLink::new(first.url(), page.link.as_str());
                first.next_page(link.map_err(|fault| unsent.transport(fault))?)
            }
        };
        let answer = self.exchange(&request, cause).await?;
        let context = Context { client_request_id: answer.client_request_id, ..unsent };
        let page = answer::page(&answer.body, shape).map_err(|fault| context.unexpected(fault))?;
        self.note(context, cause, &page.unrequested).await?;
        let items = page.objects.iter().map(read);
        let items = items.collect::<Result<_, _>>().map_err(|fault| context.unexpected(fault))?;
        let link = page.next_link.map(|link| PageLink::new(first.url(), &link)).transpose();
        let link = link.map_err(|fault| context.transport(fault))?;
        let next = link.map(|link| PageToken { link: link.into_url(), pages: pages + 1 });
        Ok((items, next))
    }

    fn request(&self, call: &Call<'_>) -> Result<Request, ArgumentError> {
        Request::new(self.inner.endpoints.graph(), call)
    }

    async fn object<T>(
        &self,
        call: &Call<'_>,
        cause: &Cause,
        shape: Shape,
        read: impl FnOnce(&Object) -> Result<T, MemberFault>,
    ) -> Result<T, GraphError> {
        let request = self.request(call)?;
        let answer = self.exchange(&request, cause).await?;
        self.read_one(&request, cause, &answer, shape, read).await
    }

    async fn read_one<T>(
        &self,
        request: &Request,
        cause: &Cause,
        answer: &RawAnswer,
        shape: Shape,
        read: impl FnOnce(&Object) -> Result<T, MemberFault>,
    ) -> Result<T, GraphError> {
        let context = Context { purpose: request.purpose(), client_request_id: answer.client_request_id };
        let one = answer::one(&answer.body, shape).map_err(|fault| context.unexpected(fault))?;
        self.note(context, cause, &one.unrequested).await?;
        read(&one.object).map_err(|fault| context.unexpected(fault))
    }

    async fn pages(
        &self,
        call: &Call<'_>,
        cause: &Cause,
        shape: Shape,
        mut read: impl FnMut(&Object) -> Result<(), MemberFault>,
    ) -> Result<(), GraphError> {
        let first = self.request(call)?;
        let mut request = first.clone();
        let mut context = Context { purpose: first.purpose(), client_request_id: Uuid::nil() };
        for _ in 0..MAX_PAGES {
            let answer = self.exchange(&request, cause).await?;
            context.client_request_id = answer.client_request_id;
            let page = answer::page(&answer.body, shape).map_err(|fault| context.unexpected(fault))?;
            self.note(context, cause, &page.unrequested).await?;
            for object in &page.objects {
                read(object).map_err(|fault| context.unexpected(fault))?;
            }
            let Some(link) = page.next_link else { return Ok(()) };
            let link = PageLink::new(first.url(), &link).map_err(|fault| context.transport(fault))?;
            request = first.next_page(link);
        }
        Err(context.transport(TransportFault::TooManyPages { limit: MAX_PAGES }))
    }

    /// Sends with a token. A refused token is dropped and the request repeated once with a new one.
    async fn exchange(&self, request: &Request, cause: &Cause) -> Result<RawAnswer, GraphError> {
        self.exchange_at(None, request, cause).await
    }

    /// The same from a place in the budget that is there already. Each request that is sent has one of its own.
    async fn exchange_at(
        &self,
        mut given: Option<Place>,
        request: &Request,
        cause: &Cause,
    ) -> Result<RawAnswer, GraphError> {
        let mut number = 1;
        loop {
            let mut place = match given.take() {
                Some(place) => place,
                None => {
                    self.inner.sender.place(request.purpose(), budget::lane_of(request.purpose())).await?
                }
            };
            let token = self.inner.tokens.get(cause).await?;
            place.spend();
            let answer =
                self.inner.sender.send(request, Some(&token.secret), Attempt { cause, number }).await?;
            if answer.is_success() {
                return Ok(answer);
            }
            let refusal = catalogue::refusal(request.purpose(), &answer.error());
            if refusal.decision == Decision::TokenRejected {
                let another = self.inner.tokens.reject(&token);
                if another && number == 1 {
                    number = 2;
                    continue;
                }
            }
            return Err(GraphError::Refused(Box::new(refusal)));
        }
    }

    /// Counts and audits what came unasked. The answer is not handed on before that is durable, as no call is made before its
    /// entry is.
    async fn note(
        &self,
        context: Context,
        cause: &Cause,
        unrequested: &Unrequested,
    ) -> Result<(), GraphError> {
        let count = unrequested.count();
        if count == 0 {
            return Ok(());
        }
        self.inner.unrequested.fetch_add(count, Ordering::Relaxed);
        tracing::warn!(
            purpose = %context.purpose,
            client_request_id = %context.client_request_id,
            count,
            "stripped members that were not asked for"
        );
        self.inner
            .sender
            .report_unrequested(context.purpose, context.client_request_id, cause, unrequested)
            .await
    }
}

#[derive(Clone, Copy)]
struct Context {
    purpose: Purpose,
    client_request_id: Uuid,
}

impl Context {
    fn unexpected(self, fault: MemberFault) -> GraphError {
        GraphError::UnexpectedAnswer {
            purpose: self.purpose,
            member: fault.member,
            problem: fault.problem,
            client_request_id: self.client_request_id,
        }
    }

    fn transport(self, fault: TransportFault) -> GraphError {
        GraphError::Transport { purpose: self.purpose, fault, client_request_id: self.client_request_id }
    }
}
