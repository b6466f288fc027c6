//! Any file name that a board's firmware asks for by TFTP.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netboot::firmware::{Asked, File, asked};

fuzz_target!(|path: &str| {
    let Some(Asked { file: File::Firmware(name), .. }) = asked(path) else { return };
    assert!(!name.contains('/') && !name.starts_with('.'));
});
