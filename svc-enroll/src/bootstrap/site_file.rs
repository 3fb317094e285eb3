//! `SITE`: whose folder it is. Written first, so that whatever follows belongs to somebody.

use std::collections::BTreeMap;

use pact_schemas::MemberId;
use serde::{Deserialize, Serialize};

use super::arguments::Member;
use super::folder::{Folder, Readers};
use super::{BootstrapArgs, BootstrapError};

const FILE: &str = "SITE";

/// The layout that this version makes and understands.
const FORMAT: u32 = 1;

/// Members that were added, the removed ones among them: as many as a journal remembers.
const MAX_ADDED: usize = 1_000;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SiteFile {
    format: u32,
    site: String,
    /// With which the site was made.
    members: Vec<String>,
    /// That have come since, in the order of their numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    added_members: Vec<String>,
}

impl SiteFile {
    fn to_text(&self) -> Result<String, toml::ser::Error> {
        let text = toml::to_string(self)?;
        Ok(format!("# Made by `pact-enroll bootstrap`; never edited.\n{text}"))
    }
}

fn texts<'a>(members: impl IntoIterator<Item = &'a Member>) -> Vec<String> {
    members.into_iter().map(ToString::to_string).collect()
}

/// Checks that the folder is this site's, with these members; claims it when it is nobody's. Returns the members that were added
/// later, those of this run among them.
pub(super) fn claim(
    folder: &mut Folder,
    arguments: &BootstrapArgs,
) -> Result<Vec<Member>, BootstrapError> {
    let file = folder.path(FILE);
    let unreadable = |reason: String| BootstrapError::SiteFile { file: file.clone(), reason };
    let mut members = arguments.members.clone();
    members.sort_by_key(|member| member.id);
    let wanted = SiteFile {
        format: FORMAT,
        site: arguments.site.to_string(),
        members: texts(&members),
        added_members: texts(&merged(&members, Vec::new(), &arguments.added_members)?),
    };
    let Some(text) = folder.read(FILE)? else {
        let text = wanted.to_text().map_err(|error| unreadable(error.to_string()))?;
        folder.write(FILE, &text, Readers::All)?;
        return merged(&members, Vec::new(), &arguments.added_members);
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
    let recorded = found.added_members.iter().map(|text| text.parse::<Member>());
    let recorded = recorded.collect::<Result<Vec<_>, _>>();
    let recorded = recorded.map_err(|error| unreadable(error.to_string()))?;
    let added = merged(&members, recorded, &arguments.added_members)?;
    let now = SiteFile { added_members: texts(&added), ..wanted };
    if now.added_members != found.added_members {
        let text = now.to_text().map_err(|error| unreadable(error.to_string()))?;
        folder.replace_public(FILE, &text)?;
    }
    Ok(added)
}

/// Recorded and new members, in the order of their numbers. A number belongs to one member for good; a host may come back.
fn merged(
    members: &[Member],
    recorded: Vec<Member>,
    new: &[Member],
) -> Result<Vec<Member>, BootstrapError> {
    let mut added: BTreeMap<MemberId, Member> =
        recorded.into_iter().map(|member| (member.id, member)).collect();
    for member in new {
        let known = members.iter().find(|known| known.id == member.id).or(added.get(&member.id));
        match known {
            Some(known) if known == member && added.contains_key(&member.id) => {}
            Some(known) => {
                return Err(BootstrapError::NumberTaken {
                    recorded: known.to_string(),
                    given: member.to_string(),
                });
            }
            None => drop(added.insert(member.id, member.clone())),
        }
    }
    if added.len() > MAX_ADDED {
        return Err(BootstrapError::TooManyAdded { limit: MAX_ADDED });
    }
    Ok(added.into_values().collect())
}
