//! A drawing in text. Words get into it through one door that escapes them.

use std::fmt::{Display, Write};

use super::said::Said;
use super::text;

/// An SVG drawing under construction; coordinates in its own units, colours by class.
pub(super) struct Svg {
    body: String,
}

impl Svg {
    /// A drawing of a size, with a name for those who cannot see it.
    pub fn new(width: f64, height: f64, class: &str, name: &str) -> Self {
        let mut svg = Self { body: String::new() };
        let (w, h) = (At(width), At(height));
        svg.push(format_args!(
            r#"<svg class="{class}" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" aria-label=""#
        ));
        svg.words(name);
        svg.push(format_args!("\">"));
        svg
    }

    /// The same with its name in both languages.
    pub fn named(width: f64, height: f64, class: &str, name: &Said) -> Self {
        let mut svg = Self::new(width, height, class, &name.en);
        if name.ko != name.en {
            svg.body.pop();
            svg.push(format_args!(" data-ko=\""));
            svg.words(&name.ko);
            svg.push(format_args!("\">"));
        }
        svg
    }

    /// A straight line.
    pub fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let (x1, y1, x2, y2) = (At(from.0), At(from.1), At(to.0), At(to.1));
        self.push(format_args!(r#"<line class="{class}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>"#));
    }

    /// A line through points.
    pub fn polyline(&mut self, class: &str, points: &[(f64, f64)]) {
        self.points("polyline", class, points);
    }

    /// A closed area.
    pub fn polygon(&mut self, class: &str, points: &[(f64, f64)]) {
        self.points("polygon", class, points);
    }

    fn points(&mut self, element: &str, class: &str, points: &[(f64, f64)]) {
        self.push(format_args!(r#"<{element} class="{class}" points=""#));
        for (at, point) in points.iter().enumerate() {
            let blank = if at == 0 { "" } else { " " };
            self.push(format_args!("{blank}{},{}", At(point.0), At(point.1)));
        }
        self.push(format_args!("\"/>"));
    }

    /// A rectangle with a note for the pointer; `strength` is how opaque it is.
    pub fn cell(&mut self, class: &str, corner: (f64, f64), size: (f64, f64), strength: f64, note: &str) {
        let (x, y, w, h, o) = (At(corner.0), At(corner.1), At(size.0), At(size.1), At(strength));
        self.push(format_args!(
            r#"<rect class="{class}" x="{x}" y="{y}" width="{w}" height="{h}" fill-opacity="{o}">"#
        ));
        self.note(note);
        self.push(format_args!("</rect>"));
    }

    /// A rectangle.
    pub fn frame(&mut self, class: &str, corner: (f64, f64), size: (f64, f64)) {
        let (x, y, w, h) = (At(corner.0), At(corner.1), At(size.0), At(size.1));
        self.push(format_args!(r#"<rect class="{class}" x="{x}" y="{y}" width="{w}" height="{h}"/>"#));
    }

    /// A mark at a point, in one of five shapes, with a note for the pointer.
    pub fn mark(&mut self, class: &str, shape: usize, (x, y): (f64, f64), note: &str) {
        let r = 3.4;
        let corners: &[(f64, f64)] = match shape % 5 {
            0 => &[],
            1 => &[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
            2 => &[(0.0, -1.25), (1.15, 0.85), (-1.15, 0.85)],
            3 => &[(0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)],
            _ => &[(0.0, 1.25), (1.15, -0.85), (-1.15, -0.85)],
        };
        self.push(format_args!(r#"<g class="{class}">"#));
        self.note(note);
        if corners.is_empty() {
            self.push(format_args!(r#"<circle cx="{}" cy="{}" r="{}"/>"#, At(x), At(y), At(r)));
        } else {
            let points: Vec<_> = corners.iter().map(|corner| (x + r * corner.0, y + r * corner.1)).collect();
            self.polygon("", &points);
        }
        self.push(format_args!("</g>"));
    }

    /// Words at a point.
    pub fn text(&mut self, class: &str, at: (f64, f64), words: &str) {
        self.push(format_args!(r#"<text class="{class}" x="{}" y="{}">"#, At(at.0), At(at.1)));
        self.words(words);
        self.push(format_args!("</text>"));
    }

    /// A sentence at a point, in both languages.
    pub fn said(&mut self, class: &str, at: (f64, f64), said: &Said) {
        if said.en == said.ko {
            return self.text(class, at, &said.en);
        }
        self.text(&format!("{class} en"), at, &said.en);
        self.text(&format!("{class} ko"), at, &said.ko);
    }

    /// The same that reads upwards.
    pub fn said_upward(&mut self, class: &str, at: (f64, f64), said: &Said) {
        if said.en == said.ko {
            return self.upward(class, at, &said.en);
        }
        self.upward(&format!("{class} en"), at, &said.en);
        self.upward(&format!("{class} ko"), at, &said.ko);
    }

    /// Words that read upwards.
    pub fn upward(&mut self, class: &str, (x, y): (f64, f64), words: &str) {
        let (x, y) = (At(x), At(y));
        self.push(format_args!(r#"<text class="{class}" x="{x}" y="{y}" transform="rotate(-90 {x} {y})">"#));
        self.words(words);
        self.push(format_args!("</text>"));
    }

    fn note(&mut self, words: &str) {
        if !words.is_empty() {
            self.push(format_args!("<title>"));
            self.words(words);
            self.push(format_args!("</title>"));
        }
    }

    /// The finished drawing.
    pub fn finish(mut self) -> String {
        self.body.push_str("</svg>");
        self.body
    }

    fn words(&mut self, words: &str) {
        for character in text::printable(words).chars() {
            match character {
                '&' => self.body.push_str("&amp;"),
                '<' => self.body.push_str("&lt;"),
                '>' => self.body.push_str("&gt;"),
                '"' => self.body.push_str("&quot;"),
                '\'' => self.body.push_str("&#39;"),
                _ => self.body.push(character),
            }
        }
    }

    fn push(&mut self, markup: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.body.write_fmt(markup);
    }
}

/// A coordinate with at most two digits behind the point; nothing that is not a finite number gets into a drawing.
struct At(f64);

impl Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = if self.0.is_finite() { self.0 } else { 0.0 };
        let text = format!("{value:.2}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        f.write_str(if text == "-0" { "0" } else { text })
    }
}

#[cfg(test)]
mod tests {
    use super::Svg;

    #[test]
    fn words_are_escaped_and_figures_are_short() {
        let mut svg = Svg::new(100.0, 50.0, "c", "a \"b\" <script>");
        svg.text("t", (1.0 / 3.0, f64::NAN), "</text><script>\u{202e}");
        svg.cell("x", (-0.001, 2.0), (1.5, 2.25), 0.5, "'&");
        assert_eq!(
            svg.finish(),
            "<svg class=\"c\" viewBox=\"0 0 100 50\" width=\"100\" height=\"50\" role=\"img\" \
             aria-label=\"a &quot;b&quot; &lt;script&gt;\"><text class=\"t\" x=\"0.33\" y=\"0\">\
             &lt;/text&gt;&lt;script&gt;\\u{202e}</text><rect class=\"x\" x=\"0\" y=\"2\" width=\"1.5\" height=\"2.25\" \
             fill-opacity=\"0.5\"><title>&#39;&amp;</title></rect></svg>"
        );
    }
}
