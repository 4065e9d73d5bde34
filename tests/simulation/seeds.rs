//! Many seeds, one after the other on each core.

use std::{
    ops::{ControlFlow, Range},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use tower_revocation::clock::Clock;

use crate::{
    coverage::Coverage,
    laws::{Law, Violation},
    plan::Plan,
    run::run,
    shorten::shorten,
};

/// What came of many seeds.
struct Outcome {
    /// How many were run.
    histories: u64,
    coverage: Coverage,
    failed: Option<(u64, Violation)>,
}

/// Those of the environment, or a few.
fn seeds(otherwise: u64) -> Range<u64> {
    let Ok(range) = std::env::var("SIMULATION_SEEDS") else { return 0..otherwise };
    let (from, to) = range.split_once("..").expect("SIMULATION_SEEDS=from..to");
    from.parse().unwrap()..to.parse().unwrap()
}

/// Runs all of them, or as many as it takes to find the first that breaks a law.
fn explore(seeds: Range<u64>) -> Outcome {
    let outcome = Outcome { histories: 0, coverage: Coverage::default(), failed: None };
    let outcome = Mutex::new(outcome);
    on_all_cores(seeds, |seed| {
        let ran = run(&Plan::of(seed), false);
        let mut outcome = outcome.lock().unwrap();
        outcome.histories += 1;
        outcome.coverage.add(&ran.coverage);
        let Some(violation) = ran.violation else { return ControlFlow::Continue(()) };
        if outcome.failed.as_ref().is_none_or(|(before, _)| seed < *before) {
            outcome.failed = Some((seed, violation));
        }
        ControlFlow::Break(())
    });
    outcome.into_inner().unwrap()
}

/// Does `work` for all of them in their order, until it has enough. Those before the last are done
/// in any case.
fn on_all_cores(seeds: Range<u64>, work: impl Fn(u64) -> ControlFlow<()> + Sync) {
    let (next, is_enough) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let take = || {
        while !is_enough.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            if work(seed).is_break() {
                is_enough.store(true, Ordering::Relaxed);
            }
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(take);
        }
    });
}

/// Prints a seed that breaks a law, and a short history that breaks the same one.
fn print_shortened(seed: u64, law: Law) {
    let plan = Plan::of(seed);
    let short = shorten(&plan, law);
    let ran = run(&short, true);
    println!("seed {seed}: {} of {} steps are enough", short.steps.len(), plan.steps.len());
    println!("{:?}", plan.setup);
    for step in &short.steps {
        println!("  {step}");
    }
    println!("what happens:");
    for line in &ran.lines {
        println!("  {line}");
    }
}

#[test]
fn no_history_breaks_a_law() {
    let (clock, seeds) = (Clock::system(), seeds(300));
    let began = clock.now();
    let Outcome { histories, coverage, failed } = explore(seeds.clone());
    let seconds = clock.now().since(began).as_secs_f64();
    println!("{coverage}");
    println!("{histories} histories in {seconds:.1} s: {:.0} a second", histories as f64 / seconds);
    if let Some((seed, violation)) = failed {
        // Those before it have all been run, on however many threads.
        println!("found after {} seeds: {violation}", seed - seeds.start + 1);
        if std::env::var_os("SIMULATION_BRIEF").is_none() {
            print_shortened(seed, violation.law);
        }
        panic!("seed {seed}: {violation}");
    }
    let missing = coverage.missing();
    assert!(histories < 1_000 || missing.is_empty(), "never reached: {missing:?}");
}

#[test]
fn the_same_seed_gives_the_same_history() {
    on_all_cores(seeds(100), |seed| {
        let plan = Plan::of(seed);
        let (one, other) = (run(&plan, false), run(&plan, false));
        if one.history != other.history {
            let (one, other) = (run(&plan, true), run(&plan, true));
            let differs = one.lines.iter().zip(&other.lines).find(|(one, other)| one != other);
            panic!("seed {seed}: {differs:?}");
        }
        assert_eq!(one.coverage, other.coverage, "seed {seed}");
        ControlFlow::Continue(())
    });
}
