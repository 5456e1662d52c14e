//! Which tensors train.

use std::collections::BTreeSet;

use seedbed_proto::job::{Component, Frozen};

use super::{Config, LM_HEAD, ModelError, WPE, WTE, block_of};

/// The names of the tensors that train under this frozen set.
///
/// The embeddings and the final LayerNorm are in no block. A tied `wte` takes the
/// unembedding with it; `untie` gives that its own weights, which train in every
/// set but [`Frozen::AllBut`].
///
/// # Errors
/// If a block doesn't exist, or nothing would train.
pub fn trainable(
    config: &Config,
    frozen: &Frozen,
    untie: bool,
) -> Result<BTreeSet<String>, ModelError> {
    let layers = config.layers;
    let count = |k: u32| match k as usize {
        k if k <= layers => Ok(k),
        k => Err(ModelError::Request(format!(
            "frozen {frozen}: {k} blocks are asked for, the model has {layers}"
        ))),
    };
    let set = |blocks: &[u32]| {
        let outside = blocks.iter().find(|&&l| l as usize >= layers);
        match outside {
            None => Ok(blocks.iter().map(|&l| l as usize).collect::<BTreeSet<_>>()),
            Some(l) => Err(ModelError::Request(format!(
                "frozen {frozen}: block {l} doesn't exist, the model has blocks 0 to {}",
                layers - 1
            ))),
        }
    };
    let is_frozen: Box<dyn Fn(&str) -> bool> = match frozen {
        Frozen::None => Box::new(|_| false),
        Frozen::Prefix(k) => {
            let k = count(*k)?;
            Box::new(move |name| match block_of(name) {
                Some(layer) => layer < k,
                None => name == WTE || name == WPE,
            })
        }
        Frozen::Suffix(k) => {
            let first = layers - count(*k)?;
            Box::new(move |name| match block_of(name) {
                Some(layer) => layer >= first,
                None => name.starts_with("ln_f."),
            })
        }
        Frozen::Only(blocks) => {
            let blocks = set(blocks)?;
            Box::new(move |name| block_of(name).is_some_and(|l| blocks.contains(&l)))
        }
        Frozen::AllBut(blocks) => {
            let blocks = set(blocks)?;
            Box::new(move |name| !block_of(name).is_some_and(|l| blocks.contains(&l)))
        }
        Frozen::Component(component) => {
            let component = *component;
            Box::new(move |name| is_part_of(name, component))
        }
    };
    let config = if untie {
        config.clone().untied()
    } else {
        config.clone()
    };
    let names: BTreeSet<String> = config
        .tensors()
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| !is_frozen(name))
        .collect();
    if names.is_empty() {
        return Err(ModelError::Request(format!(
            "frozen {frozen}: nothing is left to train"
        )));
    }
    Ok(names)
}

fn is_part_of(name: &str, component: Component) -> bool {
    match component {
        Component::Attn => name.contains(".attn."),
        Component::Mlp => name.contains(".mlp."),
        // "h.0.ln_1.weight" and "ln_f.weight"
        Component::Ln => name.split('.').any(|part| part.starts_with("ln_")),
        Component::Wte => name == WTE,
        Component::Wpe => name == WPE,
    }
}

/// Whether AdamW decays this tensor: matrices other than the embeddings. The
/// unembedding starts as a copy of `wte` and is treated as it is.
pub(super) fn decays(name: &str, rank: usize) -> bool {
    rank >= 2 && ![WTE, WPE, LM_HEAD].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use seedbed_proto::job::Shape;

    fn config() -> Config {
        let shape = Shape {
            layers: 3,
            heads: 2,
            width: 8,
            positions: 16,
        };
        Config::new(&shape, 32).expect("valid")
    }

    #[test]
    fn each_set_freezes_what_it_says() {
        // (set, untied, number that train, some that train, some that don't)
        let check = |set: Frozen, untie, count: usize, trains: &[&str], frozen: &[&str]| {
            let names = trainable(&config(), &set, untie).expect("valid");
            assert_eq!(names.len(), count, "{set}");
            for name in trains {
                assert!(names.contains(*name), "{set}: {name} trains");
            }
            for name in frozen {
                assert!(!names.contains(*name), "{set}: {name} is frozen");
            }
        };
        check(Frozen::None, false, 40, &[WTE, "ln_f.bias"], &[LM_HEAD]);
        check(Frozen::None, true, 41, &[WTE, LM_HEAD], &[]);
        check(
            Frozen::Prefix(0),
            false,
            38,
            &["h.0.ln_1.bias"],
            &[WTE, WPE],
        );
        check(
            Frozen::Prefix(2),
            true,
            15,
            &["h.2.ln_1.bias", "ln_f.bias", LM_HEAD],
            &[WTE, WPE, "h.1.mlp.c_fc.bias"],
        );
        check(
            Frozen::Prefix(3),
            false,
            2,
            &["ln_f.bias"],
            &["h.2.ln_2.bias"],
        );
        check(
            Frozen::Suffix(1),
            false,
            26,
            &[WTE, "h.1.mlp.c_fc.bias"],
            &["h.2.mlp.c_fc.bias", "ln_f.weight"],
        );
        check(
            Frozen::Only(vec![1]),
            false,
            28,
            &[WTE, "h.0.ln_1.bias"],
            &["h.1.ln_1.bias"],
        );
        check(
            Frozen::AllBut(vec![0, 2]),
            true,
            24,
            &["h.0.ln_1.bias", "h.2.ln_1.bias"],
            &["h.1.ln_1.bias", WTE, LM_HEAD, "ln_f.bias"],
        );
        let part = Frozen::Component;
        check(
            part(Component::Attn),
            false,
            28,
            &["h.1.mlp.c_fc.bias"],
            &["h.1.attn.c_attn.bias"],
        );
        check(
            part(Component::Mlp),
            false,
            28,
            &["h.1.attn.c_attn.bias"],
            &["h.1.mlp.c_fc.bias"],
        );
        check(
            part(Component::Ln),
            false,
            26,
            &[WTE],
            &["h.2.ln_2.bias", "ln_f.bias"],
        );
        check(part(Component::Wte), true, 40, &[LM_HEAD, WPE], &[WTE]);
        check(part(Component::Wpe), false, 39, &[WTE], &[WPE]);
    }

    #[test]
    fn a_set_that_does_not_fit_is_refused() {
        let check = |set: Frozen, expect: &str| {
            let error = trainable(&config(), &set, false).expect_err("invalid");
            assert!(error.to_string().contains(expect), "{error}");
        };
        check(Frozen::Prefix(4), "4 blocks are asked for, the model has 3");
        check(Frozen::Suffix(9), "9 blocks are asked for");
        check(Frozen::Only(vec![0, 3]), "block 3 doesn't exist");
        check(Frozen::AllBut(vec![7]), "block 7 doesn't exist");
        check(Frozen::AllBut(vec![]), "nothing is left to train");
    }
}
