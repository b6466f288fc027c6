//! Kernel modules: which ones go in, and the text files that `modprobe` looks them up in. Says what depmod
//! says; writes no binary index.

mod modinfo;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::io::Read;
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use crate::tree::{Entry, Kind, Tree};
use modinfo::Modinfo;

/// The largest module, unpacked, in bytes; amdgpu of Debian's kernel has 25 MB.
const MODULE_BYTES_LIMIT: u64 = 256 * 1024 * 1024;
/// How the kernel's path begins in its package; its version follows.
const KERNEL: &str = "boot/vmlinuz-";
/// Where its modules are.
const MODULES: &str = "usr/lib/modules/";

/// Whether a file of the kernel's package is the kernel, a module, or a list of modules.
pub(crate) fn is_wanted(path: &str) -> bool {
    path.starts_with(KERNEL) || path.starts_with(MODULES)
}

/// The modules of one kernel, none of them unpacked yet.
pub(crate) struct Kernel<'a> {
    /// What `uname -r` prints.
    pub(crate) version: String,
    /// The package that it came from.
    package: Arc<str>,
    /// The package's `boot/vmlinuz-<version>`: on arm64 not compressed.
    pub(crate) image: Arc<[u8]>,
    /// By name: path below `/lib/modules/<version>/` without the ending of its compression, and content.
    files: HashMap<String, (String, &'a Arc<[u8]>)>,
    builtin: BTreeSet<String>,
    builtin_list: Arc<[u8]>,
}

/// Chosen modules, unpacked, by path.
#[derive(Default)]
pub(crate) struct Chosen {
    modules: BTreeMap<String, Module>,
    /// Names that were asked for and that this kernel has neither as a module nor built in.
    pub(crate) missing: Vec<String>,
}

struct Module {
    content: Arc<[u8]>,
    info: Modinfo,
}

impl<'a> Kernel<'a> {
    /// Finds the kernel in the files of its package.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn find(package: &'a Tree) -> Result<Self> {
        let image = package.iter().find_map(|(path, _)| path.strip_prefix(KERNEL));
        let version = image.context("the kernel's package has no boot/vmlinuz-…")?.to_owned();
        let image = package.content(&format!("{KERNEL}{version}")).context("the kernel is no file")?.clone();
        let of = package.get(&format!("{KERNEL}{version}")).map(|entry| entry.package.clone());
        let folder = format!("{MODULES}{version}/");
        let mut files = HashMap::new();
        for (path, entry) in package.iter() {
            let Kind::File(content) = &entry.kind else { continue };
            let Some(path) = path.strip_prefix(&folder).and_then(uncompressed) else { continue };
            files.insert(name_of(path), (path.to_owned(), content));
        }
        let builtin_list = package.content(&format!("{folder}modules.builtin")).cloned().unwrap_or_default();
        let builtin = String::from_utf8_lossy(&builtin_list).lines().map(name_of).collect();
        Ok(Self { version, package: of.unwrap_or_default(), image, files, builtin, builtin_list })
    }

    /// The modules of these names with everything they need.
    ///
    /// # Errors
    /// A module cannot be unpacked or read.
    pub(crate) fn choose<'n>(&self, names: impl Iterator<Item = &'n str>) -> Result<Chosen> {
        let mut chosen = Chosen::default();
        let mut queue: Vec<String> = Vec::new();
        for name in names.map(name_of) {
            match (self.files.contains_key(&name), self.builtin.contains(&name)) {
                (true, _) => queue.push(name),
                (false, true) => {}
                (false, false) => chosen.missing.push(name),
            }
        }
        while let Some(name) = queue.pop() {
            let Some((path, packed)) = self.files.get(&name) else { continue };
            if chosen.modules.contains_key(path) {
                continue;
            }
            let content = unpacked(packed).with_context(|| format!("unpacking the module {name}"))?;
            let info = Modinfo::read(&content).with_context(|| format!("reading the module {name}"))?;
            queue.extend(info.depends.iter().cloned());
            queue.extend(info.soft_needs().filter_map(|need| self.soft_need(need)));
            chosen.modules.insert(path.clone(), Module { content, info });
        }
        Ok(chosen)
    }

    /// Soft dependencies may name a module or what it computes (`crypto-x`, then `x` or `x_generic`).
    fn soft_need(&self, name: &str) -> Option<String> {
        let name = name_of(name.strip_prefix("crypto-").unwrap_or(name));
        let candidates = [name.clone(), format!("{name}_generic")];
        candidates.into_iter().find(|candidate| self.files.contains_key(candidate))
    }

    /// Puts chosen modules and their indexes into a root.
    ///
    /// # Errors
    /// Modules need each other in a circle.
    pub(crate) fn install(&self, chosen: &Chosen, root: &mut Tree) -> Result<()> {
        let folder = format!("{MODULES}{}", self.version);
        for (path, module) in &chosen.modules {
            let entry = Entry::own(Kind::File(module.content.clone()), 0o644);
            root.put(&format!("{folder}/{path}"), Entry { package: self.package.clone(), ..entry });
        }
        let texts = [
            ("modules.dep", chosen.dependencies()?),
            ("modules.alias", chosen.aliases()),
            ("modules.softdep", chosen.soft_dependencies()),
        ];
        for (name, text) in texts {
            root.put_file(&format!("{folder}/{name}"), 0o644, text.into_bytes());
        }
        root.put_file(&format!("{folder}/modules.builtin"), 0o644, self.builtin_list.clone());
        Ok(())
    }
}

impl Chosen {
    /// Whether a module of that name was chosen.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.modules.keys().any(|path| name_of(path) == name_of(name))
    }

    /// `modules.dep`: each module with all it needs, directly or not, so that loading from the last to the
    /// first works.
    fn dependencies(&self) -> Result<String> {
        let paths: HashMap<String, &str> =
            self.modules.keys().map(|path| (name_of(path), path.as_str())).collect();
        let mut text = String::new();
        for path in self.modules.keys() {
            let mut order = Vec::new();
            self.visit(path, &paths, &mut Vec::new(), &mut order)?;
            let needs: String = order.iter().rev().skip(1).map(|need| format!(" {need}")).collect();
            let _ = writeln!(text, "{path}:{needs}");
        }
        Ok(text)
    }

    /// Appends a module's needs and then itself, each once.
    fn visit<'a>(
        &'a self,
        path: &'a str,
        paths: &HashMap<String, &'a str>,
        above: &mut Vec<&'a str>,
        order: &mut Vec<&'a str>,
    ) -> Result<()> {
        if order.contains(&path) {
            return Ok(());
        }
        if above.contains(&path) {
            bail!("the module {path} needs itself");
        }
        above.push(path);
        let needs = self.modules.get(path).map(|module| &module.info.depends[..]).unwrap_or_default();
        for need in needs {
            // What is not among the modules is built into the kernel.
            if let Some(need) = paths.get(need) {
                self.visit(need, paths, above, order)?;
            }
        }
        above.pop();
        order.push(path);
        Ok(())
    }

    fn aliases(&self) -> String {
        let mut text = String::from("# Aliases of the modules in this folder.\n");
        for (path, module) in &self.modules {
            for alias in &module.info.aliases {
                let _ = writeln!(text, "alias {alias} {}", name_of(path));
            }
        }
        text
    }

    fn soft_dependencies(&self) -> String {
        let mut text = String::from("# Soft dependencies of the modules in this folder.\n");
        for (path, module) in &self.modules {
            for soft in &module.info.soft {
                let _ = writeln!(text, "softdep {} {soft}", name_of(path));
            }
        }
        text
    }
}

/// `kernel/fs/ext4/ext4.ko.xz` without `.xz`; `None` for what is no module.
fn uncompressed(path: &str) -> Option<&str> {
    let plain = path.strip_suffix(".xz").or(path.strip_suffix(".zst")).unwrap_or(path);
    plain.ends_with(".ko").then_some(plain)
}

/// A module's name: of a path the last part, without endings; `-` and `_` are the same.
fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

fn unpacked(packed: &Arc<[u8]>) -> Result<Arc<[u8]>> {
    const XZ: &[u8] = b"\xfd7zXZ\0";
    const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
    let mut content = Vec::new();
    if packed.starts_with(XZ) {
        liblzma::read::XzDecoder::new(&packed[..]).take(MODULE_BYTES_LIMIT).read_to_end(&mut content)?;
    } else if packed.starts_with(ZSTD) {
        zstd::Decoder::new(&packed[..])?.take(MODULE_BYTES_LIMIT).read_to_end(&mut content)?;
    } else {
        return Ok(packed.clone());
    }
    Ok(content.into())
}

#[cfg(test)]
pub(crate) mod tests;
