//! The workers of a machine: who is idle, who is detached, and which functions wait for a thread.

use std::collections::VecDeque;
use std::time::Duration;

use super::processor::WorkerId;
use super::sync::{Arc, AtomicBool, AtomicU32, AtomicUsize, Bell, Lock, Ordering, Spin};
use super::thread;

/// What an idle worker is told to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Errand<T> {
    /// It owns the processor: accept it and run tasks.
    Processor,
    /// As `Processor`, which was taken from that worker's step.
    Taken(WorkerId),
    /// Run this function, without a processor.
    Function(T),
    /// Ask for the interpreter: the processor may follow, see [`Crew::end_attendance`].
    Attend,
    /// End the thread.
    Stop,
}

/// One worker's place: its thread and where it is told what to do.
pub struct Seat<T> {
    bell: Bell<Option<Errand<T>>>,
    spin: Spin,
    thread: AtomicU32,
    /// Its step lost the processor and has not ended.
    pub is_detached: AtomicBool,
    /// It was told to attend and has not come back.
    is_attending: AtomicBool,
}

/// What keeps tasks on one worker.
struct Bond<T> {
    /// It has not asked for an errand yet.
    is_new: bool,
    /// Runnable tasks that must run there and wait until it is free.
    // Bound: the number of live tasks.
    tasks: VecDeque<T>,
    /// Tasks that want nobody else there.
    locks: u32,
}

struct Roster<T> {
    seats: Vec<Arc<Seat<T>>>,
    // Invariant: as long as `seats`.
    bonds: Vec<Bond<T>>,
    // Invariant: a worker in `idle` has no errand but to attend, and whoever takes it out gives it
    // one.
    idle: Vec<WorkerId>,
    /// Threads that were asked for and have no seat yet.
    recruits: usize,
    /// Those, and threads that have a seat and have not asked for an errand yet.
    coming: usize,
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
    /// Tasks in `Bond::tasks`, and all `Bond::locks`: while both are 0, no bond is looked at.
    bound: AtomicUsize,
    locks: AtomicUsize,
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

/// So long an idle worker looks for an errand before it sleeps: a wake-up costs about as much.
const SPIN_NS: u64 = 15_000;

impl<T> Crew<T> {
    /// A crew with worker 0, of at most `workers_max` workers.
    #[must_use]
    pub fn new(workers_max: usize) -> Self {
        Self {
            roster: Lock::new(Roster {
                seats: vec![Self::seat()],
                bonds: vec![Bond::default()],
                idle: Vec::new(),
                recruits: 0,
                coming: 0,
                is_stopped: false,
                functions: VecDeque::new(),
            }),
            workers_max,
            detached: AtomicUsize::new(0),
            functions: AtomicUsize::new(0),
            bound: AtomicUsize::new(0),
            locks: AtomicUsize::new(0),
            visitors: Arc::default(),
        }
    }

    fn seat() -> Arc<Seat<T>> {
        Arc::new(Seat {
            bell: Bell::default(),
            spin: Spin::default(),
            thread: AtomicU32::new(0),
            is_detached: AtomicBool::new(false),
            is_attending: AtomicBool::new(false),
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
        let idle = roster.idle.iter();
        let free = idle.filter(|&&worker| !roster.is_locked(worker)).count();
        let wanted = !roster.is_stopped
            && free + roster.coming < spares + roster.functions.len()
            && roster.seats.len() + roster.recruits < self.workers_max;
        roster.recruits += usize::from(wanted);
        roster.coming += usize::from(wanted);
        wanted
    }

    /// The thread that was asked for could not be started.
    pub fn dismiss(&self) {
        let mut roster = self.roster.lock();
        roster.recruits -= 1;
        roster.coming -= 1;
    }

    /// The calling thread becomes a worker.
    pub fn join(&self) -> WorkerId {
        let mut roster = self.roster.lock();
        roster.recruits = roster.recruits.saturating_sub(1);
        roster.seats.push(Self::seat());
        roster.bonds.push(Bond {
            is_new: true,
            ..Bond::default()
        });
        (roster.seats.len() - 1) as WorkerId
    }

    /// Notes the calling thread as the worker's.
    pub fn sit(&self, worker: WorkerId) {
        let seat = self.seat_of(worker);
        seat.thread.store(thread::number(), Ordering::Relaxed);
    }

    /// Takes an idle worker out that no task has locked, worker 0 first; the caller owes it an
    /// errand.
    pub fn pick(&self) -> Option<WorkerId> {
        let mut roster = self.roster.lock();
        let is_free = |worker: &WorkerId| roster.bonds[*worker as usize].locks == 0;
        let first = roster.idle.iter().position(|worker| *worker == 0);
        let at = first.filter(|&at| is_free(&roster.idle[at]));
        let at = at.or_else(|| roster.idle.iter().rposition(is_free))?;
        Some(roster.idle.swap_remove(at))
    }

    /// Takes this worker out of the idle ones; false when it is not idle.
    pub fn pick_this(&self, worker: WorkerId) -> bool {
        let mut roster = self.roster.lock();
        let at = roster.idle.iter().position(|&other| other == worker);
        at.map(|at| roster.idle.swap_remove(at)).is_some()
    }

    /// Tells an idle worker to attend, if there is one beside worker 0, whose wait is another.
    pub fn prompt(&self) -> Option<WorkerId> {
        let worker = {
            let mut roster = self.roster.lock();
            let is_free = |&worker: &WorkerId| worker != 0 && !roster.is_locked(worker);
            let at = roster.idle.iter().rposition(is_free)?;
            roster.idle.swap_remove(at)
        };
        self.seat_of(worker)
            .is_attending
            .store(true, Ordering::Relaxed);
        self.tell(worker, Errand::Attend);
        Some(worker)
    }

    pub fn is_attending(&self, worker: WorkerId) -> bool {
        self.seat_of(worker).is_attending.load(Ordering::Relaxed)
    }

    /// Asked by the worker once it has the interpreter, and by the monitor when it has an errand
    /// for it: true for the first of the two. The monitor then owes it the errand, and the
    /// worker, if it comes second, waits for it.
    pub fn end_attendance(&self, worker: WorkerId) -> bool {
        // ORDERING: Relaxed: one word decides; the errand itself comes through the bell.
        self.seat_of(worker)
            .is_attending
            .swap(false, Ordering::Relaxed)
    }

    /// The worker has what it was to ask for; gives what it was told meanwhile. None: nothing, it
    /// goes back and waits. `await_errand` calls the method of that name as one that may block.
    pub fn attended(
        &self,
        worker: WorkerId,
        await_errand: impl Fn() -> Option<Errand<T>>,
    ) -> Option<Errand<T>> {
        // Bound: once for each time that it was told to attend.
        while !self.end_attendance(worker) {
            // The processor, mostly. But where the step ended just now, this worker is idle again,
            // and may even be told to attend to the next.
            let at_once = self
                .seat_of(worker)
                .bell
                .wait(Some(Duration::ZERO), Option::take);
            match at_once.or_else(&await_errand) {
                Some(Errand::Attend) => {}
                errand => return errand,
            }
        }
        None
    }

    /// Waits for the next errand: the worker is idle, or one is on its way.
    pub fn await_errand(&self, worker: WorkerId) -> Option<Errand<T>> {
        self.seat_of(worker).bell.wait(None, Option::take)
    }

    /// Undoes `pick`; what came for idle workers meanwhile is not lost. True: the worker has bound
    /// tasks and wants the processor.
    pub fn put_back(&self, worker: WorkerId) -> bool {
        let mut roster = self.roster.lock();
        let errand = if worker == 0 {
            None
        } else if roster.is_stopped {
            Some(Errand::Stop)
        } else {
            roster.functions.pop_front().map(Errand::Function)
        };
        if let Some(errand) = errand {
            drop(roster);
            self.tell(worker, errand);
            return false;
        }
        roster.idle.push(worker);
        roster.has_bound(worker)
    }

    /// Tells a picked worker what to do.
    pub fn tell(&self, worker: WorkerId, errand: Errand<T>) {
        self.seat_of(worker).bell.ring(|slot| {
            // It may not even have begun to attend.
            let is_free = matches!(slot, None | Some(Errand::Attend));
            assert!(is_free, "a worker has two errands");
            *slot = Some(errand);
        });
    }

    /// Has the function run by an idle worker, or queues it for the next that has time.
    pub fn submit(&self, function: T) {
        // ORDERING: Relaxed: the task is alive, which is what ends a run; see `done`.
        self.functions.fetch_add(1, Ordering::Relaxed);
        let mut roster = self.roster.lock();
        let is_free = |&worker: &WorkerId| worker != 0 && !roster.is_locked(worker);
        let at = roster.idle.iter().rposition(is_free);
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
    /// pick this worker, or when it has its errand; it is told whether the worker has bound tasks
    /// and wants the processor.
    pub fn wait(
        &self,
        worker: WorkerId,
        limit: Option<Duration>,
        once_idle: impl FnOnce(bool),
    ) -> Option<Errand<T>> {
        let (seat, at_once, rings, wants) = {
            let mut roster = self.roster.lock();
            if std::mem::take(&mut roster.bonds[worker as usize].is_new) {
                roster.coming = roster.coming.saturating_sub(1);
            }
            let seat = Arc::clone(&roster.seats[worker as usize]);
            let at_once = match worker {
                0 => None,
                _ if roster.is_stopped => Some(Errand::Stop),
                _ if roster.is_locked(worker) => None,
                _ => roster.functions.pop_front().map(Errand::Function),
            };
            if at_once.is_none() {
                roster.idle.push(worker);
            }
            let rings = seat.bell.rings();
            (seat, at_once, rings, roster.has_bound(worker))
        };
        once_idle(wants);
        if at_once.is_some() {
            return at_once;
        }
        if limit.is_none() {
            // A function that was awaited is often followed by another.
            seat.spin.until(SPIN_NS, || seat.bell.rings() != rings);
        }
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

// ---- tasks that must run on one worker ---------------------------------------------------------

impl<T> Default for Bond<T> {
    fn default() -> Self {
        Self {
            is_new: false,
            tasks: VecDeque::new(),
            locks: 0,
        }
    }
}

impl<T> Roster<T> {
    fn has_bound(&self, worker: WorkerId) -> bool {
        !self.bonds[worker as usize].tasks.is_empty()
    }

    fn is_locked(&self, worker: WorkerId) -> bool {
        self.bonds[worker as usize].locks > 0
    }

    /// An idle worker that wants the processor, but for `owner`, who has it: one with bound tasks,
    /// or worker 0.
    fn claimant(&self, owner: WorkerId) -> Option<usize> {
        let others = |worker: &WorkerId| *worker != owner;
        let bound = |worker: &WorkerId| others(worker) && self.has_bound(*worker);
        let first = |worker: &WorkerId| others(worker) && *worker == 0 && !self.is_locked(0);
        let idle = &self.idle;
        let at = idle.iter().position(bound);
        at.or_else(|| idle.iter().position(first))
    }
}

impl<T> Crew<T> {
    /// Queues a runnable task that must run on that worker. True: it was idle, and the caller owes
    /// it the processor.
    pub fn bind(&self, worker: WorkerId, task: T) -> bool {
        let mut roster = self.roster.lock();
        roster.bonds[worker as usize].tasks.push_back(task);
        self.bound.fetch_add(1, Ordering::Relaxed);
        let at = roster.idle.iter().position(|&idle| idle == worker);
        at.map(|at| roster.idle.swap_remove(at)).is_some()
    }

    /// The next of the tasks that must run on this worker.
    pub fn pop_bound(&self, worker: WorkerId) -> Option<T> {
        let task = self.roster.lock().bonds[worker as usize].tasks.pop_front();
        self.bound
            .fetch_sub(usize::from(task.is_some()), Ordering::Relaxed);
        task
    }

    /// Runnable tasks that wait for their worker.
    #[inline]
    pub fn bound(&self) -> usize {
        self.bound.load(Ordering::Relaxed)
    }

    pub fn has_bound(&self, worker: WorkerId) -> bool {
        self.bound() > 0 && self.roster.lock().has_bound(worker)
    }

    /// A task wants nobody else on that worker (1), or no longer (-1).
    pub fn lock(&self, worker: WorkerId, change: i32) {
        let mut roster = self.roster.lock();
        let locks = &mut roster.bonds[worker as usize].locks;
        *locks = locks.saturating_add_signed(change);
        let all = roster.bonds.iter().map(|bond| bond.locks as usize).sum();
        self.locks.store(all, Ordering::Relaxed);
    }

    /// The end of a run asks for every thread.
    pub fn unlock_all(&self) {
        if self.locks.swap(0, Ordering::Relaxed) > 0 {
            let mut roster = self.roster.lock();
            roster.bonds.iter_mut().for_each(|bond| bond.locks = 0);
        }
    }

    /// Whether a task wants nobody else on that worker.
    #[inline]
    pub fn is_locked(&self, worker: WorkerId) -> bool {
        self.locks.load(Ordering::Relaxed) > 0 && self.roster.lock().is_locked(worker)
    }

    /// Whether a thread was asked for that has not asked for an errand yet.
    pub fn is_one_coming(&self) -> bool {
        self.roster.lock().coming > 0
    }

    /// Takes an idle worker out that wants the processor, and tells whether another one does.
    pub fn pick_claimant(&self, owner: WorkerId) -> (Option<WorkerId>, bool) {
        let mut roster = self.roster.lock();
        let picked = roster.claimant(owner);
        let picked = picked.map(|at| roster.idle.swap_remove(at));
        (picked, roster.claimant(owner).is_some())
    }
}

impl<T> Seat<T> {
    /// CPU time that the worker's thread has used, in nanoseconds; None when it is gone.
    pub fn cpu_ns(&self) -> Option<u64> {
        thread::cpu_ns(self.thread.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
#[path = "crew_tests.rs"]
mod tests;
