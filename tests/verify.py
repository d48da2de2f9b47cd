"""An independent verifier of Weft releases, written from the specification and not from our Rust code.
Usage: verify.py DIR ROOT.json MESH CHANNEL SERVICE [--now RFC3339]; needs the package `cryptography`.
Prints `ok <sequence> <sha256 of the body>` or `refused <reason>` about the current release; exit 0 or 1."""
import base64, datetime, hashlib, json, os, re, sys
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

OWN_VERSION, STATEMENT = (0, 1, 0), ["https://in-toto.io/Statement/v1", "https://weft.dev/release/v1"]
parse_time = lambda text: datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")

class Refused(Exception):
    """Why a release is not to be believed."""

def need(condition, reason):
    if not condition:
        raise Refused(reason)

def read(directory, name, cap):
    need(os.path.exists(os.path.join(directory, name)), "missing " + name)
    with open(os.path.join(directory, name), "rb") as file:
        data = file.read(cap + 1)
    need(len(data) <= cap, "oversized " + name)
    return data

def strict(data):
    """JSON without duplicate keys, numbers that are not integers below 2^53, or more than 32 levels."""
    def pairs(items):
        need(len(dict(items)) == len(items), "duplicate key")
        return dict(items)
    def integer(text):
        need(text != "-0" and re.fullmatch("-?[0-9]{1,16}", text) and abs(int(text)) < 2**53, "integer")
        return int(text)
    def depth(value):
        inner = value.values() if isinstance(value, dict) else value
        return 1 + max(map(depth, inner), default=0) if isinstance(value, (dict, list)) else 0
    value = json.loads(data.decode(), parse_int=integer, parse_float=integer, parse_constant=integer,
                       object_pairs_hook=pairs)
    need(depth(value) <= 32, "depth")
    return value

def b64(text):
    plain = text if set(text) & set("+/") else text.replace("-", "+").replace("_", "/")
    data = base64.b64decode(plain, validate=True)
    need(base64.b64encode(data).decode() == plain, "base64")
    return data

def signed_by(spki, message, signature):
    key = serialization.load_der_public_key(spki)
    how = [] if isinstance(key, ed25519.Ed25519PublicKey) else [ec.ECDSA(hashes.SHA256())]
    try:
        return key.verify(signature, message, *how) is None
    except InvalidSignature:
        return False

def opened(envelope, payload_type, root, role):
    """The payload, if enough distinct keys of the role signed it. Key ids of signatures are hints: not looked at."""
    ids, threshold = root["roles"][role]["keyids"], root["roles"][role]["threshold"]
    need(set(root["roles"]) == {"root", "release", "timestamp", "denylist"}, "roles")
    need(len(set(ids)) == len(ids) and 1 <= threshold <= len(ids), "threshold of " + role)
    spkis = {keyid: b64(root["keys"][keyid]["spki"]) for keyid in ids}
    need(all(hashlib.sha256(spki).hexdigest() == keyid for keyid, spki in spkis.items()), "key id")
    need(envelope["payloadType"] == payload_type and len(envelope["signatures"]) <= 16, "envelope")
    payload, signatures = b64(envelope["payload"]), [b64(s["sig"]) for s in envelope["signatures"]]
    message = b"DSSEv1 %d %s %d %s" % (len(payload_type), payload_type.encode(), len(payload), payload)
    valid = sum(any(signed_by(spki, message, signature) for signature in signatures) for spki in spkis.values())
    need(valid >= threshold, "threshold " + role)
    return strict(payload)

def verify(directory, anchor, mesh, channel, service, now):
    root_type, name = "application/vnd.weft.root.v1+json", "root/%d.json"
    root = opened(strict(anchor), root_type, strict(b64(strict(anchor)["payload"])), "root")
    while os.path.exists(os.path.join(directory, name % (root["version"] + 1))):
        envelope = strict(read(directory, name % (root["version"] + 1), 64 << 10))
        old, root = root, opened(envelope, root_type, root, "root")
        opened(envelope, root_type, root, "root")
        need(root["version"] == old["version"] + 1 and root["epoch"] >= old["epoch"], "root version")
    need(root["mesh"] == mesh and parse_time(root["expires"]) > now, "root")
    latest = strict(read(directory, "channels/%s/latest.json" % channel, 16 << 10))
    stamp = opened(latest, "application/vnd.weft.timestamp.v1+json", root, "timestamp")
    need([stamp["mesh"], stamp["channel"]] == [mesh, channel], "wrong-target")
    need(stamp["root_version"] <= root["version"], "root-behind")
    need(parse_time(stamp["issued"]) <= now + datetime.timedelta(minutes=5), "clock-skew")
    need(parse_time(stamp["expires"]) > now, "expired")
    need((pin := stamp["current"])["sequence"] >= root.get("release_floor", 0), "below-floor")
    file = strict(read(directory, "releases/%d/services/%s.json" % (pin["sequence"], service), 64 << 10))
    need(hashlib.sha256(b64(file["release"]["payload"])).hexdigest() == pin["sha256"], "digest of the release")
    statement = opened(file["release"], "application/vnd.in-toto+json", root, "release")
    need([statement["_type"], statement["predicateType"]] == STATEMENT, "predicate-type")
    release, tree = statement["predicate"], statement["predicate"]["tree"]
    proof, leaf = file["proof"], b64(file["leaf"])
    found = [release["mesh"], release["epoch"], release["sequence"], tree["alg"]]
    need(found == [mesh, root["epoch"], pin["sequence"], "rfc6962-sha256"], "wrong-release")
    need(tuple(map(int, release["min_proxy"].split("."))) <= OWN_VERSION, "min-proxy")
    need(proof["size"] == tree["size"] > proof["index"] >= 0, "proof")
    node, place, last = hashlib.sha256(b"\0" + leaf).digest(), proof["index"], tree["size"] - 1
    for sibling in map(b64, proof.get("path", [])):
        need(last > 0 and len(sibling) == 32, "proof length")
        on_right = place % 2 == 1 or place == last
        node = hashlib.sha256(b"\1" + (sibling + node if on_right else node + sibling)).digest()
        while on_right and place % 2 == 0 and place:
            place, last = place >> 1, last >> 1
        place, last = place >> 1, last >> 1
    need(last == 0 and node.hex() == tree["root"], "proof")
    leaf = strict(leaf)
    need(leaf["service"] == service and leaf["schema"] == 1, "wrong-target")
    body = read(directory, "blobs/sha256/" + leaf["sha256"], min(leaf["length"], 16 << 20))
    need(len(body) == leaf["length"] and hashlib.sha256(body).hexdigest() == leaf["sha256"], "digest of the body")
    return "ok %d %s" % (pin["sequence"], leaf["sha256"])

def main(directory, anchor, mesh, channel, service, _now=None, now=None):
    now = parse_time(now) if now else datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    try:
        print(verify(directory, read("", anchor, 64 << 10), mesh, channel, service, now))
    except (Refused, ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError) as reason:
        print("refused", reason if isinstance(reason, Refused) else "malformed: %r" % reason)
        sys.exit(1)

main(*sys.argv[1:])
