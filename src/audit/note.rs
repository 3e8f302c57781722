//! Signed notes and checkpoints as C2SP writes them down (signed-note, tlog-checkpoint), with Ed25519.
//!
//! Also the two texts of a key: the key file's line and the `vkey` that an auditor is given. Never here: when a
//! checkpoint is signed, and where it is kept.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use aws_lc_rs::encoding::AsBigEndian;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::tree::{Hash, sha256};

/// The signature type of Ed25519 in signed notes.
const ED25519_TYPE: u8 = 1;
/// Signature lines looked at in one note; the specification asks for at least 16.
const MAX_SIGNATURES: usize = 64;

/// Why a key or a note was not taken.
#[derive(Debug, thiserror::Error)]
pub enum NoteError {
    /// A key name that the note format cannot carry.
    #[error("the key name `{0}` must be 1 to 200 visible ASCII characters without `+`, `\"` and `\\`")]
    Name(String),
    /// A key text that is not one.
    #[error("this is not a {0}: expected `{1}`")]
    Key(&'static str, &'static str),
    /// The key file could not be read or written.
    #[error("the key file `{0}`: {1}")]
    File(String, io::Error),
    /// The text is no signed note.
    #[error("this is not a signed note: {0}")]
    Malformed(&'static str),
    /// No signature by the key that is trusted.
    #[error("the note bears no signature by `{0}`; give the key of this log")]
    Unsigned(String),
    /// A signature that claims the trusted key and does not verify.
    #[error("the signature by `{0}` does not verify")]
    BadSignature(String),
    /// The random generator or the signer failed.
    #[error("the cryptographic library refused; restart the program")]
    Crypto,
}

/// Whether a text may name a key, a log, a session or an intent: one spelling, no escapes in JSON or in a note.
pub(crate) fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 200
        && text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\' && b != b'+')
}

fn key_id(name: &str, public: &[u8]) -> [u8; 4] {
    let hash = sha256(&[name.as_bytes(), b"\n", &[ED25519_TYPE], public]);
    let [a, b, c, d, ..] = hash.0;
    [a, b, c, d]
}

fn hex4(id: [u8; 4]) -> String {
    let mut out = Vec::with_capacity(8);
    super::tree::push_hex(&id, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// The key by which a log is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyingKey {
    name: String,
    id: [u8; 4],
    public: [u8; 32],
}

impl VerifyingKey {
    /// Reads the text form `<name>+<8 hexadecimal digits>+<base64 of 0x01 and the public key>`.
    ///
    /// # Errors
    /// [`NoteError::Key`] when it is not of that form or its digits do not fit the key.
    pub fn parse(text: &str) -> Result<VerifyingKey, NoteError> {
        let wrong = || NoteError::Key("verifying key", "<name>+<8 hexadecimal digits>+<base64>");
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(wrong());
        };
        let key = STANDARD.decode(key).map_err(|_| wrong())?;
        let (Some((&ED25519_TYPE, public)), true) = (key.split_first(), is_plain(name)) else {
            return Err(wrong());
        };
        let public = <[u8; 32]>::try_from(public).map_err(|_| wrong())?;
        let key = VerifyingKey { name: name.to_owned(), id: key_id(name, &public), public };
        if hex4(key.id) == id { Ok(key) } else { Err(wrong()) }
    }

    /// The text form that an auditor is given.
    pub fn to_text(&self) -> String {
        let mut key = vec![ED25519_TYPE];
        key.extend_from_slice(&self.public);
        format!("{}+{}+{}", self.name, hex4(self.id), STANDARD.encode(key))
    }

    /// The key's name, which is the origin of its log.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Checks a note and answers with its text.
    ///
    /// # Errors
    /// [`NoteError`] when it is malformed, not signed by this key, or signed wrongly.
    pub fn open<'a>(&self, note: &'a str) -> Result<&'a str, NoteError> {
        if note.bytes().any(|b| b < 0x20 && b != b'\n') {
            return Err(NoteError::Malformed("control characters"));
        }
        let at = note.rfind("\n\n").ok_or(NoteError::Malformed("no empty line before the signatures"))?;
        let (text, rest) = note.split_at_checked(at + 1).ok_or(NoteError::Malformed("no text"))?;
        let signatures = rest.strip_prefix('\n').ok_or(NoteError::Malformed("no signatures"))?;
        if !signatures.ends_with('\n') {
            return Err(NoteError::Malformed("the last line has no end"));
        }
        let mut found = false;
        for line in signatures.lines().take(MAX_SIGNATURES) {
            let parts = line.strip_prefix("— ").and_then(|line| line.split_once(' '));
            let (name, signature) = parts.ok_or(NoteError::Malformed("a signature line"))?;
            let signature = STANDARD.decode(signature).map_err(|_| NoteError::Malformed("a signature"))?;
            let (id, signature) =
                signature.split_first_chunk::<4>().ok_or(NoteError::Malformed("a signature"))?;
            if name != self.name || *id != self.id {
                continue;
            }
            UnparsedPublicKey::new(&ED25519, self.public)
                .verify(text.as_bytes(), signature)
                .map_err(|_| NoteError::BadSignature(self.name.clone()))?;
            found = true;
        }
        if found { Ok(text) } else { Err(NoteError::Unsigned(self.name.clone())) }
    }
}

/// The key with which a log signs its checkpoints.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: VerifyingKey,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.public.to_text())
    }
}

impl SigningKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// [`NoteError::Name`] for a name that no note can carry, [`NoteError::Crypto`].
    pub fn generate(name: &str) -> Result<SigningKey, NoteError> {
        SigningKey::from_pair(name, Ed25519KeyPair::generate().map_err(|_| NoteError::Crypto)?)
    }

    fn from_pair(name: &str, pair: Ed25519KeyPair) -> Result<SigningKey, NoteError> {
        if !is_plain(name) {
            return Err(NoteError::Name(name.to_owned()));
        }
        let public = <[u8; 32]>::try_from(pair.public_key().as_ref()).map_err(|_| NoteError::Crypto)?;
        let public = VerifyingKey { name: name.to_owned(), id: key_id(name, &public), public };
        Ok(SigningKey { pair, public })
    }

    /// Reads the line of a key file: `PRIVATE+KEY+<name>+<8 hexadecimal digits>+<base64 of 0x01 and the seed>`.
    ///
    /// # Errors
    /// [`NoteError::Key`]; the text is never repeated in the message.
    pub fn parse(text: &str) -> Result<SigningKey, NoteError> {
        let wrong = || NoteError::Key("signing key", "PRIVATE+KEY+<name>+<8 hexadecimal digits>+<base64>");
        let rest = text.trim().strip_prefix("PRIVATE+KEY+").ok_or_else(wrong)?;
        let mut parts = rest.splitn(3, '+');
        let (Some(name), Some(id), Some(seed)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(wrong());
        };
        let seed = Zeroizing::new(STANDARD.decode(seed).map_err(|_| wrong())?);
        let Some((&ED25519_TYPE, seed)) = seed.split_first() else { return Err(wrong()) };
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| wrong())?;
        let key = SigningKey::from_pair(name, pair)?;
        if hex4(key.public.id) == id { Ok(key) } else { Err(wrong()) }
    }

    /// The line of a key file. Whoever has it can sign for this log.
    ///
    /// # Errors
    /// [`NoteError::Crypto`] when the library does not hand out the seed.
    pub fn to_text(&self) -> Result<Zeroizing<String>, NoteError> {
        let seed = self.pair.seed().map_err(|_| NoteError::Crypto)?;
        let seed = seed.as_be_bytes().map_err(|_| NoteError::Crypto)?;
        let mut key = Zeroizing::new(vec![ED25519_TYPE]);
        key.extend_from_slice(seed.as_ref());
        let base64 = Zeroizing::new(STANDARD.encode(&*key));
        Ok(Zeroizing::new(format!("PRIVATE+KEY+{}+{}+{}", self.public.name, hex4(self.public.id), *base64)))
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// [`NoteError::File`], [`NoteError::Key`].
    pub fn load(path: &Path) -> Result<SigningKey, NoteError> {
        let text = fs::read_to_string(path).map_err(|e| NoteError::File(path.display().to_string(), e))?;
        SigningKey::parse(&Zeroizing::new(text))
    }

    /// Writes a new key file, readable by its owner only, and makes it durable. An existing file is never replaced:
    /// a log whose key is lost cannot be continued.
    ///
    /// # Errors
    /// [`NoteError::File`].
    pub fn save(&self, path: &Path) -> Result<(), NoteError> {
        let text = Zeroizing::new(format!("{}\n", *self.to_text()?));
        create(path, text.as_bytes(), 0o600).map_err(|e| NoteError::File(path.display().to_string(), e))
    }

    /// The key by which its notes are verified.
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.public
    }

    /// Signs a text, which must end in a newline, and answers with the note.
    ///
    /// # Errors
    /// [`NoteError::Crypto`].
    pub fn sign(&self, text: &str) -> Result<String, NoteError> {
        let signature = self.pair.try_sign(text.as_bytes()).map_err(|_| NoteError::Crypto)?;
        let mut bytes = self.public.id.to_vec();
        bytes.extend_from_slice(signature.as_ref());
        Ok(format!("{text}\n— {} {}\n", self.public.name, STANDARD.encode(bytes)))
    }
}

/// Writes a file that must not be there yet, with this mode, and makes it durable.
///
/// # Errors
/// Those of the system; `AlreadyExists` where something has this name.
pub fn create(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(parent)?.sync_all()
}

/// What a checkpoint states: the tree of this log, when it had `size` leaves, had this root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The name of the log.
    pub origin: String,
    /// How many records it covers: those with sequence numbers below.
    pub size: u64,
    /// The root of the tree of that size.
    pub root: Hash,
}

impl Checkpoint {
    /// The text that is signed.
    pub fn to_text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root.0))
    }

    /// Reads the text of a note whose signature was verified.
    ///
    /// # Errors
    /// [`NoteError::Malformed`].
    pub fn parse(text: &str) -> Result<Checkpoint, NoteError> {
        let mut lines = text.lines();
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(NoteError::Malformed("a checkpoint has three lines"));
        };
        let number = size.parse::<u64>().ok().filter(|n| n.to_string() == size);
        let number = number.ok_or(NoteError::Malformed("the size of a checkpoint"))?;
        let root = STANDARD.decode(root).ok().and_then(|r| <[u8; 32]>::try_from(r.as_slice()).ok());
        let root = root.ok_or(NoteError::Malformed("the root of a checkpoint"))?;
        Ok(Checkpoint { origin: origin.to_owned(), size: number, root: Hash(root) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example of the reference implementation (golang.org/x/mod/sumdb/note), which the specification follows.
    const SKEY: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    const VKEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const TEXT: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
    const SIGNATURE: &str = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    #[test]
    fn reference_note_is_reproduced_and_opened() {
        let key = SigningKey::parse(SKEY).unwrap();
        assert_eq!(key.verifying_key().to_text(), VKEY);
        assert_eq!(*key.to_text().unwrap(), SKEY);
        let note = key.sign(TEXT).unwrap();
        assert_eq!(note, format!("{TEXT}\n{SIGNATURE}"));
        assert_eq!(VerifyingKey::parse(VKEY).unwrap().open(&note).unwrap(), TEXT);
    }

    #[test]
    fn a_note_changed_anywhere_is_not_opened() {
        let key = SigningKey::parse(SKEY).unwrap();
        let note = key.sign(TEXT).unwrap();
        for at in 0..note.len() {
            let mut bytes = note.clone().into_bytes();
            bytes[at] ^= 1;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            assert!(key.verifying_key().open(&changed).is_err(), "byte {at}");
        }
    }

    #[test]
    fn other_keys_signatures_are_ignored_but_do_not_suffice() {
        let (ours, other) =
            (SigningKey::parse(SKEY).unwrap(), SigningKey::generate("other.example").unwrap());
        let note = other.sign(TEXT).unwrap();
        assert!(matches!(ours.verifying_key().open(&note), Err(NoteError::Unsigned(_))));
        let both = format!("{note}{SIGNATURE}");
        assert_eq!(ours.verifying_key().open(&both).unwrap(), TEXT);
    }

    #[test]
    fn key_file_is_private_durable_and_never_replaced() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let key = SigningKey::generate("postern.example/gw1").unwrap();
        key.save(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(SigningKey::load(&path).unwrap().verifying_key(), key.verifying_key());
        assert!(matches!(key.save(&path), Err(NoteError::File(..))));
        assert!(SigningKey::generate("a b").is_err() && SigningKey::generate("a+b").is_err());
    }

    #[test]
    fn checkpoint_text_has_one_spelling() {
        let checkpoint = Checkpoint { origin: "a.example/l".into(), size: 7, root: Hash([3; 32]) };
        assert_eq!(Checkpoint::parse(&checkpoint.to_text()).unwrap(), checkpoint);
        assert!(Checkpoint::parse(&checkpoint.to_text().replace("\n7\n", "\n07\n")).is_err());
        assert!(Checkpoint::parse("a\n1\n").is_err());
    }
}
