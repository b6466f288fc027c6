//! Any first packet on the TFTP port; then any packet of its client.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netboot::tftp::{Request, Transfer, WINDOWSIZE_LIMIT};

fuzz_target!(|packets: Vec<Vec<u8>>| {
    let Some((first, others)) = packets.split_first() else { return };
    let Ok(request) = Request::parse(first) else { return };
    let (mut transfer, _) = Transfer::new(&request, vec![7; 5_000].into(), 0);
    for (now_ms, packet) in others.iter().enumerate() {
        let sent = transfer.handle(packet, now_ms as u64);
        assert!(sent.len() <= usize::from(WINDOWSIZE_LIMIT));
        let (done, total) = transfer.progress();
        assert!(done <= total);
    }
});
