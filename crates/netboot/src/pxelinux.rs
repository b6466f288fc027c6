//! The boot configuration that U-Boot's `pxe get` fetches, and the file names a node may ask for.
//!
//! The format is PXELINUX's as far as U-Boot reads it (boot/pxe_utils.c). Files that are served are named
//! here and nowhere else; there is no directory behind them, so nothing can be escaped from.

use std::fmt::Write;

use cluster::manifest::ONE_FILE_CONFIGURATION;
use cluster::plan::COMMAND_LINE_LIMIT;
use cluster::{BootPlan, Digest, Mac};

/// The longest file name that U-Boot's lwIP stack asks for, in bytes.
pub const PATH_LIMIT: usize = 127;
/// Hex digits of an image's digest in its files' names.
const IMAGE_DIGITS: usize = 16;

/// A boot plan cannot be written so that a boot loader passes it on.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Unwritable {
    /// A boot loader would expand, cut or misread the value.
    #[error(
        "the {what} of the boot plan holds {character:?}, which boot loaders do not pass on: use printable \
         ASCII without `$`, `\\` and `'`"
    )]
    Character {
        /// Which value.
        what: &'static str,
        /// The first such character.
        character: char,
    },
    /// The value is empty or too long.
    #[error("the {what} of the boot plan has {bytes} bytes; boot loaders take 1 to {limit}")]
    Length {
        /// Which value.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The longest possible.
        limit: usize,
    },
}

/// What a node asks for by TFTP, once the name is understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// `pxelinux.cfg/01-<mac>`: the boot configuration of the node with this address.
    Plan(Mac),
    /// The kernel of the image whose digest begins so (16 lower-case hex digits).
    Kernel(String),
    /// The initramfs of the image whose digest begins so (16 lower-case hex digits).
    Initramfs(String),
    /// Kernel and initramfs in one file, of the image whose digest begins so (16 lower-case hex digits).
    OneFile(String),
}

/// TFTP path of the kernel of the image with this id.
pub fn kernel_path(image: &Digest) -> String {
    image_path(image, "kernel")
}

/// TFTP path of the initramfs of the image with this id.
pub fn initramfs_path(image: &Digest) -> String {
    image_path(image, "initramfs")
}

/// TFTP path of kernel and initramfs in one file, of the image with this id.
pub fn one_file_path(image: &Digest) -> String {
    image_path(image, "one-file.itb")
}

fn image_path(image: &Digest, file: &str) -> String {
    format!("image/{}/{file}", &image.to_string()[..IMAGE_DIGITS])
}

/// The boot configuration for one node. A U-Boot that cannot start the one file (Debian's for the Pi, 2025.01, knows no
/// FIT) goes on to the other label by itself (`boot_unattempted_labels` there).
///
/// # Errors
/// Where a value holds what U-Boot would expand (`$`), take as the end of the line, or cut.
pub fn render(plan: &BootPlan) -> Result<String, Unwritable> {
    check_path("kernel path", &plan.kernel)?;
    check_path("initramfs path", &plan.initramfs)?;
    let command_line = command_line(plan)?;
    let mut labels = Vec::new();
    if let Some(path) = &plan.one_file {
        check_path("one file's path", path)?;
        // The same words twice are fetched once (`label_boot` in boot/pxe_utils.c); a second copy would lie over the first.
        let whole = format!("{path}#{ONE_FILE_CONFIGURATION}");
        labels.push(("one-file", whole.clone(), whole));
    }
    labels.push(("fledermaus", plan.kernel.clone(), plan.initramfs.clone()));
    let mut text = format!("# fledermaus\ndefault {}\ntimeout 1\n", labels[0].0);
    for (label, kernel, initramfs) in labels {
        write!(text, "\nlabel {label}\n  kernel {kernel}\n  initrd {initramfs}\n  append {command_line}\n")
            .expect("a String takes everything");
    }
    Ok(text)
}

/// The kernel's command line, if every boot loader passes it on as it is.
pub(crate) fn command_line(plan: &BootPlan) -> Result<String, Unwritable> {
    let command_line = plan.command_line();
    check_length("command line", &command_line, COMMAND_LINE_LIMIT - 1)?;
    // U-Boot expands `${...}` in APPEND, and `\` and `'` take part in that.
    check_characters("command line", &command_line, |c| matches!(c, ' '..='~') && !"$\\'".contains(c))?;
    Ok(command_line)
}

/// Understands a requested file name. `None` is to be answered by ERROR 1 at once: U-Boot tries a dozen names
/// under `pxelinux.cfg/`, and waits 55 s for each that is met by silence.
pub fn wanted(path: &str) -> Option<Wanted> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    match parts[..] {
        ["pxelinux.cfg", name] => Some(Wanted::Plan(mac_of(name)?)),
        ["image", digits, file] if is_image(digits) => match file {
            "kernel" => Some(Wanted::Kernel(digits.to_owned())),
            "initramfs" => Some(Wanted::Initramfs(digits.to_owned())),
            "one-file.itb" => Some(Wanted::OneFile(digits.to_owned())),
            _ => None,
        },
        _ => None,
    }
}

/// `01-` is the hardware type Ethernet, as PXELINUX writes it.
fn mac_of(name: &str) -> Option<Mac> {
    let address = name.strip_prefix("01-")?;
    if address.contains(':') { None } else { address.parse().ok() }
}

fn is_image(digits: &str) -> bool {
    digits.len() == IMAGE_DIGITS && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

/// A path is a word: U-Boot takes `#` in it as the name of a FIT configuration.
pub(crate) fn check_path(what: &'static str, path: &str) -> Result<(), Unwritable> {
    check_length(what, path, PATH_LIMIT)?;
    check_characters(what, path, |c| c.is_ascii_alphanumeric() || "._-/".contains(c))
}

pub(crate) fn check_length(what: &'static str, value: &str, limit: usize) -> Result<(), Unwritable> {
    let bytes = value.len();
    if (1..=limit).contains(&bytes) { Ok(()) } else { Err(Unwritable::Length { what, bytes, limit }) }
}

fn check_characters(what: &'static str, value: &str, allowed: fn(char) -> bool) -> Result<(), Unwritable> {
    match value.chars().find(|c| !allowed(*c)) {
        None => Ok(()),
        Some(character) => Err(Unwritable::Character { what, character }),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::net::Ipv4Addr;

    use cluster::BootToken;
    use cluster::plan::{Keep, NodePlan, RootPlace, Wipe};
    use proptest::prelude::*;

    use super::*;

    /// A plan without faults.
    pub(crate) fn plan() -> BootPlan {
        let token = BootToken::new([0xab; 16]);
        let system = Digest([7; 32]);
        BootPlan {
            kernel: kernel_path(&system),
            initramfs: initramfs_path(&system),
            one_file: None,
            kernel_parameters: "console=ttyAMA0".to_owned(),
            node: NodePlan {
                name: "node1".parse().expect("a name"),
                address: Ipv4Addr::new(10, 78, 0, 11),
                prefix: 24,
                gateway: None,
                dns: Ipv4Addr::new(10, 78, 0, 1),
                head: "10.78.0.1:8080".parse().expect("an address"),
                system,
                system_bytes: 61_000_000,
                verity: Some(Digest([8; 32])),
                root: RootPlace::Auto,
                wipe: Wipe::Always,
                keep: Keep::NOTHING,
                user_data_url: format!("http://10.78.0.1:8080/boot/{}/user-data", token.expose()),
                user_data_secs: cluster::plan::USER_DATA_SECS,
                token,
            },
        }
    }

    #[test]
    fn a_plan_is_written_so_that_its_files_are_found_again() {
        let text = render(&plan()).expect("a clean plan");
        assert!(text.contains("\n  kernel image/0707070707070707/kernel\n"), "{text}");
        assert!(text.contains("\n  append console=ttyAMA0 ip=10.78.0.11::"), "{text}");
        let digits = "0707070707070707".to_owned();
        assert_eq!(wanted(&plan().kernel), Some(Wanted::Kernel(digits.clone())));
        assert_eq!(wanted(&plan().initramfs), Some(Wanted::Initramfs(digits.clone())));
        let one = one_file_path(&Digest([7; 32]));
        let both = render(&BootPlan { one_file: Some(one.clone()), ..plan() }).expect("clean");
        let labels: Vec<&str> = both.split("\nlabel ").collect();
        assert!(labels[0].contains("default one-file\n"), "{both}");
        assert!(
            labels[1].starts_with(&format!(
                "one-file\n  kernel {one}#boot\n  initrd {one}#boot\n  append console="
            ))
        );
        assert!(text.ends_with(&format!("\nlabel {}", labels[2])), "the other stays as it is: {both}");
        assert_eq!(wanted(&one), Some(Wanted::OneFile(digits)));
    }

    #[test]
    fn what_u_boot_would_expand_or_cut_is_refused() {
        for bad in ["a=${serial#}", "a=1\nlabel evil", "a='b", "a=\\", "a=ä", "a=\t"] {
            let refused = render(&BootPlan { kernel_parameters: bad.to_owned(), ..plan() });
            assert!(matches!(refused, Err(Unwritable::Character { what: "command line", .. })), "{bad}");
        }
        let long = BootPlan { kernel_parameters: "x".repeat(COMMAND_LINE_LIMIT), ..plan() };
        assert!(matches!(render(&long), Err(Unwritable::Length { what: "command line", .. })));
        for bad in ["", "a b", "image.itb#conf", "a\n", &"x".repeat(PATH_LIMIT + 1)] {
            assert!(render(&BootPlan { kernel: bad.to_owned(), ..plan() }).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_the_name_by_address_is_a_plan() {
        let mac = "b8:27:eb:01:02:03".parse().expect("an address");
        for good in ["pxelinux.cfg/01-b8-27-eb-01-02-03", "//pxelinux.cfg/./01-B8-27-EB-01-02-03"] {
            assert_eq!(wanted(good), Some(Wanted::Plan(mac)), "{good}");
        }
        let misses = [
            "",
            "/",
            "pxelinux.cfg",
            "pxelinux.cfg/default",
            "pxelinux.cfg/default-arm-bcm283x-rpi",
            "pxelinux.cfg/0A4E000B",
            "pxelinux.cfg/01-b8:27:eb:01:02:03",
            "pxelinux.cfg/20-b8-27-eb-01-02-03",
            "pxelinux.cfg/../pxelinux.cfg/01-b8-27-eb-01-02-03",
            "x/pxelinux.cfg/01-b8-27-eb-01-02-03",
            "image/0707070707070707/../../etc/passwd",
            "image/0707070707070707/manifest.json",
            "image/07/kernel",
            "bootcode.bin",
        ];
        for miss in misses {
            assert_eq!(wanted(miss), None, "{miss}");
        }
    }

    proptest! {
        #[test]
        fn a_name_never_panics(path in ".{0,60}", tail in "[0-9a-f/.-]{0,40}") {
            let _ = wanted(&path);
            let _ = wanted(&format!("pxelinux.cfg/{tail}"));
        }

        #[test]
        fn no_parameter_writes_a_line_of_its_own(parameters in "\\PC{0,40}") {
            if let Ok(text) = render(&BootPlan { kernel_parameters: parameters, ..plan() }) {
                prop_assert_eq!(text.lines().count(), 8);
                prop_assert!(!text.contains('$'));
            }
        }
    }
}
