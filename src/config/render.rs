//! How faults look on a terminal: one look for all of them, syntax or meaning, drawn by miette.
//!
//! Never here: which faults there are, and what of the text is hidden ([`super::veil`]).

use std::fmt;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode,
    ThemeCharacters, ThemeStyles,
};

use super::fault::{Code, ConfigFault, ConfigFaults, Script, Severity};

/// How it may look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Whether colours and lines beyond ASCII are wanted.
    pub fancy: bool,
    /// How many characters fit in a line.
    pub width: usize,
}

/// Draws all faults.
pub fn render(faults: &ConfigFaults, look: Look) -> String {
    let theme = if look.fancy {
        GraphicalTheme::unicode()
    } else {
        GraphicalTheme { characters: ThemeCharacters::ascii(), styles: ThemeStyles::none() }
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(look.width.max(20))
        .with_links(false)
        .with_context_lines(1)
        .without_syntax_highlighting();
    let script = &faults.script;
    let source = NamedSource::new(script.file.display().to_string(), script.text.to_string());
    let mut out = String::new();
    for fault in faults.faults() {
        let drawn = Drawn { fault, label: fault.code, script, source: &source };
        if handler.render_report(&mut out, &drawn).is_err() {
            out.push_str(&fault.to_string());
        }
        out.push('\n');
    }
    if faults.more() > 0 {
        out.push_str(&format!("and {} more\n", faults.more()));
    }
    out
}

struct Drawn<'a> {
    fault: &'a ConfigFault,
    label: Code,
    script: &'a Script,
    source: &'a NamedSource<String>,
}

impl Drawn<'_> {
    /// Whether there is a text and it is not for showing.
    fn hidden(&self) -> bool {
        self.fault.line > 0 && self.fault.excerpt.is_empty()
    }
}

impl fmt::Debug for Drawn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.fault, f)
    }
}

impl fmt::Display for Drawn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.hidden() {
            write!(f, "{}:{}:{}: ", self.fault.file.display(), self.fault.line, self.fault.column)?;
        }
        f.write_str(&self.fault.message)
    }
}

impl std::error::Error for Drawn<'_> {}

impl Diagnostic for Drawn<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.label))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.fault.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.fault.hint))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        (self.fault.line > 0 && !self.hidden()).then_some(self.source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        if self.fault.line == 0 || self.hidden() {
            return None;
        }
        let start = self.fault.place.start().min(self.script.text.len());
        let rest = self.script.text.get(start..).unwrap_or_default();
        let len = rest.chars().take(self.fault.width(self.script)).map(char::len_utf8).sum::<usize>();
        let span = LabeledSpan::new(Some("here".to_owned()), start, len);
        Some(Box::new(std::iter::once(span)))
    }
}
