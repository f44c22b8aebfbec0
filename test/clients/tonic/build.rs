//! Generates the stubs as docs/clients.md does. CHECKOUT is a folder with the contract.
use std::{env, error::Error, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    // SAFETY: nothing else runs in this process.
    unsafe { env::set_var("PROTOC", protoc_bin_vendored::protoc_bin_path()?) };
    env::set_current_dir(Path::new(&env::var("CHECKOUT")?))?;
    let files = ["proto/ironflow/kv/v1/bucket_service.proto", "proto/ironflow/kv/v1/key_value_service.proto"];
    tonic_prost_build::configure().build_server(false).compile_protos(&files, &["proto", "third_party/googleapis"])?;
    Ok(())
}
