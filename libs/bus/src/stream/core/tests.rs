//! The two ends against a channel that drops, duplicates and reorders.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const WINDOW: u64 = 1000;

#[derive(Clone, Debug)]
struct Frame {
    number: u64,
    bytes: u64,
    is_last: bool,
}

/// What the channel does to one message; the choices come from proptest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Deliver,
    Drop,
    Duplicate,
    /// Behind the message that comes after it.
    Delay,
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![
        4 => Just(Fate::Deliver),
        2 => Just(Fate::Drop),
        1 => Just(Fate::Duplicate),
        1 => Just(Fate::Delay),
    ];
    proptest::collection::vec(fate, 0..200)
}

/// One direction: faithless until its fates are used up, then reliable.
struct Channel<M> {
    fates: std::vec::IntoIter<Fate>,
    queue: Vec<M>,
    held: Option<M>,
}

impl<M: Clone> Channel<M> {
    fn new(fates: Vec<Fate>) -> Self {
        Self { fates: fates.into_iter(), queue: Vec::new(), held: None }
    }

    fn send(&mut self, message: M) {
        match self.fates.next().unwrap_or(Fate::Deliver) {
            Fate::Drop => {}
            Fate::Delay if self.held.is_none() => self.held = Some(message),
            Fate::Duplicate => self.queue.extend([message.clone(), message]),
            Fate::Deliver | Fate::Delay => {
                self.queue.push(message);
                self.queue.extend(self.held.take());
            }
        }
    }

    fn arrive(&mut self) -> Vec<M> {
        std::mem::take(&mut self.queue)
    }
}

/// Runs a whole stream; returns what arrived and how many steps of 50 ms it took.
fn run(sizes: &[u64], out: Vec<Fate>, back: Vec<Fate>, appetite: usize) -> (Vec<u64>, u32) {
    let mut sender = SenderCore::new(WINDOW);
    let mut receiver = ReceiverCore::new(WINDOW);
    let (mut out, mut back) = (Channel::new(out), Channel::new(back));
    let mut to_send = sizes.iter().copied();
    let mut waiting = to_send.next();
    let mut has_ended = false;
    let mut taken = Vec::new();
    for step in 0..20_000u32 {
        let now = Duration::from_millis(50) * step;
        while let Some(bytes) = waiting.filter(|bytes| sender.has_room(*bytes)) {
            let frame = Frame { number: sender.next_number(), bytes, is_last: false };
            sender.push(frame.clone(), bytes, now);
            out.send(frame);
            waiting = to_send.next();
        }
        if waiting.is_none() && !has_ended {
            has_ended = true;
            let frame = Frame { number: sender.next_number(), bytes: 0, is_last: true };
            sender.end(frame.clone(), now);
            out.send(frame);
        }
        if let Some(frame) = sender.probe(now) {
            out.send(frame);
        }
        for frame in out.arrive() {
            receiver.frame(frame.number, frame.number, frame.bytes, frame.is_last, now).unwrap();
        }
        assert!(receiver.held_bytes() <= WINDOW.max(*sizes.iter().max().unwrap_or(&0)));
        for _ in 0..appetite {
            taken.extend(receiver.take(now));
        }
        for control in receiver.poll(now) {
            back.send(control);
        }
        for control in back.arrive() {
            match control {
                ReceiverOut::Credit { bytes, frame } => sender.credit(bytes, frame, now).unwrap(),
                ReceiverOut::Resend { from } => {
                    sender.resend(from, now).unwrap().into_iter().for_each(|frame| out.send(frame));
                }
            }
        }
        if sender.is_done() && receiver.is_done() {
            return (taken, step);
        }
    }
    panic!("the stream never ended: {sender:?} {receiver:?}");
}

proptest! {
    #[test]
    fn nothing_is_lost_or_doubled_whatever_the_channel_does(
        sizes in proptest::collection::vec(1u64..700, 0..120),
        out in fates(),
        back in fates(),
        appetite in 1usize..5,
    ) {
        let (taken, _) = run(&sizes, out, back, appetite);
        let all: Vec<u64> = (1..=u64::try_from(sizes.len()).unwrap() + 1).collect();
        prop_assert_eq!(taken, all);
    }
}

#[test]
fn a_clean_channel_needs_no_timer() {
    let (_, steps) = run(&[100; 5], Vec::new(), Vec::new(), 10);
    assert!(steps <= 1, "{steps}");
}

#[test]
fn without_credit_nothing_is_sent_and_with_it_exactly_the_window() {
    let mut sender = SenderCore::new(WINDOW);
    for _ in 0..4 {
        assert!(sender.has_room(250));
        sender.push((), 250, Duration::ZERO);
    }
    assert!(!sender.has_room(1));
    // All frames arrived, but the application has taken only one: room for one.
    sender.credit(250, 4, Duration::ZERO).unwrap();
    assert!(sender.has_room(250) && !sender.has_room(251));
    // A credit for what was never sent is refused.
    assert_eq!(sender.credit(1001, 4, Duration::ZERO), Err(Nothing));
    assert_eq!(sender.credit(500, 5, Duration::ZERO), Err(Nothing));
    assert_eq!(sender.resend(6, Duration::ZERO), Err(Nothing));
}

#[test]
fn a_receiver_that_confirms_bytes_but_no_frames_cannot_make_the_sender_keep_more() {
    let mut sender = SenderCore::new(WINDOW);
    sender.push((), 1000, Duration::ZERO);
    sender.credit(1000, 0, Duration::ZERO).unwrap();
    assert!(!sender.has_room(1));
    let mut tiny = SenderCore::new(WINDOW * 1000);
    while tiny.has_room(1) {
        tiny.push((), 1, Duration::ZERO);
    }
    assert_eq!(tiny.next_number(), u64::try_from(MAX_FRAMES).unwrap() + 1);
}

#[test]
fn a_sender_without_manners_fills_no_memory() {
    let mut receiver = ReceiverCore::new(WINDOW);
    for number in 1..=10_000 {
        receiver.frame(number, (), 100, false, Duration::ZERO).unwrap();
        receiver.frame(number * 7, (), 100, false, Duration::ZERO).unwrap();
    }
    assert!(receiver.held_bytes() <= WINDOW);
    assert_eq!(receiver.frame(0, (), 1, false, Duration::ZERO), Err(Violation::NumberZero));
}

#[test]
fn nothing_follows_the_last_frame() {
    let mut receiver = ReceiverCore::new(WINDOW);
    receiver.frame(1, (), 0, true, Duration::ZERO).unwrap();
    assert_eq!(receiver.frame(2, (), 1, false, Duration::ZERO), Err(Violation::AfterEnd));
    let mut early = ReceiverCore::new(WINDOW);
    early.frame(2, (), 1, false, Duration::ZERO).unwrap();
    assert_eq!(early.frame(1, (), 0, true, Duration::ZERO), Err(Violation::AfterEnd));
}
