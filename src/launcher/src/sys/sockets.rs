//! Waiting for descriptors, and passing them on.

use std::ffi::c_int;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use sandbox_plan::machine::SocketBuffers;

use super::{check, done, owned};

/// What to wait for on a descriptor.
#[derive(Clone, Copy)]
pub enum Wait<'fd> {
    /// There is something to read, or nothing will ever come.
    Readable(BorrowedFd<'fd>),
    /// The other end was closed, or shut for writing.
    HungUp(BorrowedFd<'fd>),
    Nothing,
}

/// Waits for one of the events; tells for each whether it occurred, or for none that the time is over. Without a timeout
/// it waits for ever.
pub fn wait(events: &[Wait], timeout: Option<Duration>) -> io::Result<Vec<bool>> {
    let polled = |fd: BorrowedFd, events| libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
    let mut polled: Vec<libc::pollfd> = events
        .iter()
        .map(|event| match event {
            Wait::Readable(fd) => polled(*fd, libc::POLLIN),
            Wait::HungUp(fd) => polled(*fd, libc::POLLRDHUP),
            Wait::Nothing => libc::pollfd { fd: -1, events: 0, revents: 0 },
        })
        .collect();
    // Rounded up, so that the time is over when the kernel says so.
    let milliseconds =
        timeout.map_or(-1, |time| c_int::try_from(time.as_micros().div_ceil(1000)).unwrap_or(c_int::MAX));
    // SAFETY: the pointer and the count describe `polled`.
    match check(unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, milliseconds) }.into()) {
        Ok(_) => Ok(polled.iter().map(|fd| fd.revents != 0).collect()),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(vec![false; polled.len()]),
        Err(error) => Err(error),
    }
}

/// The most descriptors that go with one message: the kernel's own SCM_MAX_FD.
const MOST_DESCRIPTORS: usize = 253;

/// Room for a control message with descriptors, aligned as the kernel asks for.
#[repr(C)]
struct Rights {
    header: libc::cmsghdr,
    descriptors: [RawFd; MOST_DESCRIPTORS],
}

/// Sends bytes and descriptors, all at once or not at all, without waiting for room.
pub fn send_descriptors(socket: BorrowedFd, bytes: &[u8], descriptors: &[BorrowedFd]) -> io::Result<()> {
    assert!(!bytes.is_empty());
    if descriptors.len() > MOST_DESCRIPTORS {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let length = size_of::<libc::cmsghdr>() + size_of_val(descriptors);
    // SAFETY: all-zero is a valid cmsghdr and a valid msghdr: both are integers and pointers.
    let (mut rights, mut message) = unsafe { (zeroed::<Rights>(), zeroed::<libc::msghdr>()) };
    rights.header.cmsg_len = length as _;
    rights.header.cmsg_level = libc::SOL_SOCKET;
    rights.header.cmsg_type = libc::SCM_RIGHTS;
    for (slot, descriptor) in rights.descriptors.iter_mut().zip(descriptors) {
        *slot = descriptor.as_raw_fd();
    }
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    if !descriptors.is_empty() {
        message.msg_control = (&raw mut rights).cast();
        message.msg_controllen = length as _;
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the message points to `bytes` and to `rights` with their lengths, and both outlive the call.
    let sent = check(unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) } as _)?;
    if sent as usize == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Receives what was sent by one [`send_descriptors`]: how many bytes, and the descriptors.
pub fn receive_descriptors(socket: BorrowedFd, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    // SAFETY: all-zero is a valid cmsghdr and a valid msghdr: both are integers and pointers.
    let (mut rights, mut message) = unsafe { (zeroed::<Rights>(), zeroed::<libc::msghdr>()) };
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut rights).cast();
    message.msg_controllen = size_of::<Rights>() as _;
    let received = loop {
        // SAFETY: the message points to `bytes` and to `rights` with their lengths, and both outlive the call.
        let result = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
        match check(result as _) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => break result? as usize,
        }
    };
    let header = size_of::<libc::cmsghdr>();
    // Their types differ from one C library to the next.
    let (room, length): (usize, usize) = (message.msg_controllen as _, rights.header.cmsg_len as _);
    let told = room.min(length);
    let count = if rights.header.cmsg_type == libc::SCM_RIGHTS && rights.header.cmsg_level == libc::SOL_SOCKET {
        told.saturating_sub(header) / size_of::<RawFd>()
    } else {
        0
    };
    let descriptors = rights.descriptors[..count.min(MOST_DESCRIPTORS)]
        .iter()
        // SAFETY: the kernel has just made these descriptors for us, so nobody else owns them.
        .map(|fd| unsafe { OwnedFd::from_raw_fd(*fd) })
        .collect();
    Ok((received, descriptors))
}

/// What a socket holds by default on this machine.
pub fn socket_buffers() -> SocketBuffers {
    let generous = SocketBuffers::GENEROUS;
    // SAFETY: no pointer is followed.
    let Ok(socket) = owned(unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) }.into())
    else {
        return generous;
    };
    let size = |option: c_int, otherwise: u64| {
        let mut value: c_int = 0;
        let mut length = size_of_val(&value) as libc::socklen_t;
        // SAFETY: the pointers are to an int and to its size.
        let told = done(
            unsafe {
                let value = (&raw mut value).cast();
                libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, value, &raw mut length)
            }
            .into(),
        );
        told.ok().and_then(|()| u64::try_from(value).ok()).unwrap_or(otherwise)
    };
    SocketBuffers { send: size(libc::SO_SNDBUF, generous.send), receive: size(libc::SO_RCVBUF, generous.receive) }
}
