//! The list held against recorded trees, generated command lines and the installed programs.

mod files;
mod lines;
mod programs;
mod properties;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::{Mode, SystemFiles, Verdict, Whitelist};
use crate::whitelist::grammar::Operands;

/// A small node: all programs of the list, some files to read, and the ways round.
pub(super) fn node() -> (tempfile::TempDir, SystemFiles) {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    for path in [
        "usr/sbin",
        "usr/bin",
        "usr/local/bin",
        "root/.ssh",
        "home/alice/.ssh",
        "etc/ssh",
        "etc/pact",
        "etc/app",
        "var/log/app",
        "srv/data/app/.ssh",
        "srv/clean/deep",
        "proc/42/task/42",
        "proc/net",
        "proc/sys",
        "var/lib/pact/spool",
        "dev",
        "tmp",
        "mnt/image/etc",
    ] {
        fs::create_dir_all(root.join(path)).unwrap();
    }
    symlink("usr/bin", root.join("bin")).unwrap();
    symlink("usr/sbin", root.join("sbin")).unwrap();
    for name in Whitelist::builtin().names().into_iter().chain(["bash", "sitetool"]) {
        program(&root.join("usr/bin").join(name));
    }
    program(&root.join("usr/local/bin/cat"));
    for path in [
        "etc/shadow",
        "etc/shadow-",
        "etc/passwd",
        "etc/hosts",
        "etc/fstab",
        "etc/ssh/ssh_host_rsa_key",
        "etc/ssh/ssh_host_rsa_key.pub",
        "etc/pact/ca.crt",
        "etc/pact/agent.key",
        "etc/pact/agent.creds",
        "etc/sudoers",
        "etc/app/app.conf",
        "root/.ssh/id_rsa",
        "home/alice/.ssh/config",
        "home/alice/notes",
        "var/log/syslog",
        "var/log/app/today",
        "srv/clean/deep/a",
        "srv/clean/b",
        "srv/data/app/.ssh/key",
        "proc/42/environ",
        "proc/42/mem",
        "proc/42/status",
        "proc/42/task/42/environ",
        "proc/42/fd-none",
        "proc/net/dev",
        "proc/kcore",
        "var/lib/pact/spool/1",
        "mnt/image/etc/shadow",
        "sys-marker",
        "tmp/pattern",
    ] {
        fs::write(root.join(path), path).unwrap();
    }
    let mounts =
        "/dev/sda1 / ext4 rw 0 0\nstorage:/d /datasets nfs rw 0 0\nproc /proc proc rw 0 0\n";
    fs::write(root.join("proc/mounts"), mounts).unwrap();
    for (link, target) in [
        ("proc/self", "42"),
        ("proc/42/root", "/"),
        ("proc/42/cwd", "/etc"),
        ("proc/42/exe", "/usr/bin/cat"),
        ("tmp/innocent", "/etc/shadow"),
        ("tmp/relative", "../etc/shadow"),
        ("tmp/loop", "loop"),
        ("tmp/etc", "/etc"),
        ("tmp/good", "/etc/hosts"),
        ("tmp/chain", "good"),
        ("dev/fd", "/proc/self/fd"),
        ("usr/bin/alias", "cat"),
    ] {
        symlink(target, root.join(link)).unwrap();
    }
    let files = SystemFiles::rooted(root);
    (directory, files)
}

fn program(path: &Path) {
    fs::write(path, "#!/bin/true\n").unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A command line written with blanks; `''` is an empty argument and `~` stands for a blank.
pub(super) fn argv(line: &str) -> Vec<String> {
    let word = |word: &str| if word == "''" { String::new() } else { word.replace('~', " ") };
    line.split(' ').filter(|part| !part.is_empty()).map(word).collect()
}

#[test]
fn every_listed_name_that_can_be_abused_has_a_grammar() {
    let known: Vec<&str> = include_str!("tests/gtfobins.txt").split_whitespace().collect();
    assert!(known.len() > 400, "the committed list has been cut: {}", known.len());
    let list = Whitelist::builtin();
    let (_directory, files) = node();
    for name in known {
        let Some(command) = list.commands.get(name) else {
            let verdict = list.judge(&[name.to_owned()], &files);
            assert!(matches!(verdict, Verdict::Refused(_)), "{name} is off the list");
            continue;
        };
        let takes_anything = matches!(&command.operands, Operands::Each { kind, max, .. }
            if *max == usize::MAX && kind.fits("/etc/shadow") && kind.fits("-x"));
        assert!(!takes_anything, "{name} needs a grammar");
    }
}

#[test]
fn the_list_is_the_one_promised() {
    let promised = "nvidia-smi rocm-smi ps top htop lspci lsmod lsblk lscpu ip ss ping traceroute ethtool cat head tail wc ls stat \
        file md5sum sha256sum diff grep journalctl sysctl dmesg uname hostname uptime free df mount echo id date true systemctl \
        modprobe umount";
    let mut promised: Vec<&str> = promised.split_whitespace().collect();
    promised.sort_unstable();
    assert_eq!(Whitelist::builtin().names(), promised);
}

#[test]
fn additions_are_bare_names_with_any_arguments() {
    let (_directory, files) = node();
    let list = Whitelist::builtin()
        .with_additions(&["sitetool".into(), "cat".into(), "absent".into()])
        .unwrap();
    let verdict = |line: &str| list.judge(&argv(line), &files);
    assert!(matches!(
        verdict("sitetool --anything /etc/shadow -rf"),
        Verdict::Allowed { changes_state: true, .. }
    ));
    assert!(
        matches!(verdict("cat /etc/shadow"), Verdict::Refused(_)),
        "the built-in grammar stays"
    );
    assert!(matches!(verdict("absent"), Verdict::Refused(refusal) if refusal.is_not_installed()));
    for bad in ["/bin/sh", "../sh", "", "-x", "a b", "a\nb", ".", "..", "a*"] {
        assert!(Whitelist::builtin().with_additions(&[bad.to_owned()]).is_err(), "{bad:?}");
    }
}

#[test]
fn modes_run_what_they_say() {
    let (_directory, files) = node();
    let list = Whitelist::builtin();
    let admit = |mode, line: &str| list.admit(mode, &argv(line), &files);
    assert!(admit(Mode::Strict, "bash -c id").is_err());
    let learned = admit(Mode::Learning, "bash -c id").unwrap();
    assert!(learned.changes_state && learned.off_list.is_some());
    assert!(admit(Mode::Bypass, "bash -c id").unwrap().off_list.is_none());
    assert!(admit(Mode::Learning, "uname -a").unwrap().off_list.is_none());
    assert!(admit(Mode::Bypass, "no-such-program").unwrap_err().is_not_installed());
    assert!(list.admit(Mode::Bypass, &[], &files).is_err());
    for mode in [Mode::Strict, Mode::Learning, Mode::Bypass] {
        assert_eq!(mode.as_str().parse(), Ok(mode));
    }
    assert!("Strict".parse::<Mode>().is_err());
}

#[test]
fn refusals_tell_the_argument_and_what_is_accepted() {
    let (_directory, files) = node();
    let refusal = |line: &str| match Whitelist::builtin().judge(&argv(line), &files) {
        Verdict::Refused(refusal) => refusal.to_string(),
        Verdict::Allowed { .. } => panic!("{line} is allowed"),
    };
    let dmesg = refusal("dmesg -TC");
    assert!(
        dmesg.starts_with("dmesg: option -C clears the kernel log; accepted: -T -H -k"),
        "{dmesg}"
    );
    let shadow = refusal("cat tmp/innocent");
    assert!(
        shadow.contains(
            "tmp/innocent: /etc/shadow is outside the readable tree (rule **/etc/shadow*)"
        ),
        "{shadow}"
    );
    let forged = refusal("cat --\u{1b}[2J\u{202e}");
    assert!(forged.is_ascii() && !forged.contains('\u{1b}'), "{forged:?}");
    assert_eq!(refusal("vi /etc/hosts"), "vi: command is not on the list");
}
