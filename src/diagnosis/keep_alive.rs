//! The targets' keep-alive timeout, inferred from the idle gaps before closed requests.
//!
//! A target that closes idle connections after K seconds breaks the requests that reach a connection
//! which has just been idle for K seconds. So the gaps before the broken requests pile up at K, where
//! the gaps before healthy ones do not.

use super::{KeepAliveEstimate, chance::chance};
use crate::detection::{IdleGaps, evidence::Quantiles};

/// How far above K the gaps reach: the delay with which the load balancer notices the end of the
/// connection, and the granularity of the server's timer. Measured: up to 0.6 s, and up to 0.8 s for
/// gunicorn, which looks once a second.
const SPREAD_SECONDS: f64 = 1.0;

/// Fewer gaps than this show nothing.
const MIN_GAPS: usize = 4;

/// At least this share of the early closed requests follows a gap in the window; the rest are busy
/// connections, where another connection than the last one was used.
const MIN_SHARE: f64 = 0.5;

/// The share among the broken requests is at least this many times the share among healthy ones.
const MIN_LIFT: f64 = 4.0;

/// Below half a second a gap says that the connection was in use, not that it was idle; no server
/// closes idle connections that soon.
const MIN_SECONDS: f64 = 0.5;

/// How likely chance may make such a pile-up: there are many places where one could be.
const CHANCE: f64 = 1e-4;

/// The timeout, when the gaps show one.
pub(super) fn estimate(gaps: &IdleGaps) -> Option<KeepAliveEstimate> {
    let broken = &gaps.closed_early;
    let mut best: Option<(f64, &[f64])> = None;
    for (first, low) in broken.iter().enumerate() {
        if *low < MIN_SECONDS {
            continue;
        }
        let end = broken.partition_point(|gap| *gap <= low + SPREAD_SECONDS);
        for end in first + MIN_GAPS..=end {
            let Some(pile) = broken.get(first..end) else { continue };
            let luck = luck(gaps, pile);
            if best.is_none_or(|(least, _)| luck < least) {
                best = Some((luck, pile));
            }
        }
    }
    let (luck, pile) = best?;
    let share = pile.len() as f64 / broken.len() as f64;
    // Every pair of gaps was tried as the ends of a pile.
    let tries = (broken.len() * broken.len()) as f64;
    if share < MIN_SHARE || share < MIN_LIFT * usual_share(gaps, pile) || CHANCE < luck * tries {
        return None;
    }
    let (low, high) = (*pile.first()?, *pile.last()?);
    let middle = *pile.get(pile.len() / 2)?;
    Some(KeepAliveEstimate { low, best: middle, high, gaps: pile.len() as u64 })
}

/// The share of healthy gaps within the ends of a pile.
fn usual_share(gaps: &IdleGaps, pile: &[f64]) -> f64 {
    let (Some(low), Some(high)) = (pile.first(), pile.last()) else { return 1.0 };
    let healthy = gaps.successes.partition_point(|gap| *gap <= *high)
        - gaps.successes.partition_point(|gap| *gap < *low);
    // One more than was seen: few healthy gaps do not make a share of zero.
    (healthy + 1) as f64 / (gaps.successes.len() + 1) as f64
}

/// How likely the pile is if the broken requests came after the same pauses as the healthy ones.
fn luck(gaps: &IdleGaps, pile: &[f64]) -> f64 {
    let (hits, of) = (pile.len() as u64, gaps.closed_early.len() as u64);
    chance(hits, of, usual_share(gaps, pile))
}

/// The idle timeout of the load balancer, in whole seconds, that stays below a keep-alive timeout: a
/// stop-gap until the target's is raised. It also cuts requests on which the target stays silent for so
/// long, so there is none unless it is five times what 99 of 100 successful requests take: hardly one in ten
/// thousand takes longer.
pub(super) fn stop_gap_seconds(keep_alive: f64, success_seconds: Option<Quantiles>) -> Option<u64> {
    // Timers tick once a second, and long ones are kept less exactly.
    let margin = (keep_alive / 12.0).clamp(1.0, 5.0);
    // The idle timeout is 1 to 4000 seconds.
    // A gap is measured a few milliseconds short.
    let below = (keep_alive.min(4000.0) - margin + 0.1).floor();
    (1.0 <= below && 5.0 * success_seconds?.p99 <= below).then_some(below as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(closed_early: &[f64], successes: impl Iterator<Item = f64>) -> IdleGaps {
        let mut successes: Vec<f64> = successes.collect();
        successes.sort_by(f64::total_cmp);
        IdleGaps { closed_early: closed_early.to_vec(), successes, unknown: 0 }
    }

    fn even() -> impl Iterator<Item = f64> {
        (0..600).map(|step| f64::from(step) * 0.1)
    }

    #[test]
    fn gaps_that_pile_up_show_the_timeout() {
        let found = estimate(&gaps(&[0.4, 5.0, 5.02, 5.1, 5.3, 5.4, 12.0], even())).unwrap();
        assert_eq!((found.low, found.best, found.high, found.gaps), (5.0, 5.1, 5.4, 5));
    }

    #[test]
    fn gaps_that_are_spread_show_nothing() {
        assert_eq!(estimate(&gaps(&[0.4, 2.0, 5.1, 9.3, 14.0, 20.4, 31.0], even())), None);
        assert_eq!(estimate(&gaps(&[5.0, 5.1, 5.2], even())), None);
        assert_eq!(estimate(&gaps(&[], even())), None);
    }

    #[test]
    fn gaps_that_healthy_requests_have_as_well_show_nothing() {
        let always_five = std::iter::repeat_n(5.05, 500);
        assert_eq!(estimate(&gaps(&[5.0, 5.02, 5.1, 5.3, 5.4], always_five)), None);
    }

    #[test]
    fn a_stop_gap_leaves_room_on_both_sides() {
        let p99 = |p99| Some(Quantiles { p50: 0.1, p99 });
        assert_eq!(stop_gap_seconds(60.0, p99(0.8)), Some(55));
        assert_eq!(stop_gap_seconds(6.0, p99(0.8)), Some(5));
        assert_eq!(stop_gap_seconds(6.0, p99(1.1)), None);
        assert_eq!(stop_gap_seconds(1.5, p99(0.1)), None);
        assert_eq!(stop_gap_seconds(60.0, None), None);
    }
}
