"""gzip, bz2 and lzma, there and back."""
import bz2
import gzip
import lzma

text = b"all work and no play makes a dull text " * 5000
result = [len(one.decompress(one.compress(text))) == len(text) for one in (gzip, bz2, lzma)]
