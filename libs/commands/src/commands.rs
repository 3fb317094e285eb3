//! The built-in list, by noun. Each function describes one program as released in current
//! distributions; what a description leaves out is refused.

mod files;
mod hardware;
mod kernel;
mod network;
mod processes;
mod services;
mod system;
mod text;

use crate::grammar::Command;

/// File operands of one command line at most.
pub(crate) const MAX_FILES: usize = 64;

/// All commands of the list.
pub(crate) fn builtin() -> Vec<Command> {
    let groups = [
        files::all(),
        hardware::all(),
        kernel::all(),
        network::all(),
        processes::all(),
        services::all(),
        system::all(),
        text::all(),
    ];
    groups.into_iter().flatten().collect()
}
