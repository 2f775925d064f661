//! Reconfiguring: what a client asks for becomes the text of the next configuration, or the error that the reference has
//! for it (semantics.md 4.7). And the way back: which members a txn of the log proposes.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Ensemble, Membership};
use crate::config::{Members, ServerRole, ServerSpec};
use crate::ids::{Sid, Zxid};
use crate::proto::{ErrorCode, OpCode, Reconfig};
use crate::txn::{Entry, Txn};

/// The members that a request asks for, to be established by `zxid`. `follows` tells who follows this leader and has its
/// history, the leader included. Without `standalone` one voter is enough, and without `several_addresses` nobody may have
/// more than one: no server would start with such members. `None`: one of them has a number that does not
/// fit into the ids of its sessions; the reference takes it, zkd refuses whoever may reconfigure at all.
///
/// # Errors
/// The first check that fails, in the order of the reference.
pub fn next_members(
    membership: &Membership,
    request: &Reconfig<'_>,
    zxid: Zxid,
    (standalone, several_addresses): (bool, bool),
    follows: impl Fn(Sid) -> bool,
) -> Result<Option<Ensemble>, ErrorCode> {
    if membership.pending().is_some() {
        return Err(ErrorCode::RECONFIG_IN_PROGRESS);
    }
    let current = &membership.committed;
    if request.config_id != -1 && request.config_id != current.version() {
        return Err(ErrorCode::BAD_VERSION);
    }
    let members = match &request.new_members {
        Some(text) => whole(text, standalone)?,
        None => match changed(current, request)? {
            Some(members) => members,
            None => return Ok(None),
        },
    };
    if !several_addresses && members.servers.values().any(|server| server.addresses.len() > 1) {
        return Err(ErrorCode::BAD_ARGUMENTS);
    }
    if members.count(ServerRole::Participant) < if standalone { 2 } else { 1 } {
        return Err(ErrorCode::BAD_ARGUMENTS);
    }
    let mut next = Ensemble::from_members(members).map_err(|_| ErrorCode::BAD_ARGUMENTS)?;
    next.set_version(zxid.0);
    if next.is_quorum(follows) { Ok(Some(next)) } else { Err(ErrorCode::NEW_CONFIG_NO_QUORUM) }
}

/// `newMembers`: all of them, one a line or between commas.
fn whole(text: &str, standalone: bool) -> Result<Members, ErrorCode> {
    let members = Members::parse("newMembers", &text.replace(',', "\n")).map_err(|_| ErrorCode::BAD_ARGUMENTS)?;
    let (voters, observers) = (members.count(ServerRole::Participant), members.count(ServerRole::Observer));
    // What the reference does not expect to be able to go wrong has this code.
    let is_strange = voters == 0 && (!standalone || observers > 0) || voters == 1 && standalone && observers > 0;
    if is_strange { Err(ErrorCode::MARSHALLING) } else { Ok(members) }
}

/// `leavingServers` go first, then `joiningServers` come, or come again with another address or role.
fn changed(current: &Ensemble, request: &Reconfig<'_>) -> Result<Option<Members>, ErrorCode> {
    if !current.is_majority() {
        return Err(ErrorCode::BAD_ARGUMENTS);
    }
    let mut members = Members::default();
    members.servers.extend(current.servers().map(|(sid, server)| (sid, server.clone())));
    for id in items(request.leaving.as_deref()) {
        let id: i64 = id.parse().map_err(|_| ErrorCode::MARSHALLING)?;
        if let Ok(id) = u8::try_from(id) {
            members.servers.remove(&Sid(id));
        }
    }
    for line in items(request.joining.as_deref()) {
        let mut parts = line.split('=').map(str::trim).filter(|part| !part.is_empty());
        let (Some(name), Some(text), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err(ErrorCode::BAD_ARGUMENTS);
        };
        let id: i64 = name.rsplit('.').next().unwrap_or(name).parse().map_err(|_| ErrorCode::MARSHALLING)?;
        let Ok(id) = u8::try_from(id) else { return Ok(None) };
        let server = ServerSpec::parse(id, text).ok_or(ErrorCode::BAD_ARGUMENTS)?;
        let has_client = server.client.is_some() || server.secure_client.is_some();
        let others = members.servers.iter().filter(|(sid, _)| **sid != Sid(id)).map(|(_, other)| other);
        if !has_client || !others.map(places).all(|other| other.is_disjoint(&places(&server))) {
            return Err(ErrorCode::BAD_ARGUMENTS);
        }
        members.servers.insert(Sid(id), server);
    }
    Ok(Some(members))
}

/// What stands between commas; empty pieces are none.
fn items(list: Option<&str>) -> impl Iterator<Item = &str> {
    list.unwrap_or_default().split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// Where a server listens, as far as that tells one machine from another.
fn places(server: &ServerSpec) -> BTreeSet<(&str, u16)> {
    let peers = server.addresses.iter().flat_map(|address| {
        [(address.host.as_str(), address.quorum_port), (address.host.as_str(), address.election_port)]
    });
    let clients = [&server.client, &server.secure_client].into_iter().flatten();
    let all = peers.chain(clients.map(|client| (client.host.as_str(), client.port)));
    all.filter(|(host, _)| !is_everywhere(host)).collect()
}

/// Whether an address is one that every machine has.
fn is_everywhere(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified() || ip.is_loopback())
}

/// The members that a txn proposes, if it is a reconfiguration. Its zxid is their version, whatever the text says.
///
/// # Errors
/// Why its text is no configuration.
pub fn reconfiguration(txn: &[u8]) -> Result<Option<Ensemble>, String> {
    const OP: std::ops::Range<usize> = 28..32;
    if txn.get(OP).is_none_or(|op| op != OpCode::RECONFIG.0.to_be_bytes()) {
        return Ok(None);
    }
    let entry = Entry::decode(txn).map_err(|error| error.to_string())?;
    let Txn::SetData(set) = &entry.txn else { return Ok(None) };
    let text = String::from_utf8_lossy(set.data.unwrap_or_default());
    let mut members = Ensemble::parse(&text).map_err(|error| error.to_string())?;
    members.set_version(entry.header.zxid.0);
    Ok(Some(members))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members() -> Membership {
        let servers = (1..=3).filter_map(|id| ServerSpec::parse(id, &format!("h{id}:1:2;3")));
        Membership::settled(Ensemble::new(7, servers))
    }

    fn asked(membership: &Membership, request: &Reconfig<'_>, standalone: bool) -> Result<String, ErrorCode> {
        let next = next_members(membership, request, Zxid(9), (standalone, false), |sid| sid.0 <= 4)?;
        let Some(next) = next else { return Ok("none".to_owned()) };
        let role = |sid| if next.is_observer(sid) { "o" } else { "" };
        Ok(next.servers().map(|(sid, _)| format!("{}{}", sid.0, role(sid))).collect::<Vec<_>>().join(" "))
    }

    fn change(joining: &str, leaving: &str) -> Result<String, ErrorCode> {
        let list = |text: &str| Some(text.to_owned().into()).filter(|_| !text.is_empty());
        let request = Reconfig { joining: list(joining), leaving: list(leaving), new_members: None, config_id: -1 };
        asked(&members(), &request, true)
    }

    fn replace(text: &str, standalone: bool) -> Result<String, ErrorCode> {
        let new_members = Some(text.to_owned().into());
        asked(&members(), &Reconfig { joining: None, leaving: None, new_members, config_id: -1 }, standalone)
    }

    #[test]
    fn servers_leave_first_and_then_others_join() {
        assert_eq!(change("server.4=h4:1:2;3", "1, 99"), Ok("2 3 4".to_owned()));
        assert_eq!(change("server.1=h1:5:6:observer;3", "1"), Ok("1o 2 3".to_owned()));
        assert_eq!(change("server.2=h2:1:2:observer;3", ""), Ok("1 2o 3".to_owned()), "an update");
        assert_eq!(change("", ""), Ok("1 2 3".to_owned()), "nothing, under a new version");
    }

    #[test]
    fn what_is_no_change() {
        for (joining, leaving, error) in [
            ("garbage", "", ErrorCode::BAD_ARGUMENTS),
            ("server.x=h:1:2;3", "", ErrorCode::MARSHALLING),
            ("server.4=h:1:2", "", ErrorCode::BAD_ARGUMENTS),
            ("server.4=h:1;3", "", ErrorCode::BAD_ARGUMENTS),
            ("server.4=h3:9:2;8", "", ErrorCode::BAD_ARGUMENTS),
            ("server.4=h4:1:2|h5:1:2;3", "", ErrorCode::BAD_ARGUMENTS),
            ("", "abc", ErrorCode::MARSHALLING),
            ("", "1,2", ErrorCode::BAD_ARGUMENTS),
            ("server.7=g:1:2;3,server.8=g:4:5;6,server.9=g:7:8;10", "1", ErrorCode::NEW_CONFIG_NO_QUORUM),
        ] {
            assert_eq!(change(joining, leaving), Err(error), "{joining} {leaving}");
        }
        assert_eq!(change("server.999=h:1:2;3", ""), Ok("none".to_owned()), "refused once it is known who asks");
        assert_eq!(change("server.4=127.0.0.1:1:2;3,server.5=127.0.0.1:1:2;3", ""), Ok("1 2 3 4 5".to_owned()));
    }

    #[test]
    fn all_members_at_once() {
        assert_eq!(replace("server.3=h:1:2,server.4=h:3:4\nserver.5=h:5:6:observer", true), Ok("3 4 5o".to_owned()));
        assert_eq!(replace("server.3=h:1:2", false), Ok("3".to_owned()));
        for (text, standalone, error) in [
            ("garbage", true, ErrorCode::BAD_ARGUMENTS),
            ("server.3=h:1:2", true, ErrorCode::BAD_ARGUMENTS),
            ("server.3=h:1:2\nserver.4=h:1:3:observer", true, ErrorCode::MARSHALLING),
            ("server.4=h:1:3:observer", true, ErrorCode::MARSHALLING),
            ("", false, ErrorCode::MARSHALLING),
            ("server.8=h:1:2\nserver.9=h:1:3", true, ErrorCode::NEW_CONFIG_NO_QUORUM),
        ] {
            assert_eq!(replace(text, standalone), Err(error), "{text}");
        }
    }

    #[test]
    fn one_at_a_time_and_on_top_of_what_the_client_has_seen() {
        let mut membership = members();
        let request = |config_id| Reconfig { joining: None, leaving: None, new_members: None, config_id };
        assert_eq!(asked(&membership, &request(6), true), Err(ErrorCode::BAD_VERSION));
        assert!(asked(&membership, &request(7), true).is_ok());
        membership.propose(Ensemble::new(8, ServerSpec::parse(1, "h:1:2")));
        assert_eq!(asked(&membership, &request(6), true), Err(ErrorCode::RECONFIG_IN_PROGRESS));
    }
}
