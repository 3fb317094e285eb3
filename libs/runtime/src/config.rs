//! Configuration: keys declared as data, loaded in layers, each value with its origin.
//!
//! Layers, later wins: defaults < files, in the order given < environment < flags. A binary declares a [`Schema`];
//! [`Loader`] reads the layers against it and collects *all* problems; [`Loaded`] becomes the binary's own
//! `Config` struct through [`Loaded::parse`], and `--print-config` through [`Loaded::print`].
//!
//! - No key, table or variable that the schema does not know is ignored.
//! - No secret is read from the environment or the command line: keys marked [`Key::secret`] count in files only,
//!   and are never shown, in errors neither. Prefer a key that holds the *path* of a file with the secret.
//! - No line of a file is quoted in an error except the value that was refused.
//! - Nothing here reads the environment itself; it is handed in.
//!
//! ```
//! use pact_runtime::config::{Default, Key, KeyKind, Loader, Schema};
//!
//! static SCHEMA: Schema = Schema {
//!     file_name: "journal.toml",
//!     env_prefix: "PACT_JOURNAL",
//!     other_environment: &[],
//!     keys: &[Key::new(
//!         "journal.data_dir",
//!         KeyKind::Path,
//!         Default::Value("\"/var/lib/pact/journal\""),
//!         "Folder of both databases.",
//!     )],
//! };
//!
//! let loaded = Loader::new(&SCHEMA).flag("journal.data_dir", "/srv/journal").load()?;
//! assert_eq!(loaded.print(), "journal.data_dir = \"/srv/journal\"   # flag --set\n");
//! # Ok::<(), pact_runtime::config::ConfigError>(())
//! ```

mod example;
mod file;
mod key;
mod loaded;
mod loader;
mod nearest;
mod problem;
pub mod seconds;
mod value;

pub use example::example_file;
pub use key::{Default, Key, KeyKind, Schema};
pub use loaded::Loaded;
pub use loader::Loader;
pub use problem::{ConfigError, Origin, Problem};

/// Where a file of this name is looked for unless `--config` says otherwise.
pub const CONFIG_FOLDER: &str = "/etc/pact";
