//! From trials to token ids, by table.
//!
//! Each segment is tokenised once, beforehand; a prompt is then a copy of the
//! template's row with the slots written over. That is right only if the
//! tokenizer splits the whole text where the segments end, and so that is
//! verified, with every choice of every slot.

use tokenizers::{ModelWrapper, Tokenizer};

use seedbed_proto::task::registry::Slot;
use seedbed_proto::task::wording::Piece;

use super::{TaskError, TaskKind, Trial};

/// Names under which tokenizers keep their beginning-of-sequence token; GPT-2
/// uses its only special token.
const BOS: [&str; 4] = ["<|endoftext|>", "<s>", "<bos>", "[BOS]"];

/// The token layout of a template under a tokenizer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// A prompt; the slots hold their first choice.
    row: Vec<u32>,
    /// For each slot of the task.
    slots: Vec<Place>,
    answers: [u32; 2],
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    position: usize,
    ids: Vec<u32>,
}

impl Layout {
    /// Tokenises a task's template and verifies it.
    ///
    /// # Errors
    /// If a slot or an answer is not one token, segments do not stand as they are
    /// in the whole, there is no BOS token, or the prompt is longer than
    /// `positions`.
    pub fn new(
        task: &dyn TaskKind,
        tokenizer: &Tokenizer,
        bos: bool,
        positions: usize,
    ) -> Result<Self, TaskError> {
        let encoder = Encoder {
            tokenizer,
            template: &task.wording().name,
        };
        let mut row = Vec::new();
        if bos {
            row.push(encoder.bos()?);
        }
        let mut places: Vec<Option<Place>> = vec![None; task.slots().len()];
        for piece in &task.wording().pieces {
            match piece {
                Piece::Text(text) => row.extend(encoder.encode(text)?),
                &Piece::Slot(index) => {
                    let slot = &task.slots()[index];
                    let one = |text: &String| encoder.single(slot.name, text);
                    let ids: Vec<_> = slot.choices.iter().map(one).collect::<Result<_, _>>()?;
                    let position = row.len();
                    row.push(ids[0]);
                    places[index] = Some(Place { position, ids });
                }
            }
        }
        if row.len() > positions {
            return Err(TaskError::TooLong {
                template: task.wording().name.clone(),
                tokens: row.len(),
                positions,
            });
        }
        let [left, right] = task.answers();
        let answers = [
            encoder.single("answer", left)?,
            encoder.single("answer", right)?,
        ];
        if answers[0] == answers[1] {
            return Err(TaskError::EqualAnswers {
                left: left.to_owned(),
                right: right.to_owned(),
                tokenizer: describe(tokenizer),
            });
        }
        let place = |place: Option<Place>| place.expect("a template holds every slot of its task");
        let layout = Self {
            row,
            slots: places.into_iter().map(place).collect(),
            answers,
        };
        layout.verify(task, &encoder, usize::from(bos))?;
        Ok(layout)
    }

    /// Tokens in every prompt.
    pub fn prompt_len(&self) -> usize {
        self.row.len()
    }

    /// Token ids of the left and the right answer.
    pub fn answers(&self) -> [u32; 2] {
        self.answers
    }

    /// Position of each slot of the task, in the task's order.
    pub fn positions(&self) -> impl Iterator<Item = usize> + '_ {
        self.slots.iter().map(|place| place.position)
    }

    /// The same prompts with one token, `filler`, in these slots: what stood there
    /// is gone, and every other token keeps its place.
    ///
    /// # Errors
    /// If the filler is not one token.
    pub fn blanked(
        &self,
        task: &dyn TaskKind,
        tokenizer: &Tokenizer,
        slots: &[&str],
        filler: &str,
    ) -> Result<Self, TaskError> {
        let encoder = Encoder {
            tokenizer,
            template: &task.wording().name,
        };
        let id = encoder.single("blank", filler)?;
        let mut blanked = self.clone();
        for (place, slot) in blanked.slots.iter_mut().zip(task.slots()) {
            if slots.contains(&slot.name) {
                place.ids.fill(id);
            }
        }
        Ok(blanked)
    }

    /// Appends a trial's prompt.
    pub fn write(&self, trial: &Trial, ids: &mut Vec<u32>) {
        let start = ids.len();
        ids.extend_from_slice(&self.row);
        for (place, &fill) in self.slots.iter().zip(&trial.fills) {
            ids[start + place.position] = place.ids[fill as usize];
        }
    }

    /// Encodes whole prompts, so many that each slot shows each of its choices
    /// once, and compares them with what [`Self::write`] makes. The answer is put
    /// behind: it must not change the prompt's tokens either.
    fn verify(
        &self,
        task: &dyn TaskKind,
        encoder: &Encoder<'_>,
        skip: usize,
    ) -> Result<(), TaskError> {
        let most = task.slots().iter().map(|slot| slot.choices.len()).max();
        for round in 0..most.unwrap_or(1) {
            let fill =
                |(index, slot): (usize, &Slot)| ((round + index) % slot.choices.len()) as u32;
            let trial = Trial {
                cell: 0,
                fills: task.slots().iter().enumerate().map(fill).collect(),
                right: round % 2 == 1,
                congruent: None,
            };
            let segments = task.wording().segments(task.slots(), &trial);
            let mut text: String = segments.iter().map(|segment| segment.text).collect();
            let side = usize::from(trial.right);
            text.push_str(task.answers()[side]);
            let whole = encoder.encode(&text)?;

            let mut expected = Vec::with_capacity(self.row.len() + 1);
            self.write(&trial, &mut expected);
            expected.push(self.answers[side]);
            let expected = &expected[skip..];
            if whole != expected {
                let same = |(a, b): &(&u32, &u32)| a == b;
                return Err(TaskError::Boundary {
                    template: encoder.template.to_owned(),
                    position: whole.iter().zip(expected).take_while(same).count(),
                    text,
                    tokenizer: describe(encoder.tokenizer),
                });
            }
        }
        Ok(())
    }
}

struct Encoder<'a> {
    tokenizer: &'a Tokenizer,
    template: &'a str,
}

impl Encoder<'_> {
    fn encode(&self, text: &str) -> Result<Vec<u32>, TaskError> {
        match self.tokenizer.encode_fast(text, false) {
            Ok(encoding) => Ok(encoding.get_ids().to_vec()),
            Err(error) => Err(TaskError::Encode {
                text: text.to_owned(),
                message: error.to_string(),
                tokenizer: describe(self.tokenizer),
            }),
        }
    }

    fn single(&self, slot: &'static str, text: &str) -> Result<u32, TaskError> {
        let ids = self.encode(text)?;
        if let [id] = ids[..] {
            return Ok(id);
        }
        let token = |id: &u32| {
            self.tokenizer
                .id_to_token(*id)
                .unwrap_or_else(|| id.to_string())
        };
        Err(TaskError::SlotTokens {
            template: self.template.to_owned(),
            slot,
            text: text.to_owned(),
            count: ids.len(),
            tokens: ids.iter().map(token).collect::<Vec<_>>().join(" "),
            tokenizer: describe(self.tokenizer),
        })
    }

    fn bos(&self) -> Result<u32, TaskError> {
        BOS.iter()
            .find_map(|name| self.tokenizer.token_to_id(name))
            .ok_or_else(|| TaskError::NoBos {
                tokenizer: describe(self.tokenizer),
                candidates: BOS.join(", "),
            })
    }
}

/// A tokenizer in words: it has no name of its own.
fn describe(tokenizer: &Tokenizer) -> String {
    let model = match tokenizer.get_model() {
        ModelWrapper::BPE(_) => "BPE",
        ModelWrapper::WordPiece(_) => "WordPiece",
        ModelWrapper::WordLevel(_) => "WordLevel",
        ModelWrapper::Unigram(_) => "Unigram",
    };
    format!("{model}, {} entries", tokenizer.get_vocab_size(true))
}
