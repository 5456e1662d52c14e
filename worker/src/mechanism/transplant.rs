//! Transplants between two networks, and the straight line between their weights.
//!
//! As in `reversion`, with the weights of another run in the place of θ⁰: what is
//! lost of the subject's LD when a block, the blocks from k on, or those below k
//! come from there. On the line (1 − α)·first + α·second, the *barrier* is the most
//! by which the loss exceeds the line between the losses of the ends (Entezari et
//! al. 2022): about 0 if the two are in one basin.

use std::collections::BTreeMap;

use super::readout::{Trials, floats, hooked};
use super::rows::{At, Rows};
use super::swap::{Batch, Interval, Pieces, Sums, fired, floats_of_batch, pieces_of_curves};
use super::{Answer, MechanismError, Stop, Study};
use crate::gpt2::hooks::{End, Hooked, Part, Pass, Start};
use crate::gpt2::weights::values;

type Result<T> = std::result::Result<T, MechanismError>;

/// Steps from one end of the line to the other.
const STEPS: u32 = 10;

/// Answers [`Question::Transplant`](seedbed_proto::job::Question::Transplant).
///
/// # Errors
/// See [`super::ask`].
pub fn ask(study: &mut Study<'_>) -> Result<Answer> {
    let mut out = Rows::of_split(study);
    let net = hooked(study.subject, study.ops, study.device)?;
    let trials = Trials::of(study);
    let bytes = study.budget.bytes;
    // Several partners of one pairing count as their mean.
    let mut pairings: BTreeMap<&str, Vec<&super::Subject>> = BTreeMap::new();
    for (pairing, other) in study.others {
        pairings.entry(pairing).or_default().push(other);
    }
    let lines = study.others.len() + usize::from(study.base.is_some());
    if lines == 0 {
        out.note("transplant", "there is no other network to take parts from");
    }
    let mut at = 0;
    let mut lines_of = BTreeMap::<String, Vec<Line>>::new();
    for (pairing, others) in pairings {
        let mut lost = Sums::default();
        for other in &others {
            let other = hooked(other, study.ops, study.device)?;
            net.same_shape(&other)?;
            let pulse = &mut *study.pulse;
            let from = at as f64 / lines as f64;
            let mut pulse = |done: f64| pulse(from + done / lines as f64);
            let ld = transplant(&net, &other, trials, bytes, &mut lost, &mut |d| {
                pulse(0.5 * d)
            })?;
            if !ld.excludes_zero() {
                out.note(&format!("transplant.{pairing}"), ld.why_undefined());
            }
            let line = line(&net, &other, trials, bytes, &mut |d| pulse(0.5 + 0.5 * d))?;
            lines_of.entry(pairing.to_owned()).or_default().push(line);
            at += 1;
        }
        for (name, layer, head, sum) in lost.iter() {
            let name = format!("transplant.{pairing}.{name}");
            let place = At {
                layer,
                head,
                slot: None,
            };
            out.push(&name, place, sum / others.len() as f64);
        }
    }
    if let Some(base) = study.base {
        let base = hooked(base, study.ops, study.device)?;
        let pulse = &mut *study.pulse;
        let from = at as f64 / lines as f64;
        let mut pulse = |done: f64| pulse(from + done / lines as f64);
        let line = line(&base, &net, trials, bytes, &mut pulse)?;
        lines_of
            .entry(study.base_pairing.clone())
            .or_default()
            .push(line);
    }
    for (pairing, lines) in lines_of {
        put(&mut out, &pairing, &lines);
    }
    Ok(out.finish())
}

/// Adds, per curve, what is lost of the subject's LD.
fn transplant(
    net: &Hooked,
    other: &Hooked,
    trials: Trials<'_>,
    bytes: u64,
    lost: &mut Sums,
    pulse: &mut dyn FnMut(f64) -> std::result::Result<(), Stop>,
) -> Result<Interval> {
    let mut intact = vec![];
    let mut sums = Sums::default();
    let layers = net.config().layers;
    for rows in trials.batches(floats_of_batch(net, trials.len), bytes)? {
        let (before, size) = (rows.start as f64, rows.len() as f64);
        let mut pulse = |done: f64| pulse((before + size * done) / trials.count() as f64);
        let mut pieces = Pieces::new(1 + pieces_of_curves(layers), &mut pulse);
        let batch = Batch::new(trials, rows, net, other)?;
        pieces.step()?;
        intact.extend(batch.intact(net)?);
        sums.curves(&batch, net, other, &mut pieces)?;
    }
    let ld = Interval::of(&intact);
    for (name, layer, head, sum) in sums.iter() {
        lost.add(name, layer, head, ld.loss(sum / trials.count() as f64));
    }
    Ok(ld)
}

/// Loss and accuracy at each α, in order.
type Line = Vec<[f64; 2]>;

fn line(
    first: &Hooked,
    second: &Hooked,
    trials: Trials<'_>,
    bytes: u64,
    pulse: &mut dyn FnMut(f64) -> std::result::Result<(), Stop>,
) -> Result<Line> {
    let mut points = vec![];
    for step in 0..=STEPS {
        let net = first.between(second, f64::from(step) / f64::from(STEPS))?;
        match step {
            0 => ends_at(&net, first)?,
            STEPS => ends_at(&net, second)?,
            _ => {}
        }
        let before = f64::from(step);
        let mut pulse = |done: f64| pulse((before + done) / f64::from(STEPS + 1));
        points.push(behaviour(&net, trials, bytes, &mut pulse)?);
    }
    Ok(points)
}

/// Requires that an end of the line is that network, in all its parts.
pub(super) fn ends_at(net: &Hooked, end: &Hooked) -> Result<()> {
    let ends = [Part::Embedding, Part::Unembedding, Part::FinalNorm];
    let blocks = (0..end.config().layers).map(Part::Block);
    let mut parts = ends.into_iter().chain(blocks);
    parts.try_for_each(|part| fired(net, part, end))
}

/// Mean cross-entropy of the answer over the vocabulary, and two-way accuracy.
fn behaviour(
    net: &Hooked,
    trials: Trials<'_>,
    bytes: u64,
    pulse: &mut dyn FnMut(f64) -> std::result::Result<(), Stop>,
) -> Result<[f64; 2]> {
    let vocab = net.config().vocab;
    let (mut loss, mut right) = (0.0, 0.0);
    for rows in trials.batches(floats(net.config(), trials.len) + 2 * vocab, bytes)? {
        let done = rows.end as f64 / trials.count() as f64;
        let ids = trials.prompts(&rows, net.device())?;
        let out = net.run(&Pass::new(Start::Ids(&ids), End::Last))?.out;
        let logits = values(&net.logits(&out)?)?;
        for (row, trial) in logits.chunks_exact(vocab).zip(rows) {
            let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = row.iter().map(|&v| f64::from(v - most).exp()).sum();
            let of = |side: usize| f64::from(row[trials.answers[side] as usize]);
            let answer = usize::from(trials.right[trial]);
            loss += f64::from(most) + sum.ln() - of(answer);
            right += f64::from(u8::from(of(answer) > of(1 - answer)));
        }
        pulse(done)?;
    }
    let count = trials.count() as f64;
    Ok([loss / count, right / count])
}

/// The largest excess of the loss over the line between its ends.
fn barrier(line: &Line) -> f64 {
    let (Some([start, _]), Some([end, _])) = (line.first(), line.last()) else {
        return f64::NAN;
    };
    let steps = (line.len() - 1) as f64;
    let excess = line.iter().enumerate().map(|(i, [loss, _])| {
        let alpha = i as f64 / steps;
        loss - ((1.0 - alpha) * start + alpha * end)
    });
    excess.fold(f64::NEG_INFINITY, f64::max)
}

fn put(out: &mut Rows, pairing: &str, lines: &[Line]) {
    let mean =
        |value: &dyn Fn(&Line) -> f64| lines.iter().map(value).sum::<f64>() / lines.len() as f64;
    for (measure, name) in ["loss", "accuracy"].into_iter().enumerate() {
        for step in 0..=STEPS as usize {
            let alpha = format!("{:.1}", step as f64 / f64::from(STEPS));
            let value = mean(&|line: &Line| line[step][measure]);
            let name = format!("interpolation.{pairing}.{name}");
            out.push(&name, At::slot(&alpha), value);
        }
    }
    let name = format!("interpolation.{pairing}.barrier");
    out.push(&name, At::WHOLE, mean(&|line: &Line| barrier(line)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_barrier_is_what_rises_above_the_straight_line() {
        let line = |losses: &[f64]| losses.iter().map(|&l| [l, 0.0]).collect::<Line>();
        assert_eq!(barrier(&line(&[1.0, 2.0, 3.0])), 0.0);
        assert_eq!(barrier(&line(&[1.0, 5.0, 3.0])), 3.0);
        assert_eq!(
            barrier(&line(&[4.0, 1.0, 2.0])),
            0.0,
            "a valley is no barrier"
        );
    }
}
