//! kill -9 while the node is being changed: everything or what was, and the journal is told.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use pact_schemas::resource::Change;
use pact_schemas::v1::{self, ConvergeReason};
use pact_schemas::{ErrorCode, MethodName, Subject};

use crate::declared::sha256;
use crate::drift::{enforce, key, watched};
use crate::plane::{Agent, Plane, until};

/// Enough that a kill comes in the middle of it, of several that go at once.
const FILES: usize = 400;

/// Kills of an undo, each later by half of one batch.
const KILLS: u32 = 8;

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_of_an_undo_is_finished_at_the_next_start() {
    let plane = Plane::start().await;
    fs::create_dir_all(plane.root()).unwrap();
    let path = |number: usize| plane.root().join(format!("f{number:04}"));
    let text = |number: usize, what: &str| format!("{what} {number}\n").repeat(100);
    for number in 0..FILES {
        fs::write(path(number), text(number, "one")).unwrap();
    }
    let mut agent = plane.agent("strict").await;
    plane.watched().await;
    let seq = plane.declare(|site| site.policy = enforce(1)).await;
    plane.settle(seq).await;
    let read = |number: usize| fs::read_to_string(path(number)).unwrap();
    // By their length, not read: who has a file open keeps it from being replaced.
    let length = |number: usize| fs::metadata(path(number)).unwrap().len();
    let is_restored = |number: &usize| length(*number) == text(*number, "one").len() as u64;
    let restored = || (0..FILES).filter(is_restored).count();
    let intent = plane.state().join("drift/intent");
    let mut in_the_middle = 0;
    for round in 0..KILLS {
        let edited = format!("edited in {round}");
        for number in 0..FILES {
            fs::write(path(number), text(number, &edited)).unwrap();
        }
        until("the undo has begun", || intent.exists()).await;
        let [some] = plane.clock().random_bytes::<1>();
        let delay = 20 * round + u32::from(some) / 16;
        tokio::time::sleep(Duration::from_millis(delay.into())).await;
        agent.kill();
        let before = restored();
        in_the_middle += usize::from(intent.exists() && before > 0 && before < FILES);
        // Every file has its name at any time, and is whole.
        for number in 0..FILES {
            let there = read(number);
            let is_whole = there == text(number, "one") || there == text(number, &edited);
            assert!(is_whole, "{number} in {round}: {there:?}");
        }
        agent = plane.agent("strict").await;
        until("all is as it was", || restored() == FILES).await;
        plane.watched().await;
        plane.until_drifted(&[]).await;
        assert!(!intent.exists(), "killed after {before} of {FILES}");
        assert!((0..FILES).all(|number| read(number) == text(number, "one")), "{round}");
        let leftovers = fs::read_dir(plane.root()).unwrap().count();
        assert_eq!(leftovers, FILES, "nothing half-written stays");
        // What was replaced is kept, all of it, whenever the kill came.
        let kept = fs::read_dir(plane.state().join("files/quarantine")).unwrap().flatten();
        let kept = kept.filter(|entry| entry.path().extension().is_some_and(|end| end == "data"));
        assert_eq!(kept.count(), FILES * (round as usize + 1), "killed after {before} of {FILES}");
    }
    assert!(in_the_middle > 0, "no kill came in the middle");
    // Every file is told as restored, in one event for each undo, whenever the kill came.
    let told = plane.converged();
    assert_eq!(told.len(), KILLS as usize, "{told:?}");
    assert!(told.iter().all(|(reason, _)| *reason == ConvergeReason::WindowExpired), "{told:?}");
    assert_eq!(plane.told.lock().unwrap().violations, Vec::<String>::new());
}

/// Files of a round: enough that a kill comes in the middle of writing them.
const SOME: usize = 40;

/// Rounds; each kills the agent once in an adoption, once in a rollback, and twice in a commit, a little later than the one before.
const ROUNDS: u32 = 7;

/// By how much later: the last kill of a kind comes when it is over.
const LATER: Duration = Duration::from_millis(25);

/// A node whose agent is killed again and again.
struct Killed {
    plane: Plane,
    agent: Option<Agent>,
}

impl Killed {
    fn path(&self, number: usize) -> PathBuf {
        self.plane.root().join(format!("f{number:02}"))
    }

    fn write(&self, text: &str) {
        (0..SOME).for_each(|number| fs::write(self.path(number), text).unwrap());
    }

    /// How many files have this text.
    fn have(&self, text: &str) -> usize {
        let has = |number: &usize| fs::read_to_string(self.path(*number)).unwrap() == text;
        (0..SOME).filter(has).count()
    }

    /// Kills the agent in this time, and starts it again.
    async fn kill_after(&mut self, delay: Duration) {
        tokio::time::sleep(delay).await; // the point of a kill is that it comes at any time
        self.agent.take().unwrap().kill();
        self.agent = Some(self.plane.agent("strict").await);
    }

    async fn until_drifted(&self, count: usize) {
        let names: Vec<String> = (0..count).map(|number| format!("f{number:02}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.plane.until_drifted(&names).await;
    }

    /// The node is what the journal declares, both know it, and nothing else lies about.
    async fn agree(&self, text: &str) {
        until("all files are as declared", || self.have(text) == SOME).await;
        self.until_drifted(0).await;
        until("it is told", || self.plane.reported().is_none_or(|drift| drift.keys == 0)).await;
        let names = fs::read_dir(self.plane.root()).unwrap();
        let mut names: Vec<_> = names.map(|entry| entry.unwrap().path()).collect();
        names.sort();
        assert_eq!(names, (0..SOME).map(|number| self.path(number)).collect::<Vec<_>>());
        let left = ["intent", "adopting"].map(|name| self.plane.state().join("drift").join(name));
        until("nothing is under way", || left.iter().all(|path| !path.exists())).await;
        assert_eq!(self.plane.told.lock().unwrap().violations, Vec::<String>::new());
    }

    async fn adoption(&mut self, text: &str, delay: Duration) {
        let paths: Vec<PathBuf> = (0..SOME).map(|number| self.path(number)).collect();
        let seq = self
            .plane
            .declare(|site| {
                site.deltas.clear();
                for path in &paths {
                    let value = site.file(text);
                    site.overlay.insert(key(path), value);
                }
            })
            .await;
        self.kill_after(delay).await;
        self.plane.settle(seq).await;
        self.agree(text).await;
    }

    /// Drift on all files is discarded: all of it or nothing, and the grant is good for once.
    async fn rollback(&mut self, grant: u64, declared: &str, delay: Duration) {
        self.write("drift\n");
        self.until_drifted(SOME).await;
        let plan = self.plane.discard_plan().await;
        let signed = self.plane.plan_grant(grant, &plan);
        let start = v1::RollbackStart { grant: Some(signed), plan: Some(plan) };
        let subject = Subject::NodeRpc {
            node: self.plane.node.clone(),
            method: MethodName::new("rollback").unwrap(),
        };
        let (gateway, request) = (self.plane.gateway.clone(), start.clone());
        let asked = tokio::spawn(async move {
            // Nobody answers once it is killed.
            let _lost = gateway
                .request::<_, v1::RollbackReply>(&subject, &request, Duration::from_secs(5))
                .await;
        });
        self.kill_after(delay).await;
        self.plane.watched().await;
        let restored = self.have(declared);
        assert!(restored == 0 || restored == SOME, "{restored} of {SOME}");
        match self.plane.ask::<_, v1::RollbackReply>("rollback", &start).await {
            Ok(reply) => assert_eq!((reply.restored_keys as usize, restored), (SOME, 0)),
            // Taken before the kill.
            Err(error) if error.known_code() == ErrorCode::GrantReplayed => {}
            Err(error) => panic!("{error}"),
        }
        if self.have(declared) == 0 {
            let reply = self.plane.discard(grant + 1).await.unwrap();
            assert_eq!(reply.restored_keys as usize, SOME);
        }
        asked.await.unwrap();
        self.agree(declared).await;
    }

    /// Drift on all files is captured and declared.
    async fn commit(&mut self, text: &str, delay: Duration) {
        self.write(text);
        self.until_drifted(SOME).await;
        let capture = async |plane: &Plane| {
            let expect_digest = plane.diff().await.digest;
            let request = v1::CaptureRequest { expect_digest, ..Default::default() };
            plane.ask::<_, v1::CaptureReply>("capture", &request).await.unwrap()
        };
        // Killed in the middle, it has changed nothing.
        let killed = self.plane.clock().timeout(delay, capture(&self.plane)).await;
        drop(killed);
        self.kill_after(Duration::ZERO).await;
        self.until_drifted(SOME).await;
        let captured = capture(&self.plane).await;
        assert_eq!((captured.not_restorable.len(), self.have(text)), (0, SOME));
        let changes = captured.changes.unwrap().changes;
        let seq = self
            .plane
            .declare(|site| {
                site.contents.insert(sha256(text.as_bytes()).to_vec(), text.as_bytes().to_vec());
                for change in changes {
                    let change = Change::try_from(change).unwrap();
                    site.deltas.insert(change.key, change.new.unwrap());
                }
            })
            .await;
        self.kill_after(delay).await;
        self.plane.settle(seq).await;
        self.agree(text).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_any_time_leave_node_and_journal_agreeing() {
    let (plane, agent) = watched(&[], Some(600)).await;
    let mut killed = Killed { plane, agent: Some(agent) };
    for round in 0..ROUNDS {
        let (delay, grant) = (round * LATER, u64::from(100 + 10 * round));
        let text = format!("declared {round}\n");
        killed.adoption(&text, delay).await;
        killed.rollback(grant, &text, delay).await;
        killed.commit(&format!("committed {round}\n"), delay).await;
    }
}
