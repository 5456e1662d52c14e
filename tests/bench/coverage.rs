//! How often the intervals hold what they should: simulated coverage of every
//! interval that a report shows, at the numbers of seeds that sweeps have.
//!
//!     cargo bench --workspace --bench coverage               2,000 samples each
//!     cargo bench --workspace --bench coverage -- 10000      more
//!
//! Not a test: it prints a table, and fails nothing. Seeded: the same every time.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use seedbed_coordinator::aggregate::reuse::{late_minus_early, reuse};
use seedbed_coordinator::aggregate::stats::survival::Duration;
use seedbed_coordinator::aggregate::stats::{
    CONFIDENCE, Estimate, Scale, estimate, joint, kaplan_meier, max_t, paired_at, pairs_mean,
    wilson,
};
use seedbed_coordinator::sweep::Until;

fn main() {
    let given = std::env::args().find_map(|a| a.parse().ok());
    let mut sim = Simulation {
        samples: given.unwrap_or(2000),
        rng: ChaCha8Rng::seed_from_u64(1),
    };
    println!("{} samples each; standard error {:.3}\n", sim.samples, {
        (0.95f64 * 0.05 / sim.samples as f64).sqrt()
    });
    println!("| interval (nominal .95) | data | n | coverage |\n|---|---|---|---|");
    sim.means();
    sim.proportions();
    sim.medians();
    sim.reuse();
    sim.bands();
    sim.rings();
    println!();
    sim.replication();
}

struct Simulation {
    samples: usize,
    rng: ChaCha8Rng,
}

/// A sample of differences whose true mean is zero.
#[derive(Clone, Copy)]
enum Data {
    Normal,
    /// Differences of two accuracies near the ceiling: skewed and bounded.
    Ceiling,
    /// Centred exponential: very skewed.
    Skewed,
}

impl Data {
    const ALL: [Self; 3] = [Self::Normal, Self::Ceiling, Self::Skewed];

    const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Ceiling => "accuracies near the ceiling",
            Self::Skewed => "exponential",
        }
    }
}

impl Simulation {
    fn normal(&mut self) -> f64 {
        // Box and Muller: the library's distributions are no dependency of ours.
        let (u, v): (f64, f64) = (self.rng.random(), self.rng.random());
        (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    fn draw(&mut self, data: Data) -> f64 {
        match data {
            Data::Normal => self.normal(),
            // 1 − |error|, scratch with ten times the error; means √(2/π) apart.
            Data::Ceiling => {
                let (good, bad) = (0.005 * self.normal().abs(), 0.05 * self.normal().abs());
                bad - good - 0.045 * (2.0 / std::f64::consts::PI).sqrt()
            }
            Data::Skewed => -(1.0 - self.rng.random::<f64>()).ln() - 1.0,
        }
    }

    fn row(&self, interval: &str, data: &str, n: usize, hits: usize) {
        let coverage = hits as f64 / self.samples as f64;
        println!("| {interval} | {data} | {n} | {coverage:.3} |");
    }

    fn means(&mut self) {
        for data in Data::ALL {
            for n in [3, 6, 10, 19, 20, 30] {
                let hits = (0..self.samples)
                    .filter(|i| {
                        let x: Vec<f64> = (0..n).map(|_| self.draw(data)).collect();
                        let e = estimate(&x, &format!("{i}")).expect("a sample");
                        e.interval
                            .is_some_and(|(low, high)| low <= 0.0 && high >= 0.0)
                    })
                    .count();
                let method = if n < 20 { "paired t" } else { "BCa" };
                self.row(method, data.name(), n, hits);
            }
        }
    }

    fn proportions(&mut self) {
        for (p, n) in [(0.9, 10), (0.5, 10), (0.97, 40)] {
            let hits = (0..self.samples)
                .filter(|_| {
                    let k = (0..n).filter(|_| self.rng.random::<f64>() < p).count();
                    let (low, high) = wilson(k, n).interval;
                    low <= p && p <= high
                })
                .count();
            self.row("Wilson", &format!("rate {p}"), n, hits);
        }
    }

    /// Steps to a threshold, evaluated every 30 and cut off at 300.
    fn medians(&mut self) {
        // exp(5 + .5 z) has median 148: first seen at 150.
        for n in [6, 10, 20, 40] {
            let hits = (0..self.samples)
                .filter(|_| {
                    let times: Vec<Duration> = (0..n)
                        .map(|_| {
                            let at = (5.0 + 0.5 * self.normal()).exp();
                            let seen = 30 * (at / 30.0).ceil() as u64;
                            Duration {
                                step: seen.min(300),
                                passed: seen <= 300,
                            }
                        })
                        .collect();
                    let (low, high) = kaplan_meier(&times).median_interval();
                    low.is_some_and(|l| l <= 150) && high.is_none_or(|h| h >= 150)
                })
                .count();
            self.row("Kaplan–Meier median", "log-normal, censored", n, hits);
        }
    }

    /// L(U) of six layers, and its contrast between paired arms.
    fn reuse(&mut self) {
        let rising = [0.2, 0.25, 0.4, 0.6, 0.8, 0.85];
        let flat = [0.4, 0.42, 0.41, 0.39, 0.4, 0.41];
        let (truth, other) = (late_minus_early(&rising), late_minus_early(&flat));
        for n in [6, 10, 20] {
            let (mut late, mut contrast) = (0, 0);
            for i in 0..self.samples {
                let mut arm = |u: &[f64; 6]| -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
                    let rows = |_| {
                        let luck = 0.05 * self.normal();
                        let one = |u: &f64| {
                            let a = 0.6 + luck + 0.05 * self.normal();
                            ((1.0 - u) * a + 0.05 * self.normal(), a)
                        };
                        u.iter().map(one).unzip()
                    };
                    (0..n).map(rows).unzip()
                };
                let (ft, sc) = (arm(&rising), arm(&flat));
                let [l, d] = joint(n, &format!("{i}"), CONFIDENCE, |seeds| {
                    let of = |x: &(Vec<Vec<f64>>, Vec<Vec<f64>>)| {
                        late_minus_early(&reuse(&x.0, &x.1, seeds))
                    };
                    [of(&ft), of(&ft) - of(&sc)]
                });
                let holds = |e: Option<seedbed_coordinator::aggregate::stats::JointEstimate>, t| {
                    let interval = e.and_then(|e| e.interval);
                    usize::from(interval.is_some_and(|(low, high)| low <= t && t <= high))
                };
                late += holds(l, truth);
                contrast += holds(d, truth - other);
            }
            let method = if n < 20 {
                "joint bootstrap, t"
            } else {
                "joint bootstrap, BCa"
            };
            self.row(method, "L(U)", n, late);
            self.row(method, "L(U) − L(U) of the twins", n, contrast);
        }
    }

    /// Bands over twelve layers whose errors go together: all at once.
    fn bands(&mut self) {
        for (effect, what) in [
            (0.0, "12 layers, no effect"),
            (2.0, "12 layers, large effect"),
        ] {
            for n in [6, 8, 10, 20] {
                let (mut hits, mut quiet) = (0, 0);
                for i in 0..self.samples {
                    let rows: Vec<Vec<f64>> = (0..n)
                        .map(|_| {
                            let mut error = self.normal();
                            (0..12)
                                .map(|layer| {
                                    error = 0.7 * error + 0.714 * self.normal();
                                    effect * f64::from(layer) / 11.0 + error
                                })
                                .collect()
                        })
                        .collect();
                    let got = max_t(&rows, &format!("{i}")).expect("seeds");
                    let truth = |layer: usize| effect * layer as f64 / 11.0;
                    let holds = got.iter().enumerate().all(|(l, p)| {
                        p.band
                            .is_some_and(|(low, high)| low <= truth(l) && truth(l) <= high)
                    });
                    hits += usize::from(holds);
                    quiet += usize::from(got.iter().all(|p| p.p.is_some_and(|p| p > 0.05)));
                }
                self.row("max-|t| band", what, n, hits);
                if effect == 0.0 {
                    self.row("max-|t| test (1 − size)", what, n, quiet);
                }
            }
        }
    }

    /// Means over the pairs of a ring, each of a network and the next.
    fn rings(&mut self) {
        type OfPair = fn(f64, f64) -> f64;
        let apart = 2.0 / std::f64::consts::PI.sqrt();
        let of_pairs: [(&str, Data, OfPair, f64); 4] = [
            ("a + b", Data::Normal, |a, b| a + b, 0.0),
            (
                "distance of a and b",
                Data::Normal,
                |a, b| (a - b).abs(),
                apart,
            ),
            ("a · b", Data::Normal, |a, b| a * b, 0.0),
            ("a + b, exponential", Data::Skewed, |a, b| a + b, 0.0),
        ];
        for (what, kind, of, truth) in of_pairs {
            for n in [3, 4, 6, 8, 10, 20] {
                let (mut plain, mut jackknife) = (0, 0);
                for i in 0..self.samples {
                    let networks: Vec<f64> = (0..n).map(|_| self.draw(kind)).collect();
                    let value = |k: usize| of(networks[k], networks[(k + 1) % n]);
                    let values: Vec<f64> = (0..n).map(value).collect();
                    let pair = |k: usize| (k as u64, ((k + 1) % n) as u64, values[k]);
                    let pairs: Vec<_> = (0..n).map(pair).collect();
                    let holds = |e: Option<Estimate>| {
                        let interval = e.and_then(|e| e.interval);
                        usize::from(interval.is_some_and(|(l, h)| l <= truth && truth <= h))
                    };
                    plain += holds(estimate(&values, &format!("{i}")));
                    jackknife += holds(pairs_mean(&pairs));
                }
                let data = format!("ring of pairs, {what}");
                self.row("pairs as if independent", &data, n, plain);
                self.row("jackknife over networks, t", &data, n, jackknife);
            }
        }
    }

    /// Seeds added until the interval is narrow enough: what the last interval
    /// covers with and without the correction for looks.
    fn replication(&mut self) {
        println!("Seeds added from 5 by 5 to at most 40 until the half-width is small enough:\n");
        println!(
            "| data | half-width wanted | coverage, no correction | mean seeds | coverage, corrected | mean seeds |"
        );
        println!("|---|---|---|---|---|---|");
        for data in Data::ALL {
            let sd = match data {
                Data::Ceiling => 0.03,
                Data::Normal | Data::Skewed => 1.0,
            };
            for wanted in [0.4 * sd, 0.6 * sd, 0.9 * sd] {
                let until = Until {
                    half_width: wanted,
                    metric: "val.incongruent_accuracy".to_owned(),
                    initial: 5,
                    block: 5,
                    max_seeds: 40,
                };
                let looks = until.sizes().count();
                let mut cells = vec![];
                for confidence in [CONFIDENCE, 1.0 - (1.0 - CONFIDENCE) / looks as f64] {
                    let (mut hits, mut seeds) = (0, 0);
                    for i in 0..self.samples {
                        let x: Vec<f64> = (0..40).map(|_| self.draw(data)).collect();
                        let mut last = (false, 0);
                        for size in until.sizes() {
                            let n = size as usize;
                            let e =
                                paired_at(&x[..n], &format!("{i}"), confidence, Scale::ACCURACY);
                            let (low, high) = e
                                .and_then(|e| e.difference.interval)
                                .expect("continuous data have spread");
                            last = (low <= 0.0 && high >= 0.0, n);
                            if (high - low) / 2.0 <= until.half_width {
                                break;
                            }
                        }
                        hits += usize::from(last.0);
                        seeds += last.1;
                    }
                    let all = self.samples as f64;
                    cells.push(format!(
                        "{:.3} | {:.1}",
                        hits as f64 / all,
                        seeds as f64 / all
                    ));
                }
                println!("| {} | {wanted:.3} | {} |", data.name(), cells.join(" | "));
            }
        }
    }
}
