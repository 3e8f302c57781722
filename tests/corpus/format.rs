//! The one format of the corpora: see `README.md` here. Depends on nothing, so that `scripts/fuzz` can compile it by
//! itself.

/// One case: what is sent, why, and what must come of it.
#[derive(Debug, Clone, Default)]
pub struct Case {
    /// Unique within its file.
    pub id: String,
    /// The rule or the attack that it stands for.
    pub why: String,
    /// What must happen, in order.
    pub expected: Vec<String>,
    /// Header lines that must arrive, beside those that the gateway writes itself; one list for each `forward`.
    pub arrives: Vec<Vec<String>>,
    /// What is sent, in the pieces in which it is sent; one piece unless the case says otherwise.
    pub pieces: Vec<Vec<u8>>,
}

impl Case {
    /// All of it.
    pub fn bytes(&self) -> Vec<u8> {
        self.pieces.concat()
    }
}

/// Reads a file of cases. `fill` is what stands for `{names}` in the bytes sent.
pub fn cases(text: &str, fill: &[(&str, &str)]) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if let Some(head) = line.strip_prefix("=== ") {
            let (id, expected) =
                head.split_once(" | ").unwrap_or_else(|| panic!("line {}: no verdict", number + 1));
            let expected = expected.split(" ; ").map(|verdict| verdict.trim().to_owned()).collect();
            cases.push(Case {
                id: id.trim().to_owned(),
                expected,
                pieces: vec![Vec::new()],
                ..Case::default()
            });
            continue;
        }
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let case = cases.last_mut().unwrap_or_else(|| panic!("line {}: before any case", number + 1));
        if let Some(why) = line.strip_prefix("why: ") {
            why.clone_into(&mut case.why);
        } else if line == ">>" {
            case.arrives.push(Vec::new());
        } else if let Some(header) = line.strip_prefix("> ") {
            if case.arrives.is_empty() {
                case.arrives.push(Vec::new());
            }
            case.arrives.last_mut().expect("one was just made").push(header.to_owned());
        } else if line == "|" {
            case.pieces.push(Vec::new());
        } else {
            let mut line = line.to_owned();
            for (name, value) in fill {
                line = line.replace(name, value);
            }
            case.pieces.last_mut().expect("there is always one").extend(unescaped(&line));
        }
    }
    cases
}

/// `\r`, `\n`, `\t`, `\0`, `\\`, `\s` (a space), `\xNN`, `\*300(x)` (so often); all else stands for itself, as UTF-8.
pub fn unescaped(line: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = line.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let (&kind, after) = rest.split_first().expect("something behind the backslash");
        rest = after;
        match kind {
            b'r' => out.push(b'\r'),
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'0' => out.push(0),
            b's' => out.push(b' '),
            b'\\' => out.push(b'\\'),
            b'x' => {
                let digits = std::str::from_utf8(&rest[..2]).expect("two digits");
                out.push(u8::from_str_radix(digits, 16).expect("two hexadecimal digits"));
                rest = &rest[2..];
            }
            b'*' => {
                let open = rest.iter().position(|b| *b == b'(').expect("an opening bracket");
                let close = rest.iter().position(|b| *b == b')').expect("a closing bracket");
                let times: usize =
                    std::str::from_utf8(&rest[..open]).expect("digits").parse().expect("a number");
                let piece = unescaped(std::str::from_utf8(&rest[open + 1..close]).expect("UTF-8"));
                for _ in 0..times {
                    out.extend_from_slice(&piece);
                }
                rest = &rest[close + 1..];
            }
            other => panic!("no escape: `{}`", char::from(other)),
        }
    }
    out
}

/// The other way: one line of visible ASCII.
pub fn escaped(bytes: &[u8]) -> String {
    let mut out = String::new();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'\r' => out.push_str("\\r"),
            b'\n' => out.push_str("\\n"),
            b'\t' => out.push_str("\\t"),
            b'\\' => out.push_str("\\\\"),
            b' ' if at == 0 || at + 1 == bytes.len() => out.push_str("\\s"),
            b' '..=b'~' => out.push(char::from(*byte)),
            other => out.push_str(&format!("\\x{other:02x}")),
        }
    }
    out
}
