//! zoo.cfg and TOML: any text gives a configuration or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zkd::config::Config;

fuzz_target!(|text: &str| {
    let _ = Config::parse("zoo.cfg", text, &[]);
    let _ = Config::parse("zkd.toml", text, &[]);
});
