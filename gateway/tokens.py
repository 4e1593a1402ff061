"""Access tokens: JWTs with the claims of the contract, part 1.

The algorithm is decided by the kind of key that we hold, never by the token: a shared secret verifies HS256 only, an
RSA key RS256 only, a P-256 key ES256 only. A token's header merely picks among the keys that are configured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias, cast

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from config.settings import Settings
from domain.clock import Clock
from domain.errors import NotFound, Unauthenticated
from domain.ids import new_id
from gateway.jwks import Jwks
from gateway.principal import Principal, Role
from gateway.verified_tokens import VerifiedTokens

_REQUIRED = ["exp", "sub", "merchantId", "roles"]
_LONGEST = 4096
_SHARED = "HS256"
_ASYMMETRIC = ("RS256", "ES256")

PublicKey: TypeAlias = RSAPublicKey | EllipticCurvePublicKey


class WrongTokenKey(Exception):
    """A configured key can't verify tokens; the text names the setting."""


@dataclass(frozen=True, slots=True)
class _Key:
    """A key with the one algorithm that it verifies."""

    algorithm: str
    key: PublicKey | bytes


class AccessTokens:
    """Verifies access tokens, and issues them where this installation has the secret."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        secret = settings.jwt_secret.get_secret_value().encode()
        self._secret = secret or None
        self._public = _public_key(settings.jwt_public_key) if settings.jwt_public_key else None
        self._jwks = Jwks(settings.jwt_jwks_url, clock) if settings.jwt_jwks_url else None
        self._issuer = settings.jwt_issuer or None
        self._audience = settings.jwt_audience or None
        self._ttl = timedelta(seconds=settings.access_token_ttl_s)
        self._clock = clock
        self._verified = VerifiedTokens(clock)

    def issue(self, user_id: str, merchant_id: str, roles: list[str], *, uncounted: bool = False) -> str:
        """Return a token for a person of a merchant; calls with an `uncounted` one are the program's own.

        Raises:
            NotFound: when tokens come from an external issuer alone.
        """
        if self._secret is None:
            raise NotFound("Tokens are issued elsewhere")
        now = self._clock.now()
        claims: dict[str, object] = {
            "sub": user_id,
            "merchantId": merchant_id,
            "roles": roles,
            "iat": now,
            "exp": now + self._ttl,
            "jti": new_id(),
        }
        if uncounted:
            claims["uncounted"] = True
        if self._issuer:
            claims["iss"] = self._issuer
        if self._audience:
            claims["aud"] = self._audience
        return jwt.encode(claims, self._secret, algorithm=_SHARED)

    async def verify(self, token: str) -> Principal:
        """Return whom a token speaks for.

        Raises:
            Unauthenticated: when it does not hold, for whatever reason.
            Unavailable: when the issuer's keys can't be fetched.
        """
        kept = self._verified.get(token)
        if kept is not None:
            return kept
        try:
            claims = await self._claims(token)
        except (jwt.PyJWTError, ValueError) as error:
            raise Unauthenticated(_reason(error)) from error
        principal = _principal(claims)
        # An issuer elsewhere may withdraw its key: its tokens are verified each time.
        if self._jwks is None:
            self._verified.keep(token, principal, int(cast("float", claims["exp"])))
        return principal

    async def _claims(self, token: str) -> Mapping[str, object]:
        if len(token) > _LONGEST:
            raise jwt.DecodeError("too long")
        key = await self._key_for(jwt.get_unverified_header(token))
        if key is None:
            raise jwt.InvalidKeyError("no such key")
        options: jwt.types.Options = {"require": _REQUIRED, "verify_aud": self._audience is not None}
        claims: dict[str, object] = jwt.decode(
            token, key.key, algorithms=[key.algorithm], options=options, issuer=self._issuer, audience=self._audience
        )
        if key.algorithm != _SHARED:
            # Only this installation may say which calls are its own.
            claims.pop("uncounted", None)
        return claims

    async def _key_for(self, header: Mapping[str, object]) -> _Key | None:
        algorithm = header.get("alg")
        if self._secret is not None and algorithm == _SHARED:
            return _Key(_SHARED, self._secret)
        if self._public is not None and algorithm == self._public.algorithm:
            return self._public
        if self._jwks is None or algorithm not in _ASYMMETRIC:
            return None
        key_id = header.get("kid")
        found = await self._jwks.key(key_id if isinstance(key_id, str) else None)
        if found is None:
            return None
        key = _asymmetric(found.key)
        return key if key is not None and key.algorithm == algorithm else None


def _public_key(pem: str) -> _Key:
    """Read the public key of the settings.

    Raises:
        WrongTokenKey: when it is no RSA or P-256 public key in PEM.
    """
    try:
        key = _asymmetric(load_pem_public_key(pem.replace("\\n", "\n").encode()))
    except ValueError as error:
        raise WrongTokenKey("MKTX_JWT_PUBLIC_KEY: not a public key in PEM") from error
    if key is None:
        raise WrongTokenKey("MKTX_JWT_PUBLIC_KEY: must be an RSA key of 2048 bits or more, or a P-256 key")
    return key


def _asymmetric(key: object) -> _Key | None:
    match key:
        case RSAPublicKey() if key.key_size >= 2048:  # noqa: PLR2004  # RFC 7518, section 3.3
            return _Key("RS256", key)
        case EllipticCurvePublicKey() if key.curve.name == "secp256r1":
            return _Key("ES256", key)
        case _:
            return None


def _principal(claims: Mapping[str, object]) -> Principal:
    user_id, merchant_id, roles = claims["sub"], claims["merchantId"], claims["roles"]
    if not (isinstance(user_id, str) and user_id and isinstance(merchant_id, str) and merchant_id):
        raise Unauthenticated("The token names no user or merchant")
    if not isinstance(roles, list):
        raise Unauthenticated("The token has no list of roles")
    known = frozenset(Role(role) for role in roles if isinstance(role, str) and role in set(Role))
    return Principal(user_id, merchant_id, known, uncounted=claims.get("uncounted") is True)


def _reason(error: Exception) -> str:
    if isinstance(error, jwt.ExpiredSignatureError):
        return "The token has expired"
    return "The token does not hold"
