//! On what a benchmark ran: each says it before its figures.
//!
//! Never here: figures.

/// On what it ran.
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let cores = std::thread::available_parallelism().map_or(0, |_| cpu.matches("processor\t").count());
    let kernel = read("/proc/sys/kernel/osrelease");
    let virtual_machine =
        if cpu.contains("hypervisor") { ", a virtual machine shared with others" } else { "" };
    format!(
        "Machine: {} cores, {}{virtual_machine}; Linux {}",
        cores,
        model.trim_start_matches(['\t', ' ', ':']).trim(),
        // Which build of it is the machine's own affair.
        kernel.trim().splitn(3, '.').take(2).collect::<Vec<_>>().join(".")
    )
}
