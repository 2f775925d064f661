"""Do the servers of an ensemble count what happens?

    counts.py --zkd target/release/zkd [--apache]

An election, writes, watches, and a session that moves: every one of these names has moved behind that, where it should.
"""
import contextlib
import sys

from ensemble import Ensemble, arguments, kind_of
from wire import Client, Refused, w

WRITES = 7
EVERYBODY = ["looking_count", "cnt_election_time", "cnt_unavailable_time"]
# At least as often as clients have written.
LEADER = ["proposal_count", "commit_count", "cnt_quorum_ack_latency", "cnt_propagation_latency"]
FOLLOWER = ["learner_proposal_received_count", "learner_commit_received_count", "cnt_proposal_latency",
            "cnt_commit_propagation_latency", "cnt_propagation_latency"]
WATCHES = ["cnt_node_created_watch_count", "cnt_node_deleted_watch_count", "cnt_node_changed_watch_count",
           "cnt_node_children_watch_count", "watch_bytes", "response_bytes"]


def counted(member):
    lines = (line.split("\t") for line in member.word("mntr").splitlines())
    return {name[3:]: value for name, value in lines}


def some_watches(client):
    client.create("/watched", b"")
    for op, path in [("exists", "/watched/new"), ("getData", "/watched"), ("getChildren", "/watched")]:
        with contextlib.suppress(Refused):      # one is not there yet
            client.call(op, w.ustr(path) + w.boolean(True))
    client.create("/watched/new", b"")
    client.call("setData", w.ustr("/watched") + w.buf(b"1") + w.i32(-1))
    client.call("exists", w.ustr("/watched/new") + w.boolean(True))
    client.call("delete", w.ustr("/watched/new") + w.i32(-1))


def assert_at_least(least, found, names, who):
    short = {name: found.get(name) for name in names if float(found.get(name, -1)) < least}
    assert not short, "%s has counted less than %d: %s" % (who, least, short)


def main():
    kind = kind_of(arguments(__doc__).parse_args())
    with Ensemble(kind, 3, {"tickTime": "500"}) as ensemble:
        leader = ensemble.wait_for_roles()
        here, there = ensemble.followers()
        with ensemble.client(here) as client:
            some_watches(client)
            for number in range(WRITES):
                client.create("/%d" % number)
            with Client(there.port, session=client.session, password=client.password, zxid=client.zxid) as moved:
                moved.sync()
                seen = {member.number: counted(member) for member in ensemble}
                moved.end()
        for member in ensemble:
            assert_at_least(1, seen[member.number], EVERYBODY, "server %d" % member.number)
        ahead, ours, theirs = (seen[member.number] for member in (leader, here, there))
        assert_at_least(WRITES, ahead, LEADER, "the leader")
        assert_at_least(1, ahead, ["cnt_leader_unavailable_time", "revalidate_count"], "the leader")
        assert float(ahead["snap_count"]) + float(ahead["diff_count"]) >= 2, "learners were not counted"
        for who, found in [("the first follower", ours), ("the second", theirs)]:
            assert_at_least(WRITES, found, FOLLOWER, who)
            assert_at_least(1, found, ["cnt_follower_sync_time"], who)
        assert_at_least(1, ours, WATCHES, "the first follower")
        assert_at_least(1, theirs, ["connection_revalidate_count"], "the second")
    print("an ensemble counts elections, proposals, watches and sessions that move")
    return 0


if __name__ == "__main__":
    sys.exit(main())
