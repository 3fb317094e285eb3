//! The common errors, word for word, with their exit codes.

use crate::run::Home;
use crate::schema;
use crate::site::Site;

/// A port of this machine where nothing listens.
fn closed_port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn no_token_and_a_bad_one_exit_with_two() {
    let site = Site::start();
    let home = Home::bare().with("PACT_ENDPOINT", &site.endpoint);
    let run = home.run(&["log"]).exits(2);
    assert!(
        run.stderr.starts_with("error[PACT_UNAUTHENTICATED]: No auth token found\n"),
        "{}",
        run.stderr
    );
    Home::new(&site.endpoint).with("PACT_TOKEN", "bad").run(&["log"]).exits(2);
    home.run(&["--token", "good", "log"]).exits(0);

    home.file(".config/pact/token", "good\n");
    home.run(&["log"]).exits(0);
    home.file(".config/pact/cli.toml", "token_path = \"~/other\"\n");
    home.file("other", "bad\n");
    home.run(&["log"]).exits(2);
}

#[test]
fn a_token_file_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let site = Site::start();
    let home = Home::bare().with("PACT_ENDPOINT", &site.endpoint);
    home.file(".config/pact/token", "good\n");
    let path = home.path().join(".config/pact/token");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let run = home.run(&["log"]).exits(2);
    assert!(run.stderr.contains("has mode 0644; only 0600 is accepted"), "{}", run.stderr);
    assert!(run.stderr.contains("next: chmod 600 "), "{}", run.stderr);
}

#[test]
fn nothing_listening_exits_with_one_and_says_connection_refused() {
    let run = Home::new(&closed_port()).run(&["status"]).exits(1);
    assert!(
        run.stderr.starts_with("error[PACT_CONNECTION_REFUSED]: connection refused"),
        "{}",
        run.stderr
    );
    let json = Home::new(&closed_port()).run(&["status", "--output", "json"]).exits(1).stderr;
    let object: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(object["code"], "PACT_CONNECTION_REFUSED");
    assert_eq!(object["exit_code"], 1);
}

#[test]
fn no_vcluster_and_no_node_are_named() {
    let site = Site::start();
    let home = Home::new(&site.endpoint);
    for arguments in [&["queue"][..], &["emergency", "start", "-r", "x"], &["node", "assign", "n"]]
    {
        let run = home.run(arguments).exits(1);
        assert!(
            run.stderr.starts_with("error[PACT_NO_VCLUSTER]: No vCluster specified\n"),
            "{}",
            run.stderr
        );
    }
    // `assign` reacts to the explicit flag only.
    let run =
        Home::new(&site.endpoint).with("PACT_VCLUSTER", "v").run(&["node", "assign", "n"]).exits(1);
    assert!(run.stderr.contains("No vCluster specified"));
    let run = home.run(&["extend"]).exits(1);
    assert!(run.stderr.contains("candidates: node-042, node-043"), "{}", run.stderr);
}

#[test]
fn what_is_not_configured_or_not_built_says_so_here() {
    let run = Home::bare().run(&["login"]).exits(1);
    assert!(
        run.stderr.contains("PACT_UNIMPLEMENTED") && run.stderr.contains("PACT_TOKEN"),
        "{}",
        run.stderr
    );
    let run = Home::bare().run(&["node", "import"]).exits(1);
    assert!(
        run.stderr.contains("PACT_NOT_CONFIGURED") && run.stderr.contains("PACT_OPENCHAMI_SMD_URL"),
        "{}",
        run.stderr
    );
    let home = Home::bare().with("PACT_OPENCHAMI_SMD_URL", "http://smd");
    assert!(home.run(&["node", "import"]).exits(1).stderr.contains("PACT_UNIMPLEMENTED"));
}

#[test]
fn logout_deletes_the_cache_of_the_server() {
    let home = Home::bare().with("PACT_ENDPOINT", "https://j:9443");
    // printf 'https://j:9443' | sha256sum
    let cache = ".config/pact/auth/tokens-c029042d7fae3c00.json";
    home.file(cache, "{\"access_token\":\"x\"}");
    home.run(&["logout"]).exits(0);
    assert!(!home.path().join(cache).exists());
    home.run(&["logout"]).exits(0);
}

#[test]
fn configuration_errors_name_file_line_and_the_nearest_key() {
    let home = Home::bare();
    home.file(".config/pact/cli.toml", "timeout_seconds = 5\ntoken_pth = \"x\"\n");
    let run = home.run(&["log"]).exits(1);
    for part in ["PACT_INVALID_CONFIG", "cli.toml:2", "token_pth", "`token_path`"] {
        assert!(run.stderr.contains(part), "{part}: {}", run.stderr);
    }
    let run = Home::new("http://10.0.0.1:9443").run(&["log"]).exits(1);
    assert!(run.stderr.contains("plain http is accepted for this machine only"), "{}", run.stderr);
}

#[test]
fn tracing_goes_to_stderr_when_asked_for() {
    let site = Site::start();
    let quiet = Home::new(&site.endpoint).run(&["cluster"]).exits(0);
    assert_eq!(quiet.stderr, "");
    let loud = Home::new(&closed_port()).with("RUST_LOG", "debug").run(&["cluster"]).exits(1);
    assert!(loud.stderr.contains("DEBUG"), "{}", loud.stderr);
    assert!(!loud.stderr.contains("good"), "the token is in the log: {}", loud.stderr);
}

#[test]
fn a_wrong_command_line_is_an_error_like_all_others() {
    let home = Home::bare();
    let run = home.run(&["commit"]).exits(1);
    insta::assert_snapshot!(run.stderr, @r"
    error[PACT_INVALID_ARGUMENT]: the following required arguments were not provided: -m <MESSAGE>
      cause: the form is `pact commit -m <MESSAGE>`
      next: `pact help commit` explains it
    ");
    let run = home.run(&["-o", "json", "commit"]).exits(1);
    schema::check(&run.stderr);
    let object: serde_json::Value = serde_json::from_str(&run.stderr).unwrap();
    assert_eq!(object["code"], "PACT_INVALID_ARGUMENT");
    assert_eq!(object["next"], "`pact help commit` explains it");
    // Who only names a family gets its help, and the same error behind it.
    let run = home.run(&["node"]).exits(1);
    assert!(
        run.stderr.contains("  enroll ") && run.stderr.contains("\nerror[PACT_"),
        "{}",
        run.stderr
    );
    schema::check(&home.run(&["node", "--output=json"]).exits(1).stderr);
}

#[test]
fn with_json_everything_on_stderr_is_json() {
    let site = Site::start();
    let home = Home::new(&site.endpoint);
    // In the file alone, which is read later than the command line.
    home.file(".config/pact/cli.toml", "output_format = \"json\"\n");
    for arguments in [
        &["extend", "--node", "node-042"][..],
        &["rollback", "13"],
        &["commit", "-m", "x", "--node", "node-[1-2]"],
        &["logout"],
        &["log", "-n", "999"],
    ] {
        let run = home.run(arguments);
        assert!(!run.stderr.is_empty(), "{arguments:?}");
        run.stderr.lines().for_each(schema::check);
    }
    let run = home.run(&["commit", "-m", "x", "--node", "node-[1-2]"]).exits(7);
    let target: serde_json::Value =
        serde_json::from_str(run.stderr.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&target["level"], &target["message"]),
        (&"note".into(), &"target: node-[1-2]".into())
    );
    let envelope: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    for fact in ["code", "message", "cause", "next", "node"] {
        assert!(envelope["errors"][0][fact].is_string(), "{fact}: {envelope}");
    }
}

#[test]
fn what_is_wrong_with_a_token_is_named_and_nothing_of_it_is_said() {
    let site = Site::start();
    let large = "hunter2".repeat(3_000);
    // {"exp":1} in the middle.
    let expired = "hunter2.eyJleHAiOjF9.hunter2";
    for (token, what) in [
        ("Bearer hunter2", "begins with `Bearer`"),
        (large.as_str(), "too large: at most 16384 bytes"),
        (expired, "it has expired: it was valid until 1970-01-01T00:00:01.000Z"),
        ("hunter2 x", "not one word"),
    ] {
        let home = Home::new(&site.endpoint).with("PACT_TOKEN", token).with("RUST_LOG", "debug");
        let run = home.run(&["whoami"]).exits(2);
        assert!(run.stderr.contains(what) && !run.stderr.contains("hunter2"), "{}", run.stderr);
        let home = Home::bare().with("PACT_ENDPOINT", &site.endpoint);
        home.file(".config/pact/token", token);
        let run = home.run(&["whoami"]).exits(2);
        assert!(run.stderr.contains(what) && !run.stderr.contains("hunter2"), "{}", run.stderr);
    }
}

#[test]
fn nothing_secret_of_an_endpoint_is_said() {
    for endpoint in ["https://alice:hunter2@j:9443", "https://j:9443/?token=hunter2"] {
        let run = Home::new(endpoint).with("RUST_LOG", "debug").run(&["log"]).exits(1);
        assert!(run.stderr.contains("PACT_INVALID_CONFIG"), "{}", run.stderr);
        assert!(!run.stderr.contains("hunter2"), "{}", run.stderr);
        let home = Home::bare();
        home.file(".config/pact/cli.toml", &format!("endpoint = [\"{endpoint}\"]\n"));
        let run = home.run(&["-o", "json", "log"]).exits(1);
        assert!(!run.stderr.contains("hunter2"), "{}", run.stderr);
    }
    let run = Home::new("https://j:99999").run(&["log"]).exits(1);
    assert!(run.stderr.contains("its port is no number from 1 to 65535"), "{}", run.stderr);
}

#[test]
fn a_scope_that_a_command_does_not_react_to_is_an_error() {
    let site = Site::start();
    let home = Home::new(&site.endpoint);
    for arguments in
        [&["exec", "--vcluster", "v", "n", "--", "uname"][..], &["whoami", "--vcluster", "v"]]
    {
        let run = home.run(arguments).exits(1);
        assert!(run.stderr.contains("does not react to --vcluster"), "{}", run.stderr);
    }
    // A default is no such wish.
    Home::new(&site.endpoint).with("PACT_VCLUSTER", "v").run(&["whoami"]).exits(0);
}
