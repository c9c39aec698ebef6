//! Generates the contracts' types and services, the list of their writes, and the descriptor set that reflection and the method table
//! read.
use std::{env, fs, path::PathBuf};

#[allow(clippy::disallowed_methods)] // Cargo speaks to a build script through its environment.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let package = "proto/aopre/warranty/v1";
    println!("cargo:rerun-if-changed=proto");
    // `sqlx::migrate!` reads this folder at compile time.
    println!("cargo:rerun-if-changed=migrations");
    let files = ["coverage", "registry", "claim", "logistics", "errors"].map(|name| format!("{package}/{name}.proto"));
    // What a status in a message may carry: without it nobody could print one as JSON.
    let files = files.into_iter().chain(["google/rpc/error_details.proto".to_owned()]);
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_source_info(true).include_imports(true).open_files(files)?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // Encoded by protox itself: decoding into prost-types would drop custom options.
    fs::write(out.join("contract.binpb"), compiler.encode_file_descriptor_set())?;
    let descriptors = compiler.file_descriptor_set();
    let messages = descriptors.file.iter().filter(|file| file.package() == "aopre.warranty.v1");
    let messages = messages.flat_map(|file| &file.message_type);
    let writes = messages.filter(|message| message.field.iter().any(|field| field.name() == "request_id"));
    let writes: Vec<&str> = writes.map(|message| message.name()).collect();
    fs::write(out.join("writes.rs"), format!("writes!({});", writes.join(", ")))?;
    // What the JSON gateway reads stands in options; the comments there hold code that is none of Rust's.
    let contract = tonic_prost_build::configure().disable_comments([".google.api"]).include_file("contract.rs");
    contract.compile_fds(descriptors)?;
    // Envoy's own protocol is no part of the contract that reflection and the method table read.
    let envoy = protox::compile(["envoy/service/ratelimit/v3/rls.proto"], ["proto"])?;
    tonic_prost_build::configure().include_file("envoy.rs").compile_fds(envoy)?;
    Ok(())
}
