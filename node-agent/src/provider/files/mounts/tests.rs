use super::super::tests::Tmpfs;
use super::*;
use std::os::unix::ffi::OsStrExt as _;

fn table(text: &str) -> Table {
    Table::of(File::open("/dev/null").unwrap(), text.as_bytes(), b"this boot")
}

fn id(table: &Table, path: &str) -> u64 {
    table.containing(path.as_bytes()).unwrap().id
}

const LINES: &str = "\
22 1 254:1 / / rw,relatime shared:1 - xfs /dev/vda1 rw
30 22 0:40 / /data rw shared:3 master:2 - nfs4 storage:/export rw,vers=4.2
31 30 0:40 /sub /data/sub rw - nfs4 storage:/export rw
40 22 0:50 / /srv/x/y rw - tmpfs hidden rw
41 22 254:1 /var/lib/x /srv/x rw - xfs /dev/vda1 rw
50 22 0:51 / /with\\040blank\\134 rw - tmpfs a\\040name rw
51 50 0:52 / /with\\040blank\\134 rw - tmpfs above rw
short line
";

#[test]
fn a_path_is_on_the_mount_that_the_kernel_would_come_to() {
    let table = table(LINES);
    for (path, expected) in [
        ("/", 22),
        ("/etc/motd", 22),
        ("/database", 22),
        ("/data", 30),
        ("/data/sub/deep", 31),
        ("/srv/x/y/file", 41),
        ("/with blank\\/x", 51),
    ] {
        assert_eq!(id(&table, path), expected, "{path}");
    }
    let nfs = rustix::fs::makedev(0, 40);
    assert_eq!(table.remote_at(b"/data/sub/x"), Some(nfs));
    assert_eq!((table.remote_at(b"/srv/x/y"), table.remote_at(b"/")), (None, None));
    let points: Vec<_> = table.points_within(b"/srv").collect();
    assert_eq!(points, [b"/srv/x"], "what is hidden is not there");
    assert_eq!(table.points_within(b"/").count(), 5);
}

#[test]
fn a_file_system_is_told_by_what_outlives_a_mount() {
    let before = table(LINES);
    let at = |table: &Table, path: &str| table.at(path.as_bytes()).unwrap();
    assert_eq!(at(&before, "/data/sub/deep").place, b"/sub/deep");
    assert_eq!(at(&before, "/srv/x/f").place, b"/var/lib/x/f");
    assert_eq!(at(&before, "/etc").place, b"/etc");

    // Another boot: all numbers are others, /srv/x is the same folder mounted another way.
    let after = Table::of(
        File::open("/dev/null").unwrap(),
        b"1 0 8:1 / / rw - xfs /dev/vda1 rw\n\
          2 1 0:77 / /data rw - nfs4 storage:/export rw\n\
          3 1 0:78 / /with\\040blank\\134 rw - tmpfs above rw\n",
        b"next boot",
    );
    for path in ["/etc", "/data/sub", "/with blank\\/x"] {
        assert!(at(&before, path).is_same(&at(&after, path)), "{path}");
    }
    assert!(!at(&before, "/srv/x").is_same(&at(&after, "/srv/x")), "nothing is mounted there");
    assert!(at(&before, "/srv/x").is_same(&at(&after, "/var/lib/x")));
    let other = Identity { source: b"storage:/other".to_vec(), ..at(&after, "/data") };
    assert!(!at(&before, "/data").is_same(&other));

    // A volume decides where both have one.
    let volume = |volume: &str, source: &str| Identity {
        volume: volume.into(),
        source: source.into(),
        ..at(&before, "/etc")
    };
    assert!(volume("fsid:1", "/dev/sda1").is_same(&volume("fsid:1", "/dev/sdb1")));
    assert!(!volume("fsid:1", "/dev/sda1").is_same(&volume("fsid:2", "/dev/sda1")));
    assert!(!volume("", "/dev/sda1").is_same(&volume("fsid:2", "/dev/sdb1")));

    // What lives in memory is another one after it was mounted again.
    let again = Identity { device: 99, ..at(&before, "/with blank\\") };
    assert!(!at(&before, "/with blank\\").is_same(&again));
}

#[test]
fn the_table_of_this_process_tells_of_changes_and_knows_open_folders() {
    let before = Table::read(b"boot").unwrap();
    assert!(!before.is_outdated());
    let mounted = Tmpfs::mount("1m");
    assert!(before.is_outdated());
    let after = Table::read(b"boot").unwrap();
    let path = mounted.path().as_os_str().as_bytes();
    let folder = File::open(mounted.path()).unwrap();
    assert!(after.has(&folder, path).unwrap());
    assert!(!before.has(&folder, path).unwrap());
    let (was, is) = (before.at(path).unwrap(), after.at(path).unwrap());
    assert_eq!((&*is.kind, &*is.place), (&b"tmpfs"[..], &b"/"[..]));
    assert!(!was.is_same(&is));
    assert_eq!(after.points_within(path).collect::<Vec<_>>(), [path]);
    assert_eq!(folder.metadata().unwrap().dev(), is.device);
}

#[test]
fn a_disk_is_found_by_the_name_that_udev_gave_it() {
    let top = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/zero", top.path().join("0000-1111")).unwrap();
    std::os::unix::fs::symlink("/dev/null", top.path().join("aaaa-bbbb")).unwrap();
    let device = std::fs::metadata("/dev/null").unwrap().rdev();
    assert_eq!(uuid_of(top.path(), device).unwrap(), b"uuid:aaaa-bbbb");
    assert_eq!(uuid_of(top.path(), 0), None);
    assert_eq!(uuid_of(Path::new("/no such folder"), device), None);
}
