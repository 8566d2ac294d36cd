//! What `perf script` prints, folded into a tree.

use std::collections::BTreeMap;

use serde::Serialize;

/// Frames of a stack that are kept, from its root.
const MAX_DEPTH: usize = 256;
/// Frames of the tree; what would need more is counted at the last frame that has room.
const MAX_FRAMES: usize = 200_000;
/// Frames of one sample that are read, at most.
const MAX_LINES: usize = 4_096;

/// A frame, and what was seen in and below it.
#[derive(Debug, Default)]
pub(super) struct Frame {
    /// Samples in it and below.
    pub(super) all: u64,
    /// Samples in it itself.
    pub(super) own: u64,
    pub(super) below: BTreeMap<String, Frame>,
}

/// Samples, folded.
#[derive(Debug, Default)]
pub(super) struct Stacks {
    pub(super) root: Frame,
    frames: usize,
    /// The program of the sample that is being read; its frames, the innermost first.
    program: Option<String>,
    stack: Vec<String>,
}

/// A function and its share of the samples.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Hot {
    pub(super) function: String,
    /// Samples in the function itself.
    pub(super) samples: u64,
    /// Of all samples.
    pub(super) ratio: f64,
}

impl Stacks {
    /// Takes a line of `perf script -F comm,ip,sym,dso`: the program, a frame on each
    /// further line, an empty line.
    pub(super) fn line(&mut self, line: &str) {
        if line.trim().is_empty() {
            self.end_sample();
        } else if line.starts_with([' ', '\t']) {
            // One without a program before it belongs to no sample.
            if self.program.is_some() && self.stack.len() < MAX_LINES {
                self.stack.extend(function(line.trim()));
            }
        } else {
            self.end_sample();
            self.program = Some(line.trim().to_owned());
        }
    }

    /// No line follows.
    pub(super) fn end(mut self) -> Self {
        self.end_sample();
        self
    }

    fn end_sample(&mut self) {
        let Some(program) = self.program.take() else { return };
        // Without frame pointers a stack is a long row of frames that nobody can name.
        self.stack.dedup_by(|inner, outer| inner == outer && inner.starts_with('['));
        let frames = self.stack.drain(..).rev().take(MAX_DEPTH);
        let mut frame = &mut self.root;
        frame.all += 1;
        for name in std::iter::once(program).chain(frames) {
            if !frame.below.contains_key(&name) {
                if self.frames >= MAX_FRAMES {
                    break;
                }
                self.frames += 1;
            }
            frame = frame.below.entry(name).or_default();
            frame.all += 1;
        }
        frame.own += 1;
    }

    /// Functions by how often they were what ran, at most `most` of them.
    pub(super) fn hottest(&self, most: usize) -> Vec<Hot> {
        let mut own: BTreeMap<&str, u64> = BTreeMap::new();
        let mut frames: Vec<(&str, &Frame)> =
            self.root.below.iter().map(|(name, frame)| (name.as_str(), frame)).collect();
        while let Some((name, frame)) = frames.pop() {
            *own.entry(name).or_default() += frame.own;
            frames.extend(frame.below.iter().map(|(name, frame)| (name.as_str(), frame)));
        }
        let mut hot: Vec<Hot> = own
            .into_iter()
            .filter(|(_, samples)| *samples > 0)
            .map(|(function, samples)| Hot {
                function: function.to_owned(),
                samples,
                ratio: samples as f64 / self.root.all.max(1) as f64,
            })
            .collect();
        hot.sort_by(|a, b| (b.samples, &a.function).cmp(&(a.samples, &b.function)));
        hot.truncate(most);
        hot
    }

    /// Samples in functions that have no name, of all.
    pub(super) fn nameless_ratio(&self) -> f64 {
        let all = self.hottest(usize::MAX);
        all.iter().filter(|hot| hot.function.starts_with('[')).map(|hot| hot.ratio).sum()
    }
}

/// `7f12 main+0x1 (/usr/bin/x)` is `main`; what has no name is called by its file, such as
/// `[libc.so.6]`; the kernel's end in `_[k]`, as is the custom of flame graphs.
fn function(line: &str) -> Option<String> {
    let (_, rest) = line.split_once(' ')?;
    let rest = rest.trim();
    let (symbol, file) = rest.rsplit_once(" (").unwrap_or((rest, ""));
    let symbol = symbol.split_once("+0x").map_or(symbol, |(name, _)| name);
    let file = file.trim_end_matches(')');
    if symbol == "[unknown]" {
        let name = file.trim_matches(['[', ']']).rsplit('/').next().unwrap_or_default();
        return Some(if name.is_empty() { "[unknown]".to_owned() } else { format!("[{name}]") });
    }
    let kernel = file.starts_with("[kernel") || file.starts_with("[guest.kernel");
    Some(if kernel { format!("{symbol}_[k]") } else { symbol.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "\
python3 main \n\
\t           fdc6f inner::<T> (with) (/usr/lib/libpython.so)\n\
\t    7f1d1d3329c0 outer (/usr/lib/libpython.so)\n\
\n\
python3 main \n\
\tffffffff81000000 do_syscall_64 ([kernel.kallsyms])\n\
\t    7f1d1d3329c0 outer+0x12 (/usr/lib/libpython.so)\n\
\n\
python3 main \n\
\t    7f1d1d3329c0 [unknown] (/tmp/perf-12.map)\n\
python3 main \n\
\t    7f1d1d3329c0 [unknown] ([unknown])\n";

    fn folded(text: &str) -> Stacks {
        let mut stacks = Stacks::default();
        text.lines().for_each(|line| stacks.line(line));
        stacks.end()
    }

    #[test]
    fn samples_become_a_tree() {
        let stacks = folded(SCRIPT);
        let program = &stacks.root.below["python3 main"];
        assert_eq!((stacks.root.all, program.all, program.own), (4, 4, 0));
        let outer = &program.below["outer"];
        assert_eq!((outer.all, outer.own), (2, 0));
        assert_eq!(outer.below["inner::<T> (with)"].own, 1);
        assert_eq!(outer.below["do_syscall_64_[k]"].own, 1);
        assert_eq!(program.below["[perf-12.map]"].own, 1);
        assert_eq!(program.below["[unknown]"].own, 1);
        let hot = stacks.hottest(2);
        assert_eq!(hot.len(), 2);
        assert_eq!((hot[0].samples, hot[0].ratio), (1, 0.25));
        assert_eq!(stacks.nameless_ratio(), 0.5);
    }

    #[test]
    fn nothing_and_nonsense_are_no_samples() {
        assert_eq!(folded("").root.all, 0);
        assert_eq!(folded("\t abc def (x)\n\n\n").root.all, 0);
        let lost = folded("p\n\t1 f (x)\n\t2 [unknown] ([unknown])\n\t3 [unknown] ([unknown])\n");
        assert_eq!(lost.root.below["p"].below["[unknown]"].below["f"].own, 1);
        let deep = format!("p\n{}\n", "\t 1 f (x)\n".repeat(MAX_LINES * 2));
        let stacks = folded(&deep);
        let mut depth = 0;
        let mut frame = &stacks.root;
        while let Some(next) = frame.below.values().next() {
            (frame, depth) = (next, depth + 1);
        }
        assert_eq!(depth, MAX_DEPTH + 1);
    }
}
