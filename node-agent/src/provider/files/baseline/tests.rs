use pact_schemas::resource::KeyPatterns;

use super::*;
use crate::provider::files::record::tests::sample;

fn scope() -> Scope {
    let ignored = KeyPatterns::parse(&["/tmp/**", "/var/*"]).unwrap();
    Scope::of_bytes(vec![b"/etc"[..].into(), b"/usr"[..].into()], ignored)
}

fn path(number: u32) -> Vec<u8> {
    format!("/etc/folder-{:03}/file-{number:05}", number / 100).into_bytes()
}

fn filled(folder: &Path, count: u32) -> Baseline {
    let mut baseline = Baseline::open(folder).unwrap();
    let mut writer = baseline.writer(&scope(), Known::default()).unwrap();
    for number in 0..count {
        writer.push(&path(number), &sample(number.to_be_bytes()[3])).unwrap();
    }
    baseline.replace(writer).unwrap();
    baseline
}

fn all(baseline: &Baseline, from: Option<&[u8]>) -> Vec<(Vec<u8>, Record)> {
    let mut stream = baseline.stream(from);
    std::iter::from_fn(|| stream.next().unwrap()).collect()
}

#[test]
fn every_record_is_found_again_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path(), 5_000));
    let baseline = Baseline::open(folder.path()).unwrap();
    assert_eq!(baseline.scope(), Some(&scope()));
    assert!(baseline.whole.as_ref().unwrap().blocks.len() > 30);
    for number in [0_u32, 1, 99, 100, 2_500, 4_999] {
        let expected = sample(number.to_be_bytes()[3]);
        assert_eq!(baseline.get(&path(number)).unwrap(), Some(expected), "{number}");
    }
    for none in [&b"/"[..], b"/etc/folder-000/file-00000x", b"/zzz"] {
        assert_eq!(baseline.get(none).unwrap(), None);
    }
    assert_eq!(all(&baseline, None).len(), 5_000);
    let rest = all(&baseline, Some(&path(4_321)));
    assert_eq!((rest.len(), &rest[0].0), (679, &path(4_321)));
    assert_eq!(all(&baseline, Some(b"/etc/folder-049")).len(), 100);
}

#[test]
fn changes_lie_over_the_file_and_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut baseline = filled(folder.path(), 300);
    baseline.set(&path(7), Some(sample(99))).unwrap();
    baseline.set(&path(8), None).unwrap();
    baseline.set(b"/etc/a", Some(sample(1))).unwrap();
    baseline.set(b"/zzz", Some(sample(2))).unwrap();
    for baseline in [baseline, Baseline::open(folder.path()).unwrap()] {
        assert_eq!(baseline.get(&path(7)).unwrap(), Some(sample(99)));
        assert_eq!(baseline.get(&path(8)).unwrap(), None);
        let all = all(&baseline, None);
        assert_eq!(all.len(), 301);
        assert_eq!((&*all[0].0, &*all[300].0), (&b"/etc/a"[..], &b"/zzz"[..]));
        assert!(all.is_sorted_by(|left, right| order::compare(&left.0, &right.0).is_lt()));
    }
    // A merge takes them over and drops the log.
    let mut baseline = Baseline::open(folder.path()).unwrap();
    let mut writer = baseline.writer(&scope(), Known::default()).unwrap();
    for (path, record) in all(&baseline, None) {
        writer.push(&path, &record).unwrap();
    }
    baseline.replace(writer).unwrap();
    assert!(!folder.path().join("baseline.log").exists());
    assert_eq!(all(&Baseline::open(folder.path()).unwrap(), None).len(), 301);
}

#[test]
fn a_log_of_another_generation_does_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("baseline.log");
    let mut baseline = filled(folder.path(), 10);
    baseline.set(&path(3), None).unwrap();
    let old = std::fs::read(&log).unwrap();
    drop(filled(folder.path(), 10));
    std::fs::write(&log, old).unwrap();
    assert!(Baseline::open(folder.path()).unwrap().get(&path(3)).unwrap().is_some());
}

#[test]
fn a_torn_log_loses_only_its_tail_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("baseline.log");
    let mut baseline = filled(folder.path(), 10);
    baseline.set(&path(3), None).unwrap();
    baseline.set(&path(4), None).unwrap();
    let bytes = std::fs::read(&log).unwrap();
    std::fs::write(&log, &bytes[..bytes.len() - 1]).unwrap();
    let mut baseline = Baseline::open(folder.path()).unwrap();
    assert_eq!(baseline.get(&path(3)).unwrap(), None);
    assert!(baseline.get(&path(4)).unwrap().is_some());
    baseline.set(&path(5), None).unwrap();
    let baseline = Baseline::open(folder.path()).unwrap();
    assert_eq!(all(&baseline, None).len(), 8);
}

#[test]
fn damage_is_found_and_never_taken_for_an_empty_baseline() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path(), 300));
    let file = folder.path().join("baseline");
    let good = std::fs::read(&file).unwrap();
    for at in [0, 20, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        std::fs::write(&file, bad).unwrap();
        let opened = Baseline::open(folder.path());
        assert!(matches!(opened, Err(ProviderError::Damaged { .. })), "{at}");
    }
    std::fs::write(&file, &good[..good.len() - 20]).unwrap();
    assert!(matches!(Baseline::open(folder.path()), Err(ProviderError::Damaged { .. })));
}

#[test]
fn the_file_systems_that_it_was_taken_of_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let identity = |volume: &str| crate::provider::files::mounts::Identity {
        kind: b"ext4".to_vec(),
        source: b"/dev/a b".to_vec(),
        place: b"/".to_vec(),
        volume: volume.into(),
        boot: b"boot".to_vec(),
        device: 0x1_0000_0001,
    };
    let at = |path: &str, volume: &str| (PathBytes(path.as_bytes().into()), identity(volume));
    let known = Known { points: [at("/etc", ""), at("/usr/x", "fsid:1")].into() };
    let mut baseline = Baseline::open(folder.path()).unwrap();
    let mut writer = baseline.writer(&scope(), known.clone()).unwrap();
    writer.push(&path(1), &sample(1)).unwrap();
    baseline.replace(writer).unwrap();
    assert_eq!(baseline.known(), Some(&known));
    for baseline in [baseline, Baseline::open(folder.path()).unwrap()] {
        assert_eq!(baseline.known(), Some(&known));
        assert_eq!(baseline.get(&path(1)).unwrap(), Some(sample(1)));
        assert!(!baseline.wants_rewrite(&scope(), &known));
        assert!(baseline.wants_rewrite(&scope(), &Known::default()), "another file system");
    }
}

#[test]
fn a_baseline_of_before_file_systems_were_recorded_is_read_and_says_nothing_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut header = header::encode(7, &scope(), 0);
    header.truncate(header.len() - 4);
    let mut bytes = Vec::new();
    frame::write(HEADER, &header, &mut bytes);
    frame::write(END, &0_u64.to_be_bytes(), &mut bytes);
    std::fs::write(folder.path().join("baseline"), bytes).unwrap();
    let baseline = Baseline::open(folder.path()).unwrap();
    assert_eq!((baseline.known(), baseline.scope()), (None, Some(&scope())));
    assert!(baseline.wants_rewrite(&scope(), &Known::default()));
}
