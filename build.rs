//! Plants a bug for the tests to find, if it is told to: see `.ci/plants`. Ordinary builds have none,
//! and the published package has no build script.

fn main() {
    println!("cargo::rerun-if-env-changed=TOWER_REVOCATION_PLANT");
    if let Ok(plant) = std::env::var("TOWER_REVOCATION_PLANT") {
        println!("cargo::rustc-cfg=plant={plant:?}");
    }
}
