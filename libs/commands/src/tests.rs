//! The list held against a recorded node, generated command lines and the installed programs.

mod changes;
mod files;
mod lines;
mod programs;
mod properties;
mod recorded;

use crate::grammar::Operands;
use crate::{Mode, Verdict, Whitelist};
use pact_schemas::Argv;
use recorded::node;

/// A command line written with blanks; `''` is an empty argument and `~` stands for a blank.
pub(super) fn argv(line: &str) -> Argv {
    let word = |word: &str| if word == "''" { String::new() } else { word.replace('~', " ") };
    Argv::new(line.split(' ').filter(|part| !part.is_empty()).map(word).collect()).unwrap()
}

#[test]
fn every_listed_name_that_can_be_abused_has_a_grammar() {
    let known: Vec<&str> = include_str!("tests/gtfobins.txt").split_whitespace().collect();
    assert!(known.len() > 400, "the committed list has been cut: {}", known.len());
    let list = Whitelist::builtin();
    let files = node();
    for name in known {
        let Some(command) = list.commands.get(name) else {
            let verdict = list.judge(&argv(name), &files);
            assert!(matches!(verdict, Verdict::Refused(_)), "{name} is off the list");
            continue;
        };
        let takes_anything = matches!(&command.operands, Operands::Each { kind, max, .. }
            if *max == usize::MAX && kind.fits("/etc/shadow") && kind.fits("-x"));
        assert!(!takes_anything, "{name} needs a grammar");
    }
}

#[test]
fn the_list_is_the_one_promised() {
    let promised = "nvidia-smi rocm-smi ps top htop lspci lsmod lsblk lscpu ip ss ping traceroute ethtool cat head tail wc ls stat \
        file md5sum sha256sum diff grep journalctl sysctl dmesg uname hostname uptime free df mount echo id date true systemctl \
        modprobe umount";
    let mut promised: Vec<&str> = promised.split_whitespace().collect();
    promised.sort_unstable();
    assert_eq!(Whitelist::builtin().names(), promised);
}

#[test]
fn additions_are_bare_names_with_any_arguments() {
    let files = node();
    let list = Whitelist::builtin()
        .with_additions(&["sitetool".into(), "cat".into(), "absent".into()])
        .unwrap();
    let verdict = |line: &str| list.judge(&argv(line), &files);
    assert!(matches!(
        verdict("sitetool --anything /etc/shadow -rf"),
        Verdict::Allowed { changes_state: true, .. }
    ));
    assert!(
        matches!(verdict("cat /etc/shadow"), Verdict::Refused(_)),
        "the built-in grammar stays"
    );
    assert!(matches!(verdict("absent"), Verdict::Refused(refusal) if refusal.is_not_installed()));
    for bad in ["/bin/sh", "../sh", "", "-x", "a b", "a\nb", ".", "..", "a*"] {
        assert!(Whitelist::builtin().with_additions(&[bad.to_owned()]).is_err(), "{bad:?}");
    }
}

#[test]
fn modes_run_what_they_say() {
    let files = node();
    let list = Whitelist::builtin();
    let admit = |mode, line: &str| list.admit(mode, &argv(line), &files);
    assert!(admit(Mode::Strict, "bash -c id").is_err());
    let learned = admit(Mode::Learning, "bash -c id").unwrap();
    assert!(learned.changes_state && learned.off_list.is_some());
    assert!(admit(Mode::Bypass, "bash -c id").unwrap().off_list.is_none());
    assert!(admit(Mode::Learning, "uname -a").unwrap().off_list.is_none());
    assert!(admit(Mode::Bypass, "no-such-program").unwrap_err().is_not_installed());
    assert!(!admit(Mode::Bypass, "bin/").unwrap_err().is_not_installed(), "it has no name");
    for mode in [Mode::Strict, Mode::Learning, Mode::Bypass] {
        assert_eq!(mode.as_str().parse(), Ok(mode));
    }
    assert!("Strict".parse::<Mode>().is_err());
}

#[test]
fn refusals_tell_the_argument_and_what_is_accepted() {
    let files = node();
    let refusal = |line: &str| match Whitelist::builtin().judge(&argv(line), &files) {
        Verdict::Refused(refusal) => refusal.to_string(),
        Verdict::Allowed { .. } => panic!("{line} is allowed"),
    };
    let dmesg = refusal("dmesg -TC");
    assert!(
        dmesg.starts_with("dmesg: option -C clears the kernel log; accepted: -T -H -k"),
        "{dmesg}"
    );
    let shadow = refusal("cat tmp/innocent");
    assert!(
        shadow.contains(
            "tmp/innocent: /etc/shadow is outside the readable tree (rule **/etc/shadow*)"
        ),
        "{shadow}"
    );
    let forged = refusal("cat --\u{1b}[2J\u{202e}");
    assert!(forged.is_ascii() && !forged.contains('\u{1b}'), "{forged:?}");
    assert_eq!(refusal("vi /etc/hosts"), "vi: command is not on the list");
}
