use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

fn taken(quarantine: &mut Quarantine, path: &Path) -> Result<(), ProviderError> {
    let key = ResourceKey::file(path).unwrap();
    let place = Place::find(path.as_os_str().as_bytes()).unwrap();
    quarantine.take(&key, &place)
}

fn manifest(folder: &Path, number: u64) -> Manifest {
    let bytes = std::fs::read(folder.join(format!("{number}.json"))).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[test]
fn a_removed_file_is_there_for_a_week_with_what_it_was() {
    let top = tempfile::tempdir().unwrap();
    let folder = top.path().join("quarantine");
    let (clock, hand) = Clock::manual(Timestamp::from_unix_nanos(1_700_000_000_000_000_000));
    let mut quarantine = Quarantine::open(&folder, &clock).unwrap();
    let file = top.path().join("new\nfile");
    std::fs::write(&file, "work").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    taken(&mut quarantine, &file).unwrap();
    let link = top.path().join("link");
    symlink("/nowhere", &link).unwrap();
    taken(&mut quarantine, &link).unwrap();
    assert!(!file.exists() && link.symlink_metadata().is_err());

    assert_eq!(std::fs::read(folder.join("1.data")).unwrap(), b"work");
    let of_file = manifest(&folder, 1);
    assert_eq!((of_file.mode.as_str(), of_file.size_bytes), ("0640", 4));
    assert!(of_file.key.ends_with("/new%0Afile"));
    assert_eq!(manifest(&folder, 2).link_target.as_deref(), Some("/nowhere"));
    assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700);

    hand.advance(KEPT_FOR);
    assert_eq!(Quarantine::open(&folder, &clock).unwrap().items.len(), 2);
    hand.advance(Duration::from_secs(1));
    assert_eq!(Quarantine::open(&folder, &clock).unwrap().items.len(), 0);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
}

#[test]
fn without_room_nothing_is_removed() {
    let top = tempfile::tempdir().unwrap();
    let folder = top.path().join("quarantine");
    let clock = Clock::system();
    let mut quarantine = Quarantine::with_limit(&folder, &clock, 10).unwrap();
    let (small, large) = (top.path().join("small"), top.path().join("large"));
    std::fs::write(&small, [0; 6]).unwrap();
    std::fs::write(&large, [0; 5]).unwrap();
    taken(&mut quarantine, &small).unwrap();
    let refused = taken(&mut quarantine, &large).unwrap_err();
    assert!(matches!(refused, ProviderError::NoRoom { size_bytes: 5, .. }), "{refused}");
    assert!(refused.is_deferred() && large.exists());
    // The bound holds after a restart too.
    let mut quarantine = Quarantine::with_limit(&folder, &clock, 10).unwrap();
    assert!(taken(&mut quarantine, &large).is_err());
    assert!(!folder.join("2.json").exists());
}

#[test]
fn a_folder_is_not_taken_and_a_manifest_without_its_file_goes() {
    let top = tempfile::tempdir().unwrap();
    let folder = top.path().join("quarantine");
    let clock = Clock::system();
    let mut quarantine = Quarantine::open(&folder, &clock).unwrap();
    let inner = top.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    assert!(taken(&mut quarantine, &inner).is_err());
    assert!(inner.exists());
    let file = top.path().join("file");
    std::fs::write(&file, "x").unwrap();
    taken(&mut quarantine, &file).unwrap();
    std::fs::remove_file(folder.join("1.data")).unwrap();
    assert_eq!(Quarantine::open(&folder, &clock).unwrap().items.len(), 0);
    assert!(!folder.join("1.json").exists());
}

#[test]
fn a_file_of_another_file_system_is_copied_before_it_goes() {
    let top = tempfile::tempdir().unwrap();
    let mounted = super::super::tests::Tmpfs::mount("1m");
    let clock = Clock::system();
    let mut quarantine = Quarantine::open(&top.path().join("quarantine"), &clock).unwrap();
    let file = mounted.path().join("file");
    std::fs::write(&file, "far away").unwrap();
    taken(&mut quarantine, &file).unwrap();
    assert_eq!(std::fs::read_dir(mounted.path()).unwrap().count(), 0);
    let data = top.path().join("quarantine/1.data");
    assert_eq!(std::fs::read(data).unwrap(), b"far away");
}
