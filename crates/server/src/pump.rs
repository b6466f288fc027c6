//! The pumps: sockets around `netboot`. Each is a short loop: receive, parse, ask, send, record.
//!
//! They decide nothing. What a packet means is in `netboot`, who is a node is in the head. Every socket is
//! bound to the cluster's interface, so that nothing is served to any other network.

mod batch;
pub(crate) mod dhcp;
pub(crate) mod dns;
pub(crate) mod prober;
pub(crate) mod rivals;
pub(crate) mod tftp;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use anyhow::{Context, bail};
use netboot::dhcp::Subnet;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

/// The largest packet that is read, in bytes: an Ethernet frame's worth; what is longer is cut.
const PACKET_BYTES: usize = 1_500;
/// How long a pump rests when its socket reports an error, such as an interface that is down.
const ERROR_PAUSE: Duration = Duration::from_millis(500);
/// The most connections that wait to be accepted.
const BACKLOG: i32 = 64;

/// Whose packets are answered: a source address can be forged, and what is sent there reaches somebody.
#[derive(Clone, Debug)]
struct Networks(Arc<[Subnet]>);

impl Networks {
    fn of(subnets: &[Subnet]) -> Self {
        Self(subnets.into())
    }

    /// Whether a client is on one of the cluster's networks, or is this machine. The kernel takes no packet from a wire
    /// that says it comes from 127.0.0.0/8 (RFC 1122 section 3.2.1.3).
    fn serve(&self, client: Ipv4Addr) -> bool {
        client.is_loopback() || self.0.iter().any(|subnet| subnet.contains(client))
    }
}

/// A UDP socket that hears only the interface, which no runtime has yet. Without SO_REUSEADDR, which would let two servers
/// share the port in silence.
fn open_udp(interface: &str, address: SocketAddrV4, service: &Service) -> anyhow::Result<Socket> {
    open(interface, address, Type::DGRAM, service)
}

/// Gives a socket room for packets that wait, in bytes. Only root may have more than `net.core.rmem_max` (socket(7)).
fn enlarge_buffer(socket: &impl AsFd, bytes: usize) -> anyhow::Result<()> {
    setsockopt(socket, sockopt::RcvBufForce, &bytes)
        .or_else(|_| setsockopt(socket, sockopt::RcvBuf, &bytes))
        .context("setting up a socket")
}

/// A TCP socket that hears only the interface, and listens. No runtime has it yet.
fn open_tcp(interface: &str, address: SocketAddrV4, service: &Service) -> anyhow::Result<Socket> {
    let socket = open(interface, address, Type::STREAM, service)?;
    socket.listen(BACKLOG).context("listening")?;
    Ok(socket)
}

/// What an error about a socket has to name.
struct Service {
    /// `DHCP`, `TFTP`, `DNS`.
    name: &'static str,
    /// What to do if another program has the port.
    remedy: &'static str,
}

fn open(interface: &str, address: SocketAddrV4, kind: Type, service: &Service) -> anyhow::Result<Socket> {
    let protocol = if kind == Type::STREAM { Protocol::TCP } else { Protocol::UDP };
    let socket = Socket::new(Domain::IPV4, kind, Some(protocol)).context("opening a socket")?;
    socket.set_nonblocking(true).context("setting up a socket")?;
    if kind == Type::STREAM {
        // Connections of the last run that are not quite over do not hold the port of a TCP server.
        socket.set_reuse_address(true).context("setting up a socket")?;
    } else {
        socket.set_broadcast(true).context("setting up a socket")?;
    }
    let name = service.name;
    if let Err(error) = socket.bind_device(Some(interface.as_bytes())) {
        return match error.kind() {
            io::ErrorKind::PermissionDenied => {
                bail!("serving {name} needs root, or the capability CAP_NET_RAW")
            }
            _ => Err(error).with_context(|| format!("binding {name} to the interface `{interface}`")),
        };
    }
    match socket.bind(&address.into()) {
        Ok(()) => Ok(socket),
        Err(error) => Err(explain(error, interface, address, protocol, service)),
    }
}

/// Turns a failed bind into a sentence that says what to do.
fn explain(
    error: io::Error,
    interface: &str,
    address: SocketAddrV4,
    protocol: Protocol,
    service: &Service,
) -> anyhow::Error {
    let Service { name, remedy } = service;
    let port = address.port();
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let holder = holder(port, protocol).unwrap_or_else(|| "another program".to_owned());
            anyhow::anyhow!("port {port} is in use by {holder}: {remedy}")
        }
        io::ErrorKind::PermissionDenied => {
            anyhow::anyhow!(
                "serving {name} on port {port} needs root, or the capability CAP_NET_BIND_SERVICE"
            )
        }
        io::ErrorKind::AddrNotAvailable => anyhow::anyhow!(
            "the address {} is not on this machine: give it to `{interface}`, or correct cluster.toml",
            address.ip()
        ),
        _ => anyhow::Error::new(error).context(format!("binding {name} to {address} on `{interface}`")),
    }
}

/// The program that has the port, as far as /proc lets us see: `dnsmasq (process 812)`.
fn holder(port: u16, protocol: Protocol) -> Option<String> {
    let table = if protocol == Protocol::TCP { "/proc/net/tcp" } else { "/proc/net/udp" };
    let table =
        [table.to_owned(), format!("{table}6")].map(|path| fs::read_to_string(path).unwrap_or_default());
    let inodes = table.iter().flat_map(|table| table.lines()).filter_map(|line| inode_of(line, port));
    let links: Vec<String> = inodes.map(|inode| format!("socket:[{inode}]")).collect();
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(number) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(files) = fs::read_dir(process.path().join("fd")) else { continue };
        let mut files = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
        if files.any(|file| links.iter().any(|link| file.as_os_str() == link.as_str())) {
            let command = fs::read_to_string(process.path().join("comm")).ok()?;
            return Some(format!("{} (process {number})", command.trim()));
        }
    }
    None
}

/// The inode of a socket of that local port, from a line of `/proc/net/udp` or `/proc/net/tcp`.
fn inode_of(line: &str, port: u16) -> Option<String> {
    let mut fields = line.split_ascii_whitespace();
    let (_, local_port) = fields.nth(1)?.rsplit_once(':')?;
    (u16::from_str_radix(local_port, 16).ok()? == port).then(|| fields.nth(7).map(str::to_owned))?
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn the_kernel_s_table_of_sockets_is_understood() {
        let line = "  431: 00000000:0043 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 18446 2 0000000000000000 0";
        assert_eq!(inode_of(line, 67), Some("18446".to_owned()));
        assert_eq!(inode_of(line, 68), None);
        assert_eq!(inode_of("  sl  local_address rem_address   st", 67), None);
    }

    #[test]
    fn a_busy_port_is_explained_with_the_program_that_has_it() {
        let service = Service { name: "TFTP", remedy: "stop the other TFTP server" };
        let first = open_udp("lo", SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), &service).expect("a free port");
        let port = first.local_addr().expect("bound").as_socket().expect("an address").port();
        let second = open_udp("lo", SocketAddrV4::new(Ipv4Addr::LOCALHOST, port), &service);
        let sentence = format!("{:#}", second.expect_err("the port is taken"));
        let own = format!("(process {}): stop the other TFTP server", std::process::id());
        assert!(sentence.starts_with(&format!("port {port} is in use by ")), "{sentence}");
        assert!(sentence.ends_with(&own), "{sentence}");
    }

    #[test]
    fn a_wrong_interface_and_a_wrong_address_are_named() {
        let service = Service { name: "DNS", remedy: "" };
        let address = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 0);
        let nowhere = open_udp("lo", address, &service).expect_err("not our address");
        assert!(format!("{nowhere:#}").contains("192.0.2.1 is not on this machine"), "{nowhere:#}");
        let nothing = open_udp("nosuchif", address, &service).expect_err("no such interface");
        assert!(format!("{nothing:#}").contains("`nosuchif`"), "{nothing:#}");
    }
}
