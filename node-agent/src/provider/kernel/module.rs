//! Kernel modules: what is loaded, what is built in, and `modprobe`; as a table.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use pact_runtime::Clock;
use pact_schemas::resource::{Kind, ResourceKey, Value};

use super::TREE;
use crate::provider::abilities::{Abilities, Notice, Stage};
use crate::provider::table::{Listing, Row, Section, Table};
use crate::provider::{Hold, Holder, Holders, ProviderError};

/// What modules can.
pub(crate) static MODULE: Abilities = Abilities {
    kind: Kind::Module,
    stage: Stage::Modules,
    notice: Notice::ByLooking,
    tree: Some(&TREE),
    needs: &[],
    refusal: |_| None,
};

/// `/proc/modules` of a node with every module of a distribution.
const MAX_LIST_BYTES: u64 = 4 * 1024 * 1024;
/// Loading waits for hardware; more than this hangs.
const MODPROBE_LIMIT: Duration = Duration::from_secs(30);
/// Between two looks at a running modprobe, on a thread that waits for nothing else.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Of what modprobe wrote: the reason is its last line. It stays far below what a pipe holds.
const MAX_SAID_BYTES: u64 = 32 * 1024;
/// Shown of that.
const SAID_CHARS: usize = 400;

/// A loaded module.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Loaded {
    /// References that the kernel counts, those of other modules included.
    references: u32,
    users: Vec<String>,
}

/// Modules of this kernel.
#[derive(Debug)]
pub(super) struct Modules {
    list: PathBuf,
    modprobe: PathBuf,
    /// With `_`, as the kernel names them.
    builtin: BTreeSet<Box<str>>,
    clock: Clock,
}

impl Modules {
    /// `proc`: `/proc`; `folder`: `/lib/modules/<release>`.
    pub(super) fn new(proc: &Path, folder: &Path, modprobe: PathBuf, clock: Clock) -> Self {
        let builtin = std::fs::read_to_string(folder.join("modules.builtin")).unwrap_or_default();
        Self {
            list: proc.join("modules"),
            modprobe,
            builtin: builtin.lines().filter_map(builtin_name).collect(),
            clock,
        }
    }

    fn is_builtin(&self, name: &str) -> bool {
        self.builtin.contains(name)
    }

    /// What is loaded. A kernel without modules has no list: nothing is.
    fn loaded(&self) -> Result<BTreeMap<String, Loaded>, ProviderError> {
        let mut text = String::new();
        let read = std::fs::File::open(&self.list)
            .and_then(|file| file.take(MAX_LIST_BYTES).read_to_string(&mut text));
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(ProviderError::io("read", &self.list, error)),
            Ok(_) => Ok(text.lines().filter_map(loaded_line).collect()),
        }
    }

    /// Loads a module, with what it needs.
    fn load(&self, name: &str) -> Result<(), ProviderError> {
        self.run(&["--", name])
    }

    /// Unloads a module.
    fn unload(&self, name: &str) -> Result<(), ProviderError> {
        self.run(&["-r", "--", name])
    }

    fn run(&self, arguments: &[&str]) -> Result<(), ProviderError> {
        let failed = |said: String| ProviderError::Program { program: "modprobe", said };
        let mut child = Command::new(&self.modprobe)
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| failed(format!("it cannot be run: {error}")))?;
        let status = self.wait(&mut child).map_err(|error| failed(error.to_string()))?;
        let mut said = Vec::new();
        if let Some(stderr) = child.stderr.take() {
            let _best = stderr.take(MAX_SAID_BYTES).read_to_end(&mut said);
        }
        match status {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(failed(format!("{status}: {}", neutral(&said)))),
            None => Err(failed(format!("it did not end within {} s", MODPROBE_LIMIT.as_secs()))),
        }
    }

    /// Waits for its end; `None`: it was ended because it took too long.
    fn wait(&self, child: &mut Child) -> io::Result<Option<std::process::ExitStatus>> {
        let started = self.clock.monotonic();
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(Some(status));
            }
            if self.clock.monotonic().saturating_sub(started) > MODPROBE_LIMIT {
                child.kill()?;
                child.wait()?;
                return Ok(None);
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

/// A module says only whether it is there.
const PRESENT: Row = Row { text: String::new(), is_shut: false };

impl Table for Modules {
    fn abilities(&self) -> &'static Abilities {
        &MODULE
    }

    fn section(&self) -> Section {
        Section::Names("modules")
    }

    fn list(&self) -> Result<Listing, ProviderError> {
        let names = self.loaded()?.into_keys();
        let keys = names.filter_map(|name| ResourceKey::new(Kind::Module, &name).ok());
        Ok(Listing::Rows(keys.map(|key| (key, PRESENT)).collect()))
    }

    fn read(&self, key: &ResourceKey) -> Result<Option<Row>, ProviderError> {
        let is_there = self.is_builtin(key.name()) || self.loaded()?.contains_key(key.name());
        Ok(is_there.then_some(PRESENT))
    }

    fn write(&self, key: &ResourceKey, wanted: Option<&str>) -> Result<(), ProviderError> {
        match wanted {
            Some(_) => self.load(key.name()),
            None if self.is_builtin(key.name()) => {
                let why = "it is built into the kernel";
                Err(ProviderError::NotRestorable { key: key.clone(), why })
            }
            None => self.unload(key.name()),
        }
    }

    fn value(&self, _text: &str) -> Value {
        Value::Boolean(true)
    }

    fn text(&self, key: &ResourceKey, want: &Value) -> Result<Option<String>, ProviderError> {
        match want {
            Value::Boolean(true) => Ok(Some(String::new())),
            Value::Boolean(false) | Value::Absent => Ok(None),
            _ => Err(ProviderError::WrongValue { key: key.clone() }),
        }
    }

    fn fixed(&self, key: &ResourceKey) -> Option<Row> {
        self.is_builtin(key.name()).then_some(PRESENT)
    }

    fn holders(&self, keys: &BTreeSet<ResourceKey>) -> Holders {
        let mut loaded = None;
        let mut of = |key: &ResourceKey| {
            // Read once, for the first module that is asked for.
            let known = match loaded.take() {
                Some(known) => known,
                None => self.loaded()?,
            };
            let known = loaded.insert(known);
            Ok(known.get(key.name()).map_or_else(Vec::new, Loaded::holders))
        };
        keys.iter().map(|key| (key.clone(), of(key))).collect()
    }
}

impl Loaded {
    /// Who uses it.
    fn holders(&self) -> Vec<Holder> {
        let holder = |name: String| Holder { pid: 0, name, how: Hold::Reference };
        let mut holders: Vec<Holder> = self.users.iter().cloned().map(holder).collect();
        let counted = u32::try_from(self.users.len()).unwrap_or(u32::MAX);
        let others = self.references.saturating_sub(counted);
        if others > 0 {
            holders.push(holder(format!("kernel ({others} references)")));
        }
        holders
    }
}

/// `kernel/drivers/block/loop.ko` is `loop`.
fn builtin_name(line: &str) -> Option<Box<str>> {
    let file = line.trim().rsplit('/').next()?;
    Some(file.strip_suffix(".ko")?.replace('-', "_").into())
}

/// `name size references user,user, state address`; `-` for no users and for no count.
fn loaded_line(line: &str) -> Option<(String, Loaded)> {
    let mut fields = line.split_ascii_whitespace();
    let name = fields.next()?.replace('-', "_");
    let references = fields.nth(1)?.parse().unwrap_or(0);
    let is_user = |user: &&str| !user.is_empty() && *user != "-" && !user.starts_with('[');
    let users = fields.next().unwrap_or("-").split(',').filter(is_user);
    Some((name, Loaded { references, users: users.map(str::to_owned).collect() }))
}

/// The end of what a program wrote, without control characters.
fn neutral(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let text: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let skipped = text.chars().count().saturating_sub(SAID_CHARS);
    text.chars().skip(skipped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_list_is_read() {
        let proc = tempfile::tempdir().unwrap();
        let list = "nf_nat 49152 2 nft_chain_nat,xt_MASQUERADE, Live 0xffff\n\
                    snd-hda 16384 0 - Live 0x0 (OE)\n\
                    loop 40960 3 - Live 0x0\n";
        std::fs::write(proc.path().join("modules"), list).unwrap();
        std::fs::write(
            proc.path().join("modules.builtin"),
            "kernel/fs/ext4/ext4.ko\nkernel/a-b.ko\n",
        )
        .unwrap();
        let clock = Clock::system();
        let modules = Modules::new(proc.path(), proc.path(), "/bin/true".into(), clock.clone());
        let loaded = modules.loaded().unwrap();
        let names: Vec<&str> = loaded.keys().map(String::as_str).collect();
        assert_eq!(names, ["loop", "nf_nat", "snd_hda"]);
        let holders = |name: &str| {
            loaded[name].holders().into_iter().map(|holder| holder.name).collect::<Vec<_>>()
        };
        assert_eq!(holders("nf_nat"), ["nft_chain_nat", "xt_MASQUERADE"]);
        assert_eq!(holders("loop"), ["kernel (3 references)"]);
        assert_eq!(holders("snd_hda"), Vec::<String>::new());
        assert!(modules.is_builtin("ext4") && modules.is_builtin("a_b"));
        let none = Modules::new(&proc.path().join("none"), proc.path(), "/bin/true".into(), clock);
        assert!(none.loaded().unwrap().is_empty());
    }

    #[test]
    fn modprobe_gets_arguments_and_its_reason_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("modprobe");
        let script = format!(
            "#!/bin/sh\necho \"$@\" >> {}/log\n[ \"$1\" = -r ] || exit 0\nprintf 'FATAL: \\033in use\\n' >&2\nexit 1\n",
            folder.path().display()
        );
        std::fs::write(&program, script).unwrap();
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&program, executable).unwrap();
        let modules = Modules::new(folder.path(), folder.path(), program.clone(), Clock::system());
        modules.load("loop").unwrap();
        let refused = modules.unload("loop").unwrap_err();
        assert!(refused.to_string().contains("FATAL:  in use"), "{refused}");
        let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
        assert_eq!(log, "-- loop\n-r -- loop\n");
        std::fs::remove_file(program).unwrap();
        assert!(matches!(modules.load("loop"), Err(ProviderError::Program { .. })));
    }
}
