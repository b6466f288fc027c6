//! Foreign clients, each from its own Debian package, against the head: real addresses, and real files that are
//! compared byte by byte. What they send is in docs/clients.md; U-Boot's whole boot is in the lab's tests.

#[path = "clients/attack.rs"]
mod attack;
#[path = "clients/bucket.rs"]
mod bucket;
#[path = "clients/dhcp.rs"]
mod dhcp;
#[path = "clients/interface.rs"]
mod interface;
#[path = "clients/ipxe.rs"]
mod ipxe;
#[path = "clients/loss.rs"]
mod loss;
#[path = "clients/machine.rs"]
mod machine;
#[path = "clients/operator.rs"]
mod operator;
#[path = "clients/packets.rs"]
mod packets;
#[path = "clients/proxy.rs"]
mod proxy;
#[path = "clients/relay.rs"]
mod relay;
mod room;
/// The S3 server that the store's own tests have.
#[path = "../../depot/src/tests/server.rs"]
mod s3;
#[path = "clients/store.rs"]
mod store;
#[path = "clients/tftp.rs"]
mod tftp;
#[path = "clients/uefi.rs"]
mod uefi;
