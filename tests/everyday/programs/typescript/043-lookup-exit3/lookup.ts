import phonebook from "./phonebook.json";

const EXIT = { ok: 0, usage: 2, notFound: 3 } as const;

interface Entry { name: string; ext: number; dept?: string }

function find(query: string): Entry[] {
  const q = query.toLowerCase();
  return (phonebook as Entry[]).filter((e) => e.name.toLowerCase().includes(q) || String(e.ext) === q);
}

function main(argv: string[]): number {
  if (argv.length === 0) {
    console.error("usage: lookup NAME|EXT ...");
    return EXIT.usage;
  }
  let missing = 0;
  for (const q of argv) {
    const hits = find(q);
    if (!hits.length) {
      console.error(`lookup: nothing found for '${q}'`);
      missing++;
    }
    for (const { name, ext, dept = "-" } of hits) console.log(`${name.padEnd(18)} ${ext}  ${dept}`);
  }
  return missing ? EXIT.notFound : EXIT.ok;
}

process.exitCode = main(process.argv.slice(2));
