//! The committed generated code is what the protobuf files say.
//!
//! `PACT_REGENERATE=1 cargo test -p pact-schemas --test regenerate` writes it anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

use std::path::{Path, PathBuf};

use prost::Message as _;

const FILES: [&str; 10] = [
    "authority.proto",
    "command.proto",
    "common.proto",
    "enroll_rpc.proto",
    "entry.proto",
    "gateway.proto",
    "journal_rpc.proto",
    "node.proto",
    "node_rpc.proto",
    "vcluster.proto",
];

fn generate(out: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let inputs: Vec<PathBuf> = FILES.iter().map(|f| root.join("pact/v1").join(f)).collect();
    let descriptors = protox::compile(inputs, [&root]).expect("the protobuf files compile");
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec()).unwrap();
    tonic_prost_build::configure()
        .out_dir(out)
        .build_transport(true)
        .compile_fds(descriptors)
        .expect("code is generated");
}

#[test]
fn every_protobuf_file_is_listed() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto/pact/v1");
    let mut found: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    assert_eq!(found, FILES);
}

#[test]
fn committed_code_is_generated_code() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gen");
    if std::env::var_os("PACT_REGENERATE").is_some() {
        generate(&committed);
        return;
    }
    let fresh = tempfile::tempdir().unwrap();
    generate(fresh.path());
    for name in ["pact.v1.rs", "descriptors.bin"] {
        let want = std::fs::read(fresh.path().join(name)).unwrap();
        let have = std::fs::read(committed.join(name)).unwrap_or_default();
        assert!(
            want == have,
            "schemas/src/gen/{name} is stale: run PACT_REGENERATE=1 cargo test -p pact-schemas --test regenerate"
        );
    }
}
