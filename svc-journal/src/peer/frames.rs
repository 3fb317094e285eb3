//! A snapshot as a stream: its header, then each file with its size and SHA-256 before its bytes.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use pact_runtime::Clock;
use pact_runtime::clock::TimedOut;
use pact_schemas::v1::{SnapshotFile, SnapshotFrame, SnapshotHeader, snapshot_frame::Frame};
use ring::digest::{Context, SHA256};
use tokio::fs::{self, File};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::Status;

use crate::consensus::folder::SnapshotFolder;

/// Bytes of a data frame.
const FRAME_BYTES: usize = 1024 * 1024;
/// Frames between the disk and the wire.
const QUEUE: usize = 4;
/// Files of one snapshot; RocksDB's are 64 MiB each.
const MAX_FILES: usize = 100_000;

/// Longest wait for the next frame. The sender reads a whole file for its hash first, which takes a second or two for 64 MiB on a
/// slow disk; a sender that is gone, or cut off, must not hold the place for others.
pub(crate) const FRAME_TIMEOUT: Duration = Duration::from_secs(30);

type Incoming<'a> = Pin<Box<dyn Stream<Item = Result<SnapshotFrame, Status>> + Send + 'a>>;

/// The frames of a snapshot. A file that cannot be read ends the stream; the receiver then misses what was announced.
pub(crate) fn stream(
    header: SnapshotHeader,
    folder: SnapshotFolder,
) -> ReceiverStream<SnapshotFrame> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    // Ends with the call that reads the stream, or with a disk error, which is logged: the leader tries again.
    drop(tokio::spawn(async move {
        let sent = send(&sender, header, folder.files()).await;
        if let Err(error) = sent {
            tracing::warn!(%error, "a snapshot could not be sent");
        }
    }));
    ReceiverStream::new(receiver)
}

fn frame(frame: Frame) -> SnapshotFrame {
    SnapshotFrame { frame: Some(frame) }
}

async fn send(
    sender: &mpsc::Sender<SnapshotFrame>,
    header: SnapshotHeader,
    folder: &Path,
) -> io::Result<()> {
    let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the receiver is gone");
    sender.send(frame(Frame::Header(header))).await.map_err(gone)?;
    let mut names = fs::read_dir(folder).await?;
    while let Some(entry) = names.next_entry().await? {
        if !entry.file_type().await?.is_file() {
            continue;
        }
        let name = entry
            .file_name()
            .into_string()
            .map_err(|_| io::Error::other("a file name is not text"))?;
        let (size_bytes, sha256) = digest(&entry.path()).await?;
        let file = SnapshotFile { name, size_bytes, sha256 };
        sender.send(frame(Frame::File(file))).await.map_err(gone)?;
        let mut file = File::open(entry.path()).await?.take(size_bytes);
        loop {
            let mut data = Vec::with_capacity(FRAME_BYTES);
            let mut part = (&mut file).take(FRAME_BYTES as u64);
            if part.read_to_end(&mut data).await? == 0 {
                break;
            }
            sender.send(frame(Frame::Data(data))).await.map_err(gone)?;
        }
    }
    Ok(())
}

async fn digest(path: &Path) -> io::Result<(u64, Vec<u8>)> {
    let mut file = File::open(path).await?;
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; FRAME_BYTES];
    let mut size = 0_u64;
    loop {
        let read = file.read(&mut buffer).await?;
        let Some(part) = buffer.get(..read).filter(|part| !part.is_empty()) else { break };
        context.update(part);
        size += part.len() as u64;
    }
    Ok((size, context.finish().as_ref().to_vec()))
}

/// A file on its way in.
struct Arriving {
    announced: SnapshotFile,
    file: File,
    received: u64,
    context: Context,
}

impl Arriving {
    async fn begin(announced: SnapshotFile, folder: &Path) -> Result<Self, Status> {
        let path = path_of(&announced.name, folder)?;
        let file = File::options()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&path)
            .await
            .map_err(disk)?;
        Ok(Self { announced, file, received: 0, context: Context::new(&SHA256) })
    }

    async fn write(&mut self, data: &[u8]) -> Result<(), Status> {
        self.received += data.len() as u64;
        if self.received > self.announced.size_bytes {
            return Err(Status::invalid_argument(format!(
                "{} is longer than announced",
                self.announced.name
            )));
        }
        self.context.update(data);
        self.file.write_all(data).await.map_err(disk)
    }

    async fn finish(mut self) -> Result<(), Status> {
        self.file.flush().await.map_err(disk)?;
        let whole = self.received == self.announced.size_bytes;
        if !whole || self.context.finish().as_ref() != self.announced.sha256 {
            return Err(Status::data_loss(format!(
                "{} did not arrive as it was sent",
                self.announced.name
            )));
        }
        Ok(())
    }
}

fn disk(error: io::Error) -> Status {
    Status::unavailable(format!("the snapshot cannot be written: {error}"))
}

/// A place directly in the folder, for names like RocksDB's.
fn path_of(name: &str, folder: &Path) -> Result<PathBuf, Status> {
    let plain = (1..=128).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        && !name.starts_with('.');
    if plain {
        Ok(folder.join(name))
    } else {
        Err(Status::invalid_argument("a snapshot names a file that it may not"))
    }
}

/// The answer to a sender that has fallen silent.
pub(crate) fn silent(late: TimedOut) -> Status {
    Status::deadline_exceeded(format!("the frames of the snapshot stopped: {late}"))
}

/// Writes the files of a snapshot, after its header, into an empty folder.
pub(crate) async fn receive(
    mut frames: Incoming<'_>,
    folder: &Path,
    clock: &Clock,
) -> Result<(), Status> {
    let mut arriving: Option<Arriving> = None;
    let mut files = 0;
    while let Some(next) = clock.timeout(FRAME_TIMEOUT, frames.next()).await.map_err(silent)? {
        match (next?.frame, &mut arriving) {
            (Some(Frame::File(announced)), _) => {
                if let Some(before) = arriving.take() {
                    before.finish().await?;
                }
                files += 1;
                if files > MAX_FILES {
                    return Err(Status::invalid_argument("the snapshot has too many files"));
                }
                arriving = Some(Arriving::begin(announced, folder).await?);
            }
            (Some(Frame::Data(data)), Some(file)) => file.write(&data).await?,
            _ => {
                return Err(Status::invalid_argument(
                    "the frames of the snapshot are out of order",
                ));
            }
        }
    }
    match arriving {
        Some(last) => last.finish().await,
        None => Err(Status::invalid_argument("the snapshot has no files")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::snapshot::incoming;

    async fn received(frames: Vec<SnapshotFrame>) -> Result<Vec<String>, Status> {
        let folder = tempfile::tempdir().unwrap();
        let frames = Box::pin(tokio_stream::iter(frames.into_iter().map(Ok)));
        receive(frames, folder.path(), &Clock::system()).await?;
        let names = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap());
        Ok(names.collect())
    }

    async fn sent() -> Vec<SnapshotFrame> {
        let from = tempfile::tempdir().unwrap();
        std::fs::write(from.path().join("000004.sst"), vec![7; 3 * FRAME_BYTES / 2]).unwrap();
        std::fs::write(from.path().join("EMPTY"), b"").unwrap();
        let folder = incoming(from.path().join("sub")).unwrap();
        std::fs::rename(from.path().join("000004.sst"), folder.files().join("000004.sst")).unwrap();
        std::fs::rename(from.path().join("EMPTY"), folder.files().join("EMPTY")).unwrap();
        stream(SnapshotHeader { meta: None }, folder).skip(1).collect().await
    }

    #[tokio::test]
    async fn what_is_sent_arrives_and_what_is_changed_does_not() {
        let frames = sent().await;
        let mut names = received(frames.clone()).await.unwrap();
        names.sort();
        assert_eq!(names, ["000004.sst", "EMPTY"]);

        let mut flipped = frames.clone();
        for frame in &mut flipped {
            if let Some(Frame::Data(data)) = &mut frame.frame {
                data[0] ^= 1;
            }
        }
        assert_eq!(received(flipped).await.unwrap_err().code(), tonic::Code::DataLoss);
        let mut cut = frames.clone();
        cut.retain(|frame| !matches!(frame.frame, Some(Frame::Data(_))));
        assert_eq!(received(cut).await.unwrap_err().code(), tonic::Code::DataLoss);
        assert!(received(Vec::new()).await.is_err());
    }

    #[tokio::test]
    async fn a_sender_that_falls_silent_gives_its_place_up() {
        let (clock, hand) = Clock::manual(pact_runtime::Timestamp::from_unix_nanos(0));
        let begun = sent().await.into_iter().take(2).map(Ok);
        let frames = tokio_stream::iter(begun).chain(tokio_stream::pending());
        let receiving = tokio::spawn(async move {
            let folder = tempfile::tempdir().unwrap();
            receive(Box::pin(frames), folder.path(), &clock).await
        });
        hand.wait_for_sleepers(1).await;
        hand.advance(FRAME_TIMEOUT);
        let refused = receiving.await.unwrap().unwrap_err();
        assert_eq!(refused.code(), tonic::Code::DeadlineExceeded);
    }

    #[tokio::test]
    async fn no_name_leaves_the_folder() {
        for name in ["../CURRENT", "/etc/passwd", "a/b", "..", ".hidden", "", "a\0b"] {
            let file = SnapshotFile { name: name.to_owned(), size_bytes: 0, sha256: Vec::new() };
            let refused = received(vec![frame(Frame::File(file))]).await.unwrap_err();
            assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{name:?}");
        }
    }
}
