//! U-Boot's legacy image format around a script: what `mkimage -T script` makes. Writes only.
//!
//! The header is `struct legacy_img_hdr` of U-Boot's include/image.h (64 bytes, big-endian); a script's data begins with
//! a list of sizes that a zero ends (`IH_TYPE_SCRIPT` there).

const MAGIC: u32 = 0x2705_1956;
const OS_LINUX: u8 = 5;
const ARCH_ARM64: u8 = 22;
const TYPE_SCRIPT: u8 = 6;
const COMPRESSION_NONE: u8 = 0;
const HEADER: usize = 64;

/// A boot script that U-Boot's `source` accepts. Made without a time stamp: two are the same bytes.
pub fn image(commands: &str) -> Vec<u8> {
    let mut data = Vec::from((commands.len() as u32).to_be_bytes());
    data.extend([0; 4]); // ends the list of the parts' sizes
    data.extend(commands.as_bytes());
    let mut image = header(&data).to_vec();
    image.extend(data);
    image
}

fn header(data: &[u8]) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(&MAGIC.to_be_bytes());
    header[12..16].copy_from_slice(&(data.len() as u32).to_be_bytes());
    header[24..28].copy_from_slice(&crc32(data).to_be_bytes());
    header[28..32].copy_from_slice(&[OS_LINUX, ARCH_ARM64, TYPE_SCRIPT, COMPRESSION_NONE]);
    header[32..42].copy_from_slice(b"fledermaus");
    // The header's own sum is taken while its field is zero.
    let sum = crc32(&header);
    header[4..8].copy_from_slice(&sum.to_be_bytes());
    header
}

/// CRC-32 as in IEEE 802.3. Bit by bit: a script has a few hundred bytes.
fn crc32(data: &[u8]) -> u32 {
    let mut sum = !0_u32;
    for byte in data {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 };
        }
    }
    !sum
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::Command;

    use super::*;

    #[test]
    fn the_sum_is_the_one_everybody_uses() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn mkimage_accepts_the_script() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(&image("dhcp\nreset\n")).expect("written");
        let listed = Command::new("mkimage").arg("-l").arg(file.path()).output().expect("mkimage runs");
        let text = String::from_utf8_lossy(&listed.stdout);
        assert!(text.contains("AArch64 Linux Script"), "{text}");
        assert!(text.contains("11 Bytes"), "{text}");
    }
}
