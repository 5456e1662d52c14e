//! Event files: TFRecords of `tensorflow.Event` messages, written by hand: two
//! messages of four fields need no generated code.
//!
//! Format: `tensorflow/core/lib/io/record_writer.h`, `tensorflow/core/util/event.proto`
//! and `tensorflow/core/framework/summary.proto`.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::{exported, folder, put, tagged};
use crate::aggregate::Analysis;
use crate::results::SweepResults;

/// One folder and file for each run.
pub(super) fn write(a: &Analysis, results: &SweepResults, to: &Path) -> io::Result<()> {
    for run in exported(a, results) {
        let mut bytes = Vec::new();
        record(&mut bytes, &event(0.0, 0, &Body::Version));
        // A step's values in one event: TensorBoard reads steps in order.
        let mut steps: BTreeMap<u64, Vec<(String, f64)>> = BTreeMap::new();
        for (tag, metric) in tagged(a, run.run) {
            steps
                .entry(metric.step)
                .or_default()
                .push((tag, metric.value));
        }
        for (step, values) in steps {
            // The step stands for the time: results don't depend on clocks.
            record(
                &mut bytes,
                &event(step as f64, step, &Body::Values(&values)),
            );
        }
        let name = "events.out.tfevents.0000000000.seedbed";
        put(&to.join(folder(&run.name)).join(name), &bytes)?;
    }
    Ok(())
}

enum Body<'a> {
    Version,
    Values(&'a [(String, f64)]),
}

/// `Event { wall_time = 1, step = 2, file_version = 3 | summary = 5 }`.
fn event(wall_time: f64, step: u64, body: &Body<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    key(&mut out, 1, 1);
    out.extend(wall_time.to_le_bytes());
    key(&mut out, 2, 0);
    varint(&mut out, step);
    match body {
        Body::Version => bytes(&mut out, 3, b"brain.Event:2"),
        Body::Values(values) => {
            let mut summary = Vec::new();
            for (tag, value) in *values {
                // `Summary.Value { tag = 1, simple_value = 2 }`.
                let mut one = Vec::new();
                bytes(&mut one, 1, tag.as_bytes());
                key(&mut one, 2, 5);
                one.extend((*value as f32).to_le_bytes());
                bytes(&mut summary, 1, &one);
            }
            bytes(&mut out, 5, &summary);
        }
    }
    out
}

fn key(out: &mut Vec<u8>, field: u64, wire_type: u64) {
    varint(out, field << 3 | wire_type);
}

fn bytes(out: &mut Vec<u8>, field: u64, content: &[u8]) {
    key(out, field, 2);
    varint(out, content.len() as u64);
    out.extend(content);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Length, its masked CRC, the data, their masked CRC.
fn record(out: &mut Vec<u8>, data: &[u8]) {
    let length = (data.len() as u64).to_le_bytes();
    out.extend(length);
    out.extend(masked_crc(&length).to_le_bytes());
    out.extend(data);
    out.extend(masked_crc(data).to_le_bytes());
}

fn masked_crc(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), bit by bit: event files are small.
fn crc32c(data: &[u8]) -> u32 {
    !data.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnoli_s() {
        // RFC 3720, B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn messages_are_those_of_the_protocol() {
        let got = event(1.0, 300, &Body::Values(&[("a".to_owned(), 0.5)]));
        let want = [
            0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0x10, 0xac, 0x02, 0x2a, 0x0a, 0x0a, 0x08, 0x0a,
            0x01, b'a', 0x15, 0, 0, 0, 0x3f,
        ];
        assert_eq!(got, want);
    }
}
