//! Curves over time as one SVG file, without anything from elsewhere.

use std::fmt::Write as _;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 170.0;
const LEFT: f64 = 80.0;
const COLOURS: [&str; 4] = ["#1b6ca8", "#c8553d", "#588157", "#7b5ea7"];

/// One curve: its name and a value a second.
pub type Curve = (&'static str, Vec<f64>);

/// A panel: what it shows, its curves, and whether its axis begins at zero.
pub struct Panel {
    pub title: &'static str,
    pub curves: Vec<Curve>,
    pub from_zero: bool,
}

/// All panels, one below the other; `from` is the second from which it is judged.
pub fn svg(title: &str, seconds: &[f64], from: f64, panels: &[Panel]) -> String {
    let whole = (HEIGHT + 50.0) * panels.len() as f64 + 50.0;
    let last = seconds.last().copied().unwrap_or(1.0).max(1.0);
    let x = |second: f64| LEFT + second / last * (WIDTH - LEFT - 20.0);
    let mut out = String::new();
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {whole}\" font-family=\"sans-serif\" \
         font-size=\"12\"><rect width=\"{WIDTH}\" height=\"{whole}\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"15\">{title}</text>"
    )
    .unwrap();
    for (number, panel) in panels.iter().enumerate() {
        let top = 50.0 + number as f64 * (HEIGHT + 50.0);
        let all =
            panel.curves.iter().flat_map(|(_, values)| values).copied().filter(|value| value.is_finite());
        let (mut least, mut most) =
            all.fold((f64::MAX, f64::MIN), |(l, m), value| (l.min(value), m.max(value)));
        if panel.from_zero {
            least = 0.0;
        }
        let room = ((most - least) * 0.08).max(1e-9);
        most += room;
        if !panel.from_zero {
            least -= room;
        }
        let y = |value: f64| top + HEIGHT - (value - least) / (most - least) * HEIGHT;
        writeln!(out, "<text x=\"{LEFT}\" y=\"{:.1}\" fill=\"#333\">{}</text>", top - 6.0, panel.title)
            .unwrap();
        writeln!(
            out,
            "<rect x=\"{LEFT}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{HEIGHT}\" fill=\"none\" stroke=\"#bbb\"/>",
            WIDTH - LEFT - 20.0
        )
        .unwrap();
        for step in 0..=4 {
            let value = least + (most - least) * f64::from(step) / 4.0;
            let at = y(value);
            writeln!(
                out,
                "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#eee\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#555\">{value:.1}</text>",
                WIDTH - 20.0,
                LEFT - 6.0,
                at + 4.0
            )
            .unwrap();
        }
        for step in 0..=5 {
            let second = last * f64::from(step) / 5.0;
            writeln!(
                out,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#555\">{second:.0} s</text>",
                x(second),
                top + HEIGHT + 15.0
            )
            .unwrap();
        }
        writeln!(
            out,
            "<line x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{top:.1}\" y2=\"{1:.1}\" stroke=\"#999\" stroke-dasharray=\"4 3\"/>",
            x(from),
            top + HEIGHT
        )
        .unwrap();
        for (which, (name, values)) in panel.curves.iter().enumerate() {
            let colour = COLOURS[which % COLOURS.len()];
            let points: Vec<String> = seconds
                .iter()
                .zip(values)
                .filter(|(_, value)| value.is_finite())
                .map(|(second, value)| format!("{:.1},{:.1}", x(*second), y(*value)))
                .collect();
            writeln!(
                out,
                "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.3\" points=\"{}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"{colour}\">{name}</text>",
                points.join(" "),
                WIDTH - 26.0,
                top + 16.0 + 15.0 * which as f64
            )
            .unwrap();
        }
    }
    out += "</svg>\n";
    out
}
