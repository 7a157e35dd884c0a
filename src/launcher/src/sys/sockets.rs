//! Waiting for descriptors, and passing them on.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};

/// An event to wait for on a descriptor.
#[derive(Clone, Copy)]
pub enum Wait<'fd> {
    /// There is something to read, or the other end was closed.
    Readable(BorrowedFd<'fd>),
    /// The other end was closed, or shut for writing.
    HungUp(BorrowedFd<'fd>),
    /// Never occurs; keeps a place in the list of events.
    Nothing,
}

/// Waits for one of the events, and returns for each whether it occurred. None has occurred if the time is over or a
/// signal came. Waits without limit if `timeout` is `None`.
pub fn wait(events: &[Wait], timeout: Option<Duration>) -> io::Result<Vec<bool>> {
    let mut polled: Vec<PollFd> = events
        .iter()
        .filter_map(|event| match *event {
            Wait::Readable(fd) => Some(PollFd::from_borrowed_fd(fd, PollFlags::IN)),
            Wait::HungUp(fd) => Some(PollFd::from_borrowed_fd(fd, PollFlags::RDHUP)),
            Wait::Nothing => None,
        })
        .collect();
    // A timeout that the kernel can't hold is none.
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    match rustix::event::poll(&mut polled, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let mut polled = polled.into_iter();
    let mut occurred = || polled.next().is_some_and(|fd| !fd.revents().is_empty());
    Ok(events.iter().map(|event| !matches!(event, Wait::Nothing) && occurred()).collect())
}

/// The number of descriptors that one message can carry: the kernel's own SCM_MAX_FD.
const MAX_DESCRIPTORS: usize = 253;
const ANCILLARY_BYTES: usize = rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS));

/// Sends bytes and descriptors without waiting for room: all of them, or none with an error.
pub fn send_descriptors(socket: BorrowedFd, bytes: &[u8], descriptors: &[BorrowedFd]) -> io::Result<()> {
    assert!(!bytes.is_empty());
    let mut space = [MaybeUninit::uninit(); ANCILLARY_BYTES];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::INVAL.into());
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    let sent = rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, flags)?;
    if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Receives the message of one [`send_descriptors`]: the number of bytes, and the descriptors, which are close-on-exec.
pub fn receive_descriptors(socket: BorrowedFd, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); ANCILLARY_BYTES];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(bytes)];
    let received = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)
    })?;
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    Ok((received.bytes, descriptors))
}
