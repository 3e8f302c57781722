//! Tables of the peers, on the terminal and in docs/performance.md, and what they say of the goals.

use std::{fmt::Write as _, path::Path, process::Command};

use super::{BIG, NEW, OVER_TLS, RATE, WARM, player::Sort};
use crate::{measure::Tool, report};

const BEGIN: &str = "<!-- peers: begin -->\n";
const END: &str = "<!-- peers: end -->\n";

struct Cpu {
    row: &'static str,
    sort: Sort,
    us: f64,
    to_nginx: f64,
    postern: f64,
}

/// What was measured so far.
pub struct Table {
    rounds: usize,
    tool: Tool,
    cpu: Vec<Cpu>,
    latency: Vec<(Sort, f64, f64, f64)>,
    instructions: Vec<(Sort, f64)>,
}

impl Table {
    pub fn new(rounds: usize) -> Table {
        Table { rounds, tool: Tool::None, cpu: Vec::new(), latency: Vec::new(), instructions: Vec::new() }
    }

    pub fn tool(&mut self, tool: Tool) {
        self.tool = tool;
    }

    /// `postern` is the gateway's CPU time over this one's.
    pub fn cpu(&mut self, row: &'static str, sort: Sort, us: f64, to_nginx: f64, postern: f64) {
        eprintln!(
            "{row} | {}: {us:.1} µs, {to_nginx:.2} of nginx, Postern is {postern:.2} of it",
            sort.name()
        );
        self.cpu.push(Cpu { row, sort, us, to_nginx, postern });
    }

    pub fn latency(&mut self, sort: Sort, p50: f64, p99: f64, over: f64) {
        eprintln!("{RATE}/s | {}: p50 {p50:.0} µs, p99 {p99:.0} µs", sort.name());
        self.latency.push((sort, p50, p99, over));
    }

    pub fn instructions(&mut self, sort: Sort, count: f64) {
        eprintln!("{}: {count:.0} instructions", sort.name());
        self.instructions.push((sort, count));
    }

    fn ratio(&self, row: &str, sort: Sort) -> Option<f64> {
        self.cpu.iter().find(|cpu| cpu.row == row && cpu.sort == sort).map(|cpu| cpu.postern)
    }

    fn counted(&self, sort: Sort) -> Option<f64> {
        self.instructions.iter().find(|(one, _)| *one == sort).map(|(_, count)| *count)
    }

    /// The goals that peers decide: what, what must hold, what was seen.
    fn goals(&self) -> Vec<(&'static str, f64, Option<f64>)> {
        let count = |sort| Some(self.counted(Sort::Postern)? / self.counted(sort)?);
        let p50 = self.latency.iter().find(|(sort, ..)| *sort == Sort::Postern).map(|(.., over)| *over);
        vec![
            ("member, warm token: instructions, to nginx that enforces nothing", 1.05, count(Sort::Nginx)),
            ("the same: CPU", 1.10, self.ratio(WARM, Sort::Nginx)),
            ("to nginx `auth_request` with cached answers: instructions", 0.70, count(Sort::NginxCached)),
            (
                "to Envoy `jwt_authn` with token cache and RBAC: CPU",
                0.40,
                self.ratio(WARM, Sort::EnvoyCached),
            ),
            ("to HAProxy `jwt_verify`: CPU", 0.20, self.ratio(WARM, Sort::HaproxyEnforcing)),
            ("to nginx `auth_request` with a service: CPU", 0.20, self.ratio(WARM, Sort::NginxService)),
            ("every token new, to HAProxy: CPU", 0.67, self.ratio(NEW, Sort::HaproxyEnforcing)),
            ("HTTP/2 over TLS, to nginx that enforces nothing: CPU", 0.95, self.ratio(OVER_TLS, Sort::Nginx)),
            ("64 KiB responses, to nginx that enforces nothing: CPU", 1.20, self.ratio(BIG, Sort::Nginx)),
            ("p50 at 4,000/s over nginx that enforces nothing, µs", 5.0, p50),
        ]
    }

    /// The tables as Markdown.
    pub fn text(&self) -> String {
        let mut out = report::machine();
        writeln!(out, "Peers: {}.", versions()).unwrap();
        let rounds = self.rounds;
        for row in [WARM, NEW, BIG, OVER_TLS] {
            let of: Vec<&Cpu> = self.cpu.iter().filter(|cpu| cpu.row == row).collect();
            if of.is_empty() {
                continue;
            }
            writeln!(
                out,
                "\n{row}: CPU time a request, medians of {rounds} rounds, ratios taken round by round.\n"
            )
            .unwrap();
            out += "| gateway | CPU µs | to nginx | Postern to it |\n| --- | ---: | ---: | ---: |\n";
            for cpu in of {
                let to_nginx =
                    if cpu.to_nginx.is_nan() { String::new() } else { format!("{:.2}", cpu.to_nginx) };
                writeln!(out, "| {} | {:.1} | {to_nginx} | {:.2} |", cpu.sort.name(), cpu.us, cpu.postern)
                    .unwrap();
            }
        }
        if !self.latency.is_empty() {
            writeln!(out, "\nLatency at {RATE} requests a second, in µs; medians over the rounds.\n")
                .unwrap();
            out += "| gateway | p50 | p99 | p50 over nginx |\n| --- | ---: | ---: | ---: |\n";
            for (sort, p50, p99, over) in &self.latency {
                writeln!(out, "| {} | {p50:.0} | {p99:.0} | {over:+.0} |", sort.name()).unwrap();
            }
        }
        if let Some(plain) = self.counted(Sort::Nginx) {
            let how = match self.tool {
                Tool::Perf => "counted by the processor, kernel included",
                Tool::Callgrind | Tool::None => {
                    "counted by valgrind, without the kernel; Envoy does not run under it"
                }
            };
            writeln!(out, "\nInstructions a request, {how}.\n").unwrap();
            out += "| gateway | instructions | to nginx |\n| --- | ---: | ---: |\n";
            for (sort, count) in &self.instructions {
                writeln!(out, "| {} | {count:.0} | {:.2} |", sort.name(), count / plain).unwrap();
            }
        }
        out +=
            "\nThe goals that this decides.\n\n| goal | must hold | seen | |\n| --- | ---: | ---: | --- |\n";
        for (goal, bound, seen) in self.goals() {
            let Some(seen) = seen.filter(|seen| seen.is_finite()) else { continue };
            let holds = if seen <= bound { "holds" } else { "**does not**" };
            writeln!(out, "| {goal} | {bound:.2} | {seen:.2} | {holds} |").unwrap();
        }
        out
    }

    /// Puts the tables into that page, between its marks.
    pub fn write(&self, page: &Path) {
        report::put(page, BEGIN, END, &self.text());
    }
}

fn versions() -> String {
    let first = |program: &str, args: &[&str]| {
        let done = Command::new(program).args(args).output().ok()?;
        let text =
            String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
        let number = text.split(|c: char| c.is_whitespace() || c == '/').find(|word| {
            word.starts_with(|c: char| c.is_ascii_digit())
                && word.matches('.').count() >= 2
                && word.len() < 40
        })?;
        Some(number.split('-').next().unwrap_or(number).to_owned())
    };
    let envoy = [
        std::env::var("ENVOY").unwrap_or_default(),
        concat!(env!("CARGO_MANIFEST_DIR"), "/target/peers/envoy/_bin/envoy").to_owned(),
    ];
    let known = [
        ("nginx", first("/usr/sbin/nginx", &["-v"])),
        ("HAProxy", first("/usr/sbin/haproxy", &["-v"])),
        ("Envoy", envoy.iter().find_map(|program| first(program, &["--version"]))),
    ];
    let told: Vec<String> = known
        .into_iter()
        .map(|(name, version)| format!("{name} {}", version.unwrap_or_else(|| "(missing)".to_owned())))
        .collect();
    told.join(", ")
}
