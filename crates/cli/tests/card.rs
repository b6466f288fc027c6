//! A card made of Debian's real packages, as a user makes it: looked at by programs that others wrote, and started by the
//! real U-Boot on an emulated Pi 3.
//!
//! Needs the packages in the cache, or a mirror. The emulated board has no Ethernet: what the boot script says then, and
//! that it tries again, is what is tested here; that a board with a network boots is tested in `emulated.rs`.

#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_fledermaus");
/// The most that a card image may have, in bytes.
const CARD_LIMIT: u64 = 64_000_000;
/// Where a card's partition begins, in bytes.
const PARTITION: u64 = 1 << 20;
/// QEMU's board takes cards of a power of two only.
const EMULATED_BYTES: u64 = 64 << 20;
/// What comes before the commands in U-Boot's script.
const SCRIPT_HEADER: usize = 72;
/// Three attempts take 16 s on two cores.
const SCRIPT_LIMIT: Duration = Duration::from_secs(180);
/// How much of the console a failure shows, in lines.
const SHOWN: usize = 60;

#[test]
fn foreign_programs_find_nothing_wrong_with_the_card() {
    let house = tempfile::tempdir().unwrap();
    let card = write_card(house.path());
    let bytes = fs::metadata(&card).unwrap().len();
    assert!(bytes <= CARD_LIMIT, "{bytes} bytes");
    assert!(output("/usr/sbin/sfdisk", &["--verify", text(&card)]).contains("No errors detected"));
    let partition = house.path().join("partition");
    fs::write(&partition, &fs::read(&card).unwrap()[PARTITION as usize..]).unwrap();
    let said = output("/usr/sbin/fsck.fat", &["-n", text(&partition)]);
    assert_eq!(said.lines().count(), 2, "{said}");
    // What the firmware starts is there, and what config.txt names.
    let configuration = fs::read_to_string(copy_out(&card, "config.txt", house.path())).unwrap();
    let kernels = configuration.lines().filter_map(|line| line.strip_prefix("kernel="));
    let loaders: Vec<&str> = kernels.filter(|file| *file != "none").collect();
    assert_eq!(loaders, ["u-boot.bin", "u-boot-3.bin", "u-boot-4.bin"]);
    for file in loaders.into_iter().chain(["bootcode.bin", "start.elf", "start4.elf", "bcm2711-rpi-4-b.dtb"])
    {
        assert!(fs::metadata(copy_out(&card, file, house.path())).unwrap().len() > 10_000, "{file}");
    }
}

#[test]
fn u_boot_for_a_pi_3_says_what_it_waits_for_and_tries_again() {
    starts_and_tries_again("u-boot-3.bin");
}

#[test]
fn u_boot_for_any_64_bit_pi_says_what_it_waits_for_and_tries_again() {
    starts_and_tries_again("u-boot.bin");
}

fn starts_and_tries_again(loader: &str) {
    let house = tempfile::tempdir().unwrap();
    let card = write_card(house.path());
    let mut board = Board::power_on(&card, loader, house.path());
    for attempt in 1..=3 {
        board.wait_for(&format!("fledermaus: waiting for an address by DHCP, attempt {attempt}"));
        board.wait_for("fledermaus: no network: is the cable in, is the head on? trying again in 5 s");
    }
}

/// QEMU's Pi 3 has no Ethernet that U-Boot knows, so that no emulated board fetches by this script, and nobody saw that it left U-Boot no room
/// to unpack the kernel. Here kernel and initramfs lie where the script has them put, and U-Boot starts them as its `pxe boot` does.
#[test]
fn u_boot_starts_a_kernel_from_where_the_card_s_script_has_it_put() {
    let image = std::env::var_os("FLEDERMAUS_IMAGE")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/fledermaus/image"));
    let (kernel, initramfs) = (image.join("kernel"), image.join("initramfs"));
    let bytes = fs::metadata(&initramfs).expect("an image (`make image`)").len();
    let house = tempfile::tempdir().unwrap();
    let card = write_card(house.path());
    let script = fs::read(copy_out(&card, "boot.scr", house.path())).unwrap();
    let script = String::from_utf8_lossy(&script[SCRIPT_HEADER..]).into_owned();
    let settings = script.split("while true").next().unwrap();
    let commands = format!(
        "{settings}setenv bootargs console=ttyS1,115200\n\
         booti ${{kernel_addr_r}} ${{ramdisk_addr_r}}:{bytes:x} ${{fdt_addr}}\n"
    );
    fs::write(house.path().join("boot.scr"), image::card::script::image(&commands)).unwrap();
    let volume = format!("{}@@{PARTITION}", card.display());
    output("mcopy", &["-o", "-i", &volume, text(&house.path().join("boot.scr")), "::boot.scr"]);
    let place = |name: &str| {
        let line = settings.lines().find_map(|line| line.strip_prefix(&format!("setenv {name} ")));
        line.unwrap_or_else(|| panic!("the script does not say {name}: {settings}")).to_owned()
    };
    let memory = [(&kernel, "kernel_addr_r"), (&initramfs, "ramdisk_addr_r")]
        .map(|(file, name)| format!("loader,file={},addr={},force-raw=on", file.display(), place(name)));
    let mut board = Board::power_on_with(&card, "u-boot-3.bin", house.path(), &memory);
    board.wait_for("fledermaus: the kernel command line has no `ip=`");
}

/// Makes a card as a user does.
fn write_card(house: &Path) -> PathBuf {
    let recipe = house.join("image.toml");
    fs::write(&recipe, "[firmware]\npackage = \"raspi-firmware\"\n").unwrap();
    let card = house.join("card.img");
    output(PROGRAM, &["card", "write", "--recipe", text(&recipe), "--out", text(&card)]);
    card
}

/// What a program prints; it has to succeed.
fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{program}: {said}");
    said
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A file of the card's partition.
fn copy_out(card: &Path, file: &str, folder: &Path) -> PathBuf {
    let copy = folder.join(file);
    let volume = format!("{}@@{PARTITION}", card.display());
    output("mcopy", &["-o", "-i", &volume, &format!("::{file}"), text(&copy)]);
    copy
}

/// An emulated Pi 3 and its console.
struct Board {
    emulator: Child,
    lines: Receiver<String>,
    heard: Vec<String>,
    limit: Instant,
}

impl Board {
    /// Does what the firmware would do, which QEMU does not have: starts the loader with the board's device tree.
    fn power_on(card: &Path, loader: &str, house: &Path) -> Self {
        Self::power_on_with(card, loader, house, &[])
    }

    /// The same with further devices.
    fn power_on_with(card: &Path, loader: &str, house: &Path, devices: &[String]) -> Self {
        let loader = copy_out(card, loader, house);
        let device_tree = copy_out(card, "bcm2837-rpi-3-b.dtb", house);
        File::options().write(true).open(card).unwrap().set_len(EMULATED_BYTES).unwrap();
        let mut emulator = Command::new("qemu-system-aarch64")
            .args(["-M", "raspi3b", "-display", "none", "-monitor", "none", "-kernel"])
            .arg(loader)
            .arg("-dtb")
            .arg(device_tree)
            .arg("-drive")
            .arg(format!("if=sd,format=raw,file={}", card.display()))
            .args(devices.iter().flat_map(|device| ["-device", device]))
            // The console is the second UART.
            .args(["-serial", "null", "-serial", "stdio"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("qemu-system-aarch64 (scripts/install-deps)");
        let console = BufReader::new(emulator.stdout.take().unwrap());
        let (tell, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in console.split(b'\n').map_while(Result::ok) {
                if tell.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                    return;
                }
            }
        });
        Self { emulator, lines, heard: Vec::new(), limit: Instant::now() + SCRIPT_LIMIT }
    }

    /// Waits until the console shows a line that ends so; lines of before do not count.
    fn wait_for(&mut self, text: &str) {
        loop {
            let left = self.limit.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                let from = self.heard.len().saturating_sub(SHOWN);
                panic!("the console never showed `{text}`, but:\n{}", self.heard[from..].join("\n"));
            };
            let is_it = line.ends_with(text);
            self.heard.push(line);
            if is_it {
                return;
            }
        }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        let _ = self.emulator.kill();
        let _ = self.emulator.wait();
    }
}
