//! Bundles: the default one, embedded, and the site's folder.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pact_schemas::operation::OPERATIONS;
use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, Value};
use serde_json::json;

use crate::decision::{Decision, DenyKind, MAX_REASONS, reason};
use crate::question::{MAX_INPUT_BYTES, effect_name};
use crate::screen;

/// The default bundle's sources: file name and text.
const DEFAULT_SOURCES: &[(&str, &str)] =
    &[("decision.rego", include_str!("../bundle/decision.rego"))];

/// The rule that the default bundle answers with.
const DEFAULT_RULE: &str = "data.pact.decision.result";

/// The rule that site bundles answer with.
const SITE_RULE: &str = "data.pact.site.deny";

/// Most sources in a site bundle.
pub const MAX_FILES: usize = 64;

/// Largest source of a site bundle, in bytes: far more than people write, little enough to compile at once.
pub const MAX_FILE_BYTES: u64 = 256 * 1024;

/// Steps between two looks at the clock: a step is well under a microsecond.
const STEPS_PER_CHECK: NonZeroU32 = NonZeroU32::MIN.saturating_add(63);

/// How long a decision may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// One bundle's evaluation; the engine stops itself between two steps.
    pub evaluation: Duration,
    /// The answer, with the wait for a free thread; the caller stops waiting.
    pub answer: Duration,
}

impl Default for Limits {
    /// 50 ms for the engine, which needs well under one, and 250 ms until the caller gives up: a loaded host may
    /// leave a thread waiting that long without any rule being at fault.
    fn default() -> Self {
        Self { evaluation: Duration::from_millis(50), answer: Duration::from_millis(250) }
    }
}

/// Why a bundle is not used.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The folder or a file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is nothing in it.
    #[error("{folder} holds no .rego file")]
    Empty {
        /// The folder.
        folder: PathBuf,
    },
    /// Too many files or a file too large.
    #[error("{path} is over the limit: {limit}")]
    TooLarge {
        /// The folder or file.
        path: PathBuf,
        /// The limit in words.
        limit: &'static str,
    },
    /// A file that would be ignored.
    #[error("{path} is neither a .rego file nor a README; site bundles have no other parts")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A source that does not compile or holds what is refused.
    #[error("{file}:{line}: {reason}")]
    Source {
        /// The file's name in the bundle.
        file: String,
        /// From 1; 0 where the bundle as a whole is at fault.
        line: u32,
        /// What is wrong.
        reason: String,
    },
}

/// Compiled bundles: the default one and, if there is one, the site's.
#[derive(Debug)]
pub struct Bundle {
    default: Engine,
    site: Option<Engine>,
    policy_ref: String,
}

impl Bundle {
    /// The default bundle alone.
    ///
    /// # Errors
    /// [`BundleError::Source`]: a defect of this build, which its tests rule out.
    pub fn default_only(limits: Limits) -> Result<Self, BundleError> {
        let data = operations_data();
        let mut engine =
            compile(DEFAULT_SOURCES.iter().copied(), DEFAULT_RULE, Some(&data), limits)?;
        trial(&mut engine, DEFAULT_RULE)?;
        let mut hash = Hash::new();
        for (name, text) in DEFAULT_SOURCES {
            hash.add(name, text);
        }
        hash.add("operations", &data.to_string());
        Ok(Self { default: engine, site: None, policy_ref: format!("default@{}", hash.finish()) })
    }

    /// The default bundle and the site's folder of `.rego` files, which may only define `package pact.site`.
    ///
    /// # Errors
    /// [`BundleError`] with file and line.
    pub fn with_site(folder: &Path, limits: Limits) -> Result<Self, BundleError> {
        let mut bundle = Self::default_only(limits)?;
        let sources = read_folder(folder)?;
        let mut screened = screen::Screen::new();
        for (name, text) in &sources {
            screened.add(name, text)?;
        }
        screened.finish()?;
        let texts = sources.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        let mut engine = compile(texts, SITE_RULE, None, limits)?;
        let answer = trial(&mut engine, SITE_RULE)?;
        if !matches!(answer, Value::Set(_)) {
            let reason = "`deny` must be a set: write `deny contains {\"reason\": \"…\"} if { … }`";
            return Err(whole_bundle(folder, reason));
        }
        let mut hash = Hash::new();
        for (name, text) in &sources {
            hash.add(name, text);
        }
        bundle.policy_ref = format!("{}+site@{}", bundle.policy_ref, hash.finish());
        bundle.site = Some(engine);
        Ok(bundle)
    }

    /// What decisions refer to: the bundles' digests.
    #[must_use]
    pub fn policy_ref(&self) -> &str {
        &self.policy_ref
    }

    /// Decides in the caller's thread. `input` is what [`crate::Question::input`] made.
    #[must_use]
    pub fn decide(&self, input: &str) -> Decision {
        if input.len() > MAX_INPUT_BYTES {
            let reason = format!(
                "the request is {} bytes as policy input; at most {MAX_INPUT_BYTES} are decided at once",
                input.len()
            );
            return Decision::undecided(self.policy_ref.clone(), reason);
        }
        let Ok(input) = Value::from_json_str(input) else {
            return Decision::undecided(self.policy_ref.clone(), "the policy input is not JSON");
        };
        let decision = match evaluate(&self.default, DEFAULT_RULE, input.clone()) {
            Ok(result) => Decision::from_default(&result, &self.policy_ref),
            Err(fault) => return self.failed("the default policy", &fault),
        };
        match (&decision, &self.site) {
            (Decision::Allow { .. } | Decision::NeedsApproval { .. }, Some(site)) => {
                self.ask_site(site, input).unwrap_or(decision)
            }
            (
                Decision::Allow { .. } | Decision::NeedsApproval { .. } | Decision::Deny { .. },
                _,
            ) => decision,
        }
    }

    /// The site's refusal, if there is one. It can say no or nothing.
    fn ask_site(&self, site: &Engine, input: Value) -> Option<Decision> {
        let policy_ref = self.policy_ref.clone();
        match evaluate(site, SITE_RULE, input) {
            Ok(Value::Set(denials)) if denials.is_empty() => None,
            Ok(Value::Set(denials)) => {
                let mut reasons: Vec<String> =
                    denials.iter().filter_map(reason).take(MAX_REASONS).collect();
                if reasons.is_empty() {
                    reasons.push("a site rule says no and gives no reason".to_owned());
                }
                Some(Decision::Deny { kind: DenyKind::Rule, reasons, policy_ref })
            }
            Ok(_) => Some(Decision::undecided(policy_ref, "the site's rules gave no answer")),
            Err(fault) => Some(self.failed("the site's rules", &fault)),
        }
    }

    fn failed(&self, who: &str, fault: &EvaluationFault) -> Decision {
        tracing::warn!(policy_ref = self.policy_ref, %fault, "{who} failed");
        Decision::undecided(self.policy_ref.clone(), format!("{who}: {fault}"))
    }
}

/// Why an evaluation has no result.
#[derive(Debug, thiserror::Error)]
enum EvaluationFault {
    #[error("stopped after {} ms", .0.as_millis())]
    TimeLimit(Duration),
    #[error("{file}:{line}: {reason}")]
    Rule { file: String, line: u32, reason: String },
}

fn evaluate(engine: &Engine, rule: &str, input: Value) -> Result<Value, EvaluationFault> {
    let mut engine = engine.clone();
    engine.set_input(input);
    engine.eval_rule(rule.to_owned()).map_err(|error| {
        match error.downcast_ref::<regorus::LimitError>() {
            Some(regorus::LimitError::TimeLimitExceeded { limit, .. }) => {
                EvaluationFault::TimeLimit(*limit)
            }
            _ => {
                let (file, line, reason) = locate(&error.to_string());
                EvaluationFault::Rule { file, line, reason }
            }
        }
    })
}

fn compile<'a>(
    sources: impl Iterator<Item = (&'a str, &'a str)>,
    rule: &str,
    data: Option<&serde_json::Value>,
    limits: Limits,
) -> Result<Engine, BundleError> {
    let fault = |error: String| {
        let (file, line, reason) = locate(&error);
        BundleError::Source { file, line, reason }
    };
    let mut engine = Engine::new();
    engine.set_execution_timer_config(ExecutionTimerConfig {
        limit: limits.evaluation,
        check_interval: STEPS_PER_CHECK,
    });
    for (name, text) in sources {
        engine
            .add_policy(name.to_owned(), text.to_owned())
            .map_err(|error| fault(error.to_string()))?;
    }
    if let Some(data) = data {
        engine.add_data(Value::from(data.clone())).map_err(|error| fault(error.to_string()))?;
    }
    engine.compile_with_entrypoint(&rule.into()).map_err(|error| fault(error.to_string()))?;
    Ok(engine)
}

/// Evaluates once with a small input, so that a rule that can never be answered is found when it is read.
fn trial(engine: &mut Engine, rule: &str) -> Result<Value, BundleError> {
    let input = json!({
        "principal": {"subject": "trial", "issuer": "trial", "kind": "human", "roles": []},
        "operation": "whoami", "least": "anyone", "scope_rule": "site", "effect": "reads",
        "targets": [], "target_vclusters": [], "has_unassigned_targets": false, "vclusters": [],
        "command": [], "vcluster_policies": {}, "time": "2026-01-01T00:00:00.000Z",
    });
    evaluate(engine, rule, Value::from(input)).map_err(|fault| match fault {
        EvaluationFault::Rule { file, line, reason } => BundleError::Source { file, line, reason },
        EvaluationFault::TimeLimit(limit) => BundleError::Source {
            file: rule.to_owned(),
            line: 0,
            reason: format!("was stopped after {} ms on a small input", limit.as_millis()),
        },
    })
}

fn whole_bundle(folder: &Path, reason: &str) -> BundleError {
    BundleError::Source { file: folder.display().to_string(), line: 0, reason: reason.to_owned() }
}

/// File, line and message of an error of the engine: `\n--> file:line:col\n…\nerror: message`.
fn locate(error: &str) -> (String, u32, String) {
    let message = error.rsplit("error: ").next().unwrap_or(error).trim().replace('\n', " ");
    let place = error.split("--> ").nth(1).and_then(|rest| rest.lines().next());
    let mut parts = place.unwrap_or_default().rsplitn(3, ':');
    let (_column, line, file) = (parts.next(), parts.next(), parts.next());
    match (file, line.and_then(|l| l.parse().ok())) {
        (Some(file), Some(line)) => (file.to_owned(), line, message),
        _ => ("bundle".to_owned(), 0, message),
    }
}

/// The operations table as Rego data.
fn operations_data() -> serde_json::Value {
    let rows: serde_json::Map<String, serde_json::Value> = OPERATIONS
        .iter()
        .map(|o| {
            let row = json!({
                "least": o.least.as_str(),
                "scope": o.scope.as_str(),
                "effect": effect_name(o.effect),
            });
            (o.name.to_owned(), row)
        })
        .collect();
    json!({ "operations": rows })
}

/// The `.rego` files of a folder, by name. Hidden files, READMEs and `*_test.rego` are left out.
fn read_folder(folder: &Path) -> Result<Vec<(String, String)>, BundleError> {
    let fault = |path: &Path| {
        let path = path.to_owned();
        move |source| BundleError::Read { path, source }
    };
    let mut sources = Vec::new();
    for item in std::fs::read_dir(folder).map_err(fault(folder))? {
        let path = item.map_err(fault(folder))?.path();
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with('.') || name.starts_with("README") || name.ends_with("_test.rego") {
            continue;
        }
        if !name.ends_with(".rego") || !path.is_file() {
            return Err(BundleError::Foreign { path });
        }
        let size = std::fs::metadata(&path).map_err(fault(&path))?.len();
        if size > MAX_FILE_BYTES {
            return Err(BundleError::TooLarge { path, limit: "256 KiB for each file" });
        }
        let text = std::fs::read_to_string(&path).map_err(fault(&path))?;
        sources.push((name, text));
        if sources.len() > MAX_FILES {
            return Err(BundleError::TooLarge { path: folder.to_owned(), limit: "64 files" });
        }
    }
    if sources.is_empty() {
        return Err(BundleError::Empty { folder: folder.to_owned() });
    }
    sources.sort_unstable();
    Ok(sources)
}

/// A digest over named texts; lengths keep neighbours apart.
struct Hash(ring::digest::Context);

impl Hash {
    fn new() -> Self {
        Self(ring::digest::Context::new(&ring::digest::SHA256))
    }

    fn add(&mut self, name: &str, text: &str) {
        for part in [name, text] {
            self.0.update(&(part.len() as u64).to_be_bytes());
            self.0.update(part.as_bytes());
        }
    }

    /// The first 12 hex digits: enough to tell bundles of one site apart.
    fn finish(self) -> String {
        let digest = self.0.finish();
        digest.as_ref().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
    }
}
