"""An archive of many files, and what is in it."""
import zipfile

with zipfile.ZipFile("all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    for n in range(150):
        archive.writestr(f"f/{n}.txt", f"file {n}\n" * 200)
with zipfile.ZipFile("all.zip") as archive:
    result = [archive.testzip(), len(archive.namelist())]
