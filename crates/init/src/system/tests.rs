//! The way of an image from a head that breaks connections to a slot.
#![allow(clippy::unwrap_used)]

use super::download::Download;
use super::*;
use crate::head::Head;
use cluster::Digest;
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

fn from_head(head: Head, path: String, total: u64) -> Source {
    Source::Head(Download::new(head, path, total))
}

fn progress() -> Progress {
    Progress::new(&Timeline::new(), 1)
}

fn whole(bytes: u64) -> Wanted {
    Wanted { image: Digest([0; 32]), bytes, root: None }
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
    let download = from_head(head, "/system/x".to_owned(), total);
    let wanted = Wanted { image: Digest(Sha256::digest(&content).into()), bytes: total, root: None };
    assert!(fetch(&slot, &mut progress(), download, &wanted).unwrap().is_empty());
    check_slot(&slot, &mut progress(), &wanted).unwrap();
    let mut written = vec![0; content.len()];
    slot.read_exact_at(&mut written, 0).unwrap();
    assert!(written == content);
}

/// An image of whole blocks, with the root of its tree.
fn image_with_root(blocks: usize) -> (Vec<u8>, Wanted) {
    let content = image(blocks * BLOCK_BYTES);
    let hash = |block: &[u8]| -> [u8; 32] { Sha256::digest(block).into() };
    let leaves: Vec<[u8; 32]> = content.chunks(BLOCK_BYTES).map(hash).collect();
    let root = cluster::verity::HashTree::over(&leaves, hash).unwrap().root;
    let wanted = Wanted { image: Digest([9; 32]), bytes: content.len() as u64, root: Some(root) };
    (content, wanted)
}

#[test]
fn a_flipped_bit_anywhere_in_image_or_tree_is_found() {
    let (content, wanted) = image_with_root(700);
    let slot = tempfile::tempfile().unwrap();
    let head = crooked_head(content.clone(), 900_000);
    let download = from_head(head, "/system/x".to_owned(), wanted.bytes);
    let tree = fetch(&slot, &mut progress(), download, &wanted).unwrap();
    assert_eq!(tree.len() as u64, wanted.tree_bytes());
    write_at(&slot, wanted.bytes, &tree).unwrap();
    check_slot(&slot, &mut progress(), &wanted).unwrap();
    let whole = wanted.bytes + wanted.tree_bytes();
    for place in [0, 4_095, wanted.bytes / 2, wanted.bytes - 1, wanted.bytes, wanted.bytes + 4_096, whole - 1]
    {
        let mut byte = [0];
        slot.read_exact_at(&mut byte, place).unwrap();
        slot.write_all_at(&[byte[0] ^ 0x10], place).unwrap();
        assert!(check_slot(&slot, &mut progress(), &wanted).is_err(), "byte {place}");
        slot.write_all_at(&byte, place).unwrap();
    }
    check_slot(&slot, &mut progress(), &wanted).unwrap();
}

#[test]
fn another_image_than_the_plan_s_is_refused_by_its_root() {
    let (content, wanted) = image_with_root(3);
    let other = Wanted { root: Some(Digest([1; 32])), ..wanted };
    let slot = tempfile::tempfile().unwrap();
    let download = from_head(crooked_head(content, 100_000), "/system/x".to_owned(), other.bytes);
    let error = fetch(&slot, &mut progress(), download, &other).unwrap_err();
    assert!(error.to_string().contains("does not verify"), "{error:#}");
}

#[test]
fn an_image_out_of_the_initramfs_is_checked_too() {
    let (content, wanted) = image_with_root(300);
    let file = tempfile::NamedTempFile::new().unwrap();
    let take = |content: &[u8]| {
        std::fs::write(file.path(), content).unwrap();
        let slot = tempfile::tempfile().unwrap();
        let tree = fetch(&slot, &mut progress(), Source::Initramfs(file.reopen().unwrap()), &wanted)?;
        write_at(&slot, wanted.bytes, &tree).unwrap();
        check_slot(&slot, &mut progress(), &wanted)
    };
    take(&content).unwrap();
    let mut other = content.clone();
    other[777_777] ^= 1;
    assert!(take(&other).unwrap_err().to_string().contains("does not verify"));
    assert!(take(&content[1..]).unwrap_err().to_string().contains("in the initramfs"));
}

#[test]
fn a_head_that_never_sends_a_byte_is_given_up() {
    let head = crooked_head(image(10_000), 0);
    let slot = tempfile::tempfile().unwrap();
    let download = from_head(head, "/x".to_owned(), 10_000);
    let error = fetch(&slot, &mut progress(), download, &whole(10_000)).unwrap_err();
    assert!(format!("{error:#}").contains("giving up"), "{error:#}");
}

#[test]
fn a_larger_file_than_planned_is_refused() {
    let head = crooked_head(image(10_000), 10_000);
    let slot = tempfile::tempfile().unwrap();
    let download = from_head(head, "/x".to_owned(), 9_000);
    let error = fetch(&slot, &mut progress(), download, &whole(9_000)).unwrap_err();
    assert!(format!("{error:#}").contains("larger"), "{error:#}");
}

#[test]
fn a_card_that_cannot_be_written_ends_the_stream() {
    let fill = |block: &mut pipe::Block, _: u64| {
        block.filled(4_096);
        Ok(())
    };
    let empty = |_: &pipe::Block, _: u64| anyhow::bail!("the card is full");
    let error = pipe::run(u64::MAX, Check::of(&whole(1)), fill, empty).map(drop).unwrap_err();
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
