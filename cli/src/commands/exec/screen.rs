//! What the user sees of a running command.

use std::collections::BTreeMap;
use std::time::Duration;

use pact_runtime::Clock;
use pact_schemas::{convert, v1};
use serde_json::json;

use super::fold::{Fold, Group, heading};
use super::verdict::{Ended, Verdict, error_of};
use crate::advice;
use crate::failure::Failure;
use crate::fleet::folded;
use crate::output::{
    self, Format, Line, Sanitizer, Screen, StreamWriter, Summary, bytes_as_json, clean_line,
    counted,
};
use crate::view::entry_detail;

const SCHEMA: &str = "pact/v1/Exec";

/// A line of a node that has no end yet is shown at this length, so that memory stays bounded.
const MAX_PARTIAL_LINE_BYTES: usize = 64 * 1024;

/// Writes output as it comes: byte for byte where it is redirected, neutralised on a terminal,
/// line by line with the node's name where there are several; on a terminal, what several nodes
/// wrote alike is shown once (`fold`).
pub(super) struct ExecScreen {
    format: Format,
    screen: Screen,
    raw: bool,
    writer: StreamWriter,
    sources: BTreeMap<(String, bool), Source>,
    clock: Clock,
    fold: Fold,
    /// How nodes ended whose output is still held: said after it.
    endings: String,
    /// Failures of several nodes: said once for all that failed alike.
    failed: Vec<v1::Error>,
}

/// One stream of one node.
#[derive(Default)]
struct Source {
    sanitizer: Sanitizer,
    /// The beginning of a line (fleet), or of a character (JSON).
    partial: Vec<u8>,
}

impl ExecScreen {
    pub(super) fn new(format: Format, screen: Screen, raw: bool, clock: Clock) -> Self {
        Self {
            format,
            screen,
            raw,
            writer: StreamWriter::new(),
            sources: BTreeMap::new(),
            clock,
            fold: Fold::default(),
            endings: String::new(),
            failed: Vec::new(),
        }
    }

    /// Whether output is compared before it is shown.
    fn folds(&self, is_stderr: bool, is_fleet: bool) -> bool {
        is_fleet && self.format == Format::Text && self.screen.is_terminal(is_stderr)
    }

    /// How long until [`ExecScreen::show_due`] has something to do.
    pub(super) fn until_due(&self) -> Option<Duration> {
        Some(self.fold.due()?.saturating_sub(self.clock.monotonic()))
    }

    /// Shows what was held for long enough.
    pub(super) async fn show_due(&mut self) -> Result<(), Failure> {
        let now = self.clock.monotonic();
        for ((node, is_stderr), held) in self.fold.overdue_streams(now) {
            self.prefixed(&node, is_stderr, &held).await?;
        }
        let groups = self.fold.overdue_groups(now);
        self.show(groups).await
    }

    async fn show(&mut self, groups: Vec<Group>) -> Result<(), Failure> {
        for group in groups {
            match group.nodes.as_slice() {
                [only] => {
                    self.prefixed(only, group.is_stderr, &group.bytes).await?;
                    self.last_line(only, group.is_stderr).await?;
                }
                nodes => {
                    let mut text = heading(nodes).into_bytes();
                    text.extend_from_slice(&group.bytes);
                    if !group.bytes.ends_with(b"\n") {
                        text.push(b'\n');
                    }
                    self.writer.write(group.is_stderr, &text).await?;
                }
            }
        }
        let endings = std::mem::take(&mut self.endings);
        if endings.is_empty() { Ok(()) } else { self.stderr_text(&endings).await }
    }

    /// Whole lines with the node's name in front; the beginning of a line waits.
    async fn prefixed(&mut self, node: &str, is_stderr: bool, bytes: &[u8]) -> Result<(), Failure> {
        let source = self.sources.entry((node.to_owned(), is_stderr)).or_default();
        let shown = source.whole_lines(node, bytes);
        if shown.is_empty() { Ok(()) } else { self.writer.write(is_stderr, &shown).await }
    }

    /// What is left of a line.
    async fn last_line(&mut self, node: &str, is_stderr: bool) -> Result<(), Failure> {
        let source = self.sources.remove(&(node.to_owned(), is_stderr));
        let shown = source.map(|mut source| source.last_line(node)).unwrap_or_default();
        if shown.is_empty() { Ok(()) } else { self.writer.write(is_stderr, &shown).await }
    }

    /// The command is on its way.
    pub(super) async fn accepted(&mut self, accepted: &v1::ExecAcceptedBy) -> Result<(), Failure> {
        if self.format == Format::Json {
            let item = json!({"type": "accepted", "seq": accepted.seq, "nodes": accepted.nodes});
            self.line(item).await?;
        }
        Ok(())
    }

    /// A piece of output.
    pub(super) async fn bytes(
        &mut self,
        node: &str,
        bytes: &v1::ExecBytes,
        is_fleet: bool,
    ) -> Result<(), Failure> {
        let stream: v1::OutputStream =
            convert::enumeration(bytes.stream, "ExecBytes.stream").map_err(v1::Error::from)?;
        let is_stderr = stream == v1::OutputStream::Stderr;
        let neutralise = self.screen.is_terminal(is_stderr) && !self.raw;
        let source = self.sources.entry((node.to_owned(), is_stderr)).or_default();
        if self.format == Format::Json {
            let whole = source.whole_characters(&bytes.data);
            return if whole.is_empty() {
                Ok(())
            } else {
                self.output_item(node, is_stderr, &whole).await
            };
        }
        let safe = match neutralise {
            true => source.sanitizer.feed(&bytes.data).into_bytes(),
            false => bytes.data.clone(),
        };
        if self.folds(is_stderr, is_fleet) {
            let shown = self.fold.take(node, is_stderr, &safe, self.clock.monotonic());
            return self.prefixed(node, is_stderr, &shown).await;
        }
        if is_fleet {
            return self.prefixed(node, is_stderr, &safe).await;
        }
        if safe.is_empty() { Ok(()) } else { self.writer.write(is_stderr, &safe).await }
    }

    async fn output_item(
        &mut self,
        node: &str,
        is_stderr: bool,
        bytes: &[u8],
    ) -> Result<(), Failure> {
        let (form, value) = bytes_as_json(bytes);
        let stream = if is_stderr { "stderr" } else { "stdout" };
        self.line(json!({"type": "output", "node": node, "stream": stream, form: value})).await
    }

    /// The end on one node: what is left of its output, then how it ended.
    pub(super) async fn ended(
        &mut self,
        node: &str,
        ended: &Ended,
        is_fleet: bool,
    ) -> Result<(), Failure> {
        for is_stderr in [false, true] {
            self.flush(node, is_stderr, is_fleet).await?;
        }
        let is_held = self.fold.end(node, self.clock.monotonic());
        if self.format == Format::Json {
            if let Ended::Finished(finished) = ended {
                let item = json!({
                    "type": "finished",
                    "node": node,
                    "detail": entry_detail::exec_finished(finished),
                });
                self.line(item).await?;
            }
            return Ok(());
        }
        let mut text = String::new();
        if let Ended::Finished(finished) = ended {
            for note in notes(node, finished) {
                text.push_str(&format!("{}\n", clean_line(&note)));
            }
        }
        match error_of(node, ended).map(|error| self.advised(error)) {
            Some(error) if is_fleet => self.failed.push(error),
            Some(error) => text.push_str(&output::error_text(&error, self.screen)),
            None => {}
        }
        if is_held {
            self.endings.push_str(&text);
            return Ok(());
        }
        if text.is_empty() { Ok(()) } else { self.stderr_text(&text).await }
    }

    async fn flush(&mut self, node: &str, is_stderr: bool, is_fleet: bool) -> Result<(), Failure> {
        let Some(mut source) = self.sources.remove(&(node.to_owned(), is_stderr)) else {
            return Ok(());
        };
        if self.format == Format::Json {
            let rest = std::mem::take(&mut source.partial);
            return if rest.is_empty() {
                Ok(())
            } else {
                self.output_item(node, is_stderr, &rest).await
            };
        }
        let tail = source.sanitizer.finish().into_bytes();
        if self.folds(is_stderr, is_fleet) {
            // Of a stream that is held, the source holds nothing but the sanitizer.
            let shown = self.fold.take(node, is_stderr, &tail, self.clock.monotonic());
            let mut lines = source.whole_lines(node, &shown);
            lines.extend(source.last_line(node));
            return if lines.is_empty() {
                Ok(())
            } else {
                self.writer.write(is_stderr, &lines).await
            };
        }
        let shown = if is_fleet {
            let mut shown = source.whole_lines(node, &tail);
            shown.extend(source.last_line(node));
            shown
        } else {
            tail
        };
        if shown.is_empty() { Ok(()) } else { self.writer.write(is_stderr, &shown).await }
    }

    /// What is left of nodes whose end did not come.
    pub(super) async fn flush_all(&mut self, is_fleet: bool) -> Result<(), Failure> {
        let open: Vec<(String, bool)> = self.sources.keys().cloned().collect();
        for (node, is_stderr) in open {
            self.flush(&node, is_stderr, is_fleet).await?;
            self.fold.end(&node, self.clock.monotonic());
        }
        let groups = self.fold.groups();
        self.show(groups).await?;
        let failed = folded(std::mem::take(&mut self.failed));
        let text: String = failed.iter().map(|e| output::error_text(e, self.screen)).collect();
        if text.is_empty() { Ok(()) } else { self.stderr_text(&text).await }
    }

    fn advised(&self, error: v1::Error) -> v1::Error {
        advice::after(self.screen.command, error)
    }

    /// After the last node.
    pub(super) async fn end(&mut self, verdict: &Verdict) -> Result<(), Failure> {
        let errors: Vec<v1::Error> = verdict
            .ended()
            .filter_map(|(node, ended)| Some(self.advised(error_of(node, ended)?)))
            .collect();
        let missing = verdict.missing().len();
        let failed = errors.len() + missing;
        let ok = verdict.ended().count().saturating_sub(errors.len());
        if self.format == Format::Text {
            return match failed {
                0 => Ok(()),
                _ if !verdict.is_fleet() => Ok(()),
                _ => {
                    self.stderr_text(&format!("{} ok, {failed} failed\n", counted(ok, "node")))
                        .await
                }
            };
        }
        let line = Line::end(SCHEMA, &errors, Summary { ok, failed }).encode()?;
        self.writer.write(false, line.as_bytes()).await
    }

    async fn line(&mut self, item: serde_json::Value) -> Result<(), Failure> {
        let line = Line::item(SCHEMA, item).encode()?;
        self.writer.write(false, line.as_bytes()).await
    }

    async fn stderr_text(&mut self, text: &str) -> Result<(), Failure> {
        // A reader of stdout only is no reason to lose the exit code.
        match self.writer.write(true, text.as_bytes()).await {
            Err(Failure::OutputClosed) => Ok(()),
            other => other,
        }
    }
}

impl Source {
    /// Whole lines with the node's name in front; the rest waits for its newline.
    fn whole_lines(&mut self, node: &str, bytes: &[u8]) -> Vec<u8> {
        self.partial.extend_from_slice(bytes);
        let mut shown = Vec::new();
        while let Some(end) = self.partial.iter().position(|b| *b == b'\n') {
            let rest = self.partial.split_off(end + 1);
            push_line(&mut shown, node, &std::mem::replace(&mut self.partial, rest));
        }
        if self.partial.len() > MAX_PARTIAL_LINE_BYTES {
            shown.extend(self.last_line(node));
        }
        shown
    }

    /// What is left, as a line.
    fn last_line(&mut self, node: &str) -> Vec<u8> {
        let mut shown = Vec::new();
        if !self.partial.is_empty() {
            push_line(&mut shown, node, &std::mem::take(&mut self.partial));
            shown.push(b'\n');
        }
        shown
    }

    /// All but the beginning of a character whose end has not come yet, so that text stays text.
    fn whole_characters(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.partial.extend_from_slice(bytes);
        let cut = match std::str::from_utf8(&self.partial) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => self.partial.len(),
        };
        let rest = self.partial.split_off(cut);
        std::mem::replace(&mut self.partial, rest)
    }
}

fn push_line(shown: &mut Vec<u8>, node: &str, line: &[u8]) {
    shown.extend_from_slice(clean_line(node).as_bytes());
    shown.extend_from_slice(b": ");
    shown.extend_from_slice(line);
}

/// What else there is to say about an end.
fn notes(node: &str, finished: &v1::ExecFinished) -> Vec<String> {
    let mut notes = Vec::new();
    if finished.discarded_bytes > 0 {
        let kept = finished.output_bytes.saturating_sub(finished.discarded_bytes);
        notes.push(format!(
            "warning: {node}: output cut at {kept} bytes, {} discarded",
            finished.discarded_bytes
        ));
    }
    if finished.off_list {
        notes.push(format!("warning: {node}: the command is not whitelisted; it ran because the node only records that"));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fleet_output_comes_in_whole_lines_with_the_name_in_front() {
        let mut source = Source::default();
        assert_eq!(source.whole_lines("n1", b"par"), b"");
        assert_eq!(
            source.whole_lines("n1", b"t one\npart two\nrest"),
            b"n1: part one\nn1: part two\n"
        );
        assert_eq!(source.last_line("n1"), b"n1: rest\n");
        assert_eq!(source.last_line("n1"), b"");
        let long = vec![b'x'; MAX_PARTIAL_LINE_BYTES + 1];
        assert_eq!(source.whole_lines("n1", &long).len(), long.len() + "n1: \n".len());
    }

    #[test]
    fn a_character_is_never_cut_in_json() {
        let mut source = Source::default();
        assert_eq!(source.whole_characters("a€".as_bytes().split_at(2).0), b"a");
        assert_eq!(source.whole_characters("a€".as_bytes().split_at(2).1), "€".as_bytes());
        // What is no text at all passes as it is.
        assert_eq!(source.whole_characters(b"\xff\xfe"), b"\xff\xfe");
    }

    #[test]
    fn cut_output_is_said() {
        let finished = v1::ExecFinished {
            output_bytes: 50_000_000,
            discarded_bytes: 39_514_240,
            ..Default::default()
        };
        assert_eq!(
            notes("node-1", &finished),
            ["warning: node-1: output cut at 10485760 bytes, 39514240 discarded"]
        );
    }
}
