//! Measured numbers as a whole sweep's are held in memory: what was measured stands
//! there once for all runs that measured it, and each number takes 16 bytes.
//!
//! A result on its way ([`Metric`]) spells out what each of its numbers is: 300 bytes
//! a number, and ten thousand runs of 300 numbers would take a gigabyte.

use std::collections::HashSet;
use std::ops::Deref;
use std::sync::Arc;

use seedbed_proto::result::{Metric, is_test};

/// What was measured: which number, at which step.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Quantity {
    /// "train", "val", "test_iid" …
    pub split: String,
    /// Optimizer steps done when it was measured.
    pub step: u64,
    /// Block, where it belongs to one.
    pub layer: Option<u32>,
    /// Attention head, where it belongs to one.
    pub head: Option<u32>,
    /// Prompt slot or stratum, where it belongs to one.
    pub slot: Option<String>,
    /// "incongruent_accuracy", "loss" …
    pub name: String,
}

impl Quantity {
    /// Whether it reads a test split, and so is sealed until a selection exists.
    pub fn is_test(&self) -> bool {
        is_test(&self.split)
    }

    /// Whether it is of the split as a whole.
    pub fn is_whole(&self) -> bool {
        self.layer.is_none() && self.head.is_none() && self.slot.is_none()
    }
}

/// One measured number of a run. It can be asked for whatever its quantity has.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    quantity: Arc<Quantity>,
    /// The value; NaN means "not available".
    pub value: f64,
}

impl Deref for Measured {
    type Target = Quantity;

    fn deref(&self) -> &Quantity {
        &self.quantity
    }
}

impl From<Measured> for Metric {
    fn from(m: Measured) -> Self {
        let value = m.value;
        let q = Arc::unwrap_or_clone(m.quantity);
        Self {
            split: q.split,
            step: q.step,
            layer: q.layer,
            head: q.head,
            slot: q.slot,
            name: q.name,
            value,
        }
    }
}

/// Every quantity met so far while results are read, each of them once.
#[derive(Debug, Default)]
pub struct Quantities(HashSet<Arc<Quantity>>);

impl Quantities {
    /// A number of this quantity.
    pub fn measured(&mut self, quantity: Quantity, value: f64) -> Measured {
        let quantity = match self.0.get(&quantity) {
            Some(known) => Arc::clone(known),
            None => {
                let new = Arc::new(quantity);
                self.0.insert(Arc::clone(&new));
                new
            }
        };
        Measured { quantity, value }
    }

    /// A metric of a result.
    pub fn of(&mut self, m: Metric) -> Measured {
        let quantity = Quantity {
            split: m.split,
            step: m.step,
            layer: m.layer,
            head: m.head,
            slot: m.slot,
            name: m.name,
        };
        self.measured(quantity, m.value)
    }
}

/// Made-up results share nothing, and are changed as tests like.
#[cfg(test)]
mod made_up {
    use super::{Arc, Deref, Measured, Metric, Quantities, Quantity};

    impl From<Metric> for Measured {
        fn from(metric: Metric) -> Self {
            Quantities::default().of(metric)
        }
    }

    impl std::ops::DerefMut for Measured {
        fn deref_mut(&mut self) -> &mut Quantity {
            Arc::make_mut(&mut self.quantity)
        }
    }

    impl Measured {
        /// A number of a whole split.
        pub fn of(split: &str, step: u64, name: &str, value: f64) -> Self {
            Metric::of(split, step, name, value).into()
        }

        /// Whether both hold the very same quantity in memory.
        pub fn shares(&self, other: &Self) -> bool {
            std::ptr::eq(self.deref(), other.deref())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_is_held_once_and_a_number_takes_16_bytes() {
        assert_eq!(size_of::<Measured>(), 16);
        let mut known = Quantities::default();
        let first = known.of(Metric::of("val", 300, "loss", 0.5));
        let second = known.of(Metric::of("val", 300, "loss", 0.25));
        let later = known.of(Metric::of("val", 600, "loss", 0.25));
        assert!(first.shares(&second) && !first.shares(&later));
        assert_eq!((second.step, second.value), (300, 0.25));
    }

    #[test]
    fn a_number_comes_back_as_the_metric_that_it_was() {
        let metric = Metric {
            layer: Some(3),
            head: Some(1),
            slot: Some("cue".to_owned()),
            ..Metric::of("test_iid", 300, "ablation", -0.0)
        };
        let mut known = Quantities::default();
        let back = Metric::from(known.of(metric.clone()));
        assert_eq!(back, metric);
        assert!(back.value.is_sign_negative());
    }
}
