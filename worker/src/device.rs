//! What this machine computes with, and how it introduces itself.

use std::fmt;
use std::str::FromStr;

use candle_core::{Device, utils};
use seedbed_proto::job::{DeviceKind, Ops};
use seedbed_proto::v1;

use crate::cpu::cpu_fingerprint;
use crate::memory::{self, Free};

/// What the user asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first GPU if this build and this machine have one, else the processor.
    Auto,
    /// The processor.
    Cpu,
    /// An NVIDIA GPU by its index.
    Cuda(usize),
    /// The GPU of a Mac.
    Metal,
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is none of auto, cpu, cuda:N, metal");
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            "metal" => Ok(Self::Metal),
            _ => {
                let index = text.strip_prefix("cuda:").ok_or_else(bad)?;
                index.parse().map(Self::Cuda).map_err(|_| bad())
            }
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::Metal => f.write_str("metal"),
        }
    }
}

/// A device, or a path on it, that was asked for and can't be had.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The program was built without it.
    #[error(
        "--device {choice}: this worker was built without it; build it with \
         `--features {feature}`, or use --device cpu"
    )]
    NotBuilt {
        /// What was asked for.
        choice: DeviceChoice,
        /// What the build lacks.
        feature: &'static str,
    },
    /// The driver refused it.
    #[error("--device {choice}: {cause}; choose another one, or --device cpu")]
    Refused {
        /// What was asked for.
        choice: DeviceChoice,
        /// What the driver said.
        cause: String,
    },
    /// Fused kernels on a GPU.
    #[error("--ops fused: the fused kernels run on the processor alone, and this is {device}")]
    Fused {
        /// The device.
        device: String,
    },
}

/// A device in use.
#[derive(Debug, Clone)]
pub struct Opened {
    /// For tensors.
    pub device: Device,
    /// For matching jobs.
    pub kind: DeviceKind,
    /// For people and provenance: "cpu", "cuda:0 NVIDIA H100 80GB HBM3".
    pub name: String,
    /// The implementations of the operations that this worker offers.
    pub ops: Vec<Ops>,
    /// What the GPU is, if it is one.
    pub gpu: Option<Gpu>,
    /// Processor model, cache sizes and vector units.
    pub cpu_fingerprint: String,
    /// Compute threads.
    pub threads: u32,
}

/// What a GPU can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// Free when the worker started in a memory of its own: what its jobs, one at a
    /// time, can have. `None` if the processor's memory is the GPU's.
    pub memory_bytes: Option<u64>,
    /// It multiplies bf16, and f32 rounded to TF32, in hardware.
    pub short_products: bool,
}

/// Opens the device, to offer these `ops`: all that it has, if none are named.
///
/// # Errors
/// If it can't be had.
pub fn open(choice: DeviceChoice, ops: &[Ops], threads: u32) -> Result<Opened, DeviceError> {
    let (device, kind, model, gpu) = match choice {
        DeviceChoice::Cpu => processor(),
        DeviceChoice::Cuda(index) => cuda(index)?,
        DeviceChoice::Metal => metal()?,
        DeviceChoice::Auto => first_gpu().unwrap_or_else(processor),
    };
    let name = match (kind, choice) {
        (DeviceKind::Cpu, _) => "cpu".to_owned(),
        (DeviceKind::Metal, _) => "metal".to_owned(),
        (DeviceKind::Cuda, DeviceChoice::Cuda(index)) => format!("cuda:{index} {model}"),
        (DeviceKind::Cuda, _) => format!("cuda:0 {model}"),
    };
    let has: &[Ops] = match kind {
        // The fused kernels are written for it alone.
        DeviceKind::Cpu => &[Ops::Fused, Ops::Composite],
        DeviceKind::Cuda | DeviceKind::Metal => &[Ops::Composite],
    };
    if ops.iter().any(|ops| !has.contains(ops)) {
        return Err(DeviceError::Fused { device: name });
    }
    let offered = |of: &&Ops| ops.is_empty() || ops.contains(of);
    Ok(Opened {
        device,
        kind,
        name,
        ops: has.iter().filter(offered).copied().collect(),
        gpu,
        cpu_fingerprint: cpu_fingerprint(),
        threads,
    })
}

/// A device, its kind, its model, and what it can do if it is a GPU.
type Found = (Device, DeviceKind, String, Option<Gpu>);

fn processor() -> Found {
    (Device::Cpu, DeviceKind::Cpu, String::new(), None)
}

/// The GPU that the build has a backend for. One that can't be had is no error when
/// nobody asked for it by name; but it may be a surprise.
fn first_gpu() -> Option<Found> {
    let found = if utils::cuda_is_available() {
        cuda(0)
    } else if utils::metal_is_available() {
        metal()
    } else {
        return None;
    };
    match found {
        Ok(found) => Some(found),
        Err(error) => {
            tracing::warn!(%error, "no GPU, computing on the processor");
            None
        }
    }
}

fn cuda(index: usize) -> Result<Found, DeviceError> {
    let choice = DeviceChoice::Cuda(index);
    if !utils::cuda_is_available() {
        let feature = "cuda";
        return Err(DeviceError::NotBuilt { choice, feature });
    }
    let refused = |e: candle_core::Error| DeviceError::Refused {
        choice,
        cause: e.to_string(),
    };
    let device = Device::new_cuda(index).map_err(refused)?;
    let (model, gpu) = cuda_properties(&device).map_err(refused)?;
    Ok((device, DeviceKind::Cuda, model, Some(gpu)))
}

/// Model, memory and abilities, as the driver tells them.
#[cfg(feature = "cuda")]
fn cuda_properties(device: &Device) -> candle_core::Result<(String, Gpu)> {
    let stream = device.as_cuda_device()?.cuda_stream();
    let context = stream.context();
    let wrap = candle_core::Error::wrap;
    let (free, _) = context.mem_get_info().map_err(wrap)?;
    let (major, _) = context.compute_capability().map_err(wrap)?;
    let gpu = Gpu {
        memory_bytes: Some(free as u64),
        // Ampere was the first with tensor cores for them.
        short_products: major >= 8,
    };
    Ok((context.name().map_err(candle_core::Error::wrap)?, gpu))
}

/// Not reached: without the feature no such device can be opened.
#[cfg(not(feature = "cuda"))]
fn cuda_properties(_: &Device) -> candle_core::Result<(String, Gpu)> {
    Err(candle_core::Error::NotCompiledWithCudaSupport)
}

fn metal() -> Result<Found, DeviceError> {
    let choice = DeviceChoice::Metal;
    if !utils::metal_is_available() {
        let feature = "metal";
        return Err(DeviceError::NotBuilt { choice, feature });
    }
    let device = Device::new_metal(0).map_err(|e| DeviceError::Refused {
        choice,
        cause: e.to_string(),
    })?;
    let gpu = Gpu {
        memory_bytes: None,
        short_products: false,
    };
    Ok((device, DeviceKind::Metal, String::new(), Some(gpu)))
}

impl Opened {
    /// A name for the kind of machine, fit for a file: equal names give equal bits.
    pub fn machine(&self) -> String {
        let kind = format!("{} {}", self.name, self.cpu_fingerprint);
        seedbed_proto::BlobDigest::of(kind.as_bytes()).to_string()[..16].to_owned()
    }

    /// Memory that a job could use now.
    pub fn free(&self) -> Free {
        let host = memory::available_bytes();
        match self.gpu.as_ref().and_then(|gpu| gpu.memory_bytes) {
            Some(device) => Free::Apart { device, host },
            None => Free::Together(host),
        }
    }

    /// The numeric paths that this worker offers.
    pub fn capability(&self) -> v1::Capability {
        let device = match self.kind {
            DeviceKind::Cpu => "cpu",
            DeviceKind::Cuda => "cuda",
            DeviceKind::Metal => "metal",
        };
        let dtypes: &[&str] = match &self.gpu {
            // It computes bf16 slowly, but as a GPU does: good for a rehearsal.
            None => &["f32", "bf16"],
            Some(gpu) if gpu.short_products => &["f32", "bf16", "tf32"],
            Some(_) => &["f32"],
        };
        let ops = self.ops.iter().map(|ops| match ops {
            Ops::Fused => "fused".to_owned(),
            Ops::Composite => "composite".to_owned(),
        });
        v1::Capability {
            device: device.to_owned(),
            ops: ops.collect(),
            dtypes: dtypes.iter().map(|&name| name.to_owned()).collect(),
            cpu_fingerprint: self.cpu_fingerprint.clone(),
            threads: self.threads,
            hub: cfg!(feature = "hub"),
        }
    }
}

/// This machine's name.
pub fn host_name() -> String {
    let name = hostname::get().map(|n| n.to_string_lossy().into_owned());
    name.unwrap_or_else(|_| "unknown".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_parsed_and_printed() {
        for text in ["auto", "cpu", "cuda:0", "cuda:13", "metal"] {
            let choice: DeviceChoice = text.parse().expect("a device");
            assert_eq!(choice.to_string(), text);
        }
        for text in ["", "gpu", "cuda:", "cuda:x", "CPU"] {
            assert!(text.parse::<DeviceChoice>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_processor_introduces_itself() {
        let opened = open(DeviceChoice::Cpu, &[], 2).expect("always there");
        assert!(!opened.cpu_fingerprint.is_empty());
        let capability = opened.capability();
        assert_eq!(capability.device, "cpu");
        assert_eq!(capability.threads, 2);
        assert_eq!(capability.ops, ["fused", "composite"]);
        assert_eq!(capability.dtypes, ["f32", "bf16"]);
        assert!(matches!(opened.free(), Free::Together(bytes) if bytes > 0));
    }

    #[test]
    fn a_worker_offers_the_operations_that_it_is_told_to() {
        for (asked, offered) in [
            (vec![Ops::Composite], vec!["composite"]),
            (vec![Ops::Fused], vec!["fused"]),
            (vec![Ops::Composite, Ops::Fused], vec!["fused", "composite"]),
        ] {
            let opened = open(DeviceChoice::Cpu, &asked, 1).expect("always there");
            assert_eq!(opened.capability().ops, offered);
        }
    }

    #[cfg(not(any(feature = "cuda", feature = "metal")))]
    #[test]
    fn a_gpu_that_the_build_does_not_know_is_refused_by_name() {
        for (choice, words) in [
            (DeviceChoice::Cuda(1), "--device cuda:1"),
            (DeviceChoice::Cuda(1), "`--features cuda`"),
            (DeviceChoice::Metal, "`--features metal`"),
        ] {
            let error = open(choice, &[], 1).expect_err("not built").to_string();
            assert!(error.contains(words), "{error}");
        }
        let auto = open(DeviceChoice::Auto, &[], 1).expect("the processor");
        assert_eq!(auto.name, "cpu");
    }
}
