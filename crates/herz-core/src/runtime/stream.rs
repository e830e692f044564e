//! Calls on stream sockets that do not block: a call that would says so at once.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, sockopt};
use rustix::time::Timespec;

use super::descriptors::Side;

/// What came of a call; None: it would block.
pub type Tried<T> = io::Result<Option<T>>;

fn tried<T>(done: rustix::io::Result<T>) -> Tried<T> {
    match done {
        Ok(value) => Ok(Some(value)),
        Err(Errno::AGAIN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Reads what is there, at most what there is room for; 0: the other side has ended.
///
/// # Errors
/// The connection failed.
pub fn receive(socket: &OwnedFd, room: &mut [u8]) -> Tried<usize> {
    loop {
        let done = rustix::net::recv(socket, &mut *room, RecvFlags::DONTWAIT);
        if !matches!(done, Err(Errno::INTR)) {
            return tried(done.map(|(count, _)| count));
        }
    }
}

#[cfg(target_os = "linux")]
const QUIETLY: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);
/// Without Linux's flag: the interpreter, like Rust's own programs, ignores SIGPIPE.
#[cfg(target_vendor = "apple")]
const QUIETLY: SendFlags = SendFlags::DONTWAIT;

/// Writes what the kernel has room for.
///
/// # Errors
/// The connection failed.
pub fn send(socket: &OwnedFd, bytes: &[u8]) -> Tried<usize> {
    loop {
        let done = rustix::net::send(socket, bytes, QUIETLY);
        if !matches!(done, Err(Errno::INTR)) {
            return tried(done);
        }
    }
}

/// The next connection of a listening socket; it does not block either.
///
/// # Errors
/// No descriptor or no memory is left, or the socket does not listen.
pub fn accept(listener: &OwnedFd) -> Tried<OwnedFd> {
    loop {
        match accepted(listener) {
            // The other side gave up while it was queued: the next one, then.
            Err(Errno::INTR | Errno::CONNABORTED) => {}
            done => return tried(done),
        }
    }
}

#[cfg(target_os = "linux")]
fn accepted(listener: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    let flags = rustix::net::SocketFlags::NONBLOCK | rustix::net::SocketFlags::CLOEXEC;
    rustix::net::accept_with(listener, flags)
}

/// In three calls: a process that is forked in between has the descriptor, too.
#[cfg(target_vendor = "apple")]
fn accepted(listener: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    let socket = rustix::net::accept(listener)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

/// Whether a connection that was begun stands now.
///
/// # Errors
/// It was refused, or could not be made.
pub fn connected(socket: &OwnedFd) -> Tried<()> {
    sockopt::socket_error(socket)??;
    match rustix::net::getpeername(socket) {
        Ok(_) => Ok(Some(())),
        Err(Errno::NOTCONN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Sends small pieces at once, where the protocol has a say in it.
pub fn send_at_once(socket: &OwnedFd) {
    // Refused by what is not TCP, where nothing is held back.
    let _ = sockopt::set_tcp_nodelay(socket, true);
}

/// Ends what is sent; receiving goes on.
///
/// # Errors
/// It is not connected.
pub fn close_write(socket: &OwnedFd) -> io::Result<()> {
    Ok(rustix::net::shutdown(socket, rustix::net::Shutdown::Write)?)
}

/// Whether its addresses are the internet's.
#[must_use]
pub fn is_internet(socket: &OwnedFd) -> bool {
    let own = rustix::net::getsockname(socket);
    own.is_ok_and(|own| [AddressFamily::INET, AddressFamily::INET6].contains(&own.address_family()))
}

/// Whether it is a stream socket.
///
/// # Errors
/// It is no socket.
pub fn is_stream(socket: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(sockopt::socket_type(socket)? == SocketType::STREAM)
}

/// Whether a call on that side of any descriptor would not block now.
///
/// # Errors
/// It is no descriptor.
pub fn is_ready(descriptor: BorrowedFd<'_>, side: Side) -> io::Result<bool> {
    let wanted = match side {
        Side::Read => PollFlags::IN,
        Side::Write => PollFlags::OUT,
    };
    loop {
        let mut asked = [PollFd::new(&descriptor, wanted)];
        match poll(&mut asked, Some(&Timespec::default())) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) if asked[0].revents().contains(PollFlags::NVAL) => {
                return Err(Errno::BADF.into());
            }
            Ok(count) => return Ok(count > 0),
        }
    }
}
