//! Resolution against a recorded tree, and against this machine.

use std::fs;
use std::path::Path;

use super::node;
use crate::whitelist::{FileKind, FileRefusal, FileResolver, SystemFiles, Verdict, Whitelist};

#[test]
fn paths_resolve_to_what_they_name() {
    let (_directory, files) = node();
    for (given, path) in [
        ("/etc/hosts", "/etc/hosts"),
        ("etc//./hosts", "/etc/hosts"),
        ("/tmp/chain", "/etc/hosts"),
        ("../../etc/hosts", "/etc/hosts"),
        ("/tmp/etc/../etc/hosts", "/etc/hosts"),
        ("/etc/missing/deeper", "/etc/missing/deeper"),
        ("/", "/"),
    ] {
        assert_eq!(files.resolve_file(given).unwrap().path, Path::new(path), "{given}");
    }
    assert_eq!(files.resolve_file("/etc/missing").unwrap().kind, FileKind::Missing);
    assert_eq!(files.resolve_file("/etc").unwrap().kind, FileKind::Directory);
}

#[test]
fn site_rules_are_added_and_checked() {
    let (_directory, files) = node();
    let files = files.with_denied(&["/srv/clean/**".into(), "**/syslog".into()]).unwrap();
    assert!(matches!(files.resolve_file("/srv/clean/b"), Err(FileRefusal::Denied { .. })));
    assert!(matches!(files.resolve_file("/var/log/syslog"), Err(FileRefusal::Denied { .. })));
    assert!(matches!(files.resolve_tree("/var/log"), Err(FileRefusal::TreeHolds { .. })));
    for bad in ["srv", "/srv/../etc", "", "/", "/a//b", "*/x"] {
        assert!(SystemFiles::default().with_denied(&[bad.to_owned()]).is_err(), "{bad}");
    }
}

#[test]
fn special_files_are_not_read() {
    let (directory, files) = node();
    let socket =
        std::os::unix::net::UnixListener::bind(directory.path().join("tmp/socket")).unwrap();
    let judge = |line: &[&str]| {
        let argv: Vec<String> = line.iter().map(|word| (*word).to_owned()).collect();
        Whitelist::builtin().judge(&argv, &files)
    };
    assert!(matches!(judge(&["cat", "/tmp/socket"]), Verdict::Refused(_)));
    assert!(matches!(judge(&["ls", "-l", "/tmp/socket"]), Verdict::Allowed { .. }));
    drop(socket);
}

#[test]
fn a_tree_beyond_the_limit_is_refused() {
    let (directory, files) = node();
    let big = directory.path().join("srv/big");
    fs::create_dir(&big).unwrap();
    for number in 0..=20_000 {
        fs::hard_link(directory.path().join("srv/clean/b"), big.join(number.to_string())).unwrap();
    }
    assert_eq!(files.resolve_tree("/srv/big"), Err(FileRefusal::TreeTooLarge { limit: 20_000 }));
}

#[test]
fn this_machine_is_read_as_a_node_is() {
    let files = SystemFiles::default();
    let allowed = |line: &[&str]| {
        let argv: Vec<String> = line.iter().map(|word| (*word).to_owned()).collect();
        matches!(Whitelist::builtin().judge(&argv, &files), Verdict::Allowed { .. })
    };
    assert!(allowed(&["uname", "-a"]));
    assert!(allowed(&[
        "cat",
        "/etc/passwd",
        "/proc/mounts",
        "/proc/net/dev",
        "/proc/meminfo",
        "/sys/class/net/lo/mtu",
        "/dev/null"
    ]));
    for path in [
        "/etc/shadow",
        "/proc/self/environ",
        "/proc/self/root/etc/shadow",
        "/proc/1/environ",
        "/proc/1/root/etc/passwd",
        "/dev/stdin",
        "/dev/fd/0",
        "/proc/1/fd/0",
        "/dev/mem",
        "/dev/tty",
        "/dev/urandom",
        "/proc/net/../environ",
        "/proc/mounts/../self/environ",
    ] {
        assert!(!allowed(&["cat", path]), "{path}");
    }
    for block in fs::read_dir("/sys/block").unwrap() {
        let device = format!("/dev/{}", block.unwrap().file_name().to_string_lossy());
        if Path::new(&device).exists() {
            assert!(!allowed(&["cat", &device]), "{device}");
        }
    }
    assert!(
        !allowed(&["grep", "-r", "x", "/"])
            && !allowed(&["grep", "-r", "x", "/etc"])
            && !allowed(&["grep", "-r", "x", "/proc/1"])
    );
    assert!(allowed(&["grep", "-r", "x", "/proc/sys/vm"]));
}
