//! Bar charts as inline SVG: panels one below the other over one axis.
//!
//! A panel has a caption in words, so that no colour is needed to know what it shows. Positions are
//! percentages and text has its own size: a chart fits a phone and a wide screen without a script.

use super::markup::Markup;
use crate::numbers::count;

/// Panels over one axis.
pub(super) struct Chart<'a> {
    /// A name for ids, unique in the page.
    pub(super) id: (&'static str, usize),
    /// Where each bar stands, as fractions of the width: from, to.
    pub(super) columns: Vec<(f64, f64)>,
    /// One below the other.
    pub(super) panels: Vec<Panel<'a>>,
    /// Labels of the axis, at fractions of the width.
    pub(super) ticks: Vec<(f64, String)>,
    /// What the axis shows.
    pub(super) axis: &'static str,
    /// Stretches that are marked in every panel.
    pub(super) marks: Vec<Mark>,
}

/// One row of bars.
pub(super) struct Panel<'a> {
    /// What the bars are, in words.
    pub(super) caption: String,
    /// What else is to be said of them.
    pub(super) detail: String,
    /// The same for who cannot see them: the shape in a sentence.
    pub(super) description: String,
    /// The colour.
    pub(super) tone: Tone,
    /// The height of each bar, in the order of the columns.
    pub(super) values: Vec<u64>,
    /// The value at the top.
    pub(super) top: u64,
    /// What a bar says when the pointer rests on it, in the order of the columns.
    pub(super) tips: &'a [String],
}

/// What the bars stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// Requests, successes.
    Plain,
    /// Failures.
    Bad,
    /// Failures that are not judged here.
    Pale,
}

/// A marked stretch of the axis.
pub(super) struct Mark {
    /// Where it begins, as a fraction of the width.
    pub(super) from: f64,
    /// Where it ends.
    pub(super) to: f64,
    /// What it is.
    pub(super) label: String,
    /// A few values, drawn as a line; else a stretch of many, as ground.
    pub(super) is_line: bool,
}

/// The height of a panel, pixels.
const HEIGHT: f64 = 84.0;

/// Above the highest bar: the line of its number.
const ROOM: f64 = 16.0;

/// The width of a letter of 12 pixels as a fraction of a chart on a phone: 8 of 328 pixels, a little more
/// than most letters take.
const LETTER: f64 = 8.0 / 328.0;

impl Chart<'_> {
    /// Draws it.
    pub(super) fn draw(&self, markup: &mut Markup) {
        let (name, number) = self.id;
        for (index, panel) in self.panels.iter().enumerate() {
            let id = |markup: &mut Markup, part: &'static str| {
                markup.raw(name).raw("-").number(number).raw("-").number(index).raw(part);
            };
            markup.raw("<div class=\"panel\"><p class=\"caption\">").text(&panel.caption);
            markup.raw("<span>").text(&panel.detail).raw("</span>");
            markup.raw("</p>\n<svg role=\"img\" class=\"bars\" width=\"100%\" height=\"");
            markup.length(HEIGHT + ROOM).raw("\" aria-labelledby=\"");
            id(markup, "t");
            markup.raw(" ");
            id(markup, "d");
            markup.raw("\"><title id=\"");
            id(markup, "t");
            markup.raw("\">").text(&panel.caption).raw("</title><desc id=\"");
            id(markup, "d");
            markup.raw("\">").text(&panel.description).raw("</desc>\n");
            self.panel(panel, index == 0, markup);
            markup.raw("</svg></div>\n");
        }
        markup.raw("<svg class=\"axis\" aria-hidden=\"true\" width=\"100%\" height=\"24\">");
        let mut taken = f64::NEG_INFINITY;
        for (at, label) in &self.ticks {
            // At the ends it is set inwards, so that it stays within the drawing.
            let width = label.chars().count() as f64 * LETTER;
            let (anchor, from) = match *at {
                at if at < width / 2.0 => ("start", at),
                at if 1.0 < at + width / 2.0 => ("end", at - width),
                at => ("middle", at - width / 2.0),
            };
            // On a phone it would lie upon the one before.
            if taken <= from {
                line("tick", *at, 0.0, 5.0, markup);
                label_at(*at, 18.0, "label", (anchor, 0.0), label, markup);
                taken = from + width + LETTER / 2.0;
            }
        }
        markup.raw("</svg>\n<p class=\"axis-name\">").text(self.axis).raw("</p>\n");
    }

    fn panel(&self, panel: &Panel<'_>, is_first: bool, markup: &mut Markup) {
        for mark in &self.marks {
            let (class, least) = if mark.is_line { ("mark", 0.004) } else { ("ground", 0.0) };
            let width = (mark.to - mark.from).max(least);
            bar(class, (mark.from, width), (0.0, HEIGHT + ROOM), markup);
            markup.raw("/>");
            if mark.is_line {
                line("mark", mark.from, 0.0, HEIGHT + ROOM, markup);
            }
        }
        line_across(ROOM, markup);
        for ((from, to), value) in self.columns.iter().zip(&panel.values).filter(|(_, it)| 0 < **it)
        {
            // A single failure among thousands is still to be seen.
            let height = (HEIGHT * *value as f64 / panel.top.max(1) as f64).max(2.0);
            let gap = (to - from) * 0.12;
            let class = match panel.tone {
                Tone::Plain => "plain",
                Tone::Bad => "bad",
                Tone::Pale => "pale",
            };
            let place = (from + gap, to - from - 2.0 * gap);
            bar(class, place, (ROOM + HEIGHT - height, height), markup);
            markup.raw("/>");
        }
        // The whole height of a column answers to the pointer.
        for ((from, to), tip) in self.columns.iter().zip(panel.tips) {
            bar("tip", (*from, to - from), (ROOM, HEIGHT), markup);
            markup.raw("><title>").text(tip).raw("</title></rect>");
        }
        line_across(ROOM + HEIGHT - 0.5, markup);
        markup.raw("<text class=\"top\" x=\"100%\" y=\"11\" text-anchor=\"end\">");
        markup.text(&count(panel.top)).raw("</text>");
        for (index, mark) in self.marks.iter().enumerate().filter(|_| is_first) {
            self.label_of(index, mark, markup);
        }
    }

    /// The label of a mark: of ground, in it; of a line, beside it. Of several lines the first has its
    /// label to the left and the last to the right, and one between them none: they may be close.
    fn label_of(&self, index: usize, mark: &Mark, markup: &mut Markup) {
        if !mark.is_line {
            label_at(mark.from, 11.0, "mark-label", ("start", 4.0), &mark.label, markup);
            return;
        }
        let several = 1 < self.marks.len();
        let is_last = index + 1 == self.marks.len();
        if several && 0 < index && !is_last {
            return;
        }
        let width = (mark.label.chars().count() + 1) as f64 * LETTER;
        let is_left = match several {
            true => index == 0 && width < mark.from,
            false => 0.6 < mark.from,
        };
        // Where the first has no room on its left, it may have some before the last.
        let last = self.marks.last().map_or(1.0, |it| it.from);
        if several && index == 0 && !is_left && last < mark.to + width {
            return;
        }
        let (at, side) =
            if is_left { (mark.from, ("end", -5.0)) } else { (mark.to, ("start", 5.0)) };
        label_at(at, 11.0, "mark-label", side, &mark.label, markup);
    }
}

/// A rectangle without its end: from and width as fractions of the width, y and height in pixels.
fn bar(
    class: &'static str,
    (from, width): (f64, f64),
    (y, height): (f64, f64),
    markup: &mut Markup,
) {
    markup.raw("<rect class=\"").raw(class).raw("\" x=\"").length(from * 100.0);
    markup.raw("%\" y=\"").length(y).raw("\" width=\"").length(width * 100.0);
    markup.raw("%\" height=\"").length(height).raw("\"");
}

fn line(class: &'static str, at: f64, from: f64, to: f64, markup: &mut Markup) {
    markup.raw("<line class=\"").raw(class).raw("\" x1=\"").length(at * 100.0).raw("%\" x2=\"");
    markup.length(at * 100.0).raw("%\" y1=\"").length(from).raw("\" y2=\"").length(to).raw("\"/>");
}

fn line_across(y: f64, markup: &mut Markup) {
    markup.raw("<line class=\"grid\" x1=\"0\" x2=\"100%\" y1=\"").length(y).raw("\" y2=\"");
    markup.length(y).raw("\"/>");
}

/// A label at a place of the axis: where it is anchored, and how many pixels beside it.
fn label_at(
    at: f64,
    y: f64,
    class: &'static str,
    (anchor, beside): (&'static str, f64),
    label: &str,
    markup: &mut Markup,
) {
    markup.raw("<text class=\"").raw(class).raw("\" text-anchor=\"").raw(anchor).raw("\" x=\"");
    markup.length(at * 100.0).raw("%\" y=\"").length(y).raw("\" dx=\"").length(beside);
    markup.raw("\">").text(label).raw("</text>");
}

/// The numbers of a chart, folded away: what a reader unfolds is printed too.
pub(super) fn numbers(
    heads: &[String],
    rows: impl Iterator<Item = Vec<String>>,
    markup: &mut Markup,
) {
    markup.raw("<details><summary>These numbers as a table</summary>\n");
    markup.raw("<div class=\"scroll\" tabindex=\"0\"><table><thead><tr>");
    for head in heads {
        markup.raw("<th scope=\"col\">").text(head).raw("</th>");
    }
    markup.raw("</tr></thead><tbody>\n");
    for row in rows {
        markup.raw("<tr>");
        for (index, cell) in row.iter().enumerate() {
            match index {
                0 => markup.raw("<th scope=\"row\">").text(cell).raw("</th>"),
                _ => markup.raw("<td class=\"n\">").text(cell).raw("</td>"),
            };
        }
        markup.raw("</tr>\n");
    }
    markup.raw("</tbody></table></div></details>\n");
}
