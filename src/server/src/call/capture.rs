//! Reads a program's output as it comes, and keeps its beginning and its end.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

pub use sandbox_plan::capture::Captured;

/// Reads until the end; never holds more of it than is kept, and never makes the writer wait.
pub async fn read(mut stream: impl AsyncRead + Unpin) -> io::Result<Captured> {
    let mut captured = Captured::default();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(captured),
            count => captured.push(&buffer[..count]),
        }
    }
}
