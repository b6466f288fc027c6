//! Names as boards ask for them (logs of raspberrypi/firmware#1012, #935, #1605 and rpi-eeprom#74, #417), and the texts.

use cluster::Digest;
use proptest::prelude::*;

use super::*;
use crate::pxelinux::tests::plan;

fn firmware(name: &str) -> Option<File> {
    Some(File::Firmware(name.to_owned()))
}

fn file_of(path: &str) -> Option<File> {
    asked(path).map(|asked| asked.file)
}

#[test]
fn a_pi_3_gets_what_it_needs_and_no_for_the_rest() {
    let kernel = pxelinux::kernel_path(&Digest([7; 32]));
    let script = [
        ("bootcode.bin", firmware("bootcode.bin")),
        ("bootsig.bin", None),
        ("2caf9c61/start.elf", firmware("start.elf")),
        ("2caf9c61/autoboot.txt", None),
        ("2caf9c61/config.txt", Some(File::Configuration)),
        ("2caf9c61/recovery.elf", None),
        ("2caf9c61/fixup.dat", firmware("fixup.dat")),
        ("2caf9c61/dt-blob.bin", None),
        ("2caf9c61/bootcfg.txt", None),
        ("2caf9c61/upstream/bcm2837-rpi-3-b.dtb", None),
        ("2caf9c61/upstream/image/0707070707070707/kernel", None),
        ("2caf9c61/bcm2837-rpi-3-b.dtb", firmware("bcm2837-rpi-3-b.dtb")),
        ("2caf9c61/bcm2710-rpi-3-b-plus.dtb", firmware("bcm2837-rpi-3-b-plus.dtb")),
        ("2caf9c61/overlays/README", None),
        ("2caf9c61/cmdline.txt", Some(File::CommandLine)),
        ("2caf9c61/armstub8.bin", None),
        (&format!("2caf9c61/{kernel}"), Some(File::Kernel("0707070707070707".to_owned()))),
    ];
    for (path, expected) in script {
        assert_eq!(file_of(path), expected, "{path}");
    }
}

#[test]
fn a_pi_4_has_three_kinds_of_prefix() {
    let mac = "dc:a6:32:01:36:c2".parse().expect("an address");
    let prefixes = [
        ("d9780558/", Prefix::Serial),
        ("dc-a6-32-01-36-c2/", Prefix::Address(mac)),
        ("rack-2.left/", Prefix::Word),
        ("//./", Prefix::Absent),
    ];
    for (text, prefix) in prefixes {
        for name in ["start4.elf", "fixup4.dat", "bcm2711-rpi-4-b.dtb", "bcm2712-rpi-5-b.dtb"] {
            let expected = Asked { prefix, file: File::Firmware(name.to_owned()) };
            assert_eq!(asked(&format!("{text}{name}")), Some(expected), "{text}{name}");
        }
        for name in ["vl805.sig", "pieeprom.sig", "recover4.elf", "recovery.elf", "armstub8-gic.bin"] {
            assert_eq!(asked(&format!("{text}{name}")), None, "{text}{name}");
        }
    }
}

#[test]
fn nothing_else_is_a_name() {
    let long = format!("{}/config.txt", "x".repeat(PREFIX_LIMIT + 1));
    let misses = [
        "",
        "/",
        "..",
        "../config.txt",
        "d9780558/../config.txt",
        "d9780558/x/config.txt",
        "d9780558/bootcode.bin",
        "image/config.txt",
        "pxelinux.cfg/config.txt",
        "upstream/bcm2837-rpi-3-b.dtb",
        "image/0707070707070707/kernel",
        "d9780558/image/07/kernel",
        "d9780558/image/0707070707070707/../../x",
        "d9780558/pxelinux.cfg/01-b8-27-eb-01-02-03",
        "b8:27:eb:01:02:03/config.txt",
        "bcm2711-rpi-4-b.dtb.sig",
        "bcm2711/../x.dtb",
        "copyright",
        &long,
    ];
    for miss in misses {
        assert_eq!(asked(miss), None, "{miss}");
    }
}

#[test]
fn the_configuration_names_the_files_that_are_served() {
    let (kernel, initramfs) = (plan().kernel, plan().initramfs);
    let text = configuration(&kernel, &initramfs).expect("short names");
    let named = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).expect("a line").to_owned();
    let digits = "0707070707070707".to_owned();
    assert_eq!(file_of(&format!("d9780558/{}", named("kernel="))), Some(File::Kernel(digits.clone())));
    let initramfs = named("initramfs ");
    let initramfs = initramfs.strip_suffix(" followkernel").expect("the address");
    assert_eq!(file_of(&format!("d9780558/{initramfs}")), Some(File::Initramfs(digits)));
    assert!(text.lines().all(|line| line.len() <= CONFIGURATION_LINE_LIMIT), "{text}");
    assert!(text.starts_with("# fledermaus\narm_64bit=1\n"), "{text}");
}

#[test]
fn a_name_that_is_cut_or_read_otherwise_is_refused() {
    let long = "x".repeat(CONFIGURATION_LINE_LIMIT);
    for bad in ["", "a b", "a\nkernel=evil", &long] {
        assert!(configuration(bad, "initramfs").is_err() && configuration("kernel", bad).is_err(), "{bad}");
    }
}

#[test]
fn the_command_line_is_one_line_within_the_firmware_s_limit() {
    let text = command_line(&plan()).expect("a clean plan");
    assert_eq!((text.lines().count(), text.ends_with('\n')), (1, true));
    assert_eq!(text.trim_end(), plan().command_line());
    for bad in ["a=1\nb", "a=\0", &"x".repeat(1_024)] {
        assert!(command_line(&BootPlan { kernel_parameters: bad.to_owned(), ..plan() }).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn a_name_never_panics_and_never_escapes(path in ".{0,60}", tail in "[0-9a-z/.-]{0,40}") {
        for path in [path, format!("d9780558/{tail}"), tail] {
            if let Some(Asked { file: File::Firmware(name), .. }) = asked(&path) {
                prop_assert!(!name.contains('/') && !name.starts_with('.'));
            }
        }
    }

    #[test]
    fn no_parameter_writes_a_second_line(parameters in "\\PC{0,40}") {
        if let Ok(text) = command_line(&BootPlan { kernel_parameters: parameters, ..plan() }) {
            prop_assert_eq!(text.lines().count(), 1);
            prop_assert!(text.len() <= 1_024);
        }
    }
}
