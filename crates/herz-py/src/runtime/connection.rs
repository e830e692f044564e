//! `Connection` and `Listener`: stream sockets of one runtime.

use std::sync::Arc;

use herz_core::runtime::stream;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyResourceWarning, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use super::awaitable::{self, Wait};
use super::current::{self, FORKED};
use super::sockets::{Act, Operation, Socket, os_error};

/// Takes the descriptor of a socket of Python's, which is closed for its user from now on.
fn adopt(py: Python<'_>, socket: &Bound<'_, PyAny>) -> PyResult<Arc<Socket>> {
    let core = current::core()?;
    let kind = py.import("socket")?.getattr("socket")?;
    if !socket.is_instance(&kind)? {
        let given = socket.get_type().fully_qualified_name()?;
        return Err(PyTypeError::new_err(format!(
            "a socket.socket is wanted, not {given}"
        )));
    }
    let number = awaitable::descriptor_of(socket)
        .map_err(|_| PyValueError::new_err("the socket is closed: it has no descriptor"))?;
    let is_stream = stream::is_stream(awaitable::borrow(number));
    if !is_stream.map_err(|error| os_error(py, "a socket's type", &error))? {
        return Err(PyValueError::new_err(
            "a stream socket is wanted (SOCK_STREAM): for others use wait_readable and \
             wait_writable with their own calls",
        ));
    }
    socket.call_method1("setblocking", (false,))?;
    let number: i32 = socket.call_method0("detach")?.extract()?;
    Socket::new(py, core, awaitable::adopt(number))
}

/// A socket's address as Python writes it.
fn address(py: Python<'_>, socket: &Socket, getter: &str) -> PyResult<Py<PyAny>> {
    let number = socket.with(py, awaitable::number)?;
    let named = PyDict::new(py);
    named.set_item("fileno", number)?;
    let kind = py.import("socket")?.getattr("socket")?;
    let borrowed = kind.call((), Some(&named))?;
    let address = borrowed.call_method0(getter);
    // Only lent: it must not close the descriptor.
    borrowed.call_method0("detach")?;
    address.map(Bound::unbind)
}

fn operation(py: Python<'_>, socket: &Arc<Socket>, act: Act) -> PyResult<Py<PyAny>> {
    awaitable::new(py, Wait::Socket(Operation::new(socket, act)))
}

/// Says that nobody closed it, when it is dropped.
fn warn_if_open(socket: &Socket, what: &str) {
    if FORKED.load(std::sync::atomic::Ordering::Relaxed) {
        return;
    }
    Python::try_attach(|py| {
        if socket.is_closed(py) {
            return;
        }
        // It may be dropped while an exception is on its way.
        let pending = PyErr::take(py);
        let class = py.get_type::<PyResourceWarning>();
        let text = std::ffi::CString::new(format!("unclosed {what}: use `async with`, or close()"));
        if let Ok(text) = text
            && let Err(error) = PyErr::warn(py, &class, &text, 1)
        {
            error.write_unraisable(py, None);
        }
        socket.close(py);
        if let Some(pending) = pending {
            pending.restore(py);
        }
    });
}

fn positive(count: isize, name: &str) -> PyResult<usize> {
    usize::try_from(count)
        .ok()
        .filter(|&count| count > 0)
        .ok_or_else(|| PyValueError::new_err(format!("{name} must be at least 1, not {count}")))
}

/// Both directions of a TCP or Unix stream; of the runtime in which it was made.
///
/// One task at a time may receive and one may send. ``async with`` closes it at the end.
#[pyclass(frozen, weakref, module = "herz.runtime")]
pub struct Connection {
    socket: Arc<Socket>,
}

impl Connection {
    pub fn new(socket: Arc<Socket>) -> Self {
        Self { socket }
    }

    pub fn socket(&self) -> &Socket {
        &self.socket
    }
}

#[pymethods]
impl Connection {
    /// A connection from a connected stream socket of Python's, which it takes over.
    #[staticmethod]
    fn from_socket(py: Python<'_>, socket: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self::new(adopt(py, socket)?))
    }

    /// An awaitable of what has come, up to `max_bytes` bytes; ``b""``: the other side has ended.
    #[pyo3(signature = (max_bytes = 65_536, /))]
    fn receive(&self, py: Python<'_>, max_bytes: isize) -> PyResult<Py<PyAny>> {
        let most = positive(max_bytes, "max_bytes")?;
        operation(py, &self.socket, Act::Receive(most))
    }

    /// An awaitable of exactly so many bytes; `EOFError` when the other side ends before.
    #[pyo3(signature = (count, /))]
    fn receive_exactly(&self, py: Python<'_>, count: isize) -> PyResult<Py<PyAny>> {
        let wanted = positive(count, "count")?;
        operation(py, &self.socket, Act::ReceiveExactly(wanted))
    }

    /// An awaitable of how many bytes it has put into the buffer; 0 when the other side has ended.
    #[pyo3(signature = (buffer, /))]
    fn receive_into(&self, py: Python<'_>, buffer: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let buffer = PyBuffer::<u8>::get(buffer)?;
        if awaitable::room(py, &buffer).is_none() {
            return Err(PyTypeError::new_err(
                "receive_into wants a buffer of bytes that can be written to and is contiguous",
            ));
        }
        if buffer.item_count() == 0 {
            return Err(PyValueError::new_err("the buffer has no room"));
        }
        operation(py, &self.socket, Act::ReceiveInto(buffer))
    }

    /// An awaitable that ends when the kernel has taken all of the bytes.
    #[pyo3(signature = (data, /))]
    fn send_all(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        if let Ok(bytes) = data.cast_exact::<PyBytes>() {
            return operation(py, &self.socket, Act::Send(bytes.clone().unbind()));
        }
        let buffer = PyBuffer::<u8>::get(data)?;
        if awaitable::bytes(py, &buffer).is_none() {
            return Err(PyTypeError::new_err("send_all wants contiguous bytes"));
        }
        operation(py, &self.socket, Act::SendBuffer(buffer))
    }

    /// Ends what is sent: the other side receives ``b""`` after it. Receiving goes on.
    fn close_write(&self, py: Python<'_>) -> PyResult<()> {
        let done = self.socket.with(py, stream::close_write)?;
        done.map_err(|error| os_error(py, "close_write", &error))
    }

    /// Closes both directions; tasks that wait here get `Closed`. A second time does nothing.
    fn close(&self, py: Python<'_>) {
        self.socket.close(py);
    }

    /// Whether `close` was called.
    #[getter]
    fn is_closed(&self, py: Python<'_>) -> bool {
        self.socket.is_closed(py)
    }

    /// Bytes that the kernel has taken: how far a cancelled `send_all` came.
    #[getter]
    fn bytes_sent(&self, py: Python<'_>) -> u64 {
        self.socket.sent_ever(py)
    }

    /// This side's address, as `socket.getsockname` gives it.
    #[getter]
    fn local_address(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        address(py, &self.socket, "getsockname")
    }

    /// The other side's address, as `socket.getpeername` gives it.
    #[getter]
    fn remote_address(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        address(py, &self.socket, "getpeername")
    }

    /// The descriptor's number; it stays the connection's.
    fn fileno(&self, py: Python<'_>) -> PyResult<u32> {
        self.socket.with(py, awaitable::number)
    }

    /// An awaitable that ends when a connection that was begun stands.
    #[pyo3(name = "_connected")]
    fn connected(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        operation(py, &self.socket, Act::Connect)
    }

    fn __aenter__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        awaitable::new(slf.py(), Wait::Given(slf.clone().into_any().unbind()))
    }

    fn __aexit__(
        &self,
        py: Python<'_>,
        _kind: &Bound<'_, PyAny>,
        _error: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<Py<PyAny>> {
        self.close(py);
        awaitable::new(py, Wait::Nothing)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        describe(py, "Connection", &self.socket)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        warn_if_open(&self.socket, "connection");
    }
}

fn describe(py: Python<'_>, name: &str, socket: &Socket) -> String {
    match socket.with(py, awaitable::number) {
        Ok(number) => format!("<{name} descriptor {number}>"),
        Err(_) => format!("<{name} closed>"),
    }
}

/// The file of a Unix socket's address, which is removed with its listener.
struct Path {
    path: std::path::PathBuf,
    file: (u64, u64),
}

impl Path {
    fn new(path: std::path::PathBuf) -> std::io::Result<Self> {
        let file = Self::file(&path)?;
        Ok(Self { path, file })
    }

    fn file(path: &std::path::Path) -> std::io::Result<(u64, u64)> {
        use std::os::unix::fs::MetadataExt;
        let data = std::fs::symlink_metadata(path)?;
        Ok((data.dev(), data.ino()))
    }

    /// Removes it, unless another file has its place now.
    fn remove(&self) {
        if Self::file(&self.path).is_ok_and(|file| file == self.file) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Takes connections; of the runtime in which it was made. ``async for`` gives one after another.
#[pyclass(frozen, weakref, module = "herz.runtime")]
pub struct Listener {
    socket: Arc<Socket>,
    is_tcp: bool,
    path: Option<Path>,
}

impl Listener {
    fn take(&self, py: Python<'_>, is_next: bool) -> PyResult<Py<PyAny>> {
        let is_tcp = self.is_tcp;
        operation(py, &self.socket, Act::Accept { is_tcp, is_next })
    }
}

#[pymethods]
impl Listener {
    /// A listener from a listening stream socket of Python's, which it takes over. A `path` is
    /// removed when it is closed.
    #[staticmethod]
    #[pyo3(signature = (socket, path = None))]
    fn from_socket(
        py: Python<'_>,
        socket: &Bound<'_, PyAny>,
        path: Option<std::path::PathBuf>,
    ) -> PyResult<Self> {
        let path = path.map(Path::new).transpose()?;
        let socket = adopt(py, socket)?;
        let is_tcp = socket.with(py, stream::is_internet)?;
        Ok(Self {
            socket,
            is_tcp,
            path,
        })
    }

    /// An awaitable of the next connection.
    fn accept(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.take(py, false)
    }

    /// Takes no more connections; a task that waits for one gets `Closed`.
    fn close(&self, py: Python<'_>) {
        if let Some(path) = &self.path
            && !self.socket.is_closed(py)
        {
            path.remove();
        }
        self.socket.close(py);
    }

    /// Whether `close` was called.
    #[getter]
    fn is_closed(&self, py: Python<'_>) -> bool {
        self.socket.is_closed(py)
    }

    /// Where it listens, as `socket.getsockname` gives it.
    #[getter]
    fn local_address(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        address(py, &self.socket, "getsockname")
    }

    /// The descriptor's number; it stays the listener's.
    fn fileno(&self, py: Python<'_>) -> PyResult<u32> {
        self.socket.with(py, awaitable::number)
    }

    fn __aiter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __anext__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.take(py, true)
    }

    fn __aenter__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        awaitable::new(slf.py(), Wait::Given(slf.clone().into_any().unbind()))
    }

    fn __aexit__(
        &self,
        py: Python<'_>,
        _kind: &Bound<'_, PyAny>,
        _error: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<Py<PyAny>> {
        self.close(py);
        awaitable::new(py, Wait::Nothing)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        describe(py, "Listener", &self.socket)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        warn_if_open(&self.socket, "listener");
    }
}
