//! Two connections, joined: what comes from one goes to the other, in both directions, by tasks on
//! native processors.
//!
//! A task for each direction reads and writes until its side ends; then it ends what the other side
//! is sent. A third one watches the time, where silence has a limit. An error of either connection
//! ends both directions. One that waits holds no buffer: what is read goes through its worker's,
//! and only what the other side has no room for is kept.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;

use super::descriptors::Side;
use super::poller::now_ns;
use super::queue::executor::{Executor, Handle, Step, Turn};
use super::queue::outside::{Armed, Watched};
use super::stream;
use super::sync::{Arc, AtomicBool, AtomicU64, AtomicUsize, Lock, OnceLock, Ordering};

/// At most so many bytes are read by one call.
const CHUNK: usize = 65_536;
/// So many calls in a row, then other tasks have their turn.
const CALLS: usize = 16;

thread_local! {
    static ROOM: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into());
}

/// Why a relay ended before both sides did.
#[derive(Debug)]
pub enum Cause {
    /// A connection failed.
    Failed(io::Error),
    /// Nothing came from either side for as long as was allowed.
    Silent,
    /// It was told to end, or the run is over.
    Stopped,
}

/// Bytes that went from the first to the second connection and back, and why it ended early.
pub type Outcome = ([u64; 2], Option<Cause>);

/// Is called once, when both connections are closed.
pub type Ended = Box<dyn FnOnce(Outcome) + Send>;

/// One connection, and what was received from it before.
pub struct End {
    pub socket: OwnedFd,
    pub received: Vec<u8>,
}

/// What the tasks of one relay share, and who may stop it.
pub struct Relay {
    /// Set once: both directions end.
    cause: Lock<Option<Cause>>,
    /// Whether a cause is set.
    is_over: AtomicBool,
    bytes: [AtomicU64; 2],
    /// Directions that have not closed their part.
    directions: AtomicUsize,
    /// When something came last, and for how long nothing may come; `u64::MAX`: for ever.
    moved_ns: AtomicU64,
    limit_ns: u64,
    handles: OnceLock<Vec<Handle>>,
    ended: Lock<Option<Ended>>,
}

impl Relay {
    /// Joins two connections that do not block. `limit_ns`: for so long nothing may come.
    ///
    /// # Errors
    /// The kernel cannot watch them; both are closed, and nobody is told.
    pub fn start(
        executor: &Executor,
        ends: [End; 2],
        limit_ns: Option<u64>,
        ended: Ended,
    ) -> io::Result<Arc<Self>> {
        let [first, second] = ends;
        let sockets = [
            executor.watch(first.socket)?,
            executor.watch(second.socket)?,
        ];
        let relay = Arc::new(Self {
            cause: Lock::new(None),
            is_over: AtomicBool::new(false),
            bytes: [AtomicU64::new(0), AtomicU64::new(0)],
            directions: AtomicUsize::new(2),
            moved_ns: AtomicU64::new(now_ns()),
            limit_ns: limit_ns.unwrap_or(u64::MAX),
            handles: OnceLock::new(),
            ended: Lock::new(Some(ended)),
        });
        let sockets = Arc::new(sockets);
        let mut handles = Vec::new();
        for (from, kept) in [(0, first.received), (1, second.received)] {
            let mut flow = Flow {
                relay: Arc::clone(&relay),
                sockets: Some(Arc::clone(&sockets)),
                from,
                kept,
                written: 0,
                is_drained: false,
            };
            handles.push(executor.spawn(move |turn| flow.step(turn)));
        }
        drop(sockets);
        if limit_ns.is_some() {
            let watched = Arc::clone(&relay);
            handles.push(executor.spawn(move |turn| watched.watch(turn)));
        }
        let _ = relay.handles.set(handles);
        // Whoever set a cause before this had nobody to wake.
        let is_over = relay.cause.lock().is_some();
        if is_over {
            relay.wake();
        }
        Ok(relay)
    }

    /// Ends both directions, and closes the connections, soon.
    pub fn stop(&self) {
        self.end(Cause::Stopped);
    }

    fn end(&self, cause: Cause) {
        {
            let mut first = self.cause.lock();
            if first.is_some() {
                return;
            }
            *first = Some(cause);
            // ORDERING: a hint for steps under way; those that are woken see it by their wake-up.
            self.is_over.store(true, Ordering::Relaxed);
        }
        self.wake();
    }

    fn wake(&self) {
        self.handles
            .get()
            .into_iter()
            .flatten()
            .for_each(Handle::wake);
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    fn moved(&self, from: usize, count: usize) {
        self.bytes[from].fetch_add(count as u64, Ordering::Relaxed);
        if self.limit_ns != u64::MAX {
            self.moved_ns.store(now_ns(), Ordering::Relaxed);
        }
    }

    /// A direction has closed its part; after the last one the connections are closed.
    fn leave(&self) {
        // ORDERING: AcqRel: the last one sees what the other counted, and its closing.
        if self.directions.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        self.wake();
        let bytes = [0, 1].map(|from| self.bytes[from].load(Ordering::Relaxed));
        let (ended, cause) = (self.ended.lock().take(), self.cause.lock().take());
        if let Some(ended) = ended {
            ended((bytes, cause));
        }
    }

    /// A step of the task that watches the time.
    fn watch(&self, turn: &Turn<'_>) -> Step {
        // ORDERING: Acquire: the last direction wakes this one after it has left.
        if self.is_over() || self.directions.load(Ordering::Acquire) == 0 {
            turn.call_off();
            return Step::Done;
        }
        let due_ns = self
            .moved_ns
            .load(Ordering::Relaxed)
            .saturating_add(self.limit_ns);
        if now_ns() >= due_ns {
            self.end(Cause::Silent);
            return Step::Done;
        }
        turn.wake_at(due_ns);
        Step::Wait
    }
}

/// One direction.
struct Flow {
    relay: Arc<Relay>,
    /// None: it has left.
    sockets: Option<Arc<[Watched; 2]>>,
    /// Which of them it reads.
    from: usize,
    /// What was read and has not been written, and how much of it has.
    kept: Vec<u8>,
    written: usize,
    /// The last read took all that was there: an event comes before the next one.
    is_drained: bool,
}

/// What one call led to.
enum Next {
    Go,
    Wait,
    Over,
}

impl From<Armed> for Next {
    fn from(armed: Armed) -> Self {
        match armed {
            Armed::Waits => Self::Wait,
            Armed::Again => Self::Go,
            Armed::Closed => Self::Over,
        }
    }
}

impl Flow {
    fn step(&mut self, turn: &mut Turn<'_>) -> Step {
        for _ in 0..CALLS {
            let next = match self.sockets.clone() {
                Some(sockets) if !self.relay.is_over() => self.call(turn, &sockets),
                _ => Ok(Next::Over),
            };
            match next {
                Ok(Next::Go) => {}
                Ok(Next::Wait) => return Step::Wait,
                Ok(Next::Over) => {
                    self.leave();
                    return Step::Done;
                }
                Err(error) => {
                    self.relay.end(Cause::Failed(error));
                    self.leave();
                    return Step::Done;
                }
            }
        }
        Step::Yield
    }

    fn call(&mut self, turn: &Turn<'_>, sockets: &[Watched; 2]) -> io::Result<Next> {
        let (source, target) = (&sockets[self.from], &sockets[1 - self.from]);
        if !self.kept.is_empty() {
            return self.write(turn, target);
        }
        if std::mem::take(&mut self.is_drained) {
            return Ok(turn.arm(source.key, Side::Read, true).into());
        }
        turn.clear(source.key, Side::Read);
        ROOM.with_borrow_mut(|room| match stream::receive(source.descriptor(), room)? {
            None => Ok(turn.arm(source.key, Side::Read, false).into()),
            Some(0) => {
                // Refused where it failed: then the other direction tells.
                let _ = stream::close_write(target.descriptor());
                Ok(Next::Over)
            }
            Some(count) => {
                self.is_drained = count < room.len();
                let sent = stream::send(target.descriptor(), &room[..count])?.unwrap_or(0);
                self.relay.moved(self.from, sent);
                self.kept.extend_from_slice(&room[sent..count]);
                Ok(Next::Go)
            }
        })
    }

    /// Writes of what was kept.
    fn write(&mut self, turn: &Turn<'_>, target: &Watched) -> io::Result<Next> {
        turn.clear(target.key, Side::Write);
        let sent = stream::send(target.descriptor(), &self.kept[self.written..])?;
        let Some(sent) = sent else {
            return Ok(turn.arm(target.key, Side::Write, false).into());
        };
        self.relay.moved(self.from, sent);
        self.written += sent;
        if self.written == self.kept.len() {
            (self.kept, self.written) = (Vec::new(), 0);
        }
        Ok(Next::Go)
    }

    fn leave(&mut self) {
        if let Some(sockets) = self.sockets.take() {
            drop(sockets);
            self.relay.leave();
        }
    }
}

impl Drop for Flow {
    /// Where its task ended otherwise: the run is over, or a step panicked.
    fn drop(&mut self) {
        if self.sockets.is_some() {
            self.relay.end(Cause::Stopped);
            self.leave();
        }
    }
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
