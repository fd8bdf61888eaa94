//! The Linux that a program sees: processes, files, pipes, terminals, sockets, /proc.
