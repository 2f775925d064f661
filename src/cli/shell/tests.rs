//! The session against servers that misbehave. Those that behave are in `tests/compat/shell.py`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::connection::{Connection, Effect, Phase, Route};
use crate::ids::{SessionId, Zxid};
use crate::jute::JuteWrite;
use crate::proto::{
    ConnectResponse, ErrorCode, OpCode, PASSWORD_LENGTH, ReplyHeader, end_frame, start_frame, start_reply,
};

fn place(listener: &TcpListener) -> (String, u16) {
    ("127.0.0.1".to_owned(), listener.local_addr().expect("bound").port())
}

fn start(servers: &[(String, u16)]) -> Arc<Connection> {
    let route = Route {
        servers: servers.to_vec(),
        chroot: String::new(),
        timeout: Duration::from_secs(20),
        read_only: false,
        request_max: None,
        keep_watches: true,
    };
    Connection::start(route, Arc::new(AtomicBool::new(false))).expect("a thread")
}

fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a port")
}

fn read_frame(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("a length");
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame).expect("a frame");
    frame
}

/// Accepts a client and gives it a session for so long; none for 0.
fn accept(listener: &TcpListener, timeout_ms: i32) -> TcpStream {
    let (mut stream, _) = listener.accept().expect("a client");
    read_frame(&mut stream);
    let mut reply = Vec::new();
    let frame = start_frame(&mut reply);
    let session = SessionId(i64::from(timeout_ms));
    ConnectResponse { timeout_ms, session, password: [7; PASSWORD_LENGTH], read_only: Some(false) }.encode(&mut reply);
    end_frame(&mut reply, frame);
    stream.write_all(&reply).expect("sent");
    stream
}

fn answer(stream: &mut TcpStream) {
    let request = read_frame(stream);
    let xid = i32::from_be_bytes(*request.first_chunk().expect("an xid"));
    let mut reply = Vec::new();
    let frame = start_reply(&mut reply, ReplyHeader { xid, zxid: Zxid(5), error: ErrorCode::OK });
    reply.long(17);
    end_frame(&mut reply, frame);
    stream.write_all(&reply).expect("sent");
}

fn ask(connection: &Connection) -> ErrorCode {
    connection.call(OpCode::SYNC, Effect::None, |out| out.ustring("/")).error
}

#[test]
fn what_makes_no_sense_breaks_the_connection_and_not_the_session() {
    let listener = listen();
    let connection = start(&[place(&listener)]);
    let junk: [&[u8]; 5] = [
        // A length that no answer has; one that is negative.
        b"\x7f\xff\xff\xff",
        b"\xff\xff\xff\xff",
        // Too short for a header.
        b"\0\0\0\x02ab",
        // Another request's answer.
        b"\0\0\0\x10\0\0\x77\x77\0\0\0\0\0\0\0\0\0\0\0\0",
        // An event of no type.
        b"\0\0\0\x1d\xff\xff\xff\xff\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x63\0\0\0\x03\0\0\0\x01/",
    ];
    for junk in junk {
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| ask(&connection));
            let mut stream = accept(&listener, 20_000);
            read_frame(&mut stream);
            stream.write_all(junk).expect("sent");
            assert_eq!(asking.join().expect("an answer"), ErrorCode::CONNECTION_LOSS, "{junk:x?}");
        });
    }
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| ask(&connection));
        answer(&mut accept(&listener, 20_000));
        assert_eq!(asking.join().expect("an answer"), ErrorCode::OK);
    });
}

#[test]
fn a_request_waits_until_all_servers_were_tried() {
    let (good, gone) = (listen(), listen());
    let places = [place(&gone), place(&good)];
    drop(gone);
    let connection = start(&places);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| ask(&connection));
        answer(&mut accept(&good, 20_000));
        assert_eq!(asking.join().expect("an answer"), ErrorCode::OK);
    });
}

#[test]
fn a_session_that_no_server_knows_is_over() {
    let listener = listen();
    let connection = start(&[place(&listener)]);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| ask(&connection));
        drop(accept(&listener, 0));
        assert_eq!(asking.join().expect("an answer"), ErrorCode::SESSION_EXPIRED);
    });
    assert_eq!((connection.phase(), ask(&connection)), (Phase::Closed, ErrorCode::SESSION_EXPIRED));
}

#[test]
fn a_client_that_asks_nothing_pings() {
    let listener = listen();
    let _connection = start(&[place(&listener)]);
    let mut stream = accept(&listener, 60);
    let ping = read_frame(&mut stream);
    assert_eq!(ping, [ReplyHeader::PING_XID.to_be_bytes(), OpCode::PING.0.to_be_bytes()].concat());
}

#[test]
fn closing_asks_the_server_to_end_the_session() {
    let listener = listen();
    let connection = start(&[place(&listener)]);
    std::thread::scope(|scope| {
        let closing = scope.spawn(|| {
            assert!(connection.wait_connected());
            connection.close();
        });
        answer(&mut accept(&listener, 20_000));
        closing.join().expect("closed");
    });
    assert_eq!((connection.phase(), ask(&connection)), (Phase::Closed, ErrorCode::SESSION_EXPIRED));
}
