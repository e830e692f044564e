//! What an operating system knows of one thread: its number, its CPU time, how exactly it is woken.

/// The calling thread's number in this process; never 0.
#[cfg(target_os = "linux")]
#[must_use]
pub fn number() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get() as u32
}

/// The calling thread's number in this process; never 0.
#[cfg(target_vendor = "apple")]
#[must_use]
pub fn number() -> u32 {
    // SAFETY: both take the calling thread, which lives.
    unsafe { libc::pthread_mach_thread_np(libc::pthread_self()) }
}

/// CPU time that a thread has used, in nanoseconds; None when it is gone, or 0.
#[cfg(target_os = "linux")]
#[must_use]
pub fn cpu_ns(thread: u32) -> Option<u64> {
    // The kernel's number of a thread's CPU clock: the complement of its id, "this thread", "time
    // scheduled" (linux/posix-timers.h).
    let clock = (!thread.cast_signed()) << 3 | 0b110;
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is ours to write; a clock that is none is refused by the kernel.
    let refused = unsafe { libc::clock_gettime(clock, &raw mut time) } != 0;
    (thread != 0 && !refused)
        .then_some(time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned())
}

/// CPU time that a thread has used, in nanoseconds; None when it is gone, or 0.
#[cfg(target_vendor = "apple")]
#[must_use]
pub fn cpu_ns(thread: u32) -> Option<u64> {
    let mut found = std::mem::MaybeUninit::<libc::thread_basic_info>::zeroed();
    let mut words = libc::THREAD_BASIC_INFO_COUNT;
    // SAFETY: there is room for so many words; the port of a thread that is gone is refused.
    let found = unsafe {
        let answer = libc::thread_info(
            thread,
            libc::THREAD_BASIC_INFO as u32,
            found.as_mut_ptr().cast(),
            &raw mut words,
        );
        (answer == libc::KERN_SUCCESS).then(|| found.assume_init())?
    };
    let micros = |time: libc::time_value_t| {
        u64::from(time.seconds.cast_unsigned()) * 1_000_000
            + u64::from(time.microseconds.cast_unsigned())
    };
    Some((micros(found.user_time) + micros(found.system_time)) * 1_000)
}

/// Restores the thread's timer slack.
#[cfg(target_os = "linux")]
pub struct Slack(u64);

#[cfg(target_os = "linux")]
impl Slack {
    /// Sets this thread's timer slack to 1 ns: the default adds 50 µs to each timed wait.
    #[must_use]
    pub fn least() -> Self {
        let before = rustix::thread::current_timer_slack().unwrap_or(0);
        // Refused (a sandbox): waits are coarser, nothing else changes.
        let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
        Self(before)
    }
}

#[cfg(target_os = "linux")]
impl Drop for Slack {
    fn drop(&mut self) {
        let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(self.0));
    }
}

/// Only Linux lets a thread choose it.
#[cfg(target_vendor = "apple")]
pub struct Slack;

#[cfg(target_vendor = "apple")]
impl Slack {
    /// What the system gives.
    #[must_use]
    pub fn least() -> Self {
        Self
    }
}
