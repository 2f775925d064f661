use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::config::Secret;

const PATIENCE: Duration = Duration::from_secs(5);

fn sasl(required: bool, own: Option<&str>) -> ServerSasl {
    let secret = |text: &str| Secret(text.to_owned());
    ServerSasl::new(Passwords {
        users: [("test".to_owned(), secret("mypassword"))].into(),
        required,
        own: own.map(|password| Credentials { user: "test".to_owned(), password: secret(password) }),
        nonces: Nonces::new([3; 32]),
    })
}

/// What becomes of both ends: what was said instead of a password, and whether the dialler is content.
async fn meet(server: &ServerSasl, dialler: &ServerSasl, says: &[u8]) -> (io::Result<Vec<u8>>, io::Result<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dialled = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let (mut accepted, mut dialled) = (Stream::Plain(accepted), Stream::Plain(dialled));
    let dial = async {
        dialled.write_all(says).await?;
        dialler.dial(&mut dialled, PATIENCE).await?;
        dialled.shutdown().await
    };
    tokio::join!(server.accept(&mut accepted, PATIENCE), dial)
}

#[tokio::test]
async fn a_password_is_shown_and_taken() {
    let (said, dialled) = meet(&sasl(true, None), &sasl(false, Some("mypassword")), b"").await;
    assert_eq!((said.unwrap(), dialled.is_ok()), (Vec::new(), true));
}

#[tokio::test]
async fn a_wrong_password_is_refused_where_one_is_required() {
    let (said, dialled) = meet(&sasl(true, None), &sasl(false, Some("wrong")), b"").await;
    assert_eq!(said.unwrap_err().to_string(), "an unknown user or a wrong password");
    assert_eq!(dialled.unwrap_err().to_string(), "it refuses");
    let (said, dialled) = meet(&sasl(false, None), &sasl(false, Some("wrong")), b"").await;
    assert!(said.is_ok_and(|said| said.is_empty()) && dialled.is_err());
}

#[tokio::test]
async fn who_shows_none_has_said_something_else() {
    let says = b"12345678rest";
    let (said, dialled) = meet(&sasl(false, None), &sasl(false, None), says).await;
    assert_eq!((said.unwrap(), dialled.is_ok()), (b"12345678".to_vec(), true));
    let (said, _) = meet(&sasl(false, None), &ServerSasl::default(), b"").await;
    assert_eq!(said.unwrap(), Vec::<u8>::new(), "and may have said nothing");
    let (said, _) = meet(&sasl(true, None), &ServerSasl::default(), says).await;
    assert_eq!(said.unwrap_err().to_string(), "it shows none");
    let (said, _) = meet(&ServerSasl::default(), &ServerSasl::default(), says).await;
    assert_eq!(said.unwrap(), Vec::<u8>::new(), "who does not ask does not read");
}

#[tokio::test]
async fn what_is_no_packet_is_refused() {
    for says in [&b""[..], b"\0\0\0\x07\0\0\0\0", b"\0\0\0\0\x7f\xff\xff\xff", b"\0\0\0\0\xff\xff\xff\xff"] {
        let says = [&AUTH_MAGIC[..], says].concat();
        let server = sasl(true, None);
        let (said, _) = timeout(PATIENCE, async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut dialled = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (accepted, _) = listener.accept().await.unwrap();
            dialled.write_all(&says).await.unwrap();
            dialled.shutdown().await.unwrap();
            (server.accept(&mut Stream::Plain(accepted), PATIENCE).await, dialled)
        })
        .await
        .unwrap();
        assert!(said.is_err(), "{says:?}");
    }
}
