//! The interpreter's switch interval: short while a detached step competes for the interpreter.
//!
//! A step that burns keeps the interpreter for a whole interval (5 ms) each time it gets it.

use std::sync::atomic::Ordering;

use herz_core::runtime::machine::Machine;
use pyo3::prelude::*;

use super::cell::GilCell;
use super::task::Runnable;

const SHORT_NS: u64 = 500_000;
const SHORT: f64 = 0.000_5;

struct Shortened {
    /// How many runtimes want it short.
    by: u32,
    before: f64,
}

static SHORTENED: std::sync::LazyLock<GilCell<Shortened>> =
    std::sync::LazyLock::new(|| GilCell::new(Shortened { by: 0, before: 0.0 }));

fn read(py: Python<'_>) -> PyResult<f64> {
    py.import("sys")?
        .call_method0("getswitchinterval")?
        .extract()
}

fn write(py: Python<'_>, seconds: f64) -> PyResult<()> {
    py.import("sys")?
        .call_method1("setswitchinterval", (seconds,))?;
    Ok(())
}

fn change(py: Python<'_>, machine: &Machine<Runnable>) -> PyResult<()> {
    let now = read(py)?;
    {
        let mut shortened = SHORTENED.get_mut(py);
        shortened.by += 1;
        if shortened.by == 1 {
            shortened.before = now;
        }
    }
    if now > SHORT {
        write(py, SHORT)?;
    }
    machine
        .switch_interval_ns
        .store(SHORT_NS, Ordering::Relaxed);
    Ok(())
}

/// The first hand-off of a runtime shortens it.
pub fn shorten(py: Python<'_>, machine: &Machine<Runnable>) {
    let is_first = machine.switch_interval_ns.load(Ordering::Relaxed) != SHORT_NS
        && machine.settings.short_interval
        && machine.crew.detached.load(Ordering::Relaxed) > 0;
    if is_first && let Err(error) = change(py, machine) {
        error.write_unraisable(py, None);
    }
}

/// No step is detached any more: it is as it was, unless somebody else changed it meanwhile.
pub fn restore(py: Python<'_>, machine: &Machine<Runnable>) {
    if machine.switch_interval_ns.load(Ordering::Relaxed) != SHORT_NS {
        return;
    }
    let before = {
        let mut shortened = SHORTENED.get_mut(py);
        shortened.by = shortened.by.saturating_sub(1);
        (shortened.by == 0).then_some(shortened.before)
    };
    machine
        .switch_interval_ns
        .store(5_000_000, Ordering::Relaxed);
    let Some(before) = before else { return };
    let is_ours = read(py).is_ok_and(|now| (now - SHORT).abs() < 1e-9);
    if is_ours && let Err(error) = write(py, before) {
        error.write_unraisable(py, None);
    }
}
