//! Without a token that verifies there is nothing.

use pact_schemas::ErrorCode;
use pact_schemas::v1::{LogRequest, WhoamiRequest};
use serde_json::json;
use tonic::Request;

use crate::world::{World, code, with_token};

#[tokio::test(flavor = "multi_thread")]
async fn t02_bad_tokens_are_refused_alike() {
    let world = World::start().await;
    let mut client = world.client().await;
    let none = client.whoami(Request::new(WhoamiRequest {})).await.unwrap_err();
    assert_eq!((code(&none), code(&none).exit_code()), (ErrorCode::Unauthenticated, 2));

    let good = world.issuer.token(&["pact-platform-admin"]);
    let mut altered = good.clone();
    altered
        .replace_range(good.len() - 4..good.len() - 3, if good.ends_with('A') { "B" } else { "A" });
    let bad = [
        ("garbage", "a.b.c".to_owned()),
        ("altered", altered),
        ("expired", world.issuer.signed(|c| c["exp"] = json!(c["iat"].as_i64().unwrap() - 100))),
        ("audience", world.issuer.signed(|c| c["aud"] = json!("other"))),
        ("issuer", world.issuer.signed(|c| c["iss"] = json!("other"))),
        (
            "too long a life",
            world.issuer.signed(|c| c["exp"] = json!(c["iat"].as_i64().unwrap() + 86_400)),
        ),
    ];
    let mut texts = std::collections::BTreeSet::new();
    for (what, token) in bad {
        let status = client
            .log(with_token(&token, LogRequest { count: 1, ..LogRequest::default() }))
            .await
            .unwrap_err();
        assert_eq!(code(&status), ErrorCode::Unauthenticated, "{what}");
        texts.insert(status.message().to_owned());
    }
    assert_eq!(texts.len(), 1, "one text for every reason: {texts:?}");
    client.whoami(with_token(&good, WhoamiRequest {})).await.unwrap();
}
