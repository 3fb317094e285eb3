//! The rules of the window, as tables and as properties.

use proptest::prelude::*;

use super::*;

const LIMITS: Limits =
    Limits { base: Duration::from_secs(900), floor: Duration::from_secs(120), sensitivity: 2.0 };

/// One file.
const SMALL: f64 = 0.15;

fn now(seconds: u64) -> Now {
    let time = Timestamp::from_unix_seconds(1_800_000_000 + i64::try_from(seconds).unwrap());
    Now { boot: Boot::new(Duration::from_secs(seconds)), time: time.unwrap() }
}

fn opened(magnitude: f64) -> Window {
    let mut window = Window::default();
    window.drift(now(1000), 1, magnitude, LIMITS);
    window
}

fn state(window: &Window) -> v1::WindowState {
    window.status().state()
}

fn left(window: &Window, at: u64) -> u64 {
    match &window.phase {
        Phase::Open(open) => now(at).boot.until(open.deadline).as_secs(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn drift_opens_and_no_drift_closes_from_every_state() {
    let mut window = Window::default();
    window.drift(now(1), 0, 0.0, LIMITS);
    assert!(window.is_idle() && window.next_tick().is_none());
    type Way = fn(&mut Window);
    let ways: [(Way, v1::WindowState); 4] = [
        (|_| {}, v1::WindowState::Open),
        (Window::expire, v1::WindowState::Expired),
        (|window| window.defer(now(1700), Vec::new()), v1::WindowState::Deferred),
        (|window| window.suspend(now(1001)), v1::WindowState::Suspended),
    ];
    for (way, expected) in ways {
        let mut window = opened(SMALL);
        way(&mut window);
        assert_eq!(state(&window), expected);
        assert!(window.status().opened.is_some());
        window.drift(now(1800), 2, SMALL, LIMITS);
        assert_eq!(state(&window), expected, "more drift changes no state");
        window.drift(now(1800), 0, 0.0, LIMITS);
        assert_eq!(state(&window), v1::WindowState::Idle);
        assert_eq!(window.status().opened, None);
    }
}

#[test]
fn more_drift_shortens_and_less_drift_does_not_lengthen() {
    for (at, magnitude, expected) in [
        (1000, SMALL, 692),
        (1100, SMALL, 592),
        // 900 / 2 from the opening.
        (1100, 0.5, 350),
        // The floor, from the opening; but a minute's notice at the least.
        (1100, 100.0, 60),
        (1060, 100.0, 60),
        (1010, 100.0, 110),
        (1100, 0.0, 592),
    ] {
        let mut window = opened(SMALL);
        window.drift(now(at), 1, magnitude, LIMITS);
        assert_eq!(left(&window, at), expected, "{at} {magnitude}");
    }
    // Less than a minute is left already: that is not made more.
    let mut window = opened(SMALL);
    window.drift(now(1680), 1, 100.0, LIMITS);
    assert_eq!(left(&window, 1680), 12);
    // A floor below a minute is the notice.
    let low = Limits { floor: Duration::from_secs(10), ..LIMITS };
    let mut window = opened(SMALL);
    window.drift(now(1600), 1, 1000.0, low);
    assert_eq!(left(&window, 1600), 10);
}

#[test]
fn warnings_come_once_and_then_the_end() {
    let mut window = opened(SMALL);
    let end = 1692;
    let mut told = Vec::new();
    let mut at = 1000;
    while told.last() != Some(&Tick::Ended) {
        let tick = window.tick(now(at));
        if tick != Tick::Nothing {
            told.push(tick);
        }
        assert_eq!(window.tick(now(at)) == Tick::Ended, tick == Tick::Ended, "not twice");
        at += 1;
    }
    assert_eq!(told, [Tick::Warning { minutes: 5 }, Tick::Warning { minutes: 1 }, Tick::Ended]);
    assert!(at >= end);
    // Waking at the moments that it names is enough.
    let mut window = opened(SMALL);
    let mut woken = Vec::new();
    loop {
        let next = window.next_tick().unwrap();
        let tick = window.tick(Now { boot: next, ..now(0) });
        woken.push(tick);
        if tick == Tick::Ended {
            break;
        }
    }
    assert_eq!(woken, told);
    // A window of four minutes has only the second warning.
    let short = Limits { base: minutes(4), ..LIMITS };
    let mut window = Window::default();
    window.drift(now(0), 1, 0.0, short);
    assert_eq!(window.tick(now(1)), Tick::Nothing);
    assert_eq!(window.tick(now(200)), Tick::Warning { minutes: 1 });
}

#[test]
fn extending_needs_a_window_and_opens_again() {
    let by = minutes(15);
    assert_eq!(Window::default().extend(now(1), by, LIMITS), Err(NoWindow));
    let mut open = opened(SMALL);
    open.extend(now(1100), by, LIMITS).unwrap();
    assert_eq!(left(&open, 1100), 592 + 900);
    // The same drift, or a little more, does not take the extension away.
    open.drift(now(1100), 1, SMALL, LIMITS);
    assert_eq!(left(&open, 1100), 592 + 900);
    open.drift(now(1100), 1, 0.5, LIMITS);
    assert_eq!(left(&open, 1100), 350 + 900);
    for over in [Window::expire as fn(&mut Window), |w| w.defer(now(1700), Vec::new())] {
        let mut window = opened(SMALL);
        over(&mut window);
        assert!(window.is_over());
        window.extend(now(2000), by, LIMITS).unwrap();
        assert_eq!((state(&window), left(&window, 2000)), (v1::WindowState::Open, 900));
        window.drift(now(2001), 1, SMALL, LIMITS);
        assert_eq!(left(&window, 2001), 899);
    }
    let mut far = opened(SMALL);
    for _ in 0..30 {
        far.extend(now(1100), Duration::from_secs(86_400), LIMITS).unwrap();
    }
    assert_eq!(left(&far, 1100), MAX_AHEAD.as_secs());
}

#[test]
fn a_suspended_window_stands_still() {
    let mut window = opened(SMALL);
    window.suspend(now(1100));
    assert_eq!((window.tick(now(9000)), window.next_tick()), (Tick::Nothing, None));
    window.resume(now(9000));
    assert_eq!(left(&window, 9000), 592);
    let mut idle = Window::default();
    idle.suspend(now(1));
    idle.resume(now(1));
    assert!(idle.is_idle());
}

#[test]
fn drift_that_nobody_has_seen_gets_a_window_of_its_own() {
    let length = minutes(10);
    let mut window = opened(SMALL);
    window.reopen(now(1001), length);
    assert_eq!(left(&window, 1001), 691, "there is more left than that");
    window.reopen(now(1500), length);
    assert_eq!(left(&window, 1500), 600);
    window.expire();
    window.reopen(now(3000), length);
    assert_eq!((state(&window), left(&window, 3000)), (v1::WindowState::Open, 600));
}

const BOOT: &str = "boot-1";

#[test]
fn a_restart_of_the_agent_changes_nothing_whatever_the_wall_clock_says() {
    let window = opened(SMALL);
    let saved = window.save(now(1100), BOOT, None);
    for wall in [0, 1_700_000_000, 4_000_000_000] {
        let later = Now { time: Timestamp::from_unix_seconds(wall).unwrap(), ..now(1200) };
        let mut restored = Window::restore(&saved, later, BOOT);
        assert_eq!(left(&restored, 1200), 492);
        assert_eq!(restored.status().opened, window.status().opened);
        // No plane time can take anything off within one boot.
        let plane = Timestamp::from_unix_seconds(wall).unwrap();
        assert!(!restored.settle(later, plane, LIMITS));
        // More drift is judged from the opening as before.
        restored.drift(later, 1, 0.5, LIMITS);
        assert_eq!(left(&restored, 1200), 250);
    }
    // It was down when the window ended.
    let mut restored = Window::restore(&saved, now(5000), BOOT);
    assert_eq!(restored.tick(now(5000)), Tick::Ended);
}

#[test]
fn a_reboot_takes_off_what_plane_time_says_and_no_more() {
    let plane = |seconds: i64| Timestamp::from_unix_seconds(1_900_000_000 + seconds).unwrap();
    let window = opened(SMALL);
    let saved = window.save(now(1100), BOOT, Some(plane(0)));
    let text = serde_json::to_string(&saved).unwrap();
    let saved: Saved = serde_json::from_str(&text).unwrap();
    for (passed, expected) in [
        (100, 492),
        (0, 592),
        // A plane clock that went back, within what members may differ.
        (-3, 592),
        // Down for a day: a minute to look at it.
        (86_400, 60),
    ] {
        let start = now(10);
        let mut restored = Window::restore(&saved, start, "boot-2");
        assert_eq!(left(&restored, 10), 592, "before the time is known");
        restored.settle(start, plane(passed), LIMITS);
        assert_eq!(left(&restored, 10), expected, "{passed}");
        assert!(!restored.settle(start, plane(86_400), LIMITS), "only once");
    }
    let unknown = window.save(now(1100), BOOT, None);
    let mut restored = Window::restore(&unknown, now(10), "boot-2");
    assert!(!restored.settle(now(10), plane(86_400), LIMITS));
    assert_eq!(left(&restored, 10), 592);
    let mut expired = opened(SMALL);
    expired.expire();
    let saved = expired.save(now(2000), BOOT, None);
    assert_eq!(state(&Window::restore(&saved, now(1), "boot-2")), v1::WindowState::Expired);
}

#[derive(Debug, Clone)]
enum Event {
    Drift { keys: usize, magnitude: f64 },
    Wait { seconds: u64 },
    Restart { wall_jump_seconds: i64 },
    Extend { minutes: u64 },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (1..100usize, 0.0..5.0f64).prop_map(|(keys, magnitude)| Event::Drift { keys, magnitude }),
        3 => (0..300u64).prop_map(|seconds| Event::Wait { seconds }),
        1 => (-90_000..90_000i64).prop_map(|jump| Event::Restart { wall_jump_seconds: jump }),
        1 => (1..60u64).prop_map(|minutes| Event::Extend { minutes }),
    ];
    proptest::collection::vec(event, 1..40)
}

proptest! {
    /// Whatever happens: only an extension moves a deadline away, nothing but time ends a window, nothing takes the last
    /// minute's notice, and a restart is invisible.
    #[test]
    fn deadlines_only_come_nearer_and_never_suddenly(events in events()) {
        let (mut window, mut at, mut wall) = (Window::default(), 1_000u64, 0i64);
        let moment = |at: u64, wall: i64| {
            let time = Timestamp::from_unix_seconds(1_800_000_000 + wall).unwrap();
            Now { boot: Boot::new(Duration::from_secs(at)), time }
        };
        for event in events {
            let before = match &window.phase { Phase::Open(open) => Some(open.deadline), _ => None };
            let here = moment(at, wall);
            match event {
                Event::Drift { keys, magnitude } => window.drift(here, keys, magnitude, LIMITS),
                Event::Wait { seconds } => {
                    at += seconds;
                    wall += i64::try_from(seconds).unwrap();
                    if window.tick(moment(at, wall)) == Tick::Ended {
                        prop_assert!(before.unwrap() <= moment(at, wall).boot);
                        window.expire();
                    }
                }
                Event::Restart { wall_jump_seconds } => {
                    let saved = window.save(here, BOOT, Some(here.time));
                    wall += wall_jump_seconds;
                    window = Window::restore(&saved, moment(at, wall), BOOT);
                    let time = moment(at, wall).time;
                    prop_assert!(!window.settle(moment(at, wall), time, LIMITS));
                }
                Event::Extend { minutes: count } => {
                    let is_idle = window.is_idle();
                    prop_assert_eq!(window.extend(here, minutes(count), LIMITS).is_err(), is_idle);
                    continue;
                }
            }
            let after = match &window.phase { Phase::Open(open) => Some(open.deadline), _ => None };
            if let (Some(before), Some(after)) = (before, after) {
                prop_assert!(after <= before);
                prop_assert!(after == before || after >= here.boot.later(LEAST_NOTICE));
            }
        }
    }
}
