//! Relays between sockets of this process.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::num::NonZeroUsize;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::*;

fn executor() -> Executor {
    Executor::alone(NonZeroUsize::new(2).unwrap(), 3)
}

/// A relay between two new connections, whose other ends come back.
fn relay(
    executor: &Executor,
    received: &[u8],
    limit_ns: Option<u64>,
) -> (Arc<Relay>, [UnixStream; 2], Receiver<Outcome>) {
    let pairs = [UnixStream::pair().unwrap(), UnixStream::pair().unwrap()];
    let [(near, first), (far, second)] = pairs;
    let end = |socket: UnixStream, received: &[u8]| {
        socket.set_nonblocking(true).unwrap();
        End {
            socket: socket.into(),
            received: received.to_vec(),
        }
    };
    let (tell, told) = channel();
    let ended = Box::new(move |outcome| tell.send(outcome).unwrap());
    let ends = [end(near, received), end(far, b"")];
    let relay = Relay::start(executor, ends, limit_ns, ended).unwrap();
    (relay, [first, second], told)
}

#[test]
fn all_bytes_go_both_ways_and_each_end_is_passed_on() {
    const BYTES: usize = 3_000_000;
    let executor = executor();
    let (_, [first, second], told) = relay(&executor, b"before ", None);
    let pump = |mut stream: UnixStream, byte: u8| {
        std::thread::spawn(move || {
            let mut writer = stream.try_clone().unwrap();
            // More than the kernel holds: the writer waits for the reader behind the relay.
            let writing = std::thread::spawn(move || {
                writer.write_all(&vec![byte; BYTES]).unwrap();
                writer.shutdown(Shutdown::Write).unwrap();
            });
            let mut seen = Vec::new();
            stream.read_to_end(&mut seen).unwrap();
            writing.join().unwrap();
            seen
        })
    };
    let (first, second) = (pump(first, 1), pump(second, 2));
    let to_second = second.join().unwrap();
    assert_eq!(&to_second[..7], b"before ");
    assert_eq!(to_second[7..], vec![1; BYTES]);
    assert_eq!(first.join().unwrap(), vec![2; BYTES]);
    let (bytes, cause) = told.recv().unwrap();
    assert_eq!(bytes, [BYTES as u64 + 7, BYTES as u64]);
    assert!(cause.is_none());
    drop(executor.finish());
}

#[test]
fn one_side_may_end_long_before_the_other() {
    let executor = executor();
    let (_, [first, mut second], told) = relay(&executor, b"", None);
    first.shutdown(Shutdown::Write).unwrap();
    assert_eq!(second.read(&mut [0; 9]).unwrap(), 0);
    second.write_all(b"answer").unwrap();
    drop(second);
    let mut answer = String::new();
    (&first).read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "answer");
    assert_eq!(told.recv().unwrap().0, [0, 6]);
    drop(executor.finish());
}

#[test]
fn silence_ends_it_but_only_on_both_sides() {
    const LIMIT_NS: u64 = 40_000_000;
    let executor = executor();
    let began = now_ns();
    let (_, [mut first, mut second], told) = relay(&executor, b"", Some(LIMIT_NS));
    let mut spoke = began;
    while now_ns() < began + 2 * LIMIT_NS {
        spoke = now_ns();
        if first.write_all(b"x").is_err() || second.read(&mut [0; 9]).unwrap() == 0 {
            break; // this thread was kept from the CPU for longer than that
        }
    }
    let (_, cause) = told.recv_timeout(Duration::from_secs(60)).unwrap();
    assert!(matches!(cause, Some(Cause::Silent)), "{cause:?}");
    assert!(now_ns() >= spoke + LIMIT_NS);
    assert_eq!(first.read(&mut [0; 9]).unwrap(), 0, "it is closed");
    drop(executor.finish());
}

#[test]
fn an_error_of_one_side_ends_both_and_is_told() {
    let executor = executor();
    let (_, [first, mut second], told) = relay(&executor, b"", None);
    // What nobody will read: the next write is refused.
    second.shutdown(Shutdown::Read).unwrap();
    (&first).write_all(b"x").unwrap();
    let (bytes, cause) = told.recv().unwrap();
    assert!(matches!(cause, Some(Cause::Failed(_))), "{cause:?}");
    assert_eq!(bytes, [0, 0]);
    assert_eq!(second.read(&mut [0; 9]).unwrap(), 0);
    drop(executor.finish());
}

#[test]
fn a_relay_that_is_stopped_closes_both_and_leaves_nothing_behind() {
    for limit_ns in [None, Some(3_600_000_000_000)] {
        let executor = executor();
        let (relay, [mut first, mut second], told) = relay(&executor, b"", limit_ns);
        relay.stop();
        relay.stop();
        assert!(matches!(told.recv().unwrap().1, Some(Cause::Stopped)));
        assert_eq!(first.read(&mut [0; 9]).unwrap(), 0);
        assert_eq!(second.read(&mut [0; 9]).unwrap(), 0);
        drop(executor.finish());
        assert_eq!(Arc::strong_count(&relay), 1, "its tasks are gone");
    }
}

#[test]
fn the_end_of_the_executor_ends_a_relay() {
    let executor = executor();
    let (relay, [mut first, _second], told) = relay(&executor, b"", Some(u64::MAX / 2));
    executor.stop(Duration::from_secs(60));
    assert!(matches!(told.recv().unwrap().1, Some(Cause::Stopped)));
    assert_eq!(first.read(&mut [0; 9]).unwrap(), 0);
    assert_eq!(Arc::strong_count(&relay), 1);
}
