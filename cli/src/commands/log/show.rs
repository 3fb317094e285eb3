//! `pact log show`

use std::collections::BTreeMap;

use pact_schemas::v1::entry::Payload;
use pact_schemas::{convert, v1};
use serde_json::{Value, json};

use crate::entry::VerifiedEntry;
use crate::failure::Failure;
use crate::gateway::{self, Waiting, failure_of};
use crate::output::{self, Envelope, Format, Sanitizer, StreamWriter, bytes_as_json};
use crate::session::{Exit, Session};
use crate::view;

const EXAMPLES: &str = "\
Examples:
  pact log show 42
  pact log show 42 --raw > output      Only the recorded output, byte for byte";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Sequence number of the entry
    #[arg(value_name = "SEQ", value_parser = clap::value_parser!(u64).range(1..))]
    seq: u64,
    /// Only the recorded output, and as it is, on a terminal too
    #[arg(long)]
    raw: bool,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let request = v1::ShowEntryRequest { seq: self.seq };
        let reply =
            gateway::unary(session, |mut client| async move { client.show_entry(request).await })
                .await?;
        let record =
            convert::required(reply.entry, "ShowEntryReply.entry").map_err(v1::Error::from)?;
        let entry = VerifiedEntry::new(&record)?.with_chunks(&reply.change_chunks)?;
        let outcomes = VerifiedEntry::all(&reply.outcomes)?;
        let has_output = std::iter::once(&entry)
            .chain(&outcomes)
            .any(|e| matches!(e.entry.payload, Some(Payload::ExecFinished(_))));
        match session.format() {
            Format::Json => self.json(session, &entry, &outcomes, has_output).await?,
            Format::Text => self.text(session, &entry, &outcomes, has_output).await?,
        }
        Ok(Exit::SUCCESS)
    }

    async fn text(
        &self,
        session: &Session,
        entry: &VerifiedEntry,
        outcomes: &[VerifiedEntry],
        has_output: bool,
    ) -> Result<(), Failure> {
        if !self.raw {
            let mut text = view::entry::full(entry, session.screen)?;
            for outcome in outcomes {
                text.push('\n');
                text.push_str(&view::entry::full(outcome, session.screen)?);
            }
            if has_output {
                text.push('\n');
            }
            output::write_out(&text)?;
        }
        if has_output {
            self.copy_output(session).await?;
        }
        Ok(())
    }

    /// Recorded stdout to stdout and stderr to stderr, neutralised on a terminal.
    async fn copy_output(&self, session: &Session) -> Result<(), Failure> {
        let mut writer = StreamWriter::new();
        let mut sanitizers: BTreeMap<(String, bool), Sanitizer> = BTreeMap::new();
        let mut last_node = String::new();
        let mut chunks = self.chunks(session).await?;
        while let Some(chunk) = chunks.message().await.map_err(|s| failure_of(&s))? {
            let is_stderr = is_stderr(&chunk)?;
            if chunk.node != last_node && !self.raw {
                if !last_node.is_empty() {
                    session.screen.note(&format!("--- {}", chunk.node));
                }
                last_node.clone_from(&chunk.node);
            }
            let is_terminal = session.screen.is_terminal(is_stderr);
            if self.raw || !is_terminal {
                writer.write(is_stderr, &chunk.data).await?;
            } else {
                let sanitizer = sanitizers.entry((chunk.node, is_stderr)).or_default();
                writer.write(is_stderr, sanitizer.feed(&chunk.data).as_bytes()).await?;
            }
        }
        for ((_node, is_stderr), mut sanitizer) in sanitizers {
            writer.write(is_stderr, sanitizer.finish().as_bytes()).await?;
        }
        Ok(())
    }

    async fn json(
        &self,
        session: &Session,
        entry: &VerifiedEntry,
        outcomes: &[VerifiedEntry],
        has_output: bool,
    ) -> Result<(), Failure> {
        let mut items = vec![view::entry::as_json(entry)?];
        for outcome in outcomes {
            items.push(view::entry::as_json(outcome)?);
        }
        if has_output && let Some(first) = items.first_mut().and_then(Value::as_object_mut) {
            first.insert("output".to_owned(), Value::Array(self.collect_output(session).await?));
        }
        Envelope::new("pact/v1/LogShow", items).write()
    }

    /// The recorded output by node and stream; at most the recording limit (10 MiB) for each node.
    async fn collect_output(&self, session: &Session) -> Result<Vec<Value>, Failure> {
        let mut collected: BTreeMap<(String, bool), Vec<u8>> = BTreeMap::new();
        let mut chunks = self.chunks(session).await?;
        while let Some(chunk) = chunks.message().await.map_err(|s| failure_of(&s))? {
            let is_stderr = is_stderr(&chunk)?;
            collected.entry((chunk.node, is_stderr)).or_default().extend(chunk.data);
        }
        let items = collected.into_iter().map(|((node, is_stderr), bytes)| {
            let stream = if is_stderr { "stderr" } else { "stdout" };
            let (form, value) = bytes_as_json(&bytes);
            json!({"node": node, "stream": stream, form: value})
        });
        Ok(items.collect())
    }

    async fn chunks(
        &self,
        session: &Session,
    ) -> Result<tonic::Streaming<v1::ReadOutputReply>, Failure> {
        let waiting = Waiting::new(session, "the journal");
        let mut client = waiting.during(gateway::connect(session, &waiting)).await?;
        let reply = client.read_output(v1::ReadOutputRequest { seq: self.seq }).await;
        Ok(reply.map_err(|status| failure_of(&status))?.into_inner())
    }
}

fn is_stderr(chunk: &v1::ReadOutputReply) -> Result<bool, Failure> {
    let stream: v1::OutputStream =
        convert::enumeration(chunk.stream, "ReadOutputReply.stream").map_err(v1::Error::from)?;
    Ok(stream == v1::OutputStream::Stderr)
}
