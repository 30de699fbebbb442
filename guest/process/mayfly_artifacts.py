"""What a job left below `out/`: plain files alone; anything else is left out by name, with the reason."""

import errno
import os
import stat

FILES_MAX = 1000
LEFT_OUT_MAX = 200
FILE_BYTES_MAX = 32 * 2**20 - 65_536
DEPTH_MAX = 32
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
FOLDER = FILE | os.O_DIRECTORY


def gather(root, bytes_max, give):
    """Gives each file as (path, bytes); the list of what was left out."""
    gathering = _Gathering(bytes_max, give)
    try:
        folder = os.open(root, FOLDER)
    except OSError:
        return []
    gathering.walk(folder, "", 0)
    os.close(folder)
    return gathering.left_out


class _Gathering:
    def __init__(self, bytes_max, give):
        self.bytes_max = bytes_max
        self.give = give
        self.files = 0
        self.bytes = 0
        self.left_out = []

    def leave(self, path, because):
        if len(self.left_out) < LEFT_OUT_MAX:
            name = path.encode("utf8", "replace").decode("utf8")[:1024]
            self.left_out.append({"path": name, "because": because})

    def walk(self, folder, at, depth):
        for name in sorted(os.listdir(folder)):
            path = at + name
            try:
                fd = os.open(name, FILE, dir_fd=folder)
            except OSError as error:
                self.leave(path, _because(error))
                continue
            try:
                self.take(fd, path, depth)
            finally:
                os.close(fd)

    def take(self, fd, path, depth):
        facts = os.fstat(fd)
        if stat.S_ISDIR(facts.st_mode):
            if depth == DEPTH_MAX:
                return self.leave(path, "it is nested too deep")
            return self.walk(fd, path + "/", depth + 1)
        because = self.reason(facts, path)
        if because:
            return self.leave(path, because)
        self.files += 1
        self.bytes += facts.st_size
        chunks = []
        left = facts.st_size
        while left > 0 and (chunk := os.read(fd, left)):
            chunks.append(chunk)
            left -= len(chunk)
        self.give(path, b"".join(chunks))

    def reason(self, facts, path):
        if not stat.S_ISREG(facts.st_mode):
            return "it is no plain file"
        if facts.st_nlink > 1:
            return "it has more than one name"
        if not path.isprintable():
            return "its name is no text"
        if self.files >= FILES_MAX:
            return f"there are more than {FILES_MAX}"
        if facts.st_size > FILE_BYTES_MAX or self.bytes + facts.st_size > self.bytes_max:
            return "it is too large"
        return None


def _because(error):
    if error.errno in (errno.ELOOP, errno.EMLINK):
        return "it is a link"
    if error.errno == errno.ENXIO:
        return "it is no plain file"
    return "it cannot be read"
