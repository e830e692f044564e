//! The class `Timer`, built by hand: the collector hears of some of its objects only.
//!
//! A timer that is a leaf is allocated without the collector's head and does not count as one of
//! the allocations after which it collects, so that a million timers cause no collection. The
//! others have the head: `tp_is_gc` says which is which, as it does for the interpreter's own
//! classes. Calls take the short way, without a tuple of the arguments.
//!
//! Beside `awaitable` this is the only file of the runtime that speaks `CPython`'s C API.

use std::ffi::{CStr, c_int, c_void};
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use pyo3::exceptions::{PyMemoryError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyTuple};

use super::awaitable::{from_slots, slot};
use super::cell::GilCell;
use super::channel::Channel;
use super::timer::{self, Aim, Aimed, Call, Target, Timer};

/// A leaf is followed by what it calls, any other timer by its target.
#[repr(C)]
struct Object<A> {
    head: ffi::PyObject,
    timer: Timer,
    aim: A,
}

type Leaf = Object<Call>;
type Other = Object<GilCell<Target>>;

/// A reference to a Python object of the class.
#[repr(transparent)]
pub struct TimerObject(Py<PyAny>);

static TYPE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

impl Deref for TimerObject {
    type Target = Timer;

    fn deref(&self) -> &Timer {
        // SAFETY: `new` alone makes references, of our type, which nobody can inherit from; the
        // timer lives as long as the object, is only ever shared, and has its place in both kinds.
        unsafe { &(*self.0.as_ptr().cast::<Leaf>()).timer }
    }
}

impl<A> Object<A> {
    // SAFETY: the caller passes a new object of this kind.
    unsafe fn fill(object: *mut Self, timer: Timer, aim: A) {
        // SAFETY: as above.
        unsafe {
            (&raw mut (*object).timer).write(timer);
            (&raw mut (*object).aim).write(aim);
        }
    }

    // SAFETY: the caller passes an object of this kind that nobody else knows.
    unsafe fn empty(object: *mut Self) {
        // SAFETY: as above.
        unsafe {
            ptr::drop_in_place(&raw mut (*object).timer);
            ptr::drop_in_place(&raw mut (*object).aim);
        }
    }
}

impl TimerObject {
    /// An object of that timer. One that is no leaf is tracked.
    pub fn new(py: Python<'_>, timer: Timer, aim: Aim) -> PyResult<Self> {
        let kind = TYPE.get(py).ok_or_else(|| super::broken("a timer"))?;
        let kind = kind.as_ptr().cast::<ffi::PyTypeObject>();
        // SAFETY: `kind` is our heap type, of the larger one's size. `PyObject_Init` counts the
        // reference to it, as `PyType_GenericAlloc` does. All is written before anybody else can
        // see the object: nothing between allocates, so no collection comes.
        unsafe {
            let object = match aim {
                Aim::Leaf(call) => {
                    let memory = ffi::PyObject_Malloc(size_of::<Leaf>());
                    if memory.is_null() {
                        return Err(PyMemoryError::new_err("no memory for a timer"));
                    }
                    let object = ffi::PyObject_Init(memory.cast(), kind);
                    Object::fill(object.cast(), timer, call);
                    object
                }
                Aim::Other(target) => {
                    let object = ffi::PyType_GenericAlloc(kind, 0);
                    if object.is_null() {
                        return Err(PyErr::fetch(py));
                    }
                    Object::fill(object.cast(), timer, target);
                    object
                }
            };
            Ok(Self(Bound::from_owned_ptr(py, object).unbind()))
        }
    }

    /// What it is for.
    pub fn aim(&self) -> Aimed<'_> {
        let object = self.0.as_ptr();
        // SAFETY: as in `deref`; `new` filled the object so.
        unsafe {
            if self.is_leaf {
                Aimed::Leaf(&(*object.cast::<Leaf>()).aim)
            } else {
                Aimed::Other(&(*object.cast::<Other>()).aim)
            }
        }
    }

    pub fn clone_ref(&self, py: Python<'_>) -> Self {
        Self(self.0.clone_ref(py))
    }

    /// Whether somebody beside the caller holds it.
    pub fn is_shared(&self, _py: Python<'_>) -> bool {
        // SAFETY: the object is alive.
        unsafe { ffi::Py_REFCNT(self.0.as_ptr()) > 1 }
    }

    /// The collector need not visit it, until `track`; it is no leaf.
    pub fn untrack(&self, _py: Python<'_>) {
        debug_assert!(!self.is_leaf, "a leaf has no head");
        // SAFETY: the object is alive and has the collector's head; twice is as good as once.
        unsafe { ffi::PyObject_GC_UnTrack(self.0.as_ptr().cast()) };
    }

    /// The collector visits it; it is no leaf.
    pub fn track(&self, _py: Python<'_>) {
        debug_assert!(!self.is_leaf, "a leaf has no head");
        // SAFETY: as in `untrack`; what is tracked already must not be tracked again.
        unsafe {
            if ffi::PyObject_GC_IsTracked(self.0.as_ptr()) == 0 {
                ffi::PyObject_GC_Track(self.0.as_ptr().cast());
            }
        }
    }
}

/// Makes the class, and gives it to the module.
pub fn prepare(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let kind = TYPE.get_or_try_init(py, || make_type(py))?;
    // SAFETY: the class is alive and ours, no thread has called it yet, and the function has the
    // signature of the slot, through which `type` calls a class.
    unsafe { (*kind.as_ptr().cast::<ffi::PyTypeObject>()).tp_vectorcall = Some(call) };
    module.add("Timer", kind)
}

const DOC: &CStr = c"Timer(seconds, callback=None, /, *args)\n--\n
Calls a function, or gives a value to who receives, when its time has come.";

fn make_type(py: Python<'_>) -> PyResult<Py<PyAny>> {
    let slots = &mut [
        slot(ffi::Py_tp_new, new as *mut c_void),
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_tp_traverse, traverse as *mut c_void),
        slot(ffi::Py_tp_clear, clear as *mut c_void),
        slot(ffi::Py_tp_is_gc, is_gc as *mut c_void),
        slot(ffi::Py_tp_methods, methods().cast()),
        slot(ffi::Py_tp_getset, getters().cast()),
        slot(ffi::Py_tp_doc, DOC.as_ptr().cast_mut().cast()),
        slot(0, ptr::null_mut()),
    ];
    let flags = ffi::Py_TPFLAGS_HAVE_GC;
    // SAFETY: the functions have the signatures that their slots ask for; methods, getters and
    // text live for ever.
    unsafe { from_slots::<Other>(py, c"herz.runtime.Timer", flags, slots) }
}

/// Once a process: the class keeps a pointer to them.
fn methods() -> *mut ffi::PyMethodDef {
    let method = |name: &'static CStr, call, flags, doc: &'static CStr| ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: call,
        ml_flags: flags,
        ml_doc: doc.as_ptr(),
    };
    let plain = |function| ffi::PyMethodDefPointer {
        PyCFunction: function,
    };
    let all = [
        method(
            c"stop",
            plain(stop),
            ffi::METH_NOARGS,
            c"stop($self, /)\n--\n\nKeeps it from firing: True where it would have.",
        ),
        method(
            c"reset",
            plain(reset),
            ffi::METH_O,
            c"reset($self, seconds, /)\n--\n
Fires so many seconds from now instead: True where it had been going to.",
        ),
        method(
            c"receive",
            plain(receive),
            ffi::METH_NOARGS,
            c"receive($self, /)\n--\n
An awaitable of the time at which it fired, in nanoseconds of the runtime's clock.",
        ),
        method(
            c"every",
            ffi::PyMethodDefPointer {
                PyCFunctionFast: every,
            },
            ffi::METH_FASTCALL | ffi::METH_STATIC,
            c"every(seconds, channel, /)\n--\n
A timer that fires again and again, into a channel; what finds no room there is dropped.",
        ),
        ffi::PyMethodDef::zeroed(),
    ];
    Box::leak(Box::new(all)).as_mut_ptr()
}

/// As `methods`.
fn getters() -> *mut ffi::PyGetSetDef {
    let pending = ffi::PyGetSetDef {
        name: c"is_pending".as_ptr(),
        get: Some(is_pending),
        set: None,
        doc: c"Whether it will fire.".as_ptr(),
        closure: ptr::null_mut(),
    };
    Box::leak(Box::new([pending, ffi::PyGetSetDef::default()])).as_mut_ptr()
}

/// What a call gives the interpreter: an object, or null with an error set.
fn answer(py: Python<'_>, made: impl FnOnce() -> PyResult<Py<PyAny>>) -> *mut ffi::PyObject {
    // A panic must not unwind into the interpreter.
    let made = catch_unwind(AssertUnwindSafe(made));
    match made.unwrap_or_else(|_| Err(super::broken("a timer"))) {
        Ok(made) => made.into_ptr(),
        Err(error) => {
            error.restore(py);
            ptr::null_mut()
        }
    }
}

fn boolean(py: Python<'_>, value: bool) -> Py<PyAny> {
    PyBool::new(py, value).to_owned().into_any().unbind()
}

/// The arguments of a call.
// SAFETY: the caller holds the interpreter and keeps `count` living arguments for that long.
unsafe fn arguments(
    py: Python<'_>,
    arguments: *const *mut ffi::PyObject,
    count: usize,
) -> impl Iterator<Item = Bound<'_, PyAny>> {
    // SAFETY: as above.
    (0..count).map(move |at| unsafe { Bound::from_borrowed_ptr(py, *arguments.add(at)) })
}

// SAFETY: called by the interpreter with `count` living arguments, and names for further ones.
unsafe extern "C" fn call(
    _class: *mut ffi::PyObject,
    given: *const *mut ffi::PyObject,
    count: usize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as above; the caller holds the interpreter, and keeps the arguments for the call.
    let (py, given) = unsafe {
        let py = Python::assume_attached();
        let count = ffi::PyVectorcall_NARGS(count) as usize;
        (py, arguments(py, given, count))
    };
    make(py, given, !names.is_null())
}

/// `Timer.__new__(Timer, ...)`, which hardly anybody writes.
// SAFETY: called by the interpreter with a tuple, and a dictionary or null.
unsafe extern "C" fn new(
    _class: *mut ffi::PyTypeObject,
    given: *mut ffi::PyObject,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as above.
    let (py, given, is_named) = unsafe {
        let py = Python::assume_attached();
        let given = Bound::from_borrowed_ptr(py, given).cast_into_unchecked::<PyTuple>();
        let is_named = !keywords.is_null() && ffi::PyDict_Size(keywords) > 0;
        (py, given, is_named)
    };
    make(py, given.iter(), is_named)
}

fn make<'py>(
    py: Python<'py>,
    given: impl Iterator<Item = Bound<'py, PyAny>>,
    is_named: bool,
) -> *mut ffi::PyObject {
    answer(py, || {
        if is_named {
            return Err(PyTypeError::new_err("Timer takes no keyword arguments"));
        }
        timer::construct(py, given).map(|timer| timer.0)
    })
}

/// The object that a slot or a method is called for.
// SAFETY: the caller passes the place of a pointer to a living object of our type.
unsafe fn own(object: &*mut ffi::PyObject) -> (Python<'_>, &TimerObject) {
    // SAFETY: as above; `TimerObject` is such a pointer, and a borrowed one is not released.
    unsafe {
        let object = ptr::from_ref(object).cast::<TimerObject>();
        (Python::assume_attached(), &*object)
    }
}

// SAFETY: called by the interpreter with a living object of our type.
unsafe extern "C" fn stop(
    object: *mut ffi::PyObject,
    _nothing: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as above.
    let (py, timer) = unsafe { own(&object) };
    answer(py, || Ok(boolean(py, timer::stop(py, timer)?)))
}

// SAFETY: called by the interpreter with living objects, the first one of our type.
unsafe extern "C" fn reset(
    object: *mut ffi::PyObject,
    seconds: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as above.
    let (py, timer) = unsafe { own(&object) };
    // SAFETY: as above.
    let seconds = unsafe { Bound::from_borrowed_ptr(py, seconds) };
    answer(py, || {
        let was_active = timer::reset(py, timer, seconds.extract()?)?;
        Ok(boolean(py, was_active))
    })
}

// SAFETY: called by the interpreter with a living object of our type.
unsafe extern "C" fn receive(
    object: *mut ffi::PyObject,
    _nothing: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as above.
    let (py, timer) = unsafe { own(&object) };
    answer(py, || timer::receive(py, timer))
}

// SAFETY: called by the interpreter with `count` living arguments.
unsafe extern "C" fn every(
    _nothing: *mut ffi::PyObject,
    given: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: as above.
    let (py, mut given) = unsafe {
        let py = Python::assume_attached();
        (py, arguments(py, given, count as usize))
    };
    answer(py, || {
        let (Some(seconds), Some(channel), None) = (given.next(), given.next(), given.next())
        else {
            return Err(PyTypeError::new_err(format!(
                "Timer.every takes seconds and a channel: {count} arguments were given"
            )));
        };
        let channel = channel.cast_into::<Channel>()?;
        timer::every(py, seconds.extract()?, channel.unbind()).map(|timer| timer.0)
    })
}

// SAFETY: called by the interpreter with a living object of our type.
unsafe extern "C" fn is_pending(
    object: *mut ffi::PyObject,
    _closure: *mut c_void,
) -> *mut ffi::PyObject {
    // SAFETY: as above.
    let (py, timer) = unsafe { own(&object) };
    boolean(py, timer.is_pending()).into_ptr()
}

// SAFETY: called by the interpreter with a living object of our type.
unsafe extern "C" fn is_gc(object: *mut ffi::PyObject) -> c_int {
    // SAFETY: as above.
    let (_, timer) = unsafe { own(&object) };
    c_int::from(!timer.is_leaf)
}

// SAFETY: called by the interpreter, which it holds, with a living object of our type.
unsafe extern "C" fn traverse(
    object: *mut ffi::PyObject,
    visit: ffi::visitproc,
    argument: *mut c_void,
) -> c_int {
    // SAFETY: as above; objects of a heap type hold it. What is visited is alive.
    unsafe {
        let mut result = visit(ffi::Py_TYPE(object).cast(), argument);
        let (_, timer) = own(&object);
        timer.aim().visit(&mut |held| {
            if result == 0 {
                result = visit(held, argument);
            }
        });
        result
    }
}

// SAFETY: called by the interpreter with a living object of our type.
unsafe extern "C" fn clear(object: *mut ffi::PyObject) -> c_int {
    // SAFETY: as above.
    let (py, timer) = unsafe { own(&object) };
    release(py, |py| timer.aim().clear(py));
    0
}

// SAFETY: called by the interpreter with the last reference to an object of our type.
unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
    // SAFETY: as above; the type is a heap type, which its instances keep alive.
    unsafe {
        let kind = ffi::Py_TYPE(object);
        let is_leaf = own(&object).1.is_leaf;
        let py = Python::assume_attached();
        if is_leaf {
            release(py, |_| Leaf::empty(object.cast()));
            ffi::PyObject_Free(object.cast());
        } else {
            ffi::PyObject_GC_UnTrack(object.cast());
            release(py, |_| Other::empty(object.cast()));
            ffi::PyObject_GC_Del(object.cast());
        }
        ffi::Py_DECREF(kind.cast());
    }
}

/// Drops references, once. Where pyo3 knows that the thread has the interpreter they are gone at
/// once, else with pyo3's next call; the interpreter that ends lets nobody tell it.
fn release(py: Python<'_>, drop: impl Fn(Python<'_>)) {
    if Python::try_attach(&drop).is_none() {
        drop(py);
    }
}
