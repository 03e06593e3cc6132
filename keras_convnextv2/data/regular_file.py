"""Files that are none: reading a named pipe waits for ever, and a device may never end."""

import os
import stat

from keras_convnextv2.data.stored_bytes import StoredBytes

_KINDS = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFDIR: "a folder"}


def demand_regular_file(path):
    """Raises ValueError for what is no file, and OSError where there is nothing."""
    if isinstance(path, StoredBytes):
        return
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        raise ValueError(f"it is {_KINDS.get(stat.S_IFMT(mode), 'a device')}, not a file")
