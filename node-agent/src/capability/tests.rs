//! Recorded trees, and this machine.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::*;

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Two sockets with two cores of two threads each, as an x86 node shows them.
fn node() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let mut info = String::new();
    for cpu in 0..8 {
        info += &format!(
            "processor\t: {cpu}\nvendor_id\t: GenuineIntel\nmodel name\t: Xeon(R) 8480\nphysical id\t: {}\n",
            cpu % 2
        );
        info += &format!("core id\t\t: {}\nflags\t\t: fpu avx2 sse\n\n", cpu / 2 % 2);
        let topology = format!("sys/devices/system/cpu/cpu{cpu}/topology");
        write(root, &format!("{topology}/physical_package_id"), &format!("{}\n", cpu % 2));
        write(root, &format!("{topology}/core_id"), &format!("{}\n", cpu / 2 % 2));
    }
    write(root, "proc/cpuinfo", &info);
    write(root, "sys/devices/system/cpu/cpufreq/policy0", "");
    write(root, "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "3800000\n");
    write(root, "sys/devices/system/node/node0/meminfo", "");
    write(root, "sys/devices/system/node/node1/meminfo", "");
    let memory = "MemTotal:       1055762868 kB\nMemFree: 1 kB\nSwapTotal:             0 kB\nHugePages_Total:    1024\nHugepagesize:       2048 kB\n";
    write(root, "proc/meminfo", memory);
    write(root, "proc/sys/kernel/hostname", "nid001\n");
    write(root, "proc/sys/kernel/osrelease", "5.14.0-427.el9.x86_64\n");
    write(root, "proc/sys/kernel/arch", "x86_64\n");
    write(root, "proc/sys/kernel/random/boot_id", "0b5c4a1e-0000-4000-8000-000000000001\n");
    write(root, "etc/os-release", "NAME=\"Rocky\"\nPRETTY_NAME=\"Rocky Linux 9.4\"\n");
    interfaces(root);
    disks(root);
    write(root, "sys/class/dmi/id/product_uuid", "4C4C4544-0042-3510-8052-B4C04F564433\n");
    directory
}

fn interfaces(root: &Path) {
    for (name, kind, mac, speed) in [
        ("lo", "772", "00:00:00:00:00:00", ""),
        ("eth0", "1", "B4:96:91:AA:BB:01", "25000"),
        ("hsn0", "1", "02:00:00:00:0a:01", "200000"),
        ("bond0", "1", "b4:96:91:aa:bb:01", "25000"),
        ("docker0", "1", "02:42:00:00:00:01", "-1"),
        ("eth1", "1", "b4:96:91:aa:bb:01", "-1"),
    ] {
        let folder = format!("sys/class/net/{name}");
        write(root, &format!("{folder}/type"), kind);
        write(root, &format!("{folder}/address"), mac);
        write(root, &format!("{folder}/mtu"), "9000\n");
        write(root, &format!("{folder}/speed"), speed);
        write(root, &format!("{folder}/operstate"), "up\n");
    }
    for (name, driver) in [("eth0", "mlx5_core"), ("eth1", "mlx5_core"), ("hsn0", "cxi_core")] {
        fs::create_dir_all(root.join(format!("sys/class/net/{name}/device"))).unwrap();
        symlink(
            format!("../../../bus/pci/drivers/{driver}"),
            root.join(format!("sys/class/net/{name}/device/driver")),
        )
        .unwrap();
    }
    write(root, "sys/class/net/eth1/bonding_slave/perm_hwaddr", "b4:96:91:aa:bb:02\n");
    write(root, "sys/class/net/bonding_masters", "bond0\n");
}

fn disks(root: &Path) {
    for (name, place, sectors, spins, model) in [
        (
            "nvme0n1",
            "pci0000:00/0000:01:00.0/nvme/nvme0",
            "7501476528",
            "0",
            "SAMSUNG MZQL23T8HCLS-00A07  ",
        ),
        (
            "sda",
            "pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0/block",
            "15628053168",
            "1",
            "ST8000NM",
        ),
        ("dm-0", "virtual/block", "1024", "0", ""),
        ("loop0", "virtual/block", "8", "0", ""),
        ("ram0", "virtual/block", "8", "0", ""),
        ("zram0", "virtual/block", "8", "0", ""),
        ("sr0", "pci0000:00/ata2/block", "0", "1", "DVD"),
    ] {
        let device = format!("sys/devices/{place}/{name}");
        write(root, &format!("{device}/size"), sectors);
        write(root, &format!("{device}/queue/rotational"), spins);
        write(root, &format!("{device}/device/model"), model);
        fs::create_dir_all(root.join("sys/block")).unwrap();
        symlink(format!("../devices/{place}/{name}"), root.join("sys/block").join(name)).unwrap();
    }
}

#[test]
fn a_recorded_node_is_reported_as_it_is() {
    let tree = node();
    let report = collect(tree.path(), "nid001", "2026-01-02T03:04:05Z".to_owned()).unwrap();
    assert_eq!(report.schema, "pact/v1/Capability");
    assert_eq!(
        (report.hostname.as_deref(), report.architecture.as_str()),
        (Some("nid001"), "x86_64")
    );
    assert_eq!(report.os.as_deref(), Some("Rocky Linux 9.4"));
    let cpu = &report.cpu;
    assert_eq!(
        (cpu.sockets, cpu.cores, cpu.threads, cpu.numa_nodes, cpu.max_mhz),
        (2, 4, 8, 2, Some(3800))
    );
    assert_eq!(cpu.model.as_deref(), Some("Xeon(R) 8480"));
    assert_eq!(report.memory.total_bytes, 1_055_762_868 * 1024);
    assert_eq!(
        (report.memory.hugepages_total, report.memory.hugepage_size_bytes),
        (Some(1024), Some(2 * 1024 * 1024))
    );
    let names: Vec<&str> = report.network.iter().map(|interface| interface.name.as_str()).collect();
    assert_eq!(names, ["bond0", "docker0", "eth0", "eth1", "hsn0"]);
    let eth0 = &report.network[2];
    assert_eq!(
        (eth0.mac.as_deref(), eth0.speed_mbps, eth0.is_virtual),
        (Some("b4:96:91:aa:bb:01"), Some(25_000), false)
    );
    assert_eq!(eth0.driver.as_deref(), Some("mlx5_core"));
    assert!(report.network[1].is_virtual && report.network[1].speed_mbps.is_none());
    let disks: Vec<(&str, Option<&str>)> =
        report.storage.iter().map(|disk| (disk.name.as_str(), disk.transport.as_deref())).collect();
    assert_eq!(disks, [("dm-0", None), ("nvme0n1", Some("nvme")), ("sda", Some("sata"))]);
    assert_eq!(report.storage[1].model.as_deref(), Some("SAMSUNG MZQL23T8HCLS-00A07"));
    assert_eq!(report.storage[2].rotational, Some(true));
}

#[test]
fn the_manifest_is_readable_and_replaced_whole() {
    let tree = node();
    let report = collect(tree.path(), "nid001", "2026-01-02T03:04:05Z".to_owned()).unwrap();
    let path = tree.path().join("capability.json");
    fs::write(&path, "old").unwrap();
    write_manifest(&report, &path).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(serde_json::from_str::<Capability>(&text).unwrap(), report);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["gpu"], serde_json::json!({"status": "unimplemented"}));
    assert_eq!(json["network"][0]["virtual"], true);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    assert!(write_manifest(&report, Path::new("/nonexistent/capability.json")).is_err());
}

#[test]
fn only_a_tree_without_processors_or_memory_is_an_error() {
    let tree = node();
    for path in [
        "etc/os-release",
        "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq",
        "proc/sys/kernel/arch",
    ] {
        fs::remove_file(tree.path().join(path)).unwrap();
    }
    for path in ["sys/class", "sys/block", "sys/devices"] {
        fs::remove_dir_all(tree.path().join(path)).unwrap();
    }
    let report = collect(tree.path(), "n", String::new()).unwrap();
    assert_eq!(
        (report.os, report.cpu.max_mhz, report.cpu.sockets, report.cpu.cores),
        (None, None, 2, 4)
    );
    assert!(
        report.network.is_empty() && report.storage.is_empty() && !report.architecture.is_empty()
    );
    fs::write(tree.path().join("proc/meminfo"), "MemFree: 1 kB\n").unwrap();
    assert!(matches!(
        collect(tree.path(), "n", String::new()),
        Err(CapabilityError::Malformed { missing: "MemTotal", .. })
    ));
    fs::remove_file(tree.path().join("proc/cpuinfo")).unwrap();
    assert!(matches!(
        collect(tree.path(), "n", String::new()),
        Err(CapabilityError::Unreadable { .. })
    ));
}

#[test]
fn the_identity_is_what_hardware_has() {
    let tree = node();
    let identity = hardware_identity(tree.path());
    assert_eq!(identity.macs, ["02:00:00:00:0a:01", "b4:96:91:aa:bb:01", "b4:96:91:aa:bb:02"]);
    assert_eq!(identity.smbios_uuid.as_deref(), Some("4c4c4544-0042-3510-8052-b4c04f564433"));
    assert_eq!(identity.bmc_serial, None);
    write(tree.path(), "etc/pact/bmc-serial", "CZ23-4401\n");
    assert_eq!(hardware_identity(tree.path()).bmc_serial.as_deref(), Some("CZ23-4401"));
    for unset in [
        "00000000-0000-0000-0000-000000000000",
        "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
        "Not Settable",
    ] {
        write(tree.path(), "sys/class/dmi/id/product_uuid", unset);
        assert_eq!(hardware_identity(tree.path()).smbios_uuid, None);
    }
    for name in ["eth0", "eth1", "hsn0"] {
        fs::remove_dir_all(tree.path().join(format!("sys/class/net/{name}"))).unwrap();
    }
    assert_eq!(hardware_identity(tree.path()).macs, ["02:42:00:00:00:01", "b4:96:91:aa:bb:01"]);
}

#[test]
fn this_machine_can_be_reported() {
    let report = collect(Path::new("/"), "here", "2026-01-02T03:04:05Z".to_owned()).unwrap();
    assert!(
        report.cpu.threads >= report.cpu.cores
            && report.cpu.cores >= report.cpu.sockets
            && report.cpu.sockets >= 1
    );
    assert!(report.memory.total_bytes > 64 * 1024 * 1024);
    assert!(report.hostname.is_some() && report.kernel.is_some() && report.boot_id.is_some());
    assert!(report.network.iter().all(|interface| interface.name != "lo"));
    assert!(
        report.storage.iter().all(|disk| disk.size_bytes > 0 && !disk.name.starts_with("loop"))
    );
}
