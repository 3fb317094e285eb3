//! The `pact` command.

fn main() -> std::process::ExitCode {
    pact_cli::main_entry()
}
