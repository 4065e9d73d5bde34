//! Prints how the measurements of the other benchmarks compare. It measures nothing itself.
//!
//! `just bench` runs them all, then this. Numbers are the medians that criterion left in the target
//! folder; compare only what one run on one machine has measured.

use std::{env, fs, path::PathBuf};

use serde_json::Value;

const ALGORITHMS: [&str; 6] = ["HS256", "RS256", "PS256", "ES256", "ES384", "EdDSA"];

fn main() {
    println!("\nEpochs::revoked, a token with four scopes (ns)");
    println!("{:<12}{:>12}{:>12}{:>12}", "cut-offs", "newer", "miss", "hit");
    for cut_offs in ["0", "1000", "1000000"] {
        let median = |name| shown(median(&["revoked", name, cut_offs]));
        println!(
            "{cut_offs:<12}{:>12}{:>12}{:>12}",
            median("newer"),
            median("miss"),
            median("hit")
        );
    }

    println!("\nVerifier::verify beside jsonwebtoken::decode (ns)");
    println!("{:<12}{:>12}{:>12}{:>12}{:>14}", "", "ours", "bare", "ours/bare", "rust-crypto");
    for algorithm in ALGORITHMS {
        let median = |name| median(&["verify", name, algorithm]);
        let (ours, bare) = (median("ours"), median("bare"));
        println!(
            "{algorithm:<12}{:>12}{:>12}{:>12}{:>14}",
            shown(ours),
            shown(bare),
            ratio(ours, bare),
            shown(median("rust-crypto")),
        );
    }

    println!("\nA request (ns)");
    println!(
        "{:<12}{:>12}{:>12}{:>12}{:>12}{:>12}{:>14}",
        "", "inner", "bare", "layer", "sqlite", "layer/bare", "sqlite/layer"
    );
    let sqlite = median(&["layer", "sqlite"]);
    for algorithm in ["HS256", "ES256"] {
        let median = |name| median(&["layer", name, algorithm]);
        let (bare, layer) = (median("bare"), median("layer"));
        println!(
            "{algorithm:<12}{:>12}{:>12}{:>12}{:>12}{:>12}{:>14}",
            shown(median("inner")),
            shown(bare),
            shown(layer),
            shown(sqlite),
            ratio(layer, bare),
            ratio(sqlite, layer),
        );
    }
}

/// The median of one benchmark in nanoseconds, if it has run.
fn median(path: &[&str]) -> Option<f64> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let mut file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(target).join("criterion");
    file.extend(path);
    let estimates = fs::read_to_string(file.join("new").join("estimates.json")).ok()?;
    let estimates: Value = serde_json::from_str(&estimates).ok()?;
    estimates["median"]["point_estimate"].as_f64()
}

fn ratio(part: Option<f64>, whole: Option<f64>) -> String {
    part.zip(whole).map_or_else(|| "-".to_owned(), |(part, whole)| format!("{:.2}", part / whole))
}

fn shown(nanoseconds: Option<f64>) -> String {
    match nanoseconds {
        Some(few) if few < 100.0 => format!("{few:.1}"),
        Some(many) => format!("{many:.0}"),
        None => "-".to_owned(),
    }
}
