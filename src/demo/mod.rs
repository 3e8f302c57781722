//! The demo: a real small application behind a real gateway, four people, and a tour.
//!
//! [`sample`] is the application; it belongs to nobody here and imports no other room. Everything else sets the stage,
//! prints the tour, or walks it and sees that each step is what it must be.
//!
//! Never here: a rule of the gateway; it is used as anybody would use it.

mod alone;
mod client;
mod presets;
pub mod sample;
mod script;
mod stage;
mod steps;
mod tour;
mod walk;

use std::{io::Write, net::SocketAddr, path::Path};

pub use alone::{Alone, Told};
pub use presets::{PRESETS, Preset};
pub use stage::StageFault;

use stage::Stage;

/// Where the demo listens and keeps its files.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// A folder of its own: it is made, and must not be there yet.
    pub dir: &'a Path,
    /// The gateway's address.
    pub listen: SocketAddr,
    /// The operations listener's address.
    pub operations: SocketAddr,
    /// A preset to play instead of the usual tour.
    pub preset: Option<&'static Preset>,
}

/// A demo that runs.
pub struct Demo {
    stage: Stage,
}

impl Demo {
    /// Sets the stage.
    ///
    /// # Errors
    /// [`StageFault`], which says what to do.
    pub fn start(options: Options<'_>) -> Result<Demo, StageFault> {
        Ok(Demo { stage: Stage::set(options)? })
    }

    /// Prints the numbered tour.
    ///
    /// # Errors
    /// When `out` cannot be written to.
    pub fn print_tour(&self, out: &mut dyn Write) -> std::io::Result<()> {
        tour::print(&self.stage, out)
    }

    /// Walks the tour; `Ok(true)`: every step was what it must be.
    ///
    /// # Errors
    /// When `out` cannot be written to.
    pub async fn walk(&self, out: &mut dyn Write) -> std::io::Result<bool> {
        walk::walk(&self.stage, out).await
    }

    /// Ends everything that runs.
    pub fn stop(self) {
        self.stage.strike();
    }
}
