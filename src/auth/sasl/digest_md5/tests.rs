use super::*;
use crate::config::Secret;

const IMAP: Service = Service { protocol: "imap", name: "elwood.innosoft.com" };

fn nonce(text: &str) -> Nonce {
    Nonce(text.into())
}

fn users(all: &[(&str, &str)]) -> Users {
    all.iter().map(|(user, password)| ((*user).to_owned(), Secret((*password).to_owned()))).collect()
}

fn credentials(user: &str, password: &str) -> Credentials {
    Credentials { user: user.to_owned(), password: Secret(password.to_owned()) }
}

/// A server that has sent its challenge, and the challenge.
fn challenged(service: Service, known: &Users, server_nonce: &str) -> (ServerExchange, String) {
    let mut server = ServerExchange::default();
    match server.step(service, known, b"", || nonce(server_nonce)) {
        Ok(Step::Challenge(challenge)) => (server, String::from_utf8(challenge).unwrap()),
        other => panic!("no challenge: {other:?}"),
    }
}

fn answer(known: &Users, response: &str) -> Result<Step, SaslError> {
    let (mut server, _) = challenged(IMAP, known, "OA6MG9tEQGm2hh");
    server.step(IMAP, known, response.as_bytes(), || unreachable!("there is one challenge"))
}

const RFC: &str = r#"charset=utf-8,username="chris",realm="elwood.innosoft.com",nonce="OA6MG9tEQGm2hh",nc=00000001,cnonce="OA6MHXh6VqTrRk",digest-uri="imap/elwood.innosoft.com",response=d388dad90d4bbd760a152321f2143af7,qop=auth"#;

fn done(user: &str, acts_as: &str, rspauth: &str) -> Result<Step, SaslError> {
    let token = format!("rspauth={rspauth}").into_bytes();
    Ok(Step::Done { user: user.to_owned(), acts_as: acts_as.to_owned(), token })
}

#[test]
fn the_example_of_the_rfc_is_right() {
    let known = users(&[("chris", "secret")]);
    assert_eq!(answer(&known, RFC), done("chris", "chris", "ea40f60335c427b5527b84dbabcdfffd"));
}

#[test]
fn a_response_is_refused_for_whatever_is_wrong_with_it() {
    let known = users(&[("chris", "secret"), ("other", "secret")]);
    let wrong = |from: &str, to: &str| {
        assert!(RFC.contains(from));
        answer(&known, &RFC.replace(from, to)).unwrap_err()
    };
    assert_eq!(wrong("d388", "d389"), SaslError::Password);
    assert_eq!(wrong("chris", "other"), SaslError::Password);
    assert_eq!(wrong("chris", "nobody"), SaslError::Password);
    assert_eq!(wrong("qop=auth", "qop=auth-int"), SaslError::Wrong("qop"));
    assert_eq!(wrong("utf-8", "UTF-8"), SaslError::Wrong("charset"));
    assert_eq!(wrong("OA6MG9tEQGm2hh", "x"), SaslError::Wrong("nonce"));
    assert_eq!(wrong("realm=\"elwood", "realm=\"x"), SaslError::Wrong("realm"));
    assert_eq!(wrong("imap/elwood", "imap/x"), SaslError::Wrong("digest-uri"));
    assert_eq!(wrong(",nc=", ",maxbuf=x,nc="), SaslError::Wrong("maxbuf"));
    assert_eq!(wrong("cnonce=", "c="), SaslError::Missing("cnonce"));
    assert_eq!(wrong("qop=auth", "qop=auth,Username=chris"), SaslError::Twice("username"));
    assert_eq!(wrong("qop=auth", "qop=\"auth"), SaslError::Syntax);
    let long = format!("{RFC},x={}", "x".repeat(RESPONSE_BYTES_MAX - RFC.len() - 2));
    assert_eq!(answer(&known, &long), Err(SaslError::Long(4097)));
    assert!(answer(&known, &long[..RESPONSE_BYTES_MAX]).is_ok());
    // Java does not look at these.
    for ignored in ["nc=00000002", "nc=zz", "cipher=rc4", "stale=true"] {
        assert!(answer(&known, &RFC.replace("nc=00000001", ignored)).is_ok(), "{ignored}");
    }
}

#[test]
fn there_is_one_response_to_a_challenge() {
    let known = users(&[("chris", "secret")]);
    let (mut server, _) = challenged(IMAP, &known, "OA6MG9tEQGm2hh");
    let mut step = |token: &[u8]| server.step(IMAP, &known, token, || unreachable!());
    let long = [b'x'; RESPONSE_BYTES_MAX + 1];
    assert_eq!(step(&long), Err(SaslError::Long(4097)), "which is not a response");
    assert_eq!(step(RFC.replace("d388", "d389").as_bytes()), Err(SaslError::Password));
    assert_eq!(step(RFC.as_bytes()), Err(SaslError::Over));
    assert_eq!(step(b""), Err(SaslError::Over));
}

/// Between Apache servers of 3.9.3 and 3.8.0, as in `sasl-digest-mixed` of the vectors.
#[test]
fn servers_speak_as_apaches_do() {
    let known = users(&[("test", "mypassword")]);
    let server_nonce = "GsEeZ89Cq8Gf3TTi3KVYL1CzRctzEohqBLi4SmbR";
    let (mut server, challenge) = challenged(Service::SERVERS, &known, server_nonce);
    let recorded = format!(r#"realm="zk-quorum-sasl-md5",nonce="{server_nonce}",charset=utf-8,algorithm=md5-sess"#);
    assert_eq!(challenge, recorded);
    let cnonce = nonce("QTVVFZbHjlzmpSflV82hy7AJAa9TtYdC6tbjfEyt");
    let (response, expected) =
        respond(Service::SERVERS, &credentials("test", "mypassword"), challenge.as_bytes(), &cnonce).unwrap();
    let recorded = format!(
        r#"charset=utf-8,username="test",realm="zk-quorum-sasl-md5",nonce="{server_nonce}",nc=00000001,cnonce="{}",digest-uri="zookeeper-quorum/zk-quorum-sasl-md5",maxbuf=65536,response=be27befb59f418c4d5023b0bc08b23b6,qop=auth,authzid="test""#,
        cnonce.0
    );
    assert_eq!(String::from_utf8(response.clone()).unwrap(), recorded);
    let step = server.step(Service::SERVERS, &known, &response, || unreachable!());
    assert_eq!(step, done("test", "test", "12bcb556f5c382ee9ba91b706070f980"));
    assert_eq!(expected.accept(b"rspauth=12bcb556f5c382ee9ba91b706070f980"), Ok(()));
    assert_eq!(expected.accept(b"rspauth=12bcb556f5c382ee9ba91b706070f981"), Err(SaslError::Password));
    assert_eq!(expected.accept(b""), Err(SaslError::Missing("rspauth")));
}

#[test]
fn a_client_answers_nobody_else() {
    let good = r#"realm="zk-quorum-sasl-md5",nonce="n",qop="auth-int, auth",charset=utf-8,algorithm=md5-sess"#;
    let say = |challenge: &str| {
        respond(Service::SERVERS, &credentials("a", "b"), challenge.as_bytes(), &nonce("c")).map(|_| ()).err()
    };
    assert_eq!(say(good), None);
    assert_eq!(say(&good.replace("quorum", "q")), Some(SaslError::Wrong("realm")));
    assert_eq!(say(&good.replace(", auth\"", "\"")), Some(SaslError::Wrong("qop")));
    assert_eq!(say(&good.replace("md5-sess", "md5")), Some(SaslError::Wrong("algorithm")));
    assert_eq!(say(""), Some(SaslError::Missing("charset")));
    assert_eq!(say(&"x".repeat(2049)), Some(SaslError::Long(2049)));
}

#[test]
fn any_name_and_password_will_do() {
    for (user, password) in [("a\"b\\", "x y"), ("käthe", "grün"), ("日本", "ü"), ("a", ""), ("a\u{1}", "日")] {
        let known = users(&[(user, password)]);
        let nonces = Nonces::new([7; 32]);
        let (mut server, challenge) = challenged(Service::SERVERS, &known, &nonces.nonce(1).0);
        let (response, expected) =
            respond(Service::SERVERS, &credentials(user, password), challenge.as_bytes(), &nonces.nonce(2)).unwrap();
        let step = server.step(Service::SERVERS, &known, &response, || unreachable!());
        let Ok(Step::Done { user: found, token, .. }) = step else { panic!("{step:?}") };
        assert_eq!((found.as_str(), expected.accept(&token)), (user, Ok(())));
    }
}

#[test]
fn nonces_differ_and_show_nothing() {
    let nonces = Nonces::new([1; 32]);
    assert_eq!(nonces.nonce(1).0.len(), 40);
    assert!(nonces.nonce(1) != nonces.nonce(2) && nonces.nonce(1) != Nonces::new([2; 32]).nonce(1));
    assert_eq!(format!("{nonces:?}"), "Nonces");
}
