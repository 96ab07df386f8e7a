//! BookingRecords at the API server, written by compare-and-swap alone.

use std::time::Duration;

use kube::{
    Api, Client,
    api::{ListParams, PostParams},
    core::ObjectMeta,
};
use roomkeeper_crds::{
    BookingRecord, BookingRecordSpec,
    annotation::{LABEL_SCOPE, MANAGER_WORKER},
};
use tokio::time::timeout;

use super::{record_names::RecordNames, subscriptions::ObjectName};
use crate::queue::Failure;

/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Records asked for at a time: one can have 32 KiB.
const PER_PAGE: u32 = 100;

/// Longest value of a label.
const LABEL_LIMIT: usize = 63;

/// BookingRecords of all namespaces.
#[derive(Clone)]
pub struct Records {
    client: Client,
    names: RecordNames,
}

/// What a look found.
#[derive(Default)]
pub(super) struct Look {
    /// The record; `None` is absent.
    pub(super) record: Option<BookingRecord>,
    /// Whether the API server was asked. What is absent by the watch alone may have been created meanwhile: enough to create it, which
    /// the API server then refuses, and not enough to leave it at that.
    pub(super) live: bool,
}

/// What a write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// The record holds the spec.
    Done,
    /// Somebody else wrote or deleted it since it was read: nothing was written.
    Conflict,
}

impl Records {
    /// Works through this client, and asks for no record that is known to be absent.
    pub fn new(client: Client, names: RecordNames) -> Self {
        Self { client, names }
    }

    fn api(&self, namespace: &str) -> Api<BookingRecord> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// The record as it stands at the API server.
    pub(super) async fn get(&self, record: &ObjectName) -> Result<Option<BookingRecord>, Failure> {
        let answer = timeout(TIMEOUT, self.api(&record.namespace).get_opt(&record.name)).await;
        let found = settled(answer)?;
        self.names.learn(record, found.is_some());
        Ok(found)
    }

    /// The record, without a question where it was not there a moment ago.
    pub(super) async fn look(&self, record: &ObjectName) -> Result<Look, Failure> {
        if self.names.may_exist(record) { self.ask(record).await } else { Ok(Look::default()) }
    }

    /// The record as it stands at the API server.
    pub(super) async fn ask(&self, record: &ObjectName) -> Result<Look, Failure> {
        Ok(Look { record: self.get(record).await?, live: true })
    }

    /// Looks at every record of a CalendarSubscription, page by page.
    pub(super) async fn each(
        &self,
        subscription: &ObjectName,
        mut look: impl FnMut(BookingRecord),
    ) -> Result<(), Failure> {
        let api = self.api(&subscription.namespace);
        let selector = format!("spec.subscriptionRef.name={}", subscription.name);
        let mut page = ListParams::default().fields(&selector).limit(PER_PAGE);
        loop {
            let list = settled(timeout(TIMEOUT, api.list(&page)).await)?;
            list.items.into_iter().for_each(&mut look);
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page.continue_token = Some(token),
                None => return Ok(()),
            }
        }
    }

    /// Creates a record that was absent.
    pub(super) async fn create(
        &self,
        record: &ObjectName,
        scope: &str,
        spec: BookingRecordSpec,
    ) -> Result<Written, Failure> {
        let mut new = BookingRecord::new(&record.name, spec);
        new.metadata.namespace = Some(record.namespace.clone());
        if scope.len() <= LABEL_LIMIT {
            new.metadata.labels = Some([(LABEL_SCOPE.to_owned(), scope.to_owned())].into());
        }
        let answer = timeout(TIMEOUT, self.api(&record.namespace).create(&by_worker(), &new)).await;
        let created = written(answer)?;
        // Of a conflict too: it is there, and has to be read. Where the namespace is gone, that reading says so.
        self.names.learn(record, true);
        Ok(created)
    }

    /// Replaces the spec of a record, if it still is what was read.
    pub(super) async fn replace(
        &self,
        read: &BookingRecord,
        record: &ObjectName,
        spec: BookingRecordSpec,
    ) -> Result<Written, Failure> {
        let metadata = ObjectMeta { managed_fields: None, ..read.metadata.clone() };
        // Without them the API server would take the write unconditionally.
        if metadata.resource_version.is_none() || metadata.uid.is_none() {
            return Err(Failure::Internal);
        }
        let next = BookingRecord { metadata, spec, status: None };
        let answer =
            timeout(TIMEOUT, self.api(&record.namespace).replace(&record.name, &by_worker(), &next)).await;
        written(answer)
    }
}

fn by_worker() -> PostParams {
    PostParams { field_manager: Some(MANAGER_WORKER.to_owned()), ..PostParams::default() }
}

type Timed<T> = Result<Result<T, kube::Error>, tokio::time::error::Elapsed>;

fn settled<T>(answer: Timed<T>) -> Result<T, Failure> {
    match answer {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            tracing::warn!(error = %shown(&error), "a BookingRecord could not be read or written");
            Err(failure(&error))
        }
        Err(_elapsed) => Err(Failure::KubernetesUnavailable),
    }
}

fn written(answer: Timed<BookingRecord>) -> Result<Written, Failure> {
    match answer {
        // 404 on a replace: the record is gone; on a create: the namespace is.
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => Ok(Written::Conflict),
        other => settled(other).map(|_| Written::Done),
    }
}

/// The API server's own words can quote a spec, and with it people: only its codes are shown.
pub(super) fn shown(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} {}", status.code, status.reason),
        other => other.to_string(),
    }
}

/// What a failed call to the API server is to the queue.
pub(super) fn failure(error: &kube::Error) -> Failure {
    match error {
        kube::Error::Api(status) => match status.code {
            401 | 403 => Failure::AccessDenied,
            429 => Failure::Throttled,
            400..=499 => Failure::Rejected,
            _ => Failure::KubernetesUnavailable,
        },
        kube::Error::SerdeError(_) => Failure::Rejected,
        _ => Failure::KubernetesUnavailable,
    }
}
