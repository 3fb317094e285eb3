use super::*;
use crate::record::Uploader;

/// A capability report that is these chunks.
fn reported(node: &str, number: u64, chunks: &[[u8; 32]]) -> Action {
    let chunk = |sha256: &[u8; 32]| v1::BlobRef { sha256: sha256.to_vec(), size_bytes: 1 };
    let report = chunks.iter().map(chunk).collect();
    Action::NodeEvent(v1::NodeEvent {
        node: node.to_owned(),
        spool_id: "a".repeat(32),
        number,
        recorded: Some(pact_schemas::convert::timestamp(START_NANOS)),
        body: Some(v1::node_event::Body::CapabilityChange(v1::CapabilityChange {
            node: String::new(),
            report,
        })),
    })
}

#[test]
fn events_come_once_and_in_order() {
    let (mut state, mut commands) = with_nodes(&["a", "b"]);
    let request = committed(&one(&mut state, commands.make(exec("a", &["id"])))).0;
    let gap = one(&mut state, commands.bare(ended("a", 'a', 2, request)));
    assert_eq!((code(&gap), refused(&gap).expected_number), (ErrorCode::SpoolGap, Some(1)));
    let batch =
        [commands.bare(ended("a", 'a', 1, request)), commands.bare(ended("a", 'a', 1, request))];
    let outcomes = state.apply(&batch);
    assert_eq!((committed(&outcomes[0]), committed(&outcomes[1])), ((4, 4, false), (0, 0, false)));
    // A second outcome of the same run is acknowledged and makes nothing.
    assert_eq!(
        committed(&one(&mut state, commands.bare(ended("a", 'a', 2, request)))),
        (0, 0, false)
    );
    // So does what an older spool sends again after a newer one began.
    assert_eq!(
        committed(&one(&mut state, commands.bare(ended("a", 'b', 1, request)))),
        (0, 0, false)
    );
    assert_eq!(
        committed(&one(&mut state, commands.bare(ended("a", 'a', 1, request)))),
        (0, 0, false)
    );
    // A node that was not asked is seen.
    committed(&one(&mut state, commands.bare(ended("b", 'c', 1, request))));
    let last = state.decoded().pop().unwrap();
    assert!(
        matches!(last.payload, Some(Payload::Denied(denied)) if denied.code == "PACT_GRANT_FOR_OTHER")
    );
    let finished = state.decoded().remove(3);
    assert_eq!((finished.parent, finished.kind), (Some(request), EntryKind::ExecFinished.into()));
    assert_eq!(state.nodes[&node("a")].spool_number, 1);
    assert_eq!(
        code(&one(&mut state, commands.bare(ended("x", 'a', 1, request)))),
        ErrorCode::NotFound
    );
}

#[test]
fn chunks_are_stored_under_their_hash_or_not_at_all() {
    let (mut state, mut commands) = with_nodes(&["a"]);
    let plain = b"output of a command".repeat(100);
    let put = |sha: [u8; 32], size: usize| {
        Action::PutBlob(v1::PutBlob {
            sha256: sha.to_vec(),
            compressed: zstd::bulk::compress(&plain, 1).unwrap(),
            size_bytes: u32::try_from(size).unwrap(),
        })
    };
    let sha = sha256(&[&plain]);
    assert_eq!(committed(&one(&mut state, commands.bare(put(sha, plain.len())))), (0, 0, false));
    assert_eq!(committed(&one(&mut state, commands.bare(put(sha, plain.len())))), (0, 0, false));
    for bad in [put([0; 32], plain.len()), put(sha, plain.len() - 1), put(sha, plain.len() + 1)] {
        assert_eq!(code(&one(&mut state, commands.bare(bad))), ErrorCode::BadSignature);
    }
    assert!(state.uploads.contains(&(sha, Uploader::Gateways)));
    assert_eq!(
        code(&one(&mut state, commands.bare(put(sha, 300_000)))),
        ErrorCode::InvalidArgument
    );
    assert_eq!(state.blobs.len(), 1);
}

#[test]
fn chunks_that_no_event_names_are_bounded_and_do_not_shut_a_node_out() {
    let (mut state, mut commands) = with_nodes(&["a"]);
    let mut number = 0_u64;
    let mut put = |commands: &mut Commands, subject: &str| {
        number += 1;
        // What does not compress: counted is what is stored.
        let mut plain = vec![0; 250_000];
        let mut word = number;
        for byte in &mut plain {
            word = word
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *byte = word.to_be_bytes()[0];
        }
        let mut command = commands.bare(Action::PutBlob(v1::PutBlob {
            sha256: sha256(&[&plain]).to_vec(),
            compressed: zstd::bulk::compress(&plain, 1).unwrap(),
            size_bytes: 250_000,
        }));
        let author = command.author.as_mut().unwrap();
        subject.clone_into(&mut author.subject);
        author.kind = v1::PrincipalKind::Node.into();
        command
    };
    assert_eq!(code(&one(&mut state, put(&mut commands, "node:b"))), ErrorCode::NotFound);
    committed(&one(&mut state, put(&mut commands, "node:a")));
    assert!(state.unnamed[&node("a")].bytes >= 250_000);
    let most = 512 * 1024 * 1024;
    state.unnamed.get_mut(&node("a")).unwrap().bytes = most - 1;
    let refused_chunk = put(&mut commands, "node:a");
    assert_eq!(code(&one(&mut state, refused_chunk.clone())), ErrorCode::RateLimited);
    assert_eq!(state.blobs.len(), 1);
    // A day later they count no more.
    let mut later = refused_chunk.clone();
    let day = 86_400_000_000_000;
    later.time = Some(pact_schemas::convert::timestamp(commands.now_nanos + day));
    let since = state.unnamed[&node("a")].since_nanos;
    committed(&one(&mut state, later));
    assert!(state.unnamed[&node("a")].since_nanos >= since + day);
    // Nor once an event names chunks.
    state.unnamed.get_mut(&node("a")).unwrap().bytes = most;
    let own = state.uploads.first().unwrap().0;
    committed(&one(&mut state, commands.bare(reported("a", 1, &[own]))));
    committed(&one(&mut state, put(&mut commands, "node:a")));
}

#[test]
fn who_knows_a_digest_does_not_get_the_bytes_shown() {
    let (mut state, mut commands) = with_nodes(&["a", "b"]);
    let (secret, own) = (b"what a only knows".as_slice(), b"what b knows".as_slice());
    committed(&one(&mut state, commands.put_by("a", secret)));
    committed(&one(&mut state, commands.put_by("b", own)));
    let (secret, own) = (sha256(&[secret]), sha256(&[own]));
    let denied = |state: &Memory| match state.decoded().pop().unwrap().payload {
        Some(Payload::Denied(denied)) => denied.code,
        _ => String::new(),
    };
    // In a report of its capabilities: stored by another, or by nobody yet.
    for (number, named) in [(1, [own, secret]), (2, [own, [9; 32]])] {
        committed(&one(&mut state, commands.bare(reported("b", number, &named))));
        assert_eq!(denied(&state), "PACT_BAD_SIGNATURE");
        let record = &state.nodes[&node("b")];
        assert_eq!(
            (record.capability.len(), record.spool_number),
            (0, number),
            "the spool goes on"
        );
    }
    // As the output of a command, of which the rest stays.
    let request = committed(&one(&mut state, commands.make(exec("b", &["id"])))).0;
    let mut ended = ended("b", 'a', 3, request);
    let Action::NodeEvent(v1::NodeEvent { body: Some(body), .. }) = &mut ended else { panic!() };
    let v1::node_event::Body::ExecEnded(report) = body else { panic!() };
    let segment = |sha256: [u8; 32]| v1::OutputSegment {
        stream: v1::OutputStream::Stdout.into(),
        blob: Some(v1::BlobRef { sha256: sha256.to_vec(), size_bytes: 12 }),
    };
    report.finished.as_mut().unwrap().output = vec![segment(secret), segment(own)];
    committed(&one(&mut state, commands.bare(ended)));
    assert_eq!(denied(&state), "PACT_BAD_SIGNATURE");
    let entries = state.decoded();
    let Some(Payload::ExecFinished(kept)) = entries[entries.len() - 2].payload.clone() else {
        panic!()
    };
    assert_eq!((kept.output, kept.discarded_bytes), (vec![segment(own)], 12));
    // Who sends the bytes knows them.
    committed(&one(&mut state, commands.put_by("b", b"what a only knows")));
    committed(&one(&mut state, commands.bare(reported("b", 4, &[own, secret]))));
    assert_eq!(state.nodes[&node("b")].capability.len(), 2);
    assert_eq!((state.blobs.len(), state.uploads.len()), (2, 3));
}
