//! What tasks await: one native type, built by hand so that an await costs no generator, no
//! `StopIteration` and no object that the collector tracks.
//!
//! `am_send` begins the wait when the task comes by first, and gives the result when the task has
//! been woken. Which of both it is, the thread's `Current` says, so the object has no state of its
//! own and can be awaited again. Under a trace function the interpreter calls `tp_iternext`
//! instead, which gives the same through `StopIteration`.
//!
//! This is the only file of the runtime that speaks `CPython`'s C API.

use std::ffi::{c_int, c_void};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::ptr;

use pyo3::exceptions::PyStopIteration;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use super::channel::Channel;
use super::locks::{Gate, Semaphore};
use super::task::Task;
use super::waits::{self, Step};

/// What is awaited.
pub enum Wait {
    Yield,
    Sleep {
        ns: u64,
    },
    Join(Py<Task>),
    Receive(Py<Channel>),
    /// As `Receive`, for `async for`.
    Next(Py<Channel>),
    Send(Py<Channel>, Py<PyAny>),
    Acquire(Py<Semaphore>),
    Pass(Py<Gate>),
    /// It is over already.
    Nothing,
}

#[repr(C)]
struct Object {
    head: ffi::PyObject,
    wait: Wait,
}

/// The result of one send.
pub enum Sent {
    Returned(Py<PyAny>),
    /// It suspended in one of our awaitables.
    Suspended,
    /// It suspended with an object that is not ours.
    Foreign(Py<PyAny>),
    Raised(PyErr),
}

struct Types {
    awaitable: Py<PyAny>,
    /// What our awaitables yield to the worker.
    mark: Py<PyAny>,
    /// The only `Wait::Yield`.
    yielding: Py<PyAny>,
}

static TYPES: PyOnceLock<Types> = PyOnceLock::new();

fn types(py: Python<'_>) -> PyResult<&Types> {
    TYPES.get_or_try_init(py, || {
        let awaitable = make_type(py)?;
        let mark = py.import("builtins")?.getattr("object")?.call0()?.unbind();
        let yielding = allocate(py, &awaitable, Wait::Yield)?;
        Ok(Types {
            awaitable,
            mark,
            yielding,
        })
    })
}

fn make_type(py: Python<'_>) -> PyResult<Py<PyAny>> {
    let mut slots = [
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_tp_iter, itself as *mut c_void),
        slot(ffi::Py_tp_iternext, next as *mut c_void),
        slot(ffi::Py_am_await, itself as *mut c_void),
        slot(ffi::Py_am_send, send_slot as *mut c_void),
        slot(0, ptr::null_mut()),
    ];
    let mut spec = ffi::PyType_Spec {
        name: c"herz.runtime.Awaitable".as_ptr(),
        basicsize: size_of::<Object>() as c_int,
        itemsize: 0,
        flags: (ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION) as _,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: the spec, its slots and its name are valid for the call; the functions have the
    // signatures that their slots ask for. The result is a new reference or null with an error.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpec(&raw mut spec)) }
        .map(Bound::unbind)
}

fn slot(slot: c_int, pfunc: *mut c_void) -> ffi::PyType_Slot {
    ffi::PyType_Slot { slot, pfunc }
}

fn allocate(py: Python<'_>, kind: &Py<PyAny>, wait: Wait) -> PyResult<Py<PyAny>> {
    // SAFETY: `kind` is our heap type of `size_of::<Object>()` bytes without a collector's head.
    // The wait is written before anybody else can see the object.
    unsafe {
        let object = ffi::PyType_GenericAlloc(kind.as_ptr().cast(), 0);
        let object = Bound::from_owned_ptr_or_err(py, object)?;
        (&raw mut (*object.as_ptr().cast::<Object>()).wait).write(wait);
        Ok(object.unbind())
    }
}

/// An awaitable of that wait.
pub fn new(py: Python<'_>, wait: Wait) -> PyResult<Py<PyAny>> {
    let types = types(py)?;
    match wait {
        Wait::Yield => Ok(types.yielding.clone_ref(py)),
        wait => allocate(py, &types.awaitable, wait),
    }
}

// SAFETY: called by the interpreter with the last reference to an object of our type.
unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
    // SAFETY: as above; the type is a heap type, which its instances keep alive.
    unsafe {
        let kind = ffi::Py_TYPE(object);
        ptr::drop_in_place(&raw mut (*object.cast::<Object>()).wait);
        ffi::PyObject_Free(object.cast());
        ffi::Py_DECREF(kind.cast());
    }
}

// SAFETY: called by the interpreter with a living object.
unsafe extern "C" fn itself(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: as above.
    unsafe { ffi::Py_NewRef(object) }
}

/// One step of the wait.
// SAFETY: the caller holds the interpreter and passes a living object of our type.
unsafe fn advance<'py>(object: *mut ffi::PyObject) -> (Python<'py>, Step) {
    // SAFETY: as above; the wait is never changed after `allocate`.
    let (py, wait) = unsafe { (Python::assume_attached(), &(*object.cast::<Object>()).wait) };
    // A panic must not unwind into the interpreter.
    let step = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| waits::step(py, wait)));
    let step = step.unwrap_or_else(|_| Step::Raise(super::broken("an await")));
    (py, step)
}

// SAFETY: called by the interpreter with living objects and a place for the result.
unsafe extern "C" fn send_slot(
    object: *mut ffi::PyObject,
    _value: *mut ffi::PyObject,
    result: *mut *mut ffi::PyObject,
) -> ffi::PySendResult {
    // SAFETY: as above.
    let (py, step) = unsafe { advance(object) };
    let (given, kind) = match step {
        Step::Suspend => match types(py) {
            Ok(types) => (
                types.mark.clone_ref(py).into_ptr(),
                ffi::PySendResult::PYGEN_NEXT,
            ),
            Err(error) => return raise(py, error, result),
        },
        Step::Give(value) => (value.into_ptr(), ffi::PySendResult::PYGEN_RETURN),
        Step::Raise(error) => return raise(py, error, result),
    };
    // SAFETY: the interpreter gave the place; it takes over the reference.
    unsafe { *result = given };
    kind
}

fn raise(py: Python<'_>, error: PyErr, result: *mut *mut ffi::PyObject) -> ffi::PySendResult {
    error.restore(py);
    // SAFETY: called by `send_slot` with the interpreter's place.
    unsafe { *result = ptr::null_mut() };
    ffi::PySendResult::PYGEN_ERROR
}

// SAFETY: called by the interpreter with a living object.
unsafe extern "C" fn next(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: as above.
    let (py, step) = unsafe { advance(object) };
    let error = match step {
        Step::Suspend => match types(py) {
            Ok(types) => return types.mark.clone_ref(py).into_ptr(),
            Err(error) => error,
        },
        // An instance, always: as bare arguments a tuple would be unpacked and an exception would
        // be raised itself.
        Step::Give(value) => match py.get_type::<PyStopIteration>().call1((value,)) {
            Ok(stop) => PyErr::from_value(stop),
            Err(error) => error,
        },
        Step::Raise(error) => error,
    };
    error.restore(py);
    ptr::null_mut()
}

/// What it waits for, when it is one of ours.
pub fn wait_of<'a>(object: &'a Bound<'_, PyAny>) -> Option<&'a Wait> {
    let types = TYPES.get(object.py())?;
    if !object.get_type().is(&types.awaitable) {
        return None;
    }
    // SAFETY: the object is alive, and of exactly our type, which cannot be subclassed: it begins
    // with an `Object` whose wait never changes.
    Some(unsafe { &(*object.as_ptr().cast::<Object>()).wait })
}

/// Resumes a coroutine with None.
pub fn send(py: Python<'_>, coroutine: &Bound<'_, PyAny>) -> Sent {
    let mut result = ptr::null_mut();
    // SAFETY: both objects are alive, the place is ours. The result is a new reference, or null
    // with an error set.
    let (kind, result) = unsafe {
        let kind = ffi::PyIter_Send(coroutine.as_ptr(), ffi::Py_None(), &raw mut result);
        (kind, Bound::from_owned_ptr_or_opt(py, result))
    };
    let Some(result) = result else {
        return Sent::Raised(PyErr::fetch(py));
    };
    match kind {
        ffi::PySendResult::PYGEN_RETURN => Sent::Returned(result.unbind()),
        _ => suspended(py, result),
    }
}

/// Whether what a coroutine yielded is ours.
pub fn suspended(py: Python<'_>, yielded: Bound<'_, PyAny>) -> Sent {
    match TYPES.get(py) {
        Some(types) if types.mark.is(&yielded) => Sent::Suspended,
        _ => Sent::Foreign(yielded.unbind()),
    }
}

/// Whether it is a coroutine, or something that is resumed like one.
pub fn is_coroutine(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: the object is alive.
    let is_exact = unsafe { ffi::PyCoro_CheckExact(object.as_ptr()) } != 0;
    is_exact || has_all(object, &["send", "throw", "close", "__await__"])
}

fn has_all(object: &Bound<'_, PyAny>, names: &[&str]) -> bool {
    names
        .iter()
        .all(|name| object.hasattr(*name).unwrap_or(false))
}

/// Whether a call of it gives a coroutine: `async def`.
pub fn is_coroutine_function(function: &Bound<'_, PyAny>) -> bool {
    const CO_COROUTINE: u32 = 0x80;
    let code = function
        .getattr("__code__")
        .and_then(|code| code.getattr("co_flags"));
    code.and_then(|flags| flags.extract::<u32>())
        .is_ok_and(|flags| flags & CO_COROUTINE != 0)
}

/// Raises an exception of that class in whatever bytecode the thread runs, soon.
pub fn raise_in_thread(py: Python<'_>, thread: u64, class: &Bound<'_, PyType>) {
    let _ = py;
    // SAFETY: the interpreter is held and the class is alive; a thread that is gone is not found.
    unsafe { ffi::PyThreadState_SetAsyncExc(thread as _, class.as_ptr()) };
}

/// Our own copy of a descriptor.
pub fn duplicate(descriptor: i32) -> std::io::Result<OwnedFd> {
    // SAFETY: borrowed for the call only; a number that is no descriptor is refused by the kernel.
    unsafe { BorrowedFd::borrow_raw(descriptor) }.try_clone_to_owned()
}

/// A copy of this thread's context, as a new task inherits it.
pub fn copy_context(py: Python<'_>) -> PyResult<Py<PyAny>> {
    // SAFETY: the interpreter is held; the result is a new reference or null with an error.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_CopyCurrent()) }.map(Bound::unbind)
}

/// The context that this worker has entered, kept from one step to the next where they share it.
#[derive(Default)]
pub struct Entered(Option<Py<PyAny>>);

impl Entered {
    /// Enters the context.
    ///
    /// # Errors
    /// Another thread has entered it: a detached task that shares it is still inside its step.
    pub fn change(&mut self, py: Python<'_>, context: &Py<PyAny>) -> PyResult<()> {
        if self.0.as_ref().is_some_and(|entered| entered.is(context)) {
            return Ok(());
        }
        self.leave(py);
        // SAFETY: the context is alive and is one (`copy_context`).
        if unsafe { ffi::PyContext_Enter(context.as_ptr()) } != 0 {
            return Err(PyErr::fetch(py));
        }
        self.0 = Some(context.clone_ref(py));
        Ok(())
    }

    /// Leaves the context; must come before the task can run elsewhere.
    pub fn leave(&mut self, py: Python<'_>) {
        if let Some(context) = self.0.take() {
            // SAFETY: this worker entered it, and everything entered inside has been left.
            if unsafe { ffi::PyContext_Exit(context.as_ptr()) } != 0 {
                PyErr::fetch(py).write_unraisable(py, None);
            }
        }
    }
}
