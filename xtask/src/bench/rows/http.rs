//! Row `http`: fifty nodes fetch the system image at once, from our head and from nginx, which is as well set up for it
//! as it can be.
//!
//! Both send the same file from the kernel's cache. The clients look at an answer's head and let the kernel throw the rest
//! away: they stand for machines that copy on processors of their own.

use anyhow::ensure;

use super::{OURS, Row, SECONDS, Subject, fetch, image, number, of_the_system, ours, prepare_ours, words};
use crate::bench::ground::{Ground, SERVER};

/// How many fetch at the same time.
const CLIENTS: u32 = 50;
/// Where both servers listen: our head's port if nobody sets another.
const PORT: u16 = 8080;

/// The row.
pub(super) fn row() -> Row {
    Row {
        name: "http",
        title: "http, 50 clients",
        unit: "GB/s",
        work: "1 GB",
        subjects: vec![
            Subject { name: OURS, prepare: prepare_ours, command: ours },
            Subject { name: "nginx", prepare: prepare_nginx, command: nginx },
        ],
        answers: |ground, subject| load(ground, subject, 1, 0).map(drop),
        load: |ground, subject| load(ground, subject, CLIENTS, SECONDS),
    }
}

/// A worker for each core, sendfile(2), no log. What nginx would write elsewhere stays in the folder.
fn prepare_nginx(ground: &Ground) -> anyhow::Result<()> {
    let folder = ground.folder().display();
    let image = image();
    ground.write(
        "nginx.conf",
        &format!(
            "daemon off;
             user root;
             pid {folder}/nginx.pid;
             worker_processes auto;
             events {{ worker_connections 1024; }}
             http {{
                 access_log off;
                 sendfile on;
                 tcp_nopush on;
                 client_body_temp_path {folder}/body;
                 proxy_temp_path {folder}/proxy;
                 fastcgi_temp_path {folder}/fastcgi;
                 uwsgi_temp_path {folder}/uwsgi;
                 scgi_temp_path {folder}/scgi;
                 server {{ listen {SERVER}:{PORT}; root \"{}\"; }}
             }}
",
            image.display()
        ),
    )
}

fn nginx(ground: &Ground) -> Vec<String> {
    words(&format!("nginx -e stderr -c {}/nginx.conf", ground.folder().display()))
}

/// The system image, again and again; with no seconds each client fetches it once. GB in a second, and GB.
fn load(ground: &Ground, subject: &Subject, clients: u32, seconds: u32) -> anyhow::Result<(f64, f64)> {
    let place = if subject.name == OURS {
        format!("system/{}", of_the_system("sha256")?)
    } else {
        of_the_system("file")?
    };
    let size = number(&of_the_system("bytes")?)?;
    let (bytes, took) =
        fetch(ground, &format!("--http {PORT} --path /{place} --clients {clients} --seconds {seconds}"))?;
    ensure!(bytes > 0.0 && bytes % size == 0.0, "{bytes} bytes are no whole number of images of {size}");
    Ok((bytes / took / 1e9, bytes / 1e9))
}
