//! The rows: which servers, how each is started, and the load that all of them get.

mod http;

use std::path::PathBuf;

use anyhow::{Context, ensure};
use sha2::{Digest, Sha256};

use super::ground::{CLIENTS, Ground, INTERFACE, LOAD, SERVER};

/// Names that are asked for by DNS.
const NAMES: u8 = 200;
/// How long a load runs, in seconds.
const SECONDS: u32 = 5;
/// What may get lost of the exchanges, of 100.
const LOST_PERCENT: f64 = 2.0;
/// The file of the TFTP rows: a kernel's size.
const FILE_BYTES: usize = 16 << 20;

/// One row of the table.
pub(super) struct Row {
    /// What the command line calls it.
    pub(super) name: &'static str,
    /// What the table calls it.
    pub(super) title: &'static str,
    pub(super) unit: &'static str,
    /// The work that CPU seconds are told for.
    pub(super) work: &'static str,
    /// Ours first.
    pub(super) subjects: Vec<Subject>,
    pub(super) answers: fn(&Ground, &Subject) -> anyhow::Result<()>,
    /// The rate, and how many times the row's work was done.
    pub(super) load: fn(&Ground, &Subject) -> anyhow::Result<(f64, f64)>,
}

/// A server.
pub(super) struct Subject {
    pub(super) name: &'static str,
    pub(super) prepare: fn(&Ground) -> anyhow::Result<()>,
    pub(super) command: fn(&Ground) -> Vec<String>,
}

/// All rows, in the order of the table.
pub(super) fn all() -> Vec<Row> {
    let tftp = |name, title, load| Row {
        name,
        title,
        unit: "MB/s",
        work: "1 GB",
        subjects: vec![
            Subject { name: OURS, prepare: prepare_ours, command: ours },
            Subject { name: "dnsmasq", prepare: prepare_file, command: dnsmasq_tftp },
            Subject { name: "atftpd", prepare: prepare_file, command: atftpd },
        ],
        answers: |ground, subject| {
            let (rate, _) = tftp_load(ground, subject, 1, 1, 0)?;
            ensure!(rate > 0.0, "the file is empty");
            Ok(())
        },
        load,
    };
    vec![
        Row {
            name: "dhcp-4way",
            title: "dhcp-4way",
            unit: "exchanges/s",
            work: "10,000 exchanges",
            subjects: vec![
                Subject { name: OURS, prepare: prepare_ours, command: ours },
                Subject { name: "Kea", prepare: prepare_kea, command: kea },
            ],
            answers: |ground, _| {
                let told = dhcp_load(ground, &["-n", "3", "-r", "3"])?;
                ensure!(told.rate > 0.0, "no exchange was whole");
                Ok(())
            },
            load: dhcp_highest,
        },
        tftp("tftp-1", "tftp-1, window 1", |ground, subject| tftp_load(ground, subject, 1, 1, SECONDS)),
        tftp("tftp-1", "tftp-1, window 16", |ground, subject| tftp_load(ground, subject, 1, 16, SECONDS)),
        tftp("tftp-50", "tftp-50, window 1", |ground, subject| tftp_load(ground, subject, 50, 1, SECONDS)),
        tftp("tftp-50", "tftp-50, window 16", |ground, subject| tftp_load(ground, subject, 50, 16, SECONDS)),
        Row {
            name: "dns",
            title: "dns",
            unit: "queries/s",
            work: "1,000,000 queries",
            subjects: vec![
                Subject { name: OURS, prepare: prepare_ours, command: ours },
                Subject { name: "dnsmasq", prepare: prepare_names, command: dnsmasq_dns },
            ],
            answers: |ground, _| {
                let dig = format!("dig @{SERVER} +short +tries=1 +time=1 node7.cluster.internal");
                let said = ground.load(&words(&dig))?;
                ensure!(said.starts_with("10.99."), "{said}");
                Ok(())
            },
            load: dns_load,
        },
        http::row(),
    ]
}

const OURS: &str = "fledermaus";

fn ours(ground: &Ground) -> Vec<String> {
    let folder = ground.folder().display().to_string();
    words(&format!(
        "{} serve --interface {INTERFACE} --config {folder}/cluster.toml --state-dir {folder}/state --image-dir {}",
        root().join("target/release/fledermaus").display(),
        image().display()
    ))
}

fn prepare_ours(ground: &Ground) -> anyhow::Result<()> {
    let mut text = "[network]\nenrolment = \"any\"\n[user_data]\ndir = \".\"\n".to_owned();
    for number in 1..=NAMES {
        text += &format!(
            "[[node]]\nname = \"node{number}\"\nmac = \"b8:27:eb:00:01:{number:02x}\"\naddress = \"10.99.1.{number}\"\n"
        );
    }
    ground.write("cluster.toml", &text)?;
    ground.write("default.sh", "#!/bin/sh\n")
}

fn prepare_kea(ground: &Ground) -> anyhow::Result<()> {
    let leases = ground.folder().join("leases").display().to_string();
    ground.write(
        "kea.json",
        &format!(
            r#"{{"Dhcp4":{{"interfaces-config":{{"interfaces":["{INTERFACE}"]}},
            "lease-database":{{"type":"memfile","persist":true,"name":"{leases}"}},"valid-lifetime":86400,
            "multi-threading":{{"enable-multi-threading":true}},
            "subnet4":[{{"id":1,"subnet":"10.99.0.0/16","pools":[{{"pool":"10.99.128.0-10.99.255.254"}}]}}],
            "loggers":[{{"name":"kea-dhcp4","severity":"ERROR","output_options":[{{"output":"stderr"}}]}}]}}}}"#
        ),
    )
}

fn kea(ground: &Ground) -> Vec<String> {
    // Kea keeps its lock and its process number where the package says, unless told otherwise.
    let folder = ground.folder().display().to_string();
    words(&format!("env KEA_LOCKFILE_DIR={folder} KEA_PIDFILE_DIR={folder} kea-dhcp4 -c {folder}/kea.json"))
}

/// What perfdhcp told.
struct Exchanges {
    /// Whole ones in a second.
    rate: f64,
    /// The larger part that got lost of one of its two halves, of 100.
    lost_percent: f64,
}

/// perfdhcp plays a relay with many clients behind it.
fn dhcp_load(ground: &Ground, arguments: &[&str]) -> anyhow::Result<Exchanges> {
    let mut command = words(&format!("perfdhcp -4 -W 1 -l {LOAD} -R 4000"));
    command.extend(arguments.iter().map(|&argument| argument.to_owned()));
    command.push(SERVER.to_owned());
    let said = ground.load(&command)?;
    let values =
        |title: &'static str| said.lines().filter_map(move |line| line.strip_prefix(title)).map(number);
    let rate = values("Rate:").next().context("perfdhcp told no rate")??;
    let lost = values("drops ratio:").collect::<anyhow::Result<Vec<f64>>>()?;
    Ok(Exchanges { rate, lost_percent: lost.into_iter().fold(0.0, f64::max) })
}

/// The highest rate at which no more than [`LOST_PERCENT`] get lost of clients that the server knows: each is new once. perfdhcp that is not held back sends far more than
/// any server answers, and loses the answers itself.
fn dhcp_highest(ground: &Ground, _: &Subject) -> anyhow::Result<(f64, f64)> {
    dhcp_load(ground, &["-p", "6", "-r", "1000"])?;
    let (mut low, mut high) = (1_000, 64_000);
    let (mut best, mut exchanges) = (0.0, 0.0);
    while high - low > low / 16 {
        let rate = if high == 64_000 { low * 2 } else { (low + high) / 2 };
        let told = dhcp_load(ground, &["-p", "2", "-r", &rate.to_string()])?;
        exchanges += told.rate * 2.0;
        if told.lost_percent <= LOST_PERCENT {
            low = rate;
            best = f64::max(best, told.rate);
        } else {
            high = rate;
        }
    }
    Ok((best, exchanges / 10_000.0))
}

fn prepare_file(ground: &Ground) -> anyhow::Result<()> {
    std::fs::write(ground.folder().join("files/kernel"), vec![0x5a; FILE_BYTES]).context("writing a file")
}

fn atftpd(ground: &Ground) -> Vec<String> {
    let files = ground.folder().join("files").display().to_string();
    words(&format!(
        "atftpd --daemon --no-fork --user root.root --maxthread 200 --bind-address {SERVER} {files}"
    ))
}

fn dnsmasq_tftp(ground: &Ground) -> Vec<String> {
    let files = ground.folder().join("files").display().to_string();
    words(&format!(
        "{DNSMASQ} --port=0 --enable-tftp --tftp-max=200 --tftp-root={files} --listen-address={SERVER}"
    ))
}

const DNSMASQ: &str = "dnsmasq --keep-in-foreground --conf-file=/dev/null --user=root --group=root --pid-file= \
                       --bind-interfaces --no-resolv --no-hosts";

/// Kernel-sized files, again and again, by the storm's client. With no seconds: one file.
fn tftp_load(
    ground: &Ground,
    subject: &Subject,
    clients: u32,
    window: u32,
    seconds: u32,
) -> anyhow::Result<(f64, f64)> {
    let path = if subject.name == OURS { kernel_path()? } else { "kernel".to_owned() };
    let (bytes, took) =
        fetch(ground, &format!("--path {path} --clients {clients} --window {window} --seconds {seconds}"))?;
    Ok((bytes / took / 1e6, bytes / 1e9))
}

/// Files by the storm's client: bytes, and in how many seconds.
fn fetch(ground: &Ground, arguments: &str) -> anyhow::Result<(f64, f64)> {
    let program = root().join("target/release/fledermaus").display().to_string();
    let said = ground
        .load(&words(&format!("{program} lab load --first {CLIENTS} --server {SERVER} {arguments}")))?;
    let mut fields = said.split_whitespace();
    let bytes = number(fields.next().unwrap_or_default()).with_context(|| said.clone())?;
    let took = number(fields.next().unwrap_or_default())?;
    Ok((bytes, took))
}

fn prepare_names(_: &Ground) -> anyhow::Result<()> {
    Ok(())
}

fn dnsmasq_dns(_: &Ground) -> Vec<String> {
    let mut command = words(&format!("{DNSMASQ} --cache-size=10000 --listen-address={SERVER}"));
    command.extend(
        (1..=NAMES).map(|number| format!("--host-record=node{number}.cluster.internal,10.99.1.{number}")),
    );
    command
}

fn dns_load(ground: &Ground, _: &Subject) -> anyhow::Result<(f64, f64)> {
    let questions: String = (1..=NAMES).map(|number| format!("node{number}.cluster.internal A\n")).collect();
    ground.write("questions", &questions)?;
    let file = ground.folder().join("questions").display().to_string();
    let said = ground.load(&words(&format!("dnsperf -s {SERVER} -d {file} -l {SECONDS} -q 200 -c 4")))?;
    let value = |title: &str| {
        let line = said.lines().find_map(|line| line.trim_start().strip_prefix(title));
        number(line.with_context(|| format!("dnsperf told no `{title}`: {said}"))?.trim_start())
    };
    let (sent, lost) = (value("Queries sent:")?, value("Queries lost:")?);
    ensure!(lost * 1_000.0 <= sent, "{lost} of {sent} queries are lost: that is no speed");
    Ok((value("Queries per second:")?, sent / 1e6))
}

/// The number that a text begins with.
fn number(text: &str) -> anyhow::Result<f64> {
    let word = text.split_whitespace().next().unwrap_or_default();
    word.parse().with_context(|| format!("`{word}` is no number"))
}

fn words(command: &str) -> Vec<String> {
    command.split_whitespace().map(str::to_owned).collect()
}

fn root() -> PathBuf {
    crate::root().unwrap_or_default()
}

/// The image that `make image` made.
pub(super) fn image() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    std::env::var_os("FLEDERMAUS_IMAGE")
        .map_or_else(|| cache.unwrap_or_else(home).join("fledermaus/image"), PathBuf::from)
}

fn manifest() -> anyhow::Result<String> {
    let file = image().join("manifest.json");
    std::fs::read_to_string(&file)
        .with_context(|| format!("reading {} (`make image` makes it)", file.display()))
}

/// Where our head serves that image's kernel: an image is named by the SHA-256 of its manifest.
fn kernel_path() -> anyhow::Result<String> {
    let id: String = Sha256::digest(manifest()?).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("image/{id}/kernel"))
}

/// What the manifest says of the system image.
fn of_the_system(field: &str) -> anyhow::Result<String> {
    let text = manifest()?;
    let system = text.split_once("\"system\"").context("the manifest names no system image")?.1;
    let value = system.split_once(&format!("\"{field}\":"));
    let value = value.with_context(|| format!("the manifest does not say the system image's {field}"))?.1;
    let end = value.find([',', '}']).unwrap_or(value.len());
    Ok(value[..end].trim().trim_matches('"').to_owned())
}
