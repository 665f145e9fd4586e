//! The distribution of `target_processing_time`, of answered requests beside failed ones.

use super::{
    markup::Markup,
    panels::{Chart, Panel, Tone, numbers},
};
use crate::{
    detection::{Bucket, Distribution},
    diagnosis::{Diagnosis, Pictures},
    numbers::{count, plural, seconds},
};

/// Columns of a doubling from 4 ms on; below, milliseconds are too coarse for more than one.
const PER_DOUBLING: f64 = 2.0;

/// Seconds: below, a column is a doubling.
const FINE_FROM: f64 = 0.004;

/// Of fewer rows the longest time says as much as quantiles.
const MIN_ROWS: u64 = 10;

/// Draws the distribution; a sentence when no time was recorded.
pub(super) fn target_seconds(
    number: usize,
    diagnosis: &Diagnosis,
    pictures: &Pictures,
    markup: &mut Markup,
) {
    markup.raw("<section><h3>Time that targets took to answer</h3>\n<p class=\"note\">");
    markup.raw("<code>target_processing_time</code>: from sending the request to the first byte of the answer, or to the end of the connection.");
    if 0 < pictures.failed_without {
        let all = pictures.failed_without + pictures.failed.len() as u64;
        let without = format!(
            " {} of {} have none (-1): they never came to that.",
            count(pictures.failed_without),
            plural(all, "failed row"),
        );
        markup.text(&without);
    }
    if let Some(elapsed) = diagnosis.facts.elapsed_seconds {
        markup.text(&format!(
            " From arrival to answer, half of the failed requests took up to {}, the longest {}.",
            seconds(elapsed.p50),
            seconds(elapsed.max)
        ));
    }
    markup.raw("</p>\n");
    let edges = edges(pictures);
    if edges.len() < 2 {
        markup.raw("<p>No request of this incident has one.</p></section>\n");
        return;
    }
    let answered = counted(&edges, pictures.answered.iter().map(|it| (middle(*it), it.rows)));
    let failed = counted(&edges, pictures.failed.iter().map(|it| (*it, 1)));
    let columns = edges.windows(2).map(|pair| range(pair, pair[0] <= SHORTEST)).collect::<Vec<_>>();
    let tips: Vec<String> = columns
        .iter()
        .zip(answered.iter().zip(&failed))
        .map(|(range, (answered, failed))| {
            format!("{range}: {} answered, {} failed", count(*answered), count(*failed))
        })
        .collect();
    let figures = &diagnosis.facts.target_seconds;
    let quantiles = |of: Option<Distribution<f64>>, rows: &[u64]| {
        let few = rows.iter().sum::<u64>() < MIN_ROWS;
        of.map_or(String::new(), |it| match few {
            true => format!(", the longest {}", seconds(it.max)),
            false => format!(
                ", half take up to {}, 99 of 100 up to {}, the longest {}",
                seconds(it.p50),
                seconds(it.p99),
                seconds(it.max)
            ),
        })
    };
    let panel = |what: &str, tone, values: Vec<u64>, quantiles: String| {
        let all: u64 = values.iter().sum();
        let most = values.iter().zip(&columns).max_by_key(|(value, _)| **value);
        let most = most.map_or("", |(_, range)| range.as_str());
        Panel {
            caption: format!("{what}: {}", count(all)),
            detail: quantiles,
            description: format!("{} {what}, most of them {most}.", count(all)),
            tone,
            top: values.iter().max().copied().unwrap_or(1).max(1),
            values,
            tips: &tips,
        }
    };
    let mut panels = Vec::new();
    if answered.iter().any(|it| 0 < *it) {
        let quantiles = quantiles(figures.successes, &answered);
        panels.push(panel("Answered requests", Tone::Plain, answered.clone(), quantiles));
    }
    if failed.iter().any(|it| 0 < *it) {
        let quantiles = quantiles(figures.failures, &failed);
        panels.push(panel("Failed requests", Tone::Bad, failed.clone(), quantiles));
    }
    let place = |edge: f64| {
        let (first, last) = (edges[0].ln(), edges[edges.len() - 1].ln());
        (edge.ln() - first) / (last - first)
    };
    markup.raw("<figure>\n");
    Chart {
        id: ("took", number),
        columns: edges.windows(2).map(|pair| (place(pair[0]), place(pair[1]))).collect(),
        panels,
        ticks: decades(edges[0], edges[edges.len() - 1])
            .map(|tick| (place(tick), seconds(tick)))
            .collect(),
        axis: "target_processing_time; each step to the right is a multiple",
        marks: Vec::new(),
    }
    .draw(markup);
    let heads = ["target_processing_time", "Answered requests", "Failed requests"];
    let rows = columns.iter().zip(answered.iter().zip(&failed));
    let rows = rows.map(|(range, (a, b))| vec![range.clone(), count(*a), count(*b)]);
    numbers(&heads.map(str::to_owned), rows, markup);
    markup.raw("</figure></section>\n");
}

/// The log has milliseconds: what is shorter stands in the first column.
const SHORTEST: f64 = 0.001;

/// The edges of the columns, seconds, from the shortest to the longest time.
fn edges(pictures: &Pictures) -> Vec<f64> {
    let times = || {
        let answered = pictures.answered.iter().map(|it| middle(*it));
        answered.chain(pictures.failed.iter().copied())
    };
    let (shortest, longest) = (times().fold(f64::INFINITY, f64::min), times().fold(0.0, f64::max));
    if !shortest.is_finite() {
        return Vec::new();
    }
    let mut edges = vec![SHORTEST];
    let mut edge = SHORTEST;
    while edge <= longest {
        let factor = if edge < FINE_FROM { 2.0 } else { 2.0_f64.powf(1.0 / PER_DOUBLING) };
        let next = edge * factor;
        // Nothing is that short: the chart begins later.
        if next <= shortest {
            edges.clear();
        }
        edges.push(next);
        edge = next;
    }
    if edges.len() < 2 {
        edges.push(edge * 2.0);
    }
    edges
}

fn middle(bucket: Bucket) -> f64 {
    (bucket.from * bucket.to).sqrt()
}

/// How many values lie between each pair of edges; what is shorter belongs to the first.
fn counted(edges: &[f64], values: impl Iterator<Item = (f64, u64)>) -> Vec<u64> {
    let mut counts = vec![0; edges.len().saturating_sub(1)];
    for (value, rows) in values {
        let index = edges.partition_point(|edge| *edge <= value).saturating_sub(1);
        let last = counts.len().saturating_sub(1);
        if let Some(count) = counts.get_mut(index.min(last)) {
            *count += rows;
        }
    }
    counts
}

fn range(pair: &[f64], is_first: bool) -> String {
    match pair {
        [_, to] if is_first => format!("below {}", seconds(*to)),
        [from, to] => format!("{} to {}", seconds(*from), seconds(*to)),
        _ => String::new(),
    }
}

/// Powers of ten, in seconds, and their fives when there are few.
fn decades(from: f64, to: f64) -> impl Iterator<Item = f64> {
    let few = to / from < 200.0;
    let steps = (-3..6).flat_map(move |power| {
        let ten = 10.0_f64.powi(power);
        [Some(ten), few.then_some(2.0 * ten), few.then_some(5.0 * ten)].into_iter().flatten()
    });
    steps.filter(move |tick| from * 0.999 <= *tick && *tick <= to * 1.001)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_has_its_column() {
        let pictures = Pictures {
            answered: vec![Bucket { from: 0.04, to: 0.044, rows: 7 }],
            failed: vec![0.0, 0.001, 0.003, 30.0],
            ..Pictures::default()
        };
        let edges = edges(&pictures);
        assert_eq!(edges[..3], [0.001, 0.002, 0.004]);
        let failed = counted(&edges, pictures.failed.iter().map(|it| (*it, 1)));
        assert_eq!((failed[..3].to_vec(), failed.iter().sum::<u64>()), (vec![2, 1, 0], 4));
        assert_eq!(failed.last(), Some(&1), "the chart ends with the longest time");
        let answered = counted(&edges, pictures.answered.iter().map(|it| (middle(*it), it.rows)));
        assert_eq!(answered.iter().sum::<u64>(), 7);
    }

    #[test]
    fn the_chart_begins_where_the_times_do() {
        let of =
            |failed: &[f64]| edges(&Pictures { failed: failed.to_vec(), ..Pictures::default() });
        let slow = of(&[10.0, 10.1]);
        assert!(slow[0] <= 10.0 && 7.0 < slow[0] && slow.len() == 2, "{slow:?}");
        assert_eq!(of(&[0.0]).len(), 2);
        assert!(of(&[]).is_empty());
    }
}
