//! The hand-made tables of lslm-bpe beside hashbrown; see `table_jobs.rs`.

use lslm_benches::{harness, table_jobs};

fn main() {
    let mut criterion = harness();
    table_jobs::run(&mut criterion);
    criterion.final_summary();
}
