//! Keys that give root are a platform admin's, whatever action declares them.

use super::*;
use crate::action::Trial;

const OPS: &str = "pact-ops-ml";
const ROOT: &str = "sysctl/kernel.poweroff_cmd";

/// What becomes of it when somebody with ops of `ml` asks.
fn by_ops(state: &mut Memory, commands: &mut Commands, action: Action) -> Result<u64, v1::Error> {
    let before = state.head;
    let outcome = one(state, commands.make_as(OPS, action));
    match outcome.outcome.as_ref().unwrap() {
        v1::outcome::Outcome::Committed(done) => Ok(done.last_seq),
        v1::outcome::Outcome::Rejected(error) => {
            assert_eq!(before, state.head, "a refusal changes nothing");
            Err(error.clone())
        }
    }
}

/// Refused, with the keys and nothing else in its message; and so is its plan.
fn denied(state: &mut Memory, commands: &mut Commands, action: Action) {
    let trial = Trial { time_nanos: commands.now_nanos, by_platform_admin: false };
    let planned = crate::plan::plan(&*state, &action, trial).refused.unwrap();
    assert_eq!(planned.known_code(), ErrorCode::NotAuthorised, "{action:?}");
    assert_eq!(as_admin(state, commands, &action).refused, None, "{action:?}");
    let error = by_ops(state, commands, action.clone()).unwrap_err();
    assert_eq!(error.known_code(), ErrorCode::NotAuthorised, "{action:?}");
    assert!(error.message.contains(ROOT), "{error}");
    assert!(!error.message.contains("sysctl/vm.a"), "{error}");
}

#[test]
fn whoever_is_no_platform_admin_neither_applies_nor_commits_what_gives_root() {
    let (mut state, mut commands) = site();
    let keys = [(ROOT, "/tmp/x"), ("sysctl/vm.a", "1")];
    for action in [apply("ml", &keys), commit("a", "ml", &keys)] {
        denied(&mut state, &mut commands, action);
    }
    // The rest is his, and all of it a platform admin's.
    for action in [apply("ml", &keys[1..]), commit("a", "ml", &[("sysctl/vm.b", "1")])] {
        by_ops(&mut state, &mut commands, action).unwrap();
    }
    for action in [apply("ml", &keys), commit("a", "ml", &keys)] {
        done(&mut state, &mut commands, action);
    }
    // Applied again as it is, nothing is written.
    by_ops(&mut state, &mut commands, apply("ml", &keys)).unwrap();
    denied(&mut state, &mut commands, apply("ml", &[(ROOT, "/tmp/y")]));
}

#[test]
fn somebody_with_both_roles_is_a_platform_admin() {
    let (mut state, mut commands) = site();
    let mut command = commands.make_as(OPS, apply("ml", &[(ROOT, "/sbin/poweroff")]));
    command.author.as_mut().unwrap().roles.push("pact-platform-admin".to_owned());
    committed(&one(&mut state, command));
}

#[test]
fn a_rollback_brings_back_what_a_platform_admin_declared_or_nobody_and_nothing_else() {
    let (mut state, mut commands) = site();
    let ml = of_vcluster("ml");
    let to = |state: &Memory, seq: u64| {
        Action::Rollback(rollback_of(&ml, seq, vcluster(state, "ml").overlay_seq))
    };
    let nothing = done(&mut state, &mut commands, apply("ml", &[("sysctl/vm.a", "1")]));
    let admins = done(&mut state, &mut commands, apply("ml", &[(ROOT, "/sbin/one")]));
    done(&mut state, &mut commands, apply("ml", &[(ROOT, "/sbin/two")]));
    let action = to(&state, admins);
    by_ops(&mut state, &mut commands, action).unwrap();
    assert_eq!(shown(&state, &overlay("ml")), [&format!("{ROOT}=/sbin/one"), "sysctl/vm.a=1"]);
    let by_rollback = state.head.seq;
    let action = to(&state, nothing);
    by_ops(&mut state, &mut commands, action).unwrap();
    assert_eq!(shown(&state, &overlay("ml")), ["sysctl/vm.a=1"]);
    // What was rolled back to is still the admin's.
    let action = to(&state, by_rollback);
    by_ops(&mut state, &mut commands, action).unwrap();
    assert_eq!(shown(&state, &overlay("ml")).len(), 2);
}

#[test]
fn a_site_adds_keys_and_what_was_declared_before_is_no_admins() {
    let (mut state, mut commands) = site();
    let hook = [("sysctl/vm.hook", "1")];
    let before = by_ops(&mut state, &mut commands, apply("ml", &hook)).unwrap();
    let site = VclusterPolicy { root_keys: vec!["sysctl/vm.h*".to_owned()], ..Default::default() };
    done(&mut state, &mut commands, policy("ml", site));
    let refused = |state: &mut Memory, commands: &mut Commands, action| {
        let error = by_ops(state, commands, action).unwrap_err();
        assert_eq!(error.known_code(), ErrorCode::NotAuthorised);
        assert!(
            error.message.contains("vm.hook (it is among the vCluster's root_keys)"),
            "{error}"
        );
    };
    refused(&mut state, &mut commands, commit("a", "ml", &hook));
    done(&mut state, &mut commands, apply("ml", &[("sysctl/vm.hook", "2")]));
    let back = rollback_of(&of_vcluster("ml"), before, vcluster(&state, "ml").overlay_seq);
    refused(&mut state, &mut commands, Action::Rollback(back.clone()));
    // Without that key there is nothing that only an admin does.
    let rest = v1::Rollback { keys: vec!["sysctl/vm.other".to_owned()], ..back };
    by_ops(&mut state, &mut commands, Action::Rollback(rest)).unwrap();
    assert_eq!(shown(&state, &overlay("ml")), ["sysctl/vm.hook=2"]);
    let bad = VclusterPolicy { root_keys: vec!["[".to_owned()], ..Default::default() };
    assert_eq!(code(&mut state, &mut commands, policy("ml", bad)), ErrorCode::InvalidArgument);
    // Another vCluster has its own.
    let mut other = commands.make_as("pact-ops-hpc", apply("hpc", &hook));
    other.acting_role = "pact-ops-hpc".to_owned();
    committed(&one(&mut state, other));
}

#[test]
fn a_rollback_of_named_keys_leaves_the_others() {
    let (mut state, mut commands) = site();
    let first =
        done(&mut state, &mut commands, apply("ml", &[("sysctl/a", "1"), ("sysctl/b", "1")]));
    let all = [("sysctl/a", "2"), ("sysctl/b", "2"), ("sysctl/c", "2")];
    let base_seq = done(&mut state, &mut commands, apply("ml", &all));
    let keys = vec!["sysctl/[ac]".to_owned()];
    let rollback = v1::Rollback { keys, ..rollback_of(&of_vcluster("ml"), first, base_seq) };
    done(&mut state, &mut commands, Action::Rollback(rollback.clone()));
    assert_eq!(shown(&state, &overlay("ml")), ["sysctl/a=1", "sysctl/b=2"]);
    let bad = v1::Rollback { keys: vec!["/".repeat(2)], ..rollback };
    assert_eq!(code(&mut state, &mut commands, Action::Rollback(bad)), ErrorCode::InvalidArgument);
}
