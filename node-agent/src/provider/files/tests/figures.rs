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

/// Ten files in each of 500 folders are changed, made or removed, and undone as the engine does it.
#[test]
#[ignore = "prints figures"]
fn an_undo_of_five_thousand_files() {
    const FILES: u32 = 5_000;
    let mut bench = Bench::new();
    let end = |number: u32| format!("{:03}/file-{number}", number % 500);
    for number in 0..FILES {
        bench.write(&end(number), format!("was {number}"));
    }
    bench.scan();
    for number in 0..FILES {
        match number % 3 {
            0 => bench.write(&end(number), format!("is {number}")),
            1 => std::fs::remove_file(bench.path(&end(number))).unwrap(),
            _ => bench.write(&format!("{}-made", end(number)), format!("made {number}")),
        }
    }
    let clock = Clock::system();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let processes = processes.filter(|e| e.file_name().to_str().unwrap().parse::<u32>().is_ok());
    println!("{} processes", processes.count());
    let started = clock.monotonic();
    let found: Vec<_> = bench.scan().into_iter().collect();
    println!("scan: {} keys in {:?}", found.len(), clock.monotonic() - started);
    let keys: BTreeSet<ResourceKey> = found.iter().map(|(end, _)| bench.key(end)).collect();
    let started = clock.monotonic();
    let held = bench.files.holders(&keys);
    println!("one search for all their holders: {:?}", clock.monotonic() - started);
    assert!(held.values().all(|held| matches!(held, Ok(held) if held.is_empty())));
    let started = clock.monotonic();
    let found: Vec<_> = found
        .into_iter()
        .map(|(end, (old, new))| Found { key: bench.key(&end), old, new })
        .collect();
    let (done, at_once) = apply_all(&mut bench.files, &found, &NoContents);
    assert!(done.iter().all(Result::is_ok));
    println!(
        "undone in {:?}, {} times some at once; {} in the quarantine",
        clock.monotonic() - started,
        at_once.len(),
        bench.manifests().len()
    );
    assert_eq!(bench.found(), Vec::<String>::new());
}

#[test]
#[ignore = "prints figures"]
fn a_file_of_a_gigabyte() {
    let mut bench = Bench::new();
    bench.scan();
    let noise: Vec<u8> = Clock::system().random_bytes::<4096>().repeat(256);
    let clock = Clock::system();
    for mebibytes in [100, 1_000] {
        let mut file = std::fs::File::create(bench.path("large")).unwrap();
        for _ in 0..mebibytes {
            io::Write::write_all(&mut file, &noise).unwrap();
        }
        drop(file);
        for round in 0..2 {
            let started = clock.monotonic();
            bench.read("large");
            println!(
                "{mebibytes} MiB, reading {round}: {:?}, {} KiB at most",
                clock.monotonic() - started,
                peak_kib()
            );
        }
        let racy = clock.monotonic() + Duration::from_secs(3);
        while clock.monotonic() < racy {
            std::thread::sleep(Duration::from_millis(100));
        }
        for round in 0..2 {
            let started = clock.monotonic();
            bench.read("large");
            println!(
                "{mebibytes} MiB, unchanged for 3 s, reading {round}: {:?}",
                clock.monotonic() - started
            );
        }
    }
}
