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
/// history, the leader included. Without `standalone` one voter is enough. `None`: one of them has a number that does not
/// fit into the ids of its sessions; the reference takes it, zkd refuses whoever may reconfigure at all.
///
/// # Errors
/// The first check that fails, in the order of the reference.
pub fn next_members(
    membership: &Membership,
    request: &Reconfig<'_>,
    zxid: Zxid,
    standalone: bool,
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

    #[test]
    fn a_number_that_does_not_fit_is_refused_once_it_is_known_who_asks() {
        let text = "server.1=a:1:2;3\nserver.2=b:1:2;3\nserver.3=c:1:2;3\nversion=5";
        let membership = Membership::settled(Ensemble::parse(text).unwrap());
        let next = |joining: &str| {
            let request = Reconfig { joining: Some(joining.into()), leaving: None, new_members: None, config_id: -1 };
            let next = next_members(&membership, &request, Zxid(9), true, |_| true);
            next.map(|next| next.map(|next| (next.version(), next.voters().count())))
        };
        assert_eq!(next("server.4=d:1:2;3"), Ok(Some((9, 4))));
        assert_eq!(next("server.999=d:1:2;3"), Ok(None));
        assert_eq!(next("server.4=d:1:2"), Err(ErrorCode::BAD_ARGUMENTS), "no client port");
    }
}
