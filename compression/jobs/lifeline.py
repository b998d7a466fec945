"""Lets worker processes end when the server that started them has ended, however it ended."""

import os
import threading
import time

import psutil

_POLL_SECONDS = 2.0


def follow(process_id: int, created: float) -> bool:
    """Watch a process from a background thread and leave with it.

    Args:
        process_id: The server's.
        created: Its start time, which tells it from a later process of the same number.
    """

    def watch() -> None:
        while _lives(process_id, created):
            time.sleep(_POLL_SECONDS)
        os._exit(0)

    threading.Thread(target=watch, daemon=True, name="lifeline").start()
    return True


def _lives(process_id: int, created: float) -> bool:
    try:
        process = psutil.Process(process_id)
        return process.create_time() == created and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
