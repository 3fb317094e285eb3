//! Container tests: one binary, a file for each behaviour. They need a Docker daemon and the images of `./dev images`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods
)]

mod t01_commit;
mod t02_leader;
mod t03_cut_off;
mod t04_wiped;
mod t05_rolled;
mod t06_leftovers;

/// No test file is forgotten.
#[test]
fn every_file_is_a_module() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/containers");
    let main = include_str!("main.rs");
    for entry in std::fs::read_dir(dir).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.trim_end_matches(".rs");
        assert!(module == "main" || main.contains(&format!("mod {module};")), "{name}");
    }
}
