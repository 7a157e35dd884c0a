//! What a receipt costs: `cargo bench --bench receipt`.

#[path = "../derivation/samples.rs"]
#[allow(dead_code)]
mod samples;

use std::hint::black_box;
use std::time::{Duration, Instant};

use sandbox_mcp::run_derivation::{builder_path, fits_inline};

const RUNS: usize = 500;

fn main() {
    let begun = Instant::now();
    let builder = builder_path();
    println!("the launcher's own path, once: {:?}", begun.elapsed());
    println!("{:>9}  {:>8}  {:>9}  {:>9}", "code", "held", "median", "p95");
    for size in [100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000] {
        // A line break in every 40 characters, as in code.
        let code: String = "print(\"a line of about forty characters\")\n".chars().cycle().take(size).collect();
        let files = samples::files(&[("main.py", &code)]);
        let mut times: Vec<Duration> = (0..RUNS.min(500_000_000 / size))
            .map(|_| {
                let begun = Instant::now();
                black_box(samples::run(builder, black_box(&files)).derivation().expect("the sample is right"));
                begun.elapsed()
            })
            .collect();
        times.sort();
        let held = if fits_inline(&files) { "inline" } else { "apart" };
        let at = |percent: usize| format!("{:.1?}", times[times.len() * percent / 100]);
        println!("{size:>9}  {held:>8}  {:>9}  {:>9}", at(50), at(95));
    }
}
