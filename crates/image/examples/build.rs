//! Builds an image without the command line: `cargo run -p image --example build -- RECIPE OUT NODE_BINARIES`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Prints each step with its time.
struct Printed {
    began: Instant,
}

impl image::Progress for Printed {
    fn step(&mut self, name: &str) {
        println!("{:6.1} s  {name}", self.began.elapsed().as_secs_f64());
    }
    fn bytes(&mut self, _: u64, _: u64) {}
    fn notice(&mut self, text: &str) {
        println!("notice: {text}");
    }
}

fn main() -> ExitCode {
    let words: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [recipe, out, node_binaries] = words.as_slice() else {
        eprintln!("usage: build RECIPE OUT NODE_BINARIES");
        return ExitCode::from(2);
    };
    let home = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    let options = image::BuildOptions {
        recipe: recipe.clone(),
        out: out.clone(),
        node_binaries: node_binaries.clone(),
        cache: home.unwrap_or_default().join("fledermaus/downloads"),
        apt: "/etc/apt".into(),
    };
    let mut progress = Printed { began: Instant::now() };
    match image::build(&options, &mut progress) {
        Ok(built) => {
            for package in &built.manifest.packages {
                println!("{:>10}  {} {}", package.installed_bytes, package.name, package.version);
            }
            for artefact in [&built.manifest.kernel, &built.manifest.initramfs, &built.manifest.system] {
                println!("{:>10}  {} {}", artefact.bytes, artefact.file, artefact.sha256);
            }
            println!(
                "{:6.1} s  done, unchanged: {}",
                progress.began.elapsed().as_secs_f64(),
                built.unchanged
            );
            ExitCode::SUCCESS
        }
        Err(image::BuildError::Mistakes(mistakes)) => {
            eprintln!("{mistakes}");
            ExitCode::from(2)
        }
        Err(image::BuildError::Failed(error)) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
