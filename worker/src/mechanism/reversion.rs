//! Reversion and ablation: what is lost when parts go back to their first weights.
//!
//! R = [LD(net) − LD(net, part ← θ⁰)] / LD(net), A = [LD(net) − LD(net, what the
//! part adds ← its dataset mean at each position)] / LD(net), LD the mean over
//! trials. Small R with large A: the part is used, as it was before training. Small
//! R with small A: it is not used, and says nothing about reuse.

use candle_core::{DType, Tensor};

use super::readout::{Trials, floats, hooked};
use super::rows::{At, Rows};
use super::swap::{Batch, Interval, Pieces, Sums, floats_of_batch, pieces_of_curves};
use super::{Answer, MechanismError, Study};
use crate::gpt2::hooks::{Edit, End, Hooked, Part, Pass, Point, Site, Start};

type Result<T> = std::result::Result<T, MechanismError>;

/// Answers [`Question::Reversion`](seedbed_proto::job::Question::Reversion).
///
/// # Errors
/// See [`super::ask`].
pub fn ask(study: &mut Study<'_>) -> Result<Answer> {
    let Some(origin) = study.origin else {
        let text = "reversion needs the weights with which the run started".to_owned();
        return Err(MechanismError::Invalid(text));
    };
    let net = hooked(study.subject, study.ops, study.device)?;
    let origin = hooked(origin, study.ops, study.device)?;
    net.same_shape(&origin)?;
    let trials = Trials::of(study);
    let (bytes, layers) = (study.budget.bytes, net.config().layers);
    let count = trials.count() as f64;

    let mut pulse = |done: f64| (study.pulse)(done);
    let means = means(&net, trials, bytes, &mut |done| pulse(0.05 * done))?;
    let mut intact = vec![];
    let mut sums = Sums::default();
    for rows in trials.batches(floats_of_batch(&net, trials.len), bytes)? {
        let (before, size) = (rows.start as f64, rows.len() as f64);
        let mut pulse = |done: f64| pulse(0.05 + 0.95 * ((before + size * done) / count));
        let mut pieces = Pieces::new(pieces_of_batch(&net), &mut pulse);
        let batch = Batch::new(trials, rows, &net, &origin)?;
        pieces.step()?;
        intact.extend(batch.intact(&net)?);
        sums.curves(&batch, &net, &origin, &mut pieces)?;
        let mut add = |name, layer, head, part| -> Result<()> {
            sums.add(name, layer, head, batch.with(&net, part, &origin)?);
            pieces.step()
        };
        add("embedding", None, None, Part::Embedding)?;
        add("unembedding", None, None, Part::Unembedding)?;
        add("ln_f", None, None, Part::FinalNorm)?;
        for layer in 0..layers {
            let place = Some(layer);
            add("attn", place, None, Part::Attention(layer))?;
            add("mlp", place, None, Part::Mlp(layer))?;
            add("ln", place, None, Part::Norms(layer))?;
            for head in 0..net.config().heads {
                add("head", place, Some(head), Part::Head(layer, head))?;
            }
        }
        for (layer, both) in means.iter().enumerate() {
            for (name, edits) in [
                ("ablation.block", &both[..]),
                ("ablation.attn", &both[..1]),
                ("ablation.mlp", &both[1..]),
            ] {
                let sum = batch.edited(&net, layer, edits)?;
                sums.add(name, Some(layer), None, sum);
                pieces.step()?;
            }
        }
    }

    let mut out = Rows::of_split(study);
    let ld = Interval::of(&intact);
    out.push("reversion.ld", At::WHOLE, ld.mean);
    out.push("reversion.ld_lo", At::WHOLE, ld.low);
    out.push("reversion.ld_hi", At::WHOLE, ld.high);
    if !ld.excludes_zero() {
        out.note("reversion", ld.why_undefined());
        out.note("ablation", ld.why_undefined());
    }
    for (name, layer, head, sum) in sums.iter() {
        let name = match name.starts_with("ablation.") {
            true => name.to_owned(),
            false => format!("reversion.{name}"),
        };
        let at = At {
            layer,
            head,
            slot: None,
        };
        out.push(&name, at, ld.loss(sum / count));
    }
    Ok(out.finish())
}

/// Making a batch; curves; the ends; of each layer attention, MLP, norms and heads,
/// and three ablations.
fn pieces_of_batch(net: &Hooked) -> usize {
    let config = net.config();
    1 + pieces_of_curves(config.layers) + 3 + config.layers * (3 + config.heads + 3)
}

/// For each layer the edits that put the mean over trials, at each position, in the
/// place of what attention and MLP add to the stream.
fn means(
    net: &Hooked,
    trials: Trials<'_>,
    bytes: u64,
    pulse: &mut dyn FnMut(f64) -> std::result::Result<(), super::Stop>,
) -> Result<Vec<[Edit; 2]>> {
    let layers = net.config().layers;
    let points: Vec<_> = (0..layers)
        .flat_map(|layer| [Site::AttnOut, Site::MlpOut].map(|site| Point::Block(layer, site)))
        .collect();
    let mut sums: Vec<Option<Tensor>> = vec![None; points.len()];
    let held = points.len() * trials.len * net.config().width;
    for rows in trials.batches(held + floats(net.config(), trials.len), bytes)? {
        let ids = trials.prompts(&rows, net.device())?;
        let pass = Pass::new(Start::Ids(&ids), End::Block(layers)).reading(&points);
        let mut trace = net.run(&pass)?;
        for (point, sum) in points.iter().zip(&mut sums) {
            // f64: thousands of trials would cost a mean its last digits.
            let added = trace.take(*point)?.to_dtype(DType::F64)?.sum_keepdim(0)?; // (1, T, C)
            *sum = Some(match sum.take() {
                Some(before) => (before + added)?,
                None => added,
            });
        }
        pulse(rows.end as f64 / trials.count() as f64)?;
    }
    let mean = |(point, sum): (&Point, Option<Tensor>)| -> Result<Edit> {
        let sum = sum.ok_or_else(|| MechanismError::Invalid("no trials to average".to_owned()))?;
        let mean = (sum / trials.count() as f64)?.to_dtype(DType::F32)?;
        Ok(Edit::new(*point, mean))
    };
    let edits = points
        .iter()
        .zip(sums)
        .map(mean)
        .collect::<Result<Vec<_>>>()?;
    Ok(edits
        .chunks_exact(2)
        .map(|pair| [pair[0].clone(), pair[1].clone()])
        .collect())
}
