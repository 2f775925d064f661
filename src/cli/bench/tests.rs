//! The generator against the floor: every operation, every mode.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;

use clap::Parser;
use tokio::net::TcpListener;

use super::args::BenchArgs;
use super::{fill, floor, idle, load, slow, wait, watch, watch_part};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    bench: BenchArgs,
}

fn args(words: &str) -> BenchArgs {
    let args = Cli::parse_from(std::iter::once("bench").chain(words.split(' '))).bench;
    args.check().unwrap();
    args
}

/// A floor on a thread of its own; it ends with the test process.
fn floor_server(size: usize) -> (SocketAddr, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let sync = directory.path().join("sync");
    let args = args(&format!("floor --size {size} --sync-file {}", sync.display()));
    std::thread::spawn(move || {
        let runtime = load::single_thread().unwrap();
        runtime.block_on(async { floor::serve(TcpListener::from_std(listener).unwrap(), &args).await })
    });
    (address, directory)
}

#[test]
fn every_operation_is_answered_and_counted() {
    let (address, _directory) = floor_server(100);
    let every = "get=3,set=3,exists,create,delete,children,multi10,multi100,ping,connect,ephemeral";
    for shape in ["--depth 1 --threads 2", "--depth 16"] {
        let words = format!("load --server {address} --size 100 --warmup 0 --connections 5 --count 1001 {shape}");
        let report = load::run(&args(&format!("{words} --ops {every}"))).unwrap();
        assert_eq!(report.get("ops"), Some(1001.0), "{shape}");
        assert!(report.get("multi100_p99_us").unwrap() > 0.0);
        assert_eq!(report.get("get_ops").map(|n| n > 100.0), Some(true));
    }
}

#[test]
fn a_rate_is_never_exceeded() {
    let (address, _directory) = floor_server(100);
    let words = format!("load --server {address} --size 100 --warmup 0 --connections 4 --ops get --rate 400");
    let report = load::run(&args(&format!("{words} --seconds 0.5"))).unwrap();
    assert!((1.0..=204.0).contains(&report.get("ops").unwrap()), "{report:?}");
}

#[test]
fn a_wrong_answer_ends_the_run() {
    let (address, _directory) = floor_server(99);
    let words = format!("load --server {address} --size 100 --warmup 0 --connections 2 --count 10 --ops get");
    // It would learn the right length from the creates before a load of other znodes.
    let error = load::run(&args(&format!("{words} --filled"))).unwrap_err();
    assert!(format!("{error:#}").contains("99 bytes of data, expected 100"), "{error:#}");
}

#[test]
fn the_floor_learns_how_long_its_answers_must_be() {
    let (address, _directory) = floor_server(100);
    for shape in ["--size 0", "--size 50000 --children 300"] {
        let words =
            format!("load --server {address} --warmup 0 --count 60 --ops get,set,children,delete --stock 3 {shape}");
        assert_eq!(load::run(&args(&format!("{words} --connections 2"))).unwrap().get("ops"), Some(60.0), "{shape}");
    }
}

#[test]
fn each_second_is_reported_by_itself() {
    let (address, _directory) = floor_server(100);
    let words = format!("load --server {address} --size 100 --warmup 0 --connections 2 --ops get --rate 100");
    let report = load::run(&args(&format!("{words} --seconds 1.2 --per-second"))).unwrap();
    let seconds = report.numbers_of("second_ops").unwrap();
    assert!(seconds.len() >= 2, "{seconds:?}");
    assert_eq!(Some(seconds.iter().sum()), report.get("ops"));
}

#[test]
fn every_watcher_gets_one_event_of_every_znode() {
    let (address, _directory) = floor_server(100);
    let words = format!("watch --server {address} --size 100 --connections 7 --znodes 30 --depth 8 --count 2");
    let report = watch::run(&args(&format!("{words} --source 127.0.0.1,127.0.0.2"))).unwrap();
    assert_eq!(report.get("ops"), Some(7.0 * 30.0 * 2.0));
    assert!(report.get("last_event_ms").unwrap() > 0.0);
}

#[test]
fn several_processes_share_the_watchers_of_a_znode() {
    let (address, _directory) = floor_server(100);
    let words = format!("watch --server {address} --size 100 --znodes 3");
    let writing = args(&format!("{words} --part write"));
    let (mut cues, to_watcher) = UnixStream::pair().unwrap();
    let (from_watcher, mut told) = UnixStream::pair().unwrap();
    let watching = args(&format!("{words} --part watch --connections 5"));
    let watcher = std::thread::spawn(move || {
        watch_part::take_part(&watching, &mut BufReader::new(to_watcher), &mut told).unwrap()
    });
    let mut lines = BufReader::new(from_watcher).lines().map(|line| line.unwrap());
    assert_eq!(lines.next().unwrap(), "holding 5 sessions");
    for _ in 0..2 {
        cues.write_all(b"\n").unwrap();
        assert_eq!(lines.next().unwrap(), "registered");
        let mut wrote = Vec::new();
        let report = watch_part::take_part(&writing, &mut &b"\n"[..], &mut wrote).unwrap();
        assert_eq!(report.get("cycles"), Some(1.0));
        let wrote = String::from_utf8(wrote).unwrap();
        let began: u64 = wrote.lines().find_map(|line| line.strip_prefix("wrote ")).unwrap().parse().unwrap();
        let last: u64 = lines.next().unwrap().strip_prefix("events ").unwrap().parse().unwrap();
        assert!((began..began + 60_000_000).contains(&last), "{began} {last}");
    }
    drop(cues);
    assert_eq!(watcher.join().unwrap().get("cycles"), Some(2.0));
}

#[test]
fn a_slow_client_reads_no_more_than_it_should() {
    let (address, _directory) = floor_server(1000);
    let words = format!("slow --server {address} --size 1000 --connections 2 --seconds 0.3");
    let report = slow::run(&args(&format!("{words} --read-rate 10000"))).unwrap();
    assert!((1.0..=6000.0).contains(&report.get("read_bytes").unwrap()), "{report:?}");
    assert_eq!(slow::run(&args(&words)).unwrap().get("read_bytes"), Some(0.0));
}

#[test]
fn znodes_are_filled_and_sessions_held() {
    let (address, _directory) = floor_server(100);
    let pid = std::process::id();
    let fill = fill::fill(&args(&format!("fill --server {address} --size 100 --znodes 2500 --server-pid {pid}")));
    assert_eq!(fill.unwrap().get("znodes"), Some(2500.0));
    let real = args(&format!("fill --server {address} --shape real --znodes 500 --children 20 --depth 9"));
    assert_eq!(fill::fill(&real).unwrap().get("znodes"), Some(500.0));
    let idle = args(&format!("idle --server {address} --connections 20 --seconds 0.2 --timeout-ms 300"));
    assert!(idle::run(&idle).unwrap().get("pings").unwrap() >= 20.0);
    wait::run(&args(&format!("wait --server {address}"))).unwrap();
    assert_eq!(fill::clean(&args(&format!("clean --server {address}"))).unwrap().get("removed_znodes"), Some(1.0));
}

#[test]
fn arguments_that_do_not_fit_are_refused() {
    for bad in [
        "--connections 0",
        "--root bench",
        "--root /",
        "--ops multi100 --size 20000",
        "--seconds 1e9",
        "--rate 6",
        "--rate 0",
    ] {
        let parsed = Cli::parse_from(std::iter::once("bench").chain(bad.split(' '))).bench;
        assert!(parsed.check().is_err(), "{bad}");
    }
}
