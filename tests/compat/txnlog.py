"""Reads ZooKeeper's txn logs: each record as its zxid and its bytes, and a multi's parts."""
import glob
import os
import struct
import zlib

HEADER = struct.Struct(">4siq")             # magic, version, database id
RECORD = struct.Struct(">qi")               # Adler-32, length
TXN = struct.Struct(">qiqqi")               # session, cxid, zxid, time, type
END = 0x42
MULTI, ERROR = 14, -1


def records(path):
    """(zxid, bytes) of each record of one file, up to the padding or a torn tail."""
    with open(path, "rb") as f:
        data = f.read()
    if len(data) < HEADER.size:
        return
    assert HEADER.unpack_from(data)[0] == b"ZKLG", path
    at = HEADER.size
    while at + RECORD.size < len(data):
        checksum, length = RECORD.unpack_from(data, at)
        at += RECORD.size
        record = data[at:at + length]
        if length <= 0 or len(data) <= at + length or data[at + length] != END or zlib.adler32(record) != checksum:
            return
        at += length + 1
        yield TXN.unpack_from(record)[2], record


def of_directory(directory):
    """All records of a server's data directory: {zxid: set of bytes}. More than one only if it logged it differently."""
    found = {}
    for path in sorted(glob.glob(os.path.join(directory, "version-2", "log.*"))):
        for zxid, record in records(path):
            found.setdefault(zxid, set()).add(record)
    return found


def has(member, part):
    """Whether a server has logged a txn with these bytes in it."""
    return any(part in record for found in of_directory(member.server.data_dir).values() for record in found)


def failed_multi(record):
    """None for any other txn; for a multi that failed, what makes it out: header, errors from the first on, digest."""
    if TXN.unpack_from(record)[4] != MULTI:
        return None
    at = TXN.size
    count, = struct.unpack_from(">i", record, at)
    at += 4
    parts = []
    for _ in range(count):
        kind, length = struct.unpack_from(">ii", record, at)
        parts.append((kind, record[at + 8:at + 8 + length]))
        at += 8 + length
    errors = [struct.unpack_from(">i", body)[0] if len(body) == 4 else 0 for kind, body in parts if kind == ERROR]
    if not errors:
        return None
    first = next(index for index, (kind, body) in enumerate(parts) if kind == ERROR and body != bytes(4) and len(body) == 4)
    return record[:TXN.size], count, first, parts[first:], record[at:]
