//! Starting commands, each under a warden of its own (`crate::warden`).
//!
//! A command gets a session of its own (`setsid`), the environment of the whitelist and nothing else, `/` as its folder, no
//! descriptor but the three standard ones, and dies with its warden. The warden is this same program: it is started with the
//! command's environment and pipes, and with one socket beside them, whose other end makes the [`Ward`].

use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use pact_commands::WORKING_DIRECTORY;
use pact_runtime::Clock;
use pact_schemas::Argv;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::runtime::Handle;

use super::session::{MARKER, Session};
use super::ward::Ward;
use crate::owner::{Owner, OwnerGone};
use crate::processes::{self, Identity};
use crate::warden;

/// This program as it runs, also when its file was replaced.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// First descriptor that a warden does not get, but for its socket.
const FIRST_CLOSED: libc::c_uint = 3;

/// A program on a file system that does not answer is never started; its warden ends by itself when it can.
const START_LIMIT: Duration = Duration::from_secs(10);

/// What to start.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    /// Absolute path.
    pub(crate) program: PathBuf,
    /// The judged arguments, the name included.
    pub(crate) argv: Argv,
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
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) stdout: Option<ChildStdout>,
    pub(crate) stderr: Option<ChildStderr>,
    /// What watches over it.
    pub(crate) ward: Ward,
    /// What it is found by without its warden.
    pub(crate) session: Session,
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
    /// The warden cannot be started.
    #[error("the process that watches over the command cannot be started")]
    Warden(#[source] io::Error),
    /// The warden has ended without a word.
    #[error("the process that watches over the command has ended")]
    WardenGone,
    /// The system has not answered.
    #[error("{} was not started within {} s", program.display(), START_LIMIT.as_secs())]
    Late { program: PathBuf },
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
    clock: Clock,
}

impl Launcher {
    /// Starts the thread. Needs a runtime, in which the children are then awaited.
    pub(crate) fn new(clock: Clock) -> io::Result<Self> {
        Ok(Self { thread: Owner::spawn("launcher", Handle::current())?, clock })
    }

    /// Starts a command and returns when it runs.
    pub(crate) async fn start(&self, launch: Launch) -> Result<Launched, LaunchError> {
        let (program, marker) = (launch.program.clone(), launch.marker.clone());
        let spawned = self.thread.call(move |runtime| {
            let _entered = runtime.enter();
            spawn(launch)
        });
        let (mut child, socket) = spawned.await?.map_err(LaunchError::Warden)?;
        let warden = identity(&child);
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let mut ward = Ward::new(child, socket).map_err(LaunchError::Warden)?;
        // Whatever comes of it: without its socket the warden ends, and the command with it.
        match self.clock.timeout(START_LIMIT, ward.started()).await {
            Ok(Some(Ok(leader))) => {
                let session = Session { leader: Some(leader), warden, marker };
                Ok(Launched { stdin, stdout, stderr, ward, session })
            }
            Ok(Some(Err(source))) => Err(LaunchError::Spawn { program, source }),
            Ok(None) => Err(LaunchError::WardenGone),
            Err(_late) => Err(LaunchError::Late { program }),
        }
    }
}

fn spawn(launch: Launch) -> io::Result<(Child, UnixStream)> {
    let Launch { program, argv, environment, marker, stdin } = launch;
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let mut command = std::process::Command::new(THIS_PROGRAM);
    command.arg0("pact-agent").arg(warden::WORD).arg(theirs.as_raw_fd().to_string());
    command.arg(program).args(argv.words());
    command.env_clear().envs(environment).env(MARKER, &marker).current_dir(WORKING_DIRECTORY);
    prepare(&mut command, &theirs);
    let mut command = Command::from(command);
    let child = command
        .stdin(if stdin { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Not killed when dropped: the end of its socket is what makes it end, and what is below it.
        .spawn()?;
    Ok((child, ours))
}

/// What the warden does to itself between fork and exec.
#[allow(unsafe_code, reason = "there is no safe interface to what happens between fork and exec")]
fn prepare(command: &mut std::process::Command, socket: &UnixStream) {
    let socket = socket.as_raw_fd();
    // SAFETY: the closure runs in the forked child and only makes system calls that are async-signal-safe; it allocates
    // nothing and takes no lock. The socket is open in the child as long as it is in the parent, which waits for the exec.
    unsafe {
        command.pre_exec(move || {
            // No terminal's signals, and none that are meant for the agent's group.
            if libc::setsid() == -1 {
                return Err(io::Error::last_os_error());
            }
            // Marks instead of closing: the descriptor by which std tells of a failed exec is among them. Kernels before
            // 5.11 do not know the flag; all descriptors that this program opens are marked anyway.
            let flags = libc::CLOSE_RANGE_CLOEXEC;
            libc::syscall(libc::SYS_close_range, FIRST_CLOSED, libc::c_uint::MAX, flags);
            if libc::fcntl(socket, libc::F_SETFD, 0) == -1 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
}

/// Nobody has reaped it yet, so its number is its own.
fn identity(child: &Child) -> Option<Identity> {
    let pid = i32::try_from(child.id()?).ok()?;
    processes::find(pid).map(|process| process.identity)
}
