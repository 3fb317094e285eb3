//! System tests: one binary, a file for each behaviour.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods
)]

mod t01_exec;
mod t02_exit_codes;
mod t03_members_are_killed;
mod t04_agent_is_killed;
mod t05_bus_is_killed;
mod t06_grants;
mod t07_wrong_configuration;
mod t08_site_rules;
mod t09_drift;

/// No test file is forgotten.
#[test]
fn every_file_is_a_module() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/system");
    let main = include_str!("main.rs");
    for entry in std::fs::read_dir(dir).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.trim_end_matches(".rs");
        assert!(module == "main" || main.contains(&format!("mod {module};")), "{name}");
    }
}
