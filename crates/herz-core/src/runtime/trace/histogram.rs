//! How often a value of each size was seen: eight buckets to each power of two.
//!
//! One thread counts, without exchanges; anyone may read meanwhile, and sees each count as it was
//! at some moment.

use super::super::sync::{AtomicU64, Ordering};

const FINE_BITS: u32 = 3;
const FINE: u64 = 1 << FINE_BITS;
/// Of all `u64`.
const BUCKETS: usize = ((64 - FINE_BITS as usize) + 1) << FINE_BITS;

pub struct Histogram {
    counts: [AtomicU64; BUCKETS],
    sum: AtomicU64,
    most: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: [const { AtomicU64::new(0) }; BUCKETS],
            sum: AtomicU64::new(0),
            most: AtomicU64::new(0),
        }
    }
}

/// The bucket of a value. Below eight each value has its own; above, a bucket is an eighth of a
/// power of two wide, so that its middle is at most 6.25 % off.
fn bucket_of(value: u64) -> usize {
    if value < FINE {
        return value as usize;
    }
    let shift = u64::BITS - 1 - value.leading_zeros() - FINE_BITS;
    (((u64::from(shift) + 1) << FINE_BITS) + ((value >> shift) & (FINE - 1))) as usize
}

/// The middle of a bucket.
fn middle_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < FINE {
        return bucket;
    }
    let shift = (bucket >> FINE_BITS) - 1;
    let low = (FINE + (bucket & (FINE - 1))) << shift;
    low + ((1 << shift) >> 1)
}

impl Histogram {
    /// Counts a value. One thread at a time: there is no exchange here.
    pub fn record(&self, value: u64) {
        let add = |to: &AtomicU64, by: u64| {
            // ORDERING: Relaxed: counts are read one by one, and order nothing.
            to.store(to.load(Ordering::Relaxed) + by, Ordering::Relaxed);
        };
        add(&self.counts[bucket_of(value)], 1);
        let sum = self.sum.load(Ordering::Relaxed).saturating_add(value);
        self.sum.store(sum, Ordering::Relaxed);
        if value > self.most.load(Ordering::Relaxed) {
            self.most.store(value, Ordering::Relaxed);
        }
    }
}

/// Several histograms together.
pub struct Merged {
    counts: Vec<u64>,
    sum: u64,
    most: u64,
}

impl Default for Merged {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            sum: 0,
            most: 0,
        }
    }
}

impl Merged {
    pub fn add(&mut self, histogram: &Histogram) {
        for (sum, count) in self.counts.iter_mut().zip(&histogram.counts) {
            *sum += count.load(Ordering::Relaxed);
        }
        let sum = histogram.sum.load(Ordering::Relaxed);
        self.sum = self.sum.saturating_add(sum);
        self.most = self.most.max(histogram.most.load(Ordering::Relaxed));
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum
    }

    #[must_use]
    pub fn most(&self) -> u64 {
        self.most
    }

    /// The least value that so many thousandths of all are not above, at most 6.25 % off; 0 when
    /// nothing was counted.
    #[must_use]
    pub fn quantile(&self, thousandths: u64) -> u64 {
        let rank = (self.count() * thousandths).div_ceil(1_000).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return middle_of(bucket).min(self.most);
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_near_the_middle_of_its_bucket() {
        let mut last = 0;
        for power in 0..64 {
            for part in 0..16_u128 {
                let value = ((16 + part) << power >> 4) as u64;
                let bucket = bucket_of(value);
                assert!(bucket >= last && bucket < BUCKETS);
                last = bucket;
                let off = middle_of(bucket).abs_diff(value);
                assert!(off <= value / 16 + 1, "{value} in {bucket}: off by {off}");
            }
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn totals_and_quantiles_of_merged_workers() {
        let workers = [Histogram::default(), Histogram::default()];
        for value in 1..=1_000 {
            workers[value as usize % 2].record(value);
        }
        let mut merged = Merged::default();
        for worker in &workers {
            merged.add(worker);
        }
        assert_eq!((merged.count(), merged.sum()), (1_000, 500_500));
        assert_eq!(merged.most(), 1_000);
        for (thousandths, exact) in [(500, 500_u64), (990, 990), (999, 999)] {
            let found = merged.quantile(thousandths);
            assert!(found.abs_diff(exact) * 16 <= exact, "{found} for {exact}");
        }
    }

    #[test]
    fn nothing_counted_is_zero() {
        assert_eq!(Merged::default().quantile(990), 0);
    }
}
