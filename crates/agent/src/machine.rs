//! The board under the node: what it is, and how it is. Read from the kernel's own files; what a board does not have is
//! absent, never guessed.

use std::fs;
use std::path::Path;

use cluster::report::Health;

/// What a board is; does not change while it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Machine {
    /// As the device tree says, such as `Raspberry Pi 3 Model B Rev 1.2`.
    pub(crate) model: String,
    /// Its serial number in hex digits.
    pub(crate) serial: String,
    /// The memory that the kernel has.
    pub(crate) memory_bytes: u64,
}

impl Machine {
    /// This node's.
    pub(crate) fn of_this_node() -> Self {
        Self::below(Path::new("/"))
    }

    fn below(root: &Path) -> Self {
        let tree = |name: &str| word(&root.join("proc/device-tree").join(name)).unwrap_or_default();
        let memory = fs::read_to_string(root.join("proc/meminfo")).unwrap_or_default();
        Self {
            model: tree("model"),
            serial: tree("serial-number"),
            memory_bytes: memory_bytes(&memory).unwrap_or(0),
        }
    }
}

/// How this node's board is now.
pub(crate) fn health() -> Health {
    // Of an overlay that is the layer that is written to.
    let root = nix::sys::statvfs::statvfs("/").ok();
    let bytes = |blocks: u64, size: u64| blocks.saturating_mul(size);
    Health {
        storage_bytes: root.map(|root| bytes(root.blocks(), root.fragment_size())),
        storage_free_bytes: root.map(|root| bytes(root.blocks_available(), root.fragment_size())),
        ..health_below(Path::new("/"))
    }
}

fn health_below(root: &Path) -> Health {
    let machine = Machine::below(root);
    let block = root.join("sys/block");
    let card = names(&block).into_iter().find(|name| name.starts_with("mmcblk") && !name.contains("boot"));
    let disk = card.clone().or_else(|| names(&block).into_iter().find(|name| is_disk(name)));
    let of_card = |file: &str| word(&block.join(card.as_ref()?).join("device").join(file));
    Health {
        model: machine.model,
        serial: machine.serial,
        memory_bytes: machine.memory_bytes,
        temperature_mc: word(&root.join("sys/class/thermal/thermal_zone0/temp"))
            .and_then(|text| text.parse().ok()),
        under_voltage: under_voltage(root),
        written_bytes: disk.and_then(|name| written_bytes(&word(&block.join(name).join("stat"))?)),
        card_name: of_card("name").unwrap_or_default(),
        card_life: of_card("life_time").unwrap_or_default(),
        ..Health::default()
    }
}

/// What the firmware notes since it was last asked (driver raspberrypi-hwmon: the sensor `rpi_volt`).
fn under_voltage(root: &Path) -> Option<bool> {
    let sensors = root.join("sys/class/hwmon");
    let sensor = names(&sensors).into_iter().map(|name| sensors.join(name));
    let volt = sensor.into_iter().find(|sensor| word(&sensor.join("name")).as_deref() == Some("rpi_volt"))?;
    Some(word(&volt.join("in0_lcrit_alarm"))? != "0")
}

fn is_disk(name: &str) -> bool {
    ["vd", "sd", "nvme"].iter().any(|kind| name.starts_with(kind))
}

/// The seventh number counts sectors of 512 bytes that were written (Documentation/block/stat.rst).
fn written_bytes(stat: &str) -> Option<u64> {
    stat.split_ascii_whitespace().nth(6)?.parse::<u64>().ok()?.checked_mul(512)
}

fn memory_bytes(text: &str) -> Option<u64> {
    let kibibytes = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    kibibytes.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
}

fn names(folder: &Path) -> Vec<String> {
    let listed = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = listed.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// A file's text without what ends it: a line's end, or the zero of the device tree.
fn word(file: &Path) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    Some(text.trim_matches(|letter: char| letter == '\0' || letter.is_whitespace()).to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Files as a Pi 3 has them.
    fn board(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn a_pi_tells_how_it_is() {
        let root = board(&[
            ("proc/device-tree/model", "Raspberry Pi 3 Model B Rev 1.2\0"),
            ("proc/device-tree/serial-number", "00000000d1e2f3a4\0"),
            ("proc/meminfo", "MemTotal:         926120 kB\nMemFree: 1 kB\n"),
            ("sys/class/thermal/thermal_zone0/temp", "48312\n"),
            ("sys/class/hwmon/hwmon0/name", "cpu_thermal\n"),
            ("sys/class/hwmon/hwmon1/name", "rpi_volt\n"),
            ("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n"),
            ("sys/block/mmcblk0/stat", "   10 2 300 4 5 6 2048 8 0 9 10\n"),
            ("sys/block/mmcblk0/device/name", "SC16G\n"),
            ("sys/block/mmcblk0/device/life_time", "0x01 0x02\n"),
            ("sys/block/vda/stat", "1 1 1 1 1 1 1 1\n"),
        ]);
        let health = health_below(root.path());
        assert_eq!(health.model, "Raspberry Pi 3 Model B Rev 1.2");
        assert_eq!((health.serial.as_str(), health.memory_bytes), ("00000000d1e2f3a4", 926_120 * 1_024));
        assert_eq!((health.temperature_mc, health.under_voltage), (Some(48_312), Some(true)));
        assert_eq!((health.written_bytes, health.card_name.as_str()), (Some(1 << 20), "SC16G"));
        assert_eq!(health.card_life, "0x01 0x02");
    }

    #[test]
    fn a_machine_tells_how_full_its_root_is() {
        let health = health();
        let (whole, free) = (health.storage_bytes.unwrap(), health.storage_free_bytes.unwrap());
        assert!(whole > 0 && free <= whole, "{free} of {whole}");
    }

    #[test]
    fn what_a_board_does_not_have_is_absent() {
        let root =
            board(&[("sys/block/vda/stat", "1 1 1 1 1 1 4 1"), ("sys/block/loop0/stat", "9 9 9 9 9 9 9")]);
        let health = health_below(root.path());
        assert_eq!(health, Health { written_bytes: Some(2_048), ..Health::default() });
        assert_eq!(written_bytes("1 2 3"), None);
        assert_eq!(health_below(Path::new("/nowhere")), Health::default());
    }
}
