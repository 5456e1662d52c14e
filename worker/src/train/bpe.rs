//! A byte-level BPE of our own text in which given words are single tokens.
//!
//! Such a word can't be made an *added token*: those are cut out of the text
//! before it is split into words, so " 1" would be found in " 11". It must be
//! one token as GPT-2's " 11" is: because merges lead there. So the merges that
//! the text did not teach are appended, at the lowest priority. That is enough,
//! and can't break another word: merging always takes the applicable pair of the
//! highest priority, so an appended merge is used only where all learned ones,
//! and all appended before it, have done their work.

use std::collections::{BTreeMap, HashMap};

use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{
    AddedToken, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, Tokenizer, Trainer,
};

/// Stands between documents; also the beginning of a sequence, as in GPT-2.
pub const END_OF_TEXT: &str = "<|endoftext|>";

/// A tokenizer that can't be made as it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum BpeError {
    /// The library failed.
    #[error("the tokenizer can't be trained: {0}")]
    Library(tokenizers::Error),
    /// A word that is to be one token is cut before merging begins.
    #[error(
        "{word:?} can't be one token: text is cut into {pieces:?} before pieces are merged; \
         write it as one word with at most one space before it"
    )]
    NotOneWord {
        /// The word.
        word: String,
        /// Its pieces.
        pieces: Vec<String>,
    },
    /// The alphabet and the given words take more entries than there are.
    #[error(
        "a vocabulary of {vocab} entries is too small: 256 bytes, the end of text and \
         {forced} words that must be single tokens need at least {needed}"
    )]
    TooSmall {
        /// Entries that were asked for.
        vocab: usize,
        /// Words that must be single tokens.
        forced: usize,
        /// Entries that would do.
        needed: usize,
    },
    /// The finished tokenizer does not keep its promise.
    #[error("{word:?} is not one token in {context:?}: it is cut into {pieces:?}")]
    Broken {
        /// The word.
        word: String,
        /// Where it was tried.
        context: String,
        /// The tokens of that text.
        pieces: Vec<String>,
    },
}

/// Trains a tokenizer of at most `vocab` entries on these texts. Equal arguments
/// give an equal tokenizer.
///
/// # Errors
/// If a word of `forced` can't be one token, or the vocabulary is too small.
pub fn train(texts: &[String], vocab: usize, forced: &[String]) -> Result<Tokenizer, BpeError> {
    let learned = Learned::from_text(texts, vocab)?;
    let words = words_of(forced)?;
    let (kept, appended) = learned.fit(vocab, &words)?;
    let tokenizer = learned.build(kept, &appended)?;
    verify(&tokenizer, forced)?;
    Ok(tokenizer)
}

/// Requires each word to be one token, alone and inside text.
///
/// # Errors
/// If one is not: with the tokens that it becomes.
pub fn verify(tokenizer: &Tokenizer, forced: &[String]) -> Result<(), BpeError> {
    for word in forced {
        // A word without a space before it stands at the start of a text.
        let before = if word.starts_with(' ') { "one:" } else { "" };
        let inside = format!("{before}{word}, two{word}.");
        let alone = tokenizer
            .encode(word.as_str(), false)
            .map_err(BpeError::Library)?;
        let encoded = tokenizer
            .encode(inside.as_str(), false)
            .map_err(BpeError::Library)?;
        let broken = |context: &str, encoding: &tokenizers::Encoding| BpeError::Broken {
            word: word.clone(),
            context: context.to_owned(),
            pieces: encoding.get_tokens().to_vec(),
        };
        let &[id] = alone.get_ids() else {
            return Err(broken(word, &alone));
        };
        let found = encoded.get_ids().iter().filter(|&&i| i == id).count();
        let expected = if before.is_empty() { 1 } else { 2 };
        if found < expected {
            return Err(broken(&inside, &encoded));
        }
    }
    Ok(())
}

fn byte_level() -> ByteLevel {
    ByteLevel::new(false, true, true)
}

/// Cuts a text into words, spelt in GPT-2's alphabet of 256 letters for bytes.
fn cut(text: &str) -> tokenizers::Result<Vec<String>> {
    let mut words = PreTokenizedString::from(text);
    byte_level().pre_tokenize(&mut words)?;
    let splits = words.get_splits(OffsetReferential::Original, OffsetType::Byte);
    Ok(splits
        .into_iter()
        .map(|(word, _, _)| word.to_owned())
        .collect())
}

/// The words to force, as letters.
fn words_of(forced: &[String]) -> Result<Vec<Vec<String>>, BpeError> {
    let letters = |word: &String| match cut(word).map_err(BpeError::Library)?.as_slice() {
        [one] => Ok(one.chars().map(String::from).collect()),
        pieces => Err(BpeError::NotOneWord {
            word: word.clone(),
            pieces: pieces.to_vec(),
        }),
    };
    forced.iter().map(letters).collect()
}

type Pair = (String, String);

/// What the text taught: merges in the order of their priority.
struct Learned {
    alphabet: Vec<String>,
    merges: Vec<Pair>,
    ranks: HashMap<Pair, usize>,
}

impl Learned {
    fn from_text(texts: &[String], vocab: usize) -> Result<Self, BpeError> {
        let mut letters: Vec<char> = ByteLevel::alphabet().into_iter().collect();
        // GPT-2's order of ids.
        letters.sort_unstable();
        let mut trainer = BpeTrainer::builder()
            .vocab_size(vocab)
            .min_frequency(2)
            .show_progress(false)
            .initial_alphabet(letters.iter().copied().collect())
            .build();
        let lines = texts.iter().flat_map(|text| lines(text));
        trainer.feed(lines, cut).map_err(BpeError::Library)?;
        let mut model = BPE::default();
        trainer.train(&mut model).map_err(BpeError::Library)?;

        // The library shows merges in its serialised form only.
        let json = serde_json::to_value(&model).expect("a model is plain data");
        let merges: Vec<Pair> = serde_json::from_value(json["merges"].clone())
            .expect("merges are written as pairs of strings, in order");
        let ranks = (merges.iter().cloned()).zip(0..).collect();
        Ok(Self {
            alphabet: letters.into_iter().map(String::from).collect(),
            merges,
            ranks,
        })
    }

    /// As many learned merges as leave room for the merges that the words need
    /// then, and those merges.
    fn fit(&self, vocab: usize, words: &[Vec<String>]) -> Result<(usize, Vec<Pair>), BpeError> {
        let mut kept = self.merges.len();
        loop {
            let appended = self.append(kept, words);
            let size = self.vocabulary(kept, &appended).len();
            if size <= vocab {
                return Ok((kept, appended));
            }
            if kept == 0 {
                return Err(BpeError::TooSmall {
                    vocab,
                    forced: words.len(),
                    needed: size,
                });
            }
            // A merge less frees at most one entry.
            kept = kept.saturating_sub(size - vocab);
        }
    }

    /// The merges that are missing to make each word one token, when the first
    /// `kept` learned ones are there.
    fn append(&self, kept: usize, words: &[Vec<String>]) -> Vec<Pair> {
        let mut appended: Vec<Pair> = vec![];
        let mut ranks: HashMap<Pair, usize> = HashMap::new();
        for word in words {
            let mut pieces = word.clone();
            loop {
                self.merge(&mut pieces, kept, &ranks);
                let [first, second, ..] = pieces.as_slice() else {
                    break;
                };
                let pair = (first.clone(), second.clone());
                ranks.insert(pair.clone(), self.merges.len() + appended.len());
                appended.push(pair);
            }
        }
        appended
    }

    /// Merges as BPE does: the pair of the highest priority first, the leftmost
    /// of equals.
    fn merge(&self, pieces: &mut Vec<String>, kept: usize, appended: &HashMap<Pair, usize>) {
        let rank = |pair: &[String]| {
            let pair = (pair[0].clone(), pair[1].clone());
            let learned = self.ranks.get(&pair).filter(|&&rank| rank < kept);
            learned.or_else(|| appended.get(&pair)).copied()
        };
        let next = |pieces: &[String]| {
            let ranked = pieces.windows(2).enumerate();
            ranked
                .filter_map(|(at, pair)| Some((rank(pair)?, at)))
                .min()
        };
        while let Some((_, at)) = next(pieces) {
            let right = pieces.remove(at + 1);
            pieces[at] += &right;
        }
    }

    /// Every entry with its id: letters, merged pieces, the end of text.
    fn vocabulary(&self, kept: usize, appended: &[Pair]) -> BTreeMap<String, u32> {
        let mut ids = BTreeMap::new();
        let merged = self.merges[..kept].iter().chain(appended);
        let merged = merged.map(|(left, right)| format!("{left}{right}"));
        let entries = self.alphabet.iter().cloned().chain(merged);
        for entry in entries.chain([END_OF_TEXT.to_owned()]) {
            // Two merges may lead to the same piece.
            let next = ids.len() as u32;
            ids.entry(entry).or_insert(next);
        }
        ids
    }

    fn build(&self, kept: usize, appended: &[Pair]) -> Result<Tokenizer, BpeError> {
        let merges = self.merges[..kept]
            .iter()
            .chain(appended)
            .cloned()
            .collect();
        let vocab: HashMap<String, u32> = self.vocabulary(kept, appended).into_iter().collect();
        let vocab: tokenizers::models::bpe::Vocab = vocab.into_iter().collect();
        let model = BPE::builder().vocab_and_merges(vocab, merges).build();
        let mut tokenizer = Tokenizer::new(model.map_err(BpeError::Library)?);
        tokenizer.with_pre_tokenizer(Some(byte_level()));
        tokenizer.with_post_processor(Some(ByteLevel::new(true, false, true)));
        tokenizer.with_decoder(Some(ByteLevel::new(true, true, true)));
        let end = AddedToken::from(END_OF_TEXT, true).normalized(false);
        tokenizer
            .add_special_tokens([end])
            .map_err(BpeError::Library)?;
        Ok(tokenizer)
    }
}

/// The pieces in which text is encoded: lines with their ends. Long enough to
/// hold whole words, short enough to be cheap.
pub fn lines(text: &str) -> impl Iterator<Item = &str> {
    // The library would count the marker's letters as text.
    text.split_inclusive('\n')
        .flat_map(|line| line.split(END_OF_TEXT))
        .filter(|l| !l.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::tests_support::TEXT;

    fn forced() -> Vec<String> {
        let words = [" left", " right", " color", " motion", "Rule", " is"];
        let numbers = (0..=361).map(|n| format!(" {n}"));
        words.into_iter().map(String::from).chain(numbers).collect()
    }

    fn tokens(tokenizer: &Tokenizer, text: &str) -> Vec<String> {
        let encoding = tokenizer.encode(text, false).expect("encoded");
        encoding.get_tokens().to_vec()
    }

    #[test]
    fn forced_words_are_single_tokens_as_in_gpt2() {
        let texts = [TEXT.to_owned()];
        let tokenizer = train(&texts, 800, &forced()).expect("trained");
        assert!(tokenizer.get_vocab_size(true) <= 800);

        let prompt = "Rule: color. Left: color 11, motion 33. Right: color 361, motion 4. Answer:";
        let pieces = tokens(&tokenizer, prompt);
        for word in ["Rule", "Ġcolor", "Ġ11", "Ġ33", "Ġ361", "Ġ4", "Ġmotion"] {
            assert!(pieces.iter().any(|p| p == word), "{word} in {pieces:?}");
        }
        // A longer number is not torn apart by a shorter one within it.
        assert_eq!(
            tokens(&tokenizer, "Left: left 33,").last().expect("some"),
            ","
        );
        assert_ne!(tokens(&tokenizer, " 3611")[0], "Ġ361Ġ1");
        let ids = tokenizer.encode(prompt, false).expect("encoded");
        assert_eq!(
            tokenizer.decode(ids.get_ids(), false).expect("decoded"),
            prompt
        );
    }

    #[test]
    fn it_is_deterministic_and_opens_from_its_file() {
        let texts = [TEXT.to_owned()];
        let text = |t: &Tokenizer| t.to_string(false).expect("JSON");
        let first = train(&texts, 800, &forced()).expect("trained");
        let second = train(&texts, 800, &forced()).expect("trained");
        assert_eq!(text(&first), text(&second));

        let read = Tokenizer::from_bytes(text(&first).as_bytes()).expect("opens");
        assert_eq!(tokens(&read, TEXT), tokens(&first, TEXT));
        let end = first.token_to_id(END_OF_TEXT).expect("an id") as usize;
        assert_eq!(
            end,
            first.get_vocab_size(true) - 1,
            "the last id, as in GPT-2"
        );
        let marked = format!("day.{END_OF_TEXT}Night");
        assert!(tokens(&read, &marked).iter().any(|t| t == END_OF_TEXT));
        verify(&read, &forced()).expect("still single tokens");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let texts = [TEXT.to_owned()];
        let check = |vocab, word: &str, words: &str| {
            let Err(error) = train(&texts, vocab, &[word.to_owned()]) else {
                panic!("accepted: {word:?} in a vocabulary of {vocab}");
            };
            assert!(error.to_string().contains(words), "{error}");
        };
        check(800, " two words", "can't be one token");
        check(800, "a1", "can't be one token");
        check(800, "", "can't be one token");
        check(256, " left", "256 entries is too small");
        let learned = Tokenizer::new(BPE::default());
        verify(&learned, &[" left".to_owned()]).expect_err("an empty tokenizer knows nothing");
    }

    #[test]
    fn learned_merges_stay_where_there_is_room() {
        let texts = [TEXT.repeat(3)];
        let plain = train(&texts, 400, &[]).expect("trained");
        assert_eq!(plain.get_vocab_size(true), 400);
        let forced = [" left".to_owned(), " 361".to_owned()];
        let with = train(&texts, 400, &forced).expect("trained");
        assert_eq!(with.get_vocab_size(true), 400);
        assert_eq!(tokens(&plain, " the earth"), tokens(&with, " the earth"));
    }
}
