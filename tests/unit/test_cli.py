"""The command line without a control plane: arguments, exit codes, output, start-up."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from ambient_vcp.apps.cli import work
from ambient_vcp.apps.cli.failures import Exit, exit_code_of
from ambient_vcp.apps.cli.main import COMMANDS, cli, main
from ambient_vcp.apps.cli.output import printable
from ambient_vcp.domain.errors import InvalidInputError
from ambient_vcp.sdk import errors

ROOT = Path(__file__).resolve().parents[2]
HELLO = ROOT / "examples" / "hello" / "hello.wasm"
RECEIPTS = ROOT / "tests" / "vectors" / "receipts"
HANDED_ON = {("node", "join"), ("node", "run"), ("node", "doctor")}
"""The node program has its own help pages for these."""

HEAVY = ("httpx", "pydantic", "rich", "wasmtime", "sqlalchemy", "cryptography", "asyncio")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AMBIENT_VCP_HOME", str(tmp_path))
    for name in ("ENDPOINT", "TOKEN", "PROFILE", "PASSWORD"):
        monkeypatch.delenv(f"AMBIENT_VCP_{name}", raising=False)
    return tmp_path


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def every_command() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    context = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        found.append((name,))
        if isinstance(command, click.Group):
            found += [(name, verb) for verb in command.commands]
    return [command for command in found if command not in HANDED_ON]


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from ambient_vcp.apps.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(','.join(sorted(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split(","))
    assert not loaded & set(HEAVY)
    assert "Commands:" in done.stdout


@pytest.mark.parametrize("command", every_command(), ids=" ".join)
def test_every_command_has_a_help_page(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*command, "--help") == Exit.OK
    assert "Usage: ambient-vcp" in capsys.readouterr().out


def test_the_reference_page_is_what_the_commands_say() -> None:
    tool = ROOT / "tools" / "cli_reference.py"
    done = subprocess.run(
        [sys.executable, tool, "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def parsed(*arguments: str) -> tuple[str, ...]:
    """What a command with a value option and a flag makes of these arguments."""

    @click.command(cls=work.NumbersAreArguments)
    @click.argument("words", nargs=-1)
    @click.option("--replicas", type=int)
    @click.option("--flag", is_flag=True)
    def command(words: tuple[str, ...], replicas: int | None, flag: bool) -> Any:
        return (*(word.removeprefix(work.MARK) for word in words), str(replicas))

    result: tuple[str, ...] = command.main(list(arguments), standalone_mode=False)
    return result


@pytest.mark.parametrize("number", ["-2", "-0.5", "-.5", "-1e-5", "-inf", "-nan", "-0x10"])
def test_negative_numbers_are_arguments(number: str) -> None:
    assert parsed("--flag", number, "3") == (number, "3", "None")


def test_a_negative_number_after_an_option_is_its_value() -> None:
    assert parsed("--replicas", "-2", "-3") == ("-3", "-2")


@pytest.mark.parametrize("typo", ["--wiat", "-x", "--invok=add"])
def test_a_mistyped_option_is_no_argument(typo: str) -> None:
    with pytest.raises(click.UsageError):
        parsed(typo)


def test_limits_take_units() -> None:
    found = work.parse_limits(("memory=64MiB", "wall=5s", "fuel=1_000", "output_bytes=2kB"))
    assert found == {
        "memory_bytes": 64 << 20,
        "wall_ms": 5000,
        "fuel": 1000,
        "output_bytes": 2000,
    }


@pytest.mark.parametrize(
    "item",
    [
        "memory",
        "=1",
        "memory=",
        "memory=-1",
        "memory=0",
        "fuel=NaN",
        "speed=1",
        "wall=5h",
        "fuel=1e9",
    ],
)
def test_a_limit_that_means_nothing_is_refused(item: str) -> None:
    with pytest.raises(click.UsageError):
        work.parse_limits((item,))


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (errors.ConnectionFailed("x"), 2),
        (errors.NoEndpoint("x"), 2),
        (errors.LoginNeeded("x"), 2),
        (errors.RequestRefused("x", status=403), 2),
        (errors.TimedOut("x"), 3),
        (errors.BadRequest("x"), 4),
        (errors.RequestRefused("x", status=400), 4),
        (errors.RequestRefused("x", status=404), 4),
        (errors.RequestRefused("x", status=422), 4),
        (errors.RequestRefused("x", status=409), 1),
        (errors.ServerError("x", status=500), 1),
        (errors.TaskFailed("t", "trap", ""), 1),
        (InvalidInputError(where="x", rule="y"), 4),
        (click.UsageError("x"), 4),
        (click.Abort(), 130),
        (KeyboardInterrupt(), 130),
        (FileNotFoundError(2, "x"), 1),
        (ZeroDivisionError(), 5),
    ],
)
def test_each_failure_has_its_exit_code(failure: BaseException, code: int) -> None:
    assert exit_code_of(failure) == code


def test_an_unknown_command_is_a_bad_argument(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("frobnicate") == Exit.ARGUMENTS
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "frobnicate" in captured.err
    assert "hint:" in captured.err


def test_without_a_profile_a_command_says_how_to_get_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call("task", "list") == Exit.CONNECTION
    assert "ambient-vcp up" in capsys.readouterr().err


def test_json_errors_are_one_object_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("task", "list", "-o", "json") == Exit.CONNECTION
    captured = capsys.readouterr()
    assert captured.out == ""
    envelope = json.loads(captured.err)
    assert envelope["status"] == "error"
    assert envelope["error"]["code"] == "no_endpoint"
    assert envelope["error"]["hint"]


def test_profiles_are_saved_listed_and_deleted(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("profile", "save", "a", "--endpoint", "http://127.0.0.1:1") == Exit.OK
    assert call("profile", "use", "a") == Exit.OK
    capsys.readouterr()
    assert call("profile", "list", "-o", "json") == Exit.OK
    (listed,) = json.loads(capsys.readouterr().out)["data"]
    assert (listed["name"], listed["current"]) == ("a", True)
    mode = (home / "config" / "profiles" / "a.json").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600
    assert call("profile", "delete", "a") == Exit.ARGUMENTS
    assert call("profile", "delete", "a", "--yes") == Exit.OK
    assert call("profile", "show", "a") == Exit.ARGUMENTS


def test_another_endpoint_forgets_what_was_learnt_from_the_first(
    capsys: pytest.CaptureFixture[str],
) -> None:
    key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    call("profile", "save", "a", "--endpoint", "http://127.0.0.1:1", "--public-key", key)
    call("profile", "save", "a", "--endpoint", "http://127.0.0.1:2")
    capsys.readouterr()
    call("profile", "show", "a", "-o", "json")
    assert json.loads(capsys.readouterr().out)["data"]["public_key"] == ""


def test_a_key_that_no_honest_signer_has_is_not_pinned(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        call("profile", "save", "a", "--endpoint", "http://h", "--public-key", "00" * 32)
        == Exit.ARGUMENTS
    )
    assert "public key" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("completion", shell) == Exit.OK
    assert "_AMBIENT_VCP_COMPLETE" in capsys.readouterr().out


def test_text_from_others_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[31m\r\nb") == "a\\x1b[31m\\r\\nb"


def test_a_module_is_checked_without_a_control_plane(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("module", "check", str(HELLO), "--invoke", "add", "-2", "3", "-o", "json") == 0
    data = json.loads(capsys.readouterr().out)["data"]
    trial = data["trial"]
    assert trial["deterministic"] is True
    assert '"value":"1"' in trial["output_text"]
    assert trial["fuel_used"] > 0
    assert len(trial["runs"]) == 8
    assert {export["name"] for export in data["exports"]} >= {"add", "mul", "fib"}


def test_bytes_that_are_no_module_are_refused_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "no.wasm"
    path.write_bytes(b"GIF89a")
    assert call("module", "check", str(path)) == Exit.FAILED
    assert "module_invalid" in capsys.readouterr().out


def receipt(name: str) -> str:
    return str(RECEIPTS / f"{name}.json")


def key() -> str:
    return (RECEIPTS / "control_plane.pub").read_text().strip()


def test_a_receipt_of_an_unknown_signer_is_refused_with_a_hint(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call("verify", receipt("signed")) == Exit.FAILED
    captured = capsys.readouterr()
    assert "NOT TRUSTED" in captured.out
    assert f"--key {key()}" in captured.err


def test_a_receipt_is_valid_under_a_given_key_and_says_why(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call("verify", receipt("quorum_majority"), "--key", key()) == Exit.OK
    out = capsys.readouterr().out
    assert "given with --key" in out
    assert "Guaranteed:" in out
    assert "Not guaranteed:" in out


def test_a_pinned_key_is_trusted_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    call("profile", "save", "mine", "--endpoint", "http://host", "--public-key", key())
    capsys.readouterr()
    assert call("verify", receipt("signed"), receipt("cancelled"), "-o", "json") == Exit.OK
    answers = json.loads(capsys.readouterr().out)["data"]
    assert [answer["state"] for answer in answers] == ["valid", "valid"]
    trust = answers[0]["checks"][-1]
    assert "profile mine pinned it" in trust["explanation"]


def test_one_changed_byte_is_refused_beside_a_good_receipt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forged = tmp_path / "forged.json"
    text = Path(receipt("signed")).read_text()
    forged.write_text(text.replace('"fuel_used":', '"fuel_used":1', 1))
    code = call("verify", receipt("signed"), str(forged), "--key", key(), "-o", "jsonl")
    states = [json.loads(line)["state"] for line in capsys.readouterr().out.splitlines()]
    assert (code, states) == (Exit.FAILED, ["valid", "forged"])


@pytest.mark.parametrize("text", [b"", b"{}", b"\xff", b"[" * 100_000, b"1" * 5_000_000])
def test_what_is_no_receipt_is_refused(
    text: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(text)
    assert call("verify", str(path), "--key", key()) == Exit.FAILED
    assert "REFUSED: this is not a receipt" in capsys.readouterr().out


def test_verifying_imports_nothing_that_opens_connections() -> None:
    code = (
        "import sys; from ambient_vcp.apps.cli.main import main\n"
        f"try: main(['verify', {receipt('signed')!r}, '--key', {key()!r}])\n"
        "except SystemExit as ended: assert not ended.code, ended.code\n"
        "print(','.join(sorted(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stderr.split(",")) & {"httpx", "ssl", "asyncio", "http.client"}
