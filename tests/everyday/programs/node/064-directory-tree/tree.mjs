import fs from 'node:fs/promises';
import path from 'node:path';

const stats = { dirs: 0, files: 0, bytes: 0 };

async function* walk(dir, prefix = '', depth = Infinity) {
  const entries = (await fs.readdir(dir, { withFileTypes: true }))
    .filter((e) => !e.name.startsWith('.'))
    .sort((a, b) => b.isDirectory() - a.isDirectory() || (a.name < b.name ? -1 : 1));

  for (const [i, entry] of entries.entries()) {
    const last = i === entries.length - 1;
    const full = path.join(dir, entry.name);
    if (entry.isDirectory()) {
      stats.dirs++;
      yield `${prefix}${last ? '└── ' : '├── '}${entry.name}/`;
      if (depth > 1) yield* walk(full, prefix + (last ? '    ' : '│   '), depth - 1);
    } else {
      const { size } = await fs.stat(full);
      stats.files++;
      stats.bytes += size;
      yield `${prefix}${last ? '└── ' : '├── '}${entry.name} (${size} B)`;
    }
  }
}

const root = process.argv[2] ?? '.';
try {
  console.log(path.basename(root) + '/');
  for await (const line of walk(root, '', Number(process.argv[3] ?? Infinity))) console.log(line);
  console.log(`\n${stats.dirs} directories, ${stats.files} files, ${stats.bytes} bytes`);
} catch (err) {
  if (err.code !== 'ENOENT') throw err;
  console.error(`tree: ${root}: no such directory`);
  process.exitCode = 1;
}
