//! A drawing as SVG text.

use std::fmt::Write as _;

/// A drawing that grows by one element at a time.
#[derive(Debug)]
pub(super) struct Svg {
    width: f64,
    height: f64,
    body: String,
}

/// Where a text's place lies in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    /// At its left end.
    Start,
    /// In its middle.
    Middle,
    /// At its right end.
    End,
}

/// How a line is drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stroke<'a> {
    /// Colour.
    pub colour: &'a str,
    /// Width in pixels.
    pub width: f64,
    /// Opacity.
    pub opacity: f64,
    /// `stroke-dasharray`; empty for a whole line.
    pub dash: &'a str,
}

impl<'a> Stroke<'a> {
    /// A whole, opaque line.
    pub const fn new(colour: &'a str, width: f64) -> Self {
        Self {
            colour,
            width,
            opacity: 1.0,
            dash: "",
        }
    }

    /// The same, fainter.
    pub const fn opacity(mut self, opacity: f64) -> Self {
        self.opacity = opacity;
        self
    }

    /// The same, dashed.
    pub const fn dash(mut self, dash: &'a str) -> Self {
        self.dash = dash;
        self
    }

    fn attributes(self) -> String {
        let mut text = format!(
            "stroke=\"{}\" stroke-width=\"{}\"",
            self.colour,
            px(self.width)
        );
        if self.opacity < 1.0 {
            let _ = write!(text, " stroke-opacity=\"{}\"", self.opacity);
        }
        if !self.dash.is_empty() {
            let _ = write!(text, " stroke-dasharray=\"{}\"", self.dash);
        }
        text
    }
}

impl Svg {
    /// An empty drawing of this size in pixels.
    pub fn new(width: f64, height: f64) -> Self {
        Self {
            width,
            height,
            body: String::new(),
        }
    }

    /// Its width in pixels.
    pub fn width(&self) -> f64 {
        self.width
    }

    /// A straight line.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), stroke: Stroke<'_>) {
        let _ = writeln!(
            self.body,
            "<line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\" {}/>",
            px(from.0),
            px(from.1),
            px(to.0),
            px(to.1),
            stroke.attributes()
        );
    }

    /// A line through points.
    pub fn polyline(&mut self, points: &[(f64, f64)], stroke: Stroke<'_>) {
        let _ = writeln!(
            self.body,
            "<polyline points=\"{}\" fill=\"none\" stroke-linejoin=\"round\" {}/>",
            list(points),
            stroke.attributes()
        );
    }

    /// A filled area.
    pub fn area(&mut self, points: &[(f64, f64)], colour: &str, opacity: f64) {
        let _ = writeln!(
            self.body,
            "<polygon points=\"{}\" fill=\"{colour}\" fill-opacity=\"{opacity}\" stroke=\"none\"/>",
            list(points)
        );
    }

    /// A filled shape with an outline, and a text that shows on hovering.
    pub fn shape(&mut self, points: &[(f64, f64)], fill: &str, stroke: Stroke<'_>, title: &str) {
        let _ = writeln!(
            self.body,
            "<polygon points=\"{}\" fill=\"{fill}\" {}>{}</polygon>",
            list(points),
            stroke.attributes(),
            tip(title)
        );
    }

    /// A filled circle with an outline, and a text that shows on hovering.
    pub fn circle(
        &mut self,
        at: (f64, f64),
        radius: f64,
        fill: &str,
        stroke: Stroke<'_>,
        title: &str,
    ) {
        let _ = writeln!(
            self.body,
            "<circle cx=\"{}\" cy=\"{}\" r=\"{}\" fill=\"{fill}\" {}>{}</circle>",
            px(at.0),
            px(at.1),
            px(radius),
            stroke.attributes(),
            tip(title)
        );
    }

    /// A text on one line.
    pub fn text(&mut self, at: (f64, f64), anchor: Anchor, style: Font<'_>, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let weight = if style.bold {
            " font-weight=\"600\""
        } else {
            ""
        };
        let turn = if style.upright {
            format!(" transform=\"rotate(-90 {} {})\"", px(at.0), px(at.1))
        } else {
            String::new()
        };
        let _ = writeln!(
            self.body,
            "<text x=\"{}\" y=\"{}\" font-size=\"{}\" fill=\"{}\" text-anchor=\"{anchor}\"{weight}{turn}>{}</text>",
            px(at.0),
            px(at.1),
            px(style.size),
            style.colour,
            escape(text)
        );
    }

    /// The finished drawing; `label` is what a screen reader says.
    pub fn finish(self, label: &str) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w} {h}\" width=\"{w}\" \
             height=\"{h}\" role=\"img\" aria-label=\"{}\" \
             font-family=\"system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif\">\n{}</svg>",
            escape(label),
            self.body,
            w = px(self.width),
            h = px(self.height),
        )
    }
}

/// How a text looks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Font<'a> {
    /// Size in pixels.
    pub size: f64,
    /// Colour.
    pub colour: &'a str,
    /// Semi-bold.
    pub bold: bool,
    /// Read from below to above.
    pub upright: bool,
}

impl<'a> Font<'a> {
    /// A regular, level text.
    pub const fn new(size: f64, colour: &'a str) -> Self {
        Self {
            size,
            colour,
            bold: false,
            upright: false,
        }
    }

    /// The same, semi-bold.
    pub const fn bold(mut self) -> Self {
        self.bold = true;
        self
    }

    /// The same, turned.
    pub const fn upright(mut self) -> Self {
        self.upright = true;
        self
    }
}

/// A coordinate: hundredths of a pixel, without trailing zeros.
fn px(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" {
        "0".to_owned()
    } else {
        text.to_owned()
    }
}

fn list(points: &[(f64, f64)]) -> String {
    let points: Vec<_> = points
        .iter()
        .map(|(x, y)| format!("{},{}", px(*x), px(*y)))
        .collect();
    points.join(" ")
}

fn tip(title: &str) -> String {
    if title.is_empty() {
        String::new()
    } else {
        format!("<title>{}</title>", escape(title))
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
