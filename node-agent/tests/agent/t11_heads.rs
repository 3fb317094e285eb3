//! Which configuration is taken: one that was signed just now, by a clock that is known; what the node has stays until then.

use std::fs;
use std::time::Duration;

use crate::drift::{enforce, key, watched};
use crate::plane::{Plane, until};

/// A head that is older than an answer can be.
const LONG_AGO: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_played_again_is_not_taken() {
    let (plane, agent) = watched(&[], None).await;
    let path = plane.root().join("motd");
    let old = plane
        .declare(|site| {
            site.policy = enforce(600);
            let value = site.file("old\n");
            site.overlay.insert(key(&path), value);
            site.issued_ago = LONG_AGO;
        })
        .await;
    // A node without a cache has nothing else to tell it from a new one.
    let asked = plane.settle(old);
    tokio::pin!(asked);
    let taken = plane.clock().timeout(Duration::from_secs(2), &mut asked).await;
    assert!(taken.is_err(), "{taken:?}");
    assert!(agent.log().contains("an old one is played again"), "{}", agent.log());
    assert!(!path.exists());
    plane.told.lock().unwrap().declared.issued_ago = Duration::ZERO;
    assert_eq!(asked.await.config_seq, old);
    assert_eq!(fs::read_to_string(&path).unwrap(), "old\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_time_the_node_keeps_what_it_has() {
    let (plane, agent) = watched(&[], Some(600)).await;
    let path = plane.root().join("motd");
    let text = |plane: &Plane| fs::read_to_string(plane.root().join("motd")).unwrap();
    let declare = async |text: &str| {
        let declared = plane.declare(|site| {
            let value = site.file(text);
            site.overlay.insert(key(&path), value);
        });
        declared.await
    };
    let first = declare("one\n").await;
    plane.settle(first).await;
    agent.kill();
    fs::remove_file(plane.state().join("plane-time.json")).unwrap();
    plane.told.lock().unwrap().holds_time = true;
    let second = declare("two\n").await;
    let agent = plane.launch("strict");
    let said = "no configuration is taken before the plane's time is known";
    until("it says why", || agent.log().contains(said)).await;
    plane.watched().await;
    assert_eq!((plane.diff().await.config_seq, text(&plane)), (first, "one\n".to_owned()));
    plane.told.lock().unwrap().holds_time = false;
    assert_eq!(plane.settle(second).await.config_seq, second);
    assert_eq!(text(&plane), "two\n");
}
