//! `replicate:`: seeds are added, in whole blocks, until the paired interval is
//! narrow enough.

use super::decode;
use super::document::Sweep;
use super::fields::{REPLICATE, UNTIL};
use super::source::{Problems, Span};
use super::tree::Node;

/// Most looks: beyond that each interval would have to be so wide that more
/// looks cost more seeds than they save.
const LOOKS_MAX: u64 = 20;

/// When to stop adding seeds.
#[derive(Debug, Clone, PartialEq)]
pub struct Until {
    /// Half the width of the widest paired interval that is narrow enough.
    pub half_width: f64,
    /// The metric whose differences are looked at: "val.incongruent_accuracy".
    pub metric: String,
    /// Seeds of the first look: those of `axes.seed`.
    pub initial: u64,
    /// Seeds that are added at a time.
    pub block: u64,
    /// Most seeds.
    pub max_seeds: u64,
}

impl Until {
    /// The numbers of seeds at which the data are looked at, ascending; the last
    /// block is cut at the most seeds.
    pub fn sizes(&self) -> impl Iterator<Item = u64> + use<> {
        let (first, step, last) = (self.initial, self.block, self.max_seeds);
        (0..=last.saturating_sub(first).div_ceil(step)).map(move |i| (first + i * step).min(last))
    }

    /// Split and name of the metric.
    pub fn split_and_name(&self) -> (&str, &str) {
        self.metric.split_once('.').unwrap_or(("val", &self.metric))
    }
}

/// Decodes `replicate:`; `seeds` are those of each document that trains, in the
/// order in which they run.
pub fn decode(node: &Node, seeds: &[&[u64]], problems: &mut Problems) -> Option<Until> {
    let before = problems.len();
    let outer = decode::entries(node, "replicate", problems)?;
    let Some((_, inner)) = outer.iter().find(|(key, _)| key.name == "until") else {
        let help = "write {until: {half_width: 0.02, max_seeds: 40}}";
        problems.push_help(node.span, "replicate", "must say until when", help);
        return None;
    };
    for (key, _) in outer.iter().filter(|(key, _)| key.name != "until") {
        let names = REPLICATE.iter().map(|f| f.name);
        let place = format!("replicate.{}", key.name);
        decode::unknown(key, &place, "key", names, problems);
    }
    let found = decode::block(UNTIL, inner, "replicate.until", problems);
    for name in ["half_width", "max_seeds"] {
        let given = found.iter().any(|(key, _)| *key == name);
        if !given && problems.len() == before {
            let place = format!("replicate.until.{name}");
            problems.push_help(inner.span, &place, "is missing", "there is no default");
        }
    }
    let all = decode::with_defaults(UNTIL, &found);
    let whole = |name: &str| all.get(name).and_then(serde_json::Value::as_u64);
    let span = |name: &str| {
        let stated = found.iter().find(|(key, _)| *key == name);
        stated.map_or(inner.span, |(_, setting)| setting.span)
    };
    let until = Until {
        half_width: all.get("half_width")?.as_f64()?,
        metric: all.get("metric")?.as_str()?.to_owned(),
        initial: seeds.first().map_or(0, |s| s.len() as u64),
        block: whole("block")?,
        max_seeds: whole("max_seeds")?,
    };
    check(&until, seeds, span, problems);
    (problems.len() == before).then_some(until)
}

fn check(until: &Until, seeds: &[&[u64]], span: impl Fn(&str) -> Span, problems: &mut Problems) {
    let mut fail = |name: &str, message: String| {
        problems.push(span(name), &format!("replicate.until.{name}"), message);
    };
    if seeds.windows(2).any(|w| w[0] != w[1]) {
        let message = "the documents have different seeds: growing needs one list for all";
        fail("max_seeds", message.to_owned());
    } else if until.initial < 2 {
        let message = format!(
            "the first look needs at least 2 seeds, `axes.seed` has {}",
            until.initial
        );
        fail("max_seeds", message);
    } else if until.max_seeds <= until.initial {
        let message = format!(
            "must be above the {} seeds that the sweep starts with, got {}",
            until.initial, until.max_seeds
        );
        fail("max_seeds", message);
    } else {
        let looks = until.sizes().count() as u64;
        if looks > LOOKS_MAX {
            let message = format!(
                "makes {looks} looks, at most {LOOKS_MAX} are taken: each look widens every interval"
            );
            fail("block", message);
        }
    }
}

impl Sweep {
    /// The seeds of the sweep, in the order in which they run.
    pub fn seeds(&self) -> Vec<u64> {
        let mut seeds: Vec<u64> = vec![];
        for seed in self.documents.iter().flat_map(|d| &d.seeds) {
            if !seeds.contains(seed) {
                seeds.push(*seed);
            }
        }
        seeds
    }

    /// The same sweep with this many seeds; those that are added are the next
    /// whole numbers above its own.
    #[must_use]
    pub fn grown(mut self, size: u64) -> Self {
        let seeds = self.seeds();
        let above = seeds.iter().max().map_or(0, |s| s + 1);
        let missing = size.saturating_sub(seeds.len() as u64);
        for document in self.documents.iter_mut().filter(|d| !d.seeds.is_empty()) {
            document.seeds.extend(above..above + missing);
        }
        self
    }
}
