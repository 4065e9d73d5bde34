//! What one would pick instead of this crate, side by side with it: the same request, the same
//! token, one run. `README.md` says what is compared and how.
//!
//! `peers` measures all and draws `plot.svg`; `peers PART...` only those parts.

mod cold;
mod counting;
mod end_to_end;
mod fixture;
mod inner;
mod jwt;
mod load;
mod memory;
mod ours;
mod plot;
mod queries;
mod report;
mod rounds;
mod sessions;

use std::{env, error::Error, fs, io, process::ExitCode, rc::Rc};

use tokio::runtime::{Builder, Runtime};

use report::Report;

type Part = fn(&Rc<Runtime>, &mut Report) -> io::Result<()>;

/// In their order.
const PARTS: [(&str, Part); 7] = [
    ("hot", jwt::hot),
    ("many", jwt::many),
    ("cold", cold::run),
    ("sessions", sessions::run),
    ("queries", queries::run),
    ("memory", memory::run),
    ("end-to-end", end_to_end::run),
];

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let asked: Vec<String> = env::args().skip(1).collect();
    if let Some(unknown) = asked.iter().find(|it| PARTS.iter().all(|(name, _)| name != it)) {
        return Err(format!("{unknown} is no part").into());
    }
    println!("{}", report::machine());
    jwt::choose_aws_lc();
    let runtime = Rc::new(Builder::new_current_thread().enable_all().build()?);
    let mut report = Report::default();
    for (name, run) in PARTS {
        if asked.is_empty() || asked.iter().any(|it| it == name) {
            println!("\n{name}");
            run(&runtime, &mut report)?;
        }
    }
    queries::clean_up(&runtime);
    if asked.is_empty() {
        fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/plot.svg"), plot::draw(report.rows()))?;
    }
    Ok(if report.conclude() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
