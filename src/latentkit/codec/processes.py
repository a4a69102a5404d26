"""Blocks coded by other processes: a coder is many short steps of numpy, for which threads would wait in turn."""

from __future__ import annotations

import os
import queue
import signal
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self, final

import torch

from latentkit.codec.coders import Coder, CoderState, coder_from_state
from latentkit.core.errors import DamagedArchiveError, UnfitDataError

__all__ = ["CoderProcesses", "serve"]

#: Bytes of a block from which on it is worth the second or two that a process takes to start.
WORTH_IT: Final = 1 << 20

_ENCODE, _DECODE = range(2)
_DONE, _DAMAGED, _UNFIT = range(3)
_REQUEST: Final = struct.Struct("<BQQQ")  # what to do; items, size, and bytes that follow
_REPLY: Final = struct.Struct("<BQ")  # what came of it, and bytes that follow
_ERRORS: Final = {_DAMAGED: DamagedArchiveError, _UNFIT: UnfitDataError}
_SERVE: Final = "from latentkit.codec.processes import serve; serve()"


@final
class CoderProcesses:
    """Processes that code the blocks of one archive; each starts when a thread first has need of one.

    Where one cannot be started, or ends before its time, its work is done here.

    Args:
        n: How many at most.
    """

    def __init__(self, n: int) -> None:
        self._is_off = False
        self._idle: queue.LifoQueue[subprocess.Popen[bytes] | None] = queue.LifoQueue()
        self._started: list[subprocess.Popen[bytes]] = []
        for _ in range(n):
            self._idle.put(None)  # one that may be started

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for process in self._started:
            process.kill()
        for process in self._started:
            process.wait()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                with suppress(OSError):  # what it was not given in time
                    pipe.close()

    def of(self, coder: Coder) -> Coder:
        """Return a coder that gives what `coder` gives, from there; what approximates is encoded here."""
        return _Elsewhere(coder, self)

    def answer(self, state: bytes, kind: int, content: bytes, n: int, size: int) -> bytes | None:
        """Return what a process makes of a request; None where it has to be done here.

        Raises:
            DamagedArchiveError, UnfitDataError: What the coder there raised.
        """
        process = self._idle.get()
        try:
            if self._is_off:
                return None
            if process is None:
                process = self._start(state)
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(_REQUEST.pack(kind, n, size, len(content)))
            process.stdin.write(content)
            process.stdin.flush()
            status, length = _REPLY.unpack(_read(process.stdout, _REPLY.size))
            reply = _read(process.stdout, length)
        except (OSError, EOFError):
            self._is_off = True  # what has failed once would fail again
            return None
        finally:
            self._idle.put(process)
        if status in _ERRORS:
            raise _ERRORS[status](reply.decode())
        return reply

    def _start(self, state: bytes) -> subprocess.Popen[bytes]:
        """Start a process, which has the coder of a state.

        Raises:
            OSError: If it cannot be started.
        """
        if not sys.executable:
            raise OSError("there is no interpreter to start")
        here = str(Path(__file__).parents[2])
        paths = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _SERVE],  # -P: nothing out of the folder that it is started in
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        )
        self._started.append(process)
        assert process.stdin is not None
        process.stdin.write(len(state).to_bytes(8, "little") + state)
        return process


@final
class _Elsewhere(Coder):
    """A coder whose work other processes do."""

    def __init__(self, coder: Coder, processes: CoderProcesses) -> None:
        self.name = coder.name  # type: ignore[misc]  # that of the coder which it stands for
        self.quality = coder.quality
        self._coder, self._processes = coder, processes
        self._state = coder.state().to_bytes()

    def state(self) -> CoderState:
        return self._coder.state()

    def encode(self, block: bytes, n: int) -> bytes:
        found = self._processes.answer(self._state, _ENCODE, block, n, 0) if len(block) >= WORTH_IT else None
        return self._coder.encode(block, n) if found is None else found

    def encode_known(self, block: bytes, n: int) -> tuple[bytes, bytes]:
        return self._coder.encode_known(block, n) if self.quality is not None else (self.encode(block, n), block)

    def decode(self, content: bytes, n: int, size: int) -> bytes:
        found = self._processes.answer(self._state, _DECODE, content, n, size) if size >= WORTH_IT else None
        return self._coder.decode(content, n, size) if found is None else found


def serve() -> None:
    """Answer requests of standard input on standard output until it ends: the other side of :class:`CoderProcesses`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever asks ends this process
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nothing else comes between the replies
    torch.set_num_threads(1)
    try:
        coder = coder_from_state(CoderState.from_bytes(_read(requests, int.from_bytes(_read(requests, 8), "little"))))
        while True:
            kind, n, size, length = _REQUEST.unpack(_read(requests, _REQUEST.size))
            content = _read(requests, length)
            try:
                status, reply = _DONE, coder.encode(content, n) if kind == _ENCODE else coder.decode(content, n, size)
            except DamagedArchiveError as error:
                status, reply = _DAMAGED, str(error).encode()
            except UnfitDataError as error:
                status, reply = _UNFIT, str(error).encode()
            replies.write(_REPLY.pack(status, len(reply)))
            replies.write(reply)
            replies.flush()
    except (EOFError, OSError):
        return


def _read(stream: IO[bytes], n: int) -> bytes:
    content = stream.read(n)
    if len(content) < n:
        raise EOFError
    return content
