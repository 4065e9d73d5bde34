//! A full load beside the plain row stream of the same columns into the same entries.

use tower_revocation::{
    epochs::Epochs,
    store::{EpochStore, Watch},
};

use crate::{median, median_ratio, stores::Bare, timed};

const CUT_OFFS: i64 = 1_000_000;
const TURNS: usize = 7;

pub(crate) async fn run<B: Bare>() {
    let mut bare = B::new().await;
    bare.fill(CUT_OFFS).await;
    let mut watch = bare.store().watch().await.unwrap();
    let (mut ours, mut stream, mut into_epochs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let (time, entries) = timed(bare.stream()).await;
        assert_eq!(entries.len() as i64, CUT_OFFS);
        stream.push(time);
        drop(entries);
        let (time, changes) = timed(watch.load()).await;
        let entries = changes.unwrap().entries;
        assert_eq!(entries.len() as i64, CUT_OFFS);
        ours.push(time);
        let epochs = Epochs::new();
        let raise = async {
            for entry in &entries {
                epochs.raise(&entry.scope, entry.cut_off);
            }
        };
        into_epochs.push(timed(raise).await.0);
    }
    println!(
        "load of {CUT_OFFS} cut-offs, {}: {:.2?}, row stream {:.2?}: {:.2} times as fast; \
         into the epochs {:.2?}",
        B::NAME,
        median(&ours),
        median(&stream),
        median_ratio(&stream, &ours),
        median(&into_epochs),
    );
}
