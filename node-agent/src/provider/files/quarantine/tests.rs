use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::{Arc, Mutex};

use pact_runtime::Clock;
use pact_schemas::resource::KeyPatterns;
use tempfile::TempDir;

use super::super::lease;
use super::super::look::{Looker, Where};
use super::super::renames::Renames;
use super::super::temps::Temps;
use super::super::tests::Tmpfs;
use super::*;
use crate::durable::hex;
use crate::provider::secret::NodeKey;

/// A folder with files and one that is the quarantine; plane time stands still, or is not known.
struct Bench {
    top: TempDir,
    now: Arc<Mutex<Option<Timestamp>>>,
    looker: Looker,
    temps: Temps,
}

const START: Timestamp = Timestamp::from_unix_nanos(1_700_000_000_000_000_000);

impl Bench {
    fn new() -> Self {
        let top = tempfile::tempdir().unwrap();
        let clock = Clock::system();
        let key = NodeKey::open(&top.path().join("key"), &clock).unwrap();
        let looker = Looker::new(key.clone(), KeyPatterns::default(), clock.clone());
        let now = Arc::new(Mutex::new(Some(START)));
        Self { top, now, looker, temps: Temps::new(key, clock) }
    }

    fn folder(&self) -> PathBuf {
        self.top.path().join("quarantine")
    }

    fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.top.path().join(name);
        std::fs::write(&path, contents).unwrap();
        path
    }

    fn open(&self, limit: u64) -> Quarantine {
        let now = Arc::clone(&self.now);
        Quarantine::with_limit(&self.folder(), Arc::new(move || *now.lock().unwrap()), limit)
            .unwrap()
    }

    fn set(&self, now: Option<Timestamp>) {
        *self.now.lock().unwrap() = now;
    }

    fn look(&mut self, path: &Path) -> (ResourceKey, Place, Seen) {
        let key = ResourceKey::file(path).unwrap();
        let place = Place::find(path.as_os_str().as_bytes()).unwrap();
        let at =
            Where { folder: place.folder.as_fd(), name: &place.name, is_open: true, key: &key };
        let seen = self.looker.look(&at, false).unwrap().unwrap();
        (key, place, seen)
    }

    /// As an undo does it; `meanwhile` comes between looking and moving aside.
    fn take_with(
        &mut self,
        quarantine: &mut Quarantine,
        path: &Path,
        meanwhile: impl FnOnce(),
    ) -> Result<Taken, ProviderError> {
        let (key, place, seen) = self.look(path);
        let bytes = path.as_os_str().as_bytes();
        let aside = self.temps.beside(bytes);
        let ticket = quarantine.begin(&key, &seen, &beside(bytes, &aside), None)?;
        meanwhile();
        rustix::fs::renameat(&place.folder, &*place.name, &place.folder, &*aside).unwrap();
        let taken = quarantine.take(&ticket, &place, &aside, &seen).unwrap();
        if taken != Taken::Kept {
            Renames::ALL.put_where_nothing_is(&place, &aside, &place.name).unwrap();
            quarantine.give_up(ticket);
        }
        Ok(taken)
    }

    fn take(&mut self, quarantine: &mut Quarantine, path: &Path) -> Result<Taken, ProviderError> {
        self.take_with(quarantine, path, || {})
    }

    fn manifest(&self, number: u64) -> Manifest {
        let bytes = std::fs::read(self.folder().join(format!("{number}.json"))).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    fn data(&self, contents: &[u8]) -> PathBuf {
        self.folder().join(format!("{}.data", hex(&super::super::look::sha256(contents))))
    }

    fn count(&self) -> usize {
        std::fs::read_dir(self.folder()).unwrap().count()
    }
}

#[test]
fn a_removed_file_is_there_for_a_week_of_plane_time_with_what_it_was() {
    let mut bench = Bench::new();
    let mut quarantine = bench.open(MAX_BYTES);
    let file = bench.file("new\nfile", "work");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(bench.take(&mut quarantine, &file).unwrap(), Taken::Kept);
    let link = bench.top.path().join("link");
    symlink("/nowhere", &link).unwrap();
    bench.take(&mut quarantine, &link).unwrap();
    assert!(!file.exists() && link.symlink_metadata().is_err());

    assert_eq!(std::fs::read(bench.data(b"work")).unwrap(), b"work");
    let of_file = bench.manifest(1);
    assert_eq!((of_file.mode.as_str(), of_file.size_bytes), ("0640", 4));
    assert!(of_file.key.ends_with("/new%0Afile"));
    assert_eq!(bench.manifest(2).link_target.as_deref(), Some("/nowhere"));
    assert_eq!(bench.folder().metadata().unwrap().permissions().mode() & 0o777, 0o700);

    bench.set(START.checked_add(KEPT_FOR));
    assert_eq!(bench.open(MAX_BYTES).items.len(), 2);
    bench.set(START.checked_add(KEPT_FOR + Duration::from_secs(1)));
    assert_eq!(bench.open(MAX_BYTES).items.len(), 0);
    assert_eq!(bench.count(), 0);
}

#[test]
fn while_the_plane_time_is_unknown_nothing_ends_and_a_week_begins_when_it_is_known() {
    let mut bench = Bench::new();
    bench.set(None);
    let mut quarantine = bench.open(10);
    let (one, two) = (bench.file("one", [1; 6]), bench.file("two", [2; 6]));
    bench.take(&mut quarantine, &one).unwrap();
    assert_eq!(bench.manifest(1).removed_unix_ns, None);
    // The bound holds all the same, and nothing goes to make room.
    assert!(matches!(bench.take(&mut quarantine, &two), Err(ProviderError::NoRoom { .. })));
    assert_eq!(bench.open(10).items.len(), 1);

    // However much time has passed: nobody knows.
    let later = START.checked_add(20 * KEPT_FOR).unwrap();
    bench.set(Some(later));
    assert_eq!(bench.open(10).items.len(), 1);
    assert_eq!(bench.manifest(1).removed_unix_ns, Some(later.unix_nanos()));
    bench.set(None);
    assert_eq!(bench.open(10).items.len(), 1);
    // A time that was corrected back does not make it stay for ever.
    bench.set(Some(START));
    assert_eq!(bench.open(10).items.len(), 1);
    bench.set(START.checked_add(KEPT_FOR + Duration::from_secs(1)));
    assert_eq!(bench.open(10).items.len(), 0);
}

#[test]
fn what_is_removed_again_as_it_was_takes_no_more_room() {
    let mut bench = Bench::new();
    let mut quarantine = bench.open(10);
    for round in 0..5 {
        let file = bench.file("file", "again");
        bench.set(START.checked_add(Duration::from_secs(round)));
        assert_eq!(bench.take(&mut quarantine, &file).unwrap(), Taken::Kept);
        assert!(!file.exists());
    }
    assert_eq!(bench.count(), 2, "one manifest, one file");
    assert_eq!(
        bench.manifest(1).removed_unix_ns,
        START.checked_add(Duration::from_secs(4)).map(|t| t.unix_nanos())
    );
    // The same contents under another name: another manifest, the same file.
    let other = bench.file("other", "again");
    bench.take(&mut quarantine, &other).unwrap();
    assert_eq!(bench.count(), 3);
    // The first one ends, the contents stay for the second.
    quarantine.forget(1);
    assert!(bench.data(b"again").exists());
    let mut quarantine = bench.open(10);
    // Contents that rotted are not relied on.
    std::fs::write(bench.data(b"again"), "rottn").unwrap();
    let file = bench.file("file", "again");
    bench.take(&mut quarantine, &file).unwrap();
    assert_eq!(std::fs::read(bench.data(b"again")).unwrap(), b"again");
}

#[test]
fn without_room_nothing_is_removed_and_room_made_by_hand_counts() {
    let mut bench = Bench::new();
    let mut quarantine = bench.open(10);
    let (small, large) = (bench.file("small", [0; 6]), bench.file("large", [0; 5]));
    bench.take(&mut quarantine, &small).unwrap();
    let refused = bench.take(&mut quarantine, &large).unwrap_err();
    assert!(matches!(refused, ProviderError::NoRoom { size_bytes: 5, .. }), "{refused}");
    assert!(refused.is_deferred() && large.exists());
    assert!(refused.to_string().contains("/quarantine"), "{refused}");
    // The bound holds after a restart too.
    let mut quarantine = bench.open(10);
    assert!(bench.take(&mut quarantine, &large).is_err());
    assert!(!bench.folder().join("2.json").exists());
    std::fs::remove_file(bench.data(&[0; 6])).unwrap();
    assert_eq!(bench.take(&mut quarantine, &large).unwrap(), Taken::Kept);
    assert!(!large.exists());
}

#[test]
fn what_is_not_what_was_looked_at_or_is_open_goes_back() {
    let mut bench = Bench::new();
    let mut quarantine = bench.open(MAX_BYTES);
    let file = bench.file("file", "looked at");
    let write = || std::fs::write(&file, "written since").unwrap();
    assert_eq!(bench.take_with(&mut quarantine, &file, write).unwrap(), Taken::Differs);
    assert_eq!(std::fs::read(&file).unwrap(), b"written since");
    let replace = || {
        std::fs::remove_file(&file).unwrap();
        symlink("/nowhere", &file).unwrap();
    };
    assert_eq!(bench.take_with(&mut quarantine, &file, replace).unwrap(), Taken::Differs);
    assert_eq!(std::fs::read_link(&file).unwrap(), Path::new("/nowhere"));
    let link = || {
        std::fs::remove_file(&file).unwrap();
        symlink("/elsewhere", &file).unwrap();
    };
    assert_eq!(bench.take_with(&mut quarantine, &file, link).unwrap(), Taken::Differs);
    assert_eq!(bench.count(), 0, "nothing was taken");

    let file = bench.file("open", "somebody writes to it");
    let opened = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
    if lease::is_open_elsewhere(File::open(&file).unwrap()).is_none() {
        println!("NOT CHECKED: this file system knows no leases");
        return;
    }
    assert_eq!(bench.take(&mut quarantine, &file).unwrap(), Taken::InUse);
    drop(opened);
    assert_eq!(bench.take(&mut quarantine, &file).unwrap(), Taken::Kept);
}

#[test]
fn a_file_is_copied_from_another_file_system_and_from_an_inode_with_other_names() {
    let mut bench = Bench::new();
    let mounted = Tmpfs::mount("1m");
    let mut quarantine = bench.open(MAX_BYTES);
    let far = mounted.path().join("file");
    std::fs::write(&far, "far away").unwrap();
    assert_eq!(bench.take(&mut quarantine, &far).unwrap(), Taken::Kept);
    assert_eq!(std::fs::read_dir(mounted.path()).unwrap().count(), 0);
    assert_eq!(std::fs::read(bench.data(b"far away")).unwrap(), b"far away");

    let (one, two) = (bench.file("one", "two names"), bench.top.path().join("two"));
    std::fs::hard_link(&one, &two).unwrap();
    assert_eq!(bench.take(&mut quarantine, &one).unwrap(), Taken::Kept);
    std::fs::write(&two, "the other changes").unwrap();
    assert_eq!(std::fs::read(bench.data(b"two names")).unwrap(), b"two names");
}

#[test]
fn a_disk_that_is_full_leaves_the_file_and_no_half_of_it_here() {
    let mut bench = Bench::new();
    let mounted = Tmpfs::mount("256k");
    let now = Arc::clone(&bench.now);
    let folder = mounted.path().join("quarantine");
    let mut quarantine = Quarantine::open(&folder, Arc::new(move || *now.lock().unwrap())).unwrap();
    let file = bench.file("file", vec![7; 1 << 20]);
    let (key, place, seen) = bench.look(&file);
    let aside = c"aside";
    let path = beside(file.as_os_str().as_bytes(), aside);
    let ticket = quarantine.begin(&key, &seen, &path, None).unwrap();
    std::fs::rename(&file, bench.top.path().join("aside")).unwrap();
    let failed = quarantine.take(&ticket, &place, aside, &seen).unwrap_err();
    assert_eq!(failed.kind(), io::ErrorKind::StorageFull);
    assert_eq!(bench.top.path().join("aside").metadata().unwrap().len(), 1 << 20);
    assert!(quarantine.is_pending(&path));
    let names: Vec<_> = std::fs::read_dir(&folder).unwrap().flatten().collect();
    assert_eq!(names.len(), 1, "the manifest alone: {names:?}");
}

#[test]
fn what_is_on_its_way_takes_room_as_what_is_here() {
    let mut bench = Bench::new();
    let mut quarantine = bench.open(10);
    let mut begin = |quarantine: &mut Quarantine, name: &str, contents: &[u8]| {
        let path = bench.file(name, contents);
        let (key, _, seen) = bench.look(&path);
        let aside = beside(path.as_os_str().as_bytes(), c"aside");
        quarantine.begin_with_others(&key, &seen, &aside, None).map(|(ticket, _)| ticket)
    };
    let one = begin(&mut quarantine, "one", &[1; 6]).unwrap();
    let refused = begin(&mut quarantine, "two", &[2; 6]).unwrap_err();
    assert!(matches!(refused, ProviderError::NoRoom { .. }), "{refused}");
    // The same contents are here once.
    let same = begin(&mut quarantine, "same", &[1; 6]).unwrap();
    let small = begin(&mut quarantine, "small", &[3; 4]).unwrap();
    [one, same, small].into_iter().for_each(|ticket| quarantine.give_up(ticket));
    quarantine.end_together();
    let two = begin(&mut quarantine, "two", &[2; 6]).unwrap();
    // Written down only when it is: before that a crash leaves nothing of it.
    assert_eq!((bench.count(), bench.open(10).items.len(), bench.count()), (1, 0, 0));
    quarantine.give_up(two);
}

/// A crash at each point of an undo, then a start.
#[test]
fn what_a_crash_left_aside_is_settled() {
    enum Crash {
        BeforeExchange,
        AfterExchange,
        AfterRemoval,
        AfterTaking,
    }
    for crash in
        [Crash::BeforeExchange, Crash::AfterExchange, Crash::AfterRemoval, Crash::AfterTaking]
    {
        let mut bench = Bench::new();
        let mut quarantine = bench.open(MAX_BYTES);
        let file = bench.file("file", "what was there");
        let (key, place, seen) = bench.look(&file);
        let aside = bench.file("aside", "what is to come");
        let successor = match crash {
            Crash::AfterRemoval => None,
            _ => Some(Successor::File(hex(&super::super::look::sha256(b"what is to come")))),
        };
        let ticket =
            quarantine.begin(&key, &seen, aside.as_os_str().as_bytes(), successor).unwrap();
        match crash {
            Crash::BeforeExchange => {}
            Crash::AfterExchange | Crash::AfterTaking => {
                assert!(Renames::ALL.exchange(&place, c"file", c"aside").unwrap());
            }
            Crash::AfterRemoval => std::fs::rename(&file, &aside).unwrap(),
        }
        if matches!(crash, Crash::AfterTaking) {
            assert_eq!(quarantine.take(&ticket, &place, c"aside", &seen).unwrap(), Taken::Kept);
        }
        drop(quarantine);

        let mut quarantine = bench.open(MAX_BYTES);
        let is_pending =
            |quarantine: &Quarantine| quarantine.is_pending(aside.as_os_str().as_bytes());
        assert!(is_pending(&quarantine));
        quarantine.settle(&mut bench.looker, &mut |_, _| false);
        assert!(is_pending(&quarantine), "not where nobody can tell");
        quarantine.settle(&mut bench.looker, &mut |found, _| *found == key);
        assert!(!is_pending(&quarantine) && !aside.exists());
        let there = std::fs::read_to_string(&file).unwrap();
        match crash {
            Crash::BeforeExchange | Crash::AfterRemoval => {
                assert_eq!(there, "what was there");
                assert_eq!(bench.count(), 0);
            }
            Crash::AfterExchange | Crash::AfterTaking => {
                assert_eq!(there, "what is to come");
                assert_eq!(
                    std::fs::read(bench.data(b"what was there")).unwrap(),
                    b"what was there"
                );
                assert_eq!(bench.manifest(1).key, key.as_str());
            }
        }
    }
}

#[test]
fn a_manifest_without_its_file_goes_and_one_of_before_is_read() {
    let mut bench = Bench::new();
    let mut quarantine = bench.open(MAX_BYTES);
    let file = bench.file("file", "x");
    bench.take(&mut quarantine, &file).unwrap();
    std::fs::remove_file(bench.data(b"x")).unwrap();
    let old = "{\"format\":1,\"key\":\"file//etc/old\",\"kind\":\"regular\",\"mode\":\"0644\",\"uid\":0,\"gid\":0,\
               \"size_bytes\":3,\"modified_unix_ns\":1,\"removed_unix_ns\":1}";
    std::fs::write(bench.folder().join("7.json"), old).unwrap();
    std::fs::write(bench.folder().join("7.data"), "old").unwrap();
    std::fs::write(bench.folder().join("half.data.new"), "half").unwrap();
    let mut quarantine = bench.open(MAX_BYTES);
    quarantine.settle(&mut bench.looker, &mut |_, _| true);
    // Its time was of a clock that says nothing: its week begins now.
    assert_eq!(quarantine.items.keys().copied().collect::<Vec<_>>(), [7]);
    assert_eq!(bench.count(), 2);
    bench.set(START.checked_add(KEPT_FOR + Duration::from_secs(1)));
    assert_eq!(bench.open(MAX_BYTES).items.len(), 0);
    assert_eq!(bench.count(), 0);
}
