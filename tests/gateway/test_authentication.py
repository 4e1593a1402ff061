from __future__ import annotations

import base64
import hashlib
import hmac
import time
from dataclasses import replace
from typing import Any

import jwt
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from pydantic import SecretStr

from domain.clock import SystemClock
from gateway.app import API_ROUTES
from gateway.dependencies import Dependencies
from gateway.tokens import AccessTokens, WrongTokenKey
from tests.gateway.conftest import SECRET, Api, serve

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def pem(key: Any) -> str:
    return str(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def claims(**changed: object) -> dict[str, object]:
    given: dict[str, object] = {"sub": "user", "merchantId": "merchant", "roles": ["owner"], "exp": time.time() + 600}
    return {name: value for name, value in (given | changed).items() if value is not None}


def by_hand(header: object, payload: object, signature: bytes = b"") -> str:
    parts = [orjson.dumps(header), orjson.dumps(payload), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def signed_by_hand(header: object, payload: object, secret: bytes) -> str:
    unsigned = by_hand(header, payload).rsplit(".", 1)[0]
    signature = hmac.new(secret, unsigned.encode(), hashlib.sha256).digest()
    return unsigned + "." + base64.urlsafe_b64encode(signature).rstrip(b"=").decode()


async def status_of(deps: Dependencies, token: str) -> int:
    async with serve(deps) as http:
        response = await http.get("/api/v1/mkt-x/accounts", headers={"Authorization": f"Bearer {token}"})
        if response.status == 401:
            answer = await response.json()
            assert answer["code"] == "UNAUTHORIZED"
            assert not token or token not in str(answer)
            assert response.headers["WWW-Authenticate"] == "Bearer"
        return int(response.status)


def tokens(deps: Dependencies, **settings: object) -> Dependencies:
    changed = deps.settings.model_copy(update=settings)
    return replace(deps, settings=changed, tokens=AccessTokens(changed, SystemClock()))


async def test_a_good_token_is_let_through(deps: Dependencies) -> None:
    assert await status_of(deps, jwt.encode(claims(), SECRET, "HS256")) == 200


@pytest.mark.parametrize(
    "token",
    [
        "",
        "not a token",
        "a.b.c",
        by_hand({"alg": "none"}, claims()),
        by_hand({"alg": "None", "typ": "JWT"}, claims()),
        by_hand({"typ": "JWT"}, claims()),
        by_hand({"alg": ["HS256"]}, claims()),
        by_hand({"alg": "HS256"}, claims()),
        signed_by_hand({"alg": "HS384"}, claims(), SECRET.encode()),
        signed_by_hand({"alg": "RS256"}, claims(), SECRET.encode()),
        signed_by_hand({"alg": "HS256"}, claims(), b""),
        signed_by_hand({"alg": "HS256", "crit": ["exp"]}, claims(), SECRET.encode()),
        jwt.encode(claims(), "another-secret-of-at-least-32-bytes-length", "HS256"),
        jwt.encode(claims(exp=time.time() - 1), SECRET, "HS256"),
        jwt.encode(claims(nbf=time.time() + 600), SECRET, "HS256"),
        jwt.encode(claims(exp=None), SECRET, "HS256"),
        jwt.encode(claims(sub=None), SECRET, "HS256"),
        jwt.encode(claims(merchantId=None), SECRET, "HS256"),
        jwt.encode(claims(roles=None), SECRET, "HS256"),
        jwt.encode(claims(roles="owner"), SECRET, "HS256"),
        jwt.encode(claims(merchantId=""), SECRET, "HS256"),
        jwt.encode(claims(merchantId={"$ne": ""}), SECRET, "HS256"),
        signed_by_hand({"alg": "HS256"}, claims(sub=5), SECRET.encode()),
        jwt.encode(claims(), RSA_KEY, "RS256"),
        jwt.encode(claims(), SECRET, "HS256") + "x",
        "x" * 7_000,
    ],
)
async def test_a_token_that_does_not_hold_is_refused(deps: Dependencies, token: str) -> None:
    assert await status_of(deps, token) == 401


async def test_every_route_but_the_public_ones_wants_a_token(api: Api) -> None:
    public = set()
    for route in API_ROUTES:
        path = route.path.replace("{", "").replace("}", "")
        response = await api.http.request(route.method, path, json={})
        if response.status != 401 or route.public:
            public.add(route.path)
    assert public == {
        "/api/v1/auth/login",
        "/api/v1/auth/refresh",
        "/api/v1/auth/logout",
        "/api/v1/auth/password/reset",
    }


@pytest.mark.parametrize("header", ["Basic dXNlcjpwYXNz", "Bearer", "Bearer ", "bearertoken"])
async def test_other_schemes_are_refused(api: Api, header: str) -> None:
    response = await api.http.get("/api/v1/mkt-x/accounts", headers={"Authorization": header})
    assert response.status == 401


async def test_unknown_roles_allow_nothing(deps: Dependencies) -> None:
    token = jwt.encode(claims(roles=["root", 5, {"$ne": ""}]), SECRET, "HS256")
    assert await status_of(deps, token) == 403


@pytest.mark.parametrize(("key", "algorithm"), [(RSA_KEY, "RS256"), (EC_KEY, "ES256")])
async def test_a_public_key_verifies_with_its_own_algorithm_only(deps: Dependencies, key: Any, algorithm: str) -> None:
    external = tokens(deps, jwt_secret=SecretStr(""), jwt_public_key=pem(key))
    assert await status_of(external, jwt.encode(claims(), key, algorithm)) == 200
    confused = signed_by_hand({"alg": "HS256"}, claims(), pem(key).encode())
    assert await status_of(external, confused) == 401
    assert await status_of(external, jwt.encode(claims(), OTHER_RSA_KEY, "RS256")) == 401
    assert await status_of(external, jwt.encode(claims(), SECRET, "HS256")) == 401
    assert await status_of(external, by_hand({"alg": "none"}, claims())) == 401


async def test_with_a_public_key_and_a_secret_each_verifies_its_own(deps: Dependencies) -> None:
    both = tokens(deps, jwt_public_key=pem(RSA_KEY))
    assert await status_of(both, jwt.encode(claims(), RSA_KEY, "RS256")) == 200
    assert await status_of(both, jwt.encode(claims(), SECRET, "HS256")) == 200
    assert await status_of(both, signed_by_hand({"alg": "HS256"}, claims(), pem(RSA_KEY).encode())) == 401


async def test_issuer_and_audience_are_checked_when_they_are_set(deps: Dependencies) -> None:
    strict = tokens(deps, jwt_issuer="https://iam.example", jwt_audience="mktx")
    good = claims(iss="https://iam.example", aud="mktx")
    assert await status_of(strict, jwt.encode(good, SECRET, "HS256")) == 200
    assert await status_of(strict, strict.tokens.issue("user", "merchant", ["owner"])) == 200
    for wrong in ({"iss": "https://evil.example"}, {"aud": "another"}, {"iss": None}, {"aud": None}):
        changed = {name: value for name, value in (good | wrong).items() if value is not None}
        assert await status_of(strict, jwt.encode(changed, SECRET, "HS256")) == 401


async def test_keys_of_an_issuer_are_fetched_by_their_id(deps: Dependencies) -> None:
    asked = 0
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(RSA_KEY.public_key(), as_dict=True) | {"kid": "one", "use": "sig"}

    async def keys(_request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.json_response({"keys": [jwk]})

    issuer = web.Application()
    issuer.router.add_get("/jwks.json", keys)
    async with TestServer(issuer) as server:
        external = tokens(deps, jwt_secret=SecretStr(""), jwt_jwks_url=str(server.make_url("/jwks.json")))
        assert await status_of(external, jwt.encode(claims(), RSA_KEY, "RS256", headers={"kid": "one"})) == 200
        assert await status_of(external, by_hand({"alg": ["RS256"], "kid": "one"}, claims())) == 401
        assert await status_of(external, signed_by_hand({"alg": "HS256", "kid": "one"}, claims(), b"")) == 401
        for kid in ("two", "../../one", ""):
            assert await status_of(external, jwt.encode(claims(), RSA_KEY, "RS256", headers={"kid": kid})) == 401
        forged = jwt.encode(claims(), OTHER_RSA_KEY, "RS256", headers={"kid": "one"})
        assert await status_of(external, forged) == 401
    assert asked == 1


@pytest.mark.parametrize(("ids", "status"), [(["one"], 200), (["one", "two"], 401)])
async def test_a_token_without_a_key_id_is_verified_where_the_issuer_has_one_key(
    deps: Dependencies, ids: list[str], status: int
) -> None:
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(RSA_KEY.public_key(), as_dict=True) | {"use": "sig"}

    async def keys(_request: web.Request) -> web.Response:
        return web.json_response({"keys": [jwk | {"kid": each} for each in ids]})

    issuer = web.Application()
    issuer.router.add_get("/jwks.json", keys)
    async with TestServer(issuer) as server:
        external = tokens(deps, jwt_secret=SecretStr(""), jwt_jwks_url=str(server.make_url("/jwks.json")))
        assert await status_of(external, jwt.encode(claims(), RSA_KEY, "RS256")) == status
        assert await status_of(external, jwt.encode(claims(), OTHER_RSA_KEY, "RS256")) == 401


async def test_an_issuer_out_of_reach_is_answered_503(deps: Dependencies) -> None:
    external = tokens(deps, jwt_secret=SecretStr(""), jwt_jwks_url="http://127.0.0.1:9/jwks.json")
    token = jwt.encode(claims(), RSA_KEY, "RS256", headers={"kid": "one"})
    assert await status_of(external, token) == 503


async def test_a_private_or_broken_key_stops_the_start(deps: Dependencies) -> None:
    private = RSA_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    for text in (private, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"):
        with pytest.raises(WrongTokenKey, match="MKTX_JWT_PUBLIC_KEY"):
            tokens(deps, jwt_public_key=text)
