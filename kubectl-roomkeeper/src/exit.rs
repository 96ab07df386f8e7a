//! Exit codes and the errors that have one of their own.

use std::process::ExitCode;

/// What went wrong, where the exit code tells it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line says something that cannot be done. Exit code 2, as for what the parser refuses.
    #[error("{0}")]
    Usage(String),
    /// What the command is about does not exist. Exit code 3.
    #[error("{0}")]
    NotFound(String),
    /// It is not clear whom or what is meant. Exit code 4.
    #[error("{0}")]
    Ambiguous(String),
    /// What was asked for is on its way and was not seen done in time. Exit code 5.
    #[error("{0}")]
    TimedOut(String),
    /// Audit logs are damaged, or not whole. Exit code 6.
    #[error("{0}")]
    Damaged(String),
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::NotFound(_) => 3,
            Self::Ambiguous(_) => 4,
            Self::TimedOut(_) => 5,
            Self::Damaged(_) => 6,
        }
    }
}

/// The exit code of an error: 1 where none of its own was documented.
pub(crate) fn code(error: &anyhow::Error) -> ExitCode {
    ExitCode::from(error.downcast_ref::<Failure>().map_or(1, Failure::code))
}
