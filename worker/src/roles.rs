//! Which blobs a job reads, by the role that each plays in it.

use std::collections::BTreeMap;
use std::path::Path;

use seedbed_proto::job::{Base, JobSpec, Network, Pretrain, Work};
use seedbed_proto::{BlobDigest, JobKey, v1};

use crate::job::inspect::{other_role, subject_role};
use crate::job::{JobError, WEIGHTS, WEIGHTS_INDEX};

/// The files of a base model.
const BASE: [&str; 3] = ["config.json", "model.safetensors", "tokenizer.json"];

/// The blobs by role; `inputs` are the results of the jobs that this one needs.
///
/// # Errors
/// If an input lacks an artifact: it can't be had, so the job is invalid.
pub fn roles(
    spec: &JobSpec,
    inputs: &[v1::JobInput],
) -> Result<BTreeMap<String, BlobDigest>, JobError> {
    let mut roles = BTreeMap::new();
    if let Work::Pretrain(Pretrain::Corpus(corpus)) = &spec.work {
        for (i, digest) in corpus.corpus.iter().enumerate() {
            roles.insert(format!("corpus/{i}"), *digest);
        }
    }
    match spec.base() {
        None => {}
        Some(Base::Files(files)) => {
            roles.insert("config.json".to_owned(), files.config);
            roles.insert("tokenizer.json".to_owned(), files.tokenizer);
            let weights = match files.shards.is_empty() {
                true => WEIGHTS,
                false => WEIGHTS_INDEX,
            };
            roles.insert(weights.to_owned(), files.weights);
            for (name, digest) in &files.shards {
                // It becomes the name of a file beside the index.
                if Path::new(name).file_name() != Some(name.as_ref()) {
                    return Err(JobError::invalid(format!("{name:?} is no shard's name")));
                }
                roles.insert(name.clone(), *digest);
            }
        }
        Some(Base::Job(key)) => {
            for name in BASE {
                let digest = artifact(inputs, *key, name).ok_or_else(|| {
                    let job = key.short();
                    JobError::invalid(format!("the base job {job} has no artifact {name}"))
                })?;
                roles.insert(name.to_owned(), digest);
            }
        }
    }
    if let Work::Inspect(inspect) = &spec.work {
        let mut add = |network: &Network, role: &dyn Fn(&str) -> String| {
            for (file, stored) in [
                ("config.json", "config.json".to_owned()),
                ("model.safetensors", network.file()),
            ] {
                let digest = artifact(inputs, network.job, &stored).ok_or_else(|| {
                    JobError::invalid(format!(
                        "the run {} ({}) has no artifact {stored}: its weights were not kept; \
                         `keep: {{weights: …}}` of the sweep says which are",
                        network.job.short(),
                        network.title()
                    ))
                })?;
                roles.insert(role(file), digest);
            }
            Ok::<(), JobError>(())
        };
        add(&inspect.subject, &subject_role)?;
        for (i, other) in inspect.others.iter().enumerate() {
            add(&other.network, &|file| other_role(i, file))?;
        }
    }
    Ok(roles)
}

fn artifact(inputs: &[v1::JobInput], job: JobKey, name: &str) -> Option<BlobDigest> {
    let key = job.to_string();
    let input = inputs.iter().find(|input| input.job_key == key)?;
    let artifact = input.artifacts.iter().find(|a| a.name == name)?;
    artifact.digest.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::inspect::tests::question;
    use seedbed_proto::job::{Moment, Question};

    fn input(job: JobKey, names: &[&str]) -> v1::JobInput {
        let artifact = |name: &&str| v1::Artifact {
            name: (*name).to_owned(),
            digest: BlobDigest::of(format!("{job} {name}").as_bytes()).to_string(),
            size_bytes: 1,
        };
        v1::JobInput {
            job_key: job.to_string(),
            artifacts: names.iter().map(artifact).collect(),
        }
    }

    #[test]
    fn networks_come_with_the_weights_that_are_asked_for() {
        let mut spec = question(Question::Similarity, JobKey::of(b"subject"));
        let Work::Inspect(inspect) = &mut spec.work else {
            unreachable!("it is a question")
        };
        inspect.subject.weights = Moment::Matched;
        let subject = JobKey::of(b"subject");
        let inputs = [input(subject, &["config.json", "matched.safetensors"])];
        let found = roles(&spec, &inputs).expect("all there");
        let weights = BlobDigest::of(format!("{subject} matched.safetensors").as_bytes());
        assert_eq!(found["subject/model.safetensors"], weights);
        assert_eq!(found.len(), 5, "base and subject: {found:?}");

        let bare = [input(subject, &["config.json"])];
        let error = roles(&spec, &bare).expect_err("no weights");
        assert!(error.message.contains("matched.safetensors"), "{error}");
        assert!(error.message.contains("not kept"), "{error}");
    }
}
