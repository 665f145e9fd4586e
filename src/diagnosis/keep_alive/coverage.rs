//! How many requests have an earlier answer at a given distance, for every distance at once.

use crate::diagnosis::facts::IDLE_TIMEOUT_SECONDS;

/// Below half a second a gap says that the connection was in use, not that it was idle; no server
/// closes idle connections that soon.
pub(super) const MIN_SECONDS: f64 = 0.5;

/// How far the gaps of one timer may reach, in seconds: from the delay with which a node in the same zone
/// notices the end of a connection (some tens of milliseconds were measured), over timers that tick a
/// few times a second, to servers that look once a second (gunicorn: 2.0 to 2.8 s, measured).
pub(super) const WIDTHS: [f64; 4] = [0.06, 0.15, 0.4, 1.0];

/// The log has milliseconds; five keep the tables small.
const STEP_SECONDS: f64 = 0.005;

/// Longer gaps are not counted: a load balancer closes what was idle for 4,000 s at the latest, and the end of a
/// timer reaches as far beyond as the widest of [`WIDTHS`]. A table has 800,000 steps then, 3 MB, whatever
/// times the rows have.
const LONGEST_SECONDS: f64 = *IDLE_TIMEOUT_SECONDS.end() as f64 + 1.0;

/// For each beginning of an interval of one width: the requests with a gap in it.
pub(super) struct Coverage {
    counts: Vec<u32>,
}

impl Coverage {
    /// Counts the requests whose gaps (seconds, shortest first) lie in each interval of `width` up to
    /// `longest`, or to the longest that a connection can be idle.
    pub(super) fn of<'a>(
        requests: impl Iterator<Item = &'a [f32]>,
        width: f64,
        longest: f64,
    ) -> Self {
        let len = (longest.min(LONGEST_SECONDS) / STEP_SECONDS) as usize + 2;
        let steps = (width / STEP_SECONDS) as usize;
        let mut changes = vec![0_i32; len + 1];
        for gaps in requests {
            // An interval that begins up to a width below a gap holds it; where two gaps are closer, the
            // request still counts once.
            let mut done = (MIN_SECONDS / STEP_SECONDS) as usize;
            for gap in gaps {
                let last = (f64::from(*gap) / STEP_SECONDS) as usize;
                let first = last.saturating_sub(steps).max(done);
                let end = last.saturating_add(1).min(len);
                if first < end {
                    add(&mut changes, first, 1);
                    add(&mut changes, end, -1);
                    done = end;
                }
            }
        }
        let mut sum = 0;
        let counts = changes.iter().map(|change| {
            sum += change;
            u32::try_from(sum).unwrap_or(0)
        });
        Self { counts: counts.collect() }
    }

    /// The intervals where a count ends to rise: beginning in seconds, count, and that of another table
    /// in the same place.
    pub(super) fn peaks<'a>(
        &'a self,
        other: &'a Self,
    ) -> impl Iterator<Item = (f64, u64, u64)> + 'a {
        let at = |counts: &[u32], index: usize| counts.get(index).copied().unwrap_or(0);
        (0..self.counts.len()).filter_map(move |index| {
            let here = at(&self.counts, index);
            // The end of a plateau begins with the first of its gaps: the narrowest interval.
            (0 < here && at(&self.counts, index + 1) < here).then(|| {
                (index as f64 * STEP_SECONDS, u64::from(here), u64::from(at(&other.counts, index)))
            })
        })
    }

    /// The highest count.
    pub(super) fn highest(&self) -> u64 {
        self.counts.iter().copied().max().unwrap_or(0).into()
    }
}

fn add(changes: &mut [i32], index: usize, by: i32) {
    if let Some(change) = changes.get_mut(index) {
        *change += by;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_of_years_is_no_longer_than_a_connection_can_be_idle() {
        let requests = [&[60.0, 4_000.5][..], &[60.01, 3e11], &[4_000.4], &[f32::INFINITY]];
        let of = |longest| Coverage::of(requests.iter().copied(), 0.15, longest);
        let coverage = of(f64::INFINITY);
        assert!(coverage.counts.len() <= 800_203);
        assert_eq!((coverage.highest(), of(100.0).highest()), (2, 2));
        let peaks: Vec<f64> = coverage.peaks(&coverage).map(|(from, ..)| from.floor()).collect();
        assert_eq!(peaks, [60.0, 60.0, 4_000.0, 4_000.0]);
    }
}
