//! What each layout of the tree costs, for a million znodes.

use std::hint::black_box;
use std::time::Duration;

use fastrand::Rng;

use crate::Figures;
use crate::layouts::{Hashed, Layout, Nest, Ordered, Own};
use crate::process::{cpu, resident};
use crate::shape::{DATA, MEMBERS, MILLION};

/// What can be measured.
pub(crate) const LAYOUTS: [&str; 5] = ["zkd", "zkd-undigested", "hashed", "ordered", "nested"];

const CHUNK: usize = 4096;
const TIMES: usize = 300_000;

pub(crate) fn measure(layout: &str) -> Option<Figures> {
    let before = resident();
    let mut layout: Box<dyn Layout> = match layout {
        "zkd" => Box::new(Own::new(true)),
        "zkd-undigested" => Box::new(Own::new(false)),
        "hashed" => Box::new(Hashed::default()),
        "ordered" => Box::new(Ordered::default()),
        "nested" => Box::new(Nest::default()),
        _ => return None,
    };
    let mut zxid = 0;
    let load = fill(&mut *layout, &mut zxid);
    let bytes = (resident() - before) / MILLION.znodes() as f64;

    let mut rng = Rng::with_seed(3);
    let leaves: Vec<String> = (0..TIMES).map(|_| MILLION.some_leaf(&mut rng)).collect();
    let parents: Vec<String> = (0..TIMES).map(|_| MILLION.some_instance(&mut rng)).collect();
    let mut out = Vec::with_capacity(4096);
    let mut ns = |paths: &[String], act: &mut dyn FnMut(&str, &mut Vec<u8>)| {
        let start = cpu();
        for path in paths {
            out.clear();
            act(path, &mut out);
            black_box(&out);
        }
        (cpu() - start).as_nanos() as f64 / paths.len() as f64
    };
    let get = ns(&leaves, &mut |path, out| layout.get(path, out));
    let children = ns(&parents, &mut |path, out| {
        layout.children(path, out);
        assert_eq!(out.len(), MEMBERS as usize * (4 + "member-0000000000".len()));
    });
    let set = ns(&leaves, &mut |path, _| {
        zxid += 1;
        layout.set(path, &[b'y'; DATA], zxid);
    });
    let create_delete = ns(&parents, &mut |path, out| {
        zxid += 2;
        out.extend_from_slice(path.as_bytes());
        out.extend_from_slice(b"/new");
        let path = std::str::from_utf8(out).expect("a path");
        layout.create(path, &[b'x'; DATA], zxid);
        layout.delete(path, zxid + 1);
    });
    let figures = [
        ("bytes", bytes),
        ("load_ns", load),
        ("get_ns", get),
        ("set_ns", set),
        ("create_delete_ns", create_delete),
        ("children_ns", children),
    ];
    Some(figures.map(|(name, value)| (name.to_owned(), value)).to_vec())
}

/// Returns the nanoseconds of processor time of each create.
fn fill(layout: &mut dyn Layout, zxid: &mut i64) -> f64 {
    let mut paths = MILLION.paths();
    let mut spent = Duration::ZERO;
    loop {
        let chunk: Vec<String> = paths.by_ref().take(CHUNK).collect();
        if chunk.is_empty() {
            return spent.as_nanos() as f64 / MILLION.znodes() as f64;
        }
        let start = cpu();
        for path in &chunk {
            *zxid += 1;
            layout.create(path, &[b'x'; DATA], *zxid);
        }
        spent += cpu() - start;
    }
}
