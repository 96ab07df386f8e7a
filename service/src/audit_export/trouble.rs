//! Why an export did not take place, and the reason of `AuditExported` that says so.

use roomkeeper_crds::condition::AuditExported;

use super::{DereferenceError, ExportError, KeptError, ScheduleError, StoreError, TargetError};
use crate::{audit::KeyAccessError, scope_access::ScopeAccessError};

/// The step that failed, with its own words.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    Dereference(#[from] DereferenceError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Export(#[from] ExportError),
    #[error(transparent)]
    Kept(#[from] KeptError),
    #[error(transparent)]
    Key(#[from] KeyAccessError),
    #[error(transparent)]
    Endpoints(#[from] ScopeAccessError),
}

impl Trouble {
    pub(super) fn reason(&self) -> AuditExported {
        match self {
            Self::Schedule(_) => AuditExported::ScheduleInvalid,
            Self::Target(
                TargetError::Host(_)
                | TargetError::NoFolder
                | TargetError::Outside { .. }
                | TargetError::Invalid { .. },
            )
            | Self::Endpoints(_) => AuditExported::DestinationNotAllowed,
            Self::Store(StoreError::OtherCredential) => AuditExported::CredentialsMissing,
            Self::Dereference(error) => error.reason(),
            Self::Target(TargetError::Folder { .. })
            | Self::Store(StoreError::ExtraCa | StoreError::Settings { .. })
            | Self::Export(_)
            | Self::Kept(_)
            | Self::Key(_) => AuditExported::ExportFailed,
        }
    }
}
