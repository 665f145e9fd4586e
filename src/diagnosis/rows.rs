//! Rows of requests and failures by name, of which a list keeps the first few and adds up the others.

use serde::Serialize;

/// Rows of a list, the last one for the others not counted: what a person still reads.
pub(super) const MAX_ROWS: usize = 10;

/// The name of the row that carries what the list leaves out.
pub(super) const OTHERS: &str = "others";

/// Requests and failures of the incident.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Total {
    pub(super) requests: u64,
    pub(super) failures: u64,
}

/// Requests and failures of one row of a list.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Portion {
    /// Rows in the incident.
    pub requests: u64,
    /// Failed rows in the incident.
    pub failures: u64,
    /// The share of the failures divided by the share of the requests: 1 for what fails like all, 2 for
    /// what fails twice as often. `None` without failures or requests.
    pub lift: Option<f64>,
}

/// One target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TargetFigure {
    /// `ip:port`.
    pub target: String,
    /// The Availability Zone, when it is known.
    pub zone: Option<String>,
    /// Its share.
    #[serde(flatten)]
    pub portion: Portion,
    /// The first answer below 500, from an hour before the incident to an hour after it.
    pub first_success: Option<jiff::Timestamp>,
    /// The last one.
    pub last_success: Option<jiff::Timestamp>,
    /// The first failure in the same time.
    pub first_failure: Option<jiff::Timestamp>,
    /// The last one.
    pub last_failure: Option<jiff::Timestamp>,
}

/// One path.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PathFigure {
    /// Query cut, ids folded. Written by strangers.
    pub path: String,
    /// Its share.
    #[serde(flatten)]
    pub portion: Portion,
}

/// One method.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MethodFigure {
    /// As the request had it. Written by strangers.
    pub method: String,
    /// Its share.
    #[serde(flatten)]
    pub portion: Portion,
}

/// One node of the load balancer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodeFigure {
    /// Its address, `unknown` for a file whose name has none.
    pub node: String,
    /// The Availability Zone, when it is known.
    pub zone: Option<String>,
    /// Its share.
    #[serde(flatten)]
    pub portion: Portion,
}

/// One row type.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TypeFigure {
    /// http, https, h2, grpcs, ws, wss.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its share.
    #[serde(flatten)]
    pub portion: Portion,
}

impl Portion {
    fn of(requests: u64, failures: u64, all: Total) -> Self {
        let expected = all.failures as f64 * requests as f64 / all.requests.max(1) as f64;
        // Two decimals: no more is known of a few hundred rows.
        let lift = (0.0 < expected).then(|| (failures as f64 / expected * 100.0).round() / 100.0);
        Self { requests, failures, lift }
    }

    /// What a list leaves out; `None` when that is nothing.
    fn rest(listed: impl Iterator<Item = Self>, all: Total) -> Option<Self> {
        let rest = listed.fold(all, |rest, row| Total {
            requests: rest.requests.saturating_sub(row.requests),
            failures: rest.failures.saturating_sub(row.failures),
        });
        (0 < rest.requests).then(|| Self::of(rest.requests, rest.failures, all))
    }
}

/// The first rows with their names, and the others; nothing when no row has a name. The rows come with
/// most failures first.
pub(super) fn top<T>(
    all: Total,
    rows: impl Iterator<Item = T>,
    of: impl Fn(T) -> (String, u64, u64),
) -> impl Iterator<Item = (String, Portion)> {
    let mut list: Vec<(String, Portion)> = rows
        .map(of)
        // The row of what was not told apart is among the others.
        .filter(|(name, requests, _)| name != OTHERS && 0 < *requests)
        .take(MAX_ROWS)
        .map(|(name, requests, failures)| (name, Portion::of(requests, failures, all)))
        .collect();
    if let Some(rest) = Portion::rest(list.iter().map(|(_, portion)| *portion), all)
        && !list.is_empty()
    {
        list.push((OTHERS.to_owned(), rest));
    }
    list.into_iter()
}

/// A row of a list that ends with the others.
pub(super) trait Row {
    fn name(&self) -> &str;
    fn portion(&self) -> Portion;
    fn others(portion: Portion) -> Self;
}

macro_rules! row {
    ($row:ident, $name:ident $(, $empty:ident)*) => {
        impl Row for $row {
            fn name(&self) -> &str {
                &self.$name
            }
            fn portion(&self) -> Portion {
                self.portion
            }
            fn others(portion: Portion) -> Self {
                Self { $name: OTHERS.to_owned(), portion $(, $empty: None)* }
            }
        }
    };
}

row!(TargetFigure, target, zone, first_success, last_success, first_failure, last_failure);
row!(PathFigure, path);
row!(MethodFigure, method);
row!(NodeFigure, node, zone);
row!(TypeFigure, kind);

/// Keeps the first rows and adds what goes to the others.
pub(super) fn keep<R: Row>(list: &mut Vec<R>, count: usize) {
    let all = list.iter().fold(Total::default(), |sum, row| Total {
        requests: sum.requests.saturating_add(row.portion().requests),
        failures: sum.failures.saturating_add(row.portion().failures),
    });
    list.retain(|row| row.name() != OTHERS);
    list.truncate(count);
    if let Some(rest) = Portion::rest(list.iter().map(Row::portion), all)
        && !list.is_empty()
    {
        list.push(R::others(rest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lift_is_the_share_of_failures_over_the_share_of_requests() {
        let all = Total { requests: 1000, failures: 50 };
        for (requests, failures, lift) in [
            (100, 50, Some(10.0)),
            (500, 25, Some(1.0)),
            (500, 0, Some(0.0)),
            (300, 1, Some(0.07)),
            (0, 0, None),
        ] {
            assert_eq!(Portion::of(requests, failures, all).lift, lift);
        }
        assert_eq!(Portion::of(10, 0, Total { requests: 10, failures: 0 }).lift, None);
    }

    #[test]
    fn the_others_carry_the_remainder() {
        let all = Total { requests: 10_000, failures: 100 };
        let rows = (0..500_u64).map(|index| (format!("/{index}"), 10, u64::from(index < 60)));
        let rows = [("others".to_owned(), 3000, 30)].into_iter().chain(rows);
        let list: Vec<_> = top(all, rows, |row| row).collect();
        assert_eq!(list.len(), MAX_ROWS + 1);
        let (name, others) = list.last().unwrap();
        assert_eq!((name.as_str(), others.requests, others.failures), (OTHERS, 9_900, 90));
        let whole: Vec<_> =
            top(all, [("/a".to_owned(), 10_000, 100)].into_iter(), |row| row).collect();
        assert_eq!(whole.len(), 1, "nothing is left for the others");
    }
}
