//! macOS: kqueue, each side of a descriptor in edge mode (`EV_CLEAR`), a user event as the bell.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use rustix::time::Timespec;

use super::{BELL, Readiness, SIGNALS};

const EDGES: u16 = libc::EV_ADD | libc::EV_CLEAR;
const BOTH: [i16; 2] = [libc::EVFILT_READ, libc::EVFILT_WRITE];

pub type Event = libc::kevent;

/// What the descriptor was added under.
pub fn word(event: &Event) -> u64 {
    event.udata.addr() as u64
}

pub fn readiness(event: &Event) -> Readiness {
    Readiness {
        read: event.filter == libc::EVFILT_READ,
        write: event.filter == libc::EVFILT_WRITE,
        // An end that comes with the last bytes is a flag here, which not every kernel sets, and
        // urgent bytes are another: a short read is always followed by one more, which would block.
        is_odd: event.filter == libc::EVFILT_READ,
    }
}

/// The descriptors that the kernel watches for us.
pub struct List(OwnedFd);

impl List {
    /// # Errors
    /// No descriptor is left to the process.
    pub fn new() -> io::Result<Self> {
        // SAFETY: it takes nothing; the new descriptor is ours.
        let queue = unsafe {
            let number = libc::kqueue();
            if number < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(number)
        };
        rustix::io::fcntl_setfd(&queue, rustix::io::FdFlags::CLOEXEC)?;
        let list = Self(queue);
        list.change(change(0, libc::EVFILT_USER, EDGES, 0, BELL))?;
        Ok(list)
    }

    /// Ends a wait, or the next one.
    pub fn ring(&self) {
        let _ = self.change(change(0, libc::EVFILT_USER, 0, libc::NOTE_TRIGGER, BELL));
    }

    /// Adds the signals' pipe, or tells anew of what is in it.
    ///
    /// # Errors
    /// The kernel refuses the descriptor.
    pub fn watch_signals(&self, pipe: &OwnedFd) -> io::Result<()> {
        // Added anew: not every kernel tells again of what is changed.
        let _ = self.change(side(pipe.as_fd(), libc::EVFILT_READ, libc::EV_DELETE, 0));
        self.change(side(pipe.as_fd(), libc::EVFILT_READ, EDGES, SIGNALS))
    }

    /// Waits; None: for ever. An interrupted wait brings nothing.
    pub fn wait(&self, left: Option<&Timespec>, events: &mut Vec<Event>) {
        let left = left.map(|left| libc::timespec {
            tv_sec: left.tv_sec,
            tv_nsec: left.tv_nsec,
        });
        let room = events.spare_capacity_mut();
        // SAFETY: the kernel writes as many events as there is room for, and says how many.
        let count = unsafe {
            libc::kevent(
                self.0.as_raw_fd(),
                ptr::null(),
                0,
                room.as_mut_ptr().cast(),
                i32::try_from(room.len()).unwrap_or(i32::MAX),
                left.as_ref().map_or(ptr::null(), ptr::from_ref),
            )
        };
        let count = usize::try_from(count).unwrap_or(0);
        // SAFETY: so many were written behind the ones that were there.
        unsafe { events.set_len(events.len() + count) };
    }

    /// Tells of edges of both sides under this word, at once where it is ready now.
    ///
    /// # Errors
    /// It cannot be watched: a regular file, as on Linux, or no descriptor.
    pub fn add(&self, word: u64, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(descriptor)?.st_mode);
        if kind.is_file() {
            return Err(io::Error::from_raw_os_error(libc::EPERM));
        }
        // The kernel refuses a side that there is none of, such as the writing one of a pipe's
        // reading end. Whoever waits for it is told by the call itself, which fails.
        let mut sides = BOTH.map(|filter| self.change(side(descriptor, filter, EDGES, word)));
        match sides.iter().position(Result::is_ok) {
            Some(_) => Ok(()),
            None => std::mem::replace(&mut sides[0], Ok(())),
        }
    }

    /// Tells of it no longer; where it was closed already the kernel has forgotten it.
    pub fn remove(&self, descriptor: BorrowedFd<'_>) {
        for filter in BOTH {
            let _ = self.change(side(descriptor, filter, libc::EV_DELETE, 0));
        }
    }

    fn change(&self, change: Event) -> io::Result<()> {
        // SAFETY: one change is read, and no room for events is given, so a refusal is the result.
        let done = unsafe {
            libc::kevent(
                self.0.as_raw_fd(),
                &raw const change,
                1,
                ptr::null_mut(),
                0,
                ptr::null(),
            )
        };
        if done < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }
}

fn side(descriptor: BorrowedFd<'_>, filter: i16, flags: u16, word: u64) -> Event {
    let number = usize::try_from(descriptor.as_raw_fd()).expect("a descriptor");
    change(number, filter, flags, 0, word)
}

fn change(ident: usize, filter: i16, flags: u16, fflags: u32, word: u64) -> Event {
    Event {
        ident,
        filter,
        flags,
        fflags,
        data: 0,
        udata: ptr::without_provenance_mut(word as usize),
    }
}
