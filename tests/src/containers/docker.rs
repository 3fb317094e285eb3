//! The Docker daemon, and the one runtime that talks to it.
//!
//! testcontainers starts and ends containers; networks with labels, cuts, signals and volumes are asked of the daemon itself.

use std::collections::HashMap;
use std::fmt::Display;
use std::time::Duration;

use testcontainers::bollard::errors::Error;
use testcontainers::bollard::models::{
    ContainerCreateBody, ContainerState, HostConfig, Mount, MountType, NetworkConnectRequest,
    NetworkCreateRequest, NetworkDisconnectRequest, VolumeCreateRequest,
};
use testcontainers::bollard::query_parameters::{
    CreateContainerOptionsBuilder, KillContainerOptionsBuilder, RemoveContainerOptionsBuilder,
    RemoveVolumeOptionsBuilder, UploadToContainerOptionsBuilder,
};
use testcontainers::bollard::{self, body_full};
use testcontainers::core::client::docker_client_instance;
use tokio::runtime::Runtime;

/// Longest answer of a daemon that lives: it stops a container for up to [`STOP`], and a loaded machine is slow.
const ANSWER: Duration = Duration::from_secs(120);

/// How long the daemon may take to say that it is there.
const PING: Duration = Duration::from_secs(10);

/// Services drain for up to 20 s after SIGTERM.
pub(super) const STOP: Duration = Duration::from_secs(30);

/// Where volumes lie while they are filled.
pub(super) const FILLING: &str = "/volumes";

/// Labels of what is made.
pub type Labels = HashMap<String, String>;

/// The daemon. Its methods wait; they panic with what was asked when the daemon refuses, but for [`Docker::attempt`].
#[derive(Debug)]
pub struct Docker {
    runtime: Runtime,
    pub(super) client: bollard::Docker,
}

impl Docker {
    /// Finds the daemon as testcontainers does (`DOCKER_HOST`, else the local socket).
    ///
    /// # Panics
    /// When none answers; the message says how to go on without one.
    #[must_use]
    pub fn find() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let asked = runtime.block_on(async {
            let client = docker_client_instance().await.map_err(|e| e.to_string())?;
            let pong = tokio::time::timeout(PING, client.ping()).await;
            match pong {
                Ok(Ok(_)) => Ok(client),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_late) => Err(format!("it says nothing within {PING:?}")),
            }
        });
        match asked {
            Ok(client) => Self { runtime, client },
            Err(why) => panic!("{}", nobody(&why)),
        }
    }

    /// Waits for an answer; its error as text.
    ///
    /// # Errors
    /// What the daemon said, or that it said nothing for two minutes.
    pub(super) fn attempt<T, E: Display>(
        &self,
        question: impl Future<Output = Result<T, E>>,
    ) -> Result<T, String> {
        self.runtime.block_on(async {
            match tokio::time::timeout(ANSWER, question).await {
                Ok(answer) => answer.map_err(|error| error.to_string()),
                Err(_late) => Err(format!("the Docker daemon says nothing for {ANSWER:?}")),
            }
        })
    }

    /// Waits for an answer that is no refusal.
    pub(super) fn ask<T, E: Display>(
        &self,
        what: &str,
        question: impl Future<Output = Result<T, E>>,
    ) -> T {
        self.attempt(question).unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// Inside, things of testcontainers may be dropped.
    pub(super) fn enter(&self) -> tokio::runtime::EnterGuard<'_> {
        self.runtime.enter()
    }

    /// Makes a network.
    pub fn create_network(&self, name: &str, labels: Labels) {
        let request =
            NetworkCreateRequest { name: name.to_owned(), labels: Some(labels), ..<_>::default() };
        self.ask(&format!("make network {name}"), self.client.create_network(request));
    }

    /// Takes a container off its network. What it had open stays open and silent, as with a cut cable.
    pub(super) fn disconnect(&self, network: &str, container: &str) {
        let request =
            NetworkDisconnectRequest { container: container.to_owned(), force: Some(false) };
        let asked = self.client.disconnect_network(network, request);
        self.ask(&format!("take {container} off the network"), asked);
    }

    /// Puts it back; it has its name there again.
    pub(super) fn connect(&self, network: &str, container: &str) {
        let request =
            NetworkConnectRequest { container: container.to_owned(), endpoint_config: None };
        let asked = self.client.connect_network(network, request);
        self.ask(&format!("put {container} on the network"), asked);
    }

    pub(super) fn kill(&self, container: &str) {
        let options = KillContainerOptionsBuilder::new().signal("SIGKILL").build();
        let asked = self.client.kill_container(container, Some(options));
        self.ask(&format!("kill {container}"), asked);
    }

    /// How a container is.
    pub(super) fn state(&self, container: &str) -> ContainerState {
        let asked = self.client.inspect_container(container, None);
        self.ask(&format!("look at {container}"), asked).state.expect("it has a state")
    }

    /// Makes a volume.
    pub fn create_volume(&self, name: &str, labels: Labels) {
        let request = VolumeCreateRequest {
            name: Some(name.to_owned()),
            labels: Some(labels),
            ..<_>::default()
        };
        self.ask(&format!("make volume {name}"), self.client.create_volume(request));
    }

    /// Removes a volume.
    pub fn remove_volume(&self, name: &str) {
        let options = RemoveVolumeOptionsBuilder::new().build();
        self.ask(&format!("remove volume {name}"), self.client.remove_volume(name, Some(options)));
    }

    /// Unpacks `archives` (tar, with owners as in the containers) in [`FILLING`], where each of the volumes is a folder with its
    /// name. Nothing runs for that: files are put into a container that is never started.
    pub(super) fn fill(
        &self,
        (image, name, labels): (&str, &str, Labels),
        volumes: &[String],
        archives: Vec<Vec<u8>>,
    ) {
        let mounts = volumes.iter().map(|volume| Mount {
            target: Some(format!("{FILLING}/{volume}")),
            source: Some(volume.clone()),
            typ: Some(MountType::VOLUME),
            ..<_>::default()
        });
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            labels: Some(labels),
            host_config: Some(HostConfig { mounts: Some(mounts.collect()), ..<_>::default() }),
            ..<_>::default()
        };
        let filled = async {
            let options = CreateContainerOptionsBuilder::new().name(name).build();
            self.client.create_container(Some(options), body).await?;
            for archive in archives {
                let options = UploadToContainerOptionsBuilder::new().path("/").build();
                let archive = body_full(archive.into());
                self.client.upload_to_container(name, Some(options), archive).await?;
            }
            let options = RemoveContainerOptionsBuilder::new().force(true).build();
            self.client.remove_container(name, Some(options)).await?;
            Ok::<(), Error>(())
        };
        self.ask("fill volumes", filled);
    }

    /// The user of an image as `uid:gid`.
    ///
    /// # Panics
    /// When there is no such image, or it names its user otherwise.
    pub(super) fn image_owner(&self, image: &str) -> String {
        let config = self.attempt(self.client.inspect_image(image)).map(|found| found.config);
        let config = config
            .unwrap_or_else(|e| panic!("there is no image {image}: {e}\nrun ./dev images first"));
        let user = config.and_then(|config| config.user).unwrap_or_default();
        let (uid, gid) = user.split_once(':').unwrap_or((&user, &user));
        let number = |text: &str| if text.is_empty() { Ok(0) } else { text.parse::<u32>() };
        match (number(uid), number(gid)) {
            (Ok(uid), Ok(gid)) => format!("{uid}:{gid}"),
            _ => panic!("{image} runs as {user:?}: a number is needed to give it its files"),
        }
    }
}

fn nobody(why: &str) -> String {
    format!(
        "no Docker daemon answers: {why}\n\
         The container tests need one (Engine 20.10 or newer). Start it, or name it with DOCKER_HOST, and see that this user \
         may use it; or leave these tests out: cargo nextest run --workspace -E 'not binary(containers)'"
    )
}
