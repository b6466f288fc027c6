//! Any file name that is asked for by TFTP.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netboot::pxelinux::wanted;

fuzz_target!(|path: &str| {
    let _ = wanted(path);
});
