//! What chance alone would do.

/// How likely chance alone gives `hits` or more of `of`, when each has the probability `rate`: an
/// upper bound (Chernoff), 1 when the share is not above the rate.
pub(super) fn chance(hits: u64, of: u64, rate: f64) -> f64 {
    let (n, rate) = (of as f64, rate.clamp(1e-9, 1.0 - 1e-9));
    let share = hits as f64 / n;
    if of == 0 || share <= rate {
        return 1.0;
    }
    let term = |p: f64, q: f64| if p == 0.0 { 0.0 } else { p * (p / q).ln() };
    (-n * (term(share, rate) + term(1.0 - share, 1.0 - rate))).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_above_the_exact_tail_and_small_where_it_is_small() {
        // 9 of 10 at one half: exactly 11/1024.
        let bound = chance(9, 10, 0.5);
        assert!((11.0 / 1024.0..0.05).contains(&bound), "{bound}");
        assert!(chance(10, 10, 0.01) < 1e-15);
        assert_eq!([chance(1, 10, 0.5), chance(0, 0, 0.5), chance(0, 10, 0.0)], [1.0, 1.0, 1.0]);
    }
}
