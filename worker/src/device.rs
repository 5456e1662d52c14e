//! What this machine computes with, and how it introduces itself.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::str::FromStr;

use candle_core::Device;
use seedbed_proto::job::DeviceKind;
use seedbed_proto::v1;

/// What the user asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first GPU if this build and this machine have one, else the processor.
    Auto,
    /// The processor.
    Cpu,
    /// An NVIDIA GPU by its index.
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is none of auto, cpu, cuda:N");
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
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
        }
    }
}

/// A device that was asked for and can't be had.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The program was built without it.
    #[error("--device cuda:{index}: this worker was built without CUDA; use --device cpu")]
    NotBuilt {
        /// The GPU's index.
        index: usize,
    },
    /// The driver refused it.
    #[error("--device cuda:{index}: {cause}; choose another index, or --device cpu")]
    Refused {
        /// The GPU's index.
        index: usize,
        /// What the driver said.
        cause: String,
    },
}

/// A device in use.
#[derive(Debug, Clone)]
pub struct Opened {
    /// For tensors.
    pub device: Device,
    /// For matching jobs.
    pub kind: DeviceKind,
    /// For people and provenance: "cpu", "cuda:0".
    pub name: String,
    /// Processor model, cache sizes and vector units.
    pub cpu_fingerprint: String,
    /// Compute threads.
    pub threads: u32,
}

/// Opens the device.
///
/// # Errors
/// If it can't be had.
pub fn open(choice: DeviceChoice, threads: u32) -> Result<Opened, DeviceError> {
    let index = match choice {
        DeviceChoice::Cpu => None,
        DeviceChoice::Auto => candle_core::utils::cuda_is_available().then_some(0),
        DeviceChoice::Cuda(index) => Some(index),
    };
    let (device, kind, name) = match index {
        None => (Device::Cpu, DeviceKind::Cpu, "cpu".to_owned()),
        Some(index) if !candle_core::utils::cuda_is_available() => {
            return Err(DeviceError::NotBuilt { index });
        }
        Some(index) => {
            let device = Device::new_cuda(index).map_err(|e| DeviceError::Refused {
                index,
                cause: e.to_string(),
            })?;
            (device, DeviceKind::Cuda, format!("cuda:{index}"))
        }
    };
    Ok(Opened {
        device,
        kind,
        name,
        cpu_fingerprint: cpu_fingerprint(),
        threads,
    })
}

impl Opened {
    /// A name for the kind of machine, fit for a file: equal names give equal bits.
    pub fn machine(&self) -> String {
        let kind = format!("{} {}", self.name, self.cpu_fingerprint);
        seedbed_proto::BlobDigest::of(kind.as_bytes()).to_string()[..16].to_owned()
    }

    /// The numeric paths that this worker offers.
    pub fn capability(&self) -> v1::Capability {
        // Fused kernels are written for the processor alone, and bf16 only pays
        // on a GPU.
        let (device, ops, dtypes): (&str, &[&str], &[&str]) = match self.kind {
            DeviceKind::Cpu => ("cpu", &["fused", "composite"], &["f32"]),
            DeviceKind::Cuda => ("cuda", &["composite"], &["f32", "bf16"]),
            DeviceKind::Metal => ("metal", &["composite"], &["f32"]),
        };
        let list = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect();
        v1::Capability {
            device: device.to_owned(),
            ops: list(ops),
            dtypes: list(dtypes),
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

/// Memory that a new job could use on the host; 0 if that can't be told.
pub fn free_memory_bytes() -> u64 {
    let Ok(mut system) = sysinfo::System::new() else {
        return 0;
    };
    system.refresh_memory();
    system.available_memory()
}

/// What decides the bits of a matrix product: processor model, cache sizes (they
/// set the blocking) and vector units (they set the kernel).
pub fn cpu_fingerprint() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processor_model(&info).unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let mut parts = vec![model];
    parts.extend(caches());
    parts.extend(vector_units().into_iter().map(str::to_owned));
    parts.join(", ")
}

fn processor_model(cpuinfo: &str) -> Option<String> {
    let field = |name: &str| {
        cpuinfo.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key.trim() == name).then(|| value.trim().to_owned())
        })
    };
    // Arm kernels name numbers instead of a model.
    field("model name").or_else(|| {
        Some(format!(
            "arm {} {}",
            field("CPU implementer")?,
            field("CPU part")?
        ))
    })
}

fn caches() -> Vec<String> {
    let Ok(entries) = fs::read_dir("/sys/devices/system/cpu/cpu0/cache") else {
        return vec![];
    };
    let mut sizes = BTreeMap::new();
    for dir in entries.flatten().map(|e| e.path()) {
        let field = |name: &str| {
            let text = fs::read_to_string(dir.join(name)).ok()?;
            Some(text.trim().to_owned())
        };
        let (Some(level), Some(kind), Some(size)) = (field("level"), field("type"), field("size"))
        else {
            continue;
        };
        if kind != "Instruction" {
            sizes.insert(level, size);
        }
    }
    let name = |(level, size): (String, String)| format!("L{level} {size}");
    sizes.into_iter().map(name).collect()
}

#[cfg(target_arch = "x86_64")]
fn vector_units() -> Vec<&'static str> {
    let all = [
        ("avx2", std::is_x86_feature_detected!("avx2")),
        ("fma", std::is_x86_feature_detected!("fma")),
        ("avx512f", std::is_x86_feature_detected!("avx512f")),
    ];
    let present = all.into_iter().filter(|(_, has)| *has);
    present.map(|(name, _)| name).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn vector_units() -> Vec<&'static str> {
    vec![]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_parsed_and_printed() {
        for text in ["auto", "cpu", "cuda:0", "cuda:13"] {
            let choice: DeviceChoice = text.parse().expect("a device");
            assert_eq!(choice.to_string(), text);
        }
        for text in ["", "gpu", "cuda:", "cuda:x", "CPU"] {
            assert!(text.parse::<DeviceChoice>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_processor_introduces_itself() {
        let opened = open(DeviceChoice::Cpu, 2).expect("always there");
        assert!(!opened.cpu_fingerprint.is_empty());
        let capability = opened.capability();
        assert_eq!(capability.device, "cpu");
        assert_eq!(capability.threads, 2);
        assert!(free_memory_bytes() > 0);
    }

    #[test]
    fn processor_models_of_both_families() {
        let intel = "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n";
        assert_eq!(processor_model(intel).as_deref(), Some("Some CPU @ 2 GHz"));
        let arm = "CPU implementer\t: 0x41\nCPU part\t: 0xd0c\n";
        assert_eq!(processor_model(arm).as_deref(), Some("arm 0x41 0xd0c"));
        assert_eq!(processor_model(""), None);
    }
}
