//! One body, read in the framing it came in and written in the one it goes on in.

use crate::proxy::wire::{BodyFault, BodyReader, BodyWriter, Framing, HeadFault, NameSet, pass_trailers};

use super::Tally;

/// The two halves of framing one body anew.
pub(super) struct Body<'a> {
    pub(super) reader: BodyReader,
    pub(super) writer: BodyWriter,
    /// How many bytes it may have, counted in the tally; of answers nothing is asked.
    pub(super) most: u64,
    /// Where trailers go on: names that do not.
    pub(super) trailers: Option<[&'a NameSet; 2]>,
}

impl<'a> Body<'a> {
    pub(super) fn new(from: Framing, to: Framing, most: u64, trailers: Option<[&'a NameSet; 2]>) -> Body<'a> {
        let reader = match trailers {
            Some(_) => BodyReader::keeping_trailers(from),
            None => BodyReader::new(from),
        };
        Body { reader, writer: BodyWriter::new(to), most, trailers }
    }

    /// Writes the end of it, and of the trailers those that may go on.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), &'static str> {
        match self.trailers {
            Some(refused) if !self.reader.trailers().is_empty() => {
                let mut lines = Vec::new();
                pass_trailers(&mut lines, self.reader.trailers(), refused).map_err(HeadFault::code)?;
                self.writer.finish_with(&lines, out).map_err(|_| "body_length")
            }
            _ => {
                out.extend_from_slice(self.writer.finish().map_err(|_| "body_length")?);
                Ok(())
            }
        }
    }

    /// Where no byte of it has come: whether it is whole already.
    pub(super) fn begin(&mut self, out: &mut Vec<u8>) -> Result<bool, &'static str> {
        if self.reader.is_done() {
            self.finish(out)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Moves what has come from `inbox` into `out`, framed anew; whether it is whole.
    pub(super) fn take(
        &mut self,
        inbox: &mut Vec<u8>,
        out: &mut Vec<u8>,
        tally: &Tally,
    ) -> Result<bool, &'static str> {
        let mut at = 0;
        while !self.reader.is_done() {
            let rest = inbox.get(at..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            let step = self.reader.advance(rest).map_err(BodyFault::code)?;
            let data = rest.get(step.data.clone()).unwrap_or_default();
            let frame = self.writer.frame(data.len()).map_err(|_| "body_length")?;
            out.extend_from_slice(frame.before());
            out.extend_from_slice(data);
            out.extend_from_slice(frame.after());
            tally.received.set(tally.received.get() + data.len() as u64);
            if tally.received.get() > self.most {
                return Err("body_too_large");
            }
            at += step.consumed;
        }
        inbox.drain(..at);
        if self.reader.is_done() {
            self.finish(out)?;
        }
        Ok(self.reader.is_done())
    }
}
