//! `leader`, `voting_view`, `zabstate`: who the members are, and where this one stands among them.

use std::net::IpAddr;
use std::sync::Arc;

use super::json::{Fields, Json, field};
use super::view::View;
use crate::config::{ServerAddress, ServerRole, ServerSpec};
use crate::ids::Sid;
use crate::peer::{Mode, Standing};
use crate::zab::Ensemble;

pub(super) fn leader(view: &View) -> Fields {
    let standing = Arc::clone(&view.standing.read());
    let Some(members) = members(&standing) else { return vec![field("error", "server is not initialized")] };
    let leader = standing.leader.and_then(|leader| members.server(leader));
    let hosts = leader.map(|leader| leader.addresses.iter().map(|address| address.host.as_str()).collect::<Vec<_>>());
    vec![
        field("is_leader", standing.mode == Mode::Leader),
        field("leader_id", standing.leader.map_or(-1, |leader| i64::from(leader.0))),
        field("leader_ip", hosts.unwrap_or_default().join("|")),
    ]
}

pub(super) fn voting_view(view: &View) -> Fields {
    let standing = Arc::clone(&view.standing.read());
    let voters: Fields = members(&standing)
        .into_iter()
        .flat_map(|members| members.voters().filter_map(|sid| members.server(sid)))
        .map(|server| (server.id.to_string(), voter(view, server).into()))
        .collect();
    vec![field("current_config", voters)]
}

fn voter(view: &View, server: &ServerSpec) -> Fields {
    let addresses = |port: fn(&ServerAddress) -> u16| {
        server.addresses.iter().map(|address| place(&address.host, port(address)).into()).collect::<Json>()
    };
    let role = match server.role {
        ServerRole::Participant => "participant",
        ServerRole::Observer => "observer",
    };
    vec![
        field("server_addresses", addresses(|address| address.quorum_port)),
        field("election_addresses", addresses(|address| address.election_port)),
        field("client_address", client(view, server).unwrap_or_default()),
        field("learner_type", role),
    ]
}

pub(super) fn zabstate(view: &View) -> Fields {
    let standing = Arc::clone(&view.standing.read());
    let (Some(ensemble), Some(members)) = (&view.facts.ensemble, members(&standing)) else {
        return vec![field("voting", false), field("zabstate", "")];
    };
    let own = members.server(ensemble.me);
    let addresses = |port| own.map_or(Json::Null, |own| addresses(own, port).into());
    let zxid = view.database.read().last_zxid();
    vec![
        field("myid", i64::from(ensemble.me.0)),
        field("is_leader", standing.mode == Mode::Leader),
        field("quorum_address", addresses(|address| address.quorum_port)),
        field("election_address", addresses(|address| address.election_port)),
        field("client_address", own.and_then(|own| client(view, own)).map_or(Json::Null, Json::from)),
        field("voting", members.voters().any(|voter| voter == ensemble.me)),
        field("last_zxid", format!("{zxid}")),
        field("zab_epoch", i64::from(zxid.epoch())),
        field("zab_counter", i64::from(zxid.counter())),
        field("zabstate", "broadcast"),
    ]
}

/// What Java's bean of several addresses has. Whether they can be reached is not tried here.
fn addresses(own: &ServerSpec, port: fn(&ServerAddress) -> u16) -> Fields {
    let list = |text: &dyn Fn(&ServerAddress) -> Json| own.addresses.iter().map(text).collect::<Json>();
    let all = || list(&|address| place(&address.host, port(address)).into());
    let one = || own.addresses.first().map_or(Json::Null, |address| place(&address.host, port(address)).into());
    vec![
        field("empty", own.addresses.is_empty()),
        ("all_addresses".to_owned(), all()),
        ("wildcard_addresses".to_owned(), list(&|address| place("0.0.0.0", port(address)).into())),
        ("all_ports".to_owned(), list(&|address| i64::from(port(address)).into())),
        ("all_host_strings".to_owned(), list(&|address| address.host.as_str().into())),
        ("reachable_address".to_owned(), one()),
        ("all_reachable_addresses".to_owned(), all()),
        ("all_reachable_addresses_or_all".to_owned(), all()),
        ("reachable_or_one".to_owned(), one()),
        ("one".to_owned(), one()),
    ]
}

/// Those that this server serves among; none for a server alone, one that looks for a leader, or a read-only one.
fn members(standing: &Standing) -> Option<&Ensemble> {
    let serves = matches!(standing.mode, Mode::Leader | Mode::Follower | Mode::Observer);
    standing.membership.as_ref().filter(|_| serves).map(|membership| &membership.committed)
}

/// Where clients connect to a server. Of itself a server knows that also from the configuration.
fn client(view: &View, server: &ServerSpec) -> Option<String> {
    let is_own = view.facts.ensemble.as_ref().is_some_and(|ensemble| ensemble.me == Sid(server.id));
    let own = || view.facts.client_address.as_ref().filter(|_| is_own);
    server.client.as_ref().or_else(own).map(|address| place(&address.host, address.port))
}

fn place(host: &str, port: u16) -> String {
    match host.parse::<IpAddr>() {
        Ok(ip @ IpAddr::V6(_)) => super::connections::socket_address((ip, port).into()),
        Ok(IpAddr::V4(_)) | Err(_) => format!("{host}:{port}"),
    }
}

/// Of an observer the leader knows which server it is.
pub(super) fn observers(view: &View) -> Fields {
    let standing = Arc::clone(&view.standing.read());
    let synced = standing.learners.iter().filter(|learner| learner.observer && learner.synced);
    let sids: Vec<_> = synced.map(|learner| learner.sid.map_or(-1, |sid| i64::from(sid.0))).collect();
    let object = |sid: &i64| Json::Object(vec![field("sid", *sid)]);
    vec![field("synced_observers", sids.len()), field("observers", sids.iter().map(object).collect::<Json>())]
}
