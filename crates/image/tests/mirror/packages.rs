//! Packages with as little in them as an image needs: the kernel a line of text, busybox a table of applets.

/// A copyright file that a machine can read.
const COPYRIGHT: &str = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n\
    Files: *\nCopyright: 2025 somebody\nLicense: GPL-2+\n\nFiles: debian/*\nCopyright: 2025 somebody else\n\
    License: Expat\n\nLicense: GPL-2+\n The text.\n";

/// The package of that name.
pub(crate) fn deb(name: &str) -> Vec<u8> {
    deb_of(name, name.as_bytes())
}

/// The package of that name, with something of its own in its program.
pub(crate) fn deb_of(name: &str, own: &[u8]) -> Vec<u8> {
    let table = b"\x7fELF..[\0[[\0cat\0init\0ip\0mount\0sh\0\0rest".to_vec();
    let mut files = vec![(format!("./usr/share/doc/{name}/copyright"), COPYRIGHT.as_bytes().to_vec())];
    match name {
        "busybox-static" => files.push(("./usr/bin/busybox".into(), [&table, own].concat())),
        "iptables" => files.push(("./usr/sbin/xtables-nft-multi".into(), own.to_vec())),
        "ca-certificates" => files.push(("./usr/share/ca-certificates/mozilla/A.crt".into(), own.to_vec())),
        "linux-image-arm64" => {
            files.push(("./boot/vmlinuz-6.1".into(), [b"MZ", own].concat()));
            files
                .push(("./usr/lib/modules/6.1/modules.builtin".into(), b"kernel/fs/ext4/ext4.ko\n".to_vec()));
        }
        "u-boot-qemu" => files.push(("./usr/lib/u-boot/qemu_arm64/u-boot.bin".into(), own.to_vec())),
        "u-boot-rpi" => {
            let boards = ["rpi_3", "rpi_4", "rpi_arm64"].into_iter();
            files.extend(boards.map(|board| (format!("./usr/lib/u-boot/{board}/u-boot.bin"), own.to_vec())));
        }
        "raspi-firmware" => {
            let names = ["bootcode.bin", "start.elf", "fixup.dat", "start4.elf", "fixup4.dat"].into_iter();
            files.extend(names.map(|file| (format!("./usr/lib/raspi-firmware/{file}"), own.to_vec())));
        }
        _ => files.push((format!("./usr/bin/{name}"), own.repeat(10_000))),
    }
    ar(&[("debian-binary", b"2.0\n"), ("data.tar", &tar(&files))])
}

fn tar(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        tar.append_data(&mut header, path, &content[..]).unwrap();
    }
    tar.into_inner().unwrap()
}

fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = b"!<arch>\n".to_vec();
    for (name, content) in members {
        let numbers = format!("{:<12}{:<6}{:<6}{:<8}{:<10}", 0, 0, 0, "100644", content.len());
        archive.extend_from_slice(format!("{name:<16}{numbers}`\n").as_bytes());
        archive.extend_from_slice(content);
        archive.resize(archive.len() + content.len() % 2, b'\n');
    }
    archive
}
