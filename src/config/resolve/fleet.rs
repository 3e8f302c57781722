//! The other gateways of a fleet: where they ask this one, and how each proves to be one of them. Certificate, key and authority are
//! proved by a handshake with ourselves, both ways, while the file is at hand to point into.
//!
//! Never here: listening or connecting.

use std::{net::SocketAddr, sync::Arc};

use rustls::pki_types::ServerName;

use super::{
    context::{Context, short},
    dangerous::DangerousSettings,
    gateway::{listening, overlap},
    state::StateSettings,
};
use crate::{
    config::{
        fault::Code,
        source::Secret,
        written::{At, Field, File, Fleet},
    },
    net::tls::{Pair, Serving, asking_newest_as, prove, serving},
};

/// The other gateways of a fleet.
#[derive(Debug, Clone)]
pub struct FleetSettings {
    /// Where they ask this one.
    pub listen: SocketAddr,
    /// Where they reach that: host and port.
    pub address: String,
    /// TLS towards those that ask.
    pub serving: Arc<rustls::ServerConfig>,
    /// TLS towards those that are asked.
    pub asking: Arc<rustls::ClientConfig>,
    /// How long all of them together may take to answer, in milliseconds.
    pub timeout_ms: i64,
}

/// The outer `None` where a fault was told.
pub(super) fn fleet(
    context: Context<'_>,
    file: &File,
    state: Option<&StateSettings>,
    listeners: &[(&str, Option<SocketAddr>)],
    dangerous: DangerousSettings,
) -> Option<Option<FleetSettings>> {
    let at = match &file.fleet {
        Field::Absent => {
            alone(context, file, state);
            return Some(None);
        }
        Field::Broken => return None,
        Field::Given(at) => at,
    };
    if let Some(StateSettings::File(_)) = state {
        let message =
            "the gateways of a fleet find each other in the store that they share, and this one is in a file";
        let hint = "keep the store in Redis (`state: { redis: … }`), or remove `fleet`";
        context.put(Code::OneOf, at.place, message, hint);
    }
    let hint = "say where the other gateways ask this one, e.g. `listen: 10.0.0.5:9443`";
    let listen = context.need(&at.value.listen, at.place, "listen", hint);
    let listen = listen.and_then(|listen| Some((listen.place, listening(context, listen)?)));
    if let Some((place, address)) = listen {
        let taken = listeners.iter().find(|(_, other)| other.is_some_and(|other| overlap(other, address)));
        if let Some((name, Some(other))) = taken {
            let message = format!("`fleet.listen` ({address}) takes the address of `{name}` ({other})");
            context.put(Code::SameAddress, place, message, "give them different ports");
        }
    }
    if let Some((place, address)) = listen
        && !address.ip().is_loopback()
        && dangerous != DangerousSettings::default()
    {
        let message = format!("`dangerous` may not be used while other gateways ask this one at {address}");
        let hint = "remove `dangerous`, or listen on loopback: `127.0.0.1` or `[::1]`";
        context.put(Code::Dangerous, place, message, hint);
    }
    let address = address(context, at);
    let timeout_ms = context.duration(&at.value.timeout, 2_000, 100, 30_000);
    let tls = tls(context, at, address.as_ref().map(|(_, name)| name));
    let (serving, asking) = tls?;
    Some(Some(FleetSettings { listen: listen?.1, address: address?.0, serving, asking, timeout_ms }))
}

/// A store that others change too, and nobody to ask what they recorded.
fn alone(context: Context<'_>, file: &File, state: Option<&StateSettings>) {
    if let (Some(StateSettings::Redis(_)), Some(at)) = (state, file.state.given()) {
        let place = at.value.redis.given().map_or(at.place, |redis| redis.place);
        context.warn(
            Code::Unused,
            place,
            "gateways share this store, and this one asks no other: what tenants read of their record comes from its own ledger alone",
            "say how they ask each other: `fleet: { listen: …, address: …, certificate: …, key: …, ca: … }`",
        );
    }
}

fn address(context: Context<'_>, at: &At<Fleet>) -> Option<(String, ServerName<'static>)> {
    let form = "write `host:port` as the other gateways reach it, e.g. `gw1.internal:9443`";
    let written = context.filled(context.need(&at.value.address, at.place, "address", form)?)?;
    let text = written.value.as_str();
    let read = || {
        let parsed = text.parse::<http::uri::Authority>().ok()?;
        let port = text.strip_prefix(parsed.host())?.strip_prefix(':')?;
        let plain =
            port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port != 0);
        let host = parsed.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).ok().filter(|_| plain)?;
        // Nobody is reached at all addresses of a machine.
        let everywhere = |ip: std::net::IpAddr| ip.is_unspecified();
        let reached = parsed.host().trim_matches(['[', ']']).parse().map_or(true, |ip| !everywhere(ip));
        reached.then_some(name)
    };
    let name = read();
    if name.is_none() {
        let message = format!("`{}` is no address that others reach", short(text));
        context.put(Code::BadValue, written.place, message, form);
    }
    name.map(|name| (text.to_owned(), name))
}

type Both = (Arc<rustls::ServerConfig>, Arc<rustls::ClientConfig>);

fn tls(context: Context<'_>, at: &At<Fleet>, name: Option<&ServerName<'static>>) -> Option<Both> {
    let written = &at.value;
    let hint = "name the PEM file of this gateway's certificate";
    let certificate = context.need(&written.certificate, at.place, "certificate", hint);
    let chain = certificate
        .and_then(|at| Some((at.place, context.read(at, "the certificate for other gateways")?.1)));
    let key: Option<Secret> = context.secret(&written.key, at.place, "the certificate's key");
    let ca = context.need(&written.ca, at.place, "ca", "name the PEM file of the fleet's own authority");
    let ca = ca.and_then(|at| Some((at.place, context.read(at, "the fleet's authority")?.1)));
    let ((place, chain), key, (ca_place, ca)) = (chain?, key?, ca?);
    let pair = || Pair { chain: &chain, key: key.expose() };
    let wrong = |place, message: String| {
        let hint = "each gateway has a certificate of the fleet's authority, for servers and clients, that names the host of `address`; key and certificates are PEM files";
        context.put(Code::BadCertificate, place, message, hint);
        None
    };
    let asked = Serving { pairs: &[pair()], client_ca: Some(&ca), tls12: false, http2: false };
    let serving = match serving(&asked) {
        Ok(serving) => serving,
        Err((number, fault)) => {
            let place = if number.is_some() { place } else { ca_place };
            return wrong(place, format!("TLS between gateways cannot be spoken with this: {fault}"));
        }
    };
    let asking = match asking_newest_as(&ca, &pair()) {
        Ok(asking) => asking,
        Err(fault) => {
            return wrong(place, format!("TLS between gateways cannot be spoken with this: {fault}"));
        }
    };
    if let Err(fault) = prove(&serving, &asking, name?) {
        return wrong(place, format!("no other gateway would take this certificate: {fault}"));
    }
    Some((serving, asking))
}
