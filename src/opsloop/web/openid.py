"""Sign-in by OpenID Connect: discovery, code flow with PKCE and nonce, roles from groups."""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from opsloop.catalog.console import ConsoleRoles, OpenID, role_of
from opsloop.errors import MissingBinary
from opsloop.web.auth import Secret
from opsloop.web.sessions import Person, Session
from opsloop.web.signin import SignInRefused

KNOWN_S: Final = 3600.0  # so long a provider's document and keys are kept
TIMEOUT_S: Final = 10.0
LEEWAY_S: Final = 60  # between its clock and ours
_ALGORITHMS: Final = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384"]
_RETRY: Final = "sign in again"


class OpenIDProvider:
    """One provider. Raises MissingBinary when the extra `sso` is not installed."""

    def __init__(self, settings: OpenID, roles: ConsoleRoles, secret: Path) -> None:
        try:
            import authlib.integrations.httpx_client  # noqa: F401
        except ImportError as error:
            raise MissingBinary(
                "sign-in by OpenID Connect", f"{error}", "pip install 'opsloop[sso]'"
            ) from error
        self._settings = settings
        self._roles = roles
        self._secret = Secret(secret)
        self._known: tuple[float, Mapping[str, Any], Mapping[str, Any]] | None = None

    async def begin(self, session: Session, back: str) -> str:
        """Where the browser goes; what comes back must fit this session."""
        document, _ = await self._provider()
        pending = {
            "state": secrets.token_urlsafe(24),
            "nonce": secrets.token_urlsafe(24),
            "verifier": secrets.token_urlsafe(48),
        }
        async with self._client(back) as client:
            url, _ = client.create_authorization_url(
                document["authorization_endpoint"],
                state=pending["state"],
                nonce=pending["nonce"],
                code_verifier=pending["verifier"],
            )
        session.pending |= pending
        return str(url)

    async def finish(self, session: Session, query: dict[str, str], back: str) -> Person:
        """Who it is, as the provider signed it. Raises SignInRefused."""
        pending, session.pending = session.pending, {}
        if not hmac.compare_digest(query.get("state", ""), pending.get("state", "-")):
            raise SignInRefused("sign-in", "what came back is not of this browser", _RETRY)
        if error := query.get("error"):
            reason = query.get("error_description") or error
            raise SignInRefused(self._settings.issuer, f"refused: {reason[:200]}", _RETRY)
        document, keys = await self._provider()
        token = await self._token(document, query.get("code", ""), pending["verifier"], back)
        claims = self._claims(token, keys, pending["nonce"])
        return await self._person(document, token, claims)

    async def _provider(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Its document and its keys."""
        now = time.monotonic()
        if self._known is None or now - self._known[0] > KNOWN_S:
            issuer = self._settings.issuer.rstrip("/")
            document = await self._get(f"{issuer}/.well-known/openid-configuration")
            if str(document.get("issuer", "")).rstrip("/") != issuer:
                said = str(document.get("issuer"))[:100]
                raise SignInRefused(issuer, f"names itself {said}", "see console.openid.issuer")
            self._known = now, document, await self._get(str(document.get("jwks_uri")))
        return self._known[1], self._known[2]

    async def _get(self, url: str, **headers: str) -> Mapping[str, Any]:
        import httpx

        try:
            async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
                answer = await client.get(url, headers=headers)
                answer.raise_for_status()
                found = answer.json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise SignInRefused(url, f"does not answer: {error}", _RETRY) from error
        if not isinstance(found, dict):
            raise SignInRefused(url, "answers no object", _RETRY)
        return found

    def _client(self, back: str) -> Any:
        from authlib.integrations.httpx_client import AsyncOAuth2Client

        return AsyncOAuth2Client(
            self._settings.client_id,
            self._secret.value().decode(),
            scope=" ".join(self._settings.scopes),
            redirect_uri=back,
            code_challenge_method="S256",
            timeout=TIMEOUT_S,
        )

    async def _token(
        self, document: Mapping[str, Any], code: str, verifier: str, back: str
    ) -> Mapping[str, Any]:
        import httpx
        from authlib.common.errors import AuthlibBaseError

        try:
            async with self._client(back) as client:
                token: Mapping[str, Any] = await client.fetch_token(
                    document["token_endpoint"], code=code, code_verifier=verifier
                )
        except (httpx.HTTPError, AuthlibBaseError, ValueError, KeyError) as error:
            raise SignInRefused(self._settings.issuer, f"gave no token: {error}", _RETRY) from error
        return token

    def _claims(
        self, token: Mapping[str, Any], keys: Mapping[str, Any], nonce: str
    ) -> Mapping[str, Any]:
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet, KeySetSerialization

        rules = jwt.JWTClaimsRegistry(
            leeway=LEEWAY_S,
            iss={"essential": True, "values": _issuers(self._settings.issuer)},
            aud={"essential": True, "value": self._settings.client_id},
            exp={"essential": True},
            sub={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        try:
            known = KeySet.import_key_set(cast("KeySetSerialization", dict(keys)))
            found = jwt.decode(str(token.get("id_token", "")), known, _ALGORITHMS)
            rules.validate(found.claims)
        except (JoseError, ValueError, KeyError) as error:
            self._known = None  # its keys may have changed: read them again at the next try
            raise SignInRefused(
                self._settings.issuer, f"signed nothing that can be believed: {error}", _RETRY
            ) from error
        return dict(found.claims)

    async def _person(
        self,
        document: Mapping[str, Any],
        token: Mapping[str, Any],
        claims: Mapping[str, Any],
    ) -> Person:
        settings, more = self._settings, document.get("userinfo_endpoint")
        if more and not {settings.groups_claim, settings.name_claim} <= claims.keys():
            bearer = f"Bearer {token.get('access_token', '')}"
            told = await self._get(str(more), authorization=bearer)
            if told.get("sub") == claims["sub"]:
                claims = {**told, **claims}
        name = str(claims.get(settings.name_claim) or claims["sub"])[:200]
        if settings.name_claim == "email" and claims.get("email_verified") is False:
            raise SignInRefused(name, "this address is not verified", "verify it at the provider")
        role = role_of(self._roles, name, _groups(claims.get(settings.groups_claim)))
        if role is None:
            raise SignInRefused(name, "has no role here", "ask who keeps console.roles")
        return Person(name, role)


def _issuers(issuer: str) -> list[str]:
    plain = issuer.rstrip("/")
    return [plain, f"{plain}/"]


def _groups(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [str(g) for g in value] if isinstance(value, list) else []
