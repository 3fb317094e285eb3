//! The operations table: everything that anyone can ask of pact.
//!
//! The clap tree, the Rego role data, the authorisation matrix, the gateway's
//! routing and the command documentation are derived from this table or checked
//! against it. What is not in it does not exist.

use crate::ErrorCode;
use crate::v1::{self, EntryKind};

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// Policy action and file name: the command's path with dots, e.g. `node.enroll`.
    pub name: &'static str,
    /// The command as typed, e.g. `["node", "enroll"]`.
    pub command: &'static [&'static str],
    /// The method of `pact.v1.Pact` that carries it.
    pub rpc: Rpc,
    /// Who answers it behind the gateway.
    pub owner: Owner,
    /// Method name on the bus, the last token of the subject.
    pub method: &'static str,
    /// The least role that may ask.
    pub least: Least,
    /// The scope in which that role is needed.
    pub scope: ScopeRule,
    /// Whether it changes anything.
    pub effect: Effect,
    /// Entries that it makes beside `Accessed` and `Denied`.
    pub entries: &'static [EntryKind],
    /// Needs lattice: hidden from `--help` until an endpoint is configured.
    pub lattice: bool,
}

/// How the gateway offers an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rpc {
    /// A typed method of this name.
    Typed(&'static str),
    /// `Invoke`: not built yet; the owner answers "unimplemented".
    Invoke,
    /// None: the command runs in the CLI alone.
    Local,
}

/// Where an operation is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The CLI itself.
    Cli,
    /// The gateway itself.
    Gateway,
    /// `pact.v1.rpc.journal.<method>`.
    Journal,
    /// `pact.v1.rpc.approval.<method>`.
    Approval,
    /// `pact.v1.rpc.enroll.<method>`.
    Enroll,
    /// `pact.v1.rpc.bridge.<method>`.
    Bridge,
    /// `pact.v1.node.<node>.rpc.<method>`.
    Node,
}

/// The least role (contracts §2). `Viewer ⊂ Ops`; a platform admin has all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Least {
    /// No token is needed.
    Nobody,
    /// Any verified principal.
    Anyone,
    /// Viewer of the scope.
    Viewer,
    /// Ops of the scope.
    Ops,
    /// Regulated role of the scope.
    Regulated,
    /// Platform admin.
    PlatformAdmin,
}

/// In which scope the role is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScopeRule {
    /// In the vCluster of every target node; unassigned nodes: platform admin.
    Targets,
    /// In the vCluster named, or in every one that the answer is filtered to.
    Vcluster,
    /// In any vCluster at all.
    AnyVcluster,
    /// Of the target vCluster and of the nodes' present ones (assign, move).
    Assignment,
    /// In the vCluster of every target that is in one; in any where none is: what is registered,
    /// and under which hardware.
    Inventory,
    /// No scope: the role must be global.
    Site,
}

/// Whether an operation changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Changes nothing; recorded as `Accessed`.
    Reads,
    /// Changes state, or may.
    Writes,
}

impl Operation {
    /// The operation of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        OPERATIONS.iter().find(|o| o.name == name)
    }

    /// The operations of this owner that are not built yet.
    pub fn unbuilt(owner: Owner) -> impl Iterator<Item = &'static Self> {
        OPERATIONS.iter().filter(move |o| o.owner == owner && o.rpc == Rpc::Invoke)
    }

    /// What an owner answers to an operation that is not built yet.
    #[must_use]
    pub fn unimplemented(&self) -> v1::Error {
        ErrorCode::Unimplemented
            .error(format!("`pact {}` is not built yet", self.command.join(" ")))
            .because("this version of pact knows the command but cannot carry it out")
            .next("see \"What is not built yet\" in the README")
    }
}

impl Least {
    /// The name in policy data.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Anyone => "anyone",
            Self::Viewer => "viewer",
            Self::Ops => "ops",
            Self::Regulated => "regulated",
            Self::PlatformAdmin => "platform-admin",
        }
    }
}

impl ScopeRule {
    /// The name in policy data.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Targets => "targets",
            Self::Vcluster => "vcluster",
            Self::AnyVcluster => "any-vcluster",
            Self::Assignment => "assignment",
            Self::Inventory => "inventory",
            Self::Site => "site",
        }
    }
}

impl Owner {
    /// The service's name on the bus; `None` for the CLI, the gateway and nodes.
    #[must_use]
    pub const fn service(self) -> Option<&'static str> {
        match self {
            Self::Journal => Some("journal"),
            Self::Approval => Some("approval"),
            Self::Enroll => Some("enroll"),
            Self::Bridge => Some("bridge"),
            Self::Cli | Self::Gateway | Self::Node => None,
        }
    }
}

use Effect::{Reads, Writes};
use EntryKind as K;
use Least::{Anyone, Nobody, Ops, PlatformAdmin, Regulated, Viewer};
use Rpc::{Invoke, Local, Typed};
use ScopeRule::{AnyVcluster, Assignment, Inventory, Site, Targets, Vcluster};

const fn op(
    name: &'static str,
    command: &'static [&'static str],
    rpc: Rpc,
    owner: Owner,
    method: &'static str,
    (least, scope): (Least, ScopeRule),
    effect: Effect,
    entries: &'static [EntryKind],
) -> Operation {
    Operation { name, command, rpc, owner, method, least, scope, effect, entries, lattice: false }
}

const fn lattice(
    name: &'static str,
    command: &'static [&'static str],
    method: &'static str,
    right: (Least, ScopeRule),
    effect: Effect,
) -> Operation {
    let entries: &[EntryKind] = match effect {
        Reads => &[],
        Writes => &[K::LifecycleDelegated, K::LifecycleFinished],
    };
    let mut operation = op(name, command, Invoke, Owner::Bridge, method, right, effect, entries);
    operation.lattice = true;
    operation
}

/// Every operation, ordered as the CLI reference is.
#[rustfmt::skip]
pub const OPERATIONS: &[Operation] = &[
    op("login", &["login"], Local, Owner::Cli, "login", (Nobody, Site), Reads, &[K::LoginDenied]),
    op("logout", &["logout"], Local, Owner::Cli, "logout", (Nobody, Site), Reads, &[]),
    op("whoami", &["whoami"], Typed("Whoami"), Owner::Gateway, "whoami", (Anyone, Site), Reads, &[]),

    op("status", &["status"], Typed("Status"), Owner::Gateway, "status", (Viewer, Vcluster), Reads, &[]),
    op("log", &["log"], Typed("Log"), Owner::Journal, "entries", (Viewer, Vcluster), Reads, &[]),
    op("log.show", &["log", "show"], Typed("ShowEntry"), Owner::Journal, "entry", (Viewer, Vcluster), Reads, &[]),
    op("diff", &["diff"], Typed("Diff"), Owner::Node, "diff", (Viewer, Targets), Reads, &[]),
    op("cap", &["cap"], Typed("Capability"), Owner::Journal, "nodes", (Viewer, Targets), Reads, &[]),
    op("watch", &["watch"], Typed("Watch"), Owner::Journal, "entries", (Viewer, Vcluster), Reads, &[]),
    op("blame", &["blame"], Invoke, Owner::Journal, "blame", (Viewer, Targets), Reads, &[]),

    op("commit", &["commit"], Typed("Commit"), Owner::Node, "commit", (Ops, Targets), Writes, &[K::Commit, K::ApprovalRequested]),
    op("rollback", &["rollback"], Typed("Rollback"), Owner::Journal, "rollback", (Ops, Vcluster), Writes, &[K::Rollback, K::RollbackDeferred, K::ApprovalRequested]),
    op("apply", &["apply"], Typed("Apply"), Owner::Journal, "propose", (Ops, Vcluster), Writes, &[K::OverlayApplied, K::PolicyUpdate, K::ApprovalRequested]),
    op("promote", &["promote"], Typed("Promote"), Owner::Journal, "promote", (Ops, Targets), Reads, &[]),
    op("extend", &["extend"], Typed("Extend"), Owner::Node, "extend", (Ops, Targets), Writes, &[K::WindowExtended]),

    op("exec", &["exec"], Typed("Exec"), Owner::Node, "exec", (Ops, Targets), Writes, &[K::ExecRequested, K::ExecFinished]),
    op("shell", &["shell"], Invoke, Owner::Node, "shell", (Ops, Targets), Writes, &[K::ShellOpened, K::ShellClosed]),
    op("session.play", &["session", "play"], Invoke, Owner::Journal, "session_play", (Viewer, Vcluster), Reads, &[]),
    op("service.status", &["service", "status"], Invoke, Owner::Node, "service_status", (Ops, Targets), Reads, &[K::ServiceAction]),
    op("service.restart", &["service", "restart"], Invoke, Owner::Node, "service_restart", (Ops, Targets), Writes, &[K::ServiceAction]),
    op("service.logs", &["service", "logs"], Invoke, Owner::Node, "service_logs", (Ops, Targets), Reads, &[K::ServiceAction]),
    op("diag", &["diag"], Invoke, Owner::Node, "diag", (Ops, Targets), Reads, &[K::DiagCollected]),

    op("emergency.start", &["emergency", "start"], Invoke, Owner::Approval, "emergency_start", (Ops, Vcluster), Writes, &[K::EmergencyStart]),
    op("emergency.end", &["emergency", "end"], Invoke, Owner::Approval, "emergency_end", (Ops, Vcluster), Writes, &[K::EmergencyEnd]),
    op("approve.list", &["approve", "list"], Invoke, Owner::Approval, "approve_list", (Anyone, Site), Reads, &[]),
    op("approve.accept", &["approve", "accept"], Invoke, Owner::Approval, "approve_accept", (Regulated, AnyVcluster), Writes, &[K::ApprovalDecided, K::ApprovalExecuted]),
    op("approve.deny", &["approve", "deny"], Invoke, Owner::Approval, "approve_deny", (Anyone, Site), Writes, &[K::ApprovalDecided]),

    op("node.enroll", &["node", "enroll"], Typed("EnrollNode"), Owner::Journal, "propose", (Ops, Inventory), Writes, &[K::NodeRegistered]),
    op("node.import", &["node", "import"], Local, Owner::Cli, "propose", (Ops, Inventory), Writes, &[K::NodeRegistered]),
    op("node.decommission", &["node", "decommission"], Invoke, Owner::Enroll, "decommission", (Ops, Inventory), Writes, &[K::NodeRevoked]),
    op("node.assign", &["node", "assign"], Typed("AssignNode"), Owner::Journal, "propose", (Ops, Assignment), Writes, &[K::NodeAssigned]),
    op("node.unassign", &["node", "unassign"], Typed("AssignNode"), Owner::Journal, "propose", (Ops, Assignment), Writes, &[K::NodeUnassigned]),
    op("node.move", &["node", "move"], Typed("AssignNode"), Owner::Journal, "propose", (Ops, Assignment), Writes, &[K::NodeMoved]),
    op("node.list", &["node", "list"], Typed("ListNodes"), Owner::Journal, "nodes", (Viewer, AnyVcluster), Reads, &[]),
    op("node.inspect", &["node", "inspect"], Typed("InspectNode"), Owner::Journal, "nodes", (Ops, Inventory), Reads, &[]),

    lattice("drain", &["drain"], "drain", (Ops, Targets), Writes),
    lattice("undrain", &["undrain"], "undrain", (Ops, Targets), Writes),
    lattice("cordon", &["cordon"], "cordon", (Ops, Targets), Writes),
    lattice("uncordon", &["uncordon"], "uncordon", (Ops, Targets), Writes),
    op("reboot", &["reboot"], Invoke, Owner::Bridge, "reboot", (Ops, Targets), Writes, &[K::LifecycleDelegated, K::LifecycleFinished]),
    op("reimage", &["reimage"], Invoke, Owner::Bridge, "reimage", (Ops, Targets), Writes, &[K::LifecycleDelegated, K::LifecycleFinished]),

    op("group.list", &["group", "list"], Typed("ListGroups"), Owner::Journal, "vclusters", (Viewer, AnyVcluster), Reads, &[]),
    op("group.show", &["group", "show"], Typed("ShowGroup"), Owner::Journal, "vclusters", (Viewer, Vcluster), Reads, &[]),
    op("group.set-policy", &["group", "set-policy"], Typed("SetPolicy"), Owner::Journal, "set_policy", (PlatformAdmin, Site), Writes, &[K::PolicyUpdate, K::ApprovalRequested]),

    op("blacklist.list", &["blacklist", "list"], Typed("BlacklistList"), Owner::Journal, "blacklist_list", (Viewer, Vcluster), Reads, &[]),
    op("blacklist.add", &["blacklist", "add"], Typed("BlacklistAdd"), Owner::Journal, "blacklist_add", (Ops, Vcluster), Writes, &[K::BlacklistChanged, K::ApprovalRequested]),
    op("blacklist.remove", &["blacklist", "remove"], Typed("BlacklistRemove"), Owner::Journal, "blacklist_remove", (Ops, Vcluster), Writes, &[K::BlacklistChanged, K::ApprovalRequested]),

    lattice("jobs.list", &["jobs", "list"], "jobs_list", (Viewer, Vcluster), Reads),
    lattice("jobs.cancel", &["jobs", "cancel"], "jobs_cancel", (Ops, AnyVcluster), Writes),
    lattice("jobs.inspect", &["jobs", "inspect"], "jobs_inspect", (Viewer, AnyVcluster), Reads),
    lattice("queue", &["queue"], "queue", (Viewer, Vcluster), Reads),
    op("cluster", &["cluster"], Typed("Cluster"), Owner::Journal, "cluster", (Viewer, AnyVcluster), Reads, &[]),
    op("cluster.add", &["cluster", "add"], Typed("ClusterAdd"), Owner::Journal, "propose", (PlatformAdmin, Site), Writes, &[K::MembershipChanged]),
    op("cluster.remove", &["cluster", "remove"], Typed("ClusterRemove"), Owner::Journal, "propose", (PlatformAdmin, Site), Writes, &[K::MembershipChanged]),
    op("cluster.ca.status", &["cluster", "ca", "status"], Invoke, Owner::Enroll, "ca_status", (Viewer, AnyVcluster), Reads, &[]),
    op("cluster.ca.rotate", &["cluster", "ca", "rotate"], Invoke, Owner::Enroll, "ca_rotate", (PlatformAdmin, Site), Writes, &[K::CaRotated]),
    op("audit", &["audit"], Invoke, Owner::Journal, "audit", (Viewer, Vcluster), Reads, &[]),
    op("audit.verify", &["audit", "verify"], Invoke, Owner::Journal, "audit_verify", (Anyone, Site), Reads, &[]),
    op("audit.prove", &["audit", "prove"], Invoke, Owner::Journal, "audit_prove", (Viewer, Vcluster), Reads, &[]),
    lattice("accounting", &["accounting"], "accounting", (Viewer, Vcluster), Reads),
    op("health", &["health"], Typed("Health"), Owner::Gateway, "health", (Viewer, AnyVcluster), Reads, &[]),
    lattice("services.list", &["services", "list"], "services_list", (Viewer, Vcluster), Reads),
    lattice("services.lookup", &["services", "lookup"], "services_lookup", (Viewer, AnyVcluster), Reads),
    lattice("dag.list", &["dag", "list"], "dag_list", (Viewer, AnyVcluster), Reads),
    lattice("dag.inspect", &["dag", "inspect"], "dag_inspect", (Viewer, AnyVcluster), Reads),
    lattice("dag.cancel", &["dag", "cancel"], "dag_cancel", (Ops, AnyVcluster), Writes),
    lattice("budget.tenant", &["budget", "tenant"], "budget_tenant", (Viewer, AnyVcluster), Reads),
    lattice("budget.user", &["budget", "user"], "budget_user", (Viewer, AnyVcluster), Reads),
    lattice("backup.create", &["backup", "create"], "backup_create", (PlatformAdmin, Site), Writes),
    lattice("backup.verify", &["backup", "verify"], "backup_verify", (PlatformAdmin, Site), Reads),
    lattice("backup.restore", &["backup", "restore"], "backup_restore", (PlatformAdmin, Site), Writes),
    lattice("nodes.list", &["nodes", "list"], "nodes_list", (Viewer, Vcluster), Reads),
    lattice("nodes.inspect", &["nodes", "inspect"], "nodes_inspect", (Viewer, AnyVcluster), Reads),

    op("policy.explain", &["policy", "explain"], Invoke, Owner::Gateway, "policy_explain", (Anyone, Site), Reads, &[]),
    op("policy.test", &["policy", "test"], Invoke, Owner::Gateway, "policy_test", (Ops, AnyVcluster), Reads, &[]),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message as _;

    use super::*;
    use crate::id::MethodName;

    #[test]
    fn names_follow_from_commands_and_are_distinct() {
        let mut seen = BTreeSet::new();
        for o in OPERATIONS {
            assert_eq!(o.name, o.command.join("."), "{o:?}");
            assert!(seen.insert(o.name), "{} twice", o.name);
            MethodName::new(o.method).unwrap();
        }
    }

    #[test]
    fn the_gateway_offers_exactly_the_typed_operations() {
        let set = prost_types::FileDescriptorSet::decode(crate::FILE_DESCRIPTOR_SET).unwrap();
        let offered: BTreeSet<String> = set
            .file
            .iter()
            .flat_map(|f| &f.service)
            .filter(|s| s.name() == "Pact")
            .flat_map(|s| s.method.iter().map(|m| m.name().to_owned()))
            .collect();
        let mut listed: BTreeSet<String> = OPERATIONS
            .iter()
            .filter_map(|o| if let Typed(rpc) = o.rpc { Some(rpc.to_owned()) } else { None })
            .collect();
        // Two methods are not operations of their own: the carrier of what is not
        // built yet, and the second half of `log show`.
        listed.extend(["Invoke".to_owned(), "ReadOutput".to_owned()]);
        assert_eq!(offered, listed);
    }

    #[test]
    fn what_writes_is_never_open_to_everyone_but_withdrawing_an_approval() {
        for o in OPERATIONS.iter().filter(|o| o.effect == Writes) {
            assert!(o.least >= Ops || o.name == "approve.deny", "{}", o.name);
        }
    }
}
