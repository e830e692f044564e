//! What tasks await: one native type, built by hand so that an await costs no generator, no
//! `StopIteration` and no object that the collector tracks.
//!
//! `am_send` begins the wait when the task comes by first, and gives the result when the task has
//! been woken. Which of both it is, the thread's `Current` says, so the object has no state of its
//! own and can be awaited again. Under a trace function the interpreter calls `tp_iternext`
//! instead, which gives the same through `StopIteration`.
//!
//! Beside `timer_type` this is the only file of the runtime that speaks `CPython`'s C API.

use std::ffi::{CStr, c_int, c_ulong, c_void};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyStopIteration;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use super::channel::Channel;
use super::locks::{Gate, Semaphore};
use super::relay::Joined;
use super::select::Select;
use super::sockets::Operation;
use super::task::Task;
use super::waits::{self, Step};
use super::watch::Watch;

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
    Select(Box<Select>),
    Socket(Operation),
    Descriptor(Watch),
    Relay(Box<Joined>),
    /// It is over already, with this.
    Given(Py<PyAny>),
    /// It is over already, with None.
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
    /// On the heap: so that all else comes back in registers.
    Raised(Box<PyErr>),
}

impl Sent {
    pub fn raised(error: PyErr) -> Self {
        Self::Raised(Box::new(error))
    }
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
    let slots = &mut [
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_tp_iter, itself as *mut c_void),
        slot(ffi::Py_tp_iternext, next as *mut c_void),
        slot(ffi::Py_am_await, itself as *mut c_void),
        slot(ffi::Py_am_send, send_slot as *mut c_void),
        slot(0, ptr::null_mut()),
    ];
    let flags = ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
    // SAFETY: the functions have the signatures that their slots ask for.
    unsafe { from_slots::<Object>(py, c"herz.runtime.Awaitable", flags, slots) }
}

pub fn slot(slot: c_int, pfunc: *mut c_void) -> ffi::PyType_Slot {
    ffi::PyType_Slot { slot, pfunc }
}

/// A class whose objects look like `T`.
// SAFETY: the caller's slots hold what they ask for, for ever where it is no function, and end
// with an empty one.
pub unsafe fn from_slots<T>(
    py: Python<'_>,
    name: &'static CStr,
    flags: c_ulong,
    slots: &mut [ffi::PyType_Slot],
) -> PyResult<Py<PyAny>> {
    let mut spec = ffi::PyType_Spec {
        name: name.as_ptr(),
        basicsize: size_of::<T>() as c_int,
        itemsize: 0,
        flags: (ffi::Py_TPFLAGS_DEFAULT | flags) as _,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: the spec, its slots and its name are valid for the call. The result is a new
    // reference or null with an error.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpec(&raw mut spec)) }
        .map(Bound::unbind)
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

/// What the object waits for; None: it is not one of ours.
pub fn wait<'a>(object: &'a Bound<'_, PyAny>) -> Option<&'a Wait> {
    let types = TYPES.get(object.py())?;
    if !object.get_type().is(&types.awaitable) {
        return None;
    }
    // SAFETY: the object is of our type, which nobody can inherit from; its wait is never changed
    // after `allocate` and lives as long as the object.
    Some(unsafe { &(*object.as_ptr().cast::<Object>()).wait })
}

// SAFETY: called by the interpreter with the last reference to an object of our type.
unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
    // SAFETY: as above; the type is a heap type, which its instances keep alive.
    unsafe {
        let kind = ffi::Py_TYPE(object);
        let wait = &raw mut (*object.cast::<Object>()).wait;
        waits::forget(Python::assume_attached(), &*wait);
        ptr::drop_in_place(wait);
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
unsafe fn advance<'py>(object: *mut ffi::PyObject, is_traced: bool) -> (Python<'py>, Step) {
    // SAFETY: as above; the wait is never changed after `allocate`.
    let (py, wait) = unsafe { (Python::assume_attached(), &(*object.cast::<Object>()).wait) };
    // A panic must not unwind into the interpreter.
    let step = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        waits::step(py, wait, is_traced)
    }));
    let step = step.unwrap_or_else(|_| Step::raise(super::broken("an await")));
    (py, step)
}

// SAFETY: called by the interpreter with living objects and a place for the result.
unsafe extern "C" fn send_slot(
    object: *mut ffi::PyObject,
    _value: *mut ffi::PyObject,
    result: *mut *mut ffi::PyObject,
) -> ffi::PySendResult {
    // SAFETY: as above.
    let (py, step) = unsafe { advance(object, false) };
    let (given, kind) = match step {
        Step::Suspend => match types(py) {
            Ok(types) => (
                types.mark.clone_ref(py).into_ptr(),
                ffi::PySendResult::PYGEN_NEXT,
            ),
            Err(error) => return raise(py, error, result),
        },
        Step::Give(value) => (value.into_ptr(), ffi::PySendResult::PYGEN_RETURN),
        Step::Raise(error) => return raise(py, *error, result),
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

/// The interpreter comes by here instead of `send_slot` where a trace function is set.
// SAFETY: called by the interpreter with a living object.
unsafe extern "C" fn next(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: as above.
    let (py, step) = unsafe { advance(object, true) };
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
        Step::Raise(error) => *error,
    };
    error.restore(py);
    ptr::null_mut()
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
        return Sent::raised(PyErr::fetch(py));
    };
    match kind {
        ffi::PySendResult::PYGEN_RETURN => Sent::Returned(result.unbind()),
        _ => suspended(py, result),
    }
}

// SAFETY: called by the interpreter.
unsafe extern "C" fn yield_now(
    _module: *mut ffi::PyObject,
    _nothing: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as above, which holds its lock.
    let py = unsafe { Python::assume_attached() };
    match types(py) {
        Ok(types) => types.yielding.clone_ref(py).into_ptr(),
        Err(error) => {
            error.restore(py);
            ptr::null_mut()
        }
    }
}

/// The function `yield_now`. By hand: a generated one costs more than all else that a yield costs
/// before it suspends.
pub fn make_yield_now(module: &Bound<'_, PyModule>) -> PyResult<Py<PyAny>> {
    let definition = ffi::PyMethodDef {
        ml_name: c"yield_now".as_ptr(),
        ml_meth: ffi::PyMethodDefPointer {
            PyCFunction: yield_now,
        },
        ml_flags: ffi::METH_NOARGS,
        ml_doc: c"yield_now()\n--\n\nAn awaitable that lets all other runnable tasks run first."
            .as_ptr(),
    };
    // Once a process: the function keeps a pointer to it.
    let definition = Box::leak(Box::new(definition));
    let name = module.name()?;
    // SAFETY: the definition lives for ever, and the function has the signature that its flags
    // ask for. The result is a new reference or null with an error.
    unsafe {
        let function = ffi::PyCFunction_NewEx(definition, ptr::null_mut(), name.as_ptr());
        Bound::from_owned_ptr_or_err(module.py(), function).map(Bound::unbind)
    }
}

/// Whether what a coroutine yielded is ours.
pub fn suspended(py: Python<'_>, yielded: Bound<'_, PyAny>) -> Sent {
    match TYPES.get(py) {
        Some(types) if types.mark.is(&yielded) => Sent::Suspended,
        _ => Sent::Foreign(yielded.unbind()),
    }
}

/// Whether it is what a call of an ``async def`` gives.
pub fn is_exact_coroutine(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: the object is alive.
    unsafe { ffi::PyCoro_CheckExact(object.as_ptr()) != 0 }
}

/// Whether it is a coroutine, or something that is resumed like one.
pub fn is_coroutine(object: &Bound<'_, PyAny>) -> bool {
    is_exact_coroutine(object) || has_all(object, &["send", "throw", "close", "__await__"])
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

/// Raises an exception of that class in whatever bytecode the thread runs, soon. It must run some:
/// until it has been raised, all threads look for what else is pending at every turn.
pub fn raise_in_thread(_py: Python<'_>, thread: u64, class: &Bound<'_, PyType>) {
    // SAFETY: the interpreter is held and the class is alive; a thread that is gone is not found.
    unsafe { ffi::PyThreadState_SetAsyncExc(thread as _, class.as_ptr()) };
}

/// While it lives no collection begins: nothing that only allocates gives the interpreter away.
pub struct Uncollected {
    was_enabled: bool,
}

impl Uncollected {
    pub fn begin(_py: Python<'_>) -> Self {
        // SAFETY: the interpreter is held.
        let was_enabled = unsafe { ffi::PyGC_Disable() } != 0;
        Self { was_enabled }
    }

    pub fn end(self, _py: Python<'_>) {
        if self.was_enabled {
            // SAFETY: the interpreter is held.
            unsafe { ffi::PyGC_Enable() };
        }
    }
}

/// The calling thread, as Python's `threading` names it.
pub fn thread_ident(_py: Python<'_>) -> u64 {
    // SAFETY: the interpreter is held.
    unsafe { ffi::PyThread_get_thread_ident() as u64 }
}

/// Our own copy of a descriptor.
pub fn duplicate(descriptor: i32) -> std::io::Result<OwnedFd> {
    // SAFETY: borrowed for the call only; a number that is no descriptor is refused by the kernel.
    unsafe { BorrowedFd::borrow_raw(descriptor) }.try_clone_to_owned()
}

/// The descriptor of a number, or of an object with `fileno`.
pub fn descriptor_of(object: &Bound<'_, PyAny>) -> PyResult<u32> {
    // SAFETY: the object is alive; -1 comes with an error set.
    let number = unsafe { ffi::PyObject_AsFileDescriptor(object.as_ptr()) };
    u32::try_from(number).map_err(|_| PyErr::fetch(object.py()))
}

/// A descriptor for one call.
pub fn borrow<'a>(number: u32) -> BorrowedFd<'a> {
    // SAFETY: `descriptor_of` gave the number, which is not negative; the kernel refuses one that
    // is no descriptor (any more).
    unsafe { BorrowedFd::borrow_raw(number.cast_signed()) }
}

/// The number of a descriptor of ours.
pub fn number(descriptor: &OwnedFd) -> u32 {
    descriptor.as_raw_fd().cast_unsigned()
}

/// A descriptor that somebody gave up.
pub fn adopt(number: i32) -> OwnedFd {
    // SAFETY: `socket.detach` gave it, so nobody else closes it.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// The bytes of a buffer that is written to, for one call of the kernel.
pub fn room<'a>(_py: Python<'a>, buffer: &'a PyBuffer<u8>) -> Option<&'a mut [u8]> {
    let mut cells = buffer.as_slice_ptr().filter(|_| !buffer.readonly())?;
    // SAFETY: the buffer is exported, so it stays where it is; the interpreter is held, so no
    // Python code reads or writes it meanwhile, and the slice does not outlive the call.
    Some(unsafe { cells.as_mut() })
}

/// The bytes of a buffer that is read.
pub fn bytes<'a>(_py: Python<'a>, buffer: &'a PyBuffer<u8>) -> Option<&'a [u8]> {
    let cells = buffer.as_slice_ptr()?;
    // SAFETY: as in `room`.
    Some(unsafe { cells.as_ref() })
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
    #[inline]
    pub fn change(&mut self, py: Python<'_>, context: Py<PyAny>) -> PyResult<()> {
        if self.0.as_ref().is_some_and(|entered| entered.is(&context)) {
            context.drop_ref(py);
            return Ok(());
        }
        self.leave(py);
        // SAFETY: the context is alive and is one (`copy_context`).
        if unsafe { ffi::PyContext_Enter(context.as_ptr()) } != 0 {
            return Err(PyErr::fetch(py));
        }
        self.0 = Some(context);
        Ok(())
    }

    /// Leaves the context; must come before the task can run elsewhere.
    #[inline]
    pub fn leave(&mut self, py: Python<'_>) {
        if let Some(context) = self.0.take() {
            // SAFETY: this worker entered it, and everything entered inside has been left.
            if unsafe { ffi::PyContext_Exit(context.as_ptr()) } != 0 {
                PyErr::fetch(py).write_unraisable(py, None);
            }
            context.drop_ref(py);
        }
    }
}

/// Whether the object can hold nothing but what lives as long as its module: what the collector
/// does not visit, a function without closure, defaults and attributes, a module's own function.
pub fn is_leaf(object: &Bound<'_, PyAny>) -> bool {
    let object = object.as_ptr();
    // SAFETY: the object is alive; the casts follow the checks of its exact type.
    unsafe {
        if ffi::PyObject_IS_GC(object) == 0 {
            return true;
        }
        if ffi::PyFunction_Check(object) != 0 {
            let function = &*object.cast::<ffi::PyFunctionObject>();
            return [
                function.func_closure,
                function.func_defaults,
                function.func_kwdefaults,
                function.func_dict,
            ]
            .iter()
            .all(|held| held.is_null());
        }
        if ffi::PyCFunction_CheckExact(object) != 0 {
            let held = ffi::PyCFunction_GetSelf(object);
            return held.is_null() || ffi::PyModule_Check(held) != 0;
        }
        false
    }
}
