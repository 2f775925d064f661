//! What the system says about processes: CPU time and memory; and how many files this one may open.

use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// One look at one or more processes.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Usage {
    /// User and system time since the start, all threads, the ended ones too.
    pub(super) cpu: Duration,
    /// Resident memory, bytes.
    pub(super) resident: u64,
}

/// Ticks a second in `/proc/PID/stat`: the kernel's USER_HZ, 100 on every architecture that Rust runs on.
const TICKS_PER_SECOND: u64 = 100;

impl Usage {
    /// The sum over these processes.
    ///
    /// # Errors
    /// When one of them has ended.
    pub(super) fn of(pids: &[u32]) -> anyhow::Result<Self> {
        pids.iter().try_fold(Self::default(), |sum, pid| {
            let one = Self::read(&pid.to_string()).with_context(|| format!("look at process {pid}"))?;
            Ok(Self { cpu: sum.cpu + one.cpu, resident: sum.resident + one.resident })
        })
    }

    /// This process.
    ///
    /// # Errors
    /// When there is no `/proc`.
    pub(super) fn own() -> anyhow::Result<Self> {
        Self::read("self").context("look at this process")
    }

    fn read(pid: &str) -> anyhow::Result<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let ticks = parse_ticks(&stat).context("cannot read its stat")?;
        let resident = parse_resident(&status).context("cannot read its status")?;
        Ok(Self { cpu: Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND), resident })
    }
}

/// CPU time of these processes in nanoseconds where [`Usage`] has hundredths of a second; for differences only, since
/// threads that have ended are left out.
///
/// # Errors
/// When one of the processes has ended.
pub(super) fn thread_time(pids: &[u32]) -> anyhow::Result<Duration> {
    let mut sum = Duration::ZERO;
    for pid in pids {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("look at process {pid}"))?;
        for task in tasks {
            // A thread may end while its file is read.
            let text = std::fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            let on_cpu = text.split_ascii_whitespace().next().and_then(|ns| ns.parse().ok());
            sum += Duration::from_nanos(on_cpu.unwrap_or(0));
        }
    }
    Ok(sum)
}

/// Descriptors beside those of the connections.
const DESCRIPTORS_SPARE: u64 = 64;

/// Raises the soft limit of open files as far as so many connections need and the hard limit allows.
///
/// # Errors
/// When the hard limit is below that.
pub(super) fn raise_descriptors(connections: usize) -> anyhow::Result<()> {
    let needed = connections as u64 + DESCRIPTORS_SPARE;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    ensure!(limit.maximum.is_none_or(|max| max >= needed), "{needed} open files are more than the hard limit allows");
    setrlimit(Resource::Nofile, Rlimit { current: Some(needed), ..limit }).context("raise the limit of open files")
}

/// utime and stime, fields 14 and 15. The name in field 2 may hold spaces, so count from its closing bracket.
fn parse_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// VmRSS, bytes.
fn parse_resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_brackets_does_not_shift_the_fields() {
        let stat = "12 (a (b) c) S 1 12 12 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 3 0 1 2 3";
        assert_eq!(parse_ticks(stat), Some(300));
        assert_eq!(parse_resident("Name:\tx\nVmRSS:\t    2048 kB\n"), Some(2 << 20));
        assert!(Usage::own().unwrap().resident > 0);
        assert!(thread_time(&[std::process::id()]).unwrap() > Duration::ZERO);
    }
}
