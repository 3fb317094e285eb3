//! Why a bootstrap was refused or failed.

use std::io;
use std::path::PathBuf;

use pact_identity::nats_jwt::JwtError;
use pact_identity::signing::SetupError;
use pact_identity::x509::X509Error;

/// Why the site was not made or completed. Nothing that existed was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BootstrapError {
    /// Raft wants an odd number, and more than five gain nothing.
    #[error("{count} members are given; a journal has 1, 3 or 5")]
    MemberCount {
        /// As given.
        count: usize,
    },
    /// Two with one name or address.
    #[error("a {what} is given twice, or two have one address")]
    Twice {
        /// `member` or `gateway`.
        what: &'static str,
    },
    /// Clients must know the port.
    #[error("--bus-listen needs a port other than 0")]
    NoBusPort,
    /// Another process works on the folder.
    #[error("another bootstrap is at work in {}", folder.display())]
    Busy {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder holds something else.
    #[error(
        "{} is not empty and holds no SITE file: it is not the folder of a site; name an empty or a new one",
        folder.display()
    )]
    NotASite {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder belongs to another site.
    #[error("{} is the folder of the site {found}, not of {wanted}", folder.display())]
    OtherSite {
        /// The folder.
        folder: PathBuf,
        /// As recorded.
        found: String,
        /// As asked for.
        wanted: String,
    },
    /// The members differ from those recorded.
    #[error(
        "the site was made for the members {recorded}, not for {given}: give those; a new member is given with `--add-member` and \
         then added with `pact cluster add`, one that has left is removed with `pact cluster remove`"
    )]
    OtherMembers {
        /// As recorded.
        recorded: String,
        /// As asked for.
        given: String,
    },
    /// A number is given to another member.
    #[error(
        "{given}: its number belongs to {recorded} for good; give a number that no member has had"
    )]
    NumberTaken {
        /// As recorded.
        recorded: String,
        /// As asked for.
        given: String,
    },
    /// More members than a journal can have had.
    #[error("more than {limit} members were added to this site")]
    TooManyAdded {
        /// As many are possible.
        limit: usize,
    },
    /// SITE cannot be understood.
    #[error("{} cannot be understood: {reason}", file.display())]
    SiteFile {
        /// Its path.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// One half of what belongs together is gone.
    #[error(
        "{} is missing although {} exists: put it back, {remedy}",
        missing.display(),
        because_of.display()
    )]
    HalfMissing {
        /// What is not there.
        missing: PathBuf,
        /// What was made with it.
        because_of: PathBuf,
        /// What else can be done.
        remedy: &'static str,
    },
    /// A file is not what it should be, or belongs to something else.
    #[error("{} {fault}; put the right file back, or move it away", file.display())]
    Unfit {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// A private file that others can read.
    #[error(
        "{} is a secret and has mode {mode:03o}: replace it if somebody may have read it, or `chmod 600` it",
        file.display()
    )]
    Exposed {
        /// The file.
        file: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Reading or writing failed.
    #[error("cannot {action} {}", path.display())]
    File {
        /// `read`, `write`, ...
        action: &'static str,
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A certificate could not be made or read.
    #[error("{}", file.display())]
    Certificate {
        /// Which.
        file: PathBuf,
        /// Why.
        #[source]
        source: X509Error,
    },
    /// A signing certificate cannot be used.
    #[error("{}", file.display())]
    Signing {
        /// Which.
        file: PathBuf,
        /// Why.
        #[source]
        source: SetupError,
    },
    /// A bus token could not be made or does not belong here.
    #[error("{}", file.display())]
    Token {
        /// Which.
        file: PathBuf,
        /// Why.
        #[source]
        source: JwtError,
    },
    /// A bus key could not be made or written down.
    #[error("{}: the key library refuses", file.display())]
    Key {
        /// Which.
        file: PathBuf,
        /// Why.
        #[source]
        source: nkeys::error::Error,
    },
}
