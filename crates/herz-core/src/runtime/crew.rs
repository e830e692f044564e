//! The workers of a machine: who is idle, who is detached, and which functions wait for a thread.

use std::collections::VecDeque;
use std::time::Duration;

use super::processor::WorkerId;
use super::sync::{Arc, AtomicBool, AtomicU32, AtomicUsize, Bell, Lock, Ordering};

/// What an idle worker is told to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Errand<T> {
    /// It owns the processor: accept it and run tasks.
    Processor,
    /// Run this function, without a processor.
    Function(T),
    /// End the thread.
    Stop,
}

/// One worker's place: its thread and where it is told what to do.
pub struct Seat<T> {
    bell: Bell<Option<Errand<T>>>,
    thread: AtomicU32,
    /// Its step lost the processor and has not ended.
    pub is_detached: AtomicBool,
}

struct Roster<T> {
    seats: Vec<Arc<Seat<T>>>,
    // Invariant: a worker in `idle` has no errand, and whoever takes it out gives it one.
    idle: Vec<WorkerId>,
    /// Threads that were asked for and have not come yet.
    recruits: usize,
    is_stopped: bool,
    // Bound: the number of live tasks.
    functions: VecDeque<T>,
}

pub struct Crew<T> {
    roster: Lock<Roster<T>>,
    workers_max: usize,
    /// Workers whose step lost the processor and has not ended.
    pub detached: AtomicUsize,
    /// Functions that wait or run.
    pub functions: AtomicUsize,
    /// Threads beside the workers that enter the interpreter: one that is inside when it shuts down
    /// takes the process with it.
    visitors: Arc<Bell<usize>>,
}

/// A thread that enters the interpreter, from before it is started until it has left.
pub struct Visit(Arc<Bell<usize>>);

impl Drop for Visit {
    fn drop(&mut self) {
        self.0.ring(|count| *count -= 1);
    }
}

impl<T> Crew<T> {
    /// A crew with worker 0, of at most `workers_max` workers.
    #[must_use]
    pub fn new(workers_max: usize) -> Self {
        Self {
            roster: Lock::new(Roster {
                seats: vec![Self::seat()],
                idle: Vec::new(),
                recruits: 0,
                is_stopped: false,
                functions: VecDeque::new(),
            }),
            workers_max,
            detached: AtomicUsize::new(0),
            functions: AtomicUsize::new(0),
            visitors: Arc::default(),
        }
    }

    fn seat() -> Arc<Seat<T>> {
        Arc::new(Seat {
            bell: Bell::default(),
            thread: AtomicU32::new(0),
            is_detached: AtomicBool::new(false),
        })
    }

    pub fn seat_of(&self, worker: WorkerId) -> Arc<Seat<T>> {
        Arc::clone(&self.roster.lock().seats[worker as usize])
    }

    /// The seats of all detached workers, with their numbers.
    pub fn detached_seats(&self) -> Vec<(WorkerId, Arc<Seat<T>>)> {
        let roster = self.roster.lock();
        let numbered = roster.seats.iter().enumerate();
        numbered
            // ORDERING: Relaxed: a sample.
            .filter(|(_, seat)| seat.is_detached.load(Ordering::Relaxed))
            .map(|(number, seat)| (number as WorkerId, Arc::clone(seat)))
            .collect()
    }

    /// Asks for one more thread, when fewer than `spares` are idle or on their way and the bound
    /// allows it. True: the caller must start a thread that calls `join`, or call `dismiss`.
    pub fn wants(&self, spares: usize) -> bool {
        let mut roster = self.roster.lock();
        let wanted = !roster.is_stopped
            && roster.idle.len() + roster.recruits < spares + roster.functions.len()
            && roster.seats.len() + roster.recruits < self.workers_max;
        roster.recruits += usize::from(wanted);
        wanted
    }

    /// The thread that was asked for could not be started.
    pub fn dismiss(&self) {
        self.roster.lock().recruits -= 1;
    }

    /// The calling thread becomes a worker.
    pub fn join(&self) -> WorkerId {
        let mut roster = self.roster.lock();
        roster.recruits = roster.recruits.saturating_sub(1);
        roster.seats.push(Self::seat());
        (roster.seats.len() - 1) as WorkerId
    }

    /// Notes the calling thread as the worker's.
    pub fn sit(&self, worker: WorkerId) {
        let thread = rustix::thread::gettid().as_raw_nonzero().get() as u32;
        self.seat_of(worker).thread.store(thread, Ordering::Relaxed);
    }

    /// Takes an idle worker out, worker 0 first; the caller owes it an errand.
    pub fn pick(&self) -> Option<WorkerId> {
        let mut roster = self.roster.lock();
        if let Some(at) = roster.idle.iter().position(|&worker| worker == 0) {
            return Some(roster.idle.swap_remove(at));
        }
        roster.idle.pop()
    }

    /// Takes this worker out of the idle ones; false when it is not idle.
    pub fn pick_this(&self, worker: WorkerId) -> bool {
        let mut roster = self.roster.lock();
        let at = roster.idle.iter().position(|&other| other == worker);
        at.map(|at| roster.idle.swap_remove(at)).is_some()
    }

    /// Undoes `pick`; what came for idle workers meanwhile is not lost.
    pub fn put_back(&self, worker: WorkerId) {
        let mut roster = self.roster.lock();
        let errand = if worker == 0 {
            None
        } else if roster.is_stopped {
            Some(Errand::Stop)
        } else {
            roster.functions.pop_front().map(Errand::Function)
        };
        match errand {
            Some(errand) => {
                drop(roster);
                self.tell(worker, errand);
            }
            None => roster.idle.push(worker),
        }
    }

    /// Tells a picked worker what to do.
    pub fn tell(&self, worker: WorkerId, errand: Errand<T>) {
        self.seat_of(worker).bell.ring(|slot| {
            assert!(slot.is_none(), "a worker has two errands");
            *slot = Some(errand);
        });
    }

    /// Has the function run by an idle worker, or queues it for the next that has time.
    pub fn submit(&self, function: T) {
        // ORDERING: Relaxed: the task is alive, which is what ends a run; see `done`.
        self.functions.fetch_add(1, Ordering::Relaxed);
        let mut roster = self.roster.lock();
        let at = roster.idle.iter().rposition(|&worker| worker != 0);
        if let Some(at) = at {
            let worker = roster.idle.swap_remove(at);
            let seat = Arc::clone(&roster.seats[worker as usize]);
            drop(roster);
            seat.bell
                .ring(|slot| *slot = Some(Errand::Function(function)));
        } else {
            roster.functions.push_back(function);
        }
    }

    /// A function ended, and whom it wakes is queued.
    pub fn done(&self) {
        // ORDERING: Release pairs with the Acquire in the check for a deadlock: who sees that no
        // function runs also sees what the functions queued.
        self.functions.fetch_sub(1, Ordering::Release);
    }

    /// Waits for an errand; None when `limit` passed without one. `once_idle` runs when others can
    /// pick this worker.
    pub fn wait(
        &self,
        worker: WorkerId,
        limit: Option<Duration>,
        once_idle: impl FnOnce(),
    ) -> Option<Errand<T>> {
        let seat = {
            let mut roster = self.roster.lock();
            if roster.is_stopped && worker != 0 {
                return Some(Errand::Stop);
            }
            if worker != 0
                && let Some(function) = roster.functions.pop_front()
            {
                return Some(Errand::Function(function));
            }
            roster.idle.push(worker);
            Arc::clone(&roster.seats[worker as usize])
        };
        once_idle();
        let errand = seat.bell.wait(limit, Option::take);
        if errand.is_none() && !self.pick_this(worker) {
            // Somebody picked this worker just now: the errand is on its way.
            return seat.bell.wait(None, Option::take);
        }
        errand
    }

    /// Sends all idle workers home, and others when they become idle. Functions that nobody began
    /// are given back.
    pub fn stop(&self) -> Vec<T> {
        let mut roster = self.roster.lock();
        roster.is_stopped = true;
        let (own, others): (Vec<_>, Vec<_>) = roster.idle.drain(..).partition(|&w| w == 0);
        roster.idle = own;
        let functions = roster.functions.drain(..).collect();
        drop(roster);
        for worker in others {
            self.tell(worker, Errand::Stop);
        }
        functions
    }

    /// A thread that enters the interpreter is about to be started.
    pub fn admit(&self) -> Visit {
        self.visitors.ring(|count| *count += 1);
        Visit(Arc::clone(&self.visitors))
    }

    /// Waits until no visitor is left, at most for `limit`; the caller is not inside itself.
    pub fn wait_for_visitors(&self, limit: Duration) {
        self.visitors
            .wait(Some(limit), |count| (*count == 0).then_some(()));
    }

    /// Workers ever made, idle ones, functions that wait for a thread.
    pub fn counts(&self) -> (usize, usize, usize) {
        let roster = self.roster.lock();
        (
            roster.seats.len(),
            roster.idle.len(),
            roster.functions.len(),
        )
    }
}

impl<T> Seat<T> {
    /// CPU time that the worker's thread has used, in nanoseconds; None when it is gone.
    pub fn cpu_ns(&self) -> Option<u64> {
        let thread = self.thread.load(Ordering::Relaxed);
        // The kernel's number of a thread's CPU clock: the complement of its id, "this thread",
        // "time scheduled" (linux/posix-timers.h).
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::poller::now_ns;

    #[test]
    fn the_end_waits_for_visitors_that_leave_and_not_for_ever_for_others() {
        let crew = Crew::<()>::new(1);
        let (one, other) = (crew.admit(), crew.admit());
        let leaving = std::thread::spawn(move || drop(one));
        let began = now_ns();
        crew.wait_for_visitors(Duration::from_millis(20));
        assert!(now_ns() >= began + 20_000_000, "the other one has not left");
        leaving.join().unwrap();
        drop(other);
        crew.wait_for_visitors(Duration::from_secs(3600));
    }

    #[test]
    fn a_function_waits_for_a_worker_when_none_is_idle() {
        let crew = Crew::new(3);
        crew.submit('f');
        assert!(crew.wants(0));
        let worker = crew.join();
        assert_eq!(crew.wait(worker, None, || ()), Some(Errand::Function('f')));
        assert!(!crew.wants(0));
    }

    #[test]
    fn no_more_workers_are_wanted_than_the_bound_allows() {
        let crew = Crew::<()>::new(3);
        assert!(crew.wants(9) && crew.wants(9));
        assert!(!crew.wants(9));
        crew.dismiss();
        assert!(crew.wants(9));
    }

    #[test]
    fn a_wait_that_ends_by_its_limit_leaves_nobody_idle() {
        let crew = Crew::<()>::new(3);
        assert_eq!(crew.wait(0, Some(Duration::ZERO), || ()), None);
        assert_eq!(crew.pick(), None);
    }

    #[test]
    fn the_cpu_clock_of_a_thread_is_read_from_another() {
        let crew = Crew::<()>::new(1);
        crew.sit(0);
        let seat = crew.seat_of(0);
        let read = std::thread::spawn(move || seat.cpu_ns()).join().unwrap();
        assert!(read.is_some_and(|ns| ns > 0));
    }
}
