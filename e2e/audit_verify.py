#!/usr/bin/env python3
"""Verifies exported audit logs (docs/decisions/0015-…) independently of Roomkeeper: audit_verify.py KEY.pem… FILES…

Prints each log and each finding (code, file, line). Ends with 0: complete, 3: intact with lines pending, 1: damaged."""
import base64, gzip, hashlib, json, os, re, sys, zlib
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

LINE = {"number": int, "time": str, "writer": str, "scope": str, "previous": str, "entry": dict}
ENVELOPE = {"payloadType": str, "payload": str, "signatures": list}
ZERO, keys, found, logs = "0" * 64, {}, set(), {}
NONE = {"start": 1, "needed": 0, "known": 0, "hashes": set(), "starts": {(1, ZERO)}}
sha = lambda data: hashlib.sha256(data).hexdigest()
find = lambda code, file="-", line=0: found.add((code, file, line))
log_of = lambda scope, writer: logs.setdefault((scope, writer), {"checkpoint": {}, "manifest": {}, "lines": {}, **NONE})

def once(pairs):
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a name stands twice")
    return dict(pairs)

def read(data, fields):
    value = json.loads(data.decode(), object_pairs_hook=once)
    if type(value) is not dict or {name: type(v) for name, v in value.items()} != fields:
        raise ValueError("not the fields of the format")
    return value

def unbase64(text):
    if base64.b64encode(base64.b64decode(text)).decode() != text:
        raise ValueError("base64 has one spelling")
    return base64.b64decode(text)

def opened(kind, data, file, line=0, wanted=None):
    """The statement in a DSSE envelope (of the wanted log), kept with its log; or None and a finding."""
    kind_type = f"application/vnd.roomkeeper.audit.{kind}.v1+json"
    try:
        envelope = read(data, ENVELOPE)
        (signature,) = envelope["signatures"]
        payload, sig = unbase64(envelope["payload"]), unbase64(signature["sig"])
        if envelope["payloadType"] != kind_type or set(signature) != {"keyid", "sig"}:
            raise ValueError("another kind of statement")
        if signature["keyid"] not in keys:
            return find("unknown-key", file, line)
        head = f"DSSEv1 {len(kind_type)} {kind_type} {len(payload)} "
        keys[signature["keyid"]].verify(sig, head.encode() + payload)
    except (ValueError, TypeError, KeyError):
        return find("malformed", file, line)
    except InvalidSignature:
        return find("bad-signature", file, line)
    statement = json.loads(payload)
    owner = statement["scope"], statement["writer"]
    if wanted and owner != wanted:
        return find("wrong-statement", file, line)
    log_of(*owner)[kind].setdefault(sha(payload), (statement, file, line))
    return statement

def read_manifest(file, data):
    if data.count(b"\n") != 1 or not data.endswith(b"\n"):
        return find("malformed", file)
    if m := opened("manifest", data[:-1], file):
        own, last = -1, max((part["last"] for part in m["files"]), default=0)
        for known in m["writers"]:
            log_of(m["scope"], known["writer"])
            for envelope in known["checkpoints"]:
                c = opened("checkpoint", envelope.encode(), file, 0, (m["scope"], known["writer"]))
                own = max(own, c["number"]) if c and c["writer"] == m["writer"] else own
        if own < last:
            find("wrong-statement", file)

def in_order(statements, name):
    """Statements by their number; neighbours have to belong together."""
    number, previous = 0, ZERO
    for hash, (s, file, line) in sorted(statements.items(), key=lambda item: (not item[1][0][name], item[1][0][name], item[0])):
        if not s[name]:  # The manifest of a copy is in no chain.
            yield s, file, line
            continue
        if s[name] == number:
            find("fork", file, line)
        elif s[name] == number + 1 and s["previous"] != previous:
            find("statement-chain", file, line)
        elif name == "number" and number and s[name] > number + 1:
            find("missing-manifest", file)
        number, previous = s[name], hash
        yield s, file, line

def judge_statements(owner, log, listed):
    log["manifest"], log["checkpoint"] = list(in_order(log["manifest"], "number")), list(in_order(log["checkpoint"], "sequence"))
    last, before = 0, None
    for part, file in ((part, file) for m, file, _ in log["manifest"] for part in m["files"]):
        if part["first"] <= last:
            find("overlap", file)
        last, listed[part["name"]] = max(last, part["last"]), (owner, part)
    for c, file, line in log["checkpoint"]:
        if before and before["number"] == c["number"] and before["hash"] != c["hash"]:
            find("fork", file, line)
        if before and any(f(c) < f(before) for f in (lambda c: c["number"], lambda c: c["exported"], lambda c: c["start"]["number"])):
            find("backwards", file, line)
        before = c
    stated = [c for c, _, _ in log["checkpoint"]]
    log["start"] = max([c["start"]["number"] for c in stated] + [1])
    log["needed"], log["known"] = max([c["exported"] for c in stated] + [last]), max([c["number"] for c in stated] + [0])
    log["hashes"] = {(c["number"], c["hash"]) for c in stated}
    log["starts"] = {(c["start"]["number"], c["start"]["previous"]) for c in stated} | {(1, ZERO)}

def read_part(file, data, owner, part):
    *lines, rest = data.split(b"\n")
    before, numbers = None, []
    for place, bytes in enumerate(lines, 1):
        try:
            line = read(bytes, LINE)
            number, hash = line["number"], sha(bytes)
            owner = owner or (line["scope"], line["writer"])
            code = None if (line["scope"], line["writer"]) == owner else "foreign"
            code = code if 0 < number < 2**64 else "bad-line"
        except (ValueError, RecursionError):
            code = "bad-line"
        if code:
            find(code, file, place)
            before = None
            continue
        if before is not None and number != before + 1:
            find("number", file, place)
        log = log_of(*owner)
        if number in log["lines"]:
            find("overlap", file)
        log["lines"].setdefault(number, (hash, line["previous"], file, place))
        if any(n == number and h != hash for n, h in log["hashes"]):
            find("not-as-stated", file, place)
        elif any(n == number and h != line["previous"] for n, h in log["starts"]):
            find("start", file, place)
        before = number
        numbers.append(number)
    if rest:
        find("cut-line", file, len(lines) + 1)
    if not part:
        find("unlisted", file)
    elif not numbers or (numbers[0], numbers[-1], len(lines)) != (part["first"], part["last"], part["lines"]):
        find("range", file)

def judge_lines(log):
    last, hash_before = 0, None
    for number, (hash, previous, file, place) in sorted(log["lines"].items()):
        if number > max(log["start"], last + 1):
            find("missing-lines")
        if number == last + 1 and previous != (hash_before or previous):
            find("chain", file, place)
        last, hash_before = number, hash
    if log["needed"] >= max(log["start"], last + 1):
        find("missing-lines" if log["lines"] else "missing-writer")
    if last > log["known"]:
        find("not-covered")
    until = max((c["time"] for c, _, _ in log["checkpoint"] if c["number"] <= last), default="never")
    return last, until, log["known"] if log["known"] > max(last, log["needed"]) else None

def unpacked(paths):
    """Names without .gz, and what is in the files."""
    for name, data in ((os.path.basename(path), open(path, "rb").read()) for path in paths):
        try:
            yield (name[:-3], gzip.decompress(data)) if name.endswith(".gz") else (name, data)
        except (OSError, EOFError, zlib.error):
            find("unreadable", name)

def main(paths):
    files = list(unpacked(paths))
    pems = (pem for name, data in files if name.endswith(".pem") for pem in re.findall(b"-----BEGIN.*?-----END [^\n]*\n", data, re.S))
    for key in map(load_pem_public_key, pems):
        keys[sha(key.public_bytes(Encoding.Raw, PublicFormat.Raw))] = key
    parts, listed, pending = [], {}, False
    for name, data in files:
        if name.endswith(".manifest.json"):
            read_manifest(name, data)
        elif name.endswith(".checkpoints.jsonl"):
            *lines, rest = data.split(b"\n")
            for place, line in enumerate(lines, 1):
                opened("checkpoint", line, name, place)
            find("cut-line", name, len(lines) + 1) if rest else None
        elif not name.endswith(".pem"):
            parts.append((name, data))
    for owner, log in logs.items():
        judge_statements(owner, log, listed)
    for name, (owner, part) in listed.items():
        if part["last"] >= logs[owner]["start"] and name not in dict(parts):
            find("missing-file", name)
    for name, data in sorted(parts):
        read_part(name, data, *listed.get(name, (None, None)))
    for (scope, writer), log in sorted(logs.items()):
        last, until, known = judge_lines(log)
        pending |= known is not None or until == "never"
        print("log", scope, writer, last, until, "-" if known is None else known)
    for finding in sorted(found):
        print("finding", *finding)
    return 1 if found else 3 if pending else 0

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
