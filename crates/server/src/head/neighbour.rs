//! Whose hardware address an IPv4 address on our own wire has, as the kernel found out by ARP.

use std::net::Ipv4Addr;

use cluster::Mac;

/// The kernel's table (proc(5)).
const TABLE: &str = "/proc/net/arp";

/// The neighbour at an address that was just heard from; `None` if the kernel does not know, as for one behind a router.
pub(crate) fn of(address: Ipv4Addr) -> Option<Mac> {
    find(&std::fs::read_to_string(TABLE).ok()?, address)
}

/// Columns: address, hardware type, flags, hardware address, mask, device.
fn find(table: &str, address: Ipv4Addr) -> Option<Mac> {
    let mut rows = table.lines().skip(1).map(|row| row.split_ascii_whitespace());
    let mut row =
        rows.find(|row| row.clone().next().and_then(|field| field.parse().ok()) == Some(address))?;
    let mac: Mac = row.nth(3)?.parse().ok()?;
    // An entry that is not complete.
    (mac.0 != [0; 6]).then_some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_table_is_understood() {
        let table = "IP address       HW type     Flags       HW address            Mask     Device\n\
                     10.78.0.9        0x1         0x2         dc:a6:32:01:02:03     *        eth1\n\
                     10.78.0.8        0x1         0x0         00:00:00:00:00:00     *        eth1\n";
        assert_eq!(find(table, [10, 78, 0, 9].into()), Some(Mac([0xdc, 0xa6, 0x32, 1, 2, 3])));
        assert_eq!(find(table, [10, 78, 0, 8].into()), None, "nobody answered");
        assert_eq!(find(table, [10, 78, 0, 7].into()), None);
    }
}
