//! Whether this machine has what bindgen needs.
//!
//! RocksDB's bindings are written while it is built, by bindgen, which loads libclang and reads the compiler's own headers.
//! Whether it finds both, nobody but bindgen can say: libraries of other names lie beside libclang, and libclang without its
//! headers reads nothing that includes `stddef.h`. So the build script of this crate runs the same bindgen, with the same
//! features, on a header of three lines, and `./dev` builds this crate before all others: what is missing is said after a
//! minute, not after RocksDB.
//!
//! It is a program, so that `cargo build --workspace --bin pact-probe-bindgen` builds it with the features of the whole
//! workspace: its dependencies are then those of RocksDB's own build, compiled once. Nothing depends on it.

use std::process::ExitCode;

/// Says which libclang bindgen found.
fn main() -> ExitCode {
    use std::io::Write as _;
    let found = concat!("bindgen works with ", env!("PROBE_CLANG"), "\n");
    match std::io::stdout().write_all(found.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_closed) => ExitCode::FAILURE,
    }
}
