//! One port, told apart by the first byte.

use std::error::Error;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use pact_schemas::v1::pact_client::PactClient;
use pact_schemas::v1::{HealthRequest, WhoamiRequest};
use pact_svc_gateway::door::listener::{self, ListenError};
use tokio::io::AsyncReadExt as _;

use crate::world::{PATIENCE, World};

#[tokio::test(flavor = "multi_thread")]
async fn t01_tls_is_served_and_plain_text_is_not() {
    let world = World::start().await;
    let who =
        world.client().await.whoami(world.by(&["pact-viewer-ml"], WhoamiRequest {})).await.unwrap();
    let principal = who.into_inner().principal.unwrap();
    assert_eq!(
        (principal.subject.as_str(), principal.roles),
        ("someone", vec!["pact-viewer-ml".to_owned()])
    );

    let plain = format!("http://{}", world.address);
    let refused = match PactClient::connect(plain).await {
        Ok(mut client) => client.whoami(world.by(&[], WhoamiRequest {})).await.is_err(),
        Err(_) => true,
    };
    assert!(refused);
    // The connection is closed, not left open.
    let mut socket = tokio::net::TcpStream::connect(world.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut socket, b"PRI * HTTP/2.0\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut rest)).await.unwrap();
    assert!(closed.is_err() || rest.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn t01_plain_text_and_tls_share_the_port_where_allowed() {
    let world = World::start_with(|s| s.allow_plaintext_loopback = true).await;
    let mut plain = PactClient::connect(format!("http://{}", world.address)).await.unwrap();
    plain.whoami(world.by(&[], WhoamiRequest {})).await.unwrap();
    world.client().await.whoami(world.by(&[], WhoamiRequest {})).await.unwrap();
}

#[tokio::test]
async fn t01_a_taken_port_is_named() {
    let holder = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = holder.local_addr().unwrap();
    let error = listener::bind(address).await.unwrap_err();
    assert!(matches!(error, ListenError::Bind { .. }));
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn t01_keys_that_others_can_read_are_refused_with_what_to_do() {
    for name in ["tls.key", "signing.key", "gateway.creds"] {
        let world = World::without_journal(|settings| {
            let path = match name {
                "tls.key" => &settings.tls.key,
                "signing.key" => &settings.signing.key,
                _ => &settings.bus.creds,
            };
            std::fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
        })
        .await;
        let path = world.path(name);
        let error = world.end().await.unwrap_err();
        let (mut text, mut next) = (Vec::new(), Some(&error as &dyn Error));
        while let Some(cause) = next {
            text.push(cause.to_string());
            next = cause.source();
        }
        let want = format!("chmod 0600 {}", path.display());
        assert!(text.iter().any(|t| t.contains("mode 0644") && t.contains(&want)), "{text:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t01_draining_ends_the_service_and_its_connections() {
    let world = World::start().await;
    let mut client = world.client().await;
    client.health(world.by(&["pact-viewer-ml"], HealthRequest {})).await.unwrap();
    world.supervisor.shutdown();
    crate::world::until("the port is closed", || {
        std::net::TcpStream::connect(world.address).is_err()
    })
    .await;
}
