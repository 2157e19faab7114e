"""The signing ports: published vectors, edge cases made here, and the key file."""

import hashlib
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from ambient_vcp.adapters.ed25519 import Ed25519Signer, Ed25519Verifier, KeyFileError, curve
from ambient_vcp.domain.errors import InvalidKeyError
from ambient_vcp.ports.signer import SignatureVerifier, Signer

WYCHEPROOF = Path(__file__).parents[3] / "shared/vectors/wycheproof/ed25519_test.json"
WYCHEPROOF_TESTS = 151
VERIFIER: SignatureVerifier = Ed25519Verifier()
SIGNER: Signer = Ed25519Signer.from_seed(bytes(range(32)))

# RFC 8032 section 7.1, tests 1 to 3: private key, public key, message, signature.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701c"
            "f9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0"
            "f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f76098"
            "4dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
]


@pytest.mark.parametrize(("seed", "public_key", "message", "signature"), RFC_8032)
def test_the_vectors_of_rfc_8032_are_reproduced(seed, public_key, message, signature):
    signer = Ed25519Signer.from_seed(bytes.fromhex(seed))
    assert signer.public_key == public_key == VERIFIER.check_public_key(public_key)
    assert signer.sign(bytes.fromhex(message)) == signature
    assert VERIFIER.verify(public_key, bytes.fromhex(message), signature)


@pytest.mark.skipif(
    not WYCHEPROOF.exists(), reason="the Wycheproof vectors are not beside this checkout"
)
def test_all_wycheproof_vectors_get_their_verdict():
    groups = json.loads(WYCHEPROOF.read_text())["testGroups"]
    cases = [(group["publicKey"]["pk"], case) for group in groups for case in group["tests"]]
    assert len(cases) == WYCHEPROOF_TESTS
    wrong = [
        case["tcId"]
        for key, case in cases
        if VERIFIER.verify(key, bytes.fromhex(case["msg"]), case["sig"])
        is not (case["result"] == "valid")
    ]
    assert not wrong


@given(message=st.binary(max_size=200), seed=st.binary(min_size=32, max_size=32))
def test_what_was_signed_verifies_and_nothing_else_does(message, seed):
    signer = Ed25519Signer.from_seed(seed)
    signature = signer.sign(message)
    assert VERIFIER.verify(signer.public_key, message, signature)
    assert not VERIFIER.verify(signer.public_key, message + b"x", signature)
    assert not VERIFIER.verify(SIGNER.public_key, message, signature)


@pytest.mark.parametrize("bit", range(512))
def test_no_bit_of_a_signature_can_be_changed(bit):
    signature = bytearray(bytes.fromhex(SIGNER.sign(b"message")))
    signature[bit // 8] ^= 1 << bit % 8
    assert not VERIFIER.verify(SIGNER.public_key, b"message", signature.hex())


GOOD_SIGNATURE = SIGNER.sign(b"m")


@pytest.mark.parametrize(
    ("key", "signature"),
    [
        ("", GOOD_SIGNATURE),
        ("zz" * 32, GOOD_SIGNATURE),
        (SIGNER.public_key.upper(), GOOD_SIGNATURE),
        (SIGNER.public_key + "00", GOOD_SIGNATURE),
        (SIGNER.public_key[:-2], GOOD_SIGNATURE),
        (SIGNER.public_key + "\n", GOOD_SIGNATURE),
        (None, GOOD_SIGNATURE),
        (SIGNER.public_key, ""),
        (SIGNER.public_key, GOOD_SIGNATURE.upper()),
        (SIGNER.public_key, GOOD_SIGNATURE[:-2]),
        (SIGNER.public_key, GOOD_SIGNATURE + "00"),
        (SIGNER.public_key, None),
        (SIGNER.public_key, b"x" * 64),
        ("02" + "00" * 31, GOOD_SIGNATURE),
    ],
)
def test_malformed_input_is_false_and_never_an_exception(key, signature):
    assert VERIFIER.verify(key, b"m", signature) is False


# --- Public keys -----------------------------------------------------------------------------

BASE = curve.decode(bytes.fromhex("58" + "66" * 31))


def test_the_curve_arithmetic_agrees_with_openssl():
    for number in range(20):
        seed = hashlib.sha256(str(number).encode()).digest()
        hashed = bytearray(hashlib.sha512(seed).digest()[:32])
        hashed[0] &= 248
        hashed[31] = hashed[31] & 127 | 64
        point = curve.multiply(int.from_bytes(hashed, "little"), BASE)
        assert curve.encode(point).hex() == Ed25519Signer.from_seed(seed).public_key
        assert curve.has_prime_order(point)


def test_there_are_eight_torsion_points_and_fourteen_ways_to_write_them():
    points = curve.torsion_points()
    assert len({curve.encode(point) for point in points}) == 8
    assert all(curve.is_small_order(point) for point in points)
    assert len(curve.small_order_encodings()) == 14


@pytest.mark.parametrize("encoded", sorted(curve.small_order_encodings()), ids=bytes.hex)
def test_keys_of_small_order_are_refused(encoded):
    with pytest.raises(InvalidKeyError, match="small order"):
        VERIFIER.check_public_key(encoded.hex())


@pytest.mark.parametrize("excess", range(2, 19))
@pytest.mark.parametrize("sign", [0, curve.SIGN_BIT])
def test_keys_with_y_of_p_or_more_are_refused(excess, sign):
    encoded = (curve.P + excess | sign).to_bytes(32, "little").hex()
    with pytest.raises(InvalidKeyError, match="not canonical"):
        VERIFIER.check_public_key(encoded)
    assert not VERIFIER.verify(encoded, b"m", GOOD_SIGNATURE)


def test_keys_off_the_curve_are_refused_and_openssl_agrees_on_which_these_are():
    refused = 0
    for y in range(2, 60):
        encoded = y.to_bytes(32, "little")
        if curve.decode(encoded) is not None:
            continue
        refused += 1
        with pytest.raises(InvalidKeyError, match="not a point"):
            VERIFIER.check_public_key(encoded.hex())
    assert refused > 10


@pytest.mark.parametrize("factor", range(1, 8))
def test_keys_of_mixed_order_are_refused(factor):
    torsion = curve.torsion_points()[factor]
    mixed = curve.encode(curve.add(curve.multiply(7, BASE), torsion))
    with pytest.raises(InvalidKeyError, match="mixed"):
        VERIFIER.check_public_key(mixed.hex())


@pytest.mark.parametrize("text", ["", "00", "zz" * 32, "AB" * 32, " " + "00" * 31, "00" * 33])
def test_keys_that_are_not_hexadecimal_are_refused(text):
    with pytest.raises(InvalidKeyError, match="hexadecimal"):
        VERIFIER.check_public_key(text)


# --- The twelve edge cases of "Taming the many EdDSAs" (Chalkias, Garillot, Nikolaenko, 2020,
# table 5), constructed here: points with torsion parts, messages searched until the hash fits.

SECRET, NONCE = 0x1234567890ABCDEF123456789, 0xFEDCBA9876543210FEDCBA987
ORDER_TWO_NOT_CANONICAL = bytes.fromhex("ec" + "ff" * 31)


def times_base(scalar, torsion_factor=0):
    point = curve.multiply(scalar % curve.L, BASE)
    return curve.add(point, curve.torsion_points()[torsion_factor])


def challenge(*parts):
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % curve.L


def searched(r_hashed, a_hashed, condition, *, not_for=None):
    """The first message whose challenge meets ``condition``.

    ``not_for`` is another pair to hash, whose challenge must not meet it: so that a verifier which
    hashes that pair refuses.
    """
    for number in range(1_000):
        message = number.to_bytes(32, "little")
        h = challenge(r_hashed, a_hashed, message)
        if condition(h) and not (not_for and condition(challenge(*not_for, message))):
            return message, h
    raise AssertionError("no message found")


def edge_case(number):  # noqa: PLR0911 - twelve cases, one branch each
    """Public key, message, signature of case ``number``."""

    def pack(key, message, r, s):
        return key, message, r + s.to_bytes(32, "little")

    small = curve.encode(curve.torsion_points()[1])
    mixed_key = curve.encode(times_base(SECRET, 1))
    plain_key = curve.encode(times_base(SECRET))
    if number == 0:
        r = curve.encode(curve.torsion_points()[3])
        message, _ = searched(r, small, lambda h: (3 + h) % 8 == 0)
        return pack(small, message, r, 0)
    if number == 1:
        r = curve.encode(times_base(NONCE, 3))
        message, _ = searched(r, small, lambda h: (3 + h) % 8 == 0)
        return pack(small, message, r, NONCE)
    if number == 2:
        r = curve.encode(curve.torsion_points()[3])
        message, h = searched(r, mixed_key, lambda h: (3 + h) % 8 == 0)
        return pack(mixed_key, message, r, h * SECRET % curve.L)
    if number in {3, 4}:
        r = curve.encode(times_base(NONCE, 3))
        message, h = searched(r, mixed_key, lambda h: ((3 + h) % 8 == 0) is (number == 3))
        return pack(mixed_key, message, r, (NONCE + h * SECRET) % curve.L)
    if number == 5:
        r = curve.encode(times_base(NONCE))
        message, h = searched(r, mixed_key, lambda h: h % 8 != 0)
        return pack(mixed_key, message, r, (NONCE + h * SECRET) % curve.L)
    if number in {6, 7}:
        r = curve.encode(times_base(NONCE))
        h = challenge(r, plain_key, b"m")
        s = (NONCE + h * SECRET) % curve.L
        return pack(plain_key, b"m", r, s + curve.L * (1 if number == 6 else 14))
    order_two = curve.encode(curve.torsion_points()[4])
    spellings = [order_two, ORDER_TWO_NOT_CANONICAL]
    hashed, other = spellings if number in {8, 10} else reversed(spellings)
    if number in {8, 9}:
        message, h = searched(
            hashed, mixed_key, lambda h: (4 + h) % 8 == 0, not_for=(other, mixed_key)
        )
        return pack(mixed_key, message, ORDER_TWO_NOT_CANONICAL, h * SECRET % curve.L)
    r = curve.encode(times_base(NONCE, 4))
    message, _ = searched(r, hashed, lambda h: h % 2 == 1, not_for=(r, other))
    return pack(ORDER_TWO_NOT_CANONICAL, message, r, NONCE)


def openssl_accepts(key, message, signature):
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def test_openssl_alone_accepts_some_edge_cases_so_the_cases_are_real():
    accepted = [number for number in range(12) if openssl_accepts(*edge_case(number))]
    assert accepted == [0, 1, 2, 3, 11]


@pytest.mark.parametrize("number", range(12))
def test_no_edge_case_verifies_under_a_key_that_passed_enrolment(number):
    key, message, signature = edge_case(number)
    try:
        VERIFIER.check_public_key(key.hex())
    except InvalidKeyError:
        refused = True
    else:
        refused = False
    accepted = VERIFIER.verify(key.hex(), message, signature.hex())
    assert refused or not accepted
    # Case 3 is a correct signature by a key of mixed order: only the enrolment can refuse it.
    assert accepted is (number == 3)


# --- Key files -------------------------------------------------------------------------------


def test_a_new_key_file_is_private_and_comes_back(tmp_path):
    path = tmp_path / "node.key"
    old_mask = os.umask(0)
    try:
        signer = Ed25519Signer.load_or_create(path)
    finally:
        os.umask(old_mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["node.key"]
    assert Ed25519Signer.load_or_create(path).public_key == signer.public_key
    assert Ed25519Signer.load(path).sign(b"m") == signer.sign(b"m")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601, 0o644, 0o777])
def test_a_key_file_that_others_may_use_is_refused(tmp_path, mode):
    path = tmp_path / "node.key"
    Ed25519Signer.load_or_create(path)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match="let others use it") as caught:
        Ed25519Signer.load_or_create(path)
    assert f"chmod 600 {path}" in caught.value.hint


def test_a_link_in_place_of_a_key_file_is_refused(tmp_path):
    Ed25519Signer.load_or_create(tmp_path / "real.key")
    (tmp_path / "link.key").symlink_to(tmp_path / "real.key")
    with pytest.raises(KeyFileError, match="cannot be opened"):
        Ed25519Signer.load_or_create(tmp_path / "link.key")


def test_a_pipe_or_folder_in_place_of_a_key_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "folder").mkdir(mode=0o700)
    for name in ("pipe", "folder"):
        with pytest.raises(KeyFileError, match="not a plain file"):
            Ed25519Signer.load(tmp_path / name)


def private_pem(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    "content",
    [b"", b"rubbish", b"x" * 5_000, private_pem(generate_private_key(SECP256R1()))],
    ids=["empty", "rubbish", "long", "another kind of key"],
)
def test_a_file_without_an_ed25519_key_is_refused(tmp_path, content):
    path = tmp_path / "node.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileError):
        Ed25519Signer.load_or_create(path)
    assert path.read_bytes() == content


def test_a_truncated_key_file_is_refused_and_kept(tmp_path):
    path = tmp_path / "node.key"
    path.write_bytes(private_pem(Ed25519PrivateKey.generate())[:-40])
    path.chmod(0o600)
    with pytest.raises(KeyFileError):
        Ed25519Signer.load_or_create(path)
    assert path.exists()


def test_a_missing_folder_is_a_clear_error(tmp_path):
    with pytest.raises(KeyFileError, match="cannot be written") as caught:
        Ed25519Signer.load_or_create(tmp_path / "absent" / "node.key")
    assert "exists" in caught.value.hint


def test_loading_a_key_that_is_not_there_says_so(tmp_path):
    with pytest.raises(FileNotFoundError):
        Ed25519Signer.load(tmp_path / "absent.key")


def test_processes_that_start_at_once_share_one_key(tmp_path):
    code = (
        "import sys; from pathlib import Path;"
        "from ambient_vcp.adapters.ed25519 import Ed25519Signer;"
        "print(Ed25519Signer.load_or_create(Path(sys.argv[1])).public_key)"
    )
    path = str(tmp_path / "node.key")
    started = [
        subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    keys = {process.communicate(timeout=60)[0] for process in started}
    assert all(process.returncode == 0 for process in started)
    assert len(keys) == 1


def test_neither_the_signer_nor_its_errors_show_the_private_key(tmp_path):
    path = tmp_path / "node.key"
    signer = Ed25519Signer.load_or_create(path)
    secret = path.read_text().split("\n")[1]
    path.chmod(0o644)
    with pytest.raises(KeyFileError) as caught:
        Ed25519Signer.load(path)
    shown = repr(signer) + str(signer) + str(caught.value) + repr(caught.value.details())
    assert secret not in shown
    assert signer.public_key in repr(signer)
