//! A real kube-apiserver and etcd, built from pinned Go modules, for tests and the demo.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use roomkeeper_controlplane::ControlPlane;
//!
//! let control_plane = ControlPlane::shared().await?;
//! let namespace = control_plane.namespace("my-test").await?;
//! let client = control_plane.client_for("jane", &["support"]).await?;
//! # Ok(()) }
//! ```
//!
//! [`process`] gives other programs of a test the same guarantee: nothing outlives the test.

pub mod apply;
pub mod assets;
mod authority;
mod control_plane;
mod der;
mod flags;
mod go_build;
mod kubeconfig;
pub mod process;
mod setup;
mod toolset;
mod way;

pub use authority::AuthorityError;
pub use control_plane::{ControlPlane, StartError, StartOptions, USE_KUBECONFIG};
pub use go_build::BuildError;
pub use kubeconfig::KubeconfigError;
pub use setup::SetupError;
pub use way::Way;
