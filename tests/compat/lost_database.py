"""Does a server that has lost its database keep out of elections?

    lost_database.py --zkd target/release/zkd [--apache]

With db.autocreate=false an empty directory is a lost database, unless a file `initialize` says that it is a new one:
three servers without the file do not serve, and with it they do. Then one loses everything: with one of the others it is
no quorum, with both it gets all of it back. Logs without a snapshot are refused, or trusted with snapshot.trust.empty.
"""
import glob
import os
import shutil
import sys

from ensemble import ROLES_SECONDS, Ensemble, arguments, kind_of, poll

CONFIG = {"tickTime": "500", "db.autocreate": "false"}


def files(member, pattern):
    return glob.glob(os.path.join(member.server.data_dir, "version-2", pattern))


def marker(member):
    return os.path.join(member.server.data_dir, "initialize")


def lost(kind):
    with Ensemble(kind, 3, CONFIG) as ensemble:
        poll(lambda: all(member.mode() == "looking" for member in ensemble), ROLES_SECONDS, ensemble.modes)
        ensemble.assert_no_service(ensemble)
        for member in ensemble:
            member.kill()
            with open(marker(member), "w"):
                pass
            if member.server.name != "zkd":     # Apache stumbles over the epochs of the database that it did not have
                shutil.rmtree(os.path.join(member.server.data_dir, "version-2"))
            member.launch()
        ensemble.wait_for_roles()
        assert not any(os.path.exists(marker(member)) for member in ensemble), "a marker is still there"
        with ensemble.client(ensemble[1]) as client:
            client.create("/kept", b"1")
            client.end()

        forgetful, away, witness = ensemble
        for member in ensemble:
            member.kill()
        shutil.rmtree(os.path.join(forgetful.server.data_dir, "version-2"))
        forgetful.launch()
        witness.launch()
        poll(lambda: witness.word("srvr"), ROLES_SECONDS, "server 3 does not answer")
        ensemble.assert_no_service([forgetful, witness])
        away.launch()
        assert ensemble.wait_for_roles() is not forgetful
        assert ensemble.assert_same()["/kept"][0] == b"1"
        without_snapshot(ensemble, forgetful)


def without_snapshot(ensemble, member):
    with ensemble.client(member) as client:
        client.create("/logged")
        client.end()
    member.kill()
    snapshots = files(member, "snapshot*")
    assert snapshots and files(member, "log.*")
    for snapshot in snapshots:
        os.remove(snapshot)
    member.launch()
    poll(lambda: member.server.process.poll() == 1, ROLES_SECONDS, "logs without a snapshot are accepted")
    assert "snapshot.trust.empty" in member.log_text() or member.server.name != "zkd", member.log_text()
    # Its log begins with what the lost snapshot was of, so this is only for those who know that nothing is missing.
    member.server.extra["snapshot.trust.empty"] = "true"
    member.launch()
    ensemble.wait_for_roles()


def main():
    args = arguments(__doc__).parse_args()
    lost(kind_of(args))
    print("a lost database has no vote and comes back, a new one votes; logs without a snapshot need to be trusted")
    return 0


if __name__ == "__main__":
    sys.exit(main())
