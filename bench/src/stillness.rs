//! Whether the machine itself stands still.
//!
//! The cores of a shared machine may not run for tens of milliseconds, and the machine does not
//! know: neither `/proc/stat` nor the CPU time of a process tells of it. A process on each core,
//! ahead of all others (`SCHED_FIFO`), sleeps for a moment at a time and notes how much later it
//! was woken. What a turn came to while that was much is not the contender's doing.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::bench::Bench;

/// A watcher's sleep.
const NAP: Duration = Duration::from_millis(10);
/// So late is none: timers and the kernel itself.
const PUNCTUAL: Duration = Duration::from_millis(2);
/// The share of a turn's time that a core may not have run for.
const MOST_LOST: f64 = 0.05;
/// How long it is looked whether the machine goes on again.
const LOOK: Duration = Duration::from_secs(1);

/// Watches every core in use, for a whole run.
#[derive(Debug)]
pub(crate) struct Stillness {
    /// None where it may not go ahead of others.
    watchers: Vec<Watcher>,
    /// How much longer turns may be done again, and calm be waited for.
    patience: Duration,
}

#[derive(Debug)]
struct Watcher {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// What was lost on each core until an instant.
#[derive(Debug)]
pub(crate) struct Mark {
    at: Instant,
    lost: Vec<Duration>,
}

impl Stillness {
    /// Starts to watch. Without the right to do so it says so on stderr, and every turn counts.
    pub(crate) fn watch(bench: &Bench, patience: Duration) -> anyhow::Result<Self> {
        let cores = [bench.cores.contender].into_iter().chain(bench.cores.load.iter().copied());
        let watchers = cores.map(Watcher::start).collect::<anyhow::Result<Vec<_>>>();
        let watchers = match watchers {
            Ok(watchers) => watchers,
            Err(e) => {
                writeln!(std::io::stderr(), "not watched whether the machine stands still: {e:#}")?;
                Vec::new()
            }
        };
        Ok(Self { watchers, patience })
    }

    /// Begins a stretch of time.
    pub(crate) fn mark(&mut self) -> anyhow::Result<Mark> {
        Ok(Mark { at: Instant::now(), lost: self.lost()? })
    }

    /// The share of the time since `mark` in which the core that was worst off did not run; none
    /// when nobody watches.
    pub(crate) fn lost_since(&mut self, mark: &Mark) -> anyhow::Result<Option<f64>> {
        let lost = self.lost()?;
        let worst = lost.iter().zip(&mark.lost).map(|(now, then)| now.saturating_sub(*then)).max();
        let passed = mark.at.elapsed().as_secs_f64();
        Ok(worst.map(|worst| worst.as_secs_f64() / passed))
    }

    /// Whether that is too much to tell one program from another.
    pub(crate) fn is_much(lost: Option<f64>) -> bool {
        lost.is_some_and(|lost| lost > MOST_LOST)
    }

    /// After something that took so long and has to be done again: waits until the machine goes
    /// on as it should. False when there is no patience left.
    pub(crate) fn wait_for_calm(&mut self, bench: &Bench, took: Duration) -> anyhow::Result<bool> {
        let began = Instant::now();
        let patience = self.patience.saturating_sub(took);
        while began.elapsed() < patience {
            let mark = self.mark()?;
            bench.interrupt.pause(LOOK)?;
            if !Self::is_much(self.lost_since(&mark)?) {
                self.patience = patience.saturating_sub(began.elapsed());
                return Ok(true);
            }
        }
        self.patience = Duration::ZERO;
        Ok(false)
    }

    fn lost(&mut self) -> anyhow::Result<Vec<Duration>> {
        self.watchers.iter_mut().map(Watcher::ask).collect()
    }
}

impl Watcher {
    fn start(core: usize) -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("finding the path of this program")?;
        let mut child = Command::new("taskset")
            .args(["-c", &core.to_string(), "setpriv", "--pdeathsig", "KILL", "--"])
            .args(["chrt", "--fifo", "50"])
            .arg(own)
            .arg("stillness")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("starting taskset")?;
        let questions = child.stdin.take().context("its standard input")?;
        let answers = BufReader::new(child.stdout.take().context("its standard output")?);
        let mut watcher = Self { child, questions, answers };
        watcher.ask().context("chrt --fifo 50 (needs root, or CAP_SYS_NICE)")?;
        Ok(watcher)
    }

    /// What was lost on its core so far.
    fn ask(&mut self) -> anyhow::Result<Duration> {
        self.questions.write_all(b"\n")?;
        let mut answer = String::new();
        ensure!(self.answers.read_line(&mut answer)? > 0, "it does not run");
        Ok(Duration::from_micros(answer.trim().parse().context("microseconds")?))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // Reaped here, so the signal can reach nobody else.
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// What a watcher does: sleeps, and says how late it was in all, in microseconds, for each line
/// that it is sent. Ends when nothing more can come.
pub(crate) fn work() -> anyhow::Result<()> {
    let (stdin, mut stdout) = (std::io::stdin(), std::io::stdout());
    let nap = Timespec::try_from(NAP).context("a moment")?;
    let mut lost = Duration::ZERO;
    loop {
        let began = Instant::now();
        let asked = poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&nap))? > 0;
        lost += lateness(began.elapsed());
        if !asked {
            continue;
        }
        let mut line = String::new();
        if stdin.lock().read_line(&mut line)? == 0 {
            return Ok(());
        }
        writeln!(stdout, "{}", lost.as_micros())?;
        stdout.flush()?;
    }
}

/// How much later than it should a sleep ended that took so long.
fn lateness(took: Duration) -> Duration {
    took.checked_sub(NAP).filter(|late| *late > PUNCTUAL).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_little_late_is_not_late() {
        let after = |millis| lateness(Duration::from_millis(millis)).as_millis();
        assert_eq!([3, 10, 11, 12, 13, 50].map(after), [0, 0, 0, 0, 3, 40]);
    }

    #[test]
    fn what_nobody_watched_counts() {
        assert!(!Stillness::is_much(None));
        assert!(!Stillness::is_much(Some(0.04)));
        assert!(Stillness::is_much(Some(0.06)));
        let mut nobody = Stillness { watchers: Vec::new(), patience: Duration::ZERO };
        let mark = nobody.mark().unwrap();
        assert_eq!(nobody.lost_since(&mark).unwrap(), None);
    }
}
