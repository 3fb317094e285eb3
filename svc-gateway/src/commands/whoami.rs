//! `whoami`: who the token says that the caller is.

use pact_schemas::convert::timestamp;
use pact_schemas::v1;

use crate::context::Gateway;
use crate::door::tokens::Caller;
use crate::error::Answer;
use crate::rights::authorise::{Asked, operation};

pub(super) async fn whoami(
    gateway: &Gateway,
    caller: Caller,
    _: v1::WhoamiRequest,
) -> Answer<v1::WhoamiReply> {
    gateway.rights.authorise(&caller, Asked::of(operation("whoami")?)).await?;
    let expires = caller.principal.expires();
    Ok(v1::WhoamiReply {
        principal: Some(caller.principal.to_wire()),
        expires: expires.map(|at| timestamp(at.unix_nanos())),
    })
}
