//! Models for the checker: an event against closing, against arming, against the next owner.

use super::descriptors::{Descriptors, Kernel, Key, Readiness, Refusal, Side};
use super::sync::{Arc, AtomicUsize, Lock, Ordering, thread};
use super::task::{Generation, Word};

const READ: Readiness = Readiness {
    read: true,
    write: false,
    is_odd: false,
};
const NUMBER: u32 = 3;

fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.check(model);
}

fn generation() -> Generation {
    let word = Word::default();
    word.start();
    word.prepare()
}

/// The kernel's list, of one descriptor, and how often it was added.
#[derive(Default)]
struct List(Lock<(Option<Key>, u32)>);

impl List {
    fn listed(&self) -> Option<Key> {
        self.0.lock().0
    }
}

impl Kernel for List {
    fn add(&self, key: Key, _number: u32) -> std::io::Result<()> {
        let mut list = self.0.lock();
        assert_eq!(list.0, None, "added twice");
        *list = (Some(key), list.1 + 1);
        Ok(())
    }

    fn remove(&self, _number: u32) {
        let removed = self.0.lock().0.take();
        assert!(removed.is_some(), "removed twice");
    }
}

#[derive(Default)]
struct World {
    list: List,
    descriptors: Descriptors<char>,
}

impl World {
    fn own(&self) -> Key {
        self.descriptors.own(&self.list, NUMBER).0.unwrap()
    }

    fn arm(&self, key: Key, task: char) -> Result<(), Refusal> {
        let armed = self
            .descriptors
            .arm(key, Side::Read, task, generation(), false);
        armed.map_err(|(refusal, _)| refusal)
    }

    /// As a poller: what the kernel lists is read first and told later.
    fn poll(&self) -> (Option<Key>, Vec<char>) {
        let read = self.list.listed();
        let over = read.map(|key| self.descriptors.event(key, READ));
        (read, over.into_iter().flat_map(names).collect())
    }
}

fn names(over: super::descriptors::Over<char>) -> Vec<char> {
    over.into_iter().flatten().map(|(task, _)| task).collect()
}

/// The number is closed and opened anew while an event is on its way.
#[test]
fn an_event_never_reaches_the_next_owner_of_a_number() {
    check(3, || {
        let world = Arc::new(World::default());
        let first = world.own();
        assert_eq!(world.arm(first, 'a'), Ok(()));
        let poller = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.poll())
        };
        let mut woken = names(world.descriptors.close(&world.list, first));
        let second = world.own();
        let armed = world.arm(second, 'b');
        let (read, told) = poller.join().unwrap();
        if read == Some(first) {
            assert!(!told.contains(&'b') && armed == Ok(()));
        }
        woken.extend(told.iter().filter(|&&task| task == 'a'));
        assert_eq!(woken, ['a'], "the first owner's wait ends once");
    });
}

/// Clear, try, arm: what comes at any moment is read, or wakes the task.
#[test]
fn no_edge_is_lost() {
    check(4, || {
        let world = Arc::new(World::default());
        let bytes = Arc::new(Lock::new(0));
        let key = world.own();
        let sender = {
            let (world, bytes) = (Arc::clone(&world), Arc::clone(&bytes));
            thread::spawn(move || {
                *bytes.lock() += 1;
                world.poll().1
            })
        };
        let is_read = loop {
            world.descriptors.clear(key, Side::Read);
            if *bytes.lock() > 0 {
                break true;
            }
            match world.arm(key, 'a') {
                Ok(()) => break false,
                Err(refusal) => assert_eq!(refusal, Refusal::Ready),
            }
        };
        let told = sender.join().unwrap();
        assert!(is_read || told == ['a']);
    });
}

/// Who is armed when a descriptor is closed is woken; who comes later is refused.
#[test]
fn closing_leaves_nobody_waiting() {
    check(4, || {
        let world = Arc::new(World::default());
        let key = world.own();
        let closer = {
            let world = Arc::clone(&world);
            thread::spawn(move || names(world.descriptors.close(&world.list, key)))
        };
        let armed = world.arm(key, 'a');
        let woken = closer.join().unwrap();
        match armed {
            Ok(()) => assert_eq!(woken, ['a']),
            Err(refusal) => assert!(refusal == Refusal::Closed && woken.is_empty()),
        }
        assert_eq!(world.arm(key, 'b'), Err(Refusal::Closed));
    });
}

/// Several share a descriptor: it is listed while one of them does, and once.
#[test]
fn the_last_of_several_users_ends_the_watch() {
    check(4, || {
        let world = Arc::new(World::default());
        let users = (0..2).map(|_| {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                let key = world.descriptors.share(&world.list, NUMBER).unwrap();
                assert_eq!(world.list.listed(), Some(key));
                world.descriptors.release(&world.list, key);
            })
        });
        for user in users.collect::<Vec<_>>() {
            user.join().unwrap();
        }
        assert_eq!(world.list.listed(), None);
        assert!(world.descriptors.key_of(NUMBER).is_none());
    });
}

/// Who finds that nobody waits any more finds the tasks in their queue: else it is a deadlock.
#[test]
fn a_wait_is_counted_until_its_task_is_queued() {
    check(4, || {
        let world = Arc::new(World::default());
        let queued = Arc::new(AtomicUsize::new(0));
        let key = world.own();
        assert_eq!(world.arm(key, 'a'), Ok(()));
        let poller = {
            let (world, queued) = (Arc::clone(&world), Arc::clone(&queued));
            thread::spawn(move || {
                let (_, told) = world.poll();
                queued.store(told.len(), Ordering::Relaxed);
                world.descriptors.note_woken(told.len());
            })
        };
        if !world.descriptors.is_armed() {
            assert_eq!(queued.load(Ordering::Relaxed), 1);
        }
        poller.join().unwrap();
        assert!(!world.descriptors.is_armed());
    });
}
