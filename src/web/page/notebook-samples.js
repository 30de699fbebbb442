/** Functions in Python that report which rights are left. */
export const rightsInPython = `import time, urllib.error, urllib.request

def network():
    try:
        urllib.request.urlopen("http://api.shop.example/", timeout=1)
        return "granted"
    except urllib.error.HTTPError as error:
        return "closed" if error.code == 403 else "granted"
    except OSError:
        return "closed"

def core(seconds):
    wall, used = time.monotonic(), time.process_time()
    while time.monotonic() - wall < seconds:
        pass
    return (time.process_time() - used) / (time.monotonic() - wall)`

/** Sample cells, and schedules to choose from: value, name, explanation. */
export const samples = {
  python: [
    `orders = [("lamp", 40), ("tape", 3.5), ("desk", 210)]
total = sum(price for _, price in orders)
total`,
    `# Variables, imports and files stay from cell to cell.
with open("orders.csv", "w") as file:
    for name, price in orders:
        print(name, price, sep=",", file=file)
print(f"{len(orders)} orders, {total:.2f} in all")`,
    `# Run this again from time to time: rights of the session only shrink.
${rightsInPython}

f"network {network()}, core {core(0.3):.0%}"`,
  ],
  javascript: [
    `const orders = [['lamp', 40], ['tape', 3.5], ['desk', 210]]
const total = orders.reduce((sum, [, price]) => sum + price, 0)
total`,
    `// Variables stay from cell to cell, and await works everywhere.
await new Promise((done) => setTimeout(done, 300))
console.log(\`\${orders.length} orders, \${total.toFixed(2)} in all\`)
Object.fromEntries(orders)`,
  ],
}

export const sessionLives = [
  [
    'shrinking-session',
    'shrinks',
    'No network after 3 minutes, half a core after 8, ended after 15.',
  ],
  ['', 'plain', 'At most 15 minutes; no network, no files of this machine.'],
]
