use proptest::prelude::*;

use super::*;
use crate::resource::{FileValue, State};

fn sha256(bytes: &[u8]) -> [u8; 32] {
    ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().try_into().unwrap()
}

fn render(
    state: &State,
    contents: &[Vec<u8>],
    conflicts: &BTreeMap<ResourceKey, ConflictChoice>,
) -> String {
    let find = |wanted: &[u8; 32]| contents.iter().find(|c| sha256(c) == *wanted).cloned();
    render_overlay(&ml(), state, &find, conflicts)
}

fn regular(content: &[u8]) -> FileValue {
    FileValue {
        kind: FileKind::Regular,
        sha256: Some(sha256(content)),
        size_bytes: content.len() as u64,
        mode: 0o4755,
        owner: "root".into(),
        group: "a\"b".into(),
        link_target: None,
        content_kept: true,
    }
}

#[test]
fn what_cannot_be_said_becomes_a_comment() {
    let key = |text: &str| text.parse::<ResourceKey>().unwrap();
    let mut digest_only = regular(b"x");
    digest_only.content_kept = false;
    let special = FileValue {
        kind: FileKind::Special,
        sha256: None,
        size_bytes: 0,
        content_kept: false,
        ..regular(b"")
    };
    let addresses =
        attributes([("mtu", Value::Integer(9000)), ("addresses", text("[\"10.0.0.1/8\"]"))]);
    let omitted = State::from([
        (key("sysctl/kernel.hostname"), text("n1")),
        (key("file//etc/hostname"), Value::File(regular(b"n1"))),
        (key("file//etc/ssh/ssh_host_rsa_key.pub"), Value::File(regular(b"n1"))),
        (key("file//etc/shadow"), Value::Withheld([1; 32])),
        (key("file//opt/large"), Value::File(digest_only)),
        (key("file//opt/lost"), Value::File(regular(b"lost"))),
        (key("file//dev/x"), Value::File(special)),
        (key("file//etc/%FF"), Value::Absent),
        (key("net/eth0"), addresses),
        (key("gpu/0"), text("x")),
        (key("service/x"), Value::Absent),
        (key("module/x"), Value::Boolean(false)),
        (key("sysctl/a.b"), Value::Integer(1)),
        (key("mount//x"), attributes([("type", text("nfs"))])),
    ]);
    let mut state = omitted.clone();
    state.insert(key("sysctl/vm.x"), text("1"));
    let conflicts = BTreeMap::from([
        (key("sysctl/vm.x"), ConflictChoice::KeepLocal),
        (key("file//etc/shadow"), ConflictChoice::Overwrite),
    ]);
    let out = render(&state, &[b"n1".to_vec()], &conflicts);
    for key in omitted.keys() {
        assert!(out.contains(&format!("# not written: {key}: ")), "{key}\n{out}");
    }
    assert!(!out.contains("10.0.0.1") && !out.contains("n1\""), "{out}");
    let spec = Spec::parse("s.toml", &out).unwrap_or_else(|e| panic!("{out}\n{e}"));
    let spec = &spec.vclusters[&ml()];
    assert_eq!(spec.declared.len(), 1);
    assert_eq!(spec.conflicts, BTreeMap::from([(key("sysctl/vm.x"), ConflictChoice::KeepLocal)]));
}

fn declared() -> impl Strategy<Value = (ResourceKey, Value, Option<Vec<u8>>)> {
    let key = |kind, name: String| ResourceKey::new(kind, &name);
    let plain = |key: Result<ResourceKey, _>, value| (key.unwrap(), value, None);
    let path = "/[a-z\"\\\\ %\u{1}é]{1,6}(/[a-z#=]{1,4}){0,2}";
    let word = "[a-z0-9:=/,]{1,9}"
        .prop_filter("options", |t| t.split(',').all(|o| !matches!(o, "" | "ro" | "rw")));
    let mount = (path, "[a-z]{1,5}", "[^\\p{C}]{1,9}", proptest::option::of(word), any::<bool>());
    let service = (
        "[a-z][a-z0-9@.]{0,6}",
        proptest::option::of(proptest::collection::vec("[^\0]{0,6}", 0..4)),
        proptest::option::of(0..9_i64),
        proptest::option::of(1..9_i64),
    );
    let content = prop_oneof![
        ".{0,12}".prop_map(String::into_bytes),
        "([a-z\"\\\\\r\t ]{0,4}\n){0,5}".prop_map(String::into_bytes),
        "\n{0,2}\"{0,7}\n?\"{0,4}".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..12),
    ];
    let kind = proptest::sample::select(vec![FileKind::Directory, FileKind::Symlink]);
    prop_oneof![
        ("[a-z]{1,3}\\.[a-z]{1,3}", "[^\\p{C}]{0,9}")
            .prop_map(move |(n, t)| plain(key(Kind::Sysctl, n), Value::sysctl(&t))),
        ("[a-z_]{1,4}", any::<bool>()).prop_map(move |(n, load)| {
            plain(key(Kind::Module, n), if load { Value::Boolean(true) } else { Value::Absent })
        }),
        ("[a-z0-9+.:]{1,4}", "[^\\p{C}]{1,9}")
            .prop_map(move |(n, t)| plain(key(Kind::Package, n), Value::Text(t))),
        ("[a-z0-9.]{3}", proptest::option::of(68..9001_i64), any::<bool>()).prop_map(
            move |(n, mtu, up)| {
                let mut attributes = BTreeMap::from([("up".to_owned(), Value::Boolean(up))]);
                attributes.extend(mtu.map(|mtu| ("mtu".to_owned(), Value::Integer(mtu))));
                plain(key(Kind::Net, n), Value::Attributes(attributes))
            }
        ),
        mount.prop_map(move |(n, kind, source, options, read_only)| {
            let mut attributes = BTreeMap::from([
                ("type".to_owned(), Value::Text(kind)),
                ("source".to_owned(), Value::Text(source)),
                ("read_only".to_owned(), Value::Boolean(read_only)),
            ]);
            attributes.extend(options.map(|o| ("options".to_owned(), Value::Text(o))));
            plain(key(Kind::Mount, n), Value::Attributes(attributes))
        }),
        service.prop_map(move |(n, args, order, interval)| {
            let mut attributes = BTreeMap::from([("binary".to_owned(), text("/x y"))]);
            attributes.extend(args.map(|a| ("args".to_owned(), Value::list(&a))));
            attributes.extend(order.map(|o| ("order".to_owned(), Value::Integer(o))));
            if let Some(seconds) = interval {
                attributes.extend([
                    ("health_check_type".to_owned(), text("http")),
                    ("health_check_url".to_owned(), text("https://h/")),
                    ("health_check_interval_seconds".to_owned(), Value::Integer(seconds)),
                ]);
            }
            plain(key(Kind::Service, n), Value::Attributes(attributes))
        }),
        (path, kind, "[^\0]{1,9}").prop_map(move |(n, kind, target)| {
            let is_link = kind == FileKind::Symlink;
            let file = FileValue {
                kind,
                mode: if is_link { 0o777 } else { 0o1755 },
                group: "g".into(),
                link_target: is_link.then(|| crate::resource::escape(target.as_bytes())),
                sha256: None,
                size_bytes: 0,
                content_kept: false,
                ..regular(b"")
            };
            plain(key(Kind::File, n), Value::File(file))
        }),
        (path, proptest::option::of(content)).prop_map(move |(n, content)| {
            let key = key(Kind::File, n).unwrap();
            match content {
                None => (key, Value::Absent, None),
                Some(c) => {
                    let file = FileValue { group: "g\"h".into(), ..regular(&c) };
                    (key, Value::File(file), Some(c))
                }
            }
        }),
    ]
}

proptest! {
    #[test]
    fn what_is_rendered_is_read_back(
        declared in proptest::collection::vec(declared(), 1..8),
        overwrite in any::<bool>(),
    ) {
        let want: BTreeMap<ResourceKey, Declared> = declared
            .into_iter()
            .map(|(key, value, content)| (key, Declared { value, content }))
            .collect();
        let state: State = want.iter().map(|(k, d)| (k.clone(), d.value.clone())).collect();
        let contents: Vec<Vec<u8>> = want.values().filter_map(|d| d.content.clone()).collect();
        let choice =
            if overwrite { ConflictChoice::Overwrite } else { ConflictChoice::KeepLocal };
        let conflicts: BTreeMap<_, _> =
            want.keys().take(2).map(|key| (key.clone(), choice)).collect();
        let out = render(&state, &contents, &conflicts);
        let spec = Spec::parse("s.toml", &out);
        let spec = spec.map_err(|e| TestCaseError::fail(format!("{out}\n{e}")))?;
        let read = &spec.vclusters[&ml()];
        prop_assert_eq!(&read.declared, &want, "{}", out);
        prop_assert_eq!(&read.conflicts, &conflicts);
    }
}
