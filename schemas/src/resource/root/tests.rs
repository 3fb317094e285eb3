use std::collections::BTreeMap;

use super::*;
use crate::resource::FileValue;

fn alone(key: &str) -> bool {
    gives_root(&key.parse().unwrap(), None, Some(&Value::Text("x".into()))).is_some()
}

fn with(key: &str, old: Option<&Value>, new: &Value) -> bool {
    gives_root(&key.parse().unwrap(), old, Some(new)).is_some()
}

fn attributes(of: &[(&str, &str)]) -> Value {
    let text =
        |(name, value): &(&str, &str)| ((*name).to_owned(), Value::Text((*value).to_owned()));
    Value::Attributes(of.iter().map(text).collect::<BTreeMap<_, _>>())
}

fn file(kind: FileKind, mode: u32) -> Value {
    Value::File(FileValue {
        kind,
        sha256: None,
        size_bytes: 0,
        mode,
        owner: "root".into(),
        group: "root".into(),
        link_target: None,
        content_kept: false,
    })
}

#[test]
fn parameters_that_name_programs_give_root_in_any_spelling_and_tree() {
    for name in [
        "kernel.core_pattern",
        "kernel/core_pattern",
        "kernel.core_pipe_limit",
        "kernel.modprobe",
        "kernel.hotplug",
        "kernel.poweroff_cmd",
        "kernel.usermodehelper.bset",
        "kernel.usermodehelper/inheritable",
        "fs.binfmt_misc.register",
        "fs/binfmt_misc/status",
        "lnet.upcall",
        "lnet.debug_log_upcall",
        "lnet.debug_path",
        "sunrpc.nfs_upcall",
        "fs.lustre.mdt.identity_upcall",
    ] {
        assert!(parameter_gives_root(name).is_some(), "{name}");
        assert!(alone(&format!("sysctl/{}", name.replace('/', "."))), "{name}");
    }
    for name in [
        "vm.swappiness",
        "kernel.panic",
        "kernel.core_uses_pid",
        "lnet.debug",
        "sunrpc.rpc_debug",
        "fs.file-max",
        "net.ipv4.conf.eth0/100.forwarding",
        "kernel.pid_max",
    ] {
        assert!(parameter_gives_root(name).is_none(), "{name}");
    }
}

#[test]
fn files_that_root_executes_or_obeys_give_root_and_their_neighbours_do_not() {
    for path in [
        "/",
        "/etc",
        "/usr/local",
        "/var/spool",
        "/etc/pact/agent.toml",
        "/var/lib/pact/agent/identity",
        "/etc/ld.so.preload",
        "/etc/sudoers",
        "/etc/sudoers.d/50-x",
        "/etc/pam.d/sshd",
        "/etc/cron.d",
        "/etc/cron.d/x",
        "/etc/crontab",
        "/var/spool/cron/crontabs/root",
        "/etc/systemd/system/x.service",
        "/usr/lib/systemd/system-generators/x",
        "/run/systemd/system/x.service",
        "/etc/modprobe.d/x.conf",
        "/etc/modules-load.d/x.conf",
        "/etc/udev/rules.d/1.rules",
        "/etc/profile.d/x.sh",
        "/root/.ssh/authorized_keys",
        "/root/.bashrc",
        "/var/lib/slurm/.ssh/authorized_keys",
        "/home/.ssh/authorized_keys",
        "/etc/shadow",
        "/etc/shadow-",
        "/etc/gshadow",
        "/etc/group",
        "/etc/passwd",
        "/etc/subuid",
        "/etc/sysctl.d/99.conf",
        "/proc/sys/kernel/core_pattern",
        "/sys/kernel/uevent_helper",
        "/usr/bin/true",
        "/lib64/libc.so.6",
    ] {
        assert!(alone(&format!("file/{path}")), "{path}");
        assert!(with(&format!("file/{path}"), None, &Value::Absent), "{path}");
    }
    for path in [
        "/etc/motd",
        "/etc/hosts",
        "/etc/issue",
        "/etc/chrony.conf",
        "/etc/pactum",
        "/etc/pas",
        "/home",
        "/home/u/.ssh/authorized_keys",
        "/root/notes",
        "/srv/node/motd",
        "/opt/x/etc/shadow",
        "/tmp/x",
        "/usr/share/doc/x",
        "/var/spool/mail/u",
        "/var/lib/x",
    ] {
        assert!(!alone(&format!("file/{path}")), "{path}");
    }
}

#[test]
fn a_file_that_runs_as_its_owner_gives_root_wherever_it_lies() {
    for (kind, mode, gives) in [
        (FileKind::Regular, 0o4755, true),
        (FileKind::Regular, 0o2755, true),
        (FileKind::Regular, 0o1777, false),
        (FileKind::Directory, 0o2775, false),
    ] {
        assert_eq!(with("file//srv/x", None, &file(kind, mode)), gives, "{mode:o}");
    }
}

#[test]
fn mounts_give_root_by_their_place_or_without_nosuid_and_nodev() {
    for (options, gives) in [
        ("nosuid,nodev", false),
        ("vers=4.2,nodev,nosuid", false),
        ("nosuid", true),
        ("nodev", true),
        ("", true),
        ("nosuid,nodev,suid", true),
        ("nosuid,nodev,defaults", true),
        ("defaults,nosuid,nodev", false),
    ] {
        let mount = attributes(&[("type", "nfs"), ("options", options)]);
        assert_eq!(with("mount//datasets", None, &mount), gives, "{options}");
        for over in ["/etc", "/", "/usr/local", "/etc/cron.d/x"] {
            assert!(with(&format!("mount/{over}"), None, &mount), "{over} {options}");
        }
    }
    assert!(!with("mount//datasets", None, &Value::Absent));
    assert!(with("mount//usr", None, &Value::Absent));
}

#[test]
fn services_of_the_service_user_and_what_does_not_decide_what_runs_give_nothing() {
    let user = |user: &str, restart: &str, binary: &str| {
        attributes(&[("binary", binary), ("restart", restart), ("user", user)])
    };
    let plain = attributes(&[("binary", "/usr/sbin/chronyd")]);
    assert!(!with("service/chronyd", None, &plain));
    let root = user("root", "always", "/a");
    assert!(with("service/chronyd", None, &root));
    assert!(with("service/chronyd", Some(&plain), &root));
    assert!(with("service/chronyd", Some(&user("root", "always", "/b")), &root));
    assert!(!with("service/chronyd", Some(&user("root", "never", "/a")), &root));
    assert!(!with("service/chronyd", Some(&root), &plain));
    assert!(!with("service/chronyd", Some(&root), &Value::Absent));
    assert!(with("service/chronyd", None, &Value::Text("on".into())), "nobody knows who runs it");
    assert!(alone("module/nfs") && with("module/nfs", None, &Value::Absent));
    for none in ["net/eth0", "package/cuda", "gpu/0"] {
        assert!(!alone(none), "{none}");
    }
}
