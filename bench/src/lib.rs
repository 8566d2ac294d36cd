//! Micro benches, instruction counts, and side-by-side runs against peers.
