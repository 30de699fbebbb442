const fs = require('fs');

function writeBmp(file, width, height, pixel) {
  const rowSize = Math.ceil((width * 3) / 4) * 4;
  const buf = Buffer.alloc(54 + rowSize * height);
  buf.write('BM', 0, 'ascii');
  buf.writeUInt32LE(buf.length, 2);
  buf.writeUInt32LE(54, 10);
  buf.writeUInt32LE(40, 14);
  buf.writeInt32LE(width, 18);
  buf.writeInt32LE(height, 22);
  buf.writeUInt16LE(1, 26);
  buf.writeUInt16LE(24, 28);
  buf.writeUInt32LE(rowSize * height, 34);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [r, g, b] = pixel(x, y);
      const at = 54 + (height - 1 - y) * rowSize + x * 3;
      buf[at] = b;
      buf[at + 1] = g;
      buf[at + 2] = r;
    }
  }
  fs.writeFileSync(file, buf);
  return buf.length;
}

function readBmp(file) {
  const buf = fs.readFileSync(file);
  if (buf.toString('latin1', 0, 2) !== 'BM') throw new Error('not a BMP file');
  const [width, height] = [buf.readInt32LE(18), buf.readInt32LE(22)];
  const offset = buf.readUInt32LE(10);
  const rowSize = Math.ceil((width * 3) / 4) * 4;
  return {
    width,
    height,
    bits: buf.readUInt16LE(28),
    at(x, y) {
      const p = offset + (height - 1 - y) * rowSize + x * 3;
      return [...buf.subarray(p, p + 3)].reverse();
    },
  };
}

const size = writeBmp('circle.bmp', 22, 11, (x, y) => {
  const d = Math.hypot((x - 10.5) / 2, y - 5);
  if (d < 2) return [250, 220, 60];
  if (d < 4.6) return [200, 40, 40];
  return [10, 20, 60 + y * 10];
});
console.log('wrote circle.bmp,', size, 'bytes');

const img = readBmp('circle.bmp');
console.log(`${img.width}x${img.height}, ${img.bits} bit`);
const shades = ' .:-=+*#%@';
for (let y = 0; y < img.height; y++) {
  let line = '';
  for (let x = 0; x < img.width; x++) {
    const [r, g, b] = img.at(x, y);
    line += shades[Math.floor(((0.3 * r + 0.59 * g + 0.11 * b) / 256) * shades.length)];
  }
  console.log(line.trimEnd());
}
console.log('header:', fs.readFileSync('circle.bmp').subarray(0, 8));
console.log(Buffer.from('grüße').length, Buffer.from('grüße', 'latin1').length, Buffer.compare(Buffer.from('a'), Buffer.from('b')));
