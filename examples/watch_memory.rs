//! Prints what a watch costs: resident bytes per registration, for several shapes of ten million of them.
//!
//! `cargo run --release --example watch_memory`

use zkd::watch::{Modes, WatchKind, WatcherId, Watches};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const REGISTRATIONS: u32 = 10_000_000;

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

#[expect(clippy::print_stdout, reason = "this is what the example is for")]
fn measure(shape: &str, paths: u32) {
    let before = resident_bytes();
    let mut watches = Watches::new(1);
    let watchers = REGISTRATIONS / paths;
    for path in 0..paths {
        let path = format!("/service/registry/instance-{path:010}");
        for watcher in 0..watchers {
            // Watchers of a path are spread over the connections, as clients of a real service are.
            watches.add(WatchKind::Data, &path, WatcherId(watcher), Modes::ONE_SHOT);
        }
    }
    let bytes = resident_bytes() - before;
    assert_eq!(watches.len(), REGISTRATIONS as usize);
    println!("{shape}: {} bytes per registration", bytes / u64::from(REGISTRATIONS));
}

fn main() {
    let shapes = [
        ("1 path with 10,000,000 watchers", 1),
        ("1,000 paths with 10,000 watchers", 1000),
        ("100,000 paths with 100 watchers", 100_000),
        ("1,000,000 paths with 10 watchers", 1_000_000),
    ];
    match std::env::args().nth(1).and_then(|shape| shape.parse::<usize>().ok()) {
        Some(shape) => {
            if let Some((name, paths)) = shapes.get(shape) {
                measure(name, *paths);
            }
        }
        // Each shape in a process of its own: an allocator does not give back all that it had.
        None => {
            for shape in 0..shapes.len() {
                let this = std::env::current_exe();
                let done = this.and_then(|this| std::process::Command::new(this).arg(shape.to_string()).status());
                assert!(done.is_ok_and(|status| status.success()), "shape {shape} failed");
            }
        }
    }
}
