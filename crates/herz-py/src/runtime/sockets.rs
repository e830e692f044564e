//! A socket and what tasks do with it: each call is tried at once, without giving the interpreter
//! away, and the task waits only when the call would block.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use herz_core::runtime::descriptors::{Key, Refusal, Side};
use herz_core::runtime::stream;
use herz_core::runtime::task::Generation;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyEOFError, PyOSError, PyRuntimeError, PyStopAsyncIteration};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::Closed;
use super::awaitable;
use super::cell::GilCell;
use super::connection::Connection;
use super::core::Core;
use super::current;
use super::task::{Runnable, Task, Words};
use super::waits::{Step, suspend_to_yield};

/// At most so many bytes are read or written by one call: about 50 µs without the interpreter
/// being given away.
pub const CHUNK: usize = 65_536;
/// So many calls in a row, then the task lets others run.
const CALLS: usize = 16;

thread_local! {
    static ROOM: RefCell<Vec<u8>> = RefCell::new(vec![0; CHUNK]);
}

/// The wait that uses one side of a socket.
#[derive(Clone, Copy, Default)]
struct Use {
    /// The wait's address; 0: nobody does.
    token: usize,
    armed: Option<Generation>,
}

/// Bytes that were received for a wait that then ended without them.
#[derive(Default)]
struct Left {
    bytes: Vec<u8>,
    from: usize,
}

impl Left {
    fn len(&self) -> usize {
        self.bytes.len() - self.from
    }

    fn take(&mut self, most: usize) -> Vec<u8> {
        let until = self.from + self.len().min(most);
        if self.from == 0 && until == self.bytes.len() {
            return std::mem::take(&mut self.bytes);
        }
        let taken = self.bytes[self.from..until].to_vec();
        self.from = until;
        if self.len() == 0 {
            *self = Self::default();
        }
        taken
    }
}

#[derive(Default)]
struct State {
    /// None: closed.
    descriptor: Option<OwnedFd>,
    reading: Use,
    writing: Use,
    /// How much of what the present wait sends is sent.
    sent: usize,
    sent_ever: u64,
    /// The last read took all that was there: the next one waits for an event first.
    is_drained: bool,
    left: Left,
}

impl State {
    fn of(&mut self, side: Side) -> &mut Use {
        match side {
            Side::Read => &mut self.reading,
            Side::Write => &mut self.writing,
        }
    }
}

pub struct Socket {
    pub core: Arc<Core>,
    pub key: Key,
    state: GilCell<State>,
}

/// What a task does with a socket.
pub enum Act {
    Receive(usize),
    ReceiveExactly(usize),
    ReceiveInto(PyBuffer<u8>),
    Send(Py<PyBytes>),
    SendBuffer(PyBuffer<u8>),
    Accept {
        is_tcp: bool,
        /// For `async for`, which ends where the listener is closed.
        is_next: bool,
    },
    Connect,
}

/// One wait for a socket.
pub struct Operation {
    socket: Arc<Socket>,
    act: Act,
}

/// What came of trying.
enum Outcome {
    Done(Py<PyAny>),
    Blocked,
    /// There is more, but it is the others' turn.
    Again,
}

/// The exception for an error of the kernel.
pub fn os_error(py: Python<'_>, what: &str, error: &io::Error) -> PyErr {
    let Some(number) = error.raw_os_error() else {
        return PyOSError::new_err(format!("{what}: {error}"));
    };
    let text = py
        .import("os")
        .and_then(|os| os.call_method1("strerror", (number,)))
        .map_or_else(|_| String::new(), |text| text.to_string());
    // With a number, OSError makes itself the class for it: ConnectionResetError.
    PyOSError::new_err((number, format!("{what}: {text}")))
}

impl Socket {
    /// Watches a socket that does not block, which is the runtime's from now on.
    pub fn new(py: Python<'_>, core: Arc<Core>, descriptor: OwnedFd) -> PyResult<Arc<Self>> {
        let number = awaitable::number(&descriptor);
        let worker = current::worker_of(&core);
        let key = core.machine.own_descriptor(worker, number);
        let key = key.map_err(|error| os_error(py, "watch a socket", &error))?;
        let state = State {
            descriptor: Some(descriptor),
            ..State::default()
        };
        Ok(Arc::new(Self {
            core,
            key,
            state: GilCell::new(state),
        }))
    }

    /// Closes it; who waits for it gets `Closed`.
    pub fn close(&self, py: Python<'_>) {
        let descriptor = self.state.get_mut(py).descriptor.take();
        if descriptor.is_some() {
            let worker = current::worker_of(&self.core);
            self.core.machine.close_descriptor(worker, self.key);
        }
        // Closed last: until the watch has ended the number must not become another's.
        drop(descriptor);
    }

    pub fn is_closed(&self, py: Python<'_>) -> bool {
        self.state.get(py).descriptor.is_none()
    }

    /// Calls with the descriptor; raises `Closed` when there is none any more.
    pub fn with<R>(&self, py: Python<'_>, call: impl FnOnce(&OwnedFd) -> R) -> PyResult<R> {
        match &self.state.get(py).descriptor {
            Some(descriptor) => Ok(call(descriptor)),
            None => Err(closed()),
        }
    }

    pub fn sent_ever(&self, py: Python<'_>) -> u64 {
        self.state.get(py).sent_ever
    }

    /// Reads what is there into the room; None: nothing is. Runs no Python.
    fn read(&self, py: Python<'_>, room: &mut [u8]) -> PyResult<stream::Tried<usize>> {
        self.core.machine.descriptors.clear(self.key, Side::Read);
        let came = self.with(py, |socket| stream::receive(socket, room))?;
        let Ok(came) = came else { return Ok(came) };
        // Less than there was room for: nothing is left, and an edge comes with what comes.
        self.state.get_mut(py).is_drained =
            came.is_none_or(|count| 0 < count && count < room.len());
        Ok(Ok(came))
    }

    fn receive(&self, py: Python<'_>, most: usize) -> PyResult<Outcome> {
        let left = {
            let mut state = self.state.get_mut(py);
            (state.left.len() > 0).then(|| state.left.take(most))
        };
        if let Some(left) = left {
            return Ok(Outcome::Done(PyBytes::new(py, &left).into_any().unbind()));
        }
        let came = ROOM.with_borrow_mut(|room| {
            let room = &mut room[..most.min(CHUNK)];
            let came = self.read(py, room)?;
            // Allocates, and so runs nothing: the collector does not track bytes.
            PyResult::Ok(came.map(|came| came.map(|count| PyBytes::new(py, &room[..count]))))
        })?;
        Ok(
            match came.map_err(|error| os_error(py, "receive", &error))? {
                Some(bytes) => Outcome::Done(bytes.into_any().unbind()),
                None => Outcome::Blocked,
            },
        )
    }

    fn receive_exactly(&self, py: Python<'_>, wanted: usize) -> PyResult<Outcome> {
        for _ in 0..CALLS {
            let missing = wanted.saturating_sub(self.state.get(py).left.len());
            if missing == 0 {
                let bytes = self.state.get_mut(py).left.take(wanted);
                return Ok(Outcome::Done(PyBytes::new(py, &bytes).into_any().unbind()));
            }
            let came = ROOM.with_borrow_mut(|room| {
                let room = &mut room[..missing.min(CHUNK)];
                let came = self.read(py, room)?;
                if let Ok(Some(count)) = came {
                    let mut state = self.state.get_mut(py);
                    state.left.bytes.extend_from_slice(&room[..count]);
                }
                PyResult::Ok(came)
            })?;
            match came.map_err(|error| os_error(py, "receive", &error))? {
                None => return Ok(Outcome::Blocked),
                Some(0) => {
                    return Err(PyEOFError::new_err(format!(
                        "the other side ended after {} of {wanted} bytes",
                        wanted - missing
                    )));
                }
                Some(_) => {}
            }
        }
        Ok(Outcome::Again)
    }

    fn receive_into(&self, py: Python<'_>, buffer: &PyBuffer<u8>) -> PyResult<Outcome> {
        let Some(room) = awaitable::room(py, buffer) else {
            return Err(super::broken("receive_into"));
        };
        let count = {
            let mut state = self.state.get_mut(py);
            let left = state.left.take(room.len());
            room[..left.len()].copy_from_slice(&left);
            left.len()
        };
        let came = match count {
            0 => {
                let most = room.len().min(CHUNK);
                let came = self.read(py, &mut room[..most])?;
                came.map_err(|error| os_error(py, "receive", &error))?
            }
            count => Some(count),
        };
        Ok(match came {
            Some(count) => Outcome::Done(count.into_pyobject(py)?.into_any().unbind()),
            None => Outcome::Blocked,
        })
    }

    fn send(&self, py: Python<'_>, bytes: &[u8]) -> PyResult<Outcome> {
        let mut is_cleared = false;
        for _ in 0..CALLS {
            let from = self.state.get(py).sent;
            if from == bytes.len() {
                return Ok(Outcome::Done(py.None()));
            }
            let piece = &bytes[from..bytes.len().min(from + CHUNK)];
            let went = self.with(py, |socket| stream::send(socket, piece))?;
            match went.map_err(|error| os_error(py, "send", &error))? {
                Some(count) => {
                    let mut state = self.state.get_mut(py);
                    state.sent += count;
                    state.sent_ever += count as u64;
                }
                None if is_cleared => return Ok(Outcome::Blocked),
                None => {
                    // Only now: most sends go at once, and need no look at the slot.
                    self.core.machine.descriptors.clear(self.key, Side::Write);
                    is_cleared = true;
                }
            }
        }
        Ok(Outcome::Again)
    }

    fn accept(&self, py: Python<'_>, is_tcp: bool) -> PyResult<Outcome> {
        self.core.machine.descriptors.clear(self.key, Side::Read);
        let came = self.with(py, stream::accept)?;
        match came.map_err(|error| os_error(py, "accept", &error))? {
            Some(descriptor) => {
                if is_tcp {
                    stream::send_at_once(&descriptor);
                }
                let socket = Self::new(py, Arc::clone(&self.core), descriptor)?;
                let connection = Py::new(py, Connection::new(socket))?;
                Ok(Outcome::Done(connection.into_any()))
            }
            None => Ok(Outcome::Blocked),
        }
    }

    fn connected(&self, py: Python<'_>) -> PyResult<Outcome> {
        self.core.machine.descriptors.clear(self.key, Side::Write);
        let stands = self.with(py, stream::connected)?;
        let stands = stands.map_err(|error| os_error(py, "connect", &error))?;
        Ok(stands.map_or(Outcome::Blocked, |()| Outcome::Done(py.None())))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let descriptor = self.state.own().descriptor.take();
        if descriptor.is_some() {
            self.core.machine.close_descriptor(None, self.key);
        }
        drop(descriptor);
    }
}

fn closed() -> PyErr {
    Closed::new_err("the connection or listener is closed")
}

impl Act {
    fn side(&self) -> Side {
        match self {
            Self::Send(_) | Self::SendBuffer(_) | Self::Connect => Side::Write,
            _ => Side::Read,
        }
    }

    fn waits_for(&self) -> Words {
        match self {
            Self::Receive(_) | Self::ReceiveExactly(_) | Self::ReceiveInto(_) => {
                &"bytes of a connection"
            }
            Self::Send(_) | Self::SendBuffer(_) => &"room to send in",
            Self::Accept { .. } => &"a connection",
            Self::Connect => &"the other side of a connection",
        }
    }
}

impl Operation {
    pub fn new(socket: &Arc<Socket>, act: Act) -> Self {
        Self {
            socket: Arc::clone(socket),
            act,
        }
    }

    pub fn is_at_home(&self, task: &Task) -> bool {
        Arc::ptr_eq(&self.socket.core, &task.core)
    }

    /// What a task waits for in it, in words.
    pub fn describe(&self, py: Python<'_>) -> String {
        let what = self.act.waits_for();
        match self.socket.with(py, awaitable::number) {
            Ok(number) => format!("{what} (descriptor {number})"),
            Err(_) => format!("{what} (closed)"),
        }
    }

    /// Names this wait as long as it lives: it is inside an object that does not move.
    fn token(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn attempt(&self, py: Python<'_>) -> PyResult<Outcome> {
        let socket = &*self.socket;
        match &self.act {
            Act::Receive(most) => socket.receive(py, *most),
            Act::ReceiveExactly(wanted) => socket.receive_exactly(py, *wanted),
            Act::ReceiveInto(buffer) => socket.receive_into(py, buffer),
            Act::Send(bytes) => socket.send(py, bytes.as_bytes(py)),
            Act::SendBuffer(buffer) => match awaitable::bytes(py, buffer) {
                Some(bytes) => socket.send(py, bytes),
                None => Err(super::broken("send_all")),
            },
            Act::Accept { is_tcp, .. } => socket.accept(py, *is_tcp),
            Act::Connect => socket.connected(py),
        }
    }

    /// Takes its side of the socket. True: an event is worth waiting for before trying.
    fn take_side(&self, py: Python<'_>) -> PyResult<bool> {
        let side = self.act.side();
        let mut state = self.socket.state.get_mut(py);
        if state.descriptor.is_none() {
            return Err(closed());
        }
        let used = state.of(side);
        if used.token == 0 {
            used.token = self.token();
            if side == Side::Write {
                state.sent = 0;
            }
        } else if used.token != self.token() {
            let does = match side {
                Side::Read => "receives from this connection or listener",
                Side::Write => "sends to this connection",
            };
            return Err(PyRuntimeError::new_err(format!("another task {does}")));
        } else {
            used.armed = None;
        }
        let is_read = matches!(self.act, Act::Receive(_) | Act::ReceiveInto(_));
        Ok(is_read && state.is_drained && state.left.len() == 0)
    }

    /// Tries, and has the task wait where the call would block.
    pub fn advance(&self, py: Python<'_>, task: &Py<Task>) -> Step {
        let is_drained = match self.take_side(py) {
            Ok(is_drained) => is_drained,
            Err(error) => return self.raise(py, error),
        };
        let outcome = self.try_or_arm(py, task, is_drained);
        let step = match outcome {
            Ok(Outcome::Blocked) => return Step::Suspend,
            Ok(Outcome::Again) => return suspend_to_yield(task.get()),
            Ok(Outcome::Done(value)) => Step::Give(value),
            Err(error) => self.raise(py, error),
        };
        self.let_go(py);
        step
    }

    fn raise(&self, py: Python<'_>, error: PyErr) -> Step {
        let is_end = matches!(self.act, Act::Accept { is_next: true, .. });
        if is_end && error.is_instance_of::<Closed>(py) {
            return Step::raise(PyStopAsyncIteration::new_err(()));
        }
        Step::raise(error)
    }

    fn try_or_arm(
        &self,
        py: Python<'_>,
        task: &Py<Task>,
        mut is_drained: bool,
    ) -> PyResult<Outcome> {
        let (own, side) = (task.get(), self.act.side());
        // Bound: each further turn is for an event that came during the last one.
        loop {
            if !is_drained {
                match self.attempt(py)? {
                    Outcome::Blocked => {}
                    outcome => return Ok(outcome),
                }
            }
            let generation = own.word.prepare();
            let waiter = Runnable::Task(task.clone_ref(py));
            let machine = &own.core.machine;
            match machine.arm_descriptor(self.socket.key, side, waiter, generation, is_drained) {
                Ok(()) => {
                    let mut state = self.socket.state.get_mut(py);
                    state.of(side).armed = Some(generation);
                    own.body.get_mut(py).waits_for = self.act.waits_for();
                    return Ok(Outcome::Blocked);
                }
                Err((refusal, waiter)) => {
                    own.word.call_off();
                    drop(waiter);
                    match refusal {
                        Refusal::Ready => is_drained = false,
                        Refusal::Closed => return Err(closed()),
                        Refusal::Busy => return Err(super::watch::busy()),
                    }
                }
            }
        }
    }

    /// Gives its side up.
    fn let_go(&self, py: Python<'_>) {
        let mut state = self.socket.state.get_mut(py);
        *state.of(self.act.side()) = Use::default();
    }

    /// The wait ended, or will never be resumed.
    pub fn forget(&self, py: Python<'_>) {
        let side = self.act.side();
        let used = *self.socket.state.get_mut(py).of(side);
        if used.token != self.token() {
            return;
        }
        self.let_go(py);
        if let Some(generation) = used.armed {
            let descriptors = &self.socket.core.machine.descriptors;
            drop(descriptors.disarm(self.socket.key, side, generation));
        }
    }
}
