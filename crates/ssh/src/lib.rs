//! An SSH server that answers as OpenSSH does: a state machine without I/O.
