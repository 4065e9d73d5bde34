//! Reads the sources as text and holds the structure that `ARCHITECTURE.md` describes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

// ---- who may import whom ----

#[test]
fn the_layer_and_the_sync_never_import_each_other() {
    must_not_import("layer", &["sync"]);
    must_not_import("sync", &["layer"]);
}

#[test]
fn the_request_path_knows_no_store_and_no_background_work() {
    for module in ["token", "epochs", "verify", "layer"] {
        must_not_import(module, &["store", "sync", "session"]);
    }
    // It answers with the tokens of a login, too.
    must_not_import("axum", &["store", "sync"]);
    for module in ["token", "epochs", "verify"] {
        must_not_import(module, &["layer", "axum", "routes", "telemetry"]);
    }
}

#[test]
fn tokens_and_epochs_know_nothing_of_each_other() {
    must_not_import("token", &["epochs", "verify"]);
    must_not_import("epochs", &["token", "verify"]);
}

#[test]
fn the_store_imports_the_vocabulary_alone() {
    must_not_import("store", &["axum", "epochs", "session", "sync", "token", "verify"]);
    // One file answers what the layer asks while it is stale, by the trait that the layer owns.
    named_of_layer_only_in("store/", "store/confirm.rs");
}

/// Of the files in `folder`, only `place` imports the layer.
fn named_of_layer_only_in(folder: &str, place: &str) {
    let reexports = reexported();
    only_in(&[place], |line| {
        let of_layer = imported(&line.text, &reexports).iter().any(|name| name == "layer");
        line.file.starts_with(folder) && of_layer
    });
}

#[test]
fn the_sync_imports_no_tokens_and_no_sessions() {
    must_not_import("sync", &["session", "token", "verify", "axum"]);
}

#[test]
fn sessions_import_store_token_and_epochs_alone() {
    // Of the epochs they read which revocation is the newest.
    must_not_import("session", &["axum", "routes", "sync", "verify"]);
    // One file renews what the layer finds to be due, by the trait that the layer owns.
    named_of_layer_only_in("session/", "session/renew.rs");
}

#[test]
fn the_routes_import_sessions_and_stores_alone() {
    must_not_import("routes", &["axum", "epochs", "layer", "sync", "token", "verify"]);
    for module in ["axum", "layer", "store", "sync"] {
        must_not_import(module, &["routes"]);
    }
}

#[test]
fn the_vocabulary_imports_itself_alone() {
    let others =
        ["axum", "epochs", "layer", "routes", "session", "store", "sync", "token", "verify"];
    // What the crate tells about itself is said everywhere, so it knows the vocabulary alone.
    for module in ["clock", "cutoff", "error", "lifetimes", "scope", "telemetry"] {
        must_not_import(module, &others);
    }
}

// ---- which crate is used where ----

#[test]
fn sqlx_stays_in_the_store() {
    only_in(&["store/"], |line| line.names_crate("sqlx"));
}

#[test]
fn http_and_tower_stay_in_the_layer_and_the_adapters() {
    only_in(&["layer/", "routes/", "axum.rs"], |line| {
        ["http", "http_body", "http_body_util", "tower_layer", "tower_service", "axum_core"]
            .iter()
            .any(|name| line.names_crate(name))
    });
}

#[test]
fn jsonwebtoken_stays_in_the_crypto_back_end_of_tokens() {
    only_in(&["token/backend/"], |line| line.names_crate("jsonwebtoken"));
}

#[test]
fn dashmap_stays_in_the_epoch_table() {
    only_in(&["epochs/table/flat.rs"], |line| line.names_crate("dashmap"));
}

#[test]
fn arc_swap_holds_the_table_and_the_keys_and_nothing_else() {
    let places = ["epochs/table.rs", "session/ring.rs", "verify/issuer.rs"];
    only_in(&places, |line| line.names_crate("arc_swap"));
}

// ---- what is pure ----

#[test]
fn the_clocks_of_the_machine_are_read_in_one_file() {
    only_in(&["clock.rs"], |line| {
        let std_import = line.text.starts_with("use std::");
        ["Instant", "SystemTime"].iter().any(|name| {
            line.text.contains(&format!("time::{name}::now"))
                || std_import && words(&line.text).any(|word| word == *name)
        })
    });
}

#[test]
fn a_check_awaits_nothing() {
    let pure = |file: &str| {
        ["token/", "epochs/", "verify/", "layer/"].iter().any(|folder| file.starts_with(folder))
            || file == "verify.rs"
    };
    // The exceptions: waiting for the sync, which no request does, and the tasks that ask a store,
    // while the copy is stale and for a renewal.
    let waits = |line: &Line| {
        line.file == "epochs/handle.rs" && ["ready", "wait_for"].contains(&&*line.function)
            || line.file == "layer/questions.rs" && ["told", "ask"].contains(&&*line.function)
            || line.file == "layer/renewal/attempts.rs" && line.function == "run"
    };
    none(lines().into_iter().filter(|line| {
        let waiting = line.text.contains(".await") || words(&line.text).any(|word| word == "async");
        pure(&line.file) && waiting && !waits(line)
    }));
}

// ---- files ----

#[test]
fn no_file_has_500_lines() {
    let long = sources().into_iter().filter_map(|(file, text)| {
        let count = text.lines().count();
        (count >= 500).then(|| format!("{file}: {count} lines"))
    });
    none(long);
}

#[test]
fn contents_pages_hold_no_logic() {
    // A helper that all files below share may stand there, if it is three lines long at most.
    let is_page = |file: &str| {
        file.ends_with("mod.rs") || sources().iter().any(|(other, _)| folder_of(file, other))
    };
    let pages = sources().into_iter().filter(|(file, _)| file == "lib.rs" || is_page(file));
    none(pages.flat_map(|(file, text)| {
        long_functions(&text, 3)
            .into_iter()
            .map(|function| format!("{file}: {function}"))
            .collect::<Vec<_>>()
    }));
}

// ---- the README ----

#[test]
fn the_readme_names_the_compiler_of_the_manifest() {
    let manifest = read("Cargo.toml");
    let version = manifest
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = \"")?.strip_suffix('"'))
        .unwrap();
    let readme = read("README.md");
    let named: Vec<&str> = readme
        .split("Rust 1.")
        .skip(1)
        .map(|rest| rest.split(|byte: char| !byte.is_ascii_digit()).next().unwrap())
        .collect();
    assert!(!named.is_empty(), "the README names no version of Rust");
    for minor in named {
        assert_eq!(format!("1.{minor}"), version);
    }
}

#[test]
fn the_quick_start_of_the_readme_is_the_example() {
    let example = read("examples/quickstart/main.rs");
    let example: Vec<&str> = example
        .lines()
        .filter(|line| !line.starts_with("//!"))
        .filter(|line| !["#[cfg(test)]", "mod tests;"].contains(line))
        .collect();
    let readme = read("README.md");
    let (_, block) = readme.split_once("```rust,no_run\n").unwrap();
    let (block, _) = block.split_once("\n```").unwrap();
    assert_eq!(block.trim(), example.join("\n").trim());
}

#[test]
fn the_readme_lists_every_metric_and_feature() {
    let readme = read("README.md");
    let telemetry = read("src/telemetry.rs");
    let metrics: Vec<&str> =
        telemetry.split('"').filter(|text| text.starts_with("tower_revocation_")).collect();
    let manifest = read("Cargo.toml");
    let (_, features) = manifest.split_once("[features]\n").unwrap();
    let (features, _) = features.split_once("\n[").unwrap();
    let features: Vec<&str> = features
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(" = ").map(|(name, _)| name))
        .filter(|name| *name != "default" && !name.starts_with('_'))
        .collect();
    assert!(metrics.len() > 5 && features.len() > 5, "{metrics:?} {features:?}");
    none(metrics.into_iter().filter(|name| !readme.contains(&format!("| `{name}"))));
    none(features.into_iter().filter(|name| !readme.contains(&format!("| `{name}` |"))));
}

// ---- the test of the tests ----

#[test]
fn offences_are_found() {
    let text = "use crate::{\n    store::{self, Watch},\n    sync::Follower,\n};\n\
                use tokio::time::Instant;\nfn late() { sqlx::query(); } // http::no\n\
                // layer: crate::layer\nuse std::time::{Duration, Instant};\n";
    let found = lines_of("x.rs", text);
    assert_eq!(found.len(), 4, "{found:?}");
    let modules = |line: &Line| imported(&line.text, &[]);
    assert_eq!(modules(&found[0]), ["store", "sync"]);
    assert!(found[2].names_crate("sqlx") && found[2].function == "late");
    assert!(!found[2].names_crate("http") && !found[1].text.starts_with("use std::"));
    assert!(found[3].text.starts_with("use std::"));
    let reexports = [("Follower".to_owned(), "sync".to_owned())];
    assert_eq!(imported("crate::Follower::new(crate::error::X)", &reexports), ["sync", "error"]);
    let around = &lines_of("layer/x.rs", "use super::super::sync::Follower;")[0];
    assert!(goes_around(around) && !goes_around(&lines_of("layer/x.rs", "use super::y;")[0]));
    let long = "fn short() {\n    1\n}\nfn long() {\n    1;\n    2;\n    3;\n    4\n}\n";
    assert_eq!(long_functions(long, 3), ["fn long() {"]);
    assert!(reexported().contains(&("Follower".to_owned(), "sync".to_owned())));
}

// ---- how it is read ----

/// A line of code without its comment, or a whole `use` declaration.
#[derive(Debug)]
struct Line {
    /// Relative to `src/`.
    file: String,
    number: usize,
    text: String,
    /// The function that began last.
    function: String,
}

impl Line {
    /// Whether it names the crate `name` at the start of a path.
    fn names_crate(&self, name: &str) -> bool {
        self.text.match_indices(name).any(|(at, _)| {
            let before = self.text[..at].trim_start_matches("::");
            let begins =
                !before.ends_with(|byte: char| byte.is_alphanumeric() || "_:".contains(byte));
            let after = &self.text[at + name.len()..];
            begins && (after.starts_with("::") || self.text == format!("use {name};"))
        })
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "src/{}:{}: {}", self.file, self.number, self.text)
    }
}

/// Fails with the list of offences, if there are any.
fn none(offences: impl IntoIterator<Item = impl ToString>) {
    let offences: Vec<String> = offences.into_iter().map(|offence| offence.to_string()).collect();
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

fn must_not_import(module: &str, others: &[&str]) {
    let reexports = reexported();
    let (page, folder) = (format!("{module}.rs"), format!("{module}/"));
    let of_module: Vec<Line> = lines()
        .into_iter()
        .filter(|line| line.file == page || line.file.starts_with(&folder))
        .collect();
    assert!(!of_module.is_empty(), "there is no module {module}");
    none(of_module.into_iter().filter(|line| {
        imported(&line.text, &reexports).iter().any(|name| others.contains(&name.as_str()))
            || goes_around(line)
    }));
}

/// Whether it reaches the root by `super::`, the way around `crate::`.
fn goes_around(line: &Line) -> bool {
    let up = line.file.matches('/').count() + usize::from(!line.file.ends_with("mod.rs"));
    let path = "super::".repeat(up);
    line.text.match_indices(&path).any(|(at, _)| !line.text[at + path.len()..].starts_with('*'))
}

fn only_in(places: &[&str], offends: impl Fn(&Line) -> bool) {
    let (inside, outside): (Vec<Line>, Vec<Line>) = lines()
        .into_iter()
        .filter(offends)
        .partition(|line| places.iter().any(|place| line.file.starts_with(place)));
    none(outside);
    for place in places {
        let used = inside.iter().any(|line| line.file.starts_with(place));
        assert!(used, "src/{place} does not need it any more: shorten the list");
    }
}

/// The modules that `text` names behind `crate::`; what the root re-exports counts as its module's.
fn imported(text: &str, reexports: &[(String, String)]) -> Vec<String> {
    let mut modules = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let path = &text[at + "crate::".len()..];
        let names = match path.strip_prefix('{') {
            Some(group) => heads(group),
            None => words(path).take(1).map(str::to_owned).collect(),
        };
        for name in names {
            let module = reexports.iter().find(|(reexported, _)| *reexported == name);
            modules.push(module.map_or(name, |(_, module)| module.clone()));
        }
    }
    modules
}

/// The first words of the entries of a group, whose opening brace is gone.
fn heads(group: &str) -> Vec<String> {
    let (mut heads, mut depth, mut entry) = (Vec::new(), 0, String::new());
    for character in group.chars() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.push(std::mem::take(&mut entry)),
            _ => {}
        }
        if depth == 0 && character != ',' {
            entry.push(character);
        }
    }
    heads.push(entry);
    heads.iter().filter_map(|entry| words(entry).next()).map(str::to_owned).collect()
}

/// What `lib.rs` re-exports, with its module.
fn reexported() -> Vec<(String, String)> {
    let mut reexports = Vec::new();
    for line in lines().iter().filter(|line| line.file == "lib.rs") {
        let Some(path) = line.text.strip_prefix("pub use ") else { continue };
        let mut names = words(path);
        let module = names.next().unwrap();
        reexports.extend(names.map(|name| (name.to_owned(), module.to_owned())));
    }
    reexports
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|byte: char| !byte.is_alphanumeric() && byte != '_').filter(|word| !word.is_empty())
}

fn lines() -> Vec<Line> {
    sources().iter().flat_map(|(file, text)| lines_of(file, text)).collect()
}

fn lines_of(file: &str, text: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut function = String::new();
    let mut declaration_goes_on = false;
    for (index, line) in text.lines().enumerate() {
        // Good enough for sources that hold no `// ` in a string.
        let code = line.split(" // ").next().unwrap().trim();
        if code.is_empty() || code.starts_with("//") {
            continue;
        }
        if let (true, Some(declaration)) = (declaration_goes_on, lines.last_mut()) {
            declaration.text.push_str(code);
        } else {
            let mut names = words(code).skip_while(|word| *word != "fn");
            if let Some(name) = names.nth(1) {
                name.clone_into(&mut function);
            }
            lines.push(Line {
                file: file.to_owned(),
                number: index + 1,
                text: code.to_owned(),
                function: function.clone(),
            });
        }
        let text = &lines.last().unwrap().text;
        declaration_goes_on =
            ["use ", "pub use ", "pub(crate) use "].iter().any(|start| text.starts_with(start))
                && !text.ends_with(';');
    }
    lines
}

/// The functions of a file whose body is longer than `most` lines, tests aside.
fn long_functions(text: &str, most: usize) -> Vec<String> {
    let code: Vec<&str> = text
        .lines()
        .take_while(|line| *line != "#[cfg(test)]")
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let mut long = Vec::new();
    for (at, line) in code.iter().enumerate() {
        if words(line).any(|word| word == "fn") {
            let indent = line.len() - line.trim_start().len();
            let end = format!("{}}}", " ".repeat(indent));
            if code[at + 1..].iter().take_while(|line| **line != end).count() > most {
                long.push(line.trim().to_owned());
            }
        }
    }
    long
}

/// Whether `page` is `x.rs` and `file` lies in `x/`.
fn folder_of(page: &str, file: &str) -> bool {
    page.strip_suffix(".rs").is_some_and(|module| file.starts_with(&format!("{module}/")))
}

/// Every source file, by its path under `src/`.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut files: Vec<PathBuf> = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    let named = |path: &PathBuf| {
        let parts = path.strip_prefix(&root).unwrap().components();
        let parts: Vec<_> = parts.map(|part| part.as_os_str().to_string_lossy()).collect();
        (parts.join("/"), fs::read_to_string(path).unwrap().replace("\r\n", "\n"))
    };
    files.iter().map(named).collect()
}

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(path).unwrap().replace("\r\n", "\n")
}
