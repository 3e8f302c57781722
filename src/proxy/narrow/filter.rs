//! The filter: bytes of an answer in, bytes of the narrowed answer out, as they come. At the end of each item it stops and
//! asks for its id; the item goes out whole when it may be seen, and nothing of it when it may not.
//!
//! It holds one item, at most [`MOST_ITEM`] bytes, and the name of one member; what goes out is the caller's to send. What
//! passes keeps its bytes; what stands between the members of the envelope and between items is written anew.
//!
//! Never here: who may see what.

use super::{
    fault::NarrowFault,
    scan::{Event, Kind, Scan},
};
use crate::policy::narrow::{ListShape, Node, What};

/// The largest item that passes, in bytes. A hidden one may be no larger either: which it is turns out at its end.
pub const MOST_ITEM: usize = 1 << 20;
/// The longest name of a member of the envelope, with its quotes and escapes, in bytes.
const MOST_NAME: usize = 4 << 10;

/// The largest number that is an id: beyond it readers that know floating point only take several for one (RFC 8259, 6).
const MOST_NUMBER: u64 = (1 << 53) - 1;

/// Whether the text of a number is one that every reader reads alike: whole, without exponent.
pub(super) fn is_plain_number(text: &str) -> bool {
    text != "-0"
        && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
        && text.parse::<i64>().is_ok_and(|number| number.unsigned_abs() <= MOST_NUMBER)
}

/// How far bytes were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fed {
    /// How many of them.
    pub taken: usize,
    /// Whether an item waits for [`Filter::answer`]; nothing is taken before.
    pub asks: bool,
}

/// Where the bytes that are being read go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sink {
    Nowhere,
    Out,
    Item,
    Name,
}

/// What is being read.
#[derive(Debug, Clone, Copy)]
enum Phase<'s> {
    /// Nothing yet.
    Start,
    /// An object of the envelope.
    Envelope,
    /// Its member, whose name was read; `None` is one that is not named.
    Member(Option<&'s What>),
    /// The value of a member, to its end.
    Value,
    /// The list, between items.
    List,
    /// An object of an item on the way to its id.
    Item,
    /// Its member; whether it is the next on the way.
    Step(bool),
    /// A value in an item that is not on the way, to its end.
    Beside,
    /// The id of an item.
    Id,
    /// All of an item that is no object, and no id.
    Whole,
    /// An item that waits for an answer.
    Asks,
    /// Nothing more.
    Over,
}

/// An object of the envelope that is looked into.
#[derive(Debug)]
struct Level<'s> {
    nodes: &'s [Node],
    /// One bit for each of them: it was there.
    seen: u64,
    /// A member of it was written.
    any: bool,
}

/// See the module's header.
#[derive(Debug)]
pub struct Filter<'s> {
    shape: &'s ListShape,
    scan: Scan,
    phase: Phase<'s>,
    sink: Sink,
    levels: Vec<Level<'s>>,
    /// The list was there.
    found: bool,
    /// An item of it was written.
    any: bool,
    name: Vec<u8>,
    item: Vec<u8>,
    id: Option<String>,
    /// How many steps of the way to the id lie above the object in hand, and which of them were taken in this item.
    along: usize,
    taken: u32,
    /// The id in hand is a number.
    is_number: bool,
}

impl<'s> Filter<'s> {
    /// At the start of an answer.
    #[must_use]
    pub fn new(shape: &'s ListShape) -> Filter<'s> {
        Filter {
            shape,
            scan: Scan::new(),
            phase: Phase::Start,
            sink: Sink::Nowhere,
            levels: Vec::new(),
            found: false,
            any: false,
            name: Vec::new(),
            item: Vec::new(),
            id: None,
            along: 0,
            taken: 0,
            is_number: false,
        }
    }

    /// Bytes of memory that it holds beside itself: the item in hand, a name, an id.
    #[must_use]
    pub fn holds(&self) -> usize {
        let levels = self.levels.capacity() * size_of::<Level<'_>>();
        let id = self.id.as_ref().map_or(0, String::capacity);
        self.item.capacity() + self.name.capacity() + self.scan.holds() + levels + id
    }

    /// Takes bytes, up to the end of an item that has an id, or all of them; what passes is appended to `out`.
    ///
    /// # Errors
    /// [`NarrowFault`]: nothing more may be sent, nor asked of this filter.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Fed, NarrowFault> {
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..)
            && !rest.is_empty()
            && !self.asks()
        {
            let found = self.scan.next(rest)?;
            self.pass(rest.get(..found.taken).unwrap_or_default(), out)?;
            taken += found.taken;
            if let Some(event) = found.event {
                self.on(event, out)?;
            }
        }
        Ok(Fed { taken, asks: self.asks() })
    }

    /// The id of the item that waits for [`Filter::answer`].
    #[must_use]
    pub fn asked(&self) -> Option<&str> {
        if self.asks() { self.id.as_deref() } else { None }
    }

    /// Whether the item that waits may be seen.
    pub fn answer(&mut self, sees: bool, out: &mut Vec<u8>) {
        if self.asks() {
            if sees {
                if std::mem::replace(&mut self.any, true) {
                    out.push(b',');
                }
                out.extend_from_slice(&self.item);
            }
            self.item.clear();
            self.id = None;
            self.phase = Phase::List;
        }
    }

    /// The answer has ended.
    ///
    /// # Errors
    /// [`NarrowFault`] where the document has not.
    pub fn finish(&self) -> Result<(), NarrowFault> {
        match self.phase {
            Phase::Over if self.scan.is_over() => Ok(()),
            _ => Err(NarrowFault::CutOff),
        }
    }

    fn asks(&self) -> bool {
        matches!(self.phase, Phase::Asks)
    }

    /// Bytes that were read.
    fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), NarrowFault> {
        match self.sink {
            Sink::Nowhere => {}
            Sink::Out => out.extend_from_slice(bytes),
            Sink::Name => {
                if self.name.len() + bytes.len() > MOST_NAME {
                    return Err(NarrowFault::NameTooLong);
                }
                self.name.extend_from_slice(bytes);
            }
            Sink::Item => {
                let needed = self.item.len() + bytes.len();
                if needed > MOST_ITEM {
                    return Err(NarrowFault::ItemTooLarge);
                }
                if needed > self.item.capacity() {
                    // Grown as vectors grow, but never beyond the bound.
                    let room = (self.item.capacity() * 2).clamp(needed, MOST_ITEM);
                    self.item.reserve_exact(room - self.item.len());
                }
                self.item.extend_from_slice(bytes);
            }
        }
        Ok(())
    }

    fn on(&mut self, event: Event, out: &mut Vec<u8>) -> Result<(), NarrowFault> {
        match (self.phase, event) {
            (Phase::Start, Event::Begin(kind)) => self.member_begins(&self.shape.root, kind, out)?,
            (Phase::Envelope, Event::NameBegin) => {
                self.name.clear();
                self.sink = Sink::Name;
                self.scan.want();
            }
            (Phase::Envelope, Event::Name) => {
                self.sink = Sink::Nowhere;
                self.phase = Phase::Member(self.named()?);
            }
            (Phase::Envelope, Event::End) => self.leave(out)?,
            (Phase::Member(what), Event::Begin(kind)) => {
                let other = if self.shape.keeps_others { &What::Keep } else { &What::Drop };
                self.member_begins(what.unwrap_or(other), kind, out)?;
            }
            (Phase::Value, Event::End) => {
                self.sink = Sink::Nowhere;
                self.phase = Phase::Envelope;
            }
            (Phase::List, Event::Begin(kind)) => self.item_begins(kind),
            (Phase::List, Event::End) => {
                out.push(b']');
                self.found = true;
                self.phase = if self.levels.is_empty() { Phase::Over } else { Phase::Envelope };
            }
            (Phase::Item, Event::NameBegin) => self.scan.want(),
            (Phase::Item, Event::Name) => self.phase = Phase::Step(self.is_step()?),
            (Phase::Item, Event::End) => match self.along.checked_sub(1) {
                Some(along) => self.along = along,
                None => self.item_ends(),
            },
            (Phase::Step(is_step), Event::Begin(kind)) => self.step(is_step, kind),
            (Phase::Beside, Event::End) => self.phase = Phase::Item,
            (Phase::Id, Event::End) => {
                self.id = self.read_id();
                match self.shape.id.steps() {
                    [] => self.item_ends(),
                    _ => self.phase = Phase::Item,
                }
            }
            (Phase::Whole, Event::End) => self.item_ends(),
            // No two of them can follow each other otherwise.
            _ => return Err(NarrowFault::Syntax),
        }
        Ok(())
    }

    /// What becomes of the member whose name was read.
    fn named(&mut self) -> Result<Option<&'s What>, NarrowFault> {
        let Some(level) = self.levels.last_mut() else { return Err(NarrowFault::Syntax) };
        let name = self.scan.kept();
        let named = level.nodes.iter().enumerate().find(|(_, node)| name == Some(&*node.name));
        let Some((number, node)) = named else { return Ok(None) };
        let bit = 1u64.checked_shl(u32::try_from(number).unwrap_or(u32::MAX)).unwrap_or(0);
        if level.seen & bit != 0 {
            return Err(NarrowFault::Twice);
        }
        level.seen |= bit;
        Ok(Some(&node.what))
    }

    /// The value of a member of the envelope begins, or the document itself.
    fn member_begins(&mut self, what: &'s What, kind: Kind, out: &mut Vec<u8>) -> Result<(), NarrowFault> {
        match (what, kind) {
            (What::List, Kind::Array) => {
                self.say_name(out);
                out.push(b'[');
                self.phase = Phase::List;
            }
            (What::Into(nodes, _), Kind::Object) => {
                self.say_name(out);
                out.push(b'{');
                self.levels.push(Level { nodes, seen: 0, any: false });
                self.phase = Phase::Envelope;
            }
            (What::List | What::Into(_, true), _) => return Err(NarrowFault::ListMissing),
            (What::Keep, _) => {
                self.say_name(out);
                self.sink = Sink::Out;
                self.scan.mute();
                self.phase = Phase::Value;
            }
            // What should have been looked into, and cannot be, is not what was declared.
            (What::Drop | What::Into(_, false), _) => {
                self.scan.mute();
                self.phase = Phase::Value;
            }
        }
        Ok(())
    }

    /// Writes the name in hand; of the document itself there is none.
    fn say_name(&mut self, out: &mut Vec<u8>) {
        let Some(level) = self.levels.last_mut() else { return };
        if std::mem::replace(&mut level.any, true) {
            out.push(b',');
        }
        out.extend_from_slice(&self.name);
        out.push(b':');
    }

    /// An object of the envelope is over.
    fn leave(&mut self, out: &mut Vec<u8>) -> Result<(), NarrowFault> {
        out.push(b'}');
        self.levels.pop();
        if self.levels.is_empty() {
            if !self.found {
                return Err(NarrowFault::ListMissing);
            }
            self.phase = Phase::Over;
        }
        Ok(())
    }

    fn item_begins(&mut self, kind: Kind) {
        self.item.clear();
        self.id = None;
        (self.along, self.taken) = (0, 0);
        self.sink = Sink::Item;
        self.phase = match (self.shape.id.steps(), kind) {
            ([], Kind::Text | Kind::Number) => {
                self.scan.want();
                self.scan.mute();
                self.is_number = kind == Kind::Number;
                Phase::Id
            }
            ([_, ..], Kind::Object) => Phase::Item,
            _ => {
                self.scan.mute();
                Phase::Whole
            }
        };
    }

    /// Whether the member whose name was read is the next on the way to the id.
    fn is_step(&mut self) -> Result<bool, NarrowFault> {
        let is_step = match (self.shape.id.steps().get(self.along), self.scan.kept()) {
            (Some(step), Some(name)) => **step == *name,
            _ => false,
        };
        if is_step {
            let bit = 1u32.checked_shl(u32::try_from(self.along).unwrap_or(u32::MAX)).unwrap_or(0);
            if self.taken & bit != 0 {
                return Err(NarrowFault::Twice);
            }
            self.taken |= bit;
        }
        Ok(is_step)
    }

    /// The value of a member of an item begins.
    fn step(&mut self, is_step: bool, kind: Kind) {
        let last = self.along + 1 == self.shape.id.steps().len();
        self.phase = match kind {
            Kind::Object if is_step && !last => {
                self.along += 1;
                Phase::Item
            }
            Kind::Text | Kind::Number if is_step && last => {
                self.scan.want();
                self.scan.mute();
                self.is_number = kind == Kind::Number;
                Phase::Id
            }
            _ => {
                self.scan.mute();
                Phase::Beside
            }
        };
    }

    /// The id that was read: a text, or a whole number as every reader reads it. Anything else names nothing.
    fn read_id(&self) -> Option<String> {
        let text = self.scan.kept().filter(|text| !text.is_empty())?;
        (!self.is_number || is_plain_number(text)).then(|| text.to_owned())
    }

    /// An item is over: whether it passes is asked where it has an id; where it has none, nobody knows of it.
    fn item_ends(&mut self) {
        self.sink = Sink::Nowhere;
        self.phase = match self.id {
            Some(_) => Phase::Asks,
            None => {
                self.item.clear();
                Phase::List
            }
        };
    }
}
