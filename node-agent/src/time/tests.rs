//! The plane clock, driven by hand.

use pact_identity::SigningRole;
use pact_runtime::ManualClock;
use pact_schemas::MemberId;

use super::*;

const WALL: Timestamp = Timestamp::from_unix_nanos(1_000_000_000_000_000_000);
const PLANE: Timestamp = Timestamp::from_unix_nanos(1_800_000_000_000_000_000);
const HOUR: Duration = Duration::from_secs(3600);

struct World {
    _folder: tempfile::TempDir,
    path: PathBuf,
    clock: Clock,
    hand: ManualClock,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (clock, hand) = Clock::manual(WALL);
        let path = folder.path().join("plane-time.json");
        Self { _folder: folder, path, clock, hand }
    }

    /// The least that the time can be, after `PLANE`, in whole seconds.
    fn seconds_passed(&self, plane: &PlaneClock) -> u64 {
        plane.at_least().unwrap().duration_since(PLANE).unwrap().as_secs()
    }

    fn open(&self, boot: BootId) -> PlaneClock {
        PlaneClock::open(&self.path, boot, self.clock.clone()).unwrap()
    }

    /// A member says that it is `time` now.
    fn say(&self, plane: &PlaneClock, member: u64, time: Timestamp) -> bool {
        let signer = SigningRole::Grant(MemberId::new(member).unwrap());
        plane.hear(Heard { signer, time }, self.clock.boot_time()).unwrap()
    }

    /// Two members agree.
    fn fix(&self, plane: &PlaneClock, time: Timestamp) {
        let _first = self.say(plane, 1, time);
        assert!(self.say(plane, 2, time));
    }
}

#[test]
fn time_runs_with_the_boot_clock_and_ends_a_day_after_the_last_fix() {
    let world = World::new();
    let plane = world.open(BootId::read().unwrap());
    assert_eq!((plane.now(), plane.trust()), (None, ClockTrust::Unknown));
    assert_eq!(plane.best(), WALL);
    assert!(!world.say(&plane, 1, PLANE));
    assert_eq!(plane.now(), None, "one member alone fixes nothing at once");
    assert!(world.say(&plane, 2, PLANE));
    world.hand.advance(HOUR);
    world.hand.set_wall(WALL);
    let later = PLANE.checked_add(HOUR).unwrap();
    assert_eq!(plane.now(), Some(PlaneTime { now: later, first_fix: PLANE }));
    assert!(world.say(&plane, 1, later));
    world.hand.advance(24 * HOUR);
    assert_eq!(plane.now().unwrap().first_fix, PLANE);
    world.hand.advance(Duration::from_nanos(1));
    assert_eq!(plane.now(), None);
}

#[tokio::test]
async fn a_fix_that_is_on_its_way_is_waited_for_and_not_for_ever() {
    let world = World::new();
    let plane = world.open(BootId::read().unwrap());
    let (late, ()) = tokio::join!(plane.known_within(HOUR), async {
        world.hand.wait_for_sleepers(1).await;
        world.hand.advance(HOUR);
    });
    assert_eq!(late, None);
    let (known, ()) = tokio::join!(plane.known_within(HOUR), async {
        world.hand.wait_for_sleepers(1).await;
        world.fix(&plane, PLANE);
    });
    assert_eq!(known.map(|time| time.first_fix), Some(PLANE));
}

#[test]
fn a_restart_of_the_agent_keeps_the_first_fix_and_a_reboot_does_not() {
    let world = World::new();
    world.fix(&world.open(BootId::read().unwrap()), PLANE);
    let open = |boot| world.open(boot);
    assert_eq!(open(BootId::read().unwrap()).now().unwrap().first_fix, PLANE);
    let rebooted = open(BootId::other());
    assert_eq!(rebooted.now(), None);
    assert_eq!(rebooted.lock().seen_before, Some(PLANE));
    std::fs::write(&world.path, "{").unwrap();
    assert_eq!(open(BootId::read().unwrap()).now(), None);
}

#[test]
fn a_member_that_is_a_year_ahead_locks_nobody_out() {
    let world = World::new();
    let plane = world.open(BootId::read().unwrap());
    let year = 365 * 24 * HOUR;
    let wrong = |now: Timestamp| now.checked_add(year).unwrap();
    world.fix(&plane, PLANE);
    assert!(!world.say(&plane, 3, wrong(PLANE)));
    assert_eq!(plane.now(), Some(PlaneTime { now: PLANE, first_fix: PLANE }));
    world.fix(&plane, PLANE);

    // Two of them were wrong and are mended: the clock comes back, and with it what this boot saw first.
    world.fix(&plane, wrong(PLANE));
    assert_eq!(plane.now().unwrap().first_fix, wrong(PLANE));
    world.hand.advance(HOUR);
    let now = PLANE.checked_add(HOUR).unwrap();
    world.fix(&plane, now);
    assert_eq!(plane.now(), Some(PlaneTime { now, first_fix: PLANE }));

    // The same after a reboot, which remembers the wrong time.
    world.fix(&plane, wrong(now));
    let rebooted = world.open(BootId::other());
    world.fix(&rebooted, now);
    assert_eq!(rebooted.now(), Some(PlaneTime { now, first_fix: now }));
}

#[test]
fn a_slow_answer_says_nothing() {
    let world = World::new();
    let plane = world.open(BootId::other());
    let asked = world.clock.boot_time();
    world.hand.advance(Duration::from_secs(2));
    for member in [1, 2] {
        let signer = SigningRole::Grant(MemberId::new(member).unwrap());
        plane.hear(Heard { signer, time: PLANE }, asked).unwrap();
    }
    assert_eq!(plane.now().unwrap().now, PLANE.checked_add(Duration::from_secs(1)).unwrap());
    world.hand.advance(Duration::from_secs(4));
    let signer = SigningRole::Grant(MemberId::new(1).unwrap());
    let slow = plane.hear(Heard { signer, time: PLANE }, asked);
    assert!(matches!(slow, Err(FixError::TooSlow(_))));
}

#[test]
fn what_has_passed_never_comes_back_without_a_fix_or_by_a_reboot() {
    let world = World::new();
    let plane = world.open(BootId::read().unwrap());
    assert_eq!(plane.at_least(), None, "nothing was ever known");
    world.fix(&plane, PLANE);
    assert_eq!(plane.at_least(), Some(PLANE));
    world.hand.advance(24 * HOUR);
    let day = 86_400;
    assert_eq!(world.seconds_passed(&plane), day);
    // The fix is too old for grants; what ends goes on ending, a thousandth late at most.
    world.hand.advance(Duration::from_nanos(1));
    assert_eq!((plane.now(), world.seconds_passed(&plane)), (None, day));
    world.hand.advance(24 * HOUR);
    let two_days = 2 * day - 87; // 86.4 s late
    assert_eq!(world.seconds_passed(&plane), two_days);
    assert_eq!(world.seconds_passed(&world.open(BootId::read().unwrap())), two_days);

    // Kept when something ends by it: another boot begins there, not at the last fix.
    plane.keep_at_least().unwrap();
    let rebooted = world.open(BootId::other());
    assert_eq!((rebooted.now(), world.seconds_passed(&rebooted) >= two_days), (None, true));
}

#[test]
fn a_reboot_keeps_what_ended_and_counts_on_from_there() {
    let world = World::new();
    let boot = BootId::read().unwrap();
    let plane = world.open(boot.clone());
    world.fix(&plane, PLANE);
    world.hand.advance(HOUR);
    plane.keep_at_least().unwrap();
    drop(plane);
    // The clock of another boot starts at zero.
    let (clock, hand) = Clock::manual(WALL);
    let rebooted = PlaneClock::open(&world.path, BootId::other(), clock).unwrap();
    assert_eq!((rebooted.now(), world.seconds_passed(&rebooted)), (None, 3_600));
    hand.advance(1_000 * HOUR);
    assert_eq!(world.seconds_passed(&rebooted), 3_600 + 999 * 3_600);
    // What something signed says has passed, has.
    let signed = PLANE.checked_add(10_000 * HOUR).unwrap();
    rebooted.has_passed(signed);
    rebooted.has_passed(PLANE);
    assert_eq!(rebooted.at_least(), Some(signed));
}

#[test]
fn a_small_step_back_revives_nothing_and_a_wrong_time_is_forgotten() {
    let world = World::new();
    let plane = world.open(BootId::read().unwrap());
    world.fix(&plane, PLANE);
    plane.keep_at_least().unwrap();
    let minute = Duration::from_secs(60);
    world.fix(&plane, PLANE.checked_sub(minute).unwrap());
    assert_eq!(plane.at_least(), Some(PLANE));
    assert_eq!(world.open(BootId::other()).at_least(), Some(PLANE));
    // The members had been wrong by an hour: what they declare for the next hour counts again, after a restart too.
    let right = PLANE.checked_sub(HOUR).unwrap();
    world.fix(&plane, right);
    assert_eq!(plane.at_least(), Some(right));
    assert_eq!(world.open(BootId::other()).at_least(), Some(right));
}
