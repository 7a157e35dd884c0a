//! From a refused system call to the failure that is reported.

use std::io;

use sandbox_plan::Failure;

/// Names what was tried when the call was refused.
pub fn failed(operation: impl Into<String>) -> impl FnOnce(io::Error) -> Failure {
    let operation = operation.into();
    // Every error comes from a system call, but for a message that does not parse.
    move |error| Failure { operation, errno: error.raw_os_error().unwrap_or(libc::EBADMSG) }
}
