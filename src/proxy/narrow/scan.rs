//! JSON to the letter of RFC 8259, read in pieces of any size: where values and names begin and end, and whether all of it is
//! JSON at all. Nothing is held but a stack of one bit for each level, and the text that somebody asked to have.
//!
//! Stricter than most readers where those differ: UTF-8 only, no BOM, no lone surrogate, nothing behind the document.
//! Never here: what a name or a value means.

use super::fault::NarrowFault;

/// How deeply a document may be nested.
pub const MOST_DEPTH: u32 = 128;
/// Bytes of a name or an id that are kept to be compared; longer ones equal nothing.
pub const MOST_TEXT: usize = 256;

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `{`
    Object,
    /// `[`
    Array,
    /// `"`
    Text,
    /// A digit or `-`.
    Number,
    /// `true`, `false`, `null`.
    Word,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The next byte is the first of a value.
    Begin(Kind),
    /// The next byte opens the name of a member.
    NameBegin,
    /// The name is over; its quote was taken.
    Name,
    /// The value is over; of an object or array, its bracket was taken.
    End,
}

/// How far it was read: this many bytes were taken; without an event all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Bytes that were taken.
    pub taken: usize,
    /// What stands there.
    pub event: Option<Event>,
}

/// Where in the grammar the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a value.
    Value,
    /// Before the first value of an array, or its end.
    FirstValue,
    /// Before a name.
    Name,
    /// Before the first name of an object, or its end.
    FirstName,
    /// Before a colon.
    Colon,
    /// Behind a value.
    Behind,
    /// Within a text.
    Text(Text),
    /// Within a number.
    Number(Number),
    /// Within a word, of which these bytes are still to come.
    Word(&'static [u8]),
    /// Behind the document.
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    Plain,
    /// Behind a backslash.
    Escape,
    /// Within `\u`: digits still to come, their value so far, and the high surrogate before it.
    Hex(u8, u16, Option<u16>),
    /// Behind a high surrogate: a backslash has to come …
    Low(u16),
    /// … and a `u`.
    LowU(u16),
    /// Within a character of UTF-8: bytes still to come, and between what the next one is.
    Inner(u8, u8, u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    Minus,
    Zero,
    Whole,
    Point,
    Fraction,
    Exponent,
    Sign,
    Power,
}

impl Number {
    /// Whether a number may end here.
    fn may_end(self) -> bool {
        matches!(self, Number::Zero | Number::Whole | Number::Fraction | Number::Power)
    }

    fn next(self, byte: u8) -> Option<Number> {
        Some(match (self, byte) {
            (Number::Minus, b'0') => Number::Zero,
            (Number::Minus, b'1'..=b'9') | (Number::Whole, b'0'..=b'9') => Number::Whole,
            (Number::Zero | Number::Whole, b'.') => Number::Point,
            (Number::Point | Number::Fraction, b'0'..=b'9') => Number::Fraction,
            (Number::Zero | Number::Whole | Number::Fraction, b'e' | b'E') => Number::Exponent,
            (Number::Exponent, b'+' | b'-') => Number::Sign,
            (Number::Exponent | Number::Sign | Number::Power, b'0'..=b'9') => Number::Power,
            _ => return None,
        })
    }
}

/// See the module's header.
#[derive(Debug)]
pub struct Scan {
    state: State,
    /// One bit a level, the innermost lowest: whether it is an object.
    objects: u128,
    depth: u32,
    /// The text in hand is a name.
    is_name: bool,
    /// The next byte was announced.
    announced: bool,
    /// Nothing is told of what lies deeper than this, until the value at this depth is over.
    mute: Option<u32>,
    /// Whether the text or number in hand is to be had, and whether it is too long for that.
    wanted: bool,
    too_long: bool,
    text: Vec<u8>,
}

impl Default for Scan {
    fn default() -> Self {
        Scan {
            state: State::Value,
            objects: 0,
            depth: 0,
            is_name: false,
            announced: false,
            mute: None,
            wanted: false,
            too_long: false,
            text: Vec::new(),
        }
    }
}

impl Scan {
    /// At the start of a document.
    #[must_use]
    pub fn new() -> Scan {
        Scan::default()
    }

    /// Asked at [`Event::Begin`]: nothing is told of what is in that value but its end.
    pub fn mute(&mut self) {
        self.mute = Some(self.depth);
    }

    /// Asked at [`Event::NameBegin`], or at [`Event::Begin`] of a text or number: has it kept.
    pub fn want(&mut self) {
        self.wanted = true;
        self.too_long = false;
        self.text.clear();
    }

    /// What was asked for, with its escapes undone; `None` where it is longer than [`MOST_TEXT`].
    #[must_use]
    pub fn kept(&self) -> Option<&str> {
        if self.too_long { None } else { std::str::from_utf8(&self.text).ok() }
    }

    /// Whether the document is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Bytes of memory that it holds beside itself.
    #[must_use]
    pub fn holds(&self) -> usize {
        self.text.capacity()
    }

    /// Takes bytes up to the next event, or all of them.
    ///
    /// # Errors
    /// [`NarrowFault`] at the first byte that is not JSON; nothing may be asked behind it.
    pub fn next(&mut self, bytes: &[u8]) -> Result<Found, NarrowFault> {
        let mut at = 0;
        while let Some((byte, rest)) = bytes.get(at..).and_then(<[u8]>::split_first) {
            let byte = *byte;
            match self.state {
                State::Text(Text::Plain) => {
                    at += self.plain(byte, rest);
                    if let Some(event) = self.behind_plain(bytes.get(at).copied(), &mut at)? {
                        return Ok(Found { taken: at, event: Some(event) });
                    }
                    continue;
                }
                State::Text(text) => self.state = State::Text(self.within(text, byte)?),
                State::Number(number) => {
                    if let Some(next) = number.next(byte) {
                        self.keep(&[byte]);
                        self.state = State::Number(next);
                    } else if number.may_end() {
                        // The byte belongs to whatever follows.
                        match self.end() {
                            None => continue,
                            event => return Ok(Found { taken: at, event }),
                        }
                    } else {
                        return Err(NarrowFault::Syntax);
                    }
                }
                State::Word([expected, left @ ..]) if *expected == byte => {
                    self.state = State::Word(left);
                    if left.is_empty() {
                        at += 1;
                        match self.end() {
                            None => continue,
                            event => return Ok(Found { taken: at, event }),
                        }
                    }
                }
                State::Word(_) => return Err(NarrowFault::Syntax),
                _ if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') => {}
                State::Over => return Err(NarrowFault::Trailing),
                State::Colon if byte == b':' => self.state = State::Value,
                State::Behind if byte == b',' => {
                    self.state = if self.is_in_object() { State::Name } else { State::Value };
                }
                State::Behind if byte == self.bracket() => {
                    at += 1;
                    match self.close() {
                        None => continue,
                        event => return Ok(Found { taken: at, event }),
                    }
                }
                State::FirstName if byte == b'}' => {
                    at += 1;
                    match self.close() {
                        None => continue,
                        event => return Ok(Found { taken: at, event }),
                    }
                }
                State::FirstValue if byte == b']' => {
                    at += 1;
                    match self.close() {
                        None => continue,
                        event => return Ok(Found { taken: at, event }),
                    }
                }
                State::Name | State::FirstName if byte == b'"' => {
                    if !self.announced && self.mute.is_none() {
                        self.announced = true;
                        return Ok(Found { taken: at, event: Some(Event::NameBegin) });
                    }
                    self.announced = false;
                    self.is_name = true;
                    self.state = State::Text(Text::Plain);
                }
                State::Value | State::FirstValue => {
                    let kind = kind_of(byte)?;
                    if !self.announced && self.mute.is_none() {
                        self.announced = true;
                        return Ok(Found { taken: at, event: Some(Event::Begin(kind)) });
                    }
                    self.announced = false;
                    self.begin(kind, byte)?;
                }
                State::Name | State::FirstName | State::Colon | State::Behind => {
                    return Err(NarrowFault::Syntax);
                }
            }
            at += 1;
        }
        Ok(Found { taken: bytes.len(), event: None })
    }

    /// Takes what is plain in a text, from this byte on; how much.
    fn plain(&mut self, byte: u8, rest: &[u8]) -> usize {
        if !is_plain(byte) {
            return 0;
        }
        let more = rest.iter().position(|byte| !is_plain(*byte)).unwrap_or(rest.len());
        if self.wanted {
            self.keep(&[byte]);
            self.keep(rest.get(..more).unwrap_or_default());
        }
        1 + more
    }

    /// What ends a run of plain bytes: the text's end, an escape, a character beyond ASCII.
    fn behind_plain(&mut self, byte: Option<u8>, at: &mut usize) -> Result<Option<Event>, NarrowFault> {
        let Some(byte) = byte else { return Ok(None) };
        *at += 1;
        let next = match byte {
            b'"' if self.is_name => {
                self.is_name = false;
                self.wanted = false;
                self.state = State::Colon;
                return Ok(self.mute.is_none().then_some(Event::Name));
            }
            b'"' => return Ok(self.end()),
            b'\\' => Text::Escape,
            // RFC 3629, 4: no overlong form, no surrogate, nothing beyond U+10FFFF.
            0xC2..=0xDF => Text::Inner(1, 0x80, 0xBF),
            0xE0 => Text::Inner(2, 0xA0, 0xBF),
            0xED => Text::Inner(2, 0x80, 0x9F),
            0xE1..=0xEF => Text::Inner(2, 0x80, 0xBF),
            0xF0 => Text::Inner(3, 0x90, 0xBF),
            0xF1..=0xF3 => Text::Inner(3, 0x80, 0xBF),
            0xF4 => Text::Inner(3, 0x80, 0x8F),
            _ => return Err(NarrowFault::Syntax),
        };
        if byte != b'\\' {
            self.keep(&[byte]);
        }
        self.state = State::Text(next);
        Ok(None)
    }

    /// One byte within an escape or a character beyond ASCII.
    fn within(&mut self, text: Text, byte: u8) -> Result<Text, NarrowFault> {
        match text {
            Text::Plain => Err(NarrowFault::Syntax),
            Text::Escape => {
                let meant = match byte {
                    b'u' => return Ok(Text::Hex(4, 0, None)),
                    b'"' | b'\\' | b'/' => byte,
                    b'b' => 0x08,
                    b'f' => 0x0C,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    _ => return Err(NarrowFault::Syntax),
                };
                self.keep(&[meant]);
                Ok(Text::Plain)
            }
            Text::Hex(left, value, high) => {
                let digit = char::from(byte).to_digit(16).and_then(|digit| u16::try_from(digit).ok());
                let value = (value << 4) | digit.ok_or(NarrowFault::Syntax)?;
                match left {
                    1 => self.unit(value, high),
                    left => Ok(Text::Hex(left - 1, value, high)),
                }
            }
            Text::Low(high) if byte == b'\\' => Ok(Text::LowU(high)),
            Text::LowU(high) if byte == b'u' => Ok(Text::Hex(4, 0, Some(high))),
            Text::Low(_) | Text::LowU(_) => Err(NarrowFault::Syntax),
            Text::Inner(left, from, to) if (from..=to).contains(&byte) => {
                self.keep(&[byte]);
                Ok(if left == 1 { Text::Plain } else { Text::Inner(left - 1, 0x80, 0xBF) })
            }
            Text::Inner(..) => Err(NarrowFault::Syntax),
        }
    }

    /// One unit of UTF-16, behind a high surrogate or not. One alone means nothing that all readers agree on.
    fn unit(&mut self, unit: u16, high: Option<u16>) -> Result<Text, NarrowFault> {
        let code = match (high, unit) {
            (None, 0xD800..=0xDBFF) => return Ok(Text::Low(unit)),
            (Some(high), 0xDC00..=0xDFFF) => {
                0x1_0000 + ((u32::from(high) - 0xD800) << 10) + (u32::from(unit) - 0xDC00)
            }
            (None, unit) => u32::from(unit),
            (Some(_), _) => return Err(NarrowFault::Syntax),
        };
        let meant = char::from_u32(code).ok_or(NarrowFault::Syntax)?;
        self.keep(meant.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(Text::Plain)
    }

    fn keep(&mut self, bytes: &[u8]) {
        if !self.wanted {
            return;
        }
        if self.text.len() + bytes.len() > MOST_TEXT {
            self.too_long = true;
            return;
        }
        self.text.extend_from_slice(bytes);
    }

    /// A value begins with this byte.
    fn begin(&mut self, kind: Kind, byte: u8) -> Result<(), NarrowFault> {
        self.state = match kind {
            Kind::Object | Kind::Array => {
                if self.depth == MOST_DEPTH {
                    return Err(NarrowFault::Depth);
                }
                self.depth += 1;
                self.objects = (self.objects << 1) | u128::from(kind == Kind::Object);
                if kind == Kind::Object { State::FirstName } else { State::FirstValue }
            }
            Kind::Text => State::Text(Text::Plain),
            Kind::Number => {
                self.keep(&[byte]);
                State::Number(match byte {
                    b'-' => Number::Minus,
                    b'0' => Number::Zero,
                    _ => Number::Whole,
                })
            }
            Kind::Word => State::Word(match byte {
                b't' => b"rue",
                b'f' => b"alse",
                _ => b"ull",
            }),
        };
        Ok(())
    }

    /// A value is over.
    fn end(&mut self) -> Option<Event> {
        self.wanted = false;
        self.state = if self.depth == 0 { State::Over } else { State::Behind };
        match self.mute {
            Some(depth) if depth < self.depth => None,
            Some(_) => {
                self.mute = None;
                Some(Event::End)
            }
            None => Some(Event::End),
        }
    }

    fn close(&mut self) -> Option<Event> {
        self.depth -= 1;
        self.objects >>= 1;
        self.end()
    }

    fn is_in_object(&self) -> bool {
        self.objects & 1 == 1
    }

    /// What closes the innermost value.
    fn bracket(&self) -> u8 {
        if self.is_in_object() { b'}' } else { b']' }
    }
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7F) && byte != b'"' && byte != b'\\'
}

fn kind_of(byte: u8) -> Result<Kind, NarrowFault> {
    Ok(match byte {
        b'{' => Kind::Object,
        b'[' => Kind::Array,
        b'"' => Kind::Text,
        b'-' | b'0'..=b'9' => Kind::Number,
        b't' | b'f' | b'n' => Kind::Word,
        _ => return Err(NarrowFault::Syntax),
    })
}
