// usage: cat text | tsx wf.ts [--top N] [--min LEN] [--json]
interface Options {
  top: number;
  min: number;
  json: boolean;
}

function parseOptions(argv: string[]): Options {
  const o: Options = { top: 10, min: 1, json: false };
  for (let i = 0; i < argv.length; i++) {
    const arg = argv[i];
    if (arg === "--json") o.json = true;
    else if (arg === "--top") o.top = Number(argv[++i]);
    else if (arg === "--min") o.min = Number(argv[++i]);
    else {
      process.stderr.write(`unknown option ${arg}\n`);
      process.exit(2);
    }
  }
  return o;
}

function readStdin(): Promise<string> {
  return new Promise((resolve, reject) => {
    let data = "";
    process.stdin.setEncoding("utf8");
    process.stdin.on("data", (chunk) => (data += chunk));
    process.stdin.on("end", () => resolve(data));
    process.stdin.on("error", reject);
  });
}

(async () => {
  const { top, min, json } = parseOptions(process.argv.slice(2));
  const text = await readStdin();
  const freq: Record<string, number> = {};
  for (const w of text.toLowerCase().match(/\p{L}+/gu) ?? []) {
    if (w.length >= min) freq[w] = (freq[w] ?? 0) + 1;
  }
  const best = Object.entries(freq).sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0])).slice(0, top);
  if (json) {
    process.stdout.write(JSON.stringify(Object.fromEntries(best), null, 2) + "\n");
  } else {
    for (const [w, n] of best) process.stdout.write(`${n}\t${w}\n`);
  }
})();
