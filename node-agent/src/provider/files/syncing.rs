//! Syncing many files in little more than the time of one: side by side they share what the disk has to do.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many are synced side by side. Measured with 64 small files on ext4: 150 ms one after the other, 24 ms with four at a
/// time, 20 ms with eight, no less with more.
const SIDE_BY_SIDE: usize = 8;

/// Of a thread that does nothing but to sync.
const STACK_BYTES: usize = 64 * 1024;

/// Syncs each file, which belongs to the number beside it; whose files could not be synced. All are on disk, or named.
pub(super) fn sync_each(files: &[(usize, &File)]) -> Vec<(usize, io::Error)> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut failed = Vec::new();
        while let Some((number, file)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            failed.extend(file.sync_all().err().map(|error| (*number, error)));
        }
        failed
    };
    std::thread::scope(|scope| {
        let thread = || std::thread::Builder::new().name("sync".to_owned()).stack_size(STACK_BYTES);
        // Where no thread can be had, those that are there do the work.
        let others = (1..SIDE_BY_SIDE.min(files.len()))
            .map_while(|_| thread().spawn_scoped(scope, work).ok())
            .collect::<Vec<_>>();
        let mut failed = work();
        for other in others {
            match other.join() {
                Ok(more) => failed.extend(more),
                // Nobody knows which it had.
                Err(_) => {
                    failed.extend(files.iter().map(|(n, _)| (*n, io::ErrorKind::Other.into())))
                }
            }
        }
        failed
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_files_could_not_be_synced_is_told() {
        let good = tempfile::tempfile().unwrap();
        // Opened for its path alone: syncing it fails.
        let bad = rustix::fs::open("/", rustix::fs::OFlags::PATH, rustix::fs::Mode::empty());
        let bad = File::from(bad.unwrap());
        let files: Vec<_> = (0..100).map(|n| (n, if n % 7 == 3 { &bad } else { &good })).collect();
        let mut failed: Vec<usize> = sync_each(&files).into_iter().map(|(n, _)| n).collect();
        failed.sort_unstable();
        assert_eq!(failed, (0..100).filter(|n| n % 7 == 3).collect::<Vec<_>>());
        assert!(sync_each(&[]).is_empty());
    }
}
