//! The monitor: one thread for all runtimes of the process, which takes the processor out of steps
//! that last too long.
//!
//! It reads no clock of the workers: a word that is the same at two looks is the same step. CPU
//! clocks of the workers' threads tell a step that burns from one that is blocked in a call. It
//! never touches Python, so nothing that holds the interpreter can delay it. When all runtimes
//! are parked it sleeps until one of them is not.

use std::time::Duration;

use super::crew::Errand;
use super::machine::{Machine, Task};
use super::poller::now_ns;
use super::processor::{Phase, Seen, WorkerId};
use super::queue::census::Census;
use super::queue::executor::Executor;
use super::sync::{Arc, AtomicBool, AtomicPtr, Bell, Ordering, Weak, fence};
use super::thread::Slack;
use super::trace::schedtrace::{self, Sched, Schedule};
use super::trace::stalls::Stall;

/// The time between two looks while steps are detached.
const SHORT_NS: u64 = 250_000;
/// The same for so long after a hand-off: one blocked step is often the first of many.
const SHORTEST_NS: u64 = 50_000;
const MANY_NS: u64 = 10_000_000;
/// The burning ones are counted at most this often.
const COUNT_NS: u64 = 1_000_000;
/// A detached worker that used CPU time this recently burns.
const BURNING_NS: u64 = 20_000_000;
/// After so many times the allowed length, a step that could not be detached is reported.
const LATE_STALLS: u64 = 4;
/// At most so many idle workers beside the first are kept while steps are detached.
const SPARES_MAX: usize = 15;
/// So many looks at parked runtimes before the monitor sleeps.
const IDLE_LOOKS: u32 = 20;

/// What the monitor found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulse {
    /// Parked: nothing can stall.
    Idle,
    /// Look again within this time.
    Busy { again_ns: u64 },
}

impl Pulse {
    fn sooner(self, other: Self) -> Self {
        match (self, other) {
            (Self::Idle, pulse) | (pulse, Self::Idle) => pulse,
            (Self::Busy { again_ns: one }, Self::Busy { again_ns: other }) => Self::Busy {
                again_ns: one.min(other),
            },
        }
    }
}

/// What the monitor looks after.
pub trait Watched: Send + Sync {
    fn look(&self, now_ns: u64) -> Pulse;
}

/// Has so many threads started, elsewhere; never blocks.
pub type Recruit = dyn Fn(usize) + Send + Sync;

/// One runtime's part of the monitor's memory.
#[derive(Default)]
pub struct Watch {
    step: Option<Step>,
    /// When the last step lost its processor.
    handed_ns: u64,
    /// Detached workers that burn, as counted then: a reading of each one's clock costs a call.
    burning: u64,
    counted_ns: u64,
    burners: Vec<Burner>,
    recruit: Option<Arc<Recruit>>,
    /// Who was told to attend.
    attending: Option<WorkerId>,
    schedule: Option<Schedule>,
}

impl Watch {
    fn short_ns(&self, now_ns: u64) -> u64 {
        if now_ns < self.handed_ns + MANY_NS {
            SHORTEST_NS
        } else {
            SHORT_NS
        }
    }

    /// Until the step that was seen has lasted so long; longer where it has already.
    fn left_ns(&self, now_ns: u64, allowed_ns: u64) -> u64 {
        let until_ns = self.step.as_ref().map(|step| step.since_ns + allowed_ns);
        let until_ns = until_ns.filter(|&until| until > now_ns);
        until_ns.map_or(u64::MAX, |until| (until - now_ns).max(SHORTEST_NS))
    }
}

struct Step {
    seen: Seen,
    since_ns: u64,
    looked_ns: u64,
    cpu_ns: u64,
    is_counted: bool,
    is_noted: bool,
}

struct Burner {
    worker: WorkerId,
    cpu_ns: u64,
    ran_ns: u64,
}

impl<T: Task> Machine<T> {
    /// Tells the monitor how a further worker is started.
    pub fn set_recruit(&self, recruit: Arc<Recruit>) {
        self.watch.lock().recruit = Some(recruit);
    }

    /// Has a line on stderr written every so often, from now on; see `trace::schedtrace`.
    pub fn set_schedtrace(&self, every_ns: u64) {
        self.watch.lock().schedule = Some(Schedule::new(now_ns(), every_ns));
    }

    /// Writes the line when it is due; how long until the next one, if there are any.
    fn schedtrace(&self, watch: &mut Watch, seen: Seen, now_ns: u64) -> Option<u64> {
        let schedule = watch.schedule.as_mut()?;
        if schedule.is_due(now_ns) {
            let since_start_ms = now_ns.saturating_sub(schedule.began_ns) / 1_000_000;
            schedtrace::write_line(&self.sched(seen, since_start_ms));
        }
        Some(schedule.left_ns(now_ns))
    }

    fn sched(&self, seen: Seen, since_start_ms: u64) -> Sched {
        let (workers, idle_threads, _) = self.crew.counts();
        let (local, global) = self.queued();
        let none = || {
            let processors = self.native.processors();
            Census {
                idle: processors,
                queued: vec![0; processors],
                ticks: vec![0; processors],
                ..Census::default()
            }
        };
        let native = self.native.known().map_or_else(none, Executor::census);
        Sched {
            since_start_ms,
            idle_processors: usize::from(seen.phase == Phase::Parked) + native.idle,
            threads: workers + native.workers + 1,
            spinning_threads: native.spinning,
            idle_threads: idle_threads + native.workers_idle,
            global: global + native.queued_global,
            local: [local].into_iter().chain(native.queued).collect(),
            steps: [seen.steps].into_iter().chain(native.ticks).collect(),
        }
    }

    /// Detached workers that used CPU time lately.
    fn burners(&self, watch: &mut Watch, now_ns: u64) -> u64 {
        if now_ns < watch.counted_ns + COUNT_NS {
            return watch.burning;
        }
        watch.counted_ns = now_ns;
        let detached = self.crew.detached_seats();
        let known = std::mem::take(&mut watch.burners);
        for (worker, seat) in detached {
            let Some(cpu_ns) = seat.cpu_ns() else {
                continue;
            };
            let before = known.iter().find(|burner| burner.worker == worker);
            let has_run = before.is_none_or(|burner| cpu_ns > burner.cpu_ns + SHORT_NS / 10);
            let ran_ns = match before {
                Some(burner) if !has_run => burner.ran_ns,
                Some(_) => now_ns,
                // Detached just now: whether it burns is seen at the next looks.
                None => 0,
            };
            watch.burners.push(Burner {
                worker,
                cpu_ns,
                ran_ns,
            });
        }
        let burning = |burner: &&Burner| now_ns < burner.ran_ns + BURNING_NS;
        watch.burning = watch.burners.iter().filter(burning).count() as u64;
        watch.burning
    }

    /// How long the step may last, from whether it and the detached ones use the CPU.
    fn allowed_ns(&self, watch: &mut Watch, now_ns: u64, is_off_cpu: bool) -> u64 {
        if self.crew.detached.load(Ordering::Relaxed) == 0 {
            return self.settings.stall_ns;
        }
        let burners = self.burners(watch, now_ns);
        if burners == 0 && is_off_cpu {
            return watch.short_ns(now_ns);
        }
        // A step that only waits its turn among the burners must not lose the processor for it.
        let interval = self.switch_interval_ns.load(Ordering::Relaxed);
        self.settings.stall_ns.max((burners + 2) * interval)
    }

    fn look_at(&self, watch: &mut Watch, seen: Seen, now_ns: u64) {
        let cpu_ns = self.crew.seat_of(seen.owner).cpu_ns().unwrap_or(0);
        let Some(step) = watch.step.as_mut().filter(|step| step.seen == seen) else {
            watch.step = Some(Step {
                seen,
                since_ns: now_ns,
                looked_ns: now_ns,
                cpu_ns,
                is_counted: false,
                is_noted: false,
            });
            return;
        };
        let passed = now_ns.saturating_sub(step.looked_ns);
        let is_off_cpu = cpu_ns.saturating_sub(step.cpu_ns) < passed / 8;
        step.looked_ns = now_ns;
        step.cpu_ns = cpu_ns;
        let lasted = now_ns.saturating_sub(step.since_ns);
        let is_paused = self.pauses.load(Ordering::Relaxed) != 0;
        let stall = Stall {
            worker: seen.owner,
            task: self.trace.track(seen.owner).running(),
            lasted_ns: lasted,
            is_detached: true,
            is_off_cpu,
            is_paused,
            at_ns: now_ns,
        };
        if !is_off_cpu && !is_paused && self.has_work() {
            self.prompt(watch);
        }
        // Ready descriptors are work that waits, too; finding out costs a call, so it comes last.
        let is_due = lasted >= SHORTEST_NS
            && (self.has_work() || self.descriptors.is_armed())
            && lasted >= self.allowed_ns(watch, now_ns, is_off_cpu);
        let has_found = self.poll_for_others(now_ns, is_due && !is_paused);
        if !is_due || !(has_found || self.has_work()) {
            return;
        }
        let has_moved = !is_paused && self.hand_off(watch, seen, stall);
        if has_moved && !is_off_cpu {
            // Known at once: the steps after it wait their turn for the interpreter.
            watch.burning += 1;
            watch.burners.push(Burner {
                worker: seen.owner,
                cpu_ns,
                ran_ns: now_ns,
            });
        }
        if !has_moved {
            self.count_stall(watch, stall);
        }
    }

    /// The step keeps its processor although others wait.
    fn count_stall(&self, watch: &mut Watch, stall: Stall) {
        let Some(step) = &mut watch.step else { return };
        if !std::mem::replace(&mut step.is_counted, true) {
            self.counters.stalls.fetch_add(1, Ordering::Relaxed);
        }
        // A worker that is on its way comes before this: then the step does lose its processor.
        let is_final = !self.settings.hand_off
            || stall.is_paused
            || stall.lasted_ns >= LATE_STALLS * self.settings.stall_ns;
        // ORDERING: see `Processor::seen`: it is the same step, so the task that was read is its.
        if is_final && !step.is_noted && self.processor.seen() == step.seen {
            step.is_noted = true;
            self.trace.stalls.add(Stall {
                is_detached: false,
                ..stall
            });
        }
    }

    /// A step that burns may soon lose its processor, and keeps the interpreter for a switch
    /// interval after somebody asked for it: an idle worker asks now.
    fn prompt(&self, watch: &mut Watch) {
        // While steps are detached the interval is short.
        let is_short = self.crew.detached.load(Ordering::Relaxed) > 0;
        let is_attended = |worker| self.crew.is_attending(worker);
        if !self.settings.hand_off || is_short || watch.attending.is_some_and(is_attended) {
            return;
        }
        watch.attending = self.crew.prompt();
    }

    /// The worker that was prompted, if it still waits for the interpreter; it is owed an errand.
    fn attending(&self, watch: &mut Watch) -> Option<WorkerId> {
        let worker = watch.attending.take()?;
        self.crew.end_attendance(worker).then_some(worker)
    }

    /// Gives the processor of that step to an idle worker; false when there is none.
    fn hand_off(&self, watch: &mut Watch, seen: Seen, stall: Stall) -> bool {
        if !self.settings.hand_off || seen.steps == self.spared.load(Ordering::Relaxed) {
            return false;
        }
        let spare = self.attending(watch).or_else(|| self.crew.pick());
        if let Some(to) = spare {
            let seat = self.crew.seat_of(seen.owner);
            // Before the exchange: the worker that finds its processor gone takes these back.
            self.crew.detached.fetch_add(1, Ordering::Relaxed);
            seat.is_detached.store(true, Ordering::Relaxed);
            if self.processor.take(seen, to) {
                self.counters.hand_offs.fetch_add(1, Ordering::Relaxed);
                watch.handed_ns = stall.at_ns;
                self.trace.handed_off(stall.task, stall.worker, to);
                self.trace.stalls.add(stall);
                self.crew.tell(to, Errand::Taken(seen.owner));
            } else {
                seat.is_detached.store(false, Ordering::Relaxed);
                self.crew.detached.fetch_sub(1, Ordering::Relaxed);
                if self.crew.put_back(to) {
                    self.want();
                }
            }
            watch.step = None;
        }
        // One detached step is often the first of many: as many spares as there are of them.
        let spares = 1 + self.crew.detached.load(Ordering::Relaxed).min(SPARES_MAX);
        // Several at once where many are kept: whoever starts them needs the interpreter.
        let mut wanted = usize::from(self.crew.wants(spares - spares / 4));
        while wanted > 0 && self.crew.wants(spares) {
            wanted += 1;
        }
        if let Some(recruit) = &watch.recruit
            && wanted > 0
        {
            recruit(wanted);
        }
        spare.is_some()
    }
}

impl<T: Task> Machine<T> {
    /// The monitor's look at this runtime.
    pub fn look_after(&self, now_ns: u64) -> Pulse {
        let native = self.native.look_after(now_ns);
        let seen = self.processor.seen();
        let mut watch = self.watch.lock();
        let line_ns = self.schedtrace(&mut watch, seen, now_ns);
        let line = line_ns.map_or(Pulse::Idle, |again_ns| Pulse::Busy { again_ns });
        match seen.phase {
            Phase::Parked => {
                watch.step = None;
                return line.sooner(native);
            }
            Phase::Step => {
                self.hurry(now_ns);
                self.look_at(&mut watch, seen, now_ns);
            }
            Phase::Core | Phase::Granted => watch.step = None,
        }
        let again_ns = if self.crew.detached.load(Ordering::Relaxed) > 0 {
            watch.short_ns(now_ns)
        } else {
            let often_ns = (self.settings.stall_ns / 5).max(SHORT_NS);
            // Not later than the step that goes on may last.
            often_ns.min(watch.left_ns(now_ns, self.settings.stall_ns))
        };
        Pulse::Busy { again_ns }.sooner(line).sooner(native)
    }
}

// ---- the thread ------------------------------------------------------------------------------

#[derive(Default)]
struct Register {
    watched: Vec<Weak<dyn Watched>>,
    is_running: bool,
    is_rung: bool,
}

/// This process's register. The child of a fork gets a new one: the lock of the old one may be held
/// for ever, by a thread that the child does not have.
fn register() -> &'static Bell<Register> {
    static CURRENT: AtomicPtr<(u32, Bell<Register>)> = AtomicPtr::new(std::ptr::null_mut());
    let process = std::process::id();
    // ORDERING: Acquire pairs with the Release of the exchange below.
    let mut found = CURRENT.load(Ordering::Acquire);
    loop {
        // SAFETY: null, or from `Box::into_raw` below; what was published is never freed.
        match unsafe { found.as_ref() } {
            Some((owner, register)) if *owner == process => return register,
            _ => {}
        }
        let made = Box::into_raw(Box::new((process, Bell::default())));
        // ORDERING: Release publishes the new register, Acquire takes another thread's.
        let exchanged = CURRENT.compare_exchange(found, made, Ordering::AcqRel, Ordering::Acquire);
        found = match exchanged {
            Ok(_) => made,
            Err(other) => {
                // SAFETY: it was not published, so nobody else has it.
                drop(unsafe { Box::from_raw(made) });
                other
            }
        };
    }
}

static ASLEEP: AtomicBool = AtomicBool::new(false);

/// A runtime is no longer parked.
pub fn wake() {
    // ORDERING: SeqCst against the fence in `run`: either this sees that the monitor sleeps, or
    // the monitor's last look sees the processor's word as it is now.
    fence(Ordering::SeqCst);
    if ASLEEP.load(Ordering::Relaxed) && ASLEEP.swap(false, Ordering::Relaxed) {
        register().ring(|register| register.is_rung = true);
    }
}

/// Looks after a runtime until `unwatch`, or until it is dropped. The monitor's thread inherits the
/// caller's signal mask: block all signals around the call.
///
/// # Panics
/// When no thread can be started.
pub fn watch(watched: Weak<dyn Watched>) {
    let mut must_start = false;
    register().ring(|register| {
        register.watched.push(watched);
        register.is_rung = true;
        must_start = !std::mem::replace(&mut register.is_running, true);
    });
    if must_start {
        let thread = std::thread::Builder::new().name("herz-sysmon".to_owned());
        thread.spawn(run).expect("a thread for the monitor");
    }
}

/// Looks after this runtime no longer, though others may still hold it; without any, the monitor
/// ends.
pub fn unwatch(ended: &Weak<dyn Watched>) {
    register().ring(|register| {
        register.watched.retain(|watched| !watched.ptr_eq(ended));
        register.is_rung = true;
    });
}

fn run() {
    let _slack = Slack::least();
    let mut idle_looks = 0;
    loop {
        let mut alive = Vec::new();
        register().ring(|register| {
            register
                .watched
                .retain(|watched| watched.strong_count() > 0);
            alive.extend(register.watched.iter().filter_map(Weak::upgrade));
            register.is_running = !alive.is_empty();
        });
        if alive.is_empty() {
            return;
        }
        let may_sleep = idle_looks >= IDLE_LOOKS;
        if may_sleep {
            ASLEEP.store(true, Ordering::Relaxed);
            // ORDERING: see `wake`.
            fence(Ordering::SeqCst);
        }
        let again_ns = look_at_all(&alive);
        // Dropped before the wait: a runtime must be able to end.
        drop(alive);
        let limit = match again_ns {
            None if may_sleep => None,
            None => Some(Duration::from_millis(1)),
            Some(again_ns) => Some(Duration::from_nanos(again_ns)),
        };
        idle_looks = if again_ns.is_none() {
            idle_looks + 1
        } else {
            0
        };
        let take =
            |register: &mut Register| std::mem::replace(&mut register.is_rung, false).then_some(());
        register().wait(limit, take);
        if may_sleep {
            ASLEEP.store(false, Ordering::Relaxed);
            idle_looks = 0;
        }
    }
}

/// The shortest time after which one of them wants to be looked at; None when all are parked.
fn look_at_all(alive: &[Arc<dyn Watched>]) -> Option<u64> {
    let now = now_ns();
    let pulses = alive.iter().map(|watched| watched.look(now));
    pulses
        .filter_map(|pulse| match pulse {
            Pulse::Idle => None,
            Pulse::Busy { again_ns } => Some(again_ns),
        })
        .min()
}
