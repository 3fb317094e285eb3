//! Parameters that move each other: the kernel keeps one of two alternatives, or gives what is set for all to each.
//!
//! Which of them was set shows in the one that moves the others; they follow it, and are nobody's decision.

use pact_schemas::resource::{Kind, ResourceKey};

use crate::provider::table::{Effect, Mover};

/// Alternatives: setting one makes the other zero.
const ALTERNATIVES: [(&str, &str); 3] = [
    ("vm.dirty_bytes", "vm.dirty_ratio"),
    ("vm.dirty_background_bytes", "vm.dirty_background_ratio"),
    ("vm.overcommit_kbytes", "vm.overcommit_ratio"),
];

/// Two names of one number. A change shows under the first, unless the second is declared.
const SAME: [(&str, &str); 2] =
    [("net.ipv4.ip_forward", FORWARDING), ("vm.nr_hugepages", "vm.nr_hugepages_mempolicy")];

/// Forwarding of IPv4 for all interfaces.
const FORWARDING: &str = "net.ipv4.conf.all.forwarding";
/// Hosts take redirects, routers do not.
const REDIRECTS: &str = "net.ipv4.conf.all.accept_redirects";

/// What is set for all interfaces goes to each of them, and to those to come: family and last part of the name.
const FOR_ALL: [(&str, &str); 3] =
    [("ipv4", "forwarding"), ("ipv6", "forwarding"), ("ipv6", "disable_ipv6")];

/// Who moves this parameter.
pub(super) fn movers(name: &str) -> Vec<Mover> {
    let mut movers = Vec::new();
    for (one, other) in ALTERNATIVES {
        for (mover, moved) in [(one, other), (other, one)] {
            movers.extend((moved == name).then(|| of(mover, Effect::Zero, false)).flatten());
        }
    }
    for (one, other) in SAME {
        movers.extend((other == name).then(|| of(one, Effect::Same, false)).flatten());
        movers.extend((one == name).then(|| of(other, Effect::Same, true)).flatten());
    }
    if let Some((family, _, what)) = of_interface(name).filter(|(_, owner, _)| *owner != "all") {
        movers.extend(of(&format!("net.{family}.conf.all.{what}"), Effect::Same, false));
    }
    if name == REDIRECTS {
        movers.extend(of(FORWARDING, Effect::Opposite, false));
    }
    movers
}

/// Parameters that this one moves, but for its other name; `interfaces` tells whom a family has parameters of.
pub(super) fn moved(name: &str, interfaces: impl Fn(&str) -> Vec<String>) -> Vec<ResourceKey> {
    let name = if name == "net.ipv4.ip_forward" { FORWARDING } else { name };
    let Some((family, "all", what)) = of_interface(name) else { return Vec::new() };
    let each = interfaces(family).into_iter().filter(|owner| owner != "all");
    let each = each.map(|owner| format!("net.{family}.conf.{owner}.{what}"));
    let redirects = (name == FORWARDING).then(|| REDIRECTS.to_owned());
    each.chain(redirects).filter_map(|name| key(&name)).collect()
}

/// Family, interface and last part of a name that is of an interface and follows what is set for all.
fn of_interface(name: &str) -> Option<(&'static str, &str, &'static str)> {
    FOR_ALL.into_iter().find_map(|(family, what)| {
        let owner = name.strip_prefix("net.")?.strip_prefix(family)?.strip_prefix(".conf.")?;
        let owner = owner.strip_suffix(what)?.strip_suffix('.')?;
        (!owner.contains('.')).then_some((family, owner, what))
    })
}

fn of(name: &str, effect: Effect, only_declared: bool) -> Option<Mover> {
    Some(Mover { key: key(name)?, effect, only_declared })
}

fn key(name: &str) -> Option<ResourceKey> {
    ResourceKey::new(Kind::Sysctl, name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternatives_interfaces_and_second_names_have_movers_and_others_have_none() {
        for (name, expected) in [
            ("vm.dirty_ratio", vec!["vm.dirty_bytes"]),
            ("vm.dirty_background_bytes", vec!["vm.dirty_background_ratio"]),
            ("vm.overcommit_kbytes", vec!["vm.overcommit_ratio"]),
            ("vm.nr_hugepages_mempolicy", vec!["vm.nr_hugepages"]),
            ("net.ipv4.ip_forward", vec!["net.ipv4.conf.all.forwarding"]),
            ("net.ipv4.conf.all.forwarding", vec!["net.ipv4.ip_forward"]),
            ("net.ipv4.conf.eth0/7.forwarding", vec!["net.ipv4.conf.all.forwarding"]),
            ("net.ipv6.conf.default.disable_ipv6", vec!["net.ipv6.conf.all.disable_ipv6"]),
            ("net.ipv4.conf.all.accept_redirects", vec!["net.ipv4.conf.all.forwarding"]),
            ("net.ipv4.conf.eth0.accept_redirects", vec![]),
            ("net.ipv6.conf.all.forwarding", vec![]),
            ("net.ipv4.conf.a.b.forwarding", vec![]),
            ("vm.swappiness", vec![]),
        ] {
            let found: Vec<String> =
                movers(name).iter().map(|mover| mover.key.name().to_owned()).collect();
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn what_is_set_for_all_moves_each() {
        let interfaces = |_: &str| ["all", "default", "lo"].map(str::to_owned).to_vec();
        let names = |name| {
            let keys = moved(name, interfaces).into_iter();
            keys.map(|key| key.name().to_owned()).collect::<Vec<_>>()
        };
        let of_forwarding = [
            "net.ipv4.conf.default.forwarding",
            "net.ipv4.conf.lo.forwarding",
            "net.ipv4.conf.all.accept_redirects",
        ];
        assert_eq!(names("net.ipv4.ip_forward"), of_forwarding);
        assert_eq!(names(FORWARDING), of_forwarding);
        assert_eq!(names("net.ipv6.conf.all.disable_ipv6").len(), 2);
        assert!(names("net.ipv4.conf.lo.forwarding").is_empty() && names("vm.x").is_empty());
    }
}
