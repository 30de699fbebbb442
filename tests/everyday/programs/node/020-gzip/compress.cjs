const zlib = require('node:zlib');
const { promisify } = require('node:util');
const assert = require('node:assert/strict');
const fs = require('node:fs');

const gzip = promisify(zlib.gzip);
const gunzip = promisify(zlib.gunzip);

const paragraph = 'The rain in the valley stays mainly in the alley. ';
const samples = {
  repetitive: paragraph.repeat(200),
  json: JSON.stringify(Array.from({ length: 300 }, (_, i) => ({ id: i, name: `item-${i}`, even: i % 2 === 0 }))),
  tiny: 'hi',
};

(async function () {
  for (const [name, text] of Object.entries(samples)) {
    const raw = Buffer.from(text);
    const packed = await gzip(raw, { level: 9 });
    const brotli = zlib.brotliCompressSync(raw);
    const back = (await gunzip(packed)).toString();
    assert.equal(back, text);
    assert.deepEqual(zlib.brotliDecompressSync(brotli), raw);
    const smaller = packed.length < raw.length;
    console.log(`${name.padEnd(12)} ${String(raw.length).padStart(6)} bytes, gzip ${smaller ? 'smaller' : 'bigger'}, brotli ${brotli.length < packed.length ? 'beats' : 'loses to'} gzip`);
  }

  fs.writeFileSync('repetitive.txt', samples.repetitive);
  await new Promise((resolve, reject) => {
    fs.createReadStream('repetitive.txt')
      .pipe(zlib.createGzip())
      .on('error', reject)
      .pipe(fs.createWriteStream('repetitive.txt.gz'))
      .on('finish', resolve);
  });
  const magic = fs.readFileSync('repetitive.txt.gz').subarray(0, 2).toString('hex');
  console.log('magic bytes:', magic);
  console.log('crc32:', zlib.crc32('hello').toString(16));

  try {
    await gunzip(Buffer.from('this is not gzip'));
  } catch (err) {
    console.log('expected failure:', err.code);
  }
})();
