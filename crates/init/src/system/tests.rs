//! The way of an image from a head that breaks connections to a slot.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::head::Head;
use cluster::plan::NodePlan;
use sha2::{Digest as _, Sha256};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;

/// Serves ranges of `file`, but at most `piece` bytes per connection.
fn crooked_head(file: Vec<u8>, piece: usize) -> Head {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let lines = BufReader::new(connection.try_clone().unwrap()).lines();
            let request: Vec<String> =
                lines.map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
            let range = request.iter().find_map(|line| line.strip_prefix("Range: bytes=")).unwrap();
            let from: usize = range.trim_end_matches('-').parse().unwrap();
            let (left, total) = (file.len() - from, file.len());
            let head = format!(
                "HTTP/1.1 206 Partial Content\r\nContent-Length: {left}\r\nContent-Range: bytes {from}-{}/{total}\r\n\r\n",
                total - 1
            );
            connection.write_all(head.as_bytes()).unwrap();
            connection.write_all(&file[from..][..left.min(piece)]).unwrap();
        }
    });
    Head::new(&plan(&address.to_string()))
}

fn plan(head: &str) -> NodePlan {
    let digest = Digest([0; 32]);
    let token = "ab".repeat(16);
    let line = format!(
        "ip=10.0.0.2::10.0.0.1:255.255.255.0:n::off:10.0.0.1 fledermaus.head={head} fledermaus.system={digest}:1 \
         fledermaus.token={token} foreman_user_data_url=http://x/"
    );
    NodePlan::parse(&line).unwrap()
}

fn progress() -> Progress {
    Progress::new(&Timeline::new(), 1)
}

fn image(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (index * 7 + index / 251) as u8).collect()
}

#[test]
fn an_image_arrives_whole_over_broken_connections() {
    let content = image(3_000_001);
    let head = crooked_head(content.clone(), 700_000);
    let slot = tempfile::tempfile().unwrap();
    let total = content.len() as u64;
    let download = Download::new(head, "/system/x".to_owned(), total);
    let digest = fetch(&slot, &mut progress(), download, total).unwrap();
    assert_eq!(digest.0[..], Sha256::digest(&content)[..]);
    assert_eq!(hash_slot(&slot, &mut progress(), total).unwrap(), digest);
    let mut written = vec![0; content.len()];
    slot.read_exact_at(&mut written, 0).unwrap();
    assert!(written == content);
}

#[test]
fn a_head_that_never_sends_a_byte_is_given_up() {
    let head = crooked_head(image(10_000), 0);
    let slot = tempfile::tempfile().unwrap();
    let error =
        fetch(&slot, &mut progress(), Download::new(head, "/x".to_owned(), 10_000), 10_000).unwrap_err();
    assert!(format!("{error:#}").contains("giving up"), "{error:#}");
}

#[test]
fn a_larger_file_than_planned_is_refused() {
    let head = crooked_head(image(10_000), 10_000);
    let slot = tempfile::tempfile().unwrap();
    let error =
        fetch(&slot, &mut progress(), Download::new(head, "/x".to_owned(), 9_000), 9_000).unwrap_err();
    assert!(format!("{error:#}").contains("larger"), "{error:#}");
}

#[test]
fn a_card_that_cannot_be_written_ends_the_stream() {
    let fill = |block: &mut pipe::Block, _: u64| {
        block.filled(4_096);
        Ok(())
    };
    let error = pipe::run(u64::MAX, fill, |_, _| anyhow::bail!("the card is full")).unwrap_err();
    assert_eq!(error.to_string(), "the card is full");
}

#[test]
fn a_trailer_is_written_and_read_in_its_place() {
    let slot = tempfile::tempfile().unwrap();
    slot.set_len(1 << 20).unwrap();
    let at = (1 << 20) - TRAILER_BYTES;
    assert_eq!(read_trailer(&slot, at).unwrap(), None);
    let trailer = Trailer { image: Digest([3; 32]), bytes: 12 };
    write_block(&slot, at, &trailer.block()).unwrap();
    assert_eq!(read_trailer(&slot, at).unwrap(), Some(trailer));
    assert_eq!(slot.metadata().unwrap().len(), 1 << 20);
}
