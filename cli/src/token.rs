//! Which token is sent: `--token` > `PACT_TOKEN` > `token_path` > the cache of
//! `pact login` > `~/.config/pact/token`.
//!
//! No token is read from a file that anyone else can read or could have put there,
//! and none appears in an error or a log line.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use pact_runtime::{Clock, Timestamp};
use pact_schemas::error_code::ErrorCode;
use serde::Deserialize;

use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::settings::Settings;

/// Longest token: what the gateway looks at (`pact_identity::oidc::MAX_TOKEN_BYTES`).
const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// A token, or what `pact login` keeps around one, with room; a file beyond this holds neither.
const MAX_TOKEN_FILE_BYTES: u64 = 64 * 1024;
/// How long after its end a token is still tried: clocks differ, and the gateway's is the one that counts.
const LEEWAY: Duration = Duration::from_secs(60);
/// Bits of a mode that give a file to group or others.
const GROUP_AND_OTHERS: u32 = 0o077;

/// Why a text is not sent as a token. The text itself is never part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenFault {
    /// Empty, or with blanks or other characters within.
    #[error("it is not one word of visible ASCII characters")]
    NotAWord,
    /// With the name of the scheme in front.
    #[error("it begins with `Bearer`, which pact adds itself: give the token alone")]
    WithScheme,
    /// Longer than the gateway looks at.
    #[error("it is too large: at most {MAX_TOKEN_BYTES} bytes are accepted")]
    TooLarge,
    /// Its own `exp` has passed.
    #[error("it has expired: it was valid until {until}, and this machine's clock says {now}")]
    Expired { until: Timestamp, now: Timestamp },
}

/// Why a token file is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenFileError {
    /// The file does not exist.
    #[error("{} does not exist", path.display())]
    Missing { path: PathBuf },
    /// It cannot be opened or read; a symbolic link counts as this.
    #[error("{} cannot be read", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    /// It is not a plain file.
    #[error("{} is a symbolic link or no plain file", path.display())]
    NotAFile { path: PathBuf },
    /// Others may read or write it.
    #[error("{} has mode {mode:04o}; only 0600 is accepted", path.display())]
    OpenToOthers { path: PathBuf, mode: u32 },
    /// It belongs to somebody else.
    #[error("{} belongs to user {owner}", path.display())]
    ForeignOwner { path: PathBuf, owner: u32 },
    /// It holds what no gateway would accept.
    #[error("{} does not hold a token that can be used", path.display())]
    NotAToken {
        path: PathBuf,
        #[source]
        fault: TokenFault,
    },
}

impl From<TokenFileError> for Failure {
    fn from(error: TokenFileError) -> Self {
        let next = match &error {
            TokenFileError::OpenToOthers { path, .. } => {
                format!("chmod 600 {}", path.display())
            }
            _ => "set PACT_TOKEN, or write the token to a file of your own with mode 0600".into(),
        };
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        let failure = Self::new(ErrorCode::Unauthenticated, format!("token file refused: {error}"))
            .next(next);
        match cause {
            Some(cause) => failure.because(cause),
            None => failure,
        }
    }
}

/// What `pact login` keeps for one server.
#[derive(Debug, Deserialize)]
struct Cache {
    access_token: String,
    expires_at: Option<Timestamp>,
}

/// A token and what the user should know about how it was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) token: String,
    pub(crate) warning: Option<String>,
}

/// The token for this endpoint.
pub(crate) fn find(
    settings: &Settings,
    endpoint: &Endpoint,
    clock: &Clock,
) -> Result<Found, Failure> {
    let now = clock.now();
    if let Some(token) = &settings.token {
        let token = plain(token, now).map_err(|fault| {
            let what = "--token or PACT_TOKEN holds no token that can be used";
            Failure::new(ErrorCode::Unauthenticated, what)
                .because(fault.to_string())
                .next("get a token from the site's identity provider and set PACT_TOKEN to it")
        })?;
        return Ok(Found { token, warning: None });
    }
    if let Some(path) = &settings.token_path {
        return Ok(Found { token: read_plain(path, now)?, warning: None });
    }
    let Some(home) = &settings.home else { return Err(none_found()) };
    let mut warning = None;
    match read_cache(&cache_path(home, endpoint), now) {
        Ok(Some(token)) => return Ok(Found { token, warning }),
        Ok(None) => {
            warning = Some("the login has expired; run `pact login`".to_owned());
        }
        Err(TokenFileError::Missing { .. }) => {}
        Err(other) => return Err(other.into()),
    }
    match read_plain(&home.join(".config/pact/token"), now) {
        Ok(token) => Ok(Found { token, warning }),
        Err(TokenFileError::Missing { .. }) => Err(match warning {
            Some(why) => none_found().because(why),
            None => none_found(),
        }),
        Err(other) => Err(other.into()),
    }
}

fn none_found() -> Failure {
    Failure::new(ErrorCode::Unauthenticated, "No auth token found")
        .next("set PACT_TOKEN or write a token to ~/.config/pact/token (mode 0600)")
}

/// The cache of `pact login` for one server: `~/.config/pact/auth/tokens-{server_hash}.json`.
pub(crate) fn cache_path(home: &Path, endpoint: &Endpoint) -> PathBuf {
    home.join(".config/pact/auth").join(format!("tokens-{}.json", endpoint.server_hash()))
}

/// `None`: it has expired.
fn read_cache(path: &Path, now: Timestamp) -> Result<Option<String>, TokenFileError> {
    let text = read_private(path)?;
    let unusable = |fault| TokenFileError::NotAToken { path: path.to_path_buf(), fault };
    let cache: Cache =
        serde_json::from_str(&text).map_err(|_parse| unusable(TokenFault::NotAWord))?;
    if cache.expires_at.is_some_and(|at| at <= now) {
        return Ok(None);
    }
    match plain(&cache.access_token, now) {
        Ok(token) => Ok(Some(token)),
        Err(TokenFault::Expired { .. }) => Ok(None),
        Err(fault) => Err(unusable(fault)),
    }
}

fn read_plain(path: &Path, now: Timestamp) -> Result<String, TokenFileError> {
    plain(&read_private(path)?, now)
        .map_err(|fault| TokenFileError::NotAToken { path: path.to_path_buf(), fault })
}

/// The text of a file that only this user can have written and read.
fn read_private(path: &Path) -> Result<String, TokenFileError> {
    let path_buf = || path.to_path_buf();
    let file = open_without_following(path)?;
    let unreadable = |source| TokenFileError::Unreadable { path: path_buf(), source };
    // Of the open file, not of the path: nobody can exchange it between check and read.
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(TokenFileError::NotAFile { path: path_buf() });
    }
    let owner = metadata.uid();
    if owner != nix::unistd::geteuid().as_raw() {
        return Err(TokenFileError::ForeignOwner { path: path_buf(), owner });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & GROUP_AND_OTHERS != 0 {
        return Err(TokenFileError::OpenToOthers { path: path_buf(), mode });
    }
    let mut text = String::new();
    let read = file.take(MAX_TOKEN_FILE_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
    if u64::try_from(read).is_ok_and(|n| n > MAX_TOKEN_FILE_BYTES) {
        return Err(TokenFileError::NotAToken { path: path_buf(), fault: TokenFault::TooLarge });
    }
    Ok(text)
}

fn open_without_following(path: &Path) -> Result<File, TokenFileError> {
    // Non-blocking: a pipe in the file's place must not stop the command.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path);
    let path = path.to_path_buf();
    opened.map_err(|source| match source.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT) => TokenFileError::Missing { path },
        Some(Errno::ELOOP) => TokenFileError::NotAFile { path },
        _ => TokenFileError::Unreadable { path, source },
    })
}

/// One word of visible ASCII, as it goes into a header, that has not ended by its own account.
fn plain(text: &str, now: Timestamp) -> Result<String, TokenFault> {
    let word = text.trim();
    if word.len() > MAX_TOKEN_BYTES {
        return Err(TokenFault::TooLarge);
    }
    let first = word.split_whitespace().next().unwrap_or_default();
    if first.trim_end_matches(':').eq_ignore_ascii_case("bearer") {
        return Err(TokenFault::WithScheme);
    }
    if word.is_empty() || !word.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(TokenFault::NotAWord);
    }
    match end(word) {
        Some(until) if until.checked_add(LEEWAY).is_some_and(|last| last <= now) => {
            Err(TokenFault::Expired { until, now })
        }
        _ => Ok(word.to_owned()),
    }
}

/// What a JWT says of its end. Whether anything in it is true, the gateway decides.
fn end(token: &str) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Claims {
        exp: f64,
    }
    let claims = BASE64URL_NOPAD.decode(token.split('.').nth(1)?.as_bytes()).ok()?;
    let exp = serde_json::from_slice::<Claims>(&claims).ok()?.exp;
    // A cast saturates; seconds are as good as their fractions here.
    Timestamp::from_unix_seconds(exp as i64)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn file(folder: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn now() -> Timestamp {
        "2026-03-04T05:06:07Z".parse().unwrap()
    }

    fn read(path: &Path) -> Result<String, TokenFileError> {
        read_plain(path, now())
    }

    fn jwt(claims: &str) -> String {
        format!("e30.{}.c2ln", BASE64URL_NOPAD.encode(claims.as_bytes()))
    }

    #[test]
    fn what_no_gateway_would_accept_is_named() {
        let of = |text: &str| plain(text, now()).unwrap_err();
        for text in ["Bearer abc.def", "bearer abc", "Bearer", "Bearer: abc\n"] {
            assert_eq!(of(text), TokenFault::WithScheme, "{text}");
        }
        assert_eq!(of(&"x".repeat(MAX_TOKEN_BYTES + 1)), TokenFault::TooLarge);
        plain(&"x".repeat(MAX_TOKEN_BYTES), now()).unwrap();
        for text in ["", "two words", "caf\u{e9}", "\u{feff}abc"] {
            assert_eq!(of(text), TokenFault::NotAWord, "{text}");
        }
        let end = now().unix_seconds();
        assert!(matches!(
            of(&jwt(&format!("{{\"exp\":{}}}", end - 60))),
            TokenFault::Expired { .. }
        ));
        for good in [
            jwt(&format!("{{\"exp\":{}}}", end - 59)),
            jwt(&format!("{{\"exp\":{}.5,\"sub\":\"x\"}}", end + 1)),
            jwt("{\"exp\":1e300}"),
            jwt("{}"),
            "no.jwt.at-all".to_owned(),
        ] {
            plain(&good, now()).unwrap();
        }
    }

    #[test]
    fn only_a_private_plain_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let good = file(folder.path(), "good", "abc.def\n", 0o600);
        assert_eq!(read(&good).unwrap(), "abc.def");
        assert_eq!(read(&file(folder.path(), "ro", "t", 0o400)).unwrap(), "t");

        for mode in [0o640, 0o604, 0o620, 0o660, 0o644] {
            let path = file(folder.path(), "open", "abc", mode);
            let error = read(&path).unwrap_err();
            assert!(matches!(error, TokenFileError::OpenToOthers { mode: m, .. } if m == mode));
        }
        let link = folder.path().join("link");
        symlink(&good, &link).unwrap();
        assert!(matches!(read(&link), Err(TokenFileError::NotAFile { .. })));
        assert!(matches!(read(folder.path()), Err(TokenFileError::NotAFile { .. })));
        let missing = read(&folder.path().join("none"));
        assert!(matches!(missing, Err(TokenFileError::Missing { .. })));
        for bad in ["", "\n", "two words", "caf\u{e9}", "a\nb"] {
            let path = file(folder.path(), "bad", bad, 0o600);
            assert!(matches!(read(&path), Err(TokenFileError::NotAToken { .. })), "{bad:?}");
        }
    }

    #[test]
    fn an_error_names_the_file_and_never_its_contents() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path(), "t", "very-secret word", 0o600);
        let Failure::Reported(error) = Failure::from(read(&path).unwrap_err()) else {
            panic!("not reported")
        };
        assert!(!format!("{error:?}").contains("very-secret"));
        assert_eq!(error.code, "PACT_UNAUTHENTICATED");
    }

    #[test]
    fn a_login_cache_counts_until_it_expires() {
        let folder = tempfile::tempdir().unwrap();
        let now = now();
        let cache = |expires: &str| {
            let text = format!("{{\"access_token\":\"tok\",\"expires_at\":\"{expires}\"}}");
            file(folder.path(), "c.json", &text, 0o600)
        };
        let later = read_cache(&cache("2026-03-04T05:06:08Z"), now).unwrap();
        assert_eq!(later.as_deref(), Some("tok"));
        assert_eq!(read_cache(&cache("2026-03-04T05:06:07Z"), now).unwrap(), None);
    }
}
