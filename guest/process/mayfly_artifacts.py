"""Gathers a job's artifacts: regular files below its working folder, except unchanged inputs and folders of
tools. Links, pipes, devices and files over a limit are left out by name, with the reason. Runs with the
job's rights only."""

import errno
import os
import stat
import time

import mayfly_json

FILES_MAX = 1000
LEFT_OUT_MAX = 200
# Room for the list in the head of the end, which also has an error: a longer head is not read.
LEFT_OUT_BYTES_MAX = 64 * 2**10
FILE_BYTES_MAX = 32 * 2**20 - 65_536
DEPTH_MAX = 32
# Counted in UTF-16 units, as the server does.
PATH_CHARS_MAX = 1024
NAMED_CHARS_MAX = 100
OUT = "out"
OF_TOOLS = ("__pycache__", "node_modules")
# Without namespaces the temporary folder is the working folder.
OF_RUNNER = ".mayfly-"
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
FOLDER = FILE | os.O_DIRECTORY
# Descriptors from here on belong to the job.
FREE_FD, FD_MAX = 8, 1024
KNOWN_MAX = 20_000
# Beyond this number, checking each file takes about as long as reading the folders.
CHECKED_MAX = 256
# Two changes within this time may have equal timestamps: a kernel tick takes up to 10 ms.
SETTLED_NS = 100_000_000

_open, _close, _read, _list, _fstat, _stat = os.open, os.close, os.pread, os.listdir, os.fstat, os.stat
_lstat, _scan, _now = os.lstat, os.scandir, time.time_ns
_quote = mayfly_json.quote


def facts_of(path):
    """Stat fields that every write changes, and that its owner cannot reset."""
    facts = os.lstat(path)
    return facts.st_ino, facts.st_size, facts.st_ctime_ns


# Path of `out/`, made empty ahead of the job in a working folder that has nothing else, and its stat fields: while they
# are the same, it is empty.
_empty = [None, None]


def make_out(work):
    """Makes `out/` ahead of the job, so that neither its layout nor its end has to read a folder that is known."""
    if os.listdir(work):
        return
    out = work + "/" + OUT
    os.mkdir(out)
    _empty[:] = [out, _facts_of_folder(_lstat(out))]


# Working folder with the main file that the runner made ahead in it, and its stat fields: while they are the same, no
# entry was made or removed.
_made = [None, None]


def know_made(work):
    _made[:] = [work, _facts_of_folder(_lstat(work))]


def forget_made():
    _made[:] = [None, None]


def is_out_made(work):
    """True if the working folder had nothing but `out/` before the job."""
    return _empty[0] == work + "/" + OUT


def _settled(folder, known):
    """Stat fields of a folder that was made ahead; None if it was not made, or so late that a change in the same clock tick would not
    be visible."""
    place, facts = known
    return facts if place == folder and _now() - facts[2] > SETTLED_NS else None


class Known:
    """Stat fields of the files that exist before a cell, by path; a cell's artifacts are the new and changed files.

    Known files and folders are checked by lstat, and the folders are read again only if one of them changed: the ctime of
    a folder, which its owner cannot set, changes with each entry in it. A folder that changed just before it was read is
    read again, since another change within the same clock tick would not be visible."""

    def __init__(self, work):
        self.work = work
        self.files, self.folders = {}, {}
        # False: the folders must be read to detect changes.
        self.is_settled = False

    def current(self):
        """Current files; reads the folders only if something changed."""
        if not self.is_unchanged():
            self.read()
        return self.files

    def is_unchanged(self):
        if not self.is_settled:
            return False
        try:
            for path, facts in self.folders.items():
                if _facts_of_folder(_lstat(path)) != facts:
                    return False
            for path, (known, _) in self.files.items():
                facts = _lstat(self.work + "/" + path)
                if known != (facts.st_ino, facts.st_size, facts.st_ctime_ns):
                    return False
        except OSError:
            return False
        return True

    def read(self):
        self.files, self.folders = {}, {}
        settled_at, self.is_settled = _now() - SETTLED_NS, True
        folders = [""]
        while folders and len(self.files) < KNOWN_MAX:
            at = folders.pop()
            try:
                path = (self.work + "/" + at)[:-1]
                facts = self.folders[path] = _facts_of_folder(_lstat(path))
                if facts is None or facts[2] > settled_at or at.count("/") > DEPTH_MAX // 2:
                    self.is_settled = False
                with _scan(path) as entries:
                    self.note(list(entries), at, folders)
            except OSError:
                self.is_settled = False
        if folders or len(self.files) + len(self.folders) > CHECKED_MAX:
            self.is_settled = False

    def note(self, entries, at, folders):
        for entry in entries:
            path = at + entry.name
            try:
                facts = entry.stat(follow_symlinks=False)
            except OSError:
                self.is_settled = False
                continue
            if stat.S_ISDIR(facts.st_mode):
                folders.append(path + "/")
            else:
                self.files[path] = ((facts.st_ino, facts.st_size, facts.st_ctime_ns), None)


def _facts_of_folder(facts):
    return (facts.st_dev, facts.st_ino, facts.st_ctime_ns) if stat.S_ISDIR(facts.st_mode) else None


class Gathering:
    """`brought`: stat fields and content of each file that existed before the job, by path."""

    def __init__(self, work, bytes_max, give, brought):
        self.work = work
        self.bytes_max = bytes_max
        self.give = give
        self.brought = brought
        self.given = {}
        self.bytes = 0
        self.left_out = []
        self.left_out_bytes = 0
        self.unnamed = 0
        # True for a session: `out/` may have files of earlier execs.
        self.is_change_only = False
        self.has_freed = False
        self.has_out = False
        # Taken before the release of the job.
        self.empty_out = _settled(work + "/" + OUT, _empty)
        self.made_work = _settled(work, _made)

    def gather(self):
        """Yields files below `out/`, relative to it, then the others."""
        for root, at in ((self.work + "/" + OUT, OUT + "/"), (self.work, "")):
            if at != "" and self.is_out_empty(root):
                self.has_out = True
                continue
            if at == "" and self.is_unchanged():
                continue
            try:
                folder = self.open(root, FOLDER)
            except OSError:
                continue
            self.has_out = self.has_out or at != ""
            self.walk(folder, at, 0)
            _close(folder)

    def is_out_empty(self, out):
        try:
            return self.empty_out is not None and _facts_of_folder(_lstat(out)) == self.empty_out
        except OSError:
            return False

    def is_unchanged(self):
        """True if the working folder has no entry but `out/` and files that the runner wrote, which are unchanged."""
        try:
            if self.made_work is None or _facts_of_folder(_lstat(self.work)) != self.made_work:
                return False
            for path, (known, _) in self.brought.items():
                facts = _lstat(self.work + "/" + path)
                if known != (facts.st_ino, facts.st_size, facts.st_ctime_ns):
                    return False
            return True
        except OSError:
            return False

    def named(self):
        """Left-out files with reasons; the last entry counts the unnamed rest."""
        if not self.unnamed:
            return self.left_out
        *rest, last = self.left_out
        return [*rest, {**last, "because": f"{last['because']}; {self.unnamed} more are left out"}]

    def add(self, path, data):
        """Adds an artifact from memory. Returns True if there was room."""
        if path in self.given or self.reason_of(len(data)):
            return False
        self.pass_on(path, data)
        return True

    def leave(self, path, because):
        name = _cut(_shown_as(path).encode("utf8", "replace").decode("utf8"), PATH_CHARS_MAX)
        size = len(_quote(name)) + len(_quote(because))
        if len(self.left_out) == LEFT_OUT_MAX or self.left_out_bytes + size > LEFT_OUT_BYTES_MAX:
            self.unnamed += 1
            return
        self.left_out_bytes += size
        self.left_out.append({"path": name, "because": because})

    def walk(self, folder, at, depth):
        try:
            names = sorted(_list(folder))
        except OSError as error:
            return self.leave(at, _because(error))
        for name in names:
            path = at + name
            if path == OUT and self.has_out:
                continue
            if self.is_untouched(name, folder, path):
                continue
            try:
                fd = self.open(name, FILE, folder)
            except OSError as error:
                if error.errno != errno.ENOENT and not self.is_link_as_it_was(name, folder, path):
                    self.leave(path, _because(error))
                continue
            try:
                self.take(fd, name, path, depth)
            finally:
                _close(fd)

    def take(self, fd, name, path, depth):
        facts = _fstat(fd)
        is_out = _is_below_out(path)
        if stat.S_ISDIR(facts.st_mode):
            if not is_out and (name in OF_TOOLS or name.startswith(".")):
                return None
            if depth == DEPTH_MAX:
                return self.leave(path, "it is nested too deep")
            return self.walk(fd, path + "/", depth + 1)
        if (not is_out or self.is_change_only) and self.is_as_it_was(fd, facts, path):
            return None
        shown = _shown_as(path)
        because = self.reason(facts, path, shown)
        if because:
            return self.leave(path, because)
        return self.pass_on(shown, _content(fd, facts.st_size))

    def pass_on(self, path, data):
        self.given[path] = None
        self.bytes += len(data)
        self.give(path, data)

    def reason(self, facts, path, shown):
        if not stat.S_ISREG(facts.st_mode):
            return "it is no plain file"
        if facts.st_nlink > 1:
            return "it has more than one name"
        if not _is_text(path):
            return "its name is no text"
        if _units_of(shown) > PATH_CHARS_MAX:
            return "its path is too long"
        if shown in self.given:
            return f"there is another {_cut(shown, NAMED_CHARS_MAX)} already"
        return self.reason_of(facts.st_size)

    def reason_of(self, size):
        if len(self.given) >= FILES_MAX:
            return f"there are more than {FILES_MAX}"
        if size > FILE_BYTES_MAX:
            return f"it has {size} bytes, and a single artifact at most {FILE_BYTES_MAX}"
        if self.bytes + size > self.bytes_max:
            return f"it is too large: {size} bytes, with {max(0, self.bytes_max - self.bytes)} left of {self.bytes_max}"
        return None

    def is_as_it_was(self, fd, facts, path):
        """A rewritten file may have its old content."""
        if path not in self.brought or not stat.S_ISREG(facts.st_mode):
            return False
        known, content = self.brought[path]
        if known == (facts.st_ino, facts.st_size, facts.st_ctime_ns):
            return True
        if content is None:
            return False
        data = content()
        return facts.st_size == len(data) and _content(fd, facts.st_size) == data

    def is_untouched(self, name, folder, path):
        """Decided without opening the file: reading a planted credential would be an anomaly."""
        if path.startswith(OF_RUNNER):
            return True
        known, _ = self.brought.get(path, (None, None))
        if known is None or (_is_below_out(path) and not self.is_change_only):
            return False
        try:
            facts = _stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError:
            return False
        return known == (facts.st_ino, facts.st_size, facts.st_ctime_ns)

    def is_link_as_it_was(self, name, folder, path):
        try:
            facts = _stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError:
            return False
        known, _ = self.brought.get(path, (None, None))
        return stat.S_ISLNK(facts.st_mode) and known == (facts.st_ino, facts.st_size, facts.st_ctime_ns)

    def open(self, path, flags, folder=None):
        try:
            return _open(path, flags, dir_fd=folder)
        except OSError as error:
            if error.errno != errno.EMFILE or self.has_freed:
                raise
        # At EMFILE: close the descriptors of the job, which has ended.
        self.has_freed = True
        for fd in range(FREE_FD, FD_MAX):
            if fd != folder and not self.is_walked(fd):
                try:
                    _close(fd)
                except OSError:
                    pass
        return _open(path, flags, dir_fd=folder)

    def is_walked(self, fd):
        """True if the descriptor is a folder being read."""
        try:
            return stat.S_ISDIR(_fstat(fd).st_mode)
        except OSError:
            return False


def _is_below_out(path):
    return path.startswith(OUT + "/")


def _shown_as(path):
    """Paths below `out/` are relative to it."""
    return path[len(OUT) + 1 :] if _is_below_out(path) else path


def _is_text(path):
    """True for names that the output gate accepts: without control characters, surrogates and backslashes."""
    return "\\" not in path and (path.isprintable() or not any(_is_control(one) for one in path))


def _is_control(one):
    return one < " " or "\x7f" <= one < "\xa0" or "\ud800" <= one <= "\udfff"


def _units_of(text):
    return len(text) + sum(one > "\uffff" for one in text)


def _cut(text, units):
    text = text[:units]
    return text[: len(text) - max(0, _units_of(text) - units)]


def _content(fd, size):
    """A shrinking file is read to its current end; growth is ignored."""
    chunks, at = [], 0
    while at < size and (chunk := _read(fd, size - at, at)):
        chunks.append(chunk)
        at += len(chunk)
    return b"".join(chunks)


def _because(error):
    if error.errno in (errno.ELOOP, errno.EMLINK):
        return "it is a link"
    if error.errno == errno.ENXIO:
        return "it is no plain file"
    return "it cannot be read"
