//! `herz._native`: the Python face of `herz-core`. It converts and decides nothing.

mod forest;
mod packing;
mod resources;
mod runtime;
mod sealing;
mod structures;
mod table;

use std::sync::{Mutex, MutexGuard, PoisonError};

use numpy::PyReadonlyArray1;
use pyo3::prelude::*;

use herz_core::rows::Rows;

/// Rows as Python gives them: None for all, or an index array.
pub(crate) type RowArray<'py> = Option<PyReadonlyArray1<'py, i64>>;

/// Calls `f` with the rows; an index array that is not contiguous is refused by numpy's error.
pub(crate) fn with_rows<T>(
    rows: Option<&PyReadonlyArray1<'_, i64>>,
    size: usize,
    f: impl FnOnce(Rows<'_>) -> PyResult<T>,
) -> PyResult<T> {
    let chosen = match rows {
        None => Rows::All(size),
        Some(array) => Rows::Some(array.as_slice()?),
    };
    if chosen.within(size) {
        f(chosen)
    } else {
        Err(pyo3::exceptions::PyIndexError::new_err(format!(
            "a row is not below {size}"
        )))
    }
}

/// A lock whose holder panicked guards plain numbers: they are read on.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[pymodule]
mod _native {
    #[pymodule_export]
    use crate::forest::IntegerForest;
    #[pymodule_export]
    use crate::packing::{RequestMix, expected_rest};
    #[pymodule_export]
    use crate::resources::{Kernel, demands, has_room, levels, shift_row};
    #[pymodule_export]
    use crate::runtime::channel::Channel;
    #[pymodule_export]
    use crate::runtime::connection::{Connection, Listener};
    #[pymodule_export]
    use crate::runtime::describe::task_chain;
    #[pymodule_export]
    use crate::runtime::face::{
        Runtime, after_fork, breakpointhook, clock_ns, current_runtime, current_task, go,
        in_runtime, sleep,
    };
    #[pymodule_export]
    use crate::runtime::locks::{Gate, Semaphore};
    #[pymodule_export]
    use crate::runtime::relay::relay;
    #[pymodule_export]
    use crate::runtime::seeing::{
        census, measure_trace, on_stall, running_tasks, schedtrace, task_mark, task_target,
        task_thread, trace_start, trace_stop,
    };
    #[pymodule_export]
    use crate::runtime::select::select;
    #[pymodule_export]
    use crate::runtime::task::Task;
    #[pymodule_export]
    use crate::runtime::watch::{notify_closing, wait_readable, wait_writable};
    #[pymodule_export]
    use crate::runtime::{Cancelled, Closed, Deadlock};
    #[pymodule_export]
    use crate::sealing::{
        check_entries, grow_tree, is_ed25519, open_entries, seal_entries, sha3_384, sha256,
    };
    #[pymodule_export]
    use crate::structures::{
        GlobalQueue, RunQueue, TimerShards, TimerWheel, measure_crowd, measure_heap, measure_load,
        measure_shards, measure_switch, measure_switches, measure_wheel,
    };
    #[pymodule_export]
    use crate::table::{ChangeLog, Codes, LtHash, RawPoints, Table, mix64};

    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::runtime::prepare(module)
    }
}
