//! What memory a job may have, and how the allocator treats that of tensors.

#[cfg(all(test, target_os = "linux"))]
pub(crate) mod peak;

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use memmap2::Mmap;

/// Main memory that a job which starts now can have: what the host says, or the
/// control groups of this process (a Slurm job's, a container's), if that is less.
/// What this process holds already counts as free: it is the former job's, kept by
/// [`keep_pages`] for the next. 0 if it can't be told.
pub fn available_bytes() -> u64 {
    let Ok(mut system) = sysinfo::System::new() else {
        return 0;
    };
    system.refresh_memory();
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let host = system.available_memory();
    let free = match group_free_bytes(Path::new("/sys/fs/cgroup"), &groups) {
        Some(group) => host.min(group),
        None => host,
    };
    free + held_bytes()
}

/// Resident memory of this process.
fn held_bytes() -> u64 {
    let pages = || {
        let text = fs::read_to_string("/proc/self/statm").ok()?;
        text.split(' ').nth(1)?.parse::<u64>().ok()
    };
    // SAFETY: asks for a constant of the system.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    pages().unwrap_or(0) * u64::try_from(page).unwrap_or(0)
}

/// Free memory of the tightest control group above this process: `groups` is the
/// text of `/proc/self/cgroup`, `root` where the hierarchies are mounted. None if no
/// group has a limit.
fn group_free_bytes(root: &Path, groups: &str) -> Option<u64> {
    let free = groups.lines().flat_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (kind, path) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let (mount, names) = match kind {
            "" => (root.to_owned(), &VERSION_2),
            kind if kind.split(',').any(|k| k == "memory") => (root.join("memory"), &VERSION_1),
            _ => return vec![],
        };
        let own = mount.join(path.trim_start_matches('/'));
        own.ancestors()
            .take_while(|dir| dir.starts_with(&mount))
            .filter_map(|dir| names.free_bytes(dir))
            .collect()
    });
    free.min()
}

/// What a version of control groups calls its files.
struct Names {
    limit: &'static str,
    usage: &'static str,
    /// In `memory.stat`: file pages that would be given up.
    reclaimable: &'static str,
}

const VERSION_2: Names = Names {
    limit: "memory.max",
    usage: "memory.current",
    reclaimable: "inactive_file",
};

const VERSION_1: Names = Names {
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    reclaimable: "total_inactive_file",
};

impl Names {
    fn free_bytes(&self, dir: &Path) -> Option<u64> {
        let number = |name: &str| -> Option<u64> {
            fs::read_to_string(dir.join(name)).ok()?.trim().parse().ok()
        };
        // "max", or no such file: no limit here.
        let (limit, usage) = (number(self.limit)?, number(self.usage)?);
        let stat = fs::read_to_string(dir.join("memory.stat")).unwrap_or_default();
        let reclaimable = stat.lines().find_map(|line| {
            let (name, value) = line.split_once(' ')?;
            (name == self.reclaimable).then(|| value.parse::<u64>().ok())?
        });
        Some(limit.saturating_sub(usage.saturating_sub(reclaimable.unwrap_or(0))))
    }
}

/// Bytes that a job takes at some moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// Where its tensors are computed.
    pub device: u64,
    /// In main memory, beside what the processor computes if it is the device.
    pub host: u64,
}

/// Bytes that a job can have; 0 where that can't be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Free {
    /// The device is the processor, or computes in its memory: all is taken from this.
    Together(u64),
    /// A GPU has a memory of its own.
    Apart {
        /// There.
        device: u64,
        /// Main memory.
        host: u64,
    },
}

impl Taken {
    /// Both at once.
    pub fn plus(self, other: Self) -> Self {
        Self {
            device: self.device + other.device,
            host: self.host + other.host,
        }
    }
}

impl Free {
    /// What is taken at the fullest of some moments: of each memory its own.
    pub fn fullest(self, moments: impl IntoIterator<Item = Taken>) -> Taken {
        let sum = |one: &Taken| one.device + one.host;
        let moments = moments.into_iter();
        match self {
            Self::Together(_) => moments.max_by_key(sum).unwrap_or_default(),
            Self::Apart { .. } => moments.fold(Taken::default(), |most, one| Taken {
                device: most.device.max(one.device),
                host: most.host.max(one.host),
            }),
        }
    }

    /// Whether so much can be had, as far as is known.
    pub fn holds(self, taken: Taken) -> bool {
        let enough = |free: u64, taken: u64| free == 0 || taken <= free;
        match self {
            Self::Together(free) => enough(free, taken.device + taken.host),
            Self::Apart { device, host } => {
                enough(device, taken.device) && enough(host, taken.host)
            }
        }
    }

    /// "3.1 GiB", or where each part of it is: "2.0 GiB on its device and 1.1 GiB in
    /// main memory".
    pub fn say(self, taken: Taken) -> String {
        match self {
            Self::Together(_) => words(taken.device + taken.host),
            Self::Apart { .. } => on_each(words(taken.device), words(taken.host)),
        }
    }
}

impl fmt::Display for Free {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = |bytes: u64| match bytes {
            0 => "an unknown amount".to_owned(),
            bytes => words(bytes),
        };
        match *self {
            Self::Together(free) => write!(f, "{} are free", known(free)),
            Self::Apart { device, host } => {
                write!(f, "{} are free", on_each(known(device), known(host)))
            }
        }
    }
}

fn on_each(device: String, host: String) -> String {
    format!("{device} on its device and {host} in main memory")
}

/// "12.3 GiB", "45 MiB".
pub(crate) fn words(bytes: u64) -> String {
    let mib = bytes as f64 / f64::from(1 << 20);
    match mib {
        mib if mib >= 1024.0 => format!("{:.1} GiB", mib / 1024.0),
        mib => format!("{mib:.0} MiB"),
    }
}

/// A file as memory: pages are read when they are used, and given up again where
/// others need the room, so that it does not count as this process's.
///
/// # Errors
/// If it can't be read.
///
/// # Safety
/// Nobody may write the file, or cut it, as long as it is mapped: it is one of this
/// worker's own, whole when it got its name. It may be removed, or replaced by another.
pub unsafe fn mapped(path: &Path) -> io::Result<Mmap> {
    let file = File::open(path)?;
    // SAFETY: the caller's promise.
    unsafe { Mmap::map(&file) }
}

/// Keeps freed memory instead of handing it back to the system. Every step frees
/// and takes the same tensors; fresh pages for each of them would cost a sixth of
/// a small network's step, and an eighth of GPT-2 small's. A process that trains
/// keeps its peak size.
///
/// Allocators other than glibc's are left as they are.
pub fn keep_pages() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: the options change how later requests are served and nothing
        // about memory that is in use. One that is refused has no effect.
        unsafe {
            // Large blocks would else be mapped and unmapped one by one; and only
            // the one arena that all threads share can grow without mapping.
            libc::mallopt(libc::M_MMAP_MAX, 0);
            libc::mallopt(libc::M_ARENA_MAX, 1);
            libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(dir: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(dir).expect("a directory");
        for (name, text) in files {
            fs::write(dir.join(name), text).expect("written");
        }
    }

    #[test]
    fn the_tightest_group_counts() {
        let root = tempfile::tempdir().expect("a directory");
        let at = |path: &str| root.path().join(path);
        let free = |groups: &str| group_free_bytes(root.path(), groups);
        group(
            &at("slurm"),
            &[("memory.max", "1000\n"), ("memory.current", "700\n")],
        );
        let stat = "anon 1\ninactive_file 150\nactive_file 9\n";
        group(
            &at("slurm/job"),
            &[
                ("memory.max", "900\n"),
                ("memory.current", "700\n"),
                ("memory.stat", stat),
            ],
        );
        group(
            &at("slurm/job/step"),
            &[("memory.max", "max\n"), ("memory.current", "1\n")],
        );
        assert_eq!(free("0::/slurm/job/step\n"), Some(300));
        assert_eq!(free("0::/slurm\n"), Some(300));
        group(&at("slurm"), &[("memory.current", "10\n")]);
        assert_eq!(free("0::/slurm/job/step\n"), Some(350));
        assert_eq!(free("0::/elsewhere\n"), None);
        assert_eq!(free(""), None);

        let one = [
            ("memory.limit_in_bytes", "500"),
            ("memory.usage_in_bytes", "600"),
        ];
        group(&at("memory/docker/7"), &one);
        assert_eq!(free("5:cpu,cpuacct:/x\n4:memory:/docker/7\n"), Some(0));
    }

    #[test]
    fn a_gpu_s_memory_and_the_host_s_are_not_one() {
        let (early, late) = (Taken { device: 5, host: 3 }, Taken { device: 2, host: 7 });
        let apart = |device, host| Free::Apart { device, host };
        assert_eq!(Free::Together(9).fullest([early, late]), late);
        assert_eq!(
            apart(9, 9).fullest([early, late]),
            Taken { device: 5, host: 7 }
        );
        for (free, fits) in [
            (Free::Together(9), true),
            (Free::Together(8), false),
            (Free::Together(0), true),
            (apart(2, 7), true),
            (apart(1, 100), false),
            (apart(100, 6), false),
            (apart(0, 7), true),
            (apart(2, 0), true),
            (apart(1, 0), false),
        ] {
            assert_eq!(free.holds(late), fits, "{free:?}");
        }
        let mib = |device: u64, host: u64| Taken {
            device: device << 20,
            host: host << 20,
        };
        assert_eq!(Free::Together(1).say(mib(2, 3)), "5 MiB");
        let both = "2 MiB on its device and 3 MiB in main memory";
        assert_eq!(apart(1, 1).say(mib(2, 3)), both);
        let free = Free::Apart {
            device: 2 << 20,
            host: 0,
        };
        let text = "2 MiB on its device and an unknown amount in main memory are free";
        assert_eq!(free.to_string(), text);
    }

    #[test]
    fn this_process_may_have_memory() {
        assert!(held_bytes() > 1 << 20);
        assert!(available_bytes() > held_bytes());
    }
}
