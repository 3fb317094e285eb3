//! Figures, not assertions: `cargo nextest run --workspace --lib --run-ignored only -E 'test(figures)' --no-capture`.

use super::*;

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
#[ignore = "prints figures"]
fn a_hundred_thousand_files() {
    let mut bench = Bench::new();
    let noise: Vec<u8> = Clock::system().random_bytes::<512>().to_vec();
    for number in 0..100_000_u32 {
        let folder = bench.path(&format!("{:03}/{:02}", number % 200, number / 200 % 10));
        if number < 2_000 {
            std::fs::create_dir_all(&folder).unwrap();
        }
        let contents = [number.to_be_bytes().as_slice(), &noise].concat().repeat(4);
        std::fs::write(folder.join(format!("some-file-{number}")), contents).unwrap();
    }
    let clock = Clock::system();
    let figure = |name: &str, started: Duration| {
        let took = clock.monotonic().saturating_sub(started);
        println!(
            "{name}: {} ms, {} KiB now, {} KiB at most",
            took.as_millis(),
            resident_kib(),
            peak_kib()
        );
    };
    figure("before", clock.monotonic());
    let started = clock.monotonic();
    bench.scan();
    figure("first scan", started);
    bench.restart(&[]);
    let started = clock.monotonic();
    bench.scan();
    figure("scan after a restart at once", started);
    let racy = clock.monotonic() + Duration::from_secs(3);
    while clock.monotonic() < racy {
        std::thread::yield_now();
    }
    bench.restart(&[]);
    for round in 0..3 {
        let started = clock.monotonic();
        bench.scan();
        figure(&format!("rescan {round}"), started);
    }
    let started = clock.monotonic();
    bench.restart(&[]);
    figure("open", started);
    for file in ["baseline", "kept"] {
        let length = bench.top.path().join("state").join(file).metadata().unwrap().len();
        println!("{file}: {} KiB", length / 1024);
    }
}
