//! One seed becomes one coherent identity that every decoy of a machine shows. No I/O.
