//! A token issuer for development and tests. It is no part of a release.
//!
//! Makes one ES256 key, publishes it as a JWKS file that the gateway reads
//! (`[gateway.oidc] jwks_file`), and writes tokens into files that only their owner
//! can read. Nothing secret is ever printed.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use pact_runtime::Clock;
use rcgen::{KeyPair, PublicKeyData as _};
use serde_json::json;

/// Key id in the JWKS and in each token's header.
const KEY_ID: &str = "pact-development";
/// Longest life of a development token, in hours.
const MAX_HOURS: u32 = 24 * 30;

/// Development token issuer: never for production.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make the signing key and the JWKS file, unless they are there already
    Init {
        /// Folder for `issuer.key` and `jwks.json`
        #[arg(long)]
        dir: PathBuf,
    },
    /// Write a token into a file
    Mint {
        /// Folder that `init` made
        #[arg(long)]
        dir: PathBuf,
        /// `iss` of the token
        #[arg(long)]
        issuer: String,
        /// `aud` of the token
        #[arg(long)]
        audience: String,
        /// `sub` of the token
        #[arg(long)]
        subject: String,
        /// A role, e.g. pact-platform-admin; may be repeated
        #[arg(long)]
        role: Vec<String>,
        /// Life of the token in hours
        #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_HOURS)))]
        hours: u32,
        /// File to write the token to (mode 0600)
        #[arg(long)]
        out: PathBuf,
    },
}

#[derive(Debug, thiserror::Error)]
enum IssuerError {
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot read {path}; run `init` first")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot make a key")]
    Key(#[from] rcgen::Error),
    #[error("cannot sign the token")]
    Sign(#[from] jsonwebtoken::errors::Error),
    #[error("the public key is not an uncompressed P-256 point")]
    PublicKey,
}

fn main() -> ExitCode {
    let args = match pact_runtime::parse_args::<Args>() {
        Ok(args) => args,
        Err(code) => return code,
    };
    let done = match args.command {
        Command::Init { dir } => init(&dir),
        Command::Mint { dir, issuer, audience, subject, role, hours, out } => {
            let now = Clock::system().now().unix_seconds();
            let claims = json!({
                "iss": issuer, "aud": audience, "sub": subject, "roles": role,
                "iat": now, "nbf": now, "exp": now + i64::from(hours) * 3600,
            });
            mint(&dir, &claims, &out)
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            pact_runtime::report_error(&error);
            ExitCode::FAILURE
        }
    }
}

fn init(dir: &Path) -> Result<(), IssuerError> {
    let (key_path, jwks_path) = (dir.join("issuer.key"), dir.join("jwks.json"));
    if key_path.exists() && jwks_path.exists() {
        return Ok(());
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|source| IssuerError::Write { path: dir.to_owned(), source })?;
    let key = KeyPair::generate()?;
    let Some((x, y)) = key
        .der_bytes()
        .strip_prefix(&[4_u8])
        .filter(|point| point.len() == 64)
        .map(|point| point.split_at(32))
    else {
        return Err(IssuerError::PublicKey);
    };
    let jwks = json!({"keys": [{
        "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": KEY_ID,
        "x": BASE64URL_NOPAD.encode(x), "y": BASE64URL_NOPAD.encode(y),
    }]});
    write_private(&key_path, key.serialize_pem().as_bytes())?;
    write_private(&jwks_path, jwks.to_string().as_bytes())
}

fn mint(dir: &Path, claims: &serde_json::Value, out: &Path) -> Result<(), IssuerError> {
    let path = dir.join("issuer.key");
    let pem = fs::read(&path).map_err(|source| IssuerError::Read { path, source })?;
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some(KEY_ID.to_owned());
    let token = jsonwebtoken::encode(&header, claims, &EncodingKey::from_ec_pem(&pem)?)?;
    write_private(out, token.as_bytes())
}

/// Writes a file that only its owner can read, whole or not at all.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), IssuerError> {
    let part = path.with_extension("part");
    let write = || -> io::Result<()> {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&part, path)
    };
    write().map_err(|source| IssuerError::Write { path: path.to_owned(), source })
}
