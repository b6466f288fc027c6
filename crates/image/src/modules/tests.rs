//! Choosing modules and writing their indexes, with modules made by hand.

use super::modinfo::Modinfo;
use super::{Kernel, name_of};
use crate::tree::Tree;

/// The smallest ELF file with a section `.modinfo`; lines of `modinfo` are its texts.
fn module(modinfo: &str) -> Vec<u8> {
    elf(".modinfo", &modinfo.replace('\n', "\0"))
}

/// The smallest ELF file (64 bit, little endian, relocatable, AArch64) with one section of that name and content.
pub(crate) fn elf(name: &str, content: &str) -> Vec<u8> {
    const HEADER_BYTES: usize = 64;
    let names = format!("\0{name}\0.shstrtab\0");
    let names_at = HEADER_BYTES + content.len();
    let sections_at = (names_at + names.len()).next_multiple_of(8) as u64;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x01\0\xb7\0\x01\0\0\0".to_vec();
    // Entry point, program headers, section headers; flags; sizes and numbers of headers.
    elf.extend([0, 0, sections_at].iter().flat_map(|word| word.to_le_bytes()));
    elf.extend(0u32.to_le_bytes());
    elf.extend([64u16, 0, 0, 64, 3, 2].iter().flat_map(|half| half.to_le_bytes()));
    elf.extend(content.as_bytes());
    elf.extend(names.as_bytes());
    elf.resize(sections_at as usize, 0);
    let own_name_at = name.len() as u32 + 2;
    for (name, kind, at, bytes) in
        [(0, 0, 0, 0), (1, 1, HEADER_BYTES, content.len()), (own_name_at, 3, names_at, names.len())]
    {
        elf.extend([name, kind].iter().flat_map(|word: &u32| word.to_le_bytes()));
        let words = [0, 0, at as u64, bytes as u64, 0, 1, 0];
        elf.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    }
    elf
}

fn package() -> Tree {
    let mut tree = Tree::default();
    tree.put_file("boot/vmlinuz-6.1-test", 0o644, *b"kernel");
    let mut put = |path: &str, info: &str| {
        tree.put_file(&format!("usr/lib/modules/6.1-test/kernel/{path}"), 0o644, module(info));
    };
    put("fs/ext4.ko", "depends=jbd2,crc16\nalias=fs-ext4\nsoftdep=pre: crypto-crc32c\n");
    put("fs/jbd2.ko", "depends=crc16\n");
    put("lib/crc16.ko", "depends=\n");
    put("crypto/crc32c_generic.ko", "depends=\nalias=crypto-crc32c\n");
    put("net/unwanted.ko", "depends=\n");
    tree.put_file(
        "usr/lib/modules/6.1-test/modules.builtin",
        0o644,
        *b"kernel/drivers/virtio/virtio_pci.ko\n",
    );
    tree
}

#[test]
fn a_module_brings_what_it_needs() {
    let package = package();
    let kernel = Kernel::find(&package).expect("a kernel");
    let chosen = kernel.choose(["ext4", "virtio-pci", "gone"].into_iter()).expect("readable");
    assert_eq!(chosen.missing, ["gone"]);
    assert!(chosen.has("crc32c-generic") && !chosen.has("unwanted"));
    let mut root = Tree::default();
    kernel.install(&chosen, &mut root).expect("installed");
    let text = |name: &str| {
        let content = root.content(&format!("usr/lib/modules/6.1-test/{name}")).expect("there");
        String::from_utf8_lossy(content).into_owned()
    };
    assert!(text("modules.dep").contains("kernel/fs/ext4.ko: kernel/fs/jbd2.ko kernel/lib/crc16.ko\n"));
    assert!(text("modules.dep").contains("kernel/lib/crc16.ko:\n"));
    assert!(text("modules.alias").contains("alias fs-ext4 ext4\n"));
    assert!(text("modules.softdep").contains("softdep ext4 pre: crypto-crc32c\n"));
}

#[test]
fn names() {
    assert_eq!(name_of("kernel/drivers/mmc/host/sdhci-iproc.ko.xz"), "sdhci_iproc");
    assert_eq!(name_of("nls_iso8859-1"), "nls_iso8859_1");
    let info = Modinfo::parse(b"license=GPL\0softdep=pre: a b post: c\0depends=x-y\0");
    assert_eq!(info.soft_needs().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(info.depends, ["x_y"]);
}
