//! A shard's share of the logs: lines that were written and not handed over.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    task::{Poll, Waker},
    time::Duration,
};

use bs9_net::Shard;

use super::{AccessLog, Entry, calendar::Calendar, queue::Batch, writer::Writer};

/// A sheet is handed over at this size, or after this time, whatever comes first.
const SHEET_BYTES: usize = 32 * 1024;
const SHEET_TIME: Duration = Duration::from_millis(100);

/// See the module.
pub(crate) struct Desk {
    sheets: RefCell<Vec<Sheet>>,
    calendar: Calendar,
    /// Whether something waits to be handed over.
    dirty: Cell<bool>,
    waiting: Cell<Option<Waker>>,
}

/// What one writer will be given next.
#[derive(Debug)]
struct Sheet {
    writer: Arc<Writer>,
    batch: Batch,
}

impl Desk {
    /// A desk, and a task that hands over what has waited for a moment.
    pub(crate) fn new(shard: &Rc<Shard>) -> Rc<Self> {
        let desk = Rc::new(Self {
            sheets: RefCell::default(),
            calendar: Calendar::new(),
            dirty: Cell::new(false),
            waiting: Cell::new(None),
        });
        bs9_net::spawn(Rc::clone(&desk).hand_over_in_time(Rc::clone(shard)));
        desk
    }

    /// Writes a line.
    pub(crate) fn write(&self, log: &AccessLog, entry: &Entry<'_>) {
        let mut sheets = self.sheets.borrow_mut();
        let same = |sheet: &Sheet| Arc::ptr_eq(&sheet.writer, &log.writer);
        let at = sheets.iter().position(same).unwrap_or_else(|| {
            let writer = Arc::clone(&log.writer);
            sheets.push(Sheet { writer, batch: Batch::default() });
            sheets.len() - 1
        });
        let Sheet { writer, batch } = &mut sheets[at];
        let names = (&*log.listener, &*log.request_id_header);
        log.layout.write(names, entry, &self.calendar, &mut batch.lines);
        batch.count += 1;
        if batch.lines.len() >= SHEET_BYTES {
            writer.queue.put(batch);
        }
        if !self.dirty.replace(true)
            && let Some(waker) = self.waiting.take()
        {
            waker.wake();
        }
    }

    async fn hand_over_in_time(self: Rc<Self>, shard: Rc<Shard>) {
        let timer = shard.timer();
        loop {
            poll_fn(|cx| {
                if self.dirty.get() {
                    return Poll::Ready(());
                }
                self.waiting.set(Some(cx.waker().clone()));
                Poll::Pending
            })
            .await;
            timer.set(SHEET_TIME);
            timer.elapsed().await;
            self.hand_over();
        }
    }

    fn hand_over(&self) {
        self.dirty.set(false);
        for Sheet { writer, batch } in &mut *self.sheets.borrow_mut() {
            if batch.count > 0 {
                writer.queue.put(batch);
            }
        }
    }

    /// Hands everything over, and lets go of writers: another configuration may have others.
    pub(crate) fn clear(&self) {
        self.hand_over();
        self.sheets.borrow_mut().clear();
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.hand_over();
    }
}
