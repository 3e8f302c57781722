//! Non-ASCII characters that a back-end may read as something else than what was sent.
//!
//! Lives here: one table of ranges. A character is in it when compatibility normalisation (NFKC) turns it into text
//! with an ASCII character in it (`／`, `．`, `℀`, `①`, `ﬁ`, `𝐮`), when an old code page squeezes it into a slash or
//! backslash (`¥`, `₩`, `∕`), when it is not visible (spaces, format controls, variation selectors, private use), or when
//! it composes with an ASCII letter before it (U+0300 to U+036F: NFC is what clients send). Some ranges are whole blocks:
//! a table that can be read is worth more than a few symbols. The tests hold it against a full Unicode table.
//!
//! Never here: characters that only case mapping turns into ASCII (`ß`, `ı`): German and Turkish names hold them, so the
//! route table looks at those ([`super::case_twin`]).

/// Sorted, disjoint, both ends included.
const RANGES: [(u32, u32); 50] = [
    (0x0080, 0x00BF), // C1 controls, no-break space, `¥`, soft hyphen, superscripts, fractions
    (0x0132, 0x0133), // IJ ligatures
    (0x013F, 0x0140), // L with middle dot
    (0x0149, 0x0149),
    (0x017F, 0x017F), // long s
    (0x01C4, 0x01CC), // digraphs
    (0x01F1, 0x01F3),
    (0x02B0, 0x02FF), // spacing modifiers
    (0x0300, 0x036F), // combining marks that compose with ASCII letters
    (0x037A, 0x037A),
    (0x037E, 0x037E), // Greek question mark: `;`
    (0x0384, 0x0385),
    (0x061C, 0x061C), // Arabic letter mark
    (0x115F, 0x1160), // Hangul fillers
    (0x1680, 0x1680), // Ogham space
    (0x180B, 0x180F), // Mongolian selectors
    (0x1D2C, 0x1D6A), // phonetic superscripts and subscripts
    (0x1D78, 0x1D78),
    (0x1D9B, 0x1DBF),
    (0x1E9A, 0x1E9A),
    (0x1FBD, 0x1FC1), // Greek spacing marks, U+1FEF (backtick) below
    (0x1FCD, 0x1FCF),
    (0x1FDD, 0x1FDF),
    (0x1FED, 0x1FEF),
    (0x1FFD, 0x1FFE),
    (0x2000, 0x20CF), // general punctuation, super- and subscripts, currency signs
    (0x2100, 0x218F), // letter-like symbols, number forms
    (0x2200, 0x22FF), // mathematical operators: `∕`, `∖`
    (0x2460, 0x24FF), // enclosed: `①`, `⒈`
    (0x29F5, 0x29F9), // big solidus and its kin
    (0x2A74, 0x2A76),
    (0x2C7C, 0x2C7D),
    (0x3000, 0x3000), // ideographic space
    (0x309B, 0x309C),
    (0x3164, 0x3164), // Hangul filler
    (0x3200, 0x33FF), // enclosed and squared
    (0xA7F1, 0xA7F4),
    (0xE000, 0xF8FF), // private use
    (0xFB00, 0xFB06), // ligatures
    (0xFB29, 0xFB29),
    (0xFC5E, 0xFC63),
    (0xFDFA, 0xFDFB),
    (0xFE00, 0xFE1F), // variation selectors, vertical forms
    (0xFE30, 0xFE7F), // compatibility and small forms
    (0xFEFF, 0xFFFF), // byte order mark, full-width and half-width forms, specials
    (0x1_0780, 0x1_07BF),
    (0x1_CCD6, 0x1_CCF9), // outlined letters and digits
    (0x1_D400, 0x1_D7FF), // mathematical letters and digits
    (0x1_F100, 0x1_F1FF), // enclosed letters
    (0x1_FBF0, 0x1_FBF9), // segmented digits
];

/// From here on: tags, further selectors, private use, nothing that a path needs.
const BEYOND: u32 = 0xE_0000;

/// Whether the character is refused in a path.
pub(super) fn is_look_alike(character: char) -> bool {
    let point = u32::from(character);
    if point >= BEYOND || point & 0xFFFE == 0xFFFE {
        return true;
    }
    let at = RANGES.partition_point(|&(_, last)| last < point);
    RANGES.get(at).is_some_and(|&(first, _)| first <= point)
}

#[cfg(test)]
mod tests {
    use unicode_normalization::UnicodeNormalization;

    use super::*;

    #[test]
    fn ranges_are_sorted_and_disjoint() {
        assert!(RANGES.windows(2).all(|pair| pair[0].1 < pair[1].0));
        assert!(RANGES.iter().all(|(first, last)| first <= last));
    }

    #[test]
    fn whatever_normalisation_turns_into_ascii_is_refused() {
        for character in ('\u{80}'..=char::MAX).filter(|c| !is_look_alike(*c)) {
            let forms = [character.nfkc().collect::<String>(), character.nfc().collect()];
            assert!(
                forms.iter().all(|form| !form.chars().any(|c| c.is_ascii())),
                "U+{:04X} becomes {forms:?}",
                u32::from(character)
            );
        }
    }

    #[test]
    fn what_is_not_visible_is_refused() {
        for character in ('\u{80}'..=char::MAX).filter(|c| c.is_control() || c.is_whitespace()) {
            assert!(is_look_alike(character), "U+{:04X}", u32::from(character));
        }
        for character in
            ['\u{AD}', '\u{200B}', '\u{200D}', '\u{202E}', '\u{2066}', '\u{FE0F}', '\u{FEFF}', '\u{E0041}']
        {
            assert!(is_look_alike(character), "U+{:04X}", u32::from(character));
        }
    }

    #[test]
    fn letters_of_living_languages_pass() {
        for character in "éüßıİłżøñçğşãÆαβжщאבمرकमไทย中文字カナひら한글ếữ😀".chars()
        {
            assert!(!is_look_alike(character), "{character}");
        }
    }
}
