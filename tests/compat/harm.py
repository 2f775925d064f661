"""Does a client of a zkd hurt the Apache server that leads it?

    harm.py --zkd target/release/zkd

What stops or kills an Apache 3.9 server is sent to a zkd that follows one: it is refused, and writes go on everywhere.
"""
import sys

from ensemble import Ensemble, apache39, arguments, zkd
from wire import Refused, w

HARM = [
    ("setData", w.ustr("/") + b"\0\0", -5),
    ("create", w.ustr("/zookeeper/quota/zookeeper_limits") + w.buf(b"count=1") + w.acls(w.OPEN_ACL) + w.i32(0), -8),
    ("createTTL", w.ustr("/ttl") + w.buf(b"") + w.acls(w.OPEN_ACL) + w.i32(0) + w.i64(-1), -8),
]


def refused(client, op, body):
    try:
        client.call(op, body)
    except Refused as refusal:
        return refusal.code
    return 0


def main():
    binary = arguments(__doc__, with_apache=False).parse_args().zkd
    with Ensemble([zkd(binary), zkd(binary), apache39], 3, {"tickTime": "500", "extendedTypesEnabled": "true"}) as ensemble:
        near, far, leader = ensemble
        ensemble.lead_first(leader, [near, far])
        with ensemble.client(near) as client, ensemble.client(far) as other:
            for op, body, expected in HARM:
                found = refused(client, op, body)
                assert found == expected, "%s gets %s" % (op, found)
                other.create("/after-" + op)
            client.end()
            other.end()
        ensemble.assert_same()
    print("what would stop or kill an Apache leader is refused by the zkd that gets it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
