//! Linux: epoll in edge mode, an eventfd as the bell, timeouts by `epoll_pwait2`.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::time::Timespec;

use super::{BELL, Readiness, SIGNALS};

/// The bell is never read: each write to it is an edge, which ends a wait.
const EDGES: epoll::EventFlags = epoll::EventFlags::IN.union(epoll::EventFlags::ET);

pub type Event = epoll::Event;

/// What the descriptor was added under.
pub fn word(event: &Event) -> u64 {
    event.data.u64()
}

pub fn readiness(event: &Event) -> Readiness {
    let flags = event.flags;
    let ended = epoll::EventFlags::HUP | epoll::EventFlags::ERR;
    let odd = epoll::EventFlags::RDHUP | epoll::EventFlags::PRI | ended;
    Readiness {
        read: flags.intersects(epoll::EventFlags::IN | odd),
        write: flags.intersects(epoll::EventFlags::OUT | ended),
        is_odd: flags.intersects(odd),
    }
}

/// The descriptors that the kernel watches for us.
pub struct List {
    epoll: OwnedFd,
    bell: OwnedFd,
}

impl List {
    /// # Errors
    /// No descriptor is left to the process, or the kernel is older than Linux 5.11.
    pub fn new() -> io::Result<Self> {
        let list = Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        };
        epoll::add(
            &list.epoll,
            &list.bell,
            epoll::EventData::new_u64(BELL),
            EDGES,
        )?;
        // Refused once here, by a kernel before 5.11, instead of at every wait.
        let mut events = [const { std::mem::MaybeUninit::uninit() }; 1];
        epoll::wait(&list.epoll, &mut events, Some(&Timespec::default()))?;
        Ok(list)
    }

    /// Ends a wait, or the next one.
    pub fn ring(&self) {
        // A counter that is full is readable, which is all that is wanted.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }

    /// Adds the signals' pipe, or tells anew of what is in it.
    ///
    /// # Errors
    /// The kernel refuses the descriptor.
    pub fn watch_signals(&self, pipe: &OwnedFd) -> io::Result<()> {
        self.put(SIGNALS, pipe, EDGES)
    }

    /// Waits; None: for ever. An interrupted wait brings nothing.
    pub fn wait(&self, left: Option<&Timespec>, events: &mut Vec<Event>) {
        let _ = epoll::wait(&self.epoll, spare_capacity(events), left);
    }

    /// Tells of edges of both sides under this word, at once where it is ready now.
    ///
    /// # Errors
    /// It cannot be watched: a regular file, or no descriptor.
    pub fn add(&self, word: u64, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        let flags =
            EDGES | epoll::EventFlags::OUT | epoll::EventFlags::PRI | epoll::EventFlags::RDHUP;
        self.put(word, descriptor, flags)
    }

    /// Tells of it no longer; where it was closed already the kernel has forgotten it.
    pub fn remove(&self, descriptor: BorrowedFd<'_>) {
        let _ = epoll::delete(&self.epoll, descriptor);
    }

    fn put(
        &self,
        word: u64,
        fd: impl std::os::fd::AsFd,
        flags: epoll::EventFlags,
    ) -> io::Result<()> {
        let word = epoll::EventData::new_u64(word);
        match epoll::add(&self.epoll, &fd, word, flags) {
            // Still listed, also from a watch that the kernel was not told the end of.
            Err(rustix::io::Errno::EXIST) => Ok(epoll::modify(&self.epoll, &fd, word, flags)?),
            done => Ok(done?),
        }
    }
}
