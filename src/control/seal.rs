//! Places in a listing that whoever gets them may not read: sealed under a key that is derived from what gateways of a fleet share, or
//! where nothing was handed in, drawn by this process for itself.
//!
//! A list that passes over what does not show itself has to be able to go on behind such a thing, and must not name it (law 11). So a
//! place bears the last thing that was shown, for everybody to read, and the last one that was looked at, sealed. Whoever cannot open
//! that, a gateway with another key, goes on behind the first, and looks again at what lies between.
//!
//! Never here: what is shown to whom.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    hkdf::{HKDF_SHA256, Salt},
    rand,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

/// What the key is for, so that nothing else that is derived from the same secret is the same.
const LABEL: &[u8] = b"postern: places in lists";

/// How long what is sealed is made: how long a name is, is not to be seen either. No identifier is longer.
const LENGTH: usize = 128;

/// See the module's header.
pub(super) struct Seal {
    /// None where none could be drawn: then nothing is sealed, and a list goes on behind what was shown.
    key: Option<RandomizedNonceKey>,
}

impl Seal {
    /// With a new key.
    pub(super) fn new() -> Seal {
        let mut bytes = [0; 32];
        let drawn = rand::fill(&mut bytes).is_ok();
        Seal { key: drawn.then(|| RandomizedNonceKey::new(&AES_256_GCM, &bytes).ok()).flatten() }
    }

    /// With the key that follows from a secret: the same for each gateway that knows it.
    pub(super) fn of(secret: &[u8]) -> Seal {
        let mut bytes = Zeroizing::new([0; 32]);
        let drawn = Salt::new(HKDF_SHA256, b"").extract(secret.trim_ascii());
        let drawn = drawn.expand(&[LABEL], HKDF_SHA256).and_then(|key| key.fill(bytes.as_mut_slice()));
        Seal { key: drawn.and_then(|()| RandomizedNonceKey::new(&AES_256_GCM, bytes.as_slice())).ok() }
    }

    /// A name, for whoever comes back with it about the same thing.
    pub(super) fn close(&self, name: &str, about: &str) -> Option<String> {
        let mut bytes = name.as_bytes().to_vec();
        if bytes.len() > LENGTH {
            return None;
        }
        bytes.resize(LENGTH, 0);
        let key = self.key.as_ref()?;
        let nonce = key.seal_in_place_append_tag(Aad::from(about.as_bytes()), &mut bytes).ok()?;
        let mut sealed = nonce.as_ref().to_vec();
        sealed.extend_from_slice(&bytes);
        Some(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// Places of a list that is gathered from several, which are no name and may be many: their bytes, of which not the number is to
    /// be seen but about how many they are.
    pub(super) fn close_bytes(&self, bytes: &[u8], about: &str) -> Option<String> {
        let mut whole = u16::try_from(bytes.len()).ok()?.to_be_bytes().to_vec();
        whole.extend_from_slice(bytes);
        whole.resize(whole.len().next_multiple_of(LENGTH), 0);
        let key = self.key.as_ref()?;
        let nonce = key.seal_in_place_append_tag(Aad::from(about.as_bytes()), &mut whole).ok()?;
        let mut sealed = nonce.as_ref().to_vec();
        sealed.extend_from_slice(&whole);
        Some(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// The bytes that were sealed about this, here or by somebody who knows the same secret.
    pub(super) fn open_bytes(&self, sealed: &str, about: &str) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let (nonce, mut sealed) = (Nonce::try_assume_unique_for_key(nonce).ok()?, sealed.to_vec());
        let whole = self.key.as_ref()?.open_in_place(nonce, Aad::from(about.as_bytes()), &mut sealed).ok()?;
        let (length, rest) = whole.split_first_chunk::<2>()?;
        rest.get(..usize::from(u16::from_be_bytes(*length))).map(<[u8]>::to_vec)
    }

    /// What was sealed here about this.
    pub(super) fn open(&self, sealed: &str, about: &str) -> Option<String> {
        let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, bytes) = sealed.split_at_checked(NONCE_LEN)?;
        let (nonce, mut bytes) = (Nonce::try_assume_unique_for_key(nonce).ok()?, bytes.to_vec());
        let name = self.key.as_ref()?.open_in_place(nonce, Aad::from(about.as_bytes()), &mut bytes).ok()?;
        let name = name.split(|byte| *byte == 0).next()?;
        std::str::from_utf8(name).ok().map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_where_it_was_and_about_the_same_alone() {
        let (seal, other) = (Seal::new(), Seal::new());
        let long = "a".repeat(LENGTH);
        let sealed: Vec<String> = ["b1", "b1", &long].map(|name| seal.close(name, "x").unwrap()).into();
        assert_ne!(sealed[0], sealed[1], "nobody sees that it is the same");
        assert_eq!(sealed[0].len(), sealed[2].len(), "nor how long it is");
        assert_eq!(seal.open(&sealed[0], "x").as_deref(), Some("b1"));
        assert_eq!(seal.open(&sealed[2], "x").as_deref(), Some(long.as_str()));
        assert_eq!((seal.open(&sealed[0], "y"), other.open(&sealed[0], "x")), (None, None));
        let changed = format!("{}A", &sealed[0][..sealed[0].len() - 1]);
        for bad in ["", "AAAA", "?", sealed[0].get(4..).unwrap(), changed.as_str()] {
            assert!(seal.open(bad, "x").is_none() || bad == sealed[0], "{bad}");
        }
        assert_eq!(seal.close(&"a".repeat(LENGTH + 1), "x"), None);
        // Whoever shares the secret opens it, and nobody else.
        let sealed = Seal::of(b"shared\n").close("b1", "x").unwrap();
        assert_eq!(Seal::of(b"shared").open(&sealed, "x").as_deref(), Some("b1"));
        assert_eq!((Seal::of(b"other").open(&sealed, "x"), seal.open(&sealed, "x")), (None, None));
    }

    #[test]
    fn bytes_that_are_sealed_open_about_the_same_alone() {
        let seal = Seal::of(b"shared");
        for length in [0, 1, LENGTH - 2, LENGTH - 1, LENGTH, 5_000] {
            let bytes: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let sealed = seal.close_bytes(&bytes, "x").unwrap();
            assert_eq!(seal.open_bytes(&sealed, "x"), Some(bytes), "{length}");
            assert_eq!((seal.open_bytes(&sealed, "y"), seal.open(&sealed, "y")), (None, None));
            assert_eq!(Seal::new().open_bytes(&sealed, "x"), None);
            for at in 0..sealed.len() {
                let other = if sealed.as_bytes()[at] == b'A' { 'B' } else { 'A' };
                let altered = format!("{}{other}{}", &sealed[..at], &sealed[at + 1..]);
                // The last letter has bits that mean nothing; such a text is no text of ours either.
                assert_eq!(seal.open_bytes(&altered, "x"), None, "{length} {at}");
                if length > LENGTH {
                    break;
                }
            }
        }
        assert_eq!(seal.close_bytes(&vec![0; 70_000], "x"), None);
    }
}
