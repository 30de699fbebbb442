"""Prepares a job's environment: files, input on fd 0, result file on fd 3, variables."""

import binascii
import errno
import os
import stat
import sys
import time
from _functools import partial

import mayfly_json
from mayfly_artifacts import facts_of, forget_made, is_out_made, know_made

INPUT_FD = 0
RESULT_FD = 3
# Standard input of a cell without input, and the stat fields of its device.
_empty = []
# Path and stat fields of the result file when it was created.
_made = [None, None]
# Working folder of a job that `prepare` has made ready for.
_prepared = [None]
# Main file that `prepare` made, still empty, and its descriptor.
_main = [None, None]
LISTENER_FD = 7
PROXY = "http://127.0.0.1:3128"
WHEEL = ".whl"
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
BUFFER_BYTES = 8192
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
NAMED = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
_open, _stat, _fstat = os.open, os.lstat, os.fstat


def prepare(settings):
    """Does what is the same for every job, while the runner waits: opens result and input, sets variables, enters the
    folder. Not where a file of the job could have the name of one of these."""
    work = settings["work"]
    if not work or (own_of(settings) + "/").startswith(work + "/"):
        return
    renew_result(settings)
    renew_input({"inputText": ""}, settings)
    _surround(work, settings["tmp"])
    _prepared[0] = work
    # A machine closes writing by a remount, and its agent ends each process that holds a file open for writing.
    if settings.get("own") is None and is_out_made(work):
        _make_main(work)


def _make_main(work):
    """Written once the job is there, it leaves its folder as it was, which the job's end then need not read."""
    main = work + "/job.py"
    _main[:] = [main, os.open(main, NEW_FILE, 0o666)]
    know_made(work)


def _drop_main(work):
    """Removes the main file that was made ahead, for a job that may have a file of that name."""
    main, fd = _main
    if main != work + "/job.py":
        return
    _main[:] = [None, None]
    forget_made()
    os.close(fd)
    os.unlink(main)


def _surround(work, tmp):
    os.environ.update({"HOME": work, "TMPDIR": tmp, **quiet(tmp)})
    os.chdir(work)


def lay_out(task, settings):
    """Lays out the job; returns its main file, and its module path for the time after the release: no user code
    runs before."""
    work, tmp = settings["work"], settings["tmp"]
    if not work:
        raise OSError("Cannot lay out the job: this wall has no writable folder")
    if settings["listens"]:
        os.close(LISTENER_FD)
    if task.get("name") or task.get("session") or task["files"]:
        _drop_main(work)
    out = os.path.join(work, "out")
    if not is_out_made(work):
        os.makedirs(out, exist_ok=True)
    # Links last, so that no file is written through one.
    for file in sorted(task["files"], key=lambda file: file.get("type") == "link"):
        _lay_file(work, file)
    main = _main_place(task, work)
    if not task.get("session"):
        _lay_main(main, task["code"])
    is_prepared = _prepared[0] == work
    _prepared[0] = None
    if not is_prepared:
        renew_result(settings)
        _surround(work, tmp)
    if is_prepared and "stdin" not in task and "inputText" in task:
        _write_at_start(INPUT_FD, task["inputText"].encode("utf8", "surrogatepass"))
    else:
        renew_input(task, settings)
    _set_environment(task, {"MAYFLY_OUT": out, "MAYFLY_RESULT": _result_of(settings)})
    if task.get("trust"):
        _trust_too(task["trust"], tmp)
    wheels = sorted(os.path.join(work, file["path"]) for file in task["files"] if file["path"].endswith(WHEEL))
    return main, _path_of(main, work, tmp, wheels, settings.get("packages", []))


def _lay_main(main, code):
    fd = _taken_main(main)
    try:
        _write_all(fd, code.encode("utf8", "surrogatepass"))
    finally:
        os.close(fd)


def _taken_main(main):
    if main == _main[0]:
        fd = _main[1]
        _main[:] = [None, None]
        return fd
    try:
        return os.open(main, NEW_FILE, 0o666)
    except OSError:
        os.makedirs(os.path.dirname(main), exist_ok=True)
        if os.path.lexists(main):
            os.unlink(main)
        return os.open(main, NEW_FILE, 0o666)


def renew_result(settings):
    """Opens an empty result file on its descriptor; returns its path."""
    result = _result_of(settings)
    _made[:] = [None, None]
    _put(RESULT_FD, _new(result))
    _made[:] = [result, _facts(_fstat(RESULT_FD))]
    return result


def has_new_result(settings):
    """True if the result file is empty, is the one created last, and is still open on its descriptor."""
    try:
        return _is_as_made(_result_of(settings)) and _facts(_fstat(RESULT_FD)) == _made[1]
    except OSError:
        return False


def _result_of(settings):
    return own_of(settings) + "/.mayfly-result"


def own_of(settings):
    """Folder of result and input. If a phase closes writing, this folder stays writable."""
    return settings.get("own") or settings["tmp"]


def _is_as_made(path):
    return path == _made[0] and _facts(_stat(path)) == _made[1]


def _facts(facts):
    return facts.st_dev, facts.st_ino, facts.st_mode, facts.st_size


def renew_input(task, settings):
    """Opens standard input: the file sent ahead, the given bytes, the input as JSON, or /dev/null."""
    given = os.path.join(own_of(settings), ".mayfly-input")
    is_sent = task.get("stdin", {}).get("sent")
    if is_sent:
        _reopen(INPUT_FD, given, os.O_RDONLY)
        os.unlink(given)
    elif "stdin" in task or "inputText" in task:
        data = _data_of(task["stdin"]) if "stdin" in task else task["inputText"].encode("utf8", "surrogatepass")
        fd = _new(given)
        try:
            _write_at_start(fd, data)
        except BaseException:
            os.close(fd)
            raise
        finally:
            os.unlink(given)
        _put(INPUT_FD, fd)
    elif _is_null_already():
        return
    else:
        _reopen(INPUT_FD, os.devnull, os.O_RDONLY)
    # A given size of the buffer saves the question whether it is a terminal.
    sys.stdin = open(INPUT_FD, encoding="utf8", closefd=False, buffering=BUFFER_BYTES)
    is_given = is_sent or "stdin" in task or "inputText" in task
    _empty[:] = [] if is_given else [sys.stdin, _device(_fstat(INPUT_FD))]


def _is_null_already():
    """True if the descriptor is still the null device from the cell before."""
    if not _empty or sys.stdin is not _empty[0]:
        return False
    try:
        return not sys.stdin.closed and _device(_fstat(INPUT_FD)) == _empty[1]
    except (OSError, ValueError):
        return False


def _device(facts):
    return facts.st_dev, facts.st_ino, facts.st_rdev


def brought(task, settings, main):
    """Stat fields and content of each file that exists before the job, by path."""
    work = settings["work"]
    files = {os.path.normpath(file["path"]): file for file in task["files"] if file.get("type") != "folder"}
    files[os.path.relpath(main, work)] = {"content": task["code"]}
    # Files sent ahead are not kept in memory here, so a rewritten one counts as changed.
    content = {path: partial(_data_of, file) if "content" in file else None for path, file in files.items()}
    return {path: (facts_of(os.path.join(work, path)), content[path]) for path in files}


def names_beside(task, settings, main):
    """Names in the folder of the main file; None if only the folder itself has them all."""
    work = settings["work"]
    if not is_out_made(work) or os.path.dirname(main) != work:
        return None
    paths = [os.path.normpath(file["path"]) for file in task["files"]]
    return [os.path.basename(main), *(path.partition("/")[0] for path in paths)]


def quiet(tmp):
    """Variables for cache folders of libraries, and for drawing without a screen."""
    return {
        "PYTHONUNBUFFERED": "1",
        "XDG_CACHE_HOME": os.path.join(tmp, ".cache"),
        "MPLCONFIGDIR": os.path.join(tmp, ".cache", "matplotlib"),
        "MPLBACKEND": "agg",
    }


def _main_place(task, work):
    """Writes the source under its given name, replacing a file of that name; else under a free name."""
    if not task.get("name"):
        is_empty = is_out_made(work) and not task["files"]
        return os.path.join(work, "job.py") if is_empty else _free_name(work)
    named = _place_below(work, task["name"])
    is_folder = os.path.isdir(named) and not os.path.islink(named)
    return _free_name(work) if is_folder else named


def take_up(settings, path):
    """Undoes a dummy job's layout: descriptors, environment, folder, path."""
    _prepared[0] = None
    for fd in (RESULT_FD, INPUT_FD):
        _reopen(fd, os.devnull, os.O_RDONLY)
    for name in ("MAYFLY_OUT", "MAYFLY_RESULT"):
        os.environ.pop(name, None)
    os.chdir(settings["work"])
    sys.path[:] = path


def read_result(settings, bytes_max):
    """Reads the program's result; None if it is too large."""
    named = _result_of(settings)
    try:
        if _is_as_made(named):
            return ""
    except OSError:
        pass
    for opened in (lambda: _open(named, NAMED), lambda: RESULT_FD):
        fd = RESULT_FD
        try:
            fd = opened()
            facts = os.fstat(fd)
            if not stat.S_ISREG(facts.st_mode):
                continue
            return None if facts.st_size > bytes_max else os.pread(fd, facts.st_size, 0).decode("utf8", "replace")
        except OSError:
            pass
        finally:
            if fd != RESULT_FD:
                os.close(fd)
    return ""


def take_ahead(payload, settings):
    """Writes a piece of a file that is streamed before its job, to bound memory."""
    work = settings["work"]
    if not work:
        raise OSError("Cannot lay out the job: this wall has no writable folder")
    _drop_main(work)
    end = payload.index(b"\n")
    head = mayfly_json.loads(payload[:end])
    data = memoryview(payload)[end + 1 :]
    to = os.path.join(own_of(settings), ".mayfly-input") if head.get("stdin") else _place_below(work, head["path"])
    if head["first"]:
        os.makedirs(os.path.dirname(to), exist_ok=True)
    with open(to, "wb" if head["first"] else "ab") as target:
        target.write(data)
    if head["first"] and (head.get("executable") or bytes(data[:2]) == b"#!"):
        os.chmod(to, 0o755)


def _place_below(work, path):
    to = os.path.normpath(os.path.join(work, path))
    if not to.startswith(work + "/"):
        raise ValueError(f'Cannot write "{path}": it is not below "{work}"')
    return to


def _lay_file(work, file):
    to = _place_below(work, file["path"])
    kind = file.get("type")
    os.makedirs(to if kind == "folder" else os.path.dirname(to), exist_ok=True)
    if kind in ("folder", "sent"):
        return
    if kind == "link":
        os.symlink(file["content"], to)
        return
    data = _data_of(file)
    with open(to, "wb") as target:
        target.write(data)
    if data[:2] == b"#!" or file.get("executable"):
        os.chmod(to, 0o755)


def _data_of(given):
    content = given["content"]
    if given.get("encoding") == "base64":
        return binascii.a2b_base64(content)
    return content.encode("utf8", "surrogatepass")


def _free_name(work):
    main, number = os.path.join(work, "job.py"), 0
    while os.path.exists(main):
        number += 1
        main = os.path.join(work, f"job_{number}.py")
    return main


def _reopen(fd, path, flags):
    _put(fd, os.open(path, flags, 0o600))


def _put(fd, opened):
    """Moves `opened` to `fd`, unless open(2) returned `fd` itself because a cell had closed it."""
    if opened == fd:
        return os.set_inheritable(fd, True)
    os.dup2(opened, fd, inheritable=True)
    os.close(opened)


def _new(path):
    """Replaces anything that an earlier cell put at the path, such as a FIFO or a folder, by a new file."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        return os.open(path, flags, 0o600)
    except FileExistsError:
        pass
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError:
        os.rename(path, f"{path}-{os.urandom(8).hex()}")
    return os.open(path, flags, 0o600)


def _write_at_start(fd, data):
    """Leaves the position of the descriptor at its start."""
    at = 0
    while at < len(data):
        at += os.pwrite(fd, data[at:] if at else data, at)


def _write_all(fd, data):
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _set_environment(task, own):
    os.environ.update(task.get("env") or {})
    os.environ.update(own)
    if "TZ" in os.environ:
        time.tzset()
    if not task.get("network"):
        return
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        os.environ[name] = PROXY
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "localhost,127.0.0.1,::1,[::1]"
    os.environ["NODE_USE_ENV_PROXY"] = "1"


def _trust_too(pem, tmp):
    """Adds the egress proxy's CA for this process and its children; all variables but Node's replace the
    default bundle."""
    own, both = os.path.join(tmp, ".mayfly-authority.pem"), os.path.join(tmp, ".mayfly-authorities.pem")
    known = ""
    if os.path.exists(AUTHORITIES):
        with open(AUTHORITIES, encoding="utf8") as file:
            known = file.read()
    for path, text in ((own, pem), (both, known + "\n" + pem)):
        with open(path, "w", encoding="utf8") as file:
            file.write(text)
    os.environ["NODE_EXTRA_CA_CERTS"] = own
    for name in ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        os.environ[name] = both


def open_packages(settings):
    """Processes the .pth files of installed packages, which may run code: only after the release."""
    import site

    for layer in settings.get("packages", []):
        if layer["kind"] == "python":
            site.addsitedir(layer["at"])


def _path_of(main, work, tmp, wheels, layers):
    """Module path: the main file's folder first; packages of a layer before the system's; wheels last, as
    archives or unpacked."""
    asked = [os.path.join(work, part) for part in os.environ.get("PYTHONPATH", "").split(":") if part]
    packages = [layer["at"] for layer in layers if layer["kind"] == "python"]
    for layer in layers:
        if layer["kind"] == "wheels":
            names = sorted(name for name in os.listdir(layer["at"]) if name.endswith(WHEEL))
            packages += [_wheel_path(os.path.join(layer["at"], name), tmp) for name in names]
    system = next((at for at, path in enumerate(sys.path) if path.endswith("-packages")), len(sys.path))
    own = [*sys.path[:system], *packages, *sys.path[system:]]
    if packages:
        # For child processes.
        os.environ["PYTHONPATH"] = ":".join([*asked, *packages])
    return [os.path.dirname(main), *asked, *own, *(_wheel_path(wheel, tmp) for wheel in wheels)]


def _wheel_path(wheel, tmp):
    import zipfile

    with zipfile.ZipFile(wheel) as archive:
        if not any(".so" in name for name in archive.namelist()):
            return wheel
        # Checks the declared total against free space; no member is written beyond its declared size.
        free = os.statvfs(tmp)
        if sum(member.file_size for member in archive.infolist()) > free.f_bavail * free.f_frsize:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), wheel)
        unpacked = os.path.join(tmp, ".mayfly-wheels", os.path.basename(wheel)[: -len(WHEEL)])
        archive.extractall(unpacked)
        return unpacked
