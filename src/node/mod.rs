//! The running server: wires the machine to its log, its clients and the clock, starts and stops it.

mod backups;
mod clock;
mod member_files;
mod owner;
mod rim;
mod role_times;
mod server;
mod settings;
mod snapshots;
mod threads;
mod ticker;

pub use clock::SystemClock;
pub use owner::OwnerHandle;
pub use server::{Server, ServerError};
pub use settings::{MetricsSettings, Settings, SettingsError};
pub use snapshots::old_files;
