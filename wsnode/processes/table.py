"""The memory that a node's processes share: a row of plain integers each, and counts by address.

Each word has one writer, so nothing needs a lock but to take the last places: two that look at the
same moment would both let one in. Words are 64 bits and aligned, so a reader sees the old or the new
value. The memory is anonymous (memfd_create(2)), goes to the workers by descriptor, and takes pages
only where it is written.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from hashlib import blake2b
from types import TracebackType

_WORD = 8
_HEAD = 8
"""Words before the rows: the number of processes, the size of the address tables, and their key."""
_ROW = 8
"""Words a process, a cache line: two that write do not get into each other's way."""
_PID, _OPEN, _BEAT, _ADDRESSES, _TASKS = range(5)
_LEAST_ADDRESSES = 1024


class Lock:
    """Held by one process at a time, and free again when its holder dies (a record lock, fcntl(2))."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __enter__(self) -> None:
        fcntl.lockf(self._fd, fcntl.LOCK_EX)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        fcntl.lockf(self._fd, fcntl.LOCK_UN)


class Table:
    """The shared memory. Row 0 is the parent's, the workers have the rows from 1 on.

    Attributes:
        fd: for the workers.
        rows: of the parent and the workers.
        capacity: places for addresses that each worker has.
        lock: held while the last places are given away, and for counts by address.
    """

    def __init__(self, fd: int) -> None:
        """Takes over memory that `make_table` made."""
        self.fd = fd
        self.lock = Lock(fd)
        self._memory = mmap.mmap(fd, 0)
        self._words = memoryview(self._memory).cast("q")
        self.rows, self.capacity = self._words[0], self._words[1]
        self._key = bytes(self._memory[2 * _WORD : 4 * _WORD])

    def close(self) -> None:
        """Lets the memory go; it lives on with the others."""
        self._words.release()
        self._memory.close()
        os.close(self.fd)

    def enter(self, row: int, pid: int) -> None:
        """A process is there."""
        self._words[self._at(row) + _PID] = pid

    def clear(self, row: int) -> None:
        """The process of this row is gone, and so are its connections."""
        at = self._at(row)
        used = self._words[at + _ADDRESSES]
        for field in range(_ROW):
            self._words[at + field] = 0
        if used:
            with self.lock:
                self._empty(row)

    def pids(self) -> list[int]:
        """Processes that are there, the parent first."""
        words = self._words
        return [pid for row in range(self.rows) if (pid := words[self._at(row) + _PID])]

    def set_open(self, row: int, count: int) -> None:
        """Open connections of a process."""
        self._words[_HEAD + row * _ROW + _OPEN] = count

    def open_but(self, row: int) -> int:
        """Open connections of all processes but this one."""
        return self._sum_but(row, _OPEN)

    def open_of(self, row: int) -> int:
        """Open connections of one process."""
        return self._words[self._at(row) + _OPEN]

    def set_tasks(self, row: int, count: int) -> None:
        """Tasks of a process."""
        self._words[self._at(row) + _TASKS] = count

    def tasks_but(self, row: int) -> int:
        """Tasks of all processes but this one."""
        return self._sum_but(row, _TASKS)

    def beat(self, row: int) -> None:
        """A worker's loop turns."""
        self._words[self._at(row) + _BEAT] += 1

    def beats(self, row: int) -> int:
        """How often a worker has said that its loop turns."""
        return self._words[self._at(row) + _BEAT]

    # Connections by address: a table with open addressing for each worker, written by it alone.

    def address_key(self, address: str) -> int:
        """What stands for an address: keyed, so that nobody can choose two that collide."""
        digest = blake2b(address.encode(), digest_size=_WORD, key=self._key).digest()
        return int.from_bytes(digest, "little", signed=True) or 1

    def set_address(self, row: int, key: int, count: int) -> bool:
        """Connections of an address with a worker. False when its table is full. A new one needs the lock."""
        found, free = self._find(row, key)
        if found >= 0:
            self._words[found + 1] = count
            return True
        if not count:
            return True
        if free < 0 or (not self._words[free] and not self._room(row)):
            return False
        self._words[free + 1] = count
        self._words[free] = key
        return True

    def addresses_but(self, row: int, key: int) -> int:
        """Connections of an address with all workers but this one."""
        places = (self._find(other, key)[0] for other in range(1, self.rows) if other != row)
        return sum(self._words[place + 1] for place in places if place >= 0)

    def keep_addresses(self, row: int, counts: dict[int, int]) -> None:
        """Writes a worker's table anew, with these counts only. Needs the lock."""
        self._empty(row)
        self._words[self._at(row) + _ADDRESSES] = 0
        for key, count in counts.items():
            self.set_address(row, key, count)

    def _sum_but(self, row: int, field: int) -> int:
        words = self._words
        return sum(words[_HEAD + field : _HEAD + self.rows * _ROW : _ROW]) - words[self._at(row) + field]

    def _room(self, row: int) -> bool:
        """Takes an empty place in a worker's table. Beyond three quarters it would be long to search."""
        at = self._at(row) + _ADDRESSES
        if 4 * self._words[at] >= 3 * self.capacity:
            return False
        self._words[at] += 1
        return True

    def _find(self, row: int, key: int) -> tuple[int, int]:
        """Word of an address in a worker's table, and of the first place that it could have; -1 for none."""
        words, mask = self._words, self.capacity - 1
        base, at, free = self._base(row), key & mask, -1
        for _ in range(self.capacity):
            place = base + 2 * at
            there = words[place]
            if there == key:
                return place, free
            if not there:
                return -1, free if free >= 0 else place
            if free < 0 and not words[place + 1]:
                free = place
            at = (at + 1) & mask
        return -1, free

    def _empty(self, row: int) -> None:
        start, size = self._base(row) * _WORD, 2 * self.capacity * _WORD
        self._memory[start : start + size] = bytes(size)

    def _base(self, row: int) -> int:
        return _HEAD + self.rows * _ROW + (row - 1) * 2 * self.capacity

    def _at(self, row: int) -> int:
        return _HEAD + row * _ROW


def make_table(workers: int, addresses: int) -> Table:
    """Memory for a parent and its workers; each worker can count about as many `addresses`.

    Raises:
        OSError: there is no memory.
    """
    capacity = _LEAST_ADDRESSES
    while capacity < 2 * addresses:
        capacity *= 2
    fd = os.memfd_create("wsnode")
    words = _HEAD + (1 + workers) * _ROW + workers * 2 * capacity
    os.ftruncate(fd, words * _WORD)
    head = b"".join(number.to_bytes(_WORD, "little") for number in (1 + workers, capacity)) + os.urandom(16)
    os.pwrite(fd, head, 0)
    return Table(fd)
