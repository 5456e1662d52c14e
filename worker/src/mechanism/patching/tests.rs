//! Patching against TransformerLens, against itself without any shortcut, and by
//! its identities.
//!
//! The references are made by `tests/mechanism/patching.py` in f64 and described in
//! the README.md beside it.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use seedbed_proto::job::{Init, Shape};

use super::*;
use crate::gpt2::hooks::{Edit, End, Pass, Point, Start};
use crate::gpt2::{Config, init, weights};
use crate::ops::Ops;

/// A network, pairs, and what TransformerLens finds.
struct Reference {
    net: Hooked,
    pairs: Pairs,
    answers: [u32; 2],
    tensors: HashMap<String, Tensor>,
}

impl Reference {
    fn read(ops: Ops) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/mechanism/patching");
        let config = Config::read(&folder.join("config.json")).expect("a configuration");
        let weights = weights::read(&folder.join("model.safetensors"), &config).expect("weights");
        let path = folder.join("reference.safetensors");
        let tensors = candle_core::safetensors::load(path, &Device::Cpu).expect("references");
        let ids = |name: &str| -> Vec<u32> {
            let ids = tensors[name].to_dtype(DType::U32).expect("ids");
            ids.flatten_all().and_then(|t| t.to_vec1()).expect("ids")
        };
        let (clean, corrupt, right, answers) =
            (ids("clean"), ids("corrupt"), ids("right"), ids("answers"));
        let len = clean.len() / right.len();
        let mut pairs = Pairs::default();
        let rows = clean.chunks(len).zip(corrupt.chunks(len)).zip(right);
        for ((clean, corrupt), right) in rows {
            let places = (0..len).map(|at| (format!("{at}"), at));
            pairs.push([clean, corrupt], [right == 1; 2], places);
        }
        Self {
            net: Hooked::new(&config, &weights, ops, &Device::Cpu).expect("a network"),
            pairs,
            answers: [answers[0], answers[1]],
            tensors,
        }
    }

    fn patch(&self, bytes: u64) -> Maps {
        let (net, pairs) = (&self.net, &self.pairs);
        patch(net, pairs, self.answers, &sites(), bytes, &mut |_| Ok(())).expect("maps")
    }

    fn expected(&self, name: &str) -> Vec<f64> {
        let tensor = self.tensors[name].to_dtype(DType::F64).expect("numbers");
        tensor
            .flatten_all()
            .and_then(|t| t.to_vec1())
            .expect("numbers")
    }

    /// The ratios of a map, row by row: layer × slot, or layer × head.
    fn map(&self, maps: &Maps, site: Site, direction: usize) -> Vec<f64> {
        let span: f64 = maps.clean.iter().sum::<f64>() - maps.corrupt.iter().sum::<f64>();
        let cells = maps.cells.iter().filter(|(cell, _)| cell.site == site);
        cells
            .map(|(_, effects)| effects[direction] / span)
            .collect()
    }
}

/// Largest difference.
fn distance(one: &[f64], other: &[f64]) -> f64 {
    assert_eq!(one.len(), other.len());
    let differences = one.iter().zip(other).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, |most, d| {
        if d.is_nan() {
            f64::INFINITY
        } else {
            most.max(d)
        }
    })
}

#[test]
fn maps_are_those_of_transformer_lens() {
    for ops in [Ops::Fused, Ops::Composite] {
        let reference = Reference::read(ops);
        let maps = reference.patch(1 << 30);
        assert!(distance(&maps.clean, &reference.expected("ld.clean")) < 1e-5);
        assert!(distance(&maps.corrupt, &reference.expected("ld.corrupt")) < 1e-5);
        for site in sites() {
            for (direction, word) in ["denoising", "noising"].into_iter().enumerate() {
                let name = format!("{word}.{}", site.short());
                let (found, expected) = (
                    reference.map(&maps, site, direction),
                    reference.expected(&name),
                );
                let error = distance(&found, &expected);
                println!("{name} ({ops:?}): {error:.1e}");
                assert!(error < 1e-4, "{name}: {found:?}, not {expected:?}");
                let largest = expected.iter().fold(0.0f64, |m, e| m.max(e.abs()));
                assert!(largest > 0.01, "{name}: a map of zeros proves nothing");
            }
        }
    }
}

#[test]
fn memory_shapes_batches_and_nothing_else() {
    let reference = Reference::read(Ops::Fused);
    let all = reference.patch(1 << 30);
    let tight = reference.patch(70_000);
    assert!(all.cells.keys().eq(tight.cells.keys()));
    for (cell, effects) in &all.cells {
        assert!(distance(effects, &tight.cells[cell]) < 1e-5, "{cell:?}");
    }
    let (net, pairs) = (&reference.net, &reference.pairs);
    let error = patch(net, pairs, [4, 17], &sites(), 1 << 10, &mut |_| Ok(()));
    let error = error.expect_err("no room for a pair").to_string();
    assert!(error.contains("one pair of 9 tokens"), "{error}");
}

#[test]
fn what_is_said_to_suffice_for_a_pair_suffices_and_no_less() {
    let shape = Shape {
        layers: 1,
        heads: 8,
        width: 256,
        positions: 48,
    };
    let config = Config::new(&shape, 50).expect("valid");
    let weights = init::weights(&config, Init::Scratch, None, 1, false).expect("fresh");
    let net = Hooked::new(&config, &weights, Ops::Fused, &Device::Cpu).expect("a network");
    let prompt = [7_u32; 48];
    let mut other = prompt;
    other[40] = 9;
    let mut pairs = Pairs::default();
    pairs.push([&prompt, &other], [true; 2], [("40".to_owned(), 40)]);
    let within = |mib: u64| {
        let found = patch(&net, &pairs, [4, 17], &sites(), mib << 20, &mut |_| Ok(()));
        found.map_err(|error| error.to_string())
    };
    let said = (1..).find(|&mib| within(mib).is_ok()).expect("some amount");
    assert!(said > 1, "a pair that always fits proves nothing");
    for mib in 1..said {
        let error = within(mib).expect_err("too little");
        let way_out = format!("raise `inspect.memory_mib` to {said}");
        assert!(error.ends_with(&way_out), "{error}");
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    let reference = Reference::read(Ops::Fused);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.expect("a pool").install(|| reference.patch(1 << 30))
    };
    assert_eq!(run(1), run(2));
}

#[test]
fn a_patch_of_a_run_with_itself_does_nothing() {
    for ops in [Ops::Fused, Ops::Composite] {
        let mut reference = Reference::read(ops);
        reference.pairs.corrupt.clone_from(&reference.pairs.clean);
        let cells = reference.patch(1 << 30).cells;
        assert_eq!(cells.len(), 3 * (4 * 9 + 5 * reference.net.config().heads));
        for (cell, effects) in cells {
            // Rows of the stream that are the recipient's own need no pass; those of
            // heads go through one, whose sums run over a window of the positions.
            let within = match cell.slot {
                Some(_) => 0.0,
                None => 1e-6 * reference.pairs.count() as f64,
            };
            let largest = effects.iter().fold(0.0_f64, |m, e| m.max(e.abs()));
            assert!(largest <= within, "{cell:?} ({ops:?}): {effects:?}");
        }
    }
}

/// Every activation put back where it was read, in a whole pass without a shortcut.
#[test]
fn an_edit_with_the_run_s_own_activation_changes_no_bit() {
    let Reference { net, pairs, .. } = Reference::read(Ops::Composite);
    let ids = pairs.prompts(false, &(0..pairs.count()), &Device::Cpu);
    let ids = ids.expect("ids");
    let bits = |out: &Tensor| -> Vec<u32> {
        let values = out.flatten_all().and_then(|t| t.to_vec1::<f32>());
        values
            .expect("values")
            .iter()
            .map(|v| v.to_bits())
            .collect()
    };
    for layer in 0..net.config().layers {
        for site in sites() {
            let point = [Point::Block(layer, site)];
            let read = Pass::new(Start::Ids(&ids), End::Last).reading(&point);
            let intact = net.run(&read).expect("a pass");
            let own = intact.get(point[0]).expect("read").clone();
            let edits = [Edit::new(point[0], own)];
            let edited = Pass::new(Start::Ids(&ids), End::Last).editing(&edits);
            let edited = net.run(&edited).expect("a pass");
            assert_eq!(bits(&edited.out), bits(&intact.out), "{site:?} of {layer}");
        }
    }
}

#[test]
fn a_map_of_zeros_has_no_centre_and_says_so() {
    let cell = |site, layer| Cell {
        site,
        layer,
        head: Some(0),
        slot: None,
    };
    let mut maps = Maps::default();
    for (site, layer, effect) in [
        (Site::Z, 0, 0.0),
        (Site::Z, 1, 0.0),
        (Site::Q, 0, 1.0),
        (Site::Q, 1, -3.0),
    ] {
        maps.cells.insert(cell(site, layer), [effect, 0.0]);
    }
    let denominators = Denominators {
        sums: vec![(2.0, 1)],
    };
    let mut out = Rows::new("test_iid", 0);
    put(&mut out, "rel", &Pairs::default(), &maps, &denominators);
    let answer = out.finish();
    let centre = |map: &str| {
        let name = format!("patching.rel.{map}.centre");
        let found = answer.metrics.iter().find(|m| m.name == name);
        let noted = answer.notes.iter().any(|note| note.place == name);
        (found.expect("there is one").value, noted)
    };
    assert_eq!(centre("denoising.q"), (0.75, false));
    for map in ["denoising.z", "noising.z", "noising.q"] {
        let (value, noted) = centre(map);
        assert!(value.is_nan() && noted, "{map}: {value}");
    }
}

#[test]
fn patching_everything_gives_exactly_one() {
    let Reference {
        net,
        pairs,
        answers,
        ..
    } = Reference::read(Ops::Fused);
    let ids = |corrupt| {
        pairs
            .prompts(corrupt, &(0..pairs.count()), &Device::Cpu)
            .expect("ids")
    };
    let ld = |out: &Tensor| -> f64 {
        let deltas = crate::mechanism::readout::deltas(&net, out, answers).expect("Δ");
        deltas
            .iter()
            .enumerate()
            .map(|(i, delta)| pairs.sign(i) * delta)
            .sum()
    };
    let (clean, corrupt) = (ids(false), ids(true));
    for layer in 0..3 {
        let point = [Point::Block(layer, Site::ResidPre)];
        let run = |ids, edits: &[Edit]| {
            net.run(
                &Pass::new(Start::Ids(ids), End::Last)
                    .reading(&point)
                    .editing(edits),
            )
            .expect("a pass")
        };
        let given = run(&clean, &[]);
        let edit = [Edit::new(
            point[0],
            given.get(point[0]).expect("read").clone(),
        )];
        let (ld_clean, ld_corrupt) = (ld(&given.out), ld(&run(&corrupt, &[]).out));
        let patched = ld(&run(&corrupt, &edit).out);
        assert_eq!(
            (patched - ld_corrupt) / (ld_clean - ld_corrupt),
            1.0,
            "layer {layer}"
        );
    }
}
