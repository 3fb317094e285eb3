//! Every example of the CLI reference and of the troubleshooting guide parses.

/// Transcribed from the reference, in its order; comments and shell redirections left out.
const EXAMPLES: &str = r#"
pact login
pact login --server https://j:9443
pact login --device-code
pact login --service-account
pact logout
pact status
pact status node-042
pact status --vcluster ml-training
pact log
pact log -n 50
pact log --scope node:node-042
pact log --scope vc:ml-training
pact log --scope global
pact diff
pact diff node-042
pact diff --committed node-042
pact cap
pact cap node-042
pact watch
pact watch --vcluster ml-training
pact commit -m "tuned hugepages for ML training"
pact commit -m "added NFS mount for datasets"
pact rollback 42
pact apply overlay.toml
pact apply /tmp/hugepages.toml
pact exec node-042 -- nvidia-smi
pact exec node-042 -- dmesg -T
pact exec node-042 -- cat /proc/meminfo
pact shell node-042
pact service status
pact service status chronyd
pact service restart nvidia-persistenced
pact service logs lattice-node-agent
pact diag node-042
pact diag node-042 --lines 500
pact diag node-042 --source dmesg
pact diag node-042 --service nvidia-persistenced
pact diag node-042 --grep "ECC"
pact diag --vcluster ml-training
pact diag --vcluster ml-training --grep "ECC"
pact emergency start -r "GPU node unresponsive, need unrestricted diagnostics"
pact emergency end
pact emergency end --force
pact approve list
pact approve accept ap-7f3a
pact approve deny ap-7f3a -m "change window not scheduled"
pact extend
pact extend 30
pact promote node-042
pact promote node-042 --dry-run
pact node enroll compute-001 --mac aa:bb:cc:dd:ee:01
pact node enroll compute-002 --mac aa:bb:cc:dd:ee:02 --bmc-serial SN12345
pact node import
pact node import --group Compute
pact node decommission compute-001
pact node decommission compute-001 --force
pact node assign compute-001 --vcluster ml-training
pact node unassign compute-001
pact node move compute-001 --to-vcluster dev-sandbox
pact node list
pact node list --vcluster ml-training
pact node list --state active
pact node list --unassigned
pact node inspect compute-001
pact drain node-042
pact undrain node-042
pact cordon node-042
pact uncordon node-042
pact reboot node-042
pact reimage node-042
pact group list
pact group list --output json
pact group show ml-training
pact group set-policy ml-training --file policy.toml
pact blacklist list
pact blacklist list --vcluster ml-training
pact blacklist add "/var/cache/**"
pact blacklist add "/opt/scratch/**" --vcluster ml-training
pact blacklist remove "/var/cache/**"
pact jobs list
pact jobs list --node node-042
pact jobs list --vcluster ml-training
pact jobs cancel alloc-7f3a
pact jobs inspect alloc-7f3a
pact queue
pact queue --vcluster ml-training
pact cluster
pact audit
pact audit --source all
pact audit --source lattice
pact audit -n 50
pact accounting
pact accounting --vcluster ml-training
pact health
pact services list
pact services list --vcluster ml-training
pact services lookup my-inference-api
pact dag list
pact dag list --tenant ml-team
pact dag list --state running
pact dag list -n 5
pact dag inspect dag-7f3a
pact dag cancel dag-7f3a
pact budget tenant ml-team
pact budget tenant ml-team --days 30
pact budget user alice
pact budget user alice --days 30
pact backup create /path/to/backup.bin
pact backup verify /path/to/backup.bin
pact backup restore /path/to/backup.bin --confirm
pact nodes list
pact nodes list --state draining
pact nodes list --vcluster ml-training
pact nodes list -n 5
pact nodes inspect node-042
pact enroll status node-042
pact enroll node-042 --hardware-id smbios:4c4c4544-0051
pact emergency start -r "need to run diagnostics command XYZ"
pact exec node-042 -- your-command
pact commit -m "add audit-forwarder (re-submit after timeout)"
pact approve accept ap-XXXX
"#;

/// What the contracts add.
const ADDITIONS: &str = r#"
pact whoami
pact log show 42
pact log --at 40
pact diff node-042 --at 40 --exit-code
pact status node[001-128] -x node-013
pact exec -i -S --timeout 60 --raw --yes -x node-2 node-[1-9] -- systemctl restart chronyd
pact rollback head --node node-042
pact rollback head --node node-042 --key /etc/** --key sysctl/vm.swappiness
pact commit -m "x" --key sysctl/vm.swappiness
pact apply overlay.toml --dry-run --replace --on-conflict overwrite --canary 1 --batch 10% --no-wait
pact promote node-042 --on-conflict keep-local
pact commit -m "x" --ttl 900 --node node-042
pact commit -m "x" --ttl 3d --expect 3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f
pact diff --committed --at 42 node-042
pact blacklist add /x --vcluster ml-training
pact emergency end --commit -m "keep it"
pact emergency end --rollback
pact undrain node-042 --no-wait
pact drain @vc:ml-training --yes
pact node enroll n --mac aa:bb:cc:dd:ee:01 --hardware-id tpm:00ff
pact session play 42
pact blame sysctl/vm.swappiness --node node-042
pact policy explain exec node-042
pact help topics
pact help node list
pact completions zsh
pact man exec
pact man --dir /usr/share/man/man1
pact policy test site-rules
pact audit verify
pact audit prove 42
pact cluster add 4 10.0.0.4:9444
pact cluster add 4 journal-4.mgmt:9444
pact cluster remove 4
pact cluster ca status
pact cluster ca rotate
pact --output json --endpoint https://a:9443,https://b:9443 --vcluster v --tls-ca ca.crt log
pact status -o wide
pact -o json log
pact log --output json --endpoint https://a:9443 --token t --lattice-endpoint http://l:1
"#;

fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('"').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(ToOwned::to_owned));
        }
    }
    words
}

fn parse(line: &str) -> Result<clap::ArgMatches, clap::Error> {
    pact_cli::command(false).try_get_matches_from(words(line))
}

#[test]
fn every_example_parses_as_it_is_written() {
    for line in EXAMPLES.lines().chain(ADDITIONS.lines()).filter(|l| !l.is_empty()) {
        if let Err(error) = parse(line) {
            panic!("{line}\n{error}");
        }
    }
}

#[test]
fn what_the_reference_requires_is_required() {
    for line in [
        "pact",
        "pact nonsense",
        "pact commit",
        "pact rollback",
        "pact rollback 0",
        "pact rollback -1",
        "pact apply",
        "pact exec",
        "pact exec node-042",
        "pact exec node-042 --",
        "pact exec node-042 uname",
        "pact shell",
        "pact service restart",
        "pact diag node-042 --source kernel",
        "pact emergency start",
        "pact emergency end --commit",
        "pact approve accept",
        "pact approve deny ap-1",
        "pact extend 0",
        "pact promote",
        "pact node enroll compute-001",
        "pact node enroll compute-001 --mac nonsense",
        "pact node move compute-001",
        "pact node list --state draining",
        "pact node list --unassigned --vcluster x",
        "pact group set-policy ml-training",
        "pact log --scope everything",
        "pact log -n 0",
        "pact log -n 10001",
        "pact log -n 5 show 3",
        "pact audit --source x",
        "pact commit -m x --ttl 899",
        "pact commit -m x --ttl 11d",
        "pact commit -m x --expect 3f",
        "pact extend 1441",
        "pact login --device-code --service-account",
        "pact enroll",
        "pact --output xml log",
        "pact completions",
        "pact completions tcsh",
        "pact man exec --dir /tmp",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn defaults_are_those_of_the_reference() {
    fn deepest(matches: &clap::ArgMatches) -> &clap::ArgMatches {
        matches.subcommand().map_or(matches, |(_, below)| deepest(below))
    }
    for (line, id, value) in [
        ("pact log", "count", 20),
        ("pact audit", "count", 20),
        ("pact extend", "minutes", 15),
        ("pact diag n", "lines", 200),
    ] {
        let matches = parse(line).unwrap();
        assert_eq!(deepest(&matches).get_one::<u32>(id), Some(&value), "{line}");
    }
    let audit = parse("pact audit").unwrap();
    assert_eq!(deepest(&audit).get_one::<String>("source").unwrap(), "pact");
}

#[test]
fn a_global_option_means_the_same_on_both_sides_of_the_command() {
    for line in [
        "pact --vcluster v node list",
        "pact node --vcluster v list",
        "pact node list --vcluster v",
    ] {
        let matches = parse(line).unwrap();
        assert_eq!(matches.get_one::<String>("vcluster").unwrap(), "v", "{line}");
    }
}
