mod rendering;

use super::*;
use crate::resource::FileKind;

fn ml() -> VclusterId {
    VclusterId::new("ml").unwrap()
}

fn read(text: &str) -> VclusterSpec {
    let text = format!("[vcluster.ml]\n{text}");
    Spec::parse("s.toml", &text).unwrap_or_else(|e| panic!("{text}\n{e}")).vclusters[&ml()].clone()
}

fn value(spec: &VclusterSpec, key: &str) -> Value {
    spec.declared[&key.parse::<ResourceKey>().unwrap()].value.clone()
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn attributes<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    Value::Attributes(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

#[test]
fn a_policy_table_is_read() {
    let spec = read(
        "[vcluster.ml.policy]\nregulated = true\nexec_whitelist = [\"lstopo\"]\ndrift_sensitivity = 2\n",
    );
    assert!(!spec.has_resources());
    let policy = spec.policy.unwrap();
    assert_eq!(policy.two_person_approval, Some(true));
    assert_eq!(policy.exec_whitelist, ["lstopo"]);
    assert_eq!(policy.drift_sensitivity, Some(2.0));
    assert!(policy.cleared_lists.is_empty());
}

#[test]
fn a_list_that_is_emptied_is_named() {
    let spec = read(
        "[vcluster.ml.policy]\nexec_whitelist = []\nauto_converge_categories = []\nshell_whitelist = [\"x\"]\n",
    );
    let policy = spec.policy.unwrap();
    assert_eq!(policy.cleared_lists, ["auto_converge_categories", "exec_whitelist"]);
}

#[test]
fn policy_keys_are_unset_by_their_names() {
    let spec = read("[vcluster.ml.policy]\nunset = [\"drift_sensitivity\", \"exec_whitelist\"]\n");
    let policy = spec.policy.unwrap();
    assert_eq!(policy.cleared_lists, ["drift_sensitivity", "exec_whitelist"]);
    for bad in ["unset = [\"x\"]", "degraded_exec = true\nunset = [\"degraded_exec\"]", "unset = 1"]
    {
        assert!(Spec::parse_policy("p.toml", bad, &ml()).is_err(), "{bad}");
    }
}

#[test]
fn policy_files_have_bare_keys_or_the_groups_own_table() {
    let parse = |text: &str| Spec::parse_policy("p.toml", text, &ml());
    let want = VclusterPolicy { regulated: Some(false), ..VclusterPolicy::default() };
    assert_eq!(parse("regulated = false\n").unwrap(), want);
    assert_eq!(parse("[vcluster.ml.policy]\nregulated = false\n").unwrap(), want);
    for bad in [
        "[vcluster.hpc.policy]\nregulated = false\n",
        "degraded_exec = true\n[vcluster.ml.policy]\nregulated = false\n",
        "[vcluster.ml.policy]\nregulated = false\n[vcluster.ml.packages]\na = \"1\"\n",
        "[vcluster.ml.policy]\nregulated = false\n[vcluster.hpc.policy]\nregulated = false\n",
        "[vcluster.ml.packages]\na = \"1\"\n",
    ] {
        let error = parse(bad).unwrap_err();
        assert!(error.message.contains("accepted: bare policy keys"), "{bad}\n{error}");
    }
}

#[test]
fn every_section_is_read() {
    let spec = read(
        r#"remove = ["sysctl/vm.dirty_ratio", "file//etc/old"]
[vcluster.ml.sysctl]
"vm.nr_hugepages" = "1024"
"net.ipv4.tcp_rmem" = " 4096	131072  6291456 "
"vm.swappiness" = 10
[vcluster.ml.modules]
load = ["nfs", "snd-hda"]
unload = ["floppy"]
[vcluster.ml.mounts]
"/datasets" = { type = "nfs", source = "storage02:/datasets", options = "vers=4.2", read_only = true }
"/scratch" = { type = "tmpfs", source = "tmpfs" }
"/old" = { absent = true }
[vcluster.ml.network]
"eth1" = { mtu = 9000, up = true }
"eth2" = { absent = true }
[vcluster.ml.packages]
"cuda-toolkit" = "12.4"
[vcluster.ml.services.chronyd]
binary = "/usr/sbin/chronyd"
args = ["-d", ""]
restart = "always"
restart_delay_seconds = 5
depends_on = ["net"]
order = 1
cgroup_memory_max = "64M"
health_check = { type = "http", url = "http://localhost:9100/health", interval_seconds = 30 }
[vcluster.ml.blacklist]
patterns = ["/opt/scratch/**"]
[vcluster.ml.conflicts]
"sysctl/vm.swappiness" = "keep-local"
"net/eth1" = "overwrite"
"#,
    );
    let yes = Value::Boolean(true);
    for (key, want) in [
        ("sysctl/vm.nr_hugepages", text("1024")),
        ("sysctl/net.ipv4.tcp_rmem", text("4096 131072 6291456")),
        ("sysctl/vm.swappiness", text("10")),
        ("module/nfs", yes.clone()),
        ("module/snd_hda", yes.clone()),
        ("module/floppy", Value::Absent),
        (
            "mount//datasets",
            attributes([
                ("type", text("nfs")),
                ("source", text("storage02:/datasets")),
                ("options", text("vers=4.2")),
                ("read_only", yes.clone()),
            ]),
        ),
        (
            "mount//scratch",
            attributes([
                ("type", text("tmpfs")),
                ("source", text("tmpfs")),
                ("read_only", Value::Boolean(false)),
            ]),
        ),
        ("mount//old", Value::Absent),
        ("net/eth1", attributes([("mtu", Value::Integer(9000)), ("up", yes)])),
        ("net/eth2", Value::Absent),
        ("package/cuda-toolkit", text("12.4")),
        (
            "service/chronyd",
            attributes([
                ("binary", text("/usr/sbin/chronyd")),
                ("args", text(r#"["-d",""]"#)),
                ("restart", text("always")),
                ("restart_delay_seconds", Value::Integer(5)),
                ("depends_on", text(r#"["net"]"#)),
                ("order", Value::Integer(1)),
                ("cgroup_memory_max", text("64M")),
                ("health_check_type", text("http")),
                ("health_check_url", text("http://localhost:9100/health")),
                ("health_check_interval_seconds", Value::Integer(30)),
            ]),
        ),
    ] {
        assert_eq!(value(&spec, key), want, "{key}");
    }
    assert_eq!(spec.declared.len(), 13);
    let removed: Vec<&str> = spec.remove.iter().map(ResourceKey::as_str).collect();
    assert_eq!(removed, ["file//etc/old", "sysctl/vm.dirty_ratio"]);
    use Kind::{Module, Mount, Net, Package, Service, Sysctl};
    assert_eq!(spec.sections, BTreeSet::from([Sysctl, Module, Mount, Net, Service, Package]));
    assert_eq!(spec.blacklist.as_deref(), Some(&["/opt/scratch/**".to_owned()][..]));
    let decided: Vec<_> = spec.conflicts.iter().map(|(k, c)| (k.as_str(), c.as_str())).collect();
    assert_eq!(decided, [("net/eth1", "overwrite"), ("sysctl/vm.swappiness", "keep-local")]);
    let changes = spec.changes();
    assert_eq!(changes.len(), 15);
    assert!(changes.windows(2).all(|w| w[0].key < w[1].key));
    change_set::check(&changes).unwrap();
    assert_eq!(changes.iter().filter(|c| c.new.is_none()).count(), 2);
}

#[test]
fn files_have_contents_a_target_or_none() {
    let spec = read(
        r#"[vcluster.ml.files]
"/etc/motd" = { content = "hi\n", mode = "0600", owner = "alice", group = "1000" }
"/etc/empty" = { content = "" }
"/etc/key" = { content_base64 = "AP8=" }
"/etc/link" = { link_target = "../a b%" }
"/etc/d" = { directory = true, mode = "750" }
"/etc/gone" = { absent = true }
"#,
    );
    let file = |key: &str| {
        let declared = &spec.declared[&key.parse::<ResourceKey>().unwrap()];
        (declared.value.as_file().unwrap().clone(), declared.content.clone())
    };
    let (motd, content) = file("file//etc/motd");
    assert_eq!(content.as_deref(), Some(&b"hi\n"[..]));
    assert_eq!((motd.kind, motd.mode, motd.size_bytes), (FileKind::Regular, 0o600, 3));
    assert_eq!((motd.owner.as_str(), motd.group.as_str()), ("alice", "1000"));
    assert!(motd.content_kept);
    let digest = ring::digest::digest(&ring::digest::SHA256, b"hi\n");
    assert_eq!(motd.sha256.unwrap(), digest.as_ref());
    assert_eq!(file("file//etc/empty").1.as_deref(), Some(&b""[..]));
    let (key, content) = file("file//etc/key");
    assert_eq!((content.as_deref(), key.mode), (Some(&[0, 0xff][..]), 0o644));
    let (link, content) = file("file//etc/link");
    assert_eq!((link.kind, content), (FileKind::Symlink, None));
    assert_eq!(link.link_target.as_deref(), Some("../a b%25"));
    assert_eq!(
        (file("file//etc/d").0.kind, file("file//etc/d").0.mode),
        (FileKind::Directory, 0o750)
    );
    assert_eq!(value(&spec, "file//etc/gone"), Value::Absent);
    for declared in spec.declared.values() {
        let wire = v1::Value::from(&declared.value);
        assert_eq!(Value::try_from(wire).unwrap(), declared.value);
    }
}

#[test]
fn an_empty_section_is_named_and_an_empty_blacklist_clears() {
    let spec = read("[vcluster.ml.sysctl]\n[vcluster.ml.blacklist]\npatterns = []\n");
    assert_eq!(spec.sections, BTreeSet::from([Kind::Sysctl]));
    assert!(spec.has_resources());
    assert_eq!(spec.blacklist, Some(vec![]));
}

/// A specification that is refused, and what the refusal says.
const REFUSED: &[(&str, &str)] = &[
    (
        "[vcluster.ml.policy]\n\nregulated = 1\n",
        "s.toml:3: policy key \"regulated\": accepted: true or false",
    ),
    (
        "[vcluster.ml.policy]\nregulatd = true\n",
        "s.toml:2: unknown policy key \"regulatd\" (did you mean \"regulated\"?); accepted: enforcement_mode,",
    ),
    (
        "[vcluster.ml.policy]\nregulated = true\ntwo_person_approval = false\n",
        "s.toml:3: policy key \"two_person_approval\": regulated = true implies",
    ),
    ("[vcluster.ml.policy]\nexec_whitelist = [\"/bin/sh\"]\n", "program names without a path"),
    ("[vcluster.ML]\n", "s.toml:1: \"ML\" is not a valid vCluster name"),
    (
        "[vcluster.ml.sysctls]\n",
        "s.toml:1: unknown section of vCluster ml \"sysctls\" (did you mean \"sysctl\"?); accepted: remove, sysctl,",
    ),
    (
        "[cluster.ml]\n",
        "s.toml:1: unknown table \"cluster\" (did you mean \"vcluster\"?); accepted: [vcluster.<name>",
    ),
    ("x = \n", "s.toml:1: not TOML"),
    ("", "declares nothing"),
    ("[vcluster.ml]\n", "declares nothing"),
    ("[vcluster]\nml = 1\n", "s.toml:2: vcluster.ml has the type integer; accepted: a table"),
    (
        "[vcluster.ml.sysctl]\nvm.swappiness = 1\n",
        "s.toml:2: vcluster.ml.sysctl.\"vm\": accepted: a text; the whole name is one quoted key",
    ),
    ("[vcluster.ml.sysctl]\n\"vm.x\" = true\n", "accepted: a text or a whole number"),
    ("[vcluster.ml.sysctl]\n\"vm..x\" = 1\n", "a dotted name such as vm.swappiness"),
    ("[vcluster.ml.sysctl]\n\"vm/x\" = 1\n", "a dotted name such as vm.swappiness"),
    (
        "[vcluster.ml.sysctl]\n\"vm.x\" = \"1\"\n\"vm.x\" = \"2\"\n",
        "s.toml:3: not TOML: duplicate key",
    ),
    ("[vcluster.ml.sysctl]\n\"vm.x\" = \"\\u0001\"\n", "without control characters"),
    (
        "[vcluster.ml.modules]\nload = [\"a-b\"]\nunload = [\"a_b\"]\n",
        "s.toml:3: module/a_b is declared or removed twice, first on line 2; accepted: once",
    ),
    (
        "[vcluster.ml.modules]\nloads = []\n",
        "s.toml:2: unknown key of vcluster.ml.modules: \"loads\" (did you mean \"load\"?); accepted: load, unload",
    ),
    ("[vcluster.ml.modules]\nload = \"nfs\"\n", "accepted: a list of module names"),
    (
        "[vcluster.ml]\nremove = [\"sysctl/vm.x\"]\n[vcluster.ml.sysctl]\n\"vm.x\" = 1\n",
        "sysctl/vm.x is declared or removed twice",
    ),
    ("[vcluster.ml]\nremove = [\"net/a\", \"net/a\"]\n", "declared or removed twice"),
    ("[vcluster.ml]\nremove = [\"/etc/motd\"]\n", "begins with one of sysctl/"),
    (
        "[vcluster.ml.mounts]\n\"/a\" = { type = \"nfs\" }\n",
        "s.toml:2: vcluster.ml.mounts.\"/a\": source is missing; accepted: a source",
    ),
    (
        "[vcluster.ml.mounts]\n\"/a\" = { type = \"nfs\", source = \"x\", options = \"ro,vers=4\" }\n",
        "which read_only says",
    ),
    ("[vcluster.ml.mounts]\n\"a\" = { absent = true }\n", "an absolute path"),
    ("[vcluster.ml.mounts]\n\"/\" = { absent = true }\n", "the root itself cannot be declared"),
    ("[vcluster.ml.mounts]\n\"/a\" = { absent = true, type = \"nfs\" }\n", "absent = true alone"),
    ("[vcluster.ml.mounts]\n\"/a\" = { absent = false }\n", "accepted: true, or leave the key out"),
    (
        "[vcluster.ml.files]\n\"/a/../b\" = { content = \"\" }\n",
        "without empty, '.' and '..' components",
    ),
    (
        "[vcluster.ml.files]\n\"/a//b\" = { content = \"\" }\n",
        "without empty, '.' and '..' components",
    ),
    (
        "[vcluster.ml.files]\n\"/a\" = { content = \"\", mode = \"0844\" }\n",
        "s.toml:2: vcluster.ml.files.\"/a\".mode: accepted: three or four octal digits",
    ),
    (
        "[vcluster.ml.files]\n\"/a\" = { content = \"\", mode = 420 }\n",
        "three or four octal digits",
    ),
    (
        "[vcluster.ml.files]\n\"/a\" = { content = \"\", owner = \"a:b\" }\n",
        "files.\"/a\".owner: accepted: a name or number",
    ),
    (
        "[vcluster.ml.files]\n\"/a\" = { mode = \"0644\" }\n",
        "accepted: exactly one of content, content_base64, link_target, directory, absent",
    ),
    ("[vcluster.ml.files]\n\"/a\" = { content = \"\", content_base64 = \"\" }\n", "exactly one of"),
    (
        "[vcluster.ml.files]\n\"/a\" = { content_base64 = \"AP8\" }\n",
        "standard base64 with padding, at most 262144 bytes",
    ),
    (
        "[vcluster.ml.files]\n\"/a\" = { link_target = \"/b\", mode = \"0777\" }\n",
        "a link has none of its own",
    ),
    ("[vcluster.ml.files]\n\"/a\" = { link_target = \"\" }\n", "the path that the link points to"),
    (
        "[vcluster.ml.files]\n\"/a\" = { contents = \"\" }\n",
        "(did you mean \"content\"?); accepted: content, content_base64",
    ),
    (
        "[vcluster.ml.files]\n\"/a\" = \"x\"\n",
        "has the type string; accepted: a table with content,",
    ),
    (
        "[vcluster.ml.network]\n\"eth1\" = { addresses = [\"10.0.0.1/24\"] }\n",
        "the same address on every node",
    ),
    ("[vcluster.ml.network]\n\"eth1\" = { }\n", "says nothing; accepted: mtu, up"),
    (
        "[vcluster.ml.network]\n\"eth1\" = { mtu = 67 }\n",
        "eth1\".mtu: accepted: a whole number from 68 to 65536",
    ),
    ("[vcluster.ml.network]\n\"eth/1\" = { up = true }\n", "1 to 15 bytes without blanks"),
    ("[vcluster.ml.packages]\n\"a\" = 1\n", "a version as text"),
    ("[vcluster.ml.services.x]\nargs = []\n", "binary is missing; accepted: the absolute path"),
    (
        "[vcluster.ml.services.x]\nbinary = \"chronyd\"\n",
        "services.\"x\".binary: accepted: the absolute path of a program",
    ),
    (
        "[vcluster.ml.services.x]\nbinary = \"/x\"\nrestart = \"allways\"\n",
        "s.toml:3: vcluster.ml.services.\"x\".restart: accepted: \"always\", \"on-failure\" or \"never\"",
    ),
    (
        "[vcluster.ml.services.x]\nbinary = \"/x\"\ndepends_on = [\"x\"]\n",
        "names of other services",
    ),
    (
        "[vcluster.ml.services.x]\nbinary = \"/x\"\ncgroup_memory_max = \"64MB\"\n",
        "with K, M, G or T",
    ),
    (
        "[vcluster.ml.services.x]\nbinary = \"/x\"\nhealth_check = { type = \"tcp\" }\n",
        "health_check.type: accepted: \"http\"",
    ),
    (
        "[vcluster.ml.services.x]\nbinary = \"/x\"\nhealth_check = { type = \"http\", url = \"localhost\" }\n",
        "begins with http://",
    ),
    (
        "[vcluster.ml.services.x]\nbinary = \"/x\"\nhealth_check = { type = \"http\" }\n",
        "url is missing",
    ),
    (
        "[vcluster.ml.services.x]\nbinary = \"/x\"\nhealthcheck = { }\n",
        "(did you mean \"health_check\"?)",
    ),
    (
        "[vcluster.ml.blacklist]\npatterns = [\"tmp/**\"]\n",
        "s.toml:2: vcluster.ml.blacklist.patterns: \"tmp/**\" matches no resource key",
    ),
    ("[vcluster.ml.blacklist]\n", "patterns is missing"),
    (
        "[vcluster.ml.conflicts]\n\"net/a\" = \"overwrite\"\n",
        "accepted: keys that this vCluster's sections declare",
    ),
    (
        "[vcluster.ml.packages]\n\"a\" = \"1\"\n[vcluster.ml.conflicts]\n\"package/a\" = \"keep\"\n",
        "accepted: \"overwrite\" or \"keep-local\"",
    ),
];

#[test]
fn errors_name_file_line_key_and_what_is_accepted() {
    for (text, want) in REFUSED {
        let error = Spec::parse("s.toml", text).expect_err(text);
        assert!(error.message.contains(want), "{text}\nwanted: {want}\nsaid: {error}");
        assert_eq!(error.code, "PACT_INVALID_SPEC", "{text}");
    }
}

#[test]
fn bounds_are_said() {
    let large =
        format!("[vcluster.ml.files]\n\"/a\" = {{ content = \"{}\" }}\n", "a".repeat(262_145));
    let error = Spec::parse("s.toml", &large).unwrap_err();
    assert!(error.message.contains("at most 262144 bytes of contents"), "{error}");
    let error = Spec::parse("s.toml", &" ".repeat(MAX_SPEC_BYTES + 1)).unwrap_err();
    assert_eq!((error.code.as_str(), error.message.contains("1048576")), ("PACT_TOO_LARGE", true));
    let half = |name: &str, keys: usize| {
        let keys: String = (0..keys).map(|i| format!("\"a.{i}\" = 1\n")).collect();
        format!("[vcluster.{name}.sysctl]\n{keys}")
    };
    let most = half("ml", MAX_KEYS / 2) + &half("hpc", MAX_KEYS / 2);
    assert!(Spec::parse("s.toml", &most).is_ok());
    let error = Spec::parse("s.toml", &(half("ml", MAX_KEYS / 2) + &half("hpc", MAX_KEYS / 2 + 1)));
    assert_eq!(error.unwrap_err().code, "PACT_TOO_LARGE");
    let patterns = "\"/a\", ".repeat(257);
    let error =
        Spec::parse("s.toml", &format!("[vcluster.ml.blacklist]\npatterns = [{patterns}]\n"));
    assert!(error.unwrap_err().message.contains("at most 256 patterns"));
}

#[test]
fn the_shipped_example_is_a_specification_with_every_section() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/vcluster-examples/overlays.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let spec = Spec::parse("overlays.toml", &text).unwrap_or_else(|e| panic!("{e}"));
    let all: BTreeSet<Kind> = spec.vclusters.values().flat_map(|v| v.sections.clone()).collect();
    assert_eq!(all, Kind::ALL.into_iter().filter(|kind| *kind != Kind::Gpu).collect());
    for section in SECTIONS {
        let named = |v: &VclusterSpec| match section {
            "remove" => !v.remove.is_empty(),
            "policy" => v.policy.is_some(),
            "blacklist" => v.blacklist.is_some(),
            "conflicts" => !v.conflicts.is_empty(),
            _ => v.has_resources(),
        };
        assert!(spec.vclusters.values().any(named), "{section}");
    }
    for key in POLICY_KEYS {
        assert!(text.contains(&format!("\n{key} = ")), "{key}");
    }
    for key in services::KEYS {
        assert!(text.contains(&format!("\n{key} = ")), "{key}");
    }
}
