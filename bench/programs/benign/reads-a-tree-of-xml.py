"""An XML document of some size."""
import xml.etree.ElementTree as tree

root = tree.Element("rows")
for n in range(3000):
    tree.SubElement(root, "row", n=str(n)).text = f"row {n}"
again = tree.fromstring(tree.tostring(root))
result = len(again.findall("row"))
