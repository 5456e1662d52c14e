//! Metrics as bytes that are read whole.
//!
//! A number of texts, the texts (length, UTF-8), a number of metrics, the metrics:
//! position in the result, split, name and slot (index of a text plus one, 0 for
//! none), step, layer and head (plus one, 0 for none), all as LEB128, then the
//! value's 8 bytes, little-endian.

use std::collections::BTreeMap;

use seedbed_proto::result::Metric;

use crate::results::{Measured, Quantities, Quantity};
use crate::store::StoreError;

/// The metrics of a result as bytes, each with its position in the result; none if
/// there are none.
pub(super) fn pack<'a>(metrics: impl Iterator<Item = (usize, &'a Metric)>) -> Option<Vec<u8>> {
    let mut texts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut order: Vec<&str> = Vec::new();
    let mut index = |text: &'a str| {
        *texts.entry(text).or_insert_with(|| {
            order.push(text);
            order.len() as u64
        })
    };
    let mut rows = Vec::new();
    let mut count = 0;
    for (seq, m) in metrics {
        count += 1;
        let slot = m.slot.as_deref().map_or(0, &mut index);
        let optional = |part: Option<u32>| part.map_or(0, |p| u64::from(p) + 1);
        for part in [
            seq as u64,
            index(&m.split),
            index(&m.name),
            slot,
            m.step,
            optional(m.layer),
            optional(m.head),
        ] {
            put(&mut rows, part);
        }
        // Every NaN is the same "not available".
        let value = if m.value.is_nan() { f64::NAN } else { m.value };
        rows.extend(value.to_le_bytes());
    }
    if count == 0 {
        return None;
    }
    let mut bytes = Vec::new();
    put(&mut bytes, order.len() as u64);
    for text in order {
        put(&mut bytes, text.len() as u64);
        bytes.extend(text.as_bytes());
    }
    put(&mut bytes, count);
    bytes.extend(rows);
    Some(bytes)
}

/// The metrics in these pieces, in the order of the result.
pub(super) fn unpack(
    pieces: &[&[u8]],
    known: &mut Quantities,
) -> Result<Vec<Measured>, StoreError> {
    let mut found: Vec<(u64, Measured)> = Vec::new();
    for piece in pieces {
        let mut reader = Reader(piece);
        reader
            .all(&mut found, known)
            .ok_or_else(|| StoreError::Corrupt {
                what: "metric_packs",
                why: format!("{} bytes that are not what was written", piece.len()),
            })?;
    }
    if pieces.len() > 1 {
        found.sort_unstable_by_key(|m| m.0);
    }
    let mut metrics: Vec<Measured> = found.into_iter().map(|m| m.1).collect();
    // They stay, and were collected in place of what took more.
    metrics.shrink_to_fit();
    Ok(metrics)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn all(&mut self, found: &mut Vec<(u64, Measured)>, known: &mut Quantities) -> Option<()> {
        let texts = self.number()?;
        let texts: Option<Vec<&str>> = (0..texts)
            .map(|_| {
                let length = self.number()?;
                std::str::from_utf8(self.bytes(length)?).ok()
            })
            .collect();
        let texts = texts?;
        let text = |i: u64| texts.get(usize::try_from(i).ok()?.checked_sub(1)?).copied();
        let count = self.number()?;
        // A count that can't be is no reason to ask for that much memory.
        found.reserve(usize::try_from(count).ok()?.min(self.0.len() / 8));
        for _ in 0..count {
            let seq = self.number()?;
            let (split, name, slot) = (self.number()?, self.number()?, self.number()?);
            let step = self.number()?;
            let (layer, head) = (self.optional()?, self.optional()?);
            let value = f64::from_le_bytes(self.bytes(8)?.try_into().ok()?);
            let quantity = Quantity {
                split: text(split)?.to_owned(),
                step,
                layer,
                head,
                slot: match slot {
                    0 => None,
                    i => Some(text(i)?.to_owned()),
                },
                name: text(name)?.to_owned(),
            };
            found.push((seq, known.measured(quantity, value)));
        }
        self.0.is_empty().then_some(())
    }

    fn optional(&mut self) -> Option<Option<u32>> {
        Some(match self.number()? {
            0 => None,
            i => Some(u32::try_from(i - 1).ok()?),
        })
    }

    fn number(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.bytes(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn bytes(&mut self, length: u64) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(head)
    }
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics() -> Vec<Metric> {
        let mut all = vec![
            Metric::of("val", 0, "loss", 0.1 + 0.2),
            Metric::of("test_iid", 3000, "accuracy", f64::NAN),
            Metric::of("val", u64::from(u32::MAX), "loss", -0.0),
        ];
        all[1].slot = Some("color.congruent".to_owned());
        all[2].layer = Some(0);
        all[2].head = Some(11);
        all
    }

    #[test]
    fn what_comes_back_is_what_went_in() {
        let all = metrics();
        let part = |test: bool| pack(all.iter().enumerate().filter(|m| m.1.is_test() == test));
        let (seen, sealed) = (part(false).unwrap(), part(true).unwrap());
        let mut known = Quantities::default();
        let back = unpack(&[&seen, &sealed], &mut known).unwrap();
        let back: Vec<Metric> = back.into_iter().map(Metric::from).collect();
        // NaN is not equal to itself.
        assert_eq!(format!("{back:?}"), format!("{all:?}"));
        assert_eq!(back[2].value.to_bits(), (-0.0f64).to_bits());
        assert_eq!(unpack(&[&seen], &mut known).unwrap().len(), 2);
        assert_eq!(pack(std::iter::empty()), None);
    }

    #[test]
    fn damaged_bytes_are_an_error_not_a_panic() {
        let whole = pack(metrics().iter().enumerate()).unwrap();
        for cut in 0..whole.len() {
            assert!(
                unpack(&[&whole[..cut]], &mut Quantities::default()).is_err(),
                "{cut}"
            );
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] = 0xff;
            drop(unpack(&[&bytes], &mut Quantities::default()));
        }
    }
}
