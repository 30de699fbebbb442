import fnmatch
import hashlib
import io
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

EXCLUDE = ["*.tmp", "__pycache__/*"]


def files(root: Path):
    for p in sorted(root.rglob("*")):
        rel = p.relative_to(root).as_posix()
        if p.is_file() and not any(fnmatch.fnmatch(rel, pat) for pat in EXCLUDE):
            yield p, rel


def make_zip(root, target):
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as z:
        for p, rel in files(root):
            info = zipfile.ZipInfo(rel, date_time=(2024, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            z.writestr(info, p.read_bytes())
    return target


def make_tar(root, target):
    with tarfile.open(target, "w:gz") as t:
        for p, rel in files(root):
            t.add(p, arcname=rel)
        extra = b"made by backup.py\n"
        info = tarfile.TarInfo("MANIFEST")
        info.size = len(extra)
        t.addfile(info, io.BytesIO(extra))
    return target


def verify(root, restored):
    ok = True
    for p, rel in files(root):
        a, b = (hashlib.sha1(x.read_bytes()).hexdigest() for x in (p, restored / rel))
        print(f"  {rel:<16} {a[:10]} {'ok' if a == b else 'CHANGED'}")
        ok &= a == b
    return ok


root = Path(sys.argv[1])
zip_path = make_zip(root, root.with_suffix(".zip"))
with tempfile.TemporaryDirectory(prefix="restore-") as tmp:
    tmp = Path(tmp)
    with zipfile.ZipFile(zip_path) as z:
        assert z.testzip() is None
        z.extractall(tmp / "zip")
        saved = sum(i.file_size - i.compress_size for i in z.infolist())
    print("zip", len(z.namelist()), "files, saved bytes:", saved > 0, verify(root, tmp / "zip"))

    tar_path = make_tar(root, tmp / "project.tar.gz")
    with tarfile.open(tar_path) as t:
        names = t.getnames()
        t.extractall(tmp / "tar")
    print("tar", names, verify(root, tmp / "tar"))
    print("manifest:", (tmp / "tar" / "MANIFEST").read_text().strip())
print("temp folder removed:", not tmp.exists(), "| suffixes", PurePosixPath("a/project.tar.gz").suffixes)
