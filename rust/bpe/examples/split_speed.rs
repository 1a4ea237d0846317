//! Megabytes (10^6 bytes) a second of splitting: `split_speed FILE…`, one thread.
//!
//! `PATTERNS=gpt2,o200k_base` chooses patterns, `LSLM_SIMD` a level.

#![allow(clippy::print_stdout)] // a table is what it is for

use std::hint::black_box;
use std::time::Instant;

use lslm_bpe::split::Pattern;

fn main() {
    let names = std::env::var("PATTERNS")
        .unwrap_or_else(|_| "gpt2,cl100k_base,o200k_base,qwen2,deepseek_v3".to_owned());
    let files: Vec<String> = std::env::args().skip(1).collect();
    let texts: Vec<Vec<u8>> =
        files.iter().map(|file| std::fs::read(file).expect("a readable file")).collect();
    for name in names.split(',') {
        let pattern = Pattern::named(name).expect("a published name");
        print!("{name:14}");
        for (file, text) in files.iter().zip(&texts) {
            // The best of many short stretches, summed: other work on the machine disturbs little.
            let mut seconds = 0.0;
            let mut pieces = 0_usize;
            for part in text.chunks(500_000) {
                let mut best = f64::INFINITY;
                let mut count = 0;
                for _ in 0..9 {
                    let start = Instant::now();
                    count = 0;
                    pattern.for_each(black_box(part), |piece| {
                        black_box(piece.len());
                        count += 1;
                    });
                    best = best.min(start.elapsed().as_secs_f64());
                }
                seconds += best;
                pieces += count;
            }
            let rate = text.len() as f64 / 1e6 / seconds;
            let file = file.rsplit('/').next().unwrap_or(file);
            print!(" {file} {rate:5.0} ({:.1})", text.len() as f64 / pieces as f64);
        }
        println!();
    }
}
