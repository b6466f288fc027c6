//! The options of a reply: what a client learns of its network, and what it boots.

use std::net::Ipv4Addr;

use cluster::plan::netmask;

use super::packet::{Request, option};
use super::profile::Profile;
use super::reply::Reply;
use super::settings::{Route, Settings, Subnet};

/// Option 43 for a Pi's firmware, without which it does not go on: PXE discovery control 3 (sub-option 6), a
/// menu prompt "PXE" (10) and a menu with the entry that the firmware looks for (9).
const PI_OPTIONS: &[u8] = b"\x06\x01\x03\x0a\x04\x00PXE\x09\x14\x00\x00\x11Raspberry Pi Boot\xff";
/// Option 43 for other PXE clients beside another server: discovery control 8, "fetch the file that this OFFER names"
/// (PXE specification 2.1, table 2-1).
const PXE_OPTIONS: &[u8] = b"\x06\x01\x08\xff";

/// What a client with an address is told. The first options are those that nothing works without: what does not fit
/// is left out.
pub(super) fn describe(
    reply: &mut Reply,
    request: &Request,
    settings: &Settings,
    subnet: &Subnet,
    name: &str,
) {
    reply.option(option::SUBNET_MASK, &netmask(subnet.prefix).octets());
    if let Some(router) = subnet.router {
        reply.option(option::ROUTER, &router.octets());
    }
    reply.option(option::DNS_SERVER, &settings.dns.octets());
    describe_boot(reply, request, settings);
    match request.profile {
        // Before the domain: the ROM does not boot without them.
        profile if profile.is_pi_firmware() => describe_pxe_class(reply, request, PI_OPTIONS),
        // A client of HTTP boot takes no OFFER that does not say so (UEFI specification, section 24.7.3).
        Profile::HttpX64 | Profile::HttpArm64 => describe_pxe_class(reply, request, &[]),
        _ => {}
    }
    reply.option(option::BROADCAST_ADDRESS, &subnet.broadcast().octets());
    reply.option(option::DOMAIN_NAME, settings.domain.as_bytes());
    // These are for systems; boot loaders have little room and do not ask.
    let mut offer = |number, value: &[u8]| {
        if request.wants(number) {
            reply.option(number, value);
        }
    };
    offer(option::HOST_NAME, name.as_bytes());
    offer(option::RENEWAL_TIME, &(settings.lease_secs / 2).to_be_bytes());
    // 7/8 of the lease (RFC 2131 section 4.4.5).
    offer(option::REBINDING_TIME, &(settings.lease_secs - settings.lease_secs / 8).to_be_bytes());
    offer(option::CLASSLESS_ROUTES, &classless_routes(&settings.routes, subnet));
    let servers: Vec<u8> = settings.ntp.iter().flat_map(Ipv4Addr::octets).collect();
    offer(option::NTP_SERVERS, &servers);
    offer(option::DOMAIN_SEARCH, &search_list(settings));
}

/// What a client is told that has its address from another server.
pub(super) fn describe_pxe(reply: &mut Reply, request: &Request, settings: &Settings) {
    let vendor = if request.profile.is_pi_firmware() { PI_OPTIONS } else { PXE_OPTIONS };
    describe_pxe_class(reply, request, vendor);
    describe_boot(reply, request, settings);
}

/// Where to boot from, and what. Option 67 is for those that ask for it; the Pi's EEPROM ignores it, U-Boot has `file`.
fn describe_boot(reply: &mut Reply, request: &Request, settings: &Settings) {
    let file = settings.file(request.profile);
    reply.boot(settings.server, &file);
    if request.profile.speaks_pxe() && !request.profile.is_pi_firmware() {
        if request.wants(option::TFTP_SERVER_NAME) {
            reply.option(option::TFTP_SERVER_NAME, settings.server.to_string().as_bytes());
        }
        if request.wants(option::BOOT_FILE) || file.len() > 127 {
            reply.option(option::BOOT_FILE, file.as_bytes());
        }
    }
}

fn describe_pxe_class(reply: &mut Reply, request: &Request, vendor: &[u8]) {
    let is_http = matches!(request.profile, Profile::HttpX64 | Profile::HttpArm64);
    reply.option(option::VENDOR_CLASS, if is_http { b"HTTPClient" } else { b"PXEClient" });
    if !is_http {
        reply.option(option::VENDOR_OPTIONS, vendor);
    }
    reply.option(option::MACHINE_IDENTIFIER, &request.machine_identifier);
}

/// Option 121 (RFC 3442): for each route the prefix's length, as many bytes of the network as count, and the router. A
/// client that has it ignores option 3, so the default route is in it too. A router that is not on the client's network
/// cannot be reached from there, and some clients then set no route at all.
fn classless_routes(routes: &[Route], subnet: &Subnet) -> Vec<u8> {
    let near = routes.iter().copied().filter(|route| subnet.contains(route.router));
    let mut routes: Vec<Route> = near.collect();
    if routes.is_empty() {
        return Vec::new();
    }
    routes.extend(subnet.router.map(|router| Route { network: Ipv4Addr::UNSPECIFIED, prefix: 0, router }));
    let mut bytes = Vec::new();
    for route in routes {
        bytes.push(route.prefix);
        bytes.extend(&route.network.octets()[..usize::from(route.prefix.div_ceil(8))]);
        bytes.extend(route.router.octets());
    }
    bytes
}

/// Option 119 (RFC 3397): the domains as DNS writes names. Without its compression, which not all clients read.
fn search_list(settings: &Settings) -> Vec<u8> {
    let mut bytes = Vec::new();
    let domains = std::iter::once(&settings.domain).chain(&settings.search);
    for label in domains.filter(|domain| !domain.is_empty()).flat_map(|domain| domain.split('.').chain([""]))
    {
        // The configuration takes no label over 63 bytes.
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes
}
