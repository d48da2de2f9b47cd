#!/usr/bin/env python3
"""An issuer of tokens that shares no code with Weft: keys and tokens of every algorithm, made by PyJWT.

Reads from standard input a JSON object of claims by name, and prints one: `jwks`, the key set as text, and `tokens`, by
algorithm, then by the name of the claims. Keys are made anew each time.
"""

import json
import sys

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
KEYS = {
    "ES256": (ECAlgorithm, ec.generate_private_key(ec.SECP256R1())),
    "ES384": (ECAlgorithm, ec.generate_private_key(ec.SECP384R1())),
    "ES512": (ECAlgorithm, ec.generate_private_key(ec.SECP521R1())),
    "EdDSA": (OKPAlgorithm, ed25519.Ed25519PrivateKey.generate()),
    **{name: (RSAAlgorithm, RSA_KEY) for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")},
}


def key_id(name):
    return "rsa" if KEYS[name][0] is RSAAlgorithm else name


def public(name):
    kind, key = KEYS[name]
    members = json.loads(kind.to_jwk(key.public_key()))
    # An RSA key is for several algorithms here, so it names none.
    members.pop("alg", None)
    members.pop("key_ops", None)
    return {**members, "kid": key_id(name), "use": "sig"}


def main():
    claims = json.load(sys.stdin)
    keys = {key_id(name): public(name) for name in KEYS}
    tokens = {
        name: {
            case: jwt.encode(body, key, algorithm=name, headers={"kid": key_id(name)})
            for case, body in claims.items()
        }
        for name, (_, key) in KEYS.items()
    }
    # What verifiers must refuse: no signature, and what is public of a key as a shared secret.
    body = claims["good"]
    tokens["none"] = {"good": jwt.encode(body, None, algorithm="none")}
    secret = keys["rsa"]["n"].encode()
    tokens["HS256"] = {"good": jwt.encode(body, secret, algorithm="HS256", headers={"kid": "rsa"})}
    json.dump({"jwks": json.dumps({"keys": list(keys.values())}), "tokens": tokens}, sys.stdout)


main()
