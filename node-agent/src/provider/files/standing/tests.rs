use super::*;

fn identity(kind: &str, place: &str) -> Identity {
    let (kind, place) = (kind.into(), place.into());
    let (source, volume, boot) = (b"source".to_vec(), Vec::new(), b"boot".to_vec());
    Identity { kind, source, place, volume, boot, device: 1 }
}

#[test]
fn what_was_at_a_path_follows_from_the_nearest_point_above_it() {
    let points = [("/data", identity("nfs4", "/export")), ("/data/x", identity("ext4", "/"))];
    let points = points.map(|(path, identity)| (PathBytes(path.as_bytes().into()), identity));
    let known = Known { points: points.into() };
    let place = |path: &str| known.at(path.as_bytes()).map(|found| (found.kind, found.place));
    let expected = |kind: &str, place: &str| Some((kind.into(), place.into()));
    assert_eq!(place("/data"), expected("nfs4", "/export"));
    assert_eq!(place("/data/a/b"), expected("nfs4", "/export/a/b"));
    assert_eq!(place("/data/x"), expected("ext4", "/"));
    assert_eq!(place("/data/x/y"), expected("ext4", "/y"));
    assert_eq!(place("/data/xy"), expected("nfs4", "/export/xy"));
    assert_eq!(place("/database"), None);
    assert_eq!(place("/"), None);
    assert!(Standing::is_new(b"/database", Some(&known)));
    assert!(!Standing::is_new(b"/data/x", Some(&known)));
    assert!(!Standing::is_new(b"/database", None), "a baseline that does not say");
}
