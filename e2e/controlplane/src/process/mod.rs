//! Programs and folders that never outlive this process, whatever ends it: return, panic, Ctrl-C, SIGKILL.

mod log;
mod program;
mod scratch;
mod supervised;
mod watcher;

pub use nix::sys::signal::Signal;
pub use program::Program;
pub(crate) use program::is_executable;
pub use scratch::{ScratchDir, scratch_dir};
pub use supervised::{ProcessError, Supervised};
