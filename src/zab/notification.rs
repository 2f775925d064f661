//! What servers say to each other on the election port: who they are, and whom they vote for (election.md 2.1, 3).

use bytes::{BufMut, Bytes};

use crate::ids::Zxid;
use crate::jute::{JuteError, JuteWrite, Parsed, fail, int, long};

/// The longest notification, bytes.
pub const NOTIFICATION_BYTES_MAX: usize = 512 * 1024;
/// The longest list of addresses in a hello, bytes.
pub const HELLO_ADDRESS_BYTES_MAX: usize = 2048;
/// What stands for no server in a vote, and for an observer's own.
pub const NO_SERVER: i64 = i64::MIN;

/// What a server is doing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PeerState {
    /// It looks for a leader.
    Looking,
    /// It follows one.
    Following,
    /// It is one.
    Leading,
    /// It follows one without a vote.
    Observing,
}

impl PeerState {
    const fn from_number(number: i32) -> Option<Self> {
        match number {
            0 => Some(Self::Looking),
            1 => Some(Self::Following),
            2 => Some(Self::Leading),
            3 => Some(Self::Observing),
            _ => None,
        }
    }

    const fn number(self) -> i32 {
        match self {
            Self::Looking => 0,
            Self::Following => 1,
            Self::Leading => 2,
            Self::Observing => 3,
        }
    }
}

/// Whom a server wants to lead, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vote {
    /// The server voted for; [`NO_SERVER`] for nobody.
    pub leader: i64,
    /// The last txn in that server's log, committed or not.
    pub zxid: Zxid,
    /// The voter's round: its logical clock.
    pub round: i64,
    /// The epoch that the server voted for has joined.
    pub epoch: i64,
}

/// One message on the election port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notification {
    /// What the sender is doing.
    pub state: PeerState,
    /// Its vote.
    pub vote: Vote,
    /// 2 today; 0 and 1 from servers that send no configuration.
    pub version: i32,
    /// The text of the sender's committed configuration.
    pub config: Option<Bytes>,
    /// The text of the configuration that is proposed to follow it, behind all that Apache servers read; only zkd sends it.
    pub proposed: Option<Bytes>,
}

/// The version that carries a configuration.
pub(super) const NOTIFICATION_VERSION: i32 = 2;

impl Notification {
    /// Decodes a message without its length.
    ///
    /// # Errors
    /// What is wrong; the message is ignored, the connection stays (election.md 3).
    pub fn decode(input: &Bytes) -> Result<Self, JuteError> {
        let (_, notification) = Self::parse(input).map_err(JuteError::from)?;
        Ok(notification)
    }

    fn parse(whole: &Bytes) -> Parsed<'_, Self> {
        let (input, state) = int(whole)?;
        let Some(state) = PeerState::from_number(state) else { return fail(JuteError::Value(state)) };
        let (input, leader) = long(input)?;
        let (input, zxid) = long(input)?;
        let (input, round) = long(input)?;
        let zxid = Zxid(zxid);
        let (input, epoch) = if input.is_empty() { (input, i64::from(zxid.epoch())) } else { long(input)? };
        let vote = Vote { leader, zxid, round, epoch };
        if input.len() < 5 {
            return Ok((input, Self { state, vote, version: 0, config: None, proposed: None }));
        }
        let (input, version) = int(input)?;
        if version < NOTIFICATION_VERSION {
            return Ok((input, Self { state, vote, version, config: None, proposed: None }));
        }
        let (input, config) = text(whole, input)?;
        // Whatever else comes behind is none of this server's business.
        let proposed = text(whole, input).ok().map(|(_, proposed)| proposed);
        Ok((input, Self { state, vote, version, config: Some(config), proposed }))
    }

    /// Appends the message, its length first.
    pub fn encode(&self, out: &mut impl BufMut) {
        let mut body = Vec::with_capacity(64);
        body.int(self.state.number());
        body.long(self.vote.leader);
        body.long(self.vote.zxid.0);
        body.long(self.vote.round);
        body.long(self.vote.epoch);
        if let Some(config) = &self.config {
            body.int(self.version);
            body.buffer(Some(config));
            if let Some(proposed) = &self.proposed {
                body.buffer(Some(proposed));
            }
        } else if self.version > 0 {
            body.int(self.version);
        }
        out.buffer(Some(&body));
    }
}

/// A text behind its length.
fn text<'a>(whole: &Bytes, input: &'a [u8]) -> Parsed<'a, Bytes> {
    let (input, length) = int(input)?;
    match usize::try_from(length).ok().and_then(|length| input.split_at_checked(length)) {
        Some((text, rest)) => Ok((rest, if text.is_empty() { Bytes::new() } else { whole.slice_ref(text) })),
        None => fail(JuteError::Length(length)),
    }
}

/// What the one who dials says first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// The dialler.
    pub sid: i64,
    /// Its election addresses, `host:port`; none from servers before 3.5.
    pub addresses: Vec<String>,
    /// Whether the list is of the kind that may have several.
    pub several: bool,
}

const HELLO_ONE: i64 = -65536;
const HELLO_SEVERAL: i64 = -65535;

impl Hello {
    /// Takes a hello off the front of `input`: how many bytes it took, `None` while it is not all there.
    ///
    /// # Errors
    /// The rule that was broken: close the connection.
    pub fn decode(input: &[u8]) -> Result<Option<(usize, Self)>, HelloError> {
        let Some(first) = input.first_chunk().map(|bytes| i64::from_be_bytes(*bytes)) else { return Ok(None) };
        if first >= 0 {
            return Ok(Some((8, Self { sid: first, addresses: Vec::new(), several: false })));
        }
        if first != HELLO_ONE && first != HELLO_SEVERAL {
            return Err(HelloError::Protocol(first));
        }
        let (Some(sid), Some(length)) = (
            input.get(8..16).and_then(|bytes| bytes.first_chunk()).map(|bytes| i64::from_be_bytes(*bytes)),
            input.get(16..20).and_then(|bytes| bytes.first_chunk()).map(|bytes| i32::from_be_bytes(*bytes)),
        ) else {
            return Ok(None);
        };
        let count = usize::try_from(length).unwrap_or(0);
        if !(1..=HELLO_ADDRESS_BYTES_MAX).contains(&count) {
            return Err(HelloError::Length(length));
        }
        let Some(text) = input.get(20..20 + count) else { return Ok(None) };
        let text = String::from_utf8_lossy(text);
        let addresses: Vec<_> = text.split('|').map(str::to_owned).collect();
        if let Some(bad) = addresses.iter().find(|address| !is_address(address)) {
            return Err(HelloError::Address(bad.clone()));
        }
        Ok(Some((20 + count, Self { sid, addresses, several: first == HELLO_SEVERAL })))
    }

    /// Appends the hello.
    pub fn encode(&self, out: &mut impl BufMut) {
        if self.addresses.is_empty() {
            out.long(self.sid);
            return;
        }
        out.long(if self.several { HELLO_SEVERAL } else { HELLO_ONE });
        out.long(self.sid);
        out.buffer(Some(self.addresses.join("|").as_bytes()));
    }
}

/// Why a hello is refused (election.md 2.1).
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HelloError {
    /// Neither of the two kinds.
    #[error("protocol version {0}, expected {HELLO_ONE} or {HELLO_SEVERAL}")]
    Protocol(i64),
    /// Too long, or empty.
    #[error("an address list of {0} bytes, expected 1 to {HELLO_ADDRESS_BYTES_MAX}")]
    Length(i32),
    /// Not `host:port`.
    #[error("the address {0:?}, expected host:port")]
    Address(String),
}

fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vote() -> Vote {
        Vote { leader: 3, zxid: Zxid::new(1, 5), round: 2, epoch: 1 }
    }

    fn encoded(notification: &Notification) -> Bytes {
        let mut out = Vec::new();
        notification.encode(&mut out);
        out.split_off(4).into()
    }

    #[test]
    fn notifications_of_all_ages() {
        let config = Some(Bytes::from_static(b"version=0"));
        let today = Notification { state: PeerState::Leading, vote: vote(), version: 2, config, proposed: None };
        let bytes = encoded(&today);
        assert_eq!(Notification::decode(&bytes), Ok(today.clone()));
        let pending = Notification { proposed: Some(Bytes::from_static(b"version=7")), ..today.clone() };
        let both = encoded(&pending);
        assert_eq!(Notification::decode(&both), Ok(pending));
        assert_eq!(Notification::decode(&both.slice(..both.len() - 1)), Ok(today.clone()), "as Apache reads it");
        let old = Notification { version: 0, config: None, ..today.clone() };
        assert_eq!(Notification::decode(&bytes.slice(..36)), Ok(old));
        let oldest = Notification::decode(&bytes.slice(..28)).unwrap();
        assert_eq!((oldest.vote.epoch, oldest.version), (1, 0));
        assert!(Notification::decode(&bytes.slice(..27)).is_err());
        assert!(Notification::decode(&bytes.slice(..bytes.len() - 1)).is_err());
        let mut strange = bytes.to_vec();
        strange[3] = 9;
        assert_eq!(Notification::decode(&strange.into()), Err(JuteError::Value(9)));
    }

    #[test]
    fn a_hello_is_a_number_or_a_number_with_addresses() {
        let hello = Hello { sid: 2, addresses: vec!["127.0.0.1:24042".to_owned()], several: false };
        let mut bytes = Vec::new();
        hello.encode(&mut bytes);
        assert_eq!(bytes.len(), 35);
        for length in 0..35 {
            assert_eq!(Hello::decode(&bytes[..length]), Ok(None));
        }
        assert_eq!(Hello::decode(&bytes), Ok(Some((35, hello))));
        let bare = Hello { sid: 7, addresses: vec![], several: false };
        assert_eq!(Hello::decode(&7_i64.to_be_bytes()), Ok(Some((8, bare))));
        assert_eq!(Hello::decode(&(-65534_i64).to_be_bytes()), Err(HelloError::Protocol(-65534)));
        bytes[19] = 0;
        assert_eq!(Hello::decode(&bytes), Err(HelloError::Length(0)));
    }
}
