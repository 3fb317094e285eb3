//! Making several files what they should be. Each goes through the steps that one alone goes through, in their order; a step
//! begins when the one before it is done, and on disk where it has to be, for all. So the disk is waited for a few times for
//! all of them, not for each.
//!
//! 1. What is to come is written aside, and what it replaces is written down in the quarantine; both are synced.
//! 2. What is written down gets its names; the quarantine's folder is synced.
//! 3. Names are exchanged, put where nothing is, or moved aside.
//! 4. What is aside now is looked at to its end and synced.
//! 5. It gets its name in the quarantine, whose folder is synced; what is left aside goes.
//! 6. The folders are synced, each once.
//!
//! A crash at any point leaves of each file what it would leave of one alone. Files of which one lies in the other, and names
//! of the same file, do not go together. Folders, links and what takes their place are made alone, on the way.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;

use pact_schemas::resource::{FileKind, ResourceKey};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::install::{At, Exchanged, Made, is_free, refusal, refused};
use super::lease;
use super::look::Seen;
use super::made;
use super::order::is_within;
use super::place::Place;
use super::quarantine::{Examined, Held, Successor, Taken, Ticket, beside};
use super::restore::{Restorer, Step, adjust, io_error};
use super::scope::path_of;
use super::syncing::sync_each;
use super::wanted::Wanted;
use crate::provider::{MAX_AT_ONCE, ProviderError, Wish};

/// Contents, those that go and those that come: no more is begun with, so that nobody's word on holders grows old meanwhile.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// One key on its way.
struct Job<'w> {
    wish: Wish<'w>,
    path: Vec<u8>,
    /// None: it was made alone, or needs nothing.
    work: Option<Work>,
    /// None: it is on its way, and well when it comes to the end.
    ended: Option<Result<(), ProviderError>>,
}

/// A regular file that is made, replaced, removed, or gets another owner or mode.
struct Work {
    place: Place,
    /// What goes; none: nothing does.
    seen: Option<Seen>,
    /// What comes; none: nothing does.
    made: Option<Made>,
    /// The name aside: first of what comes, then of what goes.
    aside: CString,
    ticket: Option<Ticket>,
    /// Written, and not synced yet.
    fresh: Vec<File>,
    /// Names in its folder are others.
    is_moved: bool,
    /// What goes is aside.
    is_aside: bool,
    held: Option<Held>,
}

impl Work {
    fn new(place: Place, aside: CString, fresh: Vec<File>) -> Self {
        Self {
            place,
            seen: None,
            made: None,
            aside,
            ticket: None,
            fresh,
            is_moved: false,
            is_aside: false,
            held: None,
        }
    }
}

impl Job<'_> {
    const fn is_live(&self) -> bool {
        self.work.is_some() && self.ended.is_none()
    }

    /// Whether one of both has to be done before the other.
    fn is_kin(&self, path: &[u8]) -> bool {
        is_within(&self.path, path) || is_within(path, &self.path)
    }

    /// Whether this is another name of the same file.
    fn is_same_file(&self, seen: Option<&Seen>) -> bool {
        let own = self.work.as_ref().and_then(|work| work.seen.as_ref());
        own.zip(seen).is_some_and(|(own, seen)| own.found.inode == seen.found.inode)
    }
}

impl Restorer<'_> {
    /// Makes the first of these keys so, as many as go together: an answer for each of them.
    pub(super) fn apply_first(&mut self, wishes: &[Wish<'_>]) -> Vec<Result<(), ProviderError>> {
        self.quarantine.prune();
        let mut jobs = self.begun(wishes);
        self.write_down(&mut jobs);
        for job in jobs.iter_mut().filter(|job| job.is_live()) {
            self.put_in_place(job);
        }
        self.examine(&mut jobs);
        self.store(&mut jobs);
        sync_folders(&mut jobs);
        self.quarantine.end_together();
        jobs.into_iter().map(|job| job.ended.unwrap_or(Ok(()))).collect()
    }

    /// Begins with the first wishes; what is made alone is made.
    fn begun<'w>(&mut self, wishes: &[Wish<'w>]) -> Vec<Job<'w>> {
        let mut jobs: Vec<Job<'w>> = Vec::new();
        let mut bytes = 0;
        for wish in wishes.iter().take(MAX_AT_ONCE).copied() {
            let key = wish.key;
            let path = path_of(key).unwrap_or_default();
            if bytes >= MAX_BYTES || jobs.iter().any(|job| job.is_kin(&path)) {
                break;
            }
            let decided = match path.is_empty() {
                true => Err(ProviderError::WrongKey { key: key.clone() }),
                false => self.decide(&wish, &path),
            };
            // Where the kernel does not say at the last moment who has a file open, the search for holders has to be a young one.
            let mut goes_alone = false;
            if let Ok(step) = &decided {
                goes_alone = step.place().is_some_and(|place| !lease::is_told(&place.folder));
                let has_kin = jobs.iter().any(|job| job.is_same_file(step.seen()));
                if has_kin || (goes_alone && !jobs.is_empty()) {
                    break;
                }
                bytes += step.bytes();
            }
            let (work, ended) = match decided.and_then(|step| self.begin_step(key, &path, step)) {
                Ok(work) => (work, None),
                Err(error) => (None, Some(Err(error))),
            };
            jobs.push(Job { wish, path, work, ended });
            if goes_alone {
                break;
            }
        }
        jobs
    }

    fn begin_step(
        &mut self,
        key: &ResourceKey,
        path: &[u8],
        step: Step,
    ) -> Result<Option<Work>, ProviderError> {
        let is_regular = |seen: &Seen| seen.record.kind == FileKind::Regular;
        match step {
            Step::Nothing => Ok(None),
            Step::Remove { place, seen } if is_regular(&seen) => {
                let at = At { key, path, place: &place };
                let aside = self.temps.beside(path);
                let (ticket, manifest) = self.begin_with_others(&at, &seen, &aside, None)?;
                let work = Work::new(place, aside, vec![manifest]);
                Ok(Some(Work { seen: Some(seen), ticket: Some(ticket), ..work }))
            }
            Step::Remove { place, seen } => {
                self.remove_alone(&At { key, path, place: &place }, &seen).map(|()| None)
            }
            Step::Make { place, wanted, seen }
                if wanted.record.kind == FileKind::Regular
                    && seen.as_ref().is_none_or(is_regular) =>
            {
                self.begin_file(key, path, place, wanted, seen).map(Some)
            }
            Step::Make { place, wanted, seen } => {
                let at = At { key, path, place: &place };
                self.make_alone(&at, wanted, seen.as_ref()).map(|()| None)
            }
        }
    }

    /// Writes a file aside that takes the place of a file, or of nothing; where owner and mode alone differ, changes them.
    fn begin_file(
        &mut self,
        key: &ResourceKey,
        path: &[u8],
        place: Place,
        mut wanted: Wanted,
        seen: Option<Seen>,
    ) -> Result<Work, ProviderError> {
        let at = At { key, path, place: &place };
        if let Some(seen) = seen.as_ref().filter(|seen| seen.sha256 == wanted.sha256) {
            let changed = adjust(&at, seen, &wanted.record)?;
            let aside = place.name.clone();
            return Ok(Work::new(place, aside, vec![changed]));
        }
        let (made, file) = {
            // Closed at once: who has the old file open keeps it from being replaced.
            let open = |_: &Seen| made::open(at.place, &at.place.name, OFlags::RDONLY).ok();
            let old = seen.as_ref().and_then(open);
            self.write_aside(&at, &mut wanted, old.as_ref())?
        };
        let (mut fresh, mut ticket) = (vec![file], None);
        if let Some(seen) = &seen {
            let successor = Some(made.successor.clone());
            let begun = self.begin_with_others(&at, seen, &made.name, successor);
            let (begun, manifest) =
                begun.inspect_err(|_| made::forget(at.place, &made.name, made.kind))?;
            ticket = Some(begun);
            fresh.push(manifest);
        }
        let aside = made.name.clone();
        Ok(Work { seen, made: Some(made), ticket, ..Work::new(place, aside, fresh) })
    }

    fn begin_with_others(
        &mut self,
        at: &At<'_>,
        seen: &Seen,
        aside: &CStr,
        successor: Option<Successor>,
    ) -> Result<(Ticket, File), ProviderError> {
        is_free(at, seen)?;
        self.quarantine.begin_with_others(at.key, seen, &beside(at.path, aside), successor)
    }

    /// Makes last what is aside and what is written down of it.
    fn write_down(&mut self, jobs: &mut [Job<'_>]) {
        let failed = sync_each(&files(jobs, |work| work.fresh.iter().collect()));
        for (number, error) in failed {
            self.cancel(jobs.get_mut(number), "write", error);
        }
        let mut is_written = false;
        for job in jobs.iter_mut().filter(|job| job.is_live()) {
            let Some(work) = &mut job.work else { continue };
            work.fresh.clear();
            let Some(ticket) = &work.ticket else { continue };
            is_written = true;
            if let Err(error) = self.quarantine.write_down(ticket) {
                self.cancel_with(job, error);
            }
        }
        let Some(error) = is_written.then(|| self.quarantine.sync().err()).flatten() else {
            return;
        };
        for job in jobs {
            if job.work.as_ref().is_some_and(|work| work.ticket.is_some()) {
                self.cancel(Some(job), "write down what happens to", again(&error));
            }
        }
    }

    /// Nothing has happened under the file's name: nothing stays aside.
    fn cancel(&mut self, job: Option<&mut Job<'_>>, what: &'static str, error: io::Error) {
        let Some(job) = job.filter(|job| job.is_live()) else { return };
        let error = io_error(what, &job.path, error);
        self.cancel_with(job, error);
    }

    fn cancel_with(&mut self, job: &mut Job<'_>, error: ProviderError) {
        if let Some(work) = &mut job.work {
            if let Some(made) = &work.made {
                made::forget(&work.place, &made.name, made.kind);
            }
            if let Some(ticket) = work.ticket.take() {
                self.quarantine.give_up(ticket);
            }
        }
        job.ended = Some(Err(error));
    }

    /// Gives what is aside the file's name, and what is there the name aside.
    fn put_in_place(&mut self, job: &mut Job<'_>) {
        let Some(work) = &mut job.work else { return };
        let at = At { key: job.wish.key, path: &job.path, place: &work.place };
        let place = at.place;
        let put = match (&work.made, &work.seen) {
            (None, None) => return,
            (Some(made), None) => self
                .renames
                .put_where_nothing_is(place, &made.name, &place.name)
                .map_err(|error| refused(&at, error)),
            (Some(made), Some(seen)) => {
                let free = is_free(&at, seen);
                match free.and_then(|()| self.exchange(&at, made, seen)) {
                    Ok(Exchanged::AtOnce) => {
                        work.is_aside = true;
                        Ok(())
                    }
                    Ok(in_steps) => {
                        let Some(ticket) = work.ticket.take() else { return };
                        job.ended = Some(self.finish_exchange(&at, made, seen, ticket, in_steps));
                        return;
                    }
                    Err(error) => Err(error),
                }
            }
            (None, Some(seen)) => {
                // Nobody else knows the name aside.
                let moved = is_free(&at, seen).map(|()| {
                    rustix::fs::renameat(&place.folder, &*place.name, &place.folder, &*work.aside)
                });
                match moved {
                    Ok(Ok(())) => {
                        work.is_aside = true;
                        Ok(())
                    }
                    // It is gone.
                    Ok(Err(Errno::NOENT)) => {
                        work.ticket.take().into_iter().for_each(|t| self.quarantine.give_up(t));
                        job.ended = Some(Ok(()));
                        return;
                    }
                    Ok(Err(errno)) => Err(io_error("move away", at.path, errno.into())),
                    Err(error) => Err(error),
                }
            }
        };
        match put {
            Ok(()) => work.is_moved = true,
            Err(error) => self.cancel_with(job, error),
        }
    }

    /// Looks at what is aside, and syncs it.
    fn examine(&mut self, jobs: &mut [Job<'_>]) {
        for job in jobs.iter_mut().filter(|job| job.is_live()) {
            let Some(work) = &mut job.work else { continue };
            let (Some(seen), Some(ticket), true) = (&work.seen, &work.ticket, work.is_aside) else {
                continue;
            };
            match self.quarantine.examine(ticket, &work.place, &work.aside, seen) {
                Ok(Examined::Held(held)) => work.held = Some(held),
                Ok(Examined::Not(taken)) => self.not_taken(job, Ok(taken)),
                Err(error) => self.not_taken(job, Err(error)),
            }
        }
        let failed = sync_each(&files(jobs, |work| work.held.iter().map(Held::unsynced).collect()));
        for (number, error) in failed {
            if let Some(job) = jobs.get_mut(number) {
                self.not_taken(job, Err(error));
            }
        }
    }

    /// Gives what was looked at its name in the quarantine.
    fn store(&mut self, jobs: &mut [Job<'_>]) {
        let mut is_stored = false;
        for job in jobs.iter_mut().filter(|job| job.is_live()) {
            let Some(work) = &mut job.work else { continue };
            let (Some(held), Some(seen), Some(ticket)) = (&mut work.held, &work.seen, &work.ticket)
            else {
                continue;
            };
            match self.quarantine.store(ticket, &work.place, &work.aside, held, seen) {
                Ok(Taken::Kept) => is_stored = true,
                other => self.not_taken(job, other),
            }
        }
        let failed = is_stored.then(|| self.quarantine.sync().err()).flatten();
        if let Some(error) = &failed {
            // A crash may find those that were moved aside again, written down.
            tracing::warn!(%error, "the quarantine is not synced");
        }
        for job in jobs.iter_mut().filter(|job| job.is_live()) {
            let Some(work) = &mut job.work else { continue };
            let (Some(held), Some(ticket)) = (&work.held, &work.ticket) else { continue };
            let released = match &failed {
                Some(error) if held.is_copy() => Err(again(error)),
                _ => self.quarantine.release(ticket, &work.place, &work.aside, held),
            };
            if let Err(error) = released {
                self.not_taken(job, Err(error));
            }
        }
    }

    /// What is aside goes back where it was.
    fn not_taken(&mut self, job: &mut Job<'_>, taken: io::Result<Taken>) {
        let Some(work) = &mut job.work else { return };
        if let Some(held) = work.held.take() {
            held.discard();
        }
        let at = At { key: job.wish.key, path: &job.path, place: &work.place };
        let Some(ticket) = work.ticket.take() else { return };
        match &work.made {
            Some(made) => self.put_back(&at, made, ticket),
            None => self.move_back(&at, &work.aside, ticket),
        }
        job.ended = Some(Err(refusal(&at, taken)));
    }
}

/// Files of those that are on their way, with the number of the job.
fn files<'j>(
    jobs: &'j [Job<'_>],
    of: impl Fn(&'j Work) -> Vec<&'j File>,
) -> Vec<(usize, &'j File)> {
    let live = jobs.iter().enumerate().filter(|(_, job)| job.is_live());
    let works = live.filter_map(|(number, job)| Some((number, job.work.as_ref()?)));
    works.flat_map(|(number, work)| of(work).into_iter().map(move |file| (number, file))).collect()
}

/// Makes changed names last, in each folder once.
fn sync_folders(jobs: &mut [Job<'_>]) {
    let mut folders = BTreeMap::new();
    let mut failed = Vec::new();
    for (number, job) in jobs.iter().enumerate() {
        let Some(work) = job.work.as_ref().filter(|work| work.is_moved) else { continue };
        let opened = made::reopened(work.place.folder.as_fd())
            .and_then(|opened| Ok((rustix::fs::fstat(&opened)?, opened)));
        match opened {
            Ok((stat, opened)) => {
                let known = folders.entry((stat.st_dev, stat.st_ino));
                known.or_insert_with(|| (opened, Vec::new())).1.push(number);
            }
            Err(error) => failed.push((number, error)),
        }
    }
    let opened: Vec<_> = folders.values().enumerate().map(|(n, (file, _))| (n, file)).collect();
    for (folder, error) in sync_each(&opened) {
        let numbers = folders.values().nth(folder).into_iter().flat_map(|(_, numbers)| numbers);
        failed.extend(numbers.map(|number| (*number, again(&error))));
    }
    for (number, error) in failed {
        let Some(job) = jobs.get_mut(number) else { continue };
        if !matches!(job.ended, Some(Err(_))) {
            job.ended = Some(Err(io_error("sync", &job.path, error)));
        }
    }
}

/// The same error once more.
fn again(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}
