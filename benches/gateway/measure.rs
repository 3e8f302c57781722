//! What processes cost: CPU time, instructions, system calls.

use std::{
    fs::File,
    io::Write as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::fs::FallocateFlags;

/// Microseconds of CPU that all threads of a process had so far, by the scheduler's own count in nanoseconds.
pub fn cpu_us(pid: u32) -> f64 {
    let mut nanos = 0.0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let path = task.unwrap().path().join("schedstat");
        let text = std::fs::read_to_string(path).unwrap();
        nanos += text.split_whitespace().next().unwrap().parse::<f64>().unwrap();
    }
    nanos / 1e3
}

/// Microseconds of each of so many appends of a record's size, made durable one by one, on the disk of that directory:
/// as the ledger does it (room set aside, the file's size growing), and into a file whose size does not change.
pub fn flushes(dir: &Path, count: usize) -> [Vec<f64>; 2] {
    let open = |name: &str, flags| {
        let file = File::create(dir.join(name)).unwrap();
        rustix::fs::fallocate(&file, flags, 0, 1 << 20).unwrap();
        file.sync_all().unwrap();
        file
    };
    let mut files = [open("growing", FallocateFlags::KEEP_SIZE), open("fixed", FallocateFlags::empty())];
    let mut took = [Vec::new(), Vec::new()];
    for _ in 0..count {
        // In turn, so that both see the same disk.
        for (file, took) in files.iter_mut().zip(&mut took) {
            file.write_all(&[b'x'; 900]).unwrap();
            let began = Instant::now();
            file.sync_data().unwrap();
            took.push(began.elapsed().as_secs_f64() * 1e6);
        }
    }
    took
}

/// The middle one.
pub fn median(values: &mut [f64]) -> f64 {
    quantile(values, 0.5)
}

/// That quantile, by nearest rank.
pub fn quantile(values: &mut [f64], q: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * q).round() as usize]
}

/// How instructions are counted here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// By the processor, kernel included.
    Perf,
    /// By valgrind: what the program itself executes, without the kernel.
    Callgrind,
    /// Not at all.
    None,
}

fn output(program: &str, args: &[&str]) -> Option<String> {
    let done = Command::new(program).args(args).output().ok()?;
    Some(String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr))
}

impl Tool {
    /// What this machine has.
    pub fn detect() -> Tool {
        let counts = output("perf", &["stat", "-x,", "-e", "instructions", "true"]).is_some_and(|text| {
            text.split(',').next().is_some_and(|count| count.trim().parse::<u64>().is_ok())
        });
        if counts {
            Tool::Perf
        } else if output("valgrind", &["--version"]).is_some() {
            Tool::Callgrind
        } else {
            Tool::None
        }
    }

    /// What a program is started under.
    pub fn wrapper(self, dir: &Path) -> Vec<String> {
        match self {
            Tool::Perf | Tool::None => Vec::new(),
            Tool::Callgrind => {
                let out = format!("--callgrind-out-file={}/callgrind.%p", dir.display());
                ["valgrind", "-q", "--tool=callgrind", &out].map(str::to_owned).to_vec()
            }
        }
    }

    /// Instructions during `work`.
    pub fn count(self, dir: &Path, pid: u32, work: impl FnOnce()) -> Option<f64> {
        match self {
            Tool::None => None,
            Tool::Perf => {
                let out = dir.join("perf");
                let perf = Command::new("perf")
                    .args(["stat", "-x,", "-e", "instructions", "-o"])
                    .arg(&out)
                    .args(["-p", &pid.to_string()])
                    .spawn()
                    .ok()?;
                std::thread::sleep(Duration::from_millis(500));
                work();
                interrupt(perf);
                let text = std::fs::read_to_string(out).ok()?;
                text.lines().find(|line| line.contains("instructions"))?.split(',').next()?.parse().ok()
            }
            Tool::Callgrind => {
                let pid_text = pid.to_string();
                output("callgrind_control", &["--zero", &pid_text])?;
                work();
                output("callgrind_control", &["--dump", &pid_text])?;
                let text = std::fs::read_to_string(dir.join(format!("callgrind.{pid}.1"))).ok()?;
                let line = text.lines().find(|line| line.starts_with("totals:"))?;
                line.split_whitespace().nth(1)?.parse().ok()
            }
        }
    }
}

fn interrupt(mut child: Child) {
    let _ = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    let _ = child.wait();
}

/// System calls during `work`, by name, most frequent first.
pub fn system_calls(dir: &Path, pid: u32, work: impl FnOnce()) -> Option<Vec<(String, usize)>> {
    let out = dir.join("strace");
    let strace = Command::new("strace")
        .args(["-c", "-f", "-o"])
        .arg(&out)
        .args(["-p", &pid.to_string()])
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    std::thread::sleep(Duration::from_millis(500));
    work();
    interrupt(strace);
    let text = std::fs::read_to_string(out).ok()?;
    let mut calls: Vec<(String, usize)> = text
        .lines()
        .filter_map(|line| {
            // % time, seconds, usecs/call, calls, [errors,] syscall
            let words: Vec<&str> = line.split_whitespace().collect();
            let name = *words.last()?;
            (words.len() >= 5 && name != "total").then_some(())?;
            Some((name.to_owned(), words[3].parse().ok()?))
        })
        .collect();
    calls.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    Some(calls)
}
