//! Memory that was needed for a moment.
//!
//! A commit of ten thousand files passes through several times their values: decoded, compared, encoded. What the allocator keeps of
//! that for next time is memory that the node's jobs do not have, and next time may be in a year.

/// Gives what is free back to the system. A few milliseconds; for the end of work on thousands of keys.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    #[allow(unsafe_code, reason = "a function of the C library that takes a number")]
    // SAFETY: it looks at the allocator's own lists, under the allocator's own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}
