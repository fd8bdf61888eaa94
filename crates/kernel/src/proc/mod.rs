//! procfs: what Linux shows of processes and of itself as files. Content comes from a `view::KernelView`.

pub mod view;
