//! Makes the failure that is reported out of the error of a system call.

use std::io;

use sandbox_plan::Failure;

/// Returns a function that makes a failure of an error. `operation` says what was tried.
pub fn failed(operation: impl Into<String>) -> impl FnOnce(io::Error) -> Failure {
    let operation = operation.into();
    // Every error comes from a system call, except that of a message that does not parse.
    move |error| Failure { operation, errno: error.raw_os_error().unwrap_or(libc::EBADMSG) }
}
