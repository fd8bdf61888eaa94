//! `turncoat completions` and `turncoat man`: from the same declaration as the parser.

use std::io::Write;

use super::{command, output_error};

#[derive(clap::Args)]
pub struct CompletionsArgs {
    /// For which shell
    shell: clap_complete::Shell,
}

pub fn completions(args: &CompletionsArgs) -> Result<(), String> {
    let mut out = Vec::new();
    clap_complete::generate(args.shell, &mut command(), "turncoat", &mut out);
    std::io::stdout().write_all(&out).map_err(output_error)
}

pub fn man() -> Result<(), String> {
    let mut out = Vec::new();
    let mut all = command();
    all.build();
    clap_mangen::Man::new(all.clone())
        .render(&mut out)
        .map_err(|e| e.to_string())?;
    for sub in all
        .get_subcommands()
        .filter(|c| !c.is_hide_set() && c.get_name() != "help")
    {
        let page = clap_mangen::Man::new(sub.clone());
        let name = sub.get_name().to_uppercase();
        writeln!(out, ".SH {name}").map_err(|e| e.to_string())?;
        page.render_description_section(&mut out)
            .and_then(|()| page.render_options_section(&mut out))
            .map_err(|e| e.to_string())?;
    }
    std::io::stdout().write_all(&out).map_err(output_error)
}
