//! AdamW: decoupled weight decay on matrices, bias correction, and a norm of the
//! gradient that is clipped over all parameters at once.
//!
//! On the CPU each parameter is updated in place, in one pass over weight,
//! gradient and both moments. Other devices take the composite twin, which is
//! the same formula through the tensor library.

use std::borrow::Cow;
use std::cell::RefCell;

use candle_core::{CpuStorage, InplaceOp2, Layout, Tensor, Var, bail};
use rayon::prelude::*;
use seedbed_proto::job::Optim;

use crate::train::guards::{Gradients, Norm};

/// Values that one task updates; smaller parameters are not worth a second thread.
const CHUNK: usize = 1 << 14;

/// A parameter that trains.
#[derive(Debug, Clone)]
pub struct Target {
    /// Name in the weights file.
    pub name: String,
    /// Its values, f32.
    pub var: Var,
    /// Whether it decays: matrices do, but for the embeddings.
    pub decay: bool,
    /// Its share of the learning rate; the decay, which goes with the rate, too.
    pub rate: f64,
}

/// Both moments of one parameter, flat: what a checkpoint must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Moments {
    /// Running mean of the gradient.
    pub first: Vec<f32>,
    /// Running mean of its square.
    pub second: Vec<f32>,
}

/// The moments where they are used.
#[derive(Debug)]
enum State {
    Host(Moments),
    Device { first: Tensor, second: Tensor },
}

impl State {
    fn moments(&self) -> candle_core::Result<Cow<'_, Moments>> {
        Ok(match self {
            Self::Host(moments) => Cow::Borrowed(moments),
            Self::Device { first, second } => Cow::Owned(Moments {
                first: first.flatten_all()?.to_vec1()?,
                second: second.flatten_all()?.to_vec1()?,
            }),
        })
    }
}

/// The optimizer, with one state per target.
#[derive(Debug)]
pub struct AdamW {
    optim: Optim,
    states: Vec<State>,
    updates: u64,
}

/// What one update needs besides the tensors; computed in f64, used in f32.
#[derive(Debug, Clone, Copy)]
struct Coefficients {
    /// Times the gradient: clipping.
    clip: f32,
    /// Times the weight: decay.
    keep: f32,
    /// Of the old moments.
    beta1: f32,
    beta2: f32,
    /// Of the gradient in the moments: 1 - β, which f32 would round twice.
    fresh1: f32,
    fresh2: f32,
    /// Learning rate over the first moment's bias correction.
    rate: f32,
    /// One over the root of the second moment's bias correction.
    root: f32,
    epsilon: f32,
}

impl AdamW {
    /// An optimizer that has not made an update yet.
    ///
    /// # Errors
    /// If the tensor library refuses.
    pub fn new(optim: &Optim, targets: &[Target]) -> candle_core::Result<Self> {
        let state = |target: &Target| {
            Ok(if target.var.device().is_cpu() {
                let zeros = vec![0.0; target.var.elem_count()];
                State::Host(Moments {
                    first: zeros.clone(),
                    second: zeros,
                })
            } else {
                State::Device {
                    first: target.var.zeros_like()?,
                    second: target.var.zeros_like()?,
                }
            })
        };
        Ok(Self {
            optim: optim.clone(),
            states: targets
                .iter()
                .map(state)
                .collect::<candle_core::Result<_>>()?,
            updates: 0,
        })
    }

    /// Goes on from moments that were saved after this many updates.
    ///
    /// # Errors
    /// If there is not one pair of moments, of the right length, per target.
    pub fn restore(
        &mut self,
        targets: &[Target],
        moments: Vec<Moments>,
        updates: u64,
    ) -> candle_core::Result<()> {
        if moments.len() != targets.len() {
            bail!("{} moments for {} parameters", moments.len(), targets.len());
        }
        for ((state, target), saved) in self.states.iter_mut().zip(targets).zip(moments) {
            let (name, len) = (&target.name, target.var.elem_count());
            if saved.first.len() != len || saved.second.len() != len {
                bail!("the moments of {name} do not have its {len} values");
            }
            match state {
                State::Host(moments) => *moments = saved,
                State::Device { first, second } => {
                    let (shape, device) = (target.var.shape(), target.var.device());
                    *first = Tensor::from_vec(saved.first, shape, device)?;
                    *second = Tensor::from_vec(saved.second, shape, device)?;
                }
            }
        }
        self.updates = updates;
        Ok(())
    }

    /// The moments, in the order of the targets.
    ///
    /// # Errors
    /// If they can't be copied from their device.
    pub fn moments(&self) -> candle_core::Result<Vec<Cow<'_, Moments>>> {
        self.states.iter().map(State::moments).collect()
    }

    /// One update of every target.
    ///
    /// # Errors
    /// If a gradient does not fit its target.
    pub fn update(
        &mut self,
        targets: &[Target],
        gradients: &Gradients,
        norm: &Norm,
        learning_rate: f64,
    ) -> candle_core::Result<()> {
        self.updates += 1;
        let grads = gradients.tensors();
        for ((target, grad), state) in targets.iter().zip(grads).zip(&mut self.states) {
            let rate = learning_rate * target.rate;
            let c = coefficients(&self.optim, self.updates, norm, rate, target.decay);
            match state {
                State::Host(moments) => {
                    let update = Fused {
                        moments: RefCell::new(moments),
                        c,
                    };
                    target.var.as_tensor().inplace_op2(grad, &update)?;
                }
                State::Device { first, second } => {
                    composite(&target.var, grad, first, second, c)?;
                }
            }
        }
        Ok(())
    }
}

fn coefficients(optim: &Optim, updates: u64, norm: &Norm, lr: f64, decay: bool) -> Coefficients {
    let clip = if optim.clip > 0.0 && norm.total > optim.clip {
        optim.clip / norm.total
    } else {
        1.0
    };
    // An exponent past i32 leaves a correction of exactly 1 long before.
    let updates = i32::try_from(updates).unwrap_or(i32::MAX);
    Coefficients {
        clip: clip as f32,
        keep: if decay {
            (1.0 - lr * optim.weight_decay) as f32
        } else {
            1.0
        },
        beta1: optim.beta1 as f32,
        beta2: optim.beta2 as f32,
        fresh1: (1.0 - optim.beta1) as f32,
        fresh2: (1.0 - optim.beta2) as f32,
        rate: (lr / (1.0 - optim.beta1.powi(updates))) as f32,
        root: (1.0 / (1.0 - optim.beta2.powi(updates)).sqrt()) as f32,
        epsilon: optim.epsilon as f32,
    }
}

/// Weight, gradient and moments in one pass.
struct Fused<'a> {
    // The trait hands out `&self`; the cell is borrowed once, in `cpu_fwd`.
    moments: RefCell<&'a mut Moments>,
    c: Coefficients,
}

impl InplaceOp2 for Fused<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(
        &self,
        weight: &mut CpuStorage,
        weight_layout: &Layout,
        grad: &CpuStorage,
        grad_layout: &Layout,
    ) -> candle_core::Result<()> {
        let mut moments = self.moments.borrow_mut();
        let Moments { first, second } = &mut **moments;
        let (CpuStorage::F32(weight), CpuStorage::F32(grad)) = (weight, grad) else {
            bail!("adamw updates f32 weights with f32 gradients only");
        };
        let (Some((w0, w1)), Some((g0, g1))) = (
            weight_layout.contiguous_offsets(),
            grad_layout.contiguous_offsets(),
        ) else {
            bail!("adamw needs contiguous weights and gradients");
        };
        if w1 - w0 != first.len() || g1 - g0 != first.len() {
            bail!("adamw: a gradient of {} values for {}", g1 - g0, w1 - w0);
        }
        let c = self.c;
        (weight[w0..w1].par_chunks_mut(CHUNK))
            .zip(grad[g0..g1].par_chunks(CHUNK))
            .zip(first.par_chunks_mut(CHUNK))
            .zip(second.par_chunks_mut(CHUNK))
            .for_each(|(((w, g), m), v)| fused_chunk(w, g, m, v, c));
        Ok(())
    }
}

/// The update of some values, in wide vectors where the machine has them: the same
/// operations, and so the same bits.
fn fused_chunk(weight: &mut [f32], grad: &[f32], m: &mut [f32], v: &mut [f32], c: Coefficients) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2")]
        fn wide(w: &mut [f32], grad: &[f32], m: &mut [f32], v: &mut [f32], c: Coefficients) {
            update_values(w, grad, m, v, c);
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: this machine has the feature, as was asked above.
            return unsafe { wide(weight, grad, m, v, c) };
        }
    }
    update_values(weight, grad, m, v, c);
}

#[inline(always)]
fn update_values(weight: &mut [f32], grad: &[f32], m: &mut [f32], v: &mut [f32], c: Coefficients) {
    for (((w, &g), m), v) in weight.iter_mut().zip(grad).zip(m).zip(v) {
        let g = g * c.clip;
        *m = c.beta1 * *m + c.fresh1 * g;
        *v = c.beta2 * *v + c.fresh2 * g * g;
        *w = *w * c.keep - c.rate * *m / (v.sqrt() * c.root + c.epsilon);
    }
}

/// The same formula, an operation at a time.
fn composite(
    weight: &Var,
    grad: &Tensor,
    first: &mut Tensor,
    second: &mut Tensor,
    c: Coefficients,
) -> candle_core::Result<()> {
    let f = f64::from;
    let g = grad.affine(f(c.clip), 0.0)?;
    *first = (first.affine(f(c.beta1), 0.0)? + g.affine(f(c.fresh1), 0.0)?)?;
    *second = (second.affine(f(c.beta2), 0.0)? + g.sqr()?.affine(f(c.fresh2), 0.0)?)?;
    let denominator = second.sqrt()?.affine(f(c.root), f(c.epsilon))?;
    let change = first.affine(f(c.rate), 0.0)?.div(&denominator)?;
    // Detached: the graph of this step must not live on in the next one.
    weight.set(&(weight.affine(f(c.keep), 0.0)? - change)?.detach())
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::train::tests_support::optim;

    fn targets(start: &[f32], decay: bool) -> Vec<Target> {
        let var = Var::new(start, &Device::Cpu).expect("a small tensor");
        let name = "w".to_owned();
        let rate = 1.0;
        vec![Target {
            name,
            var,
            decay,
            rate,
        }]
    }

    fn gradients(grad: &[f32]) -> Gradients {
        Gradients::given(vec![
            Tensor::new(grad, &Device::Cpu).expect("a small tensor"),
        ])
    }

    fn values(targets: &[Target]) -> Vec<f32> {
        targets[0].var.to_vec1().expect("a vector")
    }

    #[test]
    fn it_makes_the_updates_of_the_reference() {
        // torch.optim.AdamW([1, -2, .5], lr=.1, betas=(.9, .999), eps=1e-8,
        // weight_decay=.1) on the gradients (.5, -1, 2) and (.25, 1, -2), worked
        // out by hand from its documented formula in f64.
        let optim = Optim {
            weight_decay: 0.1,
            clip: 0.0,
            ..optim()
        };
        let reference = |decay: bool, share: f64| {
            let rate = 0.1 * share;
            let mut w = [1.0_f64, -2.0, 0.5];
            let (mut m, mut v) = ([0.0; 3], [0.0; 3]);
            for (t, g) in [(1, [0.5, -1.0, 2.0]), (2, [0.25, 1.0, -2.0])] {
                for i in 0..3 {
                    if decay {
                        w[i] -= rate * 0.1 * w[i];
                    }
                    m[i] = 0.9 * m[i] + 0.1 * g[i];
                    v[i] = 0.999 * v[i] + 0.001 * g[i] * g[i];
                    let (m, v) = (
                        m[i] / (1.0 - 0.9_f64.powi(t)),
                        v[i] / (1.0 - 0.999_f64.powi(t)),
                    );
                    w[i] -= rate * m / (v.sqrt() + 1e-8);
                }
            }
            w
        };
        for (decay, share) in [(true, 1.0), (false, 1.0), (true, 0.25)] {
            let mut targets = targets(&[1.0, -2.0, 0.5], decay);
            targets[0].rate = share;
            let mut adamw = AdamW::new(&optim, &targets).expect("new");
            for grad in [[0.5, -1.0, 2.0], [0.25, 1.0, -2.0]] {
                let grads = gradients(&grad);
                let norm = grads.norm().expect("a norm");
                adamw.update(&targets, &grads, &norm, 0.1).expect("update");
            }
            for (actual, expected) in values(&targets).iter().zip(reference(decay, share)) {
                assert!(
                    (f64::from(*actual) - expected).abs() < 1e-6,
                    "{actual} {expected}"
                );
            }
        }
        // The first step moves each weight by the learning rate whatever its
        // gradient: 1 · (1 - .01) - .1, and so on.
        let targets = targets(&[1.0, -2.0, 0.5], true);
        let mut adamw = AdamW::new(&optim, &targets).expect("new");
        let grads = gradients(&[0.5, -1.0, 2.0]);
        let norm = grads.norm().expect("a norm");
        adamw.update(&targets, &grads, &norm, 0.1).expect("update");
        for (actual, expected) in values(&targets).iter().zip([0.89, -1.88, 0.395]) {
            assert!((actual - expected).abs() < 1e-6, "{actual} {expected}");
        }
    }

    #[test]
    fn clipping_scales_the_whole_gradient() {
        let run = |clip: f64, grad: [f32; 2]| {
            let targets = targets(&[0.0, 0.0], false);
            let mut adamw = AdamW::new(&Optim { clip, ..optim() }, &targets).expect("new");
            let grads = gradients(&grad);
            let norm = grads.norm().expect("a norm");
            adamw.update(&targets, &grads, &norm, 0.1).expect("update");
            (
                norm.total,
                adamw.moments().expect("moments")[0].first.clone(),
            )
        };
        let near = |actual: Vec<f32>, expected: [f32; 2]| {
            for (a, e) in actual.iter().zip(expected) {
                assert!((a - e).abs() < 1e-7, "{actual:?} {expected:?}");
            }
        };
        let (norm, first) = run(1.0, [3.0, 4.0]);
        assert_eq!(norm, 5.0);
        near(first, [0.06, 0.08]);
        near(run(10.0, [3.0, 4.0]).1, [0.3, 0.4]);
        near(run(0.0, [3.0, 4.0]).1, [0.3, 0.4]);
    }

    #[test]
    fn the_composite_twin_agrees() {
        let optim = optim();
        let (host, device) = (
            targets(&[1.0, -2.0, 0.5], true),
            targets(&[1.0, -2.0, 0.5], true),
        );
        let mut fused = AdamW::new(&optim, &host).expect("new");
        let zeros = device[0].var.zeros_like().expect("zeros");
        let mut twin = AdamW {
            optim,
            states: vec![State::Device {
                first: zeros.clone(),
                second: zeros,
            }],
            updates: 0,
        };
        for step in 0..20 {
            let grad = [0.3 * (step as f32).sin(), -0.1, 5.0];
            for (adamw, targets) in [(&mut fused, &host), (&mut twin, &device)] {
                let grads = gradients(&grad);
                let norm = grads.norm().expect("a norm");
                adamw.update(targets, &grads, &norm, 0.01).expect("update");
            }
        }
        for (a, b) in values(&host).iter().zip(values(&device)) {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
        // And its moments go through a checkpoint's form.
        let saved: Vec<Moments> = {
            let moments = twin.moments().expect("moments");
            moments.into_iter().map(Cow::into_owned).collect()
        };
        twin.restore(&device, saved.clone(), 20).expect("fits");
        assert_eq!(*twin.moments().expect("moments")[0], saved[0]);
        let cut = vec![Moments {
            first: vec![0.0],
            second: vec![0.0],
        }];
        fused
            .restore(&host, cut, 1)
            .expect_err("one value for three");
    }
}
