//! Who may say what on the bus: decisions §1, as permissions.
//!
//! Agents are users of one scoped signing key; their rights are the template here and name the node through `{{name()}}`, so a
//! `move` needs no new credential. **Changing the template disconnects every agent.** Services have one user each.
//! Allow lists only; nothing here denies single subjects.

use pact_schemas::NodeId;

use crate::instance::{ServiceInstance, ServiceRole};

use super::{
    Account, AccountClaims, AccountLimits, NO_LIMIT, Operator, OperatorClaims, Permissions,
    ResponsePermission, ScopedSigningKey, SigningKey, SubjectPermission, User, UserClaims,
    UserLimits,
};

/// Role name of the scoped signing key for agents.
pub const AGENT_ROLE: &str = "agent";

/// Subscriptions of one agent: four are used, the rest is for streams of concurrent executions.
const AGENT_SUBSCRIPTIONS: i64 = 64;

/// Bytes of one message of an agent: nats-server's own default, made explicit.
const AGENT_PAYLOAD_BYTES: i64 = 1024 * 1024;

/// How long after a request it may be answered. Longer than any deadline that a request carries.
const RESPONSE_TTL_NANOSECONDS: i64 = 120 * 1_000_000_000;

/// One answer to each request: handlers answer once, the rest goes over streams.
const ANSWER_ONCE: ResponsePermission =
    ResponsePermission { max: 1, ttl: RESPONSE_TTL_NANOSECONDS };

/// What a service gives async-nats as its inbox prefix: `_INBOX_s.<role>-<instance>`.
#[must_use]
pub fn service_inbox_prefix(instance: &ServiceInstance) -> String {
    format!("_INBOX_s.{}", instance)
}

/// What an agent gives async-nats as its inbox prefix: `_INBOX_n.<node>`.
#[must_use]
pub fn agent_inbox_prefix(node: &NodeId) -> String {
    format!("_INBOX_n.{node}")
}

/// The rights of every agent, with `{{name()}}` standing for its node id.
#[must_use]
pub fn agent_template() -> UserLimits {
    UserLimits {
        permissions: Permissions {
            r#pub: SubjectPermission::only([
                "pact.v1.node.{{name()}}.up.>",
                "pact.v1.node.{{name()}}.stream.*.out",
            ]),
            sub: SubjectPermission::only([
                "pact.v1.node.{{name()}}.rpc.>",
                "pact.v1.node.{{name()}}.stream.*.in",
                "pact.v1.config.>",
                "_INBOX_n.{{name()}}.>",
            ]),
            resp: Some(ANSWER_ONCE),
        },
        subs: AGENT_SUBSCRIPTIONS,
        data: NO_LIMIT,
        payload: AGENT_PAYLOAD_BYTES,
        allowed_connection_types: Vec::new(),
    }
}

/// The rights of one service instance.
#[must_use]
pub fn service_user(instance: &ServiceInstance) -> UserLimits {
    let role = instance.role;
    let (own_pub, own_sub): (&[&str], &[&str]) = match role {
        ServiceRole::Gateway => (
            &["pact.v1.node.*.rpc.>", "pact.v1.node.*.stream.*.in"],
            &["pact.v1.node.*.stream.*.out"],
        ),
        ServiceRole::Journal => (
            &["pact.v1.config.>", "pact.v1.audit.>", "_INBOX_n.>", "$JS.API.>"],
            &[
                "pact.v1.node.*.up.event.>",
                "pact.v1.node.*.up.config",
                "pact.v1.node.*.up.time",
                "pact.v1.node.*.up.recording",
            ],
        ),
        ServiceRole::Enroll => (
            &["_INBOX_n.>", "pact.v1.node.*.rpc.ping"],
            &["pact.v1.node.*.up.hello", "pact.v1.node.*.up.renew"],
        ),
        ServiceRole::Approval | ServiceRole::Bridge => (&[], &[]),
    };
    let every_pub = ["pact.v1.rpc.>".to_owned(), "_INBOX_s.>".to_owned()];
    let every_sub = [
        format!("pact.v1.rpc.{}.>", role.as_str()),
        format!("{}.>", service_inbox_prefix(instance)),
        "$SRV.>".to_owned(),
    ];
    let with = |every: Vec<String>, own: &[&str]| {
        SubjectPermission::only(
            every.into_iter().chain(own.iter().map(|subject| (*subject).to_owned())),
        )
    };
    UserLimits {
        permissions: Permissions {
            r#pub: with(every_pub.to_vec(), own_pub),
            sub: with(every_sub.to_vec(), own_sub),
            resp: Some(ANSWER_ONCE),
        },
        subs: NO_LIMIT,
        data: NO_LIMIT,
        payload: NO_LIMIT,
        allowed_connection_types: Vec::new(),
    }
}

/// The rights of svc-enroll's user in the system account: push account tokens, hear connections come and go, list connections.
#[must_use]
pub fn enroll_system_user(instance: &ServiceInstance) -> UserLimits {
    UserLimits {
        permissions: Permissions {
            r#pub: SubjectPermission::only([
                "$SYS.REQ.CLAIMS.UPDATE",
                "$SYS.REQ.ACCOUNT.*.CLAIMS.LOOKUP",
                "$SYS.REQ.ACCOUNT.*.CONNZ",
                "$SYS.REQ.SERVER.PING",
                "$SYS.REQ.SERVER.PING.CONNZ",
            ]),
            sub: SubjectPermission::only([
                "$SYS.ACCOUNT.*.CONNECT".to_owned(),
                "$SYS.ACCOUNT.*.DISCONNECT".to_owned(),
                format!("{}.>", service_inbox_prefix(instance)),
            ]),
            resp: None,
        },
        subs: NO_LIMIT,
        data: NO_LIMIT,
        payload: NO_LIMIT,
        allowed_connection_types: Vec::new(),
    }
}

/// Claims of an agent's user, to be signed with the scoped key: the name is the node id, from which the server makes the rights.
///
/// `user` and `account` are public keys, times are unix seconds; `expires_at` is the end of the node's certificate.
/// That the name is a [`NodeId`] matters: a user called `*` would get everybody's subjects (decisions §1).
#[must_use]
pub fn agent_user(
    node: &NodeId,
    user: &str,
    account: &str,
    issued_at: u64,
    expires_at: u64,
) -> UserClaims {
    UserClaims {
        subject: user.to_owned(),
        name: node.to_string(),
        issued_at,
        expires_at: Some(expires_at),
        body: User::scoped(account),
    }
}

/// Operator claims: `system_account` and `signing_key` are public keys, time in unix seconds.
#[must_use]
pub fn operator_claims(
    name: &str,
    operator: &str,
    system_account: &str,
    signing_key: &str,
    issued_at: u64,
) -> OperatorClaims {
    OperatorClaims {
        subject: operator.to_owned(),
        name: name.to_owned(),
        issued_at,
        expires_at: None,
        body: Operator {
            signing_keys: vec![signing_key.to_owned()],
            system_account: system_account.to_owned(),
        },
    }
}

/// Claims of the pact account: JetStream on (bounded by the server's own limits), the scoped key for agents.
/// `account` and `agent_key` are public keys. A user that names no rights gets none.
#[must_use]
pub fn account_claims(name: &str, account: &str, agent_key: &str, issued_at: u64) -> AccountClaims {
    let scope = ScopedSigningKey::new(agent_key, AGENT_ROLE, agent_template());
    AccountClaims {
        subject: account.to_owned(),
        name: name.to_owned(),
        issued_at,
        expires_at: None,
        body: Account {
            limits: AccountLimits {
                mem_storage: NO_LIMIT,
                disk_storage: NO_LIMIT,
                streams: NO_LIMIT,
                consumers: NO_LIMIT,
                ..AccountLimits::default()
            },
            signing_keys: vec![SigningKey::Scoped(Box::new(scope))],
            default_permissions: nothing(),
            ..Account::default()
        },
    }
}

/// Claims of the system account. A user that names no rights gets none.
#[must_use]
pub fn system_account_claims(account: &str, issued_at: u64) -> AccountClaims {
    AccountClaims {
        subject: account.to_owned(),
        name: "SYS".to_owned(),
        issued_at,
        expires_at: None,
        body: Account { default_permissions: nothing(), ..Account::default() },
    }
}

fn nothing() -> Permissions {
    let none = || SubjectPermission::only(std::iter::empty::<String>());
    Permissions { r#pub: none(), sub: none(), resp: None }
}
