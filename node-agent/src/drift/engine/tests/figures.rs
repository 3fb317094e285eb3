//! Figures, not assertions: `cargo nextest run --workspace --lib --run-ignored only -E 'test(figures)' --no-capture`.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::provider::files::{self, Files};
use pact_schemas::resource::KeyPatterns;

/// Files with contents of their own, changed, and undone when their window ends.
const FILES: usize = 5_000;
/// Bytes of each.
const SIZE: usize = 1_024;

fn engine(site: &Site, root: &Path, declared: &Known) -> Engine {
    let clock = site.clock.clone();
    let files = Files::open(files::Options {
        roots: vec![root.to_owned()],
        secret: KeyPatterns::default(),
        ignored: KeyPatterns::default(),
        folder: site.path().join("files"),
        own: Vec::new(),
        clock: clock.clone(),
        plane_now: Arc::new({
            let clock = clock.clone();
            move || Some(clock.now())
        }),
    });
    let plane = PlaneClock::open(&site.path().join("time"), site.boot.clone(), site.clock.clone());
    let parts = EngineParts {
        providers: Providers::new(vec![Box::new(files.unwrap())], &clock).unwrap(),
        file: site.file(Mode::Enforce),
        declared: Arc::clone(&declared.declared),
        contents: ContentsFolder::at(site.path()),
        folder: site.path().join("drift"),
        reports: Box::new(site.told.clone()),
        sessions: Sessions::new(site.clock.clone()),
        clock: site.clock.clone(),
        plane: plane.unwrap(),
        boot: site.boot.clone(),
        powers: Powers { can_act: true, read_only: Vec::new() },
    };
    let mut engine = Engine::open(parts).unwrap();
    engine.start().unwrap();
    engine.adopt(declared);
    engine
}

#[test]
#[ignore = "prints figures"]
fn an_undo_of_five_thousand_files_at_the_end_of_their_window() {
    let mut site = Site::new();
    (site.clock, site.blacklist) = (Clock::system(), "/nowhere/**");
    let policy = v1::VclusterPolicy {
        base_commit_window_seconds: Some(1),
        min_window_seconds: Some(1),
        ..policy()
    };
    let declared = site.declares(policy, &[]);
    let top = tempfile::tempdir().unwrap();
    std::fs::set_permissions(top.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = |number: usize| top.path().join(format!("{:03}/f{number}", number % 500));
    let text =
        |number: usize, what: &str| format!("{number} {what} ").repeat(SIZE)[..SIZE].to_owned();
    for number in 0..FILES {
        std::fs::create_dir_all(path(number).parent().unwrap()).unwrap();
        std::fs::write(path(number), text(number, "was")).unwrap();
    }
    let mut engine = engine(&site, top.path(), &declared);
    for number in 0..FILES {
        std::fs::write(path(number), text(number, "is now")).unwrap();
    }
    engine.wake();
    assert_eq!((engine.set.len(), state(&engine)), (FILES, WindowState::Open));
    std::thread::sleep(Duration::from_secs(1)); // the window's time
    let started = site.clock.monotonic();
    engine.wake();
    let took = site.clock.monotonic() - started;
    println!("{FILES} files of {SIZE} bytes undone in {took:?}");
    assert_eq!((engine.set.len(), site.converged().len()), (0, 1));
    for number in 0..FILES {
        assert_eq!(std::fs::read_to_string(path(number)).unwrap(), text(number, "was"));
    }
}
