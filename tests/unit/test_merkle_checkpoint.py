"""Signed notes and checkpoints: published examples, round trips, and everything malformed."""

import base64

import pytest

from ambient_vcp.adapters.ed25519 import Ed25519Signer, Ed25519Verifier
from ambient_vcp.domain.errors import InvalidInputError
from ambient_vcp.domain.ids import PublicKey
from ambient_vcp.domain.log.checkpoint import (
    Checkpoint,
    open_checkpoint,
    parse_checkpoint,
    sign_checkpoint,
)
from ambient_vcp.domain.log.note import is_signed_by, note_key_id, parse_note, sign_note

VERIFIER = Ed25519Verifier()
SIGNER = Ed25519Signer.from_seed(bytes(range(32)))
OTHER = Ed25519Signer.from_seed(bytes(32))
ORIGIN = "ambient-vcp/plane/log"

# The example key and note of the format's first implementation (Go, package note).
PETER_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
PETER_KEY_ID = "c74f20a3"
PETER_TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
PETER_NOTE = (
    PETER_TEXT + "\n\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFY"
    "C2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


def checkpoint_note(**changes):
    fields = {"origin": ORIGIN, "size": 7, "root": bytes(range(32))} | changes
    return sign_checkpoint(Checkpoint(**fields), public_key=SIGNER.public_key, sign=SIGNER.sign)


def opens(note, origin=ORIGIN, key=SIGNER.public_key):
    return open_checkpoint(note, origin=origin, public_key=key, checker=VERIFIER)


def test_the_published_note_is_reproduced_byte_for_byte():
    peter = Ed25519Signer.from_seed(PETER_SEED)
    assert note_key_id("PeterNeumann", peter.public_key).hex() == PETER_KEY_ID
    note = sign_note(PETER_TEXT, name="PeterNeumann", public_key=peter.public_key, sign=peter.sign)
    assert note == PETER_NOTE


def test_the_published_note_verifies():
    peter = Ed25519Signer.from_seed(PETER_SEED)
    note = parse_note(PETER_NOTE)
    assert note.text == PETER_TEXT
    assert is_signed_by(note, name="PeterNeumann", public_key=peter.public_key, checker=VERIFIER)


def test_the_key_id_of_the_published_verifier_key_is_recomputed():
    encoded = base64.b64decode("AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
    assert note_key_id("example.com/foo", PublicKey(encoded[1:].hex())).hex() == "530d903a"


def test_a_checkpoint_comes_back_as_it_was():
    assert opens(checkpoint_note()) == Checkpoint(origin=ORIGIN, size=7, root=bytes(range(32)))


def test_the_published_checkpoint_text_is_parsed():
    note = (
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
        "\u2014 example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN"
        "7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    )
    checkpoint = parse_checkpoint(note)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert note.startswith(checkpoint.text() + "\n")


def test_another_key_or_origin_does_not_open_it():
    assert opens(checkpoint_note(), key=OTHER.public_key) is None
    assert opens(checkpoint_note(), origin="ambient-vcp/other/log") is None
    foreign = sign_note(
        Checkpoint(origin="other", size=1, root=bytes(32)).text(),
        name=ORIGIN,
        public_key=SIGNER.public_key,
        sign=SIGNER.sign,
    )
    assert opens(foreign) is None


def test_signatures_of_unknown_keys_are_ignored_but_cannot_replace_ours():
    note = checkpoint_note()
    witness = sign_note(
        parse_note(note).text, name="witness", public_key=OTHER.public_key, sign=OTHER.sign
    )
    witness_line = witness.rpartition("\n\n")[2]
    assert opens(note + witness_line) is not None
    assert opens(parse_note(note).text + "\n" + witness_line) is None


def test_a_bad_line_of_our_key_spoils_the_note():
    note = checkpoint_note()
    other_line = checkpoint_note(size=8).rpartition("\n\n")[2]
    assert opens(note + other_line) is None


def test_no_byte_of_a_signed_checkpoint_can_be_changed():
    note = checkpoint_note().encode()
    for place in range(len(note)):
        for bit in (1, 2, 128):
            mutated = bytearray(note)
            mutated[place] ^= bit
            try:
                assert opens(mutated.decode()) is None, (place, bit)
            except (InvalidInputError, UnicodeDecodeError):
                continue


GOOD = checkpoint_note()
TEXT, _, LINE = GOOD.rpartition("\n\n")


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n\n",
        TEXT,
        TEXT + "\n\n",
        TEXT + "\n" + LINE,
        GOOD[:-1],
        GOOD + "\n",
        GOOD.replace("\n7\n", "\n07\n"),
        GOOD.replace("\n7\n", "\n+7\n"),
        GOOD.replace("\n7\n", "\n 7\n"),
        GOOD.replace("\n7\n", "\n\u0667\n"),
        GOOD.replace("\n7\n", "\n-7\n"),
        GOOD.replace("\n7\n", "\n99999999999999999\n"),
        GOOD.replace("\n7\n", "\n7\nextension\n"),
        GOOD.replace("Hh8=", "Hh9="),
        GOOD.replace("Hh8=", "Hh8"),
        GOOD.replace("\u2014 ", "- "),
        GOOD.replace("\u2014 ambient-vcp/plane/log ", "\u2014  "),
        GOOD.replace("\u2014 ambient-vcp/plane/log ", "\u2014 a+b "),
        GOOD.replace("\n7\n", "\n7\r\n"),
        GOOD.replace("\n7\n", "\n7\t\n"),
        GOOD + LINE * 16,
        "x" * 70_000,
    ],
)
def test_anything_that_is_not_a_checkpoint_is_refused(note):
    with pytest.raises(InvalidInputError):
        parse_checkpoint(note)


@pytest.mark.parametrize(
    "changes",
    [
        {"origin": ""},
        {"origin": "evil\n999"},
        {"origin": "two words"},
        {"size": -1},
        {"size": 2**53},
        {"root": bytes(31)},
    ],
)
def test_a_checkpoint_that_could_be_misread_is_never_signed(changes):
    with pytest.raises(InvalidInputError):
        checkpoint_note(**changes)
