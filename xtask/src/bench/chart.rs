//! A picture of a group: a bar for each median, over it a line from the smallest to the largest sample.

use std::fmt::Write;

use super::groups::Shown;
use super::results::{Measured, Runs};

const WIDTH: f64 = 860.0;
/// Where bars begin: names stand left of it.
const LEFT: f64 = 310.0;
/// How long the longest bar is, its spread included; numbers stand right of it.
const LENGTH: f64 = 410.0;
const TOP: f64 = 56.0;
const STEP: f64 = 30.0;
const BAR: f64 = 18.0;

/// The picture as SVG, on a ground of its own: it reads the same on a light page and on a dark one.
pub fn svg(group: &Measured, shown: &Shown) -> String {
    let height = TOP + STEP * group.contenders.len() as f64 + 12.0;
    let longest = group.contenders.iter().filter_map(|runs| runs.summary(shown.metric)).map(|summary| summary.max);
    let scale = LENGTH / longest.fold(f64::MIN_POSITIVE, f64::max);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"Helvetica, Arial, sans-serif\" font-size=\"13\" fill=\"#1f2328\" role=\"img\">\n\
         <rect x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"6\" fill=\"#ffffff\" stroke=\"#d0d7de\"/>\n\
         <text x=\"16\" y=\"26\" font-size=\"15\" font-weight=\"bold\">{}</text>\n\
         <text x=\"16\" y=\"44\" fill=\"#57606a\">{}: median of {} and spread. Less is better.</text>\n",
        WIDTH - 1.0,
        height - 1.0,
        escaped(&group.title),
        escaped(&shown.caption),
        group.repeats,
    );
    for (number, runs) in group.contenders.iter().enumerate() {
        bar(&mut svg, runs, shown, TOP + STEP * number as f64, scale);
    }
    svg.push_str("</svg>\n");
    svg
}

fn bar(svg: &mut String, runs: &Runs, shown: &Shown, top: f64, scale: f64) {
    let middle = top + BAR / 2.0;
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
        LEFT - 10.0,
        middle + 4.5,
        escaped(&runs.name)
    );
    let Some(summary) = runs.summary(shown.metric) else {
        let _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"{}\" fill=\"#cf222e\">failed</text>", middle + 4.5);
        return;
    };
    let at = |seconds: f64| LEFT + seconds * scale;
    let color = if runs.name.starts_with("Reindex") { "#54aeff" } else { "#afb8c1" };
    let _ = writeln!(
        svg,
        "<rect x=\"{LEFT}\" y=\"{top}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{color}\"/>\n\
         <path d=\"M{:.1} {middle}H{:.1}M{:.1} {}v8M{:.1} {}v8\" stroke=\"#1f2328\" fill=\"none\"/>\n\
         <text x=\"{:.1}\" y=\"{}\">{} {}</text>",
        summary.median * scale,
        at(summary.min),
        at(summary.max),
        at(summary.min),
        middle - 4.0,
        at(summary.max),
        middle - 4.0,
        at(summary.max) + 8.0,
        middle + 4.5,
        digits(summary.median),
        shown.unit,
    );
}

/// As many digits as a person reads.
fn digits(value: f64) -> String {
    if value < 10.0 { format!("{value:.2}") } else { format!("{value:.1}") }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::method::{SECONDS, Sample};
    use super::*;

    #[test]
    fn the_longest_spread_fills_the_room_and_a_failure_is_shown() {
        let runs = |name: &str, seconds: &[f64]| Runs {
            name: name.to_owned(),
            samples: seconds.iter().map(|seconds| Sample::from([(SECONDS.to_owned(), *seconds)])).collect(),
            failure: seconds.is_empty().then(|| "failed".to_owned()),
        };
        let group = Measured {
            name: "group".to_owned(),
            title: "A & B".to_owned(),
            measured_at: String::new(),
            commit: String::new(),
            machine: String::new(),
            load_average: 0.0,
            repeats: 3,
            grid: Default::default(),
            contenders: vec![runs("Reindex", &[1.0, 2.0, 4.0]), runs("other", &[])],
            results: Vec::new(),
        };
        let shown = Shown { metric: SECONDS, unit: "s", caption: "Seconds for 10 documents".to_owned() };
        let svg = svg(&group, &shown);
        assert!(svg.contains("A &amp; B") && svg.contains("width=\"205.0\"") && svg.contains("H720.0"), "{svg}");
        assert!(svg.contains("Seconds for 10 documents: median of 3") && svg.contains(">2.00 s<"), "{svg}");
        assert_eq!(svg.matches(">failed<").count(), 1);
    }
}
