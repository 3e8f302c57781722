//! Tables, on the terminal and in docs/performance.md.

use std::{fmt::Write as _, path::Path};

use crate::{machine, measure::Tool, world::Kind};

const BEGIN: &str = "<!-- measured: begin -->\n";
const END: &str = "<!-- measured: end -->\n";

/// What was measured so far.
pub struct Report {
    rounds: usize,
    tool: Tool,
    cpu: Vec<(String, Kind, f64, f64, f64)>,
    latency: Vec<(String, Kind, usize, f64, f64)>,
    instructions: Vec<(String, Kind, f64)>,
    calls: Vec<(String, Kind, String, f64)>,
    disk: Option<[[f64; 2]; 2]>,
}

impl Report {
    pub fn new(rounds: usize) -> Report {
        Report {
            rounds,
            tool: Tool::None,
            cpu: Vec::new(),
            latency: Vec::new(),
            instructions: Vec::new(),
            calls: Vec::new(),
            disk: None,
        }
    }

    pub fn tool(&mut self, tool: Tool) {
        self.tool = tool;
    }

    pub fn cpu(&mut self, row: &str, kind: Kind, us: f64, ratio: f64, rate: f64) {
        eprintln!("{row} | {}: {us:.2} µs, {ratio:.2}, {rate:.0}/s", kind.name());
        self.cpu.push((row.to_owned(), kind, us, ratio, rate));
    }

    pub fn latency(&mut self, who: &str, kind: Kind, rate: usize, p50: f64, p99: f64) {
        eprintln!("{who} at {rate}/s | {}: p50 {p50:.0} µs, p99 {p99:.0} µs", kind.name());
        self.latency.push((who.to_owned(), kind, rate, p50, p99));
    }

    pub fn disk(&mut self, disk: [[f64; 2]; 2]) {
        eprintln!("disk alone, p50 and p99 in µs, file growing and fixed: {disk:.0?}");
        self.disk = Some(disk);
    }

    pub fn instructions(&mut self, row: &str, kind: Kind, count: f64) {
        eprintln!("{row} | {}: {count:.0} instructions", kind.name());
        self.instructions.push((row.to_owned(), kind, count));
    }

    pub fn calls(&mut self, who: &str, kind: Kind, calls: &[(String, usize)], requests: usize) {
        let each = |count: usize| count as f64 / requests as f64;
        let list: Vec<String> = calls
            .iter()
            .filter(|(_, count)| each(*count) >= 0.005)
            .map(|(name, count)| format!("{name} {:.2}", each(*count)))
            .collect();
        let sum = each(calls.iter().map(|(_, count)| count).sum());
        eprintln!("{who} | {}: {sum:.2} system calls: {}", kind.name(), list.join(", "));
        self.calls.push((who.to_owned(), kind, list.join(", "), sum));
    }

    /// The tables as Markdown.
    pub fn text(&self) -> String {
        let mut out = machine();
        if !self.instructions.is_empty() {
            let how = match self.tool {
                Tool::Perf => "counted by the processor (`perf stat`), kernel included",
                Tool::Callgrind | Tool::None => {
                    "counted by valgrind (the processor's counters are not to be had here): what each program \
                     itself executes, without what the kernel does for it"
                }
            };
            writeln!(out, "\nInstructions a request, {how}.\n").unwrap();
            out += "| request | gateway | instructions | to nginx |\n| --- | --- | ---: | ---: |\n";
            let plain = self.instructions.iter().find(|(_, kind, _)| *kind == Kind::Nginx);
            for (row, kind, count) in &self.instructions {
                let ratio = plain.map_or(f64::NAN, |(_, _, plain)| count / plain);
                writeln!(out, "| {row} | {} | {count:.0} | {ratio:.2} |", kind.name()).unwrap();
            }
        }
        if !self.cpu.is_empty() {
            let rounds = self.rounds;
            writeln!(
                out,
                "\nCPU time a request (user and kernel, all threads), 64 keep-alive connections, as fast as answers \
                 come; medians of {rounds} rounds, ratios taken round by round.\n"
            )
            .unwrap();
            out += "| request | gateway | CPU µs | to nginx | requests/s |\n| --- | --- | ---: | ---: | ---: |\n";
            for (row, kind, us, ratio, rate) in &self.cpu {
                writeln!(out, "| {row} | {} | {us:.1} | {ratio:.2} | {rate:.0} |", kind.name()).unwrap();
            }
        }
        if !self.latency.is_empty() {
            out += "\nLatency at a fixed rate, in µs; medians over the rounds.\n\n";
            out += "| who | gateway | requests/s | p50 | p99 |\n| --- | --- | ---: | ---: | ---: |\n";
            for (who, kind, rate, p50, p99) in &self.latency {
                writeln!(out, "| {who} | {} | {rate} | {p50:.0} | {p99:.0} |", kind.name()).unwrap();
            }
        }
        if let Some([[p50, p99], [fixed_p50, fixed_p99]]) = self.disk {
            writeln!(
                out,
                "\nThe disk alone, in the same minutes: 900 bytes appended and made durable take {p50:.0} µs (p99 \
                 {p99:.0}) as the ledger does it, the file growing, and {fixed_p50:.0} µs (p99 {fixed_p99:.0}) in a \
                 file whose size was set before."
            )
            .unwrap();
        }
        if !self.calls.is_empty() {
            out += "\nSystem calls a request at 64 connections.\n\n";
            out += "| who | gateway | calls | of these |\n| --- | --- | ---: | --- |\n";
            for (who, kind, list, sum) in &self.calls {
                writeln!(out, "| {who} | {} | {sum:.2} | {list} |", kind.name()).unwrap();
            }
        }
        out
    }

    /// Puts the tables into that page, between its marks.
    pub fn write(&self, page: &Path) {
        put(page, BEGIN, END, &self.text());
    }
}

/// Puts text between two marks of a page.
pub fn put(page: &Path, begin: &str, end: &str, text: &str) {
    let old = std::fs::read_to_string(page).unwrap();
    let (before, rest) = old.split_once(begin).expect("the page has a mark where measurements begin");
    let (_, after) = rest.split_once(end).expect("the page has a mark where measurements end");
    std::fs::write(page, format!("{before}{begin}{text}{end}{after}")).unwrap();
}

/// On what it ran, and what it was compared with.
pub fn machine() -> String {
    let nginx = std::process::Command::new("/usr/sbin/nginx").arg("-v").output();
    let nginx = nginx.map(|out| String::from_utf8_lossy(&out.stderr).trim().to_owned()).unwrap_or_default();
    format!("{}; {nginx}.\n", machine::machine())
}
