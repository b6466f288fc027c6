//! Any first packet on the TFTP port; then any packet of its client.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netboot::tftp::{BLKSIZE_LIMIT, DATA_HEADER_BYTES, Pace, Request, Send, Transfer, WINDOWSIZE_LIMIT, to_netascii};

fuzz_target!(|packets: Vec<Vec<u8>>| {
    let Some((first, others)) = packets.split_first() else { return };
    assert!(to_netascii(first).len() <= 2 * first.len());
    let Ok(request) = Request::parse(first) else { return };
    let file = vec![7; 5_000];
    let pace = [Pace::Steady, Pace::Quick, Pace::OnRequest][others.len() % 3];
    let (mut transfer, _) = Transfer::new(&request, file.len() as u64, pace, 0);
    for (step, packet) in others.iter().enumerate() {
        let now_ms = step as u64 * 300;
        let _ = transfer.repeat(now_ms);
        let _ = transfer.poll(now_ms);
        if let Send::Blocks(blocks) = transfer.handle(packet, now_ms) {
            assert!(blocks.end - blocks.start <= u64::from(WINDOWSIZE_LIMIT));
            for block in blocks {
                let mut sent = Vec::new();
                transfer.write_block(block, &file, &mut sent);
                assert!((DATA_HEADER_BYTES..=DATA_HEADER_BYTES + usize::from(BLKSIZE_LIMIT)).contains(&sent.len()));
            }
        }
        let (done, total) = transfer.progress();
        assert!(done <= total);
    }
});
