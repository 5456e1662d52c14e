//! How the allocator treats the memory of tensors.

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
