//! What the firmware and U-Boot of a board with a card are told: `config.txt` and the commands of `boot.scr`.

use std::fmt::Write;
use std::net::Ipv4Addr;

/// U-Boot for each family of boards: file on the card, path in Debian's package `u-boot-rpi`, the filter of `config.txt`
/// that it stands under. The names fit the oldest form of a FAT's directory: nothing has to read long ones to boot.
pub(crate) const LOADERS: [Loader; 3] = [
    Loader { file: "u-boot.bin", path: "usr/lib/u-boot/rpi_arm64/u-boot.bin", filter: "all" },
    Loader { file: "u-boot-3.bin", path: "usr/lib/u-boot/rpi_3/u-boot.bin", filter: "pi3" },
    Loader { file: "u-boot-4.bin", path: "usr/lib/u-boot/rpi_4/u-boot.bin", filter: "pi4" },
];

/// The one build of U-Boot that Buildroot makes, for one family of boards.
pub(crate) const ONE_LOADER: Loader = Loader { file: "u-boot.bin", path: "u-boot.bin", filter: "all" };

/// A build of U-Boot.
pub(crate) struct Loader {
    pub(crate) file: &'static str,
    pub(super) path: &'static str,
    filter: &'static str,
}

/// How often the network is asked before the board resets itself: a reset also starts a USB Ethernet that hangs anew.
const ATTEMPTS: u8 = 20;
/// Pause after an attempt that failed.
const PAUSE_SECS: u8 = 5;

/// `config.txt` (its documentation: "Conditional filters", "Boot options"). A later filter that matches wins over an
/// earlier one.
///
/// `arm_64bit` because a Pi 3 would start U-Boot as a 32-bit program; `enable_uart` for a serial console at a steady
/// clock; `upstream_kernel` because the device trees are the kernel's own, and have its names.
///
/// A Pi 5 is to pass over the card: U-Boot has no driver for its Ethernet, which sits behind the RP1, and would wait for ever.
/// Its firmware is in its EEPROM and loads the kernel itself; a way to boot that fails is followed by the next one of
/// `BOOT_ORDER`, so by the network if that is in it (Raspberry Pi's documentation, "EEPROM boot flow"). It fails twice: there
/// is no `bcm2712-rpi-5-b.dtb`, for which the firmware looks first (`os_check`, raspberrypi/rpi-eeprom#682), and no file with
/// the kernel's name, in case somebody switches that check off. Read, and not tried on a board.
pub(crate) fn configuration(loaders: &[Loader]) -> String {
    let mut text = "# fledermaus. A Pi 5 boots by its EEPROM: it needs the network in BOOT_ORDER.\n\
        arm_64bit=1\nenable_uart=1\nupstream_kernel=1\n"
        .to_owned();
    for Loader { file, filter, .. } in loaders {
        writeln!(text, "[{filter}]\nkernel={file}").expect("a String takes everything");
    }
    text + "[pi5]\nkernel=none\n"
}

/// Where U-Boot puts what it fetches. Debian's for the Pi (2025.01) unpacks no kernel unless it is told where, and has its ramdisk
/// at 39 MiB, where the end of our unpacked kernel lies. From below: the kernel as it came and then unpacked, or kernel and
/// initramfs in one file, 126 MiB; at 128 MiB QEMU's device tree (the firmware's lies higher than all this); the unpacked kernel
/// on its way, 64 MiB; the boot plan; the initramfs, which has the rest: some 200 MiB on a board with 512, of which the
/// graphics processor has 64.
const MEMORY: [(&str, &str); 5] = [
    ("kernel_addr_r", "0x00200000"),
    ("kernel_comp_addr_r", "0x0a000000"),
    ("kernel_comp_size", "0x04000000"),
    ("pxefile_addr_r", "0x0e000000"),
    ("ramdisk_addr_r", "0x0e100000"),
];

/// What U-Boot does when it is powered on: it asks the network until it boots, and says what it waits for.
///
/// It asks for an address itself, because `dhcp` would otherwise fetch the offered file at once; a failed attempt ends
/// (`netretry`) instead of being repeated where nobody can say so. `server`, if there is one, is asked for the boot plan in place
/// of the one that DHCP names: U-Boot knows no proxy DHCP and takes the address from the router's answer. The name of a file in
/// that answer is forgotten: its folder would go before the names that the plan is asked for by.
pub(crate) fn commands(server: Option<Ipv4Addr>) -> String {
    let choose_server = match server {
        Some(address) => format!("setenv serverip {address}\nsetenv bootfile\n"),
        None => String::new(),
    };
    let attempts: Vec<String> = (1..=ATTEMPTS).map(|attempt| attempt.to_string()).collect();
    let attempts = attempts.join(" ");
    let memory: String = MEMORY.iter().map(|(name, place)| format!("setenv {name} {place}\n")).collect();
    format!(
        "\
setenv stdout serial,vidconsole
setenv stderr serial,vidconsole
setenv autoload no
setenv netretry no
setenv tftptimeout 1000
setenv tftpblocksize 1468
setenv tftpwindowsize 16
{memory}\
while true; do
for attempt in {attempts}; do
echo \"fledermaus: waiting for an address by DHCP, attempt $attempt\"
usb start
if dhcp; then
{choose_server}\
echo \"fledermaus: this board has $ipaddr; waiting for its boot plan from $serverip\"
if pxe get; then
echo \"fledermaus: there is a plan; fetching kernel and initramfs\"
pxe boot
echo \"fledermaus: the plan did not boot; trying again in {PAUSE_SECS} s\"
else
echo \"fledermaus: $serverip has no plan for $ethaddr: is the board enrolled? trying again in {PAUSE_SECS} s\"
fi
else
echo \"fledermaus: no network: is the cable in, is the head on? trying again in {PAUSE_SECS} s\"
fi
sleep {PAUSE_SECS}
done
echo \"fledermaus: starting the board anew\"
reset
done
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_of_boards_has_its_loader_and_a_later_filter_wins() {
        let text = configuration(&LOADERS);
        let lines: Vec<&str> = text.lines().skip_while(|line| !line.starts_with('[')).collect();
        let expected =
            ["[all]", "kernel=u-boot.bin", "[pi3]", "kernel=u-boot-3.bin", "[pi4]", "kernel=u-boot-4.bin"];
        assert_eq!(lines[..6], expected);
        assert_eq!(lines[6..], ["[pi5]", "kernel=none"], "no U-Boot for it");
        assert!(text.lines().all(|line| line.len() <= 78), "firmware reads 78 bytes of a line:\n{text}");
    }

    #[test]
    fn a_named_server_is_asked_after_dhcp_named_another() {
        assert!(!commands(None).contains("setenv serverip"));
        let text = commands(Some(Ipv4Addr::new(10, 0, 0, 7)));
        let position = |line: &str| text.lines().position(|found| found == line);
        let get = position("if pxe get; then");
        for line in ["setenv serverip 10.0.0.7", "setenv bootfile"] {
            assert!(position("if dhcp; then") < position(line) && position(line) < get, "{text}");
        }
    }
}
