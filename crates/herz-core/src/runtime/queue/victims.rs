//! Every processor once, in an order drawn anew for each pass.
//!
//! A walk that starts anywhere and steps by a number that shares no divisor with the count visits
//! all without a list to shuffle. Source: `randomOrder` of Go 1.26's `runtime/proc.go`.

/// `SplitMix64`: one seed, one sequence.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// The walks over a number of processors.
#[derive(Clone, Debug)]
pub struct Victims {
    count: usize,
    steps: Vec<usize>,
}

impl Victims {
    /// For `count` processors, at least one.
    ///
    /// # Panics
    ///
    /// Where there is no processor.
    #[must_use]
    pub fn new(count: usize) -> Self {
        assert!(count > 0, "there is no processor");
        let steps = (1..=count)
            .filter(|step| divisor(*step, count) == 1)
            .collect();
        Self { count, steps }
    }

    /// One walk: each of `0..count` once.
    pub fn walk(&self, random: &mut Random) -> impl Iterator<Item = usize> + use<> {
        let drawn = random.draw() as usize;
        let (count, step) = (self.count, self.steps[(drawn >> 32) % self.steps.len()]);
        let start = (drawn & 0xFFFF_FFFF) % count;
        (0..count).scan(start, move |at, _| {
            let victim = *at;
            *at = (victim + step) % count;
            Some(victim)
        })
    }
}

fn divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_visits_each_processor_once() {
        for count in 1..40 {
            let victims = Victims::new(count);
            let mut random = Random::new(count as u64);
            for _ in 0..50 {
                let mut seen: Vec<_> = victims.walk(&mut random).collect();
                seen.sort_unstable();
                assert_eq!(seen, (0..count).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_seed_fixes_the_walks() {
        let walks = |seed| {
            let (victims, mut random) = (Victims::new(7), Random::new(seed));
            (0..20)
                .flat_map(|_| victims.walk(&mut random))
                .collect::<Vec<_>>()
        };
        assert_eq!(walks(3), walks(3));
        assert_ne!(walks(3), walks(4));
    }
}
