//! Training: the loop and what it is made of.

pub mod bpe;
pub mod checkpoint;
pub mod corpus;
pub mod error;
pub mod evaluate;
pub mod footprint;
pub mod guards;
pub mod host;
pub mod layer_decay;
pub mod optimizer;
pub mod prefix;
pub mod resume;
pub mod schedule;
pub mod trainer;

#[cfg(test)]
pub(crate) mod tests_support {
    //! What several tests start from.

    use seedbed_proto::job::{Loss, Optim, Schedule};

    /// Real text, public domain: the opening of the King James Genesis.
    pub const TEXT: &str = "1:1 In the beginning God created the heaven and the earth.\n\
        1:2 And the earth was without form, and void; and darkness was upon the face of the deep. \
        And the Spirit of God moved upon the face of the waters.\n\
        1:3 And God said, Let there be light: and there was light.\n\
        1:4 And God saw the light, that it was good: and God divided the light from the darkness.\n\
        1:5 And God called the light Day, and the darkness he called Night. And the evening and \
        the morning were the first day.\n\
        11:22 And Serug lived 30 years, and begat Nahor: 11:23 And Serug lived after he begat \
        Nahor 200 years, and begat sons and daughters.\n";

    /// The defaults of the task, short.
    pub fn optim() -> Optim {
        Optim {
            steps: 20,
            batch: 8,
            learning_rate: 1e-3,
            schedule: Schedule::Cosine,
            warmup: 2,
            clip: 1.0,
            weight_decay: 0.01,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            loss: Loss::Answer,
            eval_every: 5,
            dropout: 0.0,
            layer_decay: 1.0,
        }
    }
}
