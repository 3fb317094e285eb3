//! File systems that go, come, and come back.

use super::*;

/// A folder mounted on another, until it is dropped.
struct Bound(PathBuf);

impl Bound {
    fn new(folder: &Path, point: &Path) -> Self {
        run("mount", &[Path::new("--bind"), folder, point]);
        Self(point.to_owned())
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        run("umount", &[Path::new("-l"), &self.0]);
    }
}

fn run(program: &str, arguments: &[&Path]) {
    let status = std::process::Command::new(program).args(arguments).status();
    assert!(status.unwrap().success(), "{program}: these tests mount, run them as root");
}

fn is_elsewhere<T: std::fmt::Debug>(result: Result<T, ProviderError>) -> bool {
    matches!(&result, Err(error @ ProviderError::Elsewhere { .. }) if error.is_deferred())
}

/// A root on which another folder is mounted, with its baseline taken.
fn mounted() -> (Bench, PathBuf, Bound) {
    let mut bench = Bench::new();
    let real = bench.top.path().join("real");
    std::fs::create_dir(&real).unwrap();
    set_mode(&real, 0o755);
    let bound = Bound::new(&real, &bench.path(""));
    bench.write("file", "on the file system");
    bench.write("dir/inner", "on the file system");
    bench.restart(&[]);
    bench.scan();
    (bench, real, bound)
}

#[test]
fn a_root_whose_file_system_is_not_mounted_is_neither_judged_nor_written() {
    let (mut bench, real, bound) = mounted();
    let was = bench.read("file");
    drop(bound);
    // What appears below the mount point meanwhile is somebody else's.
    bench.write("other", "work");
    bench.write("file", "work");
    for end in ["file", "dir/inner", "other", "", "none"] {
        let key = bench.key(end);
        assert!(is_elsewhere(bench.files.read(&key)), "{end}");
        let value = if end == "other" { Value::Absent } else { was.clone() };
        for observed in [&Value::Absent, &was] {
            assert!(is_elsewhere(bench.files.apply(&key, observed, &value, &NoContents)), "{end}");
        }
        let holders = bench.files.holders(&BTreeSet::from([key.clone()])).remove(&key).unwrap();
        assert!(is_elsewhere(holders), "{end}");
        assert!(is_elsewhere(bench.files.rebase(&key, &Value::Absent)), "{end}");
    }
    assert_eq!(bench.found(), Vec::<String>::new());
    bench.restart(&[]);
    assert!(is_elsewhere(bench.files.read(&bench.key("file"))), "before the first scan too");
    assert_eq!(bench.found(), Vec::<String>::new());
    assert_eq!(bench.files.next_poll(), Some(Duration::from_secs(10)));
    let mut names: Vec<_> = std::fs::read_dir(bench.path("")).unwrap().flatten().collect();
    names.sort_by_key(std::fs::DirEntry::file_name);
    assert_eq!(names.len(), 2, "nothing was made here");
    assert_eq!(std::fs::read(bench.path("file")).unwrap(), b"work");

    // It is back: everything is as it was, and what changed on it is drift.
    let _bound = Bound::new(&real, &bench.path(""));
    bench.write("dir/inner", "changed");
    assert_eq!(bench.files.poll().unwrap(), Poll::Rescan);
    assert_eq!(bench.found(), ["dir/inner"]);
    assert_eq!(bench.read("file"), was);
    let (want, _) = bench.scan()["dir/inner"].clone();
    bench.apply("dir/inner", &want).unwrap();
    assert_eq!(bench.found(), Vec::<String>::new());
}

#[test]
fn a_mount_below_a_root_that_appears_is_left_alone_and_so_is_what_it_hides() {
    let mut bench = Bench::new();
    for end in ["point/hidden", "beside"] {
        bench.write(end, "x");
    }
    bench.scan();
    let mount = bench.top.path().join("elsewhere");
    std::fs::create_dir(&mount).unwrap();
    set_mode(&mount, 0o700);
    // A bind mount has the device number of what it hides.
    let bound = Bound::new(&mount, &bench.path("point"));
    assert_eq!(bench.files.poll().unwrap(), Poll::Rescan);
    std::fs::write(bench.path("point/new"), "x").unwrap();
    bench.write("beside", "changed");
    assert_eq!(bench.found(), ["beside"]);
    for end in ["point", "point/hidden", "point/new"] {
        assert!(is_elsewhere(bench.files.read(&bench.key(end))), "{end}");
    }
    drop(bound);
    assert_eq!(bench.files.poll().unwrap(), Poll::Rescan);
    assert_eq!(bench.found(), ["beside"]);
    assert!(bench.read("point/hidden").as_file().is_some());
}

#[test]
fn a_mount_below_a_root_that_is_gone_does_not_make_its_mount_point_drift() {
    let mut bench = Bench::new();
    bench.write("point/below", "x");
    let tmpfs = Tmpfs::mount("1m");
    let bound = Bound::new(tmpfs.path(), &bench.path("point"));
    bench.scan();
    drop(bound);
    // Now the folder below it shows, with what was in it.
    bench.write("point/made", "x");
    for _ in 0..2 {
        assert_eq!(bench.found(), Vec::<String>::new());
        assert!(is_elsewhere(bench.files.read(&bench.key("point/made"))));
        bench.restart(&[]);
    }
}

#[test]
fn another_file_system_is_judged_once_its_folder_was_not_under_watch_by_what_was_there() {
    let (mut bench, _, bound) = mounted();
    drop(bound);
    bench.write("stays", "x");
    assert_eq!(bench.found(), Vec::<String>::new());
    bench.files.ignore(&KeyPatterns::parse(&["/tmp/*/root", "/tmp/*/root/**"]).unwrap());
    assert_eq!(bench.found(), Vec::<String>::new());
    bench.files.ignore(&KeyPatterns::default());
    assert!(bench.read("stays").as_file().is_some());
    assert_eq!(bench.found(), ["dir", "dir/inner", "file", "stays"]);
}

#[test]
fn a_root_that_was_not_there_becomes_part_of_the_baseline_when_it_comes() {
    let mut bench = Bench::new();
    let late = bench.top.path().join("late");
    let roots = vec![bench.path(""), late.clone()];
    bench.files = open_roots(bench.top.path(), roots, &[], &[]);
    bench.write("file", "x");
    bench.scan();
    std::fs::create_dir(&late).unwrap();
    std::fs::write(late.join("file"), "x").unwrap();
    assert!(is_elsewhere(bench.files.read(&key(&late.join("file")))), "not before it was scanned");
    assert_eq!(bench.files.poll().unwrap(), Poll::Rescan);
    let mut found = Vec::new();
    bench.files.scan(&mut |one| found.push(one)).unwrap();
    assert_eq!(found, []);
    std::fs::write(late.join("file"), "y").unwrap();
    bench.files.scan(&mut |one| found.push(one)).unwrap();
    assert_eq!(found.len(), 1);
    // Gone again, it is not deleted; nothing is made in its place.
    let was = found.remove(0).old;
    std::fs::remove_dir_all(&late).unwrap();
    assert!(is_elsewhere(bench.files.read(&key(&late.join("file")))));
    let made = bench.files.apply(&key(&late.join("file")), &Value::Absent, &was, &NoContents);
    assert!(is_elsewhere(made) && !late.exists());
    bench.files.scan(&mut |one| found.push(one)).unwrap();
    assert_eq!(found, []);
}

#[test]
fn memory_is_another_file_system_after_it_was_mounted_again_but_not_after_a_reboot() {
    let mut bench = Bench::new();
    let one = Tmpfs::mount("1m");
    let root = bench.top.path().join("memory");
    std::fs::create_dir(&root).unwrap();
    let bound = Bound::new(one.path(), &root);
    std::fs::write(root.join("file"), "x").unwrap();
    let open = |bench: &Bench| open_roots(bench.top.path(), vec![root.clone()], &[], &[]);
    let scan = |files: &mut Files| {
        let mut found = Vec::new();
        files.scan(&mut |one| found.push(one.key)).unwrap();
        found
    };
    bench.files = open(&bench);
    assert_eq!(scan(&mut bench.files), []);
    let file = key(&root.join("file"));
    // The same source, type and place, but empty.
    drop(bound);
    let other = Tmpfs::mount("1m");
    let _bound = Bound::new(other.path(), &root);
    assert!(is_elsewhere(bench.files.read(&file)));
    assert_eq!(scan(&mut bench.files), []);
    // After a reboot nothing else can be expected: an empty one is judged.
    bench.files = open(&bench);
    bench.files.standing.restarted();
    assert_eq!(scan(&mut bench.files), std::slice::from_ref(&file));
    assert_eq!(bench.files.read(&file).unwrap(), Value::Absent);
    // And from then on it is the one of this boot.
    bench.files = open(&bench);
    bench.files.standing.restarted();
    drop(_bound);
    let third = Tmpfs::mount("1m");
    let _bound = Bound::new(third.path(), &root);
    assert!(is_elsewhere(bench.files.read(&file)));
}
