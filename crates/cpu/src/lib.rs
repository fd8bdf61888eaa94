//! The x86-64 that a user program sees: decode, execute, memory. Knows no Linux.
