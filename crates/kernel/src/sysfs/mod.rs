//! sysfs and its small relatives: a tree of attributes made from the facts of the machine.

pub mod facts;
