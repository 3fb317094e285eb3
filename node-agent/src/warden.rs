//! The warden of one command: a small process between the agent and what it was asked to run, whose children can leave
//! everything but their ancestry.
//!
//! ```text
//! agent ──socket── warden ── command ── whatever it starts
//!                    └────── orphans of it, whatever session, group or environment they gave themselves
//! ```
//!
//! A process can leave its group, its session and its environment (`env -i setsid …`). It cannot leave the warden: the warden is
//! a subreaper (`PR_SET_CHILD_SUBREAPER`), so an orphan becomes its child, and `wait` says for certain when none is left.
//!
//! The agent's side is `exec/ward.rs`. Both talk over one socket: [`Report`]s go up; [`TERMINATE`] goes down, and the end of
//! the stream is the order to kill everything and to end. An agent that dies, by whatever, therefore gives that order too.
//!
//! Invariants, as absences: the warden ends only when nothing is left below it; it takes no signal but SIGKILL; it reads no
//! file but `/proc`, holds none of the command's pipes and judges nothing.
//! What it cannot do: outlive a SIGKILL of its own. The command's leader dies with it then (`PR_SET_PDEATHSIG`), and the agent
//! looks for the rest by session and by marker (`exec/session.rs`).

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout};

use crate::processes::{self, Identity};

/// The first argument by which the agent's program becomes a warden.
pub const WORD: &str = "--warden-of-a-command";

/// Asks for SIGTERM to the command's process group.
pub(crate) const TERMINATE: u8 = b'T';

/// Bytes of an encoded [`Report`].
pub(crate) const REPORT_BYTES: usize = 13;

/// Files that a command makes are readable for all and writable for its user only.
const UMASK: libc::mode_t = 0o022;

/// While something does not die (a process in an uninterruptible wait), this often it is looked for what it forked.
const KILL_INTERVAL: Duration = Duration::from_millis(100);

/// For whoever calls it by hand: `EX_USAGE`.
const USAGE: u8 = 64;

/// What the warden tells the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Report {
    /// Nothing was started: what the system says.
    Failed { errno: i32 },
    /// The command runs.
    Started { leader: Identity },
    /// The command has ended with this status.
    Exited { status: i32 },
    /// The command was ended by this signal.
    Signalled { signal: i32 },
    /// The command has ended and nothing that it started is left.
    Alone,
    /// Everything is gone; so many processes beside the command had to be killed.
    Done { killed: u64 },
}

impl Report {
    /// As it travels: a letter, an i32 and a u64, little-endian.
    pub(crate) fn encode(self) -> [u8; REPORT_BYTES] {
        let (letter, number, long) = match self {
            Self::Failed { errno } => (b'F', errno, 0),
            Self::Started { leader } => (b'S', leader.pid, leader.started_ticks),
            Self::Exited { status } => (b'E', status, 0),
            Self::Signalled { signal } => (b'K', signal, 0),
            Self::Alone => (b'A', 0, 0),
            Self::Done { killed } => (b'D', 0, killed),
        };
        let mut bytes = [0; REPORT_BYTES];
        let (first, rest) = bytes.split_at_mut(1);
        let (middle, last) = rest.split_at_mut(size_of::<i32>());
        first.copy_from_slice(&[letter]);
        middle.copy_from_slice(&number.to_le_bytes());
        last.copy_from_slice(&long.to_le_bytes());
        bytes
    }

    /// `None` for what no warden of this version says.
    pub(crate) fn decode(bytes: &[u8; REPORT_BYTES]) -> Option<Self> {
        let (first, rest) = bytes.split_first()?;
        let (middle, last) = rest.split_first_chunk()?;
        let (number, long) =
            (i32::from_le_bytes(*middle), u64::from_le_bytes(*last.first_chunk()?));
        match first {
            b'F' => Some(Self::Failed { errno: number }),
            b'S' => Some(Self::Started { leader: Identity { pid: number, started_ticks: long } }),
            b'E' => Some(Self::Exited { status: number }),
            b'K' => Some(Self::Signalled { signal: number }),
            b'A' => Some(Self::Alone),
            b'D' => Some(Self::Done { killed: long }),
            _ => None,
        }
    }
}

/// What to start: `<socket> <program> <name> <arguments …>`.
struct Orders {
    socket: RawFd,
    program: OsString,
    name: OsString,
    arguments: Vec<OsString>,
}

impl Orders {
    fn read(mut arguments: impl Iterator<Item = OsString>) -> Option<Self> {
        Some(Self {
            socket: arguments.next()?.to_str()?.parse().ok()?,
            program: arguments.next()?,
            name: arguments.next()?,
            arguments: arguments.collect(),
        })
    }
}

/// The life of a warden; `arguments` are those behind [`WORD`].
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(orders) = Orders::read(arguments) else { return ExitCode::from(USAGE) };
    let Ok(socket) = socket(orders.socket) else { return ExitCode::from(USAGE) };
    match Warden::start(socket, orders) {
        Ok(warden) => match warden.watch() {
            Ok(()) => ExitCode::SUCCESS,
            // The agent sees the socket end without a last report.
            Err(_told_by_silence) => ExitCode::FAILURE,
        },
        Err(_told_by_report) => ExitCode::FAILURE,
    }
}

/// The socket that the agent left open for this process; refused if there is none of that number.
#[allow(unsafe_code, reason = "a descriptor that was inherited by number has no owner yet")]
fn socket(number: RawFd) -> io::Result<UnixStream> {
    // SAFETY: the descriptor is only borrowed to ask whether it is open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    // SAFETY: it is open, and nothing else in this process, which has just begun, knows it.
    Ok(UnixStream::from(unsafe { OwnedFd::from_raw_fd(number) }))
}

struct Warden {
    socket: UnixStream,
    deaths: SignalFd,
    leader: Pid,
    leader_has_ended: bool,
    /// Processes beside the leader that were ended by SIGKILL.
    killed: u64,
}

impl Warden {
    fn start(mut socket: UnixStream, orders: Orders) -> io::Result<Self> {
        match Self::launch(orders) {
            Ok((deaths, leader)) => {
                let pid = leader.as_raw();
                let started_ticks =
                    processes::find(pid).map_or(0, |process| process.identity.started_ticks);
                let report = Report::Started { leader: Identity { pid, started_ticks } };
                // An agent that is gone is noticed below.
                let _unheard = socket.write_all(&report.encode());
                Ok(Self { socket, deaths, leader, leader_has_ended: false, killed: 0 })
            }
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(libc::EINVAL);
                let _unheard = socket.write_all(&Report::Failed { errno }.encode());
                Err(error)
            }
        }
    }

    fn launch(orders: Orders) -> io::Result<(SignalFd, Pid)> {
        set_child_subreaper(true)?;
        SigSet::all().thread_block()?;
        let mut child_ended = SigSet::empty();
        child_ended.add(Signal::SIGCHLD);
        let deaths =
            SignalFd::with_flags(&child_ended, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let mut command = std::process::Command::new(orders.program);
        command.arg0(orders.name).args(orders.arguments).current_dir("/");
        prepare(&mut command);
        let child = command.spawn()?;
        // The command's pipes end with the command.
        let nothing = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
        dup2_stdin(&nothing)?;
        dup2_stdout(&nothing)?;
        dup2_stderr(&nothing)?;
        let leader = i32::try_from(child.id()).map_err(|_| io::Error::from(Errno::ERANGE))?;
        Ok((deaths, Pid::from_raw(leader)))
    }

    /// Until the agent wants the end, then until it has come.
    fn watch(mut self) -> io::Result<()> {
        let mut is_alone = self.reap()?;
        let mut told_alone = false;
        loop {
            if is_alone && !told_alone {
                self.tell(Report::Alone);
                told_alone = true;
            }
            let (ordered, died) = ready(&self.socket, &self.deaths, None)?;
            if ordered && self.is_end()? {
                break;
            }
            if died {
                self.drain_deaths();
                is_alone = self.reap()?;
            }
        }
        while !self.reap()? {
            for identity in processes::descendants(&processes::all(), own_pid()) {
                processes::end(identity);
            }
            ready(&self.socket, &self.deaths, Some(KILL_INTERVAL))?;
            self.drain_deaths();
        }
        self.tell(Report::Done { killed: self.killed });
        Ok(())
    }

    /// Takes the dead; says whether nobody is left.
    fn reap(&mut self) -> io::Result<bool> {
        loop {
            match next_dead() {
                Ok(None) => return Ok(false),
                Err(Errno::ECHILD) => return Ok(true),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
                Ok(Some((pid, report))) if pid == self.leader && !self.leader_has_ended => {
                    self.leader_has_ended = true;
                    self.tell(report);
                }
                Ok(Some((_, Report::Signalled { signal: libc::SIGKILL }))) => self.killed += 1,
                Ok(Some(_)) => {}
            }
        }
    }

    /// Reads what the agent wants; says whether it wants the end.
    fn is_end(&mut self) -> io::Result<bool> {
        let mut orders = [0; 16];
        match self.socket.read(&mut orders) {
            Ok(0) => Ok(true),
            Ok(length) => {
                // Not reaped, so its number is nobody else's.
                let wanted = orders.iter().take(length).any(|order| *order == TERMINATE);
                if wanted && !self.leader_has_ended {
                    let _gone = killpg(self.leader, Signal::SIGTERM);
                    // A stopped process takes no SIGTERM.
                    let _gone = killpg(self.leader, Signal::SIGCONT);
                }
                Ok(false)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            // An agent that died with reports unread.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn tell(&mut self, report: Report) {
        // An agent that is gone is noticed when its orders end.
        let _unheard = self.socket.write_all(&report.encode());
    }

    fn drain_deaths(&self) {
        while let Ok(Some(_)) = self.deaths.read_signal() {}
    }
}

/// What the child does to itself between fork and exec.
#[allow(unsafe_code, reason = "there is no safe interface to what happens between fork and exec")]
fn prepare(command: &mut std::process::Command) {
    let warden = std::process::id();
    // SAFETY: the closure runs in the forked child and only makes system calls that are async-signal-safe; it allocates
    // nothing and takes no lock.
    unsafe {
        command.pre_exec(move || {
            if libc::setsid() == -1 {
                return Err(io::Error::last_os_error());
            }
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == -1 {
                return Err(io::Error::last_os_error());
            }
            // The warden may have been killed before the line above.
            if libc::getppid().cast_unsigned() != warden {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            libc::umask(UMASK);
            // The warden's mask is the warden's; std leaves it to the child.
            let mut none = std::mem::zeroed::<libc::sigset_t>();
            libc::sigemptyset(&raw mut none);
            if libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()) == -1 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
}

/// Reaps one child that has ended, if there is one. Not nix's `waitpid`: it fails for real-time signals.
#[allow(unsafe_code, reason = "nix's waitpid knows no real-time signals")]
fn next_dead() -> Result<Option<(Pid, Report)>, Errno> {
    let mut status = 0;
    // SAFETY: the pointer is to a live integer.
    let pid = Errno::result(unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) })?;
    if pid == 0 {
        return Ok(None);
    }
    let report = if libc::WIFSIGNALED(status) {
        Report::Signalled { signal: libc::WTERMSIG(status) }
    } else {
        Report::Exited { status: libc::WEXITSTATUS(status) }
    };
    Ok(Some((Pid::from_raw(pid), report)))
}

fn own_pid() -> i32 {
    nix::unistd::getpid().as_raw()
}

/// Waits until one of them can be read, or the limit has passed.
#[allow(unsafe_code, reason = "poll has no safe interface among the crate's dependencies")]
fn ready(
    socket: &impl AsFd,
    deaths: &impl AsFd,
    limit: Option<Duration>,
) -> io::Result<(bool, bool)> {
    let entry =
        |fd: BorrowedFd<'_>| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let mut entries = [entry(socket.as_fd()), entry(deaths.as_fd())];
    let limit = limit.map_or(-1, |limit| i32::try_from(limit.as_millis()).unwrap_or(i32::MAX));
    // SAFETY: the array lives through the call and its length is what is said.
    let found = unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, limit) };
    if found == -1 && Errno::last() != Errno::EINTR {
        return Err(io::Error::last_os_error());
    }
    let [socket, deaths] = entries.map(|entry| found > 0 && entry.revents != 0);
    Ok((socket, deaths))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_travel_unchanged_and_nonsense_is_none() {
        let leader = Identity { pid: 77, started_ticks: u64::MAX - 1 };
        for report in [
            Report::Failed { errno: libc::ENOEXEC },
            Report::Started { leader },
            Report::Exited { status: 255 },
            Report::Signalled { signal: 9 },
            Report::Alone,
            Report::Done { killed: 3 },
        ] {
            assert_eq!(Report::decode(&report.encode()), Some(report));
        }
        assert_eq!(Report::decode(&[0; REPORT_BYTES]), None);
    }
}
