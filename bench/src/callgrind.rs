//! Counts what a program does within its own code: instructions and allocations,
//! by callgrind. They repeat on any machine at any load, where times do not.
//!
//! Two ways: [`count_case`] runs a case of the guard, in this program run by
//! valgrind; [`Instrumented`] is a bs9 run by valgrind, of which any stretch of
//! work can be counted.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::bench::Bench;
use crate::contender::find_program;
use crate::process::{Launch, Process};

/// The function whose inclusive cost is counted: see [`crate::guard::case`].
const COUNTED: &str = "*guard::case::counted*";

/// How long bs9 may take until it answers: valgrind makes it many times slower.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// What a program did.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cost {
    pub(crate) instructions: f64,
    /// Blocks asked of the allocator, and blocks that were made to grow or shrink.
    pub(crate) allocations: f64,
}

/// A bs9 that runs under callgrind.
#[derive(Debug)]
pub(crate) struct Instrumented {
    process: Process,
    pid: u32,
    profile: PathBuf,
    dumps: u32,
}

/// valgrind's version.
pub(crate) fn version() -> anyhow::Result<String> {
    let output = Command::new("valgrind")
        .arg("--version")
        .output()
        .context("running valgrind (Debian: valgrind)")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// What a case does that is done so many times, all in all.
pub(crate) fn count_case(bench: &Bench, case: &str, times: u32) -> anyhow::Result<Cost> {
    // callgrind tells instructions within the counted function, but calls from the
    // beginning of the program: what is beside them is the same in a longer run.
    let (once, twice) = (run_case(bench, case, times)?, run_case(bench, case, times * 2)?);
    ensure!(
        twice.instructions > once.instructions,
        "nothing was counted: is {COUNTED} in this binary?"
    );
    Ok(Cost {
        instructions: twice.instructions - once.instructions,
        allocations: twice.allocations - once.allocations,
    })
}

fn run_case(bench: &Bench, case: &str, times: u32) -> anyhow::Result<Cost> {
    let own = std::env::current_exe().context("finding the path of this program")?;
    let profile = bench.dir.path().join(format!("{case}-{times}.callgrind"));
    let output = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(own)
        .args(["guard-case", case, &times.to_string()])
        .output()
        .context("running valgrind (Debian: valgrind)")?;
    if !output.status.success() {
        bail!("valgrind failed ({}):\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    read(&profile)
}

// === impl Cost ===

impl Cost {
    /// What each of so many did.
    pub(crate) fn over(self, count: u32) -> Self {
        let count = f64::from(count);
        Self { instructions: self.instructions / count, allocations: self.allocations / count }
    }
}

// === impl Instrumented ===

impl Instrumented {
    /// Starts bs9 on `config`; it is ready when it answers `ask`.
    pub(crate) fn start(
        bench: &Bench,
        config: &Path,
        ask: impl Fn() -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let profile = bench.dir.path().join("bs9.callgrind");
        let mut process = Launch::contender(bench, "valgrind", &find_program("valgrind")?)
            .arguments(["--tool=callgrind", "--instr-atstart=no"])
            .argument(format!("--callgrind-out-file={}", profile.display()))
            .argument(bench.own_bs9()?)
            .arguments(["serve", "--config"])
            .argument(config)
            .start(bench)?;
        let ready = bench.interrupt.wait_for(READY_LIMIT, || {
            process.still_running()?;
            Ok(ask().ok())
        })?;
        ensure!(ready.is_some(), "bs9 does not answer under valgrind:\n{}", process.printed()?);
        let pid = process.pid();
        Ok(Self { process, pid, profile, dumps: 0 })
    }

    /// What bs9 does, in all its threads, while `work` is done. Work that comes for
    /// the first time fills caches and tables: do it once before.
    pub(crate) fn count(
        &mut self,
        work: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<Cost> {
        if self.dumps == 0 {
            self.command(&["instrumentation", "on"])?;
        }
        self.command(&["zero"])?;
        work()?;
        self.command(&["dump"])?;
        self.process.still_running()?;
        self.dumps += 1;
        read(&PathBuf::from(format!("{}.{}", self.profile.display(), self.dumps)))
    }

    fn command(&self, words: &[&str]) -> anyhow::Result<()> {
        let output = Command::new("vgdb")
            .arg(format!("--pid={}", self.pid))
            .args(words)
            .output()
            .context("running vgdb (Debian: valgrind)")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "vgdb {words:?} failed: {said}");
        Ok(())
    }
}

// === The profile ===

fn read(profile: &Path) -> anyhow::Result<Cost> {
    let text = fs::read_to_string(profile)
        .with_context(|| format!("reading {}, which valgrind wrote", profile.display()))?;
    parse(&text).with_context(|| format!("{} is no profile of callgrind's", profile.display()))
}

/// Reads the totals, and who called an allocator how often.
///
/// The format (Callgrind Format Specification): `fn=(ID) NAME` begins a function,
/// `cfn=(ID) NAME` and `calls=COUNT …` tell of its callees; a name is written once.
fn parse(text: &str) -> Option<Cost> {
    let mut names: HashMap<&str, &str> = HashMap::new();
    let (mut caller, mut callee) = ("", "");
    let (mut instructions, mut allocations) = (None, 0u64);
    for line in text.lines() {
        if let Some(function) = line.strip_prefix("fn=") {
            caller = name(&mut names, function)?;
        } else if let Some(function) = line.strip_prefix("cfn=") {
            callee = name(&mut names, function)?;
        } else if let Some(calls) = line.strip_prefix("calls=") {
            if is_allocation(callee) && !is_allocator(caller) {
                allocations += calls.split(' ').next()?.parse::<u64>().ok()?;
            }
        } else if let Some(total) = line.strip_prefix("totals: ") {
            instructions = total.trim().parse::<u64>().ok();
        }
    }
    Some(Cost { instructions: instructions? as f64, allocations: allocations as f64 })
}

/// The name of `(ID) NAME`, or of `(ID)` that had its name before.
fn name<'a>(names: &mut HashMap<&'a str, &'a str>, function: &'a str) -> Option<&'a str> {
    match function.split_once(") ") {
        Some((id, name)) => {
            names.insert(id, name);
            Some(name)
        }
        None => names.get(function.strip_suffix(')')?).copied(),
    }
}

/// The doors of the C library's allocator and of mimalloc.
fn is_allocation(function: &str) -> bool {
    const DOORS: [&str; 12] = [
        "malloc",
        "calloc",
        "realloc",
        "aligned_alloc",
        "memalign",
        "posix_memalign",
        "mi_malloc",
        "mi_malloc_aligned",
        "mi_zalloc",
        "mi_zalloc_aligned",
        "mi_realloc",
        "mi_realloc_aligned",
    ];
    DOORS.contains(&function)
}

/// Whether a call from here is the allocator's own business.
fn is_allocator(function: &str) -> bool {
    function.starts_with("mi_") || function.starts_with("_mi_") || is_allocation(function)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PROFILE: &str = "version: 1
events: Ir
fn=(1) bs9::serve
16 400
cfn=(2) mi_malloc_aligned
calls=3 0
16 90
cfn=(3) mi_free
calls=3 0
16 60
fn=(2)
0 30
cfn=(4) mi_malloc
calls=3 0
0 12
fn=(5) realloc
cfn=(6) malloc
calls=1 0
0 9
fn=(7) main
cfn=(5)
calls=2 0
0 9

totals: 12345
";

    #[test]
    fn allocations_are_calls_from_outside_into_the_allocator() {
        let cost = parse(PROFILE).unwrap();
        assert_eq!(cost, Cost { instructions: 12_345.0, allocations: 5.0 });
        assert_eq!(cost.over(5).allocations, 1.0);
        assert_eq!(parse("events: Ir\n"), None);
        assert_eq!(parse("fn=(1)\ntotals: 1\n"), None, "a name that was never told");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "((fn=|cfn=|calls=|totals: )?[(1-3) a]{0,9}\n){0,9}") {
            let _ = parse(&text);
        }
    }
}
