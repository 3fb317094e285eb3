use pact_schemas::convert::Scope;

use super::*;

#[test]
fn regulated_implies_two_persons() {
    let (mut state, mut commands) = (Memory::default(), Commands::new());
    let more = VclusterPolicy { ai_exec_allowed: Some(true), ..Default::default() };
    committed(&one(&mut state, commands.make(policy("bio", more))));
    let regulated = VclusterPolicy { regulated: Some(true), ..Default::default() };
    let contrary = VclusterPolicy { two_person_approval: Some(false), ..regulated.clone() };
    assert_eq!(
        code(&one(&mut state, commands.make(policy("bio", contrary)))),
        ErrorCode::InvalidSpec
    );
    committed(&one(&mut state, commands.make(policy("bio", regulated))));
    let kept = state.vclusters[&"bio".parse().unwrap()].policy.clone().unwrap();
    assert_eq!(
        (kept.regulated, kept.two_person_approval, kept.ai_exec_allowed),
        (Some(true), Some(true), Some(true))
    );
}

#[test]
fn policies_are_set_by_a_platform_admin_and_two_persons_where_they_have_to_be() {
    let (mut state, mut commands) = (Memory::default(), Commands::new());
    let some = VclusterPolicy { drift_sensitivity: Some(1.0), ..Default::default() };
    for role in ["pact-ops-ml", "pact-regulated-ml", ""] {
        let mut by_others = commands.make(policy("ml", some.clone()));
        role.clone_into(&mut by_others.acting_role);
        assert_eq!(code(&one(&mut state, by_others)), ErrorCode::NotAuthorised, "{role}");
    }
    committed(&one(&mut state, commands.make(policy("ml", some.clone()))));
    committed(&one(&mut state, commands.make(policy("hpc", some.clone()))));
    for two in [
        VclusterPolicy { regulated: Some(true), ..some.clone() },
        VclusterPolicy { two_person_approval: Some(true), ..some.clone() },
    ] {
        let (mut state, mut commands) = (Memory::default(), Commands::new());
        committed(&one(&mut state, commands.make(policy("ml", two))));
        let before = state.head;
        // Together with another vCluster: nothing of it is done.
        let mut both = policy("hpc", some.clone());
        let Action::SetPolicy(set) = &mut both else { panic!() };
        set.updates.push(v1::PolicyUpdate {
            vcluster: "ml".to_owned(),
            policy: Some(VclusterPolicy { regulated: Some(false), ..Default::default() }),
        });
        let error = one(&mut state, commands.make(both));
        assert_eq!(code(&error), ErrorCode::Unimplemented);
        assert!(refused(&error).message.contains("vCluster ml"), "{error:?}");
        assert_eq!((before, state.vclusters.len()), (state.head, 1));
    }
}

#[test]
fn a_list_is_emptied_by_its_name_alone() {
    let (mut state, mut commands) = (Memory::default(), Commands::new());
    let full = VclusterPolicy {
        exec_whitelist: vec!["gdb".to_owned()],
        shell_whitelist: vec!["gdb".to_owned()],
        auto_converge_categories: vec!["services".to_owned()],
        require_ack_categories: vec!["gpu".to_owned()],
        ..Default::default()
    };
    committed(&one(&mut state, commands.make(policy("ml", full.clone()))));
    let clear = |names: &[&str]| VclusterPolicy {
        cleared_lists: names.iter().map(|n| (*n).to_owned()).collect(),
        ..Default::default()
    };
    let stored = |state: &Memory| state.vclusters[&"ml".parse().unwrap()].policy.clone().unwrap();
    committed(&one(&mut state, commands.make(policy("ml", VclusterPolicy::default()))));
    assert_eq!(stored(&state), full, "an empty list says nothing");
    for bad in [
        clear(&["exec_list"]),
        VclusterPolicy { exec_whitelist: vec!["a".to_owned()], ..clear(&["exec_whitelist"]) },
    ] {
        let outcome = one(&mut state, commands.make(policy("ml", bad)));
        assert_eq!(code(&outcome), ErrorCode::InvalidArgument);
    }
    committed(&one(&mut state, commands.make(policy("ml", clear(&["exec_whitelist"])))));
    assert_eq!(stored(&state), VclusterPolicy { exec_whitelist: Vec::new(), ..full });
    let rest = ["shell_whitelist", "auto_converge_categories", "require_ack_categories"];
    committed(&one(&mut state, commands.make(policy("ml", clear(&rest)))));
    assert_eq!(stored(&state), VclusterPolicy::default());
}

#[test]
fn every_policy_key_goes_back_to_its_default() {
    let (mut state, mut commands) = (Memory::default(), Commands::new());
    let sensitive = VclusterPolicy { drift_sensitivity: Some(5.0), ..Default::default() };
    committed(&one(&mut state, commands.make(policy("ml", sensitive.clone()))));
    let keys = pact_schemas::spec::POLICY_KEYS.map(str::to_owned).to_vec();
    let unset = VclusterPolicy { cleared_lists: keys, ..Default::default() };
    let both = VclusterPolicy { drift_sensitivity: Some(1.0), ..unset.clone() };
    let outcome = one(&mut state, commands.make(policy("ml", both)));
    assert_eq!(code(&outcome), ErrorCode::InvalidArgument);
    committed(&one(&mut state, commands.make(policy("ml", unset))));
    let stored = state.vclusters[&"ml".parse().unwrap()].policy.clone().unwrap();
    assert_eq!(stored, VclusterPolicy::default());
}

#[test]
fn a_vcluster_stays_small_enough_to_be_sent() {
    let (mut state, mut commands) = (Memory::default(), Commands::new());
    let words =
        |count: usize| -> Vec<String> { (0..count).map(|i| format!("{i:0>1000}")).collect() };
    let exec = |count| VclusterPolicy { exec_whitelist: words(count), ..Default::default() };
    let shell = |count| VclusterPolicy { shell_whitelist: words(count), ..Default::default() };
    committed(&one(&mut state, commands.make(policy("ml", exec(200)))));
    let before = state.head;
    let outcome = one(&mut state, commands.make(policy("ml", shell(100))));
    assert_eq!(code(&outcome), ErrorCode::TooLarge);
    assert!(
        refused(&outcome).message.contains("200000 of them in its exec_whitelist"),
        "{outcome:?}"
    );
    let patterns: Vec<String> = words(100).iter().map(|word| format!("/{word}")).collect();
    let blacklist = Action::ChangeBlacklist(v1::ChangeBlacklist {
        scope: Some((&Scope::Vcluster("ml".parse().unwrap())).into()),
        add: patterns.clone(),
        ..Default::default()
    });
    let outcome = one(&mut state, commands.make(blacklist));
    assert_eq!(code(&outcome), ErrorCode::TooLarge);
    // In a specification, of which one half alone would fit.
    let mut update = crate::samples::update("ml", &[]);
    update.blacklist = Some(v1::Blacklist { patterns });
    let mut spec = crate::samples::spec(update, v1::OnConflict::Refuse);
    let outcome = one(&mut state, commands.make(Action::ApplySpec(spec.clone())));
    assert_eq!(code(&outcome), ErrorCode::TooLarge);
    assert_eq!(state.head, before);
    let smaller = v1::PolicyUpdate { vcluster: "ml".to_owned(), policy: Some(exec(100)) };
    spec.policies = vec![smaller];
    committed(&one(&mut state, commands.make(Action::ApplySpec(spec))));
    let record = &state.vclusters[&"ml".parse().unwrap()];
    assert!((200_000..=256 * 1024).contains(&record.encoded_len()));
    // What is too large from before may become smaller, step by step.
    let large = state.vclusters.get_mut(&"ml".parse().unwrap()).unwrap();
    large.policy.as_mut().unwrap().exec_whitelist = words(400);
    committed(&one(&mut state, commands.make(policy("ml", exec(300)))));
    let outcome = one(&mut state, commands.make(policy("ml", exec(301))));
    assert_eq!(code(&outcome), ErrorCode::TooLarge);
}
