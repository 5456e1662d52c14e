//! Compiles the contract with protox: no `protoc` on the machine is needed.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["types", "worker", "sweep"].map(|f| format!("seedbed/v1/{f}.proto"));
    let descriptors = protox::compile(&files, ["."])?;

    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(
        out.join("seedbed_v1.bin"),
        prost::Message::encode_to_vec(&descriptors),
    )?;

    // Generated code carries the contract's comments; it is not held to the
    // house rules on documentation.
    tonic_prost_build::configure()
        .bytes(".seedbed.v1.BlobChunk")
        .compile_fds(descriptors)?;
    println!("cargo::rerun-if-changed=seedbed");
    Ok(())
}
