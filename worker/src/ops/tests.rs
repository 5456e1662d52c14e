//! Each operation in its two implementations: values, and every gradient against
//! the twin's and against differences.

use candle_core::{Device, Result, Tensor, Var};

use super::*;

/// Numbers without a pattern, from a shape and a tag.
fn values(shape: &[usize], tag: u64) -> Tensor {
    let count: usize = shape.iter().product();
    let mut state = tag.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let draw = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(tag | 1);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let values: Vec<f32> = (0..count).map(draw).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).expect("shape")
}

fn list(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().and_then(|t| t.to_vec1()).expect("f32")
}

fn close(a: &Tensor, b: &Tensor, within: f32, what: &str) {
    assert_eq!(a.dims(), b.dims(), "{what}");
    let (a, b) = (list(a), list(b));
    let scale = a.iter().fold(1e-3f32, |m, x| m.max(x.abs()));
    for (i, (x, y)) in a.iter().zip(&b).enumerate() {
        assert!(
            (x - y).abs() <= within * scale,
            "{what}, element {i}: {x} and {y}"
        );
    }
}

type Op<'a> = &'a dyn Fn(Ops, &[Tensor]) -> Result<Tensor>;

/// Σ of the result times fixed weights: a loss that reads every element.
fn probe(op: Op, ops: Ops, args: &[Tensor]) -> Tensor {
    let out = op(ops, args).expect("forward");
    let weights = values(out.dims(), 77);
    (out * weights).and_then(|t| t.sum_all()).expect("sum")
}

/// The gradients of a loss in some of its arguments, as training takes them: from
/// the library, or straight from the operation that computed them.
fn gradients(loss: &Tensor, vars: &[Tensor]) -> Vec<Option<Tensor>> {
    let params: Vec<&Tensor> = vars.iter().collect();
    let (grads, collected) = collecting(&params, || loss.backward());
    let grads = grads.expect("backward");
    let tensor = |(var, collected): (&Tensor, Option<Vec<f32>>)| match collected {
        Some(values) => {
            assert!(grads.get(var).is_none(), "in one place");
            Some(Tensor::from_vec(values, var.shape(), &Device::Cpu).expect("its shape"))
        }
        None => grads.get(var).cloned(),
    };
    vars.iter().zip(collected).map(tensor).collect()
}

/// The op's twins agree, for each choice of arguments that train, and the fused
/// gradients are slopes.
fn check(name: &str, shapes: &[&[usize]], op: Op) {
    let args: Vec<Tensor> = shapes
        .iter()
        .zip(1..)
        .map(|(s, tag)| values(s, tag))
        .collect();
    let (fused, composite) = (op(Ops::Fused, &args), op(Ops::Composite, &args));
    close(
        &composite.expect("composite"),
        &fused.expect("fused"),
        1e-5,
        name,
    );
    for train in 1..1usize << args.len() {
        check_gradients(name, &args, train, op);
    }
    slopes(name, &args, op);
}

/// The twins' gradients, where the arguments train whose bits are set.
fn check_gradients(name: &str, args: &[Tensor], train: usize, op: Op) {
    let trains = |i: usize| train >> i & 1 == 1;
    let var = |i: usize| match trains(i) {
        true => Var::from_tensor(&args[i]).map(|var| var.as_tensor().clone()),
        false => Ok(args[i].clone()),
    };
    let vars: Vec<Tensor> = (0..args.len()).map(|i| var(i).expect("variable")).collect();
    let grads = |ops| gradients(&probe(op, ops, &vars), &vars);
    for (i, (fused, composite)) in grads(Ops::Fused)
        .iter()
        .zip(grads(Ops::Composite))
        .enumerate()
    {
        let what = format!("{name}: gradient of argument {i}");
        match fused {
            Some(grad) => {
                assert!(trains(i), "{what} though it doesn't train");
                close(&composite.expect("twin's"), grad, 2e-5, &what);
            }
            None => assert!(!trains(i), "{what} is missing"),
        }
    }
}

/// Central differences along a random direction of each argument.
fn slopes(name: &str, args: &[Tensor], op: Op) {
    for i in 0..args.len() {
        let var = Var::from_tensor(&args[i]).expect("variable");
        let with = |t: Tensor| {
            let mut args = args.to_vec();
            args[i] = t;
            args
        };
        let loss = probe(op, Ops::Fused, &with(var.as_tensor().clone()));
        let grads = gradients(&loss, &[var.as_tensor().clone()]);
        let grad = grads[0].as_ref().expect("gradient");
        let direction = values(args[i].dims(), 5);
        let at = |step: f64| {
            let moved = (&args[i] + (&direction * step).expect("scale")).expect("add");
            // The probe's sum in f64: in f32 its rounding would be the difference.
            let out = op(Ops::Fused, &with(moved)).expect("forward");
            let weights = list(&values(out.dims(), 77));
            let out = list(&out);
            let terms = out
                .iter()
                .zip(&weights)
                .map(|(o, w)| f64::from(*o) * f64::from(*w));
            terms.sum::<f64>()
        };
        let step = 4e-3;
        let slope = (at(step) - at(-step)) / (2.0 * step);
        let pairs = list(grad).into_iter().zip(list(&direction));
        let expect: f64 = pairs.map(|(g, d)| f64::from(g) * f64::from(d)).sum();
        let size: f64 = list(grad)
            .iter()
            .map(|&g| f64::from(g).powi(2))
            .sum::<f64>()
            .sqrt();
        assert!(
            (slope - expect).abs() < 3e-3 * size + 1e-3,
            "{name}: along argument {i} the slope is {slope}, by the gradient {expect}"
        );
    }
}

// Sizes are odd on purpose: tails of vectors, of bands and of chunks.

#[test]
fn linear_agrees() {
    for (rows, i, o) in [(1, 1, 1), (5, 7, 3), (33, 16, 40), (70, 24, 17)] {
        let op = |ops, a: &[Tensor]| linear(ops, &a[0], &a[1], &a[2]);
        check("linear", &[&[rows, i], &[i, o], &[o]], &op);
        let op = |ops, a: &[Tensor]| linear_gelu(ops, &a[0], &a[1], &a[2]);
        check("linear_gelu", &[&[rows, i], &[i, o], &[o]], &op);
    }
    let op = |ops, a: &[Tensor]| linear(ops, &a[0], &a[1], &a[2]);
    check(
        "linear in three dimensions",
        &[&[2, 3, 5], &[5, 4], &[4]],
        &op,
    );
}

#[test]
fn layer_norm_agrees() {
    for (rows, c) in [(1, 8), (3, 19), (130, 32)] {
        let op = |ops, a: &[Tensor]| layer_norm(ops, &a[0], &a[1], &a[2], 1e-5);
        check("layer_norm", &[&[rows, c], &[c], &[c]], &op);
    }
}

#[test]
fn attention_agrees() {
    for (b, t, heads, d) in [
        (1, 1, 1, 4),
        (2, 3, 2, 5),
        (2, 8, 1, 8),
        (3, 21, 2, 16),
        (1, 37, 3, 9),
    ] {
        let c = heads * d;
        let shapes: [&[usize]; 3] = [&[b, t, c], &[c, 3 * c], &[3 * c]];
        check("attention", &shapes, &|ops, a| {
            attention(ops, &a[0], &a[1], &a[2], heads)
        });
        check("attention_last", &shapes, &|ops, a| {
            attention_last(ops, &a[0], &a[1], &a[2], heads)
        });
        let args: Vec<Tensor> = shapes
            .iter()
            .zip(1..)
            .map(|(s, tag)| values(s, tag))
            .collect();
        let all = attention(Ops::Fused, &args[0], &args[1], &args[2], heads).expect("all");
        let last = attention_last(Ops::Fused, &args[0], &args[1], &args[2], heads).expect("last");
        let row = all
            .narrow(1, t - 1, 1)
            .and_then(|r| r.squeeze(1))
            .expect("row");
        close(&row, &last, 1e-5, "the last row of all");
    }
}

/// Arguments of [`halves_agree`]: x, and three pairs of weights.
fn first_half(ops: Ops, a: &[Tensor], heads: usize) -> Result<Tensor> {
    let (norm, qkv, out) = pairs(a);
    self_attention(ops, &a[0], norm, qkv, out, heads)
}

fn second_half(ops: Ops, a: &[Tensor]) -> Result<Tensor> {
    let (norm, inner, outer) = pairs(a);
    mlp(ops, &a[0], norm, inner, outer)
}

fn pairs(a: &[Tensor]) -> (Norm<'_>, Affine<'_>, Affine<'_>) {
    let norm = Norm {
        gain: &a[1],
        bias: &a[2],
        epsilon: 1e-5,
    };
    let affine = |i: usize| Affine {
        weight: &a[i],
        bias: &a[i + 1],
    };
    (norm, affine(3), affine(5))
}

#[test]
fn halves_of_a_block_agree() {
    for (b, t, heads, d) in [(1, 1, 1, 4), (2, 5, 2, 4)] {
        let c = heads * d;
        let shapes: [&[usize]; 7] = [&[b, t, c], &[c], &[c], &[c, 3 * c], &[3 * c], &[c, c], &[c]];
        check("self_attention", &shapes, &|ops, a| {
            first_half(ops, a, heads)
        });
        let f = 2 * c + 3;
        let shapes: [&[usize]; 7] = [&[b, t, c], &[c], &[c], &[c, f], &[f], &[f, c], &[c]];
        check("mlp", &shapes, &second_half);
    }
}

#[test]
fn halves_of_a_block_agree_over_several_pieces_on_any_number_of_threads() {
    // 19 does not divide a piece, and the last piece is a small one.
    let (b, t, heads, c, f) = (61, 19, 2, 8, 20);
    let first: [&[usize]; 7] = [&[b, t, c], &[c], &[c], &[c, 3 * c], &[3 * c], &[c, c], &[c]];
    let second: [&[usize]; 7] = [&[b, t, c], &[c], &[c], &[c, f], &[f], &[f, c], &[c]];
    type Shared<'a> = &'a (dyn Fn(Ops, &[Tensor]) -> Result<Tensor> + Sync);
    let halves: [(&str, _, Shared<'_>); 2] = [
        ("self_attention", first, &|ops, a| first_half(ops, a, heads)),
        ("mlp", second, &second_half),
    ];
    for (name, shapes, op) in halves {
        let args: Vec<Tensor> = shapes
            .iter()
            .zip(1..)
            .map(|(s, tag)| values(s, tag))
            .collect();
        check_gradients(name, &args, (1 << args.len()) - 1, op);
        let bits = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.expect("a pool").install(|| {
                let vars: Vec<Tensor> = (args.iter())
                    .map(|t| Var::from_tensor(t).expect("variable").as_tensor().clone())
                    .collect();
                let out = op(Ops::Fused, &vars).expect("forward");
                let grads = gradients(&probe(op, Ops::Fused, &vars), &vars);
                let all = grads.iter().flatten().chain([&out]).flat_map(list);
                all.map(f32::to_bits).collect::<Vec<_>>()
            })
        };
        let one = bits(1);
        for threads in [2, 3, 5] {
            assert_eq!(one, bits(threads), "{name}: 1 and {threads} threads");
        }
    }
}

#[test]
fn attention_of_the_last_queries_is_that_of_all() {
    for (b, t, heads, d) in [(1, 1, 1, 4), (2, 3, 2, 5), (3, 21, 2, 16), (1, 37, 3, 9)] {
        let c = heads * d;
        let [x, w, bias] = [&[b, t, c][..], &[c, 3 * c], &[3 * c]].map(|s| values(s, c as u64));
        let all = attention(Ops::Fused, &x, &w, &bias, heads).expect("all");
        let qkv = linear(Ops::Fused, &x, &w, &bias).expect("q, k, v");
        let [q, k, v] = [0, 1, 2].map(|i| qkv.narrow(2, i * c, c).expect("a third"));
        for queries in [t, t.div_ceil(2), 1] {
            let last = |x: &Tensor| x.narrow(1, t - queries, queries).expect("rows");
            let expect = list(&last(&all).contiguous().expect("dense"));
            let fused = attend(Ops::Fused, &last(&q), &k, &v, heads).expect("fused");
            assert_eq!(
                list(&fused),
                expect,
                "the last {queries} of {t}, to the bit"
            );
            let composite = attend(Ops::Composite, &last(&q), &k, &v, heads).expect("composite");
            close(&composite, &fused, 1e-5, "attend");
        }
    }
}

#[test]
fn embed_agrees() {
    let ids = Tensor::new(&[[3u32, 0, 3], [6, 3, 1]], &Device::Cpu).expect("ids");
    check("embed", &[&[7, 5], &[4, 5]], &|ops, a| {
        embed(ops, &ids, &a[0], &a[1])
    });
}

#[test]
fn head_loss_agrees() {
    for (n, c, vocab) in [(1, 4, 2), (5, 8, 33), (70, 6, 200_000 / 64)] {
        let targets: Vec<u32> = (0..n as u32).map(|i| i * 7919 % vocab as u32).collect();
        let targets = Tensor::from_vec(targets, n, &Device::Cpu).expect("targets");
        check("head_loss", &[&[n, c], &[vocab, c]], &|ops, a| {
            head_loss(ops, &a[0], &a[1], &targets)
        });
    }
}

#[test]
fn a_loss_over_several_chunks_of_rows_is_that_of_one() {
    // More rows than a chunk has at most.
    let (n, c, vocab) = (2500, 4, 11);
    let (x, w) = (values(&[n, c], 1), values(&[vocab, c], 2));
    let targets: Vec<u32> = (0..n as u32).map(|i| i % vocab as u32).collect();
    let targets = Tensor::from_vec(targets, n, &Device::Cpu).expect("targets");
    let (x, w) = (
        Var::from_tensor(&x).expect("x"),
        Var::from_tensor(&w).expect("w"),
    );
    let run = |ops| {
        let loss = head_loss(ops, &x, &w, &targets).expect("loss");
        let scaled = (&loss * 0.25).expect("scale");
        let grads = scaled.backward().expect("backward");
        [
            loss,
            grads.get(&x).expect("x").clone(),
            grads.get(&w).expect("w").clone(),
        ]
    };
    for (fused, composite) in run(Ops::Fused).iter().zip(&run(Ops::Composite)) {
        close(composite, fused, 1e-4, "head_loss in chunks");
    }
}

#[test]
fn products_refuse_what_a_gpu_would_refuse() {
    let (x, w, b) = (values(&[3, 4], 1), values(&[4, 12], 2), values(&[12], 3));
    let columns = w.narrow(1, 0, 6).expect("half of the columns");
    let bias = b.narrow(0, 0, 6).expect("half of the bias");
    let error = linear(Ops::Composite, &x, &columns, &bias).expect_err("strides of 12");
    assert!(
        error.to_string().contains("weight must be a dense"),
        "{error}"
    );
    // A transpose is none of these.
    let turned = values(&[12, 4], 2).t().expect("(4, 12)");
    linear(Ops::Composite, &x, &turned, &b).expect("a GPU takes it");
}

#[test]
fn what_does_not_fit_is_an_error() {
    let cpu = &Device::Cpu;
    let x = values(&[2, 3, 4], 1);
    let w = values(&[5, 12], 2);
    let b = values(&[12], 3);
    assert!(linear(Ops::Fused, &x, &w, &b).is_err());
    assert!(attention(Ops::Fused, &x, &w, &b, 2).is_err());
    assert!(
        attention(Ops::Fused, &x, &values(&[4, 12], 2), &b, 3).is_err(),
        "3 heads of 4"
    );
    assert!(layer_norm(Ops::Fused, &x, &values(&[3], 1), &values(&[3], 1), 1e-5).is_err());
    let outside = Tensor::new(&[[9u32]], cpu).expect("ids");
    let error = embed(
        Ops::Fused,
        &outside,
        &values(&[9, 4], 1),
        &values(&[2, 4], 1),
    );
    assert!(
        error
            .expect_err("outside")
            .to_string()
            .contains("token id 9 in a vocabulary of 9")
    );
    let targets = Tensor::new(&[5u32], cpu).expect("targets");
    assert!(
        head_loss(
            Ops::Fused,
            &values(&[1, 4], 1),
            &values(&[5, 4], 1),
            &targets
        )
        .is_err()
    );
}
