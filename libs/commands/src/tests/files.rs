//! Resolution against a recorded disk. What the real one says is tested where it is read, in the
//! agent.

use std::path::PathBuf;

use super::argv;
use super::recorded::{Recorded, disk, node};
use crate::{FileKind, FileRefusal, FileResolver as _, Files, Found, Reads, Verdict, Whitelist};

#[test]
fn paths_resolve_to_what_they_name() {
    let files = node();
    for (given, path) in [
        ("/etc/hosts", "/etc/hosts"),
        ("etc//./hosts", "/etc/hosts"),
        ("/tmp/chain", "/etc/hosts"),
        ("../../etc/hosts", "/etc/hosts"),
        ("/tmp/etc/../etc/hosts", "/etc/hosts"),
        ("/etc/missing/deeper", "/etc/missing/deeper"),
        ("/", "/"),
    ] {
        assert_eq!(files.resolve_file(given, Reads::Contents).unwrap().path, path, "{given}");
    }
    assert_eq!(
        files.resolve_file("/etc/missing", Reads::Contents).unwrap().kind,
        FileKind::Missing
    );
    assert_eq!(files.resolve_file("/etc", Reads::Contents).unwrap().kind, FileKind::Directory);
}

#[test]
fn site_rules_are_added_and_checked() {
    let files = node();
    let files = files.with_denied(&["/srv/clean/**".into(), "**/syslog".into()]).unwrap();
    assert!(matches!(
        files.resolve_file("/srv/clean/b", Reads::Contents),
        Err(FileRefusal::Denied { .. })
    ));
    assert!(matches!(
        files.resolve_file("/var/log/syslog", Reads::Contents),
        Err(FileRefusal::Denied { .. })
    ));
    assert!(matches!(
        files.resolve_tree("/var/log", Reads::Contents),
        Err(FileRefusal::TreeHolds { .. })
    ));
    for bad in ["srv", "/srv/../etc", "", "/", "/a//b", "*/x"] {
        assert!(node().with_denied(&[bad.to_owned()]).is_err(), "{bad}");
    }
}

#[test]
fn programs_are_those_that_the_name_finds() {
    let files = node();
    let cat = Some(PathBuf::from("/usr/bin/cat"));
    for given in ["cat", "/usr/bin/cat", "/bin/cat", "/bin/../bin/cat"] {
        assert_eq!(files.resolve_program(given), cat, "{given}");
    }
    for given in
        ["", "bin/cat", "./cat", "/usr/local/bin/cat", "/etc/hosts", "absent", "..", "cat\0"]
    {
        assert_eq!(files.resolve_program(given), None, "{given}");
    }
    // Some programs look at the name by which they are called.
    assert_eq!(files.resolve_program("alias"), Some("/usr/bin/alias".into()));
    assert_eq!(files.locate_program("/usr/local/bin/cat"), Some("/usr/local/bin/cat".into()));
    assert_eq!(files.locate_program("usr/local/bin/cat"), None);
}

#[test]
fn special_files_are_not_read() {
    let mut disk = disk();
    disk.put("/tmp/socket", Found::Kind(FileKind::Socket));
    disk.put("/tmp/pipe", Found::Kind(FileKind::Pipe));
    disk.put("/dev/sda", Found::Kind(FileKind::Device));
    disk.put("/dev/null", Found::Kind(FileKind::Device));
    let files = Files::new(disk);
    let judge = |line: &str| Whitelist::builtin().judge(&argv(line), &files);
    for path in ["/tmp/socket", "/tmp/pipe", "/dev/sda"] {
        assert!(matches!(judge(&format!("cat {path}")), Verdict::Refused(_)), "{path}");
        assert!(matches!(judge(&format!("ls -l {path}")), Verdict::Allowed { .. }), "{path}");
    }
    assert!(matches!(judge("cat /dev/null"), Verdict::Allowed { .. }));
}

#[test]
fn what_cannot_be_looked_at_is_not_read() {
    let mut disk = disk();
    disk.put("/srv/hidden", Found::Unknown);
    disk.put("/srv/unreadable", Found::Link(None));
    disk.put("/srv/empty", Found::Link(Some(String::new())));
    let files = Files::new(disk);
    let path = "/srv/hidden".into();
    assert_eq!(
        files.resolve_file("/srv/hidden/x", Reads::Contents),
        Err(FileRefusal::Unexamined { path })
    );
    for link in ["/srv/unreadable", "/srv/empty"] {
        assert_eq!(files.resolve_file(link, Reads::Contents), Err(FileRefusal::Links), "{link}");
    }
}

#[test]
fn a_tree_beyond_the_limit_is_refused() {
    let mut disk = disk();
    for number in 1..=20_000 {
        disk.put(&format!("/srv/big/{number}"), Found::Kind(FileKind::Regular));
    }
    assert!(Files::new(disk.clone()).resolve_tree("/srv/big", Reads::Contents).is_ok());
    disk.put("/srv/big/0", Found::Kind(FileKind::Regular));
    let refused = Files::new(disk).resolve_tree("/srv/big", Reads::Contents);
    assert_eq!(refused, Err(FileRefusal::TreeTooLarge { limit: 20_000 }));
}

#[test]
fn what_shuts_users_out_is_named_and_asked_at_every_step() {
    let files = node();
    let refused = |path: &str, reads| files.resolve_file(path, reads).unwrap_err();
    let withheld = |path: &str| FileRefusal::Withheld { path: path.into() };
    assert_eq!(refused("/tmp/ticket", Reads::Contents), withheld("/tmp/krb5cc_1000"));
    assert!(files.resolve_file("/tmp/ticket", Reads::Nothing).is_ok());
    // Through a shut directory nobody comes, not even to leave it again or to a file that is gone.
    for path in ["/srv/closed/notes", "/srv/closed/../clean/b", "/tmp/inside", "/srv/closed/none"] {
        assert_eq!(refused(path, Reads::Nothing), withheld("/srv/closed"), "{path}");
    }
    assert_eq!(refused("/srv/closed", Reads::Names), withheld("/srv/closed"));
    let tree = |path: &str, reads| files.resolve_tree(path, reads);
    assert_eq!(tree("/srv/shut", Reads::Contents), Err(withheld("/srv/shut/deep/secret")));
    assert!(tree("/srv/shut", Reads::Names).is_ok(), "names are no contents");
    assert_eq!(tree("/srv/half", Reads::Names), Err(withheld("/srv/half/closed")));
}

#[test]
fn a_unit_is_shown_when_all_of_its_files_may_be_read() {
    let shown = |disk: Recorded| {
        let verdict = Whitelist::builtin().judge(&argv("systemctl cat a-b@c"), &Files::new(disk));
        matches!(verdict, Verdict::Allowed { changes_state: false, .. })
    };
    let mut open = disk();
    let unit = "/usr/lib/systemd/system/a-b@.service";
    open.put(unit, Found::Kind(FileKind::Regular));
    open.put("/run/systemd/generator/other.service", Found::Kind(FileKind::Regular));
    open.shut("/run/systemd/generator/other.service");
    assert!(shown(open.clone()), "another unit's file is no matter");
    for added in [
        unit,
        "/etc/systemd/system/a-b@c.service.d/token.conf",
        "/etc/systemd/system/a-b@.service.d/token.conf",
        "/run/systemd/system/a-.service.d/token.conf",
        "/etc/systemd/system/service.d/token.conf",
    ] {
        let mut disk = open.clone();
        disk.put(added, Found::Kind(FileKind::Regular));
        disk.shut(added);
        assert!(!shown(disk), "{added}");
    }
    let mut alias = open;
    let link = Found::Link(Some("/usr/lib/systemd/system/real.service".to_owned()));
    alias.put("/etc/systemd/system/a-b@c.service", link);
    assert!(shown(alias.clone()));
    let added = "/etc/systemd/system/real.service.d/token.conf";
    alias.put(added, Found::Kind(FileKind::Regular));
    alias.shut(added);
    assert!(!shown(alias));
}
