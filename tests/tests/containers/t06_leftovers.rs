//! Nothing stays behind in Docker, whatever happened to a test, and nothing of others is touched.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, Command};

use pact_tests::containers::Cluster;
use pact_tests::containers::docker::Docker;
use pact_tests::containers::leftovers;
use pact_tests::process::bin_dir;

#[test]
fn a_panic_leaves_nothing_but_the_logs() {
    let mut run = None;
    let panic = catch_unwind(AssertUnwindSafe(|| {
        let cluster = Cluster::start();
        run = Some(cluster.run().to_owned());
        panic!("as a test that fails");
    }));
    assert!(panic.is_err());
    let run = run.expect("the cluster was started");
    let left = leftovers::of_run(&Docker::find(), &run);
    assert!(left.is_empty(), "{left:?}");
    let logs = bin_dir().join("../container-logs").join(&run);
    for part in ["nats", "journal-1", "gateway-2"] {
        let log = std::fs::read_to_string(logs.join(format!("{part}.log"))).unwrap();
        assert!(log.lines().count() > 5, "{part}: {log}");
    }
    std::fs::remove_dir_all(logs).unwrap();
}

/// A process that owns something, killed when dropped.
struct Owner(Child);

impl Owner {
    fn start() -> Self {
        Self(Command::new("sleep").arg("600").spawn().unwrap())
    }

    fn end(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _already_gone = self.0.kill();
        let _status = self.0.wait();
    }
}

#[test]
fn what_a_killed_test_left_is_swept_and_nothing_else() {
    let docker = Docker::find();
    let mut owner = Owner::start();
    let run = format!("sweep-{}", std::process::id());
    let name = format!("pact-test-{run}");
    let labels = leftovers::labels_of(&run, owner.0.id());
    docker.create_network(&name, labels.clone());
    docker.create_volume(&name, labels);
    let foreign = format!("{name}-foreign");
    docker.create_volume(&foreign, [("com.example".to_owned(), "1".to_owned())].into());

    leftovers::sweep(&docker);
    let of_living = leftovers::of_run(&docker, &run).len();
    owner.end();
    leftovers::sweep(&docker);
    let of_dead = leftovers::of_run(&docker, &run);
    // Fails when it is not there any more.
    docker.remove_volume(&foreign);
    assert_eq!(of_living, 2, "whoever lives keeps what is theirs");
    assert!(of_dead.is_empty(), "{of_dead:?}");
}
