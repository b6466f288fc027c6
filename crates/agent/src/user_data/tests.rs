//! Servers that cut, refuse and send too much; scripts that fail and hang.
#![allow(clippy::unwrap_used)]
use super::*;
use std::cell::Cell;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn the_first_line_names_the_interpreter() {
    let read = |text: &str| interpreter(text.as_bytes());
    assert_eq!(read("echo"), (SHELL.to_owned(), None));
    assert_eq!(read("#! /bin/bash \necho"), ("/bin/bash".to_owned(), None));
    assert_eq!(
        read("#!/usr/bin/env python3 -u\n"),
        ("/usr/bin/env".to_owned(), Some("python3 -u".to_owned()))
    );
}

#[test]
fn urls_are_taken_apart_and_bad_ones_are_not_repeated() {
    assert_eq!(split_url("http://h:1/a/b?c").unwrap(), ("h:1".to_owned(), "/a/b?c".to_owned()));
    assert_eq!(split_url("http://h").unwrap(), ("h".to_owned(), "/".to_owned()));
    for url in ["https://h/secret", "http:///secret", "secret"] {
        assert!(!format!("{:#}", split_url(url).unwrap_err()).contains("secret"));
    }
}

#[test]
fn a_cut_answer_is_fetched_again_and_never_run() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        for answer in ["Content-Length: 9\r\n\r\necho", "\r\necho half", "Content-Length: 9\r\n\r\necho well"]
        {
            let (mut connection, _) = listener.accept().unwrap();
            let reader = BufReader::new(connection.try_clone().unwrap());
            reader.lines().map(Result::unwrap).take_while(|line| !line.is_empty()).for_each(drop);
            connection.write_all(format!("HTTP/1.1 200 OK\r\n{answer}").as_bytes()).unwrap();
        }
    });
    let complaints = Cell::new(0);
    let text = fetch(&url, |_| complaints.set(complaints.get() + 1)).unwrap();
    assert_eq!((text.as_slice(), complaints.get()), (&b"echo well"[..], 1));
    server.join().unwrap();
}

#[test]
fn how_it_ended_is_told_with_its_last_words() {
    let folder = tempfile::tempdir().unwrap();
    let text = b"for i in 1 2 3 4 5 6 7; do echo line $i; done; echo oops >&2; exit 3";
    let script = save(text, folder.path()).unwrap();
    assert_eq!(fs::metadata(&script).unwrap().permissions().mode() & 0o777, 0o700);
    let ending = run(&script, text, &folder.path().join("logs/log"), &[], LIMIT).unwrap();
    assert_eq!(ending.step(), Step::Failed);
    let told = ending.to_string();
    assert!(told.starts_with("exit 3 after ") && told.ends_with("line 7\noops"), "{told}");
    assert!(!told.contains("line 3"), "{told}");
}

#[test]
fn at_its_limit_it_is_stopped_with_its_children() {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "sleep 600 & wait"]).process_group(0).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut output = child.stdout.take().unwrap();
    assert!(wait(child, Duration::from_millis(50)).unwrap().is_none());
    // The pipe ends only when the grandchild, too, is gone.
    assert_eq!(output.read_to_end(&mut Vec::new()).unwrap(), 0);

    let folder = tempfile::tempdir().unwrap();
    let text = b"echo waiting; sleep 600";
    let script = save(text, folder.path()).unwrap();
    let ending = run(&script, text, &folder.path().join("log"), &[], Duration::from_secs(1)).unwrap();
    assert_eq!(ending.step(), Step::Failed);
    let told = ending.to_string();
    assert!(
        told.starts_with("stopped at its limit of 1 s after 1.") && told.ends_with(": waiting"),
        "{told}"
    );
}

/// Serves the same bytes to everybody, and counts who came.
fn server(answer: Vec<u8>) -> (String, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap());
    let came = Arc::new(AtomicU32::new(0));
    let counter = came.clone();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            counter.fetch_add(1, Ordering::Relaxed);
            let reader = BufReader::new(connection.try_clone().unwrap());
            reader.lines().map(Result::unwrap).take_while(|line| !line.is_empty()).for_each(drop);
            // A client that has read enough closes.
            let _ = connection.write_all(&answer);
        }
    });
    (url, came)
}

fn answer(length: usize) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + length, b'#');
    answer
}

#[test]
fn ten_mebibytes_are_taken_and_one_byte_more_is_refused_without_asking_for_ten_minutes() {
    let (url, came) = server(answer(BYTES_LIMIT));
    assert_eq!(fetch(&url, |_| {}).unwrap().len(), BYTES_LIMIT);
    assert_eq!(came.load(Ordering::Relaxed), 1);
    let (url, came) = server(answer(BYTES_LIMIT + 1));
    let error = fetch(&url, |_| {}).unwrap_err();
    assert!(format!("{error:#}").contains("too large"), "{error:#}");
    assert_eq!(came.load(Ordering::Relaxed), REFUSALS_LIMIT);
}

#[test]
fn a_refusal_is_believed_and_a_server_without_a_length_is_not() {
    let (url, came) = server(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec());
    assert!(format!("{:#}", fetch(&url, |_| {}).unwrap_err()).contains("status 404"));
    assert_eq!(came.load(Ordering::Relaxed), REFUSALS_LIMIT);
    let (url, _) = server(b"HTTP/1.0 200 OK\r\n\r\necho nobody knows whether this is all".to_vec());
    assert!(format!("{:#}", fetch(&url, |_| {}).unwrap_err()).contains("neither a length nor chunks"));
}

#[test]
fn a_server_that_drips_is_left_in_time() {
    let mut dripping = Patient { stream: io::repeat(b'x'), end: Instant::now() };
    assert_eq!(dripping.read(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::TimedOut);
}

/// A foreign server: busybox's, which knows nothing of heads, tokens or plans.
#[test]
fn a_plain_foreign_server_does() {
    let folder = tempfile::tempdir().unwrap();
    let text: Vec<u8> = b"#!/bin/sh\necho foreign\n".iter().copied().chain(vec![b'#'; 200_000]).collect();
    fs::write(folder.path().join("node1.sh"), &text).unwrap();
    // A free port; busybox cannot take one by itself.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = Command::new("busybox");
    command.args(["httpd", "-f", "-p", &address.to_string(), "-h"]).arg(folder.path());
    let mut httpd = command.spawn().unwrap();
    let fetched = fetch(&format!("http://{address}/node1.sh"), |_| {});
    httpd.kill().unwrap();
    httpd.wait().unwrap();
    assert!(fetched.unwrap() == text);
    let script = save(&text, folder.path()).unwrap();
    let ending = run(&script, &text, &folder.path().join("log"), &[], LIMIT).unwrap();
    assert!(ending.to_string().ends_with(": foreign"), "{ending}");
}

#[test]
fn the_facts_are_in_its_environment_and_its_interpreter_is_the_first_line_s() {
    let folder = tempfile::tempdir().unwrap();
    let line = format!(
        "ip=10.0.0.2::10.0.0.1:255.255.255.0:n7::off:10.0.0.1 fledermaus.head=10.0.0.1:80 fledermaus.system={}:1 \
         fledermaus.token={} foreman_user_data_url=http://x/",
        cluster::Digest([0; 32]),
        "ab".repeat(16)
    );
    let facts = environment(&NodePlan::parse(&line).unwrap());
    assert!(!format!("{facts:?}").contains("abab"), "the boot token is not for scripts");
    let text =
        b"#!/usr/bin/env sh\necho $FLEDERMAUS_NODE $FLEDERMAUS_ADDRESS/$FLEDERMAUS_PREFIX $FLEDERMAUS_HEAD";
    let script = save(text, folder.path()).unwrap();
    let ending = run(&script, text, &folder.path().join("log"), &facts, LIMIT).unwrap();
    assert!(ending.to_string().ends_with(": n7 10.0.0.2/24 10.0.0.1:80"), "{ending}");
    let text = b"#!/bin/cat\nechoed by cat";
    let ending =
        run(&save(text, folder.path()).unwrap(), text, &folder.path().join("log"), &facts, LIMIT).unwrap();
    assert!(ending.to_string().ends_with("echoed by cat"), "{ending}");
}
