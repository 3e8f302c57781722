//! What stands in front of the gateway, and what of its word counts.
//!
//! Never here: reading a header.

use super::{
    context::Context,
    staff::{items, network},
};
use crate::{
    config::{
        fault::Code,
        written::{Field, File, HopHeader, OneOrMany, Place},
    },
    model::Network,
};

/// What stands in front of the proxy listener, and what of its word counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EntranceSettings {
    /// Whose connections begin with a header of the PROXY protocol.
    pub proxied: Vec<Network>,
    /// Who says by a header from where a request comes.
    pub hops: Option<HopSettings>,
}

/// Hops that are believed about a client's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HopSettings {
    /// Theirs.
    pub from: Vec<Network>,
    /// They say it in `Forwarded`, not in `X-Forwarded-For`.
    pub forwarded: bool,
    /// How many each request passes; `None` goes by their addresses alone.
    pub count: Option<usize>,
}

/// The most hops that are counted.
const MOST_HOPS: u64 = 32;

pub(super) fn entrance(context: Context<'_>, file: &File) -> EntranceSettings {
    let proxied = file.proxy_protocol.given().map(|at| {
        let hint = "name who speaks it: `proxy_protocol: { from: 10.0.0.0/24 }`";
        from(context, &at.value.from, at.place, hint)
    });
    let hops = file.trusted_hops.given().and_then(|at| {
        let hint = "name the hops: `trusted_hops: { from: 10.0.0.0/24, header: x_forwarded_for }`";
        let from = from(context, &at.value.from, at.place, hint);
        let hint = "write `header: forwarded` or `header: x_forwarded_for`, as the hop in front writes it";
        let header = context.need(&at.value.header, at.place, "header", hint)?;
        let count = match &at.value.count {
            Field::Absent => None,
            written => usize::try_from(context.count(written, 1, 1, MOST_HOPS)).ok(),
        };
        Some(HopSettings { from, forwarded: header.value == HopHeader::Forwarded, count })
    });
    EntranceSettings { proxied: proxied.unwrap_or_default(), hops }
}

/// The networks that are trusted: at least one, and never everybody.
fn from(context: Context<'_>, field: &Field<OneOrMany<String>>, owner: Place, hint: &str) -> Vec<Network> {
    if context.need(field, owner, "from", hint).is_none() {
        return Vec::new();
    }
    let networks = items(context, field, "a network", |context, at| {
        let network = network(context, at)?;
        // All of IPv4 has 96 bits in front.
        if matches!(network.parts(), (_, 0) | (0xffff_0000_0000, 96)) {
            let message =
                format!("`{}` is everybody, so each client would say itself from where it comes", at.value);
            context.put(Code::BadValue, at.place, message, "name the addresses of what stands in front");
            return None;
        }
        Some(network)
    });
    if let Some(at) = field.given().filter(|_| everybody(&networks)) {
        context.warn(
            Code::BadValue,
            at.place,
            "together these are everybody, so each client would say itself from where it comes",
            "name the addresses of what stands in front",
        );
    }
    networks
}

/// Whether networks together hold every address of IPv4, or of IPv6.
pub(super) fn everybody(networks: &[Network]) -> bool {
    let mut spans: Vec<(u128, u128)> = networks
        .iter()
        .map(|network| {
            let (base, bits) = network.parts();
            let size = u128::MAX.checked_shr(u32::from(bits)).unwrap_or(0);
            (base, base | size)
        })
        .collect();
    spans.sort_unstable();
    [(0, u128::MAX), (0xffff_0000_0000, 0xffff_ffff_ffff)].iter().any(|(first, last)| {
        let mut next = *first;
        for (from, to) in &spans {
            if *from <= next && *to >= next {
                if to >= last {
                    return true;
                }
                next = to + 1;
            }
        }
        false
    })
}
