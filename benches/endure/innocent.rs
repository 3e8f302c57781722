//! A client that means no harm, and how long it waits while others do.

use crate::{
    load::{Request, at_rate},
    measure::quantile,
};

/// Connections of theirs, and requests a second over all of them.
const CONNECTIONS: usize = 8;
const RATE: usize = 400;

/// What they waited, in microseconds.
#[derive(Debug, Clone, Copy)]
pub struct Waited {
    pub p50: f64,
    pub p99: f64,
    pub most: f64,
}

/// Asks for so many seconds. Anything but a whole 200 ends the run: nobody innocent is refused.
pub fn ask(port: u16, request: &Request, seconds: usize) -> Waited {
    Waited::of(at_rate(port, CONNECTIONS, request, RATE, RATE * seconds))
}

impl Waited {
    /// Of these.
    pub fn of(mut all: Vec<f64>) -> Waited {
        Waited { p50: quantile(&mut all, 0.5), p99: quantile(&mut all, 0.99), most: quantile(&mut all, 1.0) }
    }

    /// As cells of a table.
    pub fn cells(&self) -> String {
        format!("{:.0} | {:.0} | {:.0}", self.p50, self.p99, self.most)
    }
}
