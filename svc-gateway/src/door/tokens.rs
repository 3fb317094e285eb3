//! From a bearer token to a principal, and what a principal may see.

use std::sync::Arc;

use pact_identity::{Principal, Role, TokenVerifier};
use pact_runtime::Clock;
use pact_schemas::{ErrorCode, VclusterId, v1};
use tonic::metadata::MetadataMap;

use crate::error::Answer;

/// A verified caller. The token is kept to be checked again while a stream is open; it is never shown.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    token: String,
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller").field("principal", &self.principal).finish_non_exhaustive()
    }
}

/// What a caller may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sight {
    /// Everything: platform admins and the machine identities, which read everywhere.
    All,
    /// These vClusters and what is global.
    Vclusters(Vec<VclusterId>),
}

/// Knows whose token is good. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Tokens {
    verifier: Arc<TokenVerifier>,
    clock: Clock,
}

impl Tokens {
    pub(crate) fn new(verifier: Arc<TokenVerifier>, clock: Clock) -> Self {
        Self { verifier, clock }
    }

    /// The caller behind this request.
    pub(crate) fn authenticate(&self, metadata: &MetadataMap) -> Answer<Caller> {
        let token = bearer(metadata)?;
        let principal = self.verify(token)?;
        Ok(Caller { principal, token: token.to_owned() })
    }

    /// Checks a caller's token again, for streams that last.
    pub(crate) fn reverify(&self, caller: &Caller) -> Answer<()> {
        let principal = self.verify(&caller.token)?;
        if principal.is_same_actor(&caller.principal) { Ok(()) } else { Err(refused()) }
    }

    fn verify(&self, token: &str) -> Answer<Principal> {
        self.verifier.verify(token, self.clock.now()).map_err(|refusal| {
            tracing::info!(reason = %refusal.reason(), "token refused");
            metrics::counter!("pact_gateway_tokens_refused_total").increment(1);
            refused()
        })
    }
}

fn refused() -> v1::Error {
    ErrorCode::Unauthenticated
        .error("the bearer token is not accepted")
        .because("it is expired, malformed, or not signed by the issuer that this gateway trusts")
        .next("get a new token, then set PACT_TOKEN or write it to ~/.config/pact/token")
}

fn bearer(metadata: &MetadataMap) -> Answer<&str> {
    let mut values = metadata.get_all("authorization").iter();
    let missing = || {
        ErrorCode::Unauthenticated
            .error("No auth token found")
            .because("the request carries no bearer token")
            .next("set PACT_TOKEN, or write the token to ~/.config/pact/token")
    };
    let (first, second) = (values.next().ok_or_else(missing)?, values.next());
    let text = first.to_str().map_err(|_not_text| refused())?;
    let (scheme, token) = text.split_once(' ').ok_or_else(refused)?;
    if second.is_some() || !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(refused());
    }
    Ok(token)
}

/// What this principal may see, by its roles.
pub(crate) fn sight(principal: &Principal) -> Sight {
    let everywhere =
        |role: &Role| matches!(role, Role::PlatformAdmin | Role::ServiceAgent | Role::ServiceAi);
    if principal.roles().iter().any(everywhere) {
        return Sight::All;
    }
    let mut vclusters: Vec<VclusterId> =
        principal.roles().iter().filter_map(|role| role.vcluster().cloned()).collect();
    vclusters.sort_unstable();
    vclusters.dedup();
    Sight::Vclusters(vclusters)
}

impl Sight {
    /// The condition that the journal applies to entries.
    pub(crate) fn filter(&self) -> Option<v1::VclusterFilter> {
        match self {
            Self::All => None,
            Self::Vclusters(names) => {
                let vclusters = names.iter().map(ToString::to_string).collect();
                Some(v1::VclusterFilter { vclusters })
            }
        }
    }

    /// Whether something of this vCluster is seen; `None`: of no vCluster.
    pub(crate) fn sees(&self, vcluster: Option<&str>) -> bool {
        match self {
            Self::All => true,
            Self::Vclusters(names) => {
                vcluster.is_some_and(|v| names.iter().any(|name| name.as_str() == v))
            }
        }
    }
}

/// Whether the principal is ops of some vCluster: such people see unassigned nodes, which they may assign.
pub(crate) fn is_ops_anywhere(principal: &Principal) -> bool {
    principal.roles().iter().any(|role| matches!(role, Role::Ops(_) | Role::PlatformAdmin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bearer_token_is_taken_and_nothing_else() {
        let with = |values: &[&'static str]| {
            let mut metadata = MetadataMap::new();
            for value in values {
                metadata.append("authorization", value.parse().unwrap());
            }
            bearer(&metadata).map(str::to_owned).map_err(|e| e.known_code())
        };
        assert_eq!(with(&["Bearer a.b.c"]), Ok("a.b.c".to_owned()));
        assert_eq!(with(&["bearer a.b.c"]), Ok("a.b.c".to_owned()));
        for bad in [&[][..], &["Basic eA=="], &["Bearer "], &["a.b.c"], &["Bearer a", "Bearer b"]] {
            assert_eq!(with(bad), Err(ErrorCode::Unauthenticated), "{bad:?}");
        }
    }
}
