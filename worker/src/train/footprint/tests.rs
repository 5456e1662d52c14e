//! The count against the peaks of real runs, and what is made of it.

use std::ops::Range;
use std::path::Path;

use candle_core::{Device, Tensor};
use seedbed_proto::JobKey;
use seedbed_proto::job::{DeviceKind, Frozen, Init, Optim, Shape};
use seedbed_proto::result::Metric;

use super::*;
use crate::gpt2::{Entry, Gpt2, init, trainable};
use crate::job::{Directive, Host, Progress, RunContext};
use crate::mechanism::drift::drift;
#[cfg(target_os = "linux")]
use crate::memory::{peak::peaks, words};
use crate::train::error::TrainError;
use crate::train::tests_support::optim;
use crate::train::trainer::{Course, Halt, Settings, Visit, train};

const LEN: usize = 32;
const BATCH: u32 = 64;

/// One kind of job.
#[derive(Debug, Clone)]
struct Case {
    engine: Engine,
    loss: Loss,
    frozen: Frozen,
    width: u32,
    drifts: bool,
}

fn cases() -> Vec<Case> {
    let case = |ops, dtype, loss, micro_batch, frozen| Case {
        engine: Engine {
            device: DeviceKind::Cpu,
            ops,
            dtype,
            micro_batch,
        },
        loss,
        frozen,
        width: 192,
        drifts: false,
    };
    vec![
        case(Ops::Fused, Dtype::F32, Loss::Full, BATCH, Frozen::None),
        case(Ops::Fused, Dtype::F32, Loss::Answer, BATCH, Frozen::None),
        case(Ops::Fused, Dtype::F32, Loss::Full, BATCH / 4, Frozen::None),
        case(Ops::Fused, Dtype::F32, Loss::Full, BATCH, Frozen::Prefix(2)),
        case(Ops::Composite, Dtype::F32, Loss::Full, BATCH, Frozen::None),
        case(
            Ops::Composite,
            Dtype::F32,
            Loss::Answer,
            BATCH / 2,
            Frozen::None,
        ),
        case(
            Ops::Composite,
            Dtype::Bf16,
            Loss::Answer,
            BATCH,
            Frozen::None,
        ),
        // Little trains, a few sequences at a time: the fullest moment is the drift's.
        Case {
            width: 768,
            drifts: true,
            ..case(Ops::Fused, Dtype::F32, Loss::Answer, 4, Frozen::Prefix(3))
        },
    ]
}

impl Case {
    fn config(&self) -> Config {
        let shape = Shape {
            layers: 4,
            heads: 4,
            width: self.width,
            positions: LEN as u32,
        };
        Config::new(&shape, 2000).expect("valid")
    }

    fn trainable(&self) -> BTreeSet<String> {
        trainable(&self.config(), &self.frozen, false).expect("fits")
    }
}

fn footprint(case: &Case) -> Footprint {
    Footprint::of(&Job {
        config: &case.config(),
        trainable: &case.trainable(),
        engine: case.engine,
        len: LEN,
        batch: BATCH,
        loss: case.loss,
        eval_batch: 0,
        keeps: false,
        drifts: case.drifts,
    })
}

/// The same sequences at every step.
struct Same {
    ids: Vec<u32>,
    loss: Loss,
    drifts: bool,
}

impl Course for Same {
    type Batch = ();

    fn batch(&self, _step: u64) -> Result<(), TrainError> {
        Ok(())
    }

    fn loss(
        &self,
        model: &Gpt2,
        (): &(),
        _step: u64,
        rows: Range<usize>,
    ) -> Result<Tensor, TrainError> {
        let ids = &self.ids[rows.start * LEN..rows.end * LEN];
        let ids = Tensor::from_slice(ids, (rows.len(), LEN), &Device::Cpu)?; // (B, T)
        let entry = Entry::Ids(ids.clone());
        Ok(match self.loss {
            Loss::Full => model.full_loss(entry, &ids)?,
            Loss::Answer | Loss::TwoWay => {
                let answers = ids.narrow(1, 0, 1)?.flatten_all()?; // (B)
                model.answer_loss(entry, &answers)?
            }
        })
    }

    fn visit(&self, model: &Gpt2, _visit: &mut Visit<'_>) -> Result<Vec<Metric>, Halt> {
        if self.drifts {
            let first = init::weights(model.config(), Init::Scratch, None, 1, false)?;
            drift(model.config(), &first, &model.weights()?)?;
        }
        Ok(vec![])
    }
}

struct GoOn;

impl Host for GoOn {
    fn step(&self, _progress: &Progress) -> Directive {
        Directive::Continue
    }

    fn checkpoint(&self, _step: u64, _file: &Path) -> Result<(), JobError> {
        Ok(())
    }
}

fn steps(case: &Case) {
    let (config, names) = (case.config(), case.trainable());
    let weights = init::weights(&config, Init::Scratch, None, 1, false).expect("fresh");
    let Engine { ops, dtype, .. } = case.engine;
    let model = Gpt2::new(&config, &weights, &names, ops, dtype, &Device::Cpu).expect("a network");
    drop(weights);
    let optim = Optim {
        steps: 2,
        batch: BATCH,
        loss: case.loss,
        ..optim()
    };
    let settings = Settings {
        key: JobKey::of(b"a footprint"),
        optim: &optim,
        micro_batch: case.engine.micro_batch as usize,
        live: ("val", "loss"),
    };
    let work_dir = std::env::temp_dir();
    let ctx = RunContext {
        device: Device::Cpu,
        free: Free::Together(0),
        shared_dir: work_dir.clone(),
        work_dir,
        shared_bytes_max: 0,
        host: &GoOn,
    };
    let ids = (0..BATCH * LEN as u32).map(|i| i * i % 2000).collect();
    let same = Same {
        ids,
        loss: case.loss,
        drifts: case.drifts,
    };
    train(&same, &model, &settings, &ctx, None).expect("two steps");
}

#[cfg(target_os = "linux")]
#[test]
fn the_count_is_near_the_measured_peak() {
    let name = "train::footprint::tests::the_count_is_near_the_measured_peak";
    let cases = cases();
    let Some(peaks) = peaks(name, cases.len(), |at| {
        let case = cases[at].clone();
        move || steps(&case)
    }) else {
        return;
    };
    let mut report = String::new();
    let mut all_near = true;
    for (case, measured) in cases.iter().zip(peaks) {
        let counted = bytes(&footprint(case), case.engine.micro_batch);
        let ratio = counted as f64 / measured as f64;
        all_near &= (0.85..=1.4).contains(&ratio);
        report += &format!(
            "{ratio:.2}: {} counted, {} measured, {case:?}\n",
            words(counted),
            words(measured)
        );
    }
    println!("{report}");
    assert!(all_near, "{report}");
}

/// On a processor.
fn bytes(count: &Footprint, micro_batch: u32) -> u64 {
    let Taken { device, host } = count.taken(micro_batch, Free::Together(0));
    device + host
}

#[test]
fn a_job_that_does_not_fit_is_told_the_micro_batch_that_would() {
    let count = footprint(&cases()[0]);
    let full = bytes(&count, BATCH);
    count
        .require(BATCH, Free::Together(full))
        .expect("fits exactly");
    count
        .require(BATCH, Free::Together(0))
        .expect("nothing is known");
    for available in [full - 1, full / 2, full / 3] {
        let free = Free::Together(available);
        let error = count.require(BATCH, free).expect_err("too little");
        assert_eq!(error.reason, FailureReason::OutOfMemory);
        let fits = count.largest(free).expect("some micro-batch");
        assert!(fits < BATCH && bytes(&count, fits) <= available);
        assert!(bytes(&count, fits + 1) > available, "the largest");
        let said = format!("`engine: {{micro_batch: {fits}}}` would fit");
        assert!(error.message.contains(&said), "{error}");
        count.require(fits, free).expect("as it said");
    }
    let error = count
        .require(BATCH, Free::Together(1 << 20))
        .expect_err("a MiB");
    assert!(
        error.message.contains("no micro-batch would fit"),
        "{error}"
    );
}

#[test]
fn a_device_whose_memory_ran_out_all_the_same_is_asked_for_half() {
    let count = footprint(&cases()[0]);
    let ran_out = || JobError::new(FailureReason::OutOfMemory, "CUDA_ERROR_OUT_OF_MEMORY");
    let told = |micro_batch, available| {
        let free = Free::Together(available);
        count.advise(ran_out(), micro_batch, free).message
    };
    let text = told(BATCH, 1 << 40);
    assert!(
        text.starts_with("CUDA_ERROR_OUT_OF_MEMORY; at micro_batch 64"),
        "{text}"
    );
    assert!(
        text.contains("`engine: {micro_batch: 32}` ought to fit"),
        "{text}"
    );
    let fits = count
        .largest(Free::Together(bytes(&count, 20)))
        .expect("20");
    let text = told(BATCH, bytes(&count, 20));
    assert!(text.contains(&format!("micro_batch: {fits}}}")), "{text}");
    assert!(
        told(1, 0).contains("no smaller micro-batch"),
        "{}",
        told(1, 0)
    );
    let other = JobError::invalid("as it was");
    assert_eq!(count.advise(other.clone(), 8, Free::Together(0)), other);
}

#[test]
fn freezing_and_the_loss_change_the_count_as_they_should() {
    let of = |loss, frozen: &Frozen, ops| {
        let mut case = cases()[0].clone();
        (case.loss, case.engine.ops) = (loss, ops);
        case.frozen = frozen.clone();
        bytes(&footprint(&case), BATCH)
    };
    let whole = of(Loss::Full, &Frozen::None, Ops::Fused);
    assert!(of(Loss::Answer, &Frozen::None, Ops::Fused) < whole);
    assert!(of(Loss::Full, &Frozen::Prefix(3), Ops::Fused) < whole / 2);
    assert!(of(Loss::Full, &Frozen::None, Ops::Composite) > 2 * whole);
}

#[test]
fn what_lies_in_main_memory_is_not_taken_from_a_gpu() {
    // Little trains: the fullest moment of a processor is the drift's.
    let mut case = cases().pop().expect("there are cases");
    case.engine.device = DeviceKind::Cuda;
    (case.engine.ops, case.loss) = (Ops::Composite, Loss::Answer);
    let count = footprint(&case);
    let apart = |device, host| Free::Apart { device, host };
    let Taken { device, host } = count.taken(4, apart(0, 0));
    let weights: u64 = (case.config().tensors().iter())
        .map(|(_, shape)| F32 * shape.iter().product::<usize>() as u64)
        .sum();
    assert!(
        host >= 2 * weights,
        "both sides of the drift: {host} of {weights}"
    );
    assert!(
        device < bytes(&count, 4),
        "no copy of the weights is on the device"
    );
    count
        .require(4, apart(device, host))
        .expect("each has what it takes");
    for free in [apart(device - 1, 1 << 40), apart(1 << 40, host - 1)] {
        let error = count.require(4, free).expect_err("too little").message;
        assert!(error.contains("on its device and"), "{error}");
        assert!(error.contains(&free.to_string()), "{error}");
    }
    // The host's share hangs on no micro-batch.
    assert_eq!(count.largest(apart(1 << 40, host - 1)), None);
}
