//! Against the kernel itself, in a network namespace that nobody else is in.

use nix::sched::CloneFlags;

use super::*;

/// Runs on a thread with a network of its own.
fn in_own_network(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || {
        nix::sched::unshare(CloneFlags::CLONE_NEWNET).expect("run these tests as root");
        work();
    });
    thread.join().unwrap();
}

fn opened(folder: &Path, secret: &[&str]) -> Tables {
    super::super::open(Options {
        proc: "/proc".into(),
        modules: "/lib/modules/none".into(),
        modprobe: "/sbin/modprobe".into(),
        secret: KeyPatterns::parse(secret).unwrap(),
        ignored: KeyPatterns::default(),
        folder: folder.to_owned(),
        clock: Clock::system(),
    })
    .unwrap()
}

const IPV4: &str = "/proc/sys/net/ipv4";

fn set(path: &str, value: &str) {
    std::fs::write(format!("{IPV4}/{path}"), value).unwrap();
}

fn is(path: &str) -> String {
    std::fs::read_to_string(format!("{IPV4}/{path}")).unwrap().trim().to_owned()
}

/// What differs of IPv4.
fn found(kernel: &mut Tables) -> Vec<String> {
    let mut all = Vec::new();
    kernel.scan(&mut |one| all.push(one.key.name().to_owned())).unwrap();
    all.retain(|name| name.starts_with("net.ipv4."));
    all
}

fn apply(kernel: &mut Tables, name: &str, want: &str) -> Result<(), ProviderError> {
    let key = key(&format!("sysctl/{name}"));
    let observed = kernel.read(&key).unwrap();
    kernel.apply(&key, &observed, &text(want), &NoContents)
}

#[test]
fn a_value_that_the_kernel_writes_its_own_way_is_refused_and_nothing_of_it_stays() {
    in_own_network(|| {
        let folder = tempfile::tempdir().unwrap();
        let name = "net.ipv4.ip_default_ttl";
        let mut kernel = opened(folder.path(), &[]);
        assert_eq!(found(&mut kernel), Vec::<String>::new());
        let was = is("ip_default_ttl");
        for (odd, read) in [("0x3f", "63"), ("063", "51"), ("6 3", "6")] {
            let refused = apply(&mut kernel, name, odd).unwrap_err();
            assert!(matches!(refused, ProviderError::Refused { .. }), "{refused:?}");
            let told = refused.to_wire();
            assert!(told.cause.contains(&format!("{read:?}")), "{told:?}");
            assert_eq!(is("ip_default_ttl"), was, "{odd}");
        }
        for bad in ["many", "-1", "4096"] {
            assert!(apply(&mut kernel, name, bad).is_err(), "{bad}");
        }
        assert_eq!(found(&mut kernel), Vec::<String>::new());
        apply(&mut kernel, name, "63").unwrap();
        assert_eq!(is("ip_default_ttl"), "63");

        let secret = tempfile::tempdir().unwrap();
        let mut kernel = opened(secret.path(), &["sysctl/net.ipv4.ip_default_ttl"]);
        kernel.scan(&mut drop).unwrap();
        let told = apply(&mut kernel, name, "0x3c").unwrap_err().to_wire();
        assert!(!format!("{told:?}").contains("60"), "{told:?}");
    });
}

/// A network with an interface that forwards though the node does not.
fn one_that_forwards() {
    set("ip_forward", "0");
    set("conf/default/forwarding", "0");
    set("conf/all/accept_redirects", "1");
    set("conf/lo/forwarding", "1");
}

#[test]
fn forwarding_is_one_change_and_its_undo_brings_back_what_it_moved() {
    in_own_network(|| {
        let folder = tempfile::tempdir().unwrap();
        one_that_forwards();
        let mut kernel = opened(folder.path(), &[]);
        assert_eq!(found(&mut kernel), Vec::<String>::new());
        for name in ["ip_forward", "conf/all/forwarding"] {
            set(name, "1");
            assert_eq!(is("conf/default/forwarding"), "1", "the kernel moves it");
            assert_eq!(found(&mut kernel), ["net.ipv4.ip_forward"]);
            // An interface that is set against it is a change of its own.
            set("conf/default/forwarding", "0");
            set("conf/lo/forwarding", "0");
            assert_eq!(found(&mut kernel), ["net.ipv4.conf.lo.forwarding", "net.ipv4.ip_forward"]);
            apply(&mut kernel, "net.ipv4.ip_forward", "0").unwrap();
            assert_eq!(
                (is("conf/lo/forwarding"), is("conf/default/forwarding")),
                ("1".into(), "0".into())
            );
            assert_eq!(is("conf/all/accept_redirects"), "1");
            assert_eq!(found(&mut kernel), Vec::<String>::new());
        }
    });
}

#[test]
fn what_a_declared_parameter_moves_is_no_drift_and_what_is_declared_is_not_moved() {
    in_own_network(|| {
        let folder = tempfile::tempdir().unwrap();
        one_that_forwards();
        let mut kernel = opened(folder.path(), &[]);
        assert_eq!(found(&mut kernel), Vec::<String>::new());
        let all = key("sysctl/net.ipv4.conf.all.forwarding");
        let default = key("sysctl/net.ipv4.conf.default.forwarding");
        kernel.declare(&BTreeSet::from([all, default])).unwrap();
        apply(&mut kernel, "net.ipv4.conf.all.forwarding", "1").unwrap();
        assert_eq!((is("ip_forward"), is("conf/default/forwarding")), ("1".into(), "0".into()));
        assert_eq!(found(&mut kernel), ["net.ipv4.conf.all.forwarding"]);
        let second_name = key("sysctl/net.ipv4.ip_forward");
        assert!(kernel.satisfies(&second_name, &text("0"), &text("1")));
        // Back to what it was before it was declared.
        apply(&mut kernel, "net.ipv4.conf.all.forwarding", "0").unwrap();
        assert_eq!((is("ip_forward"), is("conf/lo/forwarding")), ("0".into(), "1".into()));
        assert_eq!(found(&mut kernel), Vec::<String>::new());
    });
}
