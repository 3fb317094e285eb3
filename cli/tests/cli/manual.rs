//! The manual pages, as what reads them sees them.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::Home;

fn pages(home: &Home) -> Vec<PathBuf> {
    let dir = home.path().to_str().unwrap().to_owned();
    home.run(&["man", "--dir", &dir]).exits(0);
    let mut pages: Vec<PathBuf> =
        std::fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    pages
}

/// Whether a program is installed; what it would have checked is not, otherwise, and that is said.
fn is_here(program: &str, package: &str) -> bool {
    let here = ["/usr/bin", "/bin"].iter().any(|folder| Path::new(folder).join(program).exists());
    if !here {
        eprintln!(
            "NOT TESTED: manual pages with {program}, which is not installed (apt-get install {package})"
        );
    }
    here
}

#[test]
fn there_is_a_page_for_every_command() {
    fn names(command: &clap::Command, name: &str, found: &mut Vec<String>) {
        found.push(format!("{name}.1"));
        for below in command.get_subcommands().filter(|c| !c.is_hide_set()) {
            if name == "pact" || below.get_name() != "help" {
                names(below, &format!("{name}-{}", below.get_name()), found);
            }
        }
    }
    let home = Home::bare();
    let mut expected = Vec::new();
    names(&pact_cli::command(true), "pact", &mut expected);
    expected.sort();
    let found: Vec<String> = pages(&home)
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(found, expected);
    let exec = std::fs::read_to_string(home.path().join("pact-exec.1")).unwrap();
    assert_eq!(home.run(&["man", "exec"]).exits(0).stdout, exec);
    let stderr = home.run(&["man", "nonsense"]).exits(1).stderr;
    assert!(stderr.contains("no command `nonsense`"), "{stderr}");
    let stderr = home.run(&["man", "--dir", "/nowhere"]).exits(1).stderr;
    assert!(stderr.contains("/nowhere/pact.1 cannot be written"), "{stderr}");
}

#[test]
fn two_builds_on_different_days_make_the_same_pages_when_told_the_date() {
    let home = Home::bare().with("SOURCE_DATE_EPOCH", "1767225600");
    let page = home.run(&["man", "exec"]).exits(0).stdout;
    assert!(page.contains("\n.TH PACT-EXEC 1 2026-01-01 "), "{page}");
    insta::assert_snapshot!("man_exec", page);
    let home = Home::bare().with("SOURCE_DATE_EPOCH", "yesterday");
    assert!(home.run(&["man"]).exits(1).stderr.contains("PACT_INVALID_CONFIG"));
}

#[test]
fn mandoc_and_man_have_nothing_to_say_about_them() {
    let home = Home::bare();
    let pages = pages(&home);
    if is_here("mandoc", "mandoc") {
        let lint =
            Command::new("mandoc").args(["-Tlint", "-Wstyle"]).args(&pages).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&lint.stdout), "");
        assert_eq!(String::from_utf8_lossy(&lint.stderr), "");
    }
    if is_here("man", "man-db") {
        for page in &pages {
            let mut man = Command::new("man");
            man.args(["--warnings", "-E", "UTF-8", "-l"]).arg(page).env("MANROFFSEQ", "");
            let output = man.env("MANWIDTH", "80").env("LC_ALL", "C.UTF-8").output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{}", page.display());
            assert!(output.status.success(), "{}", page.display());
            assert!(String::from_utf8_lossy(&output.stdout).contains("NAME"), "{}", page.display());
        }
    }
    if is_here("lexgrog", "man-db") {
        let found = Command::new("lexgrog").args(&pages).output().unwrap();
        let found = String::from_utf8_lossy(&found.stdout).into_owned();
        assert!(found.contains("pact-node-list - List enrolled nodes"), "{found}");
        assert_eq!(found.lines().count(), pages.len(), "{found}");
        assert!(!found.contains("parse failed"), "{found}");
    }
}
