//! Reads what a Nix daemon sends: the first byte chooses the answer that is expected, as an operation does.
#![no_main]

use std::task::{Context, Poll, Waker};

use libfuzzer_sys::fuzz_target;
use nix_store::protocol::{read_build_result, read_events, read_path_info};
use nix_store::wire::WireReader;

/// Runs a future that has nothing to wait for.
fn run<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let mut reader = WireReader::new(bytes);
    run(async {
        match kind % 5 {
            0 => drop(read_events(&mut reader, &mut |_| {}).await),
            1 => drop(read_build_result(&mut reader).await),
            2 => drop(read_path_info(&mut reader).await),
            3 => drop(reader.paths().await),
            _ => drop(reader.strings().await),
        }
    });
});
