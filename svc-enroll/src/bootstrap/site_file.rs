//! `SITE`: whose folder it is. Written first, so that whatever follows belongs to somebody.

use serde::{Deserialize, Serialize};

use super::folder::{Folder, Readers};
use super::{BootstrapArgs, BootstrapError};

const FILE: &str = "SITE";

/// The layout that this version makes and understands.
const FORMAT: u32 = 1;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SiteFile {
    format: u32,
    site: String,
    members: Vec<String>,
}

/// Checks that the folder is this site's, with these members; claims it when it is nobody's.
pub(super) fn claim(folder: &mut Folder, arguments: &BootstrapArgs) -> Result<(), BootstrapError> {
    let file = folder.path(FILE);
    let unreadable = |reason: String| BootstrapError::SiteFile { file: file.clone(), reason };
    let mut members = arguments.members.clone();
    members.sort_by_key(|member| member.id);
    let wanted = SiteFile {
        format: FORMAT,
        site: arguments.site.to_string(),
        members: members.iter().map(ToString::to_string).collect(),
    };
    let Some(text) = folder.read(FILE)? else {
        let text = toml::to_string(&wanted).map_err(|error| unreadable(error.to_string()))?;
        let text = format!("# Made by `pact-enroll bootstrap`; never edited.\n{text}");
        return folder.write(FILE, &text, Readers::All);
    };
    let found: SiteFile =
        toml::from_str(&text).map_err(|error| unreadable(error.message().to_owned()))?;
    if found.format != FORMAT {
        return Err(unreadable(format!(
            "it has format {}, this version of pact makes format {FORMAT}",
            found.format
        )));
    }
    if found.site != wanted.site {
        return Err(BootstrapError::OtherSite {
            folder: arguments.dir.clone(),
            found: found.site,
            wanted: wanted.site,
        });
    }
    if found.members != wanted.members {
        return Err(BootstrapError::OtherMembers {
            recorded: found.members.join(", "),
            given: wanted.members.join(", "),
        });
    }
    Ok(())
}
