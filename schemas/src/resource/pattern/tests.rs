use proptest::prelude::*;

use super::*;

fn matches(pattern: &str, key: &str) -> bool {
    KeyPattern::new(pattern).unwrap().matches(&key.parse().unwrap())
}

#[test]
fn patterns_match_what_they_say() {
    for (pattern, key, want) in [
        ("/tmp/**", "file//tmp/a/b", true),
        ("/tmp/**", "file//tmp/a", true),
        ("/tmp/**", "file//tmp", false),
        ("/tmp/**", "file//tmpx", false),
        ("/tmp/**", "file//var/tmp/a", false),
        ("/tmp/*", "file//tmp/a", true),
        ("/tmp/*", "file//tmp/a/b", false),
        ("/etc/*.conf", "file//etc/a.conf", true),
        ("/etc/*.conf", "file//etc/a.d/b.conf", false),
        ("/etc/**.conf", "file//etc/a.d/b.conf", true),
        ("/etc/**/b.conf", "file//etc/b.conf", true),
        ("/etc/**/b.conf", "file//etc/x/y/b.conf", true),
        ("/etc/**/b.conf", "file//etc/xb.conf", false),
        ("/**/core", "file//core", true),
        ("/**/core", "file//a/b/core", true),
        ("/**/core", "file//a/b/xcore", false),
        ("/a/**/b/**/c", "file//a/x/b/c", true),
        ("/a/**/b/**/c", "file//a/c/b", false),
        ("sysctl/vm.*", "sysctl/vm.swappiness", true),
        ("sysctl/vm.*", "sysctl/kernel.vm.x", false),
        ("sysctl/net.*", "sysctl/net.ipv4.conf.eth0/100.forwarding", false),
        ("sysctl/net.**", "sysctl/net.ipv4.conf.eth0/100.forwarding", true),
        ("**", "gpu/0", true),
        ("*/*", "net/eth1", true),
        ("*/*", "file//etc/motd", false),
        ("net/eth?", "net/eth1", true),
        ("net/eth?", "net/eth", false),
        ("net/eth[0-3]", "net/eth1", true),
        ("net/eth[!0-3]", "net/eth1", false),
        ("net/eth[!0-3]", "net/eth9", true),
        ("net/eth[]-]", "net/eth-", true),
        ("net/eth[]-]", "net/eth]", true),
        ("/a[!b]c", "file//a/c", false),
        ("/a\\*", "file//a*", true),
        ("/a\\*", "file//ab", false),
        ("/a%0Ab", "file//a%0Ab", true),
        ("/é?", "file//éü", true),
        ("mount//data*", "mount//datasets", true),
        ("/data*", "mount//datasets", false),
        ("file//etc/motd", "file//etc/motd", true),
        ("/etc/motd", "file//etc/motd", true),
        ("/etc/motd", "file//etc/motd.d", false),
        ("*", "gpu/0", false),
    ] {
        assert_eq!(matches(pattern, key), want, "{pattern} on {key}");
    }
}

#[test]
fn what_can_match_nothing_is_refused() {
    for bad in [
        "",
        "tmp",
        "tmp/**",
        "{file,net}/**",
        "sysct/vm.*",
        "sysctl/",
        "file/tmp/**",
        "file/etc",
        "/tmp/",
        "/tmp//**",
        "/tmp/../x",
        "/tmp/[a",
        "/tmp/[z-a]",
        "/tmp/[+-9]",
        "/tmp/x\\",
        "/a\nb",
        "/etc/{a,b}.conf",
        "/srv/a}",
        "/a%zz*",
        "/a%2",
        "sysctl/vm.a b*",
        "sysctl/vm..*x y",
        "module/snd-*",
        "module/a-b",
        "net/eth:*",
        "net/a/*",
        "package/a/*",
        "service/a b*",
        &format!("/{}", "a".repeat(MAX_PATTERN_BYTES)),
    ] {
        assert!(KeyPattern::new(bad).is_err(), "{bad:?}");
    }
    assert!(KeyPatterns::parse(&vec!["/tmp/**"; MAX_PATTERNS + 1]).is_err());
}

#[test]
fn a_list_of_what_is_not_watched_leaves_files_to_watch() {
    for everything in ["/**", "file/**", "**", "*/**", "/*/**", "/**/*", "file//**", "[f]ile/**"] {
        let refused = KeyPatterns::parse_blacklist(&["/tmp/**", everything]).unwrap_err();
        assert!(matches!(refused, PatternError::Everything { .. }), "{everything}");
        assert!(KeyPattern::new(everything).is_ok(), "{everything}: elsewhere it has its use");
    }
    let some = ["/tmp/**", "/**/core", "/*", "/*/*", "sysctl/**", "/**.log", "/opt\\{a\\}/**"];
    assert!(KeyPatterns::parse_blacklist(&some).is_ok());
    assert!(matches("/opt\\{a\\}", "file//opt{a}"));
}

#[test]
fn any_of_several_may_match() {
    let patterns = KeyPatterns::parse(&["/tmp/**", "sysctl/vm.*"]).unwrap();
    assert!(patterns.matches(&"sysctl/vm.x".parse().unwrap()));
    assert!(!patterns.matches(&"sysctl/kernel.x".parse().unwrap()));
    assert!(!KeyPatterns::default().matches(&"sysctl/vm.x".parse().unwrap()));
}

#[test]
fn a_hostile_pattern_costs_no_more_than_length_times_length() {
    // Exponential for a matcher that goes back; here 256 places for each of 4,000 characters.
    let pattern = KeyPattern::new(&format!("/{}b", "**a*".repeat(250))).unwrap();
    let key = ResourceKey::new(Kind::File, &format!("/{}", "a".repeat(4_000))).unwrap();
    assert!(!pattern.matches(&key));
}

/// The meaning, written down without any care for time.
fn slow(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['*', '*', rest @ ..] => (0..=text.len()).any(|n| slow(rest, &text[n..])),
        ['*', rest @ ..] => {
            let stop = text.iter().position(|c| *c == '/').unwrap_or(text.len());
            (0..=stop).any(|n| slow(rest, &text[n..]))
        }
        ['?', rest @ ..] => text.first().is_some_and(|c| *c != '/') && slow(rest, &text[1..]),
        [c, rest @ ..] => text.first() == Some(c) && slow(rest, &text[1..]),
    }
}

proptest! {
    #[test]
    fn the_matcher_agrees_with_the_meaning(
        pattern in "(a|b|/a|\\?|\\*|b\\*\\*){1,7}",
        text in "[ab]{1,3}(/[ab]{1,3}){0,2}",
    ) {
        let text = format!("file//{text}");
        let key: ResourceKey = text.parse().unwrap();
        let whole = format!("file//{pattern}");
        prop_assume!(!whole.contains("***") && !whole.contains("/**/"));
        let Ok(glob) = KeyPattern::new(&whole) else { return Ok(()) };
        let chars = |t: &str| t.chars().collect::<Vec<_>>();
        prop_assert_eq!(glob.matches(&key), slow(&chars(&whole), &chars(&text)), "{} on {}", whole, text);
    }
}
