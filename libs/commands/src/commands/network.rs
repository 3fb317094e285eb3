//! Links, addresses, routes, sockets, reachability.
//!
//! `ip` matches its keywords by prefix, so that a word which is no keyword here could be one there.
//! Its changing verbs therefore take only words of the tables below, and a bare interface name only
//! with a digit in it, as no keyword has.

use crate::grammar::{Command, Operands, Rule, Spelling, Verb, changes, reads};
use crate::kinds::{
    DESTINATION, HOST, IP_WORD, Kind, NAME, NUMBER, NUMBERED_INTERFACE, PREFIX, SECONDS,
    SOCKET_FILTER, WORD,
};

/// Words after a verb of `ip` at most, and of a socket filter.
const MAX_WORDS: usize = 32;
const SWITCH: Option<Kind> = Some(Kind::OneOf(&["on", "off"]));
const NAMED: Option<Kind> = Some(NAME);
const COUNTED: Option<Kind> = Some(NUMBER);
const WORDED: Option<Kind> = Some(WORD);

pub(super) fn all() -> Vec<Command> {
    vec![ip(), ss(), ping(), traceroute(), ethtool()]
}

fn ip() -> Command {
    Command::new("ip")
        .spelled(Spelling::WordsFirst)
        .flags(&[
            "-4",
            "-6",
            "-0",
            "-br -brief",
            "-s -stats -statistics",
            "-d -details",
            "-j -json",
            "-p -pretty",
            "-o -oneline",
        ])
        .flags(&[
            "-h -human -human-readable",
            "-iec",
            "-t -timestamp",
            "-ts -tshort",
            "-r -resolve",
            "-N -Numeric",
            "-V -Version",
        ])
        .attached("-c -color", Kind::OneOf(&["always", "auto", "never"]))
        .value("-f -family", Kind::OneOf(&["inet", "inet6", "link", "bridge", "mpls"]))
        .refused("-b -batch", "reads commands from a file")
        .refused("-force", "serves batches only")
        .refused("-n -netns", "works in another network namespace")
        .refused("-a -all", "works in all network namespaces")
        .refused("-rc -rcvbuf", "changes buffer sizes")
        .operands(Operands::Verbs { or_nothing: false, verbs: ip_objects() })
}

fn ip_objects() -> Vec<Verb> {
    let object = |names, verbs| Verb {
        names,
        changes_state: false,
        operands: Operands::Verbs { verbs, or_nothing: true },
    };
    let show = |names| reads(names, IP_WORD, 0, MAX_WORDS);
    const SHOW: &[&str] = &["show", "list", "ls", "lst", "sh", "s"];
    vec![
        object(
            &["address", "addr", "a"],
            vec![
                show(SHOW),
                changes(
                    &["add", "replace", "change", "chg", "del", "delete", "flush"],
                    words(ADDRESS, PREFIX, 1),
                ),
            ],
        ),
        object(
            &["link", "l"],
            vec![
                // `ip link s` is `set`.
                show(&["show", "list", "ls", "lst"]),
                changes(&["set"], words(LINK_SET, NUMBERED_INTERFACE, 1)),
                changes(&["add"], words(LINK_ADD, NUMBERED_INTERFACE, 1)),
                changes(&["del", "delete"], words(LINK_DELETE, NUMBERED_INTERFACE, 1)),
            ],
        ),
        object(
            &["route", "ro", "r"],
            vec![
                show(SHOW),
                reads(&["get"], IP_WORD, 1, MAX_WORDS),
                changes(
                    &["add", "replace", "change", "chg", "append", "del", "delete", "flush"],
                    words(ROUTE, DESTINATION, 1),
                ),
            ],
        ),
        object(
            &["neighbour", "neighbor", "neigh", "n"],
            vec![
                show(SHOW),
                reads(&["get"], IP_WORD, 1, MAX_WORDS),
                changes(
                    &["add", "replace", "change", "chg", "del", "delete", "flush"],
                    words(NEIGHBOUR, PREFIX, 1),
                ),
            ],
        ),
        object(
            &["rule", "ru"],
            vec![show(SHOW), changes(&["add", "del", "delete"], words(RULE, DESTINATION, 0))],
        ),
        object(&["maddress", "maddr"], vec![show(&["show", "list"])]),
        object(&["nexthop"], vec![show(&["show", "list"])]),
        object(&["netns"], vec![reads(&["list", "show", "ls"], IP_WORD, 0, 0)]),
    ]
}

fn words(words: &'static [(&'static str, Option<Kind>)], bare: Kind, max_bare: usize) -> Operands {
    Operands::Keywords { words, bare, max_bare }
}

const ADDRESS: &[(&str, Option<Kind>)] = &[
    ("dev", NAMED),
    ("scope", WORDED),
    ("label", NAMED),
    ("broadcast", Some(PREFIX)),
    ("brd", Some(PREFIX)),
    ("local", Some(PREFIX)),
    ("peer", Some(PREFIX)),
    ("valid_lft", WORDED),
    ("preferred_lft", WORDED),
    ("metric", COUNTED),
    ("to", Some(PREFIX)),
    ("noprefixroute", None),
    ("nodad", None),
    ("home", None),
    ("mngtmpaddr", None),
    ("permanent", None),
    ("dynamic", None),
    ("primary", None),
    ("secondary", None),
    ("temporary", None),
    ("deprecated", None),
];
const LINK_SET: &[(&str, Option<Kind>)] = &[
    ("dev", NAMED),
    ("up", None),
    ("down", None),
    ("mtu", COUNTED),
    ("txqueuelen", COUNTED),
    ("qlen", COUNTED),
    ("promisc", SWITCH),
    ("multicast", SWITCH),
    ("allmulticast", SWITCH),
    ("arp", SWITCH),
    ("dynamic", SWITCH),
    ("name", NAMED),
    ("address", NAMED),
    ("master", NAMED),
    ("nomaster", None),
    ("group", NAMED),
    ("alias", WORDED),
];
const LINK_ADD: &[(&str, Option<Kind>)] = &[
    ("link", NAMED),
    ("name", NAMED),
    ("dev", NAMED),
    ("address", NAMED),
    ("mtu", COUNTED),
    ("txqueuelen", COUNTED),
    ("type", Some(Kind::OneOf(&["vlan", "dummy", "bridge", "bond"]))),
    ("id", COUNTED),
    ("mode", NAMED),
    ("miimon", COUNTED),
];
const LINK_DELETE: &[(&str, Option<Kind>)] =
    &[("dev", NAMED), ("type", Some(Kind::OneOf(&["vlan", "dummy", "bridge", "bond"])))];
const ROUTE: &[(&str, Option<Kind>)] = &[
    ("via", Some(PREFIX)),
    ("dev", NAMED),
    ("src", Some(PREFIX)),
    ("metric", COUNTED),
    ("table", NAMED),
    ("proto", NAMED),
    ("scope", NAMED),
    ("mtu", COUNTED),
    ("advmss", COUNTED),
    ("window", COUNTED),
    ("initcwnd", COUNTED),
    ("initrwnd", COUNTED),
    ("hoplimit", COUNTED),
    ("weight", COUNTED),
    ("nhid", COUNTED),
    ("root", Some(DESTINATION)),
    ("match", Some(DESTINATION)),
    ("exact", Some(DESTINATION)),
    ("type", NAMED),
    ("nexthop", None),
    ("onlink", None),
    ("unicast", None),
    ("local", None),
    ("broadcast", None),
    ("multicast", None),
    ("throw", None),
    ("unreachable", None),
    ("prohibit", None),
    ("blackhole", None),
    ("cache", None),
];
const NEIGHBOUR: &[(&str, Option<Kind>)] = &[
    ("dev", NAMED),
    ("lladdr", NAMED),
    ("nud", NAMED),
    ("proxy", Some(PREFIX)),
    ("to", Some(PREFIX)),
    ("router", None),
    ("permanent", None),
    ("noarp", None),
    ("stale", None),
    ("reachable", None),
    ("unused", None),
];
const RULE: &[(&str, Option<Kind>)] = &[
    ("from", Some(ANYWHERE)),
    ("to", Some(ANYWHERE)),
    ("not", None),
    ("iif", NAMED),
    ("oif", NAMED),
    ("fwmark", NAMED),
    ("tos", NAMED),
    ("priority", COUNTED),
    ("pref", COUNTED),
    ("prio", COUNTED),
    ("table", NAMED),
    ("lookup", NAMED),
    ("uidrange", NAMED),
    ("ipproto", NAMED),
    ("sport", NAMED),
    ("dport", NAMED),
    ("blackhole", None),
    ("unreachable", None),
    ("prohibit", None),
];
const ANYWHERE: Kind = Kind::Shape {
    says: "a prefix, default or all",
    fits: |text| text == "all" || DESTINATION.fits(text),
};

fn ss() -> Command {
    Command::new("ss")
        .flags(&[
            "-h --help",
            "-V --version",
            "-n --numeric",
            "-r --resolve",
            "-a --all",
            "-l --listening",
            "-o --options",
        ])
        .flags(&[
            "-e --extended",
            "-m --memory",
            "-p --processes",
            "-T --threads",
            "-i --info",
            "--tipcinfo",
            "-s --summary",
        ])
        .flags(&[
            "--tos",
            "--cgroup",
            "-b --bpf",
            "-E --events",
            "-Z --context",
            "-z --contexts",
            "-4 --ipv4",
            "-6 --ipv6",
        ])
        .flags(&[
            "-0 --packet",
            "-t --tcp",
            "-M --mptcp",
            "-S --sctp",
            "-u --udp",
            "-d --dccp",
            "-w --raw",
            "-x --unix",
        ])
        .flags(&["--tipc", "--vsock", "--xdp", "-H --no-header", "-O --oneline", "--inet-sockopt"])
        .value(
            "-f --family",
            Kind::OneOf(&["unix", "inet", "inet6", "link", "netlink", "vsock", "tipc", "xdp"]),
        )
        .value("-A --query --socket", WORD)
        .refused("-K --kill", "closes connections of others")
        .refused("-D --diag", "writes a file")
        .refused("-F --filter", "reads a file")
        .refused("-N --net", "works in another network namespace")
        .each(SOCKET_FILTER, 0, MAX_WORDS)
}

fn ping() -> Command {
    const FLOODS: &str = "loads the network";
    Command::new("ping")
        .flags(&["-4", "-6", "-n", "-q", "-D", "-O", "-v", "-r", "-U", "-V", "-h"])
        .value("-c", Kind::Number { min: 1, max: 1000 })
        .value("-i", SECONDS)
        .value("-W", SECONDS)
        .value("-w", Kind::Number { min: 1, max: 3600 })
        .value("-s", Kind::Number { min: 0, max: 65_507 })
        .value("-t", Kind::Number { min: 1, max: 255 })
        .value("-I", HOST)
        .value("-M", Kind::OneOf(&["do", "want", "dont", "probe"]))
        .value("-Q", NUMBER)
        .refused("-f", FLOODS)
        .refused("-A", FLOODS)
        .refused("-l", FLOODS)
        .refused("-b", FLOODS)
        .each(HOST, 1, 1)
        .rule(Rule::Needs(&["-c"], "a count of at most 1000, or it would not end"))
}

fn traceroute() -> Command {
    const ELSEWHERE: &str = "sends packets by way of others";
    Command::new("traceroute")
        .flags(&[
            "-4",
            "-6",
            "-n",
            "-I",
            "-T",
            "-U",
            "-F",
            "-A",
            "-e",
            "--mtu",
            "--help",
            "-V --version",
        ])
        .value("-f", Kind::Number { min: 1, max: 255 })
        .value("-m", Kind::Number { min: 1, max: 255 })
        .value("-q", Kind::Number { min: 1, max: 10 })
        .value("-N", Kind::Number { min: 1, max: 64 })
        .value("-w", SECONDS)
        .value("-p", Kind::Number { min: 1, max: 65_535 })
        .value("-i", NAME)
        .value("-s", HOST)
        .refused("-g", ELSEWHERE)
        .refused("-r", ELSEWHERE)
        .operands(Operands::Lead {
            first: HOST,
            unless: &[],
            rest: Kind::Number { min: 28, max: 65_000 },
            max: 1,
        })
}

fn ethtool() -> Command {
    const SETS: &str = "changes the interface";
    Command::new("ethtool")
        .spelled(Spelling::Words)
        .flags(&[
            "-h --help",
            "--version",
            "--json",
            "-I --include-statistics",
            "-i --driver",
            "-k --show-features --show-offload",
        ])
        .flags(&[
            "-S --statistics",
            "-g --show-ring",
            "-a --show-pause",
            "-c --show-coalesce",
            "-l --show-channels",
        ])
        .flags(&[
            "-m --dump-module-eeprom --module-info",
            "-T --show-time-stamping",
            "-P --show-permaddr",
            "--show-fec",
            "--show-eee",
        ])
        .flags(&[
            "--show-priv-flags",
            "--phy-statistics",
            "--show-module",
            "-x --show-rxfh --show-rxfh-indir",
            "-n -u --show-nfc --show-ntuple",
        ])
        .refused("-s --change", SETS)
        .refused("-K --features --offload", SETS)
        .refused("-G --set-ring", SETS)
        .refused("-A --pause", SETS)
        .refused("-C --coalesce", SETS)
        .refused("-L --set-channels", SETS)
        .refused("-E --change-eeprom", "writes the device's memory")
        .refused("-f --flash", "writes the device's memory")
        .refused("-e --eeprom-dump", "reads the device's memory, which some do not survive")
        .refused("-d --register-dump", "reads the device's registers, which some do not survive")
        .refused("-p --identify", SETS)
        .refused("-t --test", "takes the interface out of service")
        .refused("-r --negotiate", SETS)
        .refused("--reset", SETS)
        .each(NAME, 1, 1)
}
