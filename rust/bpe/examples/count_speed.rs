//! Counting beside splitting, and both phases of learning: `count_speed FILE…`, one thread.
//!
//! `PATTERNS=gpt2,o200k_base` chooses patterns. Each file is one document, cut at line ends into
//! pieces of about 100 kB; each run begins with an empty counter, so new words and new memory count.

#![allow(clippy::print_stdout)] // a table is what it is for

use std::hint::black_box;
use std::time::Instant;

use lslm_bpe::split::Pattern;
use lslm_bpe::train::{TrainOptions, WordCounter, train};
use lslm_runtime::Task;

fn main() {
    let names = std::env::var("PATTERNS").unwrap_or_else(|_| "gpt2,o200k_base".to_owned());
    for file in std::env::args().skip(1) {
        let text = std::fs::read(&file).expect("a readable file");
        let documents: Vec<&[u8]> = documents(&text);
        for name in names.split(',') {
            let pattern = Pattern::named(name).expect("a published name");
            let task = Task::default();
            let (mut split, mut count) = (f64::INFINITY, f64::INFINITY);
            let mut pieces = 0_usize;
            let mut words = 0;
            for _ in 0..7 {
                let start = Instant::now();
                pieces = 0;
                for document in &documents {
                    pattern.for_each_batch(black_box(document), |ends| {
                        pieces += black_box(ends).len();
                    });
                }
                split = split.min(start.elapsed().as_secs_f64());
                let start = Instant::now();
                let mut counter = WordCounter::new(&pattern);
                for document in &documents {
                    counter.add(black_box(document), &task).expect("no error");
                }
                count = count.min(start.elapsed().as_secs_f64());
                let counts = WordCounter::finish(vec![counter], 1, &task).expect("no error");
                words = counts.len();
            }
            let rate = |seconds: f64| text.len() as f64 / 1e6 / seconds;
            println!(
                "{:14} {name:12} split {:5.0} MB/s, count {:5.0} MB/s ({:.0} %); {:.1} bytes and {:.2} + {:.2} ns a piece, {words} words of {pieces}",
                file.rsplit('/').next().unwrap_or(&file),
                rate(split),
                rate(count),
                100.0 * split / count,
                text.len() as f64 / pieces as f64,
                split * 1e9 / pieces as f64,
                (count - split) * 1e9 / pieces as f64,
            );
            let mut counter = WordCounter::new(&pattern);
            for document in &documents {
                counter.add(document, &task).expect("no error");
            }
            let counts = WordCounter::finish(vec![counter], 1, &task).expect("no error");
            let start = Instant::now();
            train(counts, &TrainOptions::new(32_000), 1, &task).expect("no error");
            println!("    32,000 tokens: {:.3} s", start.elapsed().as_secs_f64());
        }
    }
}

fn documents(text: &[u8]) -> Vec<&[u8]> {
    let mut documents = Vec::new();
    let mut rest = text;
    while rest.len() > 100_000 {
        let end = rest[100_000..]
            .iter()
            .position(|&byte| byte == b'\n')
            .map_or(rest.len(), |at| 100_000 + at + 1);
        let (document, after) = rest.split_at(end);
        documents.push(document);
        rest = after;
    }
    documents.push(rest);
    documents
}
