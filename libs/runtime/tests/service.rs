//! A whole service as a real process: health over a socket, signals, exit codes, printed errors.
//!
//! The process is this test binary again, running only `child`, which becomes a service when told to by its
//! environment.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::convert::Infallible;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStderr, Command, ExitCode, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pact_runtime::config::{Default, Key, KeyKind, Schema};
use pact_runtime::{CommonArgs, Context, OnFailure, Service, environment, exit_now, main_entry};

static SCHEMA: Schema = Schema {
    file_name: "never-there.toml",
    env_prefix: "PACT_DEMO",
    other_environment: &["PACT_DEMO_CHILD"],
    keys: &[
        Key::new(
            "demo.metrics_listen",
            KeyKind::Address,
            Default::Value("\"127.0.0.1:0\""),
            "Where metrics and health are served.",
        ),
        Key::new(
            "demo.behaviour",
            KeyKind::Enum(&["polite", "stubborn", "failing"]),
            Default::Value("\"polite\""),
            "What the only task does.",
        ),
    ],
};

static SERVICE: Service = Service {
    name: "pact-demo",
    version: "1.2.3",
    schema: &SCHEMA,
    metrics_listen: Some("demo.metrics_listen"),
    log_filter: "info",
    grace: Duration::from_secs(60),
    worker_threads: None,
};

#[derive(serde::Deserialize)]
struct Config {
    demo: Demo,
}

#[derive(serde::Deserialize)]
struct Demo {
    behaviour: String,
}

async fn build(config: Config, context: Context) -> Result<(), Infallible> {
    let bus = context.readiness.check("bus");
    bus.set_not_ready("disconnected");
    let mut reload = context.reload.clone();
    context.supervisor.spawn_owned("loop", async move |token| {
        bus.set_not_ready("disconnected");
        match config.demo.behaviour.as_str() {
            "failing" => return Err(std::io::Error::other("the loop broke")),
            "stubborn" => std::future::pending().await,
            _ => {}
        }
        reload.requested().await;
        bus.set_ready();
        token.cancelled().await;
        tracing::info!("last words");
        Ok(())
    });
    context.supervisor.spawn("idle", OnFailure::Shutdown, async |token| {
        token.cancelled().await;
        Ok::<(), Infallible>(())
    });
    Ok(())
}

/// Not a test: the service that the tests below start.
#[test]
#[ignore = "run by the other tests of this file"]
fn child() {
    let assignments = environment().find(|(name, _)| name == "PACT_DEMO_CHILD");
    let Some((_, assignments)) = assignments else {
        return;
    };
    let args = CommonArgs {
        print_config: assignments.contains("print"),
        set: assignments
            .split_whitespace()
            .filter(|word| word.contains('='))
            .map(str::to_owned)
            .collect(),
        ..CommonArgs::default()
    };
    let code = main_entry(&SERVICE, &args, |loaded| loaded.parse::<Config>(), build);
    let known = [0, 1, 64];
    let same = |known: &&u8| format!("{code:?}") == format!("{:?}", ExitCode::from(**known));
    exit_now(known.iter().find(same).map_or(99, |code| i32::from(*code)));
}

struct Demonstration {
    process: Child,
    stderr: BufReader<ChildStderr>,
}

impl Demonstration {
    fn start(assignments: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--ignored", "--nocapture"])
            .env("PACT_DEMO_CHILD", assignments)
            .env_remove("RUST_LOG")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        Self { process, stderr }
    }

    /// Reads the log up to the line that holds this.
    fn wait_for_log(&mut self, text: &str) -> String {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert_ne!(self.stderr.read_line(&mut line).unwrap(), 0, "ended before: {text}");
        }
        line
    }

    /// Waits for the port and then for `build` to be done.
    fn address(&mut self) -> SocketAddr {
        let line = self.wait_for_log("metrics and health");
        let address = line.trim().rsplit_once("address=").unwrap().1;
        self.wait_for_log(": ready check=start");
        address.parse().unwrap()
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.process.id()).unwrap();
        kill(Pid::from_raw(id), signal).unwrap();
    }

    /// Exit code, stdout, and the rest of stderr.
    fn end(mut self) -> (i32, String, String) {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        let mut output = self.process.stdout.take().unwrap();
        self.stderr.read_to_string(&mut stderr).unwrap();
        output.read_to_string(&mut stdout).unwrap();
        let status = self.process.wait().unwrap();
        (status.code().unwrap_or(-1), stdout, stderr)
    }
}

impl Drop for Demonstration {
    fn drop(&mut self) {
        let _gone = self.process.kill();
    }
}

/// Status and body.
fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1.to_owned();
    (status, body)
}

#[test]
fn health_readiness_reload_and_a_clean_end() {
    let mut demo = Demonstration::start("demo.behaviour=polite");
    let address = demo.address();
    assert_eq!(get(address, "/healthz"), (200, "ok\n".to_owned()));

    let (status, body) = get(address, "/readyz");
    let report: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status, 503);
    assert_eq!(
        report,
        serde_json::json!({
            "ready": false,
            "draining": false,
            "checks": [
                {"name": "bus", "ready": false, "reason": "disconnected"},
                {"name": "start", "ready": true, "reason": null},
            ],
        })
    );

    demo.signal(Signal::SIGHUP);
    demo.wait_for_log(": ready check=bus");
    let (status, body) = get(address, "/readyz");
    assert!(status == 200 && body.contains("\"ready\":true"), "{body}");

    let (_, metrics) = get(address, "/metrics");
    assert!(metrics.contains("pact_build_info{service=\"pact-demo\",version=\"1.2.3\"} 1"));
    assert!(metrics.contains("\nprocess_start_time_seconds 1"), "{metrics}");
    assert!(metrics.contains("\nprocess_resident_memory_bytes "));

    demo.signal(Signal::SIGTERM);
    let (code, _, stderr) = demo.end();
    assert_eq!(code, 0);
    assert!(stderr.contains("last words") && stderr.contains("stopped signal=SIGTERM"), "{stderr}");
}

#[test]
fn a_draining_service_is_not_ready_and_a_second_signal_ends_it_at_once() {
    let mut demo = Demonstration::start("demo.behaviour=stubborn");
    let address = demo.address();
    demo.signal(Signal::SIGTERM);
    demo.wait_for_log("draining");
    let (status, body) = get(address, "/readyz");
    assert!(status == 503 && body.contains("\"draining\":true"), "{body}");
    demo.signal(Signal::SIGINT);
    assert_eq!(demo.end().0, 130);
}

#[test]
fn a_failed_task_ends_the_service_with_its_name_and_cause() {
    let (code, _, stderr) = Demonstration::start("demo.behaviour=failing").end();
    assert_eq!(code, 1);
    let printed =
        "error: task `loop` failed\n  caused by: returned an error\n  caused by: the loop broke\n";
    assert!(stderr.ends_with(printed), "{stderr}");
}

#[test]
fn a_taken_port_is_named_with_the_key_that_sets_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let set = format!("demo.metrics_listen={address}");
    let (code, _, stderr) = Demonstration::start(&set).end();
    assert_eq!(code, 1);
    assert!(stderr.contains(&format!("error: the metrics address {address} is taken")), "{stderr}");
    assert!(stderr.contains("set `demo.metrics_listen` to another address"), "{stderr}");
}

#[test]
fn a_refused_configuration_exits_64_and_starts_nothing() {
    let (code, _, stderr) = Demonstration::start("demo.behavior=polite").end();
    assert_eq!(code, 64);
    assert_eq!(
        stderr,
        "error: flag --set: unknown key `demo.behavior`; did you mean `demo.behaviour`?\n"
    );
}

#[test]
fn print_config_prints_and_exits() {
    let (code, stdout, _) = Demonstration::start("print demo.behaviour=failing").end();
    assert_eq!(code, 0);
    assert!(stdout.contains("demo.metrics_listen = \"127.0.0.1:0\"   # default\n"));
    assert!(stdout.contains("demo.behaviour = \"failing\"   # flag --set\n"));
}
