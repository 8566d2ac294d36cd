//! A flame graph: who called whom, as wide as it was seen.

use std::fmt::Write as _;

use super::stacks::{Frame, Stacks};
use crate::deps::escaped;

/// Points from side to side.
const WIDTH: f64 = 1_200.0;
const MARGIN: f64 = 10.0;
const ROW: usize = 17;
const TITLE: usize = 44;
/// What is narrower is not drawn: nobody could see it.
const NARROWEST: f64 = 0.4;
/// Points of a letter.
const LETTER: f64 = 6.6;

/// The picture, with what it is of as its title. The root is at the bottom.
pub(super) fn draw(stacks: &Stacks, title: &str) -> String {
    let samples = stacks.root.all.max(1);
    let scale = (WIDTH - 2.0 * MARGIN) / samples as f64;
    let rows = depth(&stacks.root, scale);
    let height = TITLE + rows * ROW + ROW;
    let mut picture = Picture { out: String::new(), scale, samples, height };
    let _infallible = writeln!(
        picture.out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"monospace\" font-size=\"11\">\n\
         <style>g:hover rect{{stroke:#000}}text{{pointer-events:none}}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fffdf5\"/>\n\
         <text x=\"{MARGIN}\" y=\"20\" font-size=\"15\">{}</text>\n\
         <text x=\"{MARGIN}\" y=\"36\" fill=\"#555\">{} samples; wider is more often, not longer; \
         the kernel is blue; rest on a frame for its name</text>",
        escaped(title),
        stacks.root.all,
    );
    picture.frame("all", &stacks.root, 0, MARGIN);
    picture.out.push_str("</svg>\n");
    picture.out
}

/// Rows that are drawn.
fn depth(frame: &Frame, scale: f64) -> usize {
    if frame.all as f64 * scale < NARROWEST {
        return 0;
    }
    1 + frame.below.values().map(|below| depth(below, scale)).max().unwrap_or(0)
}

struct Picture {
    out: String,
    /// Points of a sample.
    scale: f64,
    samples: u64,
    height: usize,
}

impl Picture {
    /// As deep as stacks are kept.
    fn frame(&mut self, name: &str, frame: &Frame, row: usize, x: f64) {
        let width = frame.all as f64 * self.scale;
        if width < NARROWEST {
            return;
        }
        let y = self.height.saturating_sub((row + 1) * ROW + ROW / 2);
        let share = frame.all as f64 / self.samples as f64 * 100.0;
        let letters = ((width - 4.0) / LETTER) as usize;
        let label: String = match name.chars().count() {
            _ if letters < 3 => String::new(),
            long if long > letters => name.chars().take(letters - 1).chain(['…']).collect(),
            _ => name.to_owned(),
        };
        let _infallible = writeln!(
            self.out,
            "<g><title>{} ({} samples, {share:.2} %)</title><rect x=\"{x:.1}\" y=\"{y}\" \
             width=\"{width:.1}\" height=\"{}\" rx=\"1\" fill=\"{}\"/><text x=\"{:.1}\" y=\"{}\">{}\
             </text></g>",
            escaped(name),
            frame.all,
            ROW - 1,
            colour(name),
            x + 2.0,
            y + ROW - 5,
            escaped(&label),
        );
        let mut x = x;
        for (name, below) in &frame.below {
            self.frame(name, below, row + 1, x);
            x += below.all as f64 * self.scale;
        }
    }
}

/// The same name has the same colour in every picture.
fn colour(name: &str) -> String {
    let hash = name
        .bytes()
        .fold(2_166_136_261_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619));
    let light = 58 + hash % 16;
    if name.ends_with("_[k]") {
        return format!("hsl({},65%,{}%)", 205 + hash / 16 % 20, light + 8);
    }
    format!("hsl({},85%,{light}%)", 8 + hash / 16 % 42)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_whole_and_as_wide_as_what_was_seen() {
        let mut stacks = Stacks::default();
        for _ in 0..3 {
            ["app", "\t1 a<&\" (x)", "\t1 main (x)", ""].iter().for_each(|l| stacks.line(l));
        }
        ["app", "\t1 read ([kernel.kallsyms])", "\t1 main (x)", ""]
            .iter()
            .for_each(|line| stacks.line(line));
        let text = draw(&stacks.end(), "api <1>");
        assert!(text.starts_with("<svg") && text.ends_with("</svg>\n"));
        assert!(text.contains("api &lt;1&gt;") && !text.contains("a<&"), "{text}");
        assert!(text.contains("<title>a&lt;&amp;&quot; (3 samples, 75.00 %)</title>"), "{text}");
        assert!(text.contains("read_[k] (1 samples, 25.00 %)") && text.contains("hsl(2"), "{text}");
        // all, app, main, and two next to each other.
        assert_eq!(text.matches("<g>").count(), 5);
        assert!(text.contains("width=\"885.0\"") && text.contains("width=\"295.0\""), "{text}");
    }

    #[test]
    fn nothing_seen_is_an_empty_picture() {
        let text = draw(&Stacks::default(), "api");
        assert!(text.ends_with("</svg>\n") && !text.contains("<g>"), "{text}");
    }
}
