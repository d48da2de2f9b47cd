#!/usr/bin/env python3
"""Verifies a Weft release from the specification alone, as a second opinion on the Rust verifier.
usage: verify.py DIR ROOT_JSON MESH CHANNEL NAMESPACE/NAME [--now RFC3339]
Prints `ok SEQUENCE SHA256` of the body and exits 0, or `refused REASON` and exits 1. Needs the package `cryptography`.
"""
import base64, datetime, hashlib, json, pathlib, sys
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

ROOT, STAMP, RELEASE = "application/vnd.weft.root.v1+json", "application/vnd.weft.timestamp.v1+json", "application/vnd.in-toto+json"

class Refused(Exception): pass
def need(condition, reason):
    if not condition: raise Refused(reason)
moment = lambda text: datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))

def strict(data):
    """JSON without duplicate keys, floats, huge integers or deep nesting."""
    def pairs(items):
        need(len({key for key, _ in items}) == len(items), "duplicate-key")
        return dict(items)
    integer = lambda text: need(abs(int(text)) < 2**53, "integer-range") or int(text)
    never = lambda text: need(False, "not-an-integer")
    def depth(value):
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        return 0 if inner is None else 1 + max(map(depth, inner), default=0)
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=pairs, parse_int=integer, parse_float=never, parse_constant=never)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        raise Refused("bad-json")
    need(depth(value) <= 32, "too-deep")
    return value
def read(path, cap):
    need(path.is_file(), f"missing {path.name}")
    need(path.stat().st_size <= cap, f"oversized {path.name}")
    return path.read_bytes()

def b64(text):  # either alphabet, with or without padding
    return base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)

def signed_by(key, signature, message):
    public = serialization.load_der_public_key(key)
    try:
        public.verify(signature, message, *() if isinstance(public, ed25519.Ed25519PublicKey) else (ec.ECDSA(hashes.SHA256()),))
    except InvalidSignature:
        return False
    return True

def open_envelope(envelope, media_type, root, role):
    """The payload bytes, once enough distinct keys of the role have signed them."""
    need(envelope["payloadType"] == media_type, "payload-type")
    payload, signatures = b64(envelope["payload"]), envelope["signatures"]
    need(len(signatures) <= 16, "too-many-signatures")
    message = b"DSSEv1 %d %s %d %s" % (len(media_type), media_type.encode(), len(payload), payload)
    keys = {b64(root["keys"][keyid]["spki"]) for keyid in root["roles"][role]["keyids"]}
    good = {key for key in keys for signature in signatures if signed_by(key, b64(signature["sig"]), message)}
    need(len(good) >= root["roles"][role]["threshold"], f"threshold {role}")
    return payload

def fold(leaf, index, size, path):
    """The root that a leaf and its audit path give (RFC 9162, section 2.1.3.2)."""
    need(0 <= index < size, "proof")
    node, fn, sn = hashlib.sha256(b"\0" + leaf).digest(), index, size - 1
    for step in path:
        need(sn > 0 and len(step) == 32, "proof")
        right = fn & 1 == 0 and fn != sn
        node = hashlib.sha256(b"\1" + (node + step if right else step + node)).digest()
        while not right and not fn & 1 and fn:
            fn, sn = fn >> 1, sn >> 1
        fn, sn = fn >> 1, sn >> 1
    need(sn == 0, "proof")
    return node.hex()

def verify(directory, root_file, mesh, channel, service, now):
    envelope = strict(read(root_file, 65536))
    root = strict(b64(envelope["payload"]))
    open_envelope(envelope, ROOT, root, "root")
    while (newer := directory / "root" / f"{root['version'] + 1}.json").exists():
        envelope = strict(read(newer, 65536))
        fresh = strict(open_envelope(envelope, ROOT, root, "root"))
        open_envelope(envelope, ROOT, fresh, "root")
        need(fresh["version"] == root["version"] + 1 and fresh["mesh"] == root["mesh"], "root-version")
        root = fresh
    need(root["mesh"] == mesh, "wrong-target")
    need(moment(root["expires"]) > now, "root-expired")
    stamp = strict(open_envelope(strict(read(directory / "channels" / channel / "latest.json", 16384)), STAMP, root, "timestamp"))
    need((stamp["mesh"], stamp["channel"]) == (mesh, channel), "wrong-target")
    need(moment(stamp["issued"]) <= now + datetime.timedelta(minutes=5), "clock-skew")
    need(moment(stamp["expires"]) > now, "expired")
    sequence = stamp["current"]["sequence"]
    need(sequence >= root.get("release_floor", 0), "below-floor")
    file = strict(read(directory / "releases" / str(sequence) / "services" / f"{service}.json", 65536))
    payload = open_envelope(file["release"], RELEASE, root, "release")
    need(hashlib.sha256(payload).hexdigest() == stamp["current"]["sha256"], "digest")
    predicate = (statement := strict(payload))["predicate"]
    need(statement["predicateType"] == "https://weft.dev/release/v1", "predicate-type")
    need((predicate["mesh"], predicate["epoch"], predicate["sequence"]) == (mesh, root["epoch"], sequence), "wrong-release")
    leaf, proof, tree = b64(file["leaf"]), file["proof"], predicate["tree"]
    need(tree["alg"] == "rfc6962-sha256" and proof["size"] == tree["size"], "proof")
    need(fold(leaf, proof["index"], tree["size"], [b64(step) for step in proof.get("path", [])]) == tree["root"], "proof")
    leaf = strict(leaf)
    need(leaf["service"] == service and leaf["schema"] == 1, "wrong-target")
    body = read(directory / "blobs" / "sha256" / leaf["sha256"], leaf["length"])
    need(len(body) == leaf["length"] and hashlib.sha256(body).hexdigest() == leaf["sha256"], "digest")
    need(strict(body)["service"] == service, "wrong-target")
    return sequence, leaf["sha256"]

if __name__ == "__main__":
    arguments, now = sys.argv[1:], datetime.datetime.now(datetime.timezone.utc)
    if "--now" in arguments:
        at = arguments.index("--now")
        arguments, now = arguments[:at], moment(arguments[at + 1])
    try:
        print("ok %d %s" % verify(pathlib.Path(arguments[0]), pathlib.Path(arguments[1]), *arguments[2:5], now))
    except (Refused, KeyError, TypeError, ValueError, AttributeError) as reason:
        print("refused", reason)
        sys.exit(1)
