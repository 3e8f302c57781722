//! TLS on both sides: certificates and authorities are read, and proved to be of use, while the file is still at hand to
//! point into. Never here: a handshake.

use rustls::pki_types::ServerName;

use super::{
    context::{Context, short},
    upstreams::Address,
};
use crate::{
    config::{
        fault::Code,
        written::{Field, File, Http2, Place, TlsVersion, Upstream},
    },
    net::tls::{Pair, Serving, ToUpstream, asking, serving},
};

type Server = std::sync::Arc<rustls::ServerConfig>;

/// Whether HTTP/2 is what is spoken in clear.
pub(super) fn http2_in_clear(context: Context<'_>, file: &File) -> bool {
    let Some(at) = file.http2.given().filter(|at| at.value == Http2::PriorKnowledge) else { return false };
    if !file.tls.is_absent() {
        context.put(
            Code::BadValue,
            at.place,
            "`http2: prior_knowledge` is about a listener without TLS, and `tls` is given",
            "remove it: over TLS HTTP/2 is offered anyway",
        );
    }
    true
}

/// TLS on the proxy listener; the outer `None` where a fault was told.
pub(super) fn tls(context: Context<'_>, file: &File) -> Option<Option<Server>> {
    let at = match &file.tls {
        Field::Absent => return Some(None),
        Field::Broken => return None,
        Field::Given(at) => at,
    };
    let hint = "give at least one: `certificates: [{ chain: gateway.pem, key: { file: gateway.key } }]`";
    let list = context.need(&at.value.certificates, at.place, "certificates", hint)?;
    if list.value.items.is_empty() {
        context.put(Code::MissingKey, list.place, "TLS needs a certificate", hint);
        return None;
    }
    let mut pairs = Vec::new();
    for entry in &list.value.items {
        let chain =
            context.need(&entry.value.chain, entry.place, "chain", "name the PEM file of the certificate");
        let chain = chain.and_then(|chain| context.read(chain, "the certificate"));
        let key = context.secret(&entry.value.key, entry.place, "the certificate's key");
        pairs.push((entry.place, chain, key));
    }
    let client_ca = match &at.value.client_ca {
        Field::Absent => None,
        Field::Broken => return None,
        Field::Given(ca) => Some((ca.place, context.read(ca, "the authority of client certificates")?.1)),
    };
    let mut ready = Vec::new();
    for (_, chain, key) in &pairs {
        ready.push(Pair { chain: &chain.as_ref()?.1, key: key.as_ref()?.expose() });
    }
    let asked = Serving {
        pairs: &ready,
        client_ca: client_ca.as_ref().map(|(_, pem)| pem.as_slice()),
        tls12: at.value.min_version.value() != Some(&TlsVersion::V13),
        http2: file.http2.value() != Some(&Http2::Never),
    };
    match serving(&asked) {
        Ok(config) => Some(Some(config)),
        Err((number, fault)) => {
            let pair = number.and_then(|number| pairs.get(number)).map(|(place, ..)| *place);
            let place = pair.or(client_ca.map(|(place, _)| place)).unwrap_or(at.place);
            let hint =
                "each certificate needs its own chain and the private key that belongs to it, both in PEM";
            context.put(
                Code::BadCertificate,
                place,
                format!("TLS cannot be spoken with this: {fault}"),
                hint,
            );
            None
        }
    }
}

/// TLS to a server of an application; the outer `None` where a fault was told.
pub(super) fn upstream(
    context: Context<'_>,
    written: &Upstream,
    url: Place,
    address: &Address,
    http2: bool,
) -> Option<Option<ToUpstream>> {
    if !address.secure {
        return Some(None);
    }
    let (place, name) = match &written.server_name {
        Field::Absent => (url, &address.host),
        Field::Broken => return None,
        Field::Given(at) => (at.place, &at.value),
    };
    let Ok(name) = ServerName::try_from(name.clone()) else {
        let message = format!("`{}` is no name that a certificate can bear", short(name));
        context.put(Code::BadValue, place, message, "write a host name or an address, without port");
        return None;
    };
    let (place, ca) = match &written.ca {
        Field::Absent => (url, None),
        Field::Broken => return None,
        Field::Given(at) => {
            (at.place, Some(context.read(at, "the authority of the application's certificate")?.1))
        }
    };
    match asking(ca.as_ref().map(|pem| pem.as_slice()), http2) {
        Ok(config) => Some(Some(ToUpstream { config, name })),
        Err(fault) => {
            let hint = "name a PEM file with the certificates of the authorities that you trust for it";
            context.put(
                Code::BadCertificate,
                place,
                format!("TLS to the application cannot be set up: {fault}"),
                hint,
            );
            None
        }
    }
}

/// Where no server of an application speaks TLS, nothing is said about it.
pub(super) fn without(context: Context<'_>, written: &Upstream) -> Option<()> {
    let given = [("ca", &written.ca), ("server_name", &written.server_name)];
    let mut fine = true;
    for (key, field) in given {
        if let Some(at) = field.given() {
            fine = false;
            let message = format!("`{key}` has no meaning without TLS");
            context.put(Code::BadValue, at.place, message, "write `https://` in `url`, or leave it out");
        }
    }
    fine.then_some(())
}
