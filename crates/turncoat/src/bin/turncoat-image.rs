//! `image build|ls|verify|rm` on its own, until the main program has the subcommand.

use std::path::PathBuf;
use std::process::ExitCode;

use turncoat::image::{self, Options, Progress, Shelf, Source};

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("turncoat-image: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (command, rest) = args
        .split_first()
        .ok_or("usage: build [--from SOURCE] | ls | verify ID | rm ID")?;
    let home = PathBuf::from(std::env::var_os("TURNCOAT_DATA").ok_or("TURNCOAT_DATA is not set")?);
    let shelf = home.join("images");
    match (*command, rest) {
        ("build", rest) => {
            let source: Source = match rest {
                ["--from", from] => from.parse()?,
                packages if packages.iter().all(|p| !p.starts_with('-')) => {
                    Source::Apt(packages.iter().map(|p| (*p).to_owned()).collect())
                }
                _ => return Err("build --from SOURCE".into()),
            };
            let id = image::build(
                &Options {
                    source,
                    shelf,
                    cache: home.join("cache"),
                },
                &mut show,
            )?;
            eprintln!();
            println!("{id}");
        }
        ("ls", _) => {
            for s in Shelf::open(&shelf)?.list()? {
                println!(
                    "{} {:>12} {}",
                    s.id,
                    s.size,
                    if s.default { "default" } else { "" }
                );
            }
        }
        ("export", rest) => {
            let [id, to] = rest else {
                return Err("export ID|default DIR".into());
            };
            let found = Shelf::open(&shelf)?
                .find(Some(*id).filter(|i| *i != "default"))?
                .ok_or("no such image")?;
            let done = image::export(&found, to.as_ref())?;
            println!(
                "{} files{}",
                done.files,
                if done.owners {
                    ""
                } else {
                    ", without owners, devices and attributes"
                }
            );
        }
        ("verify" | "rm", rest) => {
            let shelf = Shelf::open(&shelf)?;
            let found = shelf.find(rest.first().copied())?.ok_or("no such image")?;
            if *command == "rm" {
                shelf.remove(&found)?;
            } else {
                shelf.verify(&found, |_, _| {})?;
            }
        }
        _ => return Err("unknown command".into()),
    }
    Ok(())
}

fn show(p: Progress<'_>) {
    match p {
        Progress::Stage(what) => eprintln!("\r\x1b[K{what}"),
        Progress::Note(what) => eprintln!("\r\x1b[Knote: {what}"),
        Progress::Step {
            done,
            total,
            bytes,
            total_bytes,
            item,
        } => {
            eprint!(
                "\r\x1b[K  {done}/{total} {}/{} MB {item}",
                bytes >> 20,
                total_bytes >> 20
            );
        }
    }
}
