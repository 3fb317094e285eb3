//! May they: from a request to a permit.

use std::collections::{BTreeMap, BTreeSet};

use pact_identity::{Principal, PrincipalKind, Role};
use pact_policy::{Asker, AskerKind, Decision, DenyKind, Question, Target, VclusterRules};
use pact_schemas::convert::{Scope, vcluster_of};
use pact_schemas::operation::{Effect, Operation, Rpc};
use pact_schemas::v1::{NodeRecord, VclusterPolicy};
use pact_schemas::{ErrorCode, NodeId, NodeState, VclusterId, v1};

use crate::context::Gateway;
use crate::door::tokens::Caller;
use crate::error::{Answer, bad_reply};
use crate::targets::Targets;

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Asked<'a> {
    pub(crate) operation: &'static Operation,
    pub(crate) targets: Option<&'a Targets>,
    pub(crate) vclusters: Vec<VclusterId>,
    pub(crate) argv: &'a [String],
    /// Named vClusters need not exist: the request may make them.
    pub(crate) may_create: bool,
    /// The entry of another operation, of which this is a part, says that it was done.
    pub(crate) is_part: bool,
}

impl<'a> Asked<'a> {
    /// For nothing in particular.
    pub(crate) fn of(operation: &'static Operation) -> Self {
        Self {
            operation,
            targets: None,
            vclusters: Vec::new(),
            argv: &[],
            may_create: false,
            is_part: false,
        }
    }

    pub(crate) fn on(mut self, targets: &'a Targets) -> Self {
        self.targets = Some(targets);
        self
    }

    pub(crate) fn within(mut self, vclusters: impl IntoIterator<Item = VclusterId>) -> Self {
        self.vclusters.extend(vclusters);
        self
    }

    fn records(&self) -> &'a [NodeRecord] {
        self.targets.map_or(&[], |targets| targets.records.as_slice())
    }

    /// Whether nothing else in the journal says that it was asked for and allowed.
    fn is_recorded_as_access(&self) -> bool {
        let leaves_no_entry =
            self.operation.effect == Effect::Reads || self.operation.rpc == Rpc::Invoke;
        leaves_no_entry && !self.is_part
    }

    /// The vClusters that it concerns; `None`: nodes that are in none.
    fn concerned(&self) -> BTreeSet<Option<String>> {
        let present = self.records().iter().map(|record| record.vcluster.clone());
        present.chain(self.vclusters.iter().map(|v| Some(v.to_string()))).collect()
    }

    /// The scope under which it is recorded.
    fn scope(&self) -> Scope {
        let mut nodes = self.targets.into_iter().flat_map(|t| t.set.iter());
        if let (Some(only), None) = (nodes.next(), nodes.next()) {
            return Scope::Node(only.clone());
        }
        let mut all = self.concerned().into_iter();
        match (all.next(), all.next()) {
            (Some(Some(only)), None) => {
                VclusterId::new(&only).map_or(Scope::Global, Scope::Vcluster)
            }
            _ => Scope::Global,
        }
    }

    /// What it is about, in one line.
    fn target(&self) -> String {
        match self.targets {
            Some(targets) => targets.set.fold(),
            None => self.vclusters.iter().map(|v| format!("vc:{v}")).collect::<Vec<_>>().join(","),
        }
    }
}

/// The row of the operations table; its absence is a defect that the tests of the table rule out.
pub(crate) fn operation(name: &str) -> Answer<&'static Operation> {
    Operation::find(name)
        .ok_or_else(|| ErrorCode::Internal.error(format!("{name} is not in the operations table")))
}

/// The right to do what was asked, as it is attested.
#[derive(Debug, Clone)]
pub(crate) struct Permit {
    pub(crate) operation: &'static Operation,
    pub(crate) principal: Principal,
    pub(crate) acting_role: Option<Role>,
    pub(crate) policy_ref: String,
}

/// Something to be recorded: who, under which decision, about what.
#[derive(Debug, Clone)]
pub(crate) struct Note {
    pub(crate) permit: Permit,
    pub(crate) scope: Scope,
    pub(crate) target: String,
    /// Who sees it: those whom it concerns now, wherever nodes are moved.
    pub(crate) vclusters: Vec<String>,
}

impl Gateway {
    /// Asks the policy. A refusal is recorded before it is answered, reading is recorded beside.
    pub(crate) async fn authorise(&self, caller: &Caller, asked: Asked<'_>) -> Answer<Permit> {
        let settings = self.settings(&asked).await?;
        let question = self.question(&caller.principal, &asked, &settings)?;
        let note = |acting_role: Option<Role>, policy_ref: String| Note {
            permit: Permit {
                operation: asked.operation,
                principal: caller.principal.clone(),
                acting_role,
                policy_ref,
            },
            scope: asked.scope(),
            target: asked.target(),
            vclusters: asked.concerned().into_iter().flatten().collect(),
        };
        let (note, refusal) = match self.policy.decide(&question).await {
            Decision::Allow { acting_role, policy_ref } => {
                let role = acting_role.map(|role| role.parse::<Role>()).transpose();
                let role = role.map_err(|e| ErrorCode::Internal.error(e.to_string()))?;
                let note = note(role, policy_ref);
                if !asked.may_create
                    && let Some(missing) = settings.unknown.first()
                {
                    return Err(no_vcluster(missing));
                }
                let permit = note.permit.clone();
                if asked.is_recorded_as_access() {
                    self.records.accessed(note, self.clock.now());
                }
                return Ok(permit);
            }
            Decision::Deny { kind, reasons, policy_ref } => {
                (note(None, policy_ref), denial(asked.operation, kind, &reasons))
            }
            Decision::NeedsApproval { reasons, policy_ref, .. } => {
                (note(None, policy_ref), approval_unbuilt(asked.operation, &reasons))
            }
        };
        self.records.denied(note, &refusal).await;
        Err(refusal)
    }

    fn question(
        &self,
        principal: &Principal,
        asked: &Asked<'_>,
        settings: &Settings,
    ) -> Answer<Question> {
        let targets = asked.targets.into_iter().flat_map(Targets::nodes).map(target);
        Ok(Question {
            asker: Asker {
                subject: principal.subject().to_owned(),
                issuer: principal.issuer().to_owned(),
                kind: kind(principal.kind()),
                roles: principal.roles().iter().map(ToString::to_string).collect(),
            },
            operation: asked.operation,
            targets: targets.collect::<Answer<_>>()?,
            vclusters: asked.vclusters.clone(),
            argv: asked.argv.to_vec(),
            rules: settings.rules.clone(),
            time: self.clock.now(),
        })
    }

    /// The settings of every vCluster that the request touches.
    async fn settings(&self, asked: &Asked<'_>) -> Answer<Settings> {
        let mut touched: BTreeSet<VclusterId> = asked.vclusters.iter().cloned().collect();
        for record in asked.records() {
            touched.extend(vcluster_of(record).map_err(|e| bad_reply("pact-journal", e))?);
        }
        let mut settings = Settings::default();
        if touched.is_empty() {
            return Ok(settings); // an empty list would ask for all of them
        }
        let mut known: BTreeMap<String, VclusterPolicy> = self
            .vclusters(touched.iter().map(ToString::to_string).collect())
            .await?
            .into_iter()
            .map(|record| (record.vcluster, record.policy.unwrap_or_default()))
            .collect();
        for vcluster in touched {
            // One that does not exist yet has the documented defaults.
            let policy = known.remove(vcluster.as_str());
            if policy.is_none() {
                settings.unknown.push(vcluster.clone());
            }
            settings.rules.insert(vcluster, VclusterRules::from(&policy.unwrap_or_default()));
        }
        Ok(settings)
    }
}

#[derive(Debug, Default)]
struct Settings {
    rules: BTreeMap<VclusterId, VclusterRules>,
    unknown: Vec<VclusterId>,
}

fn target((node, record): (&NodeId, &NodeRecord)) -> Answer<Target> {
    Ok(Target {
        node: node.clone(),
        vcluster: vcluster_of(record).map_err(|e| bad_reply("pact-journal", e))?,
        state: NodeState::of(record).map_err(|e| bad_reply("pact-journal", e))?,
    })
}

fn kind(kind: PrincipalKind) -> AskerKind {
    match kind {
        PrincipalKind::Human => AskerKind::Human,
        PrincipalKind::ServiceAgent => AskerKind::ServiceAgent,
        PrincipalKind::ServiceAi => AskerKind::ServiceAi,
        PrincipalKind::Service => AskerKind::Service,
        PrincipalKind::Node => AskerKind::Node,
    }
}

fn denial(operation: &Operation, kind: DenyKind, reasons: &[String]) -> v1::Error {
    let command = operation.command.join(" ");
    let because = reasons.join("; ");
    match kind {
        DenyKind::NoRole => ErrorCode::NotAuthorised
            .error(format!("not authorised to `pact {command}` here"))
            .because(because)
            .next("check your role has the required permissions (`pact whoami`)"),
        DenyKind::Rule => ErrorCode::PolicyDenied
            .error(format!("policy: denied `pact {command}` here"))
            .because(because)
            .next("check your role has the required permissions, and the site's rules"),
        DenyKind::Undecided => ErrorCode::PolicyDenied
            .error(format!("policy: could not decide `pact {command}`, so it is denied"))
            .because(because)
            .next("tell a platform admin: the site's rules or this gateway need attention"),
    }
}

fn approval_unbuilt(operation: &Operation, reasons: &[String]) -> v1::Error {
    let command = operation.command.join(" ");
    ErrorCode::Unimplemented
        .error(format!("`pact {command}` needs the approval of a second person here"))
        .because(format!(
            "{}; approvals are not built yet, so nothing was done",
            reasons.join("; ")
        ))
        .next("see \"What is not built yet\" in the README")
}

pub(crate) fn no_vcluster(name: &VclusterId) -> v1::Error {
    ErrorCode::NotFound
        .error(format!("no such vCluster: {name}"))
        .because("a vCluster exists once a specification that names it has been applied by a platform admin")
        .next("list the vClusters with `pact group list`")
}
