//! One pass over tensors: sums of all models, chosen pairs element by element and the digests of the files, from one read of
//! every byte.
//!
//! Tensors are taken in the order in which they lie in the final checkpoint's files, each in windows of some tiles. A thread
//! takes the next window, reads it of every model and hands its bytes to whoever wants them; so all files are read from
//! front to back, and memory is that of one window a thread.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::elementwise::Twins;
use super::hashing::Fed;
use super::lines::Share;
use super::pool;
use super::reporter::Reporter;
use super::tensors::{Sums, TILE, place};
use scratchproof_checkpoint::Checkpoint;
use scratchproof_error::{Context, Error, Result};
use scratchproof_measurements::{Elementwise, Kept, Member, Plan, TensorFigures, Unit};

/// Bytes of a window, of all models together, and its tiles at most.
const WINDOW: (usize, usize) = (8 << 20, 8);

/// What a pass is over and what it hands its bytes to.
pub(super) struct Pass<'a> {
    pub plan: &'a Plan,
    /// Every model of the plan.
    pub models: &'a [&'a Checkpoint],
    /// The pairs of models that are compared element by element.
    pub pairs: &'a [(usize, usize)],
    /// By model which keys of its rows and columns are kept.
    pub shares: &'a [Option<Share>],
    /// Hears what was read of each file; of sums alone, which read everything.
    pub hear: &'a (dyn Fn(Vec<Fed<'_>>) -> Result<()> + Sync),
    pub reporter: &'a dyn Reporter,
}

/// A part as positions of its units, and what of it is wanted.
pub(super) struct Wanted {
    pub units: Range<usize>,
    pub figures: bool,
    pub elementwise: bool,
}

/// What came of a part; nothing of what was not wanted.
#[derive(Default)]
pub(super) struct Made {
    pub figures: Option<Vec<(TensorFigures, Kept)>>,
    pub elementwise: Option<Vec<Elementwise>>,
}

/// What came of one tensor.
type Finished = (Option<(TensorFigures, Kept)>, Vec<Elementwise>);

/// Makes what is wanted of some parts; `done` takes each as it is whole, with its place among them.
///
/// # Errors
/// If a file cannot be read: the message names the model and the tensor. Those of `done`.
pub(super) fn run<'a>(
    pass: &'a Pass<'a>,
    wanted: &'a [Wanted],
    done: &'a (dyn Fn(usize, Made) -> Result<()> + Sync),
) -> Result<()> {
    let mut queue: Vec<(usize, usize)> = Vec::new();
    for (at, own) in wanted.iter().enumerate().filter(|(_, own)| own.figures || own.elementwise) {
        queue.extend(own.units.clone().map(|unit| (at, unit)));
    }
    queue.sort_by_cached_key(|(_, unit)| {
        let unit = &pass.plan.units[*unit];
        let own = unit.members.iter().rfind(|member| member.model < pass.plan.series).or(unit.members.first());
        own.map(|member| (!unit.in_subject(), member.model, member.shard, member.offset))
    });
    let open = |own: &Wanted| {
        let units = own.units.len();
        Open { finished: Mutex::new((0..units).map(|_| None).collect()), left: AtomicUsize::new(units) }
    };
    let running = Running {
        pass,
        wanted,
        queue,
        open: wanted.iter().map(open).collect(),
        cursor: Mutex::new(Cursor { next: 0, current: None, failed: None }),
        done,
    };
    // Threads of their own: one that waits must not take up a task of the pool meanwhile. Called from the pool there is
    // no other.
    let threads = if rayon::current_thread_index().is_some() { 1 } else { rayon::current_num_threads() };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            // Where no thread is to be had this one does it all.
            let _ = std::thread::Builder::new().spawn_scoped(scope, || running.take_all());
        }
        running.take_all();
    });
    let cursor = running.cursor.into_inner().unwrap_or_else(PoisonError::into_inner);
    cursor.failed.map_or(Ok(()), |(_, error)| Err(error))
}

/// A pass under way.
struct Running<'a> {
    pass: &'a Pass<'a>,
    wanted: &'a [Wanted],
    /// Part, as place among those wanted, and unit, in the order of reading.
    queue: Vec<(usize, usize)>,
    open: Vec<Open>,
    cursor: Mutex<Cursor<'a>>,
    done: &'a (dyn Fn(usize, Made) -> Result<()> + Sync),
}

/// A part of which something is still to come.
struct Open {
    finished: Mutex<Vec<Option<Finished>>>,
    left: AtomicUsize,
}

/// What is taken next.
struct Cursor<'a> {
    next: usize,
    current: Option<(Arc<Active<'a>>, usize)>,
    /// The first window that failed.
    failed: Option<((usize, usize), Error)>,
}

/// A tensor under way.
struct Active<'a> {
    /// Its place in the queue.
    place: usize,
    unit: &'a Unit,
    sums: Option<Sums<'a>>,
    twins: Option<Twins<'a>>,
    /// Elements of a window, and how many there are.
    window: usize,
    windows: usize,
    /// The beginning of the copies that are compared, read to learn their formats.
    first: Mutex<Vec<Vec<u8>>>,
    /// Whether what is computed from other files is at hand. One thread computes it.
    ready: Mutex<bool>,
    /// Whether a window of it could not be read.
    broken: AtomicBool,
}

/// Memory that a thread uses for one window after the other.
#[derive(Default)]
struct Scratch {
    bytes: Vec<Vec<u8>>,
    values: Vec<f64>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Running<'a> {
    fn take_all(&self) {
        let mut scratch = Scratch::default();
        while let Some((active, window)) = self.take() {
            let place = (active.place, window);
            let tensor = active.unit.tensor.clone();
            let mut result = active.read(self.pass, window, &mut scratch);
            if result.is_err() {
                active.broken.store(true, Ordering::Relaxed);
            }
            // The last to leave a tensor has it alone.
            if let Some(active) = Arc::into_inner(active).filter(|active| !active.broken.load(Ordering::Relaxed)) {
                result = self.finish(active);
            }
            if let Err(error) = result {
                self.fail(place, error.context(tensor));
            }
        }
    }

    /// Notes a failure; of several the first in the order of reading is told.
    fn fail(&self, place: (usize, usize), error: Error) {
        let mut cursor = lock(&self.cursor);
        if cursor.failed.as_ref().is_none_or(|(first, _)| place < *first) {
            cursor.failed = Some((place, error));
        }
    }

    /// The next window; none once all are taken, or one failed.
    fn take(&self) -> Option<(Arc<Active<'a>>, usize)> {
        let mut cursor = lock(&self.cursor);
        if cursor.failed.is_some() {
            return None;
        }
        if let Some((active, next)) = cursor.current.take() {
            if next + 1 < active.windows {
                cursor.current = Some((Arc::clone(&active), next + 1));
            }
            return Some((active, next));
        }
        let place = cursor.next;
        let &(at, unit) = self.queue.get(place)?;
        cursor.next += 1;
        match Active::new(self.pass, place, &self.wanted[at], unit) {
            Ok(active) => {
                let active = Arc::new(active);
                if active.windows > 1 {
                    cursor.current = Some((Arc::clone(&active), 1));
                }
                Some((active, 0))
            }
            Err(error) => {
                cursor.failed = Some(((place, 0), error.context(self.pass.plan.units[unit].tensor.clone())));
                None
            }
        }
    }

    /// Ends a tensor, and its part if it was the last of it.
    fn finish(&self, active: Active<'a>) -> Result<()> {
        let Active { place, sums, twins, .. } = active;
        let (at, index) = self.queue[place];
        let (own, open) = (&self.wanted[at], &self.open[at]);
        let figures = sums.map(Sums::finish);
        let elementwise = twins.map_or(Ok(Vec::new()), Twins::finish)?;
        lock(&open.finished)[index - own.units.start] = Some((figures, elementwise));
        if open.left.fetch_sub(1, Ordering::AcqRel) > 1 {
            return Ok(());
        }
        let all = std::mem::take(&mut *lock(&open.finished));
        let (mut figures, mut elementwise) = (Vec::new(), Vec::new());
        for (own, pairs) in all.into_iter().flatten() {
            figures.extend(own);
            elementwise.extend(pairs);
        }
        pool::gather(&self.pass.plan.units[own.units.clone()], &mut figures);
        let made =
            Made { figures: own.figures.then_some(figures), elementwise: own.elementwise.then_some(elementwise) };
        (self.done)(at, made)
    }
}

impl<'a> Active<'a> {
    fn new(pass: &Pass<'a>, place: usize, wanted: &Wanted, index: usize) -> Result<Self> {
        let unit = &pass.plan.units[index];
        let twins = if wanted.elementwise { Twins::new(pass.plan, index, pass.models, pass.pairs) } else { None };
        let tile: usize = unit.members.iter().map(|member| TILE * member.dtype.width()).sum();
        let window = TILE * (WINDOW.0 / tile.max(1)).clamp(1, WINDOW.1);
        let windows = unit.elements().div_ceil(window).max(1);
        let first = match &twins {
            // Several threads may look at windows of it at once, and all must know the formats.
            Some(twins) if windows > 1 => {
                let read = |slot: &usize| bytes_of(pass, &unit.members[*slot], &twins.span(0));
                let first: Vec<Vec<u8>> = twins.slots().iter().map(read).collect::<Result<_>>()?;
                twins.begin(&first.iter().map(Vec::as_slice).collect::<Vec<_>>());
                first
            }
            _ => Vec::new(),
        };
        Ok(Self {
            place,
            unit,
            sums: wanted.figures.then(|| Sums::new(unit, pass.plan, pass.shares)),
            twins,
            window,
            windows,
            first: Mutex::new(first),
            ready: Mutex::new(false),
            broken: AtomicBool::new(false),
        })
    }

    /// Computes what is computed from other files, before several threads ask for it at once.
    fn prepare(&self, pass: &Pass) -> Result<()> {
        let mut ready = lock(&self.ready);
        if *ready || self.sums.is_none() || self.unit.elements() == 0 {
            return Ok(());
        }
        for member in &self.unit.members {
            let model = pass.models[member.model];
            let blob = &model.shards[member.shard].blob;
            if blob.is_made() {
                blob.read_at(member.offset, &mut [0]).context(|| model.uri.clone())?;
            }
        }
        *ready = true;
        Ok(())
    }

    /// Reads a window of every copy and hands it on.
    fn read(&self, pass: &Pass<'a>, at: usize, scratch: &mut Scratch) -> Result<()> {
        self.prepare(pass)?;
        let elements = self.unit.elements();
        let own = at * self.window..((at + 1) * self.window).min(elements);
        let (tiles, compared) = match &self.twins {
            Some(twins) => {
                let tiles = twins.tiles(&own);
                let compared = if tiles.is_empty() {
                    own.start..own.start
                } else {
                    twins.span(tiles.start).start..twins.span(tiles.end - 1).end
                };
                (tiles, compared)
            }
            None => (0..0, own.start..own.start),
        };
        let members = &self.unit.members;
        let slots = self.twins.as_ref().map_or(&[][..], Twins::slots);
        let spans: Vec<Range<usize>> = (0..members.len())
            .map(|slot| match (self.sums.is_some(), slots.contains(&slot)) {
                // Rows that begin in this window and end in the next are read to their end.
                (true, true) => own.start..own.end.max(compared.end),
                (true, false) => own.clone(),
                (false, true) => compared.clone(),
                (false, false) => own.start..own.start,
            })
            .collect();
        scratch.bytes.resize(scratch.bytes.len().max(members.len()), Vec::new());
        let mut first = if at == 0 { std::mem::take(&mut *lock(&self.first)) } else { Vec::new() };
        let mut bytes: Vec<&[u8]> = Vec::with_capacity(members.len());
        for ((slot, member), buffer) in members.iter().enumerate().zip(&mut scratch.bytes) {
            let known = slots.iter().position(|own| *own == slot).and_then(|own| first.get_mut(own));
            bytes.push(read(pass.models[member.model], member, &spans[slot], known.map(std::mem::take), buffer)?);
        }
        let cut = |slot: usize, range: &Range<usize>| -> &[u8] {
            let (width, from) = (members[slot].dtype.width(), spans[slot].start);
            &bytes[slot][(range.start - from) * width..(range.end - from) * width]
        };
        if let Some(sums) = &self.sums {
            let fed = |(slot, member): (usize, &Member)| {
                let (offset, _) = place(member, &own);
                Fed { file: (member.model, member.shard), offset, bytes: cut(slot, &own) }
            };
            (pass.hear)(members.iter().enumerate().map(fed).collect())?;
            for start in own.clone().step_by(TILE) {
                let range = start..(start + TILE).min(own.end);
                let tile: Vec<&[u8]> = (0..members.len()).map(|slot| cut(slot, &range)).collect();
                sums.add(start / TILE, &tile, &mut scratch.values);
            }
        }
        if let Some(twins) = &self.twins {
            for tile in tiles {
                let range = twins.span(tile);
                let bytes: Vec<&[u8]> = slots.iter().map(|slot| cut(*slot, &range)).collect();
                if tile == 0 {
                    twins.begin(&bytes);
                }
                twins.add(tile, &bytes);
            }
        }
        let mut done = 0;
        for (slot, member) in members.iter().enumerate() {
            let range = if self.sums.is_some() { &own } else { &spans[slot] };
            let (offset, length) = place(member, range);
            pass.models[member.model].shards[member.shard].blob.release(offset, length);
            done += length as u64;
        }
        if self.sums.is_some() {
            pass.reporter.advance(done);
        }
        Ok(())
    }
}

/// Elements of a copy, into the buffer where they are not in memory anyway; the beginning may be `known`.
fn read<'b>(
    model: &'b Checkpoint,
    member: &Member,
    range: &Range<usize>,
    known: Option<Vec<u8>>,
    buffer: &'b mut Vec<u8>,
) -> Result<&'b [u8]> {
    let (offset, length) = place(member, range);
    let blob = &model.shards[member.shard].blob;
    if let Some(bytes) = blob.resident(offset, length) {
        return Ok(bytes);
    }
    buffer.resize(length, 0);
    let known = known.filter(|known| known.len() <= length).unwrap_or_default();
    let (beginning, rest) = buffer.split_at_mut(known.len());
    beginning.copy_from_slice(&known);
    if !rest.is_empty() {
        blob.read_at(offset + known.len() as u64, rest).context(|| model.uri.clone())?;
    }
    Ok(buffer)
}

fn bytes_of(pass: &Pass, member: &Member, range: &Range<usize>) -> Result<Vec<u8>> {
    let (offset, length) = place(member, range);
    let model = pass.models[member.model];
    let mut bytes = vec![0; length];
    model.shards[member.shard].blob.read_at(offset, &mut bytes).context(|| model.uri.clone())?;
    Ok(bytes)
}
