//! In which vCluster a node was, as far back as that is remembered. What a node reports concerns those whose it was at the
//! time that the report is about: a node that moves takes no entry with it.

use pact_schemas::VclusterId;
use pact_schemas::convert::{self, WireError, vcluster_of};
use pact_schemas::v1::{FormerPlace, NodeRecord};

/// Places that are remembered of a node.
const MAX_FORMER: usize = 8;

/// A moment in the life of a node.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Moment {
    /// When this entry was made.
    Entry(u64),
    /// Unix nanoseconds.
    Time(i64),
}

/// The record of a node that comes into this vCluster, or into none, by this entry.
pub(crate) fn moved(
    record: NodeRecord,
    to: Option<&VclusterId>,
    seq: u64,
    time_nanos: i64,
) -> NodeRecord {
    let mut former_places = record.former_places;
    let until = Some(convert::timestamp(time_nanos));
    former_places.push(FormerPlace { vcluster: record.vcluster, until_seq: seq, until });
    let surplus = former_places.len().saturating_sub(MAX_FORMER);
    former_places.drain(..surplus);
    NodeRecord { vcluster: to.map(VclusterId::to_string), former_places, ..record }
}

/// Where a node was; `None`: in no vCluster, or so long ago that nobody knows.
pub(crate) fn at(record: &NodeRecord, moment: Moment) -> Result<Option<VclusterId>, WireError> {
    let places = &record.former_places;
    for (number, place) in places.iter().enumerate() {
        let until = convert::unix_nanos(place.until.as_ref(), "FormerPlace.until")?;
        let was_there = match moment {
            Moment::Entry(seq) => seq < place.until_seq,
            Moment::Time(nanos) => nanos < until,
        };
        if was_there {
            // Of the oldest place nobody knows since when, once places were forgotten.
            let is_forgotten = number == 0 && places.len() == MAX_FORMER;
            let vcluster = place.vcluster.as_deref().filter(|_| !is_forgotten);
            return vcluster.map(|name| convert::id(name, "FormerPlace.vcluster")).transpose();
        }
    }
    vcluster_of(record)
}
