//! Loads kernel modules as `modprobe` does: by name or alias, with what they need, from the text files
//! that depmod writes. Does not read modprobe.d, does not unpack compressed modules.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};

/// The deepest chain of needs that is followed; a real one is under ten.
const DEPTH_LIMIT: usize = 32;

/// The modules of the running kernel.
pub(crate) struct Modules {
    folder: PathBuf,
    dependencies: String,
    aliases: String,
    builtin: String,
    loaded: HashSet<String>,
}

impl Modules {
    /// Reads the lists in `/lib/modules/<version of the running kernel>`.
    ///
    /// # Errors
    /// The kernel's version cannot be read, or there is no `modules.dep`.
    pub(crate) fn of_running_kernel() -> Result<Self> {
        let system = nix::sys::utsname::uname().context("asking for the kernel's version")?;
        let folder = Path::new("/lib/modules").join(system.release());
        let list = folder.join("modules.dep");
        let dependencies =
            fs::read_to_string(&list).with_context(|| format!("reading {}", list.display()))?;
        let optional = |name| fs::read_to_string(folder.join(name)).unwrap_or_default();
        let (aliases, builtin) = (optional("modules.alias"), optional("modules.builtin"));
        Ok(Self { folder, dependencies, aliases, builtin, loaded: HashSet::new() })
    }

    /// Loads a module by its name or an alias, with what it needs. Loaded or built in already is fine.
    ///
    /// # Errors
    /// Nothing has that name, or the kernel refuses the module.
    pub(crate) fn load(&mut self, name: &str, parameters: &str) -> Result<()> {
        let names = resolve(&self.dependencies, &self.aliases, name);
        if names.is_empty() && !is_builtin(&self.builtin, name) {
            bail!("no module is named `{name}`");
        }
        for path in &names {
            self.load_with_needs(path, parameters)?;
        }
        Ok(())
    }

    /// Loads whatever drives the device with this modalias; most have nothing, and a driver that does
    /// not want its device is no error.
    pub(crate) fn load_for_device(&mut self, modalias: &str) {
        for path in with_alias(&self.dependencies, &self.aliases, modalias) {
            let _ = self.load_with_needs(&path, "");
        }
    }

    fn load_with_needs(&mut self, path: &str, parameters: &str) -> Result<()> {
        for needed in load_order(&self.dependencies, path) {
            let own = if needed == path { parameters } else { "" };
            if self.loaded.contains(&needed) {
                continue;
            }
            insert(&self.folder.join(&needed), own)?;
            self.loaded.insert(needed);
        }
        Ok(())
    }
}

/// Gives one module file to the kernel.
fn insert(file: &Path, parameters: &str) -> Result<()> {
    let module = File::open(file).with_context(|| format!("opening {}", file.display()))?;
    let parameters = std::ffi::CString::new(parameters).context("reading module parameters")?;
    match finit_module(&module, &parameters, ModuleInitFlags::empty()) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("loading {}", file.display())),
    }
}

/// The paths of the modules that a name stands for: the module of that name, else all with that alias.
fn resolve(dependencies: &str, aliases: &str, name: &str) -> Vec<String> {
    match path_of(dependencies, name) {
        Some(path) => vec![path.to_owned()],
        None => with_alias(dependencies, aliases, name),
    }
}

/// The paths of the modules one of whose alias patterns fits.
fn with_alias(dependencies: &str, aliases: &str, wanted: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for line in aliases.lines() {
        let Some((pattern, module)) = line.strip_prefix("alias ").and_then(|line| line.rsplit_once(' '))
        else {
            continue;
        };
        if !fits(pattern.as_bytes(), wanted.as_bytes()) {
            continue;
        }
        let path = path_of(dependencies, module).map(str::to_owned);
        paths.extend(path.filter(|path| !paths.contains(path)));
    }
    paths
}

/// The module's path in `modules.dep`.
fn path_of<'a>(dependencies: &'a str, name: &str) -> Option<&'a str> {
    dependencies.lines().filter_map(|line| line.split(':').next()).find(|path| same_name(stem(path), name))
}

/// A module's path and those of all it needs, each after what it needs itself.
fn load_order(dependencies: &str, path: &str) -> Vec<String> {
    let mut order = Vec::new();
    visit(dependencies, path, DEPTH_LIMIT, &mut order);
    order
}

fn visit(dependencies: &str, path: &str, depth: usize, order: &mut Vec<String>) {
    if depth == 0 || order.iter().any(|listed| listed == path) {
        return;
    }
    let needs = dependencies.lines().find_map(|line| line.strip_prefix(path)?.strip_prefix(':'));
    // depmod writes the needs so that loading them from the last to the first works.
    for need in needs.unwrap_or_default().split_ascii_whitespace().rev() {
        visit(dependencies, need, depth - 1, order);
    }
    order.push(path.to_owned());
}

fn is_builtin(list: &str, name: &str) -> bool {
    list.lines().any(|path| same_name(stem(path), name))
}

/// `kernel/fs/ext4/ext4.ko` is the module `ext4`.
fn stem(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.strip_suffix(".ko").unwrap_or(file)
}

/// In module names `-` and `_` are the same.
fn same_name(one: &str, other: &str) -> bool {
    let letter = |byte: u8| if byte == b'-' { b'_' } else { byte };
    one.len() == other.len() && one.bytes().map(letter).eq(other.bytes().map(letter))
}

/// Whether a pattern of `modules.alias` (`*`, `?`, `[…]` as in fnmatch) fits the whole text.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on when the text after a star does not fit: behind the star, one letter further.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            retry = Some((p + 1, t));
            p += 1;
        } else if let Some(width) = one_letter(&pattern[p..], text[t]) {
            (p, t) = (p + width, t + 1);
        } else if let Some((behind_star, from)) = retry {
            retry = Some((behind_star, from + 1));
            (p, t) = (behind_star, from + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// How many bytes of the pattern take this letter, if they do.
fn one_letter(pattern: &[u8], letter: u8) -> Option<usize> {
    match pattern.first()? {
        b'?' => Some(1),
        b'[' => {
            let end = pattern.iter().position(|&byte| byte == b']')?;
            let set = &pattern[1..end];
            let range = set.windows(3).any(|w| w[1] == b'-' && (w[0]..=w[2]).contains(&letter));
            (range || set.contains(&letter)).then_some(end + 1)
        }
        b'-' | b'_' => matches!(letter, b'-' | b'_').then_some(1),
        &byte => (byte == letter).then_some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "\
kernel/fs/ext4/ext4.ko: kernel/fs/jbd2/jbd2.ko kernel/fs/mbcache.ko kernel/lib/crc16.ko
kernel/fs/jbd2/jbd2.ko: kernel/lib/crc16.ko
kernel/fs/mbcache.ko:
kernel/lib/crc16.ko:
kernel/drivers/net/virtio_net.ko: kernel/drivers/net/net_failover.ko kernel/net/core/failover.ko
kernel/drivers/net/net_failover.ko: kernel/net/core/failover.ko
kernel/net/core/failover.ko:
";
    const ALIAS: &str = "\
# Aliases extracted from modules themselves.
alias fs-ext4 ext4
alias virtio:d00000001v* virtio_net
alias usb:v0424p[0-9]*d*dc*dsc*dp*icFFisc??ip*in* mbcache
alias of:N*T*Cbrcm,bcm2835-sdhciC* crc16
";

    #[test]
    fn needs_come_before_what_needs_them() {
        let order = load_order(DEP, "kernel/fs/ext4/ext4.ko");
        let place = |name: &str| order.iter().position(|path| stem(path) == name).expect(name);
        assert_eq!(order.len(), 4);
        assert!(place("crc16") < place("jbd2") && place("jbd2") < place("ext4"));
    }

    #[test]
    fn a_circle_of_needs_ends() {
        assert_eq!(load_order("a.ko: b.ko\nb.ko: a.ko\n", "a.ko").last().map(String::as_str), Some("a.ko"));
    }

    #[test]
    fn names_and_aliases_lead_to_modules() {
        assert_eq!(resolve(DEP, ALIAS, "virtio-net"), ["kernel/drivers/net/virtio_net.ko"]);
        assert_eq!(resolve(DEP, ALIAS, "fs-ext4"), ["kernel/fs/ext4/ext4.ko"]);
        assert_eq!(resolve(DEP, ALIAS, "virtio:d00000001v00001AF4"), ["kernel/drivers/net/virtio_net.ko"]);
        assert!(resolve(DEP, ALIAS, "virtio:d00000002v00001AF4").is_empty());
        assert!(is_builtin("kernel/drivers/virtio/virtio_pci.ko\n", "virtio-pci"));
    }

    #[test]
    fn patterns_fit_as_fnmatch_has_it() {
        let fits = |pattern: &str, text: &str| fits(pattern.as_bytes(), text.as_bytes());
        assert!(fits("of:N*T*Cbrcm,bcm2835-sdhciC*", "of:NmmcT(null)Cbrcm,bcm2835-sdhciCx"));
        assert!(fits("usb:v0424p[0-9A-F]*isc??", "usb:v0424pEC00isc0A"));
        assert!(fits("a*b*c", "aXbXbc"));
        assert!(!fits("a*b*c", "aXbXbd"));
        assert!(!fits("a[0-3]", "a4"));
        assert!(!fits("a[", "a["));
        assert!(fits("*", ""));
        assert!(!fits("?", ""));
    }
}
