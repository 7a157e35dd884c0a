//! The addresses that are never connected to: all that do not belong to the public internet.
//!
//! The owner of an allowed name decides where it resolves to, so a name proves nothing. Every address that a name
//! resolves to is checked against this table.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A range of addresses that is never connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    pub network: IpAddr,
    /// The number of leading bits that the addresses share with `network`.
    pub prefix: u8,
    /// The purpose of such an address, with an article: "a loopback address".
    pub description: &'static str,
    /// The RFC that reserves the block, or the clouds that use it.
    pub source: &'static str,
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.description, self.source)
    }
}

/// Returns the narrowest block that contains the address. `None` if the address is public.
pub fn refused(address: IpAddr) -> Option<&'static Block> {
    // A mapped address such as `::ffff:127.0.0.1` reaches 127.0.0.1.
    let address = address.to_canonical();
    BLOCKS.iter().find(|block| block.contains(address))
}

impl Block {
    fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                (network.to_bits() ^ address.to_bits()).leading_zeros() >= self.prefix.into()
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                (network.to_bits() ^ address.to_bits()).leading_zeros() >= self.prefix.into()
            }
            _ => false,
        }
    }
}

const fn v4(octets: [u8; 4], prefix: u8, description: &'static str, source: &'static str) -> Block {
    let [a, b, c, d] = octets;
    Block { network: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix, description, source }
}

const fn v6(segments: [u16; 8], prefix: u8, description: &'static str, source: &'static str) -> Block {
    let [a, b, c, d, e, f, g, h] = segments;
    Block { network: IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)), prefix, description, source }
}

/// The special-purpose addresses of IANA's registries, and the metadata services of clouds, which answer every program
/// on a machine. A narrower block precedes the wider ones that contain it.
pub(crate) const BLOCKS: &[Block] = &[
    v4([169, 254, 169, 254], 32, "a cloud's metadata service", "AWS, Azure, Google Cloud and others"),
    v4([100, 100, 100, 200], 32, "a cloud's metadata service", "Alibaba Cloud"),
    v4([192, 0, 0, 192], 32, "a cloud's metadata service", "Oracle Cloud"),
    v4([168, 63, 129, 16], 32, "a cloud's service for its machines", "Azure"),
    v4([0, 0, 0, 0], 32, "the unspecified address", "RFC 1122"),
    v4([0, 0, 0, 0], 8, "an address of this network", "RFC 791"),
    v4([10, 0, 0, 0], 8, "a private address", "RFC 1918"),
    v4([100, 64, 0, 0], 10, "an address of carrier-grade NAT", "RFC 6598"),
    v4([127, 0, 0, 0], 8, "a loopback address", "RFC 1122"),
    v4([169, 254, 0, 0], 16, "a link-local address", "RFC 3927"),
    v4([172, 16, 0, 0], 12, "a private address", "RFC 1918"),
    v4([192, 0, 0, 0], 24, "an address for protocols", "RFC 6890"),
    v4([192, 0, 2, 0], 24, "an address for documentation", "RFC 5737"),
    v4([192, 88, 99, 0], 24, "an address of 6to4 relays", "RFC 7526"),
    v4([192, 168, 0, 0], 16, "a private address", "RFC 1918"),
    v4([198, 18, 0, 0], 15, "an address for benchmarks", "RFC 2544"),
    v4([198, 51, 100, 0], 24, "an address for documentation", "RFC 5737"),
    v4([203, 0, 113, 0], 24, "an address for documentation", "RFC 5737"),
    v4([224, 0, 0, 0], 4, "a multicast address", "RFC 5771"),
    v4([255, 255, 255, 255], 32, "the broadcast address", "RFC 919"),
    v4([240, 0, 0, 0], 4, "a reserved address", "RFC 1112"),
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128, "a cloud's metadata service", "AWS"),
    v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128, "a cloud's metadata service", "Google Cloud"),
    v6([0, 0, 0, 0, 0, 0, 0, 0], 128, "the unspecified address", "RFC 4291"),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, "the loopback address", "RFC 4291"),
    v6([0, 0, 0, 0, 0, 0, 0, 0], 96, "an IPv4-compatible address", "RFC 4291"),
    v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96, "an IPv4-translated address", "RFC 2765"),
    v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, "an address of NAT64", "RFC 6052"),
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "an address of a local NAT64", "RFC 8215"),
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64, "a discard-only address", "RFC 6666"),
    v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64, "a dummy prefix", "RFC 9780"),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, "an address of Teredo", "RFC 4380"),
    v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, "an address for benchmarks", "RFC 5180"),
    v6([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28, "an ORCHID", "RFC 4843"),
    v6([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28, "an ORCHID", "RFC 7343"),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "an address for protocols", "RFC 2928"),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "an address for documentation", "RFC 3849"),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, "an address of 6to4", "RFC 3056"),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "an address for documentation", "RFC 9637"),
    v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, "a segment-routing identifier", "RFC 9602"),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "a unique local address", "RFC 4193"),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "a link-local address", "RFC 4291"),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "a site-local address", "RFC 3879"),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "a multicast address", "RFC 4291"),
    // Everything else outside of 2000::/3, the only range from which IANA allocates public addresses.
    v6([0, 0, 0, 0, 0, 0, 0, 0], 3, "an address outside of global unicast", "RFC 3587"),
    v6([0x4000, 0, 0, 0, 0, 0, 0, 0], 2, "an address outside of global unicast", "RFC 3587"),
    v6([0x8000, 0, 0, 0, 0, 0, 0, 0], 1, "an address outside of global unicast", "RFC 3587"),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    /// Returns the first and the last address of a block.
    fn ends(block: &Block) -> (IpAddr, IpAddr) {
        match block.network {
            IpAddr::V4(first) => {
                let rest = u32::MAX.checked_shr(block.prefix.into()).unwrap_or(0);
                (first.into(), Ipv4Addr::from_bits(first.to_bits() | rest).into())
            }
            IpAddr::V6(first) => {
                let rest = u128::MAX.checked_shr(block.prefix.into()).unwrap_or(0);
                (first.into(), Ipv6Addr::from_bits(first.to_bits() | rest).into())
            }
        }
    }

    fn before(address: IpAddr) -> Option<IpAddr> {
        Some(match address {
            IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits().checked_sub(1)?).into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits().checked_sub(1)?).into(),
        })
    }

    fn after(address: IpAddr) -> Option<IpAddr> {
        Some(match address {
            IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits().checked_add(1)?).into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits().checked_add(1)?).into(),
        })
    }

    /// Returns whether the standard library considers an address special. It knows fewer blocks than the table.
    fn special_to_std(address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => {
                address.is_unspecified()
                    || address.is_loopback()
                    || address.is_private()
                    || address.is_link_local()
                    || address.is_broadcast()
                    || address.is_documentation()
                    || address.is_multicast()
            }
            IpAddr::V6(address) => {
                address.is_unspecified()
                    || address.is_loopback()
                    || address.is_multicast()
                    || address.is_unique_local()
                    || address.is_unicast_link_local()
            }
        }
    }

    #[test]
    fn block_is_aligned_to_its_prefix_and_refused_entirely() {
        for block in BLOCKS {
            let (first, last) = ends(block);
            assert!(block.contains(first) && block.contains(last), "{block:?}");
            assert!(before(first).is_none_or(|outside| !block.contains(outside)), "{block:?}");
            assert!(after(last).is_none_or(|outside| !block.contains(outside)), "{block:?}");
            assert!(refused(first).is_some() && refused(last).is_some(), "{block:?}");
        }
    }

    #[test]
    fn block_is_never_hidden_by_a_wider_one_before_it() {
        for (index, block) in BLOCKS.iter().enumerate() {
            let (first, last) = ends(block);
            for earlier in &BLOCKS[..index] {
                assert!(!(earlier.contains(first) && earlier.contains(last)), "{block:?} is never found: {earlier:?}");
            }
        }
    }

    #[test]
    fn address_next_to_a_block_is_public_or_in_another_block() {
        // The public addresses next to a block, written by hand from IANA's registries.
        let public = [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.15",
            "168.63.129.17",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "191.255.255.255",
            "192.0.1.0",
            "192.0.1.255",
            "192.0.3.0",
            "192.88.98.255",
            "192.88.100.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "198.51.99.255",
            "198.51.101.0",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
            "2000::",
            "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "2001:200::",
            "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
            "2001:db9::",
            "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "2003::",
            "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "3fff:1000::",
            "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ]
        .map(|text| text.parse::<IpAddr>().unwrap());
        let mut found: Vec<IpAddr> = BLOCKS
            .iter()
            .flat_map(|block| {
                let (first, last) = ends(block);
                [before(first), after(last)]
            })
            .flatten()
            .filter(|address| refused(*address).is_none())
            .collect();
        found.sort();
        found.dedup();
        assert_eq!(found, public);
    }

    #[test]
    fn known_special_address_is_refused_with_its_description() {
        for (address, reason) in [
            ("169.254.169.254", "a cloud's metadata service (AWS, Azure, Google Cloud and others)"),
            ("fd00:ec2::254", "a cloud's metadata service (AWS)"),
            ("169.254.169.253", "a link-local address (RFC 3927)"),
            ("127.0.0.53", "a loopback address (RFC 1122)"),
            ("::1", "the loopback address (RFC 4291)"),
            ("10.1.2.3", "a private address (RFC 1918)"),
            ("172.31.255.1", "a private address (RFC 1918)"),
            ("198.19.255.255", "an address for benchmarks (RFC 2544)"),
            ("255.255.255.255", "the broadcast address (RFC 919)"),
            ("::ffff:127.0.0.1", "a loopback address (RFC 1122)"),
            ("::ffff:169.254.169.254", "a cloud's metadata service (AWS, Azure, Google Cloud and others)"),
            ("::127.0.0.1", "an IPv4-compatible address (RFC 4291)"),
            ("::8.8.8.8", "an IPv4-compatible address (RFC 4291)"),
            ("::ffff:0:8.8.8.8", "an IPv4-translated address (RFC 2765)"),
            ("64:ff9b::8.8.8.8", "an address of NAT64 (RFC 6052)"),
            ("64:ff9b:1::1", "an address of a local NAT64 (RFC 8215)"),
            ("2002:7f00:1::", "an address of 6to4 (RFC 3056)"),
            ("2001::1", "an address of Teredo (RFC 4380)"),
            ("fe80::1", "a link-local address (RFC 4291)"),
            ("fd12::1", "a unique local address (RFC 4193)"),
            ("ff02::1", "a multicast address (RFC 4291)"),
            ("1::", "an address outside of global unicast (RFC 3587)"),
        ] {
            let block = refused(address.parse().unwrap()).unwrap_or_else(|| panic!("{address} is let through"));
            assert_eq!(block.to_string(), reason, "{address}");
        }
    }

    #[test]
    fn public_address_is_permitted_even_when_mapped() {
        for address in ["1.1.1.1", "8.8.8.8", "93.184.215.14", "2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8"] {
            assert_eq!(refused(address.parse().unwrap()), None, "{address}");
        }
    }

    /// Addresses at random, of which few would be near a block, and addresses that begin as one does.
    fn any_address() -> impl Strategy<Value = IpAddr> {
        let near = (select(BLOCKS), any::<u128>()).prop_map(|(block, low)| match block.network {
            IpAddr::V4(network) => {
                let low = (low as u32).checked_shr(block.prefix.into()).unwrap_or(0);
                Ipv4Addr::from_bits(network.to_bits() ^ low).into()
            }
            IpAddr::V6(network) => {
                let low = low.checked_shr(block.prefix.into()).unwrap_or(0);
                Ipv6Addr::from_bits(network.to_bits() ^ low).into()
            }
        });
        prop_oneof![any::<IpAddr>(), near]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn address_special_to_std_is_refused(address in any_address()) {
            prop_assert!(!special_to_std(address) || refused(address).is_some());
        }

        #[test]
        fn mapped_address_is_judged_like_its_ipv4_address(address in any::<Ipv4Addr>()) {
            prop_assert_eq!(refused(address.into()), refused(address.to_ipv6_mapped().into()));
        }

        #[test]
        fn address_in_a_block_is_refused(address in any_address(), block in select(BLOCKS)) {
            // A mapped address is judged by the address that it stands for.
            prop_assert!(!block.contains(address.to_canonical()) || refused(address).is_some());
        }
    }
}
