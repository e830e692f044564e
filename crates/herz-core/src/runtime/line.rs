//! Who waits, in the order of arrival. Anyone may step out by its ticket, in O(log n).

use std::collections::VecDeque;

/// So many empty places are kept at least before a line is made denser.
const GONE_MIN: usize = 16;

/// A place in one line. Tickets only grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u64);

/// First come, first served.
pub struct Line<T> {
    // Invariant: tickets rise from front to back. None: stepped out.
    places: VecDeque<(u64, Option<T>)>,
    gone: usize,
    issued: u64,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self {
            places: VecDeque::new(),
            gone: 0,
            issued: 0,
        }
    }
}

impl<T> Line<T> {
    pub fn push(&mut self, item: T) -> Ticket {
        self.issued += 1;
        self.places.push_back((self.issued, Some(item)));
        Ticket(self.issued)
    }

    pub fn pop(&mut self) -> Option<T> {
        // Bound: each empty place is passed once.
        while let Some((_, item)) = self.places.pop_front() {
            match item {
                Some(item) => return Some(item),
                None => self.gone -= 1,
            }
        }
        None
    }

    /// Steps out; None: it was popped before.
    pub fn leave(&mut self, ticket: Ticket) -> Option<T> {
        let at = self
            .places
            .binary_search_by_key(&ticket.0, |place| place.0)
            .ok()?;
        let item = self.places[at].1.take()?;
        self.gone += 1;
        if self.gone > GONE_MIN.max(self.places.len() / 2) {
            self.places.retain(|(_, item)| item.is_some());
            self.gone = 0;
        }
        Some(item)
    }

    /// Those who wait, first to last.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().filter_map(|(_, item)| item.as_ref())
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len() - self.gone
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::super::queue::victims::Random;
    use super::*;

    #[test]
    fn a_line_equals_a_plain_list() {
        for seed in 0..20 {
            let mut random = Random::new(seed);
            let (mut line, mut plain) = (Line::default(), Vec::new());
            let mut tickets = Vec::new();
            for number in 0..3_000 {
                match random.draw() % 8 {
                    0..4 => {
                        tickets.push((line.push(number), number));
                        plain.push(number);
                    }
                    4 => {
                        let first = (!plain.is_empty()).then(|| plain.remove(0));
                        assert_eq!(line.pop(), first);
                    }
                    _ if !tickets.is_empty() => {
                        let at = random.draw() as usize % tickets.len();
                        let (ticket, number) = tickets.swap_remove(at);
                        let found = plain.iter().position(|other| *other == number);
                        let found = found.map(|at| plain.remove(at));
                        assert_eq!(line.leave(ticket), found);
                        assert_eq!(line.leave(ticket), None);
                    }
                    _ => {}
                }
                assert_eq!(
                    (line.len(), line.is_empty()),
                    (plain.len(), plain.is_empty())
                );
            }
            assert!(line.iter().eq(plain.iter()));
        }
    }

    #[test]
    fn who_steps_out_behind_one_that_stays_leaves_no_place_behind() {
        let mut line = Line::default();
        line.push(0);
        for number in 1..10_000 {
            let ticket = line.push(number);
            assert_eq!(line.leave(ticket), Some(number));
        }
        assert!(line.places.len() <= 2 * GONE_MIN);
        assert_eq!((line.pop(), line.pop()), (Some(0), None));
    }
}
