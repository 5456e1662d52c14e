//! A question as a spec, for the tests of all that handles one.

use std::collections::BTreeMap;

use seedbed_proto::job::{
    Base, BaseFiles, DeviceKind, Dtype, Engine, Init, Inspect, JobSpec, Moment, Network, Ops,
    Question, SPEC_VERSION, Task, TrainSet, Work, first_splits,
};
use seedbed_proto::{BlobDigest, JobKey};

use super::needs::Needs;
use super::{other_role, subject_role};
use crate::gpt2::Config;
use crate::job::Inputs;
use crate::memory::{Free, Taken};

/// A question about the last weights of a fine-tuned network.
pub(crate) fn question(question: Question, job: JobKey) -> JobSpec {
    let digest = BlobDigest::of(b"the base is given by path here");
    JobSpec {
        version: SPEC_VERSION,
        engine: Engine {
            device: DeviceKind::Cpu,
            ops: Ops::Fused,
            dtype: Dtype::F32,
            micro_batch: 8,
        },
        work: Work::Inspect(Box::new(Inspect {
            question,
            subject: Network {
                job,
                weights: Moment::Final,
                step: 12,
                init: Init::Pretrained,
                seed: 3,
                untie: false,
            },
            others: vec![],
            base: Base::Files(BaseFiles {
                config: digest,
                weights: digest,
                tokenizer: digest,
                shards: BTreeMap::new(),
            }),
            task: Task {
                name: "ctxdm".into(),
                template: "T0".into(),
                range: [0, 60],
                bins: vec![[1, 4], [5, 16], [17, 50]],
                train: TrainSet::Online,
                bos: true,
                random_labels: false,
                split_seed: 1,
                eval_trials: 288,
                splits: first_splits(),
                neutral: false,
                delay: None,
                test_template: None,
                test_cues: None,
                test_near: None,
                test_far: None,
            },
            split: "test_iid".into(),
            pairs: 8,
            items: 72,
            memory_mib: 64,
            seed: 3,
        })),
    }
}

/// What it takes on a processor, with so much for activations.
pub(crate) fn counted(spec: &JobSpec, inputs: &Inputs, mib: u32, free: Free) -> Taken {
    let Work::Inspect(job) = &spec.work else {
        panic!("not a question");
    };
    let config = |role: &str| Config::read(inputs.file(role).expect("given")).expect("a shape");
    let (base, subject) = (config("config.json"), config(&subject_role("config.json")));
    let others = 0..job.others.len();
    let others: Vec<_> = others
        .map(|i| config(&other_role(i, "config.json")))
        .collect();
    let needs = Needs {
        job,
        base: &base,
        subject: &subject,
        others: others.iter().collect(),
        gpu: false,
    };
    needs.taken(mib, free)
}
