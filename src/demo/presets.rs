//! The presets that can be played: configurations of published models, each with its walk. Both are data, in `config/presets`;
//! this is the one place where a file of them is named.
//!
//! Never here: anything that one of them needs and another does not.

/// A preset with its walk.
#[derive(Debug)]
pub struct Preset {
    /// As the command line names it.
    pub name: &'static str,
    pub(super) configuration: &'static str,
    pub(super) walk: &'static str,
}

/// All of them.
pub const PRESETS: &[Preset] = &[
    Preset {
        name: "pipe17",
        configuration: include_str!("../../config/presets/pipe17.yaml"),
        walk: include_str!("../../config/presets/walks/pipe17.yaml"),
    },
    Preset {
        name: "practifi",
        configuration: include_str!("../../config/presets/practifi.yaml"),
        walk: include_str!("../../config/presets/walks/practifi.yaml"),
    },
    Preset {
        name: "celigo",
        configuration: include_str!("../../config/presets/celigo.yaml"),
        walk: include_str!("../../config/presets/walks/celigo.yaml"),
    },
    Preset {
        name: "pipefy",
        configuration: include_str!("../../config/presets/pipefy.yaml"),
        walk: include_str!("../../config/presets/walks/pipefy.yaml"),
    },
];
