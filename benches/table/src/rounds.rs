//! Times that can be compared: short rounds in turn, and medians of ratios within a round.

use std::{
    hint::black_box,
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::maps::{Map, Subject};

/// So many look-ups of one map, then of the next. Few, so that each finds the caches as the others
/// have left them: as a request does.
pub(crate) const LOOK_UPS: usize = 2_048;

/// What is done in a round.
#[derive(Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) count: u64,
    /// Whether those who are looked up have a cut-off.
    pub(crate) hit: bool,
    pub(crate) threads: usize,
    /// Whether somebody raises cut-offs meanwhile, 1,000 a second.
    pub(crate) writes: bool,
}

impl Setting {
    fn subjects(self, random: &mut StdRng, many: usize) -> Vec<Subject> {
        let strangers = if self.hit { 0 } else { 1 << 40 };
        let number = |random: &mut StdRng| random.random_range(0..self.count.max(1)) + strangers;
        (0..many).map(|_| Subject::new(number(random))).collect()
    }
}

/// The nanoseconds of a look-up, over one round.
pub(crate) fn of<M: Map>(map: &M, setting: Setting, random: &mut StdRng) -> f64 {
    if setting.threads == 1 && !setting.writes {
        return look_up(map, &setting.subjects(random, LOOK_UPS));
    }
    // Longer, for some writes to fall into it.
    let subjects: Vec<Vec<Subject>> =
        (0..setting.threads).map(|_| setting.subjects(random, 4 * LOOK_UPS)).collect();
    let begin = Barrier::new(setting.threads);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        if setting.writes {
            let mut random = StdRng::seed_from_u64(random.random());
            let done = &done;
            scope.spawn(move || write(map, setting.count, &mut random, done));
        }
        let readers: Vec<_> = subjects
            .iter()
            .map(|subjects| {
                let begin = &begin;
                scope.spawn(move || {
                    begin.wait();
                    look_up(map, subjects)
                })
            })
            .collect();
        let times: Vec<f64> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
        done.store(true, Ordering::Relaxed);
        times.iter().sum::<f64>() / times.len() as f64
    })
}

fn look_up<M: Map>(map: &M, subjects: &[Subject]) -> f64 {
    let began = Instant::now();
    for subject in subjects {
        black_box(map.find(black_box(subject)));
    }
    began.elapsed().as_nanos() as f64 / subjects.len() as f64
}

/// Raises those who are there already: the number of cut-offs stays what it is said to be.
fn write<M: Map>(map: &M, count: u64, random: &mut StdRng, done: &AtomicBool) {
    let mut time = count;
    while !done.load(Ordering::Relaxed) {
        time += 1;
        map.raise(&Subject::new(random.random_range(0..count.max(1))), time);
        thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
