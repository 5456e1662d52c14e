//! The psychometric function of two lines of evidence, and its fit.
//!
//! P(right) = λR + (1 − λL − λR)·σ(b + β_rel·z_rel + β_irr·z_irr), with
//! z = sign(x)·ln(1 + |x|)/ln 51: differences of ±50 are ±1. It is fitted to the
//! soft choice σ(Δ), not to 1\[Δ > 0\]: near 100 % the latter can be told apart by a
//! plane and has no finite maximum. The estimate is the maximum a posteriori
//! with b, β ~ N(0, 10²) and lapses uniform on [0, .25].

use super::ascent::{self, Derivatives, Target};
use super::linear::Cholesky;
use super::separation::is_separated;

/// Largest lapse of one side.
pub const LAPSE_MAX: f64 = 0.25;

/// Standard deviation of the prior of bias and slopes.
pub const PRIOR_SD: f64 = 10.0;

/// Where the fit starts with lapses; after the fit without them.
const LAPSE_STARTS: [[f64; 2]; 4] = [[0.02, 0.02], [0.15, 0.15], [0.02, 0.15], [0.15, 0.02]];

/// Log-likelihood that lapses must bring over all trials: where they bring less
/// (a network that is near chance), the data do not tell of them, and they stay 0.
const LAPSE_GAIN_MIN: f64 = 1e-3;

/// Two maxima nearer than this are one, reached from two starts.
const SAME: f64 = 1e-9;

/// Places of the parameters.
const SLOPES: [usize; 2] = [1, 2];
const LAPSES: [usize; 2] = [3, 4];

/// One trial as the fit sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// Relevant and irrelevant evidence on the scale of z.
    pub z: [f64; 2],
    /// Probability of choosing right.
    pub right: f64,
    /// Its complement, for itself: 1 − `right` would be rounded to 0 too early.
    pub left: f64,
}

impl Choice {
    /// The soft choice of a network: signed differences x (right − left), and
    /// Δ = logit(right) − logit(left).
    pub fn soft(x: [f64; 2], delta: f64) -> Self {
        Self {
            z: x.map(scaled),
            right: logistic(delta),
            left: logistic(-delta),
        }
    }
}

/// z = sign(x)·ln(1 + |x|)/ln 51.
pub fn scaled(x: f64) -> f64 {
    x.signum() * x.abs().ln_1p() / 51.0_f64.ln()
}

/// x of a z: the inverse of [`scaled`].
pub fn unscaled(z: f64) -> f64 {
    z.signum() * (z.abs() * 51.0_f64.ln()).exp_m1()
}

/// σ(η) = 1/(1 + e^(−η)).
pub fn logistic(eta: f64) -> f64 {
    1.0 / (1.0 + (-eta).exp())
}

/// What is fitted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Model {
    /// Standard deviation of the normal prior of b and β; none: no prior.
    pub prior_sd: Option<f64>,
    /// Largest lapse of one side; 0: no lapses.
    pub lapse_max: f64,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            prior_sd: Some(PRIOR_SD),
            lapse_max: LAPSE_MAX,
        }
    }
}

/// A psychometric function.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fit {
    /// b.
    pub bias: f64,
    /// β_rel and β_irr.
    pub slopes: [f64; 2],
    /// λL: choosing left however strong the evidence for right is.
    pub lapse_left: f64,
    /// λR: choosing right however strong the evidence for left is.
    pub lapse_right: f64,
    /// Standard errors of b, β_rel, β_irr, λL and λR from the expected information,
    /// each trial counted as one choice; NaN for a lapse at an end of its range.
    pub errors: [f64; 5],
    /// Log-likelihood and log-prior (without constants) at the maximum.
    pub objective: f64,
}

/// Why there is no fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FitError {
    /// Bias and slopes can't be told apart on these trials.
    #[error("the evidence varies in too few directions to tell bias and slopes apart")]
    Design,
    /// Without a prior the estimate would be infinite.
    #[error("the choices are separated by a plane, and there is no prior to keep slopes finite")]
    Separated,
    /// A Δ that is not a finite number.
    #[error("a logit is not a finite number")]
    NotFinite,
    /// The maximum was not found.
    #[error("the fit did not converge")]
    NoConvergence,
}

/// Fits the model: from no lapses, then from several, and takes the best.
///
/// # Errors
/// [`FitError`]; there is never a value that only looks like a fit.
pub fn fit(choices: &[Choice], model: Model) -> Result<Fit, FitError> {
    let sound = |c: &Choice| {
        [c.z[0], c.z[1], c.right, c.left]
            .iter()
            .all(|v| v.is_finite())
    };
    if !choices.iter().all(sound) {
        return Err(FitError::NotFinite);
    }
    if !is_identified(choices) {
        return Err(FitError::Design);
    }
    if model.prior_sd.is_none() && is_certain_and_separated(choices) {
        return Err(FitError::Separated);
    }
    let posterior = |lapse_max| Posterior {
        choices,
        prior_precision: model.prior_sd.map_or(0.0, |sd| sd.powi(-2)),
        lapse_max,
    };
    let plain = ascent::maximum(&posterior(0.0), [0.0; 5]).ok_or(FitError::NoConvergence)?;
    let mut best = plain;
    let mut least_gain = LAPSE_GAIN_MIN;
    if model.lapse_max > 0.0 {
        let target = posterior(model.lapse_max);
        let mut starts = vec![plain.at];
        starts.extend(LAPSE_STARTS.map(|lapses| {
            let mut start = plain.at;
            // Lapses flatten the fit without them: steeper is nearer.
            SLOPES.iter().for_each(|&k| start[k] *= 2.0);
            for (&k, lapse) in LAPSES.iter().zip(lapses) {
                start[k] = lapse.min(model.lapse_max);
            }
            start
        }));
        for start in starts {
            let found = ascent::maximum(&target, start).ok_or(FitError::NoConvergence)?;
            if found.value > best.value + least_gain {
                best = found;
                least_gain = SAME;
            }
        }
    }
    let [bias, rel, irr, lapse_left, lapse_right] = best.at;
    Ok(Fit {
        bias,
        slopes: [rel, irr],
        lapse_left,
        lapse_right,
        errors: posterior(model.lapse_max)
            .errors(&best.at)
            .ok_or(FitError::NoConvergence)?,
        objective: best.value,
    })
}

impl Fit {
    /// P(right) at scaled evidence.
    pub fn p_right(&self, z: [f64; 2]) -> f64 {
        let eta = self.bias + self.slopes[0] * z[0] + self.slopes[1] * z[1];
        self.lapse_right + (1.0 - self.lapse_left - self.lapse_right) * logistic(eta)
    }

    /// Whether β_rel is above 0 by more than its 95 % interval: else what is
    /// divided by it is not available.
    pub fn follows_relevant(&self) -> bool {
        self.slopes[0] > 1.96 * self.errors[1]
    }

    /// I = β_irr/β_rel: 0 for perfect gating, 1 for a network blind to the context.
    pub fn intrusion(&self) -> Option<f64> {
        self.follows_relevant()
            .then(|| self.slopes[1] / self.slopes[0])
    }

    /// Whether lapses keep P(right) below .75, whatever the evidence.
    pub fn lapses_hide_75(&self) -> bool {
        self.share_75() >= 1.0
    }

    /// The value of σ at which P(right) = .75.
    fn share_75(&self) -> f64 {
        (0.75 - self.lapse_right) / (1.0 - self.lapse_left - self.lapse_right)
    }

    /// The relevant difference x at which P(right) = .75, the irrelevant one being
    /// 0; below 0 if a bias suffices. `None` where lapses keep P below .75, where
    /// β_rel is not above 0, or beyond `x_max`, the largest that was shown.
    pub fn threshold_75(&self, x_max: f64) -> Option<f64> {
        if !self.follows_relevant() || self.lapses_hide_75() {
            return None;
        }
        let share = self.share_75();
        let eta = share.ln() - (1.0 - share).ln();
        let z = (eta - self.bias) / self.slopes[0];
        // Compared on the scale of z: x may be too large for a number.
        (z.abs() <= scaled(x_max)).then(|| unscaled(z))
    }
}

/// Whether 1, z_rel and z_irr are linearly independent on these trials.
fn is_identified(choices: &[Choice]) -> bool {
    let mut gram = [[0.0; 3]; 3];
    for c in choices {
        let v = [1.0, c.z[0], c.z[1]];
        for (row, a) in gram.iter_mut().zip(v) {
            for (sum, b) in row.iter_mut().zip(v) {
                *sum += a * b;
            }
        }
    }
    Cholesky::of(&gram).is_some()
}

/// Of choices that leave no doubt at all, whether a plane tells them apart: the
/// likelihood then has no maximum (with any doubt it has).
fn is_certain_and_separated(choices: &[Choice]) -> bool {
    let certain = choices.iter().all(|c| c.right == 0.0 || c.left == 0.0);
    let signs: Vec<_> = choices
        .iter()
        .map(|c| (c.z, Some(c.right > c.left)))
        .collect();
    certain && is_separated(&signs)
}

/// The objective: Σ y·ln P + (1 − y)·ln(1 − P) − (b² + β_rel² + β_irr²)/(2σ²), over
/// θ = (b, β_rel, β_irr, λL, λR).
struct Posterior<'a> {
    choices: &'a [Choice],
    prior_precision: f64,
    lapse_max: f64,
}

/// The function and its parts at one trial.
struct Place {
    /// (1, z_rel, z_irr).
    v: [f64; 3],
    s: f64,
    s_left: f64,
    /// 1 − λL − λR.
    span: f64,
    p: f64,
    /// 1 − P.
    q: f64,
}

impl Place {
    fn of(choice: &Choice, theta: &[f64; 5]) -> Self {
        let v = [1.0, choice.z[0], choice.z[1]];
        let eta = v[0] * theta[0] + v[1] * theta[1] + v[2] * theta[2];
        let (s, s_left) = (logistic(eta), logistic(-eta));
        let span = 1.0 - theta[3] - theta[4];
        Self {
            v,
            s,
            s_left,
            span,
            // Above 0 also where σ is rounded to it: then y·ln P stays a number.
            p: (theta[4] + span * s).max(f64::MIN_POSITIVE),
            q: (theta[3] + span * s_left).max(f64::MIN_POSITIVE),
        }
    }

    /// ∂P/∂θ.
    fn slope(&self) -> [f64; 5] {
        let by_eta = self.span * self.s * self.s_left;
        let [a, b, c] = self.v.map(|v| by_eta * v);
        [a, b, c, -self.s, self.s_left]
    }

    /// ∂²P/∂θ∂θ: by (η, η), and by η and either lapse.
    fn bends(&self) -> (f64, f64) {
        let steep = self.s * self.s_left;
        (self.span * steep * (self.s_left - self.s), -steep)
    }
}

impl Posterior<'_> {
    fn prior(&self, theta: &[f64; 5]) -> f64 {
        let squares: f64 = theta[..3].iter().map(|t| t * t).sum();
        -0.5 * self.prior_precision * squares
    }

    /// Standard errors, from the expected information of the parameters that are
    /// not at a bound.
    fn errors(&self, theta: &[f64; 5]) -> Option<[f64; 5]> {
        let mut information = self.derivatives(theta).expected;
        let held =
            |k: usize| LAPSES.contains(&k) && (theta[k] <= 0.0 || theta[k] >= self.lapse_max);
        for k in LAPSES.into_iter().filter(|&k| held(k)) {
            ascent::hold(&mut information, k);
        }
        let factor = Cholesky::of(&information)?;
        Some(std::array::from_fn(|k| match held(k) {
            true => f64::NAN,
            false => factor.inverse_diagonal(k).sqrt(),
        }))
    }
}

impl Target for Posterior<'_> {
    fn bounds(&self) -> [(f64, f64); 5] {
        let free = (f64::NEG_INFINITY, f64::INFINITY);
        let lapse = (0.0, self.lapse_max);
        [free, free, free, lapse, lapse]
    }

    fn value(&self, theta: &[f64; 5]) -> f64 {
        let likelihood: f64 = self
            .choices
            .iter()
            .map(|c| {
                let at = Place::of(c, theta);
                c.right * at.p.ln() + c.left * at.q.ln()
            })
            .sum();
        likelihood + self.prior(theta)
    }

    fn derivatives(&self, theta: &[f64; 5]) -> Derivatives {
        let mut d = Derivatives::default();
        for c in self.choices {
            let at = Place::of(c, theta);
            let slope = at.slope();
            let (toward_right, toward_left) = (c.right / at.p, c.left / at.q);
            let score = toward_right - toward_left;
            let observed = toward_right / at.p + toward_left / at.q;
            let expected = 1.0 / at.p + 1.0 / at.q;
            let (by_eta, by_lapse) = at.bends();
            for i in 0..5 {
                d.gradient[i] += score * slope[i];
                for j in 0..=i {
                    let product = slope[i] * slope[j];
                    let bend = match (i, j) {
                        (0..3, _) => by_eta * at.v[i] * at.v[j],
                        (_, 0..3) => by_lapse * at.v[j],
                        _ => 0.0,
                    };
                    d.observed[i][j] += observed * product - score * bend;
                    d.expected[i][j] += expected * product;
                }
            }
        }
        for i in 0..5 {
            for j in 0..i {
                d.observed[j][i] = d.observed[i][j];
                d.expected[j][i] = d.expected[i][j];
            }
        }
        for (k, parameter) in theta.iter().enumerate().take(3) {
            d.gradient[k] -= self.prior_precision * parameter;
            d.observed[k][k] += self.prior_precision;
            d.expected[k][k] += self.prior_precision;
        }
        d
    }
}
