//! Metrics as Prometheus's Java client 0.9 prints them, which 3.9 has (ME-04): plain names, blanks for no units, every
//! number a double, quantiles without samples NaN.

use std::fmt::Write;
use std::fs;

use super::json::{Fields, Json};
use super::monitor::{Gauge, SetGauge, descriptors, descriptors_max, namespace_summaries, quotas_exceeded};
use super::view::View;
use crate::metrics::{Advanced, Basic, Counter, Summary, java_text};

/// What is measured under one name.
struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    samples: Vec<Sample>,
}

struct Sample {
    /// `_count`, `_sum`, or nothing.
    suffix: &'static str,
    labels: Vec<(&'static str, String)>,
    value: f64,
}

impl Family {
    /// As the provider does, the name is all the help.
    const fn new(name: &'static str, kind: &'static str, samples: Vec<Sample>) -> Self {
        Self { name, kind, help: name, samples }
    }

    fn single(name: &'static str, kind: &'static str, value: f64) -> Self {
        Self::new(name, kind, vec![Sample { suffix: "", labels: Vec::new(), value }])
    }
}

/// The exposition format; only the samples that are `wanted`, or all of them.
pub(super) fn text(view: &View, gauges: &[Gauge], sets: &[SetGauge], wanted: &[String]) -> String {
    let mut out = String::new();
    for mut family in families(view, gauges, sets) {
        let name = family.name;
        let is_wanted = |sample: &Sample| wanted.iter().any(|wanted| *wanted == format!("{name}{}", sample.suffix));
        family.samples.retain(|sample| wanted.is_empty() || is_wanted(sample));
        if family.samples.is_empty() && !wanted.is_empty() {
            continue;
        }
        let Family { name, kind, help, samples } = family;
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for Sample { suffix, labels, value } in samples {
            let _ = write!(out, "{name}{suffix}");
            if !labels.is_empty() {
                let labels: String =
                    labels.iter().map(|(label, value)| format!("{label}=\"{}\",", escape(value))).collect();
                let _ = write!(out, "{{{labels}}}");
            }
            let _ = writeln!(out, " {}", java_text(value).replace("Infinity", "Inf"));
        }
    }
    out
}

/// The same for `mntr` and the admin server (ME-13).
pub(super) fn samples(view: &View, gauges: &[Gauge], sets: &[SetGauge]) -> Fields {
    let mut fields = Fields::new();
    for Family { name, samples, .. } in families(view, gauges, sets) {
        for Sample { suffix, labels, value } in samples {
            let labels: Vec<_> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            fields.push((format!("{name}{suffix}{labels}"), Json::Real(value)));
        }
    }
    fields
}

fn families(view: &View, gauges: &[Gauge], sets: &[SetGauge]) -> Vec<Family> {
    let mut families = Vec::new();
    // A gauge that has nothing to tell is 0 here.
    families
        .extend(gauges.iter().map(|(name, value)| Family::single(name, "gauge", value.as_ref().map_or(0.0, number))));
    let by_key =
        |set: &SetGauge| Sample { suffix: "", labels: vec![("key", set.key.clone())], value: number(&set.value) };
    let mut names: Vec<_> = sets.iter().map(|set| set.name).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let samples = sets.iter().filter(|set| set.name == name).map(by_key).collect();
        families.push(Family::new(name, "gauge", samples));
    }
    for &counter in Counter::ALL {
        families.push(Family::single(counter.name(), "counter", view.metrics.counter(counter) as f64));
    }
    let namespaces = view.metrics.namespaces().all();
    let exceeded = quotas_exceeded(&namespaces);
    if let Some(first) = exceeded.first() {
        families.push(Family::new(first.name, "counter", exceeded.iter().map(by_key).collect()));
    }
    for (name, summaries) in namespace_summaries(&namespaces) {
        let samples = summaries.iter().flat_map(|(key, values)| {
            let mut samples = samples_of(values, [0.5]);
            samples.iter_mut().for_each(|sample| sample.labels.insert(0, ("key", (*key).to_owned())));
            samples
        });
        families.push(Family::new(name, "summary", samples.collect()));
    }
    for &basic in Basic::ALL {
        families.push(summary(basic.name(), view.metrics.basic(basic), [0.5]));
    }
    for &advanced in Advanced::ALL {
        families.push(summary(advanced.name(), view.metrics.advanced(advanced), [0.5, 0.9, 0.99]));
    }
    if view.facts.prometheus.is_some_and(|prometheus| prometheus.process) {
        families.extend(process(view));
    }
    families
}

fn summary<const N: usize>(name: &'static str, values: &Summary, shares: [f64; N]) -> Family {
    Family::new(name, "summary", samples_of(values, shares))
}

fn samples_of<const N: usize>(values: &Summary, shares: [f64; N]) -> Vec<Sample> {
    let count = values.count();
    let at = values.at(shares).map(|value| if count == 0 { f64::NAN } else { value as f64 });
    let quantile =
        |(share, value): (f64, f64)| Sample { suffix: "", labels: vec![("quantile", java_text(share))], value };
    let mut samples: Vec<_> = shares.into_iter().zip(at).map(quantile).collect();
    for (suffix, value) in [("_count", count), ("_sum", values.sum())] {
        samples.push(Sample { suffix, labels: Vec::new(), value: value as f64 });
    }
    samples
}

/// What `exportJvmInfo` tells of any process; there is no JVM to tell of (ME-07).
fn process(view: &View) -> Vec<Family> {
    let family = |name, kind, help, value| Family { help, ..Family::single(name, kind, value) };
    let now = view.clock.now();
    let started_ms = now.wall_ms - (now.steady_ms.saturating_sub(view.facts.started_ms)) as i64;
    let mut families = vec![
        family(
            "process_start_time_seconds",
            "gauge",
            "Start time of the process since unix epoch in seconds.",
            started_ms as f64 / 1000.0,
        ),
        family("process_open_fds", "gauge", "Number of open file descriptors.", descriptors() as f64),
        family("process_max_fds", "gauge", "Maximum number of open file descriptors.", descriptors_max() as f64),
    ];
    if let Some(seconds) = cpu_seconds() {
        families.push(family(
            "process_cpu_seconds_total",
            "counter",
            "Total user and system CPU time spent in seconds.",
            seconds,
        ));
    }
    if let Some((virtual_pages, resident_pages)) = memory_pages() {
        let bytes = |pages: u64| (pages * rustix::param::page_size() as u64) as f64;
        families.push(family(
            "process_virtual_memory_bytes",
            "gauge",
            "Virtual memory size in bytes.",
            bytes(virtual_pages),
        ));
        families.push(family(
            "process_resident_memory_bytes",
            "gauge",
            "Resident memory size in bytes.",
            bytes(resident_pages),
        ));
    }
    families
}

/// User's and system's time of this process.
fn cpu_seconds() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    // Behind the name of the program, which may have blanks in it.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) as f64 / rustix::param::clock_ticks_per_second() as f64)
}

fn memory_pages() -> Option<(u64, u64)> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let mut fields = text.split_whitespace();
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn number(value: &Json) -> f64 {
    match value {
        Json::Int(value) => *value as f64,
        Json::Real(value) => *value,
        Json::Null | Json::Bool(_) | Json::Text(_) | Json::List(_) | Json::Object(_) => 0.0,
    }
}

fn escape(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
