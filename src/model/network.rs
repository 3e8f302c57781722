//! Addresses and networks, as numbers: IPv4 addresses stand among the IPv6 ones as `::ffff:a.b.c.d`.
//!
//! Never here: reading or writing them as text, sockets.

/// The address of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address(pub u128);

/// All addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network {
    base: u128,
    bits: u8,
}

/// Why there is no such network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NetworkFault {
    /// More bits than an address has.
    #[error("a network has at most 32 bits for IPv4 and 128 for IPv6")]
    TooManyBits,
    /// The address has bits behind the network's own.
    #[error("the address has bits beyond the network's own; write the network's first address")]
    BitsBeyond,
}

impl Network {
    /// The network of an address and so many leading bits of all 128; an IPv4 network of `n` bits has `96 + n`.
    ///
    /// # Errors
    /// [`NetworkFault`] where there is no such network.
    pub fn new(base: Address, bits: u8) -> Result<Network, NetworkFault> {
        if bits > 128 {
            return Err(NetworkFault::TooManyBits);
        }
        let network = Network { base: base.0, bits };
        if base.0 & !network.mask() != 0 { Err(NetworkFault::BitsBeyond) } else { Ok(network) }
    }

    /// Whether the address lies in it.
    pub fn contains(self, address: Address) -> bool {
        address.0 & self.mask() == self.base
    }

    /// Its first address, and how many bits all its addresses begin with.
    pub fn parts(self) -> (u128, u8) {
        (self.base, self.bits)
    }

    fn mask(self) -> u128 {
        let behind = 128 - u32::from(self.bits.min(128));
        u128::MAX.checked_shl(behind).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_the_addresses_that_begin_like_it() {
        let ten = Network::new(Address(0xffff_0a00_0000), 96 + 8).unwrap();
        assert!(ten.contains(Address(0xffff_0a00_0000)) && ten.contains(Address(0xffff_0aff_ffff)));
        assert!(!ten.contains(Address(0xffff_0b00_0000)) && !ten.contains(Address(0x0a00_0000)));
        let all = Network::new(Address(0), 0).unwrap();
        assert!(all.contains(Address(u128::MAX)));
        let one = Network::new(Address(7), 128).unwrap();
        assert!(one.contains(Address(7)) && !one.contains(Address(6)));
        assert_eq!(Network::new(Address(7), 127), Err(NetworkFault::BitsBeyond));
        assert_eq!(Network::new(Address(0), 129), Err(NetworkFault::TooManyBits));
    }
}
