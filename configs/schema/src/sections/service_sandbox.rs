//! `hardening` of a service.

use super::service::path;
use crate::{
    model::{Hardening, Relaxation},
    raw::Value,
    read::{Key, Scope, Word, list, text, words},
};

/// Each word says what it costs.
const RELAXATIONS: &[Word<Relaxation>] = &[
    Word::is(
        "jit",
        Relaxation::Jit,
        "Memory may be written and then executed. JIT compilers (node, bun, deno, java, .NET) need it and have it anyway; an attacker who can write memory can then run code of their own.",
    ),
    Word::is(
        "home",
        Relaxation::Home,
        "All home folders can be read: keys, tokens and mail of every user it can reach.",
    ),
    Word::is(
        "working-folder",
        Relaxation::WorkingFolder,
        "Its own code can be written: what breaks in once can stay.",
    ),
    Word::is(
        "devices",
        Relaxation::Devices,
        "The machine's devices: disks, cameras, GPUs, as far as their permissions go.",
    ),
    Word::is(
        "tmp",
        Relaxation::Tmp,
        "/tmp is everybody's: others can see its files there, and put some in its way.",
    ),
    Word::is(
        "system-calls",
        Relaxation::SystemCalls,
        "Every system call: more of the kernel can be attacked.",
    ),
    Word::is(
        "namespaces",
        Relaxation::Namespaces,
        "Namespaces of its own (containers, the sandbox of a browser): more of the kernel can be attacked.",
    ),
    Word::is(
        "netlink",
        Relaxation::Netlink,
        "Every kind of socket: it can look at, and with privileges change, the machine's network.",
    ),
    Word::is(
        "privileges",
        Relaxation::Privileges,
        "It can gain privileges by sudo and setuid programs.",
    ),
    Word::is(
        "processes",
        Relaxation::Processes,
        "It sees the processes of other users and their command lines.",
    ),
    Word::is(
        "low-ports",
        Relaxation::LowPorts,
        "A system service may take ports below 1024 (CAP_NET_BIND_SERVICE).",
    ),
    Word::is(
        "everything",
        Relaxation::Everything,
        "No sandbox at all: it can do whatever its user can.",
    ),
];

pub(super) fn hardening(t: &mut Scope<'_>) -> Option<Hardening> {
    let relax = t.or(
        Key::new("relax", "What it is not kept from; each costs what it says."),
        list(words(RELAXATIONS)),
        Value::List(Vec::new()),
    );
    let writable = t.or(
        Key::new("writable", "Files and folders that it may write; they have to exist when it starts. Everything else is read-only, its own folder included."),
        list(text("a path", None, path)),
        Value::List(Vec::new()),
    );
    let readable = t.or(
        Key::new("readable", "What it may read below a home folder, besides its own folder. Home folders look empty otherwise."),
        list(text("a path", None, path)),
        Value::List(Vec::new()),
    );
    Some(Hardening { relax, writable, readable })
}

/// What a relaxation is called, and what it costs.
pub(crate) fn relaxation(relaxation: Relaxation) -> Option<(&'static str, &'static str)> {
    RELAXATIONS.iter().find(|word| word.means(&relaxation)).map(|word| (word.text, word.doc))
}

impl Relaxation {
    /// The word for it.
    pub fn word(self) -> &'static str {
        relaxation(self).map_or("", |(word, _)| word)
    }

    /// What it costs, for people.
    pub fn cost(self) -> &'static str {
        relaxation(self).map_or("", |(_, cost)| cost)
    }
}
