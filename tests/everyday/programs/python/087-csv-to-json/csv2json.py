import csv, json, sys

def convert(value):
    if value == '':
        return None
    if value in ('yes', 'no'):
        return value == 'yes'
    for t in (int, float):
        try:
            return t(value)
        except ValueError:
            pass
    return value

if len(sys.argv) != 3:
    print('usage: %s input.csv output.json' % sys.argv[0])
    sys.exit(2)

src, dst = sys.argv[1:]
with open(src, encoding='utf-8', newline='') as f:
    dialect = csv.Sniffer().sniff(f.read(1024))
    f.seek(0)
    rows = [{k: convert(v) for k, v in row.items()} for row in csv.DictReader(f, dialect=dialect)]

with open(dst, 'w', encoding='utf-8') as f:
    json.dump(rows, f, indent=2, ensure_ascii=False)

print('delimiter %r, %d rows' % (dialect.delimiter, len(rows)))
print(json.dumps(rows[-1]))
