//! Requests and failures over time, each cause on a line of its own.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    markup::Markup,
    panels::{Chart, Mark, Panel, Tone, numbers},
};
use crate::{
    diagnosis::{Diagnosis, pictures::MinuteFigure},
    numbers::{count, plural},
};

/// Columns that a phone still shows apart.
const MAX_COLUMNS: i64 = 90;

/// Lengths of a column that people count in, minutes.
const STEPS: [i64; 8] = [1, 2, 5, 10, 15, 30, 60, 120];

/// Causes with a panel of their own; the others share one.
const MAX_CAUSES: usize = 5;

/// One column.
#[derive(Debug, Clone, Default)]
struct Column {
    requests: u64,
    by_cause: BTreeMap<String, u64>,
    before: u64,
}

/// Draws the time line; nothing when there is no minute with a row.
pub(super) fn timeline(
    number: usize,
    diagnosis: &Diagnosis,
    minutes: &[MinuteFigure],
    markup: &mut Markup,
) {
    let Some(first) = minutes.first() else { return };
    let end = diagnosis.window.end.as_second().div_euclid(60);
    let begin = first.start.as_second().div_euclid(60);
    let step = step(end - begin);
    // Columns begin at round times.
    let begin = begin.div_euclid(step) * step;
    let length = (end - begin).max(1);
    let causes = causes(diagnosis);
    let mut columns =
        vec![Column::default(); usize::try_from((length + step - 1) / step).unwrap_or(1)];
    for minute in minutes {
        let index = (minute.start.as_second().div_euclid(60) - begin).div_euclid(step);
        let Some(column) = usize::try_from(index).ok().and_then(|index| columns.get_mut(index))
        else {
            continue;
        };
        column.requests += minute.requests;
        column.before += minute.before;
        for (id, failures) in &minute.by_cause {
            let id = causes.iter().find(|it| *it == id).map_or(OTHER_CAUSES, |it| it);
            *column.by_cause.entry(id.to_owned()).or_default() += failures;
        }
    }
    let starts: Vec<Timestamp> =
        (0..columns.len() as i64).map(|index| at(begin + index * step)).collect();
    draw(number, diagnosis, &Line { begin, length, step, columns, starts, causes }, markup);
}

/// The row of what has no panel of its own.
const OTHER_CAUSES: &str = "other causes";

struct Line {
    begin: i64,
    length: i64,
    step: i64,
    columns: Vec<Column>,
    starts: Vec<Timestamp>,
    causes: Vec<String>,
}

fn draw(number: usize, diagnosis: &Diagnosis, line: &Line, markup: &mut Markup) {
    let Line { begin, length, step, columns, starts, causes } = line;
    let clock = |time: &Timestamp| {
        let form = if 24 * 60 < *length { "%d %b %H:%M" } else { "%H:%M" };
        time.strftime(form).to_string()
    };
    let every =
        if *step == 1 { "by minute".to_owned() } else { format!("in steps of {step} minutes") };
    let shown = |of: &dyn Fn(&Column) -> u64| columns.iter().map(of).collect::<Vec<u64>>();
    let shape = |values: &[u64], what: &str| {
        let sum: u64 = values.iter().sum();
        let most = values.iter().zip(starts).max_by_key(|(value, _)| **value);
        most.map_or(String::new(), |(most, time)| {
            format!(
                "{} {what} from {} to {} UTC, {every}. Most, {}, at {}.",
                count(sum),
                clock(&at(*begin)),
                clock(&at(begin + length)),
                count(*most),
                clock(time)
            )
        })
    };
    let what = if diagnosis.failures == 0 { "answers of 502" } else { "failures" };
    let mut rows: Vec<(String, Tone, Vec<u64>)> = Vec::new();
    let mut names: Vec<&str> = causes.iter().map(String::as_str).collect();
    names.push(OTHER_CAUSES);
    for name in names {
        let values = shown(&|column| column.by_cause.get(name).copied().unwrap_or(0));
        if values.iter().any(|value| 0 < *value) {
            let all = count(values.iter().sum());
            rows.push((format!("{name}: {all} {what}"), Tone::Bad, values));
        }
    }
    let before = shown(&|column| column.before);
    if before.iter().any(|value| 0 < *value) {
        let all = plural(before.iter().sum(), "failure");
        rows.push((format!("Before the incident, not judged: {all}"), Tone::Pale, before));
    }
    let tips: Vec<String> = columns
        .iter()
        .zip(starts)
        .map(|(column, time)| {
            let failed = column.by_cause.iter().map(|(id, failed)| format!(", {id} {failed}"));
            let failed: String = failed.collect();
            let before = match column.before {
                0 => String::new(),
                before => format!(", {} before the incident", plural(before, "failure")),
            };
            format!("{}: {}{failed}{before}", clock(time), plural(column.requests, "request"))
        })
        .collect();
    // All causes have one scale: their sizes compare.
    let top = rows.iter().flat_map(|(_, _, values)| values).max().copied().unwrap_or(1);
    let requests = shown(&|column| column.requests);
    let mut panels = vec![Panel {
        caption: plural(requests.iter().sum(), "request"),
        detail: String::new(),
        description: shape(&requests, "requests"),
        tone: Tone::Plain,
        top: requests.iter().max().copied().unwrap_or(1).max(1),
        values: requests,
        tips: &tips,
    }];
    for (caption, tone, values) in &rows {
        panels.push(Panel {
            caption: caption.clone(),
            detail: String::new(),
            description: shape(values, what),
            tone: *tone,
            values: values.clone(),
            top,
            tips: &tips,
        });
    }
    let fraction = |minute: i64| (minute - begin) as f64 / *length as f64;
    let window = diagnosis.window.start.as_second().div_euclid(60);
    let marks = if *begin < window {
        vec![Mark { from: fraction(window), to: 1.0, label: "incident".to_owned(), is_line: false }]
    } else {
        Vec::new()
    };
    markup.raw("<section><h3>Over time</h3>\n<p class=\"note\">");
    let scale = if rows.len() < 2 { "" } else { "; all failures have one scale" };
    let first = clock(&at(*begin));
    markup.text(&format!("{first} to {} UTC, {every}{scale}.", clock(&at(begin + length))));
    markup.raw("</p>\n<figure>\n");
    Chart {
        id: ("time", number),
        columns: (0..columns.len() as i64)
            .map(|index| {
                (fraction(begin + index * step), fraction(begin + (index + 1) * step).min(1.0))
            })
            .collect(),
        panels,
        ticks: ticks(*begin, *length).map(|minute| (fraction(minute), tick(minute))).collect(),
        axis: "Time, UTC",
        marks,
    }
    .draw(markup);
    let mut heads = vec!["Time, UTC".to_owned(), "Requests".to_owned()];
    heads.extend(rows.iter().map(|(caption, _, _)| caption.clone()));
    let lines = starts.iter().zip(columns).enumerate().map(|(index, (time, column))| {
        let mut cells = vec![clock(time), count(column.requests)];
        cells.extend(
            rows.iter().map(|(_, _, values)| count(values.get(index).copied().unwrap_or(0))),
        );
        cells
    });
    numbers(&heads, lines, markup);
    markup.raw("</figure></section>\n");
}

/// The causes that get a panel, most likely first: never another one for the row of the others.
fn causes(diagnosis: &Diagnosis) -> Vec<String> {
    diagnosis.causes.iter().take(MAX_CAUSES).map(|cause| cause.id.clone()).collect()
}

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(minute * 60).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Minutes of a column, so that there are not too many columns.
fn step(minutes: i64) -> i64 {
    let fits = |step: &i64| minutes <= MAX_COLUMNS * step;
    let days = (minutes / MAX_COLUMNS / (24 * 60) + 1) * 24 * 60;
    STEPS.into_iter().find(fits).unwrap_or(days)
}

/// The time of day; at midnight the day.
fn tick(minute: i64) -> String {
    let form = if minute.rem_euclid(24 * 60) == 0 { "%d %b" } else { "%H:%M" };
    at(minute).strftime(form).to_string()
}

/// Round times, at most six of them.
fn ticks(begin: i64, length: i64) -> impl Iterator<Item = i64> {
    const ROUND: [i64; 11] = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720];
    let apart = ROUND.into_iter().find(|it| length <= 5 * it);
    let apart = apart.unwrap_or((length / 5 / 1440 + 1) * 1440);
    let first = (begin + apart - 1).div_euclid(apart) * apart;
    (0..).map(move |index| first + index * apart).take_while(move |it| *it <= begin + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_few_and_round() {
        for (minutes, expected) in [(1, 1), (90, 1), (91, 2), (450, 5), (1500, 30), (10_080, 120)] {
            assert_eq!(step(minutes), expected, "{minutes}");
        }
        assert_eq!([0, 90, 1440 * 20_000].map(tick), ["01 Jan", "01:30", "04 Oct"]);
        // Two months in days.
        assert_eq!(step(61 * 1440), 1440);
        assert_eq!(ticks(125, 85).collect::<Vec<_>>(), [150, 180, 210]);
        for length in [1, 5, 84, 85, 600, 1500, 10_080, 100_000] {
            let number = ticks(7, length).count();
            assert!((1..=6).contains(&number), "{length}: {number}");
        }
    }
}
