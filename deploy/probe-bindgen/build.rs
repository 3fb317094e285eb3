//! Runs bindgen on a header that includes what RocksDB's does.

use bindgen::{BindgenError, Builder};

/// Where there is no libclang, bindgen panics; where there is one without its headers, clang says which it does not find.
fn main() -> Result<(), BindgenError> {
    println!("cargo:rerun-if-changed=probe.h");
    for variable in ["LIBCLANG_PATH", "LLVM_CONFIG_PATH", "CLANG_PATH", "BINDGEN_EXTRA_CLANG_ARGS"]
    {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    let _bindings = Builder::default().header("probe.h").generate()?;
    println!("cargo:rustc-env=PROBE_CLANG={}", bindgen::clang_version().full);
    Ok(())
}
