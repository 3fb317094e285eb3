//! Starting processes, and finding everything that belongs to one.
//!
//! A command gets a session of its own (`setsid`), the environment of the whitelist and nothing else, `/` as its folder, no
//! descriptor but the three standard ones, and dies with the agent: the kernel sends SIGKILL when the *thread* that forked
//! ends (`PR_SET_PDEATHSIG`), so all forks happen on one thread that lives as long as the agent.
//! What this cannot reach is the command's own children after a kill -9 of the agent. They carry the marker variable
//! [`MARKER`] in their environment, by which the next start of the agent finds and kills them. A child that also clears its
//! environment escapes both; only a cgroup would hold it, which is not built yet.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Stdio;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::runtime::Handle;

use crate::owner::{Owner, OwnerGone};

/// The environment variable that marks everything a command starts: `<spool id>.<grant seq>`.
pub(crate) const MARKER: &str = "PACT_EXEC";

/// Files that a command makes are readable for all and writable for its user only.
const UMASK: libc::mode_t = 0o022;

/// First descriptor that a command does not get.
const FIRST_CLOSED: libc::c_uint = 3;

/// A sweep finds what forked while the one before it looked; more rounds than that is a fork bomb, which the next
/// signal of the caller or the time limit meets again.
const SWEEP_ROUNDS: usize = 20;

/// Longest environment that is looked at for the marker.
const MAX_ENVIRONMENT_BYTES: u64 = 256 * 1024;

/// What to start.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    /// Absolute path.
    pub(crate) program: PathBuf,
    /// The judged arguments, the name included.
    pub(crate) argv: Vec<String>,
    /// The whole environment.
    pub(crate) environment: Vec<(String, String)>,
    /// Value of [`MARKER`].
    pub(crate) marker: String,
    /// Whether standard input is a pipe; else it is empty.
    pub(crate) stdin: bool,
}

/// A started command.
#[derive(Debug)]
pub(crate) struct Launched {
    /// The leader, not reaped yet.
    pub(crate) child: Child,
    /// Its session and process group, i.e. its process id.
    pub(crate) session: Session,
}

/// Everything that a command started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    leader: Pid,
    marker: String,
}

/// Why nothing was started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    /// The system refuses.
    #[error("{} cannot be started", program.display())]
    Spawn {
        program: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The process was gone before its number was known.
    #[error("{} ended before it began", program.display())]
    NoPid { program: PathBuf },
    /// The thread has ended.
    #[error("the thread that starts commands has ended")]
    Gone,
}

impl From<OwnerGone> for LaunchError {
    fn from(OwnerGone: OwnerGone) -> Self {
        Self::Gone
    }
}

/// The thread that forks; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Launcher {
    thread: Owner<Handle>,
}

impl Launcher {
    /// Starts the thread. Needs a runtime, in which the children are then awaited.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { thread: Owner::spawn("launcher", Handle::current())? })
    }

    /// Starts a command.
    pub(crate) async fn start(&self, launch: Launch) -> Result<Launched, LaunchError> {
        self.thread
            .call(move |runtime| {
                let _entered = runtime.enter();
                start(launch)
            })
            .await?
    }
}

fn start(launch: Launch) -> Result<Launched, LaunchError> {
    let Launch { program, argv, environment, marker, stdin } = launch;
    let mut command = std::process::Command::new(&program);
    let (name, arguments) =
        argv.split_first().map_or(("", [].as_slice()), |(n, a)| (n.as_str(), a));
    command.arg0(name).args(arguments).env_clear().envs(environment).env(MARKER, &marker);
    command.current_dir("/");
    prepare(&mut command);
    let mut command = Command::from(command);
    command
        .stdin(if stdin { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let child = command
        .spawn()
        .map_err(|source| LaunchError::Spawn { program: program.clone(), source })?;
    let leader = child.id().and_then(|pid| i32::try_from(pid).ok());
    let leader = Pid::from_raw(leader.ok_or(LaunchError::NoPid { program })?);
    Ok(Launched { child, session: Session { leader, marker } })
}

/// What the child does to itself between fork and exec.
#[allow(unsafe_code, reason = "there is no safe interface to what happens between fork and exec")]
fn prepare(command: &mut std::process::Command) {
    let agent = std::process::id();
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
            // The agent may have died before the line above.
            if libc::getppid().cast_unsigned() != agent {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            libc::umask(UMASK);
            // Marks instead of closing: the descriptor by which std tells of a failed exec is among them. Kernels before
            // 5.11 do not know the flag; all descriptors that this program opens are marked anyway.
            let flags = libc::CLOSE_RANGE_CLOEXEC;
            libc::syscall(libc::SYS_close_range, FIRST_CLOSED, libc::c_uint::MAX, flags);
            Ok(())
        });
    }
}

impl Session {
    /// What an earlier run of the agent had started, in this boot.
    pub(crate) fn left_behind(leader: i32, marker: String) -> Self {
        Self { leader: Pid::from_raw(leader), marker }
    }

    /// The leader's process id.
    pub(crate) fn leader(&self) -> i32 {
        self.leader.as_raw()
    }

    /// Sends a signal to the process group. Only while the leader is not reaped: its number is nobody else's then.
    pub(crate) fn signal(&self, signal: Signal) {
        match killpg(self.leader, signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => tracing::warn!(session = self.leader.as_raw(), %error, "cannot signal"),
        }
    }

    /// Whether its process group has members; its number may be another group's once all of them are reaped.
    pub(crate) fn has_group(&self) -> bool {
        killpg(self.leader, None).is_ok()
    }

    /// Kills whatever carries the marker, wherever it moved to. Blocks: looks at every process of the machine.
    /// Returns how many were killed.
    pub(crate) fn sweep(&self) -> usize {
        let mut killed = 0;
        for _round in 0..SWEEP_ROUNDS {
            let found = marked(&self.marker);
            if found.is_empty() {
                break;
            }
            for pid in found {
                // It may have ended by itself since.
                if kill(pid, Signal::SIGKILL).is_ok() {
                    killed += 1;
                }
            }
        }
        killed
    }
}

/// Running processes with this marker, zombies not counted.
fn marked(marker: &str) -> Vec<Pid> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let wanted = format!("{MARKER}={marker}");
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &i32| has_variable(*pid, wanted.as_bytes()))
        .map(Pid::from_raw)
        .collect()
}

/// Whether a process has this variable; processes that have ended, or are not ours to read, have not.
fn has_variable(pid: i32, wanted: &[u8]) -> bool {
    use std::io::Read as _;
    let mut environment = Vec::new();
    let read = std::fs::File::open(format!("/proc/{pid}/environ"))
        .and_then(|file| file.take(MAX_ENVIRONMENT_BYTES).read_to_end(&mut environment));
    read.is_ok() && environment.split(|byte| *byte == 0).any(|variable| variable == wanted)
}
