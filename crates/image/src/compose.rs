//! The two trees of an image, made of unpacked packages and the recipe's own files. Writes neither.

use std::sync::Arc;

use anyhow::{Context, Result};
use cluster::configuration::{Mistakes, Named};

use crate::build::BuildError;
use crate::inputs::Inputs;
use crate::lists::{self, items};
use crate::modules::{Chosen, Kernel};
use crate::pantry::Pantry;
use crate::progress::Progress;
use crate::recipe::Recipe;
use crate::tree::Tree;
use crate::{container, rules};

/// What is to be packed.
pub(crate) struct Dish {
    pub(crate) initramfs: Tree,
    pub(crate) system: Tree,
}

/// Makes the trees. `time` is that of files in containers, in seconds since 1970.
///
/// # Errors
/// The recipe wants modules that the kernel does not have, or something that every node needs is missing.
pub(crate) fn compose(
    recipe: &Recipe,
    pantry: &Pantry,
    kernel: &Kernel,
    inputs: Inputs,
    time: u64,
    progress: &mut dyn Progress,
) -> Result<Dish, BuildError> {
    let (small, large) = choose_modules(recipe, kernel, progress)?;
    let init = inputs.programs.content("usr/sbin/fledermaus-init").context("fledermaus-init is missing")?;
    let loaded = loaded_at_once(lists::INITRAMFS_MODULES, &small);
    let initramfs = assemble_initramfs(kernel, &small, init, loaded)?;
    let mut system = pantry.system.clone();
    // The kernel's package is not installed, but its modules are, and their notice goes with them.
    for (path, entry) in pantry.kernel.iter().filter(|(path, _)| rules::is_notice(path)) {
        system.put(path, entry.clone());
    }
    assemble_system(&mut system, recipe, kernel, &large, inputs, time)?;
    Ok(Dish { initramfs, system })
}

/// The modules of the initramfs, and those of the system image: those and more.
fn choose_modules(
    recipe: &Recipe,
    kernel: &Kernel,
    progress: &mut dyn Progress,
) -> Result<(Chosen, Chosen), BuildError> {
    fn names(named: &[Named]) -> impl Iterator<Item = &str> {
        named.iter().map(|named| named.name.as_str())
    }
    let listed = |list| items(list).map(|item| item.name);
    let small: Vec<&str> = listed(lists::INITRAMFS_MODULES).chain(names(&recipe.initramfs_modules)).collect();
    let large = listed(lists::SYSTEM_MODULES).chain(names(&recipe.modules)).chain(small.iter().copied());
    let large = kernel.choose(large).context("choosing modules")?;
    let mut mistakes = Mistakes::default();
    for Named { name, line } in recipe.modules.iter().chain(&recipe.initramfs_modules) {
        if large.missing.contains(&name.replace('-', "_")) {
            mistakes.add(
                &recipe.file,
                *line,
                format!("the kernel {} has no module `{name}`", kernel.version),
            );
        }
    }
    mistakes.or(())?;
    if !large.missing.is_empty() {
        progress.notice(&format!(
            "the kernel {} has no modules {}",
            kernel.version,
            large.missing.join(", ")
        ));
    }
    let small = kernel.choose(small.into_iter()).context("choosing modules of the initramfs")?;
    Ok((small, large))
}

/// The marked modules of a list, as far as they were chosen: one per line.
pub(crate) fn loaded_at_once(list: &str, chosen: &Chosen) -> String {
    let marked = items(list).filter(|item| item.marked && chosen.has(item.name));
    marked.map(|item| format!("{}\n", item.name)).collect()
}

/// The initramfs: init, modules, and the list of those that it loads at once.
///
/// # Errors
/// Modules need each other in a circle.
pub(crate) fn assemble_initramfs(
    kernel: &Kernel,
    modules: &Chosen,
    init: &Arc<[u8]>,
    loaded: String,
) -> Result<Tree> {
    const FOLDERS: [&str; 7] = ["dev", "proc", "sys", "run", "mnt", "newroot", "etc"];
    let mut tree = Tree::default();
    for folder in FOLDERS {
        tree.put_folder(folder, 0o755);
    }
    tree.put_file("init", 0o755, init.clone());
    tree.put_link("lib", "usr/lib");
    tree.put_link("sbin/modprobe", "/init");
    kernel.install(modules, &mut tree)?;
    tree.put_file("etc/fledermaus/modules", 0o644, loaded.into_bytes());
    Ok(tree)
}

fn assemble_system(
    root: &mut Tree,
    recipe: &Recipe,
    kernel: &Kernel,
    modules: &Chosen,
    inputs: Inputs,
    time: u64,
) -> Result<()> {
    rules::apply(root, &recipe.name, &recipe.suite)?;
    kernel.install(modules, root)?;
    let load = loaded_at_once(lists::SYSTEM_MODULES, modules);
    root.put_file("etc/modules-load.d/fledermaus.conf", 0o644, load.into_bytes());
    root.merge(inputs.programs);
    if !recipe.ssh_keys.is_empty() {
        root.put_folder("root/.ssh", 0o700);
        root.put_file(
            "root/.ssh/authorized_keys",
            0o600,
            format!("{}\n", recipe.ssh_keys.join("\n")).into_bytes(),
        );
    }
    root.merge(inputs.overlay);
    container::add(recipe, root, time)
}
