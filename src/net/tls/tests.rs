use std::future::Future;
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::peers::Addresses;
use super::*;
use crate::config::{CIPHER_SUITES, Place, Secret, StoreConfig};
use crate::ids::Sid;
use crate::zab::{Ensemble, Membership};

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(test);
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name)
}

fn store(path: PathBuf) -> StoreConfig {
    let location = NamedFile { path, key: "ssl.x.location".to_owned(), place: Place::CommandLine };
    StoreConfig { location: Some(location), password: Secret("secret".to_owned()), ..StoreConfig::default() }
}

fn side(keys: &str, trust: &str) -> TlsSide {
    TlsSide { key_store: store(fixture(keys)), trust_store: store(fixture(trust)), ..TlsSide::default() }
}

fn servers(side: &TlsSide) -> Arc<Tls> {
    Arc::new(Tls::for_servers(side).expect("good files"))
}

/// An ensemble with these hosts.
fn members(hosts: &[&str]) -> Addresses {
    let lines: String = (1..).zip(hosts).map(|(number, host)| format!("server.{number}={host}:1:2\n")).collect();
    let ensemble = Ensemble::parse(&format!("{lines}server.9=127.0.0.9:1:2")).expect("members");
    Addresses::new(Sid(9), false, None, Membership::settled(ensemble))
}

/// Both ends of a connection over loopback: what the one that accepts got, and what the other one did.
async fn meet(accepts: &Security, dials: &Security, hosts: &[&str]) -> (io::Result<Stream>, io::Result<Stream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
    let address = listener.local_addr().expect("has one");
    let places: Vec<_> = hosts.iter().map(|host| format!("{host}:1")).collect();
    let members = members(hosts);
    let accepted = async {
        let (socket, _) = listener.accept().await?;
        let mut stream = accepts.accept(socket, &members).await?;
        stream.write_all(b"hello").await?;
        stream.flush().await?;
        Ok(stream)
    };
    let dialled = async {
        let socket = TcpStream::connect(address).await?;
        let mut stream = dials.dial(socket, &places).await?;
        let mut word = [0; 5];
        stream.read_exact(&mut word).await?;
        assert_eq!(&word, b"hello");
        Ok(stream)
    };
    tokio::join!(accepted, dialled)
}

#[test]
fn servers_show_each_other_their_certificates() {
    run(async {
        let tls = servers(&side("server.jks", "trust.p12"));
        let security = Security::new(tls, true, false, false);
        let (accepted, dialled) = meet(&security, &security, &["localhost"]).await;
        let (accepted, dialled) = (accepted.expect("accepts"), dialled.expect("dials"));
        assert_eq!(accepted.subject().as_deref(), Some("O=zkd,CN=server"));
        assert_eq!(dialled.subject(), accepted.subject());
    });
}

#[test]
fn whom_nobody_vouches_for_stays_outside() {
    run(async {
        let known = Security::new(servers(&side("server.pem", "ca.pem")), true, false, false);
        // It believes the other one, which does not believe it.
        let stranger = Security::new(servers(&side("server.pem", "odd.pem")), true, false, false);
        let (accepted, _) = meet(&stranger, &known, &["localhost"]).await;
        assert!(accepted.unwrap_err().to_string().contains("UnknownIssuer"));
        let (_, dialled) = meet(&known, &stranger, &["localhost"]).await;
        assert!(dialled.unwrap_err().to_string().contains("UnknownIssuer"));
    });
}

#[test]
fn a_certificate_that_is_in_the_trust_store_is_believed_whoever_has_signed_it() {
    run(async {
        let directory = tempfile::tempdir().expect("a directory");
        let pinned = directory.path().join("pinned.pem");
        let text = fs::read_to_string(fixture("server.pem")).expect("readable");
        let first = text.find("-----BEGIN CERTIFICATE").expect("has one");
        let second = text.rfind("-----BEGIN CERTIFICATE").expect("has two");
        fs::write(&pinned, &text[first..second]).expect("writable");
        let side = TlsSide { trust_store: store(pinned), ..side("server.pem", "ca.pem") };
        let security = Security::new(servers(&side), true, false, false);
        let (accepted, dialled) = meet(&security, &security, &["localhost"]).await;
        assert!(accepted.is_ok() && dialled.is_ok());
    });
}

#[test]
fn hosts_are_looked_at_unless_fips_mode_or_a_setting_says_no() {
    run(async {
        // Its certificate is for `localhost`, and not for 127.0.0.1.
        let named = side("localhost.pem", "ca.pem");
        let security = |side: &TlsSide, fips| Security::new(servers(side), true, false, fips);
        let checks = security(&named, false);
        let (accepted, dialled) = meet(&checks, &checks, &["localhost"]).await;
        assert!(accepted.is_ok() && dialled.is_ok(), "by its name, which has this address");
        let not_at_all = TlsSide { verify_hosts: false, ..named.clone() };
        let not_clients = TlsSide { verify_client_hosts: Some(false), ..named.clone() };
        for lenient in [security(&named, true), security(&not_at_all, false)] {
            let (accepted, dialled) = meet(&lenient, &lenient, &["elsewhere"]).await;
            assert!(accepted.is_ok() && dialled.is_ok());
        }
        let (accepted, _) = meet(&checks, &security(&named, true), &["elsewhere"]).await;
        assert!(accepted.unwrap_err().to_string().contains("not for 127.0.0.1"));
        let (_, dialled) = meet(&security(&not_clients, false), &checks, &["elsewhere"]).await;
        assert!(dialled.unwrap_err().to_string().contains("not for 127.0.0.1"));
    });
}

#[test]
fn a_port_for_both_kinds_tells_them_apart() {
    run(async {
        let tls = servers(&side("server.p12", "trust.jks"));
        let either = Security::new(Arc::clone(&tls), false, true, true);
        let strict = Security::new(Arc::clone(&tls), true, false, true);
        let secure = Security::new(tls, true, true, true);
        let (accepted, dialled) = meet(&either, &secure, &[]).await;
        assert!(accepted.expect("accepts").is_secure() && dialled.expect("dials").is_secure());
        for (gate, said) in [(&either, Some(b"plain")), (&strict, None)] {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
            let address = listener.local_addr().expect("has one");
            let client = async {
                let mut socket = TcpStream::connect(address).await.expect("connects");
                socket.write_all(b"plain").await.expect("writes");
                socket
            };
            let server = async { gate.accept(listener.accept().await.expect("accepts").0, &members(&[])).await };
            let (_client, accepted) = tokio::join!(client, server);
            match said {
                Some(said) => {
                    let mut word = [0; 5];
                    let mut stream = accepted.expect("accepts");
                    stream.read_exact(&mut word).await.expect("reads");
                    assert!(!stream.is_secure() && &word == said);
                }
                None => assert!(accepted.is_err()),
            }
        }
    });
}

#[test]
fn changed_files_are_read_again_and_bad_ones_change_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let keys = directory.path().join("keys.pem");
    let copy = |name: &str| fs::copy(fixture(name), &keys).map(drop).expect("copies");
    copy("server.pem");
    let side = TlsSide { key_store: store(keys.clone()), ..side("server.pem", "ca.pem") };
    let tls = servers(&side);
    let first = Arc::as_ptr(&tls.current.read().accept);
    tls.reload();
    assert_eq!(Arc::as_ptr(&tls.current.read().accept), first, "nothing has changed");
    fs::write(&keys, "half a file").expect("writes");
    tls.reload();
    assert_eq!(Arc::as_ptr(&tls.current.read().accept), first, "what is there makes no sense");
    let held = Arc::clone(&tls.current.read().accept);
    copy("server-encrypted.pem");
    tls.reload();
    assert!(!Arc::ptr_eq(&held, &tls.current.read().accept), "now it does");
}

#[test]
fn every_suite_that_the_configuration_knows_is_there() {
    let names: Vec<_> = ring::default_provider().cipher_suites.iter().map(|suite| java_name(suite.suite())).collect();
    for name in CIPHER_SUITES {
        assert!(names.iter().any(|known| known == name), "{name}");
    }
    assert_eq!(names.len(), CIPHER_SUITES.len());
}

#[test]
fn a_key_that_does_not_fit_its_certificate_is_told_with_its_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("mixed.pem");
    let key = fs::read_to_string(fixture("server.pem")).expect("readable");
    let key = &key[..key.find("-----BEGIN CERTIFICATE").expect("has one")];
    let certificate = fs::read_to_string(fixture("ca.pem")).expect("readable");
    fs::write(&path, format!("{key}{certificate}")).expect("writable");
    let side = TlsSide { key_store: store(path), ..side("server.pem", "ca.pem") };
    let error = Tls::for_servers(&side).unwrap_err().to_string();
    assert!(error.contains("mixed.pem: expected a key that fits its certificate"), "{error}");
}
