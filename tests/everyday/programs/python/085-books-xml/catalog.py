import xml.etree.ElementTree as ET
from xml.dom import minidom

NS = {"x": "urn:extra"}

tree = ET.parse("books.xml")
root = tree.getroot()

for book in root.iter("book"):
    title = book.findtext("title")
    price = book.find("price")
    stock = book.findtext("x:stock", default="?", namespaces=NS)
    print(f"{book.get('id')} [{book.attrib['lang']}] {title:<16} {float(price.text):>6.2f} {price.get('currency')} stock={stock}")

print("English:", [b.get("id") for b in root.findall("./book[@lang='en']")])
print("Dollar:", [b.get("id") for b in root.findall("./book") if b.find("price[@currency='USD']") is not None])

cheap = ET.Element("cheap", count="0")
for book in root.findall("book"):
    if float(book.findtext("price")) < 20:
        item = ET.SubElement(cheap, "item", ref=book.get("id"))
        item.text = book.findtext("title")
cheap.set("count", str(len(cheap)))
pretty = minidom.parseString(ET.tostring(cheap, encoding="unicode")).toprettyxml(indent="  ")
with open("cheap.xml", "w", encoding="utf-8") as f:
    f.write(pretty)
print(pretty)

try:
    ET.fromstring("<a><b></a>")
except ET.ParseError as err:
    print("ParseError:", err)
