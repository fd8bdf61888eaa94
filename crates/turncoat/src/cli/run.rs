//! `turncoat run`, and the hidden `turncoat process`.

use std::os::fd::AsFd;
use std::process::ExitCode;

use super::Context;
use crate::process::{Role, block, front, out, record, say, supervise, told};

pub fn run(context: Context) -> Result<(), String> {
    let settings = context.settings()?;
    supervise::run(supervise::Plan {
        layout: context.layout,
        settings,
        file: context.file,
    })
}

/// One of the processes; its standard input is the socket to the supervisor.
pub fn process(role: &str) -> ExitCode {
    let Some(role) = Role::named(role) else {
        return ExitCode::FAILURE;
    };
    // A closed standard error must not end a process that records.
    let socket = match std::io::stdin().as_fd().try_clone_to_owned() {
        Ok(socket) => socket,
        Err(_) => return ExitCode::FAILURE,
    };
    let result = match role {
        Role::Front => front::main(socket),
        Role::Record => record::main(socket),
        Role::Out => out::main(socket),
        Role::Block => block::main(socket),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            if !told() {
                say(role.name(), &why);
            }
            ExitCode::FAILURE
        }
    }
}
