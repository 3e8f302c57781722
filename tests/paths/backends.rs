//! Servers that read paths in their own ways, as small models: each step is what some known server, framework or
//! language runtime does.

use unicode_normalization::UnicodeNormalization;

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Backend {
    /// How often it percent-decodes.
    pub(crate) decodes: u8,
    /// Whether it takes the path apart before it decodes, or after.
    pub(crate) decodes_last: bool,
    /// Ends the path at NUL, `?` or `#` (C strings, URL parsers after decoding).
    pub(crate) truncates: bool,
    /// Drops tab, CR and LF (WHATWG URL parsers).
    pub(crate) drops_controls: bool,
    /// Reads `\` as `/` (Windows, WHATWG).
    pub(crate) backslash: bool,
    /// Drops `;…` from each segment (servlet containers).
    pub(crate) strips_matrix: bool,
    /// Drops trailing dots and spaces of segments (Windows file names).
    pub(crate) trims: bool,
    /// Merges slashes (nginx).
    pub(crate) merges: bool,
    /// Resolves `.` and `..` (RFC 3986, 5.2.4).
    pub(crate) resolves_dots: bool,
    /// Decodes overlong UTF-8 (old decoders).
    pub(crate) overlong: bool,
    /// NFKC and the best fit of old code pages.
    pub(crate) normalises: bool,
    pub(crate) folds_case: bool,
    pub(crate) drops_last_slash: bool,
}

impl Backend {
    /// Every combination of the structural steps with every way of decoding, with and without the rest.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for (decodes, decodes_last) in [(0, false), (1, false), (1, true), (2, false), (2, true)] {
            for bits in 0_u32..64 {
                let on = |bit: u32| bits >> bit & 1 == 1;
                let plain = Self {
                    decodes,
                    decodes_last,
                    truncates: on(0),
                    drops_controls: on(0),
                    backslash: on(1),
                    strips_matrix: on(2),
                    trims: on(3),
                    merges: on(4),
                    resolves_dots: on(5),
                    ..Self::default()
                };
                let twins = Self { folds_case: true, drops_last_slash: true, ..plain };
                all.extend([
                    plain,
                    Self { overlong: true, ..plain },
                    Self { normalises: true, ..plain },
                    twins,
                ]);
                all.push(Self { normalises: true, ..twins });
            }
        }
        all
    }

    /// One of each kind and those that do nearly everything, for tests with many inputs.
    pub(crate) fn notable() -> Vec<Self> {
        let one = Self::default();
        let mut notable = Vec::new();
        for (decodes, decodes_last) in [(0, false), (1, false), (1, true), (2, false), (2, true)] {
            let one = Self { decodes, decodes_last, ..one };
            let everything = Self {
                truncates: true,
                drops_controls: true,
                backslash: true,
                strips_matrix: true,
                trims: true,
                merges: true,
                resolves_dots: true,
                overlong: true,
                ..one
            };
            notable.extend([
                one,
                Self { merges: true, resolves_dots: true, ..one },
                Self { strips_matrix: true, resolves_dots: true, ..one },
                Self { backslash: true, trims: true, ..one },
                everything,
                Self { strips_matrix: false, ..everything },
                Self { normalises: true, ..everything },
                Self { normalises: true, strips_matrix: false, ..everything },
            ]);
        }
        notable
    }

    /// What it takes the path for.
    pub(crate) fn reads(&self, raw: &[u8]) -> Vec<u8> {
        let mut path = raw.to_vec();
        if !self.decodes_last {
            path = (0..self.decodes).fold(path, |path, _| decode(&path));
        }
        if self.overlong {
            path = replace(
                &path,
                &[(b"\xC0\xAF", b"/"), (b"\xC0\xAE", b"."), (b"\xE0\x80\xAF", b"/"), (b"\xC1\x9C", b"\\")],
            );
        }
        if self.normalises
            && let Ok(text) = String::from_utf8(path.clone())
        {
            let fitted: String = text
                .nfkc()
                .collect::<String>()
                .replace(['\u{2215}', '\u{2044}'], "/")
                .replace(['¥', '₩'], "\\");
            path = fitted.into_bytes();
        }
        if self.truncates
            && let Some(end) = path.iter().position(|byte| matches!(byte, 0 | b'?' | b'#'))
        {
            path.truncate(end);
        }
        if self.drops_controls {
            path.retain(|byte| !matches!(byte, b'\t' | b'\r' | b'\n'));
        }
        if self.backslash {
            path = replace(&path, &[(b"\\", b"/")]);
        }
        path = self.segments(&path);
        if self.decodes_last {
            path = (0..self.decodes).fold(path, |path, _| decode(&path));
        }
        if self.folds_case {
            path = match String::from_utf8(path) {
                Ok(text) => text.to_uppercase().to_lowercase().into_bytes(),
                Err(raw) => raw.into_bytes().to_ascii_lowercase(),
            };
        }
        if self.drops_last_slash && path.len() > 1 && path.last() == Some(&b'/') {
            path.pop();
        }
        path
    }

    fn segments(&self, path: &[u8]) -> Vec<u8> {
        let Some(rest) = path.strip_prefix(b"/") else { return path.to_vec() };
        let mut kept: Vec<Vec<u8>> = Vec::new();
        let pieces: Vec<&[u8]> = rest.split(|byte| *byte == b'/').collect();
        for (at, piece) in pieces.iter().enumerate() {
            let last = at + 1 == pieces.len();
            let mut piece = piece.to_vec();
            if self.strips_matrix
                && let Some(end) = piece.iter().position(|byte| *byte == b';')
            {
                piece.truncate(end);
            }
            let dots = matches!(piece.as_slice(), b"." | b"..");
            if self.resolves_dots && dots {
                if piece.len() == 2 {
                    kept.pop();
                }
                if last {
                    kept.push(Vec::new());
                }
                continue;
            }
            while self.trims && !dots && matches!(piece.last(), Some(b'.' | b' ')) {
                piece.pop();
            }
            if self.merges && piece.is_empty() && !last {
                continue;
            }
            kept.push(piece);
        }
        kept.iter().flat_map(|piece| [b"/", piece.as_slice()].concat()).collect()
    }
}

fn replace(path: &[u8], pairs: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = path;
    'next: while let Some((&byte, after)) = rest.split_first() {
        for (from, to) in pairs {
            if let Some(tail) = rest.strip_prefix(*from) {
                out.extend_from_slice(to);
                rest = tail;
                continue 'next;
            }
        }
        out.push(byte);
        rest = after;
    }
    out
}

/// Lenient decoding, as most servers have it: digits in any case, `%u002f` too, what is no escape stays.
pub(crate) fn decode(path: &[u8]) -> Vec<u8> {
    let number = |digits: &[u8]| {
        let text =
            std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
        u32::from_str_radix(text, 16).ok()
    };
    let mut out = Vec::new();
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        if byte == b'%' {
            if let Some(value) = after.get(..2).and_then(number) {
                out.push(value as u8);
                rest = &after[2..];
                continue;
            }
            if let Some(character) = after
                .strip_prefix(b"u")
                .and_then(|digits| digits.get(..4))
                .and_then(number)
                .and_then(char::from_u32)
            {
                out.extend(character.to_string().bytes());
                rest = &after[5..];
                continue;
            }
        }
        out.push(byte);
        rest = after;
    }
    out
}
