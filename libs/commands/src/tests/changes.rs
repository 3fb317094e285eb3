//! What changes a node, asked without one.

use super::argv;
use super::lines::{CHANGING, READING, REFUSED, lines};
use super::recorded::node;
use crate::{Fault, Verdict, Whitelist, changes_state};

fn changes(line: &str) -> bool {
    changes_state(&argv(line))
}

#[test]
fn what_a_node_would_run_changes_as_much_as_its_list_says() {
    for line in lines(READING) {
        assert!(!changes(&line.replace('\'', "")), "{line}");
    }
    for line in lines(CHANGING) {
        assert!(changes(line), "{line}");
    }
}

#[test]
fn what_is_off_the_list_counts_as_changing_unless_for_a_file_alone() {
    let (files, list) = (node(), Whitelist::builtin());
    for line in lines(REFUSED) {
        let Verdict::Refused(refusal) = list.judge(&argv(line), &files) else { panic!("{line}") };
        if !matches!(refusal.fault(), Fault::File { .. }) {
            assert!(changes(line), "{line}: {refusal}");
        }
    }
    assert!(!changes("cat /etc/shadow"), "the node refuses it, and nothing changes");
}

#[test]
fn values_of_options_are_no_verbs_and_options_may_write() {
    for line in [
        "systemctl -t status stop x",
        "systemctl -p show restart x",
        "nvidia-smi dmon -f /tmp/x",
        "ss -D /tmp/x",
        "journalctl --cursor-file=/tmp/x",
        "df --sync",
        "ping -f -c 1 x",
        "diff -l /etc/hosts /etc/fstab",
    ] {
        assert!(changes(line), "{line}");
    }
    for line in [
        "systemctl -n 5 status x",
        "systemctl list-paths",
        "date -d yesterday",
        "date -Iseconds",
        "dmesg -lnotice",
        "sysctl -r a=b",
        "ip -f inet route",
        "mount --types=nfs",
        "nvidia-smi nvlink -s",
        "rocm-smi -d 0 --showtemp",
    ] {
        assert!(!changes(line), "{line}");
    }
}

#[test]
fn what_is_not_known_to_look_counts_as_changing() {
    for line in [
        "rm -rf /scratch",
        "wipe-disks",
        "bash -c true",
        "sudo uname",
        "/tmp/cat /etc/motd",
        "./ls",
        "reboot",
        "modprobe nfs",
        "umount /scratch",
        "kill 1",
    ] {
        assert!(changes(line), "{line}");
    }
}

#[test]
fn changing_forms_are_told_from_looking_ones() {
    for line in [
        "systemctl restart chronyd",
        "/usr/bin/systemctl stop x",
        "systemctl stop status",
        "sysctl -w vm.swappiness=1",
        "sysctl vm.swappiness=1",
        "sysctl --system",
        "ip link set eth1 up",
        "ip -4 addr add 10.0.0.1/8 dev eth0",
        "ip l s eth1 down",
        "ip netns exec x reboot",
        "ip -b file",
        "ip -n x link",
        "date -s tomorrow",
        "date 01010000",
        "dmesg -C",
        "dmesg -Tc",
        "dmesg --clea",
        "hostname x",
        "mount /dev/sda1 /mnt",
        "mount -a",
        "ss -tK",
        "ethtool -E eth0",
        "ethtool -s eth0 speed 10",
        "nvidia-smi -r",
        "nvidia-smi -i 0 -pm 1",
        "nvidia-smi drain -p 0",
        "rocm-smi --setfan 1",
        "journalctl --vacuum-size=1M",
        "journalctl --rot",
        "file -C -m x",
    ] {
        assert!(changes(line), "{line}");
    }
    for line in [
        "uname -a",
        "/usr/bin/cat /etc/motd",
        "systemctl status chronyd",
        "systemctl",
        "sysctl vm.swappiness",
        "sysctl -a",
        "ip addr show",
        "ip link",
        "ip -br -4 addr",
        "ip route get 10.0.0.1",
        "nvidia-smi",
        "nvidia-smi -q -d MEMORY",
        "nvidia-smi --query-gpu=name --format=csv",
        "nvidia-smi topo -m",
        "rocm-smi --showtemp --json",
        "grep umount /etc/fstab",
        "date +%s",
        "date -u",
        "dmesg -T --level=err",
        "hostname -f",
        "mount",
        "mount -t nfs",
        "ss -tlnp",
        "ethtool eth0",
        "ethtool -i eth0",
        "journalctl -u chronyd --since today",
    ] {
        assert!(!changes(line), "{line}");
    }
}
