//! The kind of processor: equal kinds give equal bits.

use std::collections::BTreeMap;
use std::fs;

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
    fn processor_models_of_both_families() {
        let intel = "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n";
        assert_eq!(processor_model(intel).as_deref(), Some("Some CPU @ 2 GHz"));
        let arm = "CPU implementer\t: 0x41\nCPU part\t: 0xd0c\n";
        assert_eq!(processor_model(arm).as_deref(), Some("arm 0x41 0xd0c"));
        assert_eq!(processor_model(""), None);
    }
}
