const fs = require("fs") as typeof import("fs");
const path = require("path") as typeof import("path");

function parseCsv(text: string, sep = ","): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  let cell = "";
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const ch = text[i];
    if (quoted) {
      if (ch === '"' && text[i + 1] === '"') { cell += '"'; i++; }
      else if (ch === '"') quoted = false;
      else cell += ch;
    } else if (ch === '"') quoted = true;
    else if (ch === sep) { row.push(cell); cell = ""; }
    else if (ch === "\n") { row.push(cell); rows.push(row); row = []; cell = ""; }
    else if (ch !== "\r") cell += ch;
  }
  if (cell || row.length) { row.push(cell); rows.push(row); }
  return rows;
}

function toMarkdown([head, ...body]: string[][]): string {
  const esc = (s: string) => s.replace(/\|/g, "\\|").replace(/\n/g, "<br>");
  const numeric = head.map((_, c) => body.every((r) => r[c] === "" || !isNaN(Number(r[c]))));
  const widths = head.map((h, c) => Math.max(3, ...[h, ...body.map((r) => r[c] ?? "")].map((s) => esc(s).length)));
  const line = (r: string[]) =>
    "| " + head.map((_, c) => (numeric[c] ? esc(r[c] ?? "").padStart(widths[c]) : esc(r[c] ?? "").padEnd(widths[c]))).join(" | ") + " |";
  const rule = "| " + widths.map((w, c) => (numeric[c] ? "-".repeat(w - 1) + ":" : "-".repeat(w))).join(" | ") + " |";
  return [line(head), rule, ...body.map(line)].join("\n");
}

const [, , file, out] = process.argv;
if (!file) {
  console.error("usage: csv2md <file.csv> [out.md]");
  process.exit(64);
}
const md = toMarkdown(parseCsv(fs.readFileSync(path.resolve(__dirname, file), "utf8")));
console.log(md);
if (out) {
  fs.writeFileSync(out, `# ${path.basename(file, ".csv")}\n\n${md}\n`);
  console.log(`\nsaved to ${out} (${fs.statSync(out).size} bytes)`);
}
