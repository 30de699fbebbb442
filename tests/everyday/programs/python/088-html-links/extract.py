import sys
from html.parser import HTMLParser
from urllib.parse import parse_qsl, urljoin, urlsplit

BASE = "https://garden.example/notes/"


class Extractor(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.links, self.headings, self.title = [], [], ""
        self._stack = []

    def handle_starttag(self, tag, attrs):
        self._stack.append(tag)
        attrs = dict(attrs)
        if tag == "a" and attrs.get("href"):
            self.links.append([urljoin(BASE, attrs["href"]), ""])
        elif tag in ("h1", "h2", "h3"):
            self.headings.append((int(tag[1]), ""))

    def handle_endtag(self, tag):
        while self._stack and self._stack.pop() != tag:
            pass

    def handle_data(self, data):
        if "title" in self._stack:
            self.title += data
        if "a" in self._stack and self.links:
            self.links[-1][1] += data
        for t in ("h1", "h2", "h3"):
            if t in self._stack:
                level, text = self.headings[-1]
                self.headings[-1] = (level, text + data)


parser = Extractor()
parser.feed(open(sys.argv[1], encoding="utf-8").read())
print("Title:", parser.title)
print("Headings:")
for level, text in parser.headings:
    print("  " * level + "- " + text)
print("Links:")
for url, text in parser.links:
    parts = urlsplit(url)
    print(f"  {text!r:<14} {parts.scheme} {parts.netloc or parts.path} {dict(parse_qsl(parts.query))}")
