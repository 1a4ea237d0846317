//! scratch
#![allow(unsafe_code, clippy::all, clippy::pedantic, clippy::print_stdout, clippy::unwrap_used)]

use lslm_bpe::{Cache, Special, Tokenizer, split::Pattern};
use lslm_runtime::Task;
#[repr(C)]
struct Ts(i64, i64);
unsafe extern "C" {
    fn clock_gettime(id: i32, t: *mut Ts) -> i32;
}
fn now() -> f64 {
    let mut t = Ts(0, 0);
    unsafe {
        clock_gettime(3, &mut t);
    }
    t.0 as f64 + t.1 as f64 * 1e-9
}
fn cut<'a>(docs: &[&'a [u8]], start: usize, total: usize) -> (usize, Vec<&'a [u8]>, usize) {
    let mut n = 0;
    let mut o = vec![];
    for d in &docs[start..] {
        o.push(*d);
        n += d.len();
        if n >= total {
            break;
        }
    }
    (start + o.len(), o, n)
}
fn main() {
    let enc = std::env::var("ENC").unwrap_or("o200k_base".into());
    let what = std::env::args().skip(1).collect::<Vec<_>>();
    let rounds: usize = std::env::var("ROUNDS").ok().and_then(|r| r.parse().ok()).unwrap_or(1);
    for name in what {
        let text = std::fs::read(format!("/work/q/files/{name}.txt")).unwrap();
        let docs: Vec<&[u8]> = text.split(|b| *b == 0).collect();
        let size = std::env::var("SIZE")
            .ok()
            .and_then(|r| r.parse().ok())
            .unwrap_or(if name == "multi" { 7_400_000 } else { 10_000_000 });
        let (next, a, na) = cut(&docs, 0, size);
        let (_, b, nb) = cut(&docs, next, size);
        let (mut cold, mut steady, mut replay, mut load) = (f64::MAX, f64::MAX, f64::MAX, f64::MAX);
        let mut h = 0u64;
        let mut total = 0;
        for _ in 0..rounds {
            let t = now();
            let tok = if enc == "qwen2_5" {
                Tokenizer::load("/work/q/qwen2_5.tokenizer.json").unwrap()
            } else {
                Tokenizer::from_tiktoken(
                    format!("/work/q/{enc}.tiktoken"),
                    Pattern::named(if enc == "gpt2" { "gpt2" } else { &enc }).unwrap(),
                    &[],
                )
                .unwrap()
            };
            load = load.min(now() - t);
            let mut cache = Cache::new();
            let task = Task::default();
            let mut out = Vec::with_capacity(10_000_000);
            out.resize(10_000_000, 1);
            out.clear();
            let mut run = |docs: &[&[u8]]| {
                out.clear();
                let t = now();
                for d in docs {
                    tok.encode_into_task(d, &Special::None, &mut cache, &task, &mut out).unwrap();
                }
                (
                    now() - t,
                    out.len(),
                    out.iter().fold(0u64, |h, &x| {
                        (h ^ x as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(7)
                    }),
                )
            };
            let c = run(&a);
            cold = cold.min(c.0);
            let s = run(&b);
            steady = steady.min(s.0);
            replay = replay.min(run(&a).0);
            for _ in 0..std::env::var("REPLAYS").ok().and_then(|r| r.parse().ok()).unwrap_or(2) {
                replay = replay.min(run(&a).0);
            }
            h = c.2 ^ s.2;
            total = c.1;
        }
        println!(
            "{enc:12} {name:8} load {load:.3} cold {:6.1} steady {:6.1} replay {:6.1}  ids {total} {h:016x}",
            na as f64 / cold / 1e6,
            nb as f64 / steady / 1e6,
            na as f64 / replay / 1e6
        );
    }
}
