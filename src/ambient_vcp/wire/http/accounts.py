"""Accounts: registration and login."""

from __future__ import annotations

from typing import Literal

from ambient_vcp.wire.fields import Shape
from ambient_vcp.wire.http.fields import Short


class Registration(Shape, frozen=True):
    username: Short
    password: Short
    email: Short | None = None


class Registered(Shape, frozen=True):
    user_id: str
    username: str
    email: str | None
    message: str
    api_key: None = None


class LoginRequest(Shape, frozen=True):
    username: Short
    password: Short


class LoggedIn(Shape, frozen=True):
    access_token: str
    expires_in: int
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105  (the scheme's name)
    refresh_token: None = None


class Me(Shape, frozen=True):
    user_id: str
    username: str
    role: str
