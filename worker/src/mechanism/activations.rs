//! The residual stream of many trials, place by place.
//!
//! A place is a depth (0: embeddings, L: what leaves the last block) and a slot of
//! the template, which is one token position, the same in all trials. As many places
//! are read in one pass as the budget holds; so what is in memory never grows with
//! the number of layers.

use candle_core::Device;

use super::numerics::matrix::Matrix;
use super::readout::{Trials, floats};
use super::{MechanismError, Study};
use crate::gpt2::Config;
use crate::gpt2::hooks::{End, Hooked, Pass, Point, Site, Start};
use crate::gpt2::weights::values;
use crate::task::Prepared;

type Result<T> = std::result::Result<T, MechanismError>;

/// The token positions that are read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Slots(pub Vec<(&'static str, usize)>);

impl Slots {
    /// The template's slots, in its order, then "last".
    pub fn of(task: &Prepared, split: &crate::task::EvalSplit) -> Self {
        let Some(trial) = split.trials.first() else {
            return Self(vec![("last", task.prompt_len() - 1)]);
        };
        // By what they show, not by what that is to a trial: one position each.
        let names = task.kind().slots().iter().map(|slot| slot.name);
        let positions = task.slot_positions(trial).into_iter().map(|(_, at)| at);
        Self(names.chain(["last"]).zip(positions).collect())
    }

    /// The last position alone.
    pub fn last(task: &Prepared) -> Self {
        Self(vec![("last", task.prompt_len() - 1)])
    }
}

/// Where an activation is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// 0 to L.
    pub depth: usize,
    /// Which of the slots.
    pub slot: usize,
}

/// All places, a portion at a time.
pub(super) struct Portions {
    /// Places that are read in one pass.
    pub places: Vec<Vec<Place>>,
    /// Bytes for the batches of that pass, on their way through a network.
    pub batch_bytes: usize,
}

/// All places, in portions of which the activations of `networks` networks fit into
/// the study's budget beside `workspace` bytes and a batch on its way through one.
///
/// # Errors
/// If not even one place fits.
pub(super) fn portions(
    study: &Study<'_>,
    slots: &Slots,
    networks: usize,
    workspace: usize,
) -> Result<Portions> {
    let config = &study.subject.config;
    let trials = Trials::of(study);
    let one = 4 * networks * trials.count() * config.width;
    let most = usize::try_from(study.budget.bytes).unwrap_or(usize::MAX);
    let sequence = 4 * held(config, trials.len, config.layers + 1);
    let batch_bytes = (most / 4).min(BATCH_BYTES_MAX).max(sequence);
    let fit = most.saturating_sub(workspace + batch_bytes) / one.max(1);
    if fit == 0 {
        let place = one + workspace;
        // A batch takes a quarter of what is allowed, within its two limits.
        let quarter = place.div_ceil(3).min(BATCH_BYTES_MAX);
        let mib = (place + quarter.max(sequence)).div_ceil(1 << 20);
        return Err(MechanismError::Invalid(format!(
            "{} trials of width {} in {networks} networks take {mib} MiB, more than the {} MiB \
             that are allowed; raise `inspect.memory_mib` to {mib} or lower `inspect.items`",
            trials.count(),
            config.width,
            most >> 20
        )));
    }
    let places = (0..=config.layers).flat_map(|depth| {
        let place = move |slot| Place { depth, slot };
        (0..slots.0.len()).map(place)
    });
    let places: Vec<_> = places.collect();
    Ok(Portions {
        places: places.chunks(fit).map(<[Place]>::to_vec).collect(),
        batch_bytes,
    })
}

/// Numbers that a sequence takes on its way through a network that keeps the stream
/// at so many depths.
fn held(config: &Config, len: usize, depths: usize) -> usize {
    (depths + 1) * len * config.width + floats(config, len)
}

/// The activations of a network at some places: (trials, C) each, read in batches of
/// at most `batch_bytes`. `pulse` is called between two batches.
///
/// # Errors
/// If the network can't run the prompts, or of `pulse`.
pub(super) fn read(
    net: &Hooked,
    trials: Trials<'_>,
    slots: &Slots,
    places: &[Place],
    batch_bytes: usize,
    pulse: &mut dyn FnMut() -> Result<()>,
) -> Result<Vec<Matrix<f32>>> {
    let c = net.config().width;
    let mut found: Vec<_> = (places.iter())
        .map(|_| Matrix::new(0, c, Vec::with_capacity(trials.count() * c)))
        .collect();
    let Some(deepest) = places.iter().map(|place| place.depth).max() else {
        return Ok(found);
    };
    let mut depths: Vec<_> = places.iter().map(|place| place.depth).collect();
    depths.dedup();
    let point = |depth| Point::Block(depth, Site::ResidPre);
    let reads: Vec<_> = (depths.iter())
        .filter(|&&depth| depth < deepest)
        .map(|&depth| point(depth))
        .collect();
    let held = held(net.config(), trials.len, depths.len());
    for rows in trials.batches(held, batch_bytes as u64)? {
        let ids = trials.prompts(&rows, net.device())?;
        let pass = Pass::new(Start::Ids(&ids), End::Block(deepest)).reading(&reads);
        let trace = net.run(&pass)?;
        for (place, found) in places.iter().zip(&mut found) {
            let stream = match place.depth {
                depth if depth == deepest => &trace.out,
                depth => trace.get(point(depth))?,
            }; // (B, T, C)
            let position = slots.0[place.slot].1;
            let here = stream.narrow(1, position, 1)?.to_device(&Device::Cpu)?;
            found.data.extend(values(&here.contiguous()?)?);
            found.rows += rows.len();
        }
        pulse()?;
    }
    Ok(found)
}

/// Most bytes of one batch on its way through a network, which are held only then.
const BATCH_BYTES_MAX: usize = 64 << 20;

/// Tells the pulse how many of so many pieces are done.
pub(super) struct Course {
    done: usize,
    total: usize,
}

impl Course {
    /// Nothing is done yet.
    pub fn new(total: usize) -> Self {
        Self { done: 0, total }
    }

    /// One more piece is done.
    pub fn step(&mut self) {
        self.done += 1;
    }

    /// Tells the study's pulse, and asks whether to go on.
    ///
    /// # Errors
    /// If not.
    pub fn tell(&self, study: &mut Study<'_>) -> Result<()> {
        Ok((study.pulse)(self.done as f64 / self.total.max(1) as f64)?)
    }
}
