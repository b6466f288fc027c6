//! Row `image`: our whole build with all packages in the cache, and mmdebstrap making a SquashFS of the same packages.
//!
//! The peer gets it easy: a mirror on this disk with just the packages of our lock and no dependencies left to resolve,
//! `--variant=extract`, so that no maintainer script runs, and our block size and compressor. It makes the file system
//! alone and keeps all files; ours makes kernel, initramfs and papers too, and drops what no node needs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, bail, ensure};

/// The row's name.
pub(super) const NAME: &str = "image";
/// The level of our system image (`DATA` in crates/image/src/squashfs.rs).
const LEVEL: &str = "10";
/// Fields of a control file that ask for other packages, or say that a package is part of every system.
const RELATIONS: [&str; 11] = [
    "Depends",
    "Pre-Depends",
    "Recommends",
    "Suggests",
    "Enhances",
    "Breaks",
    "Conflicts",
    "Provides",
    "Replaces",
    "Essential",
    "Important",
];
/// USER_HZ (proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;

/// What one build took and gave.
#[derive(Clone, Copy, Debug)]
struct Sample {
    seconds: f64,
    cpu_seconds: f64,
    bytes: u64,
}

/// A folder with a cache, a recipe with its lock, and a mirror for the peer. Goes with this.
struct Kitchen {
    folder: PathBuf,
    root: PathBuf,
    /// `name=version` of all packages of the lock, separated by commas.
    packages: String,
}

/// Measures both by turns, `rounds` times, and prints the medians.
///
/// # Errors
/// A program that is missing, or a build that fails.
pub(super) fn run(rounds: usize, json: bool) -> anyhow::Result<()> {
    let kitchen = Kitchen::new()?;
    let (mut ours, mut peers) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        ours.push(kitchen.ours()?);
        peers.push(kitchen.peer()?);
    }
    let (ours, peer) = (median(&mut ours), median(&mut peers));
    let (time, size) = (ours.seconds / peer.seconds, ours.bytes as f64 / peer.bytes as f64);
    for (subject, sample, what) in [
        ("fledermaus", ours, "kernel, initramfs, system"),
        ("mmdebstrap", peer, "SquashFS of the same packages"),
    ] {
        let Sample { seconds, cpu_seconds, bytes } = sample;
        let megabytes = bytes as f64 / 1e6;
        if json {
            println!(
                "{{\"row\":\"{NAME}\",\"subject\":\"{subject}\",\"seconds\":{seconds:.2},\"cpu_seconds\":{cpu_seconds:.2},\"bytes\":{bytes},\"time_ratio\":{time:.3},\"size_ratio\":{size:.3}}}"
            );
        } else {
            println!(
                "{NAME:<8} {subject:<12} {seconds:>7.1} s {cpu_seconds:>7.1} CPU s {megabytes:>8.1} MB  {what}"
            );
        }
    }
    if !json {
        println!(
            "{NAME:<8} ours / peer: time {time:.2}, CPU {:.2}, size {size:.2}",
            ours.cpu_seconds / peer.cpu_seconds
        );
    }
    Ok(())
}

impl Kitchen {
    fn new() -> anyhow::Result<Self> {
        for (program, package) in
            [("mmdebstrap", "mmdebstrap"), ("tar2sqfs", "squashfs-tools-ng"), ("dpkg-deb", "dpkg")]
        {
            super::ground::require(program, package)?;
        }
        let root = crate::root()?;
        // Beside the cache's own disk the packages could not be linked.
        let folder = root.join(format!("target/bench-image-{}", std::process::id()));
        let mut kitchen = Self { folder, root, packages: String::new() };
        std::fs::create_dir_all(kitchen.folder.join("mirror")).context("making a folder")?;
        kitchen.fill_cache()?;
        std::fs::copy(kitchen.root.join("example/image.toml"), kitchen.folder.join("image.toml"))
            .context("copying example/image.toml")?;
        // Writes the lock, and fetches what is missing.
        kitchen.ours()?;
        kitchen.packages = kitchen.open_mirror()?;
        Ok(kitchen)
    }

    fn cache(&self) -> PathBuf {
        self.folder.join("cache/fledermaus/packages")
    }

    /// What was downloaded before is linked; what was packed before stays away.
    fn fill_cache(&self) -> anyhow::Result<()> {
        let cache = self.cache();
        std::fs::create_dir_all(&cache).context("making the cache")?;
        let Some(known) = super::rows::image().parent().map(|folder| folder.join("packages")) else {
            return Ok(());
        };
        let Ok(entries) = std::fs::read_dir(&known) else { return Ok(()) };
        for entry in entries {
            let path = entry.context("reading the cache")?.path();
            let name = path.file_name().unwrap_or_default();
            if path.is_file() {
                put(&path, &cache.join(name))?;
            }
        }
        Ok(())
    }

    /// A whole build: nothing is there but packages and lock.
    fn ours(&self) -> anyhow::Result<Sample> {
        let out = self.folder.join("image");
        for folder in [&out, &self.folder.join("image.previous"), &self.cache().join("packed")] {
            if folder.exists() {
                std::fs::remove_dir_all(folder).with_context(|| format!("removing {}", folder.display()))?;
            }
        }
        let mut build = Command::new(self.root.join("target/release/fledermaus"));
        build.args(["image", "build", "--recipe"]).arg(self.folder.join("image.toml")).arg("--out").arg(&out);
        build.arg("--programs").arg(self.root.join("target/aarch64-unknown-linux-musl/node"));
        build.env("XDG_CACHE_HOME", self.folder.join("cache"));
        let sample = measured(&mut build, "fledermaus (`make build` makes it)")?;
        let parts = ["kernel", "initramfs", "system.squashfs"];
        let bytes = parts.iter().map(|part| bytes_of(&out.join(part))).sum::<anyhow::Result<u64>>()?;
        Ok(Sample { bytes, ..sample })
    }

    fn peer(&self) -> anyhow::Result<Sample> {
        let out = self.folder.join("peer.squashfs");
        let line = format!(
            "set -o pipefail; mmdebstrap --quiet --mode=root --architectures=arm64 --variant=extract --include={} trixie - \
             'deb [trusted=yes] copy:{} ./' | tar2sqfs -q -f -c zstd -X level={LEVEL} -b 1M -j \"$(nproc)\" {}",
            self.packages,
            self.folder.join("mirror").display(),
            out.display()
        );
        let sample = measured(Command::new("bash").args(["-c", &line]), "mmdebstrap")?;
        Ok(Sample { bytes: bytes_of(&out)?, ..sample })
    }

    /// A flat mirror of the lock's packages; what the peer is told to install.
    fn open_mirror(&self) -> anyhow::Result<String> {
        let text = std::fs::read_to_string(self.folder.join("image.lock")).context("reading the lock")?;
        let lock: toml::Table = text.parse().context("reading the lock")?;
        let packages =
            lock.get("package").and_then(toml::Value::as_array).context("the lock has packages")?;
        let (mut index, mut names) = (String::new(), Vec::new());
        for package in packages {
            let text = |key: &str| {
                package.get(key).and_then(toml::Value::as_str).with_context(|| format!("no {key}"))
            };
            let digest = text("sha256")?;
            let deb = self.cache().join(digest);
            put(&deb, &self.folder.join("mirror").join(format!("{digest}.deb")))?;
            let said = Command::new("dpkg-deb").arg("-f").arg(&deb).output().context("starting dpkg-deb")?;
            index += &without_relations(&String::from_utf8_lossy(&said.stdout));
            index += &format!("Filename: ./{digest}.deb\nSize: {}\nSHA256: {digest}\n\n", bytes_of(&deb)?);
            names.push(format!("{}={}", text("name")?, text("version")?));
        }
        std::fs::write(self.folder.join("mirror/Packages"), index).context("writing Packages")?;
        Ok(names.join(","))
    }
}

impl Drop for Kitchen {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A control file without what it wants of other packages: the lock says what goes in.
fn without_relations(control: &str) -> String {
    let mut kept = String::new();
    let mut is_kept = true;
    for line in control.lines().filter(|line| !line.is_empty()) {
        if !line.starts_with([' ', '\t']) {
            let field = line.split(':').next().unwrap_or_default();
            is_kept = !RELATIONS.contains(&field);
        }
        if is_kept {
            kept += line;
            kept.push('\n');
        }
    }
    kept
}

/// Links a file, or copies it from another disk.
fn put(from: &Path, to: &Path) -> anyhow::Result<()> {
    if std::fs::hard_link(from, to).is_err() {
        std::fs::copy(from, to).with_context(|| format!("copying {}", from.display()))?;
    }
    Ok(())
}

/// Runs a program to its end.
fn measured(command: &mut Command, name: &str) -> anyhow::Result<Sample> {
    let (before, began) = (children_cpu_seconds(), Instant::now());
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("starting {name}"))?;
    let seconds = began.elapsed().as_secs_f64();
    if !output.status.success() {
        bail!("{name} failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(Sample { seconds, cpu_seconds: children_cpu_seconds() - before, bytes: 0 })
}

/// Processor time of all programs that we started and that have ended (proc(5), `cutime` and `cstime`).
fn children_cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks =
        |place: usize| fields.get(place).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
    (ticks(13) + ticks(14)) / TICKS_PER_SECOND
}

fn bytes_of(path: &Path) -> anyhow::Result<u64> {
    let bytes = std::fs::metadata(path).with_context(|| format!("looking at {}", path.display()))?.len();
    ensure!(bytes > 0, "{} is empty", path.display());
    Ok(bytes)
}

/// The sample of the median time.
fn median(samples: &mut [Sample]) -> Sample {
    samples.sort_by(|one, other| one.seconds.total_cmp(&other.seconds));
    samples[samples.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_relations_leave_a_control_file() {
        let control =
            "Package: runc\nDepends: libc6,\n libseccomp2\nEssential: yes\nDescription: runs\n containers\n";
        assert_eq!(without_relations(control), "Package: runc\nDescription: runs\n containers\n");
    }

    #[test]
    fn the_median_is_one_build() {
        let sample = |seconds| Sample { seconds, cpu_seconds: seconds * 2.0, bytes: 1 };
        let median = median(&mut [sample(30.0), sample(10.0), sample(20.0)]);
        assert!((median.cpu_seconds - 40.0).abs() < 1e-9);
    }
}
