//! Descriptors that go along with bytes over a socket.

use std::mem::zeroed;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

/// Sends bytes with descriptors over a socket.
pub fn send(socket: &UnixStream, bytes: &[u8], descriptors: [RawFd; 3]) {
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut buffer = [0u64; 8];
    // SAFETY: all-zero is a valid msghdr. It points to `bytes` and to a buffer that is large and aligned enough for
    // three descriptors, and both outlive the call.
    let sent = unsafe {
        let mut message: libc::msghdr = zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = buffer.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(size_of_val(&descriptors) as u32) as _;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(size_of_val(&descriptors) as u32) as _;
        libc::CMSG_DATA(header).cast::<[RawFd; 3]>().write_unaligned(descriptors);
        libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL)
    };
    // A manager that is gone is noticed by the missing answer.
    assert!(sent == bytes.len() as isize || sent == -1);
}

/// Receives the next message: the bytes and the descriptors of one message.
pub fn receive(from: &UnixStream) -> (Vec<u8>, Vec<OwnedFd>) {
    const MOST: usize = 253;
    let (mut bytes, mut buffer) = ([0u8; 64], [0u64; 2 + MOST.div_ceil(2)]);
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: all-zero is a valid msghdr. It points to two buffers with their lengths, the second aligned for a control
    // message, and both outlive the call.
    let (received, message) = unsafe {
        let mut message: libc::msghdr = zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = buffer.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&buffer) as _;
        (libc::recvmsg(from.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC), message)
    };
    assert!(received > 0);
    let mut descriptors = Vec::new();
    // SAFETY: the kernel has filled the message in; each descriptor in it is new and nobody else's.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        if !header.is_null() {
            let count = ((*header).cmsg_len as usize - libc::CMSG_LEN(0) as usize) / size_of::<RawFd>();
            let first = libc::CMSG_DATA(header).cast::<RawFd>();
            descriptors.extend((0..count).map(|index| OwnedFd::from_raw_fd(first.add(index).read_unaligned())));
        }
    }
    (bytes[..received as usize].to_vec(), descriptors)
}
