//! EDK2, the firmware of most UEFI machines, boots a program by PXE and by HTTP: DHCP names it, the firmware fetches it
//! and starts it, it says a word, and lies in the memory as the head has it.

use crate::machine::{Kind, Machine};
use crate::room::{Furniture, Room, is_outside, noise};

/// What the program says.
pub(crate) const WORD: &str = "fledermaus was here";
/// Without PXE, HTTP is what the firmware tries first; without IPv6, nothing lies between.
const HTTP_ONLY: [&str; 4] = [
    "-fw_cfg",
    "name=opt/org.tianocore/IPv4PXESupport,string=n",
    "-fw_cfg",
    "name=opt/org.tianocore/IPv6PXESupport,string=n",
];
/// Where a section's content begins in the file and in memory: everything before fits.
const FILE_ALIGNMENT: u32 = 512;
const MEMORY_ALIGNMENT: u32 = 4096;

#[test]
fn uefi_on_arm64_boots_by_pxe() {
    if is_outside("uefi::uefi_on_arm64_boots_by_pxe") {
        return;
    }
    boots(Kind::UefiArm64, &[], "Start PXE over IPv4");
}

#[test]
fn uefi_on_arm64_boots_by_http() {
    if is_outside("uefi::uefi_on_arm64_boots_by_http") {
        return;
    }
    boots(Kind::UefiArm64, &HTTP_ONLY, "Start HTTP Boot over IPv4");
}

#[test]
fn uefi_on_x64_boots_by_pxe() {
    if is_outside("uefi::uefi_on_x64_boots_by_pxe") {
        return;
    }
    boots(Kind::UefiX64, &[], "Start PXE over IPv4");
}

#[test]
fn uefi_on_x64_boots_by_http() {
    if is_outside("uefi::uefi_on_x64_boots_by_http") {
        return;
    }
    boots(Kind::UefiX64, &HTTP_ONLY, "Start HTTP Boot over IPv4");
}

fn boots(kind: Kind, further: &[&str], way: &str) {
    let content = noise("content", 1_000_001);
    let (arm64, x64) = (arm64_program(&content), x64_program(&content));
    let room = Room::furnish(&Furniture {
        nodes: &[("uefi", 22)],
        boot: "uefi_arm64 = \"arm64.efi\"\nuefi_x64 = \"x64.efi\"",
        files: &[("arm64.efi", &arm64), ("x64.efi", &x64)],
        ..Furniture::default()
    });
    let mut machine = Machine::power_on(&room, kind, "b8:27:eb:00:00:16", further);
    let said = machine.wait_says(WORD);
    assert!(said.contains(way), "{said}");
    assert!(machine.remembers(&content), "the program is not what the head has");
}

/// Says its word by the table that UEFI gives it, and then does nothing for ever.
fn arm64_program(content: &[u8]) -> Vec<u8> {
    let code = [
        0xf940_2020, // ldr x0, [x1, #64]: the console
        0x1000_0081, // adr x1, word
        0xf940_0402, // ldr x2, [x0, #8]: OutputString
        0xd63f_0040, // blr x2
        0x1400_0000, // b .
    ];
    let code: Vec<u8> = code.iter().flat_map(|word: &u32| word.to_le_bytes()).chain(word()).collect();
    program(0xaa64, &code, content)
}

/// The same for x86-64.
pub(crate) fn x64_program(content: &[u8]) -> Vec<u8> {
    let code = [
        0x48, 0x8b, 0x4a, 0x40, // mov rcx, [rdx + 64]: the console
        0x48, 0x8d, 0x15, 9, 0, 0, 0, // lea rdx, [word]
        0x48, 0x83, 0xec, 0x28, // sub rsp, 40
        0xff, 0x51, 0x08, // call [rcx + 8]: OutputString
        0xeb, 0xfe, // jmp .
    ];
    let code: Vec<u8> = code.into_iter().chain(word()).collect();
    program(0x8664, &code, content)
}

/// The word as UEFI takes it.
fn word() -> Vec<u8> {
    format!("{WORD}\r\n\0").encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// A UEFI program of two sections: a PE32+ image (Microsoft's PE format, "COFF file header" and what follows).
fn program(machine: u16, code: &[u8], content: &[u8]) -> Vec<u8> {
    let mut sections = Vec::new();
    let mut body = Vec::new();
    let mut address = MEMORY_ALIGNMENT;
    for (name, bytes, characteristics) in
        [(b".text\0\0\0", code, 0x6000_0020_u32), (b".data\0\0\0", content, 0xc000_0040)]
    {
        let length = u32::try_from(bytes.len()).expect("a small section");
        let in_file = length.next_multiple_of(FILE_ALIGNMENT);
        let at = FILE_ALIGNMENT + body.len() as u32;
        sections.extend(name);
        sections.extend(words(&[length, address, in_file, at, 0, 0, 0, characteristics]));
        body.extend(bytes);
        body.resize(body.len() + (in_file - length) as usize, 0);
        address = (address + length).next_multiple_of(MEMORY_ALIGNMENT);
    }
    let mut file = b"MZ".to_vec();
    file.resize(60, 0);
    // Where the signature is; two sections, 240 bytes of optional header, an executable for large addresses.
    file.extend(words(&[64]));
    file.extend(b"PE\0\0");
    file.extend([machine.to_le_bytes(), [2, 0]].concat());
    file.extend(words(&[0, 0, 0, 0x0022_00f0]));
    file.extend([0x0b, 2, 1, 0]);
    let rest = body.len() as u32 - FILE_ALIGNMENT;
    file.extend(words(&[FILE_ALIGNMENT, rest, 0, MEMORY_ALIGNMENT, MEMORY_ALIGNMENT, 0, 0]));
    file.extend(words(&[MEMORY_ALIGNMENT, FILE_ALIGNMENT, 0, 0, 0, 0, address, FILE_ALIGNMENT, 0]));
    // A UEFI application.
    file.extend(words(&[10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16]));
    file.resize(file.len() + 16 * 8, 0);
    file.extend(sections);
    file.resize(FILE_ALIGNMENT as usize, 0);
    file.extend(body);
    file
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}
