const fs = require('fs-extra');
const path = require('path');
const { glob } = require('glob');

const FOLDERS = {
  images: ['.png', '.jpg', '.svg'],
  documents: ['.md', '.txt', '.pdf'],
  data: ['.csv', '.json'],
};

const folderFor = (ext) => Object.keys(FOLDERS).find((k) => FOLDERS[k].includes(ext)) || 'other';

async function organize(src, dest) {
  await fs.emptyDir(dest);
  const files = (await glob('**/*', { cwd: src, nodir: true, ignore: '**/*.tmp', posix: true })).sort();
  const moved = {};
  for (const file of files) {
    const ext = path.extname(file).toLowerCase();
    const folder = folderFor(ext);
    let target = path.join(dest, folder, path.basename(file));
    // never overwrite: file.txt, file (1).txt, ...
    for (let n = 1; await fs.pathExists(target); n++) {
      target = path.join(dest, folder, `${path.basename(file, ext)} (${n})${ext}`);
    }
    await fs.copy(path.join(src, file), target);
    (moved[folder] ??= []).push(`${file} -> ${path.relative(dest, target)}`);
  }
  await fs.writeJson(path.join(dest, 'index.json'), moved, { spaces: 2 });
  return moved;
}

organize('inbox', 'sorted')
  .then(async (moved) => {
    for (const folder of Object.keys(moved).sort()) {
      console.log(`${folder}/ (${moved[folder].length})`);
      moved[folder].forEach((m) => console.log('   ' + m));
    }
    console.log((await fs.readJson('sorted/index.json')).data.length, 'data files in the index');
  })
  .catch((err) => {
    console.error('failed:', err);
    process.exitCode = 1;
  });
