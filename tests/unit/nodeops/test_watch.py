"""A watched settings file on a clock that the test moves."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from wsnode.config import Settings
from wsnode.config.sources import load_settings
from wsnode.watch import SettingsChange, SettingsWatch, describe_change


class Watched:
    """A file, a watch over it, and the time."""

    def __init__(self, path: Path, environ: dict[str, str], content: bytes) -> None:
        self.path, self.now = path, 100.0
        path.write_bytes(content)
        self.watch = SettingsWatch(str(path), environ, load_settings(environ, content))

    def poll(self) -> SettingsChange | None:
        self.now += 0.25
        return self.watch.poll(self.now)

    def polls(self, times: int) -> list[SettingsChange]:
        return [change for change in (self.poll() for _ in range(times)) if change is not None]


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path / "settings.env", {"WS_ADDR": ":4000"}, b"WS_MAX_CHANNELS=10\n")


def test_an_unchanged_file_is_no_change(watched: Watched) -> None:
    assert watched.polls(10) == []
    os.utime(watched.path)
    assert watched.polls(10) == []


def test_a_change_is_taken_over_within_a_second_and_told_once(watched: Watched) -> None:
    watched.path.write_bytes(b"WS_MAX_CHANNELS=20\nLOG_LEVEL=debug\n")
    (change,) = watched.polls(4)
    assert change.settings == Settings(addr=":4000", max_channels=20, log_level="debug")
    assert change.error is None
    assert change.file_hash == load_settings({}, b"WS_MAX_CHANNELS=20\nLOG_LEVEL=debug\n").file_hash
    assert watched.polls(10) == []


def test_a_line_left_out_falls_back_to_the_environment(watched: Watched) -> None:
    watched.path.write_bytes(b"# nothing\n")
    (change,) = watched.polls(4)
    assert change.settings == Settings(addr=":4000")


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (
            b"WS_MAX_CHANNELS=20\nWS_DRAIN_RATE=0\n",
            "WS_DRAIN_RATE='0': input should be greater than 0",
        ),
        (b"WS_MAX_CHANNELS=20\nWS_TYPO=1\n", "WS_TYPO is not a setting of this node"),
        (
            b"WS_MAX_CHANNELS=20\nWS_ADDR=:5000\n",
            "WS_ADDR=':5000': can't change while the node runs, must be ':4000' or left out",
        ),
        (b"garbage\n", "line 1 is 'garbage': must be NAME=value"),
        (b"\xff\n", "the file is not UTF-8 at byte 0"),
    ],
)
def test_a_bad_file_changes_nothing_and_is_told_once(watched: Watched, content: bytes, error: str) -> None:
    in_force = load_settings({}, watched.path.read_bytes()).file_hash
    watched.path.write_bytes(content)
    assert watched.polls(12) == [SettingsChange(None, in_force, error)]


def test_a_mended_file_takes_the_error_back_also_when_nothing_else_changed(watched: Watched) -> None:
    before = watched.path.read_bytes()
    watched.path.write_bytes(b"garbage\n")
    assert watched.polls(4)[0].error is not None
    watched.path.write_bytes(before)
    (change,) = watched.polls(4)
    assert change.error is None
    assert change.settings == Settings(addr=":4000", max_channels=10)


def test_a_removed_file_is_reported_and_its_return_too(watched: Watched) -> None:
    content = watched.path.read_bytes()
    watched.path.unlink()
    (gone,) = watched.polls(4)
    assert gone.settings is None
    assert gone.error == f"WS_SETTINGS_FILE={str(watched.path)!r}: No such file or directory"
    watched.path.write_bytes(content)
    (back,) = watched.polls(4)
    assert (back.error, back.settings) == (None, Settings(addr=":4000", max_channels=10))


def test_a_file_that_is_still_being_written_is_waited_for(watched: Watched) -> None:
    # Each piece would be valid by itself: 2, then 20, then 200 channels.
    for piece in (b"WS_MAX_CHANNELS=2", b"WS_MAX_CHANNELS=20", b"WS_MAX_CHANNELS=200"):
        watched.path.write_bytes(piece)
        assert watched.polls(2) == []
    watched.path.write_bytes(b"WS_MAX_CHANNELS=200\n")
    assert [change.settings.max_channels for change in watched.polls(4) if change.settings] == [200]


def test_a_truncated_file_does_not_reset_all_settings_for_a_moment(watched: Watched) -> None:
    watched.path.write_bytes(b"")
    assert watched.polls(4) == []
    watched.path.write_bytes(b"WS_MAX_CHANNELS=11\n")
    assert [change.settings.max_channels for change in watched.polls(4) if change.settings] == [11]


def test_a_file_without_a_last_line_s_end_is_taken_over_after_2_seconds(watched: Watched) -> None:
    watched.path.write_bytes(b"WS_MAX_CHANNELS=21")
    assert watched.polls(7) == []
    assert [change.settings.max_channels for change in watched.polls(4) if change.settings] == [21]


def test_a_config_map_s_swap_of_symlinks_is_seen(tmp_path: Path) -> None:
    """As the kubelet does it: file -> ..data/file, ..data -> a directory that is exchanged."""
    for version, channels in (("..2025_1", 10), ("..2025_2", 30)):
        (tmp_path / version).mkdir()
        (tmp_path / version / "settings.env").write_text(f"WS_MAX_CHANNELS={channels}\n")
    (tmp_path / "..data").symlink_to("..2025_1")
    path = tmp_path / "settings.env"
    path.symlink_to("..data/settings.env")
    loaded = load_settings({}, path.read_bytes())
    watch = SettingsWatch(str(path), {}, loaded)
    assert watch.poll(0.0) is None
    (tmp_path / "..data_tmp").symlink_to("..2025_2")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    (tmp_path / "..2025_1" / "settings.env").unlink()
    changes = [watch.poll(now) for now in (0.25, 0.5)]
    assert [change.settings.max_channels for change in changes if change and change.settings] == [30]


async def test_changes_come_by_themselves(watched: Watched) -> None:
    changes = watched.watch.changes()
    watched.path.write_bytes(b"WS_MAX_CHANNELS=40\n")
    change = await anext(changes)
    assert isinstance(changes, AsyncGenerator)
    await changes.aclose()
    assert change.settings is not None
    assert change.settings.max_channels == 40


def test_a_change_is_described_without_secrets() -> None:
    before = Settings(nats_url="nats://u:old@h")
    after = Settings(nats_url="nats://u:new@h", max_channels=5, drain_delay=2.5)
    assert describe_change(before, after) == {
        "WS_MAX_CHANNELS": "100 -> 5",
        "WS_DRAIN_DELAY": "10s -> 2500ms",
    }
