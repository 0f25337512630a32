"""Envelopes of secrets: they open in their place only; whatever is done to one, the error is typed and says nothing."""

from __future__ import annotations

import copy
import pickle
import traceback
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierwright.errors import (
    DecryptionFailed,
    EnvelopeInvalid,
    InvalidInput,
    SecretsError,
    SecretsNotConfigured,
    UnknownKeyId,
)
from tierwright.secrets import Binding, Hidden, KeyRing, generate_key, header_of, open_sealed, rewrap, seal
from tierwright.secrets.envelope import PREFIX, key_id_of, reseal
from tierwright.secrets.key_text import key_line

SENTINEL = b"sentinel-9f2c"
KEY_1, KEY_2 = bytes(range(32)), bytes(range(1, 33))
RING = KeyRing({"k1": KEY_1, "k2": KEY_2}, "k1")
PLACE = Binding.of_config("acme", "slack", 3)
NAMES = ("/bot_token", "/deep/key")
BLOB = seal(Hidden(SENTINEL), NAMES, RING, PLACE)


def opened(blob: bytes, keys: Any = RING, place: Binding = PLACE) -> bytes:
    return open_sealed(blob, keys, place).reveal()


def test_an_envelope_opens_in_its_place_and_tells_names_without_a_key() -> None:
    assert opened(BLOB) == SENTINEL
    header = header_of(BLOB)
    assert (header.format_version, header.algorithm, header.key_id, header.names) == (1, 1, "k1", NAMES)
    assert key_id_of(BLOB[:PREFIX]) == "k1"
    assert SENTINEL not in BLOB


@settings(deadline=None)
@given(st.binary(max_size=300), st.lists(st.text(max_size=20), max_size=4))
def test_everything_comes_back(plaintext: bytes, names: list[str]) -> None:
    encodable = tuple(name for name in names if name.isprintable())
    blob = seal(Hidden(plaintext), encodable, RING, PLACE)
    assert opened(blob) == plaintext
    assert header_of(blob).names == encodable


def test_an_envelope_of_the_first_release_opens_for_ever() -> None:
    released = bytes.fromhex(
        "545753010101000000026b310000003c0000001f00000029acaf9ced50f99edf83edf4186982f5c9cb96fc88e183bd525158"
        "4b82716c033ebed09e1636d2ae0a86b7f4e916412f0a67b6218bba51ab99577f49d4000000020000000a000000092f626f74"
        "5f746f6b656e2f646565702f6b657939919e245afeb5d9149f2dab9f79a590835bf1e7c8dac9739d39ec3a238866445701bb"
        "7abb78d2e8c2"
    )
    assert opened(released) == SENTINEL
    assert header_of(released).names == NAMES
    assert reseal(released, RING, PLACE) != released


@pytest.mark.parametrize("text", ["", "plain", 7, 10**12, 0.5, [1]])
def test_what_is_not_even_bytes_is_no_envelope(text: Any) -> None:
    for read in (header_of, key_id_of, lambda blob: open_sealed(blob, RING, PLACE)):
        with pytest.raises(EnvelopeInvalid):
            read(text)


def test_a_context_cannot_pass_for_another_one() -> None:
    wrapped = RING.wrap("k1", KEY_2, {"a": "b", "c": "d"})
    assert RING.unwrap("k1", wrapped, {"c": "d", "a": "b"}) == KEY_2
    for other in ({"a": "bc", "": "d"}, {"a": "b"}, {"a": "d", "c": "b"}, {}):
        with pytest.raises(DecryptionFailed):
            RING.unwrap("k1", wrapped, other)
    with pytest.raises(InvalidInput):
        RING.wrap("k1", KEY_2, {"a": "b\0c"})


def test_two_seals_share_neither_data_key_nor_nonce() -> None:
    assert len({seal(Hidden(b"same"), NAMES, RING, PLACE) for _ in range(20)}) == 20


@pytest.mark.parametrize(
    "other",
    [
        replace(PLACE, tenant_id="globex"),
        replace(PLACE, integration_key="mail"),
        replace(PLACE, secret_version=2),
        replace(PLACE, table="other"),
        replace(PLACE, column="config"),
        replace(PLACE, tenant_id="acmes", integration_key="lack"),  # the same letters, cut elsewhere
    ],
)
def test_an_envelope_that_was_copied_does_not_open(other: Binding) -> None:
    with pytest.raises(DecryptionFailed):
        opened(BLOB, place=other)
    with pytest.raises(DecryptionFailed):
        rewrap(BLOB, RING, other)


def test_every_flipped_bit_is_noticed() -> None:
    for position in range(len(BLOB) * 8):
        changed = bytearray(BLOB)
        changed[position // 8] ^= 1 << position % 8
        with pytest.raises((EnvelopeInvalid, UnknownKeyId, DecryptionFailed)) as caught:
            opened(bytes(changed))
        assert_quiet(caught.value)


def test_every_truncation_is_noticed_and_so_is_what_is_left_over() -> None:
    for blob in [*(BLOB[:length] for length in range(len(BLOB))), BLOB + b"\0"]:
        with pytest.raises(EnvelopeInvalid):
            opened(blob)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_error_of_ours(blob: bytes) -> None:
    for attempt in (blob, BLOB[:6] + blob):
        with pytest.raises(SecretsError):
            opened(attempt)


def test_wrong_missing_and_retired_keys() -> None:
    with pytest.raises(DecryptionFailed):
        opened(BLOB, KeyRing({"k1": generate_key()}, "k1"))
    with pytest.raises(UnknownKeyId):
        opened(BLOB, KeyRing({"k2": KEY_2}, "k2"))
    with pytest.raises(SecretsNotConfigured):
        opened(BLOB, None)
    with pytest.raises(SecretsNotConfigured):
        seal(Hidden(b""), (), None, PLACE)


def test_names_cannot_be_changed_though_they_are_in_the_clear() -> None:
    assert BLOB.count(b"/bot_token") == 1
    with pytest.raises(DecryptionFailed):
        opened(BLOB.replace(b"/bot_token", b"/bot_tokem"))


def test_a_rewrapped_envelope_has_the_same_ciphertext_under_the_active_key() -> None:
    moved = rewrap(BLOB, KeyRing({"k1": KEY_1, "k2": KEY_2}, "k2"), PLACE)
    assert header_of(moved).key_id == "k2"
    assert moved[-40:] == BLOB[-40:]
    assert opened(moved, KeyRing({"k2": KEY_2}, "k2")) == SENTINEL


class Broken:
    """A provider that fails with the data key in its message, as a careless client might."""

    active_key_id = "k1"

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer

    def wrap(self, key_id: str, data_key: bytes, context: Mapping[str, str]) -> bytes:
        if self.answer is None:
            raise RuntimeError(f"no: {data_key!r}")
        return self.answer

    def unwrap(self, key_id: str, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        return self.wrap(key_id, wrapped, context)


def test_what_a_provider_raises_or_returns_is_never_taken_for_a_key() -> None:
    with pytest.raises(SecretsNotConfigured) as caught:
        seal(Hidden(SENTINEL), (), Broken(), PLACE)
    assert_quiet(caught.value)
    for answer in (None, b"short", "text", 7):
        with pytest.raises(DecryptionFailed) as failed:
            opened(BLOB, Broken(answer))
        assert_quiet(failed.value)
    with pytest.raises(SecretsNotConfigured):
        seal(Hidden(SENTINEL), (), Broken("text"), PLACE)


def assert_quiet(error: BaseException) -> None:
    """Check that neither the error, nor what led to it, nor the variables of our frames show the plaintext."""
    told = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    ours = told.split("tests/unit/test_envelope.py")[-1]
    assert SENTINEL.decode() not in ours
    assert repr(KEY_1)[2:-1] not in ours
    assert error.__cause__ is None


def test_what_is_hidden_does_not_show() -> None:
    hidden = Hidden("sentinel")
    assert "sentinel" not in f"{hidden} {hidden!r} {hidden:>20} {[hidden]} {vars.__name__}"
    assert hidden != Hidden("sentinel")
    for action in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            action(hidden)
    assert hidden.reveal() == "sentinel"


# --- rings of keys ---------------------------------------------------------------------------------------------------


def test_a_ring_is_read_from_text_the_first_key_is_active(tmp_path: Any) -> None:
    text = f"# since May\n{key_line('new', KEY_2)}\n{key_line('old', KEY_1)}  # until June\n"
    file = tmp_path / "keys"
    file.write_text(text)
    rings = [
        KeyRing.from_text(text),
        KeyRing.from_file(file),
        KeyRing.from_environment({"TIERWRIGHT_SECRETS_KEYS": f"{key_line('new', KEY_2)},{key_line('old', KEY_1)}"}),
        KeyRing.from_environment({"TIERWRIGHT_SECRETS_KEY_FILE": str(file)}),
    ]
    for ring in rings:
        assert (ring.active_key_id, ring.key_ids) == ("new", ("new", "old"))
        assert repr(ring) == "KeyRing(key_ids=('new', 'old'), active='new')"
        with pytest.raises(TypeError):
            pickle.dumps(ring)


@pytest.mark.parametrize("text", ["k1", "k1=", "k1=c2hvcnQ=", "=" + "A" * 43 + "=", "k 1=" + "A" * 43 + "=", "k1=ü"])
def test_a_malformed_ring_is_refused_without_its_contents(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        KeyRing.from_text(text)
    assert text not in str(caught.value)


def test_a_key_that_was_pasted_without_its_id_is_in_no_traceback() -> None:
    pasted = key_line("k1", KEY_1).partition("=")[2]
    for text in (Hidden(pasted), Hidden(f"{key_line('k2', KEY_2)},{pasted}"), Hidden(f"k1 = {pasted}")):
        with pytest.raises(InvalidInput) as caught:
            KeyRing.from_text(text)
        told = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        inside = [frame for frame in told.stack if "/tests/" not in frame.filename]
        assert inside
        assert not [frame for frame in inside if pasted[:20] in str(frame.locals)]


def test_a_ring_cannot_contradict_itself() -> None:
    with pytest.raises(InvalidInput):
        KeyRing.from_text(f"{key_line('a', KEY_1)} {key_line('a', KEY_2)}")
    with pytest.raises(InvalidInput):
        KeyRing({"a": KEY_1, "b": KEY_1}, "a")
    with pytest.raises(InvalidInput):
        KeyRing({"a": KEY_1}, "b")
    with pytest.raises(InvalidInput):
        KeyRing({"a": b"short"}, "a")
    with pytest.raises(InvalidInput):
        KeyRing.from_environment({"TIERWRIGHT_SECRETS_KEYS": "x", "TIERWRIGHT_SECRETS_KEY_FILE": "y"})


def test_without_keys_nothing_is_made_up(tmp_path: Any) -> None:
    for make in (
        lambda: KeyRing.from_environment({}),
        lambda: KeyRing.from_text("# nothing"),
        lambda: KeyRing.from_file(tmp_path / "missing"),
    ):
        with pytest.raises(SecretsNotConfigured):
            make()
