//! How the allocator treats the memory of tensors.

/// Keeps freed memory instead of handing it back to the system. Every step frees
/// and takes the same tensors; fresh pages for each of them would cost a sixth of
/// a small network's step. A process that trains keeps its peak size.
///
/// Allocators other than glibc's are left as they are.
pub fn keep_pages() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        /// The largest that glibc takes; greater blocks are mapped one by one.
        const MAPPED_FROM: libc::c_int = 32 << 20;
        // SAFETY: the options change how later requests are served and nothing
        // about memory that is in use. One that is refused has no effect.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_FROM);
            libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
        }
    }
}
