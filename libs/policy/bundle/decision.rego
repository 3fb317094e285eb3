# The default policy of pact: who may ask for what, and where.
#
# What operations exist, the least role of each and the scope in which that role
# is needed come as `data.operations` from the operations table of pact-schemas.
# This file says only what those words mean. Whatever it leaves undefined is a refusal.
package pact.decision

import rego.v1

operation := data.operations[input.operation]

roles := {role | some role in input.principal.roles}

human if input.principal.kind == "human"

# Every vCluster that the request names or that a target belongs to.
involved := {v | some v in input.vclusters} | {v | some v in input.target_vclusters}

# ---- Where is the right needed? ------------------------------------------------

# Of the site: platform admin alone.
site if operation.least == "platform-admin"

site if {
	operation.scope == "site"
	not open
}

# Nodes without a vCluster belong to the platform admin.
site if {
	operation.scope in {"targets", "vcluster"}
	input.has_unassigned_targets
}

# A node operation that names no node, or a change that names no scope at all.
site if {
	operation.scope == "targets"
	count(input.targets) == 0
}

site if {
	unnamed
	operation.effect == "writes"
}

site if {
	leaves
	input.has_unassigned_targets
}

site if {
	leaves
	count(input.targets) == 0
}

site if {
	enters
	count(input.vclusters) == 0
}

# In each of these vClusters.
needed contains v if {
	operation.scope in {"targets", "vcluster"}
	some v in involved
}

needed contains v if {
	enters
	some v in input.vclusters
}

needed contains v if {
	leaves
	some v in input.target_vclusters
}

needed contains v if {
	operation.scope == "inventory"
	some v in input.target_vclusters
}

# In any vCluster; the answer is filtered to what the caller may see.
anywhere if operation.scope == "any-vcluster"

# Nodes that are in no vCluster, or not registered yet.
anywhere if {
	operation.scope == "inventory"
	count(input.target_vclusters) == 0
}

anywhere if {
	unnamed
	operation.effect == "reads"
}

unnamed if {
	operation.scope == "vcluster"
	count(involved) == 0
	count(input.targets) == 0
}

# `assign` needs the target vCluster, `unassign` the present one, `move` both.
enters if {
	operation.scope == "assignment"
	input.operation in {"node.assign", "node.move"}
}

leaves if {
	operation.scope == "assignment"
	input.operation in {"node.unassign", "node.move"}
}

# Nowhere: any verified principal.
open if operation.least == "nobody"

open if {
	operation.least == "anyone"
	human
}

open if {
	operation.least == "anyone"
	operation.effect == "reads"
}

# ---- Who has it? ---------------------------------------------------------------

# Least privilege first: this is the role that the action is recorded under.
sufficient := {
	"viewer": ["viewer", "regulated", "ops"],
	"ops": ["ops"],
	"regulated": ["regulated"],
}

admin contains "pact-platform-admin" if {
	human
	"pact-platform-admin" in roles
}

# Machines read what a viewer reads, in every vCluster, and nothing else ...
machine contains role if {
	some role in ["pact-service-agent", "pact-service-ai"]
	role == concat("-", ["pact", input.principal.kind])
	role in roles
	operation.least == "viewer"
	operation.effect == "reads"
}

# ... but an AI may ask for exec; where that is allowed is a setting of the vCluster.
machine contains "pact-service-ai" if {
	input.principal.kind == "service-ai"
	"pact-service-ai" in roles
	input.operation == "exec"
}

roles_in(v) := array.concat(
	[role |
		human
		some name in sufficient[operation.least]
		role := concat("-", ["pact", name, v])
		role in roles
	],
	sort(machine),
)

roles_anywhere := array.concat(
	[role |
		human
		some name in sufficient[operation.least]
		some role in sort(roles)
		startswith(role, concat("", ["pact-", name, "-"]))
	],
	sort(machine),
)

missing contains v if {
	some v in needed
	count(roles_in(v)) == 0
}

# The roles under which the action may be done, the preferred one first.
acting contains [0, role] if {
	open
	some role in roles
}

acting contains [1, null] if open

acting contains [2 + i, role] if {
	not site
	count(needed) > 0
	count(missing) == 0
	some i, role in roles_in(sort(needed)[0])
}

acting contains [2 + i, role] if {
	not site
	anywhere
	some i, role in roles_anywhere
}

acting contains [9, role] if some role in admin

# ---- What else forbids it? -----------------------------------------------------

forbidden contains sprintf("commands of AI identities are not allowed on vCluster %s (ai_exec_allowed)", [v]) if {
	input.principal.kind == "service-ai"
	input.operation == "exec"
	some v in needed
	not input.vcluster_policies[v].ai_exec_allowed == true
}

forbidden contains sprintf("vCluster %s does not allow emergencies (emergency_allowed)", [v]) if {
	input.operation == "emergency.start"
	some v in needed
	input.vcluster_policies[v].emergency_allowed == false
}

# A change where the settings are not known is never let through.
forbidden contains sprintf("the settings of vCluster %s are not known", [v]) if {
	operation.effect == "writes"
	some v in involved
	not input.vcluster_policies[v]
}

approval contains sprintf("exec on vCluster %s needs a second person (exec_requires_approval)", [v]) if {
	input.operation == "exec"
	some v in needed
	input.vcluster_policies[v].exec_requires_approval == true
}

approval contains sprintf("%s on vCluster %s needs a second person (two_person_approval)", [input.operation, v]) if {
	input.operation in {
		"commit", "rollback", "apply", "group.set-policy", "blacklist.add", "blacklist.remove",
		"node.assign", "node.unassign", "node.move",
	}
	some v in involved
	two_person(v)
}

two_person(v) if input.vcluster_policies[v].two_person_approval == true

two_person(v) if input.vcluster_policies[v].regulated == true

# ---- The answer ----------------------------------------------------------------

lacking contains sprintf("%s needs the role %s of vCluster %s", [input.operation, operation.least, v]) if {
	not site
	some v in missing
}

lacking contains sprintf("%s needs the role %s of a vCluster", [input.operation, operation.least]) if {
	not site
	anywhere
}

lacking contains sprintf("%s needs the role platform-admin here", [input.operation]) if site

lacking contains sprintf("%s is not for this kind of identity", [input.operation]) if {
	not site
	count(missing) == 0
	not anywhere
}

result := {"effect": "deny", "kind": "no-role", "reasons": sort(lacking)} if {
	count(acting) == 0
} else := {"effect": "deny", "kind": "rule", "reasons": sort(forbidden)} if {
	count(forbidden) > 0
} else := {"effect": "needs-approval", "acting_role": sort(acting)[0][1], "reasons": sort(approval)} if {
	count(approval) > 0
} else := {"effect": "allow", "acting_role": sort(acting)[0][1]}
