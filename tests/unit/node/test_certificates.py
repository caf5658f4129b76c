"""Certificates as files: what is taken, what is refused, and when a change counts."""

from __future__ import annotations

import calendar
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.tls import RSA, Files, MountedSecret, make_files
from wsnode.certificates import CertificateError, CertificateWatch, Pair, _ends_at, read_pair
from wsnode.config import Settings


def _settings(files: Files) -> Settings:
    return Settings(**files.settings)


def _told_by_openssl(cert: Path) -> float:
    command = ["openssl", "x509", "-noout", "-enddate", "-dateopt", "iso_8601", "-in", str(cert)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    moment = time.strptime(text.strip().removeprefix("notAfter="), "%Y-%m-%d %H:%M:%SZ")
    return calendar.timegm(moment)


@pytest.mark.parametrize("days", ["1", "365", "20000"])  # the last one is written in another form
def test_the_end_is_what_openssl_says(tmp_path: Path, days: str) -> None:
    files = make_files(tmp_path, kind=RSA, days=days)
    assert read_pair(_settings(files)).ends_at == _told_by_openssl(files.cert)


def test_cut_off_certificates_are_damaged_and_nothing_worse(tmp_path: Path) -> None:
    der = ssl.PEM_cert_to_DER_cert(make_files(tmp_path).cert.read_text())
    for size in range(250):
        with pytest.raises((ValueError, IndexError)):
            _ends_at(der[:size])


def test_a_damaged_certificate_an_encrypted_key_and_a_large_file_are_named(tmp_path: Path) -> None:
    good = make_files(tmp_path)
    damaged = tmp_path / "damaged"
    damaged.write_text(good.cert.read_text().replace("MII", "MIJ", 1))
    with pytest.raises(CertificateError, match=r"^WS_TLS_CERT_FILE='.*damaged'.*(damaged|refuses)"):
        read_pair(_settings(Files(damaged, good.key)))
    secret = tmp_path / "secret"
    command = ["openssl", "pkey", "-aes128", "-passout", "pass:x", "-in", str(good.key), "-out", str(secret)]
    subprocess.run(command, check=True)
    with pytest.raises(CertificateError, match=r"^WS_TLS_KEY_FILE='.*secret': is encrypted"):
        read_pair(_settings(Files(good.cert, secret)))
    large = tmp_path / "large"
    large.write_bytes(bytes(1_000_001))
    with pytest.raises(CertificateError, match=r"^WS_TLS_KEY_FILE='.*large': must not be above 1000000"):
        read_pair(_settings(Files(good.cert, large)))


def test_a_pair_is_taken_once_it_was_read_twice(tmp_path: Path) -> None:
    first, second = make_files(tmp_path, "first"), make_files(tmp_path, "second")
    secret = MountedSecret(tmp_path / "mounted", first)
    watch = CertificateWatch(_settings(secret.files), read_pair(_settings(secret.files)))
    assert watch.poll(0) is None
    secret.put(second)
    assert watch.poll(0) is None
    renewal = watch.poll(0)
    assert renewal is not None
    assert renewal.error is None
    assert renewal.pair is not None
    assert renewal.pair.chain == second.cert.read_bytes()
    assert watch.poll(0) is None


def test_a_pair_of_which_only_half_is_written_is_neither_taken_nor_told(tmp_path: Path) -> None:
    first, second = make_files(tmp_path, "first"), make_files(tmp_path, "second")
    live = Files(tmp_path / "live.crt", tmp_path / "live.key")

    def write(cert: Files | None, key: Files | None) -> None:
        if cert is not None:
            live.cert.write_bytes(cert.cert.read_bytes())
        if key is not None:
            live.key.write_bytes(key.key.read_bytes())

    write(first, first)
    watch = CertificateWatch(_settings(live), read_pair(_settings(live)))
    write(second, None)
    assert watch.poll(0) is None
    write(None, second)
    assert watch.poll(0) is None
    renewal = watch.poll(0)
    assert renewal is not None
    assert renewal.pair is not None


def test_a_bad_pair_is_told_once_and_its_end_too(tmp_path: Path) -> None:
    first, other = make_files(tmp_path, "first"), make_files(tmp_path, "other")
    secret = MountedSecret(tmp_path / "mounted", first)
    watch = CertificateWatch(_settings(secret.files), read_pair(_settings(secret.files)))
    secret.put(Files(first.cert, other.key))
    told = [watch.poll(0) for _ in range(5)]
    (bad,) = [renewal for renewal in told if renewal is not None]
    assert bad.pair is None
    assert bad.error is not None
    assert "is not the key of" in bad.error
    secret.put(first)
    told = [watch.poll(0) for _ in range(5)]
    (good,) = [renewal for renewal in told if renewal is not None]
    assert good.error is None
    assert good.pair is not None


def test_one_that_has_ended_takes_the_place_of_none_that_has_not(tmp_path: Path) -> None:
    first, second = make_files(tmp_path, "first", days="30"), make_files(tmp_path, "second", days="10")
    secret = MountedSecret(tmp_path / "mounted", first)
    watch = CertificateWatch(_settings(secret.files), read_pair(_settings(secret.files)))
    secret.put(second)
    in_20_days = time.time() + 20 * 86_400
    assert watch.poll(in_20_days) is None
    renewal = watch.poll(in_20_days)
    assert renewal is not None
    assert renewal.pair is None
    assert renewal.error is not None
    assert ": ended at 20" in renewal.error


def test_a_pair_does_not_show_its_key(tmp_path: Path) -> None:
    pair = read_pair(_settings(make_files(tmp_path)))
    assert isinstance(pair, Pair)
    assert "PRIVATE" not in repr(pair)
